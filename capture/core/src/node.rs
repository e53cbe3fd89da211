//! Identity of a node: explicit, numeric, unique in the fabric (never a hash).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identity of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a node runs. Information for operators; travels as large community `asn:7:value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// 1
    Onprem,
    /// 2
    Aws,
    /// 3
    Azure,
    /// 4
    Oci,
    /// 5
    Gcp,
}

impl Role {
    /// Returns the value that travels.
    #[must_use]
    pub fn value(self) -> u32 {
        match self {
            Self::Onprem => 1,
            Self::Aws => 2,
            Self::Azure => 3,
            Self::Oci => 4,
            Self::Gcp => 5,
        }
    }

    /// Returns the role that travels as `value`.
    #[must_use]
    pub fn from_value(value: u32) -> Option<Self> {
        [Self::Onprem, Self::Aws, Self::Azure, Self::Oci, Self::Gcp]
            .into_iter()
            .find(|role| role.value() == value)
    }

    /// Returns the name as in files and views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Onprem => "onprem",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Oci => "oci",
            Self::Gcp => "gcp",
        }
    }
}
