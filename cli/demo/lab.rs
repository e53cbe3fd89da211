//! The demo's world: four sites that share one subnet, in network namespaces.
//!
//! ```text
//!   client .10 ─┐                                                    ┌─ NIC ─ client .11
//!               lan ═ router onprem-a, b ═ wan 203.0.113 ═ aws-a, b ═ NICs ─ fabric of aws
//!                                           ║    ║
//!                      fabric of azure ═ azure-a, b  oci-a, b ═ fabric of oci
//!                client .12 ─ NIC ─┘                                   └─ NIC ─ client .13
//! ```
//! All cables end in one namespace, `wires`: on the bridges `wan` and `lan`, or loose in the hands of the fake cloud, whose
//! fabric carries frames between them. Everything ends with the process: namespaces live by open descriptors only.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use ipnet::IpNet;
use sam_net::netlink::Route;
use sam_net::{Namespace, Netlink};

use super::sites::{GUEST, Router, Site};

/// Addresses of the provider's interfaces on the WAN.
pub(super) const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);
/// Where the cable of the guest's interface in AWS ends.
pub(super) const GUEST_PORT: &str = "g2";
const WAN: &str = "wan";
const LAN: &str = "lan";

/// All namespaces.
#[derive(Debug)]
pub(super) struct Lab {
    /// Where all cables end.
    pub wires: Namespace,
    /// A virtual machine on the LAN that moves to AWS, where an interface waits for it.
    pub guest: Namespace,
    clients: Vec<Namespace>,
    routers: Vec<Namespace>,
}

impl Lab {
    /// Builds the wires, clients and empty routers.
    ///
    /// # Errors
    /// What the kernel refused, and on which object.
    pub(super) fn build() -> Result<Self> {
        let clients = Site::ALL.iter().map(|_| namespace());
        let routers = Router::all().map(|_| namespace());
        let lab = Self {
            wires: namespace()?,
            guest: namespace()?,
            clients: clients.collect::<Result<_>>()?,
            routers: routers.collect::<Result<_>>()?,
        };
        lab.wires.enter(|| lab.plug())??;
        for site in Site::ALL {
            let (address, gateway) = (site.client(), site.gateway());
            lab.client(site)
                .enter(|| host("eth0", address, gateway))??;
        }
        let gateway = Site::Onprem.gateway();
        lab.guest.enter(|| host("eth0", GUEST, gateway))??;
        for router in Router::all() {
            lab.router(router).enter(|| router_addresses(router))??;
        }
        Ok(lab)
    }

    /// The client of a site.
    pub(super) fn client(&self, site: Site) -> &Namespace {
        &self.clients[site.index()]
    }

    /// The clients, in the order of the sites.
    pub(super) fn clients(&self) -> &[Namespace] {
        &self.clients
    }

    /// The machine of a router.
    pub(super) fn router(&self, router: Router) -> &Namespace {
        &self.routers[router.index()]
    }

    /// Puts a further host on the LAN.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn add_host(&self, address: Ipv4Addr) -> Result<Namespace> {
        let added = namespace()?;
        let port = format!("h{}", address.octets()[3]);
        self.wires.enter(|| -> Result<()> {
            let netlink = &mut Netlink::open()?;
            cable(netlink, &port, Some(LAN), "eth0", &added)
        })??;
        added.enter(|| host("eth0", address, Site::Onprem.gateway()))??;
        Ok(added)
    }

    /// Pulls the guest off the LAN; it goes on at its interface in AWS, with its address and all its connections.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn migrate_guest(&self) -> Result<()> {
        self.guest.enter(|| -> Result<()> {
            let netlink = &mut Netlink::open()?;
            let former = netlink.link("eth0")?.index;
            netlink.set_down(former)?;
            netlink.remove_address(former, network(GUEST, 24))?;
            host("eth1", GUEST, Site::Aws.gateway())
        })?
    }

    /// Pulls all cables of a router's machine, or plugs them in again.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn set_cables(&self, router: Router, plugged: bool) -> Result<()> {
        self.wires.enter(|| -> Result<()> {
            let netlink = &mut Netlink::open()?;
            for port in [lan_port(router), wan_port(router)] {
                let index = netlink.link(&port)?.index;
                if plugged {
                    netlink.set_up(index)?;
                } else {
                    netlink.set_down(index)?;
                }
            }
            Ok(())
        })?
    }

    fn plug(&self) -> Result<()> {
        let netlink = &mut Netlink::open()?;
        for bridge in [WAN, LAN] {
            netlink.create_bridge(bridge)?;
            let index = netlink.link(bridge)?.index;
            netlink.set_up(index)?;
        }
        let wan = netlink.link(WAN)?.index;
        netlink.add_address(wan, network(PROVIDER, 24))?;
        // In a cloud the fabric is the LAN.
        let lan = |site: Site| site.provider().is_none().then_some(LAN);
        for site in Site::ALL {
            let port = client_port(site);
            cable(netlink, &port, lan(site), "eth0", self.client(site))?;
        }
        cable(netlink, "g1", Some(LAN), "eth0", &self.guest)?;
        cable(netlink, GUEST_PORT, None, "eth1", &self.guest)?;
        for router in Router::all() {
            let machine = self.router(router);
            cable(
                netlink,
                &lan_port(router),
                lan(router.site),
                "lan0",
                machine,
            )?;
            cable(netlink, &wan_port(router), Some(WAN), "wan0", machine)?;
        }
        Ok(())
    }
}

/// Where a client's cable ends.
pub(super) fn client_port(site: Site) -> String {
    format!("c{}", site.number())
}

/// Where the cable of a router's interface in the subnet ends.
pub(super) fn lan_port(router: Router) -> String {
    format!("r{}", router.number())
}

fn wan_port(router: Router) -> String {
    format!("w{}", router.number())
}

fn namespace() -> Result<Namespace> {
    Namespace::create().context("cannot make a network namespace")
}

fn cable(
    netlink: &mut Netlink,
    port: &str,
    bridge: Option<&str>,
    far_name: &str,
    far: &Namespace,
) -> Result<()> {
    netlink.create_veth(port, far_name, Some(far.as_fd()))?;
    let index = netlink.link(port)?.index;
    if let Some(bridge) = bridge {
        let bridge = netlink.link(bridge)?.index;
        netlink.set_bridge(index, Some(bridge))?;
    }
    netlink.set_up(index)?;
    Ok(())
}

/// Gives the calling thread's namespace an address and a default gateway.
fn host(interface: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<()> {
    let netlink = &mut Netlink::open()?;
    let index = netlink.link(interface)?.index;
    netlink.add_address(index, network(address, 24))?;
    netlink.set_up(index)?;
    let default = network(Ipv4Addr::UNSPECIFIED, 0);
    let route = Route {
        gateway: Some(IpAddr::V4(gateway)),
        ..Route::on_link(default, index)
    };
    netlink.replace_route(&route)?;
    Ok(())
}

fn router_addresses(router: Router) -> Result<()> {
    let netlink = &mut Netlink::open()?;
    for (name, address) in [("lan0", router.lan()), ("wan0", router.underlay())] {
        let index = netlink.link(name)?.index;
        netlink.add_address(index, network(address, 24))?;
        netlink.set_up(index)?;
    }
    Ok(())
}

fn network(address: Ipv4Addr, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(address), length)
}
