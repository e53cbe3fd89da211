//! A source is accepted where it lives, and nowhere else.

use sam_dataplane::snapshot::Encap;
use sam_dataplane::{DropReason, NextHop, TunnelId};
use sam_wg::PeerIndex;

use crate::lab::*;

#[test]
fn a_source_is_only_accepted_where_it_lives() {
    // Rows: how the packet comes to A, its source, whether it passes.
    type Arrival = fn(&mut Lab, &[u8]);
    let lan: Arrival = |lab, packet| lab.send_a(packet);
    let host: Arrival = |lab, packet| {
        lab.a.host_packet(packet, lab.now);
        lab.settle();
    };
    let tunnel: Arrival = |lab, packet| {
        lab.b.install(lab.now, |snapshot| {
            add_route(snapshot, source_of(packet), NextHop::Lan(LAN));
        });
        lab.send_b(packet);
    };
    for (name, arrive, source, destination, passes) in [
        ("lan", lan, A.host, B.host, true),
        ("lan", lan, silent(A), B.host, true),
        ("lan", lan, B.host, B.overlay, false),
        ("lan", lan, A.router, B.host, false),
        ("lan", lan, "10.77.60.99".parse().unwrap(), B.host, false),
        ("lan", lan, "8.8.8.8".parse().unwrap(), B.host, false),
        ("host", host, A.overlay, B.host, true),
        ("host", host, A.router, B.host, true),
        ("host", host, B.host, B.overlay, false),
        ("tunnel", tunnel, B.host, A.overlay, true),
        ("tunnel", tunnel, silent(A), A.overlay, false),
        (
            "tunnel",
            tunnel,
            "8.8.8.8".parse().unwrap(),
            A.overlay,
            false,
        ),
    ] {
        let mut lab = Lab::connected();
        arrive(&mut lab, &udp(source, destination, 64, b"x"));
        let expected = if passes {
            vec![]
        } else {
            vec![(DropReason::SourceNotAllowed, 1)]
        };
        assert_eq!(lab.a.drops(), expected, "{source} from {name}");
    }
}

#[test]
fn routers_of_one_site_send_for_the_hosts_of_each_other() {
    for (site, drops) in [
        (TUNNEL.0, vec![]),
        (1, vec![(DropReason::SourceNotAllowed, 1)]),
    ] {
        let mut lab = Lab::connected();
        // The host is the other router's, for that one has its address now.
        let sibling = TunnelId(1);
        lab.a.install(lab.now, |snapshot| {
            let mut tunnel = snapshot.tunnels[0].clone();
            (tunnel.id, tunnel.site) = (sibling, site);
            tunnel.encap = Encap::WireGuard(PeerIndex(9));
            snapshot.tunnels.push(tunnel);
            add_route(snapshot, B.host, NextHop::Tunnel(sibling));
        });

        lab.send_b(&udp(B.host, A.host, 64, b"x"));

        assert_eq!(lab.a.drops(), drops, "site {site}");
    }
}

#[test]
fn a_host_whose_address_another_router_of_its_lan_owns_may_send_through_this_one() {
    for (beside, drops) in [
        (vec![TunnelId(1)], vec![]),
        (vec![], vec![(DropReason::SourceNotAllowed, 1)]),
    ] {
        let mut lab = Lab::connected();
        lab.a.install(lab.now, |snapshot| {
            let mut tunnel = snapshot.tunnels[0].clone();
            (tunnel.id, tunnel.site) = (TunnelId(1), 1);
            tunnel.encap = Encap::WireGuard(PeerIndex(9));
            snapshot.tunnels.push(tunnel);
            snapshot.lans[0].beside.clone_from(&beside);
            add_route(snapshot, A.host, NextHop::Tunnel(TunnelId(1)));
        });

        lab.send_a(&udp(A.host, B.host, 64, b"x"));

        assert_eq!(lab.a.drops(), drops, "{beside:?}");
    }
}

#[test]
fn for_a_router_itself_nobody_else_sends_nor_to_one() {
    for (source, destination) in [
        (B.overlay, A.overlay),
        (B.host, A.overlay),
        (B.overlay, A.host),
    ] {
        let mut lab = Lab::connected();
        let sibling = TunnelId(1);
        lab.a.install(lab.now, |snapshot| {
            let mut tunnel = snapshot.tunnels[0].clone();
            (tunnel.id, tunnel.encap) = (sibling, Encap::WireGuard(PeerIndex(9)));
            snapshot.tunnels.push(tunnel);
            add_route(snapshot, source, NextHop::Tunnel(sibling));
        });
        lab.b.install(lab.now, |snapshot| {
            add_route(snapshot, source, NextHop::Lan(LAN));
        });

        lab.send_b(&udp(source, destination, 64, b"x"));

        let refused = [(DropReason::SourceNotAllowed, 1)];
        assert_eq!(lab.a.drops(), refused, "{source} to {destination}");
    }
}

fn source_of(packet: &[u8]) -> std::net::Ipv4Addr {
    <[u8; 4]>::try_from(&packet[12..16]).unwrap().into()
}
