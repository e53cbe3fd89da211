//! Shares equal attribute sets between all paths that carry them.
//!
//! A set lives as long as somebody outside uses it; unused ones are swept away whenever the pool has doubled, so it
//! is never larger than twice what is in use, plus a little.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::wire::PathAttributes;

/// Sets below which sweeping is not worth it.
const SWEEP_MIN: usize = 64;

/// The pool.
#[derive(Debug)]
pub(crate) struct AttributePool {
    known: BTreeSet<Arc<PathAttributes>>,
    sweep_at: usize,
}

impl AttributePool {
    /// Makes an empty pool.
    pub(crate) fn new() -> Self {
        Self {
            known: BTreeSet::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// Returns the shared form of a set.
    pub(crate) fn intern(&mut self, attributes: PathAttributes) -> Arc<PathAttributes> {
        if let Some(known) = self.known.get(&attributes) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.sweep();
        }
        let shared = Arc::new(attributes);
        self.known.insert(Arc::clone(&shared));
        shared
    }

    fn sweep(&mut self) {
        self.known
            .retain(|attributes| Arc::strong_count(attributes) > 1);
        self.sweep_at = (self.known.len() * 2).max(SWEEP_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::attributes;

    #[test]
    fn equal_sets_are_one() {
        let mut pool = AttributePool::new();
        let first = pool.intern(attributes(1, 100));
        assert!(Arc::ptr_eq(&first, &pool.intern(attributes(1, 100))));
        assert!(!Arc::ptr_eq(&first, &pool.intern(attributes(1, 101))));
    }

    #[test]
    fn unused_sets_do_not_pile_up() {
        let mut pool = AttributePool::new();
        let kept = pool.intern(attributes(1, 0));
        for local_pref in 1..10_000 {
            pool.intern(attributes(1, local_pref));
        }
        assert!(pool.known.len() <= SWEEP_MIN + 1);
        assert!(Arc::ptr_eq(&kept, &pool.intern(attributes(1, 0))));
    }

    #[test]
    fn sets_in_use_survive_any_number_of_sweeps() {
        let mut pool = AttributePool::new();
        let used: Vec<_> = (0..1000)
            .map(|number| pool.intern(attributes(1, number)))
            .collect();
        for (number, set) in (0..).zip(&used) {
            assert!(Arc::ptr_eq(set, &pool.intern(attributes(1, number))));
        }
    }
}
