//! Properties of the packet formats under arbitrary bytes. The fuzz targets of `tests/fuzz` search for inputs that
//! break them; here they run on a fixed set of random inputs, so that every test run covers them.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

mod arp;
mod classify;
mod coalesce;
mod encap;
mod forwarder;
mod mss;
mod segment;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn arp_reads_what_it_writes(data in bytes(60)) {
        arp::check(&data);
    }

    #[test]
    fn classification_stays_inside_of_the_packet(data in bytes(90)) {
        classify::check(&data);
    }

    #[test]
    fn merging_and_cutting_are_inverse(data in bytes(400)) {
        coalesce::check(&data);
    }

    #[test]
    fn framings_read_what_they_write(data in framed()) {
        encap::check(&data);
    }

    #[test]
    fn mss_options_are_lowered_and_nothing_else(data in options()) {
        mss::check(&data);
    }

    #[test]
    fn segmentation_is_all_or_nothing(data in bytes(1500)) {
        segment::check(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn routers_survive_everything_that_can_be_sent(data in bytes(300)) {
        forwarder::check(&data);
    }
}

#[test]
fn the_seeds_of_the_fuzz_targets_hold() {
    let targets: [(&str, fn(&[u8])); 7] = [
        ("arp", arp::check),
        ("classify", classify::check),
        ("coalesce", coalesce::check),
        ("encap", encap::check),
        ("forwarder", forwarder::check),
        ("mss", mss::check),
        ("segment", segment::check),
    ];
    for (target, check) in targets {
        replay(target, check);
    }
}

#[expect(clippy::disallowed_methods, reason = "the seeds are files")]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/seeds")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a folder of seeds") {
        check(&fs::read(entry.expect("an entry").path()).expect("a seed"));
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// Bytes that often begin like a tunnel packet.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::collection::vec(
        prop::sample::select(vec![0, 4, 8, 7, 47, 0x20, 0x45, 0x80]),
        4..30,
    );
    (any::<[u8; 2]>(), start, bytes(60))
        .prop_map(|(head, start, rest)| [&head[..], &start, &rest].concat())
}

/// Bytes that often make sense as TCP options.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        any::<[u8; 2]>().prop_map(|[high, low]| vec![2, 4, high, low]),
        Just(vec![1]),
        Just(vec![4, 2]),
        bytes(4),
    ];
    (any::<[u8; 4]>(), prop::collection::vec(option, 0..8))
        .prop_map(|(head, options)| [&head[..], &options.concat()].concat())
}
