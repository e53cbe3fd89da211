//! Two sites with one client each, joined by one transport.
//!
//! ```text
//! near .10 ── lan1 ── router onprem ══ transport, wan (1500) ══ router aws ── lan2 ── .11 far
//! ```

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh};

use super::Transport;
use crate::case::samctl;

/// Where most clients sit.
pub(super) const NEAR: Site = Site::ONPREM;
/// Where most servers sit.
pub(super) const FAR: Site = Site::AWS;

/// A running fabric; nothing has passed between the clients yet.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) fabric: Fabric,
    /// Largest packet between the clients in bytes.
    pub(super) mtu: usize,
    /// Bytes of a large file or stream.
    pub(super) bulk: usize,
}

impl Lab {
    /// Starts both routers.
    pub(super) fn running(transport: &Transport) -> Self {
        let mut fabric = Fabric::new(samctl(), 2);
        if let Some(encap) = transport.encap {
            let line = format!("  transport: {{{encap}, trustedUnderlay: true}}\n  bgp:");
            fabric.edit_all("  bgp:", &line);
        }
        fabric.start_all();
        Self {
            fabric,
            mtu: transport.mtu,
            bulk: transport.bulk,
        }
    }

    /// The client of a site.
    pub(super) fn client(&self, site: Site) -> &Namespace {
        self.fabric.topology.client(site)
    }

    /// A path in the folder of the fabric.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.fabric.path(name)
    }

    /// Runs a check as first contact (no client knows a neighbor or a path MTU) and again; it is told which.
    pub(super) fn twice(&self, check: impl Fn(&str)) {
        self.forget();
        for round in ["first contact", "repeated"] {
            let _told = Round(round);
            check(round);
        }
    }

    /// Makes the clients forget MAC addresses and learnt path MTUs.
    pub(super) fn forget(&self) {
        for site in [NEAR, FAR] {
            let flush = "ip neighbor flush dev eth0; ip route flush cache";
            sh(self.client(site), flush).success();
        }
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
