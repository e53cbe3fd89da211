//! One superpacket in the making, and the rules which packets it takes.
//!
//! The rules are those of the GRO selftest of Linux (tools/testing/selftests/net/gro.c). They make sure that the
//! superpacket, cut again, gives the packets that arrived; only constant IPv4 ids, which DF makes meaningless (RFC
//! 6864), count up then. Whoever cuts it computes new checksums, so the old ones are verified here: a corrupt packet
//! must not become a valid one.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::packet::checksum::{Sum, pseudo_header};
use crate::packet::classify::UDP_HEADER;
use crate::packet::ipv4::{
    FLAGS, IDENTIFICATION, IPV4_HEADER, TOTAL_LENGTH, long, low_word, put, word, write_checksum,
};
use crate::packet::{Classified, L4};
use crate::segment::SEGMENT_SIZE_MIN;
use crate::unit::{Checksum, Gso, Offload, Unit};

/// Most packets in one superpacket; kernels refuse more UDP datagrams (64 until Linux 6.10).
pub const MERGED_MAX: usize = 64;

/// UDP ports of tunnels (IPsec, VXLAN, FOU, GUE, Geneve, Linux VXLAN, WireGuard): receivers of these do not expect merged
/// datagrams (tailscale #11026).
pub const TUNNEL_PORTS: [u16; 7] = [4500, 4789, 5555, 6080, 6081, 8472, 51820];

/// A packet that may be merged with its neighbors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    packet: &'a [u8],
    classified: &'a Classified,
    transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp { flags: u8, sequence: u32 },
    Udp,
}

impl<'a> Candidate<'a> {
    /// Returns the packet as a candidate unless it must travel alone.
    pub(super) fn of(packet: &'a [u8], classified: &'a Classified) -> Option<Self> {
        let plain = classified.ip_header == IPV4_HEADER && !classified.fragment;
        if !plain || classified.payload >= packet.len() {
            return None;
        }
        let transport = match classified.l4 {
            L4::Tcp { flags } if flags & !(PSH | ECE) == ACK => Transport::Tcp {
                flags,
                sequence: long(packet, SEQUENCE),
            },
            L4::Udp if is_plain_datagram(packet) => Transport::Udp,
            L4::Tcp { .. } | L4::Udp | L4::Icmp { .. } | L4::Other => return None,
        };
        Some(Self {
            packet,
            classified,
            transport,
        })
    }

    /// Tells whether the packet is a datagram from or to one of these ports.
    pub(super) fn uses(&self, ports: &[u16]) -> bool {
        let port = |at| ports.contains(&word(self.packet, at));
        self.transport == Transport::Udp && (port(IPV4_HEADER) || port(IPV4_HEADER + 2))
    }

    /// Tells whether others may be appended to this packet.
    pub(super) fn may_open(&self) -> bool {
        !self.transport.is_pushed() && self.payload().len() >= SEGMENT_SIZE_MIN
    }

    fn payload(&self) -> &'a [u8] {
        &self.packet[self.classified.payload..]
    }
}

/// Tells whether a UDP packet holds exactly one datagram, has a checksum, and belongs to no tunnel.
fn is_plain_datagram(packet: &[u8]) -> bool {
    let port = |at| TUNNEL_PORTS.contains(&word(packet, at));
    usize::from(word(packet, UDP_LENGTH)) == packet.len() - IPV4_HEADER
        && word(packet, UDP_CHECKSUM) != 0
        && !port(IPV4_HEADER)
        && !port(IPV4_HEADER + 2)
}

/// Packets of one flow that follow each other.
#[derive(Debug)]
pub(super) struct Run {
    /// The first packet and the payload of the others.
    buffer: Buffer,
    /// Bytes of headers.
    headers: usize,
    /// Payload bytes of the first packet.
    size: usize,
    /// Number of packets.
    count: usize,
    /// Identification of the newest packet.
    id: u16,
    /// How identifications go on, once there are two packets.
    step: Option<u16>,
    /// What the next packet must continue.
    next: Next,
    /// Whether the checksum of the first packet was found right.
    verified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Sequence(u32),
    Datagram,
}

/// What became of a packet that was offered to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// It does not fit; nothing changed.
    Refused,
    /// It was appended.
    Merged,
    /// It was appended, and nothing may follow.
    MergedLast,
}

impl Run {
    /// Starts a run with `buffer`, which holds the candidate.
    pub(super) fn start(buffer: Buffer, first: &Candidate<'_>) -> Self {
        let size = first.payload().len();
        Self {
            buffer,
            headers: first.classified.payload,
            size,
            count: 1,
            id: word(first.packet, IDENTIFICATION),
            step: None,
            next: first.transport.next(size),
            verified: false,
        }
    }

    /// Appends a packet of the same flow if all rules allow it.
    pub(super) fn extend(&mut self, packet: &Candidate<'_>) -> Extension {
        let payload = packet.payload();
        let step = word(packet.packet, IDENTIFICATION).wrapping_sub(self.id);
        let fits = payload.len() <= self.size
            && self.count < MERGED_MAX
            && self.buffer.len() + payload.len() <= usize::from(u16::MAX);
        if !fits
            || !self.continues(packet)
            || !self.allows_step(step, packet)
            || !self.verify(packet)
        {
            return Extension::Refused;
        }
        if !self.buffer.append(payload) {
            return Extension::Refused;
        }
        self.count += 1;
        self.id = word(packet.packet, IDENTIFICATION);
        self.step = Some(step);
        self.next = packet.transport.next(payload.len());
        let pushed = packet.transport.is_pushed();
        if pushed {
            self.buffer.bytes_mut()[TCP_FLAGS] |= PSH;
        }
        if pushed || payload.len() < self.size {
            Extension::MergedLast
        } else {
            Extension::Merged
        }
    }

    /// Ends the run: one packet as it came, or a superpacket with its checksum pending.
    pub(super) fn finish(mut self) -> Unit {
        if self.count == 1 {
            return Unit::plain(self.buffer);
        }
        let size = low_word(self.size);
        let bytes = self.buffer.bytes_mut();
        let l4_length = low_word(bytes.len() - IPV4_HEADER);
        put(bytes, TOTAL_LENGTH, low_word(bytes.len()));
        write_checksum(&mut bytes[..IPV4_HEADER]);
        let (gso, field) = match self.next {
            Next::Sequence(_) => (Gso::Tcp { size }, TCP_CHECKSUM),
            Next::Datagram => {
                put(bytes, UDP_LENGTH, l4_length);
                (Gso::Udp { size }, UDP_CHECKSUM)
            }
        };
        let pseudo = pseudo_sum(bytes).fold();
        put(bytes, field, pseudo);
        let checksum = Checksum::Partial {
            start: low_word(IPV4_HEADER),
            offset: low_word(field - IPV4_HEADER),
        };
        Unit {
            buffer: self.buffer,
            offload: Offload { gso, checksum },
        }
    }

    /// Tells whether the packet's headers are those of the run, one packet further.
    fn continues(&self, packet: &Candidate<'_>) -> bool {
        let (ours, theirs) = (self.buffer.bytes(), packet.packet);
        let same = |range: Range<usize>| ours[range.clone()] == theirs[range];
        if !same(TOS) || !same(FLAGS..FLAGS + 2) || !same(TTL) {
            return false;
        }
        match (self.next, packet.transport) {
            (Next::Sequence(next), Transport::Tcp { flags, sequence }) => {
                next == sequence
                    && (flags ^ ours[TCP_FLAGS]) & !PSH == 0
                    && same(ACKNOWLEDGMENT_AND_OFFSET)
                    && same(WINDOW)
                    && same(URGENT_AND_OPTIONS..self.headers)
            }
            (Next::Datagram, Transport::Udp) => true,
            (Next::Sequence(_) | Next::Datagram, _) => false,
        }
    }

    /// Tells whether identifications count up, or stay the same where nobody looks at them.
    fn allows_step(&self, step: u16, packet: &Candidate<'_>) -> bool {
        let known = self.step.is_none_or(|known| known == step);
        known && (step == 1 || (step == 0 && packet.classified.dont_fragment))
    }

    /// Verifies the checksums of the packet, and of the first packet when it gets its first follower.
    fn verify(&mut self, packet: &Candidate<'_>) -> bool {
        self.verified = self.verified || is_intact(self.buffer.bytes());
        self.verified && is_intact(packet.packet)
    }
}

impl Transport {
    fn next(self, payload: usize) -> Next {
        match self {
            Self::Tcp { sequence, .. } => {
                Next::Sequence(sequence.wrapping_add(u32::from(low_word(payload))))
            }
            Self::Udp => Next::Datagram,
        }
    }

    fn is_pushed(self) -> bool {
        matches!(self, Self::Tcp { flags, .. } if flags & PSH != 0)
    }
}

fn is_intact(packet: &[u8]) -> bool {
    pseudo_sum(packet)
        .plus(Sum::of(&packet[IPV4_HEADER..]))
        .is_intact()
}

/// Sums the pseudo-header of a packet without IP options.
fn pseudo_sum(packet: &[u8]) -> Sum {
    let length = low_word(packet.len() - IPV4_HEADER);
    pseudo_header(
        long(packet, 12).into(),
        long(packet, 16).into(),
        packet[9],
        length,
    )
}

// Offsets in a packet without IP options.
const TOS: Range<usize> = 1..2;
const TTL: Range<usize> = 8..9;
const SEQUENCE: usize = IPV4_HEADER + 4;
const ACKNOWLEDGMENT_AND_OFFSET: Range<usize> = IPV4_HEADER + 8..IPV4_HEADER + 13;
const TCP_FLAGS: usize = IPV4_HEADER + 13;
const WINDOW: Range<usize> = IPV4_HEADER + 14..IPV4_HEADER + 16;
const TCP_CHECKSUM: usize = IPV4_HEADER + 16;
const URGENT_AND_OPTIONS: usize = IPV4_HEADER + 18;
const UDP_LENGTH: usize = IPV4_HEADER + 4;
const UDP_CHECKSUM: usize = IPV4_HEADER + UDP_HEADER - 2;

const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;
