//! Who talks BGP with whom: leaves with route reflectors, reflectors with everybody, or a full mesh without any; and each
//! with foreign neighbors of its own.

use sam_bgp::{AddPathDirection, OwnRestart, PeerConfig, PeerId, PeerRole, SpeakerConfig};
use sam_capture::NodeId;

use crate::config::{Config, Node};
use crate::events::Event;
use crate::journal::RuntimeState;
use crate::policy::FabricPolicy;

/// Returns the speaker's own settings.
#[must_use]
pub(crate) fn speaker_config(config: &Config) -> SpeakerConfig {
    let own = config.own_node();
    SpeakerConfig {
        asn: config.fabric.asn,
        router_id: own.overlay,
        cluster_id: own.overlay,
        hostname: own.name.clone(),
        graceful_restart: config.fabric.bgp.graceful_restart,
    }
}

/// Returns what is known of our own restart. Packet path and BGP are one process, so what led to us was not forwarded
/// meanwhile; only a reflector that owns nothing never announced anything of that kind.
#[must_use]
pub(crate) fn own_restart(
    config: &Config,
    state: &RuntimeState,
    policy: &FabricPolicy,
) -> OwnRestart {
    let reflector = config
        .fabric
        .bgp
        .route_reflectors
        .contains(&config.local.node);
    OwnRestart {
        awaited: state.sessions.iter().copied().map(peer_of).collect(),
        forwarding: reflector && state.owned(config, policy.enrollment()).is_empty(),
    }
}

/// Returns the BGP peers: nodes by their ids, then foreign neighbors.
#[must_use]
pub(crate) fn peer_configs(config: &Config) -> Vec<PeerConfig> {
    let reflectors = &config.fabric.bgp.route_reflectors;
    let own_reflector = reflectors.contains(&config.local.node);
    let peer = |node: &Node| {
        let reflector = reflectors.contains(&node.id);
        // Leaves do not talk to each other where there are reflectors.
        let talks = reflectors.is_empty() || own_reflector || reflector;
        talks.then(|| PeerConfig {
            id: peer_of(node.id),
            address: node.overlay,
            router_id: Some(node.overlay),
            role: if own_reflector && !reflector {
                PeerRole::Client
            } else {
                PeerRole::NonClient
            },
            // A leaf calls its reflectors; equals call each other and let the collision rule choose.
            active: !own_reflector || reflector,
            hold_time: config.fabric.bgp.hold_time,
            connect_retry: config.fabric.bgp.connect_retry,
            max_prefixes: config.fabric.bgp.max_prefixes,
            reflector,
            // Everybody: a standby's claim is not the best path at the standby either, and would go no further.
            add_path: Some(AddPathDirection::Both),
            extended_messages: true,
            ipv6: !config.fabric.bgp.ipv6.is_empty(),
        })
    };
    let foreign = config.local.foreign.peer_configs(config.fabric.asn);
    other_nodes(config)
        .filter_map(peer)
        .chain(foreign)
        .collect()
}

/// Lists all nodes but our own, by id.
pub(crate) fn other_nodes(config: &Config) -> impl Iterator<Item = &Node> {
    config
        .fabric
        .nodes
        .values()
        .filter(|node| node.id != config.local.node)
}

/// Tells whether a BGP peer is a node of the fabric.
#[must_use]
pub(crate) fn is_node(config: &Config, peer: PeerId) -> bool {
    config.fabric.nodes.contains_key(&node_of(peer))
}

/// Returns the BGP name of a node.
#[must_use]
pub(crate) fn peer_of(node: NodeId) -> PeerId {
    PeerId(node.0)
}

/// Returns the node behind a BGP peer; for a foreign neighbor, its address as a number.
#[must_use]
pub(crate) fn node_of(peer: PeerId) -> NodeId {
    NodeId(peer.0)
}

impl From<sam_bgp::speaker::Event> for Event {
    fn from(event: sam_bgp::speaker::Event) -> Self {
        use sam_bgp::speaker::Event as Bgp;
        match event {
            Bgp::Established { peer } => Self::SessionUp {
                node: node_of(peer),
            },
            Bgp::Down { peer, reason } => Self::SessionDown {
                node: node_of(peer),
                reason,
            },
            Bgp::AttemptFailed { peer, reason } => Self::SessionAttemptFailed {
                node: node_of(peer),
                reason,
            },
            Bgp::LimitNear {
                peer,
                family,
                limit,
            } => Self::MaxPrefixesNear {
                node: node_of(peer),
                family: family.name().into(),
                limit,
            },
            Bgp::Retained {
                peer,
                routes,
                time,
                silent: _,
            } => Self::RoutesRetained {
                node: node_of(peer),
                routes,
                seconds: time.as_secs(),
            },
            Bgp::StaleRemoved {
                peer,
                routes,
                reason,
            } => Self::StaleRemoved {
                node: node_of(peer),
                routes,
                reason: reason.into(),
            },
            Bgp::RestartOver { missing } => Self::RestartOver {
                missing: missing.into_iter().map(node_of).collect(),
            },
            Bgp::Rejected {
                peer,
                prefix,
                reason,
            } => Self::RouteRejected {
                node: node_of(peer),
                prefix,
                reason: reason.into(),
            },
            Bgp::Malformed { peer, kind, reason } => Self::AttributeMalformed {
                node: node_of(peer),
                kind,
                reason: reason.into(),
            },
            Bgp::ConnectionRefused {
                from,
                reason,
                count,
            } => Self::ConnectionRefused {
                from,
                reason: reason.into(),
                count,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_leaf_calls_its_reflectors_and_nobody_else() {
        let config = fixture::config(3, 4, &[1, 2]);

        assert_eq!(
            rows(&config),
            [
                (1, PeerRole::NonClient, true),
                (2, PeerRole::NonClient, true)
            ]
        );
    }

    #[test]
    fn a_reflector_waits_for_its_clients_and_calls_the_other_reflector() {
        let config = fixture::config(1, 4, &[1, 2]);

        assert_eq!(
            rows(&config),
            [
                (2, PeerRole::NonClient, true),
                (3, PeerRole::Client, false),
                (4, PeerRole::Client, false)
            ]
        );
    }

    #[test]
    fn without_reflectors_everybody_calls_everybody() {
        let config = fixture::config(2, 3, &[]);

        assert_eq!(
            rows(&config),
            [
                (1, PeerRole::NonClient, true),
                (3, PeerRole::NonClient, true)
            ]
        );
    }

    fn rows(config: &Config) -> Vec<(u32, PeerRole, bool)> {
        peer_configs(config)
            .iter()
            .map(|peer| (peer.id.0, peer.role, peer.active))
            .collect()
    }
}
