//! What the kernel says about the host, for views and `doctor`; nothing is changed.

use std::net::IpAddr;

use sam_net::netlink::Link;
use sam_net::{Capabilities, Capability, sysctl};
use sam_router::Config;
use sam_router::facts::{AddressFacts, HostFacts, KernelTunnelFacts, LanFacts, TunFacts};

use super::{HostIo, to_u16};

impl HostIo {
    /// Facts for views and `doctor`.
    pub(crate) fn facts(&mut self, config: &Config) -> HostFacts {
        let listed = self.netlink.links().ok();
        let tunnels = listed
            .as_ref()
            .map(|links| links.iter().filter_map(tunnel_facts).collect());
        let links = listed.unwrap_or_default();
        let name_of = |index| links.iter().find(|link| link.index == index);
        let addresses = self.netlink.local_addresses().ok();
        let lan = config.local.capture.interface().and_then(|interface| {
            let link = links.iter().find(|link| link.name == interface);
            link.map(lan_facts)
        });
        let tun = links
            .iter()
            .find(|link| link.index == self.tun_index)
            .map(|link| TunFacts {
                name: link.name.clone(),
                up: link.up,
                mtu: to_u16(link.mtu),
                addresses: addresses
                    .iter()
                    .flatten()
                    .filter(|address| address.interface == link.index)
                    .filter_map(|address| match address.network.addr() {
                        IpAddr::V4(address) => Some(address),
                        IpAddr::V6(_) => None,
                    })
                    .collect(),
            });
        HostFacts {
            hostname: sam_net::process::host_name(),
            ip_forward: sysctl::ip_forward().ok(),
            proxy_arp_all: sysctl::proxy_arp("all").ok(),
            capabilities: capability_names(),
            unprivileged_port_start: sysctl::read("ipv4/ip_unprivileged_port_start")
                .ok()
                .and_then(|port| u16::try_from(port).ok()),
            addresses: addresses.map(|all| {
                all.iter()
                    .map(|address| AddressFacts {
                        interface: name_of(address.interface)
                            .map_or_else(String::new, |link| link.name.clone()),
                        address: address.network.addr(),
                    })
                    .collect()
            }),
            tunnels,
            tun,
            lan,
        }
    }
}

/// What the kernel says about a tunnel of its own.
fn tunnel_facts(link: &Link) -> Option<KernelTunnelFacts> {
    let ends = link.tunnel?;
    Some(KernelTunnelFacts {
        interface: link.name.clone(),
        kind: link.kind.clone().unwrap_or_default(),
        local: ends.local,
        remote: ends.remote,
        key: ends.key,
    })
}

fn lan_facts(link: &Link) -> LanFacts {
    let flag = |setting: &str| {
        sysctl::ipv4_conf(&link.name, setting)
            .ok()
            .map(|value| value != 0)
    };
    LanFacts {
        name: link.name.clone(),
        up: link.up && link.carrier,
        mtu: to_u16(link.mtu),
        forwarding: flag("forwarding"),
        proxy_arp: flag("proxy_arp"),
        send_redirects: flag("send_redirects"),
        arp_ignore: sysctl::ipv4_conf(&link.name, "arp_ignore")
            .ok()
            .and_then(|value| u8::try_from(value).ok()),
    }
}

/// Kernel names of the capabilities in force, of those that the router has a use for.
fn capability_names() -> Option<Vec<String>> {
    let effective = Capabilities::effective().ok()?;
    Some(
        Capability::ALL
            .into_iter()
            .filter(|capability| effective.has(*capability))
            .map(|capability| capability.to_string())
            .collect(),
    )
}
