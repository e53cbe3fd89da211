//! From the start until this router has heard the routes: it takes a LAN over from nobody who works there.
//!
//! A router that begins knows nothing, and would answer for nobody in place of one that answers for all. So it waits until those
//! who tell routes have told them all (RFC 4724 section 2: End-of-RIB), at least [`FLOOR`] for what comes late, and at most
//! [`BOUND`], for they may never come back. A router that is alone acts at once, and one that takes over from a dead
//! one does: nobody would be worse. A fence that is gone stays gone.

use std::time::{Duration, Instant};

use crate::Router;

/// At least as long: tunnels come up, hosts of other sites are heard again.
pub(crate) const FLOOR: Duration = Duration::from_secs(10);
/// At most as long.
pub(crate) const BOUND: Duration = Duration::from_secs(120);

/// The fence of one run.
#[derive(Debug)]
pub(crate) struct StartupFence {
    born: Instant,
    /// What it waits for next; `None` once it is gone.
    due: Option<Instant>,
    /// Whether [`FLOOR`] is over.
    early: bool,
}

impl StartupFence {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            born: now,
            due: Some(now + FLOOR),
            early: true,
        }
    }

    /// Follows the time, and whether all routes are `told`.
    pub(crate) fn follow(&mut self, told: bool, now: Instant) {
        let bound = self.born + BOUND;
        self.early &= now < self.born + FLOOR;
        self.due = match self.due {
            Some(_) if now < bound && (!told || self.early) => {
                Some(if self.early { self.born + FLOOR } else { bound })
            }
            Some(_) | None => None,
        };
    }

    /// Whether this router takes over from nobody who works.
    pub(crate) fn is_up(&self) -> bool {
        self.due.is_some()
    }

    /// Whether this router has just begun: what it has not heard of yet may still come.
    pub(crate) fn is_early(&self) -> bool {
        self.early
    }

    /// When time changes something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

impl Router {
    /// Lets the fence follow what is known.
    pub(crate) fn follow_fence(&mut self, now: Instant) {
        if self.fence.is_up() {
            let (_, told) = self.route_sources(false);
            self.fence.follow(told, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn routes_lift_it_after_the_floor_and_time_does_without_them() {
        let start = Instant::now();
        let mut fence = StartupFence::new(start);
        let mut at = |second, told| {
            fence.follow(told, start + Duration::from_secs(second));
            let due = fence.poll_timeout().map(|due| (due - start).as_secs());
            (fence.is_up(), fence.is_early(), due)
        };
        assert_eq!(at(1, true), (true, true, Some(10)));
        assert_eq!(at(9, false), (true, true, Some(10)));
        assert_eq!(at(11, false), (true, false, Some(120)));
        assert_eq!(at(12, true), (false, false, None));
        assert_eq!(at(13, false), (false, false, None), "for good");

        let mut fence = StartupFence::new(start);
        fence.follow(false, start + BOUND);
        assert!(!fence.is_up());
    }
}
