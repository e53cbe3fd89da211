//! Splitting an UPDATE into messages: every prefix arrives, no message is too long.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sam_bgp::wire::{
    DecodeContext, LargeCommunity, MAX_MESSAGE_LEN, Message, Nlri, PathAttributes, PathId,
    RawAttribute, Update,
};

use crate::bytes::{ADD_PATH, INTERNAL};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_prefix_arrives_with_its_attributes(
        withdrawn in prop::collection::vec(route(), 0..2000),
        announced in prop::collection::vec(route(), 0..2000),
        communities in 0..64_u32,
        context in prop_oneof![Just(INTERNAL), Just(ADD_PATH)],
    ) {
        let as_told = |routes: Vec<Nlri>| -> Vec<Nlri> {
            let id = |route: &Nlri| route.path_id.filter(|_| context.add_path);
            routes.iter().map(|route| Nlri { path_id: id(route), ..*route }).collect()
        };
        let (withdrawn, announced) = (as_told(withdrawn), as_told(announced));
        let attributes = with_communities(communities);
        let update =
            Update { withdrawn, announced, attributes: Some(attributes.clone()), faults: vec![] };

        let parts = decode_all_in(context, &update.encode_split(context));

        let withdrawn: Vec<_> = parts.iter().flat_map(|part| part.withdrawn.clone()).collect();
        let announced: Vec<_> = parts.iter().flat_map(|part| part.announced.clone()).collect();
        prop_assert_eq!(withdrawn, update.withdrawn);
        prop_assert_eq!(announced, update.announced);
        for part in parts.iter().filter(|part| !part.announced.is_empty()) {
            prop_assert_eq!(part.attributes.as_ref(), Some(&attributes));
        }
        prop_assert!(parts.is_sorted_by_key(|part| part.withdrawn.is_empty()));
    }
}

#[test]
fn messages_are_filled() {
    let update = announce(hosts(2000), with_communities(0));

    let messages = update.encode_split(INTERNAL);

    // 4096 bytes less header 19, lengths 4, attributes 14 leave room for 811 prefixes of 5 bytes.
    let counts: Vec<_> = decode_all(&messages)
        .iter()
        .map(|part| part.announced.len())
        .collect();
    assert_eq!(counts, [811, 811, 378]);
}

#[test]
fn messages_with_path_identifiers_are_filled() {
    let messages = announce(hosts(900), with_communities(0)).encode_split(ADD_PATH);

    // 4059 bytes hold 451 prefixes of 5 bytes behind identifiers of 4.
    let counts: Vec<_> = decode_all_in(ADD_PATH, &messages)
        .iter()
        .map(|part| part.announced.len())
        .collect();
    assert_eq!(counts, [451, 449]);
}

#[test]
fn a_message_of_exactly_4096_bytes_is_not_split() {
    let room = MAX_MESSAGE_LEN - 19 - 4 - 14 - 5;
    for (value_len, count) in [(room - 4, 1), (room - 3, 0)] {
        let unknown = RawAttribute {
            flags: 0xe0,
            kind: 99,
            value: vec![0; value_len],
        };
        let attributes = PathAttributes {
            unknown: vec![unknown],
            ..with_communities(0)
        };

        let messages = announce(hosts(1), attributes).encode_split(INTERNAL);

        assert_eq!(messages.len(), 1);
        // Our own decoder refuses so many attributes; the prefix stands at the end of the message.
        assert_eq!(messages[0].len() == MAX_MESSAGE_LEN, count == 1);
    }
}

#[test]
fn long_messages_are_filled_where_both_sides_offered_them() {
    let extended = DecodeContext {
        extended: true,
        ipv6: None,
        ..INTERNAL
    };

    let messages = announce(hosts(14_000), with_communities(0)).encode_split(extended);

    // 65535 bytes less header, two lengths and 14 bytes of attributes hold 13099 prefixes of 5 bytes.
    let counts: Vec<usize> = decode_all_in(extended, &messages)
        .iter()
        .map(|part| part.announced.len())
        .collect();
    assert_eq!(counts, [13_099, 901]);
}

#[test]
fn prefixes_that_cannot_be_announced_are_withdrawn() {
    let unknown = RawAttribute {
        flags: 0xe0,
        kind: 99,
        value: vec![0; 70_000],
    };
    let oversized = PathAttributes {
        unknown: vec![unknown],
        ..with_communities(0)
    };

    for attributes in [Some(oversized), None] {
        let update = Update {
            attributes,
            ..announce(hosts(900), with_communities(0))
        };

        let parts = decode_all(&update.encode_split(INTERNAL));

        let withdrawn: Vec<_> = parts
            .iter()
            .flat_map(|part| part.withdrawn.clone())
            .collect();
        assert_eq!(withdrawn, update.announced);
        assert!(parts.iter().all(|part| part.announced.is_empty()));
    }
}

#[test]
fn an_empty_update_is_one_end_of_rib() {
    let parts = decode_all(&<Update>::default().encode_split(INTERNAL));

    assert_eq!(parts, [Update::default()]);
    assert!(parts[0].is_end_of_rib());
}

#[test]
fn attributes_without_prefixes_are_no_message() {
    let update = announce(vec![], with_communities(1));

    assert_eq!(update.encode_split(INTERNAL), Vec::<Vec<u8>>::new());
}

#[test]
fn encoding_what_does_not_fit_yields_the_split_messages_in_a_row() {
    let update = announce(hosts(2000), with_communities(3));

    let stream = Message::Update(update.clone()).encode(INTERNAL);

    assert_eq!(stream, update.encode_split(INTERNAL).concat());
}

fn announce(announced: Vec<Nlri>, attributes: PathAttributes) -> Update {
    Update {
        announced,
        attributes: Some(attributes),
        ..Update::default()
    }
}

fn decode_all(messages: &[Vec<u8>]) -> Vec<Update> {
    decode_all_in(INTERNAL, messages)
}

fn decode_all_in(context: DecodeContext, messages: &[Vec<u8>]) -> Vec<Update> {
    let decode = |message: &Vec<u8>| {
        assert!(
            context.extended || message.len() <= MAX_MESSAGE_LEN,
            "{}",
            message.len()
        );
        match Message::decode(message, context) {
            Ok(Message::Update(update)) => update,
            other => panic!("not an UPDATE: {other:?}"),
        }
    };
    messages.iter().map(decode).collect()
}

fn with_communities(count: u32) -> PathAttributes {
    let large = |local2| LargeCommunity {
        global: 64512,
        local1: 1,
        local2,
    };
    PathAttributes {
        large_communities: (0..count).map(large).collect(),
        ..PathAttributes::local(Ipv4Addr::new(192, 0, 2, 1))
    }
}

fn hosts(count: u32) -> Vec<Nlri> {
    let first = u32::from(Ipv4Addr::new(10, 77, 0, 0));
    (0..count)
        .map(|host| Ipv4Net::from(Ipv4Addr::from(first + host)).into())
        .collect()
}

fn route() -> impl Strategy<Value = Nlri> {
    (any::<u32>(), 0..=32_u8, any::<u32>()).prop_map(|(address, len, id)| Nlri {
        prefix: Ipv4Net::new(Ipv4Addr::from(address), len)
            .expect("at most 32 bits")
            .trunc(),
        path_id: Some(PathId(id)),
    })
}
