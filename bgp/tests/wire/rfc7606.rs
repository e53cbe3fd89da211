//! RFC 7606 and its neighbors as tables: one row per rule, from bytes to what becomes of the routes.
//!
//! Rows start from an UPDATE that announces 10.77.60.11/32 with the three mandatory attributes and
//! LOCAL_PREF, and change one thing.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::wire::{
    AsPathSegment, DecodeContext, DecodeError, Disposition, Message, Nlri, Update,
};

use crate::bytes::{EXTERNAL, INTERNAL, TWO_OCTET, attribute, long_attribute, update};

#[test]
fn a_malformed_attribute_withdraws_the_routes() {
    for (rule, kind, attributes) in withdrawing() {
        let decoded = decode(&update(&[], &attributes, ROUTE), INTERNAL).expect(rule);

        assert_eq!(
            faults(&decoded),
            [(kind, Disposition::TreatAsWithdraw)],
            "{rule}"
        );
        assert_eq!(decoded.withdrawn, [route()], "{rule}");
        assert_eq!(
            (decoded.announced, decoded.attributes),
            (vec![], None),
            "{rule}"
        );
    }
}

#[test]
fn a_discarded_attribute_leaves_the_routes() {
    for (rule, context, kind, attributes) in discarding() {
        let decoded = decode(&update(&[], &attributes, ROUTE), context).expect(rule);

        assert_eq!(
            faults(&decoded),
            [(kind, Disposition::AttributeDiscard)],
            "{rule}"
        );
        assert_eq!(
            (decoded.announced, decoded.withdrawn),
            (vec![route()], vec![]),
            "{rule}"
        );
        let attributes = decoded.attributes.expect(rule);
        assert_eq!(attributes.next_hop, Ipv4Addr::new(192, 0, 2, 1), "{rule}");
        assert_eq!(attributes.aggregator, None, "{rule}");
        assert!(!attributes.atomic_aggregate, "{rule}");
        assert_eq!(attributes.local_pref, context.ibgp.then_some(100), "{rule}");
    }
}

#[test]
fn reflection_attributes_from_outside_are_discarded() {
    for (kind, value) in [(9, &[1, 1, 1, 1][..]), (10, &[1, 1, 1, 1]), (10, &[1])] {
        let attributes = [without(5), attribute(0x80, kind, value)].concat();

        let decoded = decode(&update(&[], &attributes, ROUTE), EXTERNAL).unwrap();

        assert_eq!(faults(&decoded), [(kind, Disposition::AttributeDiscard)]);
        let attributes = decoded.attributes.unwrap();
        assert_eq!(
            (attributes.originator_id, attributes.cluster_list),
            (None, vec![])
        );
    }
}

#[test]
fn an_update_whose_routes_cannot_be_told_resets_the_session() {
    for (rule, subcode, message) in resetting() {
        let error = decode(&message, INTERNAL).expect_err(rule).notification;

        assert_eq!((error.code, error.subcode), (3, subcode), "{rule}");
    }
}

#[test]
fn an_optional_attribute_error_carries_the_attribute() {
    let broken = attribute(0x80, 15, &[0, 1, 1, 24, 10, 77]);
    let broken_long = long_attribute(0x80, 15, &[0, 1, 1, 24, 10, 77]);

    for attribute in [broken, broken_long] {
        let error = decode(&update(&[], &attribute, &[]), INTERNAL).unwrap_err();
        assert_eq!(error.notification.data, attribute);
    }
}

#[test]
fn what_only_looks_unusual_is_accepted() {
    for (rule, attributes, announced) in accepted() {
        let decoded = decode(&update(&[], &attributes, announced), INTERNAL).expect(rule);

        assert_eq!(decoded.faults, [], "{rule}");
        assert!(decoded.attributes.is_some(), "{rule}");
        let last = decoded.announced.last().expect(rule).prefix;
        assert!(
            last.contains(&route().prefix) && last.prefix_len() > 30,
            "{rule}"
        );
    }
}

#[test]
fn unknown_optional_transitive_attributes_are_kept_as_partial() {
    let attributes = [
        with_long(0xcf, 99, &[7; 3]),
        attribute(0xe0, 35, &[]),
        attribute(0x80, 36, &[1]),
    ]
    .concat();

    let decoded = decode(&update(&[], &attributes, ROUTE), INTERNAL).unwrap();

    let unknown = decoded.attributes.unwrap().unknown;
    let kept: Vec<_> = unknown
        .iter()
        .map(|raw| (raw.flags, raw.kind, &raw.value[..]))
        .collect();
    assert_eq!(kept, [(0xe0, 35, &[][..]), (0xe0, 99, &[7; 3])]);
}

#[test]
fn of_repeated_attributes_the_first_counts() {
    let attributes = [mandatory(), attribute(0x40, 5, &[0, 0, 0, 7])].concat();

    let decoded = decode(&update(&[], &attributes, ROUTE), INTERNAL).unwrap();

    assert_eq!(decoded.attributes.unwrap().local_pref, Some(100));
}

#[test]
fn the_routes_are_found_behind_a_broken_attribute_list() {
    let attributes = [mandatory(), vec![0xc0, 8, 200, 1]].concat();
    let announced = [ROUTE, &[24, 10, 77, 61]].concat();

    let decoded = decode(
        &update(&[24, 10, 77, 62], &attributes, &announced),
        INTERNAL,
    )
    .unwrap();

    let expected = ["10.77.62.0/24", "10.77.60.11/32", "10.77.61.0/24"].map(prefix);
    assert_eq!(decoded.withdrawn, expected);
}

#[test]
fn a_prefix_withdrawn_and_announced_at_once_is_announced() {
    let withdrawn = [ROUTE, &[24, 10, 77, 61]].concat();

    let decoded = decode(&update(&withdrawn, &mandatory(), ROUTE), INTERNAL).unwrap();

    assert_eq!(decoded.announced, [route()]);
    assert_eq!(decoded.withdrawn, [prefix("10.77.61.0/24")]);
}

#[test]
fn multiprotocol_attributes_for_ipv4_unicast_are_folded_in() {
    let attributes = [
        without(3),
        attribute(0x80, 14, &[0, 1, 1, 4, 192, 0, 2, 9, 0, 32, 10, 77, 60, 11]),
        attribute(0x80, 15, &[0, 1, 1, 24, 10, 77, 61]),
    ]
    .concat();

    let decoded = decode(&update(&[], &attributes, &[]), INTERNAL).unwrap();

    assert_eq!(decoded.announced, [route()]);
    assert_eq!(decoded.withdrawn, [prefix("10.77.61.0/24")]);
    assert_eq!(
        decoded.attributes.unwrap().next_hop,
        Ipv4Addr::new(192, 0, 2, 9)
    );
    assert_eq!(decoded.faults, []);
}

#[test]
fn routes_in_both_places_need_one_next_hop() {
    for (host, announced) in [(1, 2), (9, 0)] {
        let reach = [0, 1, 1, 4, 192, 0, 2, host, 0, 24, 10, 77, 61];
        let attributes = with(0x80, 14, &reach);

        let decoded = decode(&update(&[], &attributes, ROUTE), INTERNAL).unwrap();

        assert_eq!(
            (decoded.announced.len(), decoded.withdrawn.len()),
            (announced, 2 - announced)
        );
    }
}

#[test]
fn flags_of_a_multiprotocol_attribute_withdraw_its_routes() {
    let reach = [0, 1, 1, 4, 192, 0, 2, 9, 0, 32, 10, 77, 60, 11];
    let attributes = with(0xc0, 14, &reach);

    let decoded = decode(&update(&[], &attributes, &[]), INTERNAL).unwrap();

    assert_eq!(decoded.withdrawn, [route()]);
    assert_eq!(faults(&decoded), [(14, Disposition::TreatAsWithdraw)]);
}

#[test]
fn end_of_rib_is_an_empty_update_of_ipv4_unicast_only() {
    for (rule, message, end) in [
        ("4724 2 minimum UPDATE", update(&[], &[], &[]), true),
        (
            "4724 2 empty MP_UNREACH_NLRI",
            multiprotocol(15, &[0, 1, 1]),
            true,
        ),
        (
            "4724 2 of another family",
            multiprotocol(15, &[0, 2, 1]),
            false,
        ),
        (
            "routes of another family",
            multiprotocol(14, IPV6_REACH),
            false,
        ),
        (
            "attributes without routes",
            update(&[], &mandatory(), &[]),
            false,
        ),
        (
            "an ignored attribute without routes",
            update(&[], &[0x80, 99, 0], &[]),
            false,
        ),
        ("a withdrawal", update(ROUTE, &[], &[]), false),
    ] {
        let decoded = decode(&message, INTERNAL).expect(rule);

        assert_eq!(decoded.is_end_of_rib(), end, "{rule}");
        assert_eq!(
            (decoded.announced, decoded.attributes),
            (vec![], None),
            "{rule}"
        );
    }
}

#[test]
fn another_familys_update_with_a_malformed_attribute_is_survived() {
    let attributes = [replaced(0x40, 1, &[9]), attribute(0x80, 14, IPV6_REACH)].concat();

    let decoded = decode(&update(&[], &attributes, &[]), INTERNAL).unwrap();

    let expected = [
        (1, Disposition::TreatAsWithdraw),
        (14, Disposition::AttributeDiscard),
    ];
    assert_eq!(faults(&decoded), expected);
}

#[test]
fn as_numbers_are_read_in_the_negotiated_size() {
    let four = replaced(0x40, 2, &[2, 1, 0, 1, 0x11, 0x70, 2, 1, 0, 0, 0xfd, 0xe9]);
    let two = replaced(0x40, 2, &[2, 2, 0xfd, 0xe9, 0x5b, 0xa0]);

    let path = |attributes, context| {
        decode(&update(&[], attributes, ROUTE), context)
            .unwrap()
            .attributes
            .unwrap()
            .as_path
    };

    assert_eq!(
        path(&four, INTERNAL),
        [AsPathSegment(vec![70000]), AsPathSegment(vec![65001])]
    );
    assert_eq!(path(&two, TWO_OCTET), [AsPathSegment(vec![65001, 23456])]);
}

/// Rule, faulty attribute type (0 for the list), attributes of one announced route.
#[rustfmt::skip] // One rule, one line.
fn withdrawing() -> Vec<(&'static str, u8, Vec<u8>)> {
    vec![
        ("3c flags of a well-known attribute", 1, replaced(0xc0, 1, &[0])),
        ("3c flags of NEXT_HOP", 3, replaced(0x80, 3, &[192, 0, 2, 1])),
        ("3c flags of MULTI_EXIT_DISC", 4, with(0xc0, 4, &[0, 0, 0, 1])),
        ("3c flags of COMMUNITIES", 8, with(0x80, 8, &[0, 0, 0, 1])),
        ("3c flags of ATOMIC_AGGREGATE", 6, with(0xc0, 6, &[])),
        ("3c flags of AGGREGATOR", 7, with(0x80, 7, &[0, 0, 0, 1, 1, 1, 1, 1])),
        ("3d ORIGIN missing", 0, without(1)),
        ("3d AS_PATH missing", 0, without(2)),
        ("3d NEXT_HOP missing, internal session", 0, without(3)),
        ("4271 6.3 unknown well-known attribute", 99, with(0x40, 99, &[1])),
        ("4 attribute overruns the list", 0, [mandatory(), vec![0xc0, 8, 4, 0]].concat()),
        ("4 two-octet length overruns the list", 0, [mandatory(), vec![0xd0, 8, 0]].concat()),
        ("4 one trailing byte", 0, [mandatory(), vec![0x40]].concat()),
        ("4 two trailing bytes", 0, [mandatory(), vec![0x40, 6]].concat()),
        ("7.1 length of ORIGIN 0", 1, replaced(0x40, 1, &[])),
        ("7.1 length of ORIGIN 2", 1, replaced(0x40, 1, &[0, 0])),
        ("7.1 undefined ORIGIN", 1, replaced(0x40, 1, &[3])),
        ("7.2 unknown segment type", 2, replaced(0x40, 2, &[9, 1, 0, 0, 0, 1])),
        ("7.2 segment overruns", 2, replaced(0x40, 2, &[2, 2, 0, 0, 0, 1])),
        ("7.2 one byte after the last segment", 2, replaced(0x40, 2, &[2, 1, 0, 0, 0, 1, 2])),
        ("7.2 segment of 0 AS numbers", 2, replaced(0x40, 2, &[2, 0])),
        ("7607 AS 0 in AS_PATH", 2, replaced(0x40, 2, &[2, 1, 0, 0, 0, 0])),
        ("9774 AS_SET", 2, replaced(0x40, 2, &[1, 1, 0, 0, 0, 1])),
        ("9774 AS_CONFED_SET", 2, replaced(0x40, 2, &[4, 1, 0, 0, 0, 1])),
        ("5065 5 AS_CONFED_SEQUENCE", 2, replaced(0x40, 2, &[3, 1, 0, 0, 0, 1])),
        ("7.3 length of NEXT_HOP", 3, replaced(0x40, 3, &[192, 0, 2])),
        ("7.4 length of MULTI_EXIT_DISC", 4, with(0x80, 4, &[0, 0, 0])),
        ("7.5 length of LOCAL_PREF", 5, replaced(0x40, 5, &[0, 0, 0, 0, 1])),
        ("7.8 length of COMMUNITIES", 8, with(0xc0, 8, &[0, 0, 1])),
        ("7.8 empty COMMUNITIES", 8, with(0xc0, 8, &[])),
        ("7.9 length of ORIGINATOR_ID", 9, with(0x80, 9, &[1, 1, 1, 1, 1])),
        ("7.10 length of CLUSTER_LIST", 10, with(0x80, 10, &[1, 1, 1, 1, 1])),
        ("7.10 empty CLUSTER_LIST", 10, with(0x80, 10, &[])),
        ("7.14 length of EXTENDED COMMUNITIES", 16, with(0xc0, 16, &[0; 9])),
        ("7.14 empty EXTENDED COMMUNITIES", 16, with(0xc0, 16, &[])),
        ("8092 6 length of LARGE COMMUNITIES", 32, with(0xc0, 32, &[0; 13])),
        ("8092 6 empty LARGE COMMUNITIES", 32, with(0xc0, 32, &[])),
        ("own cap on communities", 8, with_long(0xc0, 8, &[1; 65 * 4])),
        ("own cap on extended communities", 16, with_long(0xc0, 16, &[1; 65 * 8])),
        ("own cap on large communities", 32, with_long(0xc0, 32, &[1; 65 * 12])),
        ("own cap on cluster ids", 10, with_long(0x80, 10, &[1; 33 * 4])),
        ("own cap on the attributes", 0, with_long(0xc0, 99, &[1; 2048])),
    ]
}

/// Rule, session, discarded attribute type, attributes of one announced route.
#[rustfmt::skip] // One rule, one line.
fn discarding() -> Vec<(&'static str, DecodeContext, u8, Vec<u8>)> {
    vec![
        ("3g repeated well-known attribute", INTERNAL, 1, with(0x40, 1, &[2])),
        ("3g repeated and malformed", INTERNAL, 1, with(0x40, 1, &[9, 9])),
        ("7.6 length of ATOMIC_AGGREGATE", INTERNAL, 6, with(0x40, 6, &[0])),
        ("7.7 length of AGGREGATOR", INTERNAL, 7, with(0xc0, 7, &[0, 1, 1, 1, 1, 1])),
        ("7.7 the same with two octets", TWO_OCTET, 7, with(0xc0, 7, &[0, 0, 0, 1, 1, 1, 1, 1])),
        ("7607 AS 0 in AGGREGATOR", INTERNAL, 7, with(0xc0, 7, &[0, 0, 0, 0, 1, 1, 1, 1])),
        ("7.5 LOCAL_PREF from outside", EXTERNAL, 5, mandatory()),
        ("7.5 malformed LOCAL_PREF from outside", EXTERNAL, 5, replaced(0x40, 5, &[1])),
        ("6793 6 AS4_PATH", INTERNAL, 17, with(0xc0, 17, &[2, 1, 0, 0, 0, 1])),
        ("6793 6 malformed AS4_PATH", INTERNAL, 17, with(0xc0, 17, &[2, 1])),
        ("6793 6 AS4_AGGREGATOR", INTERNAL, 18, with(0xc0, 18, &[0, 0, 0, 1, 1, 1, 1, 1])),
        ("4760 7 MP_REACH_NLRI of another family", INTERNAL, 14, with(0x80, 14, IPV6_REACH)),
        ("4760 7 MP_UNREACH_NLRI of another family", INTERNAL, 15, with(0x80, 15, &[0, 2, 1])),
    ]
}

/// Rule, subcode of the UPDATE message error, message.
#[rustfmt::skip] // One rule, one line.
fn resetting() -> Vec<(&'static str, u8, Vec<u8>)> {
    let reach = attribute(0x80, 14, &[0, 1, 1, 4, 192, 0, 2, 1, 0, 32, 10, 77, 60, 11]);
    let unreach = attribute(0x80, 15, &[0, 1, 1, 32, 10, 77, 60, 11]);
    vec![
        ("3b withdrawn length exceeds the message", 1, raw_update(&[0, 5, 0, 0])),
        ("3b attribute length exceeds the message", 1, raw_update(&[0, 0, 0, 1])),
        ("3b no room for the attribute length", 1, raw_update(&[0, 1, 0, 0])),
        ("3b lengths whose 16-bit sum wraps", 1, raw_update(&[0xff, 0xff, 0, 5, 0, 0, 0])),
        ("3g repeated MP_REACH_NLRI", 1, update(&[], &[&reach[..], &reach].concat(), &[])),
        ("3g repeated MP_UNREACH_NLRI", 1, update(&[], &[&unreach[..], &unreach].concat(), &[])),
        ("3j MP_REACH_NLRI overruns the list", 1, update(&[], &[0x80, 14, 9, 0, 1], ROUTE)),
        ("3j MP_UNREACH_NLRI overruns the list", 1, update(&[], &[0x80, 15, 9, 0, 1], ROUTE)),
        ("5.2 malformed and no routes", 1, update(&[], &replaced(0x40, 1, &[9]), &[])),
        ("5.2 overrun and no routes", 1, update(&[], &[0x40], &[])),
        ("5.2 malformed and only withdrawals", 1, update(ROUTE, &with(0xc0, 8, &[1]), &[])),
        ("5.3 prefix longer than 32 bits", 10, update(&[], &mandatory(), &[33, 1, 2, 3, 4, 5])),
        ("5.3 prefix cut short", 10, update(&[], &mandatory(), &[32, 10, 77, 60])),
        ("5.3 withdrawn prefix longer than 32 bits", 10, update(&[33, 1, 2, 3, 4, 5], &[], &[])),
        ("5.3 withdrawn prefix cut short", 10, update(&[24, 10], &[], &[])),
        ("3h a reset outweighs a withdraw", 10, update(&[], &without(1), &[64])),
        ("7.11 MP_REACH_NLRI cut short", 9, multiprotocol(14, &[0, 1])),
        ("7.11 next hop of 16 bytes", 9, multiprotocol(14, &[&[0, 1, 1, 16][..], &[1; 17]].concat())),
        ("7.11 next hop overruns", 9, multiprotocol(14, &[0, 1, 1, 4, 192, 0, 2])),
        ("7.11 no reserved octet", 9, multiprotocol(14, &[0, 1, 1, 4, 192, 0, 2, 1])),
        ("7.11 invalid prefix", 9, multiprotocol(14, &[0, 1, 1, 4, 192, 0, 2, 1, 0, 33])),
        ("7.12 MP_UNREACH_NLRI cut short", 9, multiprotocol(15, &[0, 1])),
        ("7.12 invalid prefix", 9, multiprotocol(15, &[0, 1, 1, 24, 10, 77])),
    ]
}

/// Rule, attributes, announced prefixes.
#[rustfmt::skip] // One rule, one line.
fn accepted() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    vec![
        ("4271 4.3 bits after the prefix", mandatory(), &[31, 10, 77, 60, 11][..]),
        ("4271 4.3 two-octet length on a short value", with_long(0xc0, 8, &[0; 4]), ROUTE),
        ("4271 4.3 unused flag bits", with(0xcf, 8, &[0; 4]), ROUTE),
        ("4271 5 Partial bit on a well-known attribute", replaced(0x60, 1, &[0]), ROUTE),
        ("4271 5 unknown, optional, non-transitive", with(0x80, 99, &[1]), ROUTE),
        ("4271 9 any order", [with(0x80, 4, &[0; 4])[21..].to_vec(), mandatory()].concat(), ROUTE),
        ("5.1 empty MP_UNREACH_NLRI beside routes", with(0x80, 15, &[0, 1, 1]), ROUTE),
        ("own cap on communities, just met", with_long(0xc0, 8, &[1; 64 * 4]), ROUTE),
        ("own cap on cluster ids, just met", with_long(0x80, 10, &[1; 32 * 4]), ROUTE),
        ("a default route first", mandatory(), &[0, 32, 10, 77, 60, 11]),
    ]
}

const ROUTE: &[u8] = &[32, 10, 77, 60, 11];
/// 2001:db8::/32 by way of 2001:db8::1.
const IPV6_REACH: &[u8] = &[
    0, 2, 1, 16, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20, 0x01,
    0x0d, 0xb8,
];

fn decode(message: &[u8], context: DecodeContext) -> Result<Update, DecodeError> {
    match Message::decode(message, context)? {
        Message::Update(update) => Ok(update),
        other @ (Message::Open(_)
        | Message::Ipv6Update(_)
        | Message::Notification(_)
        | Message::Keepalive
        | Message::RouteRefresh(_)) => panic!("not an UPDATE: {other:?}"),
    }
}

fn faults(update: &Update) -> Vec<(u8, Disposition)> {
    update
        .faults
        .iter()
        .map(|fault| (fault.kind, fault.disposition))
        .collect()
}

fn route() -> Nlri {
    prefix("10.77.60.11/32")
}

fn prefix(text: &str) -> Nlri {
    text.parse::<Ipv4Net>().expect("a prefix").into()
}

/// ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF.
fn standard() -> [(u8, Vec<u8>); 4] {
    [
        (1, vec![0]),
        (2, vec![]),
        (3, vec![192, 0, 2, 1]),
        (5, vec![0, 0, 0, 100]),
    ]
}

fn mandatory() -> Vec<u8> {
    without(0)
}

fn without(kind: u8) -> Vec<u8> {
    let kept = standard().into_iter().filter(|(other, _)| *other != kind);
    kept.flat_map(|(kind, value)| attribute(0x40, kind, &value))
        .collect()
}

fn replaced(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    [without(kind), attribute(flags, kind, value)].concat()
}

fn with(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    [mandatory(), attribute(flags, kind, value)].concat()
}

fn with_long(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    [mandatory(), long_attribute(flags, kind, value)].concat()
}

/// An UPDATE that consists of one multiprotocol attribute.
fn multiprotocol(kind: u8, value: &[u8]) -> Vec<u8> {
    update(&[], &attribute(0x80, kind, value), &[])
}

fn raw_update(body: &[u8]) -> Vec<u8> {
    crate::bytes::message(2, body)
}
