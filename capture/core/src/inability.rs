//! Why a router captures nothing, on its marker and for operators.

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
