//! Floods: who over its limit needs a cookie, and that peers stay reachable meanwhile.

use std::net::SocketAddr;

use crate::world::{A, B, PEER, World, millis, secs};
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use sam_wg::{OpenError, Opened, PublicKey};

#[test]
fn a_source_over_its_limit_needs_a_cookie_and_even_with_it_has_a_limit() {
    let mut world = World::connected(1);
    let source = "203.0.113.5:1000".parse().unwrap();
    let mut stranger = stranger(&world, 77);
    let flood = |world: &mut World, stranger: &mut Stranger| -> Vec<OpenError> {
        (0..8)
            .map(|_| {
                world
                    .deliver(B, source, &stranger.initiation())
                    .unwrap_err()
            })
            .collect()
    };
    let expected = [
        [OpenError::UnknownPeer; 5].as_slice(),
        &[OpenError::UnderLoad; 3],
    ]
    .concat();
    assert_eq!(flood(&mut world, &mut stranger), expected);
    let replies: Vec<_> = world.flights.drain(..).collect();
    assert_eq!(replies.len(), 3);
    let reply = &replies[2];
    assert_eq!(
        (reply.kind(), reply.bytes.len(), reply.destination),
        (3, 64, source)
    );
    // With the cookie of the latest reply another five pass; the others get no reply.
    stranger.take(&reply.bytes);
    assert_eq!(flood(&mut world, &mut stranger), expected);
    assert_eq!(world.flights.len(), 0);
}

#[test]
fn a_cookie_is_of_no_use_from_another_port_or_two_minutes_later() {
    let mut world = World::connected(1);
    let [source, other_port]: [SocketAddr; 2] =
        ["203.0.113.5:1000", "203.0.113.5:1001"].map(|text| text.parse().unwrap());
    let mut stranger = stranger(&world, 77);
    let mut ask = |world: &mut World, from: SocketAddr, cookie: bool| {
        let initiation = stranger.initiation();
        assert_eq!(initiation[132..] != [0; 16], cookie, "mac2");
        let refused = world.deliver(B, from, &initiation).unwrap_err();
        let reply = world.flights.pop().map(|flight| flight.bytes);
        if let Some(reply) = &reply {
            stranger.take(reply);
        }
        (refused, reply.is_some())
    };
    let (passes, needs_proof) = (
        (OpenError::UnknownPeer, false),
        (OpenError::UnderLoad, true),
    );
    for _ in 0..5 {
        assert_eq!(ask(&mut world, source, false), passes);
    }
    assert_eq!(ask(&mut world, source, false), needs_proof);
    assert_eq!(ask(&mut world, source, true), passes, "by its cookie");
    // The reply to the other port brings the cookie of the other port, of no use from the first one.
    assert_eq!(ask(&mut world, other_port, true), needs_proof);
    assert_eq!(ask(&mut world, source, true), needs_proof);
    assert_eq!(ask(&mut world, source, true), passes);
    // Two minutes later the bucket is full again, and behind it another cookie is wanted. The stranger keeps his
    // cookie by the clock of the machine, so he still shows it.
    world.run(secs(121));
    for _ in 0..5 {
        assert_eq!(ask(&mut world, source, true), passes);
    }
    assert_eq!(ask(&mut world, source, true), needs_proof);
    assert_eq!(ask(&mut world, source, true), passes);
}

#[test]
fn a_flood_from_the_forged_address_of_a_peer_does_not_keep_the_peer_out() {
    let mut world = World::connected(1);
    let mut stranger = stranger(&world, 77);
    let source = world.nodes[A].address;
    let flood = |world: &mut World, stranger: &mut Stranger| {
        for _ in 0..5 {
            world
                .deliver(B, source, &stranger.initiation())
                .unwrap_err();
        }
        world.run(millis(10));
    };
    flood(&mut world, &mut stranger);
    let _no_session = world.send(A, 0);
    for _ in 0..600 {
        flood(&mut world, &mut stranger);
    }
    assert!(world.sent_ms(B, 3).len() > 100, "cookie replies");
    assert_eq!(
        world.sent_ms(A, 1).len(),
        2,
        "the second initiation carries the cookie"
    );
    assert!(world.nodes[A].path.has_session(PEER));
    assert!(world.nodes[B].path.has_session(PEER));
}

#[test]
fn a_flood_from_many_addresses_does_not_keep_peers_out() {
    let mut world = World::connected(1);
    let (address_a, address_b) = (world.nodes[A].address, world.nodes[B].address);
    world.filter = Box::new(|_| false); // everything is delivered by hand
    let _no_session = world.send(A, 0);
    // 1. The initiator needs a cookie.
    flood(&mut world, B);
    let initiation = last(&world, A, 1);
    assert_eq!(
        world.deliver(B, address_a, &initiation),
        Err(OpenError::UnderLoad)
    );
    let reply = last(&world, B, 3);
    assert_eq!(world.deliver(A, address_b, &reply), Ok(Opened::Handshake));
    // 2. With it the responder answers, and needs a cookie too.
    world.run(secs(6));
    flood(&mut world, B);
    let initiation = last(&world, A, 1);
    assert_eq!(
        world.deliver(B, address_a, &initiation),
        Ok(Opened::Handshake)
    );
    flood(&mut world, A);
    let response = last(&world, B, 2);
    assert_eq!(
        world.deliver(A, address_b, &response),
        Err(OpenError::UnderLoad)
    );
    let reply = last(&world, A, 3);
    assert_eq!(world.deliver(B, address_a, &reply), Ok(Opened::Handshake));
    // 3. Now both have one.
    world.run(secs(6));
    flood(&mut world, B);
    let initiation = last(&world, A, 1);
    assert_eq!(
        world.deliver(B, address_a, &initiation),
        Ok(Opened::Handshake)
    );
    flood(&mut world, A);
    let response = last(&world, B, 2);
    assert_eq!(
        world.deliver(A, address_b, &response),
        Ok(Opened::Handshake)
    );
    assert!(world.nodes[A].path.has_session(PEER));
    assert_eq!(world.sent_ms(A, 1).len(), 3);
}

#[test]
fn a_cookie_reply_moves_no_endpoint_and_a_forged_one_does_nothing() {
    let mut world = World::connected(1);
    world.filter = Box::new(|_| false);
    let _no_session = world.send(A, 0);
    flood(&mut world, B);
    let initiation = last(&world, A, 1);
    let source = world.nodes[A].address;
    world.deliver(B, source, &initiation).unwrap_err();
    let reply = last(&world, B, 3);
    let elsewhere = "198.51.100.7:4444".parse().unwrap();
    let mut forged = reply.clone();
    forged[40] ^= 1;
    assert_eq!(
        world.deliver(A, elsewhere, &forged),
        Err(OpenError::DecryptFailed)
    );
    forged[4] ^= 1;
    assert_eq!(
        world.deliver(A, elsewhere, &forged),
        Err(OpenError::UnknownIndex)
    );
    assert_eq!(world.deliver(A, elsewhere, &reply), Ok(Opened::Handshake));
    assert_eq!(
        world.nodes[A].path.endpoint(PEER),
        Some(world.nodes[B].address)
    );
}

/// Somebody whose key no peer has.
pub(crate) struct Stranger(Tunn);

impl Stranger {
    pub(crate) fn initiation(&mut self) -> Vec<u8> {
        let mut buffer = [0; 148];
        let result = self.0.format_handshake_initiation(&mut buffer, true);
        let TunnResult::WriteToNetwork(bytes) = result else {
            panic!("{result:?}");
        };
        bytes.to_vec()
    }

    fn take(&mut self, cookie_reply: &[u8]) {
        let mut buffer = [0; 148];
        let result = self.0.decapsulate(None, cookie_reply, &mut buffer);
        assert!(matches!(result, TunnResult::Done));
    }
}

/// A stranger who knows the public key of `b`.
pub(crate) fn stranger(world: &World, key: u8) -> Stranger {
    stranger_to(world, B, key)
}

fn stranger_to(world: &World, node: usize, key: u8) -> Stranger {
    let PublicKey(public) = world.nodes[node].public();
    let secret = x25519::StaticSecret::from([key; 32]);
    Stranger(Tunn::new(
        secret,
        x25519::PublicKey::from(public),
        None,
        None,
        1,
        None,
    ))
}

/// Uses up the total of `node`, from 300 addresses that send one initiation each.
fn flood(world: &mut World, node: usize) {
    let initiation = stranger_to(world, node, 77).initiation();
    for number in 0..300_u32 {
        let source = SocketAddr::from((number.to_be_bytes(), 1000));
        world.deliver(node, source, &initiation).unwrap_err();
    }
}

/// The latest datagram of `kind` that `node` sent to the other one.
fn last(world: &World, node: usize, kind: u8) -> Vec<u8> {
    let (from, to) = (world.nodes[node].address, world.nodes[1 - node].address);
    let sent = world.trace.iter().rev().map(|(_, flight)| flight);
    let mut sent = sent.filter(|f| f.source == from && f.destination == to && f.kind() == kind);
    sent.next().unwrap().bytes.clone()
}
