//! The session indices of a device: finds the peer that a received message is for.
//!
//! They are random, so they reveal neither the number of peers nor the order of sessions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::config::PeerIndex;
use crate::random::Random;

/// Which peer owns which index.
#[derive(Debug, Default)]
pub(crate) struct Indices {
    owners: BTreeMap<u32, PeerIndex>,
}

impl Indices {
    /// Reserves a free index for `peer`.
    pub(crate) fn allocate(&mut self, peer: PeerIndex, random: &mut Random) -> u32 {
        loop {
            // At most four per peer and 65,536 peers: far fewer than 2^32, so a free one is found soon.
            let index = random.index();
            if let Entry::Vacant(entry) = self.owners.entry(index) {
                entry.insert(peer);
                return index;
            }
        }
    }

    /// Frees an index.
    pub(crate) fn release(&mut self, index: u32) {
        self.owners.remove(&index);
    }

    /// Returns the owner of an index.
    pub(crate) fn owner(&self, index: u32) -> Option<PeerIndex> {
        self.owners.get(&index).copied()
    }

    /// Returns how many indices are reserved.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_its_owner_until_released() {
        let mut indices = Indices::default();
        let index = indices.allocate(PeerIndex(7), &mut Random::new([1; 32]));
        assert_eq!(indices.owner(index), Some(PeerIndex(7)));
        assert_eq!(indices.owner(index ^ 1), None);
        indices.release(index);
        assert_eq!(indices.owner(index), None);
    }

    #[test]
    fn indices_are_distinct() {
        let (mut indices, mut random) = (Indices::default(), Random::new([2; 32]));
        for n in 0..10_000 {
            indices.allocate(PeerIndex(n), &mut random);
        }
        assert_eq!(indices.len(), 10_000);
    }
}
