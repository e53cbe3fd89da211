//! Bytes that both sides can make from a number, and their sum.

/// A stream of bytes that depends on a seed only (xorshift, G. Marsaglia 2003).
#[derive(Debug)]
pub(super) struct Pattern(u32);

impl Pattern {
    /// Starts a stream.
    pub(super) fn new(seed: u32) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    /// Writes the next bytes; a multiple of four, or the last.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(4) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            word.copy_from_slice(&self.0.to_be_bytes()[..word.len()]);
        }
    }
}

/// A sum that depends on each byte and its place (FNV-1a, 64 bits): for broken offloads, not for forgers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    /// Adds bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> Checksum {
        let mut sum = Checksum::default();
        sum.add(bytes);
        sum
    }

    #[test]
    fn the_sum_is_that_of_the_published_examples() {
        assert_eq!(sum(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(sum(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(sum(b"foobar").0, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_pattern_depends_on_its_seed_only_and_not_on_the_pieces() {
        let (mut whole, mut pieces) = ([0; 1001], [0; 1001]);
        Pattern::new(8).fill(&mut whole);
        let mut pattern = Pattern::new(8);
        pieces.chunks_mut(100).for_each(|piece| pattern.fill(piece));
        assert_eq!(whole, pieces);
        let mut other = [0; 1001];
        Pattern::new(10).fill(&mut other);
        assert_ne!(whole, other);
        assert_ne!(whole[..500], whole[500..1000], "no short period");
    }
}
