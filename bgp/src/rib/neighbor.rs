//! The RIB's side of a session: who the peer is, what it told us, what we told it.
//!
//! Begins with a session and ends with it, unless the session ends gracefully (RFC 4724): then what the peer told stays,
//! stale, for a limited time or into the next session.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::adj_rib_in::{AdjRibIn, Change, PathUpdate, Received, Refused, Verdict};
use super::adj_rib_out::AdjRibOut;
use super::loc_rib::LocRib;
use super::path::{Path, PathKey, PathSource};
use super::pending::Pending;
use super::recall::Recall;
use super::refresh::Refresh;
use crate::config::{PeerId, PeerRole};
use crate::policy::Rejection;
use crate::reflector::Target;
use crate::wire::{Nlri, PathAttributes, Prefix};

/// Who a peer is, as far as routes are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeighborIdentity {
    /// Its id.
    pub(crate) peer: PeerId,
    /// Its BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Its role.
    pub(crate) role: PeerRole,
    /// Paths accepted at most.
    pub(crate) max_prefixes: usize,
    /// Whether it tells all that others of its kind tell.
    pub(crate) reflector: bool,
    /// Whether it is told all paths to a prefix (RFC 7911), not only the best.
    pub(crate) all_paths: bool,
}

impl NeighborIdentity {
    /// Returns the source of its paths.
    pub(crate) fn source(&self) -> PathSource {
        PathSource::Peer {
            peer: self.peer,
            router_id: self.router_id,
            address: self.address,
            external: self.role.is_external(),
        }
    }

    /// Returns what reflection wants to know of a receiver.
    pub(crate) fn target(&self) -> Target {
        Target {
            router_id: self.router_id,
            role: self.role,
        }
    }
}

/// A route as it was received; a refused one with the reason.
pub(crate) type ReceivedRoute<N> = (Nlri<N>, Received<<N as Prefix>::NextHop>, Option<Rejection>);

/// The tables of one session.
#[derive(Debug)]
pub(crate) struct Neighbor<N: Prefix> {
    /// Who it is.
    pub(crate) identity: NeighborIdentity,
    /// What it told us.
    pub(crate) adj_rib_in: AdjRibIn<N>,
    /// What we told it.
    pub(crate) adj_rib_out: AdjRibOut<N::NextHop>,
    /// What we have to tell it.
    pub(crate) pending: Pending,
    /// Whether its End-of-RIB came.
    pub(crate) end_of_rib: bool,
    /// Whether the session is up.
    pub(crate) established: bool,
    /// Until when stale routes are kept; set exactly while there may be some.
    pub(crate) stale_until: Option<Instant>,
    /// Whether it is told nothing, because much waits to be written.
    pub(crate) congested: bool,
    /// What was forgotten of its routes, and is to be asked for.
    pub(super) recall: Recall,
    /// Whether its End-of-RIB is to be expected: it restarts gracefully.
    pub(super) promises_end_of_rib: bool,
    /// What it tells again, while it does.
    pub(super) refresh: Option<Refresh<N>>,
}

impl<N: Prefix> Neighbor<N> {
    /// Makes the tables of a session that was just established: everything is to be told.
    pub(crate) fn new(identity: NeighborIdentity) -> Self {
        Self {
            identity,
            adj_rib_in: AdjRibIn::new(identity.max_prefixes),
            adj_rib_out: AdjRibOut::default(),
            pending: Pending::everything(),
            end_of_rib: false,
            established: true,
            stale_until: None,
            congested: false,
            recall: Recall::default(),
            promises_end_of_rib: false,
            refresh: None,
        }
    }

    /// Enters a route, or a new verdict on one, here and in the Loc-RIB.
    pub(crate) fn announce(
        &mut self,
        rib: &mut LocRib<N>,
        route: Nlri<N>,
        received: Received<N::NextHop>,
        verdict: Verdict<N::NextHop>,
    ) -> Change<N::NextHop> {
        let stale = received.stale;
        let standing = rib.standing(route.prefix, self.key(route));
        let change = self
            .adj_rib_in
            .announce(route, received, verdict, &standing);
        match &change.path {
            PathUpdate::Keep => {}
            PathUpdate::Set(attributes, learned_at) => {
                let path = Path {
                    source: self.identity.source(),
                    path_id: route.path_id,
                    attributes: Arc::clone(attributes),
                    learned_at: *learned_at,
                    stale,
                };
                rib.set(route.prefix, path);
            }
            PathUpdate::Remove => {
                rib.remove(route.prefix, self.key(route));
            }
        }
        change
    }

    /// Takes a route away.
    pub(crate) fn withdraw(&mut self, rib: &mut LocRib<N>, route: Nlri<N>) {
        if rib.remove(route.prefix, self.key(route)) {
            self.adj_rib_in.withdraw_accepted(route);
        } else {
            self.adj_rib_in.withdraw_refused(route);
        }
    }

    /// Takes all routes away.
    pub(crate) fn withdraw_all(&mut self, rib: &mut LocRib<N>) {
        if self.adj_rib_in.accepted() > 0 {
            rib.remove_of(self.identity.peer, |_| true);
        }
        self.adj_rib_in = AdjRibIn::new(self.identity.max_prefixes);
    }

    /// Forgets what the neighbor was told: the session ended, and nobody is there to know it any more.
    pub(crate) fn forget_told(&mut self, rib: &mut LocRib<N>) {
        self.pending = Pending::default();
        for (slot, _) in std::mem::take(&mut self.adj_rib_out).routes() {
            rib.note_untold(slot);
        }
    }

    /// Marks all routes as stale, for the session ended; those that were stale already are removed (RFC 4724 section
    /// 4.2, consecutive restarts). Returns how many accepted ones were removed and are kept.
    pub(crate) fn retain(&mut self, rib: &mut LocRib<N>) -> (usize, usize) {
        let removed = self.remove_stale(rib, |_| true);
        self.adj_rib_in.mark_refused_stale();
        (removed, rib.mark_stale(self.identity.peer))
    }

    /// Removes stale routes on the attributes of which `goes` is true; returns how many accepted ones.
    pub(crate) fn remove_stale(
        &mut self,
        rib: &mut LocRib<N>,
        goes: impl Fn(&PathAttributes<N::NextHop>) -> bool,
    ) -> usize {
        let is_gone = |path: &Path<N::NextHop>| path.stale && goes(&path.attributes);
        let gone = rib.remove_of(self.identity.peer, is_gone);
        for (prefix, path_id) in &gone {
            let (prefix, path_id) = (*prefix, *path_id);
            self.adj_rib_in.withdraw_accepted(Nlri { prefix, path_id });
        }
        self.adj_rib_in.remove_refused_stale(goes);
        gone.len()
    }

    /// Tells whether a route is kept, accepted or refused.
    pub(crate) fn keeps(&self, rib: &LocRib<N>, route: Nlri<N>) -> bool {
        let standing = rib.standing(route.prefix, self.key(route));
        let received = self.adj_rib_in.received(route, standing.former.as_ref());
        received.is_some()
    }

    /// Lists all routes as they were received, by prefix; a refused one with the reason.
    pub(crate) fn routes(&self, rib: &LocRib<N>) -> Vec<ReceivedRoute<N>> {
        self.as_received(rib.paths_of(self.identity.peer), self.adj_rib_in.refused())
    }

    /// Lists the routes to a prefix likewise.
    pub(crate) fn routes_to(&self, rib: &LocRib<N>, prefix: N) -> Vec<ReceivedRoute<N>> {
        let its = |source: &PathSource| source.peer() == Some(self.identity.peer);
        let paths = rib.entries(prefix).filter(|(_, source)| its(source));
        let accepted = paths.map(|(entry, _)| (prefix, rib.path(entry)));
        let refused = self.adj_rib_in.refused_paths(prefix);
        self.as_received(accepted, refused.map(|(route, refused)| (*route, refused)))
    }

    fn as_received<'a>(
        &self,
        accepted: impl Iterator<Item = (N, Path<N::NextHop>)>,
        refused: impl Iterator<Item = (Nlri<N>, &'a Refused<N::NextHop>)>,
    ) -> Vec<ReceivedRoute<N>>
    where
        N: 'a,
    {
        let accepted = accepted.filter_map(|(prefix, path)| {
            let path_id = path.path_id;
            let route = Nlri { prefix, path_id };
            let received = self.adj_rib_in.received(route, Some(&path))?;
            Some((route, received, None))
        });
        let refused =
            refused.map(|(route, refused)| (route, refused.received.clone(), Some(refused.reason)));
        let mut routes: Vec<_> = accepted.chain(refused).collect();
        routes.sort_by_key(|(route, _, _)| *route);
        routes
    }

    fn key(&self, route: Nlri<N>) -> PathKey {
        (Some(self.identity.peer), route.path_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::adj_rib_in::{KEPT_PATHS_MAX, MAX_PATHS, MAX_PREFIXES, REFUSED_EXTRA};
    use crate::rib::path::PATHS_MAX;
    use crate::testing::{attributes, prefix, router, start};
    use crate::wire::PathId;
    use ipnet::Ipv4Net;
    use std::time::Duration;

    #[test]
    fn an_unchanged_route_changes_nothing_and_keeps_its_age() {
        let mut table = Table::new(10);
        accept(&mut table, 1, 100);
        let later = start() + Duration::from_secs(9);
        let set = Arc::new(attributes(1, 100));
        let change = table.announce(route(1), Arc::clone(&set), Ok(set), false, later);
        assert_eq!(
            change,
            Change {
                path: PathUpdate::Keep,
                rejected: None
            }
        );
        assert_eq!(table.routes()[0].1.learned_at, start());
    }

    #[test]
    fn a_refused_replacement_removes_the_accepted_route() {
        let mut table = Table::new(10);
        accept(&mut table, 1, 100);
        let change = refuse(&mut table, 1, "policy");
        assert_eq!(
            change,
            Change {
                path: PathUpdate::Remove,
                rejected: Some(Rejection("policy"))
            }
        );
        assert_eq!((table.len(), table.accepted()), (1, 0));
    }

    #[test]
    fn the_same_refusal_is_told_once() {
        let mut table = Table::new(10);
        assert_eq!(
            refuse(&mut table, 1, "policy").rejected,
            Some(Rejection("policy"))
        );
        assert_eq!(refuse(&mut table, 1, "policy").rejected, None);
        assert_eq!(
            refuse(&mut table, 1, "loop").rejected,
            Some(Rejection("loop"))
        );
    }

    #[test]
    fn prefixes_beyond_the_limit_wait_until_there_is_room() {
        let mut table = Table::new(2);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        assert_eq!(accept(&mut table, 3, 100).rejected, Some(MAX_PREFIXES));
        assert_eq!(table.promotable(), None);
        assert!(table.withdraw(route(1)));
        assert_eq!(table.promotable().unwrap(), route(3));
        accept(&mut table, 3, 100);
        assert_eq!((table.accepted(), table.promotable()), (2, None));
    }

    #[test]
    fn an_accepted_prefix_may_change_while_the_table_is_full() {
        let mut table = Table::new(1);
        accept(&mut table, 1, 100);
        let change = accept(&mut table, 1, 200);
        assert!(matches!(change.path, PathUpdate::Set(..)));
    }

    #[test]
    fn memory_for_refused_routes_is_bounded_and_the_loss_is_known() {
        let mut table = Table::new(0);
        for number in 0..2000u32 {
            let prefix = Ipv4Net::new_assert((0x0a00_0000 + number).into(), 32);
            let set = Arc::new(attributes(1, 100));
            let change =
                table.announce(prefix.into(), set, Err(Rejection("policy")), false, start());
            let told = number as usize <= REFUSED_EXTRA;
            assert_eq!(change.rejected.is_some(), told, "{number}");
        }
        assert_eq!(table.len(), REFUSED_EXTRA);
        assert!(table.take_overflowed());
        assert!(!table.take_overflowed());
    }

    #[test]
    fn each_path_is_replaced_and_withdrawn_by_its_own_id() {
        let mut table = Table::new(10);
        for id in [1, 2] {
            assert!(matches!(
                accept_path(&mut table, 1, id).path,
                PathUpdate::Set(..)
            ));
        }
        assert_eq!(accept_path(&mut table, 1, 2).path, PathUpdate::Keep);
        assert!(table.withdraw(path(1, 1)));
        assert!(!table.withdraw(path(1, 1)));
        assert!(!table.withdraw(route(1)), "no id is no wildcard");
        assert_eq!((table.len(), table.accepted()), (1, 1));
    }

    #[test]
    fn routes_stay_stale_until_they_are_told_again() {
        let mut table = Table::new(10);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        refuse(&mut table, 3, "policy");
        assert_eq!(table.retain(), 0);

        let change = accept(&mut table, 1, 100);

        assert!(
            matches!(change.path, PathUpdate::Set(..)),
            "it is confirmed"
        );
        assert_eq!(table.remove_stale(), 1);
        assert_eq!((table.len(), table.accepted()), (1, 1));
    }

    #[test]
    fn a_second_loss_removes_what_the_first_one_left_stale() {
        let mut table = Table::new(10);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        table.retain();
        accept(&mut table, 2, 100);

        assert_eq!(table.retain(), 1);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn paths_beyond_the_limit_of_a_prefix_wait_until_there_is_room() {
        let mut table = Table::new(100);
        for id in 1..=8 {
            assert_eq!(accept_path(&mut table, 1, id).rejected, None);
        }
        assert_eq!(accept_path(&mut table, 1, 9).rejected, Some(MAX_PATHS));
        assert_eq!(accept_path(&mut table, 2, 9).rejected, None);
        assert_eq!((table.accepted(), table.promotable()), (9, None));
        assert!(table.withdraw(path(1, 5)));
        assert_eq!(table.promotable().unwrap(), path(1, 9));
        accept_path(&mut table, 1, 9);
        assert_eq!((table.accepted(), table.promotable()), (9, None));
    }

    #[test]
    fn each_path_that_goes_makes_room_for_one() {
        let mut table = Table::new(100);
        for id in 1..=10 {
            accept_path(&mut table, 1, id);
        }
        assert!(table.withdraw(path(1, 1)) && table.withdraw(path(1, 2)));
        for id in [9, 10] {
            assert_eq!(table.promotable(), Some(path(1, id)));
            accept_path(&mut table, 1, id);
        }
        assert_eq!((table.accepted(), table.promotable()), (8, None));
    }

    #[test]
    fn a_refused_replacement_makes_room_for_another_path() {
        let mut table = Table::new(100);
        for id in 1..=9 {
            accept_path(&mut table, 1, id);
        }
        let set = Arc::new(attributes(1, 1));
        table.announce(path(1, 3), set, Err(Rejection("policy")), false, start());
        assert_eq!(table.promotable().unwrap(), path(1, 9));
    }

    #[test]
    fn memory_for_the_paths_of_a_prefix_is_bounded_and_the_loss_is_known() {
        let mut table = Table::new(100);
        for id in 1..=40 {
            let told = (9..=17).contains(&id);
            let change = accept_path(&mut table, 1, id);
            assert_eq!(change.rejected, told.then_some(MAX_PATHS), "{id}");
        }
        assert_eq!((table.len(), table.accepted()), (KEPT_PATHS_MAX, PATHS_MAX));
        assert!(table.take_overflowed());
    }

    #[test]
    fn the_limit_of_all_counts_paths() {
        let mut table = Table::new(2);
        accept_path(&mut table, 1, 1);
        accept_path(&mut table, 1, 2);
        assert_eq!(accept_path(&mut table, 1, 3).rejected, Some(MAX_PREFIXES));
        assert!(table.withdraw(path(1, 1)));
        assert_eq!(table.promotable().unwrap(), path(1, 3));
    }

    #[test]
    fn routes_to_a_prefix_are_those_among_all_routes() {
        let mut table = Table::new(100);
        for id in 1..=9 {
            accept_path(&mut table, 1, id);
        }
        accept(&mut table, 2, 100);
        refuse(&mut table, 3, "policy");
        let ours = Path {
            source: PathSource::Local,
            path_id: None,
            attributes: Arc::new(attributes(1, 100)),
            learned_at: start(),
            stale: false,
        };
        table.rib.set(prefix(1), ours);
        let name = |(route, _, reason): &ReceivedRoute<Ipv4Net>| (*route, *reason);
        let all: Vec<_> = table.routes().iter().map(name).collect();
        assert_eq!(all.len(), 11);
        for host in 1..=4 {
            let its = all.iter().filter(|(route, _)| route.prefix == prefix(host));
            let its: Vec<_> = its.copied().collect();
            let found = table.neighbor.routes_to(&table.rib, prefix(host));
            let found: Vec<_> = found.iter().map(name).collect();
            assert_eq!(found, its, "{host}");
        }
    }

    /// The tables of peer 1, and what of them is in the Loc-RIB.
    struct Table {
        neighbor: Neighbor<Ipv4Net>,
        rib: LocRib<Ipv4Net>,
    }

    impl Table {
        fn new(max_prefixes: usize) -> Self {
            let identity = NeighborIdentity {
                peer: PeerId(1),
                router_id: router(1),
                address: router(1),
                role: PeerRole::Client,
                max_prefixes,
                reflector: false,
                all_paths: false,
            };
            Self {
                neighbor: Neighbor::new(identity),
                rib: LocRib::new(1, start()),
            }
        }

        fn announce(
            &mut self,
            route: Nlri,
            attributes: Arc<PathAttributes>,
            verdict: Verdict<Ipv4Addr>,
            stale: bool,
            learned_at: Instant,
        ) -> Change<Ipv4Addr> {
            let received = Received {
                attributes,
                learned_at,
                stale,
            };
            let change = self
                .neighbor
                .announce(&mut self.rib, route, received, verdict);
            self.check();
            change
        }

        /// Tells whether an accepted route went.
        fn withdraw(&mut self, route: Nlri) -> bool {
            let before = self.accepted();
            self.neighbor.withdraw(&mut self.rib, route);
            self.check();
            self.accepted() < before
        }

        fn retain(&mut self) -> usize {
            let (removed, _) = self.neighbor.retain(&mut self.rib);
            self.check();
            removed
        }

        fn remove_stale(&mut self) -> usize {
            let removed = self.neighbor.remove_stale(&mut self.rib, |_| true);
            self.check();
            removed
        }

        fn promotable(&self) -> Option<Nlri> {
            let promotable = self.neighbor.adj_rib_in.promotable();
            promotable.map(|(route, _)| route)
        }

        fn routes(&self) -> Vec<(Nlri, Received<Ipv4Addr>, Option<Rejection>)> {
            self.neighbor.routes(&self.rib)
        }

        fn len(&self) -> usize {
            self.neighbor.adj_rib_in.len()
        }

        fn accepted(&self) -> usize {
            self.neighbor.adj_rib_in.accepted()
        }

        fn take_overflowed(&mut self) -> bool {
            self.neighbor.adj_rib_in.take_overflowed()
        }

        /// What is counted is what there is.
        fn check(&self) {
            let accepted = self.rib.paths_of(PeerId(1)).count();
            assert_eq!(self.accepted(), accepted);
            assert_eq!(self.len(), self.routes().len());
        }
    }

    fn accept(table: &mut Table, host: u8, local_pref: u32) -> Change<Ipv4Addr> {
        let set = Arc::new(attributes(1, local_pref));
        table.announce(route(host), Arc::clone(&set), Ok(set), false, start())
    }

    fn accept_path(table: &mut Table, host: u8, id: u32) -> Change<Ipv4Addr> {
        let set = Arc::new(attributes(1, 100));
        table.announce(path(host, id), Arc::clone(&set), Ok(set), false, start())
    }

    fn route(host: u8) -> Nlri {
        prefix(host).into()
    }

    fn path(host: u8, id: u32) -> Nlri {
        Nlri {
            path_id: Some(PathId(id)),
            ..route(host)
        }
    }

    fn refuse(table: &mut Table, host: u8, reason: &'static str) -> Change<Ipv4Addr> {
        let set = Arc::new(attributes(1, 1));
        table.announce(route(host), set, Err(Rejection(reason)), false, start())
    }
}
