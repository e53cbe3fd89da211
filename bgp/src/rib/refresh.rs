//! What a peer tells again (RFC 7313): routes that it knew of before and does not name between BoRR and EoRR are gone there,
//! though it never withdrew them.
//!
//! Until then they are as good as all others: a refresh changes no decision.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::neighbor::Neighbor;
use super::tables::Tables;
use crate::config::PeerId;
use crate::policy::Policy;
use crate::wire::{Nlri, Prefix};

/// How long the end of a refresh is waited for; routes that were not told again by then count as gone.
const LIMIT: Duration = Duration::from_secs(360);

/// A refresh under way.
#[derive(Debug)]
pub(super) struct Refresh<N: Prefix> {
    /// What was known when it began, and was not told again yet.
    missing: BTreeSet<Nlri<N>>,
    /// What was told since it began, and is kept.
    told: BTreeSet<Nlri<N>>,
    until: Instant,
}

impl<N: Prefix> Refresh<N> {
    /// Notes that a route was withdrawn.
    pub(super) fn note_withdrawn(&mut self, route: &Nlri<N>) {
        self.missing.remove(route);
        self.told.remove(route);
    }

    /// Notes that a route was told, and whether it is kept.
    fn note_told(&mut self, route: Nlri<N>, kept: bool) {
        self.missing.remove(&route);
        if kept {
            self.told.insert(route);
        }
    }

    /// Begins anew. That costs no more than it was to hear what was told since the last beginning, however often a peer
    /// says so.
    fn begin_again(&mut self, now: Instant) {
        self.missing.extend(std::mem::take(&mut self.told));
        self.until = now + LIMIT;
    }
}

impl<N: Prefix> Neighbor<N> {
    /// Returns when the refresh under way is taken for complete.
    pub(super) fn refresh_deadline(&self) -> Option<Instant> {
        self.refresh.as_ref().map(|refresh| refresh.until)
    }
}

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Notes that a peer begins to tell everything again: all its routes are in question, also where a beginning had no end
    /// (section 4). Nothing begins before the initial routes are complete.
    pub(crate) fn begin_refresh(&mut self, peer: PeerId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if let Some(refresh) = &mut neighbor.refresh {
            refresh.begin_again(now);
            return;
        }
        let initial = neighbor.promises_end_of_rib && !neighbor.end_of_rib;
        if !initial {
            let accepted = self.loc_rib.paths_of(peer);
            let accepted = accepted.map(|(prefix, path)| Nlri {
                prefix,
                path_id: path.path_id,
            });
            let refused = neighbor.adj_rib_in.refused().map(|(route, _)| route);
            neighbor.refresh = Some(Refresh {
                missing: accepted.chain(refused).collect(),
                told: BTreeSet::new(),
                until: now + LIMIT,
            });
        }
    }

    /// Notes that a peer told a route, for its refresh under way.
    pub(super) fn note_told(&mut self, peer: PeerId, route: Nlri<N>) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let kept = neighbor.keeps(&self.loc_rib, route);
        if let Some(refresh) = &mut neighbor.refresh {
            refresh.note_told(route, kept);
        }
    }

    /// Notes that a peer has told everything again: what is missing is gone.
    pub(crate) fn end_refresh(&mut self, peer: PeerId) {
        self.remove_missing(peer, "refreshed");
    }

    /// Ends refreshes that take too long.
    pub(super) fn expire_refreshes(&mut self, now: Instant) {
        let is_due =
            |neighbor: &Neighbor<N>| neighbor.refresh_deadline().is_some_and(|at| at <= now);
        let due = self.neighbors.iter();
        let due: Vec<PeerId> = due
            .filter(|(_, neighbor)| is_due(neighbor))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            self.remove_missing(peer, "refresh time is over");
        }
    }

    fn remove_missing(&mut self, peer: PeerId, reason: &'static str) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let Some(Refresh { missing, .. }) = neighbor.refresh.take() else {
            return;
        };
        let accepted = neighbor.adj_rib_in.accepted();
        self.pool.note_released(missing.len());
        for route in missing {
            neighbor.withdraw(&mut self.loc_rib, route);
        }
        let removed = accepted - neighbor.adj_rib_in.accepted();
        self.tell_removed(peer, removed, reason);
        self.promote(peer);
    }
}
