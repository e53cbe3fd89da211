//! Packets for tests: complete, valid TCP and UDP packets of which a test states only what it is about.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::packet::checksum::{self, Sum, pseudo_header};
use crate::packet::ipv4::{self, Ipv4Header, TCP, UDP, put};
use crate::segment::Segment;

/// Source of all sample packets.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// Destination of all sample packets.
pub(crate) const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 3);
/// Ports of all sample packets, source first.
pub(crate) const PORTS: (u16, u16) = (40_000, 5001);

/// A TCP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcp<'a> {
    /// Source and destination port.
    pub(crate) ports: (u16, u16),
    /// Sequence number.
    pub(crate) sequence: u32,
    /// Acknowledgment number.
    pub(crate) acknowledgment: u32,
    /// Flags byte.
    pub(crate) flags: u8,
    /// Window.
    pub(crate) window: u16,
    /// Options, a multiple of four bytes.
    pub(crate) options: &'a [u8],
    /// Payload.
    pub(crate) payload: &'a [u8],
    /// IPv4 header; length, protocol and addresses are filled in.
    pub(crate) ip: Ipv4Header,
}

impl Default for Tcp<'_> {
    fn default() -> Self {
        Self {
            ports: PORTS,
            sequence: 1000,
            acknowledgment: 2000,
            flags: 0x10,
            window: 512,
            options: &[],
            payload: &[],
            ip: IP,
        }
    }
}

impl Tcp<'_> {
    /// Returns the packet as bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut l4 = vec![0; 20];
        put(&mut l4, 0, self.ports.0);
        put(&mut l4, 2, self.ports.1);
        l4[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        l4[8..12].copy_from_slice(&self.acknowledgment.to_be_bytes());
        l4[12] = u8::try_from((20 + self.options.len()) / 4 * 16).unwrap();
        l4[13] = self.flags;
        put(&mut l4, 14, self.window);
        l4.extend_from_slice(self.options);
        l4.extend_from_slice(self.payload);
        let sum = l4_sum(TCP, &l4);
        put(&mut l4, 16, sum.checksum());
        with_ip(self.ip, TCP, &l4)
    }
}

/// A UDP packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Udp<'a> {
    /// Source and destination port.
    pub(crate) ports: (u16, u16),
    /// Payload.
    pub(crate) payload: &'a [u8],
    /// IPv4 header; length, protocol and addresses are filled in.
    pub(crate) ip: Ipv4Header,
}

impl Default for Udp<'_> {
    fn default() -> Self {
        Self {
            ports: PORTS,
            payload: &[],
            ip: IP,
        }
    }
}

impl Udp<'_> {
    /// Returns the packet as bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut l4 = vec![0; 8];
        put(&mut l4, 0, self.ports.0);
        put(&mut l4, 2, self.ports.1);
        put(&mut l4, 4, u16::try_from(8 + self.payload.len()).unwrap());
        l4.extend_from_slice(self.payload);
        let sum = l4_sum(UDP, &l4);
        put(&mut l4, 6, checksum::udp(sum.checksum()));
        with_ip(self.ip, UDP, &l4)
    }
}

/// Returns a moment to count from.
#[expect(
    clippy::disallowed_methods,
    reason = "an `Instant` has no other origin"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Returns the sample IP header with another identification.
pub(crate) fn with_id(id: u16) -> Ipv4Header {
    Ipv4Header { id, ..IP }
}

/// Makes the header checksum right again after a test changed the header.
pub(crate) fn fix_header(packet: &mut [u8]) {
    let length = packet
        .len()
        .min(usize::from(packet.first().copied().unwrap_or(0) & 0x0f) * 4);
    ipv4::write_checksum(&mut packet[..length]);
}

/// Replaces the L4 checksum by the folded pseudo-header sum, as kernels hand over packets with pending checksum.
pub(crate) fn make_partial(packet: &mut [u8]) {
    let sum = l4_sum(packet[9], &packet[20..]);
    let field = if packet[9] == TCP { 36 } else { 26 };
    let pseudo = pseudo_header(
        SOURCE,
        DESTINATION,
        packet[9],
        u16::try_from(packet.len() - 20).unwrap(),
    );
    assert!(sum.is_intact(), "a sample is intact");
    put(packet, field, pseudo.fold());
}

/// Returns a segment as it is written over what was there.
pub(crate) fn written(segment: Segment<'_>) -> Vec<u8> {
    let mut slot = vec![0xaa; segment.len()];
    segment.write(&mut slot);
    slot
}

/// Tells whether header and L4 checksum of a packet without IP options are right.
pub(crate) fn is_intact(packet: &[u8]) -> bool {
    Sum::of(&packet[..20]).is_intact() && l4_sum(packet[9], &packet[20..]).is_intact()
}

fn l4_sum(protocol: u8, l4: &[u8]) -> Sum {
    pseudo_header(
        SOURCE,
        DESTINATION,
        protocol,
        u16::try_from(l4.len()).unwrap(),
    )
    .plus(Sum::of(l4))
}

fn with_ip(ip: Ipv4Header, protocol: u8, l4: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + l4.len()).unwrap();
    let header = Ipv4Header {
        total,
        protocol,
        source: SOURCE,
        destination: DESTINATION,
        ..ip
    };
    [&header.emit()[..], l4].concat()
}

/// Header fields of all sample packets.
pub(crate) const IP: Ipv4Header = Ipv4Header {
    tos: 0,
    total: 0,
    id: 100,
    dont_fragment: true,
    ttl: 64,
    protocol: 0,
    source: SOURCE,
    destination: DESTINATION,
};
