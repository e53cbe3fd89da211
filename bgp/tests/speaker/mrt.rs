//! A table dump is read back by a parser that is not ours.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bgpkit_parser::BgpkitParser;
use bgpkit_parser::models::{
    Asn, Attributes, MrtMessage, PeerIndexTable, RibAfiEntries, TableDumpV2Message,
};
use sam_bgp::mrt::DumpHead;
use sam_bgp::wire::{AsPathSegment, Origin};
use sam_bgp::{LargeCommunity, PathAttributes};

use crate::bench::Bench;
use crate::vocabulary::{AS, peer_config, prefix, route, router, seconds};

const TIME: u32 = 1_795_262_400;

#[test]
fn a_dump_holds_every_path_of_every_peer_and_our_own() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.announce(connections[0], &[prefix(1), prefix(2)], rich());
    bench.announce(connections[1], &[prefix(1)], route(3, 200));
    bench.speaker.originate(prefix(3), route(1, 400), bench.now);
    bench.drain();
    bench.now += seconds(7);

    let (peers, entries) = read(&bench);

    assert_eq!(
        (peers.view_name.as_str(), peers.collector_bgp_id),
        ("lab", router(1))
    );
    let peer = |index: u16| {
        let peer = &peers.id_peer_map[&index];
        (peer.peer_bgp_id, peer.peer_ip, peer.peer_asn)
    };
    for index in 0..3u8 {
        let address = router(index + 1);
        let expected = (address, IpAddr::V4(address), Asn::new_32bit(AS));
        assert_eq!(peer(u16::from(index)), expected);
    }
    let found: Vec<(String, Vec<u16>)> = entries
        .iter()
        .map(|entries| {
            let peers = entries.rib_entries.iter().map(|entry| entry.peer_index);
            (entries.prefix.prefix.to_string(), peers.collect())
        })
        .collect();
    let expected = [(1, vec![1, 2]), (2, vec![1]), (3, vec![0])]
        .map(|(host, peers)| (prefix(host).to_string(), peers));
    assert_eq!(found, expected, "best first");
    let numbers: Vec<u32> = entries
        .iter()
        .map(|entries| entries.sequence_number)
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
    let entry = &entries[0].rib_entries[0];
    assert_eq!(entry.originated_time, TIME - 7);
    check(&entry.attributes);
}

#[test]
fn a_prefix_of_any_length_is_read_back() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let prefixes: BTreeMap<String, u8> = (0..=32u8)
        .map(|length| {
            let prefix = ipnet::Ipv4Net::new_assert([10, 255, 255, 255].into(), length).trunc();
            bench.announce(connections[0], &[prefix], route(2, 100));
            (prefix.to_string(), length)
        })
        .collect();

    let (_, entries) = read(&bench);

    let found: BTreeMap<String, u8> = entries
        .iter()
        .map(|entries| {
            (
                entries.prefix.prefix.to_string(),
                entries.prefix.prefix.prefix_len(),
            )
        })
        .collect();
    assert_eq!(found, prefixes);
}

#[test]
fn an_empty_table_is_a_list_of_peers() {
    let (bench, _) = Bench::established(Vec::new());
    let (peers, entries) = read(&bench);
    assert_eq!((peers.id_peer_map.len(), entries.len()), (1, 0));
}

/// Attributes of every kind that there is.
fn rich() -> PathAttributes {
    let large = |local2| LargeCommunity {
        global: AS,
        local1: 1,
        local2,
    };
    PathAttributes {
        origin: Origin::Incomplete,
        as_path: vec![AsPathSegment(vec![65_550, 64_600])],
        med: Some(10),
        communities: vec![(64_600 << 16) + 1],
        large_communities: vec![large(2), large(9)],
        originator_id: Some(router(9)),
        cluster_list: vec![router(7), router(8)],
        ..route(2, 300)
    }
}

fn check(read: &Attributes) {
    assert_eq!(read.origin().to_string(), "INCOMPLETE");
    assert_eq!(
        read.as_path().map(ToString::to_string).as_deref(),
        Some("65550 64600")
    );
    assert_eq!(read.next_hop(), Some(IpAddr::V4(router(2))));
    assert_eq!(read.multi_exit_discriminator(), Some(10));
    assert_eq!(read.local_preference(), Some(300));
    assert_eq!(read.origin_id(), Some(router(9)));
    let clusters = [router(7), router(8)].map(u32::from);
    assert_eq!(read.clusters(), Some(&clusters[..]));
    let communities: Vec<String> = read.iter_communities().map(|c| c.to_string()).collect();
    assert_eq!(communities, ["64600:1", "64512:1:2", "64512:1:9"]);
}

fn read(bench: &Bench) -> (PeerIndexTable, Vec<RibAfiEntries>) {
    let head = DumpHead {
        view: "lab",
        time: TIME,
        now: bench.now,
    };
    let dump = bench.speaker.table_dump(head);
    let mut peers = None;
    let mut entries = Vec::new();
    for record in BgpkitParser::from_reader(dump.as_slice()).into_fallible_record_iter() {
        let record = record.expect("whole");
        assert_eq!(record.common_header.timestamp, TIME);
        let MrtMessage::TableDumpV2Message(message) = record.message else {
            panic!("no table dump");
        };
        if let TableDumpV2Message::PeerIndexTable(table) = message {
            assert!(peers.replace(table).is_none(), "one table of peers");
        } else if let TableDumpV2Message::RibAfi(rib) = message {
            entries.push(rib);
        } else {
            panic!("{message:?}");
        }
    }
    (peers.expect("a table of peers, first"), entries)
}
