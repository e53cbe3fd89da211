//! What the underlay says about a tunnel packet that it did not carry: an ICMP error that quotes it (RFC 792, RFC 4443).
//!
//! Nothing of this is authenticated: whoever can write a source address on the way can say it. So it may lower a size,
//! which probes check, and be told to people and senders for a short time; it never takes a tunnel down.

use std::net::{IpAddr, SocketAddr};

use crate::packet::icmp;

/// An error about a packet that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathError {
    /// Where it was sent to; port 0 when the error does not tell.
    pub to: SocketAddr,
    /// Who says so, as far as known; the kernel itself says it in nobody's name.
    pub by: Option<IpAddr>,
    /// What became of it.
    pub kind: PathErrorKind,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathErrorKind {
    /// It was too long (RFC 1191, RFC 8201).
    TooLong {
        /// Longest packet that fits, outer IP header included; 0 from routers that do not tell (before RFC 1191).
        mtu: u16,
    },
    /// It could not be delivered, whatever its size.
    Undelivered(Undelivered),
}

/// Why a packet could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// No route to the network.
    NetUnreachable,
    /// The host does not answer, or is not known.
    HostUnreachable,
    /// The host does not know the protocol.
    ProtocolUnreachable,
    /// Nobody at the host has the port.
    PortUnreachable,
    /// A source route leads nowhere.
    SourceRouteFailed,
    /// Somebody does not let it pass.
    Prohibited,
    /// It met more routers than it may.
    TimeExceeded,
    /// Something in its header was not understood.
    ParameterProblem,
}

impl Undelivered {
    /// Reads an ICMP error of IPv4 (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1); `None` for what says
    /// nothing about delivery.
    #[must_use]
    pub fn from_icmp(kind: u8, code: u8) -> Option<Self> {
        Some(match (kind, code) {
            (icmp::DESTINATION_UNREACHABLE, 0 | 6 | 11) => Self::NetUnreachable,
            (icmp::DESTINATION_UNREACHABLE, 1 | 7 | 8 | 12) => Self::HostUnreachable,
            (icmp::DESTINATION_UNREACHABLE, 2) => Self::ProtocolUnreachable,
            (icmp::DESTINATION_UNREACHABLE, 3) => Self::PortUnreachable,
            (icmp::DESTINATION_UNREACHABLE, 5) => Self::SourceRouteFailed,
            (icmp::DESTINATION_UNREACHABLE, 9 | 10 | 13..=15) => Self::Prohibited,
            (icmp::TIME_EXCEEDED, 0) => Self::TimeExceeded,
            (icmp::PARAMETER_PROBLEM, _) => Self::ParameterProblem,
            _ => return None,
        })
    }

    /// Reads an ICMP error of IPv6 (RFC 4443 section 3).
    #[must_use]
    pub fn from_icmpv6(kind: u8, code: u8) -> Option<Self> {
        Some(match (kind, code) {
            (icmp::V6_DESTINATION_UNREACHABLE, 0) => Self::NetUnreachable,
            (icmp::V6_DESTINATION_UNREACHABLE, 1 | 5 | 6) => Self::Prohibited,
            (icmp::V6_DESTINATION_UNREACHABLE, 2 | 3) => Self::HostUnreachable,
            (icmp::V6_DESTINATION_UNREACHABLE, 4) => Self::PortUnreachable,
            (icmp::V6_DESTINATION_UNREACHABLE, 7) => Self::SourceRouteFailed,
            (icmp::V6_TIME_EXCEEDED, 0) => Self::TimeExceeded,
            // A host that does not know the protocol has no other word for it (section 3.4).
            (icmp::V6_PARAMETER_PROBLEM, 1) => Self::ProtocolUnreachable,
            (icmp::V6_PARAMETER_PROBLEM, _) => Self::ParameterProblem,
            _ => return None,
        })
    }

    /// Tells whether senders of inner packets are concerned (RFC 2003 section 4): nothing arrives at the far end. What was wrong
    /// with the outer header is between the routers (sections 4.1 and 4.4).
    #[must_use]
    pub fn concerns_senders(self) -> bool {
        match self {
            Self::NetUnreachable
            | Self::HostUnreachable
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::Prohibited
            | Self::TimeExceeded => true,
            Self::SourceRouteFailed | Self::ParameterProblem => false,
        }
    }

    /// Returns the name, as in views and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NetUnreachable => "net-unreachable",
            Self::HostUnreachable => "host-unreachable",
            Self::ProtocolUnreachable => "protocol-unreachable",
            Self::PortUnreachable => "port-unreachable",
            Self::SourceRouteFailed => "source-route-failed",
            Self::Prohibited => "prohibited",
            Self::TimeExceeded => "time-exceeded",
            Self::ParameterProblem => "parameter-problem",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_ipv4_is_read_as_its_rfc_means_it() {
        use Undelivered as U;
        for (kind, codes, expected) in [
            (3, &[0, 6, 11][..], Some(U::NetUnreachable)),
            (3, &[1, 7, 8, 12], Some(U::HostUnreachable)),
            (3, &[2], Some(U::ProtocolUnreachable)),
            (3, &[3], Some(U::PortUnreachable)),
            (3, &[5], Some(U::SourceRouteFailed)),
            (3, &[9, 10, 13, 14, 15], Some(U::Prohibited)),
            (11, &[0], Some(U::TimeExceeded)),
            (12, &[0, 1, 2], Some(U::ParameterProblem)),
            // Too long, in time put together, quench, redirect, and what nobody knows.
            (3, &[4, 16, 255], None),
            (11, &[1], None),
            (4, &[0], None),
            (5, &[1], None),
            (0, &[0], None),
        ] {
            for &code in codes {
                assert_eq!(U::from_icmp(kind, code), expected, "{kind} {code}");
            }
        }
    }

    #[test]
    fn each_error_of_ipv6_is_read_as_its_rfc_means_it() {
        use Undelivered as U;
        for (kind, codes, expected) in [
            (1, &[0][..], Some(U::NetUnreachable)),
            (1, &[1, 5, 6], Some(U::Prohibited)),
            (1, &[2, 3], Some(U::HostUnreachable)),
            (1, &[4], Some(U::PortUnreachable)),
            (1, &[7], Some(U::SourceRouteFailed)),
            (3, &[0], Some(U::TimeExceeded)),
            (4, &[1], Some(U::ProtocolUnreachable)),
            (4, &[0, 2, 3], Some(U::ParameterProblem)),
            (1, &[8], None),
            (2, &[0], None),
            (3, &[1], None),
            (11, &[0], None),
        ] {
            for &code in codes {
                assert_eq!(U::from_icmpv6(kind, code), expected, "{kind} {code}");
            }
        }
    }

    #[test]
    fn only_what_says_that_nothing_arrives_concerns_senders() {
        use Undelivered as U;
        let (told, kept): (Vec<_>, Vec<_>) = [
            U::NetUnreachable,
            U::HostUnreachable,
            U::ProtocolUnreachable,
            U::PortUnreachable,
            U::SourceRouteFailed,
            U::Prohibited,
            U::TimeExceeded,
            U::ParameterProblem,
        ]
        .into_iter()
        .partition(|why| why.concerns_senders());
        assert_eq!(
            (told.len(), kept),
            (6, vec![U::SourceRouteFailed, U::ParameterProblem])
        );
    }
}
