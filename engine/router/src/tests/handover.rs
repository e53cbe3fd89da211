//! An address that moves by order: nobody is without an owner on the way, and what goes wrong leaves it where it is.

use super::*;

#[test]
fn an_address_changes_its_owner_and_has_one_all_the_time() {
    for reflectors in [FULL_MESH, &[1], &[1, 4]] {
        for (from, to) in [(2, 3), (3, 2)] {
            let mut net = Net::new(5, reflectors);
            net.command(from, Command::Announce(address(ADDRESS)));
            net.station(5).events.clear();

            net.command(from, offer(to));

            for id in 1..=5 {
                assert_eq!(net.owner(id, address(ADDRESS)), Some(to), "at {id}");
            }
            let without = net.stations[&5]
                .events
                .iter()
                .find(|event| matches!(event, Event::OwnerChanged { to: None, .. }));
            assert_eq!(without, None);
            // Also where only the best path is told: the owner hears of its successor because that is the better one.
            let turned = net.stations[&5].events.iter().any(|event| {
                let above_all = Some(ClaimState::Handover);
                matches!(event, Event::OwnerChanged { state, .. } if *state == above_all)
            });
            assert!(turned);
            assert_eq!(sequence(&net, 5, ADDRESS), 2);
            let claims = |id| net.stations[&id].router.claim_on(address(ADDRESS));
            assert_eq!((claims(from), claims(to)), (None, Some(ClaimState::Active)));
            assert_eq!(
                net.next_hop(to, address(ADDRESS)),
                Some(NextHop::Lan(PortId(1)))
            );
            assert!(net.answers(from, address(ADDRESS)));
        }
    }
}

#[test]
fn both_remember_it_across_restarts() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(2, offer(3));
    for id in [2, 3] {
        let state = net.station(id).state.clone();
        net.kill(id);
        net.start(id, fixture::config(id, 3, &[1]), state);
    }

    net.run(10);

    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));
    assert!(!net.station(1).told("duplicate-owner"));
}

#[test]
fn a_configured_address_goes_too() {
    let mut net = Net::new(3, &[1]);
    reconfigure(&mut net, 2, |config| {
        config.local.owned.insert(address(ADDRESS));
    });
    net.run(5);

    net.command(2, offer(3));

    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));
    assert!(net.station(2).state.withdrawn.contains(&address(ADDRESS)));
}

#[test]
fn an_address_that_is_only_heard_goes_too() {
    const HOST: Mac = [2, 0, 0, 0, 9, 9];
    for (from, to) in [(2, 3), (3, 2)] {
        let mut net = discovery::discovering(3);
        hear(&mut net, from, ADDRESS, HOST);
        net.run(5);
        assert_eq!(net.owner(1, address(ADDRESS)), Some(from));
        net.station(1).events.clear();

        net.command(from, offer(to));
        // Its cable is not moved yet.
        hear(&mut net, from, ADDRESS, HOST);
        net.run(10);

        for id in 1..=3 {
            assert_eq!(net.owner(id, address(ADDRESS)), Some(to), "at {id}");
            assert!(!net.station(id).told("duplicate-owner"));
        }
        let mut events = net.stations[&1].events.iter();
        let is_lost = |event: &Event| matches!(event, Event::OwnerChanged { to: None, .. });
        assert!(!events.any(is_lost));
        let router = &net.stations[&from].router;
        assert_eq!(router.claim_on(address(ADDRESS)), None);
        assert_eq!(router.discovery.homes().len(), 0);
        assert_eq!(router.handovers().handovers, []);
        assert!(net.station(from).told("home-expired"));
    }
}

#[test]
fn a_successor_that_dies_first_gets_it_when_it_is_back() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.input(2, Input::Command(offer(3)));
    net.kill(3);
    net.run(5);
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    // The owner dies as well, and asks again when it is back.
    let state = net.station(2).state.clone();
    net.kill(2);
    net.start(2, fixture::config(2, 3, &[1]), state);
    net.run(10);
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    assert_eq!(net.station(2).router.handovers().handovers.len(), 1);

    net.start(3, fixture::config(3, 3, &[1]), RuntimeState::default());
    net.run(30);

    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));
    assert_eq!(net.station(2).router.handovers().handovers, []);
}

#[test]
fn an_offer_that_is_taken_back_changes_nothing() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.input(2, Input::Command(offer(3)));
    net.kill(3);
    net.run(5);

    net.command(2, Command::CancelHandover(address(ADDRESS)));
    net.start(3, fixture::config(3, 3, &[1]), RuntimeState::default());
    net.run(30);

    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    assert_eq!(sequence(&net, 1, ADDRESS), 1);
}

#[test]
fn an_offer_that_is_taken_back_at_any_moment_leaves_one_owner() {
    let mut canceled = 0;
    for reflectors in [FULL_MESH, &[1]] {
        for (from, to) in [(2, 3), (3, 2)] {
            for wait in 0..12 {
                let mut net = Net::new(3, reflectors);
                net.command(from, Command::Announce(address(ADDRESS)));
                net.input(from, Input::Command(offer(to)));
                net.run_for(std::time::Duration::from_millis(wait));
                let cancel = Command::CancelHandover(address(ADDRESS));
                let in_time = net.stations[&from].router.check_command(&cancel).is_ok();
                net.input(from, Input::Command(cancel));
                net.run(30);

                let owner = if in_time { from } else { to };
                assert_eq!(net.owner(1, address(ADDRESS)), Some(owner), "{wait} ms");
                for id in [from, to] {
                    let router = &net.stations[&id].router;
                    let told = router.told_to_own().contains(&address(ADDRESS));
                    assert_eq!(told, id == owner, "node {id} after {wait} ms");
                    assert_eq!(net.stations[&id].state.accepted.len(), 0);
                }
                canceled += usize::from(in_time);
            }
        }
    }
    assert!(canceled > 8, "{canceled}");
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let mut net = Net::new(4, &[1]);
    for id in 1..=3 {
        reconfigure(&mut net, id, |config| {
            let four = config.fabric.nodes.get_mut(&NodeId(4)).expect("node 4");
            four.may = vec!["10.77.60.64/26".parse().expect("a prefix")];
        });
    }
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(3, Command::Drain(true));
    let refusal = |net: &Net, id: u32, command| {
        let router = &net.stations[&id].router;
        router.check_command(&command).expect_err("refused").name()
    };
    assert_eq!(refusal(&net, 2, offer(2)), "to-itself");
    assert_eq!(refusal(&net, 2, offer(9)), "unknown-node");
    assert_eq!(refusal(&net, 1, offer(2)), "not-owned");
    assert_eq!(refusal(&net, 2, offer(4)), "not-permitted");
    assert_eq!(refusal(&net, 2, offer(3)), "successor-drained");
    let cancel = Command::CancelHandover(address(ADDRESS));
    assert_eq!(refusal(&net, 2, cancel), "not-offered");
    net.kill(3);
    net.run(130);
    assert_eq!(refusal(&net, 2, offer(3)), "successor-absent");
}

#[test]
fn who_is_drained_meanwhile_refuses_and_says_so() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    // Its order is not known at node 2 yet.
    net.input(3, Input::Command(Command::Drain(true)));

    net.command(2, offer(3));

    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    let refused = net.stations[&3]
        .events
        .iter()
        .any(|event| matches!(event, Event::Handover { step, .. } if step == "refused: drained"));
    assert!(refused);

    net.command(3, Command::Drain(false));
    assert_eq!(
        net.owner(1, address(ADDRESS)),
        Some(3),
        "what stood against it is gone"
    );
}

#[test]
fn a_successor_that_may_own_it_after_all_takes_it() {
    let mut net = Net::new(3, &[1]);
    let may = |net: &mut Net, prefix: &str| {
        for id in [1, 3] {
            reconfigure(net, id, |config| {
                let three = config.fabric.nodes.get_mut(&NodeId(3)).expect("node 3");
                three.may = vec![prefix.parse().expect("a prefix")];
            });
        }
    };
    may(&mut net, "10.77.60.64/26");
    net.command(2, Command::Announce(address(ADDRESS)));
    // The owner knows nothing of it yet.
    net.command(2, offer(3));
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));

    may(&mut net, "10.77.60.0/24");
    net.run(5);

    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));
}

fn offer(to: u32) -> Command {
    Command::Handover {
        address: address(ADDRESS),
        to: NodeId(to),
    }
}
