//! Peers that read slowly: held back, never queued for, told the latest state in the end.

use sam_bgp::speaker::{PeerConfig, PeerRole};
use sam_bgp::wire::Message;
use sam_bgp::{ConnectionId, Input};

use crate::bench::{Bench, CONTEXT, Outcome, open};
use crate::vocabulary::{numbered, peer_config, prefix, route, router};

#[test]
fn a_congested_peer_is_told_only_the_latest_state_and_others_never_wait() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3), client(4)]);
    let (slow, quick) = (connections[1], connections[2]);
    assert!(bench.input(Input::Congested(slow)).is_empty());

    bench.announce(connections[0], &[prefix(2)], route(2, 300));
    for local_pref in 100..200 {
        let outcome = bench.announce(connections[0], &[prefix(1)], route(2, local_pref));
        assert_eq!(outcome.updates(slow).len(), 0);
        assert_eq!(outcome.updates(quick).len(), 1);
    }
    bench.withdraw(connections[0], &[prefix(2)]);

    let outcome = bench.input(Input::Relieved(slow));
    let updates = outcome.updates(slow);
    let [update] = updates.as_slice() else {
        panic!("one route and nothing else: {updates:?}");
    };
    let attributes = update.attributes.as_ref().expect("attributes");
    assert_eq!(
        (update.announced.len(), attributes.local_pref),
        (1, Some(199))
    );
    assert!(outcome.updates(quick).is_empty());
}

#[test]
fn congestion_ends_with_the_session() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.input(Input::Congested(connections[1]));
    bench.input(Input::Closed(connections[1]));
    bench.announce(connections[0], &[prefix(1)], route(2, 100));

    let connection = bench.establish(router(3));
    assert_eq!(bench.view(3).ipv4.advertised, 1);
    // Late news of the former connection is none.
    bench.input(Input::Congested(connections[1]));
    let outcome = bench.announce(connections[0], &[prefix(2)], route(2, 100));
    assert_eq!(announced(&outcome, connection), 1);
}

#[test]
fn a_large_table_goes_out_in_parts_that_congestion_can_stop() {
    const ROUTES: u32 = 20_000;
    let (mut bench, connections) = Bench::established(vec![
        PeerConfig {
            max_prefixes: ROUTES as usize,
            ..client(2)
        },
        client(3),
    ]);
    bench.input(Input::Closed(connections[1]));
    for first in (0..ROUTES).step_by(500) {
        let prefixes: Vec<_> = (first..first + 500).map(numbered).collect();
        bench.announce(connections[0], &prefixes, route(2, 100));
    }
    let (connection, _) = bench.accept(router(3));
    bench.send(connection, &Message::Open(open(router(3))));
    let keepalive = Message::Keepalive.encode(CONTEXT);
    let up = Input::Received(connection, &keepalive);
    bench.speaker.handle_input(up, bench.now);

    let mut total = Outcome::default();
    let mut parts = 0;
    while let Some(output) = bench.speaker.poll_output() {
        total.note(output, |_| CONTEXT);
        parts += 1;
        let held_back = bench.input(Input::Congested(connection));
        assert!(held_back.updates(connection).is_empty());
        let relieved = Input::Relieved(connection);
        bench.speaker.handle_input(relieved, bench.now);
    }

    assert_eq!(announced(&total, connection), ROUTES as usize);
    let updates = total.updates(connection);
    let markers = updates.iter().filter(|update| update.is_end_of_rib());
    assert_eq!(markers.count(), 1);
    assert!(updates.last().is_some_and(|last| last.is_end_of_rib()));
    assert!(parts > 2, "{parts} parts");
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        ..peer_config(host)
    }
}

fn announced(outcome: &Outcome, connection: ConnectionId) -> usize {
    let updates = outcome.updates(connection).into_iter();
    updates.map(|update| update.announced.len()).sum()
}
