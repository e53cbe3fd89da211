//! Refreshes of a family (RFC 2918, RFC 7313), and how often a peer hears everything again: at most once a second,
//! however often it asks.
//!
//! An answer is the whole table, a question 23 bytes; who asks on and on must not keep us writing. What is asked
//! meanwhile is answered once, at the end of the second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::wire::Family;

/// Least time between two answers.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a ROUTE-REFRESH of the peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshStep {
    /// It wants to hear everything again.
    Asked,
    /// It tells everything again from here on (BoRR).
    Begins,
    /// It has told everything again (EoRR).
    Ends,
}

/// What one connection asked for, and when it was last answered.
#[derive(Debug, Default)]
pub(crate) struct Refreshing(BTreeMap<Family, Pace>);

/// The pace of one family.
#[derive(Debug, Default)]
struct Pace {
    answered_at: Option<Instant>,
    due: Option<Instant>,
}

impl Refreshing {
    /// Notes a request.
    pub(crate) fn ask(&mut self, family: Family, now: Instant) {
        let pace = self.0.entry(family).or_default();
        let earliest = pace.answered_at.map_or(now, |at| (at + INTERVAL).max(now));
        pace.due.get_or_insert(earliest);
    }

    /// Returns when to answer, if anything was asked.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|pace| pace.due).min()
    }

    /// Returns a family of which to answer now; then that is done.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Family> {
        self.0.iter_mut().find_map(|(family, pace)| {
            pace.due.take_if(|at| *at <= now)?;
            pace.answered_at = Some(now);
            Some(*family)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn requests_within_a_second_are_answered_once_at_its_end() {
        let (mut refreshing, t0) = (Refreshing::default(), start());
        let asked = Family::Ipv4Unicast;
        refreshing.ask(asked, t0);
        assert_eq!(
            refreshing.take_due(t0),
            Some(asked),
            "the first one at once"
        );
        for millis in [10, 500, 999] {
            refreshing.ask(asked, t0 + Duration::from_millis(millis));
            assert_eq!(
                refreshing.take_due(t0 + Duration::from_millis(millis)),
                None
            );
        }
        assert_eq!(refreshing.due(), Some(t0 + INTERVAL));
        assert_eq!(refreshing.take_due(t0 + INTERVAL), Some(asked));
        assert_eq!(refreshing.due(), None);
        assert_eq!(refreshing.take_due(t0 + INTERVAL * 2), None);
    }

    #[test]
    fn each_family_is_asked_for_by_itself() {
        let (mut refreshing, t0) = (Refreshing::default(), start());
        refreshing.ask(Family::Ipv4Unicast, t0);
        refreshing.ask(Family::Ipv6Unicast, t0);
        let due: Vec<Family> = std::iter::from_fn(|| refreshing.take_due(t0)).collect();
        assert_eq!(due, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
        refreshing.ask(Family::Ipv6Unicast, t0 + Duration::from_millis(500));
        assert_eq!(refreshing.due(), Some(t0 + INTERVAL));
    }
}
