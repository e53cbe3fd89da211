//! How nodes reach each other: what configured transports become on the packet path.

use std::net::SocketAddr;

use sam_dataplane::encap::{Carrier, Framing, Nested, Plain, Vxlan};
use sam_dataplane::snapshot::Encap;

use super::*;
use crate::encapsulation::{Encapsulation, Gre, Gue, Inside, Payload};
use crate::facts::{Facts, TunnelFacts};
use crate::host::RoamedRoute;
use crate::view::CheckStatus;

const GUE: Encapsulation = Encapsulation::Gue {
    port: 6080,
    gue: Gue::Variant1,
};

#[test]
fn each_transport_has_its_carrier_framing_and_mtu() {
    let fou = Encapsulation::Fou {
        port: 5555,
        payload: Payload::Gre,
    };
    let gre = Gre {
        key: Some(7),
        checksum: true,
    };
    let vxlan = Encapsulation::Vxlan { port: 4789, vni: 9 };
    for (encapsulation, carrier, framing, expected) in [
        (
            GUE,
            Carrier::Udp { port: 6080 },
            Framing::Gue(Gue::Variant1),
            1472,
        ),
        (
            fou,
            Carrier::Udp { port: 5555 },
            Framing::Fou(Payload::Gre),
            1468,
        ),
        (
            Encapsulation::Gre(gre),
            Carrier::GRE,
            Framing::Gre(gre),
            1468,
        ),
        (Encapsulation::Ipip, Carrier::IPIP, Framing::Ipip, 1480),
        (
            vxlan,
            Carrier::Udp { port: 4789 },
            Framing::Vxlan(Vxlan::between(9, overlay(1), overlay(2))),
            1450,
        ),
    ] {
        let mut net = Net::new(2, FULL_MESH);
        restart(&mut net, |config| {
            config.fabric.transport.encapsulation = encapsulation;
        });
        let endpoint = net.station(1).router.config().fabric.nodes[&NodeId(2)]
            .endpoint
            .clone();
        let Some(Host::Address(host)) = endpoint.map(|endpoint| endpoint.host) else {
            panic!("the fixture has literal endpoints")
        };
        let port = match carrier {
            Carrier::Udp { port } => port,
            Carrier::Ip { .. } => 0,
        };
        let plain = Plain {
            carrier,
            framing,
            to: Some(SocketAddr::new(host, port)),
            by_lan: false,
        };
        let tunnel = &net.station(1).snapshot.tunnels[0];
        assert_eq!(tunnel.encap, Encap::Plain(plain));
        assert_eq!(tunnel.mtu, expected, "{encapsulation:?}");
        assert_eq!(net.station(1).wireguard, [], "no peer without WireGuard");
        assert!(net.station(1).router.config().carriers().contains(&carrier));
    }
}

#[test]
fn gre_and_gue_inside_of_wireguard_are_between_the_overlay_addresses_and_cost_more() {
    let gre = Gre {
        key: Some(7),
        checksum: false,
    };
    let inside_gue = Inside::Gue {
        port: 6080,
        gue: Gue::Variant1,
    };
    for (inside, carrier, framing, expected) in [
        (
            Inside::Gre(Gre::PLAIN),
            Carrier::GRE,
            Framing::Gre(Gre::PLAIN),
            1416,
        ),
        (Inside::Gre(gre), Carrier::GRE, Framing::Gre(gre), 1412),
        (
            inside_gue,
            Carrier::Udp { port: 6080 },
            Framing::Gue(Gue::Variant1),
            1412,
        ),
    ] {
        let mut net = Net::new(2, FULL_MESH);
        restart(&mut net, |config| {
            config.fabric.transport.encapsulation = Encapsulation::OverWireGuard(inside);
        });
        let nested = Nested {
            carrier,
            framing,
            own: overlay(1),
            far: overlay(2),
        };
        let station = net.station(1);
        let tunnel = &station.snapshot.tunnels[0];
        assert!(matches!(tunnel.encap, Encap::WireGuard(_)));
        assert_eq!((tunnel.nested, tunnel.mtu), (Some(nested), expected));
        assert_eq!(station.wireguard.len(), 1);
        assert!(
            station.router.config().carriers().is_empty(),
            "the underlay sees WireGuard only"
        );
    }
}

#[test]
fn a_pair_differs_from_the_fabric_and_the_others_do_not() {
    let mut net = Net::new(3, FULL_MESH);
    restart(&mut net, |config| {
        let mut transport = config.fabric.transport.clone();
        transport.encapsulation = GUE;
        transport.mtu = TunnelMtu::Fixed(1300);
        transport.mss_clamp = false;
        config
            .fabric
            .pairs
            .insert((NodeId(1), NodeId(3)), transport);
    });

    let station = net.station(1);
    let [two, three] = &station.snapshot.tunnels[..] else {
        panic!("two tunnels")
    };
    assert!(matches!(two.encap, Encap::WireGuard(_)) && two.mss_clamp);
    assert!(matches!(three.encap, Encap::Plain(_)) && !three.mss_clamp);
    assert_eq!((two.mtu, three.mtu), (1440, 1300));
    assert_eq!(station.wireguard.len(), 1);
}

#[test]
fn a_tunnel_without_sessions_is_up_while_its_endpoint_is_known() {
    let mut net = Net::new(2, FULL_MESH);
    let shown = |net: &Net| {
        let station = &net.stations[&1];
        let row = station
            .router
            .tunnels(&Facts::default(), net.now)
            .tunnels
            .remove(0);
        (row.encap, row.up, row.keepalive_s)
    };
    restart(&mut net, |config| {
        config.fabric.transport.encapsulation = GUE;
        config.fabric.transport.keepalive = None;
    });
    assert_eq!(shown(&net), ("gue".to_owned(), true, None));

    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Name("b.example".into());
    });
    assert_eq!(shown(&net), ("gue".to_owned(), false, None));

    let resolved = HostEvent::Endpoint {
        node: NodeId(2),
        address: "[2001:db8::2]:51820".parse().unwrap(),
        interface: 0,
        underlay_mtu: 1500,
        into_tun: false,
    };
    net.host(1, resolved);
    assert_eq!(shown(&net), ("gue".to_owned(), true, None));
    assert_eq!(mtu(&net), 1452);
}

#[test]
fn the_packet_path_learns_which_far_end_is_reached_over_the_lan_and_by_which_address_we_are_known()
{
    let mut net = Net::new(2, FULL_MESH);
    set_transport(&mut net, GUE);
    net.host(1, fixture::lan(true));
    let ports = &net.station(1).snapshot.lans;
    assert_eq!(ports[0].interface, 2);
    for (interface, expected) in [(3, false), (2, true), (0, false)] {
        let way = HostEvent::Endpoint {
            node: NodeId(2),
            address: "192.0.2.2:51820".parse().unwrap(),
            interface,
            underlay_mtu: 1500,
            into_tun: false,
        };
        net.host(1, way);
        let Encap::Plain(plain) = net.station(1).snapshot.tunnels[0].encap else {
            panic!("plain")
        };
        assert_eq!(plain.by_lan, expected, "{interface}");
    }
    for source in [Some("192.0.2.1".parse().unwrap()), None] {
        net.host(1, HostEvent::OuterSource(source));
        assert_eq!(net.station(1).snapshot.outer_source, source);
    }
}

#[test]
fn what_went_through_a_tunnel_is_shown_with_and_without_encryption() {
    let mut net = Net::new(2, FULL_MESH);
    let facts = Facts {
        tunnels: vec![TunnelFacts {
            tunnel: 0,
            rx_packets: 3,
            rx_bytes: 300,
            tx_packets: 5,
            tx_bytes: 500,
            last_received_s: Some(2.0),
        }],
        ..Facts::default()
    };
    for (encapsulation, heard) in [(Encapsulation::WireGuard, None), (GUE, Some(2.0))] {
        restart(&mut net, |config| {
            config.fabric.transport.encapsulation = encapsulation;
        });
        let router = &net.stations[&1].router;
        let row = router.tunnels(&facts, net.now).tunnels.remove(0);
        assert_eq!(
            (row.rx_packets, row.rx_bytes, row.tx_packets, row.tx_bytes),
            (3, 300, 5, 500)
        );
        assert_eq!(
            row.last_received_s, heard,
            "WireGuard hears what is authenticated"
        );
    }
}

#[test]
fn a_tunnel_that_would_be_routed_into_itself_is_refused_until_the_route_is_right() {
    for encapsulation in [Encapsulation::WireGuard, GUE] {
        let mut net = Net::new(2, FULL_MESH);
        net.command(2, Command::Announce(address(ADDRESS)));
        restart(&mut net, |config| {
            config.fabric.transport.encapsulation = encapsulation;
        });
        net.run(10);
        let tunneled =
            |net: &Net| [address(ADDRESS), overlay(2)].map(|to| net.tunneled_to(1, to) == Some(2));
        let underlay = net.stations[&1]
            .router
            .host
            .endpoint(net.stations[&1].router.config(), NodeId(2));
        let way = |into_tun, underlay_mtu| HostEvent::Endpoint {
            node: NodeId(2),
            address: underlay.unwrap(),
            interface: 0,
            underlay_mtu,
            into_tun,
        };
        net.host(1, way(false, 9001));
        let before = mtu(&net);
        assert_eq!(tunneled(&net), [true, true]);

        net.host(1, way(true, 1300));

        for to in [address(ADDRESS), overlay(2)] {
            assert_eq!(net.next_hop(1, to), Some(NextHop::Unreachable), "{to}");
        }
        let now = net.now;
        let station = net.station(1);
        let row = station
            .router
            .tunnels(&Facts::default(), now)
            .tunnels
            .remove(0);
        assert_eq!(
            (row.up, row.fault.as_deref()),
            (false, Some("routed-into-itself"))
        );
        assert!(!station.router.tunnel_up(NodeId(2)));
        assert_eq!(row.mtu, before, "the TUN device is no underlay");
        assert_eq!(station.events.last(), Some(&refused(true)));
        let explained = station
            .router
            .explain(address(ADDRESS), &Facts::default(), now);
        let expected = "10.77.60.10 lives at n2, but the tunnel there is refused";
        assert!(
            explained.verdict.starts_with(expected),
            "{}",
            explained.verdict
        );
        let doctor = station.router.doctor(&Facts::default(), now);
        let check = |name: &str| {
            let mut checks = doctor.checks.iter();
            checks.find(|check| check.name == name).cloned().unwrap()
        };
        assert_eq!(check("handshake-n2").status, CheckStatus::Fail);
        assert!(
            check("handshake-n2")
                .remedy
                .unwrap()
                .contains("ip route get")
        );
        assert_eq!(
            check("rib-fib").status,
            CheckStatus::Pass,
            "no defect of ours"
        );

        net.host(1, way(false, 9001));

        assert_eq!(tunneled(&net), [true, true]);
        assert_eq!(net.station(1).events.last(), Some(&refused(false)));
    }
}

#[test]
fn a_node_that_roamed_to_where_the_route_is_right_is_not_refused() {
    let mut net = Net::new(2, FULL_MESH);
    let [configured, elsewhere] = ["192.0.2.2:51820", "198.51.100.9:51820"];
    let event = HostEvent::Endpoint {
        node: NodeId(2),
        address: configured.parse().unwrap(),
        interface: 0,
        underlay_mtu: 1500,
        into_tun: true,
    };
    let roam = Notice::EndpointChanged {
        tunnel: TunnelId(0),
        from: None,
        to: elsewhere.parse().unwrap(),
    };

    net.host(1, event);
    assert_eq!(net.next_hop(1, overlay(2)), Some(NextHop::Unreachable));

    net.input(1, Input::Notice(roam));
    assert_eq!(net.tunneled_to(1, overlay(2)), Some(2));
}

#[test]
fn a_node_that_roamed_to_where_the_route_leads_back_to_us_is_refused_until_it_moves_on() {
    let mut net = Net::new(2, FULL_MESH);
    let [inside, elsewhere] = ["10.77.60.99:51820", "198.51.100.9:51820"];
    let roam = |to: &str| {
        Input::Notice(Notice::EndpointChanged {
            tunnel: TunnelId(0),
            from: Some("192.0.2.2:51820".parse().unwrap()),
            to: to.parse().unwrap(),
        })
    };
    let way = |address: &str, into_tun| HostEvent::Roamed {
        node: NodeId(2),
        address: address.parse().unwrap(),
        route: RoamedRoute {
            mtu: Some(9001),
            into_tun,
        },
    };

    net.input(1, roam(inside));
    let roamed = |net: &Net| net.stations[&1].router.roamed(NodeId(2)).unwrap();
    assert_eq!(roamed(&net).address, inside.parse().unwrap());
    net.host(1, way(inside, true));
    assert!(roamed(&net).route.is_some_and(|route| route.into_tun));

    assert_eq!(net.next_hop(1, overlay(2)), Some(NextHop::Unreachable));
    assert!(!net.station(1).router.tunnel_up(NodeId(2)));
    assert_eq!(net.station(1).events.last(), Some(&refused(true)));

    net.input(1, roam(elsewhere));
    // What the kernel said of the former address is no word about this one.
    net.host(1, way(inside, true));

    assert_eq!(net.tunneled_to(1, overlay(2)), Some(2));
    assert!(net.station(1).events.contains(&refused(false)));

    net.input(1, roam(inside));
    assert_eq!(roamed(&net).route, None, "to be looked at again");
}

#[test]
fn the_tunnel_mtu_of_a_node_that_roamed_is_that_of_the_way_to_where_it_is() {
    let mut net = Net::new(2, FULL_MESH);
    let [configured, elsewhere, by_ipv6] = [
        "192.0.2.2:51820",
        "198.51.100.9:51820",
        "[2001:db8::9]:51820",
    ];

    roam(&mut net, elsewhere);
    assert_eq!(mtu(&net), 1440, "until somebody has looked");
    way(&mut net, elsewhere, Some(1400), false);
    assert_eq!(mtu(&net), 1340);
    way(&mut net, elsewhere, None, false);
    assert_eq!(mtu(&net), 1440, "no route, no news");
    way(&mut net, elsewhere, Some(9001), false);
    assert_eq!(mtu(&net), 1440, "no configured way says that more fits");

    roam(&mut net, by_ipv6);
    way(&mut net, by_ipv6, Some(1400), false);
    assert_eq!(mtu(&net), 1320);
    way(&mut net, by_ipv6, Some(9001), true);
    assert_eq!(mtu(&net), 1420, "our own device is no underlay");

    roam(&mut net, configured);
    assert_eq!(mtu(&net), 1440);

    net.host(1, endpoint(configured, 1300));
    assert_eq!(mtu(&net), 1240);
    roam(&mut net, elsewhere);
    assert_eq!(mtu(&net), 1240, "until somebody has looked");
    way(&mut net, elsewhere, None, false);
    assert_eq!(mtu(&net), 1240, "no route, no news");
    way(&mut net, elsewhere, Some(9001), false);
    assert_eq!(mtu(&net), 8941);
    net.host(1, endpoint(configured, 1400));
    assert_eq!(mtu(&net), 8941, "it did not move with the link");
}

#[test]
fn a_name_that_leads_elsewhere_takes_the_tunnel_along_from_where_its_node_was_seen() {
    let mut net = Net::new(2, FULL_MESH);
    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Name("b.example".into());
    });
    let [first, roamed, second] = ["192.0.2.2:51820", "198.51.100.9:51820", "192.0.2.7:51820"];
    net.host(1, endpoint(first, 1500));
    roam(&mut net, roamed);
    way(&mut net, roamed, Some(1300), false);

    net.host(1, endpoint(first, 1500));
    assert_eq!(mtu(&net), 1240, "the name leads where it did");
    net.host(1, endpoint(second, 1400));

    assert_eq!(mtu(&net), 1340);
    assert_eq!(net.stations[&1].router.roamed(NodeId(2)), None);
    let to = Some(second.parse().unwrap());
    assert_eq!(net.station(1).wireguard[0].endpoint, to);
}

fn roam(net: &mut Net, to: &str) {
    let notice = Notice::EndpointChanged {
        tunnel: TunnelId(0),
        from: None,
        to: to.parse().unwrap(),
    };
    net.input(1, Input::Notice(notice));
}

/// The way to where node 2 was last seen.
fn way(net: &mut Net, address: &str, mtu: Option<u16>, into_tun: bool) {
    let event = HostEvent::Roamed {
        node: NodeId(2),
        address: address.parse().unwrap(),
        route: RoamedRoute { mtu, into_tun },
    };
    net.host(1, event);
}

/// The way to node 2's configured endpoint.
fn endpoint(address: &str, underlay_mtu: u16) -> HostEvent {
    HostEvent::Endpoint {
        node: NodeId(2),
        address: address.parse().unwrap(),
        interface: 0,
        underlay_mtu,
        into_tun: false,
    }
}

fn refused(is_refused: bool) -> Event {
    Event::TunnelFault {
        node: NodeId(2),
        reason: is_refused.then(|| "routed-into-itself".into()),
    }
}

#[test]
fn another_transport_of_a_pair_is_taken_up_in_place_and_leaves_other_tunnels_alone() {
    let mut net = Net::new(3, FULL_MESH);
    let before = net.station(1).snapshot.tunnels.clone();
    let peers = net.station(1).wireguard.clone();

    set_transport(&mut net, GUE);

    let station = net.station(1);
    let tunnels = &station.snapshot.tunnels;
    assert!(matches!(tunnels[0].encap, Encap::Plain(_)));
    assert_eq!((&tunnels[1], tunnels.len()), (&before[1], 2));
    assert_eq!(station.wireguard, peers[1..]);
    assert!(!station.told("config-refused"));

    set_transport(&mut net, Encapsulation::WireGuard);

    let station = net.station(1);
    assert_eq!(station.snapshot.tunnels, before);
    assert_eq!(station.wireguard, peers);
}

#[test]
fn the_end_of_a_session_of_wireguard_says_nothing_about_another_transport() {
    let mut net = Net::new(3, FULL_MESH);
    let tunnel = TunnelId(0);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.input(1, Input::Notice(Notice::SessionDown { tunnel }));
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), None);

    set_transport(&mut net, GUE);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
    net.input(1, Input::Notice(Notice::SessionDown { tunnel }));
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));

    set_transport(&mut net, Encapsulation::WireGuard);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2), "not known");
}

/// Gives the pair of nodes 1 and 2 a transport of its own.
fn set_transport(net: &mut Net, encapsulation: Encapsulation) {
    reconfigure(net, 1, |config| {
        let transport = crate::config::Transport {
            encapsulation,
            ..config.fabric.transport.clone()
        };
        config
            .fabric
            .pairs
            .insert((NodeId(1), NodeId(2)), transport);
    });
}

/// Starts node 1 again with another configuration.
fn restart(net: &mut Net, change: impl FnOnce(&mut Config)) {
    let mut config = net.station(1).router.config().clone();
    change(&mut config);
    net.start(1, config, RuntimeState::default());
}
