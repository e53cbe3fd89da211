//! A router that is emptied: others take over what they can, the rest stays.

use super::*;

#[test]
fn what_nobody_else_claims_stays_and_is_the_last_choice() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));

    net.command(2, Command::Drain(true));

    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    assert_eq!(claim(&net, 2), Some(ClaimState::Draining));
    let view = net.stations[&2].router.drain();
    assert!(view.drained && !view.empty && !view.left[0].has_successor);
    assert!(warns(&net, 2, "drained"));
    assert!(
        net.answers(3, address(ADDRESS)),
        "other sites go on to answer for it"
    );

    net.command(3, Command::Announce(address(ADDRESS)));

    for id in 1..=3 {
        assert_eq!(net.owner(id, address(ADDRESS)), Some(3), "at {id}");
    }
    assert_eq!(claim(&net, 2), None);
    assert!(!net.station(1).told("duplicate-owner"));
}

#[test]
fn who_is_drained_too_is_no_successor() {
    let mut net = Net::new(3, &[1]);
    for id in [2, 3] {
        net.command(id, Command::Announce(address(ADDRESS)));
        net.command(id, Command::Drain(true));
    }
    let drain = |net: &Net, id: u32| net.stations[&id].router.drain();
    for id in [2, 3] {
        assert!(!drain(&net, id).left.iter().any(|row| row.has_successor));
    }

    net.command(3, Command::Drain(false));

    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));
    assert_eq!(drain(&net, 2).left, []);
}

#[test]
fn a_standby_takes_over_and_nobody_is_without_owner() {
    let mut net = Net::new(4, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(3, Command::Announce(address(ADDRESS)));
    assert_eq!(claim(&net, 3), Some(ClaimState::Standby));
    net.station(4).events.clear();

    net.command(2, Command::Drain(true));

    assert_eq!(net.owner(4, address(ADDRESS)), Some(3));
    assert_eq!(
        (claim(&net, 2), claim(&net, 3)),
        (None, Some(ClaimState::Active))
    );
    let none = net.stations[&4]
        .events
        .iter()
        .any(|event| matches!(event, Event::OwnerChanged { to: None, .. }));
    assert!(!none);
    // Without its successor it is better than nobody.
    net.kill(3);
    net.run(150);
    assert_eq!(net.owner(4, address(ADDRESS)), Some(2));
}

#[test]
fn it_holds_across_a_restart_and_ends_by_order() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Drain(true));
    let state = net.station(2).state.clone();
    net.kill(2);
    net.start(2, fixture::config(2, 3, &[1]), state);
    net.run(20);
    assert_eq!(claim(&net, 2), Some(ClaimState::Draining));

    net.command(2, Command::Drain(false));

    assert_eq!(claim(&net, 2), Some(ClaimState::Active));
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
    assert!(net.station(2).told("drain"));
}

#[test]
fn a_router_without_lan_says_when_it_is_empty() {
    let mut net = Net::new(3, &[1]);
    let mut config = fixture::config(2, 3, &[1]);
    config.local.capture = Capture::None;
    net.kill(2);
    net.start(2, config, RuntimeState::default());
    net.run(20);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Drain(true));
    assert!(!net.station(2).told("drained"));

    net.command(3, Command::Announce(address(ADDRESS)));

    assert!(net.station(2).told("drained"));
    assert!(net.stations[&2].router.drain().empty);
}

fn claim(net: &Net, id: u32) -> Option<ClaimState> {
    net.stations[&id].router.claim_on(address(ADDRESS))
}
