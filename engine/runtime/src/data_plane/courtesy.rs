//! Whether a worker lets others run after a large batch.
//!
//! On a machine with few processors, who sends to the router and who receives from it share them with it. A worker that
//! waits for packets right after a large batch goes on with the handful that arrived meanwhile, and a system call is the
//! dearer, the less it carries. When it yields the processor first, the others fill its queues, and the next batch is
//! large again. Beside programs that do nothing but compute, yielding is a gift that nobody returns: a yield that took
//! long ends the courtesy for a while.

use std::time::{Duration, Instant};

/// Packets, frames or trains of one turn that make it large.
const LARGE: usize = 16;
/// A yield that lasts longer went to somebody who had much to do.
const LONG: Duration = Duration::from_millis(1);
/// How long nobody is let before after that.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides about yields by what the last one cost.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    /// No yield before.
    paused_until: Option<Instant>,
}

impl Courtesy {
    /// Yields the processor if the turn was large and yielding is cheap at the moment.
    pub(super) fn after_turn(&mut self, received: usize) {
        if received < LARGE {
            return;
        }
        let before = Instant::now();
        if !self.wants(before) {
            return;
        }
        std::thread::yield_now();
        self.learn(before, Instant::now());
    }

    fn wants(&mut self, now: Instant) -> bool {
        if self.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        self.paused_until = None;
        true
    }

    fn learn(&mut self, before: Instant, after: Instant) {
        if after.saturating_duration_since(before) > LONG {
            self.paused_until = Some(after + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_yield_is_the_last_for_a_while() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut courtesy = Courtesy::default();

        courtesy.learn(at(0), at(900));
        assert!(courtesy.wants(at(900)), "a short one costs nothing");

        courtesy.learn(at(1_000), at(4_000));
        assert!(!courtesy.wants(at(4_001)));
        assert!(!courtesy.wants(at(1_003_999)));
        assert!(courtesy.wants(at(1_004_000)));
    }
}
