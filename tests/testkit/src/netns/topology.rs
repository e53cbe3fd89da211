//! Sites that share one subnet, in network namespaces.
//!
//! ```text
//!   client .10 ─┐                                                        ┌─ client .12
//!               lan1 ─ router onprem ─┐                ┌─ router azure ─ lan3
//!                                     ├─ wan 203.0.113 ┤
//!               lan2 ─ router aws ────┘                └─ router oci ─── lan4
//!   client .11 ─┘                                                        └─ client .13
//! ```
//! All wires are bridges in one namespace of their own, so that a client's cable can be moved from one site to
//! another. The routers have addresses and nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::time::Duration;

use ipnet::IpNet;
use sam_net::netlink::{OperState, Route};
use sam_net::{Namespace, Netlink};

use super::shell::sh;
use super::wait::wait_until;

/// The routers' address on every LAN, and every client's default gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);

/// What is behind [`Topology::move_far`].
const FAR_WAN: &str = "far-wan";
/// Addresses of the router between ([`Topology::put_behind`]).
const BETWEEN_NEAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const BETWEEN_FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

const CABLE_PATIENCE: Duration = Duration::from_secs(10);

/// One of at most four sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(u8);

impl Site {
    /// The office; reflects routes when there are more than two sites.
    pub const ONPREM: Self = Self(1);
    /// The second site.
    pub const AWS: Self = Self(2);
    /// The third site.
    pub const AZURE: Self = Self(3);
    /// The fourth site.
    pub const OCI: Self = Self(4);

    /// From 1; also the node's id.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Position in lists of sites.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0 - 1)
    }

    /// Name of the site, its node and its role.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["onprem", "aws", "azure", "oci"][self.index()]
    }

    /// The address that lives here at first.
    #[must_use]
    pub fn client(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 60, 9 + self.0)
    }

    /// The router's overlay address.
    #[must_use]
    pub fn overlay(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.0)
    }

    /// The router's address behind a router of the underlay ([`Topology::put_behind`]).
    #[must_use]
    pub fn behind(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, 10 + self.0)
    }

    /// The router's address on the WAN.
    #[must_use]
    pub fn underlay(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 10 + self.0)
    }
}

/// What a cable can be plugged into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// What lies between the routers.
    Wan,
    /// The end of the WAN behind [`Topology::move_far`].
    FarWan,
    /// The LAN of a site.
    Lan(Site),
}

/// All namespaces.
#[derive(Debug)]
pub struct Topology {
    sites: Vec<Site>,
    wires: Namespace,
    clients: Vec<Namespace>,
    routers: Vec<Namespace>,
}

impl Topology {
    /// Builds wires, clients and empty routers of one to four sites.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn build(sites: u8) -> Self {
        let sites: Vec<Site> = (1..=sites).map(Site).collect();
        let namespace = || Namespace::create().expect("a network namespace can be made");
        let topology = Self {
            wires: namespace(),
            clients: sites.iter().map(|_| namespace()).collect(),
            routers: sites.iter().map(|_| namespace()).collect(),
            sites,
        };
        within(&topology.wires, |netlink| {
            bridge(netlink, "wan");
            for site in &topology.sites {
                bridge(netlink, &lan(*site));
            }
        });
        for &site in &topology.sites {
            let n = site.number();
            let (client, router) = (topology.client(site), topology.router(site));
            topology.cable(&format!("c{n}"), &lan(site), "eth0", client);
            topology.cable(&format!("r{n}"), &lan(site), "lan0", router);
            topology.cable(&format!("w{n}"), "wan", "wan0", router);
            host_addresses(client, site.client());
            within(router, |netlink| {
                add_address(netlink, "lan0", GATEWAY, 24);
                add_address(netlink, "wan0", site.underlay(), 24);
            });
        }
        for &site in &topology.sites {
            let n = site.number();
            let ports = [format!("c{n}"), format!("r{n}"), format!("w{n}")];
            await_up(&topology.wires, &ports.each_ref().map(String::as_str));
            await_up(topology.client(site), &["eth0"]);
            await_up(topology.router(site), &["lan0", "wan0"]);
        }
        topology
    }

    /// All sites, in order.
    #[must_use]
    pub fn sites(&self) -> Vec<Site> {
        self.sites.clone()
    }

    /// A site's client.
    #[must_use]
    pub fn client(&self, site: Site) -> &Namespace {
        &self.clients[site.index()]
    }

    /// A site's router.
    #[must_use]
    pub fn router(&self, site: Site) -> &Namespace {
        &self.routers[site.index()]
    }

    /// Where all wires are.
    #[must_use]
    pub fn wires(&self) -> &Namespace {
        &self.wires
    }

    /// The port among the wires that a router's cable to its LAN is plugged into.
    #[must_use]
    pub fn router_port(&self, site: Site) -> String {
        format!("r{}", site.number())
    }

    /// Changes the MTU of a site's LAN: of its switch, its client and its router.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_lan_mtu(&self, site: Site, mtu: u32) {
        let client = format!("c{}", site.number());
        for (namespace, link) in [
            (self.client(site), "eth0"),
            (self.router(site), "lan0"),
            (&self.wires, client.as_str()),
            (&self.wires, &self.router_port(site)),
            (&self.wires, &lan(site)),
        ] {
            within(namespace, |netlink| {
                let index = netlink.link(link).expect("the interface exists").index;
                netlink.set_mtu(index, mtu).expect("an MTU");
            });
        }
    }

    /// Pulls a client's cable out of one site's LAN and plugs it into another's.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn replug(&self, client: Site, to: Site) {
        self.replug_port(&format!("c{}", client.number()), to);
    }

    /// Pulls the cable of this name out of one site's LAN and plugs it into another's.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn replug_port(&self, port: &str, to: Site) {
        within(&self.wires, |netlink| {
            let bridge = netlink.link(&lan(to)).expect("the LAN exists").index;
            let port = netlink.link(port).expect("the cable exists").index;
            netlink.set_bridge(port, Some(bridge)).expect("plugged");
        });
    }

    /// Pulls out both cables of a site's router, so that something else can take its place and addresses.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn unplug_router(&self, site: Site) {
        within(&self.wires, |netlink| {
            for letter in ['r', 'w'] {
                let port = format!("{letter}{}", site.number());
                let port = netlink.link(&port).expect("the cable exists").index;
                netlink.set_bridge(port, None).expect("unplugged");
            }
        });
    }

    /// Plugs the WAN cable of a site's router into a wire of its own: somebody has to join that to the WAN.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn move_far(&self, site: Site) {
        within(&self.wires, |netlink| {
            bridge(netlink, FAR_WAN);
            let bridge = netlink.link(FAR_WAN).expect("just made").index;
            let port = format!("w{}", site.number());
            let port = netlink.link(&port).expect("the cable exists").index;
            netlink.set_bridge(port, Some(bridge)).expect("plugged");
        });
    }

    /// Adds a tap to a wire, for a machine that runs in the namespace of [`Self::wires`].
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn add_tap(&self, wire: Wire, name: &str) {
        let bridge = match wire {
            Wire::Wan => "wan".to_owned(),
            Wire::FarWan => FAR_WAN.to_owned(),
            Wire::Lan(site) => lan(site),
        };
        let command =
            format!("ip tuntap add {name} mode tap && ip link set {name} master {bridge} up");
        sh(&self.wires, &command).success();
    }

    /// Adds a further host with interface `eth0` to a site's LAN; `port` names its cable.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn add_host(&self, site: Site, port: &str, address: Ipv4Addr) -> Namespace {
        let host = Namespace::create().expect("a network namespace can be made");
        self.cable(port, &lan(site), "eth0", &host);
        host_addresses(&host, address);
        await_up(&self.wires, &[port]);
        await_up(&host, &["eth0"]);
        host
    }

    /// Removes the LAN interface of a site's router, and puts another one of the same name, MAC and address in its place.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn renew_lan_interface(&self, site: Site, address: Ipv4Addr) {
        let router = self.router(site);
        let mac = "ip -o link show lan0 | sed 's/.*ether //; s/ .*//'";
        let mac = sh(router, mac).success();
        sh(router, "ip link delete lan0").success();
        self.cable(&self.router_port(site), &lan(site), "lan0", router);
        let mac = format!("ip link set lan0 address {}", mac.trim());
        sh(router, &mac).success();
        within(router, |netlink| {
            add_address(netlink, "lan0", address, 24);
        });
        await_up(&self.wires, &[&self.router_port(site)]);
        await_up(router, &["lan0"]);
    }

    /// Adds a further, empty router with `lan0` and `wan0` to a site; `suffix` tells its cables apart.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn add_router(
        &self,
        site: Site,
        suffix: char,
        lan_address: Ipv4Addr,
        underlay: Ipv4Addr,
    ) -> Namespace {
        let router = Namespace::create().expect("a network namespace can be made");
        let n = site.number();
        let (lan_port, wan_port) = (format!("r{n}{suffix}"), format!("w{n}{suffix}"));
        self.cable(&lan_port, &lan(site), "lan0", &router);
        self.cable(&wan_port, "wan", "wan0", &router);
        within(&router, |netlink| {
            add_address(netlink, "lan0", lan_address, 24);
            add_address(netlink, "wan0", underlay, 24);
        });
        await_up(&self.wires, &[&lan_port, &wan_port]);
        await_up(&router, &["lan0", "wan0"]);
        router
    }

    /// Takes a site's router off the shared WAN and puts it behind a router of the underlay, which is returned:
    ///
    /// ```text
    ///   other routers, wan0 203.0.113.1x ── wan ── near 203.0.113.1, far 198.51.100.1 ── wan0 198.51.100.1x, the site's
    /// ```
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn put_behind(&self, site: Site) -> Namespace {
        let between = Namespace::create().expect("a network namespace can be made");
        self.cable("between", "wan", "near", &between);
        within(&between, |netlink| {
            add_address(netlink, "near", BETWEEN_NEAR, 24);
        });
        let router = self.router(site);
        within(router, |netlink| {
            let index = netlink.link("wan0").expect("the interface exists").index;
            netlink.delete_link(index).expect("a cable can be pulled");
            netlink
                .create_veth("wan0", "far", Some(between.as_fd()))
                .expect("a cable can be made");
            let index = add_address(netlink, "wan0", site.behind(), 24);
            default_route(netlink, index, BETWEEN_FAR);
        });
        let forward = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
        between
            .enter(forward)
            .expect("the namespace can be entered")
            .expect("forwarding can be switched on");
        within(&between, |netlink| {
            add_address(netlink, "far", BETWEEN_FAR, 24);
        });
        for other in self.sites.iter().filter(|other| **other != site) {
            within(self.router(*other), |netlink| {
                let index = netlink.link("wan0").expect("the interface exists").index;
                default_route(netlink, index, BETWEEN_NEAR);
            });
        }
        await_up(&self.wires, &["between"]);
        await_up(&between, &["near", "far"]);
        await_up(router, &["wan0"]);
        between
    }

    fn cable(&self, port: &str, bridge: &str, far_name: &str, far: &Namespace) {
        within(&self.wires, |netlink| {
            netlink
                .create_veth(port, far_name, Some(far.as_fd()))
                .expect("a cable can be made");
            let index = netlink.link(port).expect("the cable exists").index;
            let bridge = netlink.link(bridge).expect("the bridge exists").index;
            netlink.set_bridge(index, Some(bridge)).expect("plugged");
            netlink.set_up(index).expect("up");
        });
    }
}

/// Works with netlink inside a namespace.
fn within(namespace: &Namespace, work: impl FnOnce(&mut Netlink) + Send) {
    namespace
        .enter(|| work(&mut Netlink::open().expect("netlink opens")))
        .expect("the namespace can be entered");
}

/// Waits until interfaces carry. Until the kernel has noticed that both ends of a cable are up, which may take it a
/// second, it drops what is sent there and says nothing.
fn await_up(namespace: &Namespace, names: &[&str]) {
    within(namespace, |netlink| {
        wait_until(&format!("{names:?} carry"), CABLE_PATIENCE, || {
            let mut state = |name| netlink.link(name).expect("the interface exists").state;
            names.iter().all(|&name| state(name) == OperState::Up)
        });
    });
}

fn lan(site: Site) -> String {
    format!("lan{}", site.number())
}

fn bridge(netlink: &mut Netlink, name: &str) {
    netlink.create_bridge(name).expect("a bridge can be made");
    let index = netlink.link(name).expect("the bridge exists").index;
    netlink.set_up(index).expect("up");
}

fn host_addresses(host: &Namespace, address: Ipv4Addr) {
    within(host, |netlink| {
        let interface = add_address(netlink, "eth0", address, 24);
        default_route(netlink, interface, GATEWAY);
    });
}

fn default_route(netlink: &mut Netlink, interface: u32, gateway: Ipv4Addr) {
    let default = IpNet::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let route = Route {
        gateway: Some(IpAddr::V4(gateway)),
        ..Route::on_link(default, interface)
    };
    netlink.replace_route(&route).expect("a default route");
}

fn add_address(netlink: &mut Netlink, link: &str, address: Ipv4Addr, length: u8) -> u32 {
    let index = netlink.link(link).expect("the interface exists").index;
    let network = IpNet::new_assert(IpAddr::V4(address), length);
    netlink.add_address(index, network).expect("an address");
    netlink.set_up(index).expect("up");
    index
}
