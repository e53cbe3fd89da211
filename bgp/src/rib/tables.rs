//! The three tables of RFC 4271 section 3.2 and the way of a route through them.
//!
//! 1. [`Tables::receive`] and its siblings: import into the Adj-RIB-In, accepted paths on into the Loc-RIB.
//! 2. [`Tables::decide`], once per batch of input: best paths, and what the neighbors may want to know about them.
//! 3. [`Tables::next_export`], neighbor by neighbor: the difference to what it was told, as UPDATEs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;

use super::adj_rib_in::{PathUpdate, Verdict};
use super::adj_rib_out::Difference;
use super::attribute_pool::AttributePool;
use super::best_path::BestPathChange;
use super::loc_rib::LocRib;
use super::neighbor::{Neighbor, NeighborIdentity};
use super::path::{Path, PathSource};
use crate::config::PeerId;
use crate::output::Event;
use crate::policy::Policy;
use crate::reflector::{Reflector, Target};
use crate::wire::{PathAttributes, Update};

/// What a neighbor is to be told.
#[derive(Debug)]
pub(crate) struct Export {
    /// The neighbor.
    pub(crate) peer: PeerId,
    /// Withdrawals and routes; possibly none.
    pub(crate) updates: Vec<Update>,
    /// Whether End-of-RIB follows.
    pub(crate) end_of_rib: bool,
}

/// All tables and the policy.
#[derive(Debug)]
pub(crate) struct Tables<P> {
    reflector: Reflector,
    policy: P,
    pool: AttributePool,
    loc_rib: LocRib,
    neighbors: BTreeMap<PeerId, Neighbor>,
    events: Vec<Event>,
}

impl<P> Tables<P> {
    /// Returns the policy.
    pub(crate) fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns the Loc-RIB.
    pub(crate) fn loc_rib(&self) -> &LocRib {
        &self.loc_rib
    }

    /// Returns the tables of an Established session.
    pub(crate) fn neighbor(&self, peer: PeerId) -> Option<&Neighbor> {
        self.neighbors.get(&peer)
    }
}

impl<P: Policy> Tables<P> {
    /// Makes empty tables.
    pub(crate) fn new(reflector: Reflector, policy: P) -> Self {
        Self {
            reflector,
            policy,
            pool: AttributePool::new(),
            loc_rib: LocRib::default(),
            neighbors: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Starts the tables of a session that was just established.
    pub(crate) fn peer_up(&mut self, identity: NeighborIdentity) {
        self.peer_down(identity.peer);
        self.neighbors
            .insert(identity.peer, Neighbor::new(identity));
    }

    /// Ends the tables of a session, and all paths from it.
    pub(crate) fn peer_down(&mut self, peer: PeerId) {
        let Some(neighbor) = self.neighbors.remove(&peer) else {
            return;
        };
        for (prefix, received) in neighbor.adj_rib_in.routes() {
            if received.verdict.is_ok() {
                self.loc_rib.remove(prefix, Some(peer));
            }
        }
    }

    /// Takes an UPDATE of an Established session in.
    pub(crate) fn receive(&mut self, peer: PeerId, update: Update, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if update.is_end_of_rib() && update.faults.is_empty() {
            neighbor.end_of_rib = true;
            return;
        }
        for fault in update.faults {
            let (kind, reason) = (fault.kind, fault.reason);
            self.events.push(Event::Malformed { peer, kind, reason });
        }
        for prefix in update.withdrawn {
            if neighbor.adj_rib_in.withdraw(prefix) {
                self.loc_rib.remove(prefix, Some(peer));
            }
        }
        if let Some(attributes) = update.attributes {
            let attributes = self.pool.intern(attributes);
            for prefix in update.announced {
                self.enter(peer, prefix, Arc::clone(&attributes), now);
            }
        }
        self.promote(peer, now);
    }

    /// Has everything told to a neighbor again.
    pub(crate) fn refresh(&mut self, peer: PeerId) {
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.pending.all = true;
            neighbor.pending.repeat = true;
        }
    }

    /// Replaces the policy and looks at everything again. Returns the neighbors that must be asked for their routes,
    /// because some were forgotten.
    pub(crate) fn set_policy(&mut self, policy: P, now: Instant) -> Vec<PeerId> {
        self.policy = policy;
        let mut forgetful = Vec::new();
        let peers: Vec<PeerId> = self.neighbors.keys().copied().collect();
        for peer in peers {
            let Some(neighbor) = self.neighbors.get_mut(&peer) else {
                continue;
            };
            neighbor.pending.all = true;
            if neighbor.adj_rib_in.take_overflowed() {
                forgetful.push(peer);
            }
            let routes: Vec<(Ipv4Net, Arc<PathAttributes>)> = neighbor
                .adj_rib_in
                .routes()
                .map(|(prefix, received)| (prefix, Arc::clone(&received.attributes)))
                .collect();
            for (prefix, attributes) in routes {
                self.enter(peer, prefix, attributes, now);
            }
            self.promote(peer, now);
        }
        forgetful
    }

    /// Declares which next hops are reachable.
    pub(crate) fn set_next_hops(&mut self, reachable: BTreeSet<Ipv4Addr>) {
        self.loc_rib.set_next_hops(reachable);
    }

    /// Declares which reachable next hops came back only lately.
    pub(crate) fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<Ipv4Addr>) {
        self.loc_rib.set_unsteady_next_hops(unsteady);
    }

    /// Originates a route.
    pub(crate) fn originate(&mut self, prefix: Ipv4Net, attributes: PathAttributes, now: Instant) {
        let same = self.loc_rib.candidates(prefix).iter().any(|candidate| {
            candidate.path.source == PathSource::Local && *candidate.path.attributes == attributes
        });
        if !same {
            let attributes = self.pool.intern(attributes);
            let path = Path {
                source: PathSource::Local,
                attributes,
                learned_at: now,
            };
            self.loc_rib.set(prefix, path);
        }
    }

    /// Stops originating a route.
    pub(crate) fn withdraw(&mut self, prefix: Ipv4Net) {
        self.loc_rib.remove(prefix, None);
    }

    /// Decides what changed since the last time.
    pub(crate) fn decide(&mut self) -> Vec<BestPathChange> {
        let changes = self.loc_rib.decide();
        for neighbor in self.neighbors.values_mut() {
            neighbor
                .pending
                .prefixes
                .extend(changes.iter().map(|change| change.prefix));
        }
        changes
    }

    /// Takes what happened to routes of peers.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Works out what the next neighbor with pending work is to be told.
    pub(crate) fn next_export(&mut self) -> Option<Export> {
        let (peer, neighbor) = self
            .neighbors
            .iter_mut()
            .find(|(_, neighbor)| !neighbor.pending.is_empty())?;
        let (peer, target) = (*peer, neighbor.identity.target());
        let pending = std::mem::take(&mut neighbor.pending);
        let mut told = std::mem::take(&mut neighbor.adj_rib_out);

        let mut prefixes = pending.prefixes;
        if pending.all {
            prefixes.extend(self.loc_rib.prefixes());
            prefixes.extend(told.routes().map(|(prefix, _)| prefix));
        }
        let mut difference = Difference::new(&mut told, pending.repeat);
        for prefix in prefixes {
            difference.note(prefix, self.desired(peer, target, prefix));
        }
        let updates = difference.into_updates();
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.adj_rib_out = told;
        }
        Some(Export {
            peer,
            updates,
            end_of_rib: pending.end_of_rib,
        })
    }

    /// Returns what a neighbor should know about a prefix.
    fn desired(
        &mut self,
        peer: PeerId,
        target: Target,
        prefix: Ipv4Net,
    ) -> Option<Arc<PathAttributes>> {
        let best = self.loc_rib.best(prefix)?;
        let source_role = best
            .source
            .peer()
            .and_then(|source| self.neighbors.get(&source))
            .map(|neighbor| neighbor.identity.role);
        let mut attributes = self.reflector.export(best, source_role, target)?;
        if !self.policy.export(peer, prefix, &mut attributes) {
            return None;
        }
        Some(self.pool.intern(attributes))
    }

    /// Imports a route and passes the result on to the Loc-RIB.
    fn enter(
        &mut self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: Arc<PathAttributes>,
        now: Instant,
    ) {
        let verdict = self.import(peer, prefix, &attributes);
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let change = neighbor
            .adj_rib_in
            .announce(prefix, attributes, verdict, now);
        match change.path {
            PathUpdate::Keep => {}
            PathUpdate::Set(attributes, learned_at) => {
                let source = neighbor.identity.source();
                self.loc_rib.set(
                    prefix,
                    Path {
                        source,
                        attributes,
                        learned_at,
                    },
                );
            }
            PathUpdate::Remove => self.loc_rib.remove(prefix, Some(peer)),
        }
        if let Some(reason) = change.rejected {
            self.events.push(Event::Rejected {
                peer,
                prefix,
                reason: reason.0,
            });
        }
    }

    fn import(
        &mut self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &Arc<PathAttributes>,
    ) -> Verdict {
        self.reflector.check_loop(attributes)?;
        let mut imported = (**attributes).clone();
        self.policy.import(peer, prefix, &mut imported)?;
        if imported == **attributes {
            return Ok(Arc::clone(attributes));
        }
        Ok(self.pool.intern(imported))
    }

    /// Accepts routes that waited for room under the limit.
    fn promote(&mut self, peer: PeerId, now: Instant) {
        while let Some((prefix, attributes)) = self
            .neighbors
            .get(&peer)
            .and_then(|neighbor| neighbor.adj_rib_in.promotable())
        {
            self.enter(peer, prefix, attributes, now);
        }
    }
}
