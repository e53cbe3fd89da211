//! The ways to the other nodes: a tunnel for the packet path per node, and a WireGuard peer where it is encrypted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sam_bgp::session::SessionState;
use sam_capture::NodeId;
use sam_dataplane::encap::{Nested, Plain};
use sam_dataplane::snapshot::{Encap, Tunnel};
use sam_dataplane::{Dscp, TunnelId};
use sam_wg::{PeerConfig, PeerIndex};

use crate::Router;
use crate::config::{Config, Node, TunnelMtu};
use crate::host::Host;
use crate::numbering::Numbering;
use crate::path_mtu::Learnt;
use crate::peers::{other_nodes, peer_of};
use crate::tunnel_fault::TunnelFault;

/// What is known about the way to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TunnelPlan {
    /// The tunnel.
    pub(crate) tunnel: TunnelId,
    /// The WireGuard peer.
    pub(crate) peer: PeerIndex,
    /// How packets are wrapped.
    pub(crate) encap: Encap,
    /// What is put around packets before, inside of WireGuard.
    pub(crate) nested: Option<Nested>,
    /// Where the node was last seen.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Why no packet may enter it, if so.
    pub(crate) fault: Option<TunnelFault>,
    /// MTU of the underlay to it.
    pub(crate) underlay_mtu: u16,
    /// Bytes that encapsulation adds.
    pub(crate) overhead: u16,
    /// Largest inner packet: as configured or as the underlay promises, or less when less was learnt.
    pub(crate) mtu: u16,
    /// What was learnt about the path, if it lowers the MTU.
    pub(crate) learnt: Option<Learnt>,
    /// Whether the MSS of passing SYNs is lowered.
    pub(crate) mss_clamp: bool,
    /// Whether packets that may not be fragmented are.
    pub(crate) force_fragment: bool,
    /// DSCP of outer headers.
    pub(crate) dscp: Dscp,
}

/// Smallest MTU that IPv4 allows (RFC 791).
const MINIMUM_MTU: u16 = 68;

impl Router {
    /// Tells whether the tunnel to a node carries packets, as far as known. Without encryption no session says so: then BFD
    /// does, or a session of BGP; where there is neither, nothing speaks against it.
    #[must_use]
    pub fn tunnel_up(&self, node: NodeId) -> bool {
        if self.config.transport_to(node).encapsulation.is_encrypted() {
            return self.host.tunnel_up(node);
        }
        let is_ready = self.host.endpoint(&self.config, node).is_some()
            && !self.host.is_routed_into_itself(node);
        is_ready
            && (self.config.fabric.bfd.is_none()
                || self.path_watch.is_up(node)
                || self.has_session(node))
    }

    /// Plans the way to one other node, without what was learnt about its path.
    pub(crate) fn bare_plan(&self, node: NodeId) -> Option<TunnelPlan> {
        let node = self.config.fabric.nodes.get(&node)?;
        plan_to(&self.config, node, &self.numbering, &self.host)
    }

    fn has_session(&self, node: NodeId) -> bool {
        let peers = self.speaker.peers();
        let peer = peers.iter().find(|peer| peer.id == peer_of(node));
        peer.is_some_and(|peer| peer.state == SessionState::Established)
    }
}

/// Plans the way to each other node, as far as it follows from configuration and host; nothing is learnt yet.
#[must_use]
pub(crate) fn plan(
    config: &Config,
    numbering: &Numbering,
    host: &Host,
) -> BTreeMap<NodeId, TunnelPlan> {
    other_nodes(config)
        .filter_map(|node| Some((node.id, plan_to(config, node, numbering, host)?)))
        .collect()
}

fn plan_to(config: &Config, node: &Node, numbering: &Numbering, host: &Host) -> Option<TunnelPlan> {
    let tunnel = numbering.tunnel(node.id)?;
    let peer = numbering.peer(node.id)?;
    let transport = config.transport_to(node.id);
    let own = config.own_node().overlay;
    // Nobody roams without authentication: only the configured address counts.
    let fixed = host.endpoint(config, node.id).map(|endpoint| endpoint.ip());
    let plain = transport.encapsulation.plain(own, node.overlay, fixed);
    let (encap, endpoint) = match plain {
        Some(plain) => {
            let by_lan = host.leads_by_lan(node.id);
            (Encap::Plain(Plain { by_lan, ..plain }), plain.to)
        }
        None => (
            Encap::WireGuard(peer),
            host.current_endpoint(config, node.id),
        ),
    };
    let underlay_mtu = host.underlay_mtu(node.id);
    let nested = transport.encapsulation.nested(own, node.overlay);
    let overhead = encap.overhead(endpoint.is_some_and(|endpoint| endpoint.is_ipv6()))
        + nested.map_or(0, Nested::header);
    let mtu = match transport.mtu {
        TunnelMtu::Fixed(mtu) => mtu,
        TunnelMtu::Auto => underlay_mtu.saturating_sub(overhead).max(MINIMUM_MTU),
    };
    Some(TunnelPlan {
        tunnel,
        peer,
        encap,
        nested,
        endpoint,
        fault: host
            .is_routed_into_itself(node.id)
            .then_some(TunnelFault::RoutedIntoItself),
        underlay_mtu,
        overhead,
        mtu,
        learnt: None,
        mss_clamp: transport.mss_clamp,
        force_fragment: transport.force_fragment,
        dscp: transport.dscp,
    })
}

/// Makes the tunnel table of a snapshot. Numbers without a node get a tunnel to nobody, because the table is indexed
/// by number.
#[must_use]
pub(crate) fn tunnel_table(config: &Config, plans: &BTreeMap<NodeId, TunnelPlan>) -> Vec<Tunnel> {
    let by_number: BTreeMap<u16, (NodeId, &TunnelPlan)> = plans
        .iter()
        .map(|(node, plan)| (plan.tunnel.0, (*node, plan)))
        .collect();
    let sites = site_numbers(config, plans);
    let last = by_number.keys().next_back().map_or(0, |last| last + 1);
    let entry = |number| match by_number.get(&number) {
        Some((node, plan)) => Tunnel {
            id: plan.tunnel,
            name: config
                .fabric
                .nodes
                .get(node)
                .map_or_else(String::new, |node| node.name.clone()),
            encap: plan.encap,
            nested: plan.nested,
            mtu: plan.mtu,
            mss_clamp: plan.mss_clamp,
            force_fragment: plan.force_fragment,
            dscp: plan.dscp,
            site: sites.get(node).copied().unwrap_or(number),
        },
        None => Tunnel {
            id: TunnelId(number),
            name: String::new(),
            encap: Encap::WireGuard(PeerIndex(number)),
            nested: None,
            mtu: MINIMUM_MTU,
            mss_clamp: false,
            force_fragment: false,
            dscp: Dscp::default(),
            site: number,
        },
    };
    (0..last).map(entry).collect()
}

/// Numbers sites: by the first tunnel to one of its routers. Routers that may own different addresses do not speak for each
/// other, whatever their site.
fn site_numbers(config: &Config, plans: &BTreeMap<NodeId, TunnelPlan>) -> BTreeMap<NodeId, u16> {
    let mut first = BTreeMap::new();
    let number = |(id, plan): (&NodeId, &TunnelPlan)| {
        let node = config.fabric.nodes.get(id)?;
        let number = first
            .entry((&node.site, &node.may))
            .or_insert(plan.tunnel.0);
        Some((*id, *number))
    };
    plans.iter().filter_map(number).collect()
}

/// Makes the WireGuard peers, by index: one per node that is reached by it.
#[must_use]
pub(crate) fn wireguard_peers(
    config: &Config,
    plans: &BTreeMap<NodeId, TunnelPlan>,
    host: &Host,
) -> Vec<PeerConfig> {
    let peer = |(node, plan): (&NodeId, &TunnelPlan)| {
        let configured = config.fabric.nodes.get(node)?;
        matches!(plan.encap, Encap::WireGuard(_)).then(|| PeerConfig {
            index: plan.peer,
            public_key: configured.public_key,
            preshared_key: config.local.preshared_keys.get(node).cloned(),
            endpoint: host.endpoint(config, *node),
            persistent_keepalive: config.transport_to(*node).keepalive,
            roaming: true,
        })
    };
    let mut peers: Vec<PeerConfig> = plans.iter().filter_map(peer).collect();
    peers.sort_by_key(|peer| peer.index);
    peers
}
