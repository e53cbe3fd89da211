//! Refreshes with a beginning and an end (RFC 7313): what is told to a peer, and what becomes of routes that it does not tell
//! again.

use sam_bgp::speaker::{Event, GracefulRestartConfig, SpeakerConfig};
use sam_bgp::wire::{
    Capability, GracefulRestart, Message, Open, RestartFamily, RouteRefresh, Update,
};
use sam_bgp::{ConnectionId, Family, PeerConfig, PeerRole, Speaker};

use crate::bench::{Bench, Outcome, open};
use crate::vocabulary::{
    Rules, numbered, peer, peer_config, prefix, route, router, seconds, speaker_config, start,
};

#[test]
fn an_answer_stands_between_two_marks() {
    let (mut bench, connection) = told_twice();

    let outcome = bench.send(connection, &mark(RouteRefresh::REQUEST));

    assert_eq!(story(&outcome, connection), ["begin", "update 2", "end"]);
    assert_eq!(bench.view(2).messages_sent[4], 2);
}

#[test]
fn a_peer_that_did_not_offer_them_gets_no_marks_and_is_not_heard_with_them() {
    let (mut bench, _) = Bench::new(vec![client(2)]);
    let (connection, _) = bench.establish_with(open(router(2)));
    bench.announce(connection, &[prefix(1)], route(2, 100));
    bench.speaker.originate(prefix(9), route(1, 100), bench.now);
    bench.drain();

    let outcome = bench.send(connection, &mark(RouteRefresh::REQUEST));
    assert_eq!(story(&outcome, connection), ["update 1"]);

    bench.send(connection, &mark(RouteRefresh::BEGIN));
    let outcome = bench.send(connection, &mark(RouteRefresh::END));
    assert!(outcome.is_empty(), "{outcome:?}");
    assert_eq!(bench.view(2).ipv4.accepted, 1);
}

#[test]
fn an_empty_table_has_marks_too() {
    let (mut bench, connection) = enhanced();
    let outcome = bench.send(connection, &mark(RouteRefresh::REQUEST));
    assert_eq!(story(&outcome, connection), ["begin", "end"]);
}

#[test]
fn what_is_not_told_again_goes_with_the_end_and_nothing_changes_before() {
    let (mut bench, connection) = enhanced();
    bench.announce(
        connection,
        &[prefix(1), prefix(2), prefix(3)],
        route(2, 100),
    );

    let mut before = bench.send(connection, &mark(RouteRefresh::BEGIN));
    before.extend(bench.announce(connection, &[prefix(1)], route(2, 100)));
    assert_eq!(before.changes, []);
    assert!(
        bench
            .speaker
            .best(prefix(2))
            .is_some_and(|path| !path.stale)
    );
    bench.withdraw(connection, &[prefix(3)]);

    let end = bench.send(connection, &mark(RouteRefresh::END));

    let gone: Vec<_> = end.changes.iter().map(|change| change.prefix).collect();
    assert_eq!(gone, [prefix(2)]);
    let removed = Event::StaleRemoved {
        peer: peer(2),
        routes: 1,
        reason: "refreshed",
    };
    assert_eq!(end.events, [removed]);
    assert_eq!(bench.speaker.prefixes(), [prefix(1)]);
    let again = bench.send(connection, &mark(RouteRefresh::END));
    assert!(again.is_empty(), "nothing ends twice: {again:?}");
}

#[test]
fn refused_routes_are_swept_too() {
    let (mut bench, connection) = enhanced();
    let refusing = Rules {
        refuse: vec![prefix(1), prefix(2)],
        ..Rules::default()
    };
    bench.speaker.set_policy(refusing, bench.now);
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));

    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.announce(connection, &[prefix(2)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::END));

    let kept: Vec<_> = bench
        .speaker
        .rejected(peer(2))
        .iter()
        .map(|it| it.prefix)
        .collect();
    assert_eq!(kept, [prefix(2)]);
}

/// RFC 7313 section 4: with each beginning all routes are in question.
#[test]
fn a_second_beginning_begins_anew() {
    let (mut bench, connection) = enhanced();
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.announce(connection, &[prefix(1), prefix(3)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.announce(connection, &[prefix(2)], route(2, 100));

    let end = bench.send(connection, &mark(RouteRefresh::END));

    assert_eq!(bench.speaker.prefixes(), [prefix(2)]);
    let removed = Event::StaleRemoved {
        peer: peer(2),
        routes: 2,
        reason: "refreshed",
    };
    assert_eq!(end.events, [removed]);
}

#[test]
fn a_second_beginning_has_six_minutes_of_its_own() {
    let (mut bench, connection) = enhanced();
    bench.announce(connection, &[prefix(1)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.pass_alive(connection, seconds(300));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    assert_eq!(bench.pass_alive(connection, seconds(300)).changes, []);
    assert_eq!(bench.pass_alive(connection, seconds(61)).changes.len(), 1);
}

#[test]
fn an_end_that_never_comes_is_waited_for_six_minutes() {
    let (mut bench, connection) = enhanced();
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.announce(connection, &[prefix(1)], route(2, 100));

    let before = bench.pass_alive(connection, seconds(359));
    assert_eq!(before.changes, []);
    let after = bench.pass_alive(connection, seconds(2));

    assert_eq!(after.changes.len(), 1);
    let removed = Event::StaleRemoved {
        peer: peer(2),
        routes: 1,
        reason: "refresh time is over",
    };
    assert!(after.events.contains(&removed), "{:?}", after.events);
}

#[test]
fn a_refresh_ends_with_its_session() {
    let (mut bench, connection) = graceful();
    end_of_rib(&mut bench, connection);
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.input(sam_bgp::Input::Closed(connection));
    let (connection, _) = bench.establish_with(offering(true));
    bench.announce(connection, &[prefix(1)], route(2, 100));

    let outcome = bench.send(connection, &mark(RouteRefresh::END));

    assert_eq!(
        outcome.changes,
        [],
        "that was the refresh of another session"
    );
    assert_eq!(bench.speaker.prefixes(), [prefix(1), prefix(2)]);
}

/// RFC 7313 section 4.
#[test]
fn marks_before_end_of_rib_say_nothing_where_restarts_are_graceful() {
    let (mut bench, connection) = graceful();
    bench.announce(connection, &[prefix(1)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.send(connection, &mark(RouteRefresh::END));
    assert_eq!(bench.speaker.prefixes(), [prefix(1)]);

    end_of_rib(&mut bench, connection);
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.send(connection, &mark(RouteRefresh::END));
    assert_eq!(bench.speaker.prefixes(), []);
}

/// Room that a sweep makes is for what waited.
#[test]
fn routes_that_waited_for_room_come_in_after_the_sweep() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        max_prefixes: 2,
        ..client(2)
    }]);
    let (connection, _) = bench.establish_with(offering(false));
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::BEGIN));
    bench.announce(connection, &[prefix(2), prefix(3)], route(2, 100));
    bench.send(connection, &mark(RouteRefresh::END));
    assert_eq!(bench.speaker.prefixes(), [prefix(2), prefix(3)]);
}

/// What changes while everything is told again is told within, or behind; and every route at least once.
#[test]
fn a_long_answer_has_its_marks_at_both_ends() {
    const ROUTES: u32 = 20_000;
    let (mut bench, connection) = enhanced();
    for number in 0..ROUTES {
        bench
            .speaker
            .originate(numbered(number), route(1, 100), bench.now);
    }
    bench.drain();

    let outcome = bench.send(connection, &mark(RouteRefresh::REQUEST));

    let told = outcome.updates(connection);
    let routes: usize = told.iter().map(|update| update.announced.len()).sum();
    assert_eq!(routes, ROUTES as usize);
    let story = story(&outcome, connection);
    assert_eq!(
        story
            .iter()
            .filter(|part| !part.starts_with("update"))
            .count(),
        2
    );
    assert_eq!((&*story[0], &*story[story.len() - 1]), ("begin", "end"));
}

/// A bench whose peer 2 knows marks, and its connection.
fn enhanced() -> (Bench, ConnectionId) {
    let (mut bench, _) = Bench::new(vec![client(2)]);
    let (connection, _) = bench.establish_with(offering(false));
    (bench, connection)
}

/// The same, and the peer was told two routes.
fn told_twice() -> (Bench, ConnectionId) {
    let (mut bench, connection) = enhanced();
    for host in [1, 2] {
        bench
            .speaker
            .originate(prefix(host), route(1, 100), bench.now);
    }
    bench.drain();
    (bench, connection)
}

/// A bench whose peer 2 knows marks and restarts gracefully, as we do.
fn graceful() -> (Bench, ConnectionId) {
    let config = SpeakerConfig {
        graceful_restart: Some(GracefulRestartConfig {
            restart_time: seconds(60),
            deferral_time: seconds(20),
        }),
        ..speaker_config(1)
    };
    let speaker = Speaker::new(config, Rules::default(), 1, start());
    let (mut bench, _) = Bench::with_speaker(speaker, vec![client(2)]);
    let (connection, _) = bench.establish_with(offering(true));
    (bench, connection)
}

fn offering(graceful: bool) -> Open {
    let mut open = open(router(2));
    open.capabilities.push(Capability::EnhancedRouteRefresh);
    let family = RestartFamily {
        afi: 1,
        safi: 1,
        forwarding: true,
    };
    let restart = Capability::GracefulRestart(GracefulRestart {
        restarted: false,
        notification: true,
        restart_time_s: 60,
        families: vec![family],
    });
    open.capabilities.extend(graceful.then_some(restart));
    open
}

fn end_of_rib(bench: &mut Bench, connection: ConnectionId) {
    bench.send(connection, &Message::Update(Update::default()));
}

fn mark(subtype: u8) -> Message {
    Message::RouteRefresh(RouteRefresh::of(Family::Ipv4Unicast, subtype))
}

/// What was sent on a connection, in order.
fn story(outcome: &Outcome, connection: ConnectionId) -> Vec<String> {
    let messages = outcome.messages.iter().filter(|(id, _)| *id == connection);
    let words = messages.map(|(_, message)| match message {
        Message::RouteRefresh(refresh) => match refresh.subtype {
            RouteRefresh::BEGIN => "begin".into(),
            RouteRefresh::END => "end".into(),
            other => format!("refresh {other}"),
        },
        Message::Update(update) => format!("update {}", update.announced.len()),
        other @ (Message::Open(_)
        | Message::Ipv6Update(_)
        | Message::Notification(_)
        | Message::Keepalive) => format!("{other:?}"),
    });
    words.collect()
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        active: false,
        role: PeerRole::Client,
        ..peer_config(host)
    }
}
