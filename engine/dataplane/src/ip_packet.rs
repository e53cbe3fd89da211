//! An IPv4 packet or superpacket on its way through the router, with what is known of it.

use crate::ingress::Ingress;
use crate::packet::Classified;
use crate::unit::Unit;

/// An IPv4 packet between parsing and sending.
#[derive(Debug)]
pub struct IpPacket {
    /// The bytes from the IP header on, without padding behind the total length.
    pub unit: Unit,
    /// Result of the one parsing pass; TTL and TOS as they were received.
    pub classified: Classified,
    /// Where it came from.
    pub ingress: Ingress,
}
