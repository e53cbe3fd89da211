//! The DSCP of outer headers (RFC 2983, RFC 2474): one for all packets of a tunnel, or that of each inner packet.
//!
//! At the far end the outer DSCP is ignored: what the underlay remarks does not reach the inner packet (the pipe model
//! of RFC 2983 section 3).

use crate::handshakes::CONTROL_TOS;

/// Which DSCP the outer headers of a tunnel carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dscp {
    /// This one, below 64 and not [reserved](is_reserved). It tells an observer nothing about what is inside.
    Fixed(u8),
    /// That of the inner packet; instead of a [reserved](is_reserved) one that of best effort.
    Inherit,
}

impl Dscp {
    /// Returns the outer TOS byte of a packet with an inner one: the DSCP, and the ECN field as it is inside
    /// (RFC 6040 section 4.1, normal mode).
    #[must_use]
    pub const fn outer_tos(self, inner: u8) -> u8 {
        match self {
            Self::Fixed(dscp) => dscp << 2 | inner & ECN,
            Self::Inherit if is_reserved(inner >> 2) => inner & ECN,
            Self::Inherit => inner,
        }
    }
}

/// Tells whether a DSCP marks messages of routers to each other, which reach a socket of their own: nobody else may
/// crowd them there.
#[must_use]
pub const fn is_reserved(dscp: u8) -> bool {
    dscp == ROUTING >> 2 || dscp == CONTROL_TOS >> 2
}

impl Default for Dscp {
    /// Best effort.
    fn default() -> Self {
        Self::Fixed(0)
    }
}

/// DSCP CS6, as it stands in the TOS byte: routing protocols (RFC 4594 section 3.2).
pub(crate) const ROUTING: u8 = 0xc0;
/// Mask of the ECN field in the TOS byte (RFC 3168 section 5).
const ECN: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_header_has_the_dscp_of_the_tunnel_and_the_ecn_of_the_packet() {
        for (dscp, inner, outer) in [
            (Dscp::default(), 0xb9, 0x01),
            (Dscp::Fixed(46), 0x00, 0xb8),
            (Dscp::Fixed(46), 0x2a, 0xba),
            (Dscp::Fixed(63), 0x03, 0xff),
            (Dscp::Inherit, 0x2a, 0x2a),
            (Dscp::Inherit, 0xc2, 0x02),
            (Dscp::Inherit, 0x89, 0x01),
        ] {
            assert_eq!(dscp.outer_tos(inner), outer, "{dscp:?} {inner:#x}");
        }
    }
}
