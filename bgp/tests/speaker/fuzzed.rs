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
