//! Routes that were forgotten, because a peer told more than may be kept: asked for again when there is room for them
//! (RFC 2918), or when a new policy judges.
//!
//! The answer is the whole table. So a peer is asked for lack of routes once, and then not again for a while, however its
//! routes come and go.

use std::time::{Duration, Instant};

use super::neighbor::Neighbor;
use super::tables::Tables;
use crate::config::PeerId;
use crate::wire::Prefix;

/// Least time between two questions to one peer.
const INTERVAL: Duration = Duration::from_secs(30);

/// What a neighbor was and is to be asked.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// A new policy judges what was forgotten.
    pub(super) ordered: bool,
    /// When it was last asked because there was room.
    asked_at: Option<Instant>,
}

impl<P, N: Prefix> Tables<P, N> {
    /// Takes the neighbors that are to be asked for all their routes.
    pub(crate) fn take_recalled(&mut self, now: Instant) -> Vec<PeerId> {
        let mut recalled = Vec::new();
        for (peer, neighbor) in &mut self.neighbors {
            let due = neighbor.recall_at().is_none_or(|at| at <= now);
            let room = due && neighbor.misses_routes();
            if room {
                neighbor.recall.asked_at = Some(now);
                neighbor.adj_rib_in.take_overflowed();
            }
            if std::mem::take(&mut neighbor.recall.ordered) || room {
                recalled.push(*peer);
            }
        }
        recalled
    }

    /// Returns when [`Self::take_recalled`] has something, if not at once.
    pub(crate) fn recall_deadline(&self) -> Option<Instant> {
        let missing = self.neighbors.values();
        let missing = missing.filter(|neighbor| neighbor.misses_routes());
        missing.filter_map(Neighbor::recall_at).min()
    }
}

impl<N: Prefix> Neighbor<N> {
    fn misses_routes(&self) -> bool {
        self.established && self.adj_rib_in.misses_routes()
    }

    /// Returns from when on it may be asked again.
    fn recall_at(&self) -> Option<Instant> {
        Some(self.recall.asked_at? + INTERVAL)
    }
}
