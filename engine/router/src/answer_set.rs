//! For which addresses this router answers ARP while its gate is open.
//!
//! Numbered conditions; the packet path adds those that depend on the sender (`sam_dataplane::arp_responder`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::config::Config;
use crate::owner_table::OwnerTable;

/// Returns the addresses to answer for, sorted.
#[must_use]
pub(crate) fn answers(
    config: &Config,
    owners: &OwnerTable,
    owned: &BTreeSet<Ipv4Addr>,
    lan_address: Option<Ipv4Addr>,
) -> Vec<Ipv4Addr> {
    // 1. Another node serves it by best path.
    owners
        .remote_served()
        // 2. Not by a router of this LAN: there it answers for itself.
        .filter(|owner| !config.shares_lan_with(owner.node))
        .map(|owner| owner.address)
        // 3. It is mobile: inside a pool, not excluded.
        .filter(|address| config.pool_of(*address).is_some())
        // 4. It does not live here by configuration, order or what is heard, even where another node's claim won
        //    (mobility.md I3, I4).
        .filter(|address| !owned.contains(address))
        // 5. It is not the router's own address on the LAN.
        .filter(|address| lan_address != Some(*address))
        .collect()
}
