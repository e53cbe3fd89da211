//! The limit of prefixes: never exceeded, and always used up, whatever comes, goes or is refused meanwhile.

use std::collections::BTreeSet;
use std::ops::Range;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sam_bgp::speaker::{Event, PeerConfig};
use sam_bgp::wire::Message;
use sam_bgp::{ConnectionId, Family, is_near_limit};

use crate::bench::{Bench, Outcome};
use crate::vocabulary::{Rules, numbered, peer, peer_config, prefix, route, seconds};

const LIMIT: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Announce(u8, u32),
    Withdraw(u8),
    Refuse(Vec<u8>),
}

/// More than this is not kept of a peer with this limit, refused routes included: twice the limit and 1024.
const KEPT: u32 = 1_030;

#[test]
fn routes_that_were_forgotten_are_asked_for_when_there_is_room() {
    let (mut bench, connection) = overflowed();

    let outcome = withdraw(&mut bench, connection, 0..KEPT);

    assert_eq!(bench.speaker.prefixes().len(), 0);
    assert_eq!(requests(&outcome, connection), 1);
    let outcome = announce(&mut bench, connection, KEPT..KEPT + 2);
    assert_eq!(bench.speaker.prefixes().len(), 2);
    assert_eq!(requests(&outcome, connection), 0, "nothing is missing");
}

#[test]
fn a_peer_is_asked_for_what_was_forgotten_twice_a_minute_at_most() {
    let (mut bench, connection) = overflowed();
    withdraw(&mut bench, connection, 0..KEPT);
    announce(&mut bench, connection, 0..KEPT + 2);

    let outcome = withdraw(&mut bench, connection, 0..KEPT);

    assert_eq!(requests(&outcome, connection), 0);
    let outcome = bench.pass_alive(connection, seconds(29));
    assert_eq!(requests(&outcome, connection), 0);
    let outcome = bench.pass_alive(connection, seconds(2));
    assert_eq!(requests(&outcome, connection), 1);
    let outcome = bench.pass_alive(connection, seconds(60));
    assert_eq!(requests(&outcome, connection), 0);
}

#[test]
fn three_quarters_of_the_limit_are_told_once_until_it_is_far_again() {
    let config = PeerConfig {
        max_prefixes: 8,
        ..peer_config(2)
    };
    let (mut bench, connections) = Bench::established(vec![config]);
    let connection = connections[0];
    assert_eq!(near(&announce(&mut bench, connection, 0..5)), 0);
    assert_eq!(near(&announce(&mut bench, connection, 5..7)), 1);
    assert_eq!(near(&announce(&mut bench, connection, 7..12)), 0);
    assert_eq!(near(&withdraw(&mut bench, connection, 0..10)), 0);
    assert_eq!(near(&announce(&mut bench, connection, 0..4)), 1);
    assert!(is_near_limit(6, 8) && !is_near_limit(5, 8));
    assert!(is_near_limit(1, 1) && !is_near_limit(0, 1));
}

/// How often it was told that the limit is near.
fn near(outcome: &Outcome) -> usize {
    let near = Event::LimitNear {
        peer: peer(2),
        family: Family::Ipv4Unicast,
        limit: 8,
    };
    outcome
        .events
        .iter()
        .filter(|event| **event == near)
        .count()
}

/// A session whose peer told two routes more than are kept.
fn overflowed() -> (Bench, ConnectionId) {
    let config = PeerConfig {
        max_prefixes: LIMIT,
        ..peer_config(2)
    };
    let (mut bench, connections) = Bench::established(vec![config]);
    let outcome = announce(&mut bench, connections[0], 0..KEPT + 2);
    assert_eq!(requests(&outcome, connections[0]), 0, "there is no room");
    (bench, connections[0])
}

fn announce(bench: &mut Bench, connection: ConnectionId, numbers: Range<u32>) -> Outcome {
    each_part(numbers, |part| {
        bench.announce(connection, part, route(2, 100))
    })
}

fn withdraw(bench: &mut Bench, connection: ConnectionId, numbers: Range<u32>) -> Outcome {
    each_part(numbers, |part| bench.withdraw(connection, part))
}

/// Speaks of as many prefixes at a time as a message holds.
fn each_part(numbers: Range<u32>, mut act: impl FnMut(&[Ipv4Net]) -> Outcome) -> Outcome {
    let prefixes: Vec<Ipv4Net> = numbers.map(numbered).collect();
    let mut total = Outcome::default();
    for part in prefixes.chunks(500) {
        total.extend(act(part));
    }
    total
}

/// Counts the ROUTE-REFRESH messages that were sent.
fn requests(outcome: &Outcome, connection: ConnectionId) -> usize {
    let sent = outcome.messages.iter();
    let asking = |(id, message): &&(ConnectionId, Message)| {
        *id == connection && matches!(message, Message::RouteRefresh(_))
    };
    sent.filter(asking).count()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn as_many_acceptable_routes_are_accepted_as_the_limit_allows(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let config = PeerConfig { max_prefixes: LIMIT, ..peer_config(2) };
        let (mut bench, connections) = Bench::established(vec![config]);
        let mut heard: BTreeSet<u8> = BTreeSet::new();
        let mut refused: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Announce(number, local_pref) => {
                    heard.insert(number);
                    bench.announce(connections[0], &[prefix(number)], route(2, local_pref));
                }
                Step::Withdraw(number) => {
                    heard.remove(&number);
                    bench.withdraw(connections[0], &[prefix(number)]);
                }
                Step::Refuse(numbers) => {
                    let refuse = numbers.iter().copied().map(prefix).collect();
                    refused = numbers;
                    bench.speaker.set_policy(Rules { refuse, ..Rules::default() }, bench.now);
                    bench.drain();
                }
            }
            let acceptable = heard.iter().filter(|number| !refused.contains(number)).count();
            let view = bench.view(2);
            prop_assert_eq!(view.ipv4.accepted, acceptable.min(LIMIT));
            prop_assert_eq!(view.ipv4.received, heard.len());
            prop_assert_eq!(bench.speaker.accepted(peer(2)).len(), view.ipv4.accepted);
            prop_assert_eq!(bench.speaker.prefixes().len(), view.ipv4.accepted);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..6_u8;
    prop_oneof![
        6 => (number(), 100..103_u32).prop_map(|(number, local_pref)| Step::Announce(number, local_pref)),
        3 => number().prop_map(Step::Withdraw),
        1 => proptest::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 0..4).prop_map(Step::Refuse),
    ]
}
