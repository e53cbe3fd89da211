//! Packet capture tap: copies of packets for `samctl pcap` and `samctl trace --live`, each with what became of it.
//!
//! Off unless somebody listens: without a tap nothing is copied, parsed or allocated. A copy is made when a packet is
//! received; until the packet path is done with it, the copy is the open one and takes the verdict, the last one said.
//! What waited for a neighbor or a session, or was merged with others, and is dropped later is recorded once more, at
//! [`TapPoint::Dropped`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::drop_reason::DropReason;
use crate::encap::Carrier;
use crate::ids::{PortId, TunnelId};
use crate::packet::ethernet::ETHERNET_HEADER;
use crate::packet_filter::PacketFilter;
use crate::unit::Gso;
use crate::verdict::Verdict;

/// Where a packet was seen; becomes an interface of the pcapng file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapPoint {
    /// Ethernet frame on a LAN port.
    Lan(PortId),
    /// IP packet on the TUN port.
    Tun,
    /// Inner IP packet of a tunnel.
    Inner(TunnelId),
    /// Payload of an outer packet, with its addresses.
    Outer,
    /// IP packet that waited for a neighbor or a session, or was being merged, when it was dropped.
    Dropped,
}

/// A packet to copy.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Where.
    pub point: TapPoint,
    /// True when it is sent by us.
    pub outbound: bool,
    /// Its bytes.
    pub data: &'a [u8],
    /// When.
    pub at: Instant,
    /// How a superpacket is to be cut.
    pub gso: Gso,
    /// Outer far end for [`TapPoint::Outer`].
    pub remote: Option<Remote>,
    /// The tunnel that it belongs to, where known.
    pub tunnel: Option<TunnelId>,
}

/// The far end of an outer packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// Its address.
    pub address: SocketAddr,
    /// What carries the packet; `None` for WireGuard.
    pub carrier: Option<Carrier>,
}

impl<'a> Seen<'a> {
    /// A received packet.
    #[must_use]
    pub fn inbound(point: TapPoint, data: &'a [u8], at: Instant) -> Self {
        Self {
            point,
            outbound: false,
            data,
            at,
            gso: Gso::None,
            remote: None,
            tunnel: match point {
                TapPoint::Inner(tunnel) => Some(tunnel),
                TapPoint::Lan(_) | TapPoint::Tun | TapPoint::Outer | TapPoint::Dropped => None,
            },
        }
    }

    /// A packet that is sent.
    #[must_use]
    pub fn outbound(point: TapPoint, data: &'a [u8], at: Instant) -> Self {
        Self {
            outbound: true,
            ..Self::inbound(point, data, at)
        }
    }

    /// Adds the outer far end.
    #[must_use]
    pub fn with_remote(mut self, address: SocketAddr, carrier: Option<Carrier>) -> Self {
        self.remote = Some(Remote { address, carrier });
        self
    }

    /// Returns the bytes from the IP header on, where there is one.
    fn ip(&self) -> &'a [u8] {
        match self.point {
            TapPoint::Lan(_) => self.data.get(ETHERNET_HEADER..).unwrap_or_default(),
            TapPoint::Tun | TapPoint::Inner(_) | TapPoint::Dropped => self.data,
            TapPoint::Outer => &[],
        }
    }
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
    /// How a superpacket is to be cut.
    pub gso: Gso,
    /// Outer far end for [`TapPoint::Outer`].
    pub remote: Option<Remote>,
    /// The tunnel that it belongs to, where known.
    pub tunnel: Option<TunnelId>,
    /// What became of it, as far as the packet path could say; sent packets have none.
    pub verdict: Option<Verdict>,
}

/// The copy that the packet path is not done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// There is none.
    Nothing,
    /// There is a packet, but no copy was made.
    Unrecorded,
    /// Its place among the records.
    At(usize),
}

/// Bounded store between the packet path and a listener.
#[derive(Debug)]
pub struct Tap {
    records: VecDeque<TapRecord>,
    open: Open,
    limit: usize,
    snap: usize,
    filter: Option<PacketFilter>,
    missed: u64,
}

/// A mark for [`Tap::resume`].
#[derive(Debug, Clone, Copy)]
pub struct Suspended(Open);

impl Tap {
    /// Makes a tap that keeps `snap` bytes of at most `limit` packets.
    #[must_use]
    pub fn new(limit: usize, snap: usize) -> Self {
        Self {
            records: VecDeque::new(),
            open: Open::Nothing,
            limit,
            snap,
            filter: None,
            missed: 0,
        }
    }

    /// Makes it copy only received inner packets that match, and those that are dropped after they waited.
    #[must_use]
    pub fn with_filter(mut self, filter: PacketFilter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Copies a packet, or counts it as missed when the store is full. A received one is open from now on.
    pub fn record(&mut self, seen: Seen<'_>) {
        let place = self.keep(seen, None);
        if !seen.outbound {
            self.open = place.map_or(Open::Unrecorded, Open::At);
        }
    }

    /// Says what becomes of the open packet; a later word replaces it.
    pub fn judge(&mut self, verdict: Verdict) {
        if let Some(record) = self.open_record() {
            record.verdict = Some(verdict);
            if let Verdict::Opened(tunnel) = verdict {
                record.tunnel = Some(tunnel);
            }
        }
    }

    /// Records that an IP packet is dropped: the open one, or one that waited.
    pub fn lose(&mut self, packet: &[u8], reason: DropReason, at: Instant) {
        let verdict = Verdict::Dropped(reason);
        match self.open {
            Open::Nothing => {
                self.keep(Seen::inbound(TapPoint::Dropped, packet, at), Some(verdict));
            }
            Open::Unrecorded | Open::At(_) => self.judge(verdict),
        }
    }

    /// Ends the time in which verdicts are about the packet that was received last.
    pub fn settle(&mut self) {
        self.open = Open::Nothing;
    }

    /// Puts the open packet aside while others are sent.
    pub fn suspend(&mut self) -> Suspended {
        Suspended(std::mem::replace(&mut self.open, Open::Nothing))
    }

    /// Takes the packet up again that was put aside.
    pub fn resume(&mut self, suspended: Suspended) {
        self.open = suspended.0;
    }

    /// Takes the oldest record; verdicts that come later find no packet.
    pub fn pop(&mut self) -> Option<TapRecord> {
        self.settle();
        self.records.pop_front()
    }

    /// Returns how many packets found the store full since the last question.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    fn keep(&mut self, seen: Seen<'_>, verdict: Option<Verdict>) -> Option<usize> {
        if !self.wants(&seen) {
            return None;
        }
        if self.records.len() >= self.limit {
            self.missed += 1;
            return None;
        }
        self.records.push_back(TapRecord {
            point: seen.point,
            outbound: seen.outbound,
            at: seen.at,
            length: seen.data.len(),
            data: seen.data[..seen.data.len().min(self.snap)].into(),
            gso: seen.gso,
            remote: seen.remote,
            tunnel: seen.tunnel,
            verdict,
        });
        Some(self.records.len() - 1)
    }

    fn wants(&self, seen: &Seen<'_>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| !seen.outbound && filter.matches(seen.ip()))
    }

    fn open_record(&mut self) -> Option<&mut TapRecord> {
        match self.open {
            Open::At(place) => self.records.get_mut(place),
            Open::Nothing | Open::Unrecorded => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Way;
    use crate::sample::{DESTINATION, Udp, start};

    #[test]
    fn a_record_keeps_the_first_bytes_and_the_true_length() {
        let mut tap = Tap::new(1, 4);
        let (at, point) = (start(), TapPoint::Inner(TunnelId(3)));
        tap.record(Seen::outbound(point, b"abcdefgh", at));
        let record = tap.pop().unwrap();
        assert_eq!((&*record.data, record.length), (&b"abcd"[..], 8));
        assert_eq!((record.point, record.at), (point, at));
        assert!(record.outbound && record.remote.is_none());
        assert_eq!(record.tunnel, Some(TunnelId(3)));
    }

    #[test]
    fn a_packet_shorter_than_the_snap_length_is_kept_whole() {
        let mut tap = Tap::new(1, 4);
        tap.record(Seen::inbound(TapPoint::Tun, b"ab", start()));
        assert_eq!(&*tap.pop().unwrap().data, b"ab");
    }

    #[test]
    fn a_full_tap_keeps_the_oldest_and_counts_what_it_misses_once() {
        let mut tap = Tap::new(2, 1);
        for byte in 0..5 {
            tap.record(Seen::inbound(TapPoint::Tun, &[byte], start()));
            tap.lose(&[byte], DropReason::NoRoute, start());
        }
        assert_eq!((tap.take_missed(), tap.take_missed()), (3, 0));
        let kept: Vec<_> = std::iter::from_fn(|| tap.pop())
            .map(|record| record.data[0])
            .collect();
        assert_eq!(kept, [0, 1]);
    }

    #[test]
    fn the_last_verdict_counts_and_sent_packets_take_none() {
        let mut tap = Tap::new(9, 1);
        tap.record(Seen::inbound(TapPoint::Tun, &[1], start()));
        tap.judge(Verdict::Forwarded(Way::Host));
        tap.record(Seen::outbound(TapPoint::Tun, &[2], start()));
        tap.lose(&[1], DropReason::TxQueueFull, start());
        let verdicts: Vec<_> = std::iter::from_fn(|| tap.pop())
            .map(|record| record.verdict)
            .collect();
        let dropped = Verdict::Dropped(DropReason::TxQueueFull);
        assert_eq!(verdicts, [Some(dropped), None]);
    }

    #[test]
    fn what_waited_is_recorded_again_when_it_is_dropped() {
        let mut tap = Tap::new(9, 1);
        tap.record(Seen::inbound(TapPoint::Tun, &[1], start()));
        let suspended = tap.suspend();
        tap.lose(&[7], DropReason::NeighborFailed, start());
        tap.resume(suspended);
        tap.judge(Verdict::Forwarded(Way::Host));
        tap.settle();
        tap.judge(Verdict::Keepalive);

        let (own, late) = (tap.pop().unwrap(), tap.pop().unwrap());
        assert_eq!(own.verdict, Some(Verdict::Forwarded(Way::Host)));
        assert_eq!((late.point, late.data[0]), (TapPoint::Dropped, 7));
        let dropped = Verdict::Dropped(DropReason::NeighborFailed);
        assert_eq!(late.verdict, Some(dropped));
    }

    #[test]
    fn a_filter_keeps_received_packets_that_match_and_their_later_drops() {
        let packet = Udp::default().build();
        let frame = [&[0; ETHERNET_HEADER][..], &packet].concat();
        let kept = |filter: &str| {
            let mut tap = Tap::new(9, 99).with_filter(filter.parse().unwrap());
            tap.record(Seen::inbound(TapPoint::Lan(PortId(1)), &frame, start()));
            tap.record(Seen::outbound(TapPoint::Tun, &packet, start()));
            tap.record(Seen::inbound(TapPoint::Outer, &packet, start()));
            tap.settle();
            tap.lose(&packet, DropReason::NeighborFailed, start());
            let points = std::iter::from_fn(|| tap.pop()).map(|record| record.point);
            points.collect::<Vec<_>>()
        };
        let expected = [TapPoint::Lan(PortId(1)), TapPoint::Dropped];
        assert_eq!(kept(&format!("dst {DESTINATION}")), expected);
        assert_eq!(kept("port 1"), []);
    }
}
