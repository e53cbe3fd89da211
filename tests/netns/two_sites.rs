//! Two routers with the smallest configuration: what hosts on both LANs see.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::netns::{Capture, Fabric, GATEWAY, Site, ask_who_has, probe_for, sh};

use crate::case::{Case, Need, samctl};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "two_sites::hosts_reach_each_other_with_their_own_addresses",
        needs: &[Need::Tool("tcpdump"), Need::Tool("tshark")],
        run: hosts_reach_each_other,
    },
    Case {
        name: "two_sites::the_router_answers_arp_once_and_only_for_the_other_site",
        needs: &[],
        run: arp,
    },
];

/// Time for ARP answers to arrive.
const WINDOW: Duration = Duration::from_millis(700);
/// An address of the pool that nobody owns.
const UNKNOWN: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 77);

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn hosts_reach_each_other() {
    let fabric = Fabric::running(samctl(), 2);
    let (here, there) = (Site::ONPREM, Site::AWS);
    for (from, to) in [(here, there), (there, here)] {
        let (source, target) = (from.client(), to.client());
        let file = fabric.path(&format!("{}.pcap", to.name()));
        let far = Capture::start(fabric.topology.client(to), "eth0", "icmp", &file);

        let command = format!("ping -n -c 3 -i 0.2 -W 2 {target}");
        let text = sh(fabric.topology.client(from), &command).success();

        assert!(text.contains(" 0% packet loss"), "{text}");
        assert!(!text.contains("Redirect"), "{text}");
        assert!(text.contains("ttl=62"), "{text}");
        let rows = far
            .stop()
            .fields("icmp.type == 8", &["ip.src", "ip.dst", "ip.ttl"]);
        let expected = [source.to_string(), target.to_string(), "62".to_owned()];
        assert_eq!(rows, vec![expected; 3], "as seen at the far host");
    }
    for site in [here, there] {
        let router = fabric.topology.router(site);
        let forward = sh(router, "cat /proc/sys/net/ipv4/ip_forward").success();
        assert_eq!(
            forward.trim(),
            "0",
            "the kernel of {} forwards",
            site.name()
        );
        let rules = sh(
            router,
            "ip -o link show type wireguard; ip rule | grep -v lookup",
        );
        assert_eq!(rules.stdout, "", "nothing but the TUN is used");
    }
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn arp() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    let own = Site::ONPREM.client();
    let mac = sh(
        fabric.topology.router(Site::ONPREM),
        "cat /sys/class/net/lan0/address || ip -o link show lan0 | sed 's/.*ether //; s/ .*//'",
    );
    let view = fabric.router(Site::ONPREM).json("arp");
    let mac = mac.stdout.trim().to_owned();
    assert_eq!(view["mac"], mac.as_str());

    let remote = ask_who_has(client, own, Site::AWS.client(), WINDOW);
    assert_eq!(remote.len(), 1, "exactly one reply: {remote:?}");
    assert_eq!(remote[0].mac, mac);
    let gateway = ask_who_has(client, own, GATEWAY, WINDOW);
    assert_eq!(
        gateway.len(),
        1,
        "the kernel answers, we do not: {gateway:?}"
    );
    assert_eq!(
        ask_who_has(client, own, UNKNOWN, WINDOW),
        [],
        "nobody owns it"
    );
    assert_eq!(
        probe_for(client, Site::AWS.client(), WINDOW),
        [],
        "RFC 5227"
    );
    let other = fabric
        .topology
        .add_host(Site::ONPREM, "c1b", Ipv4Addr::new(10, 77, 60, 90));
    let local = ask_who_has(&other, Ipv4Addr::new(10, 77, 60, 90), own, WINDOW);
    assert_eq!(
        local.len(),
        1,
        "the owner itself answers, we do not: {local:?}"
    );
    assert_ne!(local[0].mac, mac);
}
