//! Two sites with one client each, joined by one transport.
//!
//! ```text
//! near .10 ── lan1 ── router onprem ══ transport, wan (1500) ══ router aws ── lan2 ── .11 far
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, send_ipv4, sh, wait_until};
use sam_testkit::packet::Mac;

use super::Transport;
use crate::case::{samctl, wait_for_ping};

/// Where most clients sit.
pub(super) const NEAR: Site = Site::ONPREM;
/// Where most servers sit.
pub(super) const FAR: Site = Site::AWS;
/// Every check runs once as each of them.
pub(super) const ROUNDS: [&str; 2] = ["first contact", "repeated"];
/// Time for packets to arrive, and for captures to start and end.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where the other client sits.
pub(super) fn other(site: Site) -> Site {
    if site == NEAR { FAR } else { NEAR }
}

/// A running fabric. Before the first transport is tried nothing has passed between the clients, before others pings have.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) fabric: Fabric,
    /// Largest packet between the clients in bytes.
    pub(super) mtu: usize,
    /// Bytes of a large file.
    pub(super) bulk: usize,
    /// Bytes of a bulk stream.
    pub(super) stream: usize,
    /// Whether the transport hides what it carries.
    pub(super) encrypted: bool,
    /// What the configuration says of the transport.
    line: String,
    /// How often it was exchanged.
    exchanged: u8,
    /// Where files about the transport go.
    folder: PathBuf,
}

impl Lab {
    /// Starts both routers.
    pub(super) fn running(transport: &Transport) -> Self {
        let mut fabric = Fabric::new(samctl(), 2);
        let line = line(transport);
        fabric.edit_all("  bgp:", &line);
        // Not the TTL of tunnels.
        for site in [NEAR, FAR] {
            let other = "sysctl -qw net.ipv4.ip_default_ttl=99";
            sh(fabric.topology.router(site), other).success();
        }
        if transport.is_over_ipv6 {
            number_ipv6(&fabric);
        }
        fabric.start_all();
        Self {
            mtu: transport.mtu,
            bulk: transport.bulk,
            stream: transport.stream,
            encrypted: transport.is_encrypted(),
            line,
            exchanged: 0,
            folder: fabric.path(""),
            fabric,
        }
    }

    /// Has both routers exchange the tunnel between them for one of another transport, over the same underlay. When that
    /// fails, it may be tried with the next one.
    pub(super) fn exchange(&mut self, transport: &Transport) {
        let next = line(transport);
        self.fabric.edit_all(&self.line, &next);
        self.line = next;
        self.exchanged += 1;
        self.folder = self.fabric.path(&format!("exchanged-{}", self.exchanged));
        fs::create_dir(&self.folder).expect("a new folder");
        self.mtu = transport.mtu;
        self.bulk = transport.bulk;
        self.stream = transport.stream;
        self.encrypted = transport.is_encrypted();
        for site in [NEAR, FAR] {
            self.fabric.router(site).samctl("reload").success();
        }
        // Pings would be answered through the former tunnel too.
        for site in [NEAR, FAR] {
            let what = format!("the tunnel of {} carries {} bytes", site.name(), self.mtu);
            wait_until(&what, 2 * PATIENCE, || {
                self.tunnel_mtu(site) == Some(self.mtu)
            });
        }
        for site in [NEAR, FAR] {
            wait_for_ping(self.client(site), other(site).client(), 2 * PATIENCE);
        }
    }

    /// The MTU of a site's tunnel to the other one, in bytes.
    fn tunnel_mtu(&self, site: Site) -> Option<usize> {
        let view = self.fabric.router(site).json("tunnels");
        let rows = view["tunnels"].as_array()?;
        let mut rows = rows.iter();
        let row = rows.find(|row| row["node"]["name"] == other(site).name())?;
        usize::try_from(row["mtu"].as_u64()?).ok()
    }

    /// The client of a site.
    pub(super) fn client(&self, site: Site) -> &Namespace {
        self.fabric.topology.client(site)
    }

    /// A path in the folder of the transport.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a check as first contact (no client knows a neighbor or a path MTU) and again; it is told which.
    pub(super) fn twice(&self, check: impl Fn(&str)) {
        self.forget();
        for round in ROUNDS {
            let _told = Round(round);
            check(round);
        }
    }

    /// Puts hand-made packets on the wire of a client, for its router, in order.
    pub(super) fn send<'a>(&self, from: Site, packets: impl Iterator<Item = &'a [u8]> + Send) {
        let view = self.fabric.router(from).json("arp");
        let text = view["mac"].as_str().expect("the router's MAC address");
        let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().expect("hexadecimal");
        let mac: Mac = bytes.try_into().expect("six bytes");
        send_ipv4(self.client(from), "eth0", mac, packets);
    }

    /// Makes the clients forget MAC addresses and learnt path MTUs.
    pub(super) fn forget(&self) {
        for site in [NEAR, FAR] {
            let flush = "ip neighbor flush dev eth0; ip route flush cache";
            sh(self.client(site), flush).success();
        }
    }
}

/// What the configuration says of a transport, in place of the line before.
fn line(transport: &Transport) -> String {
    format!("  transport: {{{}}}\n  bgp:", transport.settings())
}

/// Gives the routers IPv6 addresses on the wire between them, and these as endpoints.
fn number_ipv6(fabric: &Fabric) {
    for site in [NEAR, FAR] {
        let address = format!("2001:db8::{}", site.number());
        let command = format!(
            "ip address add {address}/64 dev wan0 nodad && sysctl -qw net.ipv6.conf.wan0.hop_limit=99"
        );
        sh(fabric.topology.router(site), &command).success();
        let endpoint = format!("{}:51820", site.underlay());
        fabric.edit_all(&endpoint, &format!("[{address}]:51820"));
    }
}

/// Says which round failed.
struct Round(&'static str);

impl Drop for Round {
    fn drop(&mut self) {
        if thread::panicking() {
            writeln!(io::stderr(), "failed in the round: {}", self.0).ok();
        }
    }
}
