//! ICMP numbers (RFC 792, RFC 1812, RFC 1191): the errors that a router sends, and which types are errors.

/// An error that this router reports to the sender of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// The TTL reached zero in transit.
    TimeExceeded,
    /// No route to the destination network.
    NetUnreachable,
    /// The destination's neighbor does not answer.
    HostUnreachable,
    /// The packet does not fit and may not be fragmented.
    FragmentationNeeded {
        /// Largest packet that would fit, in bytes (RFC 1191).
        mtu: u16,
    },
    /// Forwarding is administratively prohibited.
    AdminProhibited,
}

impl IcmpError {
    /// Returns type, code, and the four bytes behind the checksum.
    #[must_use]
    pub fn header(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::TimeExceeded => (TIME_EXCEEDED, 0, [0; 4]),
            Self::NetUnreachable => (DESTINATION_UNREACHABLE, 0, [0; 4]),
            Self::HostUnreachable => (DESTINATION_UNREACHABLE, 1, [0; 4]),
            Self::FragmentationNeeded { mtu } => {
                let [high, low] = mtu.to_be_bytes();
                (DESTINATION_UNREACHABLE, 4, [0, 0, high, low])
            }
            Self::AdminProhibited => (DESTINATION_UNREACHABLE, 13, [0; 4]),
        }
    }

    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeExceeded => "time exceeded",
            Self::NetUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::FragmentationNeeded { .. } => "fragmentation needed",
            Self::AdminProhibited => "administratively prohibited",
        }
    }
}

/// Tells whether `kind` is an ICMP error, which must never be answered by another one (RFC 1122 section 3.2.2).
#[must_use]
pub fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        DESTINATION_UNREACHABLE | SOURCE_QUENCH | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM
    )
}

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Length of an ICMP header in bytes.
pub const ICMP_HEADER: usize = 8;
/// Type of destination unreachable.
pub const DESTINATION_UNREACHABLE: u8 = 3;
/// Type of time exceeded.
pub const TIME_EXCEEDED: u8 = 11;
/// Type of parameter problem.
pub const PARAMETER_PROBLEM: u8 = 12;
/// Type of destination unreachable of IPv6 (RFC 4443).
pub const V6_DESTINATION_UNREACHABLE: u8 = 1;
/// Type of time exceeded of IPv6.
pub const V6_TIME_EXCEEDED: u8 = 3;
/// Type of parameter problem of IPv6.
pub const V6_PARAMETER_PROBLEM: u8 = 4;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_the_numbers_of_the_registry() {
        for (error, expected) in [
            (IcmpError::TimeExceeded, (11, 0, [0; 4])),
            (IcmpError::NetUnreachable, (3, 0, [0; 4])),
            (IcmpError::HostUnreachable, (3, 1, [0; 4])),
            (
                IcmpError::FragmentationNeeded { mtu: 1420 },
                (3, 4, [0, 0, 0x05, 0x8c]),
            ),
            (IcmpError::AdminProhibited, (3, 13, [0; 4])),
        ] {
            assert_eq!(error.header(), expected);
            assert!(is_error(expected.0));
        }
    }

    #[test]
    fn questions_and_answers_are_no_errors() {
        for kind in [0, 8, 9, 10, 13, 14] {
            assert!(!is_error(kind));
        }
    }
}
