//! The world of a test: sites that share 10.77.60.0/24, each a client and a router namespace, and a WAN between them.
//!
//! ```text
//!   client N ── eth0/lan0 ── router N ── wan0 ── bridge wan ── … the other routers
//! ```
//! In a router namespace runs either samctl or a foreign peer. Namespaces are nameless and end with the test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;

use anyhow::{Context, Result};
use ipnet::IpNet;
use sam_net::netlink::Route;
use sam_net::{Namespace, Netlink};

/// A site by its number, from 1; all its addresses follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u8);

impl Place {
    /// Name of the node.
    pub(crate) fn name(self) -> String {
        format!("site{}", self.0)
    }

    /// The router's overlay address: session address, BGP identifier and next hop.
    pub(crate) fn overlay(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.0)
    }

    /// The router's address on the WAN.
    pub(crate) fn underlay(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 10 + self.0)
    }

    /// The mobile address that lives here.
    pub(crate) fn client(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 60, 9 + self.0)
    }

    /// A prefix of IPv6 that it announces.
    pub(crate) fn ipv6_route(self) -> IpNet {
        let address = Ipv6Addr::new(0x2001, 0xdb8, self.0.into(), 0, 0, 0, 0, 0);
        IpNet::new_assert(address.into(), 48)
    }

    /// The next hop that it tells with routes of a family.
    pub(crate) fn next_hop(self, prefix: IpNet) -> IpAddr {
        match prefix {
            IpNet::V4(_) => self.overlay().into(),
            IpNet::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, self.0.into()).into(),
        }
    }

    /// The route to the client.
    pub(crate) fn client_route(self) -> IpNet {
        IpNet::from(IpAddr::V4(self.client()))
    }
}

/// Namespaces of one site.
pub(crate) struct Site {
    /// Where its numbers come from.
    pub(crate) place: Place,
    /// The router's namespace.
    pub(crate) router: Namespace,
    /// The client's namespace.
    pub(crate) client: Namespace,
}

/// All namespaces of a test.
pub(crate) struct World {
    /// Sites 1 to n.
    pub(crate) sites: Vec<Site>,
    _wires: Namespace,
}

impl World {
    /// Builds so many sites, their routers without any program.
    pub(crate) fn build(sites: u8) -> Result<Self> {
        let wires = Namespace::create()?;
        wires.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_bridge("wan")?;
            let index = netlink.link("wan")?.index;
            Ok(netlink.set_up(index)?)
        })??;
        let sites = (1..=sites)
            .map(|number| Site::build(Place(number), &wires))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            sites,
            _wires: wires,
        })
    }

    /// Returns a site.
    pub(crate) fn site(&self, place: Place) -> Result<&Site> {
        let found = self.sites.iter().find(|site| site.place == place);
        found.with_context(|| format!("there is no {}", place.name()))
    }
}

impl Site {
    fn build(place: Place, wires: &Namespace) -> Result<Self> {
        let site = Self {
            place,
            router: Namespace::create()?,
            client: Namespace::create()?,
        };
        wires.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            let port = format!("w{}", place.0);
            netlink.create_veth(&port, "wan0", Some(site.router.as_fd()))?;
            let port = netlink.link(&port)?.index;
            let bridge = netlink.link("wan")?.index;
            netlink.set_bridge(port, Some(bridge))?;
            Ok(netlink.set_up(port)?)
        })??;
        site.router.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            netlink.create_veth("lan0", "eth0", Some(site.client.as_fd()))?;
            configure(&mut netlink, "lan0", GATEWAY, 24)?;
            configure(&mut netlink, "wan0", place.underlay(), 24)
        })??;
        site.client.enter(|| -> Result<()> {
            let mut netlink = Netlink::open()?;
            configure(&mut netlink, "eth0", place.client(), 24)?;
            let index = netlink.link("eth0")?.index;
            let default = network(Ipv4Addr::UNSPECIFIED, 0);
            netlink.replace_route(&Route {
                gateway: Some(IpAddr::V4(GATEWAY)),
                ..Route::on_link(default, index)
            })?;
            Ok(())
        })??;
        Ok(site)
    }
}

/// Gives an interface of the calling thread's namespace an address and sets it up.
pub(crate) fn configure(
    netlink: &mut Netlink,
    interface: &str,
    address: Ipv4Addr,
    length: u8,
) -> Result<()> {
    let index = netlink.link(interface)?.index;
    netlink.add_address(index, network(address, length))?;
    Ok(netlink.set_up(index)?)
}

/// Makes a network of any family.
pub(crate) fn network(address: Ipv4Addr, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(address), length)
}

/// The router's address on every LAN, and every client's default gateway.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);
