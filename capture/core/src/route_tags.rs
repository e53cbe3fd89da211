//! How a route says who announces it, what it is and in which state: large communities `asn:function:value`
//! (RFC 8092), numbered as in bgp.md section 5.6.
//!
//! Parsing is strict: a missing, doubled or unknown value is a named error and the route is refused. Functions that
//! are not in the table and communities of other administrators are left alone, so that the table can grow.

use std::fmt;

use sam_bgp::{LargeCommunity, PathAttributes};
use serde::{Deserialize, Serialize};

use crate::claim_source::ClaimSource;
use crate::inability::Inability;
use crate::node::{NodeId, Role};

/// Functions: the second number of the large community.
pub mod function {
    /// Node id; mandatory on every route.
    pub const NODE: u32 = 1;
    /// Kind; mandatory on every route.
    pub const KIND: u32 = 2;
    /// State of a claim.
    pub const STATE: u32 = 3;
    /// Sequence of a claim.
    pub const SEQUENCE: u32 = 4;
    /// Pool of a claim.
    pub const POOL: u32 = 5;
    /// Site or group; optional.
    pub const SITE: u32 = 6;
    /// Role; optional.
    pub const ROLE: u32 = 7;
    /// Epoch of a marker.
    pub const EPOCH: u32 = 8;
    /// Source of a claim; absent when it is configured.
    pub const SOURCE: u32 = 9;
    /// Upper half of a MAC on the node's LAN: on its marker its own, on a claim that of the host; optional, together with the
    /// lower half.
    pub const MAC_HIGH: u32 = 13;
    /// Its lower half.
    pub const MAC_LOW: u32 = 14;
    /// Node that is to take the address of a claim over; optional.
    pub const SUCCESSOR: u32 = 11;
    /// 1 on the marker of a node that is being emptied; optional.
    pub const DRAINED: u32 = 12;
    /// Priority of a node that captures in its cloud, on its marker; absent where it does not, or only plans.
    pub const CAPTURES: u32 = 15;
    /// Term since which it has captured for its site, on its marker; optional.
    pub const TERM: u32 = 16;
    /// 1 on the marker of a node that shares captures with the others of its site; optional.
    pub const SHARES: u32 = 17;
    /// Most addresses that it captures, on its marker, or `u32::MAX`: no limit is known; optional.
    pub const CAPACITY: u32 = 18;
    /// What it has captured, on its marker: shifted by 27 bits, with a block of addresses below; any number of them
    /// (`held_tags`).
    pub const HELD: u32 = 19;
    /// 1 on the marker of a node that carries what comes its way in its cloud; optional.
    pub const READY: u32 = 20;
    /// Why a node captures nothing in its cloud, on its marker; optional.
    pub const INABILITY: u32 = 21;
}

/// The LOCAL_PREF ladder (bgp.md section 5.6): the only way in which a preference is expressed.
pub mod local_pref {
    /// Target of a handover.
    pub const HANDOVER: u32 = 500;
    /// Active owner.
    pub const ACTIVE: u32 = 400;
    /// Claim not yet confirmed.
    pub const SEIZING: u32 = 350;
    /// Standby, announced before the active one breaks.
    pub const STANDBY: u32 = 300;
    /// Member of an anycast address.
    pub const ANYCAST: u32 = 200;
    /// Marker of a living node.
    pub const MARKER: u32 = 50;
    /// Draining.
    pub const DRAINING: u32 = 0;
}

/// What a route says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteTags {
    /// Who announces it.
    pub node: NodeId,
    /// What it is.
    pub kind: RouteKind,
    /// Site or group of the node.
    pub site: Option<u32>,
    /// Where the node runs.
    pub role: Option<Role>,
    /// A MAC on the node's LAN: on its marker its own, on a claim that of the host.
    pub mac: Option<[u8; 6]>,
    /// Node that is asked to take the address over.
    pub successor: Option<NodeId>,
    /// Whether the node is being emptied, and takes nothing over.
    pub drained: bool,
    /// Priority of the node among those that capture for its site in a cloud; `None` where it does not.
    pub captures: Option<u8>,
    /// Term since which it does so alone; 0: it does not.
    pub term: u32,
    /// Whether it shares captures with the other nodes of its site.
    pub shares: bool,
    /// Most addresses that it captures, where that is known.
    pub capacity: Option<u32>,
    /// Whether the node carries what comes its way in its cloud; `false` where nothing is said of it.
    pub ready: bool,
    /// Why the node captures nothing in its cloud, where it says so.
    pub inability: Option<Inability>,
}

/// What a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// 1: the node owns the address.
    Owner(Claim),
    /// 2: the node lives.
    Marker {
        /// Different at each start of the node.
        epoch: u32,
    },
    /// 3: the way back to an address of the node itself.
    ReturnRoute,
    /// 4: the node is one of several that share the address.
    Anycast(Claim),
}

/// A node's claim on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// How far the claim is.
    pub state: ClaimState,
    /// Grows with each acquisition of the address.
    pub sequence: u32,
    /// Number of the pool.
    pub pool: u32,
    /// How the node knows.
    pub source: ClaimSource,
}

/// State of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimState {
    /// 1: holds the address.
    Active,
    /// 2: would take it over.
    Standby,
    /// 3: takes it over, not yet confirmed.
    Seizing,
    /// 4: gives it up.
    Draining,
    /// 5: gets it in a planned move.
    Handover,
}

/// Why the tags of a route cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TagsError {
    /// No node id.
    NodeMissing,
    /// No kind.
    KindMissing,
    /// A kind that is not in the table.
    KindUnknown,
    /// A claim without state.
    StateMissing,
    /// A state that is not in the table.
    StateUnknown,
    /// A claim without sequence.
    SequenceMissing,
    /// A claim without pool.
    PoolMissing,
    /// A source that is not in the table.
    SourceUnknown,
    /// A role that is not in the table.
    RoleUnknown,
    /// A marker without epoch.
    EpochMissing,
    /// Two values for one function.
    Duplicate,
}

impl RouteTags {
    /// Reads the tags that `asn` defines among `communities`.
    ///
    /// # Errors
    /// The first thing that is missing, doubled or unknown.
    pub fn parse(asn: u32, communities: &[LargeCommunity]) -> Result<Self, TagsError> {
        let value = |function| value_of(asn, function, communities);
        let claim = || -> Result<Claim, TagsError> {
            let state = value(function::STATE)?.ok_or(TagsError::StateMissing)?;
            Ok(Claim {
                state: ClaimState::from_value(state).ok_or(TagsError::StateUnknown)?,
                sequence: value(function::SEQUENCE)?.ok_or(TagsError::SequenceMissing)?,
                pool: value(function::POOL)?.ok_or(TagsError::PoolMissing)?,
                source: match value(function::SOURCE)? {
                    Some(value) => {
                        ClaimSource::from_value(value).ok_or(TagsError::SourceUnknown)?
                    }
                    None => ClaimSource::default(),
                },
            })
        };
        let node = NodeId(value(function::NODE)?.ok_or(TagsError::NodeMissing)?);
        let kind = match value(function::KIND)?.ok_or(TagsError::KindMissing)? {
            1 => RouteKind::Owner(claim()?),
            2 => RouteKind::Marker {
                epoch: value(function::EPOCH)?.ok_or(TagsError::EpochMissing)?,
            },
            3 => RouteKind::ReturnRoute,
            4 => RouteKind::Anycast(claim()?),
            _ => return Err(TagsError::KindUnknown),
        };
        let role = match value(function::ROLE)? {
            Some(value) => Some(Role::from_value(value).ok_or(TagsError::RoleUnknown)?),
            None => None,
        };
        Ok(Self {
            node,
            kind,
            site: value(function::SITE)?,
            role,
            mac: mac_of(value(function::MAC_HIGH)?, value(function::MAC_LOW)?),
            successor: value(function::SUCCESSOR)?.map(NodeId),
            drained: value(function::DRAINED)? == Some(1),
            captures: value(function::CAPTURES)?.and_then(|value| u8::try_from(value).ok()),
            term: value(function::TERM)?.unwrap_or(0),
            shares: value(function::SHARES)? == Some(1),
            capacity: value(function::CAPACITY)?,
            ready: value(function::READY)? == Some(1),
            inability: value(function::INABILITY)?.and_then(Inability::from_value),
        })
    }

    /// The tags of a route of this node, without what is optional.
    #[must_use]
    pub const fn new(node: NodeId, kind: RouteKind) -> Self {
        Self {
            node,
            kind,
            site: None,
            role: None,
            mac: None,
            successor: None,
            drained: false,
            captures: None,
            term: 0,
            shares: false,
            capacity: None,
            ready: false,
            inability: None,
        }
    }

    /// Writes the tags, sorted.
    #[must_use]
    pub fn communities(&self, asn: u32) -> Vec<LargeCommunity> {
        let mut values = vec![
            (function::NODE, self.node.0),
            (function::KIND, self.kind.value()),
        ];
        if let RouteKind::Owner(claim) | RouteKind::Anycast(claim) = self.kind {
            values.push((function::STATE, claim.state.value()));
            values.push((function::SEQUENCE, claim.sequence));
            values.push((function::POOL, claim.pool));
        }
        values.extend(self.site.map(|site| (function::SITE, site)));
        values.extend(self.role.map(|role| (function::ROLE, role.value())));
        if let RouteKind::Marker { epoch } = self.kind {
            values.push((function::EPOCH, epoch));
        }
        if let Some(claim) = self.claim()
            && claim.source != ClaimSource::default()
        {
            values.push((function::SOURCE, claim.source.value()));
        }
        values.extend(self.successor.map(|node| (function::SUCCESSOR, node.0)));
        values.extend(self.drained.then_some((function::DRAINED, 1)));
        if let Some(mac) = self.mac {
            let half = |at: usize| u32::from_be_bytes([0, mac[at], mac[at + 1], mac[at + 2]]);
            values.push((function::MAC_HIGH, half(0)));
            values.push((function::MAC_LOW, half(3)));
        }
        let captures = self.captures.map(u32::from);
        values.extend(captures.map(|priority| (function::CAPTURES, priority)));
        values.extend((self.term > 0).then_some((function::TERM, self.term)));
        values.extend(self.shares.then_some((function::SHARES, 1)));
        values.extend(self.capacity.map(|most| (function::CAPACITY, most)));
        values.extend(self.ready.then_some((function::READY, 1)));
        let inability = self.inability.map(Inability::value);
        values.extend(inability.map(|value| (function::INABILITY, value)));
        let community = |(local1, local2)| LargeCommunity {
            global: asn,
            local1,
            local2,
        };
        values.into_iter().map(community).collect()
    }

    /// Puts the tags, and the LOCAL_PREF and MED that belong to them, on a path.
    pub fn apply(&self, asn: u32, attributes: &mut PathAttributes) {
        attributes.local_pref = Some(self.kind.local_pref());
        let med = self.claim().map_or(0, |claim| claim.source.med());
        attributes.med = (med > 0).then_some(med);
        attributes
            .large_communities
            .retain(|community| community.global != asn);
        attributes.large_communities.extend(self.communities(asn));
        attributes.large_communities.sort_unstable();
    }

    /// Returns the claim, if the route is one.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        match self.kind {
            RouteKind::Owner(claim) | RouteKind::Anycast(claim) => Some(claim),
            RouteKind::Marker { .. } | RouteKind::ReturnRoute => None,
        }
    }
}

impl RouteKind {
    /// Returns the LOCAL_PREF of such a route.
    #[must_use]
    pub fn local_pref(self) -> u32 {
        match self {
            Self::Owner(claim) => claim.state.local_pref(),
            Self::Marker { .. } => local_pref::MARKER,
            Self::ReturnRoute | Self::Anycast(_) => local_pref::ANYCAST,
        }
    }

    /// Returns the name as in views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Marker { .. } => "marker",
            Self::ReturnRoute => "return-route",
            Self::Anycast(_) => "anycast",
        }
    }

    fn value(self) -> u32 {
        match self {
            Self::Owner(_) => 1,
            Self::Marker { .. } => 2,
            Self::ReturnRoute => 3,
            Self::Anycast(_) => 4,
        }
    }
}

impl ClaimState {
    const ALL: [Self; 5] = [
        Self::Active,
        Self::Standby,
        Self::Seizing,
        Self::Draining,
        Self::Handover,
    ];

    /// Returns the LOCAL_PREF of a claim in this state.
    #[must_use]
    pub fn local_pref(self) -> u32 {
        match self {
            Self::Active => local_pref::ACTIVE,
            Self::Standby => local_pref::STANDBY,
            Self::Seizing => local_pref::SEIZING,
            Self::Draining => local_pref::DRAINING,
            Self::Handover => local_pref::HANDOVER,
        }
    }

    /// Returns the name as in views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Seizing => "seizing",
            Self::Draining => "draining",
            Self::Handover => "handover",
        }
    }

    fn value(self) -> u32 {
        match self {
            Self::Active => 1,
            Self::Standby => 2,
            Self::Seizing => 3,
            Self::Draining => 4,
            Self::Handover => 5,
        }
    }

    fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.value() == value)
    }
}

impl TagsError {
    /// Returns the short name used in counters, events and views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeMissing => "node-id-missing",
            Self::KindMissing => "kind-missing",
            Self::KindUnknown => "kind-unknown",
            Self::StateMissing => "state-missing",
            Self::StateUnknown => "state-unknown",
            Self::SequenceMissing => "sequence-missing",
            Self::PoolMissing => "pool-missing",
            Self::SourceUnknown => "source-unknown",
            Self::RoleUnknown => "role-unknown",
            Self::EpochMissing => "epoch-missing",
            Self::Duplicate => "tag-duplicate",
        }
    }
}

/// Puts a MAC together; halves that are missing or too large say nothing.
fn mac_of(high: Option<u32>, low: Option<u32>) -> Option<[u8; 6]> {
    let ([0, a, b, c], [0, d, e, f]) = (high?.to_be_bytes(), low?.to_be_bytes()) else {
        return None;
    };
    Some([a, b, c, d, e, f])
}

fn value_of(
    asn: u32,
    function: u32,
    communities: &[LargeCommunity],
) -> Result<Option<u32>, TagsError> {
    let mut values = communities
        .iter()
        .filter(|community| community.global == asn && community.local1 == function)
        .map(|community| community.local2);
    let first = values.next();
    match values.next() {
        Some(_) => Err(TagsError::Duplicate),
        None => Ok(first),
    }
}

impl fmt::Display for TagsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for TagsError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASN: u32 = 64_512;

    #[test]
    fn an_owner_route_carries_the_numbers_of_the_table() {
        let tags = RouteTags {
            node: NodeId(7),
            kind: RouteKind::Owner(Claim {
                state: ClaimState::Active,
                sequence: 3,
                pool: 1,
                source: ClaimSource::Configured,
            }),
            site: None,
            role: Some(Role::Aws),
            mac: None,
            successor: None,
            drained: false,
            captures: None,
            term: 0,
            shares: false,
            capacity: None,
            ready: false,
            inability: None,
        };

        let text: Vec<String> = tags
            .communities(ASN)
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(
            text,
            [
                "64512:1:7",
                "64512:2:1",
                "64512:3:1",
                "64512:4:3",
                "64512:5:1",
                "64512:7:2"
            ]
        );
    }

    #[test]
    fn a_marker_carries_its_epoch_and_no_claim() {
        let tags = RouteTags::new(NodeId(7), RouteKind::Marker { epoch: 99 });

        assert_eq!(
            tags.communities(ASN),
            communities(&[(1, 7), (2, 2), (8, 99)])
        );
        assert_eq!(tags.claim(), None);
    }

    #[test]
    fn incomplete_or_unknown_tags_are_named() {
        let cases: &[(&[(u32, u32)], TagsError)] = &[
            (&[], TagsError::NodeMissing),
            (&[(2, 1), (3, 1), (4, 1), (5, 1)], TagsError::NodeMissing),
            (&[(1, 7)], TagsError::KindMissing),
            (&[(1, 7), (2, 0)], TagsError::KindUnknown),
            (&[(1, 7), (2, 5)], TagsError::KindUnknown),
            (&[(1, 7), (2, 1), (4, 1), (5, 1)], TagsError::StateMissing),
            (
                &[(1, 7), (2, 1), (3, 6), (4, 1), (5, 1)],
                TagsError::StateUnknown,
            ),
            (
                &[(1, 7), (2, 1), (3, 1), (5, 1)],
                TagsError::SequenceMissing,
            ),
            (&[(1, 7), (2, 4), (3, 1), (4, 1)], TagsError::PoolMissing),
            (
                &[(1, 7), (2, 1), (3, 1), (4, 1), (5, 1), (9, 4)],
                TagsError::SourceUnknown,
            ),
            (&[(1, 7), (2, 2)], TagsError::EpochMissing),
            (&[(1, 7), (2, 2), (7, 6), (8, 1)], TagsError::RoleUnknown),
            (&[(1, 7), (1, 8), (2, 2), (8, 1)], TagsError::Duplicate),
            (
                &[(1, 7), (2, 1), (3, 1), (4, 1), (4, 2), (5, 1)],
                TagsError::Duplicate,
            ),
        ];
        for (values, error) in cases {
            assert_eq!(
                RouteTags::parse(ASN, &communities(values)),
                Err(*error),
                "{values:?}"
            );
        }
    }

    #[test]
    fn half_a_mac_says_nothing() {
        for values in [
            [(13, 0x02_0000), (99, 1)],
            [(14, 0x01), (99, 1)],
            [(13, 0x0100_0000), (14, 1)],
        ] {
            let marker = [(1, 7), (2, 2), (8, 1)];
            let all: Vec<_> = marker.into_iter().chain(values).collect();
            let tags = RouteTags::parse(ASN, &communities(&all)).unwrap();
            assert_eq!(tags.mac, None, "{values:?}");
        }
    }

    #[test]
    fn foreign_communities_and_new_functions_are_left_alone() {
        let mut all = communities(&[(1, 7), (2, 2), (8, 1), (99, 5), (99, 6)]);
        all.push(LargeCommunity {
            global: 1,
            local1: 1,
            local2: 8,
        });

        assert_eq!(
            RouteTags::parse(ASN, &all).map(|tags| tags.node),
            Ok(NodeId(7))
        );
    }

    #[test]
    fn applied_tags_replace_former_ones_and_keep_foreign_ones() {
        let mut attributes = PathAttributes::local([10, 99, 0, 7].into());
        let foreign = LargeCommunity {
            global: 1,
            local1: 2,
            local2: 3,
        };
        attributes.large_communities = vec![foreign];
        let tags = |sequence| {
            let state = ClaimState::Standby;
            let pool = 1;
            let claim = Claim {
                state,
                sequence,
                pool,
                source: ClaimSource::Observed,
            };
            RouteTags::new(NodeId(7), RouteKind::Owner(claim))
        };

        tags(1).apply(ASN, &mut attributes);
        tags(2).apply(ASN, &mut attributes);

        assert_eq!(
            RouteTags::parse(ASN, &attributes.large_communities),
            Ok(tags(2))
        );
        assert!(attributes.large_communities.contains(&foreign));
        assert!(attributes.large_communities.is_sorted());
        assert_eq!(attributes.local_pref, Some(local_pref::STANDBY));
        assert_eq!(attributes.med, Some(ClaimSource::Observed.med()));
    }

    proptest! {
        #[test]
        fn tags_survive_the_way_over_the_wire(
            node in any::<u32>(), kind in 0_usize..4, state in 0_usize..5, sequence in any::<u32>(),
            pool in any::<u32>(), site in any::<Option<u32>>(), role in 0_u32..6, epoch in any::<u32>(),
            source in 1_u32..4, mac in any::<Option<[u8; 6]>>(),
            successor in any::<Option<u32>>(), drained in any::<bool>(), captures in any::<Option<u8>>(),
            term in any::<u32>(), shares in any::<bool>(), capacity in any::<Option<u32>>(), ready in any::<bool>(),
            inability in 0_u32..7,
        ) {
            let source = ClaimSource::from_value(source).unwrap();
            let claim = Claim { state: ClaimState::ALL[state], sequence, pool, source };
            let kinds = [
                RouteKind::Owner(claim),
                RouteKind::Marker { epoch },
                RouteKind::ReturnRoute,
                RouteKind::Anycast(claim),
            ];
            let tags = RouteTags {
                site,
                role: Role::from_value(role),
                mac,
                successor: successor.map(NodeId),
                drained,
                captures,
                term,
                shares,
                capacity,
                ready,
                inability: Inability::from_value(inability),
                ..RouteTags::new(NodeId(node), kinds[kind])
            };

            let communities = tags.communities(ASN);

            prop_assert!(communities.is_sorted());
            prop_assert_eq!(RouteTags::parse(ASN, &communities), Ok(tags));
        }
    }

    fn communities(values: &[(u32, u32)]) -> Vec<LargeCommunity> {
        let community = |&(local1, local2)| LargeCommunity {
            global: ASN,
            local1,
            local2,
        };
        values.iter().map(community).collect()
    }
}
