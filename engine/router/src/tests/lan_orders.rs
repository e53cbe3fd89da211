//! Orders that a router of a LAN did not get, against those that it did.
//!
//! Nodes 1 and 2 stand on one LAN and own 10.77.60.10; node 3 elsewhere owns 10.77.60.11.

use std::time::Duration;

use sam_vrrp::{Cause, State};

use super::pair::{elected, stand_by_beside_a_master};
use super::vrrp::{FAR, elect};
use super::*;

/// Who could say nothing when the LAN was taken over says nothing about what was ordered later.
#[test]
fn an_order_that_is_newer_than_the_takeover_is_not_undone_by_a_node_that_is_heard_later() {
    let mut net = elected();
    net.cut_off(3);
    net.run(200);
    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(5);
    net.command(2, Command::Announce(address(FAR)));
    net.station(2).events.clear();

    net.rejoin(3);
    net.run(30);

    let claim = net.stations[&2].router.claim_on(address(FAR));
    assert_eq!(claim, Some(ClaimState::Active), "by order");
    assert_eq!(net.station(2).state.given_away, [].into());
    assert_eq!(net.owner(3, address(FAR)), Some(2), "by its router id");
    assert!(net.station(2).told("duplicate-owner"));
}

#[test]
fn an_order_to_who_has_not_heard_everybody_is_not_undone_by_who_is_heard_later() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let far = net.station(3).router.config().clone();
    for id in [1, 2, 3] {
        net.kill(id);
    }
    net.start(2, config, RuntimeState::default());
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.command(2, Command::Announce(address(FAR)));

    net.start(3, far, RuntimeState::default());
    net.run(150);

    assert_eq!(net.station(2).state.given_away, [].into());
    assert!(net.station(2).told("duplicate-owner"));
}

#[test]
fn what_is_announced_again_is_not_given_away_again() {
    let mut net = elected();
    net.cut_off(3);
    net.run(200);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(5);
    net.rejoin(3);
    for _ in 0..300 {
        net.run_for(Duration::from_millis(100));
        if !net.station(2).state.given_away.is_empty() {
            break;
        }
    }
    assert_eq!(net.station(2).state.given_away, [address(ADDRESS)].into());

    net.command(2, Command::Announce(address(ADDRESS)));

    assert_eq!(net.station(2).state.given_away, [].into());
    let claim = net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim, Some(ClaimState::Active), "by order");
}

#[test]
fn what_nobody_claims_beside_is_forgotten_after_ten_seconds_to_the_nanosecond() {
    let mut net = elected();
    stand_by_beside_a_master(&mut net, 2);
    net.command(1, Command::Announce(address(20)));
    let inherited = [address(20)].into();
    assert_eq!(net.station(2).state.inherited, inherited);
    net.input(1, Input::Command(Command::Withdraw(address(20))));
    let (way, instant) = (Duration::from_millis(1), Duration::from_nanos(1));
    net.run_for(way + Duration::from_secs(10) - instant);
    assert_eq!(net.station(2).state.inherited, inherited);

    net.run_for(instant);

    assert_eq!(net.station(2).state.inherited, [].into());
    let due = net.stations[&2].router.poll_timeout();
    assert!(due.is_some_and(|(at, _)| at > net.now), "{due:?}");
}

#[test]
fn what_the_lan_gave_up_while_a_router_was_down_that_one_forgets_too() {
    let mut net = elected();
    net.command(1, Command::Announce(address(20)));
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    assert_eq!(state.inherited, [address(20)].into());
    net.kill(2);
    net.run(5);
    net.command(1, Command::Withdraw(address(20)));

    net.start(2, config, state);
    stand_by_beside_a_master(&mut net, 2);
    net.run(30);

    assert_eq!(net.station(2).state.inherited, [].into());
}
