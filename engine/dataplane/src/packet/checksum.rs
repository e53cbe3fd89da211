//! Internet checksum: one's complement sums, pseudo-headers and incremental updates (RFC 1071, RFC 1624).
//!
//! A [`Sum`] collects 16-bit words in network order; the position of a byte range matters only modulo two. Nothing
//! here knows a protocol except [`udp`], because only UDP reserves a checksum value.

use std::net::Ipv4Addr;

/// Unfolded one's complement sum of 16-bit big-endian words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

impl Sum {
    /// Sums `bytes`; an odd last byte counts as the high half of a word.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        // The sum is independent of byte order up to a final swap (RFC 1071 section 2 (B)).
        Self(u64::from(u16::from_be(fold(native_sum(bytes)))))
    }

    /// Adds one word.
    #[must_use]
    pub fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }

    /// Adds a 32-bit value as two words.
    #[must_use]
    pub fn long(self, long: u32) -> Self {
        // 2^16 is 1 modulo 2^16 - 1, so the halves need no separation before folding.
        Self(self.0 + u64::from(long))
    }

    /// Adds another sum whose range starts at an even distance from this one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Returns the sum as one word, not complemented: what a partial checksum field holds.
    #[must_use]
    pub fn fold(self) -> u16 {
        fold(self.0)
    }

    /// Returns the checksum: the complement of the folded sum.
    #[must_use]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Tells whether a range that includes its own checksum field is intact.
    #[must_use]
    pub fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

/// Sums the IPv4 pseudo-header of TCP and UDP; `length` is that of the L4 header and payload in bytes.
#[must_use]
pub fn pseudo_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::default()
        .long(source.to_bits())
        .long(destination.to_bits())
        .word(u16::from(protocol))
        .word(length)
}

/// Maps a computed checksum to what UDP puts on the wire: zero means "none", so 0xFFFF stands for it (RFC 768).
#[must_use]
pub fn udp(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Returns `checksum` after one covered word changed from `old` to `new` (RFC 1624 equation 3).
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::default()
        .word(!checksum)
        .word(!old)
        .word(new)
        .checksum()
}

/// Like [`update`] for two bytes at an odd distance from the start of the sum, where their weights are swapped.
#[must_use]
pub fn update_odd(checksum: u16, old: u16, new: u16) -> u16 {
    update(checksum, old.swap_bytes(), new.swap_bytes())
}

fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "four folds leave sixteen bits"
    )]
    let folded = sum as u16;
    folded
}

/// Sums in native byte order; the result needs folding.
fn native_sum(bytes: &[u8]) -> u64 {
    if bytes.len() < BLOCK {
        short_sum(bytes, 0)
    } else {
        long_sum(bytes)
    }
}

/// Sums with independent chains of additions with carry, which a processor runs side by side.
fn long_sum(bytes: &[u8]) -> u64 {
    let mut chains = [0u128; BLOCK / 8];
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (chain, word) in chains.iter_mut().zip(words) {
            *chain += u128::from(u64::from_ne_bytes(*word));
        }
    }
    let sum: u128 = chains.iter().sum();
    // 2^32 is 1 modulo 2^16 - 1, like 2^16: parts of 32 bits may be added.
    let part = |shift: u32| u64::from(low_long(sum >> shift));
    short_sum(rest, part(0) + part(32) + part(64) + part(96))
}

fn short_sum(bytes: &[u8], start: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = start
        + words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum::<u64>();
    let (pairs, rest) = rest.as_chunks::<2>();
    sum += pairs
        .iter()
        .map(|pair| u64::from(u16::from_ne_bytes(*pair)))
        .sum::<u64>();
    if let [last] = rest {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    sum
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the upper parts are added on their own"
)]
fn low_long(sum: u128) -> u32 {
    sum as u32
}

/// Bytes per step of a long sum.
const BLOCK: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_as_printed() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_gives_zero_and_not_minus_zero() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn a_range_of_nothing_but_ones_in_the_largest_packet_does_not_overflow() {
        assert_eq!(Sum::of(&vec![0xff; 65_536]).fold(), 0xffff);
    }

    #[test]
    fn only_udp_maps_zero_to_all_ones() {
        assert_eq!((udp(0), udp(1), udp(0xffff)), (0xffff, 1, 0xffff));
    }

    proptest! {
        #[test]
        fn the_fast_sum_equals_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Sum::of(&bytes).fold(), naive(&bytes));
        }

        #[test]
        fn sums_of_even_parts_add_up(bytes in prop::collection::vec(any::<u8>(), 2..300), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len()) & !1;
            let parts = Sum::of(&bytes[..cut]).plus(Sum::of(&bytes[cut..]));
            prop_assert_eq!(parts.fold(), naive(&bytes));
        }

        #[test]
        fn an_update_equals_summing_again(
            mut bytes in prop::collection::vec(any::<u8>(), 4..60),
            at in any::<prop::sample::Index>(),
            new in any::<u16>(),
        ) {
            bytes[0] |= 1; // a sum of nothing but zeros has two representations
            let at = 1 + at.index(bytes.len() - 2);
            let before = !naive(&bytes);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            let updated = if at % 2 == 0 { update(before, old, new) } else { update_odd(before, old, new) };
            prop_assert_eq!(updated, !naive(&bytes));
        }

        #[test]
        fn the_pseudo_header_sums_like_its_bytes(source in any::<u32>(), destination in any::<u32>(), protocol in any::<u8>(), length in any::<u16>()) {
            let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
            bytes.extend([0, protocol]);
            bytes.extend(length.to_be_bytes());
            prop_assert_eq!(pseudo_header(source.into(), destination.into(), protocol, length).fold(), naive(&bytes));
        }
    }

    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }
}
