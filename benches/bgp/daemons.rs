//! The daemons that are measured: ours, BIRD, FRR's bgpd, GoBGP. All reflect everything, none has a kernel table.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::feed::{ASN, HOLD_TIME_S};

/// Where every daemon listens.
pub(crate) const DAEMON: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum System {
    /// `sam_bgp::Speaker`.
    Samctl,
    /// BIRD 2.
    Bird,
    /// FRR's bgpd, without zebra.
    Frr,
    /// GoBGP.
    Gobgp,
}

impl System {
    /// All of them, as the tables show them.
    pub(crate) const ALL: [Self; 4] = [Self::Samctl, Self::Bird, Self::Frr, Self::Gobgp];

    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Samctl => "samctl",
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
            Self::Gobgp => "GoBGP",
        }
    }

    /// Returns its version.
    ///
    /// # Errors
    /// When it is not installed.
    pub(crate) fn version(self) -> Result<String> {
        let (name, flag) = match self {
            Self::Samctl => return Ok(format!("sam-bgp {}", env!("CARGO_PKG_VERSION"))),
            Self::Bird => ("bird", "--version"),
            Self::Frr => ("bgpd", "--version"),
            Self::Gobgp => ("gobgpd", "--version"),
        };
        let output = Command::new(program(name)?).arg(flag).output()?;
        // BIRD speaks on stderr.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Starts it with these peers.
    pub(crate) fn start(self, folder: &Path, peers: &[Ipv4Addr]) -> Result<Daemon> {
        let mut command = match self {
            Self::Samctl => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--speaker").arg(folder.join("count"));
                command.args(peers.iter().map(Ipv4Addr::to_string));
                command
            }
            Self::Bird => {
                fs::write(folder.join("bird.conf"), bird(peers)?)?;
                let mut command = Command::new(program("bird")?);
                command.arg("-f").arg("-c").arg(folder.join("bird.conf"));
                command.arg("-s").arg(folder.join("bird.ctl"));
                command
            }
            Self::Frr => {
                fs::write(folder.join("bgpd.conf"), frr(peers)?)?;
                let mut command = Command::new(program("bgpd")?);
                command.args(["-S", "-n", "-Z", "-P", "0", "--log", "stdout"]);
                command.args(["-l", &DAEMON.to_string()]);
                command.arg("-f").arg(folder.join("bgpd.conf"));
                command.arg("-i").arg(folder.join("bgpd.pid"));
                command.arg("--vty_socket").arg(folder);
                command
            }
            Self::Gobgp => {
                fs::write(folder.join("gobgpd.toml"), gobgp(peers)?)?;
                let mut command = Command::new(program("gobgpd")?);
                command.args(["-t", "toml", "-p", "--api-hosts", GOBGP_API]);
                command.arg("-f").arg(folder.join("gobgpd.toml"));
                command
            }
        };
        let log = fs::File::create(folder.join("log"))?;
        sam_net::process::die_with_parent(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        Ok(Daemon {
            system: self,
            folder: folder.to_owned(),
            child,
        })
    }
}

/// A running daemon; dropping it ends it.
pub(crate) struct Daemon {
    system: System,
    folder: PathBuf,
    child: Child,
}

impl Daemon {
    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((DAEMON, 179))
    }

    /// Asks it how many routes it has.
    pub(crate) fn routes(&self) -> Result<usize> {
        match self.system {
            System::Samctl => {
                let bytes = fs::read(self.folder.join("count"))?;
                let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
                Ok(usize::try_from(u64::from_ne_bytes(bytes))?)
            }
            System::Bird => {
                let mut command = Command::new(program("birdc")?);
                command.arg("-s").arg(self.folder.join("bird.ctl"));
                let text = ask(command.args(["show", "route", "count"]))?;
                // "1000 of 1000 routes for 1000 networks in table master4"
                let line = text.lines().find(|line| line.contains("master4"));
                let number = line.and_then(|line| line.split(' ').next());
                Ok(number
                    .with_context(|| format!("no count in {text}"))?
                    .parse()?)
            }
            System::Frr => {
                let mut command = Command::new(program("vtysh")?);
                command.arg("--vty_socket").arg(&self.folder);
                command.args(["-d", "bgpd", "-c", "show bgp ipv4 unicast summary json"]);
                let summary: Value = serde_json::from_str(&ask(&mut command)?)?;
                Ok(usize::try_from(summary["ribCount"].as_u64().unwrap_or(0))?)
            }
            System::Gobgp => {
                let text = ask(Command::new(program("gobgp")?).args(["global", "rib", "summary"]))?;
                // "Destination: 1000, Path: 1000"
                let number = text.split("Destination: ").nth(1);
                let number = number.and_then(|rest| rest.split(',').next());
                Ok(number
                    .with_context(|| format!("no count in {text}"))?
                    .parse()?)
            }
        }
    }

    /// Returns the processor time it used, in seconds.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: Vec<f64> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse().ok())
            .collect();
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// Returns its resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse::<usize>()? * 1024)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const GOBGP_API: &str = "127.0.0.1:50051";

fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/sbin", "/usr/lib/frr"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(daemons)
        .map(|folder| folder.join(name))
        .find(|file| file.exists());
    found.with_context(|| format!("{name} is not installed"))
}

fn ask(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn bird(peers: &[Ipv4Addr]) -> Result<String> {
    let mut text = format!(
        "router id {DAEMON};\nlog stderr all;\nprotocol device {{ }}\nipv4 table links;\n\
         protocol direct {{ ipv4 {{ table links; }}; interface \"lo\"; }}\n"
    );
    for (number, peer) in peers.iter().enumerate() {
        writeln!(
            text,
            "protocol bgp p{number} {{ local {DAEMON} as {ASN}; neighbor {peer} as {ASN}; passive on; \
             hold time {HOLD_TIME_S}; rr client; rr cluster id {DAEMON}; \
             ipv4 {{ igp table links; import all; export all; }}; }}"
        )?;
    }
    Ok(text)
}

fn frr(peers: &[Ipv4Addr]) -> Result<String> {
    let mut text = format!(
        "hostname frr\nrouter bgp {ASN}\n bgp router-id {DAEMON}\n bgp cluster-id {DAEMON}\n \
         timers bgp 80 {HOLD_TIME_S}\n no bgp network import-check\n"
    );
    for peer in peers {
        writeln!(
            text,
            " neighbor {peer} remote-as {ASN}\n neighbor {peer} passive\n neighbor {peer} advertisement-interval 0"
        )?;
    }
    writeln!(text, " address-family ipv4 unicast")?;
    for peer in peers {
        writeln!(
            text,
            "  neighbor {peer} send-community all\n  neighbor {peer} route-reflector-client"
        )?;
    }
    writeln!(text, " exit-address-family")?;
    Ok(text)
}

fn gobgp(peers: &[Ipv4Addr]) -> Result<String> {
    let mut text = format!(
        "[global.config]\n  as = {ASN}\n  router-id = \"{DAEMON}\"\n  local-address-list = [\"{DAEMON}\"]\n"
    );
    for peer in peers {
        writeln!(
            text,
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{peer}\"\n    peer-as = {ASN}\n  \
             [neighbors.transport.config]\n    passive-mode = true\n    local-address = \"{DAEMON}\"\n  \
             [neighbors.timers.config]\n    hold-time = {HOLD_TIME_S}\n    keepalive-interval = 80\n  \
             [neighbors.route-reflector.config]\n    route-reflector-client = true\n    \
             route-reflector-cluster-id = \"{DAEMON}\""
        )?;
    }
    Ok(text)
}
