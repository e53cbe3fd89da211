//! Loc-RIB: all accepted paths of each prefix, best first, and the best path that was made known.
//!
//! Changes only mark prefixes as dirty; [`LocRib::decide`] runs the decision once for each of them and reports what
//! differs from what was made known before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::best_path::BestPathChange;
use super::decision::{Candidate, DecisionStep, compare};
use super::path::{Path, PathSource};
use crate::config::PeerId;

/// Why a path whose next hop is not reachable may not be chosen.
const NEXT_HOP_UNREACHABLE: &str = "next-hop-unreachable";

/// Paths of one prefix.
#[derive(Debug, Default)]
struct Destination {
    /// Best first as of the last decision, ineligible ones last; at most one per source.
    candidates: Vec<Candidate>,
    /// Best path as made known.
    published: Option<Path>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct LocRib {
    destinations: BTreeMap<Ipv4Net, Destination>,
    reachable: BTreeSet<Ipv4Addr>,
    unsteady: BTreeSet<Ipv4Addr>,
    dirty: BTreeSet<Ipv4Net>,
}

impl LocRib {
    /// Enters a path, in place of an earlier one from the same source.
    pub(crate) fn set(&mut self, prefix: Ipv4Net, path: Path) {
        let candidates = &mut self.destinations.entry(prefix).or_default().candidates;
        candidates.retain(|candidate| candidate.path.source.peer() != path.source.peer());
        candidates.push(Candidate {
            path,
            ineligible: None,
            unsteady: false,
        });
        self.dirty.insert(prefix);
    }

    /// Removes the path of a source: a peer, or ourselves for `None`.
    pub(crate) fn remove(&mut self, prefix: Ipv4Net, source: Option<PeerId>) {
        if let Some(destination) = self.destinations.get_mut(&prefix) {
            destination
                .candidates
                .retain(|candidate| candidate.path.source.peer() != source);
            self.dirty.insert(prefix);
        }
    }

    /// Replaces the set of reachable next hops.
    pub(crate) fn set_next_hops(&mut self, reachable: BTreeSet<Ipv4Addr>) {
        let changed = difference(&self.reachable, &reachable);
        self.reachable = reachable;
        self.mark(&changed);
    }

    /// Replaces the set of next hops that came back only lately.
    pub(crate) fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<Ipv4Addr>) {
        let changed = difference(&self.unsteady, &unsteady);
        self.unsteady = unsteady;
        self.mark(&changed);
    }

    /// Marks all prefixes with a path to one of these next hops.
    fn mark(&mut self, changed: &BTreeSet<Ipv4Addr>) {
        if changed.is_empty() {
            return;
        }
        let affected = self.destinations.iter().filter(|(_, destination)| {
            destination
                .candidates
                .iter()
                .any(|candidate| changed.contains(&candidate.path.attributes.next_hop))
        });
        self.dirty.extend(affected.map(|(prefix, _)| *prefix));
    }

    /// Decides all dirty prefixes and returns what changed, by prefix.
    pub(crate) fn decide(&mut self) -> Vec<BestPathChange> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty
            .into_iter()
            .filter_map(|prefix| self.decide_prefix(prefix))
            .collect()
    }

    /// Returns the best path as made known.
    pub(crate) fn best(&self, prefix: Ipv4Net) -> Option<&Path> {
        self.destinations.get(&prefix)?.published.as_ref()
    }

    /// Returns all paths of a prefix, best first.
    pub(crate) fn candidates(&self, prefix: Ipv4Net) -> &[Candidate] {
        self.destinations
            .get(&prefix)
            .map_or(&[], |destination| &destination.candidates)
    }

    /// Lists all prefixes that have a path.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Ipv4Net> {
        self.destinations.keys().copied()
    }

    fn decide_prefix(&mut self, prefix: Ipv4Net) -> Option<BestPathChange> {
        let Destination {
            candidates,
            published,
        } = self.destinations.get_mut(&prefix)?;
        for candidate in candidates.iter_mut() {
            candidate.ineligible = ineligibility(&candidate.path, &self.reachable);
            candidate.unsteady = candidate.path.source != PathSource::Local
                && self.unsteady.contains(&candidate.path.attributes.next_hop);
        }
        candidates.sort_by(|a, b| compare(a, b).0);

        let best = candidates
            .first()
            .filter(|candidate| candidate.ineligible.is_none());
        let step = match candidates.as_slice() {
            [] => DecisionStep::OnlyPath,
            [_] if best.is_some() => DecisionStep::OnlyPath,
            [first, second, ..] if best.is_some() => compare(first, second).1,
            [..] => DecisionStep::Eligible,
        };
        let new = best.map(|candidate| candidate.path.clone());
        let unchanged = match (&published, &new) {
            (Some(old), Some(new)) => old.is_same_route(new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let old = std::mem::replace(published, new.clone());
        if candidates.is_empty() {
            self.destinations.remove(&prefix);
        }
        (!unchanged).then_some(BestPathChange {
            prefix,
            old,
            new,
            step,
        })
    }
}

fn difference(one: &BTreeSet<Ipv4Addr>, other: &BTreeSet<Ipv4Addr>) -> BTreeSet<Ipv4Addr> {
    one.symmetric_difference(other).copied().collect()
}

/// Our own routes need no next hop: they end here.
fn ineligibility(path: &Path, reachable: &BTreeSet<Ipv4Addr>) -> Option<&'static str> {
    let learned = path.source != PathSource::Local;
    let unreachable = learned && !reachable.contains(&path.attributes.next_hop);
    unreachable.then_some(NEXT_HOP_UNREACHABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, learned, prefix, router};
    use proptest::prelude::*;

    #[test]
    fn a_better_path_takes_over_and_says_at_which_step() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 100)));
        assert_eq!(rib.decide()[0].step, DecisionStep::OnlyPath);
        rib.set(prefix(1), learned(2, attributes(2, 200)));
        let changes = rib.decide();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].step, DecisionStep::LocalPref);
        assert_eq!(
            changes[0].old.as_ref().unwrap().source.peer(),
            Some(PeerId(1))
        );
        assert_eq!(
            changes[0].new.as_ref().unwrap().source.peer(),
            Some(PeerId(2))
        );
    }

    #[test]
    fn a_change_behind_the_best_path_is_no_news() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.decide();
        rib.set(prefix(1), learned(2, attributes(2, 100)));
        assert_eq!(rib.decide(), []);
        rib.remove(prefix(1), Some(PeerId(2)));
        assert_eq!(rib.decide(), []);
    }

    #[test]
    fn a_lost_next_hop_takes_its_paths_out_of_the_choice_and_back() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.decide();
        rib.set_next_hops([router(2)].into());
        let changes = rib.decide();
        assert_eq!(changes[0].step, DecisionStep::Eligible);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(2)));
        rib.set_next_hops(BTreeSet::new());
        assert_eq!(rib.decide()[0].new, None);
        assert_eq!(rib.candidates(prefix(1)).len(), 2);
        rib.set_next_hops([router(1), router(2)].into());
        rib.decide();
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));
    }

    #[test]
    fn a_next_hop_that_came_back_lately_is_chosen_only_if_there_is_no_other() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.set(prefix(2), learned(1, attributes(1, 200)));
        rib.decide();
        rib.set_unsteady_next_hops([router(1)].into());
        let changes = rib.decide();
        assert_eq!(changes.len(), 1, "an only path stays");
        assert_eq!(changes[0].step, DecisionStep::Steady);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(2)));
        rib.set_unsteady_next_hops(BTreeSet::new());
        assert_eq!(rib.decide()[0].step, DecisionStep::LocalPref);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));
    }

    #[test]
    fn nothing_remains_of_a_prefix_without_paths() {
        let mut rib = reachable(&[1]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.decide();
        rib.remove(prefix(1), Some(PeerId(1)));
        assert_eq!(rib.decide()[0].new, None);
        assert!(rib.destinations.is_empty() && rib.dirty.is_empty());
    }

    /// One random step.
    #[derive(Debug, Clone)]
    enum Operation {
        Set { host: u8, peer: u8, local_pref: u32 },
        Remove { host: u8, peer: u8 },
        NextHops(BTreeSet<Ipv4Addr>),
        Decide,
    }

    proptest! {
        #[test]
        fn the_best_paths_are_those_of_a_naive_recomputation(
            operations in proptest::collection::vec(operation(), 1..60),
        ) {
            let mut rib = LocRib::default();
            let mut paths: BTreeMap<(Ipv4Net, u8), Path> = BTreeMap::new();
            let mut up = BTreeSet::new();
            let mut followed: BTreeMap<Ipv4Net, Path> = BTreeMap::new();
            for operation in operations.into_iter().chain([Operation::Decide]) {
                match operation {
                    Operation::Set { host, peer, local_pref } => {
                        let path = learned(peer, attributes(peer, local_pref));
                        paths.insert((prefix(host), peer), path.clone());
                        rib.set(prefix(host), path);
                    }
                    Operation::Remove { host, peer } => {
                        paths.remove(&(prefix(host), peer));
                        rib.remove(prefix(host), Some(PeerId(peer.into())));
                    }
                    Operation::NextHops(reachable) => {
                        up.clone_from(&reachable);
                        rib.set_next_hops(reachable);
                    }
                    Operation::Decide => {
                        for change in rib.decide() {
                            prop_assert_eq!(followed.get(&change.prefix), change.old.as_ref());
                            match change.new {
                                Some(path) => followed.insert(change.prefix, path),
                                None => followed.remove(&change.prefix),
                            };
                        }
                        prop_assert_eq!(&followed, &naive(&paths, &up));
                    }
                }
            }
        }
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let (host, peer) = (0..3u8, 1..5u8);
        prop_oneof![
            4 => (host.clone(), peer.clone(), 0..3u32)
                .prop_map(|(host, peer, local_pref)| Operation::Set { host, peer, local_pref }),
            2 => (host, peer).prop_map(|(host, peer)| Operation::Remove { host, peer }),
            1 => proptest::collection::btree_set((1..5u8).prop_map(router), 0..5)
                .prop_map(Operation::NextHops),
            2 => Just(Operation::Decide),
        ]
    }

    /// Highest LOCAL_PREF, then lowest router, of those that are up.
    fn naive(
        paths: &BTreeMap<(Ipv4Net, u8), Path>,
        up: &BTreeSet<Ipv4Addr>,
    ) -> BTreeMap<Ipv4Net, Path> {
        let mut best: BTreeMap<Ipv4Net, Path> = BTreeMap::new();
        for ((prefix, _), path) in paths {
            if !up.contains(&path.attributes.next_hop) {
                continue;
            }
            let better = best
                .get(prefix)
                .is_none_or(|best| path.attributes.local_pref > best.attributes.local_pref);
            if better {
                best.insert(*prefix, path.clone());
            }
        }
        best
    }

    fn reachable(hosts: &[u8]) -> LocRib {
        let mut rib = LocRib::default();
        rib.set_next_hops(hosts.iter().map(|host| router(*host)).collect());
        rib
    }
}
