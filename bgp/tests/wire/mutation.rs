//! Valid messages, damaged: no panic, and what still decodes survives encoding.
//!
//! Deterministic: the same cases in every run. The fuzz targets of `tests/fuzz` ask the same.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sam_bgp::wire::{DecodeContext, Ipv6Context};

use crate::bytes::{INTERNAL, attribute, long_attribute, message, update};
use crate::{fixed_point, real_messages};

const CASES: u32 = 50_000;

#[test]
fn damaged_messages_never_panic_and_survivors_are_fixed_points() {
    let seeds = seeds();
    let strategy = (
        any::<Index>(),
        any::<Index>(),
        prop::collection::vec(damage(), 1..5),
        any::<(bool, bool, bool, bool, bool)>(),
        any::<Option<bool>>(),
    );
    let survivors = Cell::new(BTreeMap::<u8, u32>::new());

    let outcome = runner().run(&strategy, |(seed, other, damages, flags, ipv6)| {
        let (four_octet_as, ibgp, add_path, extended, fix_length) = flags;
        let context = DecodeContext {
            four_octet_as,
            ibgp,
            add_path,
            extended,
            ipv6: ipv6.map(|add_path| Ipv6Context { add_path }),
        };
        let mut bytes = seed.get(&seeds).clone();
        for damage in &damages {
            damage.apply(&mut bytes, &seeds[other.index(seeds.len())]);
        }
        if fix_length {
            restore_header(&mut bytes);
        }
        fixed_point::check_frame(&bytes, context);
        if fixed_point::check(&bytes, context) {
            let mut counts = survivors.take();
            *counts.entry(bytes[18]).or_default() += 1;
            survivors.set(counts);
        }
        Ok(())
    });

    outcome.unwrap();
    // A test of survivors must have some, of every message type.
    let survivors = survivors.take();
    assert_eq!(
        survivors.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert!(
        survivors.values().all(|count| *count > 100),
        "{survivors:?}"
    );
}

#[test]
fn every_truncation_of_every_seed_is_survived() {
    for seed in seeds() {
        assert!(
            fixed_point::check(&seed, INTERNAL),
            "seeds are valid: {seed:?}"
        );
        for len in 0..seed.len() {
            let mut bytes = seed[..len].to_vec();
            assert!(!fixed_point::check(&bytes, INTERNAL), "{bytes:?}");
            fixed_point::check_frame(&bytes, INTERNAL);
            restore_header(&mut bytes);
            fixed_point::check(&bytes, INTERNAL);
        }
    }
}

/// One damage to a message.
#[derive(Debug, Clone)]
enum Damage {
    FlipBit(Index, u8),
    SetByte(Index, u8),
    Truncate(Index),
    Remove(Index, Index),
    Insert(Index, Vec<u8>),
    /// Copies a part of another message over or into this one.
    Splice(Index, Index, Index, bool),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>, other: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = |index: &Index| index.index(bytes.len());
        match self {
            Self::FlipBit(index, bit) => {
                let at = at(index);
                bytes[at] ^= 1 << bit;
            }
            Self::SetByte(index, value) => {
                let at = at(index);
                bytes[at] = *value;
            }
            Self::Truncate(index) => bytes.truncate(at(index)),
            Self::Remove(one, two) => {
                let (one, two) = (at(one), at(two));
                bytes.drain(one.min(two)..one.max(two));
            }
            Self::Insert(index, inserted) => {
                let at = at(index);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Splice(to, from, len, replace) => {
                let (to, from) = (at(to), from.index(other.len()));
                let part = &other[from..from + len.index(other.len() - from)];
                let end = if *replace {
                    bytes.len().min(to + part.len())
                } else {
                    to
                };
                bytes.splice(to..end, part.iter().copied());
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let edge = prop::sample::select(vec![0, 1, 2, 3, 4, 5, 12, 16, 32, 33, 127, 128, 254, 255]);
    prop_oneof![
        3 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        3 => (any::<Index>(), edge).prop_map(|(at, value)| Damage::SetByte(at, value)),
        1 => any::<Index>().prop_map(Damage::Truncate),
        1 => any::<(Index, Index)>().prop_map(|(one, two)| Damage::Remove(one, two)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        2 => any::<(Index, Index, Index, bool)>()
            .prop_map(|(to, from, len, replace)| Damage::Splice(to, from, len, replace)),
    ]
}

/// Makes marker and length right again, so that the damage reaches the decoders behind the framing.
fn restore_header(bytes: &mut [u8]) {
    let len = u16::try_from(bytes.len()).expect("short").to_be_bytes();
    if let Some(header) = bytes.get_mut(..18) {
        header[..16].fill(0xff);
        header[16..].copy_from_slice(&len);
    }
}

fn runner() -> TestRunner {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng)
}

/// The recorded messages, and one of each that nobody sent.
fn seeds() -> Vec<Vec<u8>> {
    let rich = [
        attribute(0x40, 1, &[0]),
        attribute(0x40, 2, &[2, 2, 0, 0, 0xfd, 0xe9, 0, 1, 0x11, 0x70]),
        attribute(0x40, 3, &[192, 0, 2, 1]),
        attribute(0x80, 4, &[0, 0, 0, 10]),
        attribute(0x40, 5, &[0, 0, 1, 0x90]),
        attribute(0x40, 6, &[]),
        attribute(0xc0, 7, &[0, 0, 0xfd, 0xe9, 192, 0, 2, 1]),
        attribute(0xc0, 8, &[0xff, 0xff, 0, 0, 0xfd, 0xe9, 0, 1]),
        attribute(0x80, 9, &[192, 0, 2, 1]),
        attribute(0x80, 10, &[192, 0, 2, 8, 192, 0, 2, 9]),
        long_attribute(0xc0, 16, &[0, 2, 0xfd, 0xe9, 0, 0, 0, 1]),
        attribute(0xc0, 32, &[0, 0, 0xfc, 0, 0, 0, 0, 1, 0, 0, 0, 7]),
        attribute(0xe0, 99, &[1, 2, 3]),
    ]
    .concat();
    let multiprotocol = [
        attribute(0x80, 14, &[0, 1, 1, 4, 192, 0, 2, 1, 0, 32, 10, 77, 60, 11]),
        attribute(0x80, 15, &[0, 1, 1, 24, 10, 77, 61]),
        rich.clone(),
    ]
    .concat();
    let both = [
        attribute(
            0x80,
            14,
            &[
                &[0, 2, 1, 16][..],
                &[0x20; 16],
                &[0, 48, 0x20, 1, 0xd, 0xb8, 0, 1],
            ]
            .concat(),
        ),
        attribute(0x80, 15, &[0, 2, 1, 32, 0x20, 1, 0xd, 0xb8, 0]),
        rich.clone(),
    ]
    .concat();
    let open = [
        &[4, 0x5b, 0xa0, 0, 9, 192, 0, 2, 1, 255, 255, 0, 27, 2, 0, 24][..],
        &[1, 4, 0, 1, 0, 1, 2, 0, 65, 4, 0, 1, 0x11, 0x70, 70, 0],
        &[73, 4, 1, b'a', 1, b'b', 200, 0],
    ]
    .concat();
    let built = [
        message(1, &open),
        update(
            &[24, 10, 77, 62, 0],
            &rich,
            &[32, 10, 77, 60, 11, 0, 9, 10, 128],
        ),
        update(&[], &multiprotocol, &[]),
        update(&[], &both, &[]),
        update(&[24, 10, 77, 62], &both, &[9, 10, 128]),
        message(3, &[6, 2, 3, b'b', b'y', b'e']),
        message(5, &[0, 1, 0, 1]),
    ];
    real_messages::recorded()
        .into_iter()
        .map(|it| it.bytes)
        .chain(built)
        .collect()
}
