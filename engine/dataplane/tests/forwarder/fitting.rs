//! Packets that are too long: refused, fragmented, or prevented by the MSS.

use std::net::Ipv4Addr;

use sam_dataplane::encap::{Framing, Gre};
use sam_dataplane::{Carrier, DropReason, NextHop, PathProbe, Unit};

use crate::lab::*;

#[test]
fn a_packet_of_exactly_the_tunnel_mtu_passes_and_one_byte_more_does_not() {
    let mut lab = Lab::connected();
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1380]));
    assert_eq!(lab.at_server()[0].0.len(), 1420);
    lab.clear();
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1381]));
    assert_eq!(lab.at_server().len(), 0);
    assert_eq!(lab.a.drops(), [(DropReason::TooBig, 1)]);
    assert_eq!(
        icmp_of(&lab.at_client()[0].0),
        (A.router, A.host, 3, 4, MTU)
    );
}

#[test]
fn a_superpacket_is_judged_by_its_segments_and_gets_one_error() {
    let mut lab = Lab::connected();
    let payload = vec![7; 1448 * 10];
    lab.send_a_with(&tcp(A.host, B.host, 1, &payload), superpacket(1448));
    assert_eq!((lab.at_server().len(), lab.trains.len()), (0, 0));
    let errors = lab.at_client();
    assert_eq!(errors.len(), 1);
    let error = &errors[0].0;
    assert_eq!(icmp_of(error), (A.router, A.host, 3, 4, MTU));
    let quoted_length = u16::from_be_bytes([error[30], error[31]]);
    assert_eq!(quoted_length, 1488, "the length of the first segment");
    assert_eq!(error[36], 64, "the TTL as it was received");
}

#[test]
fn a_packet_that_may_be_fragmented_arrives_in_fragments_that_fit() {
    let mut lab = Lab::connected();
    let payload: Vec<u8> = (0..=250).cycle().take(3000).collect();
    let long = may_fragment(udp(A.host, B.host, 64, &payload));
    lab.send_a(&long);
    let mut arrived = vec![0; payload.len() + 8];
    let fragments = lab.at_server();
    assert_eq!(fragments.len(), 3);
    for (packet, _) in &fragments {
        assert!(packet.len() <= usize::from(MTU));
        assert_checksums_of_header(packet);
        let offset = usize::from(u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff) * 8;
        arrived[offset..offset + packet.len() - 20].copy_from_slice(&packet[20..]);
    }
    assert_eq!(arrived[8..], payload);
    assert_eq!(
        (lab.a.counter("fragments-made"), lab.a.drops()),
        (3, vec![])
    );
}

#[test]
fn a_fragmentable_superpacket_is_cut_first_and_fragmented_then() {
    let mut lab = Lab::connected();
    let payload = vec![5; 1448 * 3];
    let packet = may_fragment(tcp(A.host, B.host, 1, &payload));
    lab.send_a_with(&packet, superpacket(1448));
    let bytes: usize = lab
        .at_server()
        .iter()
        .map(|(packet, _)| packet.len() - 20)
        .sum();
    assert_eq!((lab.at_server().len(), bytes), (6, 3 * (1448 + 20)));
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_tunnel_that_forces_fragments_whatever_the_sender_says() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        snapshot.tunnels[0].force_fragment = true
    });
    let payload: Vec<u8> = (0..=250).cycle().take(1460).collect();
    let mut numbers = Vec::new();
    for _ in 0..2 {
        lab.clear();
        let packet = edit(tcp(A.host, B.host, 1, &payload), |header| {
            header[4..6].fill(0);
        });
        lab.send_a(&packet);
        let fragments = lab.at_server();
        let lengths: Vec<usize> = fragments.iter().map(|(packet, _)| packet.len()).collect();
        assert_eq!(lengths, [1420, 100]);
        for (packet, _) in &fragments {
            assert_checksums_of_header(packet);
            assert_eq!(packet[6] & 0x40, 0, "the next router may fragment them too");
            numbers.push(u16::from_be_bytes([packet[4], packet[5]]));
        }
    }
    assert!(numbers[0] == numbers[1] && numbers[2] == numbers[3] && numbers[1] != numbers[2]);
    assert_eq!((lab.at_client(), lab.a.drops()), (vec![], vec![]));
    assert_eq!(lab.a.counter("packets-forced"), 2);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_tunnel_that_forces_cuts_superpackets_smaller_instead() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        snapshot.tunnels[0].force_fragment = true
    });
    let payload: Vec<u8> = (0..=250).cycle().take(1460 * 5).collect();
    lab.send_a_with(&tcp(A.host, B.host, 1, &payload), superpacket(1460));
    assert_eq!(lab.a.counter("fragments-made"), 0);
    let arrived = lab.at_server();
    let joined: Vec<u8> = arrived
        .iter()
        .flat_map(|(packet, _)| packet[40..].to_vec())
        .collect();
    assert_eq!(joined, payload);
    let longest = lab.trains.iter().map(|train| train.segment).max();
    assert_eq!(longest, Some(usize::from(MTU) + 32));
    assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_lan_that_is_smaller_than_the_tunnel_refuses_and_fragments_too() {
    let mut lab = Lab::connected();
    lab.b
        .install(lab.now, |snapshot| snapshot.lans[0].mtu = 1000);
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1300]));
    assert_eq!(lab.b.drops(), [(DropReason::TooBig, 1)]);
    let error = &lab.at_client()[0].0;
    assert_eq!(icmp_of(error), (B.overlay, A.host, 3, 4, 1000));
    lab.send_a(&may_fragment(udp(A.host, B.host, 64, &[7; 1300])));
    assert_eq!(
        lab.at_server().iter().map(|(packet, _)| packet.len()).max(),
        Some(996)
    );
    assert_eq!(lab.at_server().len(), 2);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn the_mss_of_a_syn_is_lowered_at_the_first_tunnel() {
    let mut lab = Lab::connected();
    for (mss, expected) in [(1460, 1380), (1380, 1380), (1200, 1200)] {
        lab.clear();
        lab.send_a(&syn(A.host, B.host, mss));
        let (packet, _) = &lab.at_server()[0];
        assert_eq!(mss_of(packet), expected);
        assert_checksums(packet);
    }
    assert_eq!(
        (lab.a.counter("mss-clamped"), lab.b.counter("mss-clamped")),
        (1, 0)
    );
}

#[test]
fn the_mss_is_lowered_at_decapsulation_when_the_far_router_did_not() {
    let mut lab = Lab::connected();
    lab.a
        .install(lab.now, |snapshot| snapshot.tunnels[0].mss_clamp = false);
    lab.send_a(&syn(A.host, B.host, 1460));
    assert_eq!(mss_of(&lab.at_server()[0].0), 1380);
    assert_eq!(
        (lab.a.counter("mss-clamped"), lab.b.counter("mss-clamped")),
        (0, 1)
    );
    lab.clear();
    lab.b
        .install(lab.now, |snapshot| snapshot.tunnels[0].mss_clamp = false);
    lab.send_a(&syn(A.host, B.host, 1460));
    assert_eq!(mss_of(&lab.at_server()[0].0), 1460);
}

#[test]
fn the_mss_fits_a_lan_that_is_smaller_than_the_tunnel_whichever_side_begins() {
    let mut lab = Lab::connected();
    lab.b
        .install(lab.now, |snapshot| snapshot.lans[0].mtu = 1000);
    lab.send_a(&syn(A.host, B.host, 1460));
    lab.send_b(&syn(B.host, A.host, 1460));
    for (packet, _) in [&lab.at_server()[0], &lab.at_client()[0]] {
        assert_eq!(mss_of(packet), 960);
        assert_checksums(packet);
    }
}

#[test]
fn a_host_packet_that_is_too_big_is_answered_as_if_from_its_destination() {
    let mut lab = Lab::connected();
    lab.a
        .host_packet(&tcp(A.overlay, B.host, 1, &[7; 1400]), lab.now);
    lab.settle();
    let (_, sent) = &lab.from_a[0];
    assert_eq!(sent.port, TUN);
    assert_eq!(icmp_of(&sent.bytes), (B.host, A.overlay, 3, 4, MTU));
}

#[test]
fn a_packet_too_big_for_a_second_tunnel_is_answered_through_the_first() {
    let mut lab = Lab::connected();
    let third: Ipv4Addr = "10.99.0.1".parse().unwrap();
    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, third, NextHop::Tunnel(TUNNEL))
    });
    lab.b.install(lab.now, |snapshot| {
        let mut narrow = snapshot.tunnels[0].clone();
        narrow.id = sam_dataplane::TunnelId(1);
        narrow.mtu = 900;
        narrow.encap = sam_dataplane::snapshot::Encap::WireGuard(sam_wg::PeerIndex(6));
        snapshot.tunnels.push(narrow);
        add_route(snapshot, third, NextHop::Tunnel(sam_dataplane::TunnelId(1)));
    });
    lab.send_a(&tcp(A.host, third, 1, &[7; 1000]));
    assert_eq!(
        icmp_of(&lab.at_client()[0].0),
        (B.overlay, A.host, 3, 4, 900)
    );
}

fn assert_checksums_of_header(packet: &[u8]) {
    let (header, _) = etherparse::Ipv4Header::from_slice(packet).unwrap();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
}

#[test]
fn wireguard_hides_the_length_of_packets_within_sixteen_bytes_and_the_mtu() {
    let mut lab = Lab::connected();
    for (length, sealed) in [
        (28, 32),
        (32, 32),
        (33, 48),
        (1400, 1408),
        (1409, MTU),
        (1420, MTU),
    ] {
        lab.clear();
        let packet = udp(A.host, B.host, 64, &vec![7; length - 28]);
        lab.send_a(&packet);
        assert_eq!(
            lab.trains[0].bytes.len(),
            usize::from(sealed) + 32,
            "{length}"
        );
        let [(arrived, _)] = &lab.at_server()[..] else {
            panic!("one packet")
        };
        assert_eq!(arrived.len(), length, "padding does not travel on");
    }
    assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
}

#[test]
fn nested_tunnels_are_padded_as_a_whole() {
    let mut lab = Lab::nested(Carrier::GRE, Framing::Gre(Gre::PLAIN));
    let mtu = usize::from(lab.a.snapshot.tunnels[0].mtu);
    for length in [28, 100, mtu - 1, mtu] {
        lab.clear();
        lab.send_a(&udp(A.host, B.host, 64, &vec![7; length - 28]));
        let sealed = (length + 24).next_multiple_of(16).min(mtu + 24) + 32;
        assert_eq!(lab.trains[0].bytes.len(), sealed, "{length}");
        assert_eq!(lab.at_server()[0].0.len(), length);
    }
}

#[test]
fn a_probe_is_no_longer_than_it_says_and_no_packet_of_its_train_is() {
    let mut lab = Lab::connected();
    let (now, size) = (lab.now, 1290);
    let probe = PathProbe {
        tunnel: TUNNEL,
        to: B.overlay,
        size,
        id: 7,
    };
    lab.a.with(|forwarder, io| {
        forwarder.send_probe(&probe, io, now);
        for length in [1290, 1285, 1300] {
            let mut buffer = io.pool.take().unwrap();
            let packet = udp(A.overlay, B.overlay, 64, &vec![7; length - 28]);
            assert!(buffer.append(&packet));
            forwarder.handle_host_packet(Unit::plain(buffer), io, now);
        }
    });
    lab.a.flush(now);
    lab.settle();
    let trains: Vec<_> = lab
        .trains
        .iter()
        .map(|train| (train.segment, train.bytes.len()))
        .collect();
    // Each packet but the probe is longer by its padding, and so begins a train of its own or joins one of its length.
    assert_eq!(trains, [(1322, 1322), (1328, 2 * 1328), (1344, 1344)]);
}
