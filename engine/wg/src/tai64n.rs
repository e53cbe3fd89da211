//! Timestamps of handshake initiations: TAI64N, which always grow.
//!
//! The wall clock is an input: its last reading that the device was given, and from then on the monotonic time that has
//! passed. A peer refuses a timestamp that is not newer than the last one, across restarts too; a wall clock that was
//! set back makes peers refuse us until it has caught up, as with other implementations.

use std::time::{Duration, Instant};

/// Makes the timestamps of one device.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    wall: Duration,
    last: Duration,
}

impl Clock {
    /// Starts with the reading `wall` of the wall clock (since the Unix epoch) at `now`.
    pub(crate) fn new(wall: Duration, now: Instant) -> Self {
        let (origin, last) = (now, Duration::ZERO);
        Self { origin, wall, last }
    }

    /// Corrects the reading of the wall clock.
    pub(crate) fn set(&mut self, wall: Duration, now: Instant) {
        (self.wall, self.origin) = (wall, now);
    }

    /// Returns a timestamp newer than all before. It is rounded down so that it does not reveal how long computations
    /// took; what falls into one step is told apart by nanoseconds.
    pub(crate) fn stamp(&mut self, now: Instant) -> Stamp {
        let exact = self.wall + now.saturating_duration_since(self.origin);
        let nanos = exact.subsec_nanos() - exact.subsec_nanos() % STEP_NANOS;
        let rounded = Duration::new(exact.as_secs(), nanos);
        self.last = rounded.max(self.last + Duration::from_nanos(1));
        encode(self.last)
    }
}

/// A timestamp on the wire; newer ones are greater.
pub(crate) type Stamp = [u8; 12];

fn encode(since_unix_epoch: Duration) -> Stamp {
    let mut stamp = [0; 12];
    let seconds = since_unix_epoch.as_secs().wrapping_add(UNIX_EPOCH_LABEL);
    stamp[..8].copy_from_slice(&seconds.to_be_bytes());
    stamp[8..].copy_from_slice(&since_unix_epoch.subsec_nanos().to_be_bytes());
    stamp
}

/// TAI64 label of 1970-01-01 00:00:00 TAI, and the ten seconds between TAI and UTC at that time.
const UNIX_EPOCH_LABEL: u64 = (1 << 62) + 10;

/// Sixty steps a second.
const STEP_NANOS: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_tai64n() {
        assert_eq!(
            encode(Duration::new(1, 2)),
            [0x40, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 2]
        );
    }

    #[test]
    fn stamps_grow_even_within_one_step_and_when_time_stands() {
        let origin = start();
        let mut clock = Clock::new(Duration::from_secs(1_800_000_000), origin);
        let mut last = [0; 12];
        for at in [0, 0, 0, 1, 2, 999, 1000, 1000, 5000, 4000] {
            let stamp = clock.stamp(origin + Duration::from_millis(at));
            assert!(stamp > last, "{at} ms");
            last = stamp;
        }
        assert_eq!(last[..8], (UNIX_EPOCH_LABEL + 1_800_000_005).to_be_bytes());
    }

    #[test]
    fn a_corrected_wall_clock_counts_and_stamps_grow_all_the_same() {
        let (origin, wall) = (start(), Duration::from_secs(1_800_000_000));
        let mut clock = Clock::new(Duration::from_secs(7), origin);
        let at = |seconds| origin + Duration::from_secs(seconds);
        let early = clock.stamp(at(1));
        clock.set(wall, at(2));
        let right = clock.stamp(at(5));
        assert!(right > early);
        assert_eq!(right[..8], (UNIX_EPOCH_LABEL + 1_800_000_003).to_be_bytes());
        clock.set(wall - Duration::from_secs(3600), at(5));
        let back = clock.stamp(at(6));
        assert!(back > right, "set back");
        assert!(clock.stamp(at(6)) > back);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
