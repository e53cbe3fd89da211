//! What BGP believes and tells: the import rules of `sam_capture` behind `sam_bgp::Policy`.
//!
//! A peer's BGP id number is its node id, so that no table stands between session and identity.

use std::borrow::Cow;

use ipnet::Ipv4Net;
use sam_bgp::{PathAttributes, PeerId, Policy, Rejection};
use sam_capture::{EnrolledNode, Enrollment, NodeId};

use crate::config::Config;

/// Import and export rules of a fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FabricPolicy {
    enrollment: Enrollment,
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
        }
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
        match self.enrollment.check(NodeId(peer.0), prefix, attributes) {
            Ok(_) => Ok(()),
            Err(rejection) => Err(Rejection(rejection.name())),
        }
    }

    /// Everything in the RIB passed `import` or comes from `Origination`; the host-route rule is checked once more,
    /// because a leaked pool prefix would draw in every address of the pool.
    fn export(
        &self,
        _peer: PeerId,
        prefix: Ipv4Net,
        _attributes: &mut Cow<'_, PathAttributes>,
    ) -> bool {
        prefix.prefix_len() == 32
    }
}
