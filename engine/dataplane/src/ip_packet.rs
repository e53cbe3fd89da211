//! An IPv4 packet or superpacket on its way through the router, with what is known of it.

use crate::ingress::Ingress;
use crate::packet::Classified;
use crate::unit::{Gso, Unit};

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

impl IpPacket {
    /// Returns the length of the largest wire packet that this stands for, in bytes.
    #[must_use]
    pub fn segment_length(&self) -> usize {
        match self.unit.offload.gso {
            Gso::None => self.classified.total,
            Gso::Tcp { size } | Gso::Udp { size } => {
                self.classified.total.min(self.classified.payload + usize::from(size))
            }
        }
    }
}
