//! Why this router's own claim on an address is not an active one: the first reason that holds, in the order of
//! `crate::origination`.

use std::net::Ipv4Addr;

use sam_capture::ClaimState;

use crate::Router;
use crate::claims::winner;
use crate::view::step_name;

impl Router {
    /// Says what keeps our claim back, or that this router claims only what another one does; `None` where nothing is to be said.
    pub(super) fn claim_remark(&self, address: Ipv4Addr) -> Option<String> {
        if self.is_given_away(address) {
            return Some(
                "this LAN gave it away, as this router found out: it is claimed here only if nobody else does; `samctl announce` \
                 takes it back"
                    .to_owned(),
            );
        }
        let claim = self.origination.claim_on(address);
        let Some(claim) = claim.filter(|claim| claim.state == ClaimState::Standby) else {
            return self.order_remark(address).map(str::to_owned);
        };
        let winner = winner(&self.speaker, &self.config, address, claim.source);
        let why = if let Some(winner) = winner {
            let name = self.config.fabric.nodes.get(&winner.node);
            let name = name.map_or_else(|| winner.node.to_string(), |node| node.name.clone());
            let told = if winner.stale {
                "is only remembered and would win"
            } else {
                "wins"
            };
            format!(
                "the claim of {name} {told} (step {})",
                step_name(winner.step)
            )
        } else if self.contests.is_absent(address) {
            "its host does not answer on this side of the LAN, and another router of it claims it too"
                .to_owned()
        } else if self.fence.is_uninformed() && self.has_sibling() {
            "not all nodes have told their routes yet, and this LAN may have given it away"
                .to_owned()
        } else if self.is_unready_for(address) {
            "this router cannot carry its packets yet, or another one of the site can already"
                .to_owned()
        } else {
            return None;
        };
        Some(format!("claimed here as standby: {why}"))
    }

    /// Says of which order only one of the routers of this LAN knows, as far as this one can tell.
    fn order_remark(&self, address: Ipv4Addr) -> Option<&'static str> {
        if self.is_inherited(address) {
            return Some(
                "the router that acts on this LAN has it by order: this one claims it when it acts",
            );
        }
        let is_owned = self.owner_of(address).is_some();
        let is_lost = !is_owned && self.told_to_own().contains(&address);
        (is_lost && self.lan_role.follows_master()).then_some(
            "this router is told to own it, but stands by, and the one that acts on this LAN does not own it: `samctl announce` \
             there, if it was not there when the address came",
        )
    }
}
