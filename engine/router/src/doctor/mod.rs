//! `samctl doctor`: what is wrong, and what to do about it. A pure function of [`Evidence`].
//!
//! Each area is one file with one function per check. A check whose fact could not be read is skipped, never passed.
//! Exit rule of routerd (mobility.md section 1.5): only a failed check fails the command. So `fail` says that this
//! router is broken or cut off; a node that is down elsewhere is a warning here
//! (engine/decisions/0006-doctor-fails-for-faults-here.md).

mod bgp;
mod capture;
#[cfg(test)]
mod capture_tests;
mod discovery;
mod drops;
mod host;
mod kernel_tunnel;
mod lan;
mod owners;
mod routes;
#[cfg(test)]
mod tests;
mod tunnel;
mod vrrp;

use std::time::Instant;

use sam_bgp::LOOP_REASONS;

use crate::Router;
use crate::config::Config;
use crate::facts::Facts;
use crate::peers::node_of;
use crate::view::{
    ArpView, BfdView, BgpNeighborsView, CapturesView, CheckRow, CheckStatus, DiscoveryView,
    DoctorSummary, DoctorView, DrainView, HandoversView, NodeRef, OwnersView, RoutesView,
    TunnelsView, VrrpView,
};

/// Everything that checks and explanations look at.
#[derive(Debug, Clone)]
pub(crate) struct Evidence<'a> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a Facts,
    pub(crate) owners: OwnersView,
    /// Configured addresses that an operator withdrew.
    pub(crate) withdrawn: Vec<std::net::Ipv4Addr>,
    /// Addresses that our LAN gave to another site, as was found out.
    pub(crate) given_away: Vec<std::net::Ipv4Addr>,
    pub(crate) routes: RoutesView,
    pub(crate) neighbors: BgpNeighborsView,
    /// Routes refused now: peer, prefix, reason.
    pub(crate) rejected: Vec<(NodeRef, ipnet::Ipv4Net, &'static str)>,
    pub(crate) tunnels: TunnelsView,
    /// Where our outer packets come from, as far as known.
    pub(crate) outer_source: Option<std::net::IpAddr>,
    pub(crate) arp: ArpView,
    pub(crate) discovery: DiscoveryView,
    pub(crate) bfd: Option<BfdView>,
    pub(crate) vrrp: Option<VrrpView>,
    pub(crate) drain: DrainView,
    pub(crate) handovers: HandoversView,
    pub(crate) captures: CapturesView,
}

impl Router {
    /// `samctl doctor`
    #[must_use]
    pub fn doctor(&self, facts: &Facts, now: Instant) -> DoctorView {
        examine(&self.evidence(facts, now))
    }

    /// Gathers what checks and explanations look at.
    pub(crate) fn evidence<'a>(&'a self, facts: &'a Facts, now: Instant) -> Evidence<'a> {
        // What foreign neighbors may not tell is a matter of policy, and shown with the neighbor.
        let peers = self.speaker.peers().into_iter();
        let nodes = peers.filter(|peer| !peer.role.is_external());
        let rejected = nodes.flat_map(|peer| {
            let node = NodeRef::new(&self.config, node_of(peer.id));
            let refused = self.speaker.rejected(peer.id).into_iter();
            let refused = refused.filter(|refused| !LOOP_REASONS.contains(&refused.reason));
            refused.map(move |refused| (node.clone(), refused.prefix, refused.reason))
        });
        Evidence {
            config: &self.config,
            facts,
            owners: self.owners(now),
            withdrawn: self.state.withdrawn.iter().copied().collect(),
            given_away: self.state.given_away.iter().copied().collect(),
            routes: self.routes(),
            neighbors: self.bgp_neighbors(now),
            rejected: rejected.collect(),
            tunnels: self.tunnels(facts, now),
            outer_source: self.host.outer_source,
            arp: self.arp(facts, now),
            discovery: self.discovery(now),
            bfd: self.has_bfd().then(|| self.bfd(facts, now)),
            vrrp: self.config.vrrp().map(|_| self.vrrp(facts, now)),
            drain: self.drain(),
            handovers: self.handovers(),
            captures: self.captures(now),
        }
    }
}

/// Runs all checks.
#[must_use]
pub(crate) fn examine(evidence: &Evidence<'_>) -> DoctorView {
    let mut checks = Vec::new();
    host::check(evidence, &mut checks);
    lan::check(evidence, &mut checks);
    discovery::check(evidence, &mut checks);
    vrrp::check(evidence, &mut checks);
    capture::check(evidence, &mut checks);
    tunnel::check(evidence, &mut checks);
    bgp::check(evidence, &mut checks);
    routes::check(evidence, &mut checks);
    owners::check(evidence, &mut checks);
    drops::check(evidence, &mut checks);
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let overall = checks
        .iter()
        .map(|check| check.status)
        .max()
        .unwrap_or(CheckStatus::Skip);
    DoctorView {
        overall,
        summary: DoctorSummary {
            overall,
            pass: count(CheckStatus::Pass),
            warn: count(CheckStatus::Warn),
            fail: count(CheckStatus::Fail),
            skip: count(CheckStatus::Skip),
        },
        checks,
    }
}

/// Judges that another node cannot be reached: the fault is here only if no node can be reached.
fn away(isolated: bool) -> CheckStatus {
    if isolated {
        CheckStatus::Fail
    } else {
        CheckStatus::Warn
    }
}

/// Starts a check result.
fn result(area: &str, name: &str, status: CheckStatus, message: impl Into<String>) -> CheckRow {
    CheckRow {
        area: area.into(),
        name: name.into(),
        status,
        message: message.into(),
        detail: None,
        remedy: None,
    }
}

fn pass(area: &str, name: &str, message: impl Into<String>) -> CheckRow {
    result(area, name, CheckStatus::Pass, message)
}

fn warn(area: &str, name: &str, message: impl Into<String>) -> CheckRow {
    result(area, name, CheckStatus::Warn, message)
}

fn fail(area: &str, name: &str, message: impl Into<String>) -> CheckRow {
    result(area, name, CheckStatus::Fail, message)
}

fn skip(area: &str, name: &str, message: impl Into<String>) -> CheckRow {
    result(area, name, CheckStatus::Skip, message)
}

impl CheckRow {
    /// Adds what to do.
    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds more.
    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// Writes a list for people; long lists end in a number.
fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    const SHOWN: usize = 8;
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => items.join(", "),
        Some(more) => format!("{} and {more} more", items[..SHOWN].join(", ")),
    }
}
