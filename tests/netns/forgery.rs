//! Tunnels without encryption know a router by its address alone, which every host of the LAN can write: what comes from
//! there is no tunnel packet.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_dataplane::encap::{Framing, Gre, Gue, Vxlan};
use sam_testkit::netns::{Capture, Fabric, GATEWAY, Site, send_ipv4, sh, wait_until};
use sam_testkit::packet::Ipv4;

use crate::case::{Case, Need, samctl, wait_for_ping};
use crate::tunnel_fragments::{DISCARD, GRE, UDP, mac, udp_to};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "forgery::one_tunnel_does_not_speak_for_what_is_behind_another",
        needs: &[Need::Tool("tcpdump")],
        run: leaks,
    },
    Case {
        name: "forgery::a_host_of_the_lan_does_not_speak_for_a_router",
        needs: &[Need::Tool("tcpdump")],
        run: || {
            let vxlan = Vxlan::between(77, THERE.overlay(), HERE.overlay());
            for (transport, framing, carrier) in [
                ("encap: gre", Framing::Gre(Gre::PLAIN), Outer::Ip(GRE)),
                ("encap: gue", Framing::Gue(Gue::Variant1), Outer::Udp(6080)),
                ("encap: ipip", Framing::Ipip, Outer::Ip(4)),
                (
                    "encap: vxlan, vni: 77",
                    Framing::Vxlan(vxlan),
                    Outer::Udp(4789),
                ),
            ] {
                forged(transport, framing, carrier);
            }
        },
    },
];

const HERE: Site = Site::ONPREM;
const THERE: Site = Site::AWS;
const PATIENCE: Duration = Duration::from_secs(10);
const REASON: &str = "encap-from-inside";

/// What carries a tunnel packet.
#[derive(Debug, Clone, Copy)]
enum Outer {
    /// IP, of this protocol.
    Ip(u8),
    /// UDP, to this port.
    Udp(u16),
}

/// ```text
///   .10 ── lan1 ── router onprem ══ transport ══ router aws ── .11
///    └ from aws, to the LAN and to the WAN address of onprem: .11 says something to .10
/// ```
fn forged(transport: &str, framing: Framing, outer: Outer) {
    let mut fabric = Fabric::new(samctl(), 2);
    let line = format!("  transport: {{{transport}, trustedUnderlay: true}}\n  bgp:");
    fabric.edit_all("  bgp:", &line);
    // The engine is to refuse, not this setting of a kernel.
    for interface in ["all", "lan0", "wan0"] {
        let loose = format!("sysctl -qw net.ipv4.conf.{interface}.rp_filter=0");
        sh(fabric.topology.router(HERE), &loose).success();
    }
    fabric.start_all();
    let (client, router) = (fabric.topology.client(HERE), fabric.topology.router(HERE));
    wait_for_ping(client, THERE.client(), PATIENCE);
    let filter = format!("udp dst port {DISCARD}");
    let seen = Capture::start(client, "eth0", &filter, &fabric.path("client.pcap"));

    for (id, to) in [(1, GATEWAY), (2, HERE.underlay())] {
        let packet = tunnel_packet(framing, outer, id, to);
        send_ipv4(
            client,
            "eth0",
            mac(router, "lan0"),
            [&packet[..]].into_iter(),
        );
    }
    wait_until("both are refused", PATIENCE, || {
        fabric.router(HERE).dropped(REASON) == 2
    });

    // The same from the router that it says it is from.
    let packet = tunnel_packet(framing, outer, 3, HERE.underlay());
    let far = fabric.topology.router(THERE);
    send_ipv4(far, "wan0", mac(router, "wan0"), [&packet[..]].into_iter());
    wait_until("the true one arrives", PATIENCE, || !ids(&seen).is_empty());
    assert_eq!(ids(&seen), [3], "{transport}");
    assert_eq!(fabric.router(HERE).dropped(REASON), 2, "{transport}");
}

/// ```text
///   .10 ── router onprem ══ gre ══ router aws ── .11
///              ╚═══════════ gre ══ router azure ── .12: says that it is .11, sends tunnel packets inside of its own
/// ```
fn leaks() {
    let mut fabric = Fabric::new(samctl(), 3);
    let line = "  transport: {encap: gre, trustedUnderlay: true}\n  bgp:";
    fabric.edit_all("  bgp:", line);
    fabric.start_all();
    let (client, router) = (fabric.topology.client(HERE), fabric.topology.router(HERE));
    for site in [THERE, Site::AZURE] {
        wait_for_ping(client, site.client(), PATIENCE);
    }
    let filter = format!("udp dst port {DISCARD}");
    let seen = Capture::start(client, "eth0", &filter, &fabric.path("client.pcap"));
    let reasons = ["source-not-allowed", "encap-unknown-source"];
    let counted = || reasons.map(|reason| fabric.router(HERE).dropped(reason));
    let before = counted();

    let (stranger, own) = (THERE.client(), Site::AZURE.client());
    let gre = |id, source, to, inner: &[u8]| {
        let framed = [&[0, 0, 8, 0], inner].concat();
        of(id, GRE).packet(source, to, &framed)
    };
    let send = |id, inner: &[u8]| {
        let packet = gre(id, Site::AZURE.underlay(), HERE.underlay(), inner);
        let far = fabric.topology.router(Site::AZURE);
        let packets = [&packet[..]].into_iter();
        send_ipv4(far, "wan0", mac(router, "wan0"), packets);
    };
    let datagram = udp_to(DISCARD, &[7; 40]);
    let stolen = of(1, UDP).packet(stranger, HERE.client(), &datagram);
    send(1, &stolen);
    // To the router itself, whose kernel hands it to the same socket.
    for (id, to) in [(2, HERE.overlay()), (3, GATEWAY)] {
        send(id, &gre(id, own, to, &stolen));
    }
    send(4, &of(4, UDP).packet(own, HERE.client(), &datagram));

    wait_until("all refusals are counted", PATIENCE, || {
        let now = counted();
        now[0] > before[0] && now[1] >= before[1] + 2
    });
    wait_until("its own arrives", PATIENCE, || !ids(&seen).is_empty());
    assert_eq!(ids(&seen), [4], "nothing else was forwarded");
}

/// The identifications of the packets that arrived.
fn ids(seen: &Capture) -> Vec<u16> {
    let packets = seen.so_far().ipv4();
    let id = |bytes: &[u8]| u16::from_be_bytes([bytes[4], bytes[5]]);
    packets.iter().map(|packet| id(&packet.bytes)).collect()
}

fn of(id: u16, protocol: u8) -> Ipv4<'static> {
    Ipv4 {
        id,
        protocol,
        ..Ipv4::default()
    }
}

/// What aws would send for its client.
fn tunnel_packet(framing: Framing, outer: Outer, id: u16, to: Ipv4Addr) -> Vec<u8> {
    let datagram = udp_to(DISCARD, &[7; 40]);
    let inner = of(id, UDP).packet(THERE.client(), HERE.client(), &datagram);
    let mut framed = [&vec![0; framing.header()], &inner[..]].concat();
    framing.write(&mut framed);
    let (protocol, body) = match outer {
        Outer::Ip(protocol) => (protocol, framed),
        Outer::Udp(port) => (UDP, udp_to(port, &framed)),
    };
    of(id, protocol).packet(THERE.underlay(), to, &body)
}
