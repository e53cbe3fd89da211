//! Messages longer than 4096 bytes (RFC 8654): offered, negotiated, sent and refused.

use sam_bgp::speaker::PeerConfig;
use sam_bgp::wire::{Capability, MAX_MESSAGE_LEN, Message, Open, code, subcode};
use sam_bgp::{ConnectionId, Input, Output};

use crate::bench::{Bench, announcement, open};
use crate::vocabulary::{numbered, peer_config, route, router};

#[test]
fn long_updates_are_sent_only_when_both_sides_offer_them() {
    for (ours, theirs, longest) in [
        (true, true, 4096 + 904..=65_535),
        (true, false, 0..=4096),
        (false, true, 0..=4096),
        (false, false, 0..=4096),
    ] {
        let mut bench = Bench::new(vec![peer(ours)]).0;
        let (connection, _) = establish(&mut bench, theirs);
        for number in 0..1000 {
            let now = bench.now;
            bench
                .speaker
                .originate(numbered(number), route(1, 100), now);
        }

        let lengths = sent_lengths(&mut bench, connection);

        let most = lengths.iter().max().copied().unwrap_or(0);
        assert!(longest.contains(&most), "{ours} {theirs}: {lengths:?}");
        assert!(most > 3000, "{lengths:?}");
        let view = bench.view(2);
        assert_eq!(
            (view.extended_receive, view.extended_send),
            (ours, ours && theirs)
        );
    }
}

/// RFC 8654 section 4: who offers them reads them, whatever the other side offers.
#[test]
fn a_long_update_is_read_exactly_when_we_offered_it() {
    let prefixes: Vec<_> = (0..1000).map(numbered).collect();
    for (ours, accepted) in [(true, 1000), (false, 0)] {
        let mut bench = Bench::new(vec![peer(ours)]).0;
        let (connection, _) = establish(&mut bench, false);
        let long = announcement(&prefixes, route(2, 100));
        let bytes = long.encode(sam_bgp::wire::DecodeContext {
            extended: true,
            ipv6: None,
            ..crate::bench::CONTEXT
        });
        assert!(bytes.len() > MAX_MESSAGE_LEN);

        let outcome = bench.receive(connection, &bytes);

        assert_eq!(bench.view(2).ipv4.accepted, accepted);
        let refused = [(code::HEADER, subcode::BAD_MESSAGE_LENGTH)];
        let expected = if ours { &[][..] } else { &refused };
        assert_eq!(outcome.notifications(connection), expected);
    }
}

fn peer(extended_messages: bool) -> PeerConfig {
    PeerConfig {
        active: false,
        extended_messages,
        ipv6: false,
        ..peer_config(2)
    }
}

fn establish(bench: &mut Bench, offers: bool) -> (ConnectionId, crate::bench::Outcome) {
    let mut open: Open = open(router(2));
    if offers {
        open.capabilities.push(Capability::ExtendedMessage);
    }
    bench.establish_with(open)
}

/// Lengths of all messages that wait to be sent, by their headers.
fn sent_lengths(bench: &mut Bench, to: ConnectionId) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(output) = bench.speaker.poll_output() {
        if let Output::Send(connection, bytes) = output {
            assert_eq!(connection, to);
            let mut rest = bytes.as_slice();
            while let [_, _, .., _] = rest {
                let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
                lengths.push(length);
                rest = &rest[length..];
            }
        }
    }
    lengths
}

#[test]
fn our_open_offers_them_as_configured() {
    for ours in [true, false] {
        let (mut bench, outcome) = Bench::new(vec![PeerConfig {
            active: true,
            ..peer(ours)
        }]);
        let outcome = bench.input(Input::Connected(outcome.connects[0]));
        let Message::Open(sent) = &outcome.messages[0].1 else {
            panic!("{outcome:?}")
        };
        let offered = sent.capabilities.contains(&Capability::ExtendedMessage);
        assert_eq!(offered, ours);
    }
}
