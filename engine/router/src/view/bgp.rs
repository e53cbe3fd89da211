//! `samctl bgp …`: neighbors, RIB, and why a path is the best.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::{BfdRow, NodeRef, NotificationView, StepView};

/// `samctl bgp neighbors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpNeighborsView {
    /// Our AS number.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Neighbors, by node id.
    pub neighbors: Vec<NeighborSummary>,
    /// Why all neighbors of other ASes are asked to use other ways (RFC 8326), if they are: `by order`, `drained`.
    #[serde(default)]
    pub graceful_shutdown: Option<String>,
    /// Our own restart, while it is under way.
    #[serde(default)]
    pub restarting: Option<RestartingView>,
}

/// Our own restart (RFC 4724 section 4.1): until it is over, only our own routes are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestartingView {
    /// Whose End-of-RIB is waited for.
    pub awaited: Vec<NodeRef>,
    /// For how many seconds at most.
    pub remaining_s: f64,
}

/// One neighbor on one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeighborSummary {
    /// The node.
    pub node: NodeRef,
    /// Its address.
    pub address: Ipv4Addr,
    /// Session state (RFC 4271 section 8.2.2): idle, connect, active, open-sent, open-confirm, established.
    pub state: String,
    /// Whether there is no session by order.
    #[serde(default)]
    pub disabled: bool,
    /// Seconds in this state.
    pub since_s: f64,
    /// Its AS number; ours when absent, as older routers say it.
    #[serde(default)]
    pub asn: Option<u32>,
    /// The range of addresses from which it came, if it is not configured one by one.
    #[serde(default)]
    pub range: Option<Ipv4Net>,
    /// `client` (we reflect for it), `non-client`, or `external` (of another AS).
    pub role: String,
    /// Paths received, before policy.
    pub received: usize,
    /// Paths accepted.
    pub accepted: usize,
    /// Paths of each family that are accepted at most; unknown of older routers.
    #[serde(default)]
    pub max_prefixes: Option<usize>,
    /// Paths advertised to it.
    pub advertised: usize,
    /// How often its routes were refused, and attributes in its messages found malformed, by reason: since it was configured,
    /// of all families.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Accepted prefixes kept from a session that ended (RFC 4724).
    #[serde(default)]
    pub stale: usize,
    /// Seconds for which they are kept at most.
    #[serde(default)]
    pub stale_remaining_s: Option<f64>,
    /// Its routes of IPv6 unicast; `None` where they are not offered to it. The counts above are of IPv4 unicast.
    #[serde(default)]
    pub ipv6: Option<FamilyRow>,
    /// What the session lacks of what the fabric uses: `no-addpath`, when several paths to a prefix cannot be told.
    pub degraded: Option<String>,
    /// How often the session reached Established.
    pub established_count: u64,
    /// Why the session last went down.
    pub last_down: Option<String>,
}

/// A neighbor and the routes of a family beside IPv4 unicast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyRow {
    /// Whether it offers the family too.
    pub negotiated: bool,
    /// Several paths to a prefix (RFC 7911), as negotiated: `receive`, `send`, `both` or `none`.
    pub add_path: String,
    /// Paths received, before policy.
    pub received: usize,
    /// Paths accepted.
    pub accepted: usize,
    /// Paths advertised to it.
    pub advertised: usize,
    /// Whether its End-of-RIB came.
    pub end_of_rib: bool,
    /// Accepted prefixes kept from a session that ended (RFC 4724).
    pub stale: usize,
    /// Seconds for which they are kept at most.
    pub stale_remaining_s: Option<f64>,
}

/// `samctl bgp neighbor NODE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpNeighborView {
    /// The line of the list.
    #[serde(flatten)]
    pub summary: NeighborSummary,
    /// Its BGP identifier, when known.
    pub router_id: Option<Ipv4Addr>,
    /// Hold time that we propose, in seconds.
    #[serde(default)]
    pub proposed_hold_time_s: f64,
    /// Negotiated hold time in seconds.
    pub hold_time_s: Option<f64>,
    /// Keepalive interval in seconds.
    pub keepalive_s: Option<f64>,
    /// Several paths to a prefix (RFC 7911), as negotiated: `receive`, `send`, `both` or `none`.
    pub add_path: String,
    /// Messages of up to 65535 bytes (RFC 8654), as negotiated: `receive`, `send`, `both` or `none`.
    #[serde(default)]
    pub extended_messages: String,
    /// What is agreed with a foreign neighbor; `None` for a node of the fabric.
    #[serde(default)]
    pub foreign: Option<ForeignView>,
    /// Timers that run.
    #[serde(default)]
    pub timers: Vec<TimerRow>,
    /// The BFD session with it, if there is one.
    #[serde(default)]
    pub bfd: Option<BfdRow>,
    /// Whether its End-of-RIB came.
    pub end_of_rib: bool,
    /// Capabilities that we sent.
    pub capabilities_sent: Vec<String>,
    /// Capabilities that it sent.
    pub capabilities_received: Vec<String>,
    /// Messages received.
    pub messages_received: MessageCounts,
    /// Messages sent.
    pub messages_sent: MessageCounts,
    /// Last NOTIFICATION sent.
    pub last_sent: Option<NotificationView>,
    /// Last NOTIFICATION received.
    pub last_received: Option<NotificationView>,
    /// What was wrong with its messages lately, the latest first.
    #[serde(default)]
    pub errors: Vec<ErrorRow>,
    /// Routes accepted from it.
    pub routes_accepted: Vec<BgpRouteRow>,
    /// Routes refused from it.
    pub routes_rejected: Vec<RejectedRow>,
    /// Routes advertised to it.
    pub routes_advertised: Vec<BgpRouteRow>,
}

/// What is agreed with a foreign neighbor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignView {
    /// Our address towards it.
    pub local_address: Ipv4Addr,
    /// The next hop that it is told with routes of IPv6 unicast; `None` when those are not offered.
    #[serde(default)]
    pub local_address_ipv6: Option<Ipv6Addr>,
    /// The only interface through which it is heard; any when `None`.
    pub interface: Option<String>,
    /// TTL of what is sent to it.
    pub ttl: u8,
    /// Least TTL of what is taken from it (RFC 5082); 0 takes any.
    pub ttl_least: u8,
    /// How segments are signed: `md5` or `tcp-ao`.
    pub authentication: Option<String>,
    /// Rules of the import policy; `None` without one: nothing is taken (RFC 8212).
    pub import_rules: Option<usize>,
    /// Rules of the export policy; `None` without one: nothing is told.
    pub export_rules: Option<usize>,
    /// Whether it is asked to prefer other ways (RFC 8326).
    pub graceful_shutdown: bool,
}

/// Messages by type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    /// OPEN.
    pub open: u64,
    /// UPDATE.
    pub update: u64,
    /// NOTIFICATION.
    pub notification: u64,
    /// KEEPALIVE.
    pub keepalive: u64,
    /// ROUTE-REFRESH.
    pub route_refresh: u64,
}

/// What was wrong with messages of a neighbor, and the last one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRow {
    /// Seconds since it came.
    pub ago_s: f64,
    /// How many of them came.
    pub count: u64,
    /// Type code of the attribute that was wrong, if it was one; 0 for the list of them.
    pub attribute: Option<u8>,
    /// What was wrong, in a few words.
    pub reason: String,
    /// Bytes of the message.
    pub length: usize,
    /// Its first bytes, header included, in hexadecimal.
    pub sample_hex: String,
}

/// A timer that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimerRow {
    /// Name (RFC 4271 section 8.1.3): connect-retry, hold, keepalive, idle-hold, collision, refresh.
    pub name: String,
    /// Seconds until it is due.
    pub due_s: f64,
}

/// A prefix with its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpRouteRow {
    /// Destination.
    pub prefix: IpNet,
    /// Path identifier in this direction of the session, where it carries them.
    pub path_id: Option<u32>,
    /// Next hop.
    pub next_hop: IpAddr,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// Large communities, as `asn:function:value`.
    pub large_communities: Vec<String>,
}

/// A refused route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// The route.
    #[serde(flatten)]
    pub route: BgpRouteRow,
    /// Reason's name.
    pub reason: String,
}

/// `samctl bgp rib`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpRibView {
    /// All prefixes with at least one path.
    pub entries: Vec<RibEntry>,
}

/// One prefix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RibEntry {
    /// Destination.
    pub prefix: IpNet,
    /// Paths, best first, ineligible ones last.
    pub paths: Vec<PathRow>,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathRow {
    /// Whether it is the best path.
    pub best: bool,
    /// The peer that told; `None` when originated here.
    pub from: Option<NodeRef>,
    /// Path identifier from that peer, where the session carries them.
    pub path_id: Option<u32>,
    /// The node that claims the prefix, by its tags.
    pub node: Option<NodeRef>,
    /// Kind, by its tags: owner, marker, return-route, anycast.
    pub kind: Option<String>,
    /// State of the claim, by its tags.
    pub state: Option<String>,
    /// Sequence of the claim, by its tags.
    pub sequence: Option<u32>,
    /// Next hop.
    pub next_hop: IpAddr,
    /// LOCAL_PREF; 100 when absent.
    pub local_pref: u32,
    /// AS_PATH.
    pub as_path: Vec<u32>,
    /// ORIGIN: igp, egp, incomplete.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<Ipv4Addr>,
    /// Communities, as `asn:value`.
    pub communities: Vec<String>,
    /// Large communities, as `asn:function:value`.
    pub large_communities: Vec<String>,
    /// Seconds since it was learned.
    pub age_s: f64,
    /// Kept from a session that ended, not confirmed since (RFC 4724).
    #[serde(default)]
    pub stale: bool,
    /// Why it cannot be chosen, if so.
    pub ineligible: Option<String>,
    /// Step at which it lost against the best path; for the best one, the step at which it beat the second.
    pub step: StepView,
}

/// `samctl bgp why PREFIX`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BgpWhyView {
    /// Destination.
    pub prefix: IpNet,
    /// The best path.
    pub best: Option<PathRow>,
    /// The paths of which none can be chosen; empty when there is a best path.
    #[serde(default)]
    pub unusable: Vec<PathRow>,
    /// The best path against each other one.
    pub comparisons: Vec<ComparisonView>,
    /// Refused routes for this prefix, with the peer that sent them.
    pub rejected: Vec<(NodeRef, RejectedRow)>,
}

/// The best path against another one, or the path that beat that one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonView {
    /// The path that lost.
    pub loser: PathRow,
    /// The path that beat it, if that is not the best one: one that the same neighboring AS told with a lower
    /// MULTI_EXIT_DISC.
    #[serde(default)]
    pub instead: Option<PathRow>,
    /// What decided.
    pub step: StepView,
    /// Steps from the first to the deciding one, those included that are not used here.
    pub ladder: Vec<LadderRow>,
}

/// One step of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderRow {
    /// The step.
    pub step: StepView,
    /// Value of the path that won.
    pub best: String,
    /// Value of the other path.
    pub other: String,
    /// Whether this step decided.
    pub decides: bool,
    /// Why this step is not used here, if so.
    #[serde(default)]
    pub unused: Option<String>,
}
