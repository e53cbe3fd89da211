//! What waits for a session, and what sessions tell.

use std::time::Duration;

use sam_dataplane::{DropReason, Notice};

use crate::lab::*;

#[test]
fn packets_wait_for_the_first_session_and_leave_in_order() {
    let mut lab = Lab::new();
    lab.underlay_up = false;
    for payload in [b"1", b"2", b"3"] {
        lab.send_a(&udp(A.host, B.host, 64, payload));
    }
    lab.underlay_up = true;
    lab.advance(Duration::from_secs(10));
    let payloads: Vec<_> = lab
        .at_server()
        .iter()
        .flat_map(|(packet, _)| packet[28..].to_vec())
        .collect();
    assert_eq!(payloads, *b"123");
    assert!(lab.a.notices().contains(&Notice::SessionUp {
        tunnel: TUNNEL,
        first: true
    }));
    assert!(lab.b.notices().contains(&Notice::SessionUp {
        tunnel: TUNNEL,
        first: true
    }));
    assert_eq!(
        (lab.a.counter("handshakes-completed"), lab.a.drops()),
        (1, vec![])
    );
    lab.assert_no_buffer_is_lost();
}

#[test]
fn packets_wait_for_a_peer_that_is_not_known_yet() {
    let mut lab = Lab::new();
    lab.a.handshakes.set_peers(&[], lab.now);
    lab.send_a(&udp(A.host, B.host, 64, b"1"));
    assert_eq!(lab.a.drops(), []);
    let known = sam_wg::PeerConfig {
        persistent_keepalive: Some(Duration::from_secs(25)),
        ..peer(B)
    };
    lab.a.handshakes.set_peers(&[known], lab.now);
    lab.advance(Duration::from_secs(1));
    assert_eq!((lab.at_server().len(), lab.a.drops()), (1, vec![]));
}

#[test]
fn a_session_that_is_there_before_its_tunnel_is_named_with_it() {
    let mut lab = Lab::connected();
    lab.clear();
    let tunnels = snapshot(A, B).tunnels;
    lab.a.install(lab.now, |snapshot| snapshot.tunnels.clear());
    assert_eq!(lab.a.notices(), []);

    lab.a
        .install(lab.now, |snapshot| snapshot.tunnels = tunnels);

    let told = Notice::SessionUp {
        tunnel: TUNNEL,
        first: true,
    };
    assert_eq!(lab.a.notices(), [told]);
    lab.a.install(lab.now, |_| ());
    assert_eq!(lab.a.notices(), []);
}

#[test]
fn a_superpacket_waits_whole() {
    let mut lab = Lab::new();
    lab.send_a_with(&tcp(A.host, B.host, 1, &vec![7; 13_800]), superpacket(1380));
    let bytes: usize = lab
        .at_server()
        .iter()
        .map(|(packet, _)| packet.len() - 40)
        .sum();
    assert_eq!((bytes, lab.at_server().len()), (13_800, 1));
}

#[test]
fn the_oldest_waiting_packets_give_way() {
    let mut lab = Lab::new();
    lab.underlay_up = false;
    for number in 0..40 {
        lab.send_a(&udp(A.host, B.host, 64, &[number]));
    }
    assert_eq!(lab.a.drops(), [(DropReason::TunnelNoSession, 8)]);
    lab.underlay_up = true;
    lab.advance(Duration::from_secs(10));
    let numbers: Vec<_> = lab
        .at_server()
        .iter()
        .flat_map(|(packet, _)| packet[28..].to_vec())
        .collect();
    // B's own neighbor queue may have been too short; what arrives is in order and ends with the last.
    assert_eq!(numbers.last(), Some(&39));
    assert!(numbers.is_sorted());
}

#[test]
fn waiting_ends_when_the_handshake_is_given_up() {
    let mut lab = Lab::new();
    lab.underlay_up = false;
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    lab.advance(Duration::from_secs(120));
    assert_eq!(lab.a.drops(), [(DropReason::TunnelNoSession, 1)]);
    assert!(
        lab.a
            .notices()
            .contains(&Notice::SessionDown { tunnel: TUNNEL })
    );
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_peer_that_moves_is_told_and_followed() {
    let mut lab = Lab::connected();
    let (now, moved) = (lab.now, "198.18.0.9:7".parse().unwrap());
    lab.underlay_up = false;
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    let train = lab.trains.pop().unwrap();
    lab.b.datagrams(moved, 0, train.segment, &train.bytes, now);
    lab.settle();
    let (tunnel, from, to) = (TUNNEL, Some(socket(A)), moved);
    assert_eq!(
        lab.b.notices(),
        [Notice::EndpointChanged { tunnel, from, to }]
    );
    assert_eq!(lab.b.handshakes.data_path().endpoint(PEER), Some(moved));
}

#[test]
fn a_tunnel_that_leads_elsewhere_loses_what_waited_for_it() {
    let mut lab = Lab::new();
    lab.underlay_up = false;
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    lab.a.install(lab.now, |snapshot| {
        snapshot.tunnels[0].encap = sam_dataplane::snapshot::Encap::WireGuard(sam_wg::PeerIndex(6));
    });
    assert_eq!(lab.a.drops(), [(DropReason::TunnelDown, 1)]);
}

#[test]
fn waiting_packets_leave_the_last_buffers_to_the_others() {
    let mut lab = Lab::new();
    lab.underlay_up = false;
    let mut held = Vec::new();
    while lab.a.pool.available() > 15 {
        held.push(lab.a.pool.take().unwrap());
    }
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    assert_eq!(lab.a.drops(), [(DropReason::TunnelNoSession, 1)]);
}

#[test]
fn the_next_deadline_has_a_name() {
    let mut lab = Lab::new();
    assert_eq!(lab.a.poll_timeout().unwrap().1, "announcer");
    lab.advance(Duration::from_secs(10));
    assert_eq!(lab.a.poll_timeout().unwrap().1, "watch");
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    assert_eq!(lab.a.poll_timeout(), None, "nothing is due");
    lab.underlay_up = false;
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    assert_eq!(lab.a.poll_timeout().unwrap().1, "wg-handshake-retry");
    lab.a
        .host_packet(&udp(A.router, silent(A), 64, b"x"), lab.now);
    assert_eq!(lab.a.poll_timeout().unwrap().1, "neighbor");
}
