//! `samctl bgp neighbor NODE received|accepted|rejected|advertised|withheld`: one table of one peer, with all attributes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ipnet::IpNet;
use sam_bgp::wire::{Community, Origin};
use sam_bgp::{Family, Path, PathAttributes, PathId, PeerId, Policy, Prefix, RibView};
use sam_capture::NodeId;
use serde::{Deserialize, Serialize};

use super::{NodeRef, seconds_ago};
use crate::Router;
use crate::peers::{node_of, peer_of};

/// A table of a peer (RFC 4271 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTable {
    /// Adj-RIB-In before policy, refused routes included.
    Received,
    /// What of it policy, loop detection and limits let pass.
    Accepted,
    /// What of it they did not.
    Rejected,
    /// Adj-RIB-Out.
    Advertised,
    /// What of the Loc-RIB is not in the Adj-RIB-Out.
    Withheld,
}

/// `samctl bgp neighbor NODE received|accepted|rejected|advertised|withheld`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpTableView {
    /// The peer.
    pub node: NodeRef,
    /// Which of its tables.
    pub table: RouteTable,
    /// Its routes, by prefix.
    pub routes: Vec<BgpTableRow>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpTableRow {
    /// Destination.
    pub prefix: IpNet,
    /// The id of the path, where several are told (RFC 7911).
    pub path_id: Option<u32>,
    /// Its attributes: those received are before policy, those accepted after it.
    #[serde(flatten)]
    pub attributes: AttributesView,
    /// Seconds since it came; `None` for what we advertise.
    pub age_s: Option<f64>,
    /// Why it was refused, if so.
    pub rejected: Option<String>,
    /// Why the peer is not told, if so.
    #[serde(default)]
    pub withheld: Option<String>,
    /// Of what the peer is not told: who told it; `None` when originated here.
    #[serde(default)]
    pub from: Option<NodeRef>,
}

/// The attributes of a route (RFC 4271 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributesView {
    /// ORIGIN: igp, egp, incomplete.
    pub origin: String,
    /// AS_PATH.
    pub as_path: Vec<u32>,
    /// NEXT_HOP.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR, as `asn address`.
    pub aggregator: Option<String>,
    /// Communities, as `asn:value` or by their well-known name.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
    /// Extended communities in hexadecimal.
    pub extended_communities: Vec<String>,
    /// Large communities, as `asn:function:value`.
    pub large_communities: Vec<String>,
    /// Attributes that this router only passes on.
    pub unknown: Vec<UnknownAttribute>,
}

/// An attribute that this router does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownAttribute {
    /// Type code.
    pub kind: u8,
    /// Value in hexadecimal.
    pub value_hex: String,
}

impl RouteTable {
    /// All tables.
    pub const ALL: [Self; 5] = [
        Self::Received,
        Self::Accepted,
        Self::Rejected,
        Self::Advertised,
        Self::Withheld,
    ];

    /// Names a table as the API and the command line do.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Advertised => "advertised",
            Self::Withheld => "withheld",
        }
    }

    /// Finds a table by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

impl Router {
    /// `samctl bgp neighbor NODE TABLE`, of one family or of all; `None` when the node is no BGP peer.
    #[must_use]
    pub fn bgp_table(
        &self,
        node: NodeId,
        table: RouteTable,
        family: Option<Family>,
        now: Instant,
    ) -> Option<BgpTableView> {
        let peer = peer_of(node);
        self.speaker.peers().iter().find(|view| view.id == peer)?;
        let wanted = |it| family.is_none_or(|family| family == it);
        let mut routes = Vec::new();
        if wanted(Family::Ipv4Unicast) {
            routes.extend(self.table_rows(&self.speaker.ipv4(), peer, table, now));
        }
        if wanted(Family::Ipv6Unicast) {
            routes.extend(self.table_rows(&self.speaker.ipv6(), peer, table, now));
        }
        Some(BgpTableView {
            node: NodeRef::new(&self.config, node),
            table,
            routes,
        })
    }

    fn table_rows<N: Prefix>(
        &self,
        rib: &RibView<'_, impl Policy<N>, N>,
        peer: PeerId,
        table: RouteTable,
        now: Instant,
    ) -> Vec<BgpTableRow> {
        let row =
            |prefix: N, id: Option<PathId>, attributes: &PathAttributes<N::NextHop>| BgpTableRow {
                prefix: prefix.into(),
                path_id: id.map(|PathId(id)| id),
                attributes: attributes.into(),
                age_s: None,
                rejected: None,
                withheld: None,
                from: None,
            };
        match table {
            RouteTable::Received | RouteTable::Rejected => {
                let received = rib.received(peer).into_iter();
                received
                    .filter(|route| table == RouteTable::Received || route.rejected.is_some())
                    .map(|route| BgpTableRow {
                        age_s: Some(seconds_ago(route.learned_at, now)),
                        rejected: route.rejected.map(String::from),
                        ..row(route.prefix, route.path_id, &route.attributes)
                    })
                    .collect()
            }
            RouteTable::Accepted => {
                let accepted = rib.accepted(peer).into_iter();
                accepted
                    .map(|(prefix, path)| BgpTableRow {
                        age_s: Some(seconds_ago(path.learned_at, now)),
                        ..row(prefix, path.path_id, &path.attributes)
                    })
                    .collect()
            }
            RouteTable::Withheld => {
                let withheld = rib.withheld(peer).into_iter();
                let from = |path: &Path<N::NextHop>| path.source.peer().map(node_of);
                withheld
                    .map(|route| BgpTableRow {
                        age_s: Some(seconds_ago(route.path.learned_at, now)),
                        withheld: Some(route.reason.into()),
                        from: from(&route.path).map(|node| NodeRef::new(&self.config, node)),
                        ..row(route.prefix, route.path.path_id, &route.path.attributes)
                    })
                    .collect()
            }
            RouteTable::Advertised => {
                let advertised = rib.advertised(peer).into_iter();
                advertised
                    .map(|(route, attributes)| row(route.prefix, route.path_id, &attributes))
                    .collect()
            }
        }
    }
}

impl<A: Copy + Into<IpAddr>> From<&PathAttributes<A>> for AttributesView {
    fn from(attributes: &PathAttributes<A>) -> Self {
        let aggregator = attributes.aggregator;
        Self {
            origin: origin_name(attributes.origin).into(),
            as_path: as_path(attributes),
            next_hop: attributes.next_hop.into(),
            med: attributes.med,
            local_pref: attributes.local_pref,
            atomic_aggregate: attributes.atomic_aggregate,
            aggregator: aggregator.map(|by| format!("{} {}", by.asn, by.router)),
            communities: texts(attributes.communities.iter().copied().map(Community)),
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list.clone(),
            extended_communities: attributes
                .extended_communities
                .iter()
                .map(|bytes| hex(bytes))
                .collect(),
            large_communities: texts(attributes.large_communities.iter()),
            unknown: attributes
                .unknown
                .iter()
                .map(|raw| UnknownAttribute {
                    kind: raw.kind,
                    value_hex: hex(&raw.value),
                })
                .collect(),
        }
    }
}

/// Names an ORIGIN.
pub(super) const fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

/// The AS numbers of an AS_PATH.
pub(super) fn as_path<A>(attributes: &PathAttributes<A>) -> Vec<u32> {
    let segments = attributes.as_path.iter();
    segments.flat_map(|segment| segment.0.clone()).collect()
}

/// Writes each item.
pub(super) fn texts(items: impl Iterator<Item = impl ToString>) -> Vec<String> {
    items.map(|item| item.to_string()).collect()
}

/// Writes bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
