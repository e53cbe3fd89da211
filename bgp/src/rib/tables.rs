//! The three tables of RFC 4271 section 3.2 for one family, and the way of a route through them.
//!
//! 1. [`Tables::receive`] and its siblings: import into the Adj-RIB-In, accepted paths on into the Loc-RIB.
//! 2. [`Tables::decide`], once per batch of input: best paths, and what the neighbors may want to know about them.
//! 3. [`Tables::next_export`], neighbor by neighbor: the difference to what it was told, as UPDATEs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use ipnet::Ipv4Net;

use super::adj_rib_in::{Received, Verdict};
use super::adj_rib_out::{Difference, Knowledge};
use super::attribute_pool::AttributePool;
use super::best_path::BestPathChange;
use super::cause::Cause;
use super::export::Exporter;
use super::loc_rib::{Decided, LocRib};
use super::neighbor::{Neighbor, ReceivedRoute};
use super::path::{Path, PathSource};
use super::pending::Part;
use crate::config::PeerId;
use crate::output::Event;
use crate::policy::Policy;
use crate::reflector::Reflector;
use crate::session::Marks;
use crate::wire::{Nlri, PathAttributes, Prefix, Update};

/// What a neighbor is to be told.
#[derive(Debug)]
pub(crate) struct Export<N: Prefix> {
    /// The neighbor.
    pub(crate) peer: PeerId,
    /// Withdrawals and routes; possibly none.
    pub(crate) updates: Vec<Update<N>>,
    /// What stands around them.
    pub(crate) marks: Marks,
}

/// All tables and the policy.
#[derive(Debug)]
pub(crate) struct Tables<P, N: Prefix = Ipv4Net> {
    pub(super) reflector: Reflector,
    pub(super) policy: Arc<P>,
    pub(super) pool: AttributePool<N::NextHop>,
    pub(super) loc_rib: LocRib<N>,
    pub(super) neighbors: BTreeMap<PeerId, Neighbor<N>>,
    /// While we restart, only our own routes are told (RFC 4724 section 4.1).
    pub(super) deferring: bool,
    pub(super) events: Vec<Event>,
    /// Who was told something last: the next one is next.
    told_last: Option<PeerId>,
}

impl<P, N: Prefix> Tables<P, N> {
    /// Returns the policy.
    pub(crate) fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns the Loc-RIB.
    pub(crate) fn loc_rib(&self) -> &LocRib<N> {
        &self.loc_rib
    }

    /// Returns the tables of a session that is up, or whose routes are kept.
    pub(crate) fn neighbor(&self, peer: PeerId) -> Option<&Neighbor<N>> {
        self.neighbors.get(&peer)
    }

    /// Lists what a neighbor told, by prefix; a refused route with the reason.
    pub(crate) fn received(&self, peer: PeerId) -> Vec<ReceivedRoute<N>> {
        let neighbor = self.neighbors.get(&peer);
        neighbor.map_or_else(Vec::new, |neighbor| neighbor.routes(&self.loc_rib))
    }

    /// Lists what a neighbor told of a prefix, by path identifier; a refused route with the reason.
    pub(crate) fn received_to(&self, peer: PeerId, prefix: N) -> Vec<ReceivedRoute<N>> {
        let neighbor = self.neighbors.get(&peer);
        neighbor.map_or_else(Vec::new, |neighbor| {
            neighbor.routes_to(&self.loc_rib, prefix)
        })
    }

    /// Lists the accepted routes of a neighbor, by prefix.
    pub(crate) fn accepted(&self, peer: PeerId) -> Vec<(N, Path<N::NextHop>)> {
        let mut accepted: Vec<_> = self.loc_rib.paths_of(peer).collect();
        accepted.sort_by_key(|(prefix, path)| (*prefix, path.path_id));
        accepted
    }

    /// Lists what a neighbor was told, by prefix.
    pub(crate) fn advertised(
        &self,
        peer: PeerId,
    ) -> Vec<(Nlri<N>, Arc<PathAttributes<N::NextHop>>)> {
        let neighbor = self.neighbors.get(&peer).into_iter();
        let told = neighbor.flat_map(|neighbor| neighbor.adj_rib_out.routes());
        let mut advertised: Vec<_> = told
            .filter_map(|(slot, paths)| Some((self.loc_rib.prefix(slot)?, paths)))
            .flat_map(|(prefix, paths)| {
                paths.map(move |(path_id, attributes)| {
                    let path_id = *path_id;
                    (Nlri { prefix, path_id }, Arc::clone(attributes))
                })
            })
            .collect();
        advertised.sort_by_key(|(route, _)| *route);
        advertised
    }

    /// Counts the accepted stale routes of each neighbor that has some.
    pub(crate) fn stale(&self) -> BTreeMap<PeerId, usize> {
        let mut counts = BTreeMap::new();
        for (peer, _) in self.loc_rib.stale() {
            *counts.entry(peer).or_default() += 1;
        }
        counts
    }
}

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Makes empty tables. `seed` is secret; `epoch` is not after any later moment.
    pub(crate) fn new(reflector: Reflector, policy: Arc<P>, seed: u64, epoch: Instant) -> Self {
        Self {
            reflector,
            policy,
            pool: AttributePool::new(seed),
            loc_rib: LocRib::new(seed, epoch),
            neighbors: BTreeMap::new(),
            deferring: false,
            events: Vec::new(),
            told_last: None,
        }
    }

    /// Takes an UPDATE of an Established session in.
    pub(crate) fn receive(&mut self, peer: PeerId, update: Update<N>, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        if update.is_end_of_rib() && update.faults.is_empty() {
            if std::mem::replace(&mut neighbor.end_of_rib, true) {
                return;
            }
            self.sweep(peer, "End-of-RIB");
            self.supersede();
            self.promote_all();
            return;
        }
        for fault in update.faults {
            let (kind, reason) = (fault.kind, fault.reason);
            self.events.push(Event::Malformed { peer, kind, reason });
        }
        let refreshing = neighbor.refresh.is_some();
        self.loc_rib.because(Cause::Withdrawn);
        self.pool.note_released(update.withdrawn.len());
        for route in update.withdrawn {
            neighbor.withdraw(&mut self.loc_rib, route);
            if let Some(refresh) = &mut neighbor.refresh {
                refresh.note_withdrawn(&route);
            }
        }
        if let Some(attributes) = update.attributes {
            self.loc_rib.because(Cause::Announced);
            let attributes = self.pool.intern(attributes);
            for route in update.announced {
                let received = Received {
                    attributes: Arc::clone(&attributes),
                    learned_at: now,
                    stale: false,
                };
                self.enter(peer, route, received);
                if refreshing {
                    self.note_told(peer, route);
                }
            }
        }
        self.promote(peer);
        if let Some(neighbor) = self.neighbors.get_mut(&peer)
            && let Some(limit) = neighbor.adj_rib_in.take_approach()
        {
            let family = N::FAMILY;
            self.events.push(Event::LimitNear {
                peer,
                family,
                limit,
            });
        }
    }

    /// Has everything told to a neighbor again.
    pub(crate) fn refresh(&mut self, peer: PeerId) {
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.pending.tell_again();
        }
    }

    /// Replaces the policy and looks at everything again; neighbors some of whose routes were forgotten are recalled.
    pub(crate) fn set_policy(&mut self, policy: Arc<P>) {
        self.policy = policy;
        let peers: Vec<PeerId> = self.neighbors.keys().copied().collect();
        for peer in peers {
            let Some(neighbor) = self.neighbors.get_mut(&peer) else {
                continue;
            };
            neighbor.pending.all = neighbor.established;
            neighbor.recall.ordered |= neighbor.adj_rib_in.take_overflowed();
            self.loc_rib.because(Cause::Policy);
            for (route, received, _) in self.received(peer) {
                self.enter(peer, route, received);
            }
            self.promote(peer);
        }
    }

    /// Believes every next hop to be reachable.
    pub(crate) fn trust_next_hops(&mut self) {
        self.loc_rib.trust_next_hops();
    }

    /// Declares on which next hops no stale path may rely.
    pub(crate) fn set_silent_next_hops(&mut self, silent: BTreeSet<N::NextHop>) {
        self.loc_rib.because(Cause::NextHop);
        self.loc_rib.set_silent_next_hops(silent);
    }

    /// Declares which next hops are reachable.
    pub(crate) fn set_next_hops(&mut self, reachable: BTreeSet<N::NextHop>) {
        self.loc_rib.because(Cause::NextHop);
        self.loc_rib.set_next_hops(reachable);
    }

    /// Declares which reachable next hops came back only lately.
    pub(crate) fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<N::NextHop>) {
        self.loc_rib.because(Cause::NextHop);
        self.loc_rib.set_unsteady_next_hops(unsteady);
    }

    /// Originates a route.
    pub(crate) fn originate(
        &mut self,
        prefix: N,
        attributes: PathAttributes<N::NextHop>,
        now: Instant,
    ) {
        let standing = self.loc_rib.standing(prefix, (None, None));
        let former = standing.former.as_ref();
        if former.is_none_or(|former| *former.attributes != attributes) {
            self.pool.note_released(1);
            let attributes = self.pool.intern(attributes);
            let path = Path {
                source: PathSource::Local,
                path_id: None,
                attributes,
                learned_at: now,
                stale: false,
            };
            self.loc_rib.because(Cause::Local);
            self.loc_rib.set(prefix, path);
        }
    }

    /// Stops originating a route.
    pub(crate) fn withdraw(&mut self, prefix: N) {
        self.pool.note_released(1);
        self.loc_rib.because(Cause::Local);
        self.loc_rib.remove(prefix, (None, None));
    }

    /// Decides what changed since the last time.
    pub(crate) fn decide(&mut self) -> Vec<BestPathChange<N>> {
        let Decided { best, touched } = self.loc_rib.decide();
        let listening = self.neighbors.values_mut();
        for neighbor in listening.filter(|neighbor| neighbor.established) {
            let (told, pending) = (&neighbor.adj_rib_out, &mut neighbor.pending);
            for (slot, best_changed) in &touched {
                if *best_changed || neighbor.identity.all_paths {
                    pending.push(*slot, told.knows(*slot));
                }
            }
        }
        self.loc_rib.release(&touched);
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

    /// Works out what the next neighbor with pending work is to be told, or a part of it. They take turns.
    pub(crate) fn next_export(&mut self) -> Option<Export<N>> {
        let Some(peer) = self.next_listener() else {
            self.pool.sweep_released();
            return None;
        };
        self.told_last = Some(peer);
        let deferring = self.deferring;
        let neighbor = self.neighbors.get_mut(&peer)?;
        let identity = neighbor.identity;
        let mut told = std::mem::take(&mut neighbor.adj_rib_out);
        if std::mem::take(&mut neighbor.pending.all) {
            for slot in self.loc_rib.slots() {
                neighbor.pending.push(slot, told.knows(slot));
            }
        }
        let Part {
            slots,
            repeat,
            marks,
        } = neighbor.pending.take_part(deferring);
        let mut exporter = Exporter {
            to: identity,
            reflector: self.reflector,
            policy: &*self.policy,
            neighbors: &self.neighbors,
            deferring,
            pool: &mut self.pool,
            known: HashMap::default(),
            latest: None,
        };
        let mut difference = Difference::new(&mut told, repeat);
        let mut desired = Vec::new();
        for slot in slots {
            let Some(prefix) = exporter.desired(&self.loc_rib, slot, &mut desired) else {
                continue;
            };
            match difference.note(slot, prefix, &desired) {
                Knowledge::Same => {}
                Knowledge::Gained => self.loc_rib.note_told(slot),
                Knowledge::Lost => self.loc_rib.note_untold(slot),
            }
        }
        let updates = difference.into_updates();
        if let Some(neighbor) = self.neighbors.get_mut(&peer) {
            neighbor.adj_rib_out = told;
        }
        Some(Export {
            peer,
            updates,
            marks,
        })
    }

    /// Returns the next neighbor that is to be told something and listens.
    fn next_listener(&self) -> Option<PeerId> {
        let is_ready = |(_, neighbor): &(&PeerId, &Neighbor<N>)| {
            !neighbor.congested && !neighbor.pending.is_empty(self.deferring)
        };
        let after = self.told_last.map_or(Unbounded, Excluded);
        let mut behind = self.neighbors.range((after, Unbounded));
        let next = behind.find(is_ready);
        let (peer, _) = next.or_else(|| self.neighbors.iter().find(is_ready))?;
        Some(*peer)
    }

    /// Imports a route and passes the result on to the Loc-RIB.
    fn enter(&mut self, peer: PeerId, route: Nlri<N>, received: Received<N::NextHop>) {
        let prefix = route.prefix;
        let verdict = self.import(peer, prefix, &received.attributes);
        let Some(neighbor) = self.neighbors.get_mut(&peer) else {
            return;
        };
        let before = neighbor.adj_rib_in.len();
        let change = neighbor.announce(&mut self.loc_rib, route, received, verdict);
        let replaced = neighbor.adj_rib_in.len() == before;
        self.pool.note_released(usize::from(replaced));
        if let Some(reason) = change.rejected {
            self.events.push(Event::Rejected {
                peer,
                prefix: prefix.into(),
                reason: reason.0,
            });
        }
    }

    fn import(
        &mut self,
        peer: PeerId,
        prefix: N,
        attributes: &Arc<PathAttributes<N::NextHop>>,
    ) -> Verdict<N::NextHop> {
        if let Some(sender) = self.neighbors.get(&peer) {
            self.reflector
                .check::<N>(attributes, sender.identity.role)?;
        }
        let mut imported = Cow::Borrowed(&**attributes);
        self.policy.import(peer, prefix, &mut imported)?;
        match imported {
            Cow::Borrowed(_) => Ok(Arc::clone(attributes)),
            Cow::Owned(changed) => Ok(self.pool.intern(changed)),
        }
    }

    /// Accepts routes that waited for room under a limit, of all peers.
    pub(super) fn promote_all(&mut self) {
        let peers: Vec<PeerId> = self.neighbors.keys().copied().collect();
        for peer in peers {
            self.promote(peer);
        }
    }

    /// Accepts routes that waited for room under the limit.
    pub(super) fn promote(&mut self, peer: PeerId) {
        self.loc_rib.because(Cause::Room);
        while let Some((route, received)) = self
            .neighbors
            .get(&peer)
            .and_then(|neighbor| neighbor.adj_rib_in.promotable())
        {
            self.enter(peer, route, received);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::neighbor::NeighborIdentity;
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

    impl<N: Prefix> Policy<N> for Open {
        fn import(
            &self,
            _: PeerId,
            _: N,
            _: &mut Cow<'_, PathAttributes<N::NextHop>>,
        ) -> Result<(), Rejection> {
            Ok(())
        }

        fn export(
            &self,
            _: PeerId,
            _: N,
            _: &mut Cow<'_, PathAttributes<N::NextHop>>,
        ) -> Result<(), Rejection> {
            Ok(())
        }
    }

    /// Reflects for clients 2 and 3.
    fn reflector() -> Tables<Open> {
        let us = Reflector {
            router_id: router(1),
            cluster_id: router(1),
        };
        let mut tables = Tables::new(us, Arc::new(Open), 1, start());
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
