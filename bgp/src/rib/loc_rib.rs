//! Loc-RIB: all accepted paths of each prefix, best first, and the best path that was made known.
//!
//! Changes only mark prefixes as dirty; [`LocRib::decide`] runs the decision once for each of them and reports what
//! differs from what was made known before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::best_path::BestPathChange;
use super::decision::{Candidate, DecisionStep, compare};
use super::path::{Path, PathKey, PathSource};
use crate::feed::Feed;
use crate::wire::PathId;

/// Why a path whose next hop is not reachable may not be chosen.
const NEXT_HOP_UNREACHABLE: &str = "next-hop-unreachable";
/// Why a stale path whose next hop does not answer may not be chosen.
const STALE_NEXT_HOP_SILENT: &str = "stale-next-hop-silent";
/// Why a stale path may not be chosen beside one that a living session tells: the address may have moved meanwhile.
pub const STALE_SUPERSEDED: &str = "stale-superseded";

/// Paths of one prefix.
#[derive(Debug, Default)]
struct Destination {
    /// Best first as of the last decision, ineligible ones last; at most one per source and path id.
    candidates: Vec<Candidate>,
    /// Best path as made known.
    published: Option<Path>,
}

/// What is known about next hops.
#[derive(Debug, Default)]
struct NextHops {
    reachable: BTreeSet<Ipv4Addr>,
    /// Came back only lately.
    unsteady: BTreeSet<Ipv4Addr>,
    /// Reachable or not, no stale path may rely on these.
    silent: BTreeSet<Ipv4Addr>,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct LocRib {
    destinations: BTreeMap<Ipv4Net, Destination>,
    next_hops: NextHops,
    dirty: BTreeSet<Ipv4Net>,
    /// What changed, for those who watch: any path of a prefix, not only the best.
    feed: Feed<Ipv4Net>,
}

/// The outcome of a decision.
#[derive(Debug)]
pub(crate) struct Decided {
    /// Changes of best paths, by prefix.
    pub(crate) best: Vec<BestPathChange>,
    /// All prefixes of which any path changed.
    pub(crate) touched: BTreeSet<Ipv4Net>,
}

impl LocRib {
    /// Enters a path, in place of an earlier one with the same key.
    pub(crate) fn set(&mut self, prefix: Ipv4Net, path: Path) {
        let candidates = &mut self.destinations.entry(prefix).or_default().candidates;
        let former = candidates
            .iter_mut()
            .find(|candidate| candidate.path.key() == path.key());
        if let Some(former) = former {
            former.path = path;
        } else {
            candidates.push(Candidate {
                path,
                ineligible: None,
                unsteady: false,
                local_id: free_id(candidates),
            });
        }
        self.dirty.insert(prefix);
    }

    /// Removes a path.
    pub(crate) fn remove(&mut self, prefix: Ipv4Net, key: PathKey) {
        if let Some(destination) = self.destinations.get_mut(&prefix) {
            let candidates = &mut destination.candidates;
            let before = candidates.len();
            candidates.retain(|candidate| candidate.path.key() != key);
            if candidates.len() != before {
                self.dirty.insert(prefix);
            }
        }
    }

    /// Replaces the set of reachable next hops.
    pub(crate) fn set_next_hops(&mut self, reachable: BTreeSet<Ipv4Addr>) {
        let former = std::mem::replace(&mut self.next_hops.reachable, reachable);
        let changed = &former ^ &self.next_hops.reachable;
        self.mark(&changed);
    }

    /// Replaces the set of next hops that came back only lately.
    pub(crate) fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<Ipv4Addr>) {
        let former = std::mem::replace(&mut self.next_hops.unsteady, unsteady);
        let changed = &former ^ &self.next_hops.unsteady;
        self.mark(&changed);
    }

    /// Replaces the set of next hops that do not answer, on which no stale path may rely.
    pub(crate) fn set_silent_next_hops(&mut self, silent: BTreeSet<Ipv4Addr>) {
        let former = std::mem::replace(&mut self.next_hops.silent, silent);
        let changed = &former ^ &self.next_hops.silent;
        self.mark(&changed);
    }

    /// Marks a path as stale.
    pub(crate) fn mark_stale(&mut self, prefix: Ipv4Net, key: PathKey) {
        let candidates = self.destinations.get_mut(&prefix);
        for candidate in candidates.into_iter().flat_map(|d| &mut d.candidates) {
            if candidate.path.key() == key {
                candidate.path.stale = true;
                self.dirty.insert(prefix);
            }
        }
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

    /// Decides all dirty prefixes.
    pub(crate) fn decide(&mut self) -> Decided {
        let touched = std::mem::take(&mut self.dirty);
        let mut best = Vec::new();
        for prefix in &touched {
            best.extend(self.decide_prefix(*prefix));
            let exists = self.destinations.contains_key(prefix);
            self.feed.note(*prefix, exists);
        }
        Decided { best, touched }
    }

    /// What changed.
    pub(crate) fn feed(&self) -> &Feed<Ipv4Net> {
        &self.feed
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
            candidate.ineligible = ineligibility(&candidate.path, &self.next_hops);
            candidate.unsteady = candidate.path.source != PathSource::Local
                && self
                    .next_hops
                    .unsteady
                    .contains(&candidate.path.attributes.next_hop);
        }
        let told = |candidate: &Candidate| {
            let Path { source, stale, .. } = candidate.path;
            source != PathSource::Local && !stale && candidate.ineligible.is_none()
        };
        if candidates.iter().any(told) {
            let stale = candidates
                .iter_mut()
                .filter(|candidate| candidate.path.stale);
            for candidate in stale {
                candidate.ineligible.get_or_insert(STALE_SUPERSEDED);
            }
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

/// Returns the lowest id that no path of the prefix has: an id never moves to another path while its path lives.
fn free_id(candidates: &[Candidate]) -> PathId {
    let taken: BTreeSet<PathId> = candidates
        .iter()
        .map(|candidate| candidate.local_id)
        .collect();
    (1..)
        .map(PathId)
        .find(|id| !taken.contains(id))
        .expect("there are fewer paths than ids")
}

/// Our own routes need no next hop: they end here.
fn ineligibility(path: &Path, next_hops: &NextHops) -> Option<&'static str> {
    let next_hop = &path.attributes.next_hop;
    if path.source == PathSource::Local {
        None
    } else if !next_hops.reachable.contains(next_hop) {
        Some(NEXT_HOP_UNREACHABLE)
    } else if path.stale && next_hops.silent.contains(next_hop) {
        Some(STALE_NEXT_HOP_SILENT)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerId;
    use crate::testing::{attributes, learned, prefix, router};
    use proptest::prelude::*;

    #[test]
    fn a_better_path_takes_over_and_says_at_which_step() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 100)));
        assert_eq!(decide(&mut rib)[0].step, DecisionStep::OnlyPath);
        rib.set(prefix(1), learned(2, attributes(2, 200)));
        let changes = decide(&mut rib);
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
        assert_eq!(decide(&mut rib), []);
        rib.remove(prefix(1), (Some(PeerId(2)), None));
        assert_eq!(decide(&mut rib), []);
    }

    #[test]
    fn a_lost_next_hop_takes_its_paths_out_of_the_choice_and_back() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.decide();
        rib.set_next_hops([router(2)].into());
        let changes = decide(&mut rib);
        assert_eq!(changes[0].step, DecisionStep::Eligible);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(2)));
        rib.set_next_hops(BTreeSet::new());
        assert_eq!(decide(&mut rib)[0].new, None);
        assert_eq!(rib.candidates(prefix(1)).len(), 2);
        rib.set_next_hops([router(1), router(2)].into());
        rib.decide();
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));
    }

    #[test]
    fn a_silent_next_hop_takes_only_stale_paths_out_of_the_choice() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.set(prefix(2), learned(2, attributes(1, 200)));
        rib.decide();
        rib.mark_stale(prefix(1), (Some(PeerId(1)), None));
        assert_eq!(decide(&mut rib), [], "being stale is no news");
        assert!(rib.best(prefix(1)).unwrap().stale);

        rib.set_silent_next_hops([router(1)].into());
        let changes = decide(&mut rib);

        assert_eq!((changes.len(), &changes[0].new), (1, &None));
        assert_eq!(
            rib.candidates(prefix(1))[0].ineligible,
            Some(STALE_NEXT_HOP_SILENT)
        );
        assert!(rib.best(prefix(2)).is_some(), "a fresh path stands");
        rib.set_silent_next_hops(BTreeSet::new());
        assert_eq!(decide(&mut rib).len(), 1);
    }

    #[test]
    fn a_stale_path_yields_to_any_that_is_told_but_not_to_a_poorer_one_of_our_own() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 400)));
        let mut own = learned(1, attributes(3, 300));
        own.source = PathSource::Local;
        rib.set(prefix(1), own);
        rib.mark_stale(prefix(1), (Some(PeerId(1)), None));
        rib.decide();
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));

        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.decide();

        let best = rib.best(prefix(1)).unwrap();
        assert_eq!(best.source, PathSource::Local);
        let stale = rib.candidates(prefix(1)).last().unwrap();
        assert_eq!(stale.ineligible, Some(STALE_SUPERSEDED));
    }

    #[test]
    fn a_next_hop_that_came_back_lately_is_chosen_only_if_there_is_no_other() {
        let mut rib = reachable(&[1, 2]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.set(prefix(2), learned(1, attributes(1, 200)));
        rib.decide();
        rib.set_unsteady_next_hops([router(1)].into());
        let changes = rib.decide().best;
        assert_eq!(changes.len(), 1, "an only path stays");
        assert_eq!(changes[0].step, DecisionStep::Steady);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(2)));
        rib.set_unsteady_next_hops(BTreeSet::new());
        assert_eq!(rib.decide().best[0].step, DecisionStep::LocalPref);
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));
    }

    #[test]
    fn nothing_remains_of_a_prefix_without_paths() {
        let mut rib = reachable(&[1]);
        rib.set(prefix(1), learned(1, attributes(1, 200)));
        rib.decide();
        rib.remove(prefix(1), (Some(PeerId(1)), None));
        assert_eq!(decide(&mut rib)[0].new, None);
        assert!(rib.destinations.is_empty() && rib.dirty.is_empty());
    }

    /// One random step.
    #[derive(Debug, Clone)]
    enum Operation {
        Set {
            host: u8,
            peer: u8,
            id: u8,
            local_pref: u32,
        },
        Remove {
            host: u8,
            peer: u8,
            id: u8,
        },
        NextHops(BTreeSet<Ipv4Addr>),
        Decide,
    }

    proptest! {
        #[test]
        fn the_best_paths_are_those_of_a_naive_recomputation(
            operations in proptest::collection::vec(operation(), 1..60),
        ) {
            let mut rib = LocRib::default();
            let mut paths: BTreeMap<(Ipv4Net, u8, u8), Path> = BTreeMap::new();
            let mut up = BTreeSet::new();
            let mut followed: BTreeMap<Ipv4Net, Path> = BTreeMap::new();
            for operation in operations.into_iter().chain([Operation::Decide]) {
                match operation {
                    Operation::Set { host, peer, id, local_pref } => {
                        let path = identified(peer, id, local_pref);
                        paths.insert((prefix(host), peer, id), path.clone());
                        rib.set(prefix(host), path);
                    }
                    Operation::Remove { host, peer, id } => {
                        paths.remove(&(prefix(host), peer, id));
                        let key = (Some(PeerId(peer.into())), Some(PathId(id.into())));
                        rib.remove(prefix(host), key);
                    }
                    Operation::NextHops(reachable) => {
                        up.clone_from(&reachable);
                        rib.set_next_hops(reachable);
                    }
                    Operation::Decide => {
                        for change in decide(&mut rib) {
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
        let (host, peer, id) = (0..3u8, 1..5u8, 0..3u8);
        prop_oneof![
            4 => (host.clone(), peer.clone(), id.clone(), 0..3u32)
                .prop_map(|(host, peer, id, local_pref)| Operation::Set { host, peer, id, local_pref }),
            2 => (host, peer, id).prop_map(|(host, peer, id)| Operation::Remove { host, peer, id }),
            1 => proptest::collection::btree_set((1..5u8).prop_map(router), 0..5)
                .prop_map(Operation::NextHops),
            2 => Just(Operation::Decide),
        ]
    }

    /// Highest LOCAL_PREF, then lowest router, then lowest id, of those that are up.
    fn naive(
        paths: &BTreeMap<(Ipv4Net, u8, u8), Path>,
        up: &BTreeSet<Ipv4Addr>,
    ) -> BTreeMap<Ipv4Net, Path> {
        let mut best: BTreeMap<Ipv4Net, Path> = BTreeMap::new();
        for ((prefix, _, _), path) in paths {
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

    #[test]
    fn an_id_stays_with_its_path_and_is_used_again_only_when_that_is_gone() {
        let mut rib = reachable(&[1, 2, 3]);
        for peer in [3, 1] {
            rib.set(prefix(1), identified(peer, 9, 100));
        }
        let first = ids(&mut rib);
        assert_eq!(first, [(1, PathId(2)), (3, PathId(1))].into());
        // Better than the others, and still the same paths.
        rib.set(prefix(1), identified(3, 9, 300));
        assert_eq!(ids(&mut rib), first);
        rib.remove(prefix(1), identified(3, 9, 0).key());
        rib.set(prefix(1), identified(2, 9, 100));
        let later = ids(&mut rib);
        assert_eq!(later, [(1, PathId(2)), (2, PathId(1))].into());
    }

    /// Ids by the host of the peer.
    fn ids(rib: &mut LocRib) -> BTreeMap<u32, PathId> {
        rib.decide();
        let candidates = rib.candidates(prefix(1)).iter();
        candidates
            .filter_map(|candidate| Some((candidate.path.source.peer()?.0, candidate.local_id)))
            .collect()
    }

    fn identified(peer: u8, id: u8, local_pref: u32) -> Path {
        Path {
            path_id: Some(PathId(id.into())),
            ..learned(peer, attributes(peer, local_pref))
        }
    }

    fn decide(rib: &mut LocRib) -> Vec<BestPathChange> {
        rib.decide().best
    }

    fn reachable(hosts: &[u8]) -> LocRib {
        let mut rib = LocRib::default();
        rib.set_next_hops(hosts.iter().map(|host| router(*host)).collect());
        rib
    }
}
