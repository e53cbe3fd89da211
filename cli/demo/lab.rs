//! The demo's world: four sites that share one subnet, in network namespaces.
//!
//! ```text
//!   client .10 ─┐                                                        ┌─ client .12
//!               lan1 ─ router onprem ─┐                ┌─ router azure ─ lan3
//!                                     ├─ wan 203.0.113 ┤
//!               lan2 ─ router aws ────┘                └─ router oci ─── lan4
//!   client .11 ─┘                                                        └─ client .13
//! ```
//! The five wires (lan1 … lan4, wan) are bridges in one namespace `wires`, so that a client's cable can be moved from
//! one site to another. Everything ends with the process: namespaces live by open descriptors only.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ipnet::IpNet;
use sam_net::netlink::Route;
use sam_net::{Namespace, Netlink};

/// One of the four sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SiteName {
    /// Name, also of its node.
    pub name: &'static str,
    /// Role in the configuration.
    pub role: &'static str,
    /// From 1.
    pub number: u8,
}

/// The sites of the seed's demo.
pub(super) const SITES: [SiteName; 4] = [
    SiteName {
        name: "onprem",
        role: "onprem",
        number: 1,
    },
    SiteName {
        name: "aws",
        role: "aws",
        number: 2,
    },
    SiteName {
        name: "azure",
        role: "azure",
        number: 3,
    },
    SiteName {
        name: "oci",
        role: "oci",
        number: 4,
    },
];

impl SiteName {
    /// The address that lives here at first.
    #[must_use]
    pub(super) fn client(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 60, 9 + self.number)
    }

    /// The router's overlay address.
    #[must_use]
    pub(super) fn overlay(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number)
    }

    /// The router's address on the WAN.
    #[must_use]
    pub(super) fn underlay(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 10 + self.number)
    }
}

/// The router's address on every LAN, and every client's default gateway.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);

/// All namespaces.
#[derive(Debug)]
pub(super) struct Lab {
    wires: Namespace,
    /// Client namespaces, by site.
    pub clients: Vec<Namespace>,
    /// Router namespaces, by site.
    pub routers: Vec<Namespace>,
}

impl Lab {
    /// Builds the wires, clients and empty routers.
    ///
    /// # Errors
    /// What the kernel refused, and on which object.
    pub(super) fn build() -> Result<Self> {
        let namespace = || Namespace::create().context("cannot make a network namespace");
        let wires = namespace()?;
        let clients = SITES
            .iter()
            .map(|_| namespace())
            .collect::<Result<Vec<_>>>()?;
        let routers = SITES
            .iter()
            .map(|_| namespace())
            .collect::<Result<Vec<_>>>()?;
        let lab = Self {
            wires,
            clients,
            routers,
        };
        lab.wires.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            for bridge in ["wan", "lan1", "lan2", "lan3", "lan4"] {
                netlink.create_bridge(bridge)?;
                let index = netlink.link(bridge)?.index;
                netlink.set_up(index)?;
            }
            for (index, site) in SITES.iter().enumerate() {
                let n = site.number;
                let (client, router) = (&lab.clients[index], &lab.routers[index]);
                cable(
                    &mut netlink,
                    &format!("c{n}"),
                    &format!("lan{n}"),
                    "eth0",
                    client,
                )?;
                cable(
                    &mut netlink,
                    &format!("r{n}"),
                    &format!("lan{n}"),
                    "lan0",
                    router,
                )?;
                cable(&mut netlink, &format!("w{n}"), "wan", "wan0", router)?;
            }
            Ok(())
        })??;
        for (index, site) in SITES.iter().enumerate() {
            lab.clients[index].enter(|| client_addresses(*site))??;
            lab.routers[index].enter(|| router_addresses(*site))??;
        }
        Ok(lab)
    }

    /// Pulls a client's cable out of one site's LAN and plugs it into another's.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn replug(&self, client: SiteName, to: SiteName) -> Result<()> {
        self.wires.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            let bridge = netlink.link(&format!("lan{}", to.number))?.index;
            let port = netlink.link(&format!("c{}", client.number))?.index;
            netlink.set_bridge(port, Some(bridge))?;
            Ok(())
        })?
    }
}

fn cable(
    netlink: &mut Netlink,
    port: &str,
    bridge: &str,
    far_name: &str,
    far: &Namespace,
) -> Result<()> {
    netlink.create_veth(port, far_name, Some(far.as_fd()))?;
    let index = netlink.link(port)?.index;
    let bridge = netlink.link(bridge)?.index;
    netlink.set_bridge(index, Some(bridge))?;
    netlink.set_up(index)?;
    Ok(())
}

fn client_addresses(site: SiteName) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link("eth0")?.index;
    netlink.add_address(index, network(site.client(), 24))?;
    netlink.set_up(index)?;
    let default = network(Ipv4Addr::UNSPECIFIED, 0);
    let route = Route {
        gateway: Some(IpAddr::V4(GATEWAY)),
        ..Route::on_link(default, index)
    };
    netlink.replace_route(&route)?;
    Ok(())
}

fn router_addresses(site: SiteName) -> Result<()> {
    let mut netlink = Netlink::open()?;
    for (name, address) in [("lan0", GATEWAY), ("wan0", site.underlay())] {
        let index = netlink.link(name)?.index;
        netlink.add_address(index, network(address, 24))?;
        netlink.set_up(index)?;
    }
    Ok(())
}

fn network(address: Ipv4Addr, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(address), length)
}
