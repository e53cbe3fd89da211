//! How far a router can act at the provider, and at its own NIC: what the others of its site are told.

use std::time::{Duration, Instant};

use super::Executor;
use crate::plan::Mode;

/// Looks may fail for so long before the router leaves the site to others.
pub(super) const BLIND: Duration = Duration::from_secs(30);
/// For so long it does so after a change was denied; then it tries again, if it is elected.
const DENIED: Duration = Duration::from_secs(900);

impl Executor {
    /// Tells whether it can and may change anything at the provider: by its mode, and by what the last calls came to.
    #[must_use]
    pub fn is_able(&self, now: Instant) -> bool {
        let lasts = |since: Option<Instant>, time| since.is_some_and(|since| now < since + time);
        let blind = self.blind_since.is_some() && !lasts(self.blind_since, BLIND);
        let marks = self.capabilities.marks || !self.journal_failed;
        self.settings.mode >= Mode::Approve
            && self.observed.is_some()
            && !blind
            && !lasts(self.denied_at, DENIED)
            && marks
    }

    /// Whether our NIC carries packets of others, as it was seen last, else as we left it; `None` while nobody knows.
    #[must_use]
    pub fn forwards(&self) -> Option<bool> {
        let seen = self.observed.as_ref();
        let left = self.prior.forwarding.map(|_| true);
        seen.map(|seen| seen.observation.forwarding).or(left)
    }
}
