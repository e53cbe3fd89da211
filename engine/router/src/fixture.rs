//! Configurations for tests: node N has overlay 10.99.0.N, name `nN`, site `sN`; one pool 10.77.60.0/24.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_capture::{NodeId, Pool, Role};
use sam_wg::{PrivateKey, PublicKey};

use crate::config::{
    ActiveWhen, BfdTiming, BgpSettings, Capture, Config, Endpoint, Fabric, GracefulRestartConfig,
    Host, Local, Node, Transport, TunnelMtu,
};
use crate::encapsulation::Encapsulation;
use crate::input::HostEvent;

/// Timing of BFD.
pub(crate) const BFD: BfdTiming = BfdTiming {
    interval: Duration::from_millis(300),
    multiplier: 3,
};

/// Makes the configuration of node `own` in a fabric of `nodes` nodes.
pub(crate) fn config(own: u32, nodes: u32, reflectors: &[u32]) -> Config {
    let fabric = Fabric {
        name: "test".into(),
        asn: 64_577,
        pools: vec![Pool {
            id: 1,
            name: "lan60".into(),
            prefix: "10.77.60.0/24".parse().unwrap(),
            exclude: BTreeSet::from([address(1), address(254)]),
        }],
        wireguard_port: 51_820,
        pairs: BTreeMap::new(),
        transport: Transport {
            encapsulation: Encapsulation::WireGuard,
            mtu: TunnelMtu::Auto,
            mss_clamp: true,
            force_fragment: false,
            dscp: sam_dataplane::Dscp::default(),
            keepalive: Some(Duration::from_secs(25)),
        },
        bgp: BgpSettings {
            hold_time: Duration::from_secs(9),
            connect_retry: Duration::from_secs(1),
            route_reflectors: reflectors.iter().copied().map(NodeId).collect(),
            max_prefixes: 65_536,
            graceful_restart: Some(GracefulRestartConfig {
                restart_time: Duration::from_secs(120),
                deferral_time: Duration::from_secs(20),
            }),
            ipv6: Vec::new(),
        },
        bfd: Some(BFD),
        nodes: (1..=nodes).map(|id| (NodeId(id), node(id))).collect(),
    };
    let local = Local {
        node: NodeId(own),
        private_key: PrivateKey([1; 32]),
        preshared_keys: BTreeMap::new(),
        listen_port: 51_820,
        workers: None,
        offloads: crate::Offloads::default(),
        tun: "sam0".into(),
        capture: Capture::ProxyArp {
            interface: "eth1".into(),
            gratuitous_arp: true,
            active_when: ActiveWhen::SingleRouter,
            discovery: None,
        },
        owned: BTreeSet::new(),
        foreign: crate::Foreign::default(),
        control_socket: "/run/samctl.sock".into(),
        state_file: None,
    };
    Config { fabric, local }
}

/// Makes a node.
pub(crate) fn node(id: u32) -> Node {
    let last = u8::try_from(id).expect("tests have few nodes");
    Node {
        id: NodeId(id),
        name: format!("n{id}"),
        site: format!("s{id}"),
        role: Role::Onprem,
        overlay: overlay(id),
        endpoint: Some(Endpoint {
            host: Host::Address(Ipv4Addr::new(192, 0, 2, last).into()),
            port: 51_820,
        }),
        public_key: PublicKey([last; 32]),
        may: Vec::new(),
        nic: None,
    }
}

/// Returns 10.77.60.`last`.
pub(crate) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, last)
}

/// Returns the overlay address of a node.
pub(crate) fn overlay(id: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a63_0000 + id)
}

/// The capture interface, up or down, with the address 10.77.60.1.
pub(crate) fn lan(up: bool) -> HostEvent {
    HostEvent::Lan {
        interface: "eth1".into(),
        index: 2,
        mac: [2, 0, 0, 0, 0, 1],
        address: Some("10.77.60.1/24".parse().unwrap()),
        mtu: 1500,
        up,
    }
}
