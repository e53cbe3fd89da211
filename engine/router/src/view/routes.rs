//! `samctl routes`: the forwarding table, with the reason for each entry.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::NodeRef;

/// The forwarding table in prefix order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesView {
    /// Generation of the published snapshot.
    pub generation: u64,
    /// Entries.
    pub routes: Vec<RouteRow>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// Destination.
    pub prefix: Ipv4Net,
    /// What happens to packets.
    pub action: RouteAction,
    /// Interface (`lan`, `local`).
    pub interface: Option<String>,
    /// Far node (`tunnel`).
    pub node: Option<NodeRef>,
    /// Tunnel number (`tunnel`).
    pub tunnel: Option<u16>,
    /// Largest packet on that way, where one is known.
    pub mtu: Option<u16>,
    /// Why the entry exists.
    pub origin: RouteOrigin,
}

/// What happens to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteAction {
    /// To the router's own host, through the TUN device.
    Local,
    /// To a host on the LAN.
    Lan,
    /// Through a tunnel.
    Tunnel,
    /// Dropped: inside a pool, owned by nobody.
    Withhold,
    /// Dropped with ICMP unreachable.
    Unreachable,
    /// Dropped in silence.
    Blackhole,
}

/// Why an entry exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteOrigin {
    /// A configured pool: withheld unless somebody owns the address.
    Pool,
    /// Best path of this router itself.
    Owned,
    /// Best path of another node.
    Bgp,
    /// This router's overlay address.
    OwnOverlay,
    /// Another node's overlay address.
    Overlay,
    /// This router's own address on the LAN.
    LanAddress,
}
