//! What an executor is told by the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::node::NodeId;
use crate::plan::Mode;
use crate::pool::Pool;
use crate::provider::NicId;

/// What an executor is told by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How far it goes on its own.
    pub mode: Mode,
    /// Pools.
    pub pools: Vec<Pool>,
    /// Our own NIC, where the configuration names it: any other one is not looked at.
    pub nic: Option<NicId>,
    /// NICs of the other routers of our site.
    pub members: BTreeMap<NicId, NodeId>,
    /// Most addresses of pools that may be on our NIC; `None`: as many as the provider has room for.
    pub max_captures: Option<usize>,
    /// Changes per minute.
    pub budget: usize,
    /// How long a change may take from its decision to its last request.
    pub patience: Duration,
    /// Looks at our NIC while nothing happens.
    pub poll: Rhythm,
    /// Lists of everything in the subnet; `None`: nobody wants them.
    pub inventory: Option<Rhythm>,
}

/// How often something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Time after a look that showed something new.
    pub shortest: Duration,
    /// The longest time: each look in a row that shows nothing new doubles it.
    pub longest: Duration,
}

/// So many intervals lie between two lists at most, while they show nothing new.
const QUIET: u32 = 30;
/// So many lie between two lists that somebody waits for.
const HURRIED: u32 = 6;
/// An interval of who only stands by is as long as so many of who uses the lists: it needs them to go on at once.
const STANDBY: u32 = 15;

impl Rhythm {
    /// Looks at our NIC.
    pub const LOOKS: Self = Self {
        shortest: Duration::from_secs(60),
        longest: Duration::from_secs(450),
    };
    /// Looks at our NIC where lists tell what is on it: they are for its forwarding only.
    pub const LOOKS_BESIDE_LISTS: Self = Self {
        shortest: Duration::from_secs(60),
        longest: Duration::from_secs(1800),
    };

    /// Lists of the subnet for who uses them, or for who only stands by.
    #[must_use]
    pub const fn lists(interval: Duration, uses: bool) -> Self {
        let (shortest, longest) = if uses {
            (1, QUIET)
        } else {
            (STANDBY, 3 * STANDBY)
        };
        Self {
            shortest: interval.saturating_mul(shortest),
            longest: interval.saturating_mul(longest),
        }
    }

    /// Always the same time.
    #[must_use]
    pub const fn steady(time: Duration) -> Self {
        Self {
            shortest: time,
            longest: time,
        }
    }

    /// Returns the least time between two that somebody waits for: there may always be somebody.
    pub(super) fn hurried(self) -> Duration {
        self.shortest.saturating_mul(HURRIED).min(self.longest)
    }

    /// Returns the time after so many looks in a row that showed nothing new.
    pub(super) fn pause(self, unchanged: u32) -> Duration {
        let doubled = self.shortest.saturating_mul(1 << unchanged.min(16));
        doubled.min(self.longest.max(self.shortest))
    }
}
