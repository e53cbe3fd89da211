//! Sessions: bring-up, collisions, timers, errors, reconfiguration.
//!
//! Pairs of speakers where both sides matter, one speaker and a played peer where order matters.

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{Event, PeerConfig};
use sam_bgp::wire::{Capability, Message, Notification, Open, code, subcode};
use sam_bgp::{ConnectionId, Input, TimerName};

use crate::bench::{Bench, open};
use crate::fabric::Fabric;
use crate::vocabulary::{millis, peer, peer_config, prefix, route, router, seconds, start};

// Bring-up and collision.

#[test]
fn both_ends_booting_at_once_are_established_within_five_seconds_for_every_seed() {
    let mut collisions = 0;
    for seed in 0..1000 {
        let mut fabric = pair(seed);
        fabric.run_for(seconds(5));
        for (host, of) in [(1, 2), (2, 1)] {
            let view = fabric.view(host, of);
            assert_eq!(
                view.state,
                SessionState::Established,
                "seed {seed}, router {host}"
            );
            assert_eq!(view.established_count, 1, "seed {seed}, router {host}");
        }
        assert_eq!(fabric.open_pipes(), 1, "seed {seed}");
        let mut events = fabric.nodes.values().flat_map(|node| &node.events);
        let refused = |event: &Event| matches!(event, Event::ConnectionRefused { .. });
        collisions += usize::from(events.any(|(_, event)| refused(event)));
    }
    assert!(
        collisions > 500,
        "only {collisions} runs had a collision to resolve"
    );
}

#[test]
fn a_passive_peer_waits_for_the_active_one() {
    let mut fabric = Fabric::new(|| millis(10));
    fabric.add(
        1,
        1,
        vec![PeerConfig {
            active: false,
            ..peer_config(2)
        }],
    );
    fabric.run_for(seconds(60));
    assert_eq!(fabric.view(1, 2).state, SessionState::Active);
    fabric.add(2, 2, vec![peer_config(1)]);
    fabric.run_for(seconds(1));
    assert_eq!(fabric.view(1, 2).state, SessionState::Established);
}

#[test]
fn the_open_carries_as_identifier_hold_time_and_capabilities() {
    let (mut bench, outcome) = Bench::new(vec![peer_config(2)]);
    let outcome = bench.input(Input::Connected(outcome.connects[0]));
    let Message::Open(sent) = &outcome.messages[0].1 else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (sent.real_asn(), sent.router_id, sent.hold_time_s),
        (64512, router(1), 9)
    );
    let fqdn = Capability::Fqdn {
        host: "router-1".into(),
        domain: String::new(),
    };
    assert!(sent.capabilities.contains(&fqdn));
    assert!(sent.capabilities.contains(&Capability::RouteRefresh));
    assert!(
        sent.capabilities
            .contains(&Capability::Multiprotocol { afi: 1, safi: 1 })
    );
}

#[test]
fn a_half_dead_winner_loses_after_two_seconds() {
    // The peer has the lower identifier: our own connection wins, if only the peer spoke on it.
    let (mut bench, outcome) = Bench::new(vec![PeerConfig {
        address: router(0),
        ..peer_config(0)
    }]);
    let ours = outcome.connects[0];
    bench.input(Input::Connected(ours));
    let theirs = bench.establish(router(0));
    assert_eq!(bench.view(0).state, SessionState::OpenConfirm);
    assert_eq!(
        bench.speaker.poll_timeout().unwrap().1,
        TimerName::Collision
    );
    let outcome = bench.pass(seconds(2));
    assert_eq!(
        outcome.notifications(ours),
        [(code::CEASE, subcode::COLLISION)]
    );
    assert_eq!(outcome.closed, [ours]);
    assert_eq!(bench.view(0).state, SessionState::Established);
    assert_eq!(outcome.notifications(theirs), []);
}

#[test]
fn the_losers_routes_prove_that_the_peer_has_decided() {
    let (mut bench, outcome) = Bench::new(vec![PeerConfig {
        address: router(0),
        ..peer_config(0)
    }]);
    let ours = outcome.connects[0];
    bench.input(Input::Connected(ours));
    let theirs = bench.establish(router(0));
    let outcome = bench.announce(theirs, &[prefix(1)], route(0, 100));
    assert_eq!(outcome.closed, [ours]);
    assert_eq!(outcome.events[0], Event::Established { peer: peer(0) });
    assert_eq!(outcome.changes.len(), 1);
}

#[test]
fn an_attempt_under_way_is_dropped_once_the_peer_has_answered_elsewhere() {
    let (mut bench, outcome) = Bench::new(vec![peer_config(2)]);
    let (connection, _) = bench.accept(router(2));
    assert_eq!(bench.view(2).state, SessionState::OpenSent);
    let answer = bench.send(connection, &Message::Open(open(router(2))));
    assert_eq!(answer.closed, outcome.connects);
    assert!(
        bench
            .input(Input::Connected(outcome.connects[0]))
            .is_empty()
    );
}

#[test]
fn a_new_connection_does_not_replace_a_living_session() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let (second, outcome) = bench.accept(router(2));
    assert_eq!(
        outcome.notifications(second),
        [(code::CEASE, subcode::COLLISION)]
    );
    assert_eq!(outcome.closed, [second]);
    assert!(matches!(
        outcome.events[..],
        [Event::ConnectionRefused { .. }]
    ));
    assert_eq!(bench.view(2).state, SessionState::Established);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    assert!(bench.speaker.best(prefix(1)).is_some());
}

#[test]
fn strangers_are_all_refused_but_told_of_at_a_limited_rate() {
    let (mut bench, _) = Bench::established(vec![peer_config(2)]);
    let mut told = Vec::new();
    for _ in 0..100 {
        let (connection, outcome) = bench.accept(router(77));
        assert_eq!(outcome.closed, [connection]);
        told.extend(outcome.events);
    }
    bench.now += seconds(10);
    told.extend(bench.accept(router(78)).1.events);

    let refused = |host, count| Event::ConnectionRefused {
        from: router(host),
        reason: "unknown peer",
        count,
    };
    assert_eq!(told, [refused(77, 1), refused(78, 100)]);
}

#[test]
fn a_peer_that_does_not_read_ends_its_session_and_is_named() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let outcome = bench.input(Input::Stalled(connections[0]));
    let down = Event::Down {
        peer: peer(2),
        reason: "the peer does not read".to_owned(),
    };
    assert_eq!(outcome.events, [down]);
    assert!(bench.input(Input::Stalled(connections[0])).is_empty());
}

#[test]
fn a_new_connection_replaces_a_silent_session_once_its_open_came() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    bench.pass(seconds(4));
    let (second, outcome) = bench.accept(router(2));
    assert_eq!(outcome.closed, []);
    assert!(bench.speaker.best(prefix(1)).is_some());
    let outcome = bench.send(second, &Message::Open(open(router(2))));
    assert_eq!(outcome.closed, connections);
    assert_eq!(bench.speaker.best(prefix(1)), None);
    let outcome = bench.send(second, &Message::Keepalive);
    assert!(
        outcome
            .events
            .contains(&Event::Established { peer: peer(2) })
    );
}

#[test]
fn a_session_that_speaks_again_keeps_out_the_rival_it_let_in() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.pass(seconds(4));
    let (second, _) = bench.accept(router(2));
    let outcome = bench.send(connections[0], &Message::Keepalive);
    assert_eq!(
        outcome.notifications(second),
        [(code::CEASE, subcode::COLLISION)]
    );
    assert_eq!(bench.view(2).established_count, 1);
}

#[test]
fn a_stranger_is_turned_away() {
    let (mut bench, _) = Bench::new(vec![peer_config(2)]);
    let (connection, outcome) = bench.accept(router(99));
    assert_eq!(
        outcome.notifications(connection),
        [(code::CEASE, subcode::CONNECTION_REJECTED)]
    );
    assert_eq!(outcome.order, "sxe");
}

// Timers.

#[test]
fn an_idle_session_lives_on_keepalives() {
    let mut fabric = pair(1);
    fabric.run_for(seconds(600));
    for (host, of) in [(1, 2), (2, 1)] {
        let view = fabric.view(host, of);
        assert_eq!((view.established_count, view.last_down), (1, None));
        assert!(
            (195..=205).contains(&view.messages_received[3]),
            "one every three seconds"
        );
    }
}

#[test]
fn a_silent_peer_is_given_up_after_the_hold_time_and_comes_back_when_mended() {
    let mut fabric = pair(1);
    fabric.run_for(seconds(5));
    fabric.set_cut(1, 2, true);
    fabric.run_for(seconds(9));
    for (host, of) in [(1, 2), (2, 1)] {
        let view = fabric.view(host, of);
        assert!(view.state < SessionState::OpenSent);
        assert_eq!(view.last_sent, Some(Notification::new(code::HOLD_TIMER, 0)));
        assert_eq!(view.last_down.unwrap(), "hold timer expired");
    }
    fabric.run_for(seconds(600));
    fabric.set_cut(1, 2, false);
    fabric.run_for(seconds(40));
    assert_eq!(fabric.view(1, 2).state, SessionState::Established);
    assert_eq!(fabric.view(2, 1).established_count, 2);
}

#[test]
fn an_unreachable_peer_is_dialed_ever_more_rarely() {
    let (mut bench, first) = Bench::new(vec![peer_config(2)]);
    let mut connection = first.connects[0];
    let mut waits = Vec::new();
    for _ in 0..12 {
        bench.input(Input::Closed(connection));
        let before = bench.now;
        while bench.speaker.poll_timeout().is_some() {
            bench.now = bench.speaker.poll_timeout().unwrap().0;
            bench.speaker.handle_timeout(bench.now);
            if let Some(next) = bench.drain().connects.first() {
                connection = *next;
                break;
            }
        }
        waits.push((bench.now - before).as_secs_f64());
    }
    assert!((0.75..=1.25).contains(&waits[0]));
    assert!(waits.iter().all(|wait| *wait <= 37.5));
    assert!(waits[11] >= 22.5);
}

#[test]
fn an_attempt_that_hangs_is_repeated() {
    let (mut bench, first) = Bench::new(vec![peer_config(2)]);
    let outcome = bench.pass(seconds(8));
    assert_eq!(outcome.closed[0], first.connects[0]);
    assert_eq!(outcome.connects.len(), 1);
}

#[test]
fn a_connection_without_open_is_given_up() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    let (connection, _) = bench.accept(router(2));
    let outcome = bench.pass(seconds(15));
    assert_eq!(outcome.notifications(connection), [(code::HOLD_TIMER, 0)]);
}

// Errors.

#[test]
fn an_unacceptable_open_is_refused_and_followed_by_a_growing_idle_hold() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    let mut holds = Vec::new();
    for _ in 0..8 {
        let (connection, _) = bench.accept(router(2));
        let wrong = Open {
            router_id: router(1),
            ..open(router(2))
        };
        let outcome = bench.send(connection, &Message::Open(wrong));
        assert_eq!(
            outcome.notifications(connection),
            [(2, subcode::BAD_BGP_IDENTIFIER)]
        );
        assert!(matches!(outcome.events[..], [Event::AttemptFailed { .. }]));
        let (at, timer) = bench.speaker.poll_timeout().unwrap();
        assert_eq!(
            (bench.view(2).state, timer),
            (SessionState::Idle, TimerName::IdleHold)
        );
        let (refused, outcome) = bench.accept(router(2));
        assert_eq!(
            outcome.notifications(refused),
            [(code::CEASE, subcode::CONNECTION_REJECTED)]
        );
        holds.push((at - bench.now).as_secs_f64());
        bench.pass(at - bench.now);
    }
    for (hold, base) in holds
        .iter()
        .zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
    {
        assert!((0.75 * base..=1.25 * base).contains(hold), "{holds:?}");
    }
}

#[test]
fn three_minutes_of_uptime_forgive_earlier_errors() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    for _ in 0..4 {
        let (connection, _) = bench.accept(router(2));
        bench.receive(connection, &[0; 19]);
        bench.pass(seconds(20));
    }
    let connection = bench.establish(router(2));
    bench.pass_alive(connection, seconds(180));
    bench.receive(connection, &[0; 19]);
    let (at, _) = bench.speaker.poll_timeout().unwrap();
    assert!(at - bench.now <= millis(1250));
}

#[test]
fn garbage_ends_the_session_with_a_notification_and_it_recovers() {
    let mut fabric = pair(3);
    fabric.with(1, |speaker, now| {
        speaker.originate(prefix(1), route(1, 100), now)
    });
    fabric.run_for(seconds(5));
    assert!(fabric.nodes[&2].speaker.best(prefix(1)).is_some());
    fabric.inject(1, 2, &[0x55; 40]);
    fabric.run_for(millis(700));
    assert_eq!(fabric.view(2, 1).last_sent.unwrap().code, code::HEADER);
    assert_eq!(fabric.view(1, 2).last_received.unwrap().code, code::HEADER);
    assert_eq!(fabric.view(1, 2).state, SessionState::Idle);
    assert_eq!(fabric.nodes[&2].speaker.best(prefix(1)), None);
    fabric.run_for(seconds(10));
    assert_eq!(fabric.view(1, 2).state, SessionState::Established);
    assert!(fabric.nodes[&2].speaker.best(prefix(1)).is_some());
}

#[test]
fn messages_out_of_place_are_state_machine_errors() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    let (connection, _) = bench.accept(router(2));
    let outcome = bench.send(connection, &Message::Keepalive);
    assert_eq!(outcome.notifications(connection), [(code::FSM, 1)]);
    bench.pass(seconds(2));
    let connection = bench.establish(router(2));
    let outcome = bench.send(connection, &Message::Open(open(router(2))));
    assert_eq!(outcome.notifications(connection), [(code::FSM, 3)]);
}

#[test]
fn a_received_notification_is_kept_and_ends_the_session() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let notification = Notification {
        data: vec![4, b'b', b'y', b'e', b'!'],
        ..Notification::new(code::CEASE, subcode::ADMIN_SHUTDOWN)
    };
    let outcome = bench.send(connections[0], &Message::Notification(notification.clone()));
    assert_eq!(outcome.closed, connections);
    let reason = format!("received {notification}");
    assert_eq!(
        outcome.events,
        [Event::Down {
            peer: peer(2),
            reason
        }]
    );
    assert_eq!(bench.view(2).last_received, Some(notification));
    assert_eq!(bench.view(2).state, SessionState::Active);
}

#[test]
fn late_events_of_closed_connections_are_ignored() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.input(Input::Closed(connections[0]));
    assert!(bench.receive(connections[0], &[0; 40]).is_empty());
    assert!(bench.input(Input::Closed(connections[0])).is_empty());
    assert!(bench.input(Input::Connected(ConnectionId(77))).is_empty());
}

// Reconfiguration.

#[test]
fn an_equal_configuration_does_nothing_at_all() {
    let passive = PeerConfig {
        active: false,
        ..peer_config(2)
    };
    let (mut bench, connections) = Bench::established(vec![passive.clone()]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    bench.speaker.set_peers(vec![passive], bench.now);
    assert!(bench.drain().is_empty());
}

#[test]
fn a_changed_peer_is_reset_and_a_removed_one_is_told_so() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.announce(connections[1], &[prefix(1)], route(3, 100));
    let changed = PeerConfig {
        hold_time: seconds(30),
        ..peer_config(2)
    };
    bench.speaker.set_peers(vec![changed], bench.now);
    let outcome = bench.drain();
    assert_eq!(
        outcome.notifications(connections[0]),
        [(code::CEASE, subcode::CONFIG_CHANGE)]
    );
    assert_eq!(
        outcome.notifications(connections[1]),
        [(code::CEASE, subcode::PEER_DECONFIGURED)]
    );
    assert_eq!(outcome.connects.len(), 1);
    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(bench.speaker.peers().len(), 1);
}

#[test]
fn shutdown_ends_all_sessions_for_good() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.speaker.shutdown("the last one out", bench.now);
    let outcome = bench.drain();
    let told = bench.view(2).last_sent;
    let text = told.as_ref().and_then(|cease| cease.shutdown_text());
    assert_eq!(text, Some("the last one out"));
    for connection in &connections {
        assert_eq!(
            outcome.notifications(*connection),
            [(code::CEASE, subcode::ADMIN_SHUTDOWN)]
        );
    }
    assert_eq!(outcome.closed, connections);
    assert_eq!(bench.speaker.poll_timeout(), None);
    let (late, outcome) = bench.accept(router(2));
    assert_eq!(outcome.closed, [late]);
}

// Routers 1 and 2, both active; every piece takes its own time, up to 150 ms.
fn pair(seed: u64) -> Fabric {
    let mut state = seed;
    let mut fabric = Fabric::new(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        millis((state >> 33) % 150)
    });
    assert_eq!(fabric.now, start());
    fabric.add(1, 2 * seed, vec![peer_config(2)]);
    fabric.add(2, 2 * seed + 1, vec![peer_config(1)]);
    fabric
}
