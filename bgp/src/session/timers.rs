//! Backoff and jitter of connect retry and idle hold (RFC 4271 section 8.1.1 and section 10).
//!
//! Deadlines are `Instant`s kept by their owners; here are only the durations. Randomness is a seeded generator, so
//! that a run can be repeated.

use std::time::Duration;

use crate::input::ConnectionId;

/// Longest connect-retry interval before jitter.
const CONNECT_RETRY_CAP: Duration = Duration::from_secs(30);
/// First idle hold.
const IDLE_HOLD_BASE: Duration = Duration::from_secs(1);
/// Longest idle hold before jitter.
const IDLE_HOLD_CAP: Duration = Duration::from_secs(60);

/// A duration that grows with each use up to a cap.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    /// Growth per use in halves: 3 is times 1.5.
    halves: u32,
    next: Duration,
}

impl Backoff {
    /// Makes the backoff of connect retry: `base` times 1.5 up to 30 s.
    pub(crate) fn connect_retry(base: Duration) -> Self {
        let base = base.max(Duration::from_millis(100));
        Self {
            base,
            cap: CONNECT_RETRY_CAP.max(base),
            halves: 3,
            next: base,
        }
    }

    /// Makes the backoff of idle hold: 1, 2, 4 ... 60 s.
    pub(crate) fn idle_hold() -> Self {
        Self {
            base: IDLE_HOLD_BASE,
            cap: IDLE_HOLD_CAP,
            halves: 4,
            next: IDLE_HOLD_BASE,
        }
    }

    /// Returns the interval to wait now and grows.
    pub(crate) fn step(&mut self) -> Duration {
        let interval = self.next;
        self.next = (interval.saturating_mul(self.halves) / 2).min(self.cap);
        interval
    }

    /// Starts again from the base.
    pub(crate) fn reset(&mut self) {
        self.next = self.base;
    }
}

/// A small seeded random generator (splitmix64); breaks lock-step, is no secret.
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

    /// Returns `interval` times 0.75 to 1.25.
    pub(crate) fn spread(&mut self, interval: Duration) -> Duration {
        let millis = u32::try_from(self.bits() % 501).expect("a remainder of 501 fits");
        interval.saturating_mul(750 + millis) / 1000
    }
}

/// Numbers the connections that we open: odd, never twice.
#[derive(Debug)]
pub(crate) struct ConnectionIds {
    next: u64,
}

impl ConnectionIds {
    /// Makes a fresh numbering.
    pub(crate) fn new() -> Self {
        Self { next: 1 }
    }

    /// Takes the next id.
    pub(crate) fn take(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next);
        self.next = self.next.wrapping_add(2);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_retry_grows_by_half_up_to_thirty_seconds() {
        let mut backoff = Backoff::connect_retry(Duration::from_secs(1));
        let millis: Vec<u128> = (0..11).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(millis[..4], [1000, 1500, 2250, 3375]);
        assert_eq!(millis[10], 30_000);
    }

    #[test]
    fn idle_hold_doubles_up_to_a_minute_and_starts_again_after_reset() {
        let mut backoff = Backoff::idle_hold();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.step().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.step(), IDLE_HOLD_BASE);
    }

    #[test]
    fn jitter_stays_within_a_quarter_and_uses_the_whole_range() {
        let mut jitter = Jitter::new(7);
        let spread: Vec<Duration> = (0..2000)
            .map(|_| jitter.spread(Duration::from_secs(1)))
            .collect();
        let (least, most) = (*spread.iter().min().unwrap(), *spread.iter().max().unwrap());
        assert!(least >= Duration::from_millis(750) && least < Duration::from_millis(760));
        assert!(most <= Duration::from_millis(1250) && most > Duration::from_millis(1240));
    }

    #[test]
    fn own_connection_ids_are_odd_and_never_repeat() {
        let mut ids = ConnectionIds::new();
        assert_eq!([ids.take().0, ids.take().0, ids.take().0], [1, 3, 5]);
    }
}
