//! ICMP errors: who gets them, from whom, and how many.

use std::sync::Arc;
use std::time::Duration;

use sam_dataplane::{DropReason, Forwarder, NextHop, Role};

use crate::lab::*;

#[test]
fn an_expired_ttl_is_reported_by_the_router_where_it_expired() {
    let mut lab = Lab::connected();
    lab.send_a(&udp(A.host, B.host, 1, b"x"));
    lab.send_a(&udp(A.host, B.host, 2, b"x"));
    let errors: Vec<_> = lab
        .at_client()
        .iter()
        .map(|(packet, _)| icmp_of(packet))
        .collect();
    assert_eq!(
        errors,
        [(A.router, A.host, 11, 0, 0), (B.overlay, A.host, 11, 0, 0)]
    );
    assert_eq!(lab.at_server().len(), 0);
    assert_eq!(lab.a.drops(), [(DropReason::TtlExceeded, 1)]);
    assert_eq!(lab.b.drops(), [(DropReason::TtlExceeded, 1)]);
    lab.send_a(&udp(A.host, B.host, 3, b"x"));
    assert_eq!(lab.at_server()[0].0[8], 1, "three hops are enough");
}

#[test]
fn a_router_without_lan_address_reports_by_its_overlay_address() {
    let mut lab = Lab::connected();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].address = None);
    lab.send_a(&udp(A.host, B.host, 1, b"x"));
    assert_eq!(icmp_of(&lab.at_client()[0].0).0, A.overlay);
    lab.a.install(lab.now, |snapshot| snapshot.tun = None);
    lab.clear();
    lab.send_a(&udp(A.host, B.host, 1, b"x"));
    assert_eq!(lab.at_client().len(), 0, "no address, no report");
}

#[test]
fn a_destination_without_route_is_unreachable_and_a_withheld_or_blackholed_one_silent() {
    for (destination, reason, answered) in [
        ("203.0.113.9", DropReason::NoRoute, true),
        ("8.8.8.8", DropReason::NoRoute, true),
        ("10.77.60.99", DropReason::PoolWithheld, false),
        ("198.51.100.1", DropReason::Blackhole, false),
    ] {
        let mut lab = Lab::connected();
        lab.send_a(&udp(A.host, destination.parse().unwrap(), 64, b"x"));
        assert_eq!(lab.a.drops(), [(reason, 1)], "{destination}");
        let errors: Vec<_> = lab
            .at_client()
            .iter()
            .map(|(packet, _)| icmp_of(packet))
            .collect();
        let expected = [(A.router, A.host, 3, 1, 0)];
        assert_eq!(
            errors,
            if answered { &expected[..] } else { &[] },
            "{destination}"
        );
    }
}

#[test]
fn the_host_is_not_told_about_missing_routes() {
    let mut lab = Lab::connected();
    lab.a.host_packet(
        &udp(A.overlay, "8.8.8.8".parse().unwrap(), 64, b"x"),
        lab.now,
    );
    lab.a
        .host_packet(&udp(A.overlay, A.router, 64, b"x"), lab.now);
    lab.settle();
    assert_eq!(
        (lab.a.drops(), lab.from_a.len()),
        (vec![(DropReason::NoRoute, 2)], 0)
    );
}

#[test]
fn errors_are_rate_limited_per_sender() {
    let mut lab = Lab::connected();
    for _ in 0..50 {
        lab.send_a(&udp(A.host, B.host, 1, b"x"));
    }
    assert_eq!(lab.at_client().len(), 20, "the burst");
    assert_eq!(lab.a.dropped(DropReason::IcmpRateLimited), 30);
    assert_eq!(lab.a.dropped(DropReason::TtlExceeded), 50);
    lab.advance(Duration::from_secs(1));
    lab.clear();
    lab.send_a(&udp(A.host, B.host, 1, b"x"));
    assert_eq!(lab.at_client().len(), 1);
}

#[test]
fn the_rate_is_the_routers_however_many_workers_it_has() {
    let mut lab = Lab::connected();
    for worker in 0..4 {
        let (now, sessions) = (lab.now, lab.a.handshakes.data_path());
        lab.a.forwarder = Forwarder::new(
            sessions,
            Role::of_worker(worker),
            Arc::clone(&lab.a.limiter),
            Arc::clone(&lab.a.stats),
        );
        lab.a.install(now, |_| ());
        for _ in 0..50 {
            lab.send_a(&udp(A.host, B.host, 1, b"x"));
        }
    }
    assert_eq!(lab.at_client().len(), 20, "the burst");
    assert_eq!(lab.a.dropped(DropReason::IcmpRateLimited), 180);
}

#[test]
fn an_error_is_never_about_an_error() {
    let mut lab = Lab::connected();
    lab.send_a(&udp(A.host, B.host, 1, b"x"));
    let error = lab.at_client()[0].0.clone();
    lab.clear();
    let about_nothing = edit(error, |header| {
        header[8] = 1;
        header[12..16].copy_from_slice(&A.host.octets());
        header[16..20].copy_from_slice(&B.host.octets());
    });
    lab.send_a(&about_nothing);
    assert_eq!(
        (
            lab.at_client().len(),
            lab.a.dropped(DropReason::TtlExceeded)
        ),
        (0, 2)
    );
}

#[test]
fn an_error_from_far_away_is_forwarded_like_anything_else() {
    let mut lab = Lab::connected();
    lab.b.install(lab.now, |snapshot| {
        add_route(snapshot, B.host, NextHop::Unreachable);
    });
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    assert_eq!(icmp_of(&lab.at_client()[0].0), (B.overlay, A.host, 3, 1, 0));
}
