//! Neighbor resolution on a whole router. The state machine has its own tests in `neighbor.rs`.

use std::time::Duration;

use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::{DropReason, NextHop, Notice};

use crate::lab::*;

#[test]
fn packets_wait_for_the_neighbor_and_leave_in_order() {
    let mut lab = Lab::new();
    lab.hosts_up = false;
    lab.advance(Duration::from_secs(6));
    for payload in [b"1", b"2", b"3"] {
        lab.send_a(&udp(A.host, B.host, 64, payload));
    }
    assert_eq!(lab.at_server().len(), 0);
    assert_eq!(
        (
            lab.b.forwarder.neighbors()[0].state,
            lab.b.forwarder.neighbors()[0].queued
        ),
        ("incomplete", 3)
    );
    let reply = ArpPacket::request(B.router_mac, B.router, B.host).reply(B.host_mac);
    let now = lab.now;
    lab.b
        .frame_with(&reply.emit_frame(), sam_dataplane::Offload::default(), now);
    lab.settle();
    let payloads: Vec<_> = lab
        .at_server()
        .iter()
        .map(|(packet, _)| packet[28])
        .collect();
    assert_eq!(payloads, *b"123");
    let (port, address, mac) = (LAN, B.host, B.host_mac);
    assert!(
        lab.b
            .notices()
            .contains(&Notice::NeighborUp { port, address, mac })
    );
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_silent_neighbor_is_asked_three_times_and_its_senders_get_host_unreachable() {
    let mut lab = Lab::connected();
    lab.send_a(&udp(A.host, silent(B), 64, b"x"));
    lab.advance(Duration::from_secs(3));
    let asked: Vec<_> = lab
        .from_b
        .iter()
        .filter_map(|(_, sent)| sent.arp())
        .filter(|arp| arp.target == silent(B))
        .collect();
    assert_eq!(
        asked,
        [ArpPacket::request(B.router_mac, B.router, silent(B)); 3]
    );
    assert_eq!(icmp_of(&lab.at_client()[0].0), (B.overlay, A.host, 3, 1, 0));
    assert_eq!(lab.b.drops(), [(DropReason::NeighborFailed, 1)]);
    let (port, address) = (LAN, silent(B));
    assert_eq!(lab.b.notices(), [Notice::NeighborDown { port, address }]);
    lab.send_a(&udp(A.host, silent(B), 64, b"x"));
    assert_eq!(
        lab.b.dropped(DropReason::NeighborFailed),
        2,
        "refused at once"
    );
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_busy_neighbor_is_confirmed_without_a_pause() {
    let mut lab = Lab::connected();
    for _ in 0..100 {
        lab.advance(Duration::from_secs(1));
        let before = lab.at_server().len();
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
        assert_eq!(lab.at_server().len(), before + 1);
    }
    let asked: Vec<_> = lab
        .from_b
        .iter()
        .filter(|(_, sent)| sent.port == LAN)
        .filter_map(|(_, sent)| sent.arp().map(|packet| (sent.bytes[..6].to_vec(), packet)))
        .filter(|(_, packet)| packet.operation == ArpOperation::Request && packet.target == B.host)
        .collect();
    assert!(
        (3..=4).contains(&asked.len()),
        "every 30 s: {}",
        asked.len()
    );
    assert!(asked.iter().all(|(to, _)| *to == B.host_mac), "by unicast");
}

#[test]
fn a_router_without_lan_address_asks_by_its_overlay_address_and_without_both_probes() {
    for (tun, expected) in [(true, B.overlay), (false, std::net::Ipv4Addr::UNSPECIFIED)] {
        let mut lab = Lab::connected();
        let now = lab.now;
        lab.b.install(now, |snapshot| {
            snapshot.lans[0].address = None;
            if !tun {
                snapshot.tun = None;
            }
        });
        lab.send_a(&udp(A.host, silent(B), 64, b"x"));
        let asked = lab.from_b.iter().find_map(|(_, sent)| sent.arp()).unwrap();
        assert_eq!((asked.sender, asked.sender_mac), (expected, B.router_mac));
    }
}

#[test]
fn only_neighbors_of_this_lan_are_learned() {
    let mut lab = Lab::new();
    for sender in [
        B.host,
        A.router,
        "10.77.60.99".parse().unwrap(),
        "192.0.2.9".parse().unwrap(),
    ] {
        lab.arp_a(
            ArpPacket::request([2, 0, 0, 0, 0, 0xee], sender, A.router),
            BROADCAST,
        );
    }
    assert_eq!(lab.a.forwarder.neighbors(), []);
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, A.router), BROADCAST);
    let neighbors = lab.a.forwarder.neighbors();
    assert_eq!(
        (neighbors.len(), neighbors[0].address, neighbors[0].mac),
        (1, A.host, Some(A.host_mac))
    );
}

#[test]
fn a_neighbor_whose_address_moved_away_is_forgotten() {
    let mut lab = Lab::connected();
    assert_eq!(lab.b.forwarder.neighbors().len(), 1);
    lab.b.install(lab.now, |snapshot| {
        add_route(snapshot, B.host, NextHop::Tunnel(TUNNEL));
    });
    assert_eq!(lab.b.forwarder.neighbors(), []);
}

#[test]
fn waiting_packets_leave_the_last_buffers_to_the_others() {
    let mut lab = Lab::connected();
    let mut held = Vec::new();
    while lab.b.pool.available() > 15 {
        held.push(lab.b.pool.take().unwrap());
    }
    lab.send_a(&udp(A.host, silent(B), 64, b"x"));
    assert_eq!(lab.b.drops(), [(DropReason::NeighborQueueFull, 1)]);
}
