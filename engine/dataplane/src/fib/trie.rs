//! A number for each address, the one of the longest prefix that covers it: a trie of one byte a level.
//!
//! A copy shares all parts with its original until either changes, and then all but the blocks on the way to the change:
//! what was published once never changes, a change costs the same however large the trie is, and what differs between two
//! copies is found without a look at what they share. A lookup is at most four loads and allocates nothing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

/// What addresses lead to; what it means is up to the owner of the trie.
pub(super) type Number = u32;

/// The number of addresses that nothing was painted on.
pub(super) const NOTHING: Number = 0;

/// Children of a block: one for each value of a byte.
const BYTE: usize = 256;

/// Numbers by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Trie {
    root: Node<Node<Node<Node<Number>>>>,
}

/// Addresses that have their first bytes in common: all with one number, or divided by the next byte.
#[derive(Debug, Clone)]
enum Node<T> {
    Same(Number),
    Split(Arc<[T; BYTE]>),
}

/// Addresses that have their first bytes in common. `bits` begin with what tells them apart.
trait Stretch: Clone {
    /// How many bits they have in common.
    const LENGTH: u8;

    /// How many there are.
    const SIZE: u32 = 1 << (32 - Self::LENGTH);

    /// Where its siblings begin, the first one `at`.
    fn places(at: u32) -> impl Iterator<Item = u32> {
        (0..).map(move |index: u32| at + index * Self::SIZE)
    }

    fn of(number: Number) -> Self;

    fn lookup(&self, bits: u32) -> Number;

    /// Sets the number of all whose first `length` bits are those of `bits`.
    fn paint(&mut self, bits: u32, length: u8, number: Number);

    /// Returns the first address from `from` on with a number, of those that begin with `at`.
    fn next(&self, at: u32, from: u32) -> Option<u32>;

    /// Visits everything that is not the same in both, or may not be: parts that both share only if `all`.
    fn compare(&self, former: &Self, all: bool, at: u32, visit: &mut impl FnMut(Difference));
}

/// A stretch of addresses, each part uniform, with the number before and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) prefix: Ipv4Net,
    pub(super) former: Number,
    pub(super) number: Number,
}

impl Trie {
    /// Returns the number of an address.
    #[inline]
    pub(super) fn lookup(&self, address: Ipv4Addr) -> Number {
        self.root.lookup(address.to_bits())
    }

    /// Sets the number of all addresses that `prefix` covers.
    pub(super) fn paint(&mut self, prefix: Ipv4Net, number: Number) {
        let bits = prefix.network().to_bits();
        self.root.paint(bits, prefix.prefix_len(), number);
    }

    /// Returns the first address from `from` on with a number.
    pub(super) fn next_not_nothing(&self, from: Ipv4Addr) -> Option<Ipv4Addr> {
        let next = self.root.next(0, from.to_bits())?;
        Some(Ipv4Addr::from_bits(next))
    }

    /// Visits all addresses with another number than in `former`, in order.
    pub(super) fn changes(&self, former: &Self, mut visit: impl FnMut(Difference)) {
        self.root.compare(&former.root, false, 0, &mut |change| {
            if change.former != change.number {
                visit(change);
            }
        });
    }

    /// Visits all addresses, in order, with their numbers here and in `former`.
    pub(super) fn both(&self, former: &Self, mut visit: impl FnMut(Difference)) {
        self.root.compare(&former.root, true, 0, &mut visit);
    }
}

impl<T: Stretch> Default for Node<T> {
    fn default() -> Self {
        Self::Same(NOTHING)
    }
}

impl Stretch for Number {
    const LENGTH: u8 = 32;

    fn of(number: Number) -> Self {
        number
    }

    #[inline]
    fn lookup(&self, _: u32) -> Number {
        *self
    }

    fn paint(&mut self, _: u32, _: u8, number: Number) {
        *self = number;
    }

    fn next(&self, at: u32, _: u32) -> Option<u32> {
        (*self != NOTHING).then_some(at)
    }

    fn compare(&self, former: &Self, _: bool, at: u32, visit: &mut impl FnMut(Difference)) {
        visit(Difference::new::<Self>(at, *former, *self));
    }
}

impl<T: Stretch> Stretch for Node<T> {
    const LENGTH: u8 = T::LENGTH - 8;

    fn of(number: Number) -> Self {
        Self::Same(number)
    }

    #[inline]
    fn lookup(&self, bits: u32) -> Number {
        match self {
            Self::Same(number) => *number,
            Self::Split(children) => children[child(bits)].lookup(bits << 8),
        }
    }

    fn paint(&mut self, bits: u32, length: u8, number: Number) {
        if length == 0 {
            *self = Self::Same(number);
            return;
        }
        let first = child(bits);
        let count = 1 << 8_u8.saturating_sub(length);
        for child in &mut self.split()[first..first + count] {
            child.paint(bits << 8, length.saturating_sub(8), number);
        }
    }

    fn next(&self, at: u32, from: u32) -> Option<u32> {
        match self {
            Self::Same(NOTHING) => None,
            Self::Same(_) => Some(at.max(from)),
            Self::Split(children) => {
                let first = usize::try_from(from.saturating_sub(at) / T::SIZE).expect("a byte");
                let mut behind = children.iter().zip(T::places(at)).skip(first);
                behind.find_map(|(child, at)| child.next(at, from))
            }
        }
    }

    fn compare(&self, former: &Self, all: bool, at: u32, visit: &mut impl FnMut(Difference)) {
        let places = T::places(at);
        match (self, former) {
            (Self::Same(number), Self::Same(former)) => {
                visit(Difference::new::<Self>(at, *former, *number));
            }
            (Self::Split(new), Self::Split(old)) if all || !Arc::ptr_eq(new, old) => {
                for ((new, old), at) in new.iter().zip(&**old).zip(places) {
                    new.compare(old, all, at, visit);
                }
            }
            (Self::Split(_), Self::Split(_)) => {}
            (Self::Split(new), Self::Same(former)) => {
                let former = T::of(*former);
                for (new, at) in new.iter().zip(places) {
                    new.compare(&former, all, at, visit);
                }
            }
            (Self::Same(number), Self::Split(old)) => {
                let number = T::of(*number);
                for (old, at) in old.iter().zip(places) {
                    number.compare(old, all, at, visit);
                }
            }
        }
    }
}

impl<T: Stretch> Node<T> {
    /// Returns its children to be changed: its own, made if there are none yet, and copied if another copy has them too.
    fn split(&mut self) -> &mut [T; BYTE] {
        if let Self::Same(number) = self {
            *self = Self::Split(Arc::new(std::array::from_fn(|_| T::of(*number))));
        }
        match self {
            Self::Split(children) => Arc::make_mut(children),
            Self::Same(_) => unreachable!("divided just now"),
        }
    }
}

impl Difference {
    fn new<T: Stretch>(at: u32, former: Number, number: Number) -> Self {
        Self {
            prefix: Ipv4Net::new_assert(Ipv4Addr::from_bits(at), T::LENGTH),
            former,
            number,
        }
    }
}

/// The place of the child to which `bits` lead.
#[inline]
fn child(bits: u32) -> usize {
    usize::from(bits.to_be_bytes()[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change must cost the same however much is there: what a copy does not share is on the way to the change.
    #[test]
    fn a_copy_shares_all_but_the_way_to_the_change() {
        let mut trie = Trie::default();
        for host in 0..70_000 {
            trie.paint(Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_0000 + host)), 1);
        }
        let former = trie.clone();
        let changed = Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_1234));
        trie.paint(changed, 2);

        let (mut parts, mut changes) = (0, Vec::new());
        trie.root
            .compare(&former.root, false, 0, &mut |_| parts += 1);
        trie.changes(&former, |change| changes.push(change));

        assert!(parts <= 4 * BYTE, "{parts} of 70000 were looked at");
        let expected = Difference {
            prefix: changed,
            former: 1,
            number: 2,
        };
        assert_eq!(changes, [expected]);
    }
}
