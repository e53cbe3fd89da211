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

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_capture::{ClaimState, NodeId, Owner};

use crate::Router;
use crate::drain::Presence;
use crate::events::Event;

impl Router {
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

    /// Step 2: another node's best path to an address may ask this node to take it over.
    pub(crate) fn on_offer(&mut self, address: Ipv4Addr, from: NodeId, now: Instant) {
        let own = self.config.local.node;
        if from == own || self.told_to_own().contains(&address) {
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
                self.state.accepted.insert(address, from);
                self.tell_handover(address, from, "accepted", now);
            }
        }
    }

    /// Looks again at all offers to this node: what stood against them may be gone.
    pub(crate) fn review_offers(&mut self, now: Instant) {
        let own = self.config.local.node;
        let offers = self
            .owners
            .owners()
            .filter(|owner| owner.successor == Some(own));
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
                self.tell_handover(address, to, "done", now);
            }
        }
    }

    /// Step 4: what was accepted is ours when its former owner is there and claims it no more; what that one claims and
    /// does not offer any more was taken back.
    pub(crate) fn review_acceptances(&mut self, now: Instant) {
        let own = self.config.local.node;
        let accepted = self.state.accepted.clone();
        for (address, from) in accepted {
            match self.living_claim(address, from) {
                Some(claim) if claim.successor == Some(own) => {}
                Some(_) => {
                    self.state.withdraw(&self.config, address);
                    self.tell_handover(address, from, "taken-back", now);
                }
                None if self.presence(from) == Presence::Absent => {}
                None => drop(self.state.accepted.remove(&address)),
            }
        }
    }

    /// Tells whether a node holds an address, by a claim that can be relied on.
    pub(crate) fn has_taken_over(&self, address: Ipv4Addr, node: NodeId) -> bool {
        let claim = self.living_claim(address, node);
        claim.is_some_and(|claim| matches!(claim.state, ClaimState::Active | ClaimState::Handover))
    }

    /// What a node claims of an address, if it can be relied on.
    fn living_claim(&self, address: Ipv4Addr, node: NodeId) -> Option<Owner> {
        let prefix = Ipv4Net::from(address);
        let paths = self.speaker.paths(prefix);
        let mut living = paths
            .iter()
            .filter(|view| !view.path.stale && view.ineligible.is_none())
            .filter_map(|view| Owner::from_path(self.config.fabric.asn, prefix, &view.path));
        living.find(|owner| owner.node == node)
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
