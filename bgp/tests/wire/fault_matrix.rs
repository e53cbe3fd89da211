//! Every attribute with every fault: what becomes of the routes (RFC 7606 sections 3, 4 and 7).
//!
//! `rfc7606.rs` has the rules one by one; here no pair of attribute and fault is left out.

use ipnet::Ipv4Net;
use sam_bgp::wire::{DecodeContext, Disposition, Message, Nlri, Update};

use crate::bytes::{EXTERNAL, INTERNAL, TWO_OCTET, attribute, update};

/// One column each: the fault, and the attribute that has it.
type Fault = (&'static str, fn(u8, u8, &[u8]) -> Vec<u8>);

const FAULTS: [Fault; 9] = [
    ("Optional bit inverted", |flags, kind, value| {
        attribute(flags ^ 0x80, kind, value)
    }),
    ("Transitive bit inverted", |flags, kind, value| {
        attribute(flags ^ 0x40, kind, value)
    }),
    ("Partial bit inverted", |flags, kind, value| {
        attribute(flags ^ 0x20, kind, value)
    }),
    ("no value", |flags, kind, _| attribute(flags, kind, &[])),
    ("one byte short", |flags, kind, value| {
        attribute(flags, kind, &value[..value.len().saturating_sub(1)])
    }),
    ("one byte long", |flags, kind, value| {
        attribute(flags, kind, &[value, &[0xff]].concat())
    }),
    ("repeated", |flags, kind, value| {
        attribute(flags, kind, value).repeat(2)
    }),
    ("overruns the list", |flags, kind, value| {
        let mut bytes = attribute(flags, kind, value);
        bytes[2] += 1;
        bytes
    }),
    ("missing", |_, _, _| Vec::new()),
];

/// Session, flags, type, a valid value, and what becomes of the routes for the valid value and each fault in turn:
/// `a`ccepted, attribute `d`iscarded, routes `w`ithdrawn, session `r`eset.
#[rustfmt::skip] // One attribute, one line.
const MATRIX: &[(DecodeContext, u8, u8, &[u8], &str)] = &[
    (INTERNAL,  0x40, 1,  &[0],                                                        "a wwawwwdww"),
    (INTERNAL,  0x40, 2,  &[2, 1, 0, 0, 0xfd, 0xe9],                                   "a wwaawwdww"),
    (TWO_OCTET, 0x40, 2,  &[2, 1, 0xfd, 0xe9],                                         "a wwaawwdww"),
    (INTERNAL,  0x40, 3,  &[192, 0, 2, 1],                                             "a wwawwwdww"),
    (INTERNAL,  0x80, 4,  &[0, 0, 0, 1],                                               "a wwawwwdwa"),
    (INTERNAL,  0x40, 5,  &[0, 0, 0, 100],                                             "a wwawwwdwa"),
    (EXTERNAL,  0x40, 5,  &[0, 0, 0, 100],                                             "d ddddddd wa"),
    (INTERNAL,  0x40, 6,  &[],                                                         "a wwaaaddwa"),
    (INTERNAL,  0xc0, 7,  &[0, 0, 0xfd, 0xe9, 192, 0, 2, 1],                           "a wwadddd wa"),
    (TWO_OCTET, 0xc0, 7,  &[0xfd, 0xe9, 192, 0, 2, 1],                                 "a wwadddd wa"),
    (INTERNAL,  0xc0, 8,  &[0, 0, 0, 1],                                               "a wwawwwdwa"),
    (INTERNAL,  0x80, 9,  &[192, 0, 2, 1],                                             "a wwawwwdwa"),
    (EXTERNAL,  0x80, 9,  &[192, 0, 2, 1],                                             "d ddddddd wa"),
    (INTERNAL,  0x80, 10, &[192, 0, 2, 1],                                             "a wwawwwdwa"),
    (EXTERNAL,  0x80, 10, &[192, 0, 2, 1],                                             "d ddddddd wa"),
    (INTERNAL,  0x80, 14, &[0, 1, 1, 4, 192, 0, 2, 1, 0, 24, 10, 77, 61],              "a wwarrrrra"),
    (INTERNAL,  0x80, 15, &[0, 1, 1, 24, 10, 77, 61],                                  "a wwarrrrra"),
    (INTERNAL,  0xc0, 16, &[0, 2, 0xfd, 0xe9, 0, 0, 0, 1],                             "a wwawwwdwa"),
    (INTERNAL,  0xc0, 17, &[2, 1, 0, 1, 0x11, 0x70],                                   "d ddddddd wa"),
    // Beside an empty AS_PATH and no AGGREGATOR they are outdated.
    (TWO_OCTET, 0xc0, 17, &[2, 1, 0, 1, 0x11, 0x70],                                   "d wwddddd wa"),
    (TWO_OCTET, 0xc0, 18, &[0, 1, 0x11, 0x70, 192, 0, 2, 1],                           "d wwddddd wa"),
    (INTERNAL,  0xc0, 18, &[0, 1, 0x11, 0x70, 192, 0, 2, 1],                           "d ddddddd wa"),
    (INTERNAL,  0xc0, 32, &[0, 0, 0xfc, 0, 0, 0, 0, 1, 0, 0, 0, 7],                    "a wwawwwdwa"),
    // A type that nobody knows: well-known, it withdraws; optional, its value is nobody's matter.
    (INTERNAL,  0xc0, 99, &[1, 2, 3],                                                  "a waaaaadwa"),
    (INTERNAL,  0x80, 99, &[1, 2, 3],                                                  "a waaaaadwa"),
];

#[test]
fn every_attribute_with_every_fault_has_its_disposition() {
    let mut wrong = Vec::new();
    for (context, flags, kind, value, row) in MATRIX {
        let expected: Vec<char> = row.chars().filter(|letter| *letter != ' ').collect();
        assert_eq!(expected.len(), 1 + FAULTS.len(), "type {kind}");
        let valid = ("valid", attribute(*flags, *kind, value));
        let faulty = FAULTS.map(|(name, spoil)| (name, spoil(*flags, *kind, value)));
        for (expected, (name, attribute)) in
            expected.into_iter().zip([valid].into_iter().chain(faulty))
        {
            let outcome = outcome(*context, *kind, &attribute);
            if outcome != expected {
                wrong.push(format!(
                    "type {kind}, {name}, {context:?}: {outcome}, not {expected}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Decodes an UPDATE of one route whose last attribute is the one under test.
fn outcome(context: DecodeContext, kind: u8, under_test: &[u8]) -> char {
    let others: Vec<u8> = mandatory(context)
        .into_iter()
        .filter(|(other, _)| *other != kind)
        .flat_map(|(other, value)| attribute(0x40, other, &value))
        .collect();
    let message = update(&[], &[&others, under_test].concat(), ROUTE);
    let Ok(Message::Update(update)) = Message::decode(&message, context) else {
        return 'r';
    };
    let discarded = update
        .faults
        .iter()
        .any(|fault| fault.kind == kind && fault.disposition == Disposition::AttributeDiscard);
    match (stands(&update), discarded) {
        (true, true) => 'd',
        (true, false) => 'a',
        (false, _) => 'w',
    }
}

/// Tells whether the route stands; if not, it must be withdrawn, and all others with it.
fn stands(update: &Update) -> bool {
    let route = Nlri::from("10.77.60.11/32".parse::<Ipv4Net>().expect("a prefix"));
    if update.announced.contains(&route) {
        return true;
    }
    assert!(update.withdrawn.contains(&route), "{update:?}");
    assert_eq!(
        (&update.announced[..], &update.attributes),
        (&[][..], &None)
    );
    false
}

fn mandatory(context: DecodeContext) -> Vec<(u8, Vec<u8>)> {
    let mut attributes = vec![(1, vec![0]), (2, vec![]), (3, vec![192, 0, 2, 1])];
    if context.ibgp {
        attributes.push((5, vec![0, 0, 0, 100]));
    }
    attributes
}

const ROUTE: &[u8] = &[32, 10, 77, 60, 11];
