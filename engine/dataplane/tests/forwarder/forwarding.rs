//! Packets get through, unchanged but for the TTL: each router on the way is one hop.

use std::time::Duration;

use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{Checksum, DropReason, Dscp, Gso, Merging, NextHop, Offload, TunnelId};

use crate::lab::*;

#[test]
fn a_packet_crosses_from_lan_to_lan_after_arp_on_both_ends() {
    let mut lab = Lab::new();
    lab.advance(Duration::from_secs(6));
    lab.clear();
    let ask = ArpPacket::request(A.host_mac, A.host, B.host);
    lab.arp_a(ask, BROADCAST);
    let (_, reply) = lab.from_a.last().unwrap();
    assert_eq!(reply.arp(), Some(ask.reply(A.router_mac)));
    lab.send_a(&udp(A.host, B.host, 64, b"hello"));
    assert_eq!(
        lab.at_server(),
        [(udp(A.host, B.host, 62, b"hello"), Offload::default())]
    );
    let (_, last) = lab.from_b.last().unwrap();
    assert_eq!(last.bytes[..12], [B.host_mac, B.router_mac].concat());
    lab.send_b(&udp(B.host, A.host, 64, b"hi"));
    assert_eq!(
        lab.at_client(),
        [(udp(B.host, A.host, 62, b"hi"), Offload::default())]
    );
    assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
    lab.assert_no_buffer_is_lost();
}

#[test]
fn nothing_is_merged_that_the_port_does_not_take() {
    let mut lab = Lab::connected();
    let mut merging = Merging::default();
    merging.lan.tcp = false;
    lab.b.forwarder.set_merging(merging);
    let payload: Vec<u8> = (0..=250).cycle().take(3 * 1380).collect();
    let sent = partial(tcp(A.host, B.host, 1, &payload));
    lab.send_a_with(&sent, superpacket(1380));
    let arrived = lab.at_server();
    assert!(
        arrived
            .iter()
            .all(|(_, offload)| *offload == Offload::default())
    );
    let data: Vec<u8> = arrived
        .iter()
        .flat_map(|(packet, _)| packet[40..].to_vec())
        .collect();
    assert_eq!((arrived.len(), data), (3, payload), "one by one, in order");
    assert_eq!(lab.b.counter("segments-merged"), 0);
}

#[test]
fn a_superpacket_of_45_segments_arrives_as_one_superpacket_with_the_same_bytes() {
    let mut lab = Lab::connected();
    let size = 1380;
    let payload: Vec<u8> = (0..=250).cycle().take(45 * size).collect();
    let sent = partial(tcp(A.host, B.host, 1, &payload));
    lab.send_a_with(&sent, superpacket(1380));
    let arrived = lab.at_server();
    assert_eq!(arrived.len(), 1, "one superpacket");
    let (packet, offload) = &arrived[0];
    assert_eq!(offload.gso, Gso::Tcp { size: 1380 });
    assert_eq!(
        offload.checksum,
        Checksum::Partial {
            start: 14 + 20,
            offset: 16
        }
    );
    assert_eq!(packet[40..], payload);
    let expected = edit(sent, |header| header[8] -= 2);
    assert_eq!(packet, &expected, "only the TTL differs");
    assert_eq!(lab.trains.len(), 1, "one train");
    let datagram = size + 40 + 32;
    assert_eq!(
        (lab.trains[0].segment, lab.trains[0].bytes.len()),
        (datagram, 45 * datagram)
    );
    assert_eq!(lab.b.counter("segments-merged"), 45);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_tcp_packet_with_a_partial_checksum_arrives_with_a_complete_one() {
    let mut lab = Lab::connected();
    let offload = Offload {
        gso: Gso::None,
        checksum: Checksum::Partial {
            start: 34,
            offset: 16,
        },
    };
    lab.send_a_with(&partial(tcp(A.host, B.host, 1, b"query")), offload);
    let (packet, offload) = &lab.at_server()[0];
    assert_eq!(*offload, Offload::default());
    assert_checksums(packet);
    assert_eq!(packet[40..], *b"query");
}

#[test]
fn ethernet_padding_does_not_travel() {
    let mut lab = Lab::connected();
    let mut padded = udp(A.host, B.host, 64, b"x");
    padded.resize(46, 0xee);
    lab.send_a(&padded);
    assert_eq!(lab.at_server()[0].0, udp(A.host, B.host, 62, b"x"));
}

#[test]
fn packets_to_the_far_router_reach_its_host_with_their_ttl() {
    let mut lab = Lab::connected();
    for ttl in [64, 1] {
        lab.clear();
        lab.send_a(&udp(A.host, B.router, ttl, b"bgp"));
        if ttl == 1 {
            assert_eq!(lab.a.dropped(DropReason::TtlExceeded), 1, "A is a hop");
            continue;
        }
        let (_, sent) = &lab.from_b[0];
        assert_eq!(
            (sent.port, &sent.bytes),
            (TUN, &udp(A.host, B.router, 63, b"bgp"))
        );
    }
    lab.clear();
    lab.a
        .host_packet(&udp(A.overlay, B.overlay, 1, b"bgp"), lab.now);
    lab.settle();
    let (_, sent) = &lab.from_b[0];
    assert_eq!(
        sent.bytes,
        udp(A.overlay, B.overlay, 1, b"bgp"),
        "neither host is a hop"
    );
}

#[test]
fn host_packets_reach_remote_and_local_lans() {
    let mut lab = Lab::connected();
    lab.a
        .host_packet(&udp(A.overlay, B.host, 64, b"far"), lab.now);
    lab.a
        .host_packet(&udp(A.router, A.host, 64, b"near"), lab.now);
    lab.settle();
    assert_eq!(
        lab.at_server()[0].0,
        udp(A.overlay, B.host, 63, b"far"),
        "B is a hop"
    );
    assert_eq!(lab.at_client()[0].0, udp(A.router, A.host, 64, b"near"));
}

#[test]
fn a_packet_for_a_neighbor_of_the_same_lan_turns_around() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, silent(A), NextHop::Lan(LAN))
    });
    let other_mac = [2, 0, 0, 0, 0, 0xa9];
    lab.arp_a(
        ArpPacket::request(other_mac, silent(A), A.router),
        A.router_mac,
    );
    lab.clear();
    lab.send_a(&udp(A.host, silent(A), 64, b"turn"));
    let (_, sent) = &lab.from_a[0];
    let turned = udp(A.host, silent(A), 63, b"turn");
    assert_eq!(sent.bytes, frame(other_mac, A.router_mac, &turned));
}

#[test]
fn transit_leaves_by_the_other_tunnel_one_hop_older() {
    // A ═══ B ═══ C: A and C know each other only by way of B.
    let site = Site {
        router_mac: [2, 0, 0, 0, 0, 0xc0],
        host: "10.99.0.1".parse().unwrap(),
        overlay: "10.255.0.3".parse().unwrap(),
        underlay: ([192, 0, 2, 3], 51820),
        ..B
    };
    let mut lab = Lab::connected();
    let now = lab.now;
    let mut c = Router::new(site, B, now);
    c.install(now, |snapshot| {
        add_route(snapshot, A.host, NextHop::Tunnel(TUNNEL))
    });
    lab.a.install(now, |snapshot| {
        add_route(snapshot, site.host, NextHop::Tunnel(TUNNEL))
    });
    let mut to_c = peer(site);
    to_c.index = sam_wg::PeerIndex(6);
    lab.b.handshakes.set_peers(&[peer(A), to_c], now);
    lab.b.install(now, |snapshot| {
        let mut tunnel = snapshot.tunnels[0].clone();
        tunnel.id = TunnelId(1);
        tunnel.encap = Encap::WireGuard(sam_wg::PeerIndex(6));
        snapshot.tunnels.push(tunnel);
        add_route(snapshot, site.host, NextHop::Tunnel(TunnelId(1)));
    });
    let learned = ArpPacket::request(site.host_mac, site.host, site.router);
    c.install(now, |snapshot| {
        snapshot.lans[0].subnet = "10.0.0.0/8".parse().unwrap()
    });
    c.frame_with(&learned.emit_frame(), Offload::default(), now);
    let packet = udp(A.host, site.host, 64, b"transit");
    lab.a.frame_with(
        &frame(A.router_mac, A.host_mac, &packet),
        Offload::default(),
        now,
    );
    let mut arrived = Vec::new();
    for _ in 0..10 {
        for (from, sent) in [
            (socket(A), outputs(&mut lab.a, now)),
            (socket(B), outputs(&mut lab.b, now)),
            (socket(site), outputs(&mut c, now)),
        ] {
            for out in sent {
                match out {
                    Out::Train(Train {
                        to,
                        segment,
                        tos,
                        bytes,
                        ..
                    }) => {
                        let routers = [(A, &mut lab.a), (B, &mut lab.b), (site, &mut c)];
                        let (_, router) = routers
                            .into_iter()
                            .find(|(site, _)| socket(*site) == to)
                            .unwrap();
                        router.datagrams(from, tos, segment, &bytes, now);
                    }
                    Out::Port(sent) if from == socket(site) && sent.arp().is_none() => {
                        arrived.push(sent.ip().to_vec());
                    }
                    Out::Port(_) => {}
                }
            }
        }
    }
    assert_eq!(arrived, [udp(A.host, site.host, 61, b"transit")]);
    assert_eq!((lab.b.drops(), c.drops()), (vec![], vec![]));
}

#[test]
fn ecn_is_copied_to_the_outer_header_and_dscp_is_not() {
    let mut lab = Lab::connected();
    for tos in [0x00, 0x01, 0x02, 0x03, 0xba] {
        lab.clear();
        lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), tos));
        assert_eq!(lab.trains[0].tos, tos & 3);
        assert_eq!(lab.at_server()[0].0[1], tos);
    }
}

#[test]
fn only_the_routers_own_routing_messages_are_marked_as_such_outside() {
    const CS6: u8 = 0xc0;
    let mut lab = Lab::connected();
    lab.clear();
    for tos in [CS6 | 2, 0x20] {
        let packet = with_ecn(udp(A.overlay, B.overlay, 64, b"bgp"), tos);
        lab.a.host_packet(&packet, lab.now);
    }
    lab.settle();
    lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), CS6));

    let tos: Vec<_> = lab.trains.iter().map(|train| train.tos).collect();
    assert_eq!(tos, [CS6 | 2, 0, 0]);
}

#[test]
fn the_outer_dscp_is_that_of_the_tunnel_or_of_the_packet_and_none_comes_in() {
    let mut lab = Lab::connected();
    let packet = || with_ecn(udp(A.host, B.host, 64, b"x"), 0x2a);
    for (dscp, outer) in [(Dscp::Fixed(46), 0xba), (Dscp::Inherit, 0x2a)] {
        lab.clear();
        lab.a
            .install(lab.now, |snapshot| snapshot.tunnels[0].dscp = dscp);
        lab.send_a(&packet());
        assert_eq!(lab.trains[0].tos, outer);
    }
    lab.clear();
    lab.remark = Some(0xb8 | 2);
    lab.send_a(&packet());
    assert_eq!(
        lab.at_server()[0].0[1],
        0x2a,
        "the underlay's marks stay outside"
    );
    // Packets of one train share their outer header.
    lab.clear();
    for tos in [0x00, 0xb8, 0xb8] {
        let packet = with_ecn(udp(A.host, B.host, 64, b"x"), tos);
        let frame = frame(A.router_mac, A.host_mac, &packet);
        lab.a.frame_with(&frame, Offload::default(), lab.now);
    }
    lab.settle();
    let trains: Vec<u8> = lab.trains.iter().map(|train| train.tos).collect();
    assert_eq!(trains, [0x00, 0xb8]);
}

#[test]
fn congestion_marks_of_the_underlay_reach_the_inner_packet_as_rfc_6040_says() {
    // Rows: inner field, outer field as it arrived, inner field afterwards.
    let mut lab = Lab::connected();
    for (inner, outer, expected) in [
        (0, 0, Some(0)),
        (0, 1, Some(0)),
        (0, 2, Some(0)),
        (0, 3, None),
        (2, 0, Some(2)),
        (2, 1, Some(1)),
        (2, 2, Some(2)),
        (2, 3, Some(3)),
        (1, 0, Some(1)),
        (1, 1, Some(1)),
        (1, 2, Some(1)),
        (1, 3, Some(3)),
        (3, 0, Some(3)),
        (3, 1, Some(3)),
        (3, 2, Some(3)),
        (3, 3, Some(3)),
    ] {
        lab.clear();
        lab.remark = Some(outer);
        lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), inner));
        let arrived = lab.at_server();
        let tos = arrived.first().map(|(packet, _)| packet[1]);
        assert_eq!(tos, expected, "inner {inner}, outer {outer}");
        arrived
            .iter()
            .for_each(|(packet, _)| assert_checksums(packet));
    }
    assert_eq!(lab.b.drops(), [(DropReason::EcnCeNotEct, 1)]);
}

#[test]
fn packets_of_one_batch_keep_their_order_and_share_trains_by_size() {
    let mut lab = Lab::connected();
    let sizes = [500, 500, 500, 200, 200, 600, 600, 10];
    for (index, size) in sizes.iter().enumerate() {
        let mut payload = vec![0; *size];
        payload[0] = u8::try_from(index).unwrap();
        let bytes = frame(A.router_mac, A.host_mac, &udp(A.host, B.host, 64, &payload));
        lab.a.frame_with(&bytes, Offload::default(), lab.now);
    }
    lab.settle();
    let datagrams: Vec<_> = lab
        .trains
        .iter()
        .map(|train| train.bytes.len().div_ceil(train.segment))
        .collect();
    assert_eq!(
        datagrams,
        [4, 1, 3],
        "a shorter one closes, a longer one opens"
    );
    let mut order = Vec::new();
    for (packet, offload) in lab.at_server() {
        let size = match offload.gso {
            Gso::Udp { size } => usize::from(size),
            Gso::Tcp { .. } | Gso::None => packet.len() - 28,
        };
        order.extend(
            packet[28..]
                .chunks(size)
                .map(|payload| (payload[0], payload.len())),
        );
    }
    let expected: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| (u8::try_from(index).unwrap(), *size))
        .collect();
    assert_eq!(order, expected);
}

#[test]
fn a_train_is_no_longer_than_a_udp_payload() {
    let mut lab = Lab::connected();
    let packet = udp(A.host, B.host, 64, &[1; 1420 - 28]);
    for _ in 0..60 {
        let bytes = frame(A.router_mac, A.host_mac, &packet);
        lab.a.frame_with(&bytes, Offload::default(), lab.now);
    }
    lab.settle();
    let datagrams = |train: &Train| train.bytes.len() / train.segment;
    assert_eq!(
        lab.trains.iter().map(datagrams).collect::<Vec<_>>(),
        [45, 15]
    );
    let arrived: usize = lab
        .at_server()
        .iter()
        .map(|(packet, _)| packet.len() - 28)
        .sum();
    assert_eq!(arrived, 60 * (1420 - 28));
}

#[test]
fn packets_with_different_ecn_fields_do_not_share_a_train() {
    let mut lab = Lab::connected();
    for ecn in [0, 2, 2, 0] {
        let packet = with_ecn(udp(A.host, B.host, 64, b"x"), ecn);
        let bytes = frame(A.router_mac, A.host_mac, &packet);
        lab.a.frame_with(&bytes, Offload::default(), lab.now);
    }
    lab.settle();
    let tos: Vec<_> = lab.trains.iter().map(|train| train.tos).collect();
    assert_eq!(tos, [0, 2, 0]);
}

#[test]
fn a_train_ends_when_the_peer_moves() {
    let mut lab = Lab::connected();
    let (now, moved) = (lab.now, "198.18.0.9:7".parse().unwrap());
    let bytes = frame(A.router_mac, A.host_mac, &udp(A.host, B.host, 64, b"x"));
    lab.a.frame_with(&bytes, Offload::default(), now);
    // The new endpoint counts from the next packet on, in the middle of the batch.
    lab.a.handshakes.device().set_endpoint(PEER, moved, now);
    lab.a.frame_with(&bytes, Offload::default(), now);
    let sent = outputs(&mut lab.a, now);
    let to: Vec<_> = sent
        .iter()
        .filter_map(|out| match out {
            Out::Train(train) => Some(train.to),
            Out::Port(_) => None,
        })
        .collect();
    assert_eq!(to, [socket(B), moved]);
}

#[test]
fn a_train_ends_at_63_datagrams() {
    let mut lab = Lab::connected();
    for _ in 0..130 {
        let bytes = frame(
            A.router_mac,
            A.host_mac,
            &udp(A.host, B.host, 64, b"12345678"),
        );
        lab.a.frame_with(&bytes, Offload::default(), lab.now);
    }
    lab.settle();
    let datagrams = |train: &Train| train.bytes.len() / train.segment;
    assert_eq!(
        lab.trains.iter().map(datagrams).collect::<Vec<_>>(),
        [63, 63, 4]
    );
}
