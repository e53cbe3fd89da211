//! What a worker has told the control plane about the path of a tunnel, so that it does not tell it over and over.

use std::time::{Duration, Instant};

/// Longest inner packet whose way is taken for granted while more is in force: the base of RFC 8899 section 5.1.2.
pub const BASE_SIZE: u16 = 1200;
/// Time between two notices about long packets of one tunnel.
pub const LONG_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two notices about one refused size, and between two about packets that were not delivered.
pub const REFUSAL_INTERVAL: Duration = Duration::from_millis(100);

/// The path of one tunnel, as this worker told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathWatch {
    /// The size told last, and when.
    refused: Option<(u16, Instant)>,
    /// When it was told last that packets were not delivered.
    undelivered: Option<Instant>,
    long: Option<Instant>,
}

impl PathWatch {
    /// Tells whether it is worth telling that only `mtu` bytes fit: a smaller size at once, any other after a while.
    pub fn on_refusal(&mut self, mtu: u16, now: Instant) -> bool {
        let is_news = self
            .refused
            .is_none_or(|(told, at)| mtu < told || now >= at + REFUSAL_INTERVAL);
        if is_news {
            self.refused = Some((mtu, now));
        }
        is_news
    }

    /// Tells whether it is worth telling that packets were not delivered.
    pub fn on_undelivered(&mut self, now: Instant) -> bool {
        let is_news = self
            .undelivered
            .is_none_or(|at| now >= at + REFUSAL_INTERVAL);
        if is_news {
            self.undelivered = Some(now);
        }
        is_news
    }

    /// Tells whether it is worth telling that a long packet goes into the tunnel.
    pub fn on_long_packet(&mut self, now: Instant) -> bool {
        let is_news = self.long.is_none_or(|at| now >= at + LONG_INTERVAL);
        if is_news {
            self.long = Some(now);
        }
        is_news
    }
}

/// Tells whether a packet of `size` bytes is more than what is taken for granted of a tunnel that carries `mtu`.
#[must_use]
pub fn is_long(size: usize, mtu: u16) -> bool {
    let granted = if mtu > BASE_SIZE { BASE_SIZE } else { mtu / 2 };
    size > usize::from(granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::start;

    #[test]
    fn a_smaller_size_is_told_at_once_and_others_are_not_repeated() {
        let (mut watch, start) = (PathWatch::default(), start());
        let told: Vec<u16> = [1300, 1300, 1400, 1200, 1300, 1200]
            .into_iter()
            .filter(|mtu| watch.on_refusal(*mtu, start))
            .collect();
        assert_eq!(told, [1300, 1200]);
        assert!(watch.on_refusal(1300, start + REFUSAL_INTERVAL));
    }

    #[test]
    fn long_packets_are_told_once_per_interval() {
        let (mut watch, start) = (PathWatch::default(), start());
        let told =
            (0..5000).filter(|milli| watch.on_long_packet(start + Duration::from_millis(*milli)));
        assert_eq!(told.count(), 5);
    }

    #[test]
    fn a_packet_is_long_above_the_base_or_half_of_a_narrow_tunnel() {
        let base = usize::from(BASE_SIZE);
        assert!(!is_long(base, 1440) && is_long(base + 1, 1440));
        assert!(!is_long(300, 600) && is_long(301, 600));
    }
}
