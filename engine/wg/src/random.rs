//! Seeded pseudo-random numbers (`SplitMix64`) for what must differ between routers but needs no secrecy: the jitter
//! of timers and the session indices. Keys never come from here; boringtun draws ephemeral keys from the system.

use std::time::Duration;

/// A generator whose whole state is one number.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws 64 bits.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws the jitter that is added to timers, 0 to 333 ms (WireGuard paper section 6.1).
    pub(crate) fn jitter(&mut self) -> Duration {
        Duration::from_millis(self.draw() % (JITTER_MAX_MS + 1))
    }
}

/// Largest jitter in milliseconds.
const JITTER_MAX_MS: u64 = 333;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_sequence_and_another_seed_another() {
        let draws = |seed| {
            let mut random = Random::new(seed);
            [random.draw(), random.draw(), random.draw()]
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn jitter_covers_its_range_and_stays_inside() {
        let mut random = Random::new(1);
        let drawn: Vec<_> = (0..5000).map(|_| random.jitter().as_millis()).collect();
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&333));
    }
}
