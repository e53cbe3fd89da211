//! The scene of a BGP test: samctl and a foreign daemon as iBGP peers over WireGuard, in one of three casts.
//!
//! Site 1 is always samctl, site 2 always the daemon on a kernel with wireguard-go, site 3 another samctl where the
//! cast has one.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};

use crate::daemon::{Announcement, Daemon, Kind, Setup};
use crate::fabric::Fabric;
use crate::kernel_host::KernelHost;
use crate::router::Router;
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, World};

/// samctl.
pub(crate) const OURS: Place = Place(1);
/// The daemon.
pub(crate) const THEIRS: Place = Place(2);
/// Another samctl.
pub(crate) const THIRD: Place = Place(3);

/// Who is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cast {
    /// samctl reflects, the daemon and site 3 are its clients.
    Client,
    /// The daemon reflects between sites 1 and 3.
    Reflector,
    /// Two equal peers.
    Peer,
}

/// Everything that runs.
pub(crate) struct Scene {
    /// Who is what.
    pub(crate) cast: Cast,
    /// Which daemon.
    pub(crate) kind: Kind,
    /// Whether the daemon is told to receive and send several paths to a prefix.
    pub(crate) add_path: bool,
    /// Namespaces.
    pub(crate) world: World,
    /// samctl at site 1.
    pub(crate) ours: Router,
    /// samctl at site 3.
    pub(crate) third: Option<Router>,
    /// The daemon; `None` while it is being started again.
    daemon: Option<Box<dyn Daemon>>,
    setup: Setup,
    _host: KernelHost,
}

impl Cast {
    /// All casts.
    pub(crate) const ALL: [Self; 3] = [Self::Client, Self::Reflector, Self::Peer];

    /// What the daemon is, for names of tests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client_of_our_reflector",
            Self::Reflector => "our_reflector",
            Self::Peer => "ordinary_peer",
        }
    }

    /// Whether samctl calls the daemon: a reflector waits for its clients.
    pub(crate) fn we_call(self) -> bool {
        self != Self::Client
    }

    fn sites(self) -> u8 {
        if self == Self::Peer { 2 } else { 3 }
    }

    /// The node that reflects.
    pub(crate) fn reflector(self) -> Option<Place> {
        match self {
            Self::Client => Some(OURS),
            Self::Reflector => Some(THEIRS),
            Self::Peer => None,
        }
    }
}

impl Scene {
    /// Builds the world, starts everything, and waits until both sides call the session Established.
    pub(crate) fn start(cast: Cast, kind: Kind, add_path: bool, scratch: &Scratch) -> Result<Self> {
        Self::start_with(cast, kind, add_path, false, scratch)
    }

    /// The same; `graceful`: the daemon does graceful restart in full.
    pub(crate) fn start_with(
        cast: Cast,
        kind: Kind,
        add_path: bool,
        graceful: bool,
        scratch: &Scratch,
    ) -> Result<Self> {
        let world = World::build(cast.sites())?;
        let fabric = Fabric::new(cast.sites(), cast.reflector())?;
        let host = KernelHost::start(world.site(THEIRS)?, &fabric, scratch, None)?;
        let neighbors = match cast {
            Cast::Reflector => vec![OURS, THIRD],
            Cast::Client | Cast::Peer => vec![OURS],
        };
        let setup = Setup {
            namespace: world.site(THEIRS)?.router.clone(),
            folder: scratch.subfolder(kind.name())?,
            log: scratch.path(&format!("{}.log", kind.name())),
            own: THEIRS,
            neighbors,
            reflector: cast == Cast::Reflector,
            graceful,
            restarted: false,
            add_path,
            ipv6: false,
        };
        let third = match cast {
            Cast::Peer => None,
            Cast::Client | Cast::Reflector => {
                let site = world.site(THIRD)?;
                Some(Router::start(site, &fabric, scratch, None)?)
            }
        };
        let scene = Self {
            cast,
            kind,
            add_path,
            ours: Router::start(world.site(OURS)?, &fabric, scratch, None)?,
            third,
            daemon: Some(kind.start(&setup)?),
            setup,
            _host: host,
            world,
        };
        scene.wait_until_established()?;
        Ok(scene)
    }

    /// Waits until both sides of every session call it Established.
    pub(crate) fn wait_until_established(&self) -> Result<()> {
        eventually("both sides are Established", || {
            let view = self.ours.neighbor(THEIRS)?;
            ensure!(view["state"] == "established", "samctl: {}", view["state"]);
            for neighbor in &self.setup.neighbors {
                let name = neighbor.name();
                ensure!(
                    self.theirs()?.established(*neighbor)?,
                    "the daemon does not call {name} established"
                );
            }
            Ok(())
        })
    }

    /// The daemon, to be asked.
    pub(crate) fn theirs(&self) -> Result<&dyn Daemon> {
        self.daemon.as_deref().context("no daemon runs")
    }

    /// The daemon, to be told.
    pub(crate) fn tell(&mut self) -> Result<&mut Box<dyn Daemon>> {
        self.daemon.as_mut().context("no daemon runs")
    }

    /// Kills the daemon, starts it again and lets it announce what it did before.
    pub(crate) fn restart_daemon(&mut self, routes: &[Announcement]) -> Result<()> {
        self.kill_daemon()?;
        self.start_daemon(routes)
    }

    /// Kills the daemon; what its kernel forwards goes on.
    pub(crate) fn kill_daemon(&mut self) -> Result<()> {
        self.tell()?.kill()?;
        // Its files and its port must be free before the next one starts.
        self.daemon = None;
        Ok(())
    }

    /// Starts the killed daemon again and lets it announce what it did before.
    pub(crate) fn start_daemon(&mut self, routes: &[Announcement]) -> Result<()> {
        self.setup.restarted = self.setup.graceful;
        self.daemon = Some(self.kind.start(&self.setup)?);
        for route in routes {
            self.tell()?.announce(route)?;
        }
        Ok(())
    }

    /// Kills samctl of site 1 and starts it again after `meanwhile`.
    pub(crate) fn restart_ours(
        &mut self,
        meanwhile: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        self.ours.kill()?;
        meanwhile(self)?;
        self.ours.start_again()
    }

    /// CLUSTER_LIST of a route that was reflected once.
    pub(crate) fn cluster_list(&self) -> Vec<Ipv4Addr> {
        let reflector = self.cast.reflector();
        reflector.map(Place::overlay).into_iter().collect()
    }
}
