//! Where events happen. Each place has a report of its own, so that either can be measured by itself.

use serde::{Deserialize, Serialize};

/// A place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// Two routers on a LAN.
    #[default]
    Lan,
    /// Two routers in a cloud.
    Clouds,
}

impl Place {
    /// The name of its files, without what follows the point.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Lan => "takeover-lan",
            Self::Clouds => "takeover-clouds",
        }
    }

    /// What its picture shows.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Lan => "What clients of a LAN lose",
            Self::Clouds => "What clients in clouds lose",
        }
    }
}
