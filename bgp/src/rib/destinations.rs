//! All destinations: found by prefix, named by a number that stays the same while the destination exists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::destination::Destination;
use crate::wire::Prefix;

/// Names a destination while it exists; may name another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u32);

impl Slot {
    /// Returns the slot at a place.
    pub(super) fn at(place: u32) -> Self {
        Self(place)
    }

    /// Returns its place in lists that have one for every destination.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// All destinations. Lists them by slot, whatever the hash of their prefixes.
#[derive(Debug)]
pub(super) struct Destinations<N: Prefix> {
    slots: Vec<Option<Destination<N>>>,
    /// The lowest is used first, so that what has a place for each slot can become short again.
    free: BinaryHeap<Reverse<Slot>>,
    /// Slots by hash of the prefix.
    index: HashTable<Slot>,
    /// Seeded, so that nobody outside can choose prefixes that collide.
    hasher: FixedState,
}

impl<N: Prefix> Destinations<N> {
    /// Makes an empty table.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: BinaryHeap::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Returns the slot of a prefix.
    pub(super) fn find(&self, prefix: N) -> Option<Slot> {
        let hash = hash(&self.hasher, prefix);
        let is_it = |slot: &Slot| self.prefix(*slot) == Some(prefix);
        self.index.find(hash, is_it).copied()
    }

    /// Returns the slot of a prefix; a new one if it has none.
    pub(super) fn find_or_insert(&mut self, prefix: N) -> Slot {
        if let Some(slot) = self.find(prefix) {
            return slot;
        }
        let slot = self.lowest_free().unwrap_or_else(|| {
            let next = u32::try_from(self.slots.len()).expect("there are at most 2^32 hosts");
            self.slots.push(None);
            Slot(next)
        });
        self.slots[slot.index()] = Some(Destination::new(prefix));
        let (hasher, slots) = (&self.hasher, &self.slots);
        let rehash = |slot: &Slot| {
            let destination = slots[slot.index()].as_ref();
            destination.map_or(0, |destination| hash(hasher, destination.prefix))
        };
        self.index.insert_unique(hash(hasher, prefix), slot, rehash);
        slot
    }

    /// Returns a destination.
    pub(super) fn get(&self, slot: Slot) -> Option<&Destination<N>> {
        self.slots.get(slot.index())?.as_ref()
    }

    /// Returns a destination to be changed.
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Destination<N>> {
        self.slots.get_mut(slot.index())?.as_mut()
    }

    /// Removes a destination that nobody needs any more; any other stays.
    pub(super) fn remove_unused(&mut self, slot: Slot) {
        let place = self.slots.get_mut(slot.index());
        let Some(removed) = place.and_then(|place| place.take_if(|it| it.is_unused())) else {
            return;
        };
        let hash = hash(&self.hasher, removed.prefix);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        self.free.push(Reverse(slot));
        self.shorten();
    }

    /// Lists all destinations by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Destination<N>)> {
        let slots = (0..).map(Slot).zip(&self.slots);
        slots.filter_map(|(slot, destination)| Some((slot, destination.as_ref()?)))
    }

    fn lowest_free(&mut self) -> Option<Slot> {
        let Reverse(lowest) = self.free.pop()?;
        // Those behind the end are none any more; they are higher than all others.
        (lowest.index() < self.slots.len()).then_some(lowest)
    }

    /// Gives places at the end back, and memory when most of it is unused.
    fn shorten(&mut self) {
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        if self.slots.is_empty() {
            self.free.clear();
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            let end = self.slots.len();
            self.slots.shrink_to(end * 2);
            self.free.retain(|Reverse(slot)| slot.index() < end);
            self.free.shrink_to(end);
            let (hasher, slots) = (&self.hasher, &self.slots);
            let rehash = |slot: &Slot| {
                let destination = slots[slot.index()].as_ref();
                destination.map_or(0, |destination| hash(hasher, destination.prefix))
            };
            self.index.shrink_to(end * 2, rehash);
        }
    }

    fn prefix(&self, slot: Slot) -> Option<N> {
        self.get(slot).map(|destination| destination.prefix)
    }
}

fn hash<N: Prefix>(hasher: &FixedState, prefix: N) -> u64 {
    hasher.hash_one(prefix.key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::prefix;
    use ipnet::Ipv4Net;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_prefix_keeps_its_slot_until_it_is_removed() {
        let mut table = Destinations::new(1);
        let slots: Vec<Slot> = (0..=255)
            .map(|host| table.find_or_insert(prefix(host)))
            .collect();
        for (host, slot) in (0..=255).zip(&slots) {
            assert_eq!(table.find(prefix(host)), Some(*slot));
        }
        table.remove_unused(slots[7]);
        assert_eq!(table.find(prefix(7)), None);
        assert_eq!(table.iter().count(), 255);
        let other: Ipv4Net = "10.0.0.0/8".parse().unwrap();
        assert_eq!(table.find_or_insert(other), slots[7]);
        assert_eq!(table.find(other), Some(slots[7]));
    }

    #[test]
    fn what_somebody_was_told_of_stays() {
        let mut table = Destinations::new(1);
        let slot = table.find_or_insert(prefix(1));
        table.get_mut(slot).unwrap().told = 1;
        table.remove_unused(slot);
        assert_eq!(table.find(prefix(1)), Some(slot));
    }

    #[test]
    fn the_table_is_short_again_when_most_of_it_is_gone() {
        let mut table = Destinations::new(1);
        let hosts = (0..10_000u32).map(|host| Ipv4Net::from(std::net::Ipv4Addr::from(host)));
        let slots: Vec<Slot> = hosts.map(|host| table.find_or_insert(host)).collect();
        for slot in &slots[3..] {
            table.remove_unused(*slot);
        }
        assert!(table.slots.capacity() < 100, "{}", table.slots.capacity());
        assert!(table.index.capacity() < 100);
        table.remove_unused(slots[1]);
        assert_eq!(table.find_or_insert(prefix(1)), slots[1], "the lowest");
        assert_eq!(table.find_or_insert(prefix(2)), slots[3]);
        assert_eq!(table.iter().count(), 4);
    }

    proptest! {
        /// Whatever comes and goes, each prefix that is there has a slot of its own, and keeps it.
        #[test]
        fn slots_are_never_shared(steps in proptest::collection::vec((any::<bool>(), 0u8..40), 1..300)) {
            let mut table = Destinations::new(1);
            let mut known: BTreeMap<u8, Slot> = BTreeMap::new();
            for (comes, host) in steps {
                if comes {
                    let slot = table.find_or_insert(prefix(host));
                    prop_assert_eq!(*known.entry(host).or_insert(slot), slot);
                } else if let Some(slot) = known.remove(&host) {
                    table.remove_unused(slot);
                }
                let slots: BTreeSet<Slot> = known.values().copied().collect();
                prop_assert_eq!(slots.len(), known.len());
                prop_assert!(table.iter().map(|(slot, _)| slot).eq(slots));
            }
        }
    }

    #[test]
    fn the_length_belongs_to_the_prefix() {
        let mut table = Destinations::<Ipv4Net>::new(1);
        let long = table.find_or_insert("10.0.0.0/24".parse().unwrap());
        let short = table.find_or_insert("10.0.0.0/8".parse().unwrap());
        assert_ne!(long, short);
    }
}
