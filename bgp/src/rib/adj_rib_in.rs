//! Adj-RIB-In: what one peer announced, before policy, with the verdict of import (RFC 4271 section 3.2). A peer may
//! announce several paths to a prefix, each under an id (RFC 7911 section 3); each path is a route here.
//!
//! An accepted route is the path in the Loc-RIB itself, and nothing of it is kept here but what import changed. Refused
//! routes are kept with their reason, so that a new policy can look again without asking the peer. Bounded twice:
//! accepted routes by the configured limit and by [`PATHS_MAX`] for each prefix, all by [`AdjRibIn::capacity`] and
//! [`KEPT_PATHS_MAX`]; what exceeds the latter two is forgotten, and remembered as such, so that the peer can be asked
//! for it when it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::loc_rib::Standing;
use super::path::{PATHS_MAX, Path};
use crate::policy::Rejection;
use crate::wire::{Nlri, PathAttributes, Prefix};

/// The limit of accepted routes is reached.
pub(crate) const MAX_PREFIXES: Rejection = Rejection("max-prefixes");
/// The limit of accepted paths to the prefix is reached.
pub(crate) const MAX_PATHS: Rejection = Rejection("max-paths");
/// Paths to one prefix that are kept at most, the refused ones too.
pub(super) const KEPT_PATHS_MAX: usize = 2 * PATHS_MAX;
/// Refused routes that are remembered beyond the limit of accepted ones.
pub(super) const REFUSED_EXTRA: usize = 1024;

/// Attributes after import, or why there are none.
pub(crate) type Verdict<A> = Result<Arc<PathAttributes<A>>, Rejection>;

/// A route as received.
#[derive(Debug, Clone)]
pub(crate) struct Received<A> {
    /// Attributes before policy.
    pub(crate) attributes: Arc<PathAttributes<A>>,
    /// When these attributes came.
    pub(crate) learned_at: Instant,
    /// Whether it is kept from a session that ended (RFC 4724 section 4.2).
    pub(crate) stale: bool,
}

/// A route that was refused, and why.
#[derive(Debug, Clone)]
pub(crate) struct Refused<A> {
    /// The route.
    pub(crate) received: Received<A>,
    /// The reason.
    pub(crate) reason: Rejection,
}

/// What a change means for the path of this peer in the Loc-RIB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathUpdate<A> {
    /// Nothing.
    Keep,
    /// It has these attributes.
    Set(Arc<PathAttributes<A>>, Instant),
    /// It is gone.
    Remove,
}

/// The effect of one announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change<A> {
    /// For the Loc-RIB.
    pub(crate) path: PathUpdate<A>,
    /// A refusal that was not there before.
    pub(crate) rejected: Option<Rejection>,
}

/// Tells whether so many accepted routes are three quarters of the limit or more: the owner of the limit should know before
/// routes are refused.
#[must_use]
pub const fn is_near_limit(accepted: usize, limit: usize) -> bool {
    accepted > 0 && accepted >= limit - limit / 4
}

/// The table.
#[derive(Debug)]
pub(crate) struct AdjRibIn<N: Prefix> {
    /// Attributes before policy of the accepted routes that policy changed.
    originals: BTreeMap<Nlri<N>, Arc<PathAttributes<N::NextHop>>>,
    refused: BTreeMap<Nlri<N>, Refused<N::NextHop>>,
    accepted: usize,
    max_prefixes: usize,
    /// Routes that were refused only for a limit, and for which there may be room by now.
    waiting: BTreeSet<Nlri<N>>,
    /// Whether routes were forgotten.
    overflowed: bool,
    /// Whether some of them were forgotten for the limit of all.
    overfull: bool,
    /// Whether the limit of accepted ones was near when that was last looked at.
    near_limit: bool,
}

impl<N: Prefix> AdjRibIn<N> {
    /// Makes an empty table that accepts up to `max_prefixes`.
    pub(crate) fn new(max_prefixes: usize) -> Self {
        Self {
            originals: BTreeMap::new(),
            refused: BTreeMap::new(),
            accepted: 0,
            max_prefixes,
            waiting: BTreeSet::new(),
            overflowed: false,
            overfull: false,
            near_limit: false,
        }
    }

    /// Enters a route with its verdict, or a new verdict on a route; `standing` is what the Loc-RIB has of this peer at
    /// its place.
    pub(crate) fn announce(
        &mut self,
        route: Nlri<N>,
        new: Received<N::NextHop>,
        verdict: Verdict<N::NextHop>,
        standing: &Standing<N::NextHop>,
    ) -> Change<N::NextHop> {
        let accepted = standing.former.as_ref();
        let verdict = match self.limit(route, standing) {
            Some(limit) if accepted.is_none() => verdict.and(Err(limit)),
            Some(_) | None => verdict,
        };
        let former = self.received(route, accepted);
        if former.is_none()
            && let Some(limit) = self.memory_limit(route, standing)
        {
            let first = !std::mem::replace(&mut self.overflowed, true);
            self.overfull |= limit == MAX_PREFIXES;
            let reason = verdict.err().unwrap_or(limit);
            return Change {
                path: PathUpdate::Keep,
                rejected: first.then_some(reason),
            };
        }
        let learned_at = match former {
            Some(former) if former.attributes == new.attributes => former.learned_at,
            Some(_) | None => new.learned_at,
        };
        self.enter(route, Received { learned_at, ..new }, verdict, accepted)
    }

    /// Takes an accepted route away.
    pub(crate) fn withdraw_accepted(&mut self, route: Nlri<N>) {
        if !self.originals.is_empty() {
            self.originals.remove(&route);
        }
        self.accepted -= 1;
        self.make_room(route.prefix);
    }

    /// Takes a refused route away.
    pub(crate) fn withdraw_refused(&mut self, route: Nlri<N>) {
        if !self.refused.is_empty() {
            self.waiting.remove(&route);
            self.refused.remove(&route);
        }
    }

    /// Tells whether the number of accepted routes has come near the limit since the last time it was asked.
    pub(crate) fn take_approach(&mut self) -> Option<usize> {
        let near = is_near_limit(self.accepted, self.max_prefixes);
        let was_near = std::mem::replace(&mut self.near_limit, near);
        (near && !was_near).then_some(self.max_prefixes)
    }

    /// Changes how many routes are accepted from now on; what is accepted already stays.
    pub(crate) fn set_limit(&mut self, max_prefixes: usize) {
        self.max_prefixes = max_prefixes;
    }

    /// Marks all refused routes as stale, for the session ended.
    pub(crate) fn mark_refused_stale(&mut self) {
        self.refused
            .values_mut()
            .for_each(|refused| refused.received.stale = true);
    }

    /// Removes stale refused routes on which `goes` is true.
    pub(crate) fn remove_refused_stale(
        &mut self,
        goes: impl Fn(&PathAttributes<N::NextHop>) -> bool,
    ) {
        let waiting = &mut self.waiting;
        self.refused.retain(|route, Refused { received, .. }| {
            let stays = !received.stale || !goes(&received.attributes);
            if !stays {
                waiting.remove(route);
            }
            stays
        });
    }

    /// Returns a route that was refused only for the limit, if there is room for it by now.
    pub(crate) fn promotable(&self) -> Option<(Nlri<N>, Received<N::NextHop>)> {
        if self.accepted >= self.max_prefixes {
            return None;
        }
        let route = *self.waiting.first()?;
        let refused = self.refused.get(&route)?;
        Some((route, refused.received.clone()))
    }

    /// Returns a route of this peer as it was received: `accepted` is its path in the Loc-RIB, if it was accepted.
    pub(crate) fn received(
        &self,
        route: Nlri<N>,
        accepted: Option<&Path<N::NextHop>>,
    ) -> Option<Received<N::NextHop>> {
        let Some(path) = accepted else {
            return Some(self.refused.get(&route)?.received.clone());
        };
        let original = self.originals.get(&route).unwrap_or(&path.attributes);
        Some(Received {
            attributes: Arc::clone(original),
            learned_at: path.learned_at,
            stale: path.stale,
        })
    }

    /// Lists refused routes.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (Nlri<N>, &Refused<N::NextHop>)> {
        self.refused
            .iter()
            .map(|(route, refused)| (*route, refused))
    }

    /// Lists the refused paths to a prefix, by id.
    pub(crate) fn refused_paths(
        &self,
        prefix: N,
    ) -> impl Iterator<Item = (&Nlri<N>, &Refused<N::NextHop>)> {
        self.refused
            .range(Nlri::from(prefix)..)
            .take_while(move |(other, _)| other.prefix == prefix)
    }

    /// Counts all routes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.accepted + self.refused.len()
    }

    /// Counts accepted routes.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Tells whether routes were forgotten since the last time, and forgets that.
    pub(crate) fn take_overflowed(&mut self) -> bool {
        self.overfull = false;
        std::mem::take(&mut self.overflowed)
    }

    /// Tells whether there is room by now for routes that were forgotten for the limit of all. Those beyond the limit of
    /// their prefix are not missed: as many others are there.
    pub(crate) fn misses_routes(&self) -> bool {
        // Not for the sake of a few: the answer is the whole table, and would overflow again.
        let few = self.max_prefixes / 8;
        let has_room =
            self.accepted + few < self.max_prefixes && self.len() + few < self.capacity();
        self.overfull && has_room && self.waiting.is_empty()
    }

    /// Enters a route that replaces `accepted` or one that was refused or none.
    fn enter(
        &mut self,
        route: Nlri<N>,
        new: Received<N::NextHop>,
        verdict: Verdict<N::NextHop>,
        accepted: Option<&Path<N::NextHop>>,
    ) -> Change<N::NextHop> {
        let known = if self.refused.is_empty() {
            None
        } else {
            self.waiting.remove(&route);
            self.refused.remove(&route).map(|refused| refused.reason)
        };
        match verdict {
            Ok(attributes) => {
                self.accepted += usize::from(accepted.is_none());
                self.keep_original(route, &new.attributes, &attributes);
                let is_same = |path: &Path<N::NextHop>| {
                    path.attributes == attributes && (new.stale || !path.stale)
                };
                let path = if accepted.is_some_and(is_same) {
                    PathUpdate::Keep
                } else {
                    PathUpdate::Set(attributes, new.learned_at)
                };
                Change {
                    path,
                    rejected: None,
                }
            }
            Err(reason) => {
                if reason == MAX_PREFIXES {
                    self.waiting.insert(route);
                }
                let received = new;
                self.refused.insert(route, Refused { received, reason });
                let path = if accepted.is_some() {
                    self.withdraw_accepted(route);
                    PathUpdate::Remove
                } else {
                    PathUpdate::Keep
                };
                Change {
                    path,
                    rejected: (known != Some(reason)).then_some(reason),
                }
            }
        }
    }

    fn keep_original(
        &mut self,
        route: Nlri<N>,
        original: &Arc<PathAttributes<N::NextHop>>,
        imported: &Arc<PathAttributes<N::NextHop>>,
    ) {
        if original != imported {
            self.originals.insert(route, Arc::clone(original));
        } else if !self.originals.is_empty() {
            self.originals.remove(&route);
        }
    }

    /// Returns the limit that keeps a route from being accepted, if one does.
    fn limit(&self, route: Nlri<N>, standing: &Standing<N::NextHop>) -> Option<Rejection> {
        if route.path_id.is_some() && standing.identified >= PATHS_MAX {
            return Some(MAX_PATHS);
        }
        (self.accepted >= self.max_prefixes).then_some(MAX_PREFIXES)
    }

    /// Returns the limit that keeps another route from being kept, if one does.
    fn memory_limit(&self, route: Nlri<N>, standing: &Standing<N::NextHop>) -> Option<Rejection> {
        if route.path_id.is_some() {
            let refused = self.refused_paths(route.prefix).count();
            if standing.identified + refused >= KEPT_PATHS_MAX {
                return Some(MAX_PATHS);
            }
        }
        (self.len() >= self.capacity()).then_some(MAX_PREFIXES)
    }

    /// Has a path that was refused for the limit of its prefix wait for the limit of all, which comes next.
    fn make_room(&mut self, prefix: N) {
        let refused = self
            .refused_paths(prefix)
            .find(|(route, refused)| refused.reason == MAX_PATHS && !self.waiting.contains(route))
            .map(|(route, _)| *route);
        self.waiting.extend(refused);
    }

    /// Returns how many routes are kept at most.
    fn capacity(&self) -> usize {
        self.max_prefixes
            .saturating_mul(2)
            .saturating_add(REFUSED_EXTRA)
    }
}
