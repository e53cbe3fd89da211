//! OPEN (RFC 4271 section 4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use super::capability::Capability;

/// An OPEN message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// AS number of the two-octet field; AS_TRANS (23456) when the real one needs four octets.
    pub asn: u16,
    /// Proposed hold time in seconds.
    pub hold_time_s: u16,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// Capabilities, in the order received.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Returns the AS number: that of the four-octet capability if present, else the field.
    #[must_use]
    pub fn real_asn(&self) -> u32 {
        todo!()
    }
}
