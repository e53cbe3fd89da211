//! Adj-RIB-In: what one peer announced, before policy, with the verdict of import (RFC 4271 section 3.2). A peer may
//! announce several paths to a prefix, each under an id (RFC 7911 section 3); each path is a route here.
//!
//! Refused routes are kept with their reason, so that a new policy can look again without asking the peer. Bounded
//! twice: accepted routes by the configured limit and by [`PATHS_MAX`] for each prefix, all by [`AdjRibIn::capacity`]
//! and [`KEPT_PATHS_MAX`]; what exceeds the latter two is forgotten, and remembered as such, so that the peer can be
//! asked for it when it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;

use super::path::PATHS_MAX;
use crate::policy::Rejection;
use crate::wire::{Nlri, PathAttributes};

/// The limit of accepted routes is reached.
pub(crate) const MAX_PREFIXES: Rejection = Rejection("max-prefixes");
/// The limit of accepted paths to the prefix is reached.
pub(crate) const MAX_PATHS: Rejection = Rejection("max-paths");
/// Paths to one prefix that are kept at most, the refused ones too.
const KEPT_PATHS_MAX: usize = 2 * PATHS_MAX;
/// Refused routes that are remembered beyond the limit of accepted ones.
const REFUSED_EXTRA: usize = 1024;

/// Attributes after import, or why there are none.
pub(crate) type Verdict = Result<Arc<PathAttributes>, Rejection>;

/// A route as received, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    /// Attributes before policy.
    pub(crate) attributes: Arc<PathAttributes>,
    /// Result of import.
    pub(crate) verdict: Verdict,
    /// When these attributes came.
    pub(crate) learned_at: Instant,
    /// Whether it is kept from a session that ended (RFC 4724 section 4.2).
    pub(crate) stale: bool,
}

/// What a change means for the path of this peer in the Loc-RIB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathUpdate {
    /// Nothing.
    Keep,
    /// It has these attributes.
    Set(Arc<PathAttributes>, Instant),
    /// It is gone.
    Remove,
}

/// The effect of one announcement or withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// For the Loc-RIB.
    pub(crate) path: PathUpdate,
    /// A refusal that was not there before.
    pub(crate) rejected: Option<Rejection>,
}

/// The routes of one peer.
#[derive(Debug)]
pub(crate) struct AdjRibIn {
    routes: BTreeMap<Nlri, Received>,
    accepted: usize,
    max_prefixes: usize,
    /// Routes refused only for the limit of all; the prefix of each has room, as far as known.
    waiting: BTreeSet<Nlri>,
    /// Whether routes were forgotten.
    overflowed: bool,
}

impl AdjRibIn {
    /// Makes an empty table that accepts up to `max_prefixes`.
    pub(crate) fn new(max_prefixes: usize) -> Self {
        Self {
            routes: BTreeMap::new(),
            accepted: 0,
            max_prefixes,
            waiting: BTreeSet::new(),
            overflowed: false,
        }
    }

    /// Enters a route with its verdict, or a new verdict on a route; `stale` as in [`Received`].
    pub(crate) fn announce(
        &mut self,
        route: Nlri,
        attributes: Arc<PathAttributes>,
        verdict: Verdict,
        stale: bool,
        now: Instant,
    ) -> Change {
        let former = self.routes.get(&route);
        let was_accepted = former.is_some_and(|former| former.verdict.is_ok());
        let verdict = match self.limit(route) {
            Some(limit) if !was_accepted => verdict.and(Err(limit)),
            Some(_) | None => verdict,
        };
        if former.is_none()
            && let Some(limit) = self.memory_limit(route)
        {
            let first = !std::mem::replace(&mut self.overflowed, true);
            let reason = verdict.err().unwrap_or(limit);
            return Change {
                path: PathUpdate::Keep,
                rejected: first.then_some(reason),
            };
        }

        let learned_at = match former {
            Some(former) if former.attributes == attributes => former.learned_at,
            Some(_) | None => now,
        };
        let change = Change::between(former, &verdict, stale, learned_at);
        self.accepted = self.accepted - usize::from(was_accepted) + usize::from(verdict.is_ok());
        if verdict == Err(MAX_PREFIXES) {
            self.waiting.insert(route);
        } else {
            self.waiting.remove(&route);
        }
        self.routes.insert(
            route,
            Received {
                attributes,
                verdict,
                learned_at,
                stale,
            },
        );
        if change.path == PathUpdate::Remove {
            self.make_room(route.prefix);
        }
        change
    }

    /// Takes a route away; tells whether it was accepted.
    pub(crate) fn withdraw(&mut self, route: Nlri) -> bool {
        self.waiting.remove(&route);
        let accepted = self
            .routes
            .remove(&route)
            .is_some_and(|route| route.verdict.is_ok());
        self.accepted -= usize::from(accepted);
        if accepted {
            self.make_room(route.prefix);
        }
        accepted
    }

    /// Changes how many routes are accepted from now on; what is accepted already stays.
    pub(crate) fn set_limit(&mut self, max_prefixes: usize) {
        self.max_prefixes = max_prefixes;
    }

    /// Marks all routes as stale, for the session ended; removes those that were stale already (RFC 4724 section 4.2,
    /// consecutive restarts) and returns the accepted ones among them.
    pub(crate) fn retain(&mut self) -> Vec<Nlri> {
        let removed = self.remove_stale(|_| true);
        self.routes
            .values_mut()
            .for_each(|route| route.stale = true);
        removed
    }

    /// Removes stale routes on which `goes` is true; returns the accepted ones among them.
    pub(crate) fn remove_stale(&mut self, goes: impl Fn(&Received) -> bool) -> Vec<Nlri> {
        let stale = self.routes.iter().filter(|(_, route)| route.stale);
        let going: Vec<Nlri> = stale
            .filter(|(_, received)| goes(received))
            .map(|(route, _)| *route)
            .collect();
        going
            .into_iter()
            .filter(|route| self.withdraw(*route))
            .collect()
    }

    /// Returns a route that was refused only for the limit, if there is room for it by now.
    pub(crate) fn promotable(&self) -> Option<(Nlri, Received)> {
        if self.accepted >= self.max_prefixes {
            return None;
        }
        let route = *self.waiting.first()?;
        self.routes
            .get(&route)
            .map(|received| (route, received.clone()))
    }

    /// Lists all routes.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Nlri, &Received)> {
        self.routes
            .iter()
            .map(|(route, received)| (*route, received))
    }

    /// Counts all routes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Counts accepted routes.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Tells whether routes were forgotten since the last time, and forgets that.
    pub(crate) fn take_overflowed(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }

    /// Returns the limit that keeps a route from being accepted, if one does.
    fn limit(&self, route: Nlri) -> Option<Rejection> {
        let accepted = self
            .paths(route)
            .filter(|(_, received)| received.verdict.is_ok());
        if accepted.count() >= PATHS_MAX {
            return Some(MAX_PATHS);
        }
        (self.accepted >= self.max_prefixes).then_some(MAX_PREFIXES)
    }

    /// Returns the limit that keeps another route from being kept, if one does.
    fn memory_limit(&self, route: Nlri) -> Option<Rejection> {
        if self.paths(route).count() >= KEPT_PATHS_MAX {
            return Some(MAX_PATHS);
        }
        (self.routes.len() >= self.capacity()).then_some(MAX_PREFIXES)
    }

    /// Has a path that was refused for the limit of its prefix wait for the limit of all, which comes next.
    fn make_room(&mut self, prefix: Ipv4Net) {
        let mut paths = self
            .routes
            .range(Nlri::from(prefix)..)
            .take_while(|(route, _)| route.prefix == prefix);
        let refused = paths.find(|(_, received)| received.verdict == Err(MAX_PATHS));
        self.waiting.extend(refused.map(|(route, _)| *route));
    }

    /// Lists the paths to the prefix of a route that have an id, as it does.
    fn paths(&self, route: Nlri) -> impl Iterator<Item = (&Nlri, &Received)> {
        let first = route.path_id.map(|_| Nlri::from(route.prefix));
        let paths = first.map(|first| self.routes.range(first..));
        paths
            .into_iter()
            .flatten()
            .take_while(move |(other, _)| other.prefix == route.prefix)
    }

    /// Returns how many routes are kept at most.
    fn capacity(&self) -> usize {
        self.max_prefixes
            .saturating_mul(2)
            .saturating_add(REFUSED_EXTRA)
    }
}

impl Change {
    fn between(
        former: Option<&Received>,
        verdict: &Verdict,
        stale: bool,
        learned_at: Instant,
    ) -> Self {
        let confirmed = former.is_some_and(|former| former.stale && !stale && verdict.is_ok());
        let former = former.map(|former| &former.verdict);
        if former == Some(verdict) && !confirmed {
            return Self {
                path: PathUpdate::Keep,
                rejected: None,
            };
        }
        match verdict {
            Ok(attributes) => Self {
                path: PathUpdate::Set(Arc::clone(attributes), learned_at),
                rejected: None,
            },
            Err(reason) => {
                let was_accepted = former.is_some_and(Result::is_ok);
                let path = if was_accepted {
                    PathUpdate::Remove
                } else {
                    PathUpdate::Keep
                };
                Self {
                    path,
                    rejected: Some(*reason),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, prefix, start};
    use crate::wire::PathId;
    use std::time::Duration;

    #[test]
    fn an_unchanged_route_changes_nothing_and_keeps_its_age() {
        let mut table = AdjRibIn::new(10);
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
        assert_eq!(table.routes().next().unwrap().1.learned_at, start());
    }

    #[test]
    fn a_refused_replacement_removes_the_accepted_route() {
        let mut table = AdjRibIn::new(10);
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
        let mut table = AdjRibIn::new(10);
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
        let mut table = AdjRibIn::new(2);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        assert_eq!(accept(&mut table, 3, 100).rejected, Some(MAX_PREFIXES));
        assert_eq!(table.promotable(), None);
        assert!(table.withdraw(route(1)));
        assert_eq!(table.promotable().unwrap().0, route(3));
        accept(&mut table, 3, 100);
        assert_eq!((table.accepted(), table.promotable()), (2, None));
    }

    #[test]
    fn an_accepted_prefix_may_change_while_the_table_is_full() {
        let mut table = AdjRibIn::new(1);
        accept(&mut table, 1, 100);
        let change = accept(&mut table, 1, 200);
        assert!(matches!(change.path, PathUpdate::Set(..)));
    }

    #[test]
    fn memory_for_refused_routes_is_bounded_and_the_loss_is_known() {
        let mut table = AdjRibIn::new(0);
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
        let mut table = AdjRibIn::new(10);
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
        let mut table = AdjRibIn::new(10);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        refuse(&mut table, 3, "policy");
        assert_eq!(table.retain(), []);

        let change = accept(&mut table, 1, 100);

        assert!(
            matches!(change.path, PathUpdate::Set(..)),
            "it is confirmed"
        );
        assert_eq!(table.remove_stale(|_| true), [route(2)]);
        assert_eq!((table.len(), table.accepted()), (1, 1));
    }

    #[test]
    fn a_second_loss_removes_what_the_first_one_left_stale() {
        let mut table = AdjRibIn::new(10);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        table.retain();
        accept(&mut table, 2, 100);

        assert_eq!(table.retain(), [route(1)]);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn paths_beyond_the_limit_of_a_prefix_wait_until_there_is_room() {
        let mut table = AdjRibIn::new(100);
        for id in 1..=8 {
            assert_eq!(accept_path(&mut table, 1, id).rejected, None);
        }
        assert_eq!(accept_path(&mut table, 1, 9).rejected, Some(MAX_PATHS));
        assert_eq!(accept_path(&mut table, 2, 9).rejected, None);
        assert_eq!((table.accepted(), table.promotable()), (9, None));
        assert!(table.withdraw(path(1, 5)));
        assert_eq!(table.promotable().unwrap().0, path(1, 9));
        accept_path(&mut table, 1, 9);
        assert_eq!((table.accepted(), table.promotable()), (9, None));
    }

    #[test]
    fn a_refused_replacement_makes_room_for_another_path() {
        let mut table = AdjRibIn::new(100);
        for id in 1..=9 {
            accept_path(&mut table, 1, id);
        }
        let set = Arc::new(attributes(1, 1));
        table.announce(path(1, 3), set, Err(Rejection("policy")), false, start());
        assert_eq!(table.promotable().unwrap().0, path(1, 9));
    }

    #[test]
    fn memory_for_the_paths_of_a_prefix_is_bounded_and_the_loss_is_known() {
        let mut table = AdjRibIn::new(100);
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
        let mut table = AdjRibIn::new(2);
        accept_path(&mut table, 1, 1);
        accept_path(&mut table, 1, 2);
        assert_eq!(accept_path(&mut table, 1, 3).rejected, Some(MAX_PREFIXES));
        assert!(table.withdraw(path(1, 1)));
        assert_eq!(table.promotable().unwrap().0, path(1, 3));
    }

    fn accept(table: &mut AdjRibIn, host: u8, local_pref: u32) -> Change {
        let set = Arc::new(attributes(1, local_pref));
        table.announce(route(host), Arc::clone(&set), Ok(set), false, start())
    }

    fn accept_path(table: &mut AdjRibIn, host: u8, id: u32) -> Change {
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

    fn refuse(table: &mut AdjRibIn, host: u8, reason: &'static str) -> Change {
        let set = Arc::new(attributes(1, 1));
        table.announce(route(host), set, Err(Rejection(reason)), false, start())
    }
}
