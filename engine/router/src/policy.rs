//! What BGP believes and tells: the import rules of `sam_capture` behind `sam_bgp::Policy`.
//!
//! A peer's BGP id number is its node id, so that no table stands between session and identity; that of a foreign neighbor
//! is its address.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::{PathAttributes, PeerId, Policy, Rejection};
use sam_capture::{EnrolledNode, Enrollment, NodeId};

use crate::config::Config;
use crate::foreign::{Foreign, Terms};
use crate::foreign_policy;

/// Import and export rules of a fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FabricPolicy {
    enrollment: Enrollment,
    foreign: Foreign,
}

impl FabricPolicy {
    /// Makes the rules for a configuration.
    #[must_use]
    pub(crate) fn new(config: &Config) -> Self {
        let fabric = &config.fabric;
        let nodes = fabric.nodes.values().map(|node| {
            let reflector = fabric.bgp.route_reflectors.contains(&node.id);
            let may = node.may.clone();
            (
                node.id,
                EnrolledNode {
                    overlay: node.overlay,
                    reflector,
                    may,
                },
            )
        });
        Self {
            enrollment: Enrollment {
                asn: fabric.asn,
                own: config.local.node,
                nodes: nodes.collect(),
                pools: fabric.pools.clone(),
            },
            foreign: config.local.foreign.clone(),
        }
    }

    /// Returns what is agreed with a peer that is no node, and its address.
    fn foreign(&self, peer: PeerId) -> Option<(&Terms, Ipv4Addr)> {
        if self.enrollment.nodes.contains_key(&NodeId(peer.0)) {
            return None;
        }
        let address = Ipv4Addr::from(peer.0);
        let (_, terms) = self.foreign.terms(address)?;
        Some((terms, address))
    }

    /// Returns what the rules are checked against.
    #[must_use]
    pub(crate) fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }
}

impl Policy for FabricPolicy {
    fn import(
        &self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> Result<(), Rejection> {
        if let Some(terms) = self.foreign(peer) {
            let attributes = attributes.to_mut();
            return foreign_policy::import(terms, &self.enrollment, prefix, attributes);
        }
        match self.enrollment.check(NodeId(peer.0), prefix, attributes) {
            Ok(_) => Ok(()),
            Err(rejection) => Err(Rejection(rejection.name())),
        }
    }

    /// Everything in the RIB passed `import` or comes from `Origination`; the host-route rule is checked once more,
    /// because a leaked pool prefix would draw in every address of the pool. Routes of other ASes are not for the fabric.
    fn export(
        &self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> bool {
        match self.foreign(peer) {
            Some(terms) => {
                foreign_policy::export(terms, &self.enrollment, prefix, attributes.to_mut())
            }
            None => prefix.prefix_len() == 32 && attributes.as_path.is_empty(),
        }
    }
}
