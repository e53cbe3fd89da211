//! Randomness from a seed: discriminators, and the jitter of transmission (RFC 5880 section 6.8.7).

use std::time::Duration;

/// A small seeded random generator (splitmix64). Nobody guesses its numbers who knows neither the seed nor one of them; who
/// knows some can find the others.
#[derive(Debug, Clone)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    /// Makes a generator.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a discriminator: any number but zero.
    pub(crate) fn discriminator(&mut self) -> u32 {
        loop {
            let number = u32::try_from(self.bits() >> 32).unwrap_or(0);
            if number != 0 {
                return number;
            }
        }
    }

    /// Draws the share of the interval to wait, in thousandths: 750 to 1000, for a multiplier of one at most 900.
    pub(crate) fn share(&mut self, multiplier: u8) -> u32 {
        let width = if multiplier == 1 { 151 } else { 251 };
        750 + u32::try_from(self.bits() % width).unwrap_or(0)
    }
}

/// Returns so many thousandths of an interval.
pub(crate) fn thousandths(interval: Duration, share: u32) -> Duration {
    interval.saturating_mul(share) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_after_75_to_100_percent_of_the_interval_and_at_most_90_if_one_loss_is_fatal() {
        let mut jitter = Jitter::new(7);
        for (multiplier, most) in [(1, 900), (2, 1000), (3, 1000), (255, 1000)] {
            let shares: Vec<u32> = (0..5_000).map(|_| jitter.share(multiplier)).collect();
            assert_eq!(shares.iter().min(), Some(&750), "multiplier {multiplier}");
            assert_eq!(shares.iter().max(), Some(&most), "multiplier {multiplier}");
        }
        let wait = thousandths(Duration::from_millis(300), 750);
        assert_eq!(wait, Duration::from_millis(225));
    }
}
