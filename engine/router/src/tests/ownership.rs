//! One owner per address, everywhere, whatever happens.

use super::*;

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
fn a_claim_that_lost_is_standby_and_says_so_at_once() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));

    net.input(3, Input::Command(Command::Announce(address(ADDRESS))));

    let router = &net.station(3).router;
    assert_eq!(router.claim_on(address(ADDRESS)), Some(ClaimState::Standby));
    assert_eq!(router.owner_of(address(ADDRESS)), Some(NodeId(2)));
    assert_eq!(net.station(1).router.claim_on(address(ADDRESS)), None);
}

#[test]
fn a_withdrawal_is_undone_by_taking_the_address_out_and_in_again() {
    let mut net = Net::new(2, FULL_MESH);
    let mut with = net.station(2).router.config().clone();
    let without = with.clone();
    with.local.owned.insert(address(ADDRESS));
    let load = |net: &mut Net, config: &Config| {
        net.input(2, Input::Config(Box::new(config.clone())));
        net.run(5);
    };
    load(&mut net, &with);
    net.command(2, Command::Withdraw(address(ADDRESS)));
    assert_eq!(net.owner(1, address(ADDRESS)), None);

    load(&mut net, &without);
    assert_eq!(net.station(2).state.withdrawn, [].into());
    load(&mut net, &with);

    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
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
        let owners = net.stations[&3].router.owners(net.now);
        let own = owners.owners[0]
            .claims
            .iter()
            .find(|claim| claim.from.is_none());
        assert_eq!(own.map(|claim| claim.state.as_str()), Some("standby"));
        assert!(net.station(3).told("duplicate-owner"));
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

/// The claims that it remembers of a lost reflector lapse by time alone, without a message.
#[test]
fn the_alarm_ends_with_the_claims_also_where_nobody_speaks_any_more() {
    let mut net = Net::new(4, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));
    net.run(3);
    assert!(net.station(4).told("duplicate-owner"));

    for id in [1, 2, 3] {
        net.kill(id);
    }
    net.run(300);

    assert_eq!(net.owner(4, address(ADDRESS)), None);
    assert!(net.station(4).told("duplicate-owner-ended"));
}
