//! What is configured for a virtual router, and the times that follow (RFC 9568 section 6.1).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::packet::Version;

/// Configuration of one virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Version that is spoken; advertisements of the other one do not count.
    pub version: Version,
    /// Number of the virtual router on its LAN; not zero.
    pub vrid: u8,
    /// Priority without penalties: 1 to 254, or 255 if the host itself has the address.
    pub priority: u8,
    /// The virtual address.
    pub address: Ipv4Addr,
    /// Interval of our advertisements: whole ticks of the version.
    pub interval: Duration,
    /// Whether a backup takes over from a master of lower priority (Preempt_Mode).
    pub preempt: bool,
    /// Who gets advertisements, each by unicast, and from whom they count; empty means multicast and anybody.
    pub peers: BTreeSet<Ipv4Addr>,
    /// Routers of other makes that are expected to take part by multicast; whoever else does is a stranger.
    pub routers: BTreeSet<Ipv4Addr>,
}

impl Settings {
    /// Tells whether the host itself has the address, and answers for it.
    #[must_use]
    pub const fn owns_address(&self) -> bool {
        self.priority == OWNER
    }
}

/// Priority of the router whose host has the address.
pub(crate) const OWNER: u8 = 255;
/// The lowest priority of a router that takes part: zero says that it leaves.
pub(crate) const LEAST_PRIORITY: u8 = 1;

/// Returns the priority that is left with this sum of penalties; at least 1.
#[must_use]
pub fn effective_priority(priority: u8, penalty: u8) -> u8 {
    priority.saturating_sub(penalty).max(LEAST_PRIORITY)
}

/// Skew_Time: who has a lower priority waits longer (RFC 9568 section 6.1, RFC 3768 section 6.1).
#[must_use]
pub(crate) fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let share = 256 - u32::from(priority);
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    whole.saturating_mul(share) / 256
}

/// Active_Down_Interval (Master_Down_Interval): how long a master may be silent.
#[must_use]
pub(crate) fn down_interval(version: Version, priority: u8, interval: Duration) -> Duration {
    interval.saturating_mul(3) + skew(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_never_make_a_router_leave() {
        for (priority, penalty, left) in [(100, 0, 100), (100, 30, 70), (100, 100, 1), (9, 255, 1)]
        {
            assert_eq!(effective_priority(priority, penalty), left);
        }
    }

    #[test]
    fn the_skew_is_a_share_of_the_interval_and_in_version_2_of_a_second() {
        let interval = Duration::from_millis(300);
        assert_eq!(skew(Version::V3, 128, interval), Duration::from_millis(150));
        assert_eq!(
            skew(Version::V2, 128, 5 * interval),
            Duration::from_millis(500)
        );
        assert_eq!(
            down_interval(Version::V3, 128, interval),
            Duration::from_millis(1050)
        );
    }
}
