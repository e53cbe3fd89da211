//! `samctl owners`: who owns each address of the pools.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::PathSource;
use sam_bgp::speaker::PathView;
use sam_capture::Owner;
use serde::{Deserialize, Serialize};

use super::{NodeRef, seconds_ago, step_name};
use crate::Router;
use crate::claims::active_claims;
use crate::peers::node_of;
use crate::signature::signature;

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
    /// Name of the rule that says why (`samctl explain` has it in words).
    #[serde(default)]
    pub rule: String,
    /// Whether this router owns it.
    pub local: bool,
    /// Whether this router is told (by configuration or order) to own it.
    pub configured: bool,
    /// Whether this router answers ARP for it.
    pub answered: bool,
    /// Whether several nodes claim it.
    pub duplicate: bool,
    /// What all nodes see alike of it: equal on each that knows the same owner and the same active claims, in 32 hexadecimal
    /// digits. `None` without owner, and of older routers.
    #[serde(default)]
    pub signature: Option<String>,
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
    /// How the node knows: configured, provider, observed.
    #[serde(default)]
    pub source: String,
    /// LOCAL_PREF.
    pub local_pref: u32,
    /// The BGP peer that told; `None` when it is our own claim.
    pub from: Option<NodeRef>,
    /// Whether it is the best path.
    pub best: bool,
    /// Kept from a session that ended, not confirmed since (RFC 4724).
    #[serde(default)]
    pub stale: bool,
    /// Why it cannot be chosen, if so.
    pub ineligible: Option<String>,
    /// Decision step at which it lost against the best path.
    pub step: String,
    /// Seconds since it was learned.
    pub age_s: f64,
}

impl Router {
    /// `samctl owners`
    #[must_use]
    pub fn owners(&self, now: Instant) -> OwnersView {
        let told = self.told_to_own();
        let claimed = self
            .speaker
            .prefixes()
            .into_iter()
            .map(|prefix| prefix.addr());
        let addresses: BTreeSet<Ipv4Addr> = claimed.chain(told.iter().copied()).collect();
        let row = |address| self.owner_row(address, told.contains(&address), now);
        OwnersView {
            owners: addresses.into_iter().filter_map(row).collect(),
        }
    }

    /// Shows one address; `None` when it lies in no pool.
    pub(crate) fn owner_row(
        &self,
        address: Ipv4Addr,
        configured: bool,
        now: Instant,
    ) -> Option<OwnerRow> {
        let pool = self.config.pool_of(address)?;
        let holding = self.owners.holding(address);
        let owner = holding.map(|holding| holding.owner);
        let remote = owner.filter(|owner| !owner.local);
        let answered = self.gate().open && self.fib.answers().contains(address);
        Some(OwnerRow {
            address,
            pool: pool.name.clone(),
            owner: owner.map(|owner| NodeRef::new(&self.config, owner.node)),
            state: owner.map_or("unowned", |owner| owner.state.name()).into(),
            sequence: owner.map(|owner| owner.sequence),
            since_s: holding.map(|holding| seconds_ago(holding.since, now)),
            next_hop: owner.map(|owner| owner.next_hop),
            tunnel: remote
                .and_then(|owner| self.numbering.tunnel(owner.node))
                .map(|id| id.0),
            step: holding.map(|holding| step_name(holding.step).into()),
            rule: self.owner_rule(address).name.into(),
            local: owner.is_some_and(|owner| owner.local),
            configured,
            answered,
            duplicate: self.duplicates.contains(address),
            signature: owner.map(|owner| self.signature(&owner)),
            claims: self.claims(address, now),
        })
    }

    fn signature(&self, owner: &Owner) -> String {
        let prefix = Ipv4Net::from(owner.address);
        let mut others = active_claims(&self.speaker.paths(prefix), prefix, &self.config);
        others.retain(|(node, _)| *node != owner.node);
        signature(owner, &others)
    }

    fn claims(&self, address: Ipv4Addr, now: Instant) -> Vec<ClaimRow> {
        let prefix = Ipv4Net::from(address);
        let row = |view: PathView| {
            let owner = Owner::from_path(self.config.fabric.asn, prefix, &view.path)?;
            let from = match view.path.source {
                PathSource::Local => None,
                PathSource::Peer { peer, .. } => Some(NodeRef::new(&self.config, node_of(peer))),
            };
            Some(ClaimRow {
                node: NodeRef::new(&self.config, owner.node),
                state: owner.state.name().into(),
                sequence: owner.sequence,
                source: owner.source.name().into(),
                local_pref: view.path.attributes.preference(),
                from,
                best: view.best,
                stale: view.path.stale,
                ineligible: view.ineligible.map(String::from),
                step: step_name(view.step).into(),
                age_s: seconds_ago(view.path.learned_at, now),
            })
        };
        self.speaker
            .paths(prefix)
            .into_iter()
            .filter_map(row)
            .collect()
    }
}
