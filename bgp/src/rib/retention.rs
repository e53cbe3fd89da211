//! Routes beyond the end of their session (RFC 4724): kept as stale, confirmed by the next session, removed at the
//! latest when their time is over.
//!
//! Memory ends where somebody speaks: a peer that is heard speaks for itself, and a reflector for all that another
//! reflector left behind.
//!
//! The F bit speaks of the peer's own forwarding. So what went through a peer that did not go on forwarding is removed as
//! soon as it is back, and what it had only reflected stays: packets never went through it, and whether their next hop
//! still answers is looked after by `set_silent_next_hops`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::neighbor::{Neighbor, NeighborIdentity};
use super::tables::Tables;
use crate::config::PeerId;
use crate::output::Event;
use crate::policy::Policy;
use crate::session::{FamilyRestart, RouteFate};
use crate::wire::{PathAttributes, Prefix};

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Starts the tables of a session that was just established, or goes on with those of the former one.
    pub(crate) fn peer_up(
        &mut self,
        identity: NeighborIdentity,
        restart: Option<FamilyRestart>,
        now: Instant,
    ) {
        let peer = identity.peer;
        let fresh = Neighbor {
            promises_end_of_rib: restart.is_some(),
            ..Neighbor::new(identity)
        };
        if self
            .neighbors
            .get(&peer)
            .is_some_and(|former| former.established)
        {
            self.forget(peer);
        }
        let Some(former) = self.neighbors.remove(&peer) else {
            self.neighbors.insert(peer, fresh);
            return;
        };
        let until = now + restart.map_or(Duration::ZERO, |restart| restart.retention);
        let mut adj_rib_in = former.adj_rib_in;
        adj_rib_in.set_limit(identity.max_prefixes);
        let neighbor = Neighbor {
            adj_rib_in,
            stale_until: former.stale_until.map(|_| until),
            ..fresh
        };
        self.neighbors.insert(peer, neighbor);
        match restart.filter(|restart| !restart.retention.is_zero()) {
            None => self.sweep(peer, "no graceful restart any more"),
            Some(restart) if !restart.forwarding => {
                let through = |next_hop| is_through(identity.address, next_hop);
                self.remove_stale(peer, through, "forwarding was lost");
            }
            Some(_) => {}
        }
    }

    /// Ends a session: its paths go, or stay as stale.
    pub(crate) fn peer_down(&mut self, peer: PeerId, fate: RouteFate, now: Instant) {
        match fate {
            RouteFate::Forgotten => self.forget(peer),
            RouteFate::Retained { time, silent } => {
                let routes = self.retain(peer, now + time);
                self.supersede();
                if routes > 0 {
                    self.events.push(Event::Retained {
                        peer,
                        routes,
                        time,
                        silent,
                    });
                }
            }
        }
    }

    /// Removes all that is known from a peer.
    pub(crate) fn forget(&mut self, peer: PeerId) {
        let Some(mut neighbor) = self.neighbors.remove(&peer) else {
            return;
        };
        self.loc_rib.because(Cause::SessionEnded);
        self.pool
            .note_released(neighbor.adj_rib_in.len() + neighbor.adj_rib_out.len());
        neighbor.withdraw_all(&mut self.loc_rib);
        neighbor.forget_told(&mut self.loc_rib);
    }

    /// Removes all that is known from a peer without a session, and tells of the stale routes among it.
    pub(crate) fn abandon(&mut self, peer: PeerId, reason: &'static str) {
        self.sweep(peer, reason);
        self.forget(peer);
    }

    /// Removes stale routes whose time is over.
    pub(crate) fn expire_stale(&mut self, now: Instant) {
        let due = self.neighbors.iter();
        let due = due.filter(|(_, neighbor)| neighbor.stale_until.is_some_and(|at| at <= now));
        let due: Vec<(PeerId, bool)> = due
            .map(|(peer, neighbor)| (*peer, neighbor.established))
            .collect();
        for (peer, established) in due {
            let reason = "restart time is over";
            if established {
                self.sweep(peer, reason);
            } else {
                self.abandon(peer, reason);
            }
        }
        self.expire_refreshes(now);
        self.promote_all();
    }

    /// Returns when [`Self::expire_stale`] is due.
    pub(crate) fn stale_deadline(&self) -> Option<Instant> {
        let ends = |neighbor: &Neighbor<N>| [neighbor.stale_until, neighbor.refresh_deadline()];
        let neighbors = self.neighbors.values();
        neighbors.flat_map(ends).flatten().min()
    }

    /// Returns the next hops of all accepted stale routes.
    pub(crate) fn stale_next_hops(&self) -> BTreeSet<N::NextHop> {
        let stale = self.loc_rib.stale();
        stale.map(|(_, route)| route.next_hop).collect()
    }

    /// Tells peers only what we originate, and no End-of-RIB, until [`Self::end_deferral`].
    pub(crate) fn begin_deferral(&mut self) {
        self.deferring = true;
    }

    /// Tells peers everything from now on.
    pub(crate) fn end_deferral(&mut self) {
        if std::mem::take(&mut self.deferring) {
            let listening = self.neighbors.values_mut();
            listening
                .filter(|neighbor| neighbor.established)
                .for_each(|neighbor| neighbor.pending.all = true);
        }
    }

    /// Removes all stale routes of a peer: those that are left were not confirmed.
    pub(super) fn sweep(&mut self, peer: PeerId, reason: &'static str) {
        self.remove_stale(peer, |_| true, reason);
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.stale_until = None;
        }
    }

    /// Keeps the routes of a peer; returns how many.
    fn retain(&mut self, peer: PeerId, until: Instant) -> usize {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return 0;
        };
        neighbor.established = false;
        neighbor.end_of_rib = false;
        neighbor.refresh = None;
        self.pool.note_released(neighbor.adj_rib_out.len());
        neighbor.forget_told(&mut self.loc_rib);
        neighbor.stale_until = Some(until);
        self.loc_rib.because(Cause::SessionEnded);
        let (removed, kept) = neighbor.retain(&mut self.loc_rib);
        self.pool.note_released(removed);
        self.tell_removed(peer, removed, "the session ended again");
        kept
    }

    /// Removes stale routes of which those who are heard tell themselves: their End-of-RIB came.
    pub(super) fn supersede(&mut self) {
        let heard = self.neighbors.values();
        let heard = heard.filter(|neighbor| neighbor.established && neighbor.end_of_rib);
        let heard: Vec<NeighborIdentity> = heard.map(|neighbor| neighbor.identity).collect();
        let kept = self.neighbors.values();
        let kept = kept.filter(|neighbor| neighbor.stale_until.is_some());
        let kept: Vec<NeighborIdentity> = kept.map(|neighbor| neighbor.identity).collect();
        if heard.is_empty() || kept.is_empty() {
            return;
        }
        // 1. A reflector speaks for all that another reflector left behind, and each node for itself.
        let by_reflector: BTreeSet<PeerId> = kept
            .iter()
            .filter(|kept| kept.reflector)
            .map(|kept| kept.peer)
            .filter(|kept| {
                let mut others = heard.iter().filter(|other| other.peer != *kept);
                others.any(|other| other.reflector)
            })
            .collect();
        let speakers: BTreeMap<IpAddr, PeerId> = heard
            .iter()
            .map(|heard| (IpAddr::V4(heard.address), heard.peer))
            .collect();
        let goes = |peer: PeerId, route: &PathAttributes<N::NextHop>| {
            let speaker = speakers.get(&route.next_hop.into().to_canonical());
            by_reflector.contains(&peer) || speaker.is_some_and(|speaker| *speaker != peer)
        };
        self.loc_rib.because(Cause::StaleRemoved);
        // 2. All of them in one pass, however many neighbors are kept.
        let mut gone: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (peer, route) in self.loc_rib.remove_stale(goes) {
            *gone.entry(peer).or_default() += 1;
            if let Some(neighbor) = self.neighbors.get_mut(&peer) {
                neighbor.adj_rib_in.withdraw_accepted(route);
            }
        }
        for NeighborIdentity { peer, .. } in kept {
            let all = by_reflector.contains(&peer);
            if let Some(neighbor) = self.neighbors.get_mut(&peer) {
                let refused = &mut neighbor.adj_rib_in;
                refused.remove_refused_stale(|route| goes(peer, route));
                neighbor.stale_until = neighbor.stale_until.filter(|_| !all);
            }
            let removed = gone.get(&peer).copied().unwrap_or(0);
            self.pool.note_released(removed);
            let reason = if all {
                "another reflector tells"
            } else {
                "its node tells itself"
            };
            self.tell_removed(peer, removed, reason);
        }
    }

    fn remove_stale(
        &mut self,
        peer: PeerId,
        goes: impl Fn(N::NextHop) -> bool,
        reason: &'static str,
    ) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if neighbor.stale_until.is_none() {
            return;
        }
        self.loc_rib.because(Cause::StaleRemoved);
        let gone = neighbor.remove_stale(&mut self.loc_rib, |route| goes(route.next_hop));
        self.pool.note_released(gone);
        self.tell_removed(peer, gone, reason);
    }

    pub(super) fn tell_removed(&mut self, peer: PeerId, routes: usize, reason: &'static str) {
        if routes > 0 {
            self.events.push(Event::StaleRemoved {
                peer,
                routes,
                reason,
            });
        }
    }
}

/// Tells whether packets to a next hop go through the neighbor with this address. Of an IPv6 next hop that is not known, so
/// they may.
fn is_through(neighbor: Ipv4Addr, next_hop: impl Into<IpAddr>) -> bool {
    match next_hop.into().to_canonical() {
        IpAddr::V4(next_hop) => next_hop == neighbor,
        IpAddr::V6(_) => true,
    }
}
