//! Which routes are believed: rules that no configuration can switch off (bgp.md section 6, mobility.md I9, I10).
//!
//! A session is authenticated by WireGuard (key, node id, overlay address), so the peer's node id is certain. A leaf
//! may only speak for itself; a route reflector may pass on any enrolled node's route, recognizable by ORIGINATOR_ID.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::PathAttributes;

use crate::node::NodeId;
use crate::pool::Pool;
use crate::route_tags::{RouteKind, RouteTags, TagsError};

/// What the rules are checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrollment {
    /// AS number of the fabric.
    pub asn: u32,
    /// This router.
    pub own: NodeId,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, EnrolledNode>,
    /// All pools.
    pub pools: Vec<Pool>,
}

/// What the rules know about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledNode {
    /// Its overlay address: BGP identifier and next hop.
    pub overlay: Ipv4Addr,
    /// Whether it reflects routes of others.
    pub reflector: bool,
    /// Addresses that it may own; empty means any of the pools.
    pub may: Vec<Ipv4Net>,
}

/// Why a route is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ImportRejection {
    /// The prefix is shorter than /32: the pool itself and everything else that is no host.
    NotAHostRoute,
    /// The route comes from another AS.
    AsPathNotEmpty,
    /// The tags cannot be understood.
    Tags(TagsError),
    /// The kind is not used by this release.
    KindNotAccepted,
    /// Somebody else speaks in our name.
    NodeIsOurs,
    /// The node is not enrolled.
    NodeUnknown,
    /// A peer that is no reflector speaks for another node.
    NodeNotPeer,
    /// ORIGINATOR_ID is not that node's overlay address.
    OriginatorNotNode,
    /// The next hop is not that node's overlay address.
    NextHopNotNodes,
    /// A marker for something else than the node's overlay address.
    MarkerNotOverlay,
    /// A claim on an address outside all pools.
    OutsidePool,
    /// A claim on an address that is never mobile.
    ExcludedAddress,
    /// The claim names another pool than the address lies in.
    PoolMismatch,
    /// The node may not own the address.
    NotPermitted,
    /// A claim whose LOCAL_PREF is not the ladder's value for its state: it would win or lose under false colors.
    LocalPrefNotOfState,
    /// A claim whose MED is not that of its source, for the same reason.
    MedNotOfSource,
}

/// Names of the rejections which mean that somebody speaks in another node's name.
pub const IDENTITY_REASONS: [&str; 7] = [
    "node-id-is-ours",
    "node-id-unknown",
    "node-id-not-peer",
    "originator-not-node",
    "next-hop-not-nodes",
    "marker-not-overlay",
    "not-permitted",
];

impl Enrollment {
    /// Checks a route that `peer` sent.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(
        &self,
        peer: NodeId,
        prefix: Ipv4Net,
        attributes: &PathAttributes,
    ) -> Result<RouteTags, ImportRejection> {
        // 1. Host routes only.
        if prefix.prefix_len() != 32 {
            return Err(ImportRejection::NotAHostRoute);
        }
        // 2. Of our own AS.
        if !attributes.as_path.is_empty() {
            return Err(ImportRejection::AsPathNotEmpty);
        }
        // 3. With tags that we understand.
        let tags = RouteTags::parse(self.asn, &attributes.large_communities)?;
        // 4. From another, enrolled node.
        if tags.node == self.own {
            return Err(ImportRejection::NodeIsOurs);
        }
        let node = self
            .nodes
            .get(&tags.node)
            .ok_or(ImportRejection::NodeUnknown)?;
        // 5. By its own mouth, or by a reflector.
        self.check_speaker(peer, &tags, node, attributes)?;
        // 6. With its own next hop.
        if attributes.next_hop != node.overlay {
            return Err(ImportRejection::NextHopNotNodes);
        }
        // 7. For something that it may announce.
        match tags.kind {
            RouteKind::Owner(claim) => {
                if self.admit(tags.node, prefix.addr())?.id != claim.pool {
                    return Err(ImportRejection::PoolMismatch);
                }
                if attributes.local_pref != Some(claim.state.local_pref()) {
                    return Err(ImportRejection::LocalPrefNotOfState);
                }
                if attributes.med.unwrap_or(0) != claim.source.med() {
                    return Err(ImportRejection::MedNotOfSource);
                }
            }
            RouteKind::Marker { .. } if prefix.addr() != node.overlay => {
                return Err(ImportRejection::MarkerNotOverlay);
            }
            RouteKind::Marker { .. } => {}
            RouteKind::ReturnRoute | RouteKind::Anycast(_) => {
                return Err(ImportRejection::KindNotAccepted);
            }
        }
        Ok(tags)
    }

    /// Checks whether `node` may claim `address`, and returns the pool.
    ///
    /// # Errors
    /// `OutsidePool`, `ExcludedAddress`, `NodeUnknown`, `NotPermitted`.
    pub fn admit(&self, node: NodeId, address: Ipv4Addr) -> Result<&Pool, ImportRejection> {
        let pool = self
            .pools
            .iter()
            .find(|pool| pool.prefix.contains(&address))
            .ok_or(ImportRejection::OutsidePool)?;
        if !pool.admits(address) {
            return Err(ImportRejection::ExcludedAddress);
        }
        let node = self.nodes.get(&node).ok_or(ImportRejection::NodeUnknown)?;
        if !node.may.is_empty() && !node.may.iter().any(|prefix| prefix.contains(&address)) {
            return Err(ImportRejection::NotPermitted);
        }
        Ok(pool)
    }

    /// Checks rule 5: who may say this.
    fn check_speaker(
        &self,
        peer: NodeId,
        tags: &RouteTags,
        node: &EnrolledNode,
        attributes: &PathAttributes,
    ) -> Result<(), ImportRejection> {
        let reflector = self.nodes.get(&peer).is_some_and(|peer| peer.reflector);
        if tags.node != peer && !reflector {
            return Err(ImportRejection::NodeNotPeer);
        }
        // A reflected route always carries ORIGINATOR_ID (RFC 4456 section 8); a node's own need not.
        match attributes.originator_id {
            Some(originator) if originator == node.overlay => Ok(()),
            None if tags.node == peer => Ok(()),
            Some(_) | None => Err(ImportRejection::OriginatorNotNode),
        }
    }
}

impl ImportRejection {
    /// Returns the short name used in counters, events and views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAHostRoute => "not-a-host-route",
            Self::AsPathNotEmpty => "as-path-not-empty",
            Self::Tags(error) => error.name(),
            Self::KindNotAccepted => "kind-not-accepted",
            Self::NodeIsOurs => "node-id-is-ours",
            Self::NodeUnknown => "node-id-unknown",
            Self::NodeNotPeer => "node-id-not-peer",
            Self::OriginatorNotNode => "originator-not-node",
            Self::NextHopNotNodes => "next-hop-not-nodes",
            Self::MarkerNotOverlay => "marker-not-overlay",
            Self::OutsidePool => "outside-pool",
            Self::ExcludedAddress => "excluded-address",
            Self::PoolMismatch => "pool-mismatch",
            Self::NotPermitted => "not-permitted",
            Self::LocalPrefNotOfState => "local-pref-not-of-state",
            Self::MedNotOfSource => "med-not-of-source",
        }
    }
}

impl fmt::Display for ImportRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for ImportRejection {}

impl From<TagsError> for ImportRejection {
    fn from(error: TagsError) -> Self {
        Self::Tags(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sam_bgp::wire::AsPathSegment;

    use super::*;
    use crate::claim_source::ClaimSource;
    use crate::route_tags::{Claim, ClaimState};

    const ASN: u32 = 64_512;
    /// This router.
    const US: NodeId = NodeId(1);
    /// A route reflector.
    const REFLECTOR: NodeId = NodeId(2);
    /// A leaf that may own anything.
    const LEAF: NodeId = NodeId(3);
    /// A leaf that may own 10.77.60.32/28 only.
    const BOUND: NodeId = NodeId(4);

    /// A route as it arrives; `owner` makes a good one, tests spoil it.
    #[derive(Debug, Clone)]
    struct Route {
        peer: NodeId,
        prefix: Ipv4Net,
        attributes: PathAttributes,
    }

    #[test]
    fn a_leafs_own_claim_is_believed() {
        let route = owner(LEAF, "10.77.60.10/32");

        assert_eq!(verdict(&route), Ok(LEAF));
    }

    #[test]
    fn a_reflector_may_pass_on_a_leafs_claim() {
        let mut route = owner(LEAF, "10.77.60.10/32");
        route.peer = REFLECTOR;
        route.attributes.originator_id = Some(overlay(LEAF));

        assert_eq!(verdict(&route), Ok(LEAF));
    }

    #[test]
    fn a_marker_for_the_overlay_is_believed() {
        assert_eq!(verdict(&tagged(LEAF, "10.99.0.3/32", marker())), Ok(LEAF));
    }

    #[test]
    fn each_rule_has_its_name() {
        type Spoil = fn(&mut Route);
        let cases: &[(&str, Spoil)] = &[
            ("not-a-host-route", |r| r.prefix = net("10.77.60.0/24")),
            ("not-a-host-route", |r| r.prefix = net("10.77.60.10/31")),
            ("as-path-not-empty", |r| {
                r.attributes.as_path.push(AsPathSegment(vec![65_000]))
            }),
            ("node-id-missing", |r| {
                r.attributes.large_communities.clear()
            }),
            ("node-id-is-ours", |r| retag(r, US, claim(1))),
            ("node-id-unknown", |r| retag(r, NodeId(9), claim(1))),
            ("node-id-not-peer", |r| r.peer = BOUND),
            ("node-id-not-peer", |r| r.peer = NodeId(9)),
            ("originator-not-node", |r| r.peer = REFLECTOR),
            ("originator-not-node", |r| {
                r.attributes.originator_id = Some(overlay(BOUND))
            }),
            ("next-hop-not-nodes", |r| {
                r.attributes.next_hop = overlay(BOUND)
            }),
            ("next-hop-not-nodes", |r| {
                r.attributes.next_hop = [192, 0, 2, 1].into()
            }),
            ("outside-pool", |r| r.prefix = net("10.77.61.10/32")),
            ("outside-pool", |r| r.prefix = net("10.99.0.3/32")),
            ("excluded-address", |r| r.prefix = net("10.77.60.1/32")),
            ("excluded-address", |r| r.prefix = net("10.77.60.0/32")),
            ("excluded-address", |r| r.prefix = net("10.77.60.255/32")),
            ("pool-mismatch", |r| retag(r, LEAF, claim(2))),
            ("kind-not-accepted", |r| {
                retag(r, LEAF, RouteKind::ReturnRoute)
            }),
            ("kind-not-accepted", |r| retag(r, LEAF, anycast())),
            ("marker-not-overlay", |r| retag(r, LEAF, marker())),
            ("local-pref-not-of-state", |r| {
                r.attributes.local_pref = Some(u32::MAX);
            }),
            ("local-pref-not-of-state", |r| {
                r.attributes.local_pref = Some(ClaimState::Standby.local_pref());
            }),
            ("local-pref-not-of-state", |r| {
                r.attributes.local_pref = None
            }),
            ("med-not-of-source", |r| r.attributes.med = Some(1)),
        ];
        for (name, spoil) in cases {
            let mut route = owner(LEAF, "10.77.60.10/32");
            spoil(&mut route);

            assert_eq!(verdict(&route), Err(*name));
        }
    }

    #[test]
    fn a_bound_node_owns_only_what_it_may() {
        assert_eq!(verdict(&owner(BOUND, "10.77.60.33/32")), Ok(BOUND));
        assert_eq!(
            verdict(&owner(BOUND, "10.77.60.10/32")),
            Err("not-permitted")
        );
    }

    #[test]
    fn every_state_is_believed_with_its_own_preference_only() {
        let states = [
            ClaimState::Active,
            ClaimState::Standby,
            ClaimState::Seizing,
            ClaimState::Draining,
            ClaimState::Handover,
        ];
        for (said, meant) in states.iter().flat_map(|a| states.map(|b| (*a, b))) {
            let mut route = owner(LEAF, "10.77.60.10/32");
            let claim = Claim {
                state: said,
                sequence: 1,
                pool: 1,
                source: ClaimSource::default(),
            };
            retag(&mut route, LEAF, RouteKind::Owner(claim));
            route.attributes.local_pref = Some(meant.local_pref());

            assert_eq!(
                verdict(&route).is_ok(),
                said == meant,
                "{said:?} with that of {meant:?}"
            );
        }
    }

    fn verdict(route: &Route) -> Result<NodeId, &'static str> {
        enrollment()
            .check(route.peer, route.prefix, &route.attributes)
            .map(|tags| tags.node)
            .map_err(ImportRejection::name)
    }

    fn enrollment() -> Enrollment {
        let node = |id: NodeId| {
            let may = if id == BOUND {
                vec![net("10.77.60.32/28")]
            } else {
                Vec::new()
            };
            (
                id,
                EnrolledNode {
                    overlay: overlay(id),
                    reflector: id == REFLECTOR,
                    may,
                },
            )
        };
        Enrollment {
            asn: ASN,
            own: US,
            nodes: [US, REFLECTOR, LEAF, BOUND].map(node).into(),
            pools: vec![Pool {
                id: 1,
                name: "lan60".into(),
                prefix: net("10.77.60.0/24"),
                exclude: BTreeSet::from([[10, 77, 60, 1].into()]),
            }],
        }
    }

    fn owner(node: NodeId, prefix: &str) -> Route {
        tagged(node, prefix, claim(1))
    }

    fn tagged(node: NodeId, prefix: &str, kind: RouteKind) -> Route {
        let attributes = PathAttributes::local(overlay(node));
        let mut route = Route {
            peer: node,
            prefix: net(prefix),
            attributes,
        };
        retag(&mut route, node, kind);
        route
    }

    fn retag(route: &mut Route, node: NodeId, kind: RouteKind) {
        RouteTags::new(node, kind).apply(ASN, &mut route.attributes);
    }

    fn claim(pool: u32) -> RouteKind {
        RouteKind::Owner(Claim {
            state: ClaimState::Active,
            sequence: 1,
            pool,
            source: ClaimSource::default(),
        })
    }

    fn anycast() -> RouteKind {
        RouteKind::Anycast(Claim {
            state: ClaimState::Active,
            sequence: 1,
            pool: 1,
            source: ClaimSource::default(),
        })
    }

    fn marker() -> RouteKind {
        RouteKind::Marker { epoch: 5 }
    }

    fn overlay(node: NodeId) -> Ipv4Addr {
        Ipv4Addr::from(0x0a63_0000 + node.0)
    }

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }
}
