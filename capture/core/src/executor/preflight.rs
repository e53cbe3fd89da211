//! When is looked at what the instance may do, and whether addresses move in one change.
//!
//! The first of these looks comes before any change, for it may decide which change it is. One that failed in passing has
//! told nothing: it is made again before long, less and less often, and only when nothing else is due. Being asked to slow
//! down, it alone waits.

use std::time::{Duration, Instant};

use super::{Executor, Order};
use crate::provider::{Capabilities, ErrorClass, Operation, Permission};

/// Time until the next one after one that told something: calls that are refused tell as well.
const AGAIN: Duration = Duration::from_secs(4 * 3600);
/// The same after one that failed; each further failure doubles it.
const SOON: Duration = Duration::from_secs(15);
/// The longest such time, and until one that is not answered is made again.
const LATER: Duration = Duration::from_secs(3600);
/// The same after it was refused to move addresses in one change, which had been possible.
const MOVES_AGAIN: Duration = Duration::from_secs(900);

/// What the instance may do, and when that is looked at.
#[derive(Debug)]
pub(super) struct Preflight {
    at: Instant,
    /// Failures in a row.
    failures: u32,
    /// Whether one has told something.
    told: bool,
    /// What.
    permissions: Vec<Permission>,
}

impl Preflight {
    /// The first one is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            at: now,
            failures: 0,
            told: false,
            permissions: Vec::new(),
        }
    }

    /// When the next one is due.
    pub(super) const fn due(&self) -> Instant {
        self.at
    }

    /// Tells whether what follows waits for the next one.
    pub(super) const fn goes_first(&self) -> bool {
        self.failures == 0
    }

    /// What was found.
    pub(super) fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// Takes in what was found by one that has failed.
    pub(super) fn show(&mut self, permissions: Vec<Permission>) {
        self.permissions = permissions;
    }

    /// Takes in what was found.
    pub(super) fn tell(&mut self, permissions: Vec<Permission>, now: Instant) {
        (self.permissions, self.told, self.failures) = (permissions, true, 0);
        self.at = now + AGAIN;
    }
}

impl Executor {
    /// Takes in what the provider can do. What it can do no more is looked at again before long.
    pub fn set_capabilities(&mut self, capabilities: Capabilities, now: Instant) {
        if self.capabilities.moves && !capabilities.moves {
            self.preflight.at = self.preflight.at.min(now + MOVES_AGAIN);
        }
        self.capabilities = capabilities;
    }

    /// Whether an address moves from one NIC to another in one change; `None` while nobody has looked.
    #[must_use]
    pub fn moves(&self) -> Option<bool> {
        let known = self.capabilities.moves || self.preflight.told;
        known.then_some(self.capabilities.moves)
    }

    pub(super) fn send_preflight(&mut self, now: Instant) -> Order {
        self.preflight.at = now + LATER;
        self.send(Operation::Preflight, None, None, now)
    }

    /// One has failed, and does not say whether addresses move. It is not made again before the provider wants to be asked.
    pub(super) fn put_preflight_off(&mut self, class: &ErrorClass, now: Instant) {
        let pause = SOON.saturating_mul(1 << self.preflight.failures.min(16));
        self.preflight.failures = self.preflight.failures.saturating_add(1);
        let wanted = if let ErrorClass::Throttled(after) = class {
            after.unwrap_or_default().min(LATER)
        } else {
            Duration::ZERO
        };
        let pause = self.pace.poll_interval(pause.min(LATER));
        self.preflight.at = now + pause.max(wanted);
    }
}
