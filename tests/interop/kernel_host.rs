//! A foreign router: wireguard-go or boringtun as its tunnel, the kernel as its forwarder, set up by hand like any Linux machine.
//!
//! Both keep their control socket under /run; they get a private one, so that nothing of it is seen outside.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sam_net::netlink::Route;
use sam_net::{Namespace, Netlink};

use crate::fabric::{Fabric, WG_PORT};
use crate::process::{Process, output};
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, Site, configure, network};

/// What makes the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// wireguard-go.
    WireguardGo,
    /// boringtun.
    Boringtun,
}

/// A router namespace with such a program; dropping it stops it.
pub(crate) struct KernelHost {
    namespace: Namespace,
    process: Process,
    preshared: Option<PathBuf>,
}

/// What `wg show` tells about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerStatus {
    /// Where it was last heard from.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Time of the newest handshake in seconds of the epoch; 0 without any.
    pub(crate) handshake: u64,
}

impl Program {
    /// All programs.
    pub(crate) const ALL: [Self; 2] = [Self::WireguardGo, Self::Boringtun];

    /// Its name in tests and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
        }
    }

    /// What has to be installed.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::WireguardGo => &["wireguard-go"],
            Self::Boringtun => &["boringtun-cli"],
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go -f",
            Self::Boringtun => "boringtun-cli -f --disable-drop-privileges",
        }
    }
}

impl KernelHost {
    /// Starts wireguard-go in a site's router namespace, with all other nodes as peers.
    pub(crate) fn start(
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
        preshared: Option<&Path>,
    ) -> Result<Self> {
        Self::start_with(Program::WireguardGo, site, fabric, scratch, preshared)
    }

    /// Starts a program, without preshared keys.
    pub(crate) fn start_program(
        program: Program,
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
    ) -> Result<Self> {
        Self::start_with(program, site, fabric, scratch, None)
    }

    fn start_with(
        program: Program,
        site: &Site,
        fabric: &Fabric,
        scratch: &Scratch,
        preshared: Option<&Path>,
    ) -> Result<Self> {
        let place = site.place;
        let name = place.name();
        let key = scratch.write(&format!("{name}.key"), &fabric.private_key(place))?;
        let mut command = site.router.command("unshare");
        let run = program.command();
        command
            .args(["-m", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs none /run && mkdir /run/wireguard && exec {run} wg0"
            ))
            .env("LOG_LEVEL", "verbose")
            .env("WG_PROCESS_FOREGROUND", "1");
        let log = format!("{name}-{}.log", program.name());
        let process = Process::start(command, &scratch.path(&log))?;
        let mut host = Self {
            namespace: site.router.clone(),
            process,
            preshared: preshared.map(Path::to_owned),
        };
        let key = key.display().to_string();
        let port = WG_PORT.to_string();
        eventually("the program takes its key", || {
            host.process.check_alive()?;
            host.wg(&["set", "wg0", "listen-port", &port, "private-key", &key])
        })?;
        for peer in fabric.others(place) {
            host.add_peer(fabric, peer)?;
        }
        host.namespace
            .enter(|| forward_by_kernel(place, fabric))??;
        Ok(host)
    }

    /// Adds a peer with the underlay address that the fabric knows.
    pub(crate) fn add_peer(&self, fabric: &Fabric, peer: Place) -> Result<()> {
        let endpoint = fabric
            .is_callable(peer)
            .then(|| format!("{}:{WG_PORT}", peer.underlay()));
        self.add_peer_at(fabric, peer, endpoint.as_deref())
    }

    /// Adds a peer, with an endpoint or without.
    pub(crate) fn add_peer_at(
        &self,
        fabric: &Fabric,
        peer: Place,
        endpoint: Option<&str>,
    ) -> Result<()> {
        let allowed = format!("{}/32,{}/32", peer.overlay(), peer.client());
        let key = fabric.public_key(peer);
        let mut args = vec!["set", "wg0", "peer", &key, "allowed-ips", &allowed];
        if let Some(endpoint) = endpoint {
            args.extend(["endpoint", endpoint]);
        }
        let file = self
            .preshared
            .as_ref()
            .map(|file| file.display().to_string());
        if let Some(file) = &file {
            args.extend(["preshared-key", file]);
        }
        self.wg(&args).map(drop)
    }

    /// Removes a peer and its session.
    pub(crate) fn remove_peer(&self, fabric: &Fabric, peer: Place) -> Result<()> {
        let key = fabric.public_key(peer);
        self.wg(&["set", "wg0", "peer", &key, "remove"]).map(drop)
    }

    /// Runs `wg` where the control socket can be seen.
    pub(crate) fn wg(&self, args: &[&str]) -> Result<String> {
        let mut command = self.namespace.command("nsenter");
        let process = self.process.id().to_string();
        output(command.args(["-t", &process, "-m", "wg"]).args(args))
    }

    /// `wg show wg0 dump` of one peer.
    pub(crate) fn peer(&self, fabric: &Fabric, peer: Place) -> Result<PeerStatus> {
        let key = fabric.public_key(peer);
        let dump = self.wg(&["show", "wg0", "dump"])?;
        for line in dump.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            if let [found, _, endpoint, _, handshake, ..] = fields[..]
                && found == key
            {
                return Ok(PeerStatus {
                    endpoint: endpoint.parse().ok(),
                    handshake: handshake.parse().context("no time of a handshake")?,
                });
            }
        }
        bail!("wireguard-go has no such peer:\n{dump}")
    }
}

/// Addresses, routes and the kernel's forwarding: what the operator of such a machine does by hand.
fn forward_by_kernel(place: Place, fabric: &Fabric) -> Result<()> {
    let mut netlink = Netlink::open()?;
    configure(&mut netlink, "wg0", place.overlay(), 24)?;
    let index = netlink.link("wg0")?.index;
    netlink.set_mtu(index, 1420)?;
    for peer in fabric.others(place) {
        netlink.replace_route(&Route::on_link(network(peer.client(), 32), index))?;
    }
    for (setting, value) in [
        ("ip_forward", "1"),
        ("conf/lan0/proxy_arp", "1"),
        ("neigh/lan0/proxy_delay", "0"),
        ("conf/all/send_redirects", "0"),
        ("conf/lan0/send_redirects", "0"),
    ] {
        let path = format!("/proc/sys/net/ipv4/{setting}");
        std::fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}
