//! Who is believed, what is refused, and what is told about it.

use sam_bgp::wire::{Message, Update};

use super::*;
use crate::facts::Facts;
use crate::view::CheckStatus;

#[test]
fn a_router_that_speaks_for_another_node_is_not_believed() {
    let mut net = Net::empty();
    net.start(1, fixture::config(1, 3, &[1]), RuntimeState::default());
    net.start(2, fixture::config(2, 3, &[1]), RuntimeState::default());
    // Node 3's router believes that it is node 2, at node 3's overlay address.
    let mut forged = fixture::config(2, 3, &[1]);
    forged.fabric.nodes.get_mut(&NodeId(3)).unwrap().overlay = overlay(2);
    forged.fabric.nodes.get_mut(&NodeId(2)).unwrap().overlay = overlay(3);
    forged.local.owned.insert(address(ADDRESS));
    net.start(3, forged, RuntimeState::default());

    net.run(10);

    assert_eq!(net.owner(1, address(ADDRESS)), None);
    assert_eq!(net.next_hop(2, address(ADDRESS)), Some(NextHop::Withhold));
    let rejected = Event::RouteRejected {
        node: NodeId(3),
        prefix: Ipv4Net::from(address(ADDRESS)).into(),
        reason: "node-id-not-peer".into(),
    };
    assert!(
        net.station(1).events.contains(&rejected),
        "{:?}",
        net.station(1).events
    );
}

#[test]
fn an_address_that_a_node_may_not_own_stays_unowned() {
    let mut net = Net::empty();
    for id in 1..=2 {
        let mut config = fixture::config(id, 2, FULL_MESH);
        config.fabric.nodes.get_mut(&NodeId(2)).unwrap().may =
            vec!["10.77.60.32/28".parse().unwrap()];
        net.start(id, config, RuntimeState::default());
    }
    net.run(5);

    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(33)));

    assert!(net.station(2).told("command-refused"));
    assert_eq!(net.owner(1, address(ADDRESS)), None);
    assert_eq!(net.owner(1, address(33)), Some(2));
}

#[test]
fn commands_are_refused_by_name() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(1, Command::Announce(address(ADDRESS)));
    let cases = [
        (
            Command::Announce(Ipv4Addr::new(192, 0, 2, 1)),
            "outside-pool",
        ),
        (Command::Announce(address(1)), "excluded-address"),
        (Command::Announce(address(ADDRESS)), "already-owned"),
        (Command::Withdraw(address(11)), "not-owned"),
    ];
    for (command, reason) in cases {
        let refusal = net.station(1).router.check_command(&command).unwrap_err();
        assert_eq!(refusal.name(), reason);

        net.command(1, command);

        assert_eq!(net.owner(2, address(11)), None);
    }
}

#[test]
fn notices_become_events_once() {
    const MAC: Mac = [2, 0, 0, 0, 0, 9];
    let mut net = Net::new(2, FULL_MESH);
    let (port, tunnel) = (PortId(1), TunnelId(0));
    let notices = [
        (
            Notice::SessionUp {
                tunnel,
                first: true,
            },
            "tunnel-up",
        ),
        (Notice::SessionDown { tunnel }, "tunnel-down"),
        (
            Notice::ForeignAnswer {
                port,
                address: address(ADDRESS),
                mac: MAC,
            },
            "foreign-answer",
        ),
        (
            Notice::AddressProbed {
                port,
                address: address(ADDRESS),
                mac: MAC,
            },
            "address-probed",
        ),
    ];
    for (notice, name) in notices {
        net.input(1, Input::Notice(notice.clone()));
        net.input(1, Input::Notice(notice));

        let told = net
            .station(1)
            .events
            .iter()
            .filter(|event| event.name() == name)
            .count();
        assert_eq!(told, 1, "{name}");
    }
}

#[test]
fn two_routers_as_one_node_are_noticed_by_their_markers() {
    let mut net = Net::new(3, &[1]);

    for _ in 0..8 {
        for epoch in [11, 22] {
            net.station(2).router.epoch = epoch;
            net.host(2, fixture::lan(true));
            net.run(1);
        }
    }

    let now = net.now;
    let station = net.station(3);
    assert!(station.told("identity-conflict"));
    assert_eq!(station.router.identity.conflicts(now)[0].node, NodeId(2));
}

#[test]
fn a_route_of_our_own_that_a_reflector_sends_back_is_counted_but_no_news() {
    let mut net = Net::new(2, &[1]);
    let mut reflected = PathAttributes::local(overlay(2));
    reflected.originator_id = Some(overlay(2));
    reflected.cluster_list = vec![overlay(1)];
    let update = Update {
        withdrawn: Vec::new(),
        announced: vec![Ipv4Net::from(address(ADDRESS)).into()],
        attributes: Some(reflected),
        faults: Vec::new(),
    };

    net.say(1, 2, &Message::Update(update));

    let (now, station) = (net.now, net.station(2));
    assert!(!station.told("route-rejected"));
    let counters = station.router.counters(&Facts::default());
    assert_eq!(counters.rejections[0].reason, "originator-loop");
    let doctor = station.router.doctor(&Facts::default(), now);
    let rejected = doctor
        .checks
        .iter()
        .find(|check| check.name == "rejected-routes");
    assert_eq!(rejected.map(|check| check.status), Some(CheckStatus::Pass));
}
