//! The routers that capture for our site, as their markers show them: who is there, what each has captured, and can.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::desired::Claimed;
use sam_capture::held_tags::held_of;
use sam_capture::provider::NicId;
use sam_capture::{Candidate, ClaimState, Executor, Inability, Load, NodeId, Owner, PathSignature};

use crate::Router;
use crate::config::{CapturePlacement, Config, Node};
use crate::peers::other_nodes;

/// The routers of our site, as shown to operators.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Whether they share captures.
    pub(crate) shared: bool,
    /// Each with how it stands in the election, if it is there, and what it has and can.
    pub(crate) members: Vec<(NodeId, Option<Candidate>, Load)>,
}

impl Config {
    /// The other routers that capture for our site.
    pub(crate) fn siblings(&self) -> impl Iterator<Item = (&Node, &NicId)> {
        let own = self.own_node();
        let siblings = other_nodes(self).filter(|node| node.site == own.site);
        siblings.filter_map(|node| Some((node, node.nic.as_ref()?)))
    }
}

impl Router {
    /// How a router of our site stands in the election, if it is there: its marker is chosen, and BFD has not found the
    /// way to it broken. One that is drained is as good as gone, as long as we are not drained ourselves.
    pub(crate) fn candidate(&self, node: &Node) -> Option<Candidate> {
        let marker = self.marker(node.id)?;
        let is_there = !marker.drained || self.state.drained;
        (is_there && !self.path_watch.has_failed(node.id)).then_some(Candidate {
            captures: marker.captures.is_some(),
            term: marker.term,
            priority: marker.captures.unwrap_or(0),
        })
    }

    /// What the routers of our site have captured, and can, ours among them.
    pub(crate) fn loads(&self, now: Instant) -> BTreeMap<NodeId, Load> {
        let siblings = self.config.siblings();
        let siblings = siblings.map(|(node, _)| (node.id, self.sibling_load(node.id)));
        let mut loads: BTreeMap<NodeId, Load> = siblings.collect();
        loads.insert(self.config.local.node, self.own_load(now));
        loads
    }

    fn sibling_load(&self, node: NodeId) -> Load {
        let Some((marker, path)) = self.marker_path(node) else {
            return Load::default();
        };
        let communities = &path.attributes.large_communities;
        Load::from_marker(&marker, held_of(self.config.fabric.asn, communities))
    }

    fn own_load(&self, now: Instant) -> Load {
        let placement = self.config.cloud().map(|cloud| cloud.placement);
        let shares = placement == Some(CapturePlacement::ActiveActive);
        let load = |executor: &Executor| Load {
            shares,
            ..executor.load(now)
        };
        let nobody = || Load {
            inability: self.cloud.failure.as_ref().map(|_| Inability::NoProvider),
            ..Load::default()
        };
        self.cloud.executor.as_ref().map_or_else(nobody, load)
    }

    /// What routes say of an address; `told`: those that this router is told to own.
    /// `unproven`: nodes of which it is not known yet whether packets reach them.
    pub(crate) fn claimed(
        &self,
        owner: &Owner,
        told: &BTreeSet<Ipv4Addr>,
        unproven: &BTreeSet<NodeId>,
    ) -> Claimed {
        if owner.local || told.contains(&owner.address) {
            return Claimed::ByUs;
        }
        if self.duplicates.contains(owner.address) {
            return Claimed::Disputed;
        }
        let site = self
            .config
            .fabric
            .nodes
            .get(&owner.node)
            .map(|node| node.site.as_str());
        match owner.state {
            ClaimState::Active
            | ClaimState::Standby
            | ClaimState::Draining
            | ClaimState::Handover => {}
            ClaimState::Seizing => return Claimed::Unsettled,
        }
        if site == Some(self.config.own_node().site.as_str()) {
            return Claimed::AtOurSite;
        }
        if unproven.contains(&owner.node) {
            return Claimed::Unproven;
        }
        Claimed::Elsewhere(PathSignature {
            address: owner.address,
            owner: owner.node,
            site: site.unwrap_or_default().to_owned(),
            next_hop: owner.next_hop,
            sequence: owner.sequence,
        })
    }
}
