//! The session indices of a device: finds the peer that a received message is for.
//!
//! boringtun composes the 32-bit index of the wire from a 24-bit number of its `Tunn` and an 8-bit counter. Every
//! `Tunn` gets its own random 24-bit number here, so indices reveal neither the number of peers nor their order.

use std::collections::BTreeMap;

use crate::peer::PeerIndex;
use crate::random::Random;

/// Which peer owns which 24-bit index.
#[derive(Debug, Default)]
pub(crate) struct Indices {
    owners: BTreeMap<u32, PeerIndex>,
}

impl Indices {
    /// Reserves a free 24-bit index for `peer`.
    pub(crate) fn allocate(&mut self, peer: PeerIndex, random: &mut Random) -> u32 {
        loop {
            // At most a handful per peer and 65536 peers: far fewer than 2^24, so a free one is found soon.
            let index = (random.draw() >> 40) as u32;
            if let std::collections::btree_map::Entry::Vacant(entry) = self.owners.entry(index) {
                entry.insert(peer);
                return index;
            }
        }
    }

    /// Frees the index that belongs to the 32-bit index `wire`.
    pub(crate) fn release(&mut self, wire: u32) {
        self.owners.remove(&(wire >> 8));
    }

    /// Returns the owner of the 32-bit index `wire`.
    pub(crate) fn owner(&self, wire: u32) -> Option<PeerIndex> {
        self.owners.get(&(wire >> 8)).copied()
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
    fn an_index_is_found_by_any_of_its_wire_forms_until_released() {
        let mut indices = Indices::default();
        let index = indices.allocate(PeerIndex(7), &mut Random::new(1));
        assert!(index < 1 << 24);
        assert_eq!(indices.owner(index << 8 | 1), Some(PeerIndex(7)));
        assert_eq!(indices.owner(index << 8 | 255), Some(PeerIndex(7)));
        indices.release(index << 8 | 3);
        assert_eq!(indices.owner(index << 8 | 1), None);
    }

    #[test]
    fn indices_are_distinct() {
        let (mut indices, mut random) = (Indices::default(), Random::new(2));
        for n in 0..10_000 {
            indices.allocate(PeerIndex(n), &mut random);
        }
        assert_eq!(indices.len(), 10_000);
    }
}
