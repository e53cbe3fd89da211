//! Finds offsets and flags of an IPv4 packet in one pass: the only parser on the hot path.

use std::net::Ipv4Addr;

use crate::drop_reason::DropReason;

/// Transport protocol, as far as the engine cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L4 {
    /// TCP; flags byte of its header.
    Tcp {
        /// FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20, ECE 0x40, CWR 0x80.
        flags: u8,
    },
    /// UDP.
    Udp,
    /// ICMP; its type.
    Icmp {
        /// ICMP type.
        kind: u8,
    },
    /// A fragment that does not start the packet, or another protocol.
    Other,
}

/// What one pass over an IPv4 packet tells. Offsets count from the first byte of the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Length of the IP header in bytes.
    pub ip_header: usize,
    /// Where the L4 payload starts (TCP, UDP); equals `ip_header` for others.
    pub payload: usize,
    /// Total length from the IP header; what lies behind it is padding.
    pub total: usize,
    /// Protocol number.
    pub protocol: u8,
    /// Transport details.
    pub l4: L4,
    /// Time to live.
    pub ttl: u8,
    /// TOS byte (DSCP and ECN).
    pub tos: u8,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// More Fragments set or fragment offset non-zero.
    pub fragment: bool,
    /// Fragment offset non-zero.
    pub later_fragment: bool,
}

/// Classifies an IPv4 packet. `packet` may be longer than the IP total length (Ethernet padding).
///
/// # Errors
/// `NotIpv4`, `IpMalformed`, `IpChecksum`, `L4Malformed`.
pub fn classify(_packet: &[u8]) -> Result<Classified, DropReason> {
    todo!()
}
