//! The providers, and where they differ in numbers.

use serde::{Deserialize, Serialize};

/// Whose cloud it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Oracle Cloud Infrastructure.
    Oci,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aws, Self::Azure, Self::Oci];

    /// Returns the name in a scenario.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Oci => "oci",
        }
    }

    /// Returns how many addresses at the start of a subnet nobody gets.
    pub(crate) const fn reserved(self) -> u32 {
        match self {
            Self::Aws | Self::Azure => 4,
            Self::Oci => 2,
        }
    }

    /// Returns how many addresses a NIC may have unless the scenario says so.
    pub(crate) const fn address_limit(self) -> usize {
        match self {
            Self::Aws => 15,
            Self::Azure => 256,
            Self::Oci => 32,
        }
    }
}
