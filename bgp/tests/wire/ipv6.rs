//! IPv6 unicast on the wire (RFC 4760, RFC 2545), faults included (RFC 7606 sections 5 and 7.11).

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use sam_bgp::PathAttributes;
use sam_bgp::wire::{
    DecodeContext, Disposition, Ipv6Context, Ipv6Update, Message, Nlri, PathId, Update,
};

use crate::bytes::{INTERNAL, attribute, update};
use crate::fixed_point;

#[test]
fn routes_are_read_behind_next_hops_of_both_lengths() {
    let global = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for next_hop in [global.to_vec(), [global, local].concat()] {
        let bytes = update(&[], &[reach(&next_hop, NLRI), common()].concat(), &[]);

        let decoded = ipv6(&bytes);

        assert_eq!(decoded.ipv6.announced, [net("2001:db8:1::/48").into()]);
        let next_hop = decoded
            .ipv6
            .attributes
            .map(|attributes| attributes.next_hop);
        assert_eq!(next_hop, Some("2001:db8::1".parse().unwrap()));
        assert_eq!((decoded.ipv6.faults, decoded.ipv4), (Vec::new(), None));
    }
}

#[test]
fn a_message_with_both_families_is_read_whole() {
    let next_hop = attribute(0x40, 3, &[192, 0, 2, 1]);
    let attributes = [
        reach(&[0x20; 16], NLRI),
        unreach(&[16, 0x30, 0]),
        common(),
        next_hop,
    ];
    let bytes = update(&[8, 11], &attributes.concat(), &[8, 10]);

    let decoded = ipv6(&bytes);

    let ipv4 = decoded.ipv4.unwrap();
    assert_eq!(
        ipv4.announced,
        ["10.0.0.0/8".parse::<ipnet::Ipv4Net>().unwrap().into()]
    );
    assert_eq!(ipv4.withdrawn.len(), 1);
    assert_eq!(decoded.ipv6.withdrawn, [net("3000::/16").into()]);
    assert_eq!(decoded.ipv6.announced, [net("2001:db8:1::/48").into()]);
    assert!(fixed_point::check(&bytes, SPEAKING));
}

/// RFC 4724 section 2.
#[test]
fn end_of_rib_is_an_empty_withdrawal_of_the_family() {
    let bytes = update(&[], &unreach(&[]), &[]);

    let decoded = ipv6(&bytes);

    assert!(decoded.ipv6.is_end_of_rib() && decoded.ipv4.is_none());
    assert_eq!(
        Update::<Ipv6Net>::default().encode_split(SPEAKING),
        std::slice::from_ref(&bytes)
    );
    let unspoken = Message::decode(&bytes, INTERNAL).unwrap();
    let Message::Update(update) = unspoken else {
        panic!("{unspoken:?}");
    };
    assert!(!update.is_end_of_rib(), "nor is it that of another one");
}

#[test]
fn a_malformed_attribute_makes_a_withdrawal_of_the_routes() {
    let origin = attribute(0x40, 1, &[9]);
    let bytes = update(&[], &[reach(&[0x20; 16], NLRI), origin].concat(), &[]);

    let decoded = ipv6(&bytes);

    assert_eq!(decoded.ipv6.withdrawn, [net("2001:db8:1::/48").into()]);
    assert_eq!(decoded.ipv6.announced, []);
    assert_eq!(
        decoded.ipv6.faults[0].disposition,
        Disposition::TreatAsWithdraw
    );
}

#[test]
fn missing_mandatory_attributes_make_a_withdrawal_and_next_hop_is_none_of_them() {
    let origin = attribute(0x40, 1, &[0]);
    let path = attribute(0x40, 2, &[]);
    for (attributes, announced) in [([origin.clone(), path].concat(), 1), (origin, 0)] {
        let bytes = update(&[], &[reach(&[0x20; 16], NLRI), attributes].concat(), &[]);
        assert_eq!(ipv6(&bytes).ipv6.announced.len(), announced);
    }
}

/// RFC 7606 sections 5.3 and 7.11: then it is unknown which routes are meant.
#[test]
fn what_hides_the_routes_ends_the_session() {
    let broken = [
        [reach(&[0x20; 4], NLRI), common()].concat(),
        [reach(&[0x20; 17], NLRI), common()].concat(),
        [reach(&[0x20; 24], NLRI), common()].concat(),
        [reach(&[0x20; 16], &[129, 0]), common()].concat(),
        [reach(&[0x20; 16], &[64, 0x20]), common()].concat(),
        unreach(&[48, 0x20]),
        attribute(0x80, 15, &[0, 2]),
        [unreach(NLRI), unreach(NLRI)].concat(),
    ];
    for attributes in broken {
        let error = Message::decode(&update(&[], &attributes, &[]), SPEAKING).unwrap_err();
        assert_eq!(error.notification.code, 3, "{attributes:?}");
    }
}

#[test]
fn many_routes_become_messages_that_are_read_back_as_they_were() {
    for add_path in [false, true] {
        let context = DecodeContext {
            ipv6: Some(Ipv6Context { add_path }),
            ..INTERNAL
        };
        let route = |number: u16| Nlri {
            prefix: Ipv6Net::new_assert(
                Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, number),
                128,
            ),
            path_id: add_path.then(|| PathId(number.into())),
        };
        let whole = Update {
            withdrawn: (0..1000).map(route).collect(),
            announced: (1000..3000).map(route).collect(),
            attributes: Some(PathAttributes::local(
                "2001:db8::9".parse::<Ipv6Addr>().unwrap(),
            )),
            ..Update::default()
        };

        let messages = whole.encode_split(context);

        let mut read = Update::<Ipv6Net>::default();
        for message in &messages {
            assert!(message.len() <= 4096);
            let part = match Message::decode(message, context) {
                Ok(Message::Ipv6Update(part)) => part.ipv6,
                other => panic!("{other:?}"),
            };
            read.withdrawn.extend(part.withdrawn);
            read.announced.extend(part.announced);
            read.attributes = part.attributes.or(read.attributes);
        }
        assert_eq!(read, whole);
        let least = 3000 * if add_path { 21 } else { 17 } / 4096;
        assert!(messages.len() <= least + 3, "{} messages", messages.len());
    }
}

#[test]
fn routes_whose_attributes_leave_no_room_are_withdrawn() {
    let many = PathAttributes {
        large_communities: (0..340)
            .map(|number| sam_bgp::LargeCommunity {
                global: 1,
                local1: 2,
                local2: number,
            })
            .collect(),
        ..PathAttributes::local("2001:db8::9".parse::<Ipv6Addr>().unwrap())
    };
    let update = Update {
        announced: vec![net("2001:db8:1::/48").into()],
        attributes: Some(many),
        ..Update::default()
    };

    let [only] = &update.encode_split(SPEAKING)[..] else {
        panic!("one message");
    };

    assert_eq!(ipv6(only).ipv6.withdrawn, [net("2001:db8:1::/48").into()]);
}

/// An internal session that speaks IPv6 unicast.
pub(crate) const SPEAKING: DecodeContext = DecodeContext {
    ipv6: Some(Ipv6Context { add_path: false }),
    ..INTERNAL
};

/// 2001:db8:1::/48
const NLRI: &[u8] = &[48, 0x20, 1, 0xd, 0xb8, 0, 1];

fn ipv6(bytes: &[u8]) -> Ipv6Update {
    match Message::decode(bytes, SPEAKING) {
        Ok(Message::Ipv6Update(update)) => *update,
        other => panic!("{other:?}"),
    }
}

fn reach(next_hop: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = u8::try_from(next_hop.len()).expect("short");
    attribute(
        0x80,
        14,
        &[&[0, 2, 1, length], next_hop, &[0], nlri].concat(),
    )
}

fn unreach(nlri: &[u8]) -> Vec<u8> {
    attribute(0x80, 15, &[&[0, 2, 1], nlri].concat())
}

/// ORIGIN and AS_PATH.
fn common() -> Vec<u8> {
    [attribute(0x40, 1, &[0]), attribute(0x40, 2, &[])].concat()
}

fn net(text: &str) -> Ipv6Net {
    text.parse().expect("a prefix")
}
