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
    /// Configured interval in milliseconds; `None` when BFD is off.
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
    /// Those of them that are to be watched and have no session, by address: sockets towards them could not be opened, or the
    /// thread of BFD is silent.
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
    /// What follows for routes by this node: `usable`, `held-up` (other paths are preferred) or `unreachable`.
    pub next_hop: String,
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
    /// Sessions.
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
        let steady_at = self.path_watch.steady_at(node);
        let next_hop = match (self.path_watch.has_failed(node), steady_at) {
            (true, _) => "unreachable",
            (false, Some(_)) => "held-up",
            (false, None) => "usable",
        };
        Some(BfdRow {
            node: NodeRef::new(&self.config, node),
            session,
            next_hop: next_hop.into(),
            held_up_s: steady_at.map(|at| at.saturating_duration_since(now).as_secs_f64()),
            flaps: self.path_watch.flaps(node, now),
        })
    }

    /// BFD on one line; `None` when it is off.
    pub(crate) fn bfd_summary(&self, facts: &Facts) -> Option<BfdSummary> {
        self.config.fabric.bfd?;
        let sessions = &facts.bfd.sessions;
        Some(BfdSummary {
            up: sessions.iter().filter(|session| session.is_up()).count(),
            configured: sessions.len(),
            scheduling: facts.bfd.scheduling.clone(),
        })
    }
}
