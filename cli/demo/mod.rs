//! `samctl demo`: four sites, one subnet, real packets, evidence; then a live move.
//!
//! Everything happens in network namespaces of its own and ends with the process. As an ordinary user it first
//! enters a user namespace. Needs /dev/net/tun and nothing that is not part of this program; ssh is used beside the
//! own check when it is installed.

mod ask;
mod evidence;
mod lab;
mod moving;
mod report;
mod routers;
mod server;
mod ssh;
mod witness;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_net::Capability;

pub use report::Report;

use lab::{Lab, SITES};
use routers::Routers;
use server::{Server, Session};
use ssh::Ssh;
use witness::Witness;

/// Time for four routers to find each other.
const AGREEMENT: Duration = Duration::from_secs(20);

/// What the user wants.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Leave everything running until Ctrl-C, and say how to look around.
    pub keep: bool,
    /// Say what is going on.
    pub progress: bool,
}

/// Runs the demo; `announce` gets the report as soon as it is complete.
///
/// # Errors
/// What is missing on this machine, or what broke; a claim that does not hold is in the report.
pub fn run(options: Options, announce: impl FnOnce(&Report)) -> Result<Report> {
    prepare_privileges()?;
    let start = Instant::now();
    let mut progress = Progress::new(options.progress);
    let mut report = Report::default();

    progress.step("four sites: clients, LANs, a WAN");
    let lab = Lab::build()?;
    let gateways = evidence::default_gateways(&lab)?;
    progress.step("four routers: samctl run");
    let mut routers = Routers::start(&lab)?;
    end_in_order(&routers)?;
    let begun = Instant::now();
    routers.wait_for_agreement(AGREEMENT)?;
    report.convergence_s = begun.elapsed().as_secs_f64();
    progress.step(&format!(
        "agreed on all owners after {:.2} s",
        report.convergence_s
    ));

    let witnesses = Witnesses::start(&lab)?;
    let servers = lab
        .clients
        .iter()
        .map(Server::start)
        .collect::<Result<Vec<_>>>()?;
    let addresses = SITES.map(lab::SiteName::client);
    let ssh = Ssh::start(&lab.clients, &addresses, &routers.folder);
    progress.step("twelve directed flows");
    flows(&lab, ssh.as_ref().ok(), &mut report);
    report.flows.ssh = match &ssh {
        Ok(_) => "used beside the own TCP check".to_owned(),
        Err(reason) => format!("skipped: {reason}"),
    };
    progress.step("evidence");
    evidence::collect(&lab, &routers, &witnesses, &gateways, &mut report);
    progress.step("live move of 10.77.60.13 from oci to aws");
    report.r#move = moving::run(&lab, &routers, SITES[3], SITES[1])?;
    evidence::judge_move(&lab, &mut report);
    report.seconds = start.elapsed().as_secs_f64();
    report.conclude();
    progress.end();
    announce(&report);
    if options.keep {
        explain_how_to_look_around(&routers);
        routers.wait_for_signal();
    }
    drop((servers, ssh, witnesses));
    routers.stop();
    Ok(report)
}

/// Packet sockets at all clients and at all WAN ports.
#[derive(Debug)]
struct Witnesses {
    clients: Vec<Witness>,
    wans: Vec<Witness>,
}

impl Witnesses {
    fn start(lab: &Lab) -> Result<Self> {
        let clients = lab
            .clients
            .iter()
            .map(|client| Witness::start(client, "eth0"));
        let wans = lab
            .routers
            .iter()
            .map(|router| Witness::start(router, "wan0"));
        Ok(Self {
            clients: clients.collect::<Result<_>>()?,
            wans: wans.collect::<Result<_>>()?,
        })
    }
}

fn flows(lab: &Lab, ssh: Option<&Ssh>, report: &mut Report) {
    for (from, client) in SITES.iter().zip(&lab.clients) {
        for to in SITES.iter().filter(|to| *to != from) {
            let flow = flow(client, *from, *to, ssh);
            if flow.error.is_none() {
                report.flows.passed += 1;
            } else {
                report.flows.failed += 1;
            }
            report.flows.list.push(flow);
        }
    }
}

fn flow(
    client: &sam_net::Namespace,
    from: lab::SiteName,
    to: lab::SiteName,
    ssh: Option<&Ssh>,
) -> report::Flow {
    let source = from.client().to_string();
    let own = Session::open(client, to.client()).and_then(|mut session| {
        session.echo("over the overlay")?;
        same_source(&session.seen, &source)
    });
    let by_ssh = ssh.map(|ssh| {
        ssh.seen_source(client, to.client())
            .and_then(|seen| same_source(&seen, &source))
    });
    let error = own
        .as_ref()
        .err()
        .or_else(|| by_ssh.as_ref().and_then(|r| r.as_ref().err()));
    report::Flow {
        from: from.name.to_owned(),
        to: to.name.to_owned(),
        destination: to.client().to_string(),
        tcp: own.is_ok(),
        ssh: by_ssh.as_ref().map(Result::is_ok),
        error: error.map(|error| format!("{error:#}")),
        source,
    }
}

fn same_source(seen: &str, expected: &str) -> Result<()> {
    if seen != expected {
        bail!("the server saw {seen} instead of {expected}");
    }
    Ok(())
}

/// Namespaces need root, real or that of a user namespace; the routers need /dev/net/tun.
fn prepare_privileges() -> Result<()> {
    let capabilities = sam_net::Capabilities::effective()?;
    let needed = [
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::SysAdmin,
    ];
    if !capabilities.missing(&needed).is_empty() {
        sam_net::user_namespace::become_root().context(
            "the demo needs root, or user namespaces for ordinary users; this machine allows \
             neither: run it with sudo",
        )?;
    }
    let tun = Path::new("/dev/net/tun");
    if !tun.exists() {
        bail!(
            "/dev/net/tun is missing: load the tun module (modprobe tun), or give the container \
             --device /dev/net/tun"
        );
    }
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(tun)
        .context(
            "/dev/net/tun cannot be opened: run the demo with sudo, or allow it for everybody \
         (chmod 666 /dev/net/tun), as most distributions do",
        )?;
    Ok(())
}

/// Ctrl-C and SIGTERM stop the routers, remove their files and end the program.
fn end_in_order(routers: &Routers) -> Result<()> {
    let folder = routers.folder.clone();
    let processes: Vec<u32> = SITES.iter().map(|site| routers.process(*site)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let Ok(mut terminate) =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            else {
                return;
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            for process in &processes {
                sam_net::process::terminate(*process);
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
            std::fs::remove_dir_all(&folder).ok();
            std::process::exit(130);
        });
    });
    Ok(())
}

fn explain_how_to_look_around(routers: &Routers) {
    let mut out = std::io::stderr();
    let mut say = |text: String| {
        // Nothing to do when nobody listens.
        writeln!(out, "{text}").ok();
    };
    say("\nStill running; Ctrl-C ends it. Look around from another terminal:".to_owned());
    for site in SITES {
        say(format!(
            "  {:<7} samctl --socket {} owners        # also: status, explain {}, bgp, tunnels, doctor",
            site.name,
            routers.socket(site).display(),
            SITES[0].client(),
        ));
        say(format!(
            "          nsenter -t {} -n ip addr       # inside the router (add -U as an ordinary user)",
            routers.process(site),
        ));
    }
    say(format!(
        "  logs, keys and configurations are in {}",
        routers.folder.display()
    ));
}

/// One line per step, on the terminal of the user.
#[derive(Debug)]
struct Progress {
    on: bool,
    colored: bool,
    since: Instant,
}

impl Progress {
    fn new(on: bool) -> Self {
        let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            on,
            colored,
            since: Instant::now(),
        }
    }

    fn step(&mut self, text: &str) {
        if !self.on {
            return;
        }
        let (dim, plain) = if self.colored {
            ("\x1b[2m", "\x1b[0m")
        } else {
            ("", "")
        };
        let seconds = self.since.elapsed().as_secs_f64();
        writeln!(std::io::stderr(), "{dim}{seconds:6.2} s{plain}  {text}").ok();
    }

    fn end(&mut self) {
        self.step("done");
    }
}
