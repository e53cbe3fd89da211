//! What a worker has told the control plane about the path of a tunnel, so that it does not tell it over and over.

use std::time::{Duration, Instant};

/// Longest inner packet whose way is taken for granted while more is in force: the base of RFC 8899 section 5.1.2.
pub const BASE_SIZE: u16 = 1200;
/// Time between two notices about long packets of one tunnel.
pub const LONG_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two notices about one refused size.
pub const REFUSAL_INTERVAL: Duration = Duration::from_millis(100);

/// The path of one tunnel, as this worker told of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathWatch {
    /// The size told last, and when.
    refused: Option<(u16, Instant)>,
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

    /// Tells whether it is worth telling that a packet of `size` bytes goes into the tunnel that carries `mtu`.
    pub fn on_packet(&mut self, size: usize, mtu: u16, now: Instant) -> bool {
        let granted = if mtu > BASE_SIZE { BASE_SIZE } else { mtu / 2 };
        let is_long = size > usize::from(granted);
        let is_news = is_long && self.long.is_none_or(|at| now >= at + LONG_INTERVAL);
        if is_news {
            self.long = Some(now);
        }
        is_news
    }
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
    fn long_packets_are_told_once_per_interval_and_short_ones_never() {
        let (mut watch, start) = (PathWatch::default(), start());
        let base = usize::from(BASE_SIZE);
        assert!(!watch.on_packet(base, 1440, start));
        assert!(!watch.on_packet(300, 600, start));
        let told = (0..5000)
            .filter(|milli| watch.on_packet(base + 1, 1440, start + Duration::from_millis(*milli)));
        assert_eq!(told.count(), 5);
        assert!(
            watch.on_packet(301, 600, start + LONG_INTERVAL * 5),
            "a narrow tunnel"
        );
    }
}
