//! How a node knows that an address lives at its site. Better knowledge wins (mobility.md sections 2.5 and 5.A): what a
//! person wrote, then what a cloud confirms, then what was seen on a LAN, which anybody there can forge.
//!
//! The rank travels as MED, which BGP compares right after LOCAL_PREF among paths of one fabric: no node needs to know
//! of sources to decide like all others.

use serde::{Deserialize, Serialize};

/// Where the knowledge behind a claim comes from, the best first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimSource {
    /// 1: configuration, or the order of an operator. Not written on the wire, so that it is what older nodes say.
    #[default]
    Configured,
    /// 2: a cloud provider says so.
    Provider,
    /// 3: a host of the LAN was heard.
    Observed,
}

impl ClaimSource {
    const ALL: [Self; 3] = [Self::Configured, Self::Provider, Self::Observed];

    /// Returns the MED of a claim from this source; the lower wins.
    #[must_use]
    pub fn med(self) -> u32 {
        match self {
            Self::Configured => 0,
            Self::Provider => 10,
            Self::Observed => 20,
        }
    }

    /// Returns the name as in views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Provider => "provider",
            Self::Observed => "observed",
        }
    }

    pub(crate) fn value(self) -> u32 {
        match self {
            Self::Configured => 1,
            Self::Provider => 2,
            Self::Observed => 3,
        }
    }

    pub(crate) fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.value() == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_knowledge_has_the_lower_med() {
        let meds = ClaimSource::ALL.map(ClaimSource::med);
        assert!(meds.is_sorted() && meds[0] < meds[1] && meds[1] < meds[2]);
    }
}
