//! What the LAN gave to another site while one of its routers was not there.
//!
//! A handover is an order to both routers of a LAN (`crate::handover`). Who was down meanwhile still has the address in its
//! file, and nobody tells it anything else: the other router of the LAN claims it no more, and may be down by now as well. It
//! learns it from who holds the address by order, in three situations.
//!
//! 1. It stands by, and the router that acts claims nothing of what another site holds: given away before.
//! 2. It takes its LAN over, and finds another site in possession.
//! 3. It begins, and has not heard everybody yet: what is found held is taken for given away, and what is not may still be,
//!    so that it claims as standby until it is informed (`crate::startup_fence`).
//!
//! It is saved, for the holder may be away when this router begins the next time. What was given away is not claimed while
//! anybody else does, and as standby when its holder is lost; an order here, an offer of the holder, or a claim of the
//! router beside takes it back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::{ClaimSource, ClaimState, NodeId};

use crate::Router;
use crate::claims::rivals;
use crate::events::Event;
use crate::origination::Rival;

impl Router {
    /// Follows who holds what this router is told to own; `claimed` are the claims of others on what it claims itself.
    pub(crate) fn follow_given_away(&mut self, claimed: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        let acts = self.gate().open;
        // What comes with the last word of the routes counts too, so the first look after it is one of a router that begins.
        let knows = acts && !self.fence.is_uninformed();
        let begins = !std::mem::replace(&mut self.acted, knows);
        if !self.has_sibling() {
            return;
        }
        if acts {
            self.learn(claimed, |rival| begins && rival.ordered, now);
        } else {
            let told = self.told_to_own().into_iter();
            let told = told
                .map(|address| (address, ClaimSource::Configured))
                .collect();
            let claims = rivals(&self.speaker, &self.config, &told, &BTreeSet::new());
            self.learn(&claims, |rival| rival.ordered && !rival.beside, now);
        }
    }

    fn learn(
        &mut self,
        claims: &BTreeMap<Ipv4Addr, Rival>,
        is_found: impl Fn(&Rival) -> bool,
        now: Instant,
    ) {
        let told = self.told_to_own();
        let known = self.state.given_away.clone();
        for (&address, rival) in claims {
            // What is offered is taken by order, or refused (`crate::handover`).
            if rival.held_beside {
                self.state.given_away.remove(&address);
            } else if is_found(rival) && !rival.offers && told.contains(&address) {
                self.state.given_away.insert(address);
            }
        }
        // The packets of its hosts go elsewhere.
        self.forwarding_stale |= self.state.given_away != known;
        let new: Vec<_> = self.state.given_away.difference(&known).copied().collect();
        for address in new {
            self.tell_given_away(address, now);
        }
    }

    /// Tells whether an address is another site's, though this router is told to own it.
    pub(crate) fn is_given_away(&self, address: Ipv4Addr) -> bool {
        self.state.given_away.contains(&address)
    }

    /// Tells whether a claim on an address is held back until everybody has told routes.
    pub(crate) fn is_held_back(&self, address: Ipv4Addr) -> bool {
        let claim = self.origination.claim_on(address);
        let standby = claim.is_some_and(|claim| claim.state == ClaimState::Standby);
        standby && self.fence.is_uninformed() && self.has_sibling()
    }

    fn tell_given_away(&mut self, address: Ipv4Addr, now: Instant) {
        let node = self.owner_of(address);
        let elsewhere = |node: &NodeId| *node != self.config.local.node;
        if let Some(node) = node.filter(elsewhere) {
            let step = "given-away".to_owned();
            let event = Event::Handover {
                address,
                node,
                step,
            };
            self.events.push(event, now);
        }
    }
}
