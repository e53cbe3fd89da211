//! How far a router can act at the provider, and at its own NIC: what the others of its site are told.

use std::time::{Duration, Instant};

use super::Executor;
use crate::inability::Inability;
use crate::plan::Mode;

/// Looks may fail for so long before the router leaves the site to others.
pub(super) const BLIND: Duration = Duration::from_secs(30);
/// For so long it does so after a change was denied; then it tries again, if it is elected.
const DENIED: Duration = Duration::from_secs(900);

impl Executor {
    /// Tells whether it can and may change anything at the provider: by its mode, and by what the last calls came to.
    #[must_use]
    pub fn is_able(&self, now: Instant) -> bool {
        self.observed.is_some() && self.inability(now).is_none()
    }

    /// Why not, where that is known: before the first look nothing is.
    #[must_use]
    pub fn inability(&self, now: Instant) -> Option<Inability> {
        let lasts = |since: Option<Instant>, time| since.is_some_and(|since| now < since + time);
        if self.settings.mode < Mode::Approve {
            Some(Inability::OnlyPlans)
        } else if self.blind_since.is_some() && !lasts(self.blind_since, BLIND) {
            Some(Inability::Blind)
        } else if lasts(self.denied_at, DENIED) {
            Some(Inability::Denied)
        } else if self.journal_failed && !self.capabilities.marks {
            Some(Inability::NoJournal)
        } else {
            None
        }
    }

    /// Whether our NIC carries packets of others, as it was seen last, else as we left it; `None` while nobody knows.
    #[must_use]
    pub fn forwards(&self) -> Option<bool> {
        let seen = self.observed.as_ref();
        let left = self.prior.forwarding.map(|_| true);
        seen.map(|seen| seen.observation.forwarding).or(left)
    }
}
