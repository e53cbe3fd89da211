//! The host around the router: TUN device, LAN interface, addresses, routes; looked at once a second.
//!
//! Writes only what belongs to the router itself: its TUN device, the overlay address on it and the routes to the
//! other overlay addresses. No sysctl, no firewall, nothing on the LAN interface.

mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, bail};
use ipnet::{IpNet, Ipv4Net};
use sam_capture::NodeId;
use sam_dataplane::Snapshot;
use sam_net::netlink::{Link, Route};
use sam_net::packet_socket::RECEIVE_BUFFER;
use sam_net::tun::TunOffloads;
use sam_net::{Filter, FrameFilter, NetError, Netlink, PacketSocket, Tun};
use sam_router::{Config, HostEvent, LAN_PORT, Roamed, RoamedRoute, Router};
use tracing::warn;

use crate::StartError;
use crate::data_plane::{DataPlane, LanSockets, tun_limit};
use crate::resolver::Resolver;

/// TUN MTU until the tunnels' MTU is known; fits every usual underlay.
const FIRST_TUN_MTU: u32 = 1420;
/// Packets that may wait in the TUN device.
const TUN_QUEUE: u32 = 10_000;
/// Underlay MTU where the kernel does not tell.
const DEFAULT_UNDERLAY_MTU: u16 = 1500;

/// Bytes of receive buffer that a socket has in any case; enough for ARP.
const LEAST_BUFFER: i32 = 1 << 20;

/// What the LAN socket in use was opened for; anything else needs another socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LanSocket {
    index: u32,
    /// What the kernel answers for.
    own: Vec<Ipv4Addr>,
    virtual_address: Option<Ipv4Addr>,
    pools: Vec<Ipv4Net>,
}

/// The kernel's way to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Underlay {
    address: SocketAddr,
    /// Index of the link that it leads out by; 0: there is no way.
    interface: u32,
    mtu: u16,
    /// Whether it leads into our own TUN device.
    into_tun: bool,
}

/// What is known about the host, and the means to change what is ours.
#[derive(Debug)]
pub(crate) struct HostIo {
    netlink: Netlink,
    tuns: Vec<Tun>,
    tun_index: u32,
    tun_mtu: u32,
    told_tun_mtu: u32,
    lan: Option<LanSocket>,
    /// Why no LAN socket could be opened at the last look.
    lan_failure: Option<String>,
    told_lan: Option<HostEvent>,
    resolver: Resolver,
    told_endpoints: BTreeMap<NodeId, Underlay>,
    told_source: Option<IpAddr>,
    routed: Vec<Ipv4Addr>,
}

impl HostIo {
    /// Makes the TUN device with the overlay address, and up to one queue per worker.
    ///
    /// # Errors
    /// When the device cannot be made; the message says what is missing.
    pub(crate) fn open(config: &Config, workers: usize) -> Result<Self, StartError> {
        let mut netlink = Netlink::open()?;
        let limit = tun_limit(config.local.offloads);
        let tuns = Tun::open_queues(&config.local.tun, workers, limit)?;
        tell_what_is_missing(&tuns, workers, limit);
        let index = tuns[0].index();
        let overlay = IpNet::from(IpAddr::V4(config.own_node().overlay));
        netlink.add_address(index, overlay)?;
        netlink.set_mtu(index, FIRST_TUN_MTU)?;
        netlink.set_tx_queue_length(index, TUN_QUEUE)?;
        netlink.set_up(index)?;
        let mut host = Self {
            netlink,
            tuns,
            tun_index: index,
            tun_mtu: FIRST_TUN_MTU,
            told_tun_mtu: 0,
            lan: None,
            lan_failure: None,
            told_lan: None,
            resolver: Resolver::new(),
            told_endpoints: BTreeMap::new(),
            told_source: None,
            routed: Vec::new(),
        };
        host.route_overlays(config)
            .context("cannot route the overlay addresses to the TUN")?;
        Ok(host)
    }

    /// Hands the queues of the TUN device to the workers.
    pub(crate) fn take_tuns(&mut self) -> Vec<Tun> {
        std::mem::take(&mut self.tuns)
    }

    /// Looks at the host and returns what is new.
    ///
    /// # Errors
    /// When the TUN device is gone: only a new process can make another.
    pub(crate) fn poll(
        &mut self,
        router: &Router,
        data_plane: &DataPlane,
    ) -> Result<Vec<HostEvent>, StartError> {
        let config = router.config();
        let tun = &config.local.tun;
        match presence(self.netlink.link(tun), self.tun_index) {
            Presence::Here => {}
            Presence::Gone => bail!(
                "the TUN device {tun} was removed; start the router again, it makes a new one"
            ),
            Presence::Unknown(error) => warn!("cannot look at the TUN device {tun}: {error}"),
        }
        let mut events = Vec::new();
        if self.told_tun_mtu != self.tun_mtu {
            self.told_tun_mtu = self.tun_mtu;
            events.push(HostEvent::Tun {
                index: self.tun_index,
                mtu: to_u16(self.tun_mtu),
            });
        }
        if let Err(error) = self.route_overlays(config) {
            warn!(%error, "cannot route the overlay addresses to the TUN");
        }
        if let Some(interface) = config.local.capture.interface() {
            let event = self.look_at_lan(interface, config, data_plane);
            if self.told_lan.as_ref() != Some(&event) {
                self.told_lan = Some(event.clone());
                events.push(event);
            }
        }
        self.look_at_endpoints(router, &mut events);
        self.look_at_roamed(router, &mut events);
        Ok(events)
    }

    /// Keeps the TUN's MTU at the largest tunnel's.
    pub(crate) fn on_snapshot(&mut self, snapshot: &Snapshot) {
        let Some(mtu) = snapshot
            .tunnels
            .iter()
            .map(|tunnel| u32::from(tunnel.mtu))
            .max()
        else {
            return;
        };
        if mtu != self.tun_mtu && mtu >= 576 {
            match self.netlink.set_mtu(self.tun_index, mtu) {
                Ok(()) => self.tun_mtu = mtu,
                Err(error) => warn!(%error, mtu, "cannot set the MTU of the TUN device"),
            }
        }
    }

    /// Makes the next look report everything again, after a reload.
    pub(crate) fn forget(&mut self) {
        self.resolver.forget();
        self.told_endpoints.clear();
        self.told_lan = None;
    }

    /// The address that outer packets carry, for captures.
    pub(crate) fn underlay_address(&mut self) -> IpAddr {
        let peer = self
            .told_endpoints
            .values()
            .next()
            .map(|way| way.address.ip());
        peer.and_then(|peer| self.netlink.route_to(peer).ok())
            .and_then(|answer| answer.source)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn route_overlays(&mut self, config: &Config) -> Result<(), StartError> {
        let own = config.own_node().overlay;
        let wanted: Vec<Ipv4Addr> = config
            .fabric
            .nodes
            .values()
            .map(|node| node.overlay)
            .filter(|overlay| *overlay != own)
            .collect();
        if wanted == self.routed {
            return Ok(());
        }
        for gone in self
            .routed
            .iter()
            .filter(|address| !wanted.contains(address))
        {
            self.netlink.remove_route(&self.overlay_route(*gone, own))?;
        }
        for &address in &wanted {
            self.netlink
                .replace_route(&self.overlay_route(address, own))?;
        }
        self.routed = wanted;
        Ok(())
    }

    fn overlay_route(&self, destination: Ipv4Addr, own: Ipv4Addr) -> Route {
        let network = IpNet::from(IpAddr::V4(destination));
        Route {
            source: Some(IpAddr::V4(own)),
            ..Route::on_link(network, self.tun_index)
        }
    }

    fn look_at_lan(&mut self, name: &str, config: &Config, data_plane: &DataPlane) -> HostEvent {
        let link = match self.netlink.link(name) {
            Ok(link) => link,
            Err(error) if error.errno() == Some(ENODEV) => {
                self.lan = None;
                return absent(name, 0);
            }
            Err(error) => {
                warn!("cannot look at the LAN interface {name}: {error}");
                return self.told_lan.clone().unwrap_or_else(|| absent(name, 0));
            }
        };
        let pools: Vec<Ipv4Net> = config.fabric.pools.iter().map(|pool| pool.prefix).collect();
        let addresses = self.netlink.addresses(link.index).unwrap_or_default();
        let address = lan_address(&addresses, &pools);
        let vrrp = config.vrrp().map(|vrrp| &vrrp.settings);
        let (owner, other) = match vrrp {
            Some(settings) if settings.owns_address() => (Some(settings.address), None),
            settings => (None, settings.map(|settings| settings.address)),
        };
        let own = address.map(|network| network.addr());
        let wanted = LanSocket {
            index: link.index,
            own: own.into_iter().chain(owner).collect(),
            virtual_address: other,
            pools,
        };
        if self.lan.as_ref() != Some(&wanted) {
            match wanted.open(name, data_plane.workers()) {
                Ok(members) => {
                    self.lan = Some(wanted);
                    self.lan_failure = None;
                    data_plane.set_lan(LAN_PORT, members);
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    if is_news(&mut self.lan_failure, &reason) {
                        warn!("{reason}; trying again");
                    }
                    // The former socket goes on, as long as it is one of this interface.
                    if !self.lan.as_ref().is_some_and(|lan| lan.serves(link.index)) {
                        return absent(name, link.index);
                    }
                }
            }
        }
        HostEvent::Lan {
            interface: name.to_owned(),
            index: link.index,
            mac: link.mac.unwrap_or_default(),
            address,
            mtu: to_u16(link.mtu),
            up: link.up && link.carrier,
        }
    }

    fn look_at_endpoints(&mut self, router: &Router, events: &mut Vec<HostEvent>) {
        let mut known = self
            .resolver
            .poll(router.config(), |node| router.tunnel_up(node))
            .clone();
        let own = known.remove(&router.config().local.node);
        // Only tunnels without encryption ask for it.
        let own = own.filter(|_| !router.config().carriers().is_empty());
        self.look_at_source(own.map(|own| own.ip()), events);
        for (node, address) in known {
            let route = self.netlink.route_to(address.ip());
            let into_tun = route
                .as_ref()
                .is_ok_and(|answer| answer.interface == self.tun_index);
            let way = Underlay {
                address,
                interface: route.as_ref().map_or(0, |answer| answer.interface),
                mtu: route.map_or(DEFAULT_UNDERLAY_MTU, |answer| to_u16(answer.mtu)),
                into_tun,
            };
            if self.told_endpoints.insert(node, way) != Some(way) {
                events.push(HostEvent::Endpoint {
                    node,
                    address,
                    interface: way.interface,
                    underlay_mtu: way.mtu,
                    into_tun,
                });
            }
        }
    }

    /// Asks the kernel whether this host has the address by which the other nodes know it; behind NAT it has not.
    fn look_at_source(&mut self, endpoint: Option<IpAddr>, events: &mut Vec<HostEvent>) {
        let mut source = None;
        if let Some(endpoint) = endpoint {
            let Ok(held) = self.netlink.local_addresses() else {
                return;
            };
            let is_held = held.iter().any(|held| held.network.addr() == endpoint);
            source = is_held.then_some(endpoint);
        }
        if self.told_source != source {
            self.told_source = source;
            events.push(HostEvent::OuterSource(source));
        }
    }

    /// Asks the kernel for the ways to nodes that roamed: what fits there, and no way may lead back to us.
    fn look_at_roamed(&mut self, router: &Router, events: &mut Vec<HostEvent>) {
        for &node in router.config().fabric.nodes.keys() {
            let Some(Roamed { address, route }) = router.roamed(node) else {
                continue;
            };
            let answer = self.netlink.route_to(address.ip());
            let found = RoamedRoute {
                into_tun: answer
                    .as_ref()
                    .is_ok_and(|answer| answer.interface == self.tun_index),
                mtu: answer.ok().map(|answer| to_u16(answer.mtu)),
            };
            if route != Some(found) {
                events.push(HostEvent::Roamed {
                    node,
                    address,
                    route: found,
                });
            }
        }
    }

    /// Takes addresses off this host, wherever they are configured; returns what was taken from where.
    ///
    /// # Errors
    /// What the kernel answers to the first that cannot be taken.
    pub(crate) fn remove_addresses(
        &mut self,
        which: &BTreeSet<Ipv4Addr>,
    ) -> Result<Vec<String>, NetError> {
        let mut removed = Vec::new();
        for held in self.netlink.local_addresses()? {
            let is_meant = matches!(held.network, IpNet::V4(net) if which.contains(&net.addr()));
            if is_meant && self.netlink.remove_address(held.interface, held.network)? {
                let link = self.netlink.link_by_index(held.interface)?;
                removed.push(format!("{} from {}", held.network, link.name));
            }
        }
        Ok(removed)
    }
}

/// What the kernel says about a device that was there.
#[derive(Debug)]
enum Presence {
    Here,
    /// There is none of this name, or another one.
    Gone,
    /// The kernel did not say, for lack of memory for example; that proves nothing.
    Unknown(NetError),
}

fn presence(link: Result<Link, NetError>, index: u32) -> Presence {
    match link {
        Ok(link) if link.index == index => Presence::Here,
        Ok(_) => Presence::Gone,
        Err(error) if error.errno() == Some(ENODEV) => Presence::Gone,
        Err(error) => Presence::Unknown(error),
    }
}

/// Error number of "no such device".
const ENODEV: i32 = 19;

/// Chooses the address by which the router is known on the LAN: the first one of a pool's network, else the first.
fn lan_address(addresses: &[IpNet], pools: &[Ipv4Net]) -> Option<Ipv4Net> {
    let on_lan = || {
        addresses.iter().filter_map(|network| match network {
            IpNet::V4(network) => Some(*network),
            IpNet::V6(_) => None,
        })
    };
    let overlaps = |network: &Ipv4Net| {
        pools
            .iter()
            .any(|pool| pool.contains(&network.trunc()) || network.contains(pool))
    };
    on_lan().find(overlaps).or_else(|| on_lan().next())
}

/// A LAN that cannot be served, with the number of the interface, or 0 where there is none.
fn absent(name: &str, index: u32) -> HostEvent {
    HostEvent::Lan {
        interface: name.to_owned(),
        index,
        mac: [0; 6],
        address: None,
        mtu: DEFAULT_UNDERLAY_MTU,
        up: false,
    }
}

/// Keeps the newest text and tells whether it differs from the one before.
fn is_news(known: &mut Option<String>, text: &str) -> bool {
    let is_news = known.as_deref() != Some(text);
    *known = Some(text.to_owned());
    is_news
}

impl LanSocket {
    /// Tells whether the socket is one of this interface, whatever it was opened for.
    fn serves(&self, index: u32) -> bool {
        self.index == index
    }

    /// Opens the sockets of `count` workers: IPv4 for the pools is spread over them by flow, ARP reaches each. Packets
    /// for the router's own LAN address stay with the kernel: the rule of `sam_dataplane`'s `LanPort::is_taken`.
    fn open(&self, name: &str, count: usize) -> Result<Vec<LanSockets>, StartError> {
        let ipv4 = FrameFilter {
            prefixes: self.pools.clone(),
            addresses: self.virtual_address.into_iter().collect(),
            left_to_kernel: self.own.clone(),
            ..FrameFilter::default()
        };
        let arp = FrameFilter {
            arp: true,
            ..FrameFilter::default()
        };
        let share = RECEIVE_BUFFER / i32::try_from(count).unwrap_or(i32::MAX).max(1);
        let ipv4 = ipv4.build()?;
        let mut members = open_sockets(name, &ipv4, share.max(LEAST_BUFFER), count)?;
        let mut readers = count;
        if let Err(error) = PacketSocket::fan_out(&members) {
            warn!("{error}: one worker receives from the LAN for all");
            // Each member has its own copy of a frame now.
            let first = PacketSocket::open(name, Some(&ipv4))?;
            let deaf = open_sockets(name, &Filter::nothing(), LEAST_BUFFER, count - 1)?;
            members = std::iter::once(first).chain(deaf).collect();
            readers = 1;
        }
        if !members.iter().all(PacketSocket::offloads) {
            warn!(
                "the kernel describes no superpackets on {name} (PACKET_VNET_HDR): each packet leaves alone, TCP is cut small"
            );
        }
        let listeners = open_sockets(name, &arp.build()?, LEAST_BUFFER, count)?;
        let pairs = members.into_iter().zip(listeners).enumerate();
        let pairs = pairs.map(|(index, (ipv4, arp))| LanSockets {
            ipv4,
            receives: index < readers,
            arp,
        });
        Ok(pairs.collect())
    }
}

fn open_sockets(
    name: &str,
    filter: &Filter,
    receive_buffer: i32,
    count: usize,
) -> Result<Vec<PacketSocket>, NetError> {
    (0..count)
        .map(|_| PacketSocket::open_with(name, Some(filter), receive_buffer))
        .collect()
}

fn to_u16(mtu: u32) -> u16 {
    u16::try_from(mtu).unwrap_or(u16::MAX)
}

/// Says what the kernel did not give of what was asked of it for the TUN device; all works without, and slower.
fn tell_what_is_missing(tuns: &[Tun], workers: usize, limit: TunOffloads) {
    let queues = tuns.len();
    if queues < workers {
        warn!(
            queues,
            workers, "the TUN device has fewer queues than there are workers"
        );
    }
    if let Some(agreed) = tuns
        .iter()
        .map(Tun::offloads)
        .min()
        .filter(|agreed| *agreed < limit)
    {
        warn!(?agreed, wanted = ?limit, "the TUN device has fewer offloads than wanted (TCP: Linux 2.6.27, UDP: 6.2)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOBUFS: i32 = 105;

    #[test]
    fn only_a_missing_or_another_device_means_that_the_tun_was_removed() {
        let answer = |errno| {
            let source = std::io::Error::from_raw_os_error(errno);
            presence(Err(NetError::new("query", "sam0", source)), 3)
        };
        assert!(matches!(answer(ENODEV), Presence::Gone));
        assert!(matches!(answer(ENOBUFS), Presence::Unknown(_)));
        let mut netlink = Netlink::open().expect("netlink");
        let mut loopback = |index| presence(netlink.link("lo"), index);
        assert!(matches!(loopback(1), Presence::Here));
        assert!(matches!(loopback(2), Presence::Gone));
    }

    #[test]
    fn a_reason_is_told_once_and_another_one_again() {
        let mut known = None;
        let told = ["no memory", "no memory", "not permitted", "not permitted"]
            .map(|reason| is_news(&mut known, reason));
        assert_eq!(told, [true, false, true, false]);
    }

    #[test]
    fn a_former_socket_serves_its_own_interface_only() {
        let former = LanSocket {
            index: 3,
            own: Vec::new(),
            virtual_address: None,
            pools: Vec::new(),
        };
        assert!(former.serves(3) && !former.serves(4));
    }

    #[test]
    fn the_address_of_a_pool_is_ours_on_the_lan_else_the_first() {
        let pools = ["10.77.60.0/24".parse().expect("pool")];
        for (addresses, expected) in [
            (
                &["192.0.2.1/24", "10.77.60.1/24"][..],
                Some("10.77.60.1/24"),
            ),
            (&["192.0.2.1/24", "10.77.60.1/28"], Some("10.77.60.1/28")),
            (&["192.0.2.1/24", "10.77.1.1/16"], Some("10.77.1.1/16")),
            (
                &["fe80::1/64", "192.0.2.1/24", "192.0.2.2/24"],
                Some("192.0.2.1/24"),
            ),
            (&["fe80::1/64"], None),
        ] {
            let parsed = addresses.iter().map(|text| text.parse().expect("network"));
            let networks: Vec<IpNet> = parsed.collect();
            let expected = expected.map(|text| text.parse().expect("network"));
            assert_eq!(lan_address(&networks, &pools), expected, "{addresses:?}");
        }
    }
}
