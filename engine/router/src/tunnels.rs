//! The ways to the other nodes: tunnels for the packet path and WireGuard peers, one of each per node.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sam_capture::NodeId;
use sam_dataplane::TunnelId;
use sam_dataplane::snapshot::{Encap, Tunnel};
use sam_wg::{PeerConfig, PeerIndex};

use crate::config::{Config, TunnelMtu};
use crate::host::Host;
use crate::numbering::Numbering;
use crate::peers::other_nodes;

/// What is known about the way to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TunnelPlan {
    /// The tunnel.
    pub(crate) tunnel: TunnelId,
    /// The WireGuard peer.
    pub(crate) peer: PeerIndex,
    /// Where the node was last seen.
    pub(crate) endpoint: Option<SocketAddr>,
    /// MTU of the underlay to it.
    pub(crate) underlay_mtu: u16,
    /// Bytes that encapsulation adds.
    pub(crate) overhead: u16,
    /// Largest inner packet.
    pub(crate) mtu: u16,
}

/// Smallest MTU that IPv4 allows (RFC 791).
const MINIMUM_MTU: u16 = 68;

/// Plans the way to each other node.
#[must_use]
pub(crate) fn plan(
    config: &Config,
    numbering: &Numbering,
    host: &Host,
) -> BTreeMap<NodeId, TunnelPlan> {
    let way = |node: NodeId| {
        let tunnel = numbering.tunnel(node)?;
        let peer = numbering.peer(node)?;
        let endpoint = host.current_endpoint(config, node);
        let underlay_mtu = host.underlay_mtu(node);
        let outer_ipv6 = endpoint.is_some_and(|endpoint| endpoint.is_ipv6());
        let overhead = Encap::WireGuard(peer).overhead(outer_ipv6);
        let mtu = match config.fabric.transport.mtu {
            TunnelMtu::Fixed(mtu) => mtu,
            TunnelMtu::Auto => underlay_mtu.saturating_sub(overhead).max(MINIMUM_MTU),
        };
        Some((
            node,
            TunnelPlan {
                tunnel,
                peer,
                endpoint,
                underlay_mtu,
                overhead,
                mtu,
            },
        ))
    };
    other_nodes(config)
        .filter_map(|node| way(node.id))
        .collect()
}

/// Makes the tunnel table of a snapshot. Numbers without a node get a tunnel to nobody, because the table is indexed
/// by number.
#[must_use]
pub(crate) fn tunnel_table(config: &Config, plans: &BTreeMap<NodeId, TunnelPlan>) -> Vec<Tunnel> {
    let by_number: BTreeMap<u16, (NodeId, &TunnelPlan)> = plans
        .iter()
        .map(|(node, plan)| (plan.tunnel.0, (*node, plan)))
        .collect();
    let last = by_number.keys().next_back().map_or(0, |last| last + 1);
    let entry = |number| match by_number.get(&number) {
        Some((node, plan)) => Tunnel {
            id: plan.tunnel,
            name: config
                .fabric
                .nodes
                .get(node)
                .map_or_else(String::new, |node| node.name.clone()),
            encap: Encap::WireGuard(plan.peer),
            mtu: plan.mtu,
            mss_clamp: config.fabric.transport.mss_clamp,
        },
        None => Tunnel {
            id: TunnelId(number),
            name: String::new(),
            encap: Encap::WireGuard(PeerIndex(number)),
            mtu: MINIMUM_MTU,
            mss_clamp: false,
        },
    };
    (0..last).map(entry).collect()
}

/// Makes the WireGuard peers, by index.
#[must_use]
pub(crate) fn wireguard_peers(
    config: &Config,
    plans: &BTreeMap<NodeId, TunnelPlan>,
    host: &Host,
) -> Vec<PeerConfig> {
    let peer = |(node, plan): (&NodeId, &TunnelPlan)| {
        let configured = config.fabric.nodes.get(node)?;
        Some(PeerConfig {
            index: plan.peer,
            public_key: configured.public_key,
            preshared_key: config.local.preshared_keys.get(node).cloned(),
            endpoint: host.endpoint(config, *node),
            persistent_keepalive: config.fabric.transport.keepalive,
            roaming: true,
        })
    };
    let mut peers: Vec<PeerConfig> = plans.iter().filter_map(peer).collect();
    peers.sort_by_key(|peer| peer.index);
    peers
}
