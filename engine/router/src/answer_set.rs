//! For which addresses this router answers ARP while its gate is open.
//!
//! Numbered conditions; the packet path adds those that depend on the sender (`sam_dataplane::arp_responder`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sam_capture::{ClaimState, NodeId, Owner, Pool};

use crate::config::Config;

/// What decides about an address, besides its owner and who lives here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerRules {
    /// The other routers of this LAN.
    siblings: BTreeSet<NodeId>,
    pools: Vec<Pool>,
    lan_address: Option<Ipv4Addr>,
}

impl AnswerRules {
    /// Works out the rules.
    pub(crate) fn new(config: &Config, lan_address: Option<Ipv4Addr>) -> Self {
        let nodes = config.fabric.nodes.keys();
        Self {
            siblings: nodes
                .copied()
                .filter(|node| config.shares_lan_with(*node))
                .collect(),
            pools: config.fabric.pools.clone(),
            lan_address,
        }
    }

    /// Tells whether to answer for the address of `owner`, which has the best claim on it.
    pub(crate) fn admit(&self, owner: &Owner, lives_here: &BTreeSet<Ipv4Addr>) -> bool {
        let address = owner.address;
        // 1. Another node serves it by best path. Who only asks whether an address is its own does not; an owner that is
        //    drained, or just got the address, serves like any other.
        let is_served = !owner.local && owner.state != ClaimState::Seizing;
        is_served
            // 2. Not by a router of this LAN: there it answers for itself.
            && !self.siblings.contains(&owner.node)
            // 3. It is mobile: inside a pool, not excluded.
            && self.pools.iter().any(|pool| pool.admits(address))
            // 4. It does not live here by configuration, order or what is heard, even where another node's claim won
            //    (mobility.md I3, I4).
            && !lives_here.contains(&address)
            // 5. It is not the router's own address on the LAN.
            && self.lan_address != Some(address)
    }
}
