//! `samctl demo`: four sites, one subnet, two routers at each, real packets, evidence; then a live move. With scenarios:
//! the acceptance scenarios D1 to D10 in the same world.
//!
//! Everything happens in network namespaces of its own and ends with the process. As an ordinary user it first
//! enters a user namespace. Needs /dev/net/tun and nothing that is not part of this program; ssh is used beside the
//! own check when it is installed.

mod arp;
mod ask;
mod cloud;
mod configuration;
mod evidence;
mod flows;
mod lab;
mod moving;
mod ping;
mod privileges;
mod probes;
mod progress;
mod report;
mod routers;
mod running;
pub mod scenarios;
mod server;
mod sites;
mod ssh;
mod witness;

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context, Result};

pub use report::Report;

use evidence::Witnesses;
use progress::Progress;
use running::Running;
use sites::{Router, Site};
use ssh::Ssh;

/// What the user wants.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Leave everything running until Ctrl-C, and say how to look around.
    pub keep: bool,
    /// Say what is going on.
    pub progress: bool,
    /// Scenarios with shorter delays and fewer repetitions than they are specified with.
    pub quick: bool,
}

/// Runs the demo; `announce` gets the report as soon as it is complete.
///
/// # Errors
/// What is missing on this machine, or what broke; a claim that does not hold is in the report.
pub fn run(options: Options, announce: impl FnOnce(&Report)) -> Result<Report> {
    privileges::prepare()?;
    let start = Instant::now();
    let mut progress = Progress::new(options.progress);
    let mut report = Report::default();

    let mut running = Running::start(&mut progress)?;
    report.convergence_s = running.convergence.as_secs_f64();
    let gateways = evidence::default_gateways(&running.lab)?;
    let witnesses = Witnesses::start(&running.lab)?;
    let ssh = running.ssh();
    progress.step("twelve directed flows");
    report.flows = flows::between(&running.lab, &Site::ALL, ssh.as_ref().ok());
    report.flows.ssh = Ssh::remark(&ssh);
    progress.step("evidence");
    evidence::collect(&running, &witnesses, &gateways, &mut report);
    progress.step(&format!("live move of {} from onprem to aws", sites::GUEST));
    report.r#move = moving::run(&mut running)?;
    evidence::judge_move(&running.lab, &mut report);
    report.seconds = start.elapsed().as_secs_f64();
    report.conclude();
    progress.step("done");
    announce(&report);
    if options.keep {
        explain_how_to_look_around(&running);
        running.routers.wait_for_signal();
    }
    drop((ssh, witnesses));
    running.routers.stop_all();
    Ok(report)
}

fn explain_how_to_look_around(running: &Running) {
    let mut out = std::io::stderr();
    let mut say = |text: String| {
        // Nothing to do when nobody listens.
        writeln!(out, "{text}").ok();
    };
    let routers = &running.routers;
    say("\nStill running; Ctrl-C ends it. Look around from another terminal:".to_owned());
    for router in Router::all() {
        say(format!(
            "  {:<9} samctl --socket {} owners",
            router.name(),
            routers.file(router, "sock").display(),
        ));
    }
    say(format!(
        "  also: status, captures, actions, explain {}, bgp neighbors, vrrp, tunnels, doctor",
        Site::Onprem.client()
    ));
    let inside = routers.processes.lock().ok();
    if let Some((router, process)) = inside.as_ref().and_then(|known| known.iter().next()) {
        say(format!(
            "  nsenter -t {process} -n curl http://{}/fakecloud/ledger    # the clouds, from inside {}; -U too as an \
             ordinary user",
            cloud::address(),
            router.name(),
        ));
    }
    say(format!(
        "  logs, keys and configurations are in {}",
        routers.folder.display()
    ));
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}
