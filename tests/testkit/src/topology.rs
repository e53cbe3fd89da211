//! Who is who in a simulated fabric: keys, addresses and configuration of each site.
//!
//! | | site 0 | site 1 | … |
//! |---|---|---|---|
//! | node | 1 | 2 | |
//! | underlay | 203.0.113.11 | 203.0.113.12 | |
//! | overlay | 10.99.0.1 | 10.99.0.2 | |
//! | LAN | 10.77.60.1/24, host 10.77.60.10 | 10.77.60.1/24, host 10.77.60.11 | one pool, 10.77.60.0/24 |
//!
//! In a topology with a pair, router 1 has no site of its own: it stands on LAN 0 as 10.77.60.2, and VRRP decides which of
//! the two acts there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_capture::{NodeId, Pool, Role};
use sam_router::Encapsulation;
use sam_router::config::{
    ActiveWhen, BgpSettings, Capture, Config, Endpoint, Fabric, GracefulRestartConfig,
    Host as EndpointHost, Local, Node, Track, Transport, TunnelMtu, Vrrp, VrrpSettings,
    VrrpVersion,
};
use sam_wg::PrivateKey;

use crate::packet::Mac;
use crate::rng::Rng;

/// The AS of the fabric.
pub const ASN: u32 = 64_577;
/// The LAN interface's name at every site.
pub const LAN: &str = "lan0";
/// The router's own address on every LAN; never mobile.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);
/// The address of the second router of a pair on its LAN.
pub const SECOND_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 2);
/// The virtual address of a pair.
pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
/// Interval of a pair's VRRP advertisements.
pub const ADVERTISEMENT_INTERVAL: Duration = Duration::from_millis(300);
/// Underlay MTU of all sites.
pub const UNDERLAY_MTU: u16 = 1500;
/// The port of WireGuard.
const PORT: u16 = 51_820;

/// Sites, and which of them reflect routes.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Sites that are route reflectors; none means a full mesh.
    pub reflectors: BTreeSet<usize>,
    /// Routers 0 and 1 stand on one LAN.
    paired: bool,
    keys: Vec<PrivateKey>,
}

impl Topology {
    /// Makes `count` sites with keys of their own.
    pub fn new(count: usize, reflectors: &[usize], rng: &mut Rng) -> Self {
        Self {
            reflectors: reflectors.iter().copied().collect(),
            paired: false,
            keys: (0..count).map(|_| private_key(rng)).collect(),
        }
    }

    /// Puts router 1 on the LAN of router 0.
    #[must_use]
    pub fn with_pair(mut self) -> Self {
        self.paired = true;
        self
    }

    /// Returns the LAN on which router `index` stands: its number is that of the first router there.
    #[must_use]
    pub fn lan_of(&self, index: usize) -> usize {
        if self.paired && index == 1 { 0 } else { index }
    }

    /// Returns the address of router `index` on its LAN.
    #[must_use]
    pub fn lan_address(&self, index: usize) -> Ipv4Addr {
        if self.lan_of(index) == index {
            GATEWAY
        } else {
            SECOND_GATEWAY
        }
    }

    /// Returns the number of sites.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Returns the configuration of site `index`.
    #[must_use]
    pub fn config(&self, index: usize) -> Config {
        Config {
            fabric: self.fabric(),
            local: Local {
                node: node_id(index),
                private_key: self.keys[index].clone(),
                preshared_keys: BTreeMap::new(),
                listen_port: PORT,
                workers: None,
                offloads: sam_router::Offloads::default(),
                tun: "sam0".to_owned(),
                capture: Capture::ProxyArp {
                    interface: LAN.to_owned(),
                    gratuitous_arp: true,
                    active_when: self.active_when(index),
                    discovery: None,
                },
                owned: BTreeSet::from([home(self.lan_of(index))]),
                foreign: sam_router::Foreign::default(),
                control_socket: "/run/samctl.sock".into(),
                state_file: None,
            },
        }
    }

    fn active_when(&self, index: usize) -> ActiveWhen {
        if !self.paired || self.lan_of(index) != 0 {
            return ActiveWhen::SingleRouter;
        }
        let settings = VrrpSettings {
            version: VrrpVersion::V3,
            vrid: 60,
            priority: if index == 0 { 150 } else { 100 },
            address: VIRTUAL,
            interval: ADVERTISEMENT_INTERVAL,
            preempt: false,
            peers: BTreeSet::new(),
            routers: BTreeSet::new(),
        };
        let track = Track::default();
        ActiveWhen::Vrrp(Vrrp { settings, track })
    }

    fn fabric(&self) -> Fabric {
        let nodes = self.keys.iter().enumerate();
        Fabric {
            name: "sim".to_owned(),
            asn: ASN,
            pools: vec![Pool {
                id: 1,
                name: "lan60".to_owned(),
                prefix: pool(),
                exclude: if self.paired {
                    BTreeSet::from([GATEWAY, SECOND_GATEWAY, VIRTUAL])
                } else {
                    BTreeSet::from([GATEWAY])
                },
            }],
            wireguard_port: PORT,
            pairs: BTreeMap::new(),
            transport: Transport {
                encapsulation: Encapsulation::WireGuard,
                mtu: TunnelMtu::Auto,
                mss_clamp: true,
                force_fragment: false,
                dscp: sam_dataplane::Dscp::default(),
                keepalive: Some(Duration::from_secs(5)),
            },
            bgp: BgpSettings {
                hold_time: Duration::from_secs(9),
                connect_retry: Duration::from_secs(1),
                route_reflectors: self.reflectors.iter().map(|site| node_id(*site)).collect(),
                max_prefixes: 4096,
                graceful_restart: Some(GracefulRestartConfig {
                    restart_time: Duration::from_secs(120),
                    deferral_time: Duration::from_secs(20),
                }),
                ipv6: Vec::new(),
            },
            bfd: None,
            nodes: nodes
                .map(|(at, key)| (node_id(at), node(at, self.lan_of(at), key)))
                .collect(),
        }
    }
}

/// The pool of all sites.
#[must_use]
pub fn pool() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 77, 60, 0), 24)
}

/// The identity of site `index`.
#[must_use]
pub fn node_id(index: usize) -> NodeId {
    NodeId(u32::from(small(index)) + 1)
}

/// The name of site `index`.
#[must_use]
pub fn name(index: usize) -> String {
    format!("site{index}")
}

/// The address that site `index` owns at first.
#[must_use]
pub fn home(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, 10 + small(index))
}

/// The overlay address of site `index`.
#[must_use]
pub fn overlay(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 1 + small(index))
}

/// The underlay address of site `index`.
#[must_use]
pub fn underlay(index: usize) -> SocketAddr {
    let address = Ipv4Addr::new(203, 0, 113, 11 + small(index));
    SocketAddr::new(IpAddr::V4(address), PORT)
}

/// The MAC of the router of site `index`.
#[must_use]
pub fn router_mac(index: usize) -> Mac {
    [2, 0x5A, 0, 0, 0, small(index)]
}

fn node(index: usize, lan: usize, key: &PrivateKey) -> Node {
    Node {
        id: node_id(index),
        name: name(index),
        site: name(lan),
        role: Role::Onprem,
        overlay: overlay(index),
        endpoint: Some(Endpoint {
            host: EndpointHost::Address(underlay(index).ip()),
            port: PORT,
        }),
        public_key: key.public(),
        may: Vec::new(),
        nic: None,
    }
}

fn private_key(rng: &mut Rng) -> PrivateKey {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.draw().to_le_bytes());
    }
    PrivateKey(bytes)
}

fn small(index: usize) -> u8 {
    u8::try_from(index).expect("a simulation has few sites")
}
