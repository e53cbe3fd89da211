//! What BGP believes and tells: the import rules of `sam_capture` behind `sam_bgp::Policy`.
//!
//! A peer's BGP id number is its node id, so that no table stands between session and identity; that of a foreign neighbor
//! is its address.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::{PathAttributes, PeerId, Policy, Rejection};
use sam_capture::{EnrolledNode, Enrollment, ImportRejection, NodeId};

use crate::config::Config;
use crate::foreign::Foreign;
use crate::foreign_policy::Border;

/// Import and export rules of a fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FabricPolicy {
    enrollment: Enrollment,
    foreign: Foreign,
    /// Whether neighbors of other ASes are to use other ways.
    leaving: bool,
}

impl FabricPolicy {
    /// Makes the rules for a configuration; `leaving` asks neighbors of other ASes to use other ways (RFC 8326).
    #[must_use]
    pub(crate) fn new(config: &Config, leaving: bool) -> Self {
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
            leaving,
        }
    }

    /// Returns the border towards a peer that is no node.
    fn border(&self, peer: PeerId) -> Option<Border<'_>> {
        if self.enrollment.nodes.contains_key(&NodeId(peer.0)) {
            return None;
        }
        let neighbor = Ipv4Addr::from(peer.0);
        let (_, terms) = self.foreign.terms(neighbor)?;
        Some(Border {
            terms,
            neighbor,
            enrollment: &self.enrollment,
            leaving: self.leaving,
        })
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
        if let Some(border) = self.border(peer) {
            return border.import(prefix, attributes.to_mut());
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
    ) -> Result<(), Rejection> {
        match self.border(peer) {
            Some(border) => border.export(prefix, attributes.to_mut()),
            None if prefix.prefix_len() != 32 => {
                Err(Rejection(ImportRejection::NotAHostRoute.name()))
            }
            None if !attributes.as_path.is_empty() => {
                Err(Rejection(ImportRejection::AsPathNotEmpty.name()))
            }
            None => Ok(()),
        }
    }
}
