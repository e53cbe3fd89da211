//! Packet capture tap: copies of packets for `samctl pcap`, off unless somebody listens.

use std::collections::VecDeque;
use std::time::Instant;

/// Where a packet was seen; becomes an interface of the pcapng file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapPoint {
    /// Ethernet frame on a LAN port.
    Lan(crate::ids::PortId),
    /// IP packet on the TUN port.
    Tun,
    /// Inner IP packet of a tunnel.
    Inner(crate::ids::TunnelId),
    /// Outer UDP payload with its addresses.
    Outer,
}

/// One captured packet.
#[derive(Debug, Clone)]
pub struct TapRecord {
    /// Where.
    pub point: TapPoint,
    /// True when it was sent by us.
    pub outbound: bool,
    /// When, monotonic.
    pub at: Instant,
    /// Original length in bytes.
    pub length: usize,
    /// The first bytes.
    pub data: Box<[u8]>,
    /// Outer far address for [`TapPoint::Outer`].
    pub remote: Option<std::net::SocketAddr>,
}

/// Bounded store between the packet path and a listener.
#[derive(Debug)]
pub struct Tap {
    records: VecDeque<TapRecord>,
    limit: usize,
    snap: usize,
    missed: u64,
}

impl Tap {
    /// Makes a tap that keeps `snap` bytes of at most `limit` packets.
    #[must_use]
    pub fn new(limit: usize, snap: usize) -> Self {
        Self {
            records: VecDeque::new(),
            limit,
            snap,
            missed: 0,
        }
    }

    /// Copies a packet, or counts it as missed when the store is full.
    pub fn record(
        &mut self,
        point: TapPoint,
        outbound: bool,
        data: &[u8],
        remote: Option<std::net::SocketAddr>,
        at: Instant,
    ) {
        if self.records.len() >= self.limit {
            self.missed += 1;
            return;
        }
        let data_kept = &data[..data.len().min(self.snap)];
        self.records.push_back(TapRecord {
            point,
            outbound,
            at,
            length: data.len(),
            data: data_kept.into(),
            remote,
        });
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<TapRecord> {
        self.records.pop_front()
    }

    /// Returns how many packets found the store full.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TunnelId;
    use crate::sample;

    #[test]
    fn a_record_keeps_the_first_bytes_and_the_true_length() {
        let mut tap = Tap::new(1, 4);
        let at = sample::start();
        tap.record(TapPoint::Inner(TunnelId(3)), true, b"abcdefgh", None, at);
        let record = tap.pop().unwrap();
        assert_eq!((&*record.data, record.length), (&b"abcd"[..], 8));
        assert_eq!(
            (record.point, record.at),
            (TapPoint::Inner(TunnelId(3)), at)
        );
        assert!(record.outbound && record.remote.is_none());
    }

    #[test]
    fn a_packet_shorter_than_the_snap_length_is_kept_whole() {
        let mut tap = Tap::new(1, 4);
        tap.record(TapPoint::Tun, false, b"ab", None, sample::start());
        assert_eq!(&*tap.pop().unwrap().data, b"ab");
    }

    #[test]
    fn a_full_tap_keeps_the_oldest_and_counts_what_it_misses() {
        let mut tap = Tap::new(2, 1);
        for byte in 0..5 {
            tap.record(TapPoint::Tun, false, &[byte], None, sample::start());
        }
        assert_eq!(tap.missed(), 3);
        let kept: Vec<_> = std::iter::from_fn(|| tap.pop())
            .map(|record| record.data[0])
            .collect();
        assert_eq!(kept, [0, 1]);
    }
}
