//! What ownership discovery is told.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_dataplane::notice::Mac;

/// Learning by ARP which addresses live on the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpDiscovery {
    /// How long a host counts as there after its last frame.
    pub expiry: Duration,
    /// Addresses asked for per second, one after the other; 0 asks only when there is reason to.
    pub sweep: u16,
    /// Addresses that one MAC may have.
    pub per_mac: usize,
    /// Addresses that only this MAC may have.
    pub bindings: BTreeMap<Ipv4Addr, Mac>,
}

impl Default for ArpDiscovery {
    fn default() -> Self {
        Self {
            expiry: Duration::from_secs(300),
            sweep: 10,
            per_mac: 16,
            bindings: BTreeMap::new(),
        }
    }
}
