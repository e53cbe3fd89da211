//! What a listener sees.

use sam_dataplane::trace::TapPoint;

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
    assert_eq!((outer.remote, outer.length), (Some(socket(B)), 28 + 5 + 32));
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
