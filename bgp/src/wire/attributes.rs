//! Path attributes (RFC 4271 section 5 and the RFCs named at each field): what they mean.
//!
//! The same in every family but for the next hop. How attributes look on the wire is the matter of
//! `attribute_encoder` and `attribute_decoder`; which of them a peer may see is that of the policy.

use std::net::Ipv4Addr;

use super::community::LargeCommunity;

/// ORIGIN; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// 0
    #[default]
    Igp,
    /// 1
    Egp,
    /// 2
    Incomplete,
}

/// One segment of an AS_PATH. AS_SETs are refused (RFC 9774) and never reach this type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsPathSegment(pub Vec<u32>);

/// AGGREGATOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregator {
    /// AS number.
    pub asn: u32,
    /// Router.
    pub router: Ipv4Addr,
}

/// An attribute kept as bytes: optional transitive ones that we do not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawAttribute {
    /// Optional, Transitive and Partial bits; the others say nothing about the value.
    pub flags: u8,
    /// Type code.
    pub kind: u8,
    /// Value.
    pub value: Vec<u8>,
}

/// The attributes of a path. Ordered and hashable, so that equal sets can be shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathAttributes<A = Ipv4Addr> {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH; empty for routes of our own AS.
    pub as_path: Vec<AsPathSegment>,
    /// NEXT_HOP, or that of MP_REACH_NLRI.
    pub next_hop: A,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; absent counts as 100.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997), sorted, without duplicates.
    pub communities: Vec<u32>,
    /// EXTENDED COMMUNITIES (RFC 4360), sorted, without duplicates.
    pub extended_communities: Vec<[u8; 8]>,
    /// LARGE COMMUNITIES (RFC 8092), sorted, without duplicates.
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456).
    pub cluster_list: Vec<Ipv4Addr>,
    /// Unknown optional transitive attributes.
    pub unknown: Vec<RawAttribute>,
}

impl<A> PathAttributes<A> {
    /// Makes the attributes of a locally originated route: IGP, empty path, nothing optional.
    #[must_use]
    pub fn local(next_hop: A) -> Self {
        Self {
            origin: Origin::Igp,
            as_path: Vec::new(),
            next_hop,
            med: None,
            local_pref: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Vec::new(),
            extended_communities: Vec::new(),
            large_communities: Vec::new(),
            originator_id: None,
            cluster_list: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Returns the same attributes with another next hop, of any family.
    pub(super) fn with_next_hop<B>(self, next_hop: B) -> PathAttributes<B> {
        PathAttributes {
            origin: self.origin,
            as_path: self.as_path,
            next_hop,
            med: self.med,
            local_pref: self.local_pref,
            atomic_aggregate: self.atomic_aggregate,
            aggregator: self.aggregator,
            communities: self.communities,
            extended_communities: self.extended_communities,
            large_communities: self.large_communities,
            originator_id: self.originator_id,
            cluster_list: self.cluster_list,
            unknown: self.unknown,
        }
    }

    /// Returns LOCAL_PREF with its default (RFC 4271 section 5.1.5: 100 is customary).
    #[must_use]
    pub fn preference(&self) -> u32 {
        self.local_pref.unwrap_or(100)
    }

    /// Returns the AS that told the route to ours, `None` for one of our own AS: MEDs are compared among routes of which it
    /// is the same (RFC 4271 section 9.1.2.2 c).
    #[must_use]
    pub fn neighboring_as(&self) -> Option<u32> {
        let mut path = self.as_path.iter().flat_map(|segment| &segment.0);
        path.next().copied()
    }
}
