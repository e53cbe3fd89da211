//! How far a router can act at the provider, and at its own NIC: what the others of its site are told.

use std::time::{Duration, Instant};

use super::Executor;
use crate::plan::Mode;

/// Looks may fail for so long before the router leaves the site to others.
pub(super) const BLIND: Duration = Duration::from_secs(30);
/// For so long it does so after a change was denied; then it tries again, if it is elected.
const DENIED: Duration = Duration::from_secs(900);

/// Why a router captures nothing, as it tells the others of its site: for people, nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inability {
    /// 1: its mode is off, observe or plan.
    OnlyPlans,
    /// 2: looks at the provider have failed for too long.
    Blind,
    /// 3: the provider has denied it a change, not long ago.
    Denied,
    /// 4: its journal cannot be written, and nothing else would tell what is its own.
    NoJournal,
    /// 5: its provider cannot be called at all.
    NoProvider,
}

impl Inability {
    const ALL: [Self; 5] = [
        Self::OnlyPlans,
        Self::Blind,
        Self::Denied,
        Self::NoJournal,
        Self::NoProvider,
    ];

    /// Returns its name, for operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnlyPlans => "only-plans",
            Self::Blind => "blind",
            Self::Denied => "denied",
            Self::NoJournal => "no-journal",
            Self::NoProvider => "no-provider",
        }
    }

    /// Returns its number on a marker.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::OnlyPlans => 1,
            Self::Blind => 2,
            Self::Denied => 3,
            Self::NoJournal => 4,
            Self::NoProvider => 5,
        }
    }

    /// Reads its number; one that is not known says nothing.
    #[must_use]
    pub fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.value() == value)
    }
}

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
