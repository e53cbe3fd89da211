//! Graceful restart (RFC 4724, RFC 8538): of peers, whose routes are kept, and of ourselves.

use std::collections::BTreeSet;

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{
    Event, GracefulRestartConfig, OwnRestart, PeerConfig, PeerRole, SpeakerConfig,
};
use sam_bgp::wire::{
    Capability, GracefulRestart, Message, Notification, Open, RestartFamily, Update, code, subcode,
};
use sam_bgp::{ConnectionId, DecisionStep, Input, Speaker, TimerName};

use crate::bench::{Bench, Outcome, open};
use crate::vocabulary::{
    Rules, millis, peer, peer_config, prefix, route, router, seconds, speaker_config, start,
};

// Routes of a peer.

#[test]
fn routes_that_had_no_room_beside_stale_ones_come_in_when_those_go() {
    let (mut bench, _) = graceful(vec![PeerConfig {
        active: false,
        max_prefixes: 2,
        ..peer_config(2)
    }]);
    let (connection, _) = bench.establish_with(offering(2, OpenBits::default()));
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    bench.input(Input::Closed(connection));

    let (connection, _) = bench.establish_with(offering(2, OpenBits::default()));
    bench.announce(connection, &[prefix(3), prefix(4)], route(2, 100));
    finish(&mut bench, connection);

    assert_eq!(bench.speaker.prefixes(), [prefix(3), prefix(4)]);
}

#[test]
fn routes_of_a_broken_session_stay_best_and_are_shown_as_stale() {
    let (mut bench, connection) = helper();
    let outcome = bench.input(Input::Closed(connection));

    assert_eq!(outcome.changes, []);
    let time = seconds(60);
    let retained = Event::Retained {
        peer: peer(2),
        routes: 2,
        time,
        silent: false,
    };
    assert!(outcome.events.contains(&retained), "{:?}", outcome.events);
    let view = bench.view(2);
    assert_eq!(
        (view.ipv4.stale, view.ipv4.accepted, view.ipv4.advertised),
        (2, 2, 0)
    );
    assert_eq!(view.ipv4.stale_until, Some(bench.now + time));
    assert!(bench.speaker.best(prefix(1)).unwrap().stale);
    assert_eq!(
        bench.speaker.stale_next_hops(),
        [router(2), router(9)].into()
    );
}

#[test]
fn routes_of_a_peer_that_never_offered_it_go_with_the_session() {
    let (mut bench, _) = graceful(vec![peer_config(2)]);
    let (connection, _) = bench.establish_with(open(router(2)));
    bench.announce(connection, &[prefix(1)], route(2, 100));

    let outcome = bench.input(Input::Closed(connection));

    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(bench.view(2).ipv4.stale_until, None);
}

#[test]
fn the_hold_time_and_notifications_are_graceful_with_the_n_bit_only() {
    let cease = Notification::new(code::CEASE, subcode::ADMIN_SHUTDOWN);
    for notification_bit in [true, false] {
        for silent in [true, false] {
            let (mut bench, connection) = helper_with(OpenBits {
                notification: notification_bit,
                ..OpenBits::default()
            });
            let outcome = if silent {
                bench.pass(seconds(10))
            } else {
                bench.send(connection, &Message::Notification(cease.clone()))
            };
            assert_eq!(outcome.changes.is_empty(), notification_bit, "{silent}");
            let told = outcome.events.iter().find_map(|event| {
                if let Event::Retained { silent, .. } = event {
                    Some(*silent)
                } else {
                    None
                }
            });
            assert_eq!(told, notification_bit.then_some(silent));
        }
    }
}

#[test]
fn a_hard_reset_removes_routes_at_once() {
    let (mut bench, connection) = helper();
    let reset = Notification::new(code::CEASE, subcode::ADMIN_SHUTDOWN).hard_reset();

    let outcome = bench.send(connection, &Message::Notification(reset));

    assert_eq!(outcome.changes.len(), 2);
    assert_eq!(bench.view(2).ipv4.stale, 0);
}

#[test]
fn end_of_rib_removes_what_was_not_told_again() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    let (connection, outcome) = bench.establish_with(restarting(true));
    assert_eq!(outcome.changes, [], "F: forwarding went on");
    let outcome = bench.announce(connection, &[prefix(1)], route(2, 100));
    assert_eq!(outcome.changes, [], "the same route");
    assert!(!bench.speaker.best(prefix(1)).unwrap().stale);
    assert_eq!(bench.view(2).ipv4.stale, 1);

    let outcome = bench.send(connection, &Message::Update(Update::default()));

    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(outcome.changes[0].prefix, prefix(9));
    let reason = "End-of-RIB";
    let removed = Event::StaleRemoved {
        peer: peer(2),
        routes: 1,
        reason,
    };
    assert_eq!(outcome.events, [removed]);
    assert_eq!(bench.view(2).ipv4.stale_until, None);
}

#[test]
fn a_peer_that_lost_its_forwarding_takes_its_own_routes_along_but_not_those_it_reflected() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));

    let (_, outcome) = bench.establish_with(restarting(false));

    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(outcome.changes[0].prefix, prefix(1), "next hop: the peer");
    assert!(bench.speaker.best(prefix(9)).unwrap().stale);
}

#[test]
fn a_peer_that_comes_back_without_the_capability_starts_from_nothing() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));

    let (_, outcome) = bench.establish_with(open(router(2)));

    assert_eq!(outcome.changes.len(), 2);
    assert_eq!(bench.view(2).ipv4.stale_until, None);
}

#[test]
fn routes_are_kept_for_the_restart_time_without_session_and_once_more_until_end_of_rib() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    assert_eq!(bench.pass(seconds(59)).changes, []);
    let (connection, _) = bench.establish_with(restarting(true));
    assert_eq!(bench.pass_alive(connection, seconds(59)).changes, []);
    assert_eq!(bench.pass_alive(connection, seconds(2)).changes.len(), 2);

    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    assert_eq!(
        bench.speaker.poll_timeout().map(|(_, name)| name),
        Some(TimerName::Stale)
    );
    let outcome = bench.pass(seconds(60));
    assert_eq!(outcome.changes.len(), 2);
    assert_eq!(bench.speaker.prefixes(), [], "nothing is left");
}

#[test]
fn a_second_loss_before_end_of_rib_removes_what_is_still_stale() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    let (connection, _) = bench.establish_with(restarting(true));
    bench.announce(connection, &[prefix(1)], route(2, 100));

    let outcome = bench.input(Input::Closed(connection));

    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(outcome.changes[0].prefix, prefix(9));
    assert_eq!(bench.view(2).ipv4.stale, 1);
}

#[test]
fn a_failed_attempt_to_come_back_is_no_second_loss() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    let (connection, _) = bench.accept(router(2));
    bench.send(connection, &Message::Open(restarting(true)));

    let outcome = bench.input(Input::Closed(connection));

    assert_eq!(outcome.changes, []);
    assert_eq!(bench.view(2).ipv4.stale, 2);
    let reason = "connection closed".to_owned();
    let failed = Event::AttemptFailed {
        peer: peer(2),
        reason,
    };
    assert_eq!(outcome.events, [failed]);
}

#[test]
fn a_new_session_of_the_peer_replaces_a_living_one_without_a_word() {
    let (mut bench, connection) = helper();
    bench.pass_alive(connection, seconds(5));

    let (_, outcome) = bench.establish_with(restarting(true));

    assert!(outcome.closed.contains(&connection));
    assert_eq!(outcome.notifications(connection), []);
    assert_eq!(outcome.changes, []);
    assert_eq!(bench.view(2).state, SessionState::Established);
    assert_eq!(bench.view(2).ipv4.stale, 2);
}

#[test]
fn a_stale_path_yields_to_what_a_living_session_tells() {
    let (mut bench, _) = graceful(vec![peer_config(2), peer_config(3)]);
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    let (second, _) = bench.establish_with(offering(3, OpenBits::default()));
    bench.announce(first, &[prefix(1)], route(8, 400));
    bench.announce(second, &[prefix(1)], route(8, 400));
    let outcome = bench.input(Input::Closed(first));
    assert_eq!(outcome.changes[0].step, DecisionStep::Eligible);

    // The address moves, and only the living session knows.
    bench.announce(second, &[prefix(1)], route(9, 100));

    let best = bench.speaker.best(prefix(1)).unwrap();
    assert_eq!(best.attributes.next_hop, router(9));
}

#[test]
fn a_reflector_that_lives_tells_what_another_one_left_behind() {
    let reflector = |host| PeerConfig {
        reflector: true,
        ..peer_config(host)
    };
    let (mut bench, _) = graceful(vec![reflector(2), reflector(3), peer_config(4)]);
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    let (second, _) = bench.establish_with(offering(3, OpenBits::default()));
    let (third, _) = bench.establish_with(offering(4, OpenBits::default()));
    bench.announce(first, &[prefix(1)], route(8, 100));
    finish(&mut bench, third);
    bench.input(Input::Closed(first));
    assert_eq!(bench.view(2).ipv4.stale, 1, "nobody else could know all");

    let outcome = finish(&mut bench, second);

    assert_eq!(outcome.changes.len(), 1, "it does not tell this route");
    assert_eq!(bench.view(2).ipv4.stale, 0);
}

#[test]
fn a_node_that_is_heard_itself_needs_no_memory_of_others() {
    let (mut bench, _) = graceful(vec![peer_config(2), peer_config(3)]);
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    let (second, _) = bench.establish_with(offering(3, OpenBits::default()));
    bench.announce(first, &[prefix(1)], route(3, 100));
    bench.announce(first, &[prefix(9)], route(9, 100));
    finish(&mut bench, second);

    let outcome = bench.input(Input::Closed(first));

    assert_eq!(outcome.changes.len(), 1);
    assert_eq!(outcome.changes[0].prefix, prefix(1));
}

#[test]
fn a_peer_that_changes_its_role_starts_from_nothing() {
    let (mut bench, _) = helper();
    let role = PeerRole::Client;
    let changed = PeerConfig {
        role,
        active: false,
        ..peer_config(2)
    };

    bench.speaker.set_peers(vec![changed], bench.now);

    assert_eq!(bench.drain().changes.len(), 2);
}

#[test]
fn a_new_policy_judges_stale_routes_and_leaves_them_stale() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));
    let refuse = vec![prefix(9)];
    let rules = Rules {
        refuse,
        ..Rules::default()
    };

    bench.speaker.set_policy(rules, bench.now);

    assert_eq!(bench.drain().changes.len(), 1);
    assert!(bench.speaker.best(prefix(1)).unwrap().stale);
    assert_eq!(bench.view(2).ipv4.stale, 1);
}

#[test]
fn a_reflector_goes_on_reflecting_stale_routes_to_clients_that_join_meanwhile() {
    let client = |host| PeerConfig {
        role: PeerRole::Client,
        ..peer_config(host)
    };
    let (mut bench, _) = graceful(vec![client(2), client(3)]);
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    bench.announce(first, &[prefix(1)], route(2, 100));
    bench.input(Input::Closed(first));

    let (second, outcome) = bench.establish_with(offering(3, OpenBits::default()));

    let told = outcome.updates(second);
    assert_eq!(told[0].announced, [prefix(1).into()]);
    assert!(told[1].is_end_of_rib());
}

#[test]
fn a_changed_configuration_keeps_routes_and_a_removed_peer_is_told_to_forget_us() {
    let (mut bench, connection) = helper();
    let changed = PeerConfig {
        hold_time: seconds(30),
        active: false,
        ..peer_config(2)
    };
    bench.speaker.set_peers(vec![changed], bench.now);
    let outcome = bench.drain();
    assert_eq!(
        outcome.notifications(connection),
        [(code::CEASE, subcode::CONFIG_CHANGE)]
    );
    assert_eq!(outcome.changes, []);

    let (connection, _) = bench.establish_with(restarting(true));
    bench.speaker.set_peers(Vec::new(), bench.now);
    let outcome = bench.drain();
    assert_eq!(
        outcome.notifications(connection),
        [(code::CEASE, subcode::HARD_RESET)]
    );
    assert_eq!(outcome.changes.len(), 2);
}

#[test]
fn a_removed_peer_leaves_nothing_behind_even_while_it_is_away() {
    let (mut bench, connection) = helper();
    bench.input(Input::Closed(connection));

    bench.speaker.set_peers(Vec::new(), bench.now);

    assert_eq!(bench.drain().changes.len(), 2);
    assert_eq!(bench.speaker.poll_timeout(), None);
}

// Our own restart.

#[test]
fn a_reflector_that_restarted_speaks_for_others_when_it_heard_all_who_were_there() {
    let (mut bench, outcome) = restarted_reflector();
    assert_eq!(
        outcome.connects.len(),
        2,
        "it calls whom it usually waits for"
    );
    bench.speaker.originate(prefix(7), route(1, 100), bench.now);
    bench.drain();
    let (first, outcome) = bench.establish_with(offering(2, OpenBits::default()));
    assert_eq!(flags(&outcome), Some((true, false)), "R and not F");
    let told = outcome.updates(first);
    assert_eq!(told.len(), 1, "no End-of-RIB yet");
    assert_eq!(told[0].announced, [prefix(7).into()], "what it originates");
    bench.announce(first, &[prefix(1)], route(2, 100));
    assert_eq!(finish(&mut bench, first).updates(first).len(), 0);
    assert_eq!(bench.speaker.restarting().unwrap().awaited, [peer(3)]);

    let (second, outcome) = bench.establish_with(offering(3, OpenBits::default()));
    assert_eq!(outcome.updates(second).len(), 1);
    let outcome = finish(&mut bench, second);

    let over = Event::RestartOver {
        missing: Vec::new(),
    };
    assert!(outcome.events.contains(&over));
    assert!(outcome.updates(first)[0].is_end_of_rib());
    let told = outcome.updates(second);
    assert_eq!(told[0].announced, [prefix(1).into()]);
    assert!(told[1].is_end_of_rib());
    assert_eq!(bench.speaker.restarting(), None);
}

#[test]
fn who_does_not_come_back_is_waited_for_a_limited_time() {
    let (mut bench, _) = restarted_reflector();
    let (first, _) = bench.establish_with(offering(2, OpenBits::default()));
    finish(&mut bench, first);

    let outcome = bench.pass_alive(first, seconds(20));

    let missing = vec![peer(3)];
    assert!(outcome.events.contains(&Event::RestartOver { missing }));
    assert!(outcome.updates(first)[0].is_end_of_rib());
    let sent = &bench.view(2).capabilities_sent;
    assert_eq!(
        restart_of(sent),
        Some((false, true)),
        "R is over, F holds from now on"
    );
}

#[test]
fn who_restarts_as_well_or_does_not_know_how_is_not_waited_for() {
    let (mut bench, _) = restarted_reflector();
    bench.establish_with(restarting(true));

    let (_, outcome) = bench.establish_with(open(router(3)));

    let over = Event::RestartOver {
        missing: Vec::new(),
    };
    assert!(outcome.events.contains(&over));
}

#[test]
fn a_leaf_that_restarted_tells_its_own_routes_and_end_of_rib_at_once() {
    let (mut bench, _) = restarted(vec![peer_config(2)], &[2]);
    bench.speaker.originate(prefix(7), route(1, 100), bench.now);
    bench.drain();

    let (connection, outcome) = bench.establish_with(offering(2, OpenBits::default()));

    let told = outcome.updates(connection);
    assert_eq!(told[0].announced, [prefix(7).into()]);
    assert!(told[1].is_end_of_rib());
}

#[test]
fn a_first_start_is_no_restart() {
    let (mut bench, _) = restarted(vec![peer_config(2)], &[]);

    let (_, outcome) = bench.establish_with(offering(2, OpenBits::default()));

    assert_eq!(flags(&outcome), Some((false, true)));
}

#[derive(Clone, Copy)]
pub(crate) struct OpenBits {
    restarted: bool,
    notification: bool,
    forwarding: bool,
}

impl Default for OpenBits {
    fn default() -> Self {
        Self {
            restarted: false,
            notification: true,
            forwarding: true,
        }
    }
}

pub(crate) fn offering(host: u8, bits: OpenBits) -> Open {
    let mut open = open(router(host));
    open.capabilities
        .push(Capability::GracefulRestart(GracefulRestart {
            restarted: bits.restarted,
            notification: bits.notification,
            restart_time_s: 60,
            families: vec![RestartFamily {
                afi: 1,
                safi: 1,
                forwarding: bits.forwarding,
            }],
        }));
    open
}

/// The OPEN of peer 2 after a restart.
fn restarting(forwarding: bool) -> Open {
    offering(
        2,
        OpenBits {
            restarted: true,
            forwarding,
            ..OpenBits::default()
        },
    )
}

/// A speaker with a session to peer 2, which announces one route of its own and one that leads to router 9.
fn helper() -> (Bench, ConnectionId) {
    helper_with(OpenBits::default())
}

fn helper_with(bits: OpenBits) -> (Bench, ConnectionId) {
    let (mut bench, _) = graceful(vec![PeerConfig {
        active: false,
        ..peer_config(2)
    }]);
    let (connection, _) = bench.establish_with(offering(2, bits));
    bench.announce(connection, &[prefix(1)], route(2, 100));
    bench.announce(connection, &[prefix(9)], route(9, 100));
    (bench, connection)
}

fn graceful(peers: Vec<PeerConfig>) -> (Bench, Outcome) {
    restarted(peers, &[])
}

pub(crate) fn restarted_reflector() -> (Bench, Outcome) {
    let client = |host| PeerConfig {
        role: PeerRole::Client,
        active: false,
        ..peer_config(host)
    };
    restarted(vec![client(2), client(3)], &[2, 3])
}

fn restarted(peers: Vec<PeerConfig>, awaited: &[u8]) -> (Bench, Outcome) {
    let config = SpeakerConfig {
        graceful_restart: Some(GracefulRestartConfig {
            restart_time: seconds(120),
            deferral_time: seconds(20),
        }),
        ..speaker_config(1)
    };
    let mut speaker = Speaker::new(config, Rules::default(), 1, start());
    let awaited: BTreeSet<_> = awaited.iter().copied().map(peer).collect();
    let own = OwnRestart {
        awaited,
        forwarding: false,
    };
    speaker.begin_restart(own, start());
    Bench::with_speaker(speaker, peers)
}

pub(crate) fn finish(bench: &mut Bench, connection: ConnectionId) -> Outcome {
    bench.now += millis(1);
    bench.send(connection, &Message::Update(Update::default()))
}

/// R and F of the OPEN that was sent.
fn flags(outcome: &Outcome) -> Option<(bool, bool)> {
    outcome.messages.iter().find_map(|(_, message)| {
        if let Message::Open(open) = message {
            restart_of(&open.capabilities)
        } else {
            None
        }
    })
}

fn restart_of(capabilities: &[Capability]) -> Option<(bool, bool)> {
    capabilities.iter().find_map(|capability| {
        if let Capability::GracefulRestart(own) = capability {
            Some((own.restarted, own.families[0].forwarding))
        } else {
            None
        }
    })
}
