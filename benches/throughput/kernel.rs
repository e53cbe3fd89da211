//! The kernel as router: by itself, through its own VXLAN, and around the tunnels of other programs.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::Result;
use sam_net::{Namespace, Netlink};

use crate::lab::{CLIENTS, INNER_MTU, Lab, WAN, address, route};
use crate::running::{Running, checked};

/// The ends of a tunnel that is not samctl's.
pub(crate) const TUNNEL: [Ipv4Addr; 2] =
    [Ipv4Addr::new(10, 255, 0, 1), Ipv4Addr::new(10, 255, 0, 2)];

/// Forwarding and proxy ARP, and a /32 route to the far client.
pub(crate) fn forward(lab: &Lab, site: usize, link: &str, gateway: Option<Ipv4Addr>) -> Result<()> {
    lab.routers[site].enter(|| -> Result<()> {
        for setting in ["ip_forward", "conf/lan0/proxy_arp"] {
            fs::write(format!("/proc/sys/net/ipv4/{setting}"), "1")?;
        }
        fs::write("/proc/sys/net/ipv4/neigh/lan0/proxy_delay", "0")?;
        route(CLIENTS[1 - site], link, gateway)
    })?
}

/// Without a tunnel: the reference.
pub(crate) fn plain(lab: &Lab, _: &mut Running) -> Result<()> {
    for site in 0..2 {
        forward(lab, site, "wan0", Some(WAN[1 - site]))?;
    }
    Ok(())
}

/// The kernel's tunnel without encryption.
pub(crate) fn vxlan(lab: &Lab, _: &mut Running) -> Result<()> {
    for site in 0..2 {
        let (local, remote) = (WAN[site].to_string(), WAN[1 - site].to_string());
        checked(
            lab.routers[site]
                .command("ip")
                .args(["link", "add", "vx0", "type", "vxlan", "id", "7"])
                .args(["local", &local, "remote", &remote])
                .args(["dstport", "4789", "dev", "wan0"]),
        )?;
        set_up_tunnel(&lab.routers[site], "vx0", TUNNEL[site], 30)?;
        forward(lab, site, "vx0", Some(TUNNEL[1 - site]))?;
    }
    Ok(())
}

/// Gives a tunnel the MTU of samctl's own over a 1500-byte underlay, so that all carry equal packets.
pub(crate) fn set_up_tunnel(
    router: &Namespace,
    link: &str,
    own: Ipv4Addr,
    length: u8,
) -> Result<()> {
    router.enter(|| -> Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link(link)?.index;
        netlink.set_mtu(index, INNER_MTU)?;
        address(link, own, length)
    })?
}
