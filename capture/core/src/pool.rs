//! A pool: the shared subnet whose addresses may live at any site.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A shared subnet with mobile addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Number of the pool, from 1 in configuration order; travels as large community `asn:5:value`.
    pub id: u32,
    /// Name.
    pub name: String,
    /// The subnet. Never advertised itself.
    pub prefix: Ipv4Net,
    /// Addresses that are never mobile: routers, VIPs.
    pub exclude: BTreeSet<Ipv4Addr>,
}

impl Pool {
    /// Tells whether `address` may be mobile: inside the pool, not excluded, neither network nor broadcast address.
    #[must_use]
    pub fn admits(&self, address: Ipv4Addr) -> bool {
        self.prefix.contains(&address)
            && !self.exclude.contains(&address)
            && address != self.prefix.network()
            && address != self.prefix.broadcast()
    }
}
