//! Two sites that share one subnet: clients, routers, a WAN; veth everywhere.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use anyhow::Result;
use ipnet::IpNet;
use sam_net::netlink::Route;
use sam_net::{Namespace, Netlink};

/// The clients' addresses.
pub(crate) const CLIENTS: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 77, 60, 10), Ipv4Addr::new(10, 77, 60, 11)];
/// The routers' addresses on the WAN.
pub(crate) const WAN: [Ipv4Addr; 2] =
    [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];
/// Every router's LAN address.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);

/// Largest packet between the clients through any tunnel, in bytes.
pub(crate) const INNER_MTU: u32 = 1440;
/// Largest packet on any link, in bytes.
pub(crate) const OUTER_MTU: u32 = 1500;

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) clients: [Namespace; 2],
    pub(crate) routers: [Namespace; 2],
}

impl Lab {
    pub(crate) fn build() -> Result<Self> {
        let lab = Self {
            clients: [Namespace::create()?, Namespace::create()?],
            routers: [Namespace::create()?, Namespace::create()?],
        };
        lab.routers[0].enter(|| -> Result<()> {
            Ok(Netlink::open()?.create_veth("wan0", "wan0", Some(lab.routers[1].as_fd()))?)
        })??;
        for site in 0..2 {
            let (client, router) = (&lab.clients[site], &lab.routers[site]);
            router.enter(|| -> Result<()> {
                Netlink::open()?.create_veth("lan0", "eth0", Some(client.as_fd()))?;
                address("lan0", GATEWAY, 24)?;
                address("wan0", WAN[site], 24)
            })??;
            client.enter(|| address("eth0", CLIENTS[site], 24))??;
        }
        Ok(lab)
    }
}

/// Adds an address and sets the link up.
pub(crate) fn address(link: &str, address: Ipv4Addr, length: u8) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link(link)?.index;
    netlink.add_address(index, IpNet::new(IpAddr::V4(address), length)?)?;
    Ok(netlink.set_up(index)?)
}

/// Routes a client's address out of a link, perhaps through a gateway.
pub(crate) fn route(to: Ipv4Addr, link: &str, gateway: Option<Ipv4Addr>) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link(link)?.index;
    let destination = IpNet::from(IpAddr::V4(to));
    let route = Route {
        gateway: gateway.map(IpAddr::V4),
        ..Route::on_link(destination, index)
    };
    Ok(netlink.replace_route(&route)?)
}
