//! The site of the foreign kernel: its network cards, its tunnels by hand, its BIRD.

use std::fs;
use std::net::Ipv6Addr;
use std::time::Duration;

use sam_testkit::guest::Guest;
use sam_testkit::netns::{Fabric, GATEWAY, Site, Wire, sh, wait_until};
use sam_wg::PrivateKey;

use crate::case::{guest_image, samctl};

/// Which site it is.
pub(super) const KERNEL: Site = Site::AWS;
/// Its MAC address on the WAN.
pub(super) const WAN_MAC: &str = "52:54:00:00:00:00";
/// Arguments of [`KernelSite::leave_checksums_to_cards`].
pub(super) const OFFLOADS: [&str; 2] = ["off", "on"];
/// Time for BGP over a new tunnel, on a machine that is busy.
const AGREEMENT: Duration = Duration::from_secs(60);

/// A fabric whose site [`KERNEL`] is a guest: `eth0` on the WAN, `eth1` on the LAN.
pub(super) struct KernelSite {
    pub(super) fabric: Fabric,
    pub(super) guest: Guest,
}

impl KernelSite {
    /// Boots the guest; there is no tunnel, no router runs, and BIRD waits for its neighbors.
    pub(super) fn boot(sites: u8) -> Self {
        let fabric = Fabric::new(samctl(), sites);
        if sites > 2 {
            // BIRD speaks for itself to everybody.
            fabric.edit_all("routeReflectors: [onprem]", "routeReflectors: []");
        }
        let topology = &fabric.topology;
        topology.unplug_router(KERNEL);
        topology.add_tap(Wire::Wan, "guest-wan");
        topology.add_tap(Wire::Lan(KERNEL), "guest-lan");
        let image = guest_image().expect("the need was looked at");
        let guest = Guest::boot(&image, topology.wires(), &["guest-wan", "guest-lan"]);
        guest.order(&format!(
            "ip address add {}/24 dev eth0 && ip link set eth0 up
             ip address add {GATEWAY}/24 dev eth1 && ip link set eth1 up
             echo 1 > /proc/sys/net/ipv4/conf/eth1/proxy_arp
             echo 0 > /proc/sys/net/ipv4/neigh/eth1/proxy_delay",
            KERNEL.underlay()
        ));
        let site = Self { fabric, guest };
        site.guest.write("/tmp/bird.conf", &site.bird());
        site.guest
            .order("bird -c /tmp/bird.conf -s /tmp/bird.ctl -P /tmp/bird.pid");
        site
    }

    /// Sites with routers of ours.
    pub(super) fn others(&self) -> impl Iterator<Item = Site> {
        let sites = self.fabric.topology.sites().into_iter();
        sites.filter(|site| *site != KERNEL)
    }

    /// Starts the router of a site, or another one with what its configuration says by then, and waits until it has
    /// heard from BIRD.
    pub(super) fn start(&mut self, site: Site) {
        self.fabric.stop(site);
        self.fabric.start(site);
        wait_until("BIRD's route arrives", AGREEMENT, || {
            self.fabric.owner(site, KERNEL.client()).as_deref() == Some(KERNEL.name())
        });
    }

    /// Switches checksum offloads: on, the kernel leaves checksums to cards which do not fill them in, as on any virtual
    /// machine whose peer is on the same host.
    pub(super) fn leave_checksums_to_cards(&self, state: &str) {
        self.guest.order(&format!(
            "ethtool -K eth0 tx {state} && ethtool -K eth1 tx {state}"
        ));
    }

    /// Gives the kernel and a site IPv6 addresses on the WAN, and the site's router these as endpoints from its next start
    /// on. Returns the site's and the kernel's. They know each other's MAC address, so that nobody has to ask for it while
    /// packets are damaged on the way.
    pub(super) fn number_ipv6(&self, site: Site) -> [Ipv6Addr; 2] {
        let nodes = [site, KERNEL];
        let [ours, theirs] =
            nodes.map(|site| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, site.number().into()));
        let join = |link: &str, own: Ipv6Addr, far: Ipv6Addr, mac: &str| {
            format!(
                "ip address add {own}/64 dev {link} nodad && \
                 ip neighbor replace {far} lladdr {mac} dev {link} nud permanent"
            )
        };
        let router = self.fabric.topology.router(site);
        sh(router, &join("wan0", ours, theirs, WAN_MAC)).success();
        self.guest
            .order(&join("eth0", theirs, ours, &self.wan_mac(site)));
        for (node, address) in nodes.into_iter().zip([ours, theirs]) {
            let former = format!("{}:51820", node.underlay());
            self.fabric
                .edit(site, &former, &format!("[{address}]:51820"));
        }
        [ours, theirs]
    }

    /// The MAC address of a site's router on the WAN.
    pub(super) fn wan_mac(&self, site: Site) -> String {
        let show = "ip -o link show wan0 | sed 's/.*ether //; s/ .*//'";
        let mac = sh(self.fabric.topology.router(site), show).success();
        mac.trim().to_owned()
    }

    /// A node's private key.
    pub(super) fn key(&self, site: Site) -> PrivateKey {
        let file = self.fabric.path(&format!("{}.key", site.name()));
        let text = fs::read_to_string(file).expect("the fabric wrote it");
        text.parse().expect("a key")
    }

    /// Gives device `t0` the overlay address, and sends what is for the other sites there.
    pub(super) fn route_by_tunnel(&self, mtu: usize) {
        let mut command = format!(
            "ip address add {}/24 dev t0 && ip link set t0 mtu {mtu} up",
            KERNEL.overlay()
        );
        for site in self.others() {
            command += &format!(
                " && ip route replace {}/32 via {} dev t0 onlink",
                site.client(),
                site.overlay()
            );
        }
        self.guest.order(&command);
    }

    /// As the router of a site sees its tunnel to the kernel.
    pub(super) fn tunnel(&self, at: Site) -> serde_json::Value {
        let view = self.fabric.router(at).json("tunnels");
        let rows = view["tunnels"].as_array().cloned().unwrap_or_default();
        let mut rows = rows.into_iter();
        rows.find(|row| row["node"]["name"] == KERNEL.name())
            .unwrap_or_default()
    }

    /// Packets that the router of a site dropped for a reason.
    pub(super) fn drops(&self, at: Site, reason: &str) -> u64 {
        let view = self.fabric.router(at).json("counters");
        let drops = view["drops"].as_array().cloned().unwrap_or_default();
        let row = drops.iter().find(|row| row["reason"] == reason);
        row.and_then(|row| row["total"].as_u64())
            .unwrap_or_else(|| panic!("there is no drop reason {reason}"))
    }

    /// Next hops are looked up in a table of their own, as only there an overlay address is reached by itself. The
    /// large communities say: node 2 owns this address of the first pool.
    fn bird(&self) -> String {
        let (own, client) = (KERNEL.overlay(), KERNEL.client());
        let tags: String = [(1, 2), (2, 1), (3, 1), (4, 7), (5, 1)]
            .map(|(function, value)| {
                format!("bgp_large_community.add((64577,{function},{value})); ")
            })
            .concat();
        let mut text = format!(
            "router id {own};\nlog \"/tmp/bird.log\" all;\nprotocol device {{ scan time 1; }}\nipv4 table links;\n\
             protocol direct {{ ipv4 {{ table links; }}; interface \"t0\"; }}\n\
             protocol static {{ ipv4; route {client}/32 blackhole {{ bgp_local_pref = 400; {tags} }}; }}\n"
        );
        for site in self.others() {
            text += &format!(
                "protocol bgp {} {{ local {own} as 64577; neighbor {} as 64577; hold time 9; connect retry time 1; \
                 connect delay time 1; error wait time 1, 2;\n  ipv4 {{ igp table links; import all; \
                 export where source = RTS_STATIC; }}; }}\n",
                site.name(),
                site.overlay()
            );
        }
        text
    }
}
