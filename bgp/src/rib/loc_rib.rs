//! Loc-RIB: all accepted paths of each prefix, best first.
//!
//! Changes only mark destinations as dirty; [`LocRib::decide`] runs the decision once for each of them and reports what
//! differs from the best path before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::best_path::BestPathChange;
use super::cause::Cause;
use super::decision::{Candidate, DecisionStep, compare, rank};
use super::destination::{Destination, Entry, Ineligible, Moment};
use super::destinations::{Destinations, Slot};
use super::path::{Path, PathKey, PathSource};
use super::sources::Sources;
use crate::config::PeerId;
use crate::feed::Feed;
use crate::reflector::originator;
use crate::wire::{Nlri, PathAttributes, PathId, Prefix};

/// What is known about next hops.
#[derive(Debug)]
struct NextHops<A> {
    /// Those that are; `None` where nobody looks after them: then all are believed to be.
    reachable: Option<BTreeSet<A>>,
    /// Came back only lately.
    unsteady: BTreeSet<A>,
    /// Reachable or not, no stale path may rely on these.
    silent: BTreeSet<A>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct LocRib<N: Prefix> {
    destinations: Destinations<N>,
    sources: Sources,
    next_hops: NextHops<N::NextHop>,
    /// How many paths are stale: mostly none, and nobody has to look for them.
    stale: usize,
    /// What changed since the last decision, and the best path before.
    dirty: Vec<(Slot, Option<Path<N::NextHop>>)>,
    /// What changed, for those who watch: any path of a prefix, not only the best.
    feed: Feed<N, Cause>,
    /// Why what is done now is done.
    cause: Cause,
    /// The moment from which times are counted.
    epoch: Instant,
}

/// The outcome of a decision.
#[derive(Debug)]
pub(crate) struct Decided<N: Prefix> {
    /// Changes of best paths, in the order in which the prefixes changed.
    pub(crate) best: Vec<BestPathChange<N>>,
    /// All destinations of which any path changed, and whether the best one did.
    pub(crate) touched: Vec<(Slot, bool)>,
}

/// What there is already where a path is to be entered.
#[derive(Debug)]
pub(crate) struct Standing<A> {
    /// The path that it would replace.
    pub(crate) former: Option<Path<A>>,
    /// Paths of the same source to the same prefix that have an id.
    pub(crate) identified: usize,
}

impl<N: Prefix> LocRib<N> {
    /// Makes an empty table. `seed` is secret and feeds the hash of prefixes, `epoch` not after any later moment.
    pub(crate) fn new(seed: u64, epoch: Instant) -> Self {
        Self {
            destinations: Destinations::new(seed),
            sources: Sources::default(),
            next_hops: NextHops {
                reachable: Some(BTreeSet::new()),
                unsteady: BTreeSet::new(),
                silent: BTreeSet::new(),
            },
            stale: 0,
            dirty: Vec::new(),
            feed: Feed::default(),
            cause: Cause::default(),
            epoch,
        }
    }

    /// Believes from now on that every next hop is reachable, because nobody looks after them.
    pub(crate) fn trust_next_hops(&mut self) {
        self.next_hops.reachable = None;
    }

    /// Says why what is done from now on is done.
    pub(crate) fn because(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Returns what there is where a path with this key would be entered.
    pub(crate) fn standing(&self, prefix: N, key: PathKey) -> Standing<N::NextHop> {
        let mut standing = Standing {
            former: None,
            identified: 0,
        };
        let Some(destination) = self.destination(prefix) else {
            return standing;
        };
        for entry in destination.paths.as_slice() {
            if self.sources.get(entry.source).peer() != key.0 {
                continue;
            }
            if entry.path_id() == key.1 {
                standing.former = Some(self.path(entry));
            }
            standing.identified += usize::from(entry.path_id().is_some());
        }
        standing
    }

    /// Enters a path, in place of an earlier one with the same key.
    pub(crate) fn set(&mut self, prefix: N, path: Path<N::NextHop>) {
        let slot = self.destinations.find_or_insert(prefix);
        self.touch(slot);
        let key = path.key();
        let Some(destination) = self.destinations.get_mut(slot) else {
            return;
        };
        let paths = destination.paths.as_mut_slice();
        let at = position(&self.sources, paths, key);
        let local_id = local_id(&self.sources, paths, at, &path);
        let source = self.sources.acquire(path.source);
        let learned = Moment::of(path.learned_at, self.epoch);
        let origin = (source, path.path_id);
        let new = Entry::new(path.attributes, learned, origin, local_id, path.stale);
        self.stale += usize::from(path.stale);
        match at.and_then(|at| paths.get_mut(at)) {
            Some(place) => {
                let former = std::mem::replace(place, new);
                self.sources.release(former.source);
                self.stale -= usize::from(former.stale);
            }
            None => destination.paths.push(new),
        }
    }

    /// Removes a path; tells whether there was one.
    pub(crate) fn remove(&mut self, prefix: N, key: PathKey) -> bool {
        let slot = self.destinations.find(prefix);
        slot.is_some_and(|slot| self.remove_at(slot, key))
    }

    /// Removes the paths of a peer on which `goes` is true; returns them.
    pub(crate) fn remove_of(
        &mut self,
        peer: PeerId,
        goes: impl Fn(&Path<N::NextHop>) -> bool,
    ) -> Vec<(N, Option<PathId>)> {
        let going: Vec<_> = self
            .entries_of(peer)
            .filter(|(_, _, entry)| goes(&self.path(entry)))
            .map(|(slot, prefix, entry)| (slot, prefix, entry.path_id()))
            .collect();
        for (slot, _, path_id) in &going {
            self.remove_at(*slot, (Some(peer), *path_id));
        }
        going
            .into_iter()
            .map(|(_, prefix, path_id)| (prefix, path_id))
            .collect()
    }

    /// Lists the paths of a peer, in no particular order.
    pub(crate) fn paths_of(&self, peer: PeerId) -> impl Iterator<Item = (N, Path<N::NextHop>)> {
        self.entries_of(peer)
            .map(|(_, prefix, entry)| (prefix, self.path(entry)))
    }

    /// Lists all stale paths with their peers, in no particular order.
    pub(crate) fn stale(&self) -> impl Iterator<Item = (PeerId, &PathAttributes<N::NextHop>)> {
        let entries = self.stale_entries();
        entries.map(|(_, peer, _, entry)| (peer, &*entry.attributes))
    }

    /// Removes the stale paths on which `goes` is true; returns them.
    pub(crate) fn remove_stale(
        &mut self,
        goes: impl Fn(PeerId, &PathAttributes<N::NextHop>) -> bool,
    ) -> Vec<(PeerId, Nlri<N>)> {
        let going: Vec<(Slot, PeerId, Nlri<N>)> = self
            .stale_entries()
            .filter(|(_, peer, _, entry)| goes(*peer, &entry.attributes))
            .map(|(slot, peer, prefix, entry)| {
                let path_id = entry.path_id();
                (slot, peer, Nlri { prefix, path_id })
            })
            .collect();
        for (slot, peer, route) in &going {
            self.remove_at(*slot, (Some(*peer), route.path_id));
        }
        going
            .into_iter()
            .map(|(_, peer, route)| (peer, route))
            .collect()
    }

    /// Marks the paths of a peer as stale; returns how many.
    pub(crate) fn mark_stale(&mut self, peer: PeerId) -> usize {
        let slots: Vec<Slot> = self.entries_of(peer).map(|(slot, _, _)| slot).collect();
        for slot in &slots {
            self.touch(*slot);
            let Some(destination) = self.destinations.get_mut(*slot) else {
                continue;
            };
            for entry in destination.paths.as_mut_slice() {
                if !entry.stale && self.sources.get(entry.source).peer() == Some(peer) {
                    entry.stale = true;
                    self.stale += 1;
                }
            }
        }
        slots.len()
    }

    /// Replaces the set of reachable next hops.
    pub(crate) fn set_next_hops(&mut self, reachable: BTreeSet<N::NextHop>) {
        let former = self.next_hops.reachable.take().unwrap_or_default();
        let changed = &former ^ &reachable;
        self.next_hops.reachable = Some(reachable);
        self.mark(&changed);
    }

    /// Replaces the set of next hops that came back only lately.
    pub(crate) fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<N::NextHop>) {
        let former = std::mem::replace(&mut self.next_hops.unsteady, unsteady);
        let changed = &former ^ &self.next_hops.unsteady;
        self.mark(&changed);
    }

    /// Replaces the set of next hops that do not answer, on which no stale path may rely.
    pub(crate) fn set_silent_next_hops(&mut self, silent: BTreeSet<N::NextHop>) {
        let former = std::mem::replace(&mut self.next_hops.silent, silent);
        let changed = &former ^ &self.next_hops.silent;
        self.mark(&changed);
    }

    /// Decides all dirty destinations.
    pub(crate) fn decide(&mut self) -> Decided<N> {
        let mut decided = Decided {
            best: Vec::new(),
            touched: Vec::with_capacity(self.dirty.len()),
        };
        for (slot, old) in std::mem::take(&mut self.dirty) {
            let change = self.decide_slot(slot, old);
            decided.touched.push((slot, change.is_some()));
            decided.best.extend(change);
        }
        decided
    }

    /// Frees the slots of destinations that nobody needs any more. To be called after [`Self::decide`], when everybody
    /// has looked at what it touched.
    pub(crate) fn release(&mut self, touched: &[(Slot, bool)]) {
        for (slot, _) in touched {
            self.destinations.remove_unused(*slot);
        }
    }

    /// What changed.
    pub(crate) fn feed(&self) -> &Feed<N, Cause> {
        &self.feed
    }

    /// Returns the best path as of the last decision.
    pub(crate) fn best(&self, prefix: N) -> Option<Path<N::NextHop>> {
        let best = self.destination(prefix)?.best()?;
        Some(self.path(best))
    }

    /// Returns all paths of a prefix, best first.
    pub(crate) fn candidates(&self, prefix: N) -> Vec<Candidate<N::NextHop>> {
        let entries = self.entries(prefix);
        entries.map(|(entry, _)| self.candidate(entry)).collect()
    }

    /// Lists all prefixes that have a path, in order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = N> {
        let with_paths = self
            .destinations
            .iter()
            .filter(|(_, destination)| !destination.paths.as_slice().is_empty());
        let mut prefixes: Vec<N> = with_paths
            .map(|(_, destination)| destination.prefix)
            .collect();
        prefixes.sort_unstable();
        prefixes.into_iter()
    }

    /// Lists all destinations, those included of which only somebody has still to hear that they are gone.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.destinations.iter().map(|(slot, _)| slot)
    }

    /// Returns a destination with the paths that may be chosen, best first, and their sources.
    pub(super) fn eligible(
        &self,
        slot: Slot,
    ) -> Option<(N, impl Iterator<Item = (&Entry<N::NextHop>, PathSource)>)> {
        let destination = self.destinations.get(slot)?;
        let entries = destination.paths.as_slice().iter();
        let eligible = entries.take_while(|entry| entry.ineligible.is_none());
        let with_source = eligible.map(|entry| (entry, self.sources.get(entry.source)));
        Some((destination.prefix, with_source))
    }

    /// Lists all paths of a prefix, best first, and their sources.
    pub(super) fn entries(
        &self,
        prefix: N,
    ) -> impl Iterator<Item = (&Entry<N::NextHop>, PathSource)> {
        let destination = self.destination(prefix).into_iter();
        let entries = destination.flat_map(|destination| destination.paths.as_slice());
        entries.map(|entry| (entry, self.sources.get(entry.source)))
    }

    /// Lists all destinations, each with all its paths, best first, and their sources.
    pub(super) fn all(
        &self,
    ) -> impl Iterator<
        Item = (
            Slot,
            N,
            impl Iterator<Item = (&Entry<N::NextHop>, PathSource)>,
        ),
    > {
        self.destinations.iter().map(|(slot, destination)| {
            let entries = destination.paths.as_slice().iter();
            let with_source = entries.map(|entry| (entry, self.sources.get(entry.source)));
            (slot, destination.prefix, with_source)
        })
    }

    /// Returns the prefix of a slot.
    pub(super) fn prefix(&self, slot: Slot) -> Option<N> {
        Some(self.destinations.get(slot)?.prefix)
    }

    /// Notes that a neighbor was told something of a destination, of which it knew nothing.
    pub(super) fn note_told(&mut self, slot: Slot) {
        if let Some(destination) = self.destinations.get_mut(slot) {
            destination.told += 1;
        }
    }

    /// Notes that a neighbor knows nothing of a destination any more.
    pub(super) fn note_untold(&mut self, slot: Slot) {
        if let Some(destination) = self.destinations.get_mut(slot) {
            destination.told -= 1;
            self.destinations.remove_unused(slot);
        }
    }

    fn destination(&self, prefix: N) -> Option<&Destination<N>> {
        self.destinations.get(self.destinations.find(prefix)?)
    }

    fn stale_entries(&self) -> impl Iterator<Item = (Slot, PeerId, N, &Entry<N::NextHop>)> {
        let all = (self.stale > 0).then(|| self.destinations.iter());
        let all = all.into_iter().flatten();
        all.flat_map(move |(slot, destination)| {
            let entries = destination.paths.as_slice().iter();
            let stale = entries.filter(|entry| entry.stale);
            stale.filter_map(move |entry| {
                let peer = self.sources.get(entry.source).peer()?;
                Some((slot, peer, destination.prefix, entry))
            })
        })
    }

    fn entries_of(&self, peer: PeerId) -> impl Iterator<Item = (Slot, N, &Entry<N::NextHop>)> {
        self.destinations
            .iter()
            .flat_map(move |(slot, destination)| {
                let entries = destination.paths.as_slice().iter();
                let its = entries
                    .filter(move |entry| self.sources.get(entry.source).peer() == Some(peer));
                its.map(move |entry| (slot, destination.prefix, entry))
            })
    }

    /// Marks a destination as dirty, and remembers its best path if it was not.
    fn touch(&mut self, slot: Slot) {
        let Some(destination) = self.destinations.get_mut(slot) else {
            return;
        };
        destination.cause = self.cause;
        if std::mem::replace(&mut destination.dirty, true) {
            return;
        }
        let best = self.destinations.get(slot).and_then(Destination::best);
        let best = best.map(|best| self.path(best));
        self.dirty.push((slot, best));
    }

    /// Marks all destinations with a path to one of these next hops.
    fn mark(&mut self, changed: &BTreeSet<N::NextHop>) {
        if changed.is_empty() {
            return;
        }
        let affected = self.destinations.iter().filter(|(_, destination)| {
            let mut entries = destination.paths.as_slice().iter();
            entries.any(|entry| changed.contains(&entry.attributes.next_hop))
        });
        let affected: Vec<Slot> = affected.map(|(slot, _)| slot).collect();
        for slot in affected {
            self.touch(slot);
        }
    }

    fn remove_at(&mut self, slot: Slot, key: PathKey) -> bool {
        let destination = self.destinations.get(slot);
        let entries = destination.map(|destination| destination.paths.as_slice());
        let Some(at) = entries.and_then(|entries| position(&self.sources, entries, key)) else {
            return false;
        };
        self.touch(slot);
        if let Some(destination) = self.destinations.get_mut(slot) {
            let removed = destination.paths.remove(at);
            self.sources.release(removed.source);
            self.stale -= usize::from(removed.stale);
        }
        true
    }

    /// Decides a destination, the best path of which was `old`, and notes the change in the feed.
    fn decide_slot(
        &mut self,
        slot: Slot,
        old: Option<Path<N::NextHop>>,
    ) -> Option<BestPathChange<N>> {
        let (next_hops, sources) = (&self.next_hops, &self.sources);
        let destination = self.destinations.get_mut(slot)?;
        destination.dirty = false;
        judge(destination.paths.as_mut_slice(), next_hops, sources);
        let step = self.sort(slot);

        let destination = self.destinations.get(slot)?;
        let prefix = destination.prefix;
        let exists = !destination.paths.as_slice().is_empty();
        let new = destination.best().map(|best| self.path(best));
        let (stamp, cause) = (destination.stamp, destination.cause);
        let stamp = self.feed.note_because(prefix, stamp, exists, cause);
        if let Some(destination) = self.destinations.get_mut(slot) {
            destination.stamp = stamp;
        }
        let unchanged = match (&old, &new) {
            (Some(old), Some(new)) => old.is_same_route(new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        (!unchanged).then_some(BestPathChange {
            prefix,
            old,
            new,
            step,
        })
    }

    /// Puts the paths of a destination in order, the best one first, and tells what made it the best.
    fn sort(&mut self, slot: Slot) -> DecisionStep {
        let destination = self.destinations.get_mut(slot);
        let Some(destination) = destination else {
            return DecisionStep::OnlyPath;
        };
        match destination.paths.as_slice() {
            [] => return DecisionStep::OnlyPath,
            [only] if only.ineligible.is_none() => return DecisionStep::OnlyPath,
            [_] => return DecisionStep::Eligible,
            [..] => {}
        }
        let entries = destination.paths.take();
        let candidates: Vec<(Candidate<N::NextHop>, Entry<N::NextHop>)> = entries
            .into_iter()
            .map(|entry| (self.candidate(&entry), entry))
            .collect();
        let ranked = rank(candidates, |(candidate, _)| candidate);
        let step = match ranked.as_slice() {
            [first, second, ..] if first.0.ineligible.is_none() => compare(&first.0, &second.0).1,
            [..] => DecisionStep::Eligible,
        };
        if let Some(destination) = self.destinations.get_mut(slot) {
            destination
                .paths
                .put(ranked.into_iter().map(|(_, entry)| entry).collect());
        }
        step
    }

    /// Returns the public form of a path.
    pub(super) fn path(&self, entry: &Entry<N::NextHop>) -> Path<N::NextHop> {
        Path {
            source: self.sources.get(entry.source),
            path_id: entry.path_id(),
            attributes: Arc::clone(&entry.attributes),
            learned_at: entry.learned.instant(self.epoch),
            stale: entry.stale,
        }
    }

    fn candidate(&self, entry: &Entry<N::NextHop>) -> Candidate<N::NextHop> {
        Candidate {
            path: self.path(entry),
            ineligible: entry.ineligible.map(Ineligible::name),
            local_id: entry.local_id,
            unsteady: entry.unsteady,
        }
    }
}

impl<A: Ord> NextHops<A> {
    fn is_reachable(&self, next_hop: &A) -> bool {
        let known = self.reachable.as_ref();
        known.is_none_or(|reachable| reachable.contains(next_hop))
    }
}

/// Finds the path with this key.
fn position<A>(sources: &Sources, entries: &[Entry<A>], key: PathKey) -> Option<usize> {
    entries
        .iter()
        .position(|entry| (sources.get(entry.source).peer(), entry.path_id()) == key)
}

/// Returns the id under which `path`, which is to replace the one `at` this place, is told: that of a path with the same
/// originator and next hop, of which only the best is told, so that a copy that takes its place replaces it at the peers
/// too. Else the one that it has; or the lowest that is free: an id never moves to another path while its path lives.
fn local_id<A: Copy + Eq>(
    sources: &Sources,
    entries: &[Entry<A>],
    at: Option<usize>,
    path: &Path<A>,
) -> PathId {
    let identity = |attributes: &PathAttributes<A>, source| {
        (originator(attributes, source), attributes.next_hop)
    };
    let own = identity(&path.attributes, path.source);
    let of = |entry: &Entry<A>| identity(&entry.attributes, sources.get(entry.source));
    let former = at.and_then(|at| entries.get(at));
    if let Some(former) = former.filter(|former| of(former) == own) {
        return former.local_id;
    }
    let others = || (0..).zip(entries).filter(|(place, _)| Some(*place) != at);
    if let Some((_, same)) = others().find(|(_, other)| of(other) == own) {
        return same.local_id;
    }
    let is_free = |id: &PathId| others().all(|(_, other)| other.local_id != *id);
    former
        .map(|former| former.local_id)
        .filter(is_free)
        .or_else(|| (1..).map(PathId).find(is_free))
        .expect("there are fewer paths than ids")
}

/// Works out which paths may be chosen.
fn judge<A: Ord>(entries: &mut [Entry<A>], next_hops: &NextHops<A>, sources: &Sources) {
    let mut living = false;
    for entry in entries.iter_mut() {
        // Our own routes end here. Of those of other ASes, whose next hop may be a third router on the link (RFC 4271 section
        // 5.1.3), the host knows the way.
        let source = sources.get(entry.source);
        let local = source == PathSource::Local;
        let followed = !local && !source.is_external();
        let next_hop = &entry.attributes.next_hop;
        entry.unsteady = followed && next_hops.unsteady.contains(next_hop);
        entry.ineligible = if !followed {
            None
        } else if !next_hops.is_reachable(next_hop) {
            Some(Ineligible::NextHopUnreachable)
        } else if entry.stale && next_hops.silent.contains(next_hop) {
            Some(Ineligible::StaleNextHopSilent)
        } else {
            None
        };
        living |= !local && !entry.stale && entry.ineligible.is_none();
    }
    if living {
        for stale in entries.iter_mut().filter(|entry| entry.stale) {
            stale.ineligible.get_or_insert(Ineligible::StaleSuperseded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, learned, prefix, router, start};
    use ipnet::Ipv4Net;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

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
        rib.mark_stale(PeerId(1));
        assert_eq!(decide(&mut rib), [], "being stale is no news");
        assert!(rib.best(prefix(1)).unwrap().stale);

        rib.set_silent_next_hops([router(1)].into());
        let changes = decide(&mut rib);

        assert_eq!((changes.len(), &changes[0].new), (1, &None));
        assert_eq!(
            rib.candidates(prefix(1))[0].ineligible,
            Some(Ineligible::StaleNextHopSilent.name())
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
        rib.mark_stale(PeerId(1));
        rib.decide();
        assert_eq!(rib.best(prefix(1)).unwrap().source.peer(), Some(PeerId(1)));

        rib.set(prefix(1), learned(2, attributes(2, 100)));
        rib.decide();

        let best = rib.best(prefix(1)).unwrap();
        assert_eq!(best.source, PathSource::Local);
        let stale = rib.candidates(prefix(1)).pop().unwrap();
        assert_eq!(stale.ineligible, Some(Ineligible::StaleSuperseded.name()));
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
        assert!(rib.slots().next().is_none() && rib.dirty.is_empty());
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
            let mut rib = LocRib::new(1, start());
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

    #[test]
    fn copies_of_a_route_share_an_id_until_one_of_them_becomes_another() {
        let mut rib = reachable(&[1, 2, 3]);
        let copy = |from: u8, of: u8| {
            let attributes = PathAttributes {
                originator_id: Some(router(of)),
                ..attributes(of, 100)
            };
            learned(from, attributes)
        };
        rib.set(prefix(1), copy(1, 1));
        rib.set(prefix(1), copy(2, 1));
        assert_eq!(ids(&mut rib), [(1, PathId(1)), (2, PathId(1))].into());

        rib.set(prefix(1), copy(2, 3));
        assert_eq!(ids(&mut rib), [(1, PathId(1)), (2, PathId(2))].into());
        rib.set(prefix(1), copy(1, 3));
        assert_eq!(ids(&mut rib), [(1, PathId(2)), (2, PathId(2))].into());
    }

    /// Ids by the host of the peer.
    fn ids(rib: &mut LocRib<Ipv4Net>) -> BTreeMap<u32, PathId> {
        rib.decide();
        let candidates = rib.candidates(prefix(1));
        candidates
            .iter()
            .filter_map(|candidate| Some((candidate.path.source.peer()?.0, candidate.local_id)))
            .collect()
    }

    fn identified(peer: u8, id: u8, local_pref: u32) -> Path {
        Path {
            path_id: Some(PathId(id.into())),
            ..learned(peer, attributes(peer, local_pref))
        }
    }

    fn decide(rib: &mut LocRib<Ipv4Net>) -> Vec<BestPathChange> {
        let Decided { best, touched } = rib.decide();
        rib.release(&touched);
        best
    }

    fn reachable(hosts: &[u8]) -> LocRib<Ipv4Net> {
        let mut rib = LocRib::new(1, start());
        rib.set_next_hops(hosts.iter().map(|host| router(*host)).collect());
        rib
    }
}
