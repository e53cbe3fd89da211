//! Routers of others: BGP neighbors outside of the fabric, of other ASes, each with its own transport and policy.
//!
//! They reach us at an ordinary address of this host, not through a tunnel, so what keeps strangers out is configured
//! for each: hop limits and signatures. Their names in BGP are their addresses as numbers; no node has such an id
//! (checked where the file is read).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_bgp::rules::Rules;
use sam_bgp::template::PeerTemplate;
use sam_bgp::{ExternalPeer, PeerConfig, PeerId, PeerRole};
use sam_capture::NodeId;

use crate::config::BfdTiming;
use crate::secret::Secret;

/// All foreign neighbors of this router.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreign {
    /// Those that are configured one by one.
    pub neighbors: BTreeMap<Ipv4Addr, ForeignNeighbor>,
    /// Ranges of addresses from which neighbors may come; disjoint, and without the addresses of `neighbors`.
    pub ranges: Vec<ForeignRange>,
}

/// A neighbor at a known address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignNeighbor {
    /// Its name; unique among nodes, neighbors and ranges.
    pub name: String,
    /// Whether it is left to it to connect.
    pub passive: bool,
    /// What is agreed with it.
    pub terms: Terms,
}

/// Neighbors that may come from a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRange {
    /// Name of the range.
    pub name: String,
    /// Their addresses.
    pub range: Ipv4Net,
    /// How many there may be at a time.
    pub limit: usize,
    /// What is agreed with each.
    pub terms: Terms,
}

/// What is agreed with a neighbor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Its AS number; not that of the fabric.
    pub asn: u32,
    /// Our address towards it: where it finds us, and the next hop that it is told.
    pub local_address: Ipv4Addr,
    /// The next hop that it is told with routes of IPv6 unicast, which are exchanged only if there is one.
    pub local_address_ipv6: Option<Ipv6Addr>,
    /// The only interface through which it is heard; any when `None`.
    pub interface: Option<String>,
    /// How far away it may be.
    pub reach: Reach,
    /// How segments are signed.
    pub authentication: Option<Authentication>,
    /// How BFD watches the way to it; the session ends when that fails (RFC 5882). None of a range is watched.
    pub bfd: Option<BfdTiming>,
    /// Proposed hold time.
    pub hold_time: Duration,
    /// Base of the connect retry.
    pub connect_retry: Duration,
    /// Prefixes accepted.
    pub max_prefixes: usize,
    /// Whether messages of up to 65535 bytes are offered (RFC 8654).
    pub extended_messages: bool,
    /// Which routes are taken from it; none without (RFC 8212).
    pub import: Option<Rules>,
    /// Which routes it is told; none without (RFC 8212).
    pub export: Option<Rules>,
    /// Whether it is asked to prefer other ways, because this one goes away soon (RFC 8326).
    pub graceful_shutdown: bool,
}

/// How far away a neighbor may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// On the same link: packets leave with TTL 1.
    Link,
    /// So many hops away at most: packets leave with that TTL.
    Multihop(u8),
    /// So many hops away at most, and proved: both sides send with TTL 255, and what arrives with less than 255 less the
    /// hops between is dropped (RFC 5082).
    Secured(u8),
}

/// How segments are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication {
    /// TCP MD5 (RFC 2385).
    Md5(Secret),
    /// TCP-AO (RFC 5925).
    TcpAo {
        /// The master key.
        key: Secret,
        /// KeyID in what we send.
        send_id: u8,
        /// KeyID in what we receive.
        receive_id: u8,
        /// The message authentication code.
        algorithm: AoAlgorithm,
    },
}

/// Message authentication codes of TCP-AO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AoAlgorithm {
    /// HMAC-SHA-1-96 (RFC 5926).
    HmacSha1,
    /// AES-128-CMAC-96 (RFC 5926).
    Aes128Cmac,
    /// HMAC-SHA-256, cut to 96 bits.
    HmacSha256,
}

impl Reach {
    /// How many hops away a neighbor is at most.
    #[must_use]
    pub const fn hops(self) -> u8 {
        match self {
            Self::Link => 1,
            Self::Multihop(hops) | Self::Secured(hops) => hops,
        }
    }

    /// TTL of what is sent, and the least TTL of what is taken; 0 takes any.
    #[must_use]
    pub const fn hop_limits(self) -> (u8, u8) {
        match self {
            Self::Link => (1, 0),
            Self::Multihop(hops) => (hops, 0),
            Self::Secured(hops) => (255, 255 - hops.saturating_sub(1)),
        }
    }

    /// The least TTL of packets of BFD that are taken; 0 takes any. They begin with 255 over one hop (RFC 5881 section 5). Over
    /// several nothing says with what they begin, and BIRD takes 64: unless TTLs are to prove the distance, they prove nothing.
    #[must_use]
    pub const fn least_bfd_ttl(self) -> u8 {
        match self {
            Self::Link => sam_bfd::TTL,
            Self::Multihop(_) | Self::Secured(_) => self.hop_limits().1,
        }
    }
}

impl Foreign {
    /// Tells whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.neighbors.is_empty() && self.ranges.is_empty()
    }

    /// Returns what is agreed with the neighbor at an address, and who that is.
    #[must_use]
    pub fn terms(&self, address: Ipv4Addr) -> Option<(&str, &Terms)> {
        if let Some(neighbor) = self.neighbors.get(&address) {
            return Some((neighbor.name.as_str(), &neighbor.terms));
        }
        let mut ranges = self.ranges.iter();
        let range = ranges.find(|range| range.range.contains(&address))?;
        Some((range.name.as_str(), &range.terms))
    }

    /// Lists what is agreed with whom, configured neighbors first.
    pub fn all(&self) -> impl Iterator<Item = (Ipv4Net, &Terms)> {
        let neighbors = self.neighbors.iter();
        let neighbors = neighbors.map(|(address, it)| (Ipv4Net::from(*address), &it.terms));
        neighbors.chain(self.ranges.iter().map(|it| (it.range, &it.terms)))
    }

    /// Lists the neighbors that BFD watches.
    pub(crate) fn watched(&self) -> impl Iterator<Item = Ipv4Addr> {
        let watched = self.neighbors.iter();
        let watched = watched.filter(|(_, neighbor)| neighbor.terms.bfd.is_some());
        watched.map(|(address, _)| *address)
    }

    /// Returns the name of a neighbor; that of one from a range is its address.
    pub(crate) fn name_of(&self, node: NodeId) -> Option<String> {
        let address = Ipv4Addr::from(node.0);
        if let Some(neighbor) = self.neighbors.get(&address) {
            return Some(neighbor.name.clone());
        }
        self.terms(address).map(|_| address.to_string())
    }

    /// Finds a neighbor by its name or address, as a BGP peer.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        let mut neighbors = self.neighbors.iter();
        if let Some((address, _)) = neighbors.find(|(_, neighbor)| neighbor.name == name) {
            return Some(NodeId((*address).into()));
        }
        let address: Ipv4Addr = name.parse().ok()?;
        self.terms(address).map(|_| NodeId(address.into()))
    }

    /// Returns the BGP peers; `asn` is ours.
    pub(crate) fn peer_configs(&self, asn: u32) -> impl Iterator<Item = PeerConfig> {
        self.neighbors.iter().map(move |(address, neighbor)| {
            neighbor.terms.peer_config(*address, !neighbor.passive, asn)
        })
    }

    /// Returns what peers from ranges are like; `asn` is ours.
    pub(crate) fn templates(&self, asn: u32) -> Vec<PeerTemplate> {
        let template = |range: &ForeignRange| PeerTemplate {
            range: range.range,
            limit: range.limit,
            peer: range.terms.peer_config(range.range.addr(), false, asn),
        };
        self.ranges.iter().map(template).collect()
    }
}

impl Terms {
    fn peer_config(&self, address: Ipv4Addr, active: bool, asn: u32) -> PeerConfig {
        PeerConfig {
            id: PeerId(address.into()),
            address,
            router_id: None,
            role: PeerRole::External(ExternalPeer {
                asn: self.asn,
                local_asn: asn,
                next_hop: self.local_address,
                next_hop_ipv6: self.local_address_ipv6,
            }),
            active,
            hold_time: self.hold_time,
            connect_retry: self.connect_retry,
            max_prefixes: self.max_prefixes,
            reflector: false,
            add_path: None,
            extended_messages: self.extended_messages,
            ipv6: self.local_address_ipv6.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_secured_neighbor_sends_must_have_come_over_few_hops() {
        let table = [
            (Reach::Link, (1, 0)),
            (Reach::Multihop(3), (3, 0)),
            (Reach::Secured(1), (255, 255)),
            (Reach::Secured(3), (255, 253)),
            (Reach::Secured(255), (255, 1)),
        ];
        for (reach, limits) in table {
            assert_eq!(reach.hop_limits(), limits, "{reach:?}");
        }
        let hops = [Reach::Link, Reach::Multihop(3), Reach::Secured(2)].map(Reach::hops);
        assert_eq!(hops, [1, 3, 2]);
    }

    #[test]
    fn bfd_takes_any_ttl_from_several_hops_away_unless_they_are_to_be_proved() {
        for (reach, least) in [
            (Reach::Link, 255),
            (Reach::Secured(1), 255),
            (Reach::Secured(2), 254),
            (Reach::Multihop(2), 0),
        ] {
            assert_eq!(reach.least_bfd_ttl(), least, "{reach:?}");
        }
    }
}
