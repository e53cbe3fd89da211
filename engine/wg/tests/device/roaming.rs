//! Which packets may move the endpoint.

use std::net::SocketAddr;

use crate::attack::sign;
use crate::world::{A, B, PEER, World, millis, packet, secs};
use sam_wg::{Event, OpenError, Opened, SealError};

#[test]
fn authenticated_packets_of_every_kind_move_the_endpoint() {
    let elsewhere: SocketAddr = "198.51.100.7:4444".parse().unwrap();
    let moved = |world: &World, node: usize| {
        let known = world.nodes[1 - node].address;
        let event = Event::EndpointChanged {
            peer: PEER,
            from: Some(known),
            to: elsewhere,
        };
        world.nodes[node].path.endpoint(PEER) == Some(elsewhere)
            && world.nodes[node].events.contains(&event)
            && world.nodes[node].status().roams == 1
    };
    // Initiation and response.
    let mut world = World::connected(1);
    let _no_session = world.send(A, 0);
    let initiation = world.flights.remove(0);
    world.deliver(B, elsewhere, &initiation.bytes).unwrap();
    assert!(moved(&world, B), "initiation");
    let response = world.flights.remove(0);
    assert_eq!(
        response.destination, elsewhere,
        "the answer goes where the question came from"
    );
    world.deliver(A, elsewhere, &response.bytes).unwrap();
    assert!(moved(&world, A), "response");
    // Data, keepalive.
    for inner in [packet(0), Vec::new()] {
        let mut world = World::established(1);
        let mut out = [0; 148];
        let len = world.nodes[A]
            .path
            .seal(PEER, &inner, &mut out, world.now)
            .unwrap();
        world.deliver(B, elsewhere, &out[..len]).unwrap();
        assert!(moved(&world, B), "data of {} bytes", inner.len());
    }
}

#[test]
fn only_the_newest_packet_of_a_session_moves_the_endpoint() {
    let elsewhere: SocketAddr = "198.51.100.7:4444".parse().unwrap();
    let mut world = World::established(1);
    let home = world.nodes[A].address;
    let mut other = world.nodes[B].device.data_path();
    for number in 0..3 {
        world.send(A, number).unwrap();
    }
    let [backlog, moved, back] = world.flights.split_off(0).try_into().unwrap();
    world.deliver(B, elsewhere, &moved.bytes).unwrap();
    assert_eq!(world.nodes[B].path.endpoint(PEER), Some(elsewhere));
    // What the peer had sent before it moved is read by another worker only now.
    other.refresh();
    let opened = other.open(home, &backlog.bytes, &mut [0; 256], world.now);
    assert!(matches!(opened, Ok(Opened::Packet { .. })), "{opened:?}");
    while let Some(signal) = other.poll_signal() {
        world.nodes[B].device.handle_signal(signal, world.now);
    }
    world.drain(B);
    assert_eq!(world.nodes[B].path.endpoint(PEER), Some(elsewhere));
    world.deliver(B, home, &back.bytes).unwrap();
    assert_eq!(world.nodes[B].path.endpoint(PEER), Some(home));
}

#[test]
fn without_roaming_the_endpoint_stays_but_packets_are_accepted() {
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let mut world = World::connected(1);
    world.configure_both(|config| config.roaming = false);
    let _no_session = world.send(A, 0);
    let initiation = world.flights.remove(0);
    world.deliver(B, elsewhere, &initiation.bytes).unwrap();
    assert_eq!(world.flights[0].destination, world.nodes[A].address);
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
    assert_eq!(world.nodes[B].status().roams, 0);
}

#[test]
fn an_unknown_endpoint_is_learned_even_without_roaming() {
    let mut world = World::connected(1);
    let mut config = world.config(B);
    (config.endpoint, config.roaming) = (None, false);
    world.configure(B, &[]);
    world.configure(B, &[config]);
    assert_eq!(world.send(B, 0), Err(SealError::NoEndpoint));
    let _no_session = world.send(A, 0);
    world.run(secs(1));
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
    assert_eq!(world.nodes[B].status().roams, 0);
    world.send(B, 0).unwrap();
}

#[test]
fn who_only_knows_our_public_key_moves_no_endpoint() {
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let mut world = World::connected(1);
    let _no_session = world.send(A, 0);
    // Everything is right but what takes a private key: an initiation, and a response to the one under way.
    let started: [u8; 4] = world.flights.remove(0).bytes[4..8].try_into().unwrap();
    for (kind, len) in [(1, 148), (2, 92)] {
        let mut forged = vec![7; len];
        forged[..4].copy_from_slice(&[kind, 0, 0, 0]);
        forged[8..12].copy_from_slice(&started);
        sign(&mut forged, world.nodes[A].public());
        let refused = world.deliver(A, elsewhere, &forged);
        assert_eq!(refused, Err(OpenError::HandshakeRejected), "kind {kind}");
        assert_eq!(
            world.nodes[A].path.endpoint(PEER),
            Some(world.nodes[B].address)
        );
    }
    assert_eq!(world.nodes[A].status().roams, 0);
}

#[test]
fn what_is_refused_does_not_move_the_endpoint() {
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let mut world = World::established(1);
    world.send(A, 0).unwrap();
    let flight = world.flights[0].clone();
    world.run(millis(20));
    let mut tampered = flight.bytes.clone();
    tampered[20] ^= 1;
    world.deliver(B, elsewhere, &flight.bytes).unwrap_err();
    world.deliver(B, elsewhere, &tampered).unwrap_err();
    assert_eq!(
        world.nodes[B].path.endpoint(PEER),
        Some(world.nodes[A].address)
    );
}
