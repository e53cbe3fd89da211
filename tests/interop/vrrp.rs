//! samctl against keepalived on one LAN, each as master and as backup, in versions 2 and 3, by multicast and unicast,
//! keepalived with the MAC of its interface and with the virtual one.
//!
//! ```text
//!   samctl, lan0 10.77.60.1 ── eth0 10.77.60.10, keepalived
//! ```

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sam_net::Namespace;
use serde_json::Value;

use crate::fabric::Fabric;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::router::Router;
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, World};

/// What both speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Version 2 by multicast.
    V2,
    /// Version 2 by unicast.
    UnicastV2,
    /// Version 3 by multicast.
    V3,
    /// Version 3 by unicast.
    Unicast,
    /// Version 3 by multicast, keepalived with the virtual MAC.
    VirtualMac,
}

impl Dialect {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::V2,
        Self::UnicastV2,
        Self::V3,
        Self::Unicast,
        Self::VirtualMac,
    ];

    /// Name in tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::UnicastV2 => "v2_unicast",
            Self::V3 => "v3",
            Self::Unicast => "v3_unicast",
            Self::VirtualMac => "v3_virtual_mac",
        }
    }

    fn version(self) -> u8 {
        match self {
            Self::V2 | Self::UnicastV2 => 2,
            Self::V3 | Self::Unicast | Self::VirtualMac => 3,
        }
    }

    /// As samctl and keepalived write it.
    fn interval(self) -> (&'static str, &'static str) {
        match self.version() {
            2 => ("1s", "1"),
            _ => ("300ms", "0.3"),
        }
    }

    fn is_unicast(self) -> bool {
        matches!(self, Self::Unicast | Self::UnicastV2)
    }

    /// Where keepalived puts the virtual address.
    fn virtual_interface(self) -> &'static str {
        match self {
            Self::VirtualMac => "vrrp.60",
            Self::V2 | Self::UnicastV2 | Self::V3 | Self::Unicast => "eth0",
        }
    }
}

/// Programs that it needs.
pub(crate) const PROGRAMS: &[&str] = &["keepalived"];

/// Everything that an election goes through.
pub(crate) fn talk(dialect: Dialect, scratch: &Scratch) -> Result<()> {
    let mut scene = Scene::start(dialect, scratch)?;
    scene.we_are("master", "silence")?;
    scene.start_keepalived(150)?;
    scene.we_are("backup", "outranked")?;
    scene.keepalived_says("Entering MASTER STATE", 1)?;
    let heard = &scene.election()?["heard"];
    ensure!(
        heard["priority"] == 150 && heard["address"] == THEIRS,
        "{heard}"
    );
    scene.stop_keepalived()?;
    scene.we_are("master", "relieved")?;
    scene.start_keepalived(150)?;
    scene.we_are("backup", "outranked")?;
    scene.keepalived_says("Entering MASTER STATE", 2)?;
    scene.kill_keepalived()?;
    scene.we_are("master", "silence")?;
    scene.nothing_is_amiss()?;
    scene.start_keepalived(50)?;
    scene.keepalived_says("Entering BACKUP STATE", 3)?;
    scene.we_are("master", "silence")?;
    scene.we_stop()?;
    scene.keepalived_says("Entering MASTER STATE", 3)
}

/// Who has the better priority and preempts takes the role back when it returns, from a master that works: samctl, which
/// hears everybody first (10 s), and keepalived. Who does not preempt leaves it.
pub(crate) fn preempt(dialect: Dialect, scratch: &Scratch) -> Result<()> {
    let mut scene = Scene::start_with(dialect, Terms::PREEMPTING, scratch)?;
    scene.we_are("master", "silence")?;
    scene.start_keepalived(150)?;
    scene.keepalived_says("Entering BACKUP STATE", 1)?;
    // 1. samctl comes back.
    scene.ours()?.kill()?;
    scene.keepalived_says("Entering MASTER STATE", 1)?;
    scene.ours()?.start_again()?;
    eventually("samctl follows a master that works", || {
        let election = scene.election()?;
        ensure!(
            election["state"] == "backup" && election["heard"]["priority"] == 150,
            "{election}"
        );
        Ok(())
    })?;
    scene.we_are("master", "silence")?;
    scene.keepalived_says("Entering BACKUP STATE", 2)?;
    // 2. keepalived comes back better, and does not preempt; then it does.
    scene.stop_keepalived()?;
    scene.start_keepalived_with(250, "  nopreempt\n")?;
    scene.keepalived_says("Entering BACKUP STATE", 3)?;
    scene.we_stay_master()?;
    scene.stop_keepalived()?;
    scene.start_keepalived(250)?;
    scene.we_are("backup", "outranked")?;
    scene.keepalived_says("Entering MASTER STATE", 2)?;
    // 3. It leaves, and samctl is followed again.
    scene.stop_keepalived()?;
    scene.we_are("master", "relieved")
}

/// How our side takes part.
#[derive(Debug, Clone, Copy)]
struct Terms {
    priority: u8,
    preempt: bool,
    /// Nodes of its fabric; it runs alone, and one of several waits for the routes of others before it preempts.
    nodes: u8,
}

impl Terms {
    const USUAL: Self = Self {
        priority: 100,
        preempt: false,
        nodes: 2,
    };
    const PREEMPTING: Self = Self {
        priority: 200,
        preempt: true,
        nodes: 1,
    };
}

/// samctl and keepalived.
struct Scene {
    dialect: Dialect,
    ours: Option<Router>,
    theirs: Option<Process>,
    namespace: Namespace,
    folder: PathBuf,
    log: PathBuf,
    _world: World,
}

impl Scene {
    fn start(dialect: Dialect, scratch: &Scratch) -> Result<Self> {
        Self::start_with(dialect, Terms::USUAL, scratch)
    }

    fn start_with(dialect: Dialect, terms: Terms, scratch: &Scratch) -> Result<Self> {
        let world = World::build(2)?;
        let fabric = Fabric::new(terms.nodes, None)?;
        let site = world.site(OURS)?;
        let others = if dialect.is_unicast() {
            "peers"
        } else {
            "routers"
        };
        // The other site does not run, which is no reason to give way here.
        let gate = format!(
            "{{vrrp: {{vrid: 60, address: {VIP}, priority: {}, preempt: {}, version: {}, interval: {}, {others}: [{THEIRS}], \
             track: {{tunnels: 0}}}}}}",
            terms.priority,
            terms.preempt,
            dialect.version(),
            dialect.interval().0
        );
        Ok(Self {
            dialect,
            ours: Some(Router::start_when(site, &fabric, scratch, &gate, "")?),
            theirs: None,
            namespace: site.client.clone(),
            folder: scratch.subfolder("keepalived")?,
            log: scratch.path("keepalived.log"),
            _world: world,
        })
    }

    fn election(&self) -> Result<Value> {
        let ours = self.ours.as_ref().context("samctl runs")?;
        Ok(ours.ask(&["vrrp"])?["election"].take())
    }

    fn ours(&mut self) -> Result<&mut Router> {
        self.ours.as_mut().context("samctl runs")
    }

    fn we_are(&self, state: &str, cause: &str) -> Result<()> {
        eventually(&format!("samctl is {state} because of {cause}"), || {
            let election = self.election()?;
            ensure!(
                election["state"] == state && election["cause"] == cause,
                "{election}"
            );
            Ok(())
        })
    }

    fn keepalived_says(&self, text: &str, times: usize) -> Result<()> {
        eventually(&format!("keepalived says '{text}' {times} times"), || {
            let log = std::fs::read_to_string(&self.log)?;
            ensure!(log.matches(text).count() == times, "{log}");
            Ok(())
        })
    }

    /// For longer than an election takes.
    fn we_stay_master(&self) -> Result<()> {
        let sent = |election: &Value| election["sent"].as_u64();
        let before = sent(&self.election()?).context("a count")?;
        eventually("samctl has sent six more advertisements", || {
            let election = self.election()?;
            ensure!(sent(&election) >= Some(before + 6), "{election}");
            Ok(())
        })?;
        self.we_are("master", "silence")
    }

    /// Every advertisement was taken as it is.
    fn nothing_is_amiss(&self) -> Result<()> {
        let ours = self.ours.as_ref().context("samctl runs")?;
        let view = ours.ask(&["vrrp"])?;
        ensure!(view["counters"] == Value::Array(Vec::new()), "{view}");
        ensure!(view["election"]["conflicts"] == 0, "{view}");
        let nobody = Value::Array(Vec::new());
        ensure!(view["election"]["strangers"] == nobody, "{view}");
        let events = ours.order(&["events"])?;
        ensure!(!events.contains("vrrp-stranger"), "{events}");
        Ok(())
    }

    fn start_keepalived(&mut self, priority: u8) -> Result<()> {
        self.start_keepalived_with(priority, "")
    }

    /// Starts it with another line in its configuration.
    fn start_keepalived_with(&mut self, priority: u8, line: &str) -> Result<()> {
        let config = self.folder.join("keepalived.conf");
        let way = match self.dialect {
            Dialect::Unicast | Dialect::UnicastV2 => {
                format!("  unicast_src_ip {THEIRS}\n  unicast_peer {{\n    10.77.60.1\n  }}\n")
            }
            Dialect::VirtualMac => format!("  use_vmac {}\n", self.dialect.virtual_interface()),
            Dialect::V2 | Dialect::V3 => String::new(),
        };
        let text = format!(
            "global_defs {{\n  vrrp_version {}\n}}\nvrrp_instance lan {{\n  state BACKUP\n  interface eth0\n  \
             virtual_router_id 60\n  priority {priority}\n  advert_int {}\n{way}{line}  virtual_ipaddress {{\n    {VIP}\n  }}\n}}\n",
            self.dialect.version(),
            self.dialect.interval().1,
        );
        std::fs::write(&config, text)?;
        let mut command = self.namespace.command(program("keepalived"));
        command
            .args(["-n", "-l", "-D", "--vrrp", "-f"])
            .arg(&config);
        for (option, file) in [("-p", "parent.pid"), ("-r", "vrrp.pid")] {
            command.arg(option).arg(self.folder.join(file));
        }
        self.theirs = Some(Process::start(command, &self.log)?);
        Ok(())
    }

    fn stop_keepalived(&mut self) -> Result<()> {
        let mut theirs = self.theirs.take().context("keepalived runs")?;
        theirs.stop().map(drop)
    }

    /// Kills both of its processes, and removes the address that stays behind.
    fn kill_keepalived(&mut self) -> Result<()> {
        // It says that it is the master before it has the address.
        let interface = self.dialect.virtual_interface();
        eventually("keepalived has the virtual address", || {
            let mut command = self.namespace.command("ip");
            let addresses = output(command.args(["address", "show", "dev", interface]))?;
            ensure!(addresses.contains(VIP), "{addresses}");
            Ok(())
        })?;
        let child = std::fs::read_to_string(self.folder.join("vrrp.pid"))?;
        let mut theirs = self.theirs.take().context("keepalived runs")?;
        // In one go: a parent without child starts another, a child without parent says goodbye.
        let line = format!("kill -9 {} {}", child.trim(), theirs.id());
        output(Command::new("sh").args(["-c", &line]))?;
        theirs.kill()?;
        let mut command = self.namespace.command("ip");
        output(command.args(["address", "del", &format!("{VIP}/32"), "dev", interface]))?;
        for file in ["parent.pid", "vrrp.pid"] {
            std::fs::remove_file(self.folder.join(file)).ok();
        }
        Ok(())
    }

    fn we_stop(&mut self) -> Result<()> {
        // Dropping it is an orderly stop.
        drop(self.ours.take().context("samctl runs")?);
        Ok(())
    }
}

const OURS: Place = Place(1);
const THEIRS: &str = "10.77.60.10";
const VIP: &str = "10.77.60.254";
