//! Several data paths of one device: what one worker learns reaches the others, and none of them asks too often.

use std::net::SocketAddr;
use std::time::Duration;

use crate::attack::sign;
use crate::world::{A, B, PEER, World, millis, packet, packets, secs};
use sam_wg::{DataPath, Event, OpenError, Opened, SealError, Signal};

#[test]
fn refresh_tells_of_each_change_once() {
    let mut world = World::connected(1);
    let mut other = world.nodes[A].device.data_path();
    assert!(!other.refresh());
    let _no_session = world.send(A, 0);
    assert!(other.refresh(), "a handshake began");
    assert!(!other.refresh());
    world.run(secs(1));
    assert!(!other.has_session(PEER), "not looked yet");
    assert!(other.refresh());
    assert!(other.has_session(PEER));
    assert!(!other.refresh());
    world.set_endpoint(A, "198.51.100.7:4444".parse().unwrap());
    assert!(other.refresh());
    assert_eq!(other.endpoint(PEER), world.nodes[A].path.endpoint(PEER));
    world.configure(A, &[]);
    assert!(other.refresh());
    assert_eq!(other.endpoint(PEER), None);
    let refused = other.seal(PEER, &[], &mut [0; 32], world.now);
    assert_eq!(refused, Err(SealError::NoPeer));
}

#[test]
fn all_workers_seal_with_one_session_and_no_counter_twice() {
    let mut world = World::established(1);
    let mut paths = [0; 3].map(|_| world.nodes[A].device.data_path());
    let source = world.nodes[A].address;
    for number in 0..30 {
        let mut out = [0; 256];
        let path = &mut paths[number as usize % 3];
        let len = path.seal(PEER, &packet(number), &mut out, world.now);
        world.deliver(B, source, &out[..len.unwrap()]).unwrap();
    }
    assert_eq!(world.nodes[B].received, packets(30));
}

#[test]
fn a_packet_opened_by_one_worker_is_a_replay_for_the_others() {
    let mut world = World::established(1);
    let mut other = world.nodes[B].device.data_path();
    world.send(A, 0).unwrap();
    let flight = world.flights.remove(0);
    world.deliver(B, flight.source, &flight.bytes).unwrap();
    let opened = other.open(flight.source, &flight.bytes, &mut [0; 256], world.now);
    assert_eq!(opened, Err(OpenError::Replay));
}

#[test]
fn a_session_younger_than_the_table_in_hand_opens() {
    let mut world = World::connected(1);
    let mut other = world.nodes[B].device.data_path();
    let _no_session = world.send(A, 0);
    world.filter = Box::new(|flight| flight.kind() != 4);
    world.run(secs(1));
    let (_, keepalive) = world.trace.last().unwrap().clone();
    let opened = other.open(keepalive.source, &keepalive.bytes, &mut [0; 256], world.now);
    assert_eq!(opened, Ok(Opened::Keepalive));
    assert!(other.refresh(), "the change is told of all the same");
}

#[test]
fn a_session_opens_although_the_table_in_hand_knows_only_its_handshake() {
    let mut world = World::connected(1);
    let mut other = world.nodes[A].device.data_path();
    let _no_session = world.send(A, 0);
    other.refresh();
    world.run(secs(1));
    world.send(B, 0).unwrap();
    let data = world.flights.remove(0);
    let opened = other.open(data.source, &data.bytes, &mut [0; 256], world.now);
    let expected = Opened::Packet {
        peer: PEER,
        len: 24,
    };
    assert_eq!(opened, Ok(expected));
}

#[test]
fn what_another_worker_reports_takes_effect() {
    let mut world = World::established(1);
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let mut other = world.nodes[B].device.data_path();
    let mut out = [0; 256];
    let path = &mut world.nodes[A].path;
    let len = path.seal(PEER, &packet(0), &mut out, world.now).unwrap();
    other
        .open(elsewhere, &out[..len], &mut [0; 256], world.now)
        .unwrap();
    while let Some(signal) = other.poll_signal() {
        world.nodes[B].device.handle_signal(signal, world.now);
    }
    world.drain(B);
    assert_eq!(world.nodes[B].path.endpoint(PEER), Some(elsewhere));
    // The keepalive that answers is owed for what the other worker received.
    world.run(secs(11));
    assert_eq!(world.keepalives_ms(B), [11_000]);
}

#[test]
fn signals_are_few_however_many_packets_there_are() {
    let world = World::established(1);
    let (a, b) = (world.nodes[A].address, world.nodes[B].address);
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let [mut sealer, mut opener] = [A, B].map(|node| world.nodes[node].device.data_path());
    let (mut of_sealer, mut of_opener) = (Vec::new(), Vec::new());
    for number in 0..10_000 {
        let (mut out, mut inner) = ([0; 256], [0; 256]);
        let now = world.now + Duration::from_micros(u64::from(number));
        let len = sealer.seal(PEER, &packet(number), &mut out, now).unwrap();
        let from = if number % 2 == 0 { a } else { elsewhere };
        opener.open(from, &out[..len], &mut inner, now).unwrap();
        of_sealer.extend(sealer.poll_signal());
        of_opener.extend(opener.poll_signal());
    }
    assert_eq!(of_sealer, [Signal::DataFlows { peer: PEER }]);
    assert_eq!(of_opener.len(), 2, "{of_opener:?}");
    // Without a session as well.
    let mut alone = World::connected(1);
    assert_eq!(alone.nodes[A].path.endpoint(PEER), Some(b));
    let path = &mut alone.nodes[A].path;
    for number in 0..10_000 {
        let refused = path.seal(PEER, &packet(number), &mut [0; 256], alone.now);
        assert_eq!(refused, Err(SealError::NoSession));
    }
    let said: Vec<_> = std::iter::from_fn(|| path.poll_signal()).collect();
    assert_eq!(said, [Signal::SessionWanted { peer: PEER }]);
}

#[test]
fn a_signal_that_was_lost_is_given_again() {
    let mut world = World::connected(1);
    for _ in 0..3 {
        let path = &mut world.nodes[A].path;
        let refused = path.seal(PEER, &packet(0), &mut [0; 256], world.now);
        assert_eq!(refused, Err(SealError::NoSession));
        assert!(path.poll_signal().is_some(), "and thrown away");
        world.now += millis(250);
    }
    assert_eq!(world.send(A, 0), Err(SealError::NoSession));
    world.run(secs(1));
    assert!(world.nodes[A].path.has_session(PEER));
}

#[test]
fn data_is_not_for_the_device() {
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let data = world.flights.remove(0);
    let device = &mut world.nodes[B].device;
    let refused = device.handle_message(data.source, &data.bytes, world.now);
    assert_eq!(refused, Err(OpenError::UnknownType));
}

#[test]
fn a_session_that_the_peer_uses_is_confirmed_although_the_word_of_it_was_lost() {
    // A packet that waits, a deadline, and the peer's next initiation: whenever the device looks.
    for look in 0..3 {
        let mut world = World::connected(1);
        let mut other = world.nodes[B].device.data_path();
        let _no_session = world.send(A, 0);
        world.filter = Box::new(|flight| flight.kind() != 4);
        world.run(secs(1));
        let (_, keepalive) = world.trace.last().unwrap().clone();
        if look == 1 {
            assert_eq!(world.send(B, 0), Err(SealError::NoSession));
        }
        let opened = other.open(keepalive.source, &keepalive.bytes, &mut [0; 256], world.now);
        assert_eq!(opened, Ok(Opened::Keepalive));
        assert!(other.poll_signal().is_some(), "and thrown away");
        assert!(!world.nodes[B].path.has_session(PEER));
        match look {
            0 => assert_eq!(world.send(B, 0), Err(SealError::NoSession)),
            1 => world.run(secs(5)),
            _ => {
                world.run(secs(120));
                world.send(A, 0).unwrap();
                world.run(millis(15));
            }
        }
        assert!(world.nodes[B].path.has_session(PEER), "look {look}");
        assert_eq!(world.sent_ms(B, 1), [0; 0], "no initiation of its own");
        world.send(B, 0).unwrap();
    }
}

#[test]
fn an_old_session_that_receives_is_renewed_once_although_the_word_of_it_was_lost() {
    let mut world = World::established(1);
    let mut other = world.nodes[A].device.data_path();
    let source = world.nodes[B].address;
    let receive = |world: &mut World, other: &mut DataPath| -> Vec<Signal> {
        let (mut out, now) = ([0; 256], world.now);
        let len = world.nodes[B].path.seal(PEER, &packet(0), &mut out, now);
        other
            .open(source, &out[..len.unwrap()], &mut [0; 256], now)
            .unwrap();
        world.now += millis(250);
        std::iter::from_fn(|| other.poll_signal()).collect()
    };
    let old = Signal::SessionOld { peer: PEER };
    world.run(secs(166));
    for _ in 0..3 {
        let said = receive(&mut world, &mut other);
        assert!(said.contains(&old), "{said:?}");
    }
    world.nodes[A].device.handle_signal(old, world.now);
    world.filter = Box::new(|_| false); // no answer
    world.drain(A);
    for _ in 0..3 {
        let said = receive(&mut world, &mut other);
        assert!(!said.contains(&old), "{said:?}");
    }
    assert_eq!(world.sent_ms(A, 1).len(), 1);
}

#[test]
fn signals_that_a_caller_has_no_room_for_stay_and_are_not_said_twice() {
    let mut world = World::established(1);
    let mut opener = world.nodes[B].device.data_path();
    let places = [4444, 4445, 4446].map(|port| SocketAddr::from(([198, 51, 100, 7], port)));
    for from in places {
        let (mut out, now) = ([0; 256], world.now);
        let len = world.nodes[A].path.seal(PEER, &packet(0), &mut out, now);
        opener
            .open(from, &out[..len.unwrap()], &mut [0; 256], now)
            .unwrap();
        world.now += secs(11);
    }
    // The subjects of the first packet, in its order, with what the last one said.
    let moved = opener.poll_signal();
    assert!(
        matches!(moved, Some(Signal::PeerMoved { from, .. }) if from == places[2]),
        "{moved:?}"
    );
    assert_eq!(opener.poll_signal(), Some(Signal::DataFlows { peer: PEER }));
    assert_eq!(opener.poll_signal(), None);
}

#[test]
fn handshakes_are_for_the_device_if_they_come_from_who_knows_us() {
    let mut world = World::connected(1);
    let source = world.nodes[B].address;
    let mut stale = world.nodes[A].device.data_path();
    let _no_session = world.send(A, 0);
    let started: [u8; 4] = world.flights[0].bytes[4..8].try_into().unwrap();
    let message = |kind: u8, to: [u8; 4], signed: bool, world: &World| {
        let (len, place) = [(148, 8..12), (92, 8..12), (64, 4..8)][usize::from(kind) - 1].clone();
        let mut bytes = vec![0; len];
        bytes[0] = kind;
        bytes[place].copy_from_slice(&to);
        if signed {
            sign(&mut bytes, world.nodes[A].public());
        }
        bytes
    };
    let nobody = [!started[0], 0, 0, 0];
    for (kind, to, signed, expected) in [
        (1, nobody, true, Ok(Opened::Handshake)),
        (1, started, false, Err(OpenError::BadMac)),
        (2, started, true, Ok(Opened::Handshake)),
        (2, started, false, Err(OpenError::BadMac)),
        (2, nobody, true, Err(OpenError::UnknownIndex)),
        (3, started, false, Ok(Opened::Handshake)),
        (3, nobody, false, Err(OpenError::UnknownIndex)),
    ] {
        let bytes = message(kind, to, signed, &world);
        let opened = stale.open(source, &bytes, &mut [0; 148], world.now);
        assert_eq!(opened, expected, "kind {kind}, signed {signed}");
    }
}

#[test]
fn signals_about_what_is_gone_do_nothing() {
    let mut world = World::established(1);
    let (mut config, from) = (world.config(B), "198.51.100.7:4444".parse().unwrap());
    world.send(A, 0).unwrap();
    let flight = world.flights.remove(0);
    let mut other = world.nodes[B].device.data_path();
    let opened = other.open(from, &flight.bytes, &mut [0; 256], world.now);
    assert!(opened.is_ok());
    // Meanwhile the peer under this index is another one.
    config.public_key = sam_wg::PublicKey([9; 32]);
    world.configure(B, &[config]);
    world.nodes[B].events.clear();
    while let Some(signal) = other.poll_signal() {
        world.nodes[B].device.handle_signal(signal, world.now);
    }
    world.drain(B);
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
    assert_eq!(world.nodes[B].events, []);
    // And a signal about nobody.
    world.configure(B, &[]);
    let nobody = Signal::SessionWanted { peer: PEER };
    world.nodes[B].device.handle_signal(nobody, world.now);
    assert_eq!(world.nodes[B].device.status(), []);
}

#[test]
fn a_late_word_about_an_old_session_does_not_renew_the_new_one() {
    let mut world = World::established(1);
    world.run(secs(121));
    world.send(A, 0).unwrap();
    world.run(secs(1));
    assert_eq!(world.nodes[A].status().handshakes, 2);
    let late = Signal::SessionOld { peer: PEER };
    world.nodes[A].device.handle_signal(late, world.now);
    world.run(secs(20));
    assert_eq!(world.nodes[A].status().handshakes, 2);
}

#[test]
fn padding_fills_sixteen_bytes_up_to_the_limit_and_is_cut_off_again() {
    let mut world = World::established(1);
    let source = world.nodes[A].address;
    let mut number = 0;
    let mut sealed = |inner: usize, limit: usize| {
        let mut bytes = packet(number);
        bytes.resize(inner, 7);
        let stated = u16::try_from(inner).unwrap();
        bytes[2..4].copy_from_slice(&stated.to_be_bytes());
        number += 1;
        let mut out = [0; 2048];
        let path = &mut world.nodes[A].path;
        path.pad_up_to(limit);
        let len = path.seal(PEER, &bytes, &mut out, world.now).unwrap();
        assert_eq!(len, path.sealed_len(inner));
        let opened = world.deliver(B, source, &out[..len]);
        let expected = Opened::Packet {
            peer: PEER,
            len: inner,
        };
        assert_eq!(opened, Ok(expected));
        assert_eq!(world.nodes[B].received.pop(), Some(bytes));
        len - sam_wg::OVERHEAD
    };
    for (inner, limit, padded) in [
        (24, 0, 24),
        (24, 1420, 32),
        (32, 1420, 32),
        (1409, 1420, 1420),
        (1420, 1420, 1420),
        (1421, 1420, 1421),
        (1400, 1420, 1408),
    ] {
        assert_eq!(sealed(inner, limit), padded, "{inner} up to {limit}");
    }
}

#[test]
fn a_session_that_came_up_meanwhile_is_not_asked_for_again() {
    let mut world = World::established(1);
    let wanted = Signal::SessionWanted { peer: PEER };
    world.nodes[A].device.handle_signal(wanted, world.now);
    world.run(secs(30));
    assert_eq!(world.sent_ms(A, 1), [0; 0]);
    assert!(
        !world.nodes[A]
            .events
            .contains(&Event::SessionDown { peer: PEER })
    );
}
