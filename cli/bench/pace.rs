//! When a sender that offers a fixed rate may send again.

use std::time::Duration;

/// A rate, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    bits_per_second: Option<u64>,
}

impl Pace {
    /// Makes a pace; `None` never waits.
    #[must_use]
    pub(super) fn new(bits_per_second: Option<u64>) -> Self {
        Self { bits_per_second }
    }

    /// How long to wait after `sent` bytes, `elapsed` after the start; at most [`LONGEST_WAIT`], so that a sender
    /// notices the end of the test.
    #[must_use]
    pub(super) fn wait(self, sent: u64, elapsed: Duration) -> Duration {
        let Some(rate) = self.bits_per_second.filter(|rate| *rate > 0) else {
            return Duration::ZERO;
        };
        let nanos = u128::from(sent) * 8 * NANOS / u128::from(rate);
        let due = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        due.saturating_sub(elapsed).min(LONGEST_WAIT)
    }
}

const NANOS: u128 = 1_000_000_000;
/// Longest time that a sender sleeps.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_waits_until_its_bytes_are_due() {
        let pace = Pace::new(Some(8_000_000));
        assert_eq!(pace.wait(50_000, Duration::ZERO), Duration::from_millis(50));
        assert_eq!(
            pace.wait(50_000, Duration::from_millis(20)),
            Duration::from_millis(30)
        );
        assert_eq!(pace.wait(50_000, Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn waits_are_bounded_and_nothing_overflows() {
        assert_eq!(
            Pace::new(Some(1)).wait(u64::MAX, Duration::ZERO),
            LONGEST_WAIT
        );
        for unlimited in [None, Some(0)] {
            assert_eq!(
                Pace::new(unlimited).wait(u64::MAX, Duration::ZERO),
                Duration::ZERO
            );
        }
    }
}
