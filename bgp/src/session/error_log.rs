//! The last errors of a peer, each with the bytes that it sent.
//!
//! Bounded: one entry for each kind of error, and only so many kinds, the latest; a message is kept as far as its start
//! goes. Nothing here influences anything.

use std::collections::VecDeque;
use std::time::Instant;

use crate::view::ErrorView;

/// Errors that are remembered at most.
const ERRORS_MAX: usize = 16;
/// Bytes of a message that are kept at most.
const SAMPLE_MAX: usize = 256;

/// The errors, the latest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorLog(VecDeque<ErrorView>);

impl ErrorLog {
    /// Notes what was wrong with a message; `attribute` is the type code of the attribute that it was in.
    pub(crate) fn note(
        &mut self,
        message: &[u8],
        attribute: Option<u8>,
        reason: &str,
        now: Instant,
    ) {
        let is_same = |it: &ErrorView| it.attribute == attribute && it.reason == reason;
        let former = self.0.iter().position(is_same);
        let former = former.and_then(|place| self.0.remove(place));
        if self.0.len() >= ERRORS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(ErrorView {
            at: now,
            attribute,
            reason: reason.to_owned(),
            count: former.map_or(1, |former| former.count.saturating_add(1)),
            length: message.len(),
            sample: message.iter().copied().take(SAMPLE_MAX).collect(),
        });
    }

    /// Lists them, the latest first.
    pub(crate) fn latest(&self) -> Vec<ErrorView> {
        self.0.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::start;

    #[test]
    fn each_kind_of_error_is_kept_once_with_its_count_and_the_latest_message() {
        let mut log = ErrorLog::default();
        log.note(&[1], Some(8), "empty list", start());
        log.note(&[2], Some(8), "length", start());
        let later = start() + Duration::from_secs(1);
        log.note(&[3; 300], Some(8), "empty list", later);

        let [latest, other] = &log.latest()[..] else {
            panic!("two kinds");
        };
        assert_eq!((latest.count, latest.at, latest.length), (2, later, 300));
        assert_eq!(latest.sample, [3; SAMPLE_MAX]);
        assert_eq!((other.count, &*other.reason), (1, "length"));
    }

    #[test]
    fn only_the_latest_kinds_are_kept() {
        let mut log = ErrorLog::default();
        for kind in 0..=u8::try_from(ERRORS_MAX).unwrap() {
            log.note(&[], Some(kind), "broken", start());
        }
        let kinds: Vec<_> = log.latest().iter().map(|it| it.attribute).collect();
        assert_eq!(kinds.len(), ERRORS_MAX);
        assert_eq!((kinds[0], kinds[ERRORS_MAX - 1]), (Some(16), Some(1)));
    }
}
