//! Adj-RIB-In: what one peer announced, before policy, with the verdict of import (RFC 4271 section 3.2).
//!
//! Refused routes are kept with their reason, so that a new policy can look again without asking the peer. Bounded
//! twice: accepted routes by the configured limit, refused ones by [`AdjRibIn::capacity`]; what exceeds the latter is
//! forgotten, and remembered as such, so that the peer can be asked for it when it matters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;

use crate::policy::Rejection;
use crate::wire::PathAttributes;

/// The limit of accepted prefixes is reached.
pub(crate) const MAX_PREFIXES: Rejection = Rejection("max-prefixes");
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
    routes: BTreeMap<Ipv4Net, Received>,
    accepted: usize,
    max_prefixes: usize,
    /// Prefixes refused only for the limit.
    waiting: BTreeSet<Ipv4Net>,
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
        prefix: Ipv4Net,
        attributes: Arc<PathAttributes>,
        verdict: Verdict,
        stale: bool,
        now: Instant,
    ) -> Change {
        let former = self.routes.get(&prefix);
        if former.is_none() && self.routes.len() >= self.capacity() {
            let first = !std::mem::replace(&mut self.overflowed, true);
            let reason = verdict.err().unwrap_or(MAX_PREFIXES);
            return Change {
                path: PathUpdate::Keep,
                rejected: first.then_some(reason),
            };
        }
        let was_accepted = former.is_some_and(|former| former.verdict.is_ok());
        let full = !was_accepted && self.accepted >= self.max_prefixes;
        let verdict = if full {
            verdict.and(Err(MAX_PREFIXES))
        } else {
            verdict
        };

        let learned_at = match former {
            Some(former) if former.attributes == attributes => former.learned_at,
            Some(_) | None => now,
        };
        let change = Change::between(former, &verdict, stale, learned_at);
        self.accepted = self.accepted - usize::from(was_accepted) + usize::from(verdict.is_ok());
        if verdict == Err(MAX_PREFIXES) {
            self.waiting.insert(prefix);
        } else {
            self.waiting.remove(&prefix);
        }
        self.routes.insert(
            prefix,
            Received {
                attributes,
                verdict,
                learned_at,
                stale,
            },
        );
        change
    }

    /// Takes a route away; tells whether it was accepted.
    pub(crate) fn withdraw(&mut self, prefix: Ipv4Net) -> bool {
        self.waiting.remove(&prefix);
        let accepted = self
            .routes
            .remove(&prefix)
            .is_some_and(|route| route.verdict.is_ok());
        self.accepted -= usize::from(accepted);
        accepted
    }

    /// Changes how many routes are accepted from now on; what is accepted already stays.
    pub(crate) fn set_limit(&mut self, max_prefixes: usize) {
        self.max_prefixes = max_prefixes;
    }

    /// Marks all routes as stale, for the session ended; removes those that were stale already (RFC 4724 section 4.2,
    /// consecutive restarts) and returns the accepted ones among them.
    pub(crate) fn retain(&mut self) -> Vec<Ipv4Net> {
        let removed = self.remove_stale(|_| true);
        self.routes
            .values_mut()
            .for_each(|route| route.stale = true);
        removed
    }

    /// Removes stale routes on which `goes` is true; returns the accepted ones among them.
    pub(crate) fn remove_stale(&mut self, goes: impl Fn(&Received) -> bool) -> Vec<Ipv4Net> {
        let stale = self.routes.iter().filter(|(_, route)| route.stale);
        let going: Vec<Ipv4Net> = stale
            .filter(|(_, route)| goes(route))
            .map(|(prefix, _)| *prefix)
            .collect();
        going
            .into_iter()
            .filter(|prefix| self.withdraw(*prefix))
            .collect()
    }

    /// Returns a route that was refused only for the limit, if there is room for it by now.
    pub(crate) fn promotable(&self) -> Option<(Ipv4Net, Received)> {
        if self.accepted >= self.max_prefixes {
            return None;
        }
        let prefix = *self.waiting.first()?;
        self.routes
            .get(&prefix)
            .map(|route| (prefix, route.clone()))
    }

    /// Lists all routes.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Ipv4Net, &Received)> {
        self.routes.iter().map(|(prefix, route)| (*prefix, route))
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
    use std::time::Duration;

    #[test]
    fn an_unchanged_route_changes_nothing_and_keeps_its_age() {
        let mut table = AdjRibIn::new(10);
        accept(&mut table, 1, 100);
        let later = start() + Duration::from_secs(9);
        let set = Arc::new(attributes(1, 100));
        let change = table.announce(prefix(1), Arc::clone(&set), Ok(set), false, later);
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
        assert!(table.withdraw(prefix(1)));
        assert_eq!(table.promotable().unwrap().0, prefix(3));
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
            let change = table.announce(prefix, set, Err(Rejection("policy")), false, start());
            let told = number as usize <= REFUSED_EXTRA;
            assert_eq!(change.rejected.is_some(), told, "{number}");
        }
        assert_eq!(table.len(), REFUSED_EXTRA);
        assert!(table.take_overflowed());
        assert!(!table.take_overflowed());
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
        assert_eq!(table.remove_stale(|_| true), [prefix(2)]);
        assert_eq!((table.len(), table.accepted()), (1, 1));
    }

    #[test]
    fn a_second_loss_removes_what_the_first_one_left_stale() {
        let mut table = AdjRibIn::new(10);
        accept(&mut table, 1, 100);
        accept(&mut table, 2, 100);
        table.retain();
        accept(&mut table, 2, 100);

        assert_eq!(table.retain(), [prefix(1)]);
        assert_eq!(table.len(), 1);
    }

    fn accept(table: &mut AdjRibIn, host: u8, local_pref: u32) -> Change {
        let set = Arc::new(attributes(1, local_pref));
        table.announce(prefix(host), Arc::clone(&set), Ok(set), false, start())
    }

    fn refuse(table: &mut AdjRibIn, host: u8, reason: &'static str) -> Change {
        let set = Arc::new(attributes(1, 1));
        table.announce(prefix(host), set, Err(Rejection(reason)), false, start())
    }
}
