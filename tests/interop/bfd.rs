//! samctl against the BFD of FRR (bfdd) and BIRD, inside a tunnel of wireguard-go: sessions, timers, cuts, farewells.
//!
//! ```text
//!   samctl, site 1 ══ WireGuard ══ site 2, a kernel with wireguard-go and the daemon; no BGP
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use sam_net::Namespace;
use serde_json::Value;

use crate::fabric::Fabric;
use crate::kernel_host::KernelHost;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::router::Router;
use crate::scene::{OURS, THEIRS};
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::World;

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// BIRD's protocol bfd.
    Bird,
    /// FRR's bfdd, without zebra.
    Bfdd,
}

/// Who may speak first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The daemon too.
    Active,
    /// The daemon waits until it hears us.
    Passive,
}

impl Kind {
    /// All daemons.
    pub(crate) const ALL: [Self; 2] = [Self::Bird, Self::Bfdd];

    /// Name in tests and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bird => "bird",
            Self::Bfdd => "bfdd",
        }
    }

    /// Programs that it needs.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Bird => &["bird", "birdc"],
            Self::Bfdd => &["bfdd", "vtysh"],
        }
    }
}

impl Role {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Active, Self::Passive];

    /// Name in tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }
}

/// Everything that a session goes through.
pub(crate) fn talk(kind: Kind, role: Role, scratch: &Scratch) -> Result<()> {
    let mut scene = Scene::start(kind, role, scratch)?;
    scene.comes_up("at first")?;
    scene.timers_are_agreed()?;
    scene.a_cut_is_noticed()?;
    scene.comes_up("after the cut")?;
    scene.a_dead_daemon_is_noticed()?;
    scene.comes_up("after the daemon died")?;
    if kind == Kind::Bfdd {
        scene.their_operator_tears_nothing()?;
        scene.comes_up("after their operator let go")?;
    }
    scene.our_farewell_is_heard()
}

/// samctl and a daemon.
struct Scene {
    world: World,
    ours: Router,
    daemon: Option<Daemon>,
    kind: Kind,
    role: Role,
    folder: PathBuf,
    log: PathBuf,
    _host: KernelHost,
}

impl Scene {
    fn start(kind: Kind, role: Role, scratch: &Scratch) -> Result<Self> {
        let world = World::build(2)?;
        let fabric = Fabric::new(2, None)?;
        let host = KernelHost::start(world.site(THEIRS)?, &fabric, scratch, None)?;
        let folder = scratch.subfolder(kind.name())?;
        // bfdd becomes a user of its own, and keeps its sockets here.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
        let log = scratch.path(&format!("{}.log", kind.name()));
        let namespace = world.site(THEIRS)?.router.clone();
        Ok(Self {
            ours: Router::start(world.site(OURS)?, &fabric, scratch, None)?,
            daemon: Some(Daemon::start(kind, role, namespace, &folder, &log)?),
            kind,
            role,
            folder,
            log,
            world,
            _host: host,
        })
    }

    fn theirs(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("no daemon runs")
    }

    /// The session as samctl shows it.
    fn session(&self) -> Result<Value> {
        let view = self.ours.ask(&["bfd"])?;
        let sessions = view["sessions"].as_array().context("no sessions")?;
        let mut sessions = sessions.iter();
        let found = sessions.find(|row| row["address"] == THEIRS.overlay().to_string());
        found.cloned().context("no session")
    }

    fn comes_up(&self, when: &str) -> Result<()> {
        eventually(&format!("both sides are up {when}"), || {
            let session = self.session()?;
            ensure!(session["state"] == "up", "samctl: {session}");
            ensure!(session["next_hop"] != "unreachable", "samctl: {session}");
            let theirs = self.theirs()?.state()?;
            ensure!(theirs == "up", "the daemon: {theirs}");
            Ok(())
        })
    }

    /// We want 300 ms, they want 500: both send every 500. They miss 4, we miss 3.
    fn timers_are_agreed(&self) -> Result<()> {
        let session = eventually("timers are agreed", || {
            let session = self.session()?;
            ensure!(session["transmit_ms"] == 500.0, "{session}");
            ensure!(session["receive_ms"] == 500.0, "{session}");
            Ok(session)
        })?;
        ensure!(session["detection_ms"] == 2_000.0, "{session}");
        ensure!(session["remote_multiplier"] == 4, "{session}");
        let detection = self.theirs()?.detection_ms()?;
        ensure!(detection == 1_500.0, "the daemon waits {detection} ms");
        Ok(())
    }

    fn a_cut_is_noticed(&self) -> Result<()> {
        let site = &self.world.site(OURS)?.router;
        let lost = format!(
            "ip neigh replace {} lladdr 02:00:00:00:00:99 nud permanent dev wan0",
            THEIRS.underlay()
        );
        output(site.command("sh").args(["-c", &lost]))?;
        eventually("both sides notice the cut", || {
            let theirs = self.theirs()?.state()?;
            ensure!(theirs != "up", "the daemon: {theirs}");
            let session = self.session()?;
            ensure!(session["next_hop"] == "unreachable", "{session}");
            // What we send is lost, so they notice first; who is passive does not say so.
            let down = &session["last_down"]["reason"];
            let expected = match self.role {
                Role::Active => "neighbor-down",
                Role::Passive => "detection-time-expired",
            };
            ensure!(
                down == expected || self.kind == Kind::Bfdd && down == "neighbor-down",
                "{session}"
            );
            Ok(())
        })?;
        let mended = format!("ip neigh del {} dev wan0", THEIRS.underlay());
        output(site.command("sh").args(["-c", &mended])).map(drop)
    }

    fn a_dead_daemon_is_noticed(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        daemon.process.kill()?;
        drop(daemon);
        eventually("we notice that the daemon is dead", || {
            let session = self.session()?;
            let down = &session["last_down"]["reason"];
            ensure!(down == "detection-time-expired", "{session}");
            ensure!(session["next_hop"] == "unreachable", "{session}");
            Ok(())
        })?;
        let namespace = self.world.site(THEIRS)?.router.clone();
        let daemon = Daemon::start(self.kind, self.role, namespace, &self.folder, &self.log)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn their_operator_tears_nothing(&self) -> Result<()> {
        let before = self.session()?["failures"].clone();
        self.theirs()?.configure("shutdown")?;
        eventually("we hear of their operator", || {
            let session = self.session()?;
            let down = &session["last_down"]["reason"];
            ensure!(down == "neighbor-admin-down", "{session}");
            ensure!(session["failures"] == before, "{session}");
            ensure!(session["next_hop"] != "unreachable", "{session}");
            Ok(())
        })?;
        self.theirs()?.configure("no shutdown")
    }

    fn our_farewell_is_heard(&mut self) -> Result<()> {
        self.ours.stop()?;
        eventually("the daemon hears our farewell", || {
            let theirs = self.theirs()?.state()?;
            ensure!(theirs == "down", "the daemon: {theirs}");
            Ok(())
        })
    }
}

/// A running daemon with one session.
struct Daemon {
    kind: Kind,
    namespace: Namespace,
    folder: PathBuf,
    process: Process,
}

impl Daemon {
    fn start(
        kind: Kind,
        role: Role,
        namespace: Namespace,
        folder: &std::path::Path,
        log: &std::path::Path,
    ) -> Result<Self> {
        let config = folder.join("config");
        let mut command = namespace.command(program(kind.name()));
        match kind {
            Kind::Bird => {
                fs::write(&config, bird(role))?;
                command.args(["-f", "-c"]).arg(&config);
                command.arg("-s").arg(folder.join("control"));
            }
            Kind::Bfdd => {
                fs::write(&config, bfdd(role))?;
                command.args(["-P", "0", "--log", "stdout", "-f"]);
                command.arg(&config).arg("-i").arg(folder.join("pid"));
                command.arg("--vty_socket").arg(folder);
                command.arg("--bfdctl").arg(folder.join("control"));
            }
        }
        let mut daemon = Self {
            kind,
            namespace,
            folder: folder.to_owned(),
            process: Process::start(command, log)?,
        };
        eventually("the daemon answers", || {
            daemon.process.check_alive()?;
            daemon.state()
        })?;
        Ok(daemon)
    }

    /// State of the session in one word, in lower case.
    fn state(&self) -> Result<String> {
        match self.kind {
            Kind::Bird => Ok(self.bird_row()?[2].to_lowercase()),
            Kind::Bfdd => {
                let status = self.bfdd_peer()?["status"].clone();
                let status = status.as_str().context("no status")?;
                Ok(status.to_owned())
            }
        }
    }

    /// How long the daemon waits, in milliseconds.
    fn detection_ms(&self) -> Result<f64> {
        match self.kind {
            // The row ends in interval and timeout, in seconds.
            Kind::Bird => {
                let row = self.bird_row()?;
                let last = row.last().context("no timeout")?;
                Ok(last.parse::<f64>()? * 1e3)
            }
            Kind::Bfdd => {
                let peer = self.bfdd_peer()?;
                let number = |name: &str| peer[name].as_f64().context("no number");
                let interval = number("receive-interval")?.max(number("remote-transmit-interval")?);
                Ok(interval * number("remote-detect-multiplier")?)
            }
        }
    }

    fn bird_row(&self) -> Result<Vec<String>> {
        let mut command = self.namespace.command(program("birdc"));
        command.arg("-s").arg(self.folder.join("control"));
        let text = output(command.args(["show", "bfd", "sessions"]))?;
        let address = OURS.overlay().to_string();
        let mut rows = text
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect());
        rows.find(|row: &Vec<String>| row.first() == Some(&address) && row.len() >= 6)
            .with_context(|| format!("no session: {text}"))
    }

    fn bfdd_peer(&self) -> Result<Value> {
        let text = self.vtysh(&["show bfd peers json"])?;
        let peers: Value = serde_json::from_str(&text).context("no JSON")?;
        Ok(peers[0].clone())
    }

    fn configure(&self, order: &str) -> Result<()> {
        self.vtysh(&["configure terminal", "bfd", &peer(), order])
            .map(drop)
    }

    fn vtysh(&self, orders: &[&str]) -> Result<String> {
        let mut command = self.namespace.command(program("vtysh"));
        command.arg("--vty_socket").arg(&self.folder);
        command.args(["-d", "bfdd"]);
        for order in orders {
            command.args(["-c", order]);
        }
        output(&mut command)
    }
}

fn bird(role: Role) -> String {
    let passive = if role == Role::Passive { "yes" } else { "no" };
    format!(
        "router id {own};\nlog stderr all;\nprotocol device {{ }}\nprotocol bfd {{\n  interface \"wg0\" {{ min rx \
         interval 500 ms; min tx interval 500 ms; idle tx interval 1 s; multiplier 4; passive {passive}; }};\n  \
         neighbor {far} dev \"wg0\" local {own};\n}}\n",
        own = THEIRS.overlay(),
        far = OURS.overlay(),
    )
}

fn bfdd(role: Role) -> String {
    let passive = match role {
        Role::Passive => "  passive-mode\n",
        Role::Active => "",
    };
    format!(
        "hostname bfdd\nbfd\n {peer}\n  detect-multiplier 4\n  receive-interval 500\n  transmit-interval 500\n{passive} \
         exit\n",
        peer = peer(),
    )
}

/// How bfdd names the session.
fn peer() -> String {
    let (far, own) = (OURS.overlay(), THEIRS.overlay());
    format!("peer {far} local-address {own}")
}
