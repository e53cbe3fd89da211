//! What would be chosen if next hops died: the ranking of a prefix's paths, without another run of the decision.

use super::destination::STALE_SUPERSEDED;
use super::{Candidate, Path, PathSource, rank};

/// The paths to a prefix that may be chosen, now or once others are gone; or whatever a caller makes of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternatives<T = Path> {
    /// Those that are told in a living session, and our own one, best first.
    told: Vec<T>,
    /// Those that are stale, and our own one, best first.
    remembered: Vec<T>,
}

impl Alternatives {
    /// Ranks paths as the decision would. What is left is in order as long as all are from one neighboring AS, as those are
    /// that nodes of one fabric tell.
    pub(crate) fn of(mut candidates: Vec<Candidate>) -> Self {
        candidates
            .retain(|candidate| matches!(candidate.ineligible, None | Some(STALE_SUPERSEDED)));
        for candidate in &mut candidates {
            candidate.ineligible = None;
        }
        let candidates = rank(candidates, |candidate| candidate);
        let paths = || candidates.iter().map(|candidate| &candidate.path);
        let told = paths().filter(|path| !path.stale);
        let remembered = paths().filter(|path| path.stale || path.source == PathSource::Local);
        Self {
            told: told.cloned().collect(),
            remembered: remembered.cloned().collect(),
        }
    }
}

impl<T> Alternatives<T> {
    /// Makes one that leads to the same whatever dies.
    pub fn only(path: T) -> Self {
        Self {
            told: Vec::new(),
            remembered: vec![path],
        }
    }

    /// Makes something of each path; leaves those out of which it makes nothing.
    pub fn filter_map<U>(&self, make: impl Fn(&T) -> Option<U>) -> Alternatives<U> {
        Alternatives {
            told: self.told.iter().filter_map(&make).collect(),
            remembered: self.remembered.iter().filter_map(&make).collect(),
        }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.remembered.is_empty()
    }

    /// Returns the one that is chosen. `next_hop` tells the next hop of a path, which is `None` for our own: that one ends here.
    /// Those that are not `reached` are not chosen, stale ones neither if theirs is `silent`; and stale ones do not count as
    /// long as any told one is reached.
    pub fn choice<H>(
        &self,
        next_hop: impl Fn(&T) -> Option<H>,
        reached: impl Fn(&H) -> bool,
        silent: impl Fn(&H) -> bool,
    ) -> Option<&T> {
        let lives = |path: &&T| next_hop(path).is_none_or(|hop| reached(&hop));
        let upheld = |path: &T| next_hop(path).is_some_and(|hop| reached(&hop));
        if self.told.iter().any(upheld) {
            return self.told.iter().find(lives);
        }
        let mut living = self.remembered.iter().filter(lives);
        living.find(|path| next_hop(path).is_none_or(|hop| !silent(&hop)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use ipnet::Ipv4Net;
    use proptest::prelude::*;

    use super::*;
    use crate::rib::LocRib;
    use crate::testing::{attributes, learned, prefix, router, start};

    proptest! {
        /// Whatever next hops die, the ranking of before leads where a new decision does: with stale paths, those that are
        /// superseded, our own path, next hops that came back lately, and others that were dead already.
        #[test]
        fn a_death_leads_where_the_decision_does(
            paths in proptest::collection::vec((1_u8..6, 1_u8..6, 1_u32..4, any::<bool>()), 1..6),
            own in proptest::option::of(1_u32..4),
            before in hops(), unsteady in hops(), silent in hops(),
            died in hops(), fell_silent in hops(),
        ) {
            let mut rib: LocRib<Ipv4Net> = LocRib::new(1, start());
            rib.set_unsteady_next_hops(unsteady);
            let all: BTreeSet<Ipv4Addr> = (1..6).map(router).collect();
            let told = |rib: &mut LocRib<Ipv4Net>, dead: &BTreeSet<Ipv4Addr>, silent: &BTreeSet<Ipv4Addr>| {
                rib.set_next_hops(&all - dead);
                rib.set_silent_next_hops(silent.clone());
                rib.decide();
            };
            for (peer, hop, preference, stale) in paths {
                let mut path = learned(peer, attributes(hop, preference));
                path.stale = stale;
                rib.set(prefix(1), path);
            }
            if let Some(preference) = own {
                let path = Path {
                    source: PathSource::Local,
                    attributes: Arc::new(attributes(9, preference)),
                    ..learned(9, attributes(9, preference))
                };
                rib.set(prefix(1), path);
            }
            told(&mut rib, &before, &silent);
            let ranking = Alternatives::of(rib.candidates(prefix(1)));

            let (dead, silent) = (&before | &died, &silent | &fell_silent);
            told(&mut rib, &dead, &silent);

            let hop = |path: &Path| {
                (path.source != PathSource::Local).then_some(path.attributes.next_hop)
            };
            let choice = ranking.choice(hop, |hop| !dead.contains(hop), |hop| silent.contains(hop));
            let best = rib.best(prefix(1));
            prop_assert_eq!(choice, best.as_ref());
        }
    }

    fn hops() -> impl Strategy<Value = BTreeSet<Ipv4Addr>> {
        proptest::collection::btree_set((1_u8..6).prop_map(router), 0..3)
    }
}
