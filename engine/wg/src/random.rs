//! Random bytes of a device: `ChaCha20` from a seed. Ephemeral keys, cookie secrets and nonces, session indices and the
//! jitter of timers come from here, so a device with the same seed and the same input does the same again.
//!
//! After each draw of bytes the generator starts over from a seed of its own making: who reads our memory learns nothing
//! of the ephemeral keys that were drawn before.

use std::fmt;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

/// A cryptographically secure generator; its state is wiped on drop.
pub(crate) struct Random(ChaCha20Rng);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(*Zeroizing::new(seed)))
    }

    /// Draws `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        let mut seed = Zeroizing::new([0; 32]);
        self.0.fill_bytes(&mut seed[..]);
        self.0 = ChaCha20Rng::from_seed(*seed);
        bytes
    }

    /// Draws a session index.
    pub(crate) fn index(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Draws the jitter that is added to timers, 0 to 333 ms (WireGuard paper section 6.1).
    pub(crate) fn jitter(&mut self) -> Duration {
        Duration::from_millis(self.0.next_u64() % (JITTER_MAX_MS + 1))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(…)")
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
            let mut random = Random::new([seed; 32]);
            [random.bytes::<32>(), random.bytes()]
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert_ne!(draws(7)[0], draws(7)[1]);
    }

    #[test]
    fn jitter_covers_its_range_and_stays_inside() {
        let mut random = Random::new([1; 32]);
        let drawn: Vec<_> = (0..5000).map(|_| random.jitter().as_millis()).collect();
        assert_eq!(drawn.iter().min(), Some(&0));
        assert_eq!(drawn.iter().max(), Some(&333));
    }

    #[test]
    fn the_state_is_not_printed() {
        assert_eq!(format!("{:?}", Random::new([1; 32])), "Random(…)");
    }
}
