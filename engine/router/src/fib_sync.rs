//! Keeps the published forwarding state equal to RIB and configuration, and publishes only what changed.
//!
//! [`desired_routes`] is a pure function; its order is the precedence, because a later entry replaces an earlier one:
//! 1. pools withhold, so that an address that nobody owns is dropped (mobility.md I8),
//! 2. best paths: own addresses to the LAN (to the host where there is no LAN), others' into their tunnel, or nowhere
//!    while that is refused ([`crate::tunnel_fault`]); in a cloud those of our site's other routers to the LAN too, for
//!    that is the subnet of them all: what is under way while it captures elsewhere arrives, from hosts and to them,
//! 3. overlay addresses and the router's own LAN address, which no claim can take away.
//!
//! Markers are signals and never installed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use sam_capture::NodeId;
use sam_dataplane::snapshot::{LanPort, TunPort, Tunnel};
use sam_dataplane::{FibBuilder, NextHop, PortId, Snapshot};

use crate::config::Config;
use crate::owner_table::OwnerTable;
use crate::tunnels::TunnelPlan;
use crate::view::RouteOrigin;

/// The TUN port.
pub const TUN_PORT: PortId = PortId(0);
/// The LAN port.
pub const LAN_PORT: PortId = PortId(1);

/// One forwarding entry with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where packets go.
    pub(crate) next_hop: NextHop,
    /// Why.
    pub(crate) origin: RouteOrigin,
}

/// What the desired routes follow from.
#[derive(Debug)]
pub(crate) struct RouteSources<'a> {
    /// Configuration.
    pub(crate) config: &'a Config,
    /// Best paths.
    pub(crate) owners: &'a OwnerTable,
    /// Tunnels by node.
    pub(crate) tunnels: &'a BTreeMap<NodeId, TunnelPlan>,
    /// Our address on the LAN.
    pub(crate) lan_address: Option<Ipv4Addr>,
    /// Whether the LAN port exists.
    pub(crate) lan_present: bool,
}

/// The desired forwarding state, without generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Entries.
    pub(crate) routes: BTreeMap<Ipv4Net, Route>,
    /// LAN ports.
    pub(crate) lans: Vec<LanPort>,
    /// The TUN port.
    pub(crate) tun: Option<TunPort>,
    /// Tunnels by number.
    pub(crate) tunnels: Vec<Tunnel>,
}

/// The published forwarding state.
#[derive(Debug, Default)]
pub(crate) struct FibSync {
    published: Desired,
    snapshot: Arc<Snapshot>,
}

impl FibSync {
    /// Publishes `desired`, if it differs from what was published last.
    pub(crate) fn update(&mut self, desired: Desired) -> Option<Arc<Snapshot>> {
        if self.generation() > 0 && desired == self.published {
            return None;
        }
        self.published = desired;
        let mut builder = FibBuilder::default();
        for (prefix, route) in &self.published.routes {
            builder.insert(*prefix, route.next_hop);
        }
        self.snapshot = Arc::new(Snapshot {
            generation: self.generation() + 1,
            fib: builder.build(),
            lans: self.published.lans.clone(),
            tun: self.published.tun.clone(),
            tunnels: self.published.tunnels.clone(),
        });
        Some(Arc::clone(&self.snapshot))
    }

    /// Returns what was published last.
    #[must_use]
    pub(crate) fn published(&self) -> &Desired {
        &self.published
    }

    /// Returns what the packet path was given last.
    #[must_use]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the generation of what was published last.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    /// Returns the entry that a packet to `address` takes.
    #[must_use]
    pub(crate) fn lookup(&self, address: Ipv4Addr) -> Option<(Ipv4Net, Route)> {
        let routes = &self.published.routes;
        let covering = routes
            .iter()
            .filter(|(prefix, _)| prefix.contains(&address));
        covering
            .max_by_key(|(prefix, _)| prefix.prefix_len())
            .map(|(prefix, route)| (*prefix, *route))
    }
}

/// Computes the forwarding entries.
#[must_use]
pub(crate) fn desired_routes(sources: &RouteSources<'_>) -> BTreeMap<Ipv4Net, Route> {
    let config = sources.config;
    let tunnel_to = |node| {
        sources.tunnels.get(&node).map(|plan| match plan.fault {
            None => NextHop::Tunnel(plan.tunnel),
            Some(_) => NextHop::Unreachable,
        })
    };
    let mut routes = BTreeMap::new();
    let mut set = |prefix: Ipv4Net, next_hop, origin| {
        routes.insert(prefix, Route { next_hop, origin });
    };
    // 1. Pools withhold.
    for pool in &config.fabric.pools {
        set(pool.prefix.trunc(), NextHop::Withhold, RouteOrigin::Pool);
    }
    // 2. Best paths.
    let own = match (config.local.capture.interface(), sources.lan_present) {
        (None, _) => NextHop::Local,
        (Some(_), true) => NextHop::Lan(LAN_PORT),
        (Some(_), false) => NextHop::Unreachable,
    };
    for owner in sources.owners.owners() {
        let is_sibling = config.share_cloud(config.local.node, owner.node);
        if owner.local {
            set(Ipv4Net::from(owner.address), own, RouteOrigin::Owned);
        } else if is_sibling && sources.lan_present {
            // It is in our own subnet; the provider may lead its packets to either router.
            set(Ipv4Net::from(owner.address), own, RouteOrigin::Bgp);
        } else if let Some(next_hop) = tunnel_to(owner.node) {
            set(Ipv4Net::from(owner.address), next_hop, RouteOrigin::Bgp);
        }
    }
    // 3. Addresses that no claim can take away.
    for node in config.fabric.nodes.values() {
        if let Some(next_hop) = tunnel_to(node.id) {
            set(Ipv4Net::from(node.overlay), next_hop, RouteOrigin::Overlay);
        }
    }
    set(
        Ipv4Net::from(config.own_node().overlay),
        NextHop::Local,
        RouteOrigin::OwnOverlay,
    );
    if let Some(address) = sources.lan_address {
        set(
            Ipv4Net::from(address),
            NextHop::Local,
            RouteOrigin::LanAddress,
        );
    }
    routes
}
