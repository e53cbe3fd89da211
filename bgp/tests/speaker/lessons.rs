//! What other implementations got wrong and users complained about, where no other test holds it.
//!
//! `tests/conformance/clauses.txt` lists all such lessons with their tests.

use std::net::Ipv4Addr;

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{PeerConfig, PeerId, PeerRole};
use sam_bgp::wire::Update;
use sam_bgp::{ConnectionId, Input};

use crate::bench::{Bench, CONTEXT, announcement};
use crate::vocabulary::{
    Rules, millis, numbered, peer, peer_config, prefix, route, router, seconds,
};

#[test]
fn import_rules_of_one_peer_hold_for_every_role_and_after_a_restart() {
    for role in [PeerRole::Client, PeerRole::NonClient] {
        let roles = [2, 3].map(|host| PeerConfig {
            role,
            ..peer_config(host)
        });
        let (mut bench, mut connections) = Bench::established(roles.into());
        let rules = Rules {
            distrust: vec![peer(2)],
            ..Rules::default()
        };
        bench.speaker.set_policy(rules, bench.now);
        bench.drain();
        for restarted in [false, true] {
            if restarted {
                for (connection, host) in connections.iter_mut().zip([2, 3]) {
                    bench.input(Input::Closed(*connection));
                    *connection = bench.establish(router(host));
                }
            }

            bench.announce(connections[0], &[prefix(1)], route(2, 200));
            bench.announce(connections[1], &[prefix(1)], route(3, 100));

            let best = bench.speaker.best(prefix(1)).expect("a path");
            assert_eq!(best.source.peer(), Some(peer(3)), "{role:?} {restarted}");
            assert_eq!(bench.speaker.rejected(peer(2)).len(), 1);
        }
    }
}

/// No hidden limit: the 101st peer is served like the first, and so is the 1001st.
#[test]
fn a_thousand_and_one_peers_are_served() {
    let address = |number: u32| Ipv4Addr::from(0x0a01_0000 + number);
    let configs = (1..=1001).map(|number| PeerConfig {
        id: PeerId(number),
        address: address(number),
        role: PeerRole::Client,
        ..peer_config(0)
    });
    let (mut bench, connections) = Bench::established(configs.collect());

    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    let outcome = bench.drain();

    let served = |connection: &ConnectionId| outcome.updates(*connection).len() == 1;
    assert_eq!(connections.iter().filter(|it| served(it)).count(), 1001);
    let views = bench.speaker.peers();
    assert!(
        views
            .iter()
            .all(|view| view.state == SessionState::Established)
    );
}

#[test]
fn updates_of_one_prefix_leave_packed_and_a_single_change_leaves_at_once() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    let bytes: Vec<u8> = (0..100)
        .flat_map(|number| announcement(&[numbered(number)], route(2, 100)).encode(CONTEXT))
        .collect();

    let many = bench.receive(connections[0], &bytes);
    let one = bench.announce(connections[0], &[prefix(1)], route(2, 100));

    let sizes = |updates: Vec<&Update>| {
        updates
            .iter()
            .map(|update| update.announced.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(many.updates(connections[1])), [100]);
    assert_eq!(sizes(one.updates(connections[1])), [1]);
}

/// The best path stays, the second one goes: whoever shows or uses all paths must see that.
#[test]
fn a_change_behind_the_best_path_shows_at_once() {
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 200));
    bench.announce(connections[1], &[prefix(1)], route(3, 100));
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 2);

    let outcome = bench.withdraw(connections[1], &[prefix(1)]);

    assert_eq!(outcome.changes, []);
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 1);
}

/// The receiver is busy for five seconds: what the peer wrote meanwhile keeps the session, because the hold time is
/// judged by what was read before the deadline is looked at.
#[test]
fn a_session_survives_a_speaker_that_was_busy() {
    let (mut bench, connections) = Bench::established(vec![client(2)]);
    bench.pass(seconds(8));
    bench.now += seconds(5);

    let written = sam_bgp::wire::Message::Keepalive.encode(CONTEXT).repeat(4);
    bench.receive(connections[0], &written);
    bench.speaker.handle_timeout(bench.now);
    bench.drain();
    bench.pass(millis(1));

    assert_eq!(bench.view(2).state, SessionState::Established);
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        ..peer_config(host)
    }
}
