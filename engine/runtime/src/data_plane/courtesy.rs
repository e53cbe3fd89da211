//! Whether a worker lets others run after a large batch, and looks again before it sleeps.
//!
//! On a machine with few processors, who sends to the router and who receives from it share them with it. A worker that
//! waits for packets right after a large batch goes on with the handful that arrived meanwhile, and a system call is the
//! dearer, the less it carries. When it yields the processor first, the others fill its queues, and the next batch is
//! large again. Where nobody else has work, it does not sleep at once: what is on its way arrives sooner than a sleeping
//! processor wakes. Beside programs that do nothing but compute, yielding is a gift that nobody returns: a yield that took
//! long ends the courtesy for a while.

use std::time::{Duration, Instant};

/// Packets, frames or trains of one turn that make it large.
const LARGE: usize = 16;
/// How long a worker looks for more after a large turn, yielding each time, before it sleeps.
const LINGER: Duration = Duration::from_micros(200);
/// A yield that lasts longer went to somebody who had much to do.
const LONG: Duration = Duration::from_millis(1);
/// How long nobody is let before after that.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides about yields by what the last one cost.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    /// While a large turn is not long ago.
    lingers_until: Option<Instant>,
    /// No yield before.
    paused_until: Option<Instant>,
}

impl Courtesy {
    /// Yields the processor if this turn or one just before was large, and yielding is cheap at the moment.
    pub(super) fn after_turn(&mut self, received: usize) {
        if received < LARGE && self.lingers_until.is_none() {
            return;
        }
        let before = Instant::now();
        self.note_turn(received, before);
        if self.lingers() {
            std::thread::yield_now();
            self.learn(before, Instant::now());
        }
    }

    /// Tells whether to look for packets without waiting for them.
    pub(super) fn lingers(&self) -> bool {
        self.lingers_until.is_some() && self.paused_until.is_none()
    }

    fn note_turn(&mut self, received: usize, now: Instant) {
        if received >= LARGE {
            self.lingers_until = Some(now + LINGER);
        }
        self.lingers_until = self.lingers_until.filter(|until| now < *until);
        self.paused_until = self.paused_until.filter(|until| now < *until);
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
        let yields_at = |courtesy: &mut Courtesy, micros| {
            courtesy.note_turn(LARGE, at(micros));
            courtesy.lingers()
        };

        courtesy.learn(at(0), at(900));
        assert!(yields_at(&mut courtesy, 900), "a short one costs nothing");

        courtesy.learn(at(1_000), at(4_000));
        assert!(!yields_at(&mut courtesy, 4_001));
        assert!(!yields_at(&mut courtesy, 1_003_999));
        assert!(yields_at(&mut courtesy, 1_004_000));
    }

    #[test]
    fn after_a_large_turn_it_looks_again_for_a_moment() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut courtesy = Courtesy::default();
        courtesy.note_turn(LARGE - 1, at(0));
        assert!(!courtesy.lingers());
        courtesy.note_turn(LARGE, at(10));
        courtesy.note_turn(0, at(209));
        assert!(courtesy.lingers());
        courtesy.note_turn(0, at(210));
        assert!(!courtesy.lingers());
    }
}
