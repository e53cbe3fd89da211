//! What wears a speaker out: floods of changes, silence amid them, clocks that jump.

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{PeerConfig, PeerRole};
use sam_bgp::wire::{Message, code};

use crate::bench::Bench;
use crate::fabric::Fabric;
use crate::vocabulary::{millis, numbered, peer, peer_config, prefix, route, router, seconds};

/// Ten thousand changes a second for five seconds, by one leaf of a reflector: the other leaf ends with what is so, its
/// messages are as many as the moments, and no session suffers.
#[test]
fn ten_thousand_flaps_a_second_are_packed_and_end_with_what_is_so() {
    const TICKS: u32 = 500;
    const FLAPS_PER_TICK: u32 = 100;
    const PREFIXES: u32 = 700;
    let mut fabric = Fabric::new(|| millis(1));
    fabric.add(1, 1, vec![client(3), client(4)]);
    for leaf in [3, 4] {
        fabric.add(leaf, leaf.into(), vec![peer_config(1)]);
    }
    fabric.run_for(seconds(5));
    let before = fabric.view(1, 4).messages_sent[1];
    for tick in 0..TICKS {
        fabric.with(3, |speaker, now| {
            for flap in tick * FLAPS_PER_TICK..(tick + 1) * FLAPS_PER_TICK {
                let prefix = numbered(flap % PREFIXES);
                // Each third time it goes, else it changes.
                if (flap / PREFIXES).is_multiple_of(3) {
                    speaker.withdraw(prefix, now);
                } else {
                    speaker.originate(prefix, route(3, 100 + flap / PREFIXES), now);
                }
            }
        });
        fabric.run_for(millis(10));
    }
    fabric.run_for(seconds(1));

    let at = |host: u8| -> Vec<_> {
        let speaker = &fabric.nodes[&host].speaker;
        let prefixes = speaker.prefixes().into_iter();
        let best = prefixes.map(|prefix| (prefix, speaker.best(prefix)));
        best.map(|(prefix, path)| (prefix, path.map(|path| path.attributes.local_pref)))
            .collect()
    };
    assert!(at(3).len() > 100, "the flood left something");
    assert_eq!(at(1), at(3));
    assert_eq!(at(4), at(3));
    let updates = fabric.view(1, 4).messages_sent[1] - before;
    // A withdrawal and two sets of attributes, where a change of the set falls into the moment.
    assert!(updates <= u64::from(3 * TICKS), "{updates} UPDATEs");
    for (host, of) in [(1, 3), (1, 4), (3, 1), (4, 1)] {
        assert_eq!(
            fabric.view(host, of).established_count,
            1,
            "{host} with {of}"
        );
    }
}

/// The hold time runs while another peer floods us: the silent one goes on time, with its routes, and nobody else.
#[test]
fn a_silent_peer_is_given_up_on_time_while_another_floods() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3), client(4)]);
    let [flooding, listening, silent] = connections[..] else {
        panic!("three sessions");
    };
    bench.announce(silent, &[prefix(200)], route(4, 100));
    let since = bench.now;
    let mut given_up = None;
    let mut flaps = 0;
    while given_up.is_none() && bench.now < since + seconds(20) {
        for _ in 0..50 {
            flaps += 1;
            let changed = route(2, 100 + flaps);
            bench.announce(flooding, &[numbered(flaps % 300)], changed);
        }
        bench.send(listening, &Message::Keepalive);
        let outcome = bench.pass(millis(100));
        let refusals = outcome.notifications(silent);
        given_up = refusals.first().map(|(code, _)| (*code, bench.now - since));
        let gone = outcome.updates(listening);
        let gone = gone.iter().flat_map(|update| &update.withdrawn);
        let told = gone.filter(|route| route.prefix == prefix(200)).count();
        assert_eq!(told, usize::from(given_up.is_some()), "told at once");
    }
    let (with, after) = given_up.expect("it is given up");
    assert_eq!(with, code::HOLD_TIMER);
    assert!(
        (seconds(9)..seconds(9) + millis(200)).contains(&after),
        "{after:?}"
    );
    for host in [2, 3] {
        let view = bench.view(host);
        let state = (view.state, view.established_count);
        assert_eq!(state, (SessionState::Established, 1), "{host}");
    }
}

/// A machine that sleeps for an hour: sessions are judged by what was read before, end at worst, and come back. A moment
/// that is earlier than the last one changes nothing.
#[test]
fn a_clock_that_jumps_costs_sessions_at_worst() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    bench.announce(connections[1], &[prefix(2)], route(3, 100));
    let before = bench.now;

    bench.now += seconds(3600);
    bench.send(connections[0], &Message::Keepalive);
    let ended = bench.pass(millis(0));

    assert_eq!(ended.notifications(connections[0]), []);
    assert_eq!(ended.notifications(connections[1]), [(code::HOLD_TIMER, 0)]);
    assert_eq!(bench.view(2).state, SessionState::Established);
    assert_eq!(bench.speaker.prefixes(), [prefix(1)]);

    bench.speaker.handle_timeout(before);
    assert!(bench.drain().is_empty());
    assert_eq!(bench.view(2).state, SessionState::Established);

    bench.pass_alive(connections[0], seconds(5));
    let connection = bench.establish(router(3));
    bench.announce(connection, &[prefix(2)], route(3, 100));
    assert_eq!(bench.view(3).established_count, 2);
    assert_eq!(bench.speaker.advertised(peer(2)).len(), 1);
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        ..peer_config(host)
    }
}
