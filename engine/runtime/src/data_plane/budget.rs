//! How much of one port a worker takes before the next one has its turn.
//!
//! A frame may be a superpacket of 64 KiB, and of those few are enough: more of them in one round only delay the other
//! ports. Of small packets few are dear, for each round costs its system calls and each train its send. So a port begins
//! with few, and takes more as long as what it gets is small and fills the round.

/// Packets, frames or trains of one round.
pub(super) const FEWEST: usize = 8;
/// The same of small packets. Each has a buffer of its own, so this is also what a port may take of those.
pub(super) const MOST: usize = 32;
/// Bytes on average up to which packets are small: what no superpacket is.
const SMALL: usize = 2048;

/// The budget of one port, by what it gave last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(usize);

impl Budget {
    /// Returns how much to take in the next round.
    pub(super) fn packets(self) -> usize {
        self.0
    }

    /// Learns from a round what came in: how many packets, frames or trains of how many bytes altogether.
    pub(super) fn learn(&mut self, count: usize, bytes: usize) {
        if bytes > count * SMALL {
            self.0 = FEWEST;
        } else if count >= self.0 {
            self.0 = (2 * self.0).min(MOST);
        } else if 4 * count < self.0 {
            self.0 = (self.0 / 2).max(FEWEST);
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(FEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_packets_widen_it_and_one_superpacket_narrows_it_at_once() {
        let mut budget = Budget::default();
        for expected in [16, 32, 32] {
            budget.learn(budget.packets(), budget.packets() * 64);
            assert_eq!(budget.packets(), expected);
        }
        budget.learn(10, 640);
        assert_eq!(budget.packets(), 32, "a round that is not full says little");
        budget.learn(0, 0);
        assert_eq!(budget.packets(), 16, "there is no more to be had");
        budget.learn(16, 15 * 64 + 65_000);
        assert_eq!(budget.packets(), FEWEST);
        budget.learn(0, 0);
        assert_eq!(budget.packets(), FEWEST);
    }
}
