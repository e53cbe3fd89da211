//! How often something may happen: so many times per second, and as many at once.

use std::time::{Duration, Instant};

/// A bucket of permissions that fills with time.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u32,
    left: u32,
    /// Until when permissions have been handed out.
    filled: Option<Instant>,
}

impl Pace {
    /// Makes a full bucket.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
            left: per_second.max(1),
            filled: None,
        }
    }

    /// Takes a permission; tells whether there was one.
    pub(crate) fn spend(&mut self, now: Instant) -> bool {
        let tick = self.tick();
        let filled = *self.filled.get_or_insert(now);
        let ticks = now.saturating_duration_since(filled).as_nanos() / tick.as_nanos();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        if ticks >= self.per_second {
            (self.left, self.filled) = (self.per_second, Some(now));
        } else {
            self.left = (self.left + ticks).min(self.per_second);
            self.filled = Some(filled + tick * ticks);
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }

    /// Time in which one permission comes.
    pub(crate) fn tick(&self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn as_many_per_second_as_said_whatever_the_rhythm() {
        let start = Instant::now();
        let mut pace = Pace::new(10);
        let mut granted = |from: u64, to: u64| {
            let times = (from..to).map(|millis| start + Duration::from_millis(millis));
            times.filter(|now| pace.spend(*now)).count()
        };

        assert_eq!(granted(0, 1), 1);
        assert_eq!(granted(1, 50), 9);
        assert_eq!(granted(50, 1_050), 10);
        assert_eq!(granted(9_000, 9_050), 10);
    }
}
