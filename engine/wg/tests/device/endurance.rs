//! Half a day of traffic in both directions, on a link that overtakes: no renewal of the session costs a packet.

use std::collections::BTreeSet;

use crate::world::{A, B, World, millis, packet, secs};

const INTERVAL_MS: u64 = 200;
const HOURS: u64 = 12;
const PACKETS: u32 = 216_000;
/// The initiator renews a session of this age (whitepaper §6.1, REKEY_AFTER_TIME).
const RENEWAL_SECONDS: u64 = 120;

#[test]
fn half_a_day_with_one_packet_in_a_hundred_overtaken_loses_nothing() {
    assert_eq!(u64::from(PACKETS) * INTERVAL_MS, HOURS * 3_600_000);
    for seed in [1, 2] {
        let mut world = World::established(seed);
        let mut random = seed;
        // Every kind of datagram, so that initiations and responses are overtaken by data too.
        world.filter = Box::new(move |flight| {
            if next(&mut random).is_multiple_of(100) {
                flight.arrives += millis(next(&mut random) % (20 * INTERVAL_MS));
            }
            true
        });

        for number in 0..PACKETS {
            for sender in [A, B] {
                world.send(sender, number).unwrap();
            }
            world.run(millis(INTERVAL_MS));
            world.trace.clear();
        }
        world.run(secs(10));

        for node in [A, B] {
            let node = &world.nodes[node];
            assert_eq!(node.errors, [], "seed {seed}");
            assert_eq!(node.received.len(), PACKETS as usize, "seed {seed}");
            let in_order = node.received.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(!in_order, "nothing was overtaken");
            let received: BTreeSet<_> = node.received.iter().cloned().collect();
            assert!((0..PACKETS).all(|number| received.contains(&packet(number))));
            let renewals = node.status().handshakes;
            let expected = HOURS * 3600 / RENEWAL_SECONDS;
            assert!(
                renewals.abs_diff(expected) < expected / 10,
                "{renewals} renewals"
            );
        }
    }
}

/// xorshift64 (Marsaglia 2003).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
