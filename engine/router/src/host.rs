//! What is known about the host and the ways out of it: LAN, TUN, endpoints, tunnels that are up.
//!
//! Facts only; what follows from them is decided elsewhere. [`Gate`] is the one conclusion that several need.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::Ipv4Net;
use sam_capture::NodeId;
use sam_dataplane::notice::Mac;

use crate::Router;
use crate::config::{
    ActiveWhen, ArpDiscovery, Capture, CloudCapture, Config, Host as EndpointHost,
};
use crate::input::HostEvent;

/// Facts about the host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// The capture interface, once it is present.
    pub(crate) lan: Option<Lan>,
    /// The TUN device, once it exists.
    pub(crate) tun: Option<Tun>,
    /// The address of our own endpoint, if this host has it.
    pub(crate) outer_source: Option<IpAddr>,
    /// Where nodes are and how.
    paths: BTreeMap<NodeId, UnderlayPath>,
    /// Whether tunnels can carry packets; absent while nothing is known.
    tunnels: BTreeMap<NodeId, bool>,
}

/// The TUN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tun {
    /// The kernel's number of it.
    pub(crate) index: u32,
    /// MTU in bytes.
    pub(crate) mtu: u16,
}

/// The capture interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lan {
    /// The kernel's number of the interface.
    pub(crate) index: u32,
    /// Our MAC on it.
    pub(crate) mac: Mac,
    /// The kernel's address and subnet on it, if any.
    pub(crate) address: Option<Ipv4Net>,
    /// MTU in bytes.
    pub(crate) mtu: u16,
    /// Administratively up and carrier present.
    pub(crate) up: bool,
}

/// The underlay to one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct UnderlayPath {
    resolved: Option<SocketAddr>,
    roamed: Option<SocketAddr>,
    /// The route to `roamed`, once it was looked at.
    roamed_route: Option<RoamedRoute>,
    mtu: Option<u16>,
    /// The kernel's number of the interface that the route to `resolved` leads out by.
    interface: u32,
    /// Whether the route to `resolved` leads into our own TUN device.
    into_tun: bool,
}

/// Whether this router may act on its LAN; closed means silent (fail closed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Whether it may answer ARP.
    pub(crate) open: bool,
    /// Whether it may announce what it owns: with an open gate, or when there is no LAN to act on.
    pub(crate) may_originate: bool,
    /// Why.
    pub(crate) reason: &'static str,
}

/// Where a node was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roamed {
    /// Outer address.
    pub address: SocketAddr,
    /// The way there; `None` before it was looked at.
    pub route: Option<RoamedRoute>,
}

/// The kernel's route to where a node was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoamedRoute {
    /// MTU of the underlay there, in bytes; `None` if the kernel names no route.
    pub mtu: Option<u16>,
    /// Whether it leads into our own TUN device.
    pub into_tun: bool,
}

impl Router {
    /// Returns where a node was last seen, if that is not its configured address.
    #[must_use]
    pub fn roamed(&self, node: NodeId) -> Option<Roamed> {
        self.host.roamed(node)
    }
}

impl UnderlayPath {
    /// Tells whether an address is the configured one; the route is the same for all ports.
    fn is_at_home(&self, address: SocketAddr) -> bool {
        self.resolved
            .is_some_and(|resolved| resolved.ip() == address.ip())
    }
}

/// Tells whether a node's endpoint is a name, whose address may change.
fn endpoint_is_name(config: &Config, node: NodeId) -> bool {
    let node = config.fabric.nodes.get(&node);
    let endpoint = node.and_then(|node| node.endpoint.as_ref());
    endpoint.is_some_and(|endpoint| matches!(endpoint.host, EndpointHost::Name(_)))
}

/// Underlay MTU where the runtime has not told another one.
pub(crate) const DEFAULT_UNDERLAY_MTU: u16 = 1500;

impl Host {
    /// Takes in a fact; facts about interfaces and nodes that are not configured are ignored.
    pub(crate) fn on_event(&mut self, event: HostEvent, config: &Config) {
        match event {
            HostEvent::Lan {
                interface,
                index,
                mac,
                address,
                mtu,
                up,
            } => {
                if config.local.capture.interface() == Some(&interface) {
                    self.lan = Some(Lan {
                        index,
                        mac,
                        address,
                        mtu,
                        up,
                    });
                }
            }
            HostEvent::Tun { index, mtu } => self.tun = Some(Tun { index, mtu }),
            HostEvent::OuterSource(source) => self.outer_source = source,
            HostEvent::Endpoint {
                node,
                address,
                interface,
                underlay_mtu,
                into_tun,
            } => {
                if config.fabric.nodes.contains_key(&node) && node != config.local.node {
                    let path = self.paths.entry(node).or_default();
                    // Of a name, its new address is the next endpoint of WireGuard, wherever the node was seen.
                    if endpoint_is_name(config, node) && path.resolved != Some(address) {
                        path.roamed = None;
                        path.roamed_route = None;
                    }
                    path.resolved = Some(address);
                    path.interface = interface;
                    path.into_tun = into_tun;
                    // The MTU of our own device says nothing about an underlay.
                    if !into_tun {
                        path.mtu = Some(underlay_mtu);
                    }
                }
            }
            HostEvent::Roamed {
                node,
                address,
                route,
            } => {
                let path = self.paths.get_mut(&node);
                // It may have moved on meanwhile.
                if let Some(path) = path.filter(|path| path.roamed == Some(address)) {
                    path.roamed_route = Some(route);
                }
            }
        }
    }

    /// Takes in that a node's outer address moved.
    pub(crate) fn on_roamed(&mut self, node: NodeId, to: SocketAddr) {
        let path = self.paths.entry(node).or_default();
        if path
            .roamed
            .replace(to)
            .is_none_or(|former| former.ip() != to.ip())
        {
            path.roamed_route = None;
        }
    }

    /// Returns where a node was last seen, if that is not its configured address.
    #[must_use]
    pub(crate) fn roamed(&self, node: NodeId) -> Option<Roamed> {
        let path = self.paths.get(&node)?;
        let address = path.roamed.filter(|roamed| !path.is_at_home(*roamed))?;
        Some(Roamed {
            address,
            route: path.roamed_route,
        })
    }

    /// Takes in whether the tunnel to a node carries packets; tells whether that is news.
    pub(crate) fn on_tunnel(&mut self, node: NodeId, up: bool) -> bool {
        self.tunnels.insert(node, up) != Some(up)
    }

    /// Tells whether the tunnel to a node carries packets.
    #[must_use]
    pub(crate) fn tunnel_up(&self, node: NodeId) -> bool {
        let has_session = self.tunnels.get(&node).copied().unwrap_or(false);
        has_session && !self.is_routed_into_itself(node)
    }

    /// Tells whether the tunnel to a node is known to carry no packets.
    #[must_use]
    pub(crate) fn tunnel_failed(&self, node: NodeId) -> bool {
        self.tunnels.get(&node) == Some(&false)
    }

    /// Forgets what was learned about nodes whose endpoint changed or which are gone, and about tunnels that are others.
    pub(crate) fn on_config(&mut self, old: &Config, new: &Config) {
        let endpoint = |config: &Config, node| {
            config
                .fabric
                .nodes
                .get(&node)
                .map(|node| node.endpoint.clone())
        };
        self.paths
            .retain(|node, _| endpoint(old, *node) == endpoint(new, *node));
        // A session of WireGuard is there whatever it carries.
        let encrypts =
            |config: &Config, node| config.transport_to(node).encapsulation.is_encrypted();
        self.tunnels.retain(|node, _| {
            let same =
                old.wraps_alike(new, *node) || (encrypts(old, *node) && encrypts(new, *node));
            new.fabric.nodes.contains_key(node) && same
        });
        // Nobody roams without encryption.
        let plain = |node| !new.transport_to(node).encapsulation.is_encrypted();
        for (_, path) in self.paths.iter_mut().filter(|(node, _)| plain(**node)) {
            path.roamed = None;
        }
    }

    /// Returns the endpoint to configure: the literal address, else the resolved name.
    #[must_use]
    pub(crate) fn endpoint(&self, config: &Config, node: NodeId) -> Option<SocketAddr> {
        let endpoint = config.fabric.nodes.get(&node)?.endpoint.as_ref()?;
        match &endpoint.host {
            EndpointHost::Address(address) => Some(SocketAddr::new(*address, endpoint.port)),
            EndpointHost::Name(_) => self.paths.get(&node)?.resolved,
        }
    }

    /// Returns where the node was last seen: the roamed address, else the one to configure.
    #[must_use]
    pub(crate) fn current_endpoint(&self, config: &Config, node: NodeId) -> Option<SocketAddr> {
        let roamed = self.paths.get(&node).and_then(|path| path.roamed);
        roamed.or_else(|| self.endpoint(config, node))
    }

    /// Tells whether what is sent to a node where it is now comes back by our own TUN device.
    #[must_use]
    pub(crate) fn is_routed_into_itself(&self, node: NodeId) -> bool {
        match self.roamed(node) {
            Some(roamed) => roamed.route.is_some_and(|route| route.into_tun),
            None => self.paths.get(&node).is_some_and(|path| path.into_tun),
        }
    }

    /// Tells whether the way to a node's endpoint leads out by the LAN.
    #[must_use]
    pub(crate) fn leads_by_lan(&self, node: NodeId) -> bool {
        let path = self.paths.get(&node);
        let lan = self.lan.as_ref().filter(|lan| lan.index != 0);
        lan.zip(path)
            .is_some_and(|(lan, path)| lan.index == path.interface)
    }

    /// Returns the MTU of the underlay to a node where it is now; as long as the way there is not known, that to its
    /// configured address. Without a known configured way it is the default at most: frames that this host's link carries
    /// may be too long for what lies between, and nobody said that they fit.
    #[must_use]
    pub(crate) fn underlay_mtu(&self, node: NodeId) -> u16 {
        let route = self.roamed(node).and_then(|roamed| roamed.route);
        // The MTU of our own device says nothing about an underlay.
        let roamed = route.filter(|route| !route.into_tun);
        let roamed = roamed.and_then(|route| route.mtu);
        match self.paths.get(&node).and_then(|path| path.mtu) {
            Some(configured) => roamed.unwrap_or(configured),
            None => roamed.map_or(DEFAULT_UNDERLAY_MTU, |mtu| mtu.min(DEFAULT_UNDERLAY_MTU)),
        }
    }

    /// Decides whether this router may act on its LAN; `role` is whether VRRP made it the master, and why.
    #[must_use]
    pub(crate) fn gate(
        &self,
        capture: &Capture,
        stopping: bool,
        role: (bool, &'static str),
    ) -> Gate {
        let closed = |reason| Gate {
            open: false,
            may_originate: false,
            reason,
        };
        if stopping {
            return closed("orderly stop under way");
        }
        match (capture, &self.lan) {
            (Capture::None, _) => Gate {
                open: false,
                may_originate: true,
                reason: "capture is off",
            },
            (Capture::ProxyArp { .. } | Capture::Cloud(_), None) => closed("interface is absent"),
            (Capture::ProxyArp { .. } | Capture::Cloud(_), Some(lan)) if !lan.up => {
                closed("interface is down")
            }
            // The provider answers ARP there, and decides who has an address.
            (Capture::Cloud(_), Some(_)) => Gate {
                open: true,
                may_originate: true,
                reason: "in a cloud its provider answers ARP",
            },
            (Capture::ProxyArp { active_when, .. }, Some(lan)) => {
                let (open, reason) = match active_when {
                    ActiveWhen::SingleRouter => (true, "only router of the site"),
                    ActiveWhen::Vrrp(_) if lan.address.is_none() => {
                        (false, "VRRP: the interface has no address")
                    }
                    ActiveWhen::Vrrp(_) => role,
                };
                Gate {
                    open,
                    may_originate: open,
                    reason,
                }
            }
        }
    }
}

impl Capture {
    /// Returns its name, as in files.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ProxyArp { .. } => "proxy-arp",
            Self::Cloud(cloud) => cloud.provider.name(),
        }
    }

    /// Returns the name of the LAN interface.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::ProxyArp { interface, .. } | Self::Cloud(CloudCapture { interface, .. }) => {
                Some(interface)
            }
        }
    }

    /// Returns how addresses of the LAN are learned, if they are.
    #[must_use]
    pub(crate) fn discovery(&self) -> Option<&ArpDiscovery> {
        match self {
            Self::None | Self::Cloud(_) => None,
            Self::ProxyArp { discovery, .. } => discovery.as_ref(),
        }
    }

    /// Whether the LAN, or the provider of the cloud, can be asked who lives here.
    pub(crate) fn can_ask(&self) -> bool {
        match self {
            Self::None => false,
            Self::Cloud(cloud) => cloud.discovery.is_some(),
            Self::ProxyArp { discovery, .. } => discovery.is_some(),
        }
    }
}
