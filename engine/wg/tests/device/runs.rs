//! Datagrams that came together and are opened at once.

use std::net::SocketAddr;

use crate::attack::sign;
use crate::world::{A, B, PEER, World, packet, secs};
use proptest::prelude::*;
use sam_wg::{OpenError, Opened, Order, Run};

/// Length of a datagram with `packet` in it.
const SEGMENT: usize = 56;
const PACKET: Opened = Opened::Packet {
    peer: PEER,
    len: 24,
};

#[test]
fn each_datagram_of_a_run_has_its_own_fate() {
    let mut world = World::established(1);
    let first = sealed(&mut world, 0..3);
    // The session after it.
    world.run(secs(121));
    world.send(A, 9).unwrap();
    world.run(secs(1));
    let second = sealed(&mut world, 3..5);
    let (mut forged, mut unknown) = (first[1].clone(), first[1].clone());
    forged[30] ^= 1;
    unknown[4] ^= 1;
    let run = [
        &first[0], &first[0], &forged, &second[0], &unknown, &first[2],
    ];
    let run = run.map(Vec::as_slice);
    let end = &second[1];

    let (opened, bytes) = open(&mut world, Order::Kept, &run, end);

    let expected = [
        Ok(PACKET),
        Err(OpenError::Replay),
        Err(OpenError::DecryptFailed),
        Ok(PACKET),
        Err(OpenError::UnknownIndex),
        Ok(PACKET),
        Ok(PACKET),
    ];
    assert_eq!(opened, expected);
    for (place, number) in [(0, 0), (3, 3), (5, 2), (6, 4)] {
        assert_eq!(bytes[place][..24], packet(number), "{place}");
    }
    let (opened, _) = open(&mut world, Order::Kept, &[], &first[1]);
    assert_eq!(opened, [Ok(PACKET)], "no harm was done to it");
}

#[test]
fn a_run_ends_in_a_shorter_datagram_and_may_be_of_any_kind() {
    let mut world = World::established(1);
    let first = sealed(&mut world, 0..1).remove(0);
    let keepalive = seal(&mut world, &[]);
    let (opened, _) = open(&mut world, Order::Kept, &[&first], &keepalive);
    assert_eq!(opened, [Ok(PACKET), Ok(Opened::Keepalive)]);
    assert_eq!(open(&mut world, Order::Kept, &[], &[]).0, []);
    let (opened, _) = open(&mut world, Order::Kept, &[&[4; SEGMENT]], &[4]);
    assert_eq!(opened, [Err(OpenError::UnknownType); 2]);
    let mut initiation = vec![0; 148];
    initiation[0] = 1;
    sign(&mut initiation, world.nodes[B].public());
    let mut twice = [&initiation[..], &initiation].concat();
    twice[148 + 140] = 7; // mac2 is not looked at here
    twice[148 + 60] = 7;
    let run = Run {
        segment: 148,
        ..run(&world, Order::Kept)
    };
    let path = &mut world.nodes[B].path;
    path.open_run(run, &mut twice, world.now);
    assert_eq!(path.poll_opened(), Some(Ok(Opened::Handshake)));
    assert_eq!(path.poll_opened(), Some(Err(OpenError::BadMac)));
    assert_eq!(path.poll_opened(), None);
}

#[test]
fn a_run_that_overtook_others_makes_them_no_replays() {
    let mut world = World::established(1);
    let late = sealed(&mut world, 0..10_000);
    let early = sealed(&mut world, 10_000..10_002);
    let (opened, _) = open(&mut world, Order::Overtaking, &[&early[0]], &early[1]);
    assert_eq!(opened, [Ok(PACKET); 2]);
    for datagram in &late {
        let (opened, _) = open(&mut world, Order::Kept, &[], datagram);
        assert_eq!(opened, [Ok(PACKET)]);
    }
}

#[test]
fn a_run_from_elsewhere_moves_the_endpoint_by_its_newest_genuine_datagram() {
    let mut world = World::established(1);
    let elsewhere: SocketAddr = "198.51.100.7:4444".parse().unwrap();
    let datagrams = sealed(&mut world, 0..4);
    let mut forged = datagrams[3].clone();
    forged[30] ^= 1;
    let home = world.nodes[A].address;
    let mut arrive = |from: SocketAddr, datagrams: [&[u8]; 2]| {
        let run = Run {
            from,
            ..run(&world, Order::Kept)
        };
        let path = &mut world.nodes[B].path;
        path.open_run(run, &mut datagrams.concat(), world.now);
        world.drain(B);
        world.nodes[B].path.endpoint(PEER)
    };
    assert_eq!(arrive(home, [&datagrams[1], &datagrams[1]]), Some(home));
    // Late, or not genuine.
    assert_eq!(arrive(elsewhere, [&datagrams[0], &forged]), Some(home));
    let newest = [&datagrams[0][..], &datagrams[2]];
    assert_eq!(arrive(elsewhere, newest), Some(elsewhere));
}

#[test]
fn bytes_of_a_run_are_counted() {
    let mut world = World::established(1);
    let before = world.nodes[B].status().rx_bytes;
    let datagrams = sealed(&mut world, 0..3);
    let run = [&datagrams[0][..], &datagrams[1], &datagrams[1]];
    open(&mut world, Order::Kept, &run, &datagrams[2]);
    assert_eq!(world.nodes[B].status().rx_bytes - before, 3 * 24);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_run_gives_what_its_datagrams_give_one_by_one(
        choices in proptest::collection::vec((0..40_usize, 0..60_usize), 1..200),
        at_once in 1..70_usize,
    ) {
        let mut world = World::established(1);
        let sealed = sealed(&mut world, 0..40);
        // Some of them twice, some with a byte changed: of the header, the text, or the tag.
        let datagrams: Vec<_> = choices.iter().map(|(number, place)| {
            let mut datagram = sealed[*number].clone();
            if *place < SEGMENT {
                datagram[*place] ^= 1;
            }
            datagram
        }).collect();
        let mut other = World::established(1);
        for datagrams in datagrams.chunks(at_once) {
            let one_by_one: Vec<_> = datagrams.iter().map(|datagram| {
                other.deliver(B, other.nodes[A].address, datagram)
            }).collect();
            let (last, others) = datagrams.split_last().unwrap();
            let others: Vec<_> = others.iter().map(Vec::as_slice).collect();
            let (opened, _) = open(&mut world, Order::Kept, &others, last);
            prop_assert_eq!(opened, one_by_one);
        }
        let received = [&world, &other].map(|world| world.nodes[B].status().rx_bytes);
        prop_assert_eq!(received[0], received[1]);
    }
}

/// Opens datagrams of [`SEGMENT`] bytes and a last one at `b`; returns what became of each, and its bytes.
fn open(
    world: &mut World,
    order: Order,
    datagrams: &[&[u8]],
    last: &[u8],
) -> (Vec<Result<Opened, OpenError>>, Vec<Vec<u8>>) {
    let mut bytes = [&datagrams.concat()[..], last].concat();
    let (run, now) = (run(world, order), world.now);
    let path = &mut world.nodes[B].path;
    path.open_run(run, &mut bytes, now);
    let opened = std::iter::from_fn(|| path.poll_opened()).collect();
    world.drain(B);
    (opened, bytes.chunks(SEGMENT).map(<[u8]>::to_vec).collect())
}

fn run(world: &World, order: Order) -> Run {
    Run {
        from: world.nodes[A].address,
        segment: SEGMENT,
        order,
    }
}

/// Seals numbered packets at `a`.
fn sealed(world: &mut World, numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbers.map(|number| seal(world, &packet(number))).collect()
}

fn seal(world: &mut World, inner: &[u8]) -> Vec<u8> {
    let (mut out, now) = (vec![0; 148], world.now);
    let path = &mut world.nodes[A].path;
    let len = path.seal(PEER, inner, &mut out, now).unwrap();
    out.truncate(len);
    out
}
