//! A set of addresses of which copies are cheap, and what differs between two of them is found at once.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::trie::{NOTHING, Number, Trie};

/// A set of IPv4 addresses, in order.
#[derive(Debug, Clone, Default)]
pub struct AddressSet {
    trie: Trie,
    count: usize,
}

const MEMBER: Number = NOTHING + 1;

impl AddressSet {
    /// Tells whether an address is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.trie.lookup(address) == MEMBER
    }

    /// Puts an address into the set, or takes it out; tells whether that changed anything.
    pub fn set(&mut self, address: Ipv4Addr, member: bool) -> bool {
        if self.contains(address) == member {
            return false;
        }
        let number = if member { MEMBER } else { NOTHING };
        self.trie.paint(Ipv4Net::from(address), number);
        self.count = if member {
            self.count + 1
        } else {
            self.count - 1
        };
        true
    }

    /// Returns how many addresses it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Lists the addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::successors(self.trie.next_not_nothing(Ipv4Addr::UNSPECIFIED), |last| {
            self.after(*last)
        })
    }

    /// Returns the first address behind `last`.
    #[must_use]
    pub fn after(&self, last: Ipv4Addr) -> Option<Ipv4Addr> {
        let next = last.to_bits().checked_add(1)?;
        self.trie.next_not_nothing(Ipv4Addr::from_bits(next))
    }

    /// Lists the addresses that `former` does not have. Looks only at what changed.
    #[must_use]
    pub fn new_since(&self, former: &Self) -> Vec<Ipv4Addr> {
        let mut new = Vec::new();
        self.trie.changes(&former.trie, |part| {
            // Each stretch is one address, because only such are painted.
            if part.number == MEMBER {
                new.push(part.prefix.addr());
            }
        });
        new
    }
}

impl PartialEq for AddressSet {
    fn eq(&self, other: &Self) -> bool {
        let mut equal = self.count == other.count;
        if equal {
            self.trie.changes(&other.trie, |_| equal = false);
        }
        equal
    }
}

impl Eq for AddressSet {}

impl Extend<Ipv4Addr> for AddressSet {
    fn extend<T: IntoIterator<Item = Ipv4Addr>>(&mut self, addresses: T) {
        for address in addresses {
            self.set(address, true);
        }
    }
}

impl FromIterator<Ipv4Addr> for AddressSet {
    fn from_iter<T: IntoIterator<Item = Ipv4Addr>>(addresses: T) -> Self {
        let mut set = Self::default();
        set.extend(addresses);
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<u32>(), any::<bool>()), 0..100)) {
            let (mut set, mut model) = (AddressSet::default(), BTreeSet::new());
            let mut former = (set.clone(), model.clone());
            for (step, (bits, member)) in steps.iter().enumerate() {
                let address = Ipv4Addr::from_bits(bits & 0xc000_0103);
                let changed = if *member { model.insert(address) } else { model.remove(&address) };
                prop_assert_eq!(set.set(address, *member), changed);
                if step == steps.len() / 2 {
                    former = (set.clone(), model.clone());
                }
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(former.0.iter().eq(former.1.iter().copied()));
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
            let new: Vec<_> = model.difference(&former.1).copied().collect();
            prop_assert_eq!(set.new_since(&former.0), new);
            prop_assert_eq!(set == former.0, model == former.1);
            prop_assert_eq!(&set, &model.into_iter().collect::<AddressSet>());
        }
    }

    #[test]
    fn the_last_address_has_none_behind_it() {
        let set: AddressSet = [Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED]
            .into_iter()
            .collect();
        assert_eq!(set.after(Ipv4Addr::UNSPECIFIED), Some(Ipv4Addr::BROADCAST));
        assert_eq!(set.after(Ipv4Addr::BROADCAST), None);
    }
}
