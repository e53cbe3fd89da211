//! What a listener sees.

use std::time::Duration;

use sam_dataplane::decision::Way;
use sam_dataplane::trace::TapPoint;
use sam_dataplane::{DropReason, Verdict};

use crate::lab::*;

#[test]
fn a_packet_is_seen_at_each_point_in_each_direction() {
    let mut lab = Lab::connected();
    lab.set_tap();
    lab.send_a(&udp(A.host, B.host, 64, b"there"));
    lab.send_b(&udp(B.host, A.host, 64, b"back"));
    lab.a
        .host_packet(&udp(A.overlay, B.overlay, 64, b"host"), lab.now);
    let answer = udp(B.overlay, A.overlay, 64, b"answer");
    lab.b.host_packet(&answer, lab.now);
    lab.settle();
    let tap = lab.a.forwarder.tap().unwrap();
    let seen: Vec<_> = std::iter::from_fn(|| tap.pop()).collect();
    for (point, outbound, count) in [
        (TapPoint::Lan(LAN), false, 1),
        (TapPoint::Lan(LAN), true, 1),
        (TapPoint::Tun, false, 1),
        (TapPoint::Tun, true, 1),
        (TapPoint::Inner(TUNNEL), true, 2),
        (TapPoint::Inner(TUNNEL), false, 2),
        (TapPoint::Outer, true, 2),
        (TapPoint::Outer, false, 2),
    ] {
        let matching = seen
            .iter()
            .filter(|seen| (seen.point, seen.outbound) == (point, outbound));
        assert_eq!(matching.count(), count, "{point:?} outbound {outbound}");
    }
    let outer = seen
        .iter()
        .find(|seen| seen.point == TapPoint::Outer)
        .unwrap();
    let remote = outer.remote.map(|remote| remote.address);
    let padded = (28_usize + 5).next_multiple_of(16);
    assert_eq!((remote, outer.length), (Some(socket(B)), padded + 32));
    let inner = seen
        .iter()
        .find(|seen| seen.point == TapPoint::Inner(TUNNEL))
        .unwrap();
    assert_eq!(*inner.data, *udp(A.host, B.host, 63, b"there"));
}

#[test]
fn a_train_is_seen_datagram_by_datagram_and_a_superpacket_once() {
    let mut lab = Lab::connected();
    lab.set_tap();
    lab.send_a_with(
        &tcp(A.host, B.host, 1, &vec![1; 1380 * 3]),
        superpacket(1380),
    );
    let tap = lab.a.forwarder.tap().unwrap();
    let seen: Vec<_> = std::iter::from_fn(|| tap.pop())
        .map(|seen| (seen.point, seen.length))
        .collect();
    let datagram = (TapPoint::Outer, 1380 + 40 + 32);
    let whole = 1380 * 3 + 40;
    assert_eq!(
        seen,
        [
            (TapPoint::Lan(LAN), whole + 14),
            (TapPoint::Inner(TUNNEL), whole),
            datagram,
            datagram,
            datagram
        ]
    );
}

#[test]
fn a_listener_that_left_costs_nothing() {
    let mut lab = Lab::connected();
    lab.set_tap();
    lab.a.forwarder.set_tap(None);
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    assert!(lab.a.forwarder.tap().is_none());
}

#[test]
fn a_copy_of_a_ping_that_the_router_answers_itself_says_so() {
    let virtual_address = std::net::Ipv4Addr::new(10, 77, 60, 254);
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].virtual_address = Some(virtual_address);
    });
    lab.set_tap();
    lab.send_a(&ping(A.host, virtual_address, b"who is there"));
    let tap = lab.a.forwarder.tap().unwrap();
    let verdicts: Vec<_> = std::iter::from_fn(|| tap.pop())
        .filter_map(|seen| Some((seen.outbound, seen.verdict?)))
        .collect();
    assert_eq!(verdicts, [(false, Verdict::EchoAnswered)]);
}

#[test]
fn a_copy_says_what_became_of_the_packet() {
    let mut lab = Lab::connected();
    lab.set_tap();
    let through = Way::Tunnel {
        tunnel: TUNNEL,
        mtu: MTU,
    };
    let to_lan = Way::Lan {
        port: LAN,
        mtu: 1500,
    };
    let stranger = std::net::Ipv4Addr::new(198, 51, 100, 1);

    lab.send_a(&udp(A.host, B.host, 64, b"there"));
    lab.send_b(&udp(B.host, A.host, 64, b"back"));
    lab.send_a(&udp(A.host, stranger, 64, b"nowhere"));
    lab.send_a(&udp(A.host, B.host, 1, b"too far"));
    lab.send_a(b"no packet");
    lab.settle();

    let tap = lab.a.forwarder.tap().unwrap();
    let verdicts: Vec<_> = std::iter::from_fn(|| tap.pop())
        .filter_map(|seen| Some((seen.point, seen.verdict?)))
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Arp { .. }))
        .collect();
    let lan = TapPoint::Lan(LAN);
    assert_eq!(
        verdicts,
        [
            (lan, Verdict::Forwarded(through)),
            (TapPoint::Outer, Verdict::Opened(TUNNEL)),
            (TapPoint::Inner(TUNNEL), Verdict::Forwarded(to_lan)),
            (lan, Verdict::Dropped(DropReason::Blackhole)),
            (lan, Verdict::Dropped(DropReason::TtlExceeded)),
            (lan, Verdict::Dropped(DropReason::NotIpv4)),
        ]
    );
}

#[test]
fn a_packet_for_a_silent_neighbor_waits_and_is_seen_again_when_it_is_dropped() {
    let mut lab = Lab::connected();
    lab.set_tap();
    lab.a
        .host_packet(&udp(A.router, silent(A), 64, b"anybody?"), lab.now);
    lab.advance(Duration::from_secs(10));

    let tap = lab.a.forwarder.tap().unwrap();
    let seen: Vec<_> = std::iter::from_fn(|| tap.pop())
        .filter_map(|seen| Some((seen.point, seen.verdict?)))
        .filter(|(point, _)| matches!(point, TapPoint::Tun | TapPoint::Dropped))
        .collect();

    let reason = DropReason::NeighborFailed;
    let waits = (TapPoint::Tun, Verdict::Waits(reason));
    let dropped = (TapPoint::Dropped, Verdict::Dropped(reason));
    assert_eq!(seen, [waits, dropped]);
}
