//! `samctl drain` and `samctl handover`: what is being given to others, and what is left.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_capture::{ClaimState, Owner};
use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Router;

/// `samctl drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainView {
    /// Whether this router is to be emptied.
    pub drained: bool,
    /// Whether it is: it claims no address and draws in none.
    pub empty: bool,
    /// Addresses that it still claims.
    pub left: Vec<LeftRow>,
    /// Addresses of other sites that are on its network interface in a cloud.
    #[serde(default)]
    pub captured: BTreeSet<Ipv4Addr>,
    /// Whether these are on no network interface for a while when they move: the provider takes two changes for it. `None`
    /// while nobody has looked, or nothing is captured.
    #[serde(default)]
    pub moves_with_gap: Option<bool>,
    /// Whether it still acts on its LAN.
    pub gate_open: bool,
    /// Why, or why not.
    pub gate_reason: String,
}

/// An address that this router still claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRow {
    /// The address.
    pub address: Ipv4Addr,
    /// State of the claim.
    pub state: ClaimState,
    /// Whether another node claims it too, and will take it over; without, it stays here.
    pub has_successor: bool,
}

/// `samctl handover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoversView {
    /// Addresses that this router offers to others.
    pub handovers: Vec<HandoverRow>,
}

/// An address on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverRow {
    /// The address.
    pub address: Ipv4Addr,
    /// Who is to have it.
    pub to: NodeRef,
}

impl Router {
    /// `samctl drain`
    #[must_use]
    pub fn drain(&self) -> DrainView {
        let gate = self.gate();
        let left = self.origination.claims().map(|(address, claim)| LeftRow {
            address,
            state: claim.state,
            has_successor: self.has_successor(address),
        });
        let captured = self.captured();
        let executor = self.cloud.executor.as_ref();
        let moves = executor.filter(|_| !captured.is_empty());
        let moves = moves.and_then(sam_capture::Executor::moves);
        DrainView {
            moves_with_gap: moves.map(|moves| !moves),
            drained: self.state.drained,
            empty: self.is_empty(),
            left: left.collect(),
            captured,
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
        }
    }

    /// Tells whether another node claims an address and would take it: not one that gives it up too.
    fn has_successor(&self, address: Ipv4Addr) -> bool {
        let (prefix, own) = (Ipv4Net::from(address), self.config.local.node);
        let paths = self.speaker.paths(prefix);
        let mut living = paths
            .iter()
            .filter(|view| !view.path.stale && view.ineligible.is_none());
        living.any(|view| {
            let owner = Owner::from_path(self.config.fabric.asn, prefix, &view.path);
            owner.is_some_and(|owner| owner.node != own && owner.state != ClaimState::Draining)
        })
    }

    /// `samctl handover`
    #[must_use]
    pub fn handovers(&self) -> HandoversView {
        let row = |(&address, &to)| HandoverRow {
            address,
            to: NodeRef::new(&self.config, to),
        };
        HandoversView {
            handovers: self.state.handovers.iter().map(row).collect(),
        }
    }
}
