//! Datagrams of a UDP test: the header, and what a receiver learns from the headers.
//!
//! ```text
//!  0        4        8                12        16
//!  │ seconds│ µs     │ counter (32)   │
//!  │ seconds│ µs     │ counter (64, high half first) │          all big endian, the counter starts at 1
//! ```

use std::time::Duration;

/// What a client sends to open a stream (iperf3 writes it in its own byte order, so the value says little).
pub const HELLO: [u8; 4] = *b"9876";
/// What a server answers.
pub const HELLO_ANSWER: [u8; 4] = *b"6789";

/// Bytes of a header.
const fn header_bytes(wide: bool) -> usize {
    if wide { 16 } else { 12 }
}

/// The head of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The sender's clock.
    pub sent: Duration,
    /// From 1.
    pub counter: u64,
}

impl Header {
    /// Writes it; a counter that needs more than 32 bits begins again when it is not wide.
    ///
    /// # Panics
    /// When the datagram is shorter than a header.
    pub fn write(self, wide: bool, datagram: &mut [u8]) {
        let seconds = self.sent.as_secs().to_be_bytes();
        datagram[..4].copy_from_slice(&seconds[4..]);
        datagram[4..8].copy_from_slice(&self.sent.subsec_micros().to_be_bytes());
        let counter = self.counter.to_be_bytes();
        if wide {
            datagram[8..16].copy_from_slice(&counter);
        } else {
            datagram[8..12].copy_from_slice(&counter[4..]);
        }
    }

    /// Reads it; `None` when the datagram is too short or its clock is no clock.
    #[must_use]
    pub fn parse(wide: bool, datagram: &[u8]) -> Option<Self> {
        let head = datagram.get(..header_bytes(wide))?;
        let word = |at: usize| {
            head.get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u32::from_be_bytes)
        };
        let (seconds, micros) = (word(0)?, word(4)?);
        if micros >= 1_000_000 {
            return None;
        }
        let counter = if wide {
            u64::from(word(8)?) << 32 | u64::from(word(12)?)
        } else {
            u64::from(word(8)?)
        };
        Some(Self {
            sent: Duration::new(u64::from(seconds), micros * 1000),
            counter,
        })
    }
}

/// What a receiver counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arrivals {
    /// Highest counter: what the sender has sent, as far as is known.
    pub sent: u64,
    /// Counters that were passed over and did not come later.
    pub lost: u64,
    /// Datagrams that came after a later one.
    pub out_of_order: u64,
    /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
    pub jitter_s: f64,
    transit_s: Option<f64>,
}

impl Arrivals {
    /// Takes in a datagram; `now` is the receiver's clock.
    pub fn add(&mut self, header: Header, now: Duration) {
        if header.counter > self.sent {
            self.lost = self.lost.saturating_add(header.counter - self.sent - 1);
            self.sent = header.counter;
        } else {
            self.out_of_order += 1;
            self.lost = self.lost.saturating_sub(1);
        }
        let transit = now.as_secs_f64() - header.sent.as_secs_f64();
        if let Some(before) = self.transit_s {
            self.jitter_s += ((transit - before).abs() - self.jitter_s) / 16.0;
        }
        self.transit_s = Some(transit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(counter: u64, sent_us: u64) -> Header {
        Header {
            sent: Duration::from_micros(sent_us),
            counter,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (wide, counter) in [
            (false, 7),
            (true, 7),
            (true, u64::MAX),
            (false, 0xffff_ffff),
        ] {
            let written = header(counter, 1_700_000_000_123_456);
            let mut datagram = [0; 20];
            written.write(wide, &mut datagram);
            assert_eq!(Header::parse(wide, &datagram), Some(written));
        }
    }

    #[test]
    fn a_header_has_the_layout_of_iperf3() {
        let mut datagram = [0xaa; 17];
        header(0x0102_0304_0506_0708, 5_000_006).write(true, &mut datagram);
        assert_eq!(datagram[..8], [0, 0, 0, 5, 0, 0, 0, 6]);
        assert_eq!(datagram[8..], [1, 2, 3, 4, 5, 6, 7, 8, 0xaa]);
    }

    #[test]
    fn short_datagrams_and_clocks_that_are_none_are_no_headers() {
        for (wide, length) in [(false, 11), (true, 15), (true, 0), (false, 4)] {
            assert_eq!(Header::parse(wide, &vec![0; length]), None);
        }
        assert_eq!(Header::parse(false, &[0xff; 12]), None);
    }

    #[test]
    fn gaps_are_lost_until_they_come_late() {
        let mut arrivals = Arrivals::default();
        for counter in [1, 2, 5, 3] {
            arrivals.add(header(counter, 0), Duration::ZERO);
        }
        assert_eq!((arrivals.sent, arrivals.lost), (5, 1));
        assert_eq!(arrivals.out_of_order, 1);
    }

    #[test]
    fn hostile_counters_overflow_nothing() {
        let mut arrivals = Arrivals::default();
        for counter in [u64::MAX, 0, 0, u64::MAX] {
            arrivals.add(header(counter, u64::from(u32::MAX)), Duration::ZERO);
        }
        assert_eq!(arrivals.sent, u64::MAX);
        assert_eq!(arrivals.out_of_order, 3);
        assert!(arrivals.jitter_s.is_finite());
    }

    #[test]
    fn jitter_follows_the_variation_of_transit_only() {
        let mut steady = Arrivals::default();
        let mut shaky = Arrivals::default();
        for counter in 1..=64 {
            let sent = counter * 1000;
            let swing = if counter % 2 == 0 { 500 } else { 0 };
            // Both clocks differ by a second: that must not matter.
            let steadily = Duration::from_micros(1_000_000 + sent);
            steady.add(header(counter, sent), steadily);
            shaky.add(
                header(counter, sent),
                steadily + Duration::from_micros(swing),
            );
        }
        assert!(steady.jitter_s < 1e-9);
        assert!((shaky.jitter_s - 500e-6).abs() < 20e-6, "{shaky:?}");
    }
}
