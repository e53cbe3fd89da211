//! Who owns an address: the best path of its /32, read as a claim.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::{Path, PathSource};

use crate::claim_source::ClaimSource;
use crate::node::NodeId;
use crate::route_tags::{ClaimState, RouteKind, RouteTags};

/// The owner of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The address.
    pub address: Ipv4Addr,
    /// Who owns it.
    pub node: NodeId,
    /// State of the claim.
    pub state: ClaimState,
    /// Sequence of the claim.
    pub sequence: u32,
    /// Number of the pool.
    pub pool: u32,
    /// How the owner knows.
    pub source: ClaimSource,
    /// The node's overlay address.
    pub next_hop: Ipv4Addr,
    /// Whether this router itself is the owner.
    pub local: bool,
    /// Node that it asks to take the address over.
    pub successor: Option<NodeId>,
    /// MAC of the host, where the owner heard it.
    pub mac: Option<[u8; 6]>,
}

impl Owner {
    /// Reads a path to `prefix` as a claim; `None` for markers and whatever else is no claim.
    #[must_use]
    pub fn from_path(asn: u32, prefix: Ipv4Net, path: &Path) -> Option<Self> {
        let tags = RouteTags::parse(asn, &path.attributes.large_communities).ok()?;
        let RouteKind::Owner(claim) = tags.kind else {
            return None;
        };
        Some(Self {
            address: prefix.addr(),
            node: tags.node,
            state: claim.state,
            sequence: claim.sequence,
            pool: claim.pool,
            source: claim.source,
            next_hop: path.attributes.next_hop,
            local: path.source == PathSource::Local,
            successor: tags.successor,
            mac: tags.mac,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sam_bgp::PathAttributes;

    use super::*;
    use crate::route_tags::Claim;

    const ASN: u32 = 64_512;

    #[test]
    fn an_owner_path_names_node_state_and_sequence() {
        let claim = Claim {
            state: ClaimState::Active,
            sequence: 4,
            pool: 1,
            source: ClaimSource::Observed,
        };

        let owner = Owner::from_path(ASN, prefix(), &path(RouteKind::Owner(claim))).unwrap();

        assert_eq!(owner.address, Ipv4Addr::new(10, 77, 60, 10));
        assert_eq!(
            (owner.node, owner.state, owner.sequence),
            (NodeId(3), ClaimState::Active, 4)
        );
        assert_eq!(owner.source, ClaimSource::Observed);
        assert_eq!(owner.next_hop, Ipv4Addr::new(10, 99, 0, 3));
        assert!(owner.local);
    }

    #[test]
    fn a_marker_owns_nothing() {
        assert_eq!(
            Owner::from_path(ASN, prefix(), &path(RouteKind::Marker { epoch: 1 })),
            None
        );
    }

    fn prefix() -> Ipv4Net {
        "10.77.60.10/32".parse().unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a path needs some time of learning"
    )]
    fn path(kind: RouteKind) -> Path {
        let mut attributes = PathAttributes::local([10, 99, 0, 3].into());
        RouteTags::new(NodeId(3), kind).apply(ASN, &mut attributes);
        Path {
            source: PathSource::Local,
            path_id: None,
            attributes: Arc::new(attributes),
            learned_at: std::time::Instant::now(),
            stale: false,
        }
    }
}
