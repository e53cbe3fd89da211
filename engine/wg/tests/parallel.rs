//! Real threads on one session: nothing is lost, nothing comes twice, no counter is used twice.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "device/world.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use sam_wg::{DataPath, OpenError, Opened};
use world::{A, B, PEER, World, packet};

/// Packets that one thread seals per round: what two seal fits into the replay window.
const ROUND: u32 = 2000;
const ROUNDS: u32 = 8;

#[test]
fn two_seal_and_two_open_at_once_with_reordering_and_nothing_is_lost() {
    let mut lab = Lab::new();
    let (mut counters, mut received) = (BTreeSet::new(), BTreeSet::new());
    let mut under_way: Vec<Vec<u8>> = Vec::new();
    for round in 0..=ROUNDS {
        let (now, from) = (lab.now, lab.from);
        let [opened, sealed] = thread::scope(|scope| {
            let sealers = (round * 2..).zip(&mut lab.sealers).map(|(run, path)| {
                let first = run * ROUND;
                scope.spawn(move || seal(path, first..first + ROUND, now))
            });
            let sealers: Vec<_> = sealers.collect();
            let halves = under_way.chunks(under_way.len().div_ceil(2).max(1));
            let openers = lab.openers.iter_mut().zip(halves).map(|(path, half)| {
                scope.spawn(move || {
                    let opened = half.iter().map(|bytes| open(path, from, bytes, now));
                    opened.map(Result::unwrap).collect()
                })
            });
            let openers: Vec<_> = openers.collect();
            [openers, sealers].map(|threads| {
                let results = threads.into_iter().map(|thread| thread.join().unwrap());
                results.collect::<Vec<Vec<Vec<u8>>>>().concat()
            })
        });
        for inner in opened {
            assert!(received.insert(inner), "twice");
        }
        let new = sealed
            .iter()
            .all(|bytes| counters.insert(bytes[8..16].to_vec()));
        assert!(new, "a counter was used twice");
        under_way = reordered(sealed);
    }
    let all = (0..ROUNDS * 2 * ROUND).map(packet).collect();
    assert!(
        received == all,
        "{} of {}",
        received.len(),
        ROUNDS * 2 * ROUND
    );
}

#[test]
fn a_packet_that_two_open_at_once_is_delivered_once() {
    let mut lab = Lab::new();
    let (now, from) = (lab.now, lab.from);
    let sealed = seal(&mut lab.sealers[0], 0..5000, now);
    let [first, second] = &mut lab.openers;
    let (a, b) = thread::scope(|scope| {
        let all = |path: &mut DataPath| -> Vec<_> {
            let opened = sealed.iter().map(|bytes| open(path, from, bytes, now));
            opened.collect()
        };
        let other = scope.spawn(move || all(second));
        (all(first), other.join().unwrap())
    });
    for (number, pair) in (0..).zip(a.into_iter().zip(b)) {
        let ((Ok(inner), Err(refusal)) | (Err(refusal), Ok(inner))) = pair else {
            panic!("{number}: {pair:?}");
        };
        assert_eq!((inner, refusal), (packet(number), OpenError::Replay));
    }
}

/// Two devices with a session, and two workers of each.
struct Lab {
    now: Instant,
    from: SocketAddr,
    sealers: [DataPath; 2],
    openers: [DataPath; 2],
    /// Keeps the devices, for they own the sessions.
    _world: World,
}

impl Lab {
    fn new() -> Self {
        let world = World::established(1);
        let [sealers, openers] =
            [A, B].map(|node| [(); 2].map(|()| world.nodes[node].device.data_path()));
        Self {
            now: world.now,
            from: world.nodes[A].address,
            sealers,
            openers,
            _world: world,
        }
    }
}

fn seal(path: &mut DataPath, numbers: std::ops::Range<u32>, now: Instant) -> Vec<Vec<u8>> {
    let sealed = numbers.map(|number| {
        let mut out = vec![0; 64];
        let len = path.seal(PEER, &packet(number), &mut out, now).unwrap();
        out.truncate(len);
        out
    });
    sealed.collect()
}

fn open(
    path: &mut DataPath,
    from: SocketAddr,
    datagram: &[u8],
    now: Instant,
) -> Result<Vec<u8>, OpenError> {
    let mut out = vec![0; datagram.len()];
    let opened = path.open(from, datagram, &mut out, now)?;
    let Opened::Packet { len, .. } = opened else {
        panic!("{opened:?}");
    };
    out.truncate(len);
    Ok(out)
}

/// Interleaves what the two threads sealed and lets one packet in a hundred come 150 later.
fn reordered(sealed: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut order: Vec<_> = sealed.into_iter().enumerate().collect();
    order.sort_by_key(|(place, _)| {
        let turn = place % ROUND as usize;
        turn + if place % 100 == 7 { 150 } else { 0 }
    });
    order.into_iter().map(|(_, bytes)| bytes).collect()
}
