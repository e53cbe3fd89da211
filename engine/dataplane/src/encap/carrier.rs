//! In what an encapsulated packet travels: the protocol that the underlay sees, and by which it is received.

use crate::packet::ipv4::{GRE, IPIP};

/// The outer protocol of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// UDP; the destination port, at both ends.
    Udp {
        /// Port.
        port: u16,
    },
    /// IP without anything between; its protocol number.
    Ip {
        /// Protocol number.
        protocol: u8,
    },
}

impl Carrier {
    /// GRE over IP (RFC 2784).
    pub const GRE: Self = Self::Ip { protocol: GRE };
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: Self = Self::Ip { protocol: IPIP };

    /// Returns the bytes of its header, without the outer IP header.
    #[must_use]
    pub const fn header(self) -> u16 {
        match self {
            Self::Udp { .. } => 8,
            Self::Ip { .. } => 0,
        }
    }
}
