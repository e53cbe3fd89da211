//! How often a peer hears everything again (RFC 2918): at most once a second, however often it asks.
//!
//! An answer is the whole table, a question 23 bytes; who asks on and on must not keep us writing. What is asked
//! meanwhile is answered once, at the end of the second.

use std::time::{Duration, Instant};

/// Least time between two answers.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one connection asked for, and when it was last answered.
#[derive(Debug, Default)]
pub(crate) struct Refreshing {
    answered_at: Option<Instant>,
    due: Option<Instant>,
}

impl Refreshing {
    /// Notes a request.
    pub(crate) fn ask(&mut self, now: Instant) {
        let earliest = self.answered_at.map_or(now, |at| (at + INTERVAL).max(now));
        self.due.get_or_insert(earliest);
    }

    /// Returns when to answer, if anything was asked.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells whether to answer now; if so, that is done.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|at| *at <= now).is_some();
        if due {
            self.answered_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn requests_within_a_second_are_answered_once_at_its_end() {
        let (mut refreshing, t0) = (Refreshing::default(), start());
        refreshing.ask(t0);
        assert!(refreshing.take_due(t0), "the first one at once");
        for millis in [10, 500, 999] {
            refreshing.ask(t0 + Duration::from_millis(millis));
            assert!(!refreshing.take_due(t0 + Duration::from_millis(millis)));
        }
        assert_eq!(refreshing.due(), Some(t0 + INTERVAL));
        assert!(refreshing.take_due(t0 + INTERVAL));
        assert_eq!(refreshing.due(), None);
        assert!(!refreshing.take_due(t0 + INTERVAL * 2));
    }
}
