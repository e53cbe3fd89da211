//! What a router has captured, on its marker: for each block of 32 addresses of which it has some a large community
//! `asn:(19 << 27 | block):bitmap`. The block is the upper 27 bits of its addresses, the lowest bit of the bitmap its first one.
//!
//! Nobody else can know in time: a provider is asked seldom, and by each router for itself. A route may carry 64 large
//! communities; one with more counts as withdrawn, at every receiver. So no more than [`BLOCKS_MAX`] blocks are told, and
//! believed: what is beyond counts as not held. A whole /24 takes eight.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_bgp::LargeCommunity;

use crate::route_tags::function;

/// Most blocks that are told, and believed: 20 communities are left for everything else that a marker says.
pub const BLOCKS_MAX: usize = 44;
/// Bits of the number of a block; what is above is the function.
const BLOCK_BITS: u32 = 27;
/// Bits of an address within its block.
const WITHIN_BITS: u32 = u32::BITS - BLOCK_BITS;

/// Writes what is held, sorted; the lowest blocks if there are too many.
#[must_use]
pub fn held_communities(asn: u32, held: &BTreeSet<Ipv4Addr>) -> Vec<LargeCommunity> {
    let mut blocks: BTreeMap<u32, u32> = BTreeMap::new();
    for address in held {
        let address = u32::from(*address);
        let within = address % (1 << WITHIN_BITS);
        *blocks.entry(address >> WITHIN_BITS).or_default() |= 1 << within;
    }
    let community = |(block, bitmap)| LargeCommunity {
        global: asn,
        local1: function::HELD << BLOCK_BITS | block,
        local2: bitmap,
    };
    blocks.into_iter().take(BLOCKS_MAX).map(community).collect()
}

/// Reads what is held.
#[must_use]
pub fn held_of(asn: u32, communities: &[LargeCommunity]) -> BTreeSet<Ipv4Addr> {
    let blocks = communities.iter().filter(|community| {
        community.global == asn && community.local1 >> BLOCK_BITS == function::HELD
    });
    let addresses = blocks.take(BLOCKS_MAX).flat_map(|community| {
        // The function falls out at the top.
        let first = community.local1 << WITHIN_BITS;
        let within = (0..1 << WITHIN_BITS).filter(|within| community.local2 >> within & 1 == 1);
        within.map(move |within| Ipv4Addr::from(first | within))
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sam_bgp::wire::{DecodeContext, Message, Update};
    use sam_bgp::{Nlri, PathAttributes};

    use super::*;
    use crate::import::{EnrolledNode, Enrollment};
    use crate::inability::Inability;
    use crate::node::{NodeId, Role};
    use crate::route_tags::{RouteKind, RouteTags};

    const ASN: u32 = 64_512;

    #[test]
    fn what_is_written_is_read() {
        let held = [[10, 77, 60, 0], [10, 77, 60, 31], [10, 77, 60, 32]];
        let held: BTreeSet<Ipv4Addr> = held.map(Ipv4Addr::from).into();

        let communities = held_communities(ASN, &held);

        let text: Vec<String> = communities.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["64512:2555537888:2147483649", "64512:2555537889:1"]);
        assert_eq!(held_of(ASN, &communities), held);
        assert_eq!(held_of(64_513, &communities), [].into());
    }

    #[test]
    fn no_more_is_told_or_believed_than_fits_on_a_route() {
        let block = |number: u32| Ipv4Addr::from(0x0a00_0000 + 32 * number);
        let held: BTreeSet<Ipv4Addr> = (0..100).map(block).collect();

        let communities = held_communities(ASN, &held);

        assert_eq!(communities.len(), BLOCKS_MAX);
        assert_eq!(held_of(ASN, &communities).last(), Some(&block(43)));
        let more = held_communities(ASN, &held.into_iter().skip(50).collect());
        let all = [communities, more].concat();
        assert_eq!(held_of(ASN, &all).len(), BLOCKS_MAX);
    }

    #[test]
    fn a_marker_that_says_all_that_there_is_to_say_is_believed_with_all_of_it() {
        let overlay = Ipv4Addr::new(10, 99, 0, 3);
        let tags = RouteTags {
            node: NodeId(3),
            kind: RouteKind::Marker { epoch: 5 },
            site: Some(1),
            role: Some(Role::Aws),
            mac: Some([2, 0, 0, 0, 0, 3]),
            successor: Some(NodeId(2)),
            drained: true,
            captures: Some(100),
            term: 7,
            shares: true,
            capacity: Some(255),
            ready: true,
            inability: Some(Inability::Denied),
        };
        let block = |number: u32| Ipv4Addr::from(0x0a00_0000 + 33 * number);
        let held: BTreeSet<Ipv4Addr> = (0..100).map(block).collect();
        let told = held_communities(ASN, &held);
        let mut attributes = PathAttributes::local(overlay);
        tags.apply(ASN, &mut attributes);
        attributes.large_communities.extend(&told);
        attributes.large_communities.sort_unstable();
        let prefix = Nlri::from(ipnet::Ipv4Net::from(overlay));
        let update = Message::Update(Update {
            announced: vec![prefix],
            attributes: Some(attributes),
            ..Update::default()
        });
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: true,
            add_path: false,
            extended: false,
            ipv6: None,
        };

        let message = Message::decode(&update.encode(context), context).expect("a message");

        assert_eq!(message.faults(), []);
        let Message::Update(update) = message else {
            panic!("{message:?}")
        };
        let attributes = update.attributes.expect("attributes");
        let node = |id, last| {
            let node = EnrolledNode {
                overlay: [10, 99, 0, last].into(),
                reflector: false,
                may: Vec::new(),
            };
            (NodeId(id), node)
        };
        let enrollment = Enrollment {
            asn: ASN,
            own: NodeId(1),
            nodes: [node(1, 1), node(3, 3)].into(),
            pools: Vec::new(),
        };
        let verdict = enrollment.check(NodeId(3), overlay.into(), &attributes);
        assert_eq!(verdict, Ok(tags));
        let heard = held_of(ASN, &attributes.large_communities);
        assert_eq!(heard, held.into_iter().take(BLOCKS_MAX).collect());
    }

    /// They are read from the table itself, so that none is forgotten.
    #[test]
    fn functions_differ_and_leave_room_for_blocks() {
        let (_, table) = include_str!("route_tags.rs")
            .split_once("pub mod function {")
            .expect("the table");
        let (table, _) = table.split_once("\n}").expect("its end");
        let lines = table.lines().map(str::trim);
        let lines = lines.filter_map(|line| line.strip_prefix("pub const ")?.strip_suffix(';'));
        let number = |line: &str| line.split_once(": u32 = ")?.1.parse().ok();
        let numbers: Vec<u32> = lines
            .map(|line| number(line).unwrap_or_else(|| panic!("{line} is no function")))
            .collect();

        let distinct: BTreeSet<u32> = numbers.iter().copied().collect();

        assert!(numbers.contains(&function::HELD) && numbers.len() > 15);
        assert_eq!(distinct.len(), numbers.len(), "{numbers:?}");
        // None of the others is taken for a block.
        assert!(numbers.iter().all(|number| number >> BLOCK_BITS == 0));
        const { assert!(function::HELD < 1 << WITHIN_BITS) };
    }

    proptest! {
        #[test]
        fn any_addresses_in_few_blocks_survive(held in prop::collection::btree_set(any::<u32>(), 0..BLOCKS_MAX)) {
            let held: BTreeSet<Ipv4Addr> = held.into_iter().map(Ipv4Addr::from).collect();
            prop_assert_eq!(held_of(ASN, &held_communities(ASN, &held)), held);
        }
    }
}
