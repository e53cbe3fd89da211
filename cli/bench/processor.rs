//! How much of a processor this process used.

use std::fs;
use std::time::Duration;

/// The processor time used up to some moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processor {
    ticks: Option<u64>,
}

impl Processor {
    /// Reads it; nothing is known where /proc is not mounted.
    #[must_use]
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            ticks: ticks(&stat),
        }
    }

    /// What was used since then, in percent of one processor, over a time.
    #[must_use]
    pub(super) fn percent_since(self, time: Duration) -> Option<f64> {
        let used = Self::now().ticks?.checked_sub(self.ticks?)?;
        if time.is_zero() {
            return None;
        }
        let used = Duration::from_millis(used.saturating_mul(MILLIS_PER_TICK));
        Some(used.as_secs_f64() / time.as_secs_f64() * 100.0)
    }
}

/// User and system time from `/proc/PID/stat` (proc(5)); the name in it may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    user.checked_add(system)
}

/// Linux tells processor time in hundredths of a second, whatever its own clock does.
const MILLIS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0 1 0 99 1 1";
        assert_eq!(ticks(stat), Some(154));
        for stat in [
            "",
            "7 (a",
            "7 (a) S 1 2",
            "7 (a) S 1 2 3 4 5 6 7 8 9 10 x y",
        ] {
            assert_eq!(ticks(stat), None);
        }
    }

    #[test]
    fn nothing_is_said_about_no_time() {
        assert_eq!(Processor::now().percent_since(Duration::ZERO), None);
    }
}
