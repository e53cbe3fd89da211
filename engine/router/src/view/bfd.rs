//! `samctl bfd`: the sessions, what was negotiated, and what follows for routes.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::NodeId;
use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Router;
use crate::facts::{BfdSessionFacts, CounterFacts, Facts};
use crate::peers::other_nodes;

/// `samctl bfd`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BfdView {
    /// Configured interval in milliseconds; `None` when BFD between nodes is off.
    pub interval_ms: Option<f64>,
    /// Configured multiplier.
    pub multiplier: Option<u8>,
    /// `real-time`, or why not.
    pub scheduling: String,
    /// Sessions, by node id.
    pub sessions: Vec<BfdRow>,
    /// Sessions with BGP neighbors outside of the fabric, by address.
    #[serde(default)]
    pub neighbors: Vec<BfdRow>,
    /// Whether the thread of BFD did not answer in time; then this is what it said last.
    #[serde(default)]
    pub silent: bool,
    /// Those of them that are to be watched and have no session, by address: sockets towards them could not be opened, or BFD
    /// does not run. Empty while it is silent.
    #[serde(default)]
    pub without_session: Vec<NodeRef>,
    /// Datagrams that did not count, by reason; reasons that never occurred are left out.
    pub discarded: Vec<CounterFacts>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BfdRow {
    /// The node.
    pub node: NodeRef,
    /// The session.
    #[serde(flatten)]
    pub session: BfdSessionFacts,
    /// What follows for routes by this node: `usable`, `held-up` (other paths are preferred) or `unreachable`. `None` with a
    /// neighbor outside of the fabric: its BGP session ends, and nothing else follows.
    pub next_hop: Option<String>,
    /// Seconds until a held-up next hop is as good as any.
    pub held_up_s: Option<f64>,
    /// Failures within ten minutes.
    pub flaps: usize,
}

/// BFD in `samctl status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdSummary {
    /// Sessions that are up.
    pub up: usize,
    /// Sessions with nodes, and neighbors outside of the fabric that are to be watched.
    pub configured: usize,
    /// `real-time`, or why not.
    pub scheduling: String,
}

impl Router {
    /// `samctl bfd`
    #[must_use]
    pub fn bfd(&self, facts: &Facts, now: Instant) -> BfdView {
        let timing = self.config.fabric.bfd;
        let nodes = other_nodes(&self.config);
        let (mut neighbors, mut without_session) = (Vec::new(), Vec::new());
        for address in self.config.local.foreign.watched() {
            let node = NodeId(address.into());
            match self.bfd_row(node, address, facts, now) {
                Some(row) => neighbors.push(row),
                None if facts.bfd.silent => {}
                None => without_session.push(NodeRef::new(&self.config, node)),
            }
        }
        let discarded = facts.bfd.discarded.iter();
        BfdView {
            interval_ms: timing.map(|timing| timing.interval.as_secs_f64() * 1e3),
            multiplier: timing.map(|timing| timing.multiplier),
            scheduling: facts.bfd.scheduling.clone(),
            sessions: nodes
                .filter_map(|node| self.bfd_row(node.id, node.overlay, facts, now))
                .collect(),
            neighbors,
            silent: facts.bfd.silent,
            without_session,
            discarded: discarded
                .filter(|counter| counter.value > 0)
                .cloned()
                .collect(),
        }
    }

    /// The session with one node, or one neighbor outside of the fabric.
    pub(crate) fn bfd_row(
        &self,
        node: NodeId,
        address: Ipv4Addr,
        facts: &Facts,
        now: Instant,
    ) -> Option<BfdRow> {
        let mut sessions = facts.bfd.sessions.iter();
        let session = sessions.find(|session| session.address == address)?.clone();
        let is_outside = self.is_watched_outside(address);
        let steady_at = self.path_watch.steady_at(node).filter(|_| !is_outside);
        let next_hop = match (self.path_watch.has_failed(node), steady_at) {
            (true, _) => "unreachable",
            (false, Some(_)) => "held-up",
            (false, None) => "usable",
        };
        Some(BfdRow {
            node: NodeRef::new(&self.config, node),
            session,
            next_hop: (!is_outside).then(|| next_hop.into()),
            held_up_s: steady_at.map(|at| at.saturating_duration_since(now).as_secs_f64()),
            flaps: self.path_watch.flaps(node, now),
        })
    }

    /// BFD on one line; `None` when it is off.
    pub(crate) fn bfd_summary(&self, facts: &Facts) -> Option<BfdSummary> {
        let sessions = facts.bfd.sessions.iter();
        let is_of_node = |session: &&BfdSessionFacts| !self.is_watched_outside(session.address);
        let nodes = sessions.clone().filter(is_of_node).count();
        self.has_bfd().then(|| BfdSummary {
            up: sessions.filter(|session| session.is_up()).count(),
            configured: nodes + self.config.local.foreign.watched().count(),
            scheduling: facts.bfd.scheduling.clone(),
        })
    }

    /// Tells whether anybody is to be watched by BFD.
    pub(crate) fn has_bfd(&self) -> bool {
        let mut outside = self.config.local.foreign.watched();
        self.config.fabric.bfd.is_some() || outside.next().is_some()
    }

    fn is_watched_outside(&self, address: Ipv4Addr) -> bool {
        let mut outside = self.config.local.foreign.watched();
        outside.any(|watched| watched == address)
    }
}
