//! The last long packet of each flow that may not be fragmented: as much of it as an ICMP error quotes (RFC 792).
//!
//! When a tunnel turns out narrower than it promised, such packets are lost already, and nobody has told their senders.
//! Without this their next retransmission would learn it, for which TCP waits longer each time.
//!
//! Bounded: flows share slots, and the latest one keeps its slot. A flow is looked at once in a while only: what it sends
//! after that is either sent again later, and so remembered, or meets the narrower tunnel itself.

use std::time::{Duration, Instant};

use crate::buffer::Buffer;
use crate::encap::lane::flow_hash;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::packet::ipv4::{TOTAL_LENGTH, put, write_checksum};
use crate::packet::{Classified, L4};

/// The start of a packet that went into a tunnel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongPacket {
    /// When it did.
    at: Instant,
    /// Where it came from.
    pub(crate) ingress: Ingress,
    /// What it was.
    pub(crate) classified: Classified,
    /// Length of its largest wire packet in bytes.
    pub(crate) size: u16,
    /// Its header as received, and the first bytes behind.
    start: [u8; START_MAX],
}

impl LongPacket {
    /// Writes what an error quotes into an empty buffer: one wire packet, as the sender's kernel would have put it on the
    /// wire, but for the checksum of a UDP superpacket.
    pub(crate) fn quote(&self, buffer: &mut Buffer) {
        let Classified {
            ip_header,
            total,
            l4,
            fragment,
            ..
        } = self.classified;
        let length = total.min(ip_header + QUOTED);
        let quote = &mut buffer.tail_mut()[..length];
        quote.copy_from_slice(&self.start[..length]);
        put(quote, TOTAL_LENGTH, self.size);
        write_checksum(&mut quote[..ip_header]);
        if l4 == L4::Udp && !fragment && length == ip_header + QUOTED {
            let header = u16::try_from(ip_header).unwrap_or(u16::MAX);
            put(
                quote,
                ip_header + UDP_LENGTH,
                self.size.saturating_sub(header),
            );
        }
        buffer.grow(length);
    }
}

/// What may be lost on paths that are narrower than known.
#[derive(Debug)]
pub(crate) struct LongPackets {
    /// By the hash of their flow.
    slots: Box<[Option<LongPacket>]>,
}

impl LongPackets {
    /// Remembers a packet, if its flow was not looked at a moment ago.
    pub(crate) fn remember(&mut self, packet: &IpPacket, size: u16, now: Instant) {
        let bytes = packet.unit.buffer.bytes();
        let hash = flow_hash(bytes, &packet.classified);
        let slot = &mut self.slots[usize::from(hash) % FLOWS];
        if slot.is_some_and(|known| now < known.at + LOOK_INTERVAL) {
            return;
        }
        let mut start = [0; START_MAX];
        let length = bytes.len().min(START_MAX);
        start[..length].copy_from_slice(&bytes[..length]);
        *slot = Some(LongPacket {
            at: now,
            ingress: packet.ingress,
            classified: packet.classified,
            size,
            start,
        });
    }

    /// Forgets the packets of the last time for which `refused` has an error, and returns both.
    pub(crate) fn take<E>(
        &mut self,
        now: Instant,
        refused: impl Fn(&LongPacket) -> Option<E>,
    ) -> Vec<(LongPacket, E)> {
        let take = |slot: &mut Option<LongPacket>| {
            let packet = slot.filter(|packet| now <= packet.at + MEMORY)?;
            let error = refused(&packet)?;
            *slot = None;
            Some((packet, error))
        };
        self.slots.iter_mut().filter_map(take).collect()
    }
}

impl Default for LongPackets {
    /// Knows of none.
    fn default() -> Self {
        Self {
            slots: vec![None; FLOWS].into(),
        }
    }
}

/// Flows remembered, by each worker.
const FLOWS: usize = 64;
/// Time between two looks at a flow: far less than TCP waits before it sends again (200 ms with Linux).
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How long a packet is remembered: more than it takes to find out that nothing long passes, on slow paths too.
const MEMORY: Duration = Duration::from_secs(5);
/// Bytes behind the IP header that every host expects in an error (RFC 792).
const QUOTED: usize = 8;
/// The longest IP header, and what is quoted behind it.
const START_MAX: usize = 60 + QUOTED;
/// Offset of the length in the UDP header.
const UDP_LENGTH: usize = 4;
