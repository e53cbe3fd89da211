//! The DSCP of outer headers (RFC 2983, RFC 2474): one for all packets of a tunnel, or that of each inner packet.
//!
//! At the far end the outer DSCP is ignored: what the underlay remarks does not reach the inner packet (the pipe model
//! of RFC 2983 section 3). One DSCP is the router's: [`CONTROL_TOS`] marks what keeps it alive, so that the far router
//! hears that however busy it is; what hosts on the LANs send never carries it outside.

/// TOS byte of control messages, BGP, BFD and WireGuard handshakes: DSCP CS6, routing protocols (RFC 4594 section 3.2).
pub const CONTROL_TOS: u8 = 0xc0;

/// Tells whether an outer TOS byte is that of control messages, which overtake others on their way.
#[must_use]
pub const fn is_control(tos: u8) -> bool {
    tos & !ECN == CONTROL_TOS
}

/// Which DSCP the outer headers of a tunnel carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dscp {
    /// This one, below 64. It tells an observer nothing about what is inside.
    Fixed(u8),
    /// That of the inner packet.
    Inherit,
}

impl Dscp {
    /// Returns the outer TOS byte of a packet with an inner one: the DSCP, and the ECN field as it is inside
    /// (RFC 6040 section 4.1, normal mode). `own` tells whether it is a packet of the router itself.
    #[must_use]
    pub const fn outer_tos(self, inner: u8, own: bool) -> u8 {
        let (dscp, ecn) = (inner & !ECN, inner & ECN);
        match self {
            _ if own && dscp == CONTROL_TOS => inner,
            Self::Fixed(dscp) => dscp << 2 | ecn,
            Self::Inherit if dscp == CONTROL_TOS => ecn,
            Self::Inherit => inner,
        }
    }
}

impl Default for Dscp {
    /// Best effort.
    fn default() -> Self {
        Self::Fixed(0)
    }
}

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
        ] {
            for own in [false, true] {
                assert_eq!(dscp.outer_tos(inner, own), outer, "{dscp:?} {inner:#x}");
            }
        }
    }

    #[test]
    fn only_the_routers_own_control_messages_are_marked_as_such() {
        for dscp in [Dscp::Fixed(0), Dscp::Fixed(46), Dscp::Inherit] {
            assert_eq!(dscp.outer_tos(CONTROL_TOS | 2, true), CONTROL_TOS | 2);
            let foreign = dscp.outer_tos(CONTROL_TOS | 2, false);
            assert_ne!(foreign & !ECN, CONTROL_TOS, "{dscp:?}");
            assert_eq!(foreign & ECN, 2, "{dscp:?}");
        }
    }
}
