//! Messages to compare by: recorded ones, generated ones with a few faults each, and damaged bytes of both.
//!
//! Deterministic: message `n` is the same in every run. Faults are placed by structure (a length, the flags, a value of
//! an attribute), because bytes damaged at random seldom get past the first length.

use std::fs;

use crate::bytes::{message, update};

/// Makes messages from numbers.
pub(crate) struct Generator {
    recorded: Vec<Vec<u8>>,
}

impl Generator {
    /// Reads the recorded messages.
    pub(crate) fn new() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../bgp/tests/data/real-messages.txt"
        );
        let text = fs::read_to_string(path).expect("recorded messages");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let recorded = lines
            .filter_map(|line| line.split_whitespace().last())
            .map(from_hex)
            .collect();
        Self { recorded }
    }

    /// Makes message `number`.
    pub(crate) fn message(&self, number: u64) -> Vec<u8> {
        let mut random = Random(number);
        let mut bytes = match random.below(20) {
            0 => self.recorded[random.index(self.recorded.len())].clone(),
            1 | 2 => message(1, &open(&mut random)),
            3 => other(&mut random),
            _ => any_update(&mut random),
        };
        if random.one_in(4) {
            for _ in 0..=random.below(2) {
                damage(&mut random, &mut bytes);
            }
            if !random.one_in(8) {
                restore_header(&mut bytes);
            }
        }
        bytes
    }
}

/// One attribute, not yet bytes.
#[derive(Clone)]
struct Attribute {
    flags: u8,
    kind: u8,
    value: Vec<u8>,
}

fn any_update(random: &mut Random) -> Vec<u8> {
    let mut attributes: Vec<Attribute> = [1, 2, 3, 5]
        .iter()
        .map(|kind| valid(random, *kind))
        .collect();
    for kind in [4, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32] {
        if random.one_in(5) {
            attributes.push(valid(random, kind));
        }
    }
    if random.one_in(5) {
        attributes.push(unknown(random));
    }
    if !random.one_in(3) {
        fault(random, &mut attributes);
    }
    if random.one_in(6) {
        fault(random, &mut attributes);
    }
    let mut field: Vec<u8> = attributes
        .iter()
        .flat_map(|it| it.bytes(random.one_in(8)))
        .collect();
    if random.one_in(16) {
        field.truncate(field.len() - random.index(field.len().min(6)));
    }
    if random.one_in(24) {
        field = Vec::new();
    }
    let withdrawn = if random.one_in(3) {
        prefixes(random)
    } else {
        Vec::new()
    };
    let announced = if random.one_in(8) {
        Vec::new()
    } else {
        prefixes(random)
    };
    update(&withdrawn, &field, &announced)
}

impl Attribute {
    fn bytes(&self, long: bool) -> Vec<u8> {
        let len = u16::try_from(self.value.len())
            .expect("short values")
            .to_be_bytes();
        let long = long || len[0] > 0;
        let flags = self.flags & !0x10 | u8::from(long) << 4;
        let used = if long { &len[..] } else { &len[1..] };
        [&[flags, self.kind], used, &self.value].concat()
    }
}

/// Makes a valid attribute of a known type.
fn valid(random: &mut Random, kind: u8) -> Attribute {
    let flags = match kind {
        1..=3 | 5 | 6 => 0x40,
        4 | 9 | 10 | 14 | 15 => 0x80,
        _ => 0xc0,
    };
    let value = match kind {
        1 => vec![random.byte() % 3],
        2 => as_path(random),
        3 | 9 => random.address(),
        6 => Vec::new(),
        7 | 18 => [vec![0, 0, 0xfd, 0xe9], random.address()].concat(),
        8 => random.bytes_of(4),
        10 => (0..=random.below(3))
            .flat_map(|_| random.address())
            .collect(),
        14 => [
            vec![0, 1, 1, 4],
            random.address(),
            vec![0],
            prefixes(random),
        ]
        .concat(),
        15 => [vec![0, 1, 1], prefixes(random)].concat(),
        16 => (0..=random.below(3))
            .flat_map(|_| [vec![0, 2, 0xfd, 0xe9], random.bytes(4)].concat())
            .collect(),
        17 => vec![2, 1, 0, 1, 0x11, 0x70],
        32 => random.bytes_of(12),
        _ => random.bytes(4),
    };
    Attribute { flags, kind, value }
}

fn as_path(random: &mut Random) -> Vec<u8> {
    let mut path = Vec::new();
    for _ in 0..random.below(3) {
        let count = u8::try_from(1 + random.below(3)).expect("small");
        path.extend([2, count]);
        path.extend((0..count).flat_map(|_| [0, 0, 0xfd, 0xe8 + count]));
    }
    path
}

/// Makes an attribute of a type that we do not know.
fn unknown(random: &mut Random) -> Attribute {
    let len = random.index(12);
    Attribute {
        flags: random.pick(&[0x80, 0xc0, 0xe0, 0x40, 0xc1]),
        kind: random.pick(&[11, 20, 35, 99, 128, 200]),
        value: random.bytes(len),
    }
}

/// Damages the list of attributes in one place.
fn fault(random: &mut Random, attributes: &mut Vec<Attribute>) {
    let at = random.index(attributes.len());
    match random.below(10) {
        0 => attributes[at].flags ^= random.pick(&[0x80, 0x40, 0x20, 0xc0, 0x01]),
        1 => attributes[at].value.push(random.byte()),
        2 => drop(attributes[at].value.pop()),
        3 => attributes[at].value.clear(),
        4 => {
            let value = &mut attributes[at].value;
            let index = random.index(value.len().max(1));
            if let Some(byte) = value.get_mut(index) {
                *byte = random.pick(&[0, 1, 2, 3, 4, 5, 32, 33, 127, 255]);
            }
        }
        5 => drop(attributes.remove(at)),
        6 => {
            let mut again = attributes[at].clone();
            if random.one_in(2) {
                again.value = random.bytes(4);
            }
            attributes.push(again);
        }
        7 => attributes
            .iter_mut()
            .filter(|it| it.kind == 2)
            .for_each(|it| {
                it.value = random
                    .pick(&[
                        &[1, 1, 0, 0, 0xfd, 0xe9][..],
                        &[2, 0],
                        &[2, 1, 0, 0, 0, 0],
                        &[3, 1, 0, 0, 0xfd, 0xe9],
                        &[4, 1, 0, 0, 0xfd, 0xe9],
                        &[9, 1, 0, 0, 0xfd, 0xe9],
                        &[2, 2, 0xfd, 0xe9, 0xfd, 0xea],
                        &[2, 2, 0, 0, 0xfd, 0xe9],
                    ])
                    .to_vec();
            }),
        8 => {
            let (kind, size) = random.pick(&[(8, 4), (16, 8), (32, 12), (10, 4)]);
            let value = random.bytes(size * 66);
            attributes.retain(|it| it.kind != kind);
            attributes.push(Attribute {
                value,
                ..valid(random, kind)
            });
        }
        _ => {
            let kind = random.pick(&[14, 15]);
            let value = random
                .pick(&[
                    &[
                        0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32,
                        0x20, 1, 0xd, 0xb8,
                    ][..],
                    &[0, 2, 1],
                    &[0, 1, 1],
                    &[0, 1],
                    &[0, 1, 2, 4, 192, 0, 2, 1, 0, 24, 10, 77, 61],
                    &[0, 1, 1, 4, 192, 0, 2, 1, 0],
                    &[0, 1, 1, 4, 192, 0, 2, 1, 0, 33],
                    &[0, 1, 1, 16, 192, 0, 2, 1, 0],
                ])
                .to_vec();
            attributes.retain(|it| it.kind != kind);
            attributes.push(Attribute {
                flags: 0x80,
                kind,
                value,
            });
        }
    }
}

fn prefixes(random: &mut Random) -> Vec<u8> {
    let mut field = Vec::new();
    for _ in 0..=random.below(3) {
        let bits = random.pick(&[0_u8, 8, 9, 22, 24, 31, 32, 32, 32]);
        let address = [10, 77, 60, random.pick(&[11, 12, 13])];
        field.push(bits);
        field.extend(&address[..usize::from(bits.div_ceil(8))]);
    }
    if random.one_in(24) {
        field.extend(random.pick(&[&[33, 1, 2, 3, 4, 5][..], &[24, 10], &[255], &[32]]));
    }
    field
}

fn open(random: &mut Random) -> Vec<u8> {
    let mut capabilities = Vec::new();
    for (code, value) in [
        (1, &[0, 1, 0, 1][..]),
        (2, &[]),
        (65, &[0, 0, 0xfd, 0xe9]),
        (70, &[]),
        (73, &[1, b'a', 1, b'b']),
        (64, &[0, 120]),
        (200, &[1, 2, 3]),
        (1, &[0, 2, 0, 1]),
    ] {
        if random.one_in(2) {
            capabilities.extend([code, u8::try_from(value.len()).expect("short")]);
            capabilities.extend(value);
        }
    }
    let len = u8::try_from(capabilities.len()).expect("short");
    let hold_time = random.pick(&[0, 1, 2, 3, 9, 180]);
    let mut body = vec![
        random.pick(&[4, 4, 4, 4, 4, 3, 5]),
        0xfd,
        0xe9,
        0,
        hold_time,
        192,
        0,
        2,
        1,
    ];
    match random.below(8) {
        0 => body[1..3].fill(0),
        1 => body[5..9].fill(0),
        _ => {}
    }
    match random.below(10) {
        0 => body.push(0),
        1 => body.extend([&[255, 255, 0, len + 3, 2, 0, len], &capabilities[..]].concat()),
        2 => body.extend([&[len + 4, 1, 0, 2, len], &capabilities[..]].concat()),
        3 => body.extend([&[len + 3, 2, len], &capabilities[..]].concat()),
        _ => body.extend([&[len + 2, 2, len], &capabilities[..]].concat()),
    }
    body
}

/// Makes a KEEPALIVE, NOTIFICATION, ROUTE-REFRESH or a message of no known type.
fn other(random: &mut Random) -> Vec<u8> {
    let kind = random.pick(&[0, 3, 3, 4, 5, 6]);
    let body: &[u8] = match kind {
        3 => random.pick(&[
            &[6, 2, 3, b'b', b'y', b'e'][..],
            &[6, 2],
            &[3, 1, 0x40],
            &[4, 0],
            &[6, 2, 9, b'x'],
            &[9, 9],
            &[1],
        ]),
        5 => random.pick(&[
            &[0, 1, 0, 1][..],
            &[0, 1, 1, 1],
            &[0, 1, 9, 1],
            &[0, 1, 0],
            &[0, 1, 0, 1, 0],
            &[0, 99, 0, 99],
        ]),
        _ => random.pick(&[&[][..], &[], &[0]]),
    };
    message(kind, body)
}

/// Changes some bytes, wherever they are.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.index(bytes.len());
    match random.below(5) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.pick(&[0, 1, 2, 4, 16, 32, 33, 128, 255]),
        2 => bytes.truncate(at),
        3 => drop(bytes.remove(at)),
        _ => bytes.insert(at, random.byte()),
    }
}

/// Makes marker and length right again, so that the damage reaches the decoders behind the framing.
fn restore_header(bytes: &mut [u8]) {
    let len = u16::try_from(bytes.len()).expect("short").to_be_bytes();
    if let Some(header) = bytes.get_mut(..18) {
        header[..16].fill(0xff);
        header[16..].copy_from_slice(&len);
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// Makes one to three items of `size` bytes, and seldom one twice.
    fn bytes_of(&mut self, size: usize) -> Vec<u8> {
        let items = (1 + self.index(3)) * size;
        let mut bytes = self.bytes(items);
        if self.one_in(4) {
            bytes.extend_from_within(..size);
        }
        bytes
    }

    fn address(&mut self) -> Vec<u8> {
        vec![192, 0, 2, 1 + self.byte() % 8]
    }
}
