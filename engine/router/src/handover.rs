//! Moving an address to another node by order, without a moment in which nobody has it.
//!
//! 1. The owner asks: its claim names the successor. It is saved first, so that a restart asks again.
//! 2. The successor, which hears that by BGP, owns the address from now on, and claims it above all others
//!    (`handover`, LOCAL_PREF 500) with a higher sequence: everybody turns to it.
//! 3. The owner hears that claim, which is the barrier, and only then gives its own up, for good.
//! 4. The successor hears no other claim any more, and goes on as any owner (`active`).
//!
//! A successor that may not own the address, or is not there, changes nothing: the owner stays what it is. An offer may
//! be taken back while the successor's claim is under way: it remembers from whom it accepted, and gives the address up
//! when that node claims it without asking.
//!
//! Two routers of one LAN are one in this: both accept what either is asked to take over, so that whichever acts claims it;
//! and the one that stands by asks what the other one asks, so that it goes on in its place and gives the address up like it.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::session::SessionState;
use sam_capture::{ClaimState, NodeId, Owner, RouteTags};

use crate::Router;
use crate::drain::Presence;
use crate::events::Event;
use crate::peers::is_node;

impl Router {
    /// Tells whether an address is ours to be offered: by order, or because its host is heard on our LAN.
    pub(crate) fn may_offer(&self, address: Ipv4Addr) -> bool {
        self.told_to_own().contains(&address) || self.discovery.homes().contains_key(&address)
    }

    /// Offers an address to another node.
    pub(crate) fn offer(&mut self, address: Ipv4Addr, to: NodeId, now: Instant) {
        self.state.handovers.insert(address, to);
        self.tell_handover(address, to, "offered", now);
    }

    /// Takes an offer back.
    pub(crate) fn take_back(&mut self, address: Ipv4Addr, now: Instant) {
        if let Some(to) = self.state.handovers.remove(&address) {
            self.tell_handover(address, to, "canceled", now);
        }
    }

    /// Takes in the best claim on an address that another node makes.
    pub(crate) fn on_claim(&mut self, address: Ipv4Addr, tags: &RouteTags, now: Instant) {
        if tags.successor.is_some_and(|to| self.is_ours(to)) {
            self.on_offer(address, tags.node, now);
        } else if self.config.shares_lan_with(tags.node)
            && !self.gate().open
            && self.may_offer(address)
        {
            match tags.successor {
                Some(to) if self.state.handovers.get(&address) == Some(&to) => {}
                Some(to) => self.offer(address, to, now),
                None => self.take_back(address, now),
            }
        }
    }

    /// Step 2: another node's best path to an address may ask this node, or its LAN, to take it over.
    fn on_offer(&mut self, address: Ipv4Addr, from: NodeId, now: Instant) {
        let own = self.config.local.node;
        let has_it = self.told_to_own().contains(&address) && !self.is_given_away(address);
        if self.is_ours(from) || has_it {
            return;
        }
        let admitted = self.speaker.policy().enrollment().admit(own, address);
        let refusal = match admitted {
            _ if self.state.drained => Some("drained"),
            Err(rejection) => Some(rejection.name()),
            Ok(_) => None,
        };
        match refusal {
            Some(reason) => self.tell_handover(address, from, &format!("refused: {reason}"), now),
            None => {
                self.state.announce(&self.config, address);
                self.lan_orders.on_order(address);
                self.state.accepted.insert(address, from);
                self.tell_handover(address, from, "accepted", now);
            }
        }
    }

    /// Looks again at all offers to this node: what stood against them may be gone.
    pub(crate) fn review_offers(&mut self, now: Instant) {
        let is_offer = |owner: &&Owner| owner.successor.is_some_and(|to| self.is_ours(to));
        let offers = self.owners.owners().filter(is_offer);
        let offers: Vec<Owner> = offers.copied().collect();
        for owner in offers {
            self.on_offer(owner.address, owner.node, now);
        }
    }

    /// Step 3: gives up what its successor has.
    pub(crate) fn finish_handovers(&mut self, now: Instant) {
        let offers = self.state.handovers.clone();
        for (address, to) in offers {
            if self.has_taken_over(address, to) {
                self.state.withdraw(&self.config, address);
                self.discovery.hand_over(address, now);
                self.tell_handover(address, to, "done", now);
            }
        }
    }

    /// Step 4: what was accepted is ours when its former owner is there and claims it no more; what that one claims and
    /// does not offer any more was taken back. A claim that cannot be relied on, or may not have been told yet, says neither.
    pub(crate) fn review_acceptances(&mut self, now: Instant) {
        let accepted = self.state.accepted.clone();
        for (address, from) in accepted {
            let claims = self.living_claims(address);
            let offers = |owner: &Owner| owner.successor.is_some_and(|to| self.is_ours(to));
            match claims.iter().find(|owner| owner.node == from) {
                Some(claim) if offers(claim) => {}
                Some(_) => {
                    self.state.withdraw(&self.config, address);
                    self.tell_handover(address, from, "taken-back", now);
                }
                None => match claims.iter().find(|owner| offers(owner)) {
                    // The other router of its LAN goes on.
                    Some(heir) => drop(self.state.accepted.insert(address, heir.node)),
                    None if self.is_ended(address, from) => {
                        self.state.accepted.remove(&address);
                    }
                    None => {}
                },
            }
        }
    }

    /// Tells whether a node is there and claims an address no more.
    fn is_ended(&self, address: Ipv4Addr, node: NodeId) -> bool {
        let prefix = Ipv4Net::from(address);
        let asn = self.config.fabric.asn;
        let mut paths = self.speaker.paths(prefix).into_iter();
        let is_known = paths.any(|view| {
            Owner::from_path(asn, prefix, &view.path).is_some_and(|owner| owner.node == node)
        });
        let peers = self.speaker.peers();
        let mut established = peers
            .iter()
            .filter(|peer| is_node(&self.config, peer.id))
            .filter(|peer| peer.state == SessionState::Established);
        let all_told = established.all(|peer| peer.ipv4.end_of_rib);
        !is_known && all_told && self.presence(node) != Presence::Absent
    }

    /// Tells whether a node, or another one of its site, holds an address by a claim that can be relied on.
    pub(crate) fn has_taken_over(&self, address: Ipv4Addr, node: NodeId) -> bool {
        let nodes = &self.config.fabric.nodes;
        let site = |node: NodeId| nodes.get(&node).map(|node| node.site.as_str());
        // Where both are of our own site it is the node itself that has to follow.
        let is_elsewhere = site(node) != site(self.config.local.node);
        let follows = |other| other == node || (is_elsewhere && site(other) == site(node));
        let holds = |state| matches!(state, ClaimState::Active | ClaimState::Handover);
        let mut claims = self.living_claims(address).into_iter();
        claims.any(|owner| follows(owner.node) && holds(owner.state))
    }

    /// What is claimed of an address, as far as it can be relied on.
    pub(crate) fn living_claims(&self, address: Ipv4Addr) -> Vec<Owner> {
        let prefix = Ipv4Net::from(address);
        let paths = self.speaker.paths(prefix);
        let living = paths
            .iter()
            .filter(|view| !view.path.stale && view.ineligible.is_none());
        let asn = self.config.fabric.asn;
        let claims = living.filter_map(|view| Owner::from_path(asn, prefix, &view.path));
        claims.collect()
    }

    /// Tells whether what a node is asked for is asked of this router: it is the node, or stands on its LAN.
    fn is_ours(&self, node: NodeId) -> bool {
        node == self.config.local.node || self.config.shares_lan_with(node)
    }

    fn tell_handover(&mut self, address: Ipv4Addr, node: NodeId, step: &str, now: Instant) {
        let step = step.to_owned();
        let event = Event::Handover {
            address,
            node,
            step,
        };
        self.events.push(event, now);
    }
}
