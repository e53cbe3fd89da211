//! Orders of an operator about one session.

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{Event, GracefulRestartConfig, PeerConfig, SpeakerConfig};
use sam_bgp::wire::{
    Capability, GracefulRestart, Message, Notification, Open, RestartFamily, RouteRefresh, code,
    subcode,
};
use sam_bgp::{ConnectionId, Family, OrderRefusal, PeerOrder, Speaker};

use crate::bench::{Bench, Outcome, open};
use crate::vocabulary::{
    Rules, peer, peer_config, prefix, route, router, seconds, speaker_config, start,
};

#[test]
fn a_refresh_asks_for_all_routes_or_tells_all_again() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();

    let asked = order(&mut bench, PeerOrder::RefreshIn);
    let told = order(&mut bench, PeerOrder::RefreshOut);

    let request = RouteRefresh::of(Family::Ipv4Unicast, RouteRefresh::REQUEST);
    let expected = (connections[0], Message::RouteRefresh(request));
    assert_eq!(asked.messages, [expected]);
    assert_eq!(
        told.updates(connections[0])[0].announced,
        [prefix(1).into()]
    );
    assert_eq!(bench.view(2).established_count, 1);
}

#[test]
fn a_reset_ends_the_session_and_calls_again_at_once() {
    let caller = PeerConfig {
        active: true,
        ..peer_config(2)
    };
    let (mut bench, outcome) = Bench::new(vec![caller]);
    let connection = outcome.connects[0];
    bench.input(sam_bgp::Input::Connected(connection));
    bench.send(connection, &Message::Open(open(router(2))));
    bench.send(connection, &Message::Keepalive);
    bench.announce(connection, &[prefix(1)], route(2, 100));

    let mut outcome = order(&mut bench, PeerOrder::Reset);

    let sent = outcome.notifications(connection);
    assert_eq!(sent, [(code::CEASE, subcode::ADMIN_RESET)]);
    assert_eq!(
        outcome.changes.len(),
        1,
        "without graceful restart routes go"
    );
    outcome.extend(bench.pass(seconds(0)));
    assert_eq!(outcome.connects.len(), 1);
}

#[test]
fn routes_survive_a_reset_where_both_know_how_but_not_a_hard_one() {
    for (order_given, notification, kept) in [
        (PeerOrder::Reset, subcode::ADMIN_RESET, true),
        (PeerOrder::HardReset, subcode::HARD_RESET, false),
    ] {
        let (mut bench, connection) = graceful();
        bench.announce(connection, &[prefix(1)], route(2, 100));
        let outcome = order(&mut bench, order_given);
        let sent = outcome.notifications(connection);
        assert_eq!(sent, [(code::CEASE, notification)]);
        assert_eq!(bench.speaker.best(prefix(1)).is_some(), kept);
    }
}

#[test]
fn what_a_session_left_behind_goes_with_a_hard_reset_or_the_peer_and_not_with_a_reset() {
    for (order_given, kept) in [
        (PeerOrder::Reset, true),
        (PeerOrder::HardReset, false),
        (PeerOrder::Disable, false),
    ] {
        let (mut bench, connection) = graceful();
        bench.announce(connection, &[prefix(1)], route(2, 100));
        bench.input(sam_bgp::Input::Closed(connection));
        assert_eq!(bench.view(2).ipv4.stale, 1);

        let outcome = order(&mut bench, order_given);

        assert_eq!(bench.speaker.best(prefix(1)).is_some(), kept);
        assert_eq!(outcome.changes.is_empty(), kept);
        assert_eq!(bench.view(2).ipv4.stale_until.is_some(), kept);
        let removed = Event::StaleRemoved {
            peer: peer(2),
            routes: 1,
            reason: order_given.name(),
        };
        assert_eq!(outcome.events.contains(&removed), !kept, "{outcome:?}");
    }
}

#[test]
fn a_hard_reset_while_a_session_comes_up_leaves_nothing_of_the_former_one() {
    let (mut bench, connection) = graceful();
    bench.announce(connection, &[prefix(1)], route(2, 100));
    bench.input(sam_bgp::Input::Closed(connection));
    let (connection, _) = bench.accept(router(2));
    bench.send(connection, &Message::Open(open(router(2))));

    order(&mut bench, PeerOrder::HardReset);

    assert_eq!(bench.speaker.prefixes(), []);
}

#[test]
fn a_disabled_peer_has_no_session_until_it_is_enabled() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));

    let outcome = order(&mut bench, PeerOrder::Disable);

    let farewell = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, WHY);
    let sent = (connections[0], Message::Notification(farewell));
    assert!(outcome.messages.contains(&sent), "{outcome:?}");
    let down = Event::Down {
        peer: peer(2),
        reason: WHY.into(),
    };
    assert!(outcome.events.contains(&down), "{:?}", outcome.events);
    assert_eq!(bench.speaker.prefixes(), []);
    let (connection, refused) = bench.accept(router(2));
    assert_eq!(
        refused.notifications(connection),
        [(code::CEASE, subcode::CONNECTION_REJECTED)]
    );
    assert_eq!(bench.pass(seconds(120)).connects, []);
    assert!(bench.view(2).disabled);

    order(&mut bench, PeerOrder::Enable);
    bench.establish(router(2));
    let view = bench.view(2);
    assert_eq!(
        (view.state, view.disabled),
        (SessionState::Established, false)
    );
}

#[test]
fn a_changed_configuration_enables_nobody_and_a_removed_peer_is_forgotten() {
    let (mut bench, _) = Bench::established(vec![peer_config(2)]);
    order(&mut bench, PeerOrder::Disable);
    let changed = PeerConfig {
        active: true,
        hold_time: seconds(30),
        ..peer_config(2)
    };

    bench.speaker.set_peers(vec![changed.clone()], bench.now);
    let mut outcome = bench.drain();
    outcome.extend(bench.pass(seconds(60)));
    assert_eq!(outcome.connects, []);
    assert!(bench.view(2).disabled);

    bench.speaker.set_peers(Vec::new(), bench.now);
    bench.speaker.set_peers(vec![changed], bench.now);
    assert_eq!(bench.drain().connects.len(), 1);
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let (mut bench, _) = Bench::new(vec![peer_config(2), peer_config(3)]);
    let deaf = Open {
        capabilities: vec![Capability::Multiprotocol { afi: 1, safi: 1 }],
        ..open(router(3))
    };
    bench.establish_with(deaf);
    let check = |bench: &Bench, host, order| bench.speaker.check_order(peer(host), order);
    for (host, order, refusal) in [
        (9, PeerOrder::Reset, OrderRefusal::NoPeer),
        (2, PeerOrder::RefreshIn, OrderRefusal::NotUp),
        (2, PeerOrder::RefreshOut, OrderRefusal::NotUp),
        (3, PeerOrder::RefreshIn, OrderRefusal::NoRouteRefresh),
        (3, PeerOrder::Enable, OrderRefusal::NotDisabled),
    ] {
        assert_eq!(check(&bench, host, order), Err(refusal), "{host} {order:?}");
    }
    order(&mut bench, PeerOrder::Disable);
    for order in [PeerOrder::Disable, PeerOrder::Reset, PeerOrder::HardReset] {
        assert_eq!(check(&bench, 2, order), Err(OrderRefusal::Disabled));
    }
}

const WHY: &str = "work on the line";

fn order(bench: &mut Bench, order: PeerOrder) -> Outcome {
    let now = bench.now;
    let done = bench.speaker.order(peer(2), order, WHY, now);
    assert_eq!(done, Ok(()));
    bench.drain()
}

/// A session that both sides restart gracefully, also after a NOTIFICATION.
fn graceful() -> (Bench, ConnectionId) {
    let config = SpeakerConfig {
        graceful_restart: Some(GracefulRestartConfig {
            restart_time: seconds(60),
            deferral_time: seconds(20),
        }),
        ..speaker_config(1)
    };
    let speaker = Speaker::new(config, Rules::default(), 1, start());
    let (mut bench, _) = Bench::with_speaker(speaker, vec![peer_config(2)]);
    let mut open = open(router(2));
    let family = RestartFamily {
        afi: 1,
        safi: 1,
        forwarding: true,
    };
    open.capabilities
        .push(Capability::GracefulRestart(GracefulRestart {
            restarted: false,
            notification: true,
            restart_time_s: 60,
            families: vec![family],
        }));
    let (connection, _) = bench.establish_with(open);
    (bench, connection)
}
