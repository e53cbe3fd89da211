//! What is left of routes when their reflector is away, and what a router remembers of its peers.

use std::collections::BTreeSet;

use super::*;
use crate::facts::Facts;
use crate::peers::peer_of;

#[test]
fn leaves_believe_in_each_other_while_their_reflector_is_away_and_say_so() {
    let mut net = owned_by_two();

    net.kill(1);
    net.run(20);

    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));
    let (now, leaf) = (net.now, net.station(3));
    assert!(leaf.told("routes-retained"));
    let summary = &leaf.router.bgp_neighbors(now).neighbors[0];
    assert_eq!(summary.stale, summary.accepted);
    assert!(summary.stale_remaining_s.is_some_and(|left| left < 110.0));
    let rib = leaf.router.bgp_rib(None, now);
    let stale = rib.entries.iter().filter(|entry| entry.paths[0].stale);
    assert_eq!(stale.count(), 3, "the address, and the markers of 1 and 2");
    let facts = Facts::default();
    let explained = leaf.router.explain(address(ADDRESS), &facts, now);
    let evidence = explained.questions[0].evidence.join("\n");
    assert!(evidence.contains("stale, once told by n1"), "{evidence}");
}

#[test]
fn an_owner_that_falls_silent_meanwhile_is_withheld_until_it_answers() {
    let mut net = owned_by_two();
    net.kill(1);
    net.run(20);
    let (config, state) = (
        net.station(2).router.config().clone(),
        net.station(2).state.clone(),
    );

    net.kill(2);
    net.run(3);

    assert_eq!(net.next_hop(3, address(ADDRESS)), Some(NextHop::Withhold));
    assert!(!net.answers(3, address(ADDRESS)));
    assert!(net.station(3).told("next-hop-silent"));
    net.start(2, config, state);
    net.run(3);
    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));
    assert!(net.station(3).told("next-hop-answers"));
}

#[test]
fn a_next_hop_that_was_silent_once_counts_again_when_it_is_back() {
    let mut net = owned_by_two();
    let state_of = |net: &Net, id: u32| {
        let station = &net.stations[&id];
        (station.router.config().clone(), station.state.clone())
    };
    let (reflector, owner) = (state_of(&net, 1), state_of(&net, 2));
    net.kill(1);
    net.run(20);
    net.kill(2);
    net.run(3);
    assert!(net.station(3).told("next-hop-silent"));
    // The reflector is back first: nobody asks the silent node any more.
    net.start(1, reflector.0, reflector.1);
    net.run(40);
    net.start(2, owner.0, owner.1);
    net.run(20);
    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));

    net.kill(1);
    net.run(20);

    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));
}

#[test]
fn a_reflector_that_comes_back_waits_for_those_who_were_there() {
    let mut net = owned_by_two();
    let state = net.station(1).state.clone();
    assert_eq!(state.sessions, BTreeSet::from([NodeId(2), NodeId(3)]));
    let config = net.station(1).router.config().clone();
    net.kill(1);
    net.kill(2);
    net.run(1);

    net.start(1, config, state);
    net.run(5);

    let now = net.now;
    let view = net.station(1).router.bgp_neighbors(now);
    let restarting = view.restarting.expect("n2 is missing");
    let awaited = restarting.awaited.iter().map(|node| node.id);
    assert_eq!(awaited.collect::<Vec<_>>(), [NodeId(2)]);
    let facts = Facts::default();
    let leaf = net.station(3).router.bgp_neighbor(NodeId(1), &facts, now);
    let leaf = leaf.unwrap();
    let offered = "graceful-restart 120 s, restarted, notification, ipv4-unicast (forwarding)";
    assert!(leaf.capabilities_received.contains(&offered.to_owned()));
    assert!(!leaf.end_of_rib);
    net.run(20);
    assert!(net.station(1).told("restart-over"));
    let sessions = &net.station(1).state.sessions;
    assert_eq!(*sessions, BTreeSet::from([NodeId(3)]), "for the next time");
    let now = net.now;
    let facts = Facts::default();
    let leaf = net.station(3).router.bgp_neighbor(NodeId(1), &facts, now);
    let leaf = leaf.unwrap();
    assert!(leaf.end_of_rib);
}

#[test]
fn a_reflector_that_comes_back_waits_seventeen_seconds_for_who_does_not_answer_bfd() {
    let mut net = owned_by_two();
    let state = net.station(1).state.clone();
    let config = net.station(1).router.config().clone();
    net.kill(1);
    net.kill(2);
    net.run(1);
    net.start(1, config, state);
    let dead = bfd::Session::new(2);
    net.bfd(1, &dead);
    net.run(16);
    let now = net.now;
    let restarting = |net: &Net| net.stations[&1].router.bgp_neighbors(now).restarting;
    assert!(restarting(&net).is_some());

    net.run(2);

    assert!(restarting(&net).is_none());
    assert!(net.station(1).told("restart-over"));
    let sessions = &net.station(1).state.sessions;
    assert_eq!(*sessions, BTreeSet::from([NodeId(3)]), "n2 is gone");
}

/// What is remembered of peers outlives more than one start.
#[test]
fn a_peer_whose_attempt_to_come_back_fails_stays_remembered() {
    let mut net = owned_by_two();
    let reason = "connection closed".to_owned();
    let peer = peer_of(NodeId(2));
    let failed = sam_bgp::speaker::Event::AttemptFailed { peer, reason };
    let now = net.now;

    net.station(1).router.on_bgp_event(&failed, now);

    let sessions = &net.station(1).router.state.sessions;
    assert_eq!(*sessions, BTreeSet::from([NodeId(2), NodeId(3)]));
}

#[test]
fn a_stopped_reflector_leaves_what_it_reflected_and_remembers_its_peers() {
    let mut net = owned_by_two();
    net.command(1, Command::Announce(address(11)));
    assert_eq!(net.owner(3, address(11)), Some(1));

    net.command(1, Command::Shutdown);

    assert_eq!(net.owner(3, address(11)), None, "withdrawn");
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2), "kept");
    let sessions = &net.station(1).state.sessions;
    assert_eq!(*sessions, BTreeSet::from([NodeId(2), NodeId(3)]));
}

#[test]
fn only_a_reflector_that_owns_nothing_kept_its_forwarding() {
    let restart = |own: u32, owned: &[u8]| {
        let mut config = fixture::config(own, 3, &[1]);
        config.local.owned = owned.iter().copied().map(address).collect();
        let policy = crate::policy::FabricPolicy::new(&config, false);
        crate::peers::own_restart(&config, &RuntimeState::default(), &policy).forwarding
    };
    assert!(restart(1, &[]));
    assert!(!restart(1, &[10]));
    assert!(!restart(2, &[]));
}

#[test]
fn without_graceful_restart_routes_go_with_their_session() {
    let mut net = Net::empty();
    for id in 1..=3 {
        let mut config = fixture::config(id, 3, &[1]);
        config.fabric.bgp.graceful_restart = None;
        net.start(id, config, RuntimeState::default());
    }
    net.run(10);
    net.command(2, Command::Announce(address(ADDRESS)));
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));

    net.kill(1);
    net.run(1);

    assert_eq!(net.owner(3, address(ADDRESS)), None);
}

/// Node 1 reflects, node 2 owns the address.
fn owned_by_two() -> Net {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));
    net
}
