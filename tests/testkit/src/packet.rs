//! Bytes of the packets that hosts and routers exchange in a simulation: Ethernet, ARP (RFC 826), IPv4, probes.

use std::net::Ipv4Addr;

/// A MAC address.
pub type Mac = [u8; 6];
/// IP protocol number of probe packets (RFC 3692 experimental).
pub const PROBE_PROTOCOL: u8 = 254;
/// IP protocol number of the packets of byte streams (RFC 3692 experimental).
pub const STREAM_PROTOCOL: u8 = 253;
/// IP protocol number of ICMP.
const ICMP: u8 = 1;
/// ICMP type of an echo request.
const ECHO_REQUEST: u8 = 8;
/// TTL with which hosts send.
pub const HOST_TTL: u8 = 64;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// The broadcast address of Ethernet.
pub const BROADCAST: Mac = [0xFF; 6];

/// What a probe wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// To arrive.
    OneWay,
    /// To be answered.
    Request,
    /// The answer.
    Reply,
}

/// What a probe packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its number; a reply has that of its request.
    pub id: u32,
    /// What it wants.
    pub kind: ProbeKind,
}

impl Probe {
    /// Builds the packet.
    #[must_use]
    pub fn packet(self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        self.packet_of(0, source, destination)
    }

    /// Builds the packet, filled up to `length` bytes.
    #[must_use]
    pub fn packet_of(self, length: usize, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let mut body = self.id.to_be_bytes().to_vec();
        body.push(match self.kind {
            ProbeKind::OneWay => 0,
            ProbeKind::Request => 1,
            ProbeKind::Reply => 2,
        });
        body.resize(body.len().max(length.saturating_sub(20)), 0);
        ipv4_packet(source, destination, PROBE_PROTOCOL, &body)
    }

    /// Reads an IPv4 packet; `None` when it is no probe.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let body = packet.get(20..25).filter(|_| packet[9] == PROBE_PROTOCOL)?;
        let kind = match body[4] {
            0 => ProbeKind::OneWay,
            1 => ProbeKind::Request,
            _ => ProbeKind::Reply,
        };
        let id = u32::from_be_bytes(body[..4].try_into().expect("4 bytes"));
        Some(Self { id, kind })
    }
}

/// An ARP packet in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Destination of the frame.
    pub to: Mac,
    /// 1 request, 2 reply.
    pub operation: u8,
    /// Who speaks.
    pub sender: (Mac, Ipv4Addr),
    /// Who is meant.
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// A question to everybody: who has `address`?
    #[must_use]
    pub fn request(sender: (Mac, Ipv4Addr), address: Ipv4Addr) -> Self {
        Self {
            to: BROADCAST,
            operation: 1,
            sender,
            target: ([0; 6], address),
        }
    }

    /// Reads a frame; `None` when it is no ARP.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let arp = bytes.get(14..42).filter(|_| ether_type(bytes) == ARP)?;
        let mac = |at: usize| arp[at..at + 6].try_into().expect("6 bytes");
        let address = |at| address_at(arp, at);
        Some(Self {
            to: bytes[..6].try_into().expect("6 bytes"),
            operation: arp[7],
            sender: (mac(8), address(14)),
            target: (mac(18), address(24)),
        })
    }

    /// Builds the frame.
    #[must_use]
    pub fn frame(self) -> Vec<u8> {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, self.operation];
        for (mac, address) in [self.sender, self.target] {
            body.extend(mac);
            body.extend(address.octets());
        }
        frame(self.to, self.sender.0, ARP, &body)
    }
}

/// Builds an Ethernet frame.
#[must_use]
pub fn frame(to: Mac, from: Mac, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    out.extend(to);
    out.extend(from);
    out.extend(ether_type.to_be_bytes());
    out.extend(payload);
    out
}

/// Returns the EtherType of a frame; 0 when it is too short to have one.
#[must_use]
pub fn ether_type(frame: &[u8]) -> u16 {
    frame
        .get(12..14)
        .map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]))
}

/// Returns the IPv4 packet in a frame, without padding.
#[must_use]
pub fn ipv4_of(frame: &[u8]) -> Option<&[u8]> {
    let packet = frame
        .get(14..)
        .filter(|packet| packet.len() >= 20 && ether_type(frame) == IPV4)?;
    packet.get(..usize::from(u16::from_be_bytes([packet[2], packet[3]])))
}

/// Returns source and destination of an IPv4 packet.
#[must_use]
pub fn addresses(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    (address_at(packet, 12), address_at(packet, 16))
}

/// Builds an IPv4 packet without options, DF set.
///
/// # Panics
/// When the packet is longer than 65,535 bytes.
#[must_use]
pub fn ipv4_packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let fields = Ipv4 {
        protocol,
        ..Ipv4::default()
    };
    fields.packet(source, destination, body)
}

/// Fields of an IPv4 header that a test chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags (reserved 0x8000, DF 0x4000, MF 0x2000) and fragment offset in units of eight bytes.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Options, padded to a multiple of four bytes.
    pub options: &'a [u8],
}

impl Default for Ipv4<'_> {
    fn default() -> Self {
        Self {
            tos: 0,
            id: 0,
            fragment: 0x4000,
            ttl: HOST_TTL,
            protocol: PROBE_PROTOCOL,
            options: &[],
        }
    }
}

impl Ipv4<'_> {
    /// Builds the packet.
    ///
    /// # Panics
    /// When it is longer than 65,535 bytes or the options are no multiple of four bytes up to forty.
    #[must_use]
    pub fn packet(&self, source: Ipv4Addr, destination: Ipv4Addr, body: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        assert!(header <= 60 && header.is_multiple_of(4), "{self:?}");
        let words = u8::try_from(header / 4).expect("at most 15");
        let total = u16::try_from(header + body.len()).expect("test packets are small");
        let mut packet = vec![0x40 | words, self.tos];
        packet.extend(total.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(self.options);
        let checksum = header_checksum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(body);
        packet
    }
}

/// Returns what a host answers to an ICMP echo request (RFC 792); `None` when the packet is none.
#[must_use]
pub fn echo_reply(packet: &[u8]) -> Option<Vec<u8>> {
    let is_request = packet.len() >= 28 && packet[9] == ICMP && packet[20] == ECHO_REQUEST;
    if !is_request {
        return None;
    }
    let (source, destination) = addresses(packet);
    let mut message = packet[20..].to_vec();
    message[..4].fill(0);
    let checksum = header_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    // Linux lets answers be fragmented.
    let fields = Ipv4 {
        protocol: ICMP,
        fragment: 0,
        ..Ipv4::default()
    };
    Some(fields.packet(destination, source, &message))
}

/// Returns the packet as it must look after `hops` routers: TTL and header checksum changed, nothing else.
///
/// # Panics
/// When the TTL does not suffice.
#[must_use]
pub fn aged(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut aged = packet.to_vec();
    aged[8] = aged[8].checked_sub(hops).expect("test packets live long");
    aged[10..12].fill(0);
    let header = usize::from(aged[0] & 0x0f) * 4;
    let checksum = header_checksum(&aged[..header]);
    aged[10..12].copy_from_slice(&checksum.to_be_bytes());
    aged
}

/// Returns the checksum of a whole TCP segment or UDP datagram with its pseudo header: zero when its own checksum is
/// right, and what that should be when it was zero (RFC 9293 section 3.1).
#[must_use]
pub fn transport_checksum(packet: &[u8]) -> u16 {
    let segment = &packet[usize::from(packet[0] & 0x0f) * 4..];
    let length = u16::try_from(segment.len()).expect("no longer than a packet");
    let mut bytes = packet[12..20].to_vec();
    bytes.extend([0, packet[9]]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(segment);
    header_checksum(&bytes)
}

fn header_checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

fn address_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}
