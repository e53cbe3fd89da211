//! The properties that fuzz targets search against, on their seeds and on a fixed set of random inputs, so that every
//! test run covers them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::{propagation, schedule};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_schedule_keeps_the_promises_of_a_speaker(data in bytes(300)) {
        schedule::check(&data);
    }

    #[test]
    fn any_schedule_of_peers_that_know_the_protocol_keeps_them(data in schedule()) {
        schedule::check(&data);
    }

    #[test]
    fn speakers_agree_after_any_corruption(data in bytes(120)) {
        propagation::check(&data);
    }
}

#[test]
fn the_seeds_of_the_fuzz_targets_hold() {
    replay("bgp_schedule", schedule::check);
    replay("bgp_propagation", propagation::check);
}

#[expect(clippy::disallowed_methods, reason = "the seeds are files")]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/seeds")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        check(&fs::read(entry.expect("an entry").path()).expect("a seed"));
        count += 1;
    }
    assert!(count >= 3, "{count} seeds in {}", folder.display());
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

/// Steps of `bgp_schedule` by which sessions come up, end, and come back more often than by chance.
fn schedule() -> impl Strategy<Value = Vec<u8>> {
    let wire = || 0..4_u8;
    let opening = prop_oneof![Just(0_u8), Just(12), Just(12), Just(13)];
    let session = (0..2_u8, wire(), opening)
        .prop_map(|(host, wire, open)| vec![0, host, 5, wire | open << 3, 5, wire | KEEPALIVE]);
    let words = prop_oneof![
        Just(2_u8),
        Just(3),
        Just(4),
        Just(6),
        Just(8),
        Just(8),
        0..16_u8
    ];
    let saying = (wire(), words).prop_map(|(wire, word)| vec![5, wire | word << 3]);
    let event = |kinds: &'static [u8]| {
        let kind = proptest::sample::select(kinds);
        (kind, any::<u8>()).prop_map(|(kind, argument)| vec![kind, argument])
    };
    let step = prop_oneof![
        4 => session,
        8 => saying,
        // Ends, and passing time.
        3 => event(&[3, 4, 12, 13]),
        // Changes, congestion, what is known otherwise.
        4 => event(&[14, 16, 16, 17]),
    ];
    proptest::collection::vec(step, 1..40).prop_map(|steps| steps.concat())
}

/// Says a KEEPALIVE on the first wire.
const KEEPALIVE: u8 = 6 << 3;
