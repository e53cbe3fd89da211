//! The size of a tunnel's path: errors of the underlay, long packets, probes and their answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sam_dataplane::encap::{Framing, Plain};
use sam_dataplane::path_watch::LONG_INTERVAL;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{
    Carrier, DropReason, Notice, PathError, PathErrorKind, PathProbe, TunnelId, Undelivered,
};

use crate::lab::*;

const PROBE: PathProbe = PathProbe {
    tunnel: TUNNEL,
    to: B.overlay,
    size: MTU + 20,
    id: 0xfeed_beef,
};

#[test]
fn an_error_about_the_far_end_of_a_tunnel_is_told_once() {
    let mut lab = Lab::connected();
    let now = lab.now;
    let too_narrow = |mtu| Notice::PathTooNarrow {
        tunnel: TUNNEL,
        mtu,
    };
    for mtu in [1400, 1400, 1300, 1400] {
        lab.a
            .forwarder
            .handle_path_error(too_long(socket(B), mtu), now);
    }
    assert_eq!(lab.a.notices(), [too_narrow(1400), too_narrow(1300)]);
    // The kernel's own refusals do not name a port.
    let any_port = SocketAddr::new(socket(B).ip(), 0);
    let later = now + Duration::from_secs(1);
    lab.a
        .forwarder
        .handle_path_error(too_long(any_port, 1300), later);
    assert_eq!(lab.a.notices(), [too_narrow(1300)]);
    assert_eq!(lab.a.counter("path-errors"), 5);
}

#[test]
fn an_error_about_anybody_else_is_counted_and_ignored() {
    let mut lab = Lab::connected();
    let now = lab.now;
    let mut other_port = socket(B);
    other_port.set_port(53);
    for to in [
        socket(A),
        other_port,
        "[2001:db8::1]:51820".parse().unwrap(),
    ] {
        for error in [too_long(to, 1300), undelivered(to)] {
            lab.a.forwarder.handle_path_error(error, now);
        }
    }
    assert_eq!(lab.a.notices(), []);
    assert_eq!(lab.a.counter("path-errors-foreign"), 6);
}

#[test]
fn that_nothing_is_delivered_is_told_ten_times_a_second_at_most() {
    let mut lab = Lab::connected();
    for _ in 0..1000 {
        let error = undelivered(socket(B));
        lab.a.forwarder.handle_path_error(error, lab.now);
        lab.advance(Duration::from_millis(1));
    }
    let told = Notice::Undelivered {
        tunnel: TUNNEL,
        why: Undelivered::HostUnreachable,
        by: Some(ROUTER),
    };
    assert_eq!(lab.a.notices(), vec![told; 10]);
    assert_eq!(lab.a.counter("path-undelivered"), 1000);
    assert_eq!(lab.a.counter("path-errors"), 0);
}

#[test]
fn who_sends_to_where_nothing_arrives_is_told_and_what_he_sends_goes_out() {
    let mut lab = Lab::connected();
    unreachable(&mut lab);
    let packet = udp(A.host, B.host, 64, b"lost, perhaps");
    lab.send_a(&packet);

    let errors = lab.at_client();
    let [(error, _)] = &errors[..] else {
        panic!("one error: {errors:?}")
    };
    assert_eq!(icmp_of(error), (A.router, A.host, 3, 1, 0));
    assert_eq!(error[28..], packet);
    assert_eq!((lab.trains.len(), lab.a.drops()), (1, vec![]));
    lab.assert_no_buffer_is_lost();
}

#[test]
fn a_sender_is_told_no_oftener_than_of_any_other_error() {
    let mut lab = Lab::connected();
    unreachable(&mut lab);
    for _ in 0..100 {
        lab.send_a(&udp(A.host, B.host, 64, b"lost, perhaps"));
    }
    assert_eq!(lab.at_client().len(), 20);
    assert_eq!(lab.trains.len(), 100, "all are sent");
}

#[test]
fn neither_our_host_nor_who_sends_elsewhere_is_told() {
    let mut lab = Lab::connected();
    unreachable(&mut lab);
    let now = lab.now;
    lab.a.host_packet(&udp(A.overlay, B.overlay, 64, b""), now);
    lab.send_b(&udp(B.host, A.host, 64, b""));
    assert_eq!(lab.a.counter("icmp-errors-sent"), 0);
    lab.a
        .install(now, |snapshot| snapshot.unreachable = [TunnelId(7)].into());
    lab.send_a(&udp(A.host, B.host, 64, b""));
    assert_eq!(lab.a.counter("icmp-errors-sent"), 0);
}

/// The underlay says so.
fn unreachable(lab: &mut Lab) {
    let now = lab.now;
    lab.a
        .install(now, |snapshot| snapshot.unreachable = [TUNNEL].into());
    lab.settle();
    lab.clear();
}

fn too_long(to: SocketAddr, mtu: u16) -> PathError {
    PathError {
        to,
        by: None,
        kind: PathErrorKind::TooLong { mtu },
    }
}

fn undelivered(to: SocketAddr) -> PathError {
    PathError {
        to,
        by: Some(ROUTER),
        kind: PathErrorKind::Undelivered(Undelivered::HostUnreachable),
    }
}

/// Somebody on the way.
const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 99));

#[test]
fn a_tunnel_without_encryption_hears_errors_about_its_far_end() {
    let mut lab = Lab::connected();
    let to = "192.0.2.9:0".parse().unwrap();
    lab.a.install(lab.now, |snapshot| {
        snapshot.tunnels[0].encap = Encap::Plain(Plain {
            carrier: Carrier::IPIP,
            framing: Framing::Ipip,
            to: Some(to),
            by_lan: false,
        });
    });
    lab.a
        .forwarder
        .handle_path_error(too_long(to, 1300), lab.now);
    let told = Notice::PathTooNarrow {
        tunnel: TUNNEL,
        mtu: 1300,
    };
    assert_eq!(lab.a.notices(), [told]);
}

#[test]
fn long_packets_are_told_now_and_then_and_short_ones_never() {
    let mut lab = Lab::connected();
    let told = Notice::LongPackets { tunnel: TUNNEL };
    lab.send_a(&udp(A.host, B.host, 64, b"short"));
    assert_eq!(lab.a.notices(), []);
    for _ in 0..3 {
        lab.send_a(&tcp(A.host, B.host, 1, &[7; 1300]));
    }
    assert_eq!(lab.a.notices(), std::slice::from_ref(&told));
    lab.advance(LONG_INTERVAL);
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1300]));
    assert_eq!(lab.a.notices(), [told]);
    // What is refused does not travel.
    lab.advance(LONG_INTERVAL);
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1400]));
    assert_eq!(lab.a.notices(), []);
}

#[test]
fn who_sent_what_a_narrowed_tunnel_refuses_is_told_without_sending_it_again() {
    let mut lab = Lab::connected();
    let payload = vec![7; 1380 * 10];
    lab.send_a_with(&tcp(A.host, B.host, 77, &payload), superpacket(1380));
    narrow(&mut lab, 1300);

    let errors = lab.at_client();
    let [(error, _)] = &errors[..] else {
        panic!("one error: {errors:?}")
    };
    assert_eq!(icmp_of(error), (A.router, A.host, 3, 4, 1300));
    // The first wire packet, so that the sender finds its sequence number.
    let first = edit(tcp(A.host, B.host, 77, &payload), |header| {
        header[2..4].copy_from_slice(&1420_u16.to_be_bytes());
    });
    assert_eq!(error[28..], first[..28]);
    // It is told once.
    lab.clear();
    narrow(&mut lab, 1200);
    assert_eq!(lab.at_client(), []);
    assert_eq!(
        (lab.a.counter("icmp-errors-sent"), lab.a.drops()),
        (1, vec![])
    );
    lab.assert_no_buffer_is_lost();
}

#[test]
fn senders_of_what_still_passes_or_is_long_past_hear_nothing_of_a_narrowed_tunnel() {
    let mut lab = Lab::connected();
    lab.send_a(&tcp(A.host, B.host, 1, &[7; 1260]));
    lab.send_a(&may_fragment(udp(A.host, B.host, 64, &[7; 1390])));
    narrow(&mut lab, 1300);
    assert_eq!(lab.at_client(), []);

    lab.advance(Duration::from_secs(6));
    narrow(&mut lab, 1200);
    assert_eq!(
        (lab.at_client(), lab.a.counter("icmp-errors-sent")),
        (vec![], 0)
    );
}

#[test]
fn of_each_flow_the_packet_sent_last_is_the_one_told_of() {
    let mut lab = Lab::connected();
    for sequence in [1, 2, 3] {
        lab.send_a(&tcp(A.host, B.host, sequence, &[7; 1380]));
        lab.advance(Duration::from_millis(20));
    }
    lab.clear();
    narrow(&mut lab, 1300);
    let errors = lab.at_client();
    let quoted = errors.iter().map(|(error, _)| error[52..56].to_vec());
    assert_eq!(quoted.collect::<Vec<_>>(), [[0, 0, 0, 3]]);
}

fn narrow(lab: &mut Lab, mtu: u16) {
    let now = lab.now;
    lab.a.install(now, |snapshot| snapshot.tunnels[0].mtu = mtu);
    lab.settle();
}

#[test]
fn a_probe_passes_the_mtu_and_arrives_whole_at_the_far_host() {
    let mut lab = Lab::connected();
    let now = lab.now;
    lab.a
        .with(|forwarder, io| forwarder.send_probe(&PROBE, io, now));
    lab.settle();

    let (_, arrived) = lab.from_b.last().expect("at B's host");
    assert_eq!(arrived.port, TUN);
    assert_eq!(arrived.bytes.len(), usize::from(PROBE.size));
    assert_eq!(lab.trains[0].bytes.len(), usize::from(PROBE.size) + 32);
    assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
    assert_eq!(lab.a.counter("path-probes-sent"), 1);

    // B's kernel answers in fragments; the first one tells.
    let mut first = arrived.bytes[..796].to_vec();
    first[20] = 0;
    let first = edit(first, |header| {
        header[2..4].copy_from_slice(&796_u16.to_be_bytes());
        header[6] = 0x20;
        header[12..16].copy_from_slice(&B.overlay.octets());
        header[16..20].copy_from_slice(&A.overlay.octets());
    });
    lab.clear();
    lab.b.host_packet(&first, now);
    lab.settle();
    let answered = Notice::ProbeAnswered {
        tunnel: TUNNEL,
        id: PROBE.id,
    };
    assert_eq!(lab.a.notices(), [answered]);
    assert_eq!(lab.from_a, [], "the host did not ask");
    assert_eq!(lab.a.counter("path-probes-answered"), 1);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn an_answer_to_the_hosts_own_ping_reaches_the_host() {
    let mut lab = Lab::connected();
    let now = lab.now;
    let mut reply = edit(udp(B.overlay, A.overlay, 64, &[0; 64]), |header| {
        header[9] = 1
    });
    reply[20..22].copy_from_slice(&[0, 0]);
    lab.b.host_packet(&reply, now);
    lab.settle();
    assert_eq!((lab.a.notices(), lab.from_a.len()), (vec![], 1));
}

#[test]
fn a_probe_without_a_session_is_not_kept() {
    let mut lab = Lab::new();
    let now = lab.now;
    lab.a
        .with(|forwarder, io| forwarder.send_probe(&PROBE, io, now));
    assert_eq!(lab.a.drops(), [(DropReason::TunnelNoSession, 1)]);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn the_shortest_probe_wakes_a_tunnel_without_session() {
    let mut lab = Lab::new();
    let now = lab.now;
    let probe = PathProbe {
        size: sam_dataplane::path_probe::PROBE_MIN,
        ..PROBE
    };
    lab.a
        .with(|forwarder, io| forwarder.send_probe(&probe, io, now));
    lab.settle();

    let (_, arrived) = lab.from_b.last().expect("at B's host");
    assert_eq!(arrived.bytes.len(), usize::from(probe.size));
    assert_eq!(lab.a.drops(), []);
    lab.assert_no_buffer_is_lost();
}
