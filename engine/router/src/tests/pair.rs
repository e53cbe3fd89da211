//! What the router that stands by on a LAN knows of the one that acts: hosts, and orders that are under way.
//!
//! Nodes 1 and 2 stand on one LAN and own 10.77.60.10; node 3 elsewhere owns 10.77.60.11.

use std::collections::BTreeSet;
use std::time::Duration;

use sam_vrrp::{Cause, Heard, State, Status};

use super::vrrp::{FAR, elect, report, site, status, tunnel_to};
use super::*;
use crate::config::ArpDiscovery;

/// A host of the LAN that nobody configured.
const HEARD: u8 = 50;
const HOST: Mac = [2, 0, 0, 0, 9, 9];

#[test]
fn the_next_master_knows_the_hosts_of_a_killed_one_and_asks_them_at_once() {
    let mut net = discovering_site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Backup, Cause::Started);
    hear(&mut net, 1, HEARD, HOST);
    net.run(1);
    assert_eq!(net.owner(3, address(HEARD)), Some(1));
    assert_eq!(net.stations[&2].router.claim_on(address(HEARD)), None);
    assert_eq!(states_of_homes(&net, 1), ["present"]);
    assert_eq!(states_of_homes(&net, 2), ["kept"]);

    net.kill(1);
    net.run(1);
    assert_eq!(net.owner(2, address(HEARD)), None, "BGP ended before");
    elect(&mut net, 2, State::Master, Cause::Silence);

    let claim = |net: &Net| net.stations[&2].router.claim_on(address(HEARD));
    assert_eq!(claim(&net), Some(ClaimState::Active), "in the same call");
    let lan = NextHop::Lan(crate::LAN_PORT);
    assert_eq!(net.next_hop(2, address(HEARD)), Some(lan));
    assert_eq!(states_of_homes(&net, 2), ["silent"]);
    net.run_for(Duration::from_millis(10));
    assert_eq!(net.owner(3, address(HEARD)), Some(2));
    let (address, to) = (address(HEARD), Some(HOST));
    let asked = &net.stations[&2].asked;
    assert!(
        asked
            .iter()
            .any(|asked| (asked.address, asked.to) == (address, to)),
        "{asked:?}"
    );
    // Another host shows that the LAN carries frames.
    hear(&mut net, 2, HEARD + 1, [2, 0, 0, 0, 9, 8]);
    net.run(4);
    assert_eq!(claim(&net), None, "it never answered");
}

#[test]
fn a_host_that_went_elsewhere_is_not_taken_back_by_the_next_master() {
    let mut net = discovering_site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Backup, Cause::Started);
    hear(&mut net, 1, HEARD, HOST);
    net.run(1);
    net.command(3, Command::Announce(address(HEARD)));
    net.run(10);
    assert_eq!(net.owner(2, address(HEARD)), Some(3));

    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);

    assert_eq!(net.stations[&2].router.claim_on(address(HEARD)), None);
    assert!(net.answers(2, address(HEARD)));
}

#[test]
fn a_host_is_heard_through_the_backup_too() {
    let mut net = site();
    let lan = &net.stations[&2].snapshot.lans[0];
    assert_eq!(lan.beside, [tunnel_to(&net, 2, 1)]);
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(1);
    assert_eq!(net.tunneled_to(2, address(ADDRESS)), Some(1));
}

#[test]
fn what_is_handed_over_to_a_router_of_the_lan_is_owned_by_whichever_acts() {
    for to in [1, 2] {
        let mut net = elected();
        net.command(3, hand_over(FAR, to));
        assert_eq!(net.owner(3, address(FAR)), Some(1), "to {to}");
        assert_eq!(net.station(3).router.handovers().handovers, []);

        net.kill(1);
        elect(&mut net, 2, State::Master, Cause::Silence);
        net.run(1);

        assert_eq!(net.owner(3, address(FAR)), Some(2), "to {to}");
        assert_eq!(net.stations[&2].state.accepted.len(), 0);
    }
}

#[test]
fn what_a_killed_master_offered_its_next_master_goes_on_to_offer_to_who_accepted_it() {
    let mut inherited = 0;
    for wait in 0..12 {
        let mut net = elected();
        net.input(1, Input::Command(hand_over(ADDRESS, 3)));
        net.run_for(Duration::from_millis(wait));
        net.kill(1);
        elect(&mut net, 2, State::Master, Cause::Silence);
        let mut accepted = BTreeSet::new();
        for _ in 0..1_000 {
            net.run_for(Duration::from_millis(1));
            accepted.extend(net.stations[&3].state.accepted.values().copied());
        }
        net.run(30);

        // An order of which the other router had not heard died with the one that had it.
        if accepted.contains(&NodeId(2)) {
            inherited += 1;
            assert_eq!(net.owner(2, address(ADDRESS)), Some(3), "{wait} ms");
            assert_eq!(net.stations[&3].state.accepted.len(), 0, "{wait} ms");
            assert_eq!(net.station(2).router.handovers().handovers, []);
        }
    }
    assert!(inherited > 0);
}

#[test]
fn what_the_lan_handed_over_its_next_master_does_not_take_back() {
    let mut net = elected();
    net.command(1, hand_over(ADDRESS, 3));
    assert_eq!(net.owner(2, address(ADDRESS)), Some(3));
    assert_eq!(net.stations[&2].state.withdrawn, [address(ADDRESS)].into());

    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(1);

    assert_eq!(net.stations[&2].router.claim_on(address(ADDRESS)), None);
    assert_eq!(net.owner(2, address(ADDRESS)), Some(3));
    // And back, to both.
    net.command(3, hand_over(ADDRESS, 2));
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));
}

#[test]
fn a_router_that_was_down_during_a_handover_does_not_take_the_address_back() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    net.kill(2);
    net.run(5);
    net.command(1, hand_over(ADDRESS, 3));
    assert_eq!(net.owner(1, address(ADDRESS)), Some(3));

    net.start(2, config, state);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(10);
    net.kill(1);
    net.run(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(10);

    assert_eq!(net.owner(3, address(ADDRESS)), Some(3));
    let claim = net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim, None, "its holder is there");
    assert!(net.station(2).told("handover"), "its file is old");
    assert!(net.answers(2, address(ADDRESS)), "it lives elsewhere");

    let holder = (
        net.station(3).router.config().clone(),
        net.station(3).state.clone(),
    );
    net.kill(3);
    net.run(200);
    assert_eq!(net.owner(2, address(ADDRESS)), Some(2));

    net.start(3, holder.0, holder.1);
    net.run(20);
    assert_eq!(net.owner(2, address(ADDRESS)), Some(3), "it holds it again");
    net.command(3, Command::Withdraw(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));
    let claim = net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim, Some(ClaimState::Active), "by order");
}

#[test]
fn a_router_that_begins_on_its_own_leaves_what_its_lan_gave_away_while_it_was_down() {
    for holder_is_late in [false, true] {
        let mut net = elected();
        let restart = |net: &mut Net, id: u32| {
            let station = net.station(id);
            let (config, state) = (station.router.config().clone(), station.state.clone());
            net.kill(id);
            move |net: &mut Net| net.start(id, config, state)
        };
        let start = restart(&mut net, 2);
        net.run(5);
        net.command(1, hand_over(ADDRESS, 3));
        net.kill(1);
        net.run(15);
        let start_holder = holder_is_late.then(|| restart(&mut net, 3));

        start(&mut net);
        elect(&mut net, 2, State::Master, Cause::Silence);
        let claim = |net: &Net| net.stations[&2].router.claim_on(address(ADDRESS));
        assert_eq!(claim(&net), Some(ClaimState::Standby), "nobody was heard");
        assert_eq!(net.owner(2, address(ADDRESS)), Some(2));
        if let Some(start) = start_holder {
            net.run(200);
            assert_eq!(claim(&net), Some(ClaimState::Standby));
            start(&mut net);
        }
        net.station(3).events.clear();
        net.run(20);

        assert_eq!(net.owner(2, address(ADDRESS)), Some(3));
        assert_eq!(net.owner(3, address(ADDRESS)), Some(3));
        assert!(net.answers(2, address(ADDRESS)), "it lives elsewhere");
        let lost = |event: &Event| matches!(event, Event::OwnerChanged { to, .. } if *to == Some(NodeId(2)));
        assert!(!net.station(3).events.iter().any(lost));
        let given_away = [address(ADDRESS)].into();
        assert_eq!(net.station(2).state.given_away, given_away);
        assert!(net.station(2).told("handover"));
        net.run(200);
        assert_eq!(claim(&net), None, "time changes nothing");
    }
}

#[test]
fn who_stands_by_learns_what_was_given_away_and_what_came_back() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    net.kill(2);
    net.run(5);
    net.command(1, hand_over(ADDRESS, 3));
    net.start(2, config.clone(), state);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(10);
    let given_away = [address(ADDRESS)].into();
    assert_eq!(net.station(2).state.given_away, given_away);

    // Down when it comes back, too.
    let state = net.station(2).state.clone();
    net.kill(2);
    net.run(5);
    net.command(3, hand_over(ADDRESS, 1));
    assert_eq!(net.owner(3, address(ADDRESS)), Some(1));
    net.start(2, config, state);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(10);
    assert_eq!(net.station(2).state.given_away, [].into());
    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));
}

#[test]
fn what_a_router_claims_before_it_heard_everybody_it_claims_in_full_afterwards() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    for id in [1, 2, 3] {
        net.kill(id);
    }
    net.start(2, config, state);
    elect(&mut net, 2, State::Master, Cause::Silence);
    let far = fixture::config(3, 3, FULL_MESH);
    net.start(3, far, RuntimeState::default());
    net.run(20);
    let claim = |net: &Net| net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim(&net), Some(ClaimState::Standby), "node 1 is missing");
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2), "and enough");

    net.run(101);

    assert_eq!(claim(&net), Some(ClaimState::Active));
}

#[test]
fn the_next_master_goes_on_with_what_the_former_one_offered_or_took_back() {
    for canceled in [false, true] {
        let mut net = elected();
        // Its order is not known at the other nodes yet.
        net.input(3, Input::Command(Command::Drain(true)));
        net.command(1, hand_over(ADDRESS, 3));
        assert_eq!(net.owner(2, address(ADDRESS)), Some(1), "refused");
        if canceled {
            net.command(1, Command::CancelHandover(address(ADDRESS)));
        }

        net.kill(1);
        elect(&mut net, 2, State::Master, Cause::Silence);
        net.command(3, Command::Drain(false));

        let owner = if canceled { 2 } else { 3 };
        assert_eq!(net.owner(2, address(ADDRESS)), Some(owner), "{canceled}");
        assert_eq!(net.station(2).router.handovers().handovers, []);
    }
}

#[test]
fn what_came_to_the_lan_while_a_router_was_down_it_claims_when_it_acts() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    net.kill(2);
    net.run(5);
    net.command(3, hand_over(FAR, 1));
    assert_eq!(net.owner(3, address(FAR)), Some(1));
    net.start(2, config.clone(), state);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(10);
    assert_eq!(net.stations[&2].router.claim_on(address(FAR)), None);
    let inherited = [address(FAR)].into();
    assert_eq!(net.station(2).state.inherited, inherited);
    assert!(net.station(2).told("handover"));

    // It remembers that, and an operator may say it again.
    let state = net.station(2).state.clone();
    net.kill(2);
    net.kill(1);
    net.start(2, config, state);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(200);
    assert_eq!(net.owner(3, address(FAR)), Some(2));
    let lan = NextHop::Lan(crate::LAN_PORT);
    assert_eq!(net.next_hop(2, address(FAR)), Some(lan));
    let view = net.stations[&2]
        .router
        .explain(address(FAR), &crate::Facts::default(), net.now);
    let evidence = view.questions[0].evidence.join("\n");
    assert!(evidence.contains("has it by order"), "{evidence}");
    net.command(2, Command::Announce(address(FAR)));
    assert_eq!(net.station(2).state.inherited, [].into());
    assert_eq!(net.station(2).state.announced, [address(FAR)].into());
}

#[test]
fn what_the_acting_router_gives_up_the_other_one_forgets_after_a_while() {
    let mut net = elected();
    for last in [20, 21] {
        net.command(1, Command::Announce(address(last)));
    }
    let both = [20, 21].map(address).into();
    assert_eq!(net.station(2).state.inherited, both);
    // Withdrawn here it stays so, though the other router has it.
    net.command(2, Command::Withdraw(address(21)));
    assert_eq!(net.station(2).state.inherited, [address(20)].into());
    net.command(1, Command::Withdraw(address(20)));
    net.run(60);
    assert_eq!(
        net.station(2).state.inherited,
        [address(20)].into(),
        "nobody knows whether there is a master"
    );

    stand_by_beside_a_master(&mut net, 2);
    net.run(5);

    assert_eq!(net.station(2).state.inherited, [].into());
    // A router that dies says nothing by that.
    net.command(1, Command::Announce(address(20)));
    net.kill(1);
    net.run(200);
    assert_eq!(net.station(2).state.inherited, [address(20)].into());
}

#[test]
fn a_claim_that_ends_for_a_moment_is_not_forgotten() {
    let mut net = elected();
    stand_by_beside_a_master(&mut net, 2);
    net.command(1, Command::Announce(address(20)));
    // The cable of the acting router is pulled; nothing is said about its orders.
    net.host(1, fixture::lan(false));
    net.run(2);
    assert_eq!(net.owner(2, address(20)), None);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(60);
    assert_eq!(net.owner(3, address(20)), Some(2));
}

#[test]
fn what_a_node_holds_that_was_not_heard_when_the_lan_was_taken_over_is_given_away() {
    let mut net = elected();
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    net.kill(2);
    net.run(5);
    net.command(1, hand_over(ADDRESS, 3));
    net.cut_off(3);
    net.start(2, config, state);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(200);
    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(5);
    let claim = |net: &Net| net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim(&net), Some(ClaimState::Active), "nobody says else");

    net.rejoin(3);
    net.run(30);

    assert_eq!(claim(&net), None);
    for id in [2, 3] {
        assert_eq!(net.owner(id, address(ADDRESS)), Some(3), "at {id}");
    }
    assert_eq!(net.station(2).state.given_away, [address(ADDRESS)].into());
}

/// A claim of somebody who was there all the time is judged as ever.
#[test]
fn what_is_claimed_elsewhere_long_after_the_lan_was_taken_over_is_a_duplicate() {
    let mut net = elected();
    net.kill(1);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(60);

    net.command(3, Command::Announce(address(ADDRESS)));
    net.run(10);

    assert_eq!(net.owner(3, address(ADDRESS)), Some(2), "by its router id");
    assert_eq!(net.station(2).state.given_away, [].into());
    assert!(net.station(2).told("duplicate-owner"));
}

#[test]
fn who_begins_anew_takes_no_router_beside_it_for_a_host() {
    const ROUTER: Mac = [2, 0, 0, 0, 7, 7];
    let mut net = discovering_site();
    let mut lan = fixture::lan(true);
    if let HostEvent::Lan { mac, .. } = &mut lan {
        *mac = ROUTER;
    }
    net.host(1, lan);
    net.run(5);
    let config = net.station(2).router.config().clone();
    let state = net.station(2).state.clone();
    net.kill(1);
    net.kill(2);

    // BGP tells nothing of it: the tunnel to it is cut.
    net.start(2, config, state);
    elect(&mut net, 2, State::Master, Cause::Silence);
    hear(&mut net, 2, HEARD, ROUTER);
    assert_eq!(states_of_homes(&net, 2), [""; 0]);
    hear(&mut net, 2, HEARD, HOST);
    assert_eq!(states_of_homes(&net, 2), ["present"]);
}

#[test]
fn what_keeps_a_claim_back_is_said_with_the_rule_that_decides() {
    let mut net = elected();
    let remark = |net: &Net, id: u32| {
        let facts = crate::Facts::default();
        let view = net.stations[&id]
            .router
            .explain(address(ADDRESS), &facts, net.now);
        let lines = view.questions[0].evidence.iter();
        let remarks = lines.filter(|line| line.contains("claimed here as standby"));
        remarks.cloned().collect::<Vec<_>>()
    };
    assert_eq!(remark(&net, 1), [""; 0]);
    net.command(3, Command::Announce(address(ADDRESS)));
    let wins = "claimed here as standby: the claim of n1 wins (step router-id)";
    assert_eq!(remark(&net, 3), [wins]);

    // A router of the LAN that has just begun says so only where nobody else wins.
    let config = net.station(2).router.config().clone();
    for id in [1, 2] {
        net.kill(id);
    }
    net.command(3, Command::Withdraw(address(ADDRESS)));
    net.start(2, config, RuntimeState::default());
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(20);
    let waits = "claimed here as standby: not all nodes have told their routes yet, and this LAN may have given it away";
    assert_eq!(remark(&net, 2), [waits]);
}

/// Another router is heard to be the master.
pub(super) fn stand_by_beside_a_master(net: &mut Net, id: u32) {
    let heard = Heard {
        address: address(1),
        priority: 150,
        best_priority: 150,
        interval: Duration::from_millis(300),
        at: net.now,
        copy_only: false,
    };
    let status = Status {
        heard: Some(heard),
        ..status(State::Backup, Cause::Started)
    };
    report(net, id, status);
}

fn states_of_homes(net: &Net, id: u32) -> Vec<String> {
    let view = net.stations[&id].router.discovery(net.now);
    view.homes.into_iter().map(|home| home.state).collect()
}

fn hand_over(last: u8, to: u32) -> Command {
    Command::Handover {
        address: address(last),
        to: NodeId(to),
    }
}

/// Node 1 is master, node 2 its backup.
pub(super) fn elected() -> Net {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(1);
    net
}

/// Nodes 1 and 2 on one LAN, node 3 elsewhere; all listen to their LANs.
fn discovering_site() -> Net {
    let mut net = site();
    for id in 1..=3 {
        reconfigure(&mut net, id, |config| {
            if let Capture::ProxyArp { discovery, .. } = &mut config.local.capture {
                *discovery = Some(ArpDiscovery {
                    sweep: 0,
                    ..ArpDiscovery::default()
                });
            }
        });
    }
    net
}
