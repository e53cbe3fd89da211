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

use super::adj_rib_in::{PathUpdate, Received, Verdict};
use super::adj_rib_out::{Difference, Told};
use super::attribute_pool::AttributePool;
use super::best_path::BestPathChange;
use super::decision::Candidate;
use super::loc_rib::{Decided, LocRib};
use super::neighbor::{Neighbor, NeighborIdentity};
use super::path::{PATHS_MAX, Path, PathSource};
use crate::config::PeerId;
use crate::output::Event;
use crate::policy::Policy;
use crate::reflector::{Reflector, originator};
use crate::wire::{Nlri, PathAttributes, Update};

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
    pub(super) pool: AttributePool,
    pub(super) loc_rib: LocRib,
    pub(super) neighbors: BTreeMap<PeerId, Neighbor>,
    /// While we restart, only our own routes are told (RFC 4724 section 4.1).
    pub(super) deferring: bool,
    pub(super) events: Vec<Event>,
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

    /// Returns the tables of a session that is up, or whose routes are kept.
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
            deferring: false,
            events: Vec::new(),
        }
    }

    /// Takes an UPDATE of an Established session in.
    pub(crate) fn receive(&mut self, peer: PeerId, update: Update, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if update.is_end_of_rib() && update.faults.is_empty() {
            neighbor.end_of_rib = true;
            self.sweep(peer, "End-of-RIB");
            self.supersede();
            self.promote_all(now);
            return;
        }
        for fault in update.faults {
            let (kind, reason) = (fault.kind, fault.reason);
            self.events.push(Event::Malformed { peer, kind, reason });
        }
        self.pool.note_released(update.withdrawn.len());
        for route in update.withdrawn {
            if neighbor.adj_rib_in.withdraw(route) {
                self.loc_rib
                    .remove(route.prefix, (Some(peer), route.path_id));
            }
        }
        if let Some(attributes) = update.attributes {
            let attributes = self.pool.intern(attributes);
            for route in update.announced {
                self.enter(peer, route, Arc::clone(&attributes), false, now);
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
            neighbor.pending.all = neighbor.established;
            if neighbor.adj_rib_in.take_overflowed() {
                forgetful.push(peer);
            }
            let routes: Vec<(Nlri, Received)> = neighbor
                .adj_rib_in
                .routes()
                .map(|(route, received)| (route, received.clone()))
                .collect();
            for (route, received) in routes {
                self.enter(peer, route, received.attributes, received.stale, now);
            }
            self.promote(peer, now);
        }
        forgetful
    }

    /// Declares on which next hops no stale path may rely.
    pub(crate) fn set_silent_next_hops(&mut self, silent: BTreeSet<Ipv4Addr>) {
        self.loc_rib.set_silent_next_hops(silent);
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
            self.pool.note_released(1);
            let attributes = self.pool.intern(attributes);
            let path = Path {
                source: PathSource::Local,
                path_id: None,
                attributes,
                learned_at: now,
                stale: false,
            };
            self.loc_rib.set(prefix, path);
        }
    }

    /// Stops originating a route.
    pub(crate) fn withdraw(&mut self, prefix: Ipv4Net) {
        self.pool.note_released(1);
        self.loc_rib.remove(prefix, (None, None));
    }

    /// Decides what changed since the last time.
    pub(crate) fn decide(&mut self) -> Vec<BestPathChange> {
        let Decided { best, touched } = self.loc_rib.decide();
        let listening = self.neighbors.values_mut();
        for neighbor in listening.filter(|neighbor| neighbor.established) {
            let prefixes = &mut neighbor.pending.prefixes;
            if neighbor.identity.all_paths {
                prefixes.extend(&touched);
            } else {
                prefixes.extend(best.iter().map(|change| change.prefix));
            }
        }
        best
    }

    /// Takes what happened to routes of peers.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Holds back what a neighbor is to be told, or goes on.
    pub(crate) fn set_congested(&mut self, peer: PeerId, congested: bool) {
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.congested = congested;
        }
    }

    /// Works out what the next neighbor with pending work is to be told, or a part of it.
    pub(crate) fn next_export(&mut self) -> Option<Export> {
        let deferring = self.deferring;
        let ready =
            |neighbor: &Neighbor| !neighbor.congested && !neighbor.pending.is_empty(deferring);
        let mut neighbors = self.neighbors.iter_mut();
        let Some((peer, neighbor)) = neighbors.find(|(_, neighbor)| ready(neighbor)) else {
            self.pool.sweep_released();
            return None;
        };
        let (peer, identity) = (*peer, neighbor.identity);
        let mut told = std::mem::take(&mut neighbor.adj_rib_out);
        if std::mem::take(&mut neighbor.pending.all) {
            let prefixes = &mut neighbor.pending.prefixes;
            prefixes.extend(self.loc_rib.prefixes());
            prefixes.extend(told.routes().map(|(route, _)| route.prefix));
        }
        let part = neighbor.pending.take_part();
        // End-of-RIB waits.
        neighbor.pending.end_of_rib |= part.end_of_rib && deferring;
        let mut difference = Difference::new(&mut told, part.repeat);
        for prefix in part.prefixes {
            difference.note(prefix, &self.desired(&identity, prefix));
        }
        let updates = difference.into_updates();
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.adj_rib_out = told;
        }
        Some(Export {
            peer,
            updates,
            end_of_rib: part.end_of_rib && !deferring,
        })
    }

    /// Returns what a neighbor should know about a prefix: the best path; or, best first, all that may be chosen.
    fn desired(&mut self, to: &NeighborIdentity, prefix: Ipv4Net) -> Vec<Told> {
        let candidates = self.loc_rib.candidates(prefix).iter();
        let deferring = self.deferring;
        let mut eligible = candidates.filter(|candidate| candidate.ineligible.is_none());
        let may_tell =
            move |candidate: &Candidate| !deferring || candidate.path.source == PathSource::Local;
        let mut paths = Vec::new();
        if !to.all_paths {
            let best = eligible.next().filter(|best| may_tell(best));
            let best = best.map(|best| (None, &best.path));
            paths.extend(best.and_then(|(id, path)| Some((id, self.export(path, to)?))));
        } else {
            // Reflected twice, by us and by another reflector, a path is the same path.
            let mut known = BTreeSet::new();
            for candidate in eligible.filter(|candidate| may_tell(candidate)) {
                let Some(attributes) = self.export(&candidate.path, to) else {
                    continue;
                };
                let same = (originator(&candidate.path), attributes.next_hop);
                if paths.len() < PATHS_MAX && known.insert(same) {
                    paths.push((Some(candidate.local_id), attributes));
                }
            }
        }
        let admitted = paths.into_iter().filter_map(|(id, mut attributes)| {
            let admitted = self.policy.export(to.peer, prefix, &mut attributes);
            admitted.then(|| (id, self.pool.intern(attributes)))
        });
        admitted.collect()
    }

    /// Returns the attributes with which a path would be sent to a neighbor, before policy; `None` if it is not.
    fn export(&self, path: &Path, to: &NeighborIdentity) -> Option<PathAttributes> {
        let source = path.source.peer();
        let source = source.and_then(|source| self.neighbors.get(&source));
        let role = source.map(|neighbor| neighbor.identity.role);
        self.reflector.export(path, role, to.target())
    }

    /// Imports a route and passes the result on to the Loc-RIB.
    fn enter(
        &mut self,
        peer: PeerId,
        route: Nlri,
        attributes: Arc<PathAttributes>,
        stale: bool,
        now: Instant,
    ) {
        let Nlri { prefix, path_id } = route;
        let verdict = self.import(peer, prefix, &attributes);
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let before = neighbor.adj_rib_in.len();
        let change = neighbor
            .adj_rib_in
            .announce(route, attributes, verdict, stale, now);
        let replaced = neighbor.adj_rib_in.len() == before;
        self.pool.note_released(usize::from(replaced));
        match change.path {
            PathUpdate::Keep => {}
            PathUpdate::Set(attributes, learned_at) => {
                let source = neighbor.identity.source();
                self.loc_rib.set(
                    prefix,
                    Path {
                        source,
                        path_id,
                        attributes,
                        learned_at,
                        stale,
                    },
                );
            }
            PathUpdate::Remove => self.loc_rib.remove(prefix, (Some(peer), path_id)),
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
        if let Some(sender) = self.neighbors.get(&peer) {
            self.reflector.check(attributes, sender.identity.role)?;
        }
        let mut imported = (**attributes).clone();
        self.policy.import(peer, prefix, &mut imported)?;
        if imported == **attributes {
            return Ok(Arc::clone(attributes));
        }
        Ok(self.pool.intern(imported))
    }

    /// Accepts routes that waited for room under a limit, of all peers.
    pub(super) fn promote_all(&mut self, now: Instant) {
        let peers: Vec<PeerId> = self.neighbors.keys().copied().collect();
        for peer in peers {
            self.promote(peer, now);
        }
    }

    /// Accepts routes that waited for room under the limit.
    fn promote(&mut self, peer: PeerId, now: Instant) {
        while let Some((route, received)) = self
            .neighbors
            .get(&peer)
            .and_then(|neighbor| neighbor.adj_rib_in.promotable())
        {
            self.enter(peer, route, received.attributes, received.stale, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerRole;
    use crate::policy::Rejection;
    use crate::session::RouteFate;
    use crate::testing::{attributes, router, start};

    /// RFC 4271 says nothing of memory; what nobody announces any longer must not be paid for.
    #[test]
    fn memory_of_routes_returns_when_they_go() {
        for end in [withdraw_all as fn(&mut _), lose_the_session] {
            let mut tables = reflector();
            for number in 0..ROUTES {
                announce(&mut tables, number, number);
            }
            drain(&mut tables);
            let in_use = tables.pool.len();

            end(&mut tables);
            drain(&mut tables);

            assert!(in_use > 1000, "{in_use}");
            assert_eq!(tables.loc_rib.prefixes().count(), 0);
            assert!(tables.pool.len() <= LEFT_OVER, "{} sets", tables.pool.len());
        }
    }

    #[test]
    fn memory_of_attributes_returns_when_others_replace_them() {
        let mut tables = reflector();
        for number in 0..ROUTES {
            announce(&mut tables, number, number);
        }
        drain(&mut tables);

        for number in 0..ROUTES {
            announce(&mut tables, number, 7);
        }
        drain(&mut tables);

        assert_eq!(tables.loc_rib.prefixes().count(), ROUTES as usize);
        assert!(tables.pool.len() <= LEFT_OVER, "{} sets", tables.pool.len());
    }

    const ROUTES: u32 = 1000;
    /// Unused sets that are not worth a sweep.
    const LEFT_OVER: usize = 128;

    /// Accepts and tells everything.
    #[derive(Debug)]
    struct Open;

    impl Policy for Open {
        fn import(&self, _: PeerId, _: Ipv4Net, _: &mut PathAttributes) -> Result<(), Rejection> {
            Ok(())
        }

        fn export(&self, _: PeerId, _: Ipv4Net, _: &mut PathAttributes) -> bool {
            true
        }
    }

    /// Reflects for clients 2 and 3.
    fn reflector() -> Tables<Open> {
        let us = Reflector {
            router_id: router(1),
            cluster_id: router(1),
        };
        let mut tables = Tables::new(us, Open);
        tables.set_next_hops([router(2)].into());
        for host in [2, 3] {
            let identity = NeighborIdentity {
                peer: PeerId(host.into()),
                router_id: router(host),
                address: router(host),
                role: PeerRole::Client,
                max_prefixes: ROUTES as usize,
                reflector: false,
                all_paths: false,
            };
            tables.peer_up(identity, None, start());
        }
        tables
    }

    fn numbered(number: u32) -> Ipv4Net {
        Ipv4Net::from(Ipv4Addr::from(0x0a40_0000 + number))
    }

    fn announce(tables: &mut Tables<Open>, number: u32, local_pref: u32) {
        let update = Update {
            announced: vec![numbered(number).into()],
            attributes: Some(attributes(2, local_pref)),
            ..Update::default()
        };
        tables.receive(PeerId(2), update, start());
    }

    fn withdraw_all(tables: &mut Tables<Open>) {
        for number in 0..ROUTES {
            let update = Update {
                withdrawn: vec![numbered(number).into()],
                ..Update::default()
            };
            tables.receive(PeerId(2), update, start());
        }
    }

    fn lose_the_session(tables: &mut Tables<Open>) {
        tables.peer_down(PeerId(2), RouteFate::Forgotten, start());
    }

    fn drain(tables: &mut Tables<Open>) {
        tables.decide();
        while tables.next_export().is_some() {}
    }
}
