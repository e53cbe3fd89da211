//! `samctl routes`: the forwarding table, with the reason for each entry.

use ipnet::Ipv4Net;
use sam_dataplane::NextHop;
use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Router;
use crate::fib_sync::Route;

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

impl RouteAction {
    /// Returns the name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lan => "lan",
            Self::Tunnel => "tunnel",
            Self::Withhold => "withhold",
            Self::Unreachable => "unreachable",
            Self::Blackhole => "blackhole",
        }
    }
}

impl RouteOrigin {
    /// Returns the name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Owned => "owned",
            Self::Bgp => "bgp",
            Self::OwnOverlay => "own-overlay",
            Self::Overlay => "overlay",
            Self::LanAddress => "lan-address",
        }
    }
}

impl Router {
    /// `samctl routes`
    #[must_use]
    pub fn routes(&self) -> RoutesView {
        let routes = self.fib.routes();
        let routes = routes
            .map(|(prefix, route)| self.route_row(prefix, route))
            .collect();
        RoutesView {
            generation: self.fib.generation(),
            routes,
        }
    }

    /// Shows one entry.
    pub(crate) fn route_row(&self, prefix: Ipv4Net, route: Route) -> RouteRow {
        let published = self.fib.ports();
        let mut row = RouteRow {
            prefix,
            action: RouteAction::Withhold,
            interface: None,
            node: None,
            tunnel: None,
            mtu: None,
            origin: route.origin,
        };
        match route.next_hop {
            NextHop::Local => {
                row.action = RouteAction::Local;
                row.interface = Some(self.config.local.tun.clone());
                row.mtu = published.tun.as_ref().map(|tun| tun.mtu);
            }
            NextHop::Lan(port) => {
                let lan = published.lans.iter().find(|lan| lan.id == port);
                row.action = RouteAction::Lan;
                row.interface = lan.map(|lan| lan.name.clone());
                row.mtu = lan.map(|lan| lan.mtu);
            }
            NextHop::Tunnel(tunnel) => {
                let node = self.numbering.node(tunnel);
                row.action = RouteAction::Tunnel;
                row.node = node.map(|node| NodeRef::new(&self.config, node));
                row.tunnel = Some(tunnel.0);
                row.mtu = published
                    .tunnels
                    .get(usize::from(tunnel.0))
                    .map(|tunnel| tunnel.mtu);
            }
            NextHop::Withhold => row.action = RouteAction::Withhold,
            NextHop::Unreachable => row.action = RouteAction::Unreachable,
            NextHop::Blackhole => row.action = RouteAction::Blackhole,
        }
        row
    }
}
