//! Routes of one speaker: import, decision, export, limits, errors.
//!
//! The speaker is router 1; peers 2 and 3 are played by the test.

use std::collections::BTreeSet;

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{Event, PeerConfig, PeerRole};
use sam_bgp::wire::{Capability, Message, Nlri, Open, RouteRefresh, Update};
use sam_bgp::{DecisionStep, PathAttributes, PathSource, TimerName};

use crate::bench::{Bench, CONTEXT, announcement, open};
use crate::vocabulary::{
    Rules, millis, numbered, peer, peer_config, prefix, route, router, seconds, start,
};

// Learning and forgetting.

#[test]
fn a_received_route_becomes_best_and_is_withdrawn_again() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let outcome = bench.announce(connections[0], &[prefix(1)], route(2, 100));
    assert_eq!(outcome.changes[0].step, DecisionStep::OnlyPath);
    assert_eq!(
        bench.speaker.best(prefix(1)).unwrap().source.peer(),
        Some(peer(2))
    );
    let outcome = bench.withdraw(connections[0], &[prefix(1)]);
    assert_eq!(outcome.changes[0].new, None);
    assert!(bench.speaker.prefixes().is_empty());
}

#[test]
fn an_unchanged_announcement_causes_no_output_at_all() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    assert!(
        bench
            .announce(connections[0], &[prefix(1)], route(2, 100))
            .is_empty()
    );
    assert!(bench.withdraw(connections[0], &[prefix(9)]).is_empty());
}

#[test]
fn another_local_pref_flips_the_best_path_at_the_right_step() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 300));
    bench.announce(connections[1], &[prefix(1)], route(3, 200));
    let outcome = bench.announce(connections[0], &[prefix(1)], route(2, 100));
    assert_eq!(outcome.changes[0].step, DecisionStep::LocalPref);
    assert_eq!(
        outcome.changes[0].new.as_ref().unwrap().source.peer(),
        Some(peer(3))
    );
    let paths = bench.speaker.paths(prefix(1));
    assert_eq!(
        paths.iter().map(|path| path.best).collect::<Vec<_>>(),
        [true, false]
    );
    assert!(
        paths
            .iter()
            .all(|path| path.step == DecisionStep::LocalPref)
    );
}

#[test]
fn our_own_route_beats_a_learned_one_of_equal_preference() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    let outcome = bench.drain();
    assert_eq!(outcome.changes[0].step, DecisionStep::LocalOrigin);
    assert_eq!(
        bench.speaker.best(prefix(1)).unwrap().source,
        PathSource::Local
    );
    bench.speaker.withdraw(prefix(1), bench.now);
    bench.drain();
    assert_eq!(
        bench.speaker.best(prefix(1)).unwrap().source.peer(),
        Some(peer(2))
    );
}

#[test]
fn an_unreachable_next_hop_makes_a_path_ineligible_but_keeps_it() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 300));
    bench.announce(connections[1], &[prefix(1)], route(3, 200));
    bench.speaker.set_next_hops([router(3)].into(), bench.now);
    let outcome = bench.drain();
    assert_eq!(outcome.changes[0].step, DecisionStep::Eligible);
    let paths = bench.speaker.paths(prefix(1));
    assert_eq!(paths[1].ineligible, Some("next-hop-unreachable"));
    bench.speaker.set_next_hops(BTreeSet::new(), bench.now);
    assert_eq!(bench.drain().changes[0].new, None);
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 2);
}

#[test]
fn the_loss_of_a_session_removes_its_routes_before_anybody_is_told() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    let prefixes: Vec<_> = (0..50).map(numbered).collect();
    bench.announce(connections[0], &prefixes, route(2, 100));
    let outcome = bench.input(sam_bgp::Input::Closed(connections[0]));
    assert_eq!(outcome.changes.len(), 50);
    assert_eq!(outcome.order, format!("e{}s", "b".repeat(50)));
    let updates = outcome.updates(connections[1]);
    assert_eq!(
        updates
            .iter()
            .map(|update| update.withdrawn.len())
            .sum::<usize>(),
        50
    );
}

#[test]
fn several_updates_in_one_read_are_decided_once() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    let mut bytes = Vec::new();
    for local_pref in 100..150 {
        let update = announcement(&[prefix(1)], route(2, local_pref));
        bytes.extend(update.encode(CONTEXT));
    }
    let outcome = bench.receive(connections[0], &bytes);
    assert_eq!(outcome.order, "bs");
    assert_eq!(
        outcome.changes[0]
            .new
            .as_ref()
            .unwrap()
            .attributes
            .local_pref,
        Some(149)
    );
}

// Telling.

#[test]
fn a_new_session_is_told_everything_and_then_end_of_rib() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();
    let (connection, _) = bench.accept(router(2));
    bench.send(connection, &Message::Open(open(router(2))));
    let outcome = bench.send(connection, &Message::Keepalive);
    let updates = outcome.updates(connection);
    assert_eq!(updates.len(), 2);
    assert_eq!(updates[0].announced, [prefix(1).into()]);
    assert_eq!(updates[0].attributes, Some(route(1, 100)));
    assert!(updates[1].is_end_of_rib());
}

#[test]
fn end_of_rib_from_the_peer_is_noted() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    assert!(!bench.view(2).ipv4.end_of_rib);
    bench.send(connections[0], &Message::Update(Update::default()));
    assert!(bench.view(2).ipv4.end_of_rib);
}

#[test]
fn routes_made_before_a_drain_share_updates() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    for number in 0..2000 {
        bench
            .speaker
            .originate(numbered(number), route(1, 100), bench.now);
    }
    let outcome = bench.drain();
    assert_eq!(outcome.changes.len(), 2000);
    let updates = outcome.updates(connections[0]);
    assert_eq!(
        updates
            .iter()
            .map(|update| update.announced.len())
            .sum::<usize>(),
        2000
    );
    assert!(updates.len() <= 3, "{} messages", updates.len());
    assert_eq!(bench.speaker.advertised(peer(2)).len(), 2000);
}

#[test]
fn what_comes_and_goes_before_a_drain_is_never_told() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.speaker.withdraw(prefix(1), bench.now);
    assert_eq!(bench.drain().updates(connections[0]), Vec::<&Update>::new());
}

#[test]
fn originating_equal_attributes_again_changes_nothing() {
    let (mut bench, _) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    assert!(bench.drain().is_empty());
}

#[test]
fn a_route_refresh_is_answered_with_everything() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.speaker.originate(prefix(2), route(1, 200), bench.now);
    bench.drain();
    let request = RouteRefresh {
        afi: 1,
        subtype: 0,
        safi: 1,
    };
    let outcome = bench.send(connections[0], &Message::RouteRefresh(request));
    let told: Vec<_> = outcome
        .updates(connections[0])
        .iter()
        .flat_map(|update| update.announced.clone())
        .collect();
    assert_eq!(told, [prefix(1), prefix(2)].map(Nlri::from));
    let foreign = RouteRefresh { afi: 2, ..request };
    assert!(
        bench
            .send(connections[0], &Message::RouteRefresh(foreign))
            .is_empty()
    );
}

#[test]
fn route_refreshes_in_quick_succession_are_answered_once_a_second() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();
    let request = Message::RouteRefresh(RouteRefresh {
        afi: 1,
        subtype: 0,
        safi: 1,
    });
    let many = request.encode(CONTEXT).repeat(1000);

    let at_once = bench.receive(connections[0], &many);
    let (at, name) = bench.speaker.poll_timeout().expect("a deadline");
    let later = bench.pass(seconds(1));
    let afterwards = bench.pass(millis(1500));

    assert_eq!(at_once.updates(connections[0]).len(), 1);
    assert_eq!((at, name), (start() + seconds(1), TimerName::Refresh));
    assert_eq!(later.updates(connections[0]).len(), 1);
    assert_eq!(afterwards.updates(connections[0]).len(), 0);
}

#[test]
fn a_peer_without_four_octet_as_numbers_is_understood() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    let (connection, _) = bench.accept(router(2));
    let old = Open {
        capabilities: vec![Capability::Multiprotocol { afi: 1, safi: 1 }],
        ..open(router(2))
    };
    bench.send(connection, &Message::Open(old));
    bench.send(connection, &Message::Keepalive);
    assert_eq!(bench.view(2).state, SessionState::Established);
}

// Refusing.

#[test]
fn a_new_policy_is_applied_to_known_routes_without_a_reset() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.announce(connections[0], &[prefix(1), prefix(2)], route(2, 100));
    let refusing = Rules {
        refuse: vec![prefix(1)],
        hide: vec![prefix(2)],
        ..Rules::default()
    };
    bench.speaker.set_policy(refusing, bench.now);
    let outcome = bench.drain();
    let reason = "refused-by-rule";
    assert_eq!(
        outcome.events,
        [Event::Rejected {
            peer: peer(2),
            prefix: prefix(1).into(),
            reason
        }]
    );
    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(
        outcome.updates(connections[1])[0].withdrawn,
        [prefix(1), prefix(2)].map(Nlri::from)
    );
    assert_eq!(bench.speaker.rejected(peer(2))[0].reason, reason);
    assert_eq!(bench.speaker.accepted(peer(2)).len(), 1);

    bench.speaker.set_policy(Rules::default(), bench.now);
    let outcome = bench.drain();
    assert_eq!(
        outcome.updates(connections[1])[0].announced,
        [prefix(1), prefix(2)].map(Nlri::from)
    );
    assert_eq!(bench.view(2).established_count, 1);
    assert_eq!(bench.view(2).refusals[reason], 1);
}

#[test]
fn an_equal_policy_changes_nothing() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    bench.speaker.set_policy(Rules::default(), bench.now);
    assert!(bench.drain().is_empty());
}

#[test]
fn prefixes_over_the_limit_are_refused_and_the_session_stays() {
    let limited = PeerConfig {
        max_prefixes: 2,
        ..peer_config(2)
    };
    let (mut bench, connections) = Bench::established(vec![limited]);
    let all: Vec<_> = (1..=4).map(prefix).collect();
    let outcome = bench.announce(connections[0], &all, route(2, 100));
    assert_eq!(outcome.changes.len(), 2);
    let view = bench.view(2);
    assert_eq!(
        (
            view.ipv4.received,
            view.ipv4.accepted,
            view.refusals["max-prefixes"]
        ),
        (4, 2, 2)
    );
    assert_eq!(view.state, SessionState::Established);
    let outcome = bench.withdraw(connections[0], &[prefix(1)]);
    let changed: Vec<_> = outcome.changes.iter().map(|change| change.prefix).collect();
    assert_eq!(changed, [prefix(1), prefix(3)]);
}

#[test]
fn routes_forgotten_for_lack_of_room_are_asked_for_when_the_policy_changes() {
    let limited = PeerConfig {
        max_prefixes: 0,
        ..peer_config(2)
    };
    let (mut bench, connections) = Bench::established(vec![limited]);
    let first: Vec<_> = (0..700).map(numbered).collect();
    let second: Vec<_> = (700..1400).map(numbered).collect();
    bench.announce(connections[0], &first, route(2, 100));
    bench.announce(connections[0], &second, route(2, 100));
    bench.speaker.set_policy(Rules::default(), bench.now);
    let outcome = bench.drain();
    let request = RouteRefresh {
        afi: 1,
        subtype: 0,
        safi: 1,
    };
    assert_eq!(
        outcome.messages,
        [(connections[0], Message::RouteRefresh(request))]
    );
}

#[test]
fn a_malformed_attribute_withdraws_the_route_and_the_session_stays() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    let outcome = bench.receive(connections[0], &with_origin_seven(&[prefix(1)]));
    assert_eq!(outcome.changes[0].new, None);
    assert!(matches!(
        outcome.events[..],
        [Event::Malformed { kind: 1, .. }]
    ));
    assert_eq!(bench.view(2).state, SessionState::Established);
    assert_eq!(bench.view(2).refusals.values().sum::<u64>(), 1);
    assert!(!bench.view(2).ipv4.end_of_rib);
}

/// RFC 4271 section 6.3.
#[test]
fn a_route_whose_next_hop_is_no_host_is_refused_and_takes_the_former_one_along() {
    for next_hop in [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [127, 0, 0, 1],
        [224, 0, 0, 5],
        [255, 255, 255, 255],
    ] {
        let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
        bench.announce(connections[0], &[prefix(1)], route(2, 100));
        let lost = PathAttributes {
            next_hop: next_hop.into(),
            ..route(2, 100)
        };

        bench.announce(connections[0], &[prefix(1)], lost);

        assert_eq!(bench.view(2).ipv4.accepted, 0, "{next_hop:?}");
        let rejected = bench.speaker.rejected(peer(2));
        assert_eq!(rejected[0].reason, "no-host-next-hop");
    }
}

#[test]
fn an_update_that_cannot_be_survived_ends_the_session_with_its_notification() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    let mut bytes = announcement(&[prefix(1)], route(2, 100)).encode(CONTEXT);
    // The length of withdrawn routes reaches beyond the message.
    bytes[19] = 0xff;
    let outcome = bench.receive(connections[0], &bytes);
    assert_eq!(outcome.notifications(connections[0]), [(3, 1)]);
    assert_eq!(bench.speaker.best(prefix(1)), None);
    bench.pass(seconds(2));
    bench.establish(router(2));
    assert_eq!(bench.view(2).state, SessionState::Established);
}

/// An announcement whose ORIGIN has the value 7, which is malformed (RFC 7606 section 7.1).
fn with_origin_seven(prefixes: &[ipnet::Ipv4Net]) -> Vec<u8> {
    let attributes = PathAttributes {
        origin: sam_bgp::wire::Origin::Incomplete,
        ..route(2, 100)
    };
    let mut bytes = announcement(prefixes, attributes).encode(CONTEXT);
    let origin = [0x40, 1, 1, 2];
    let at = bytes
        .windows(4)
        .position(|window| window == origin)
        .expect("ORIGIN");
    bytes[at + 3] = 7;
    bytes
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        ..peer_config(host)
    }
}
