//! What is configured for a session: interval and detection multiplier.

use std::time::Duration;

/// Interval and detection multiplier, the same for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timing {
    /// Desired transmit and required receive interval, while Up; whole microseconds below 2^32.
    pub interval: Duration,
    /// How many packets in a row the far end may miss; at least one.
    pub multiplier: u8,
}

impl Timing {
    /// The interval in the microseconds of the wire, at least one; what does not fit is cut.
    pub(crate) fn micros(self) -> u32 {
        let micros = u32::try_from(self.interval.as_micros());
        micros.unwrap_or(u32::MAX).max(1)
    }

    /// The multiplier, at least one.
    pub(crate) fn multiplier(self) -> u8 {
        self.multiplier.max(1)
    }
}
