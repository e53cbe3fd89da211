//! How a family of routes is asked for: `?family=ipv6`.

use sam_bgp::Family;
use serde::Deserialize;

/// A family as it is asked for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FamilyName {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Self {
        match name {
            FamilyName::Ipv4 => Self::Ipv4Unicast,
            FamilyName::Ipv6 => Self::Ipv6Unicast,
        }
    }
}
