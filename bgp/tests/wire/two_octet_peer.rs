//! AS numbers of four octets by way of a peer that knows two only: from bytes to the path that counts (RFC 6793).

use sam_bgp::wire::{
    Aggregator, AsPathSegment, DecodeContext, Disposition, Message, PathAttributes, Update,
};

use crate::bytes::{EXTERNAL, TWO_OCTET, attribute, update};

/// RFC 6793 section 4.2.3.
#[test]
fn the_path_is_put_together_of_both_attributes() {
    for (what, attributes, expected) in [
        (
            "no AS4_PATH",
            as_path(&[&[64000, TRANS]]),
            vec![vec![64000, 23456]],
        ),
        (
            "the peer prepended itself",
            [
                as_path(&[&[64000, TRANS, 65001]]),
                as4_path(&[&[70000, 65001]]),
            ]
            .concat(),
            vec![vec![64000], vec![70000, 65001]],
        ),
        (
            "the order of attributes does not matter",
            [as4_path(&[&[70000]]), as_path(&[&[TRANS]])].concat(),
            vec![vec![70000]],
        ),
        (
            "a confederation is left out",
            [
                as_path(&[&[64000, TRANS]]),
                attribute(0xc0, 17, &[3, 1, 0, 0, 0, 9, 2, 1, 0, 1, 0x11, 0x70]),
            ]
            .concat(),
            vec![vec![64000], vec![70000]],
        ),
    ] {
        let update = decode(&attributes, TWO_OCTET);
        assert_eq!(update.faults, [], "{what}");
        assert_eq!(path(&update), expected, "{what}");
    }
}

#[test]
fn an_as4_path_that_belongs_to_another_path_is_not_used() {
    let longer = [as_path(&[&[64000]]), as4_path(&[&[70000, 70001]])].concat();
    let aggregated = [
        as_path(&[&[64000, TRANS]]),
        aggregator(64000),
        as4_path(&[&[70000]]),
        as4_aggregator(70000),
    ]
    .concat();
    for (attributes, expected, kinds) in [
        (longer, vec![vec![64000]], vec![17]),
        (aggregated, vec![vec![64000, 23456]], vec![18, 17]),
    ] {
        let update = decode(&attributes, TWO_OCTET);
        assert_eq!(path(&update), expected);
        assert_eq!(discarded(&update), kinds);
        let aggregator = update.attributes.unwrap().aggregator;
        assert!(aggregator.is_none_or(|aggregator| aggregator.asn == 64000));
    }
}

#[test]
fn the_aggregator_is_the_one_that_as_trans_stands_for() {
    let router = std::net::Ipv4Addr::new(9, 9, 9, 9);
    let both = [
        as_path(&[&[TRANS]]),
        aggregator(TRANS),
        as4_aggregator(70000),
    ]
    .concat();
    let update = decode(&both, TWO_OCTET);
    let expected = Aggregator { asn: 70000, router };
    assert_eq!(update.faults, []);
    assert_eq!(update.attributes.unwrap().aggregator, Some(expected));

    let alone = [as_path(&[&[TRANS]]), as4_aggregator(70000)].concat();
    let update = decode(&alone, TWO_OCTET);
    assert_eq!(discarded(&update), [18]);
    assert_eq!(update.attributes.unwrap().aggregator, None);
}

/// RFC 6793 section 6, RFC 7607.
#[test]
fn malformed_attributes_are_discarded_and_the_routes_stand() {
    let path_of = |value: &[u8]| attribute(0xc0, 17, value);
    for (rule, kind, broken) in [
        ("empty", 17, path_of(&[])),
        ("cut short", 17, path_of(&[2, 2, 0, 1, 0x11, 0x70])),
        ("no number", 17, path_of(&[2, 0])),
        ("type only", 17, path_of(&[2])),
        (
            "unknown segment type",
            17,
            path_of(&[5, 1, 0, 1, 0x11, 0x70]),
        ),
        ("AS 0", 17, path_of(&[2, 1, 0, 0, 0, 0])),
        ("AS 0 in AS4_AGGREGATOR", 18, as4_aggregator(0)),
        (
            "length of AS4_AGGREGATOR",
            18,
            attribute(0xc0, 18, &[0, 1, 9, 9, 9, 9]),
        ),
    ] {
        let attributes = [as_path(&[&[64000, TRANS]]), broken].concat();
        let update = decode(&attributes, TWO_OCTET);
        assert_eq!(discarded(&update), [kind], "{rule}");
        assert_eq!(path(&update), [[64000, 23456]], "{rule}");
    }
}

/// RFC 9774 section 3, RFC 7606 section 3 c.
#[test]
fn an_as_set_or_wrong_flags_withdraw_the_routes() {
    let number = [0, 1, 0x11, 0x70];
    for (flags, segment_type) in [(0xc0, 1), (0xc0, 4), (0x40, 2), (0x80, 2)] {
        let value = [&[segment_type, 1], &number[..]].concat();
        let attributes = [as_path(&[&[TRANS]]), attribute(flags, 17, &value)].concat();
        let update = decode(&attributes, TWO_OCTET);
        let faults: Vec<_> = update
            .faults
            .iter()
            .map(|it| (it.kind, it.disposition))
            .collect();
        assert_eq!(
            faults,
            [(17, Disposition::TreatAsWithdraw)],
            "{segment_type}"
        );
        assert_eq!((update.announced.len(), update.withdrawn.len()), (0, 1));
    }
}

/// RFC 6793 section 6: one that knows four octets has nothing to tell by them.
#[test]
fn a_four_octet_peer_is_not_believed_by_them() {
    let wide = attribute(0x40, 2, &[2, 1, 0, 0, 0xfa, 0]);
    let attributes = [wide, as4_path(&[&[70000]]), as4_aggregator(70000)].concat();
    let update = decode(&attributes, EXTERNAL);
    assert_eq!(discarded(&update), [17, 18]);
    assert_eq!(path(&update), [[64000]]);
}

/// What we tell such a peer, and what it hands on, is read as what it was.
#[test]
fn what_is_told_to_such_a_peer_comes_back_whole() {
    let router = std::net::Ipv4Addr::LOCALHOST;
    let attributes = PathAttributes {
        as_path: vec![AsPathSegment(vec![65001, 70000]), AsPathSegment(vec![7])],
        aggregator: Some(Aggregator { asn: 80000, router }),
        ..PathAttributes::local(router)
    };
    let told = Update {
        announced: vec!["10.77.60.11/32".parse::<ipnet::Ipv4Net>().unwrap().into()],
        attributes: Some(attributes),
        ..Update::default()
    };
    let bytes = Message::Update(told.clone()).encode(TWO_OCTET);
    assert_eq!(
        Message::decode(&bytes, TWO_OCTET),
        Ok(Message::Update(told))
    );
}

/// The limit of 2048 bytes is one of what is kept, not of what came: both paths of four octets count.
#[test]
fn a_path_counts_with_the_bytes_that_it_takes_to_pass_it_on() {
    let hops: Vec<u16> = vec![64000; 250];
    let segments = [&hops[..], &hops[..150]];
    let big = as4_path(&[&[70000]]);
    let fits = [long_as_path(&segments[..1]), big.clone()].concat();
    assert_eq!(decode(&fits, TWO_OCTET).announced.len(), 1);
    let exceeds = [long_as_path(&segments), big].concat();
    let update = decode(&exceeds, TWO_OCTET);
    assert_eq!(update.announced, []);
    assert_eq!(
        update.faults[0].reason,
        "more than 2048 bytes of attributes"
    );
}

const TRANS: u16 = 23456;

fn decode(attributes: &[u8], context: DecodeContext) -> Update {
    let rest = [
        attribute(0x40, 1, &[0]),
        attribute(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat();
    let message = update(&[], &[&rest, attributes].concat(), &[32, 10, 77, 60, 11]);
    let Ok(Message::Update(update)) = Message::decode(&message, context) else {
        panic!("no UPDATE");
    };
    update
}

fn path(update: &Update) -> Vec<Vec<u32>> {
    let attributes = update.attributes.as_ref().expect("routes");
    let segments = attributes.as_path.iter();
    segments.map(|segment| segment.0.clone()).collect()
}

fn discarded(update: &Update) -> Vec<u8> {
    let faults = update.faults.iter();
    faults
        .map(|fault| {
            assert_eq!(fault.disposition, Disposition::AttributeDiscard);
            fault.kind
        })
        .collect()
}

fn as_path(segments: &[&[u16]]) -> Vec<u8> {
    attribute(0x40, 2, &narrow(segments))
}

fn long_as_path(segments: &[&[u16]]) -> Vec<u8> {
    crate::bytes::long_attribute(0x40, 2, &narrow(segments))
}

fn narrow(segments: &[&[u16]]) -> Vec<u8> {
    let mut value = Vec::new();
    for numbers in segments {
        value.extend([2, u8::try_from(numbers.len()).expect("short")]);
        value.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    }
    value
}

fn as4_path(segments: &[&[u32]]) -> Vec<u8> {
    let mut value = Vec::new();
    for numbers in segments {
        value.extend([2, u8::try_from(numbers.len()).expect("short")]);
        value.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    }
    attribute(0xc0, 17, &value)
}

fn aggregator(asn: u16) -> Vec<u8> {
    attribute(0xc0, 7, &[&asn.to_be_bytes()[..], &[9, 9, 9, 9]].concat())
}

fn as4_aggregator(asn: u32) -> Vec<u8> {
    attribute(0xc0, 18, &[&asn.to_be_bytes()[..], &[9, 9, 9, 9]].concat())
}
