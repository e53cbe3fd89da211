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

/// Node 3 holds what the LAN gave it, and is away when node 2, which was not told, takes the LAN over.
#[test]
fn a_holder_that_begins_anew_keeps_what_it_holds_whoever_calls_whom() {
    for wait in 0..20 {
        let mut net = elected();
        let second = remember(&net, 2);
        net.kill(2);
        net.run(5);
        let gift = Command::Handover {
            address: address(ADDRESS),
            to: NodeId(3),
        };
        net.command(1, gift);
        let holder = remember(&net, 3);
        assert_eq!(holder.1.held, [address(ADDRESS), address(FAR)].into());
        net.kill(3);
        net.start(2, second.0, second.1);
        elect(&mut net, 2, State::Backup, Cause::Started);
        net.run(200);
        net.kill(1);
        elect(&mut net, 2, State::Master, Cause::Silence);
        net.run(5);
        let claim = |net: &Net| net.stations[&2].router.claim_on(address(ADDRESS));
        assert_eq!(claim(&net), Some(ClaimState::Active), "nobody says else");

        net.cut_off(3);
        net.start(3, holder.0, holder.1);
        net.run_for(Duration::from_millis(100 * wait));
        net.rejoin(3);
        net.run(30);

        assert_eq!(claim(&net), None, "{wait}");
        for id in [2, 3] {
            assert_eq!(net.owner(id, address(ADDRESS)), Some(3), "{wait}, at {id}");
        }
        // Routers of one LAN have what they own from each other.
        assert_eq!(net.station(2).state.held, [].into());
    }
}

/// Who is told to own what is claimed elsewhere, and held it before, gives way to the better claim, a while later.
#[test]
fn a_holder_that_begins_anew_beside_a_better_claim_that_stays_gives_way_after_ten_seconds() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(3, Command::Announce(address(ADDRESS)));
    let (config, state) = remember(&net, 3);
    assert_eq!(state.held, [address(ADDRESS)].into());
    net.kill(3);
    net.command(1, Command::Announce(address(ADDRESS)));

    net.start(3, config, state);
    let is = |net: &Net, state| net.stations[&3].router.claim_on(address(ADDRESS)) == Some(state);
    net.run(5);
    assert!(is(&net, ClaimState::Active));
    assert_eq!(net.owner(2, address(ADDRESS)), Some(1));
    assert!(net.station(3).told("duplicate-owner"));

    net.run(10);

    assert!(is(&net, ClaimState::Standby));
    assert_eq!(net.owner(3, address(ADDRESS)), Some(1));
    assert_eq!(net.station(3).state.held, [].into());
}

/// It came while node 2 was down, and node 1 went down before that one was back.
#[test]
fn an_order_that_only_the_router_that_stands_by_knows_is_explained_and_may_be_given_again() {
    let mut net = elected();
    let second = remember(&net, 2);
    net.kill(2);
    net.run(5);
    let gift = Command::Handover {
        address: address(FAR),
        to: NodeId(1),
    };
    net.command(3, gift);
    let first = remember(&net, 1);
    net.kill(1);
    net.run(15);
    net.start(2, second.0, second.1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.start(1, first.0, first.1);
    stand_by_beside_a_master(&mut net, 1);
    net.run(150);
    assert_eq!(net.owner(3, address(FAR)), None, "who acts does not know");
    let remark = |net: &Net| {
        let facts = crate::Facts::default();
        let view = net.stations[&1]
            .router
            .explain(address(FAR), &facts, net.now);
        let mut lines = view.questions[0].evidence.iter();
        lines.any(|line| line.contains("`samctl announce` there"))
    };
    assert!(remark(&net));

    net.command(2, Command::Announce(address(FAR)));

    assert_eq!(net.owner(3, address(FAR)), Some(2));
    assert!(!remark(&net));
}

/// What a node begins anew with: its configuration, and what it has saved.
fn remember(net: &Net, id: u32) -> (Config, RuntimeState) {
    let station = &net.stations[&id];
    (station.router.config().clone(), station.state.clone())
}
