//! A source is accepted where it lives, and nowhere else.

use std::net::Ipv4Addr;

use sam_dataplane::snapshot::Encap;
use sam_dataplane::{DropReason, NextHop, TunnelId};
use sam_wg::{PeerConfig, PeerIndex};

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

/// Of two WireGuard peers whose prefixes are nested, the one with the shorter must not send for the other, nor the other way:
/// a table of allowed addresses for each peer would let it.
#[test]
fn of_nested_prefixes_of_two_peers_each_address_is_one_peers_alone() {
    let [inside, outside] = [7, 8].map(|host| Ipv4Addr::new(10, 0, 0, host));
    for [wide, narrow] in [[TUNNEL, TO_C], [TO_C, TUNNEL]] {
        for (source, owner) in [(inside, narrow), (outside, wide)] {
            for by in [TUNNEL, TO_C] {
                let (mut lab, mut c) = with_peer_c();
                lab.a.install(lab.now, |snapshot| {
                    let prefix = "10.0.0.0/24".parse().unwrap();
                    add_prefix(snapshot, prefix, NextHop::Tunnel(wide));
                    add_route(snapshot, inside, NextHop::Tunnel(narrow));
                });
                let now = lab.now;
                let sender = if by == TUNNEL { &mut lab.b } else { &mut c };
                // For the sender itself it lives there.
                sender.install(now, |snapshot| {
                    add_route(snapshot, source, NextHop::Local);
                });
                sender.host_packet(&udp(source, A.host, 64, b"x"), now);

                let arrived = settle_three(&mut lab, &mut c);

                let (count, drops) = if by == owner {
                    (1, vec![])
                } else {
                    (0, vec![(DropReason::SourceNotAllowed, 1)])
                };
                let case = format!("{source} by {by:?}, {wide:?} has the /24");
                assert_eq!((arrived, lab.a.drops()), (count, drops), "{case}");
            }
        }
    }
}

const TO_C: TunnelId = TunnelId(1);
const C: Site = Site {
    router_mac: [2, 0, 0, 0, 0, 0xc0],
    router: Ipv4Addr::new(10, 77, 60, 3),
    host: Ipv4Addr::new(10, 77, 60, 30),
    overlay: Ipv4Addr::new(10, 255, 0, 3),
    underlay: ([192, 0, 2, 3], 51820),
    ..B
};

/// A lab whose router A has a WireGuard tunnel to C besides, and C.
fn with_peer_c() -> (Lab, Router) {
    let mut lab = Lab::connected();
    let to_c = PeerConfig {
        index: PeerIndex(6),
        ..peer(C)
    };
    lab.a.handshakes.set_peers(&[peer(B), to_c], lab.now);
    lab.a.install(lab.now, |snapshot| {
        let mut tunnel = snapshot.tunnels[0].clone();
        (tunnel.id, tunnel.site) = (TO_C, TO_C.0);
        tunnel.encap = Encap::WireGuard(PeerIndex(6));
        snapshot.tunnels.push(tunnel);
    });
    let c = Router::new(C, A, lab.now);
    (lab, c)
}

/// Carries the datagrams of three routers until nothing moves, and returns how many IP packets A's LAN got.
fn settle_three(lab: &mut Lab, c: &mut Router) -> usize {
    let (now, mut arrived) = (lab.now, 0);
    for _ in 0..10 {
        for (site, sent) in [
            (A, outputs(&mut lab.a, now)),
            (B, outputs(&mut lab.b, now)),
            (C, outputs(c, now)),
        ] {
            for out in sent {
                match out {
                    Out::Train(train) => {
                        let to = [(A, &mut lab.a), (B, &mut lab.b), (C, &mut *c)];
                        let mut to = to.into_iter().filter(|(to, _)| socket(*to) == train.to);
                        let (_, router) = to.next().expect("one of the three");
                        router.train(socket(site), train.tos, &train, now);
                    }
                    Out::Port(sent) => {
                        arrived +=
                            usize::from(site == A && sent.port == LAN && sent.arp().is_none());
                    }
                }
            }
        }
    }
    arrived
}

fn source_of(packet: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(&packet[12..16]).unwrap().into()
}
