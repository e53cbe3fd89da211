//! `samctl owners`: who owns each address of the pools.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::NodeRef;

/// Who owns each address of the pools, in order of addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnersView {
    /// One row per address with at least one claim, and per address owned here by order or configuration.
    pub owners: Vec<OwnerRow>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// The address.
    pub address: Ipv4Addr,
    /// Name of its pool.
    pub pool: String,
    /// Who owns it; `None` when nobody does (owned here by configuration, but not announced).
    pub owner: Option<NodeRef>,
    /// State of the owner's claim: active, standby, seizing, draining, handover; `unowned` without owner.
    pub state: String,
    /// Sequence of the owner's claim.
    pub sequence: Option<u32>,
    /// Seconds since this owner is the owner.
    pub since_s: Option<f64>,
    /// BGP next hop: the owner's overlay address.
    pub next_hop: Option<Ipv4Addr>,
    /// Number of the tunnel to the owner; `None` when it is local.
    pub tunnel: Option<u16>,
    /// Decision step that made the owner's path the best.
    pub step: Option<String>,
    /// Whether this router owns it.
    pub local: bool,
    /// Whether this router is told (by configuration or order) to own it.
    pub configured: bool,
    /// Whether this router answers ARP for it.
    pub answered: bool,
    /// Whether several nodes claim it.
    pub duplicate: bool,
    /// All claims, best first.
    pub claims: Vec<ClaimRow>,
}

/// One node's claim on an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimRow {
    /// Who claims.
    pub node: NodeRef,
    /// State of the claim.
    pub state: String,
    /// Its sequence.
    pub sequence: u32,
    /// LOCAL_PREF.
    pub local_pref: u32,
    /// The BGP peer that told; `None` when it is our own claim.
    pub from: Option<NodeRef>,
    /// Whether it is the best path.
    pub best: bool,
    /// Why it cannot be chosen, if so.
    pub ineligible: Option<String>,
    /// Decision step at which it lost against the best path.
    pub step: String,
    /// Seconds since it was learned.
    pub age_s: f64,
}
