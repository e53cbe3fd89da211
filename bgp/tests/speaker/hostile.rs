//! No sequence of inputs, however absurd, makes the speaker panic, forget a deadline or send half a message.
//!
//! And when the absurdities end, the session comes up.

use proptest::prelude::*;
use sam_bgp::session::SessionState;
use sam_bgp::wire::{Message, Notification, RouteRefresh, Update};
use sam_bgp::{ConnectionId, Input};

use crate::bench::{Bench, CONTEXT, announcement, open};
use crate::vocabulary::{millis, peer_config, prefix, route, router, seconds};

/// One absurdity. Connections are named by small numbers, so that known ones are hit often.
#[derive(Debug, Clone)]
enum Absurdity {
    Accept(u8),
    Connected(u64),
    Closed(u64),
    Bytes(u64, Vec<u8>),
    Message(u64, u8),
    Spoiled {
        connection: u64,
        message: u8,
        at: usize,
        byte: u8,
    },
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_a_peer_or_driver_does_brings_the_speaker_down(
        absurdities in proptest::collection::vec(absurdity(), 1..80),
    ) {
        let (mut bench, _) = Bench::new(vec![peer_config(2), peer_config(3)]);
        bench.speaker.originate(prefix(9), route(1, 100), bench.now);
        for absurdity in absurdities {
            let deadline = bench.now + seconds(120);
            match absurdity {
                Absurdity::Accept(host) => drop(bench.accept(router(host))),
                Absurdity::Connected(id) => drop(bench.input(Input::Connected(ConnectionId(id)))),
                Absurdity::Closed(id) => drop(bench.input(Input::Closed(ConnectionId(id)))),
                Absurdity::Bytes(id, bytes) => drop(bench.receive(ConnectionId(id), &bytes)),
                Absurdity::Message(id, kind) => {
                    drop(bench.receive(ConnectionId(id), &message(kind)));
                }
                Absurdity::Spoiled { connection, message: kind, at, byte } => {
                    let mut bytes = message(kind);
                    let at = at % bytes.len();
                    bytes[at] = byte;
                    drop(bench.receive(ConnectionId(connection), &bytes));
                }
                Absurdity::Wait(duration) => drop(bench.pass(millis(duration))),
            }
            let next = bench.speaker.poll_timeout();
            prop_assert!(next.is_some_and(|(at, _)| at <= deadline), "active peers always have plans");
        }

        // Given silence and good behavior, the peer gets its session after all.
        bench.pass(seconds(200));
        let connection = bench.establish(router(2));
        prop_assert_eq!(bench.view(2).state, SessionState::Established);
        bench.announce(connection, &[prefix(2)], route(2, 100));
        prop_assert!(bench.speaker.best(prefix(2)).is_some());
        prop_assert_eq!(bench.speaker.advertised(bench.view(2).id).len(), 1);
    }
}

fn absurdity() -> impl Strategy<Value = Absurdity> {
    let id = || 0..12u64;
    prop_oneof![
        3 => (2..5u8).prop_map(Absurdity::Accept),
        2 => id().prop_map(Absurdity::Connected),
        1 => id().prop_map(Absurdity::Closed),
        1 => (id(), proptest::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(id, bytes)| Absurdity::Bytes(id, bytes)),
        10 => (id(), 0..7u8).prop_map(|(id, kind)| Absurdity::Message(id, kind)),
        2 => (id(), 0..7u8, any::<usize>(), any::<u8>()).prop_map(
            |(connection, message, at, byte)| Absurdity::Spoiled { connection, message, at, byte }
        ),
        2 => (0..4000u64).prop_map(Absurdity::Wait),
    ]
}

fn message(kind: u8) -> Vec<u8> {
    let message = match kind {
        0 => Message::Open(open(router(2))),
        1 => Message::Open(open(router(3))),
        2 => announcement(&[prefix(1), prefix(2)], route(2, 100)),
        3 => Message::Update(Update {
            withdrawn: vec![prefix(1).into()],
            ..Update::default()
        }),
        4 => Message::RouteRefresh(RouteRefresh {
            afi: 1,
            subtype: 0,
            safi: 1,
        }),
        5 => Message::Notification(Notification::new(6, 4)),
        _ => Message::Keepalive,
    };
    message.encode(CONTEXT)
}
