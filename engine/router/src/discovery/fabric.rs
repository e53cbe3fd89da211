//! Questions between sites: who wants an address that nobody owns asks the others, and they ask their LANs, or the
//! provider of their cloud (engine/decisions/0022-hosts-are-heard-and-asked.md). The answer is a route.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::NodeId;
use sam_dataplane::{FabricQuestion, TunnelId};

use super::pace::Pace;
use crate::Router;
use crate::output::Output;
use crate::peers::other_nodes;

/// Addresses per second that we ask others for, and that one node may ask us for.
const PER_SECOND: u32 = 20;

/// How much is asked.
#[derive(Debug)]
pub(crate) struct Asking {
    ours: Pace,
    theirs: BTreeMap<NodeId, Pace>,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            ours: Pace::new(PER_SECOND),
            theirs: BTreeMap::new(),
        }
    }
}

impl Router {
    /// Asks our LAN and all other sites for an address that somebody here wants.
    pub(crate) fn on_address_wanted(&mut self, address: Ipv4Addr, now: Instant) {
        if !self.is_open_question(address) {
            return;
        }
        self.ask_here(address, now);
        if !self.discovery.asking.ours.spend(now) {
            return self.discovery.count("asked-too-often");
        }
        self.discovery.count("asked-nodes");
        let others = other_nodes(&self.config)
            .filter(|node| !self.config.shares_lan_with(node.id))
            // A tunnel of which nothing is known may carry packets too; the packet path counts those that it does not.
            .filter(|node| !self.host.tunnel_failed(node.id));
        let questions: Vec<FabricQuestion> = others
            .filter_map(|node| {
                Some(FabricQuestion {
                    tunnel: self.numbering.tunnel(node.id)?,
                    to: node.overlay,
                    address,
                })
            })
            .collect();
        let questions = questions.into_iter().map(Output::AskFabric);
        self.outputs.extend(questions);
    }

    /// Asks our LAN for an address that another node wants.
    pub(crate) fn on_address_asked(&mut self, tunnel: TunnelId, address: Ipv4Addr, now: Instant) {
        let Some(node) = self.numbering.node(tunnel) else {
            return;
        };
        let pace = self.discovery.asking.theirs.entry(node);
        let granted = pace.or_insert_with(|| Pace::new(PER_SECOND)).spend(now);
        if !granted {
            return self.discovery.count("asked-too-often");
        }
        self.discovery.count("asked-by-nodes");
        if self.is_open_question(address) {
            self.ask_here(address, now);
        }
    }

    /// Asks whether an address lives here: the LAN, or the provider of our cloud.
    fn ask_here(&mut self, address: Ipv4Addr, now: Instant) {
        if self.config.cloud().is_some() {
            self.hurry_list(now);
        } else {
            self.discovery.want(address, now);
        }
    }

    /// Tells whether an address may live here, and nobody owns it.
    fn is_open_question(&self, address: Ipv4Addr) -> bool {
        let enrollment = self.speaker.policy().enrollment();
        self.owners.holding(address).is_none()
            && enrollment.admit(self.config.local.node, address).is_ok()
    }
}
