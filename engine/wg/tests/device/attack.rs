//! What is not to be believed: replays, forgeries, garbage.

use crate::load::stranger;
use crate::world::{A, B, Flight, PEER, World, millis, packet, packets, secs};
use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use proptest::prelude::*;
use sam_wg::{OpenError, Opened};

// ---- data

#[test]
fn a_replayed_packet_is_refused() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let flight = world.flights[0].clone();
    world.run(millis(20));
    assert_eq!(
        world.deliver(B, flight.source, &flight.bytes),
        Err(OpenError::Replay)
    );
    assert_eq!(world.nodes[B].received, packets(1));
}

#[test]
fn packets_out_of_order_are_accepted_within_the_window() {
    let mut world = World::established(1);
    let flights = seal_many(&mut world, 10_000);
    // The window is 8192 packets wide.
    for flight in flights.iter().rev().take(8192) {
        world.deliver(B, flight.source, &flight.bytes).unwrap();
    }
    assert_eq!(world.nodes[B].received.len(), 8192);
    for flight in &flights {
        assert_eq!(
            world.deliver(B, flight.source, &flight.bytes),
            Err(OpenError::Replay)
        );
    }
}

#[test]
fn a_tampered_packet_does_not_decrypt_and_does_no_harm() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let flight = world.flights.remove(0);
    for position in 16..flight.bytes.len() {
        let mut bytes = flight.bytes.clone();
        bytes[position] ^= 1;
        assert_eq!(
            world.deliver(B, flight.source, &bytes),
            Err(OpenError::DecryptFailed)
        );
    }
    assert!(world.deliver(B, flight.source, &flight.bytes).is_ok());
}

#[test]
fn a_counter_at_the_end_of_its_range_is_refused() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let mut flight = world.flights.remove(0);
    for counter in [u64::MAX, u64::MAX - 1024, u64::MAX - (1 << 13)] {
        flight.bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        assert_eq!(
            world.deliver(B, flight.source, &flight.bytes),
            Err(OpenError::Replay)
        );
    }
    flight.bytes[8..16].copy_from_slice(&(u64::MAX - (1 << 13) - 1).to_le_bytes());
    assert_eq!(
        world.deliver(B, flight.source, &flight.bytes),
        Err(OpenError::DecryptFailed)
    );
}

#[test]
fn an_unknown_index_is_refused() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let flight = world.flights.remove(0);
    for position in 4..8 {
        let mut bytes = flight.bytes.clone();
        bytes[position] ^= 0x40;
        assert_eq!(
            world.deliver(B, flight.source, &bytes),
            Err(OpenError::UnknownIndex)
        );
    }
}

#[test]
fn an_authenticated_packet_that_is_no_ip_packet_is_refused() {
    let mut world = World::established(1);
    for inner in [
        &[0x00_u8; 40][..],
        &[0x45; 19],
        &[0x60; 39],
        &[0x45, 0, 0, 0xff, 0, 0, 0, 0],
    ] {
        let mut out = [0; 256];
        let len = world.nodes[A]
            .path
            .seal(PEER, inner, &mut out, world.now)
            .unwrap();
        let source = world.nodes[A].address;
        assert_eq!(world.deliver(B, source, &out[..len]), Err(OpenError::NotIp));
    }
    assert!(world.nodes[B].path.has_session(PEER));
}

#[test]
fn padding_after_the_inner_packet_is_cut_off() {
    let mut world = World::established(1);
    let mut padded = packet(7);
    padded.resize(32, 0);
    let mut out = [0; 256];
    let len = world.nodes[A]
        .path
        .seal(PEER, &padded, &mut out, world.now)
        .unwrap();
    let source = world.nodes[A].address;
    let opened = world.deliver(B, source, &out[..len]);
    assert_eq!(
        opened,
        Ok(Opened::Packet {
            peer: PEER,
            len: 24
        })
    );
}

#[test]
fn a_short_output_buffer_is_refused() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let flight = world.flights.remove(0);
    let (short, now) = (&mut [0; 55], world.now);
    assert_eq!(flight.bytes.len(), 56);
    let opened = world.nodes[B]
        .path
        .open(flight.source, &flight.bytes, short, now);
    assert_eq!(opened, Err(OpenError::OutputTooSmall));
}

// ---- handshake

#[test]
fn an_unknown_key_is_refused() {
    let mut world = World::connected(1);
    let initiation = stranger(&world, 77).initiation();
    let source = "203.0.113.5:1000".parse().unwrap();
    assert_eq!(
        world.deliver(B, source, &initiation),
        Err(OpenError::UnknownPeer)
    );
    assert_eq!(world.flights.len(), 0, "no answer");
}

#[test]
fn a_replayed_initiation_opens_no_session_and_moves_no_endpoint() {
    let mut world = World::connected(1);
    let _no_session = world.send(A, 0);
    let initiation = world.flights[0].clone();
    world.run(secs(1));
    let elsewhere = "203.0.113.5:1000".parse().unwrap();
    assert_eq!(
        world.deliver(B, elsewhere, &initiation.bytes),
        Err(OpenError::HandshakeRejected)
    );
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
    assert_eq!(world.flights.len(), 0, "no answer");
}

#[test]
fn every_changed_bit_of_a_handshake_message_is_noticed() {
    let mut world = World::connected(1);
    let _no_session = world.send(A, 0);
    let initiation = world.flights.remove(0);
    for position in 4..148 {
        let mut bytes = initiation.bytes.clone();
        bytes[position] ^= 0x10;
        let opened = world.deliver(B, initiation.source, &bytes);
        if position < 132 {
            assert_eq!(opened, Err(OpenError::BadMac), "byte {position}");
            continue;
        }
        // mac2 counts only under load; this was the genuine initiation, now every further one is a replay.
        assert!(matches!(
            opened,
            Ok(_) | Err(OpenError::HandshakeRejected | OpenError::UnderLoad)
        ));
    }
    let response = world
        .flights
        .iter()
        .find(|flight| flight.kind() == 2)
        .unwrap()
        .clone();
    for position in 4..76 {
        let mut bytes = response.bytes.clone();
        bytes[position] ^= 0x10;
        let index = (8..12).contains(&position);
        let expected = if index {
            OpenError::UnknownIndex
        } else {
            OpenError::BadMac
        };
        assert_eq!(
            world.deliver(A, response.source, &bytes),
            Err(expected),
            "byte {position}"
        );
    }
    assert_eq!(
        world.deliver(A, response.source, &response.bytes),
        Ok(Opened::Handshake)
    );
    assert_eq!(
        world.deliver(A, response.source, &response.bytes),
        Err(OpenError::UnknownIndex),
        "a response is good once"
    );
}

#[test]
fn an_answer_to_an_earlier_initiation_is_not_accepted() {
    let mut world = World::connected(1);
    world.filter = Box::new(|flight| {
        flight.arrives += secs(7);
        true
    });
    let _no_session = world.send(A, 0);
    world.run(secs(12));
    // The first answer needs 14 s; by then a has initiated two more times.
    world.run(secs(3));
    assert_eq!(world.nodes[A].errors, [OpenError::UnknownIndex]);
    assert!(!world.nodes[A].path.has_session(PEER));
}

#[test]
fn garbage_of_every_length_is_refused() {
    let mut world = World::established(1);
    let source = "203.0.113.5:1000".parse().unwrap();
    for len in 0..=200 {
        for first in 0..=5 {
            for fill in [0x00, 0x5a, 0xff] {
                let mut bytes = vec![fill; len];
                if len >= 4 {
                    bytes[..4].copy_from_slice(&[first, 0, 0, 0]);
                }
                world.deliver(B, source, &bytes).unwrap_err();
            }
        }
    }
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
    world.chat(&[A, B], 1, secs(1));
    assert_eq!(world.nodes[A].received, packets(1));
    assert_eq!(world.nodes[B].received, packets(1));
}

#[test]
fn what_is_no_message_is_named_so() {
    let mut world = World::established(1);
    let source = world.nodes[A].address;
    let table: &[&[u8]] = &[
        &[],
        &[4],
        &[4, 0, 0],
        &[4, 0, 0, 0],
        &[5; 148],
        &[1; 148],
        &[4; 31],
    ];
    for bytes in table {
        assert_eq!(world.deliver(B, source, bytes), Err(OpenError::UnknownType));
    }
    // Reserved bytes are zero, lengths are exact.
    for (kind, len) in [
        (1, 147),
        (1, 149),
        (2, 91),
        (2, 93),
        (3, 63),
        (3, 65),
        (4, 31),
    ] {
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        assert_eq!(
            world.deliver(B, source, &bytes),
            Err(OpenError::UnknownType),
            "{kind} {len}"
        );
    }
}

// ---- everything

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut world = World::connected(1);
        let source = world.nodes[A].address;
        prop_assert!(world.deliver(B, source, &bytes).is_err());
    }

    #[test]
    fn random_messages_of_the_right_form_are_refused_for_a_reason(
        kind in 0..4_usize,
        mut bytes in proptest::collection::vec(any::<u8>(), 200),
        signed in any::<bool>(),
        addressed in any::<bool>(),
    ) {
        let mut world = World::connected(1);
        let _no_session = world.send(A, 0);
        let initiation = world.flights.remove(0);
        bytes.truncate([148, 92, 64, 200][kind]);
        bytes[..4].copy_from_slice(&[[1, 2, 3, 4][kind], 0, 0, 0]);
        if addressed {
            // To the handshake that a has started.
            let place = if kind == 1 { 8..12 } else { 4..8 };
            bytes[place].copy_from_slice(&initiation.bytes[4..8]);
        }
        if signed && kind < 2 {
            sign(&mut bytes, world.nodes[A].public());
        }
        let expected = match (kind, signed, addressed) {
            (0, false, _) | (1, false, true) => OpenError::BadMac,
            (0, true, _) | (1, true, true) => OpenError::HandshakeRejected,
            (2, _, true) => OpenError::DecryptFailed,
            _ => OpenError::UnknownIndex,
        };
        let source = world.nodes[B].address;
        prop_assert_eq!(world.deliver(A, source, &bytes), Err(expected));
        // The handshake under way is none the worse.
        world.deliver(B, initiation.source, &initiation.bytes).unwrap();
        world.run(secs(1));
        prop_assert!(world.nodes[A].path.has_session(PEER));
    }

    #[test]
    fn a_session_survives_any_mutation_of_its_messages(mutations in mutations()) {
        let mut world = World::connected(5);
        let _no_session = world.send(A, 0);
        world.run(secs(1));
        world.chat(&[A, B], 1, millis(10));
        let recorded: Vec<Flight> = world.trace.iter().map(|(_, flight)| flight.clone()).collect();
        world.nodes.iter_mut().for_each(|node| node.received.clear());
        for mutation in mutations {
            let flight = &recorded[mutation.message % recorded.len()];
            let bytes = mutation.apply(&flight.bytes);
            let source = if mutation.forged { "198.51.100.7:4444".parse().unwrap() } else { flight.source };
            for node in [A, B] {
                prop_assert!(world.deliver(node, source, &bytes).is_err());
            }
            world.run(millis(100));
        }
        world.chat(&[A, B], 3, millis(20));
        prop_assert_eq!(&world.nodes[A].received, &packets(3));
        prop_assert_eq!(&world.nodes[B].received, &packets(3));
        prop_assert_eq!(world.nodes[A].path.endpoint(PEER), Some(world.nodes[B].address));
        prop_assert_eq!(world.nodes[B].path.endpoint(PEER), Some(world.nodes[A].address));
    }
}

/// Writes the mac1 of a message to the owner of `public`, which everybody can compute who knows this key.
pub(crate) fn sign(message: &mut [u8], public: sam_wg::PublicKey) {
    let key = Blake2s256::new()
        .chain_update(b"mac1----")
        .chain_update(public.0)
        .finalize();
    let covered = message.len() - 32;
    let mac = Blake2sMac::<U16>::new_from_slice(&key).unwrap();
    let mac = mac.chain_update(&message[..covered]).finalize();
    message[covered..covered + 16].copy_from_slice(&mac.into_bytes());
}

/// How a recorded message is changed; an empty change replays it.
#[derive(Debug, Clone)]
struct Mutation {
    message: usize,
    flips: Vec<(usize, u8)>,
    /// Length afterwards, if it changes.
    len: Option<usize>,
    forged: bool,
}

impl Mutation {
    fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (position, bits) in &self.flips {
            let position = position % bytes.len();
            bytes[position] ^= bits;
        }
        if let Some(len) = self.len {
            bytes.resize(len, 0);
        }
        bytes
    }
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let flips = proptest::collection::vec((0..200_usize, any::<u8>()), 0..4);
    let len = proptest::option::weighted(0.2, 0..200_usize);
    let mutation =
        (0..100_usize, flips, len, any::<bool>()).prop_map(|(message, flips, len, forged)| {
            Mutation {
                message,
                flips,
                len,
                forged,
            }
        });
    proptest::collection::vec(mutation, 1..20)
}

/// Seals `count` packets at `a` without delivering them.
fn seal_many(world: &mut World, count: u32) -> Vec<Flight> {
    for number in 0..count {
        world.send(A, number).unwrap();
    }
    world.flights.drain(..).collect()
}
