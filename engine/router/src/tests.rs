//! What the router as a whole must do, seen from outside: outputs, snapshots, and what its neighbors learn.
//!
//! Node N owns nothing at first, has overlay 10.99.0.N and a LAN in 10.77.60.0/24; `address(n)` is 10.77.60.n.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use sam_bgp::DecisionStep;
use sam_capture::{ClaimState, NodeId};
use sam_dataplane::notice::Mac;
use sam_dataplane::{NextHop, Notice, PortId, TunnelId};

use crate::config::{Capture, Config, Host, TunnelMtu};
use crate::events::Event;
use crate::fixture::{self, address, overlay};
use crate::input::{Command, HostEvent, Input};
use crate::journal::RuntimeState;
use crate::router::CommandRefusal;
use crate::testnet::Net;
use crate::view::{RouteAction, RouteOrigin};

const FULL_MESH: &[u32] = &[];
const ADDRESS: u8 = 10;

#[test]
fn an_announcement_makes_the_others_tunnel_and_answer() {
    for reflectors in [FULL_MESH, &[1]] {
        let mut net = Net::new(3, reflectors);

        net.command(2, Command::Announce(address(ADDRESS)));

        for other in [1, 3] {
            assert_eq!(net.tunneled_to(other, address(ADDRESS)), Some(2));
            assert!(net.answers(other, address(ADDRESS)));
        }
        assert_eq!(
            net.next_hop(2, address(ADDRESS)),
            Some(NextHop::Lan(PortId(1)))
        );
        assert!(!net.answers(2, address(ADDRESS)));
    }
}

#[test]
fn a_withdrawal_makes_the_others_withhold_and_fall_silent() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));

    net.command(2, Command::Withdraw(address(ADDRESS)));

    for id in 1..=3 {
        assert_eq!(net.next_hop(id, address(ADDRESS)), Some(NextHop::Withhold));
        assert!(!net.answers(id, address(ADDRESS)));
    }
}

#[test]
fn a_moved_address_has_one_owner_with_a_higher_sequence() {
    let mut net = Net::new(4, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));

    net.command(2, Command::Withdraw(address(ADDRESS)));
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(3, Command::Withdraw(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));

    for id in 1..=4 {
        assert_eq!(net.owner(id, address(ADDRESS)), Some(2));
    }
    assert_eq!(net.station(2).state.sequences[&address(ADDRESS)], 2);
    assert!(!net.station(1).told("duplicate-owner"));
}

#[test]
fn a_move_that_makes_before_it_breaks_counts_past_the_former_owner() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(3, Command::Announce(address(ADDRESS)));
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));

    net.command(2, Command::Withdraw(address(ADDRESS)));

    for id in 1..=3 {
        assert_eq!(net.owner(id, address(ADDRESS)), Some(3));
    }
    assert!(net.station(3).state.sequences[&address(ADDRESS)] > 1);
}

#[test]
fn an_unknown_address_of_the_pool_is_withheld_and_one_outside_has_no_route() {
    let net = Net::new(2, FULL_MESH);

    assert_eq!(net.next_hop(1, address(99)), Some(NextHop::Withhold));
    assert_eq!(net.next_hop(1, Ipv4Addr::new(192, 0, 2, 1)), None);
}

#[test]
fn overlays_and_own_addresses_are_fixed_points_of_the_fib() {
    let net = Net::new(3, &[1]);

    assert_eq!(net.next_hop(2, overlay(2)), Some(NextHop::Local));
    assert_eq!(net.next_hop(2, address(1)), Some(NextHop::Local));
    assert_eq!(net.tunneled_to(2, overlay(3)), Some(3));
    let routes = net.stations[&2].router.routes().routes;
    assert!(
        routes.iter().all(|route| route.origin != RouteOrigin::Bgp),
        "markers are not installed"
    );
    assert_eq!(
        net.stations[&2].router.speaker.prefixes().len(),
        3,
        "three markers in the RIB"
    );
}

#[test]
fn the_reflector_publishes_before_it_passes_the_news_on() {
    let mut net = Net::new(3, &[1]);
    net.station(1).kinds.clear();

    net.input(2, Input::Command(Command::Announce(address(ADDRESS))));
    net.run(1);

    let kinds = &net.station(1).kinds;
    let publish = kinds.iter().position(|kind| *kind == "publish").unwrap();
    assert!(
        kinds[..publish].iter().all(|kind| *kind != "send"),
        "{kinds:?}"
    );
    assert!(kinds[publish..].contains(&"send"), "{kinds:?}");
}

#[test]
fn a_journal_entry_comes_first_when_a_sequence_is_taken() {
    let mut net = Net::new(2, FULL_MESH);
    net.station(1).kinds.clear();

    net.input(1, Input::Command(Command::Announce(address(ADDRESS))));

    assert_eq!(
        net.station(1).kinds,
        ["journal", "publish", "send", "event"]
    );
}

#[test]
fn an_equal_configuration_says_nothing() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.station(2).kinds.clear();

    let config = net.station(2).router.config().clone();
    net.input(2, Input::Config(Box::new(config)));

    assert_eq!(net.station(2).kinds, Vec::<&str>::new());
}

#[test]
fn equal_host_facts_say_nothing() {
    let mut net = Net::new(2, FULL_MESH);
    net.station(2).kinds.clear();

    net.host(2, fixture::lan(true));

    assert_eq!(net.station(2).kinds, Vec::<&str>::new());
}

#[test]
fn a_new_node_leaves_running_sessions_and_numbers_alone() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    let before = net.station(1).wireguard.clone();
    net.station(1).kinds.clear();

    reconfigure(&mut net, 1, |config| {
        config.fabric.nodes.insert(NodeId(4), fixture::node(4));
    });
    net.run(5);

    let station = net.station(1);
    assert!(!station.kinds.contains(&"close"), "{:?}", station.kinds);
    assert_eq!(station.wireguard[..2], before[..]);
    assert_eq!(station.wireguard.len(), 3);
    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_removed_node_takes_its_routes_with_it() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));

    for id in [1, 3] {
        reconfigure(&mut net, id, |config| {
            drop(config.fabric.nodes.remove(&NodeId(2)))
        });
    }
    net.run(5);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));
    assert_eq!(net.next_hop(1, overlay(2)), None);
    assert_eq!(
        net.tunneled_to(1, overlay(3)),
        Some(3),
        "the number of node 3 stays"
    );
}

#[test]
fn a_change_that_needs_a_restart_is_refused_as_a_whole() {
    let mut net = Net::new(2, FULL_MESH);

    reconfigure(&mut net, 1, |config| {
        config.local.listen_port = 1;
        config.local.owned.insert(address(ADDRESS));
    });

    let settings = vec!["self.listenPort".to_owned()];
    assert_eq!(
        net.station(1).events.last(),
        Some(&Event::ConfigRefused { settings })
    );
    assert_eq!(net.owner(1, address(ADDRESS)), None);
}

#[test]
fn an_address_added_to_the_configuration_is_announced() {
    let mut net = Net::new(2, FULL_MESH);

    reconfigure(&mut net, 1, |config| {
        assert!(config.local.owned.insert(address(ADDRESS)))
    });
    net.run(1);

    assert_eq!(net.owner(2, address(ADDRESS)), Some(1));
}

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
        prefix: address(ADDRESS).into(),
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
fn two_claimants_have_one_owner_everywhere_and_an_alarm() {
    for reflectors in [FULL_MESH, &[1]] {
        let mut net = Net::new(4, reflectors);
        net.command(3, Command::Announce(address(ADDRESS)));

        net.command(2, Command::Announce(address(ADDRESS)));

        for id in 1..=4 {
            assert_eq!(
                net.owner(id, address(ADDRESS)),
                Some(2),
                "at {id}, {reflectors:?}"
            );
        }
        let loser = net.station(3);
        assert_eq!(
            loser.router.origination.state(address(ADDRESS)),
            Some(ClaimState::Standby)
        );
        assert!(loser.told("duplicate-owner"));
        assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));
        assert!(
            !net.answers(3, address(ADDRESS)),
            "it is said to live on this LAN too"
        );
    }
}

#[test]
fn the_loser_takes_over_when_the_winner_dies() {
    for reflectors in [FULL_MESH, &[1]] {
        let mut net = Net::new(4, reflectors);
        net.command(3, Command::Announce(address(ADDRESS)));
        net.command(2, Command::Announce(address(ADDRESS)));

        net.kill(2);
        net.run(15);

        for id in [1, 3, 4] {
            assert_eq!(
                net.owner(id, address(ADDRESS)),
                Some(3),
                "at {id}, {reflectors:?}"
            );
        }
        let holding = net.stations[&1]
            .router
            .owners
            .holding(address(ADDRESS))
            .unwrap();
        assert_eq!(holding.owner.state, ClaimState::Active);
        assert!(net.station(3).told("duplicate-owner-ended"));
    }
}

#[test]
fn a_lan_that_goes_down_withdraws_and_comes_back_with_a_higher_sequence() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(1, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(11)));
    let before = sequence(&net, 2, ADDRESS);

    net.host(1, fixture::lan(false));
    net.run(1);
    assert_eq!(net.owner(2, address(ADDRESS)), None);
    assert!(!net.answers(1, address(11)), "a closed gate is silent");

    net.host(1, fixture::lan(true));
    net.run(1);
    assert!(sequence(&net, 2, ADDRESS) > before);
    assert!(net.answers(1, address(11)));
}

#[test]
fn nothing_is_announced_before_the_lan_is_there() {
    let mut net = Net::new(2, FULL_MESH);
    let mut config = fixture::config(1, 2, FULL_MESH);
    config.local.owned.insert(address(ADDRESS));
    let Capture::ProxyArp { interface, .. } = &mut config.local.capture else {
        panic!()
    };
    *interface = "eth9".into();

    net.kill(1);
    net.start(1, config, RuntimeState::default());
    net.run(5);

    assert_eq!(net.owner(2, address(ADDRESS)), None);
}

#[test]
fn without_capture_an_owned_address_is_the_hosts() {
    let mut net = Net::empty();
    let mut config = fixture::config(1, 2, FULL_MESH);
    config.local.owned.insert(address(ADDRESS));
    config.local.capture = Capture::None;
    net.start(1, config, RuntimeState::default());
    net.start(2, fixture::config(2, 2, FULL_MESH), RuntimeState::default());

    net.run(5);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Local));
    assert_eq!(net.tunneled_to(2, address(ADDRESS)), Some(1));
    assert!(net.station(1).snapshot.lans.is_empty());
}

#[test]
fn a_restart_keeps_orders_and_raises_sequences() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(1, Command::Announce(address(ADDRESS)));
    let state = net.station(1).state.clone();
    let config = net.station(1).router.config().clone();

    net.kill(1);
    net.start(1, config, state.clone());
    net.run(15);

    assert_eq!(net.owner(2, address(ADDRESS)), Some(1));
    assert_eq!(
        sequence(&net, 2, ADDRESS),
        state.sequences[&address(ADDRESS)] + 1
    );
    assert!(!net.station(2).told("identity-conflict"));
}

#[test]
fn a_stop_withdraws_everything_and_ends_the_sessions() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(1, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(11)));

    net.command(1, Command::Shutdown);

    assert_eq!(net.owner(2, address(ADDRESS)), None);
    assert!(!net.answers(1, address(11)));
    assert!(net.station(2).told("session-down"));
    assert_eq!(
        net.station(1)
            .router
            .check_command(&Command::Announce(address(12))),
        Err(CommandRefusal::Stopping)
    );
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
        assert_eq!(refusal.to_string(), reason);

        net.command(1, command);

        assert_eq!(net.owner(2, address(11)), None);
    }
}

#[test]
fn the_tunnel_mtu_follows_underlay_and_address_family() {
    let mut net = Net::new(2, FULL_MESH);
    let endpoint = |host: &str, underlay_mtu| HostEvent::Endpoint {
        node: NodeId(2),
        address: host.parse().unwrap(),
        underlay_mtu,
    };
    assert_eq!(mtu(&net), 1440);

    net.host(1, endpoint("192.0.2.2:51820", 9001));
    assert_eq!(mtu(&net), 8941);

    reconfigure(&mut net, 1, |config| {
        let node = config.fabric.nodes.get_mut(&NodeId(2)).unwrap();
        node.endpoint.as_mut().unwrap().host = Host::Name("b.example".into());
    });
    assert_eq!(
        (mtu(&net), net.station(1).wireguard[0].endpoint),
        (1440, None)
    );

    net.host(1, endpoint("[2001:db8::2]:51820", 1500));
    assert_eq!(mtu(&net), 1420);
    assert_eq!(
        net.station(1).wireguard[0].endpoint,
        Some("[2001:db8::2]:51820".parse().unwrap())
    );

    reconfigure(&mut net, 1, |config| {
        config.fabric.transport.mtu = TunnelMtu::Fixed(1300)
    });
    assert_eq!(mtu(&net), 1300);
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
fn owners_show_claims_and_the_deciding_step() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));

    let view = net.stations[&3].router.owners(net.now);

    let row = &view.owners[0];
    assert_eq!(
        (row.address, row.state.as_str(), row.duplicate),
        (address(ADDRESS), "active", true)
    );
    assert_eq!(
        row.owner.as_ref().map(|node| node.name.as_str()),
        Some("n2")
    );
    assert_eq!(
        (row.local, row.answered, row.configured),
        (false, false, true)
    );
    let claims: Vec<_> = row
        .claims
        .iter()
        .map(|c| (c.node.id.0, c.state.as_str(), c.best))
        .collect();
    assert_eq!(claims, [(2, "active", true), (3, "standby", false)]);
    assert_eq!(
        row.claims[1].step,
        crate::view::step_name(DecisionStep::LocalPref)
    );
}

#[test]
fn why_shows_the_ladder_down_to_the_deciding_step() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));

    let why = net.stations[&3]
        .router
        .bgp_why(address(ADDRESS).into(), net.now);

    assert_eq!(why.best.unwrap().node.unwrap().name, "n2");
    let ladder = &why.comparisons[0].ladder;
    let steps: Vec<_> = ladder
        .iter()
        .map(|row| (row.step.name.as_str(), row.decides))
        .collect();
    assert_eq!(steps, [("eligible", false), ("local-pref", true)]);
    assert_eq!(
        (ladder[1].best.as_str(), ladder[1].other.as_str()),
        ("400", "300")
    );
}

#[test]
fn every_view_is_json_and_comes_back_equal() {
    fn round_trip<
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    >(
        view: &T,
    ) {
        let text = serde_json::to_string(view).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *view, "{text}");
    }
    let mut net = Net::new(3, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    let (facts, now) = (crate::Facts::default(), net.now);
    let router = &net.stations[&1].router;

    round_trip(&router.status(&facts, now));
    round_trip(&router.owners(now));
    round_trip(&router.routes());
    round_trip(&router.bgp_neighbors(now));
    round_trip(&router.bgp_neighbor(NodeId(3), now).unwrap());
    round_trip(&router.bgp_rib(now));
    round_trip(&router.bgp_why(address(ADDRESS).into(), now));
    round_trip(&router.tunnels(&facts, now));
    round_trip(&router.arp(&facts, now));
    round_trip(&router.counters(&facts));
    round_trip(&router.doctor(&facts, now));
    round_trip(&router.explain(address(ADDRESS), &facts, now));
    net.stations[&1].events.iter().for_each(round_trip);
    round_trip(&net.stations[&3].state);
}

#[test]
fn status_counts_what_is_up() {
    let mut net = Net::new(3, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(1, Command::Announce(address(11)));

    let status = net.stations[&1]
        .router
        .status(&crate::Facts::default(), net.now);

    assert_eq!(
        (status.bgp_sessions.up, status.bgp_sessions.configured),
        (2, 2)
    );
    assert_eq!((status.pools[0].local, status.pools[0].remote), (1, 1));
    assert_eq!(
        (status.capture.gate_open, status.capture.answers),
        (true, 1)
    );
    assert!(status.route_reflector);
}

#[test]
fn routes_name_the_far_node() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));

    let view = net.stations[&1].router.routes();

    let row = view
        .routes
        .iter()
        .find(|row| row.prefix == address(ADDRESS).into())
        .unwrap();
    assert_eq!(
        (row.action, row.origin, row.mtu),
        (RouteAction::Tunnel, RouteOrigin::Bgp, Some(1440))
    );
    assert_eq!(row.node.as_ref().unwrap().name, "n2");
}

/// What can happen to a fabric of four routers with two contested addresses.
#[derive(Debug, Clone)]
enum Happening {
    Announce(u32, u8),
    Withdraw(u32, u8),
    Lan(u32, bool),
    Restart(u32),
    Pass(u64),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_all_routers_agree_and_forward_to_the_owner(
        reflected in any::<bool>(),
        happenings in proptest::collection::vec(happening(), 1..12),
    ) {
        let reflectors: &[u32] = if reflected { &[1, 2] } else { FULL_MESH };
        let mut net = Net::new(4, reflectors);
        for happening in happenings {
            happen(&mut net, &happening);
        }
        net.run(40);

        for last in [20, 21] {
            let owner = net.owner(1, address(last));
            for id in 1..=4 {
                prop_assert_eq!(net.owner(id, address(last)), owner, "node {}", id);
                let expected = match owner {
                    None => Some(NextHop::Withhold),
                    Some(owner) if owner == id => Some(NextHop::Lan(PortId(1))),
                    Some(owner) => {
                        prop_assert_eq!(net.tunneled_to(id, address(last)), Some(owner));
                        continue;
                    }
                };
                prop_assert_eq!(net.next_hop(id, address(last)), expected);
                prop_assert!(!net.answers(id, address(last)), "an owner or nobody answers for it");
            }
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let (node, last) = (1_u32..=4, 20_u8..=21);
    prop_oneof![
        (node.clone(), last.clone()).prop_map(|(node, last)| Happening::Announce(node, last)),
        (node.clone(), last).prop_map(|(node, last)| Happening::Withdraw(node, last)),
        (node.clone(), any::<bool>()).prop_map(|(node, up)| Happening::Lan(node, up)),
        node.prop_map(Happening::Restart),
        (0_u64..4).prop_map(Happening::Pass),
    ]
}

fn happen(net: &mut Net, happening: &Happening) {
    match *happening {
        Happening::Announce(id, last) => {
            net.input(id, Input::Command(Command::Announce(address(last))));
        }
        Happening::Withdraw(id, last) => {
            net.input(id, Input::Command(Command::Withdraw(address(last))));
        }
        Happening::Lan(id, up) => net.host(id, fixture::lan(up)),
        Happening::Restart(id) => {
            let config = net.station(id).router.config().clone();
            let state = net.station(id).state.clone();
            net.kill(id);
            net.start(id, config, state);
        }
        Happening::Pass(seconds) => net.run(seconds),
    }
}

fn reconfigure(net: &mut Net, id: u32, change: impl FnOnce(&mut Config)) {
    let mut config = net.station(id).router.config().clone();
    change(&mut config);
    net.input(id, Input::Config(Box::new(config)));
}

fn sequence(net: &Net, id: u32, last: u8) -> u32 {
    net.stations[&id]
        .router
        .owners
        .holding(address(last))
        .unwrap()
        .owner
        .sequence
}

fn mtu(net: &Net) -> u16 {
    net.stations[&1].snapshot.tunnels[0].mtu
}
