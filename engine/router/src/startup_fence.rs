//! From the start until this router has heard the routes: it takes a LAN over from nobody who works there.
//!
//! A router that begins knows nothing, and would answer for nobody in place of one that answers for all. So it waits until those
//! who tell routes have told them all (RFC 4724 section 2: End-of-RIB), at most [`BOUND`], for they may never come back. Who
//! would take the role by its priority alone waits for [`FLOOR`] besides, for what comes late; a master that gives way need not
//! wait for that. A router that is alone acts at once, and one that takes over from a dead one does: nobody would be
//! worse. A fence that is gone stays gone.

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
    up: bool,
    /// Whether [`FLOOR`] is not over.
    early: bool,
}

impl StartupFence {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            born: now,
            up: true,
            early: true,
        }
    }

    /// Follows the time, and whether all routes are `told`.
    pub(crate) fn follow(&mut self, told: bool, now: Instant) {
        self.early &= now < self.born + FLOOR;
        self.up &= !told && now < self.born + BOUND;
    }

    /// Whether this router takes over from nobody who lives.
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Whether this router has just begun: what it has not heard of yet may still come.
    pub(crate) fn is_early(&self) -> bool {
        self.early
    }

    /// When time changes something.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let floor = self.early.then(|| self.born + FLOOR);
        floor.or_else(|| self.up.then(|| self.born + BOUND))
    }
}

impl Router {
    /// Lets the fence follow what is known.
    pub(crate) fn follow_fence(&mut self, now: Instant) {
        if self.fence.poll_timeout().is_some() {
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
    fn routes_lift_it_and_time_does_without_them() {
        let start = Instant::now();
        let mut fence = StartupFence::new(start);
        let mut at = |second, told| {
            fence.follow(told, start + Duration::from_secs(second));
            let due = fence.poll_timeout().map(|due| (due - start).as_secs());
            (fence.is_up(), fence.is_early(), due)
        };
        assert_eq!(at(1, false), (true, true, Some(10)));
        assert_eq!(at(9, true), (false, true, Some(10)));
        assert_eq!(at(10, false), (false, false, None), "for good");

        let mut fence = StartupFence::new(start);
        fence.follow(false, start + FLOOR);
        assert_eq!(fence.poll_timeout(), Some(start + BOUND));
        fence.follow(false, start + BOUND);
        assert!(!fence.is_up());
    }
}
