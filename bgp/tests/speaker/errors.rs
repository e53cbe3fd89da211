//! What was wrong with messages of a peer is remembered, each with the bytes that it sent.

use sam_bgp::speaker::ErrorView;
use sam_bgp::wire::{Capability, Message, Open};

use crate::bench::{Bench, announcement, open};
use crate::vocabulary::{peer, peer_config, prefix, route, router};

#[test]
fn a_survived_attribute_is_remembered_with_its_message() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let empty_communities = [0xc0, 8, 0];
    let attributes = [
        &[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 10, 0, 0, 2][..],
        &empty_communities,
    ]
    .concat();
    let message = update(&attributes, &[32, 10, 99, 0, 1]);

    bench.receive(connections[0], &message.repeat(2));
    bench.announce(connections[0], &[prefix(2)], route(2, 100));

    let expected = ErrorView {
        at: bench.now,
        attribute: Some(8),
        reason: "empty list".into(),
        count: 2,
        length: message.len(),
        sample: message,
    };
    assert_eq!(bench.speaker.errors(peer(2)), [expected]);
}

#[test]
fn what_ends_a_session_is_remembered_beyond_it() {
    let broken_header = [0xfe; 19];
    let broken_update = update(&[0x40, 1, 1, 0], &[33]);
    let keepalives: Vec<u8> = [[0xff; 16].to_vec(), vec![0, 20, 4, 0]].concat();
    for (bytes, reason) in [
        (&broken_header[..], "marker is not all ones"),
        (&broken_update, "invalid prefix"),
        (&keepalives, "bad message length"),
    ] {
        let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
        let good = announcement(&[prefix(1)], route(2, 100)).encode(crate::bench::CONTEXT);
        bench.receive(connections[0], &[&good, bytes].concat());
        let errors = bench.speaker.errors(peer(2));
        assert_eq!(errors[0].sample, bytes, "{reason}");
        assert!(errors[0].reason.contains(reason), "{}", errors[0].reason);
    }
}

#[test]
fn a_refused_open_and_an_unexpected_message_are_remembered_too() {
    let (mut bench, _) = Bench::new(vec![peer_config(2)]);
    let (connection, _) = bench.accept(router(2));
    let stranger = Message::Open(Open {
        capabilities: vec![Capability::FourOctetAs(7)],
        ..open(router(2))
    });
    bench.send(connection, &stranger);
    let errors = bench.speaker.errors(peer(2));
    assert_eq!(errors[0].reason, "AS number is not ours");
    assert_eq!(errors[0].sample, stranger.encode(crate::bench::CONTEXT));

    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let again = Message::Open(open(router(2)));
    bench.send(connections[0], &again);
    let errors = bench.speaker.errors(peer(2));
    assert_eq!(errors[0].reason, "unexpected OPEN");
    assert_eq!(errors[0].sample, again.encode(crate::bench::CONTEXT));
}

fn update(attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let short = |len: usize| u16::try_from(len).expect("short").to_be_bytes();
    let body = [&[0, 0][..], &short(attributes.len()), attributes, announced].concat();
    [&[0xff; 16][..], &short(19 + body.len()), &[2], &body].concat()
}
