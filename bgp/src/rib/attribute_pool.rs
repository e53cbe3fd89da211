//! Shares equal attribute sets between all paths that carry them.
//!
//! A set lives as long as somebody outside uses it. Unused ones are swept away when the pool has doubled and when so
//! many routes let go of a set that the sweep pays; between the two it is never much larger than what is in use.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::wire::PathAttributes;

/// Sets below which sweeping is not worth it.
const SWEEP_MIN: usize = 64;
/// Sets that one released route pays to look at. A route uses up to three: as received, as imported, as advertised.
const SETS_PER_RELEASE: usize = 4;

/// The pool.
#[derive(Debug)]
pub(crate) struct AttributePool<A> {
    known: HashTable<Arc<PathAttributes<A>>>,
    /// Seeded, so that nobody outside can choose sets that collide.
    hasher: FixedState,
    sweep_at: usize,
    /// Routes that let go of a set since the last sweep.
    released: usize,
}

impl<A: Eq + Hash> AttributePool<A> {
    /// Makes an empty pool; `seed` is secret and feeds its hash.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            known: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            sweep_at: SWEEP_MIN,
            released: 0,
        }
    }

    /// Notes that `routes` let go of a set, which others may still use.
    pub(crate) fn note_released(&mut self, routes: usize) {
        self.released += routes;
    }

    /// Sweeps if enough was released: each released route pays for looking at a few sets.
    pub(crate) fn sweep_released(&mut self) {
        if self.known.len() > SWEEP_MIN && self.released >= self.known.len() / SETS_PER_RELEASE {
            self.sweep();
        }
    }

    /// Returns the shared form of a set.
    pub(crate) fn intern(&mut self, attributes: PathAttributes<A>) -> Arc<PathAttributes<A>> {
        let hash = self.hasher.hash_one(&attributes);
        if let Some(known) = self.known.find(hash, |known| **known == attributes) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.sweep();
        }
        let shared = Arc::new(attributes);
        let hasher = &self.hasher;
        self.known
            .insert_unique(hash, Arc::clone(&shared), |known| hasher.hash_one(&**known));
        shared
    }

    fn sweep(&mut self) {
        self.known
            .retain(|attributes| Arc::strong_count(attributes) > 1);
        let hasher = &self.hasher;
        self.known
            .shrink_to(SWEEP_MIN, |known| hasher.hash_one(&**known));
        self.sweep_at = (self.known.len() * 2).max(SWEEP_MIN);
        self.released = 0;
    }
}

#[cfg(test)]
impl<A: Eq + Hash> AttributePool<A> {
    /// Counts the sets that are kept, in use or not.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attributes;

    #[test]
    fn equal_sets_are_one() {
        let mut pool = AttributePool::new(1);
        let first = pool.intern(attributes(1, 100));
        assert!(Arc::ptr_eq(&first, &pool.intern(attributes(1, 100))));
        assert!(!Arc::ptr_eq(&first, &pool.intern(attributes(1, 101))));
    }

    #[test]
    fn unused_sets_do_not_pile_up() {
        let mut pool = AttributePool::new(1);
        let kept = pool.intern(attributes(1, 0));
        for local_pref in 1..10_000 {
            pool.intern(attributes(1, local_pref));
        }
        assert!(pool.known.len() <= SWEEP_MIN + 1);
        assert!(Arc::ptr_eq(&kept, &pool.intern(attributes(1, 0))));
    }

    #[test]
    fn sets_in_use_survive_any_number_of_sweeps() {
        let mut pool = AttributePool::new(1);
        let used: Vec<_> = (0..1000)
            .map(|number| pool.intern(attributes(1, number)))
            .collect();
        for (number, set) in (0..).zip(&used) {
            assert!(Arc::ptr_eq(set, &pool.intern(attributes(1, number))));
        }
    }
}
