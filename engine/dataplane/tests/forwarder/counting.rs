//! Every counter counts what its name says: after each event exactly these have grown, by exactly so much.

use std::net::Ipv4Addr;

use sam_dataplane::announcer::ANNOUNCEMENT_LIMIT;
use sam_dataplane::encap::{Framing, Gue};
use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::{DropReason, NextHop, Snapshot, TunnelTraffic};

use crate::lab::*;
use crate::plain::GUE;

/// One event at router A.
type Event = fn(&mut Lab);
/// Counters and by how much they grow.
type Growth = &'static [(&'static str, u64)];

const CASES: &[(&str, Event, Growth)] = &[
    (
        "a packet from the LAN into a tunnel",
        |lab| lab.send_a(&udp(A.host, B.host, 64, &[0; 100])),
        &[
            ("lan-rx-bytes", 142),
            ("lan-rx-units", 1),
            ("routing-decisions", 1),
            ("trains-sent", 1),
            ("tunnel-tx-bytes", 128),
            ("tunnel-tx-packets", 1),
        ],
    ),
    (
        "a packet from a tunnel to the LAN",
        |lab| lab.send_b(&udp(B.host, A.host, 64, &[0; 100])),
        &[
            ("lan-tx-bytes", 142),
            ("lan-tx-units", 1),
            ("routing-decisions", 1),
            ("trains-received", 1),
            ("tunnel-rx-bytes", 128),
            ("tunnel-rx-packets", 1),
        ],
    ),
    (
        "a packet from our host into a tunnel",
        |lab| {
            let now = lab.now;
            lab.a.host_packet(&udp(A.overlay, B.overlay, 64, b""), now);
            lab.settle();
        },
        &[
            ("routing-decisions", 1),
            ("trains-sent", 1),
            ("tun-rx-units", 1),
            ("tunnel-tx-bytes", 28),
            ("tunnel-tx-packets", 1),
        ],
    ),
    (
        "a packet from a tunnel to our host",
        |lab| {
            let now = lab.now;
            lab.b.host_packet(&udp(B.overlay, A.overlay, 64, b""), now);
            lab.settle();
        },
        &[
            ("routing-decisions", 1),
            ("trains-received", 1),
            ("tun-tx-units", 1),
            ("tunnel-rx-bytes", 28),
            ("tunnel-rx-packets", 1),
        ],
    ),
    (
        "a question that we answer",
        |lab| lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST),
        &[
            ("arp-replies-sent", 1),
            ("arp-requests-received", 1),
            ("lan-rx-bytes", 42),
            ("lan-rx-units", 1),
            ("lan-tx-bytes", 42),
            ("lan-tx-units", 1),
        ],
    ),
    (
        "an answer that nobody asked for",
        |lab| {
            let request = ArpPacket::request(A.router_mac, A.router, A.host);
            lab.arp_a(request.reply(A.host_mac), A.router_mac);
        },
        &[
            ("arp-replies-received", 1),
            ("lan-rx-bytes", 42),
            ("lan-rx-units", 1),
        ],
    ),
    (
        "a packet to a neighbor of unknown MAC",
        |lab| lab.send_b(&udp(B.host, silent(A), 64, b"")),
        &[
            ("arp-requests-sent", 1),
            ("lan-tx-bytes", 42),
            ("lan-tx-units", 1),
            ("routing-decisions", 1),
            ("trains-received", 1),
            ("tunnel-rx-bytes", 28),
            ("tunnel-rx-packets", 1),
        ],
    ),
    (
        "a packet whose TTL ends here",
        |lab| lab.send_a(&udp(A.host, B.host, 1, b"")),
        &[
            ("icmp-errors-sent", 1),
            ("lan-rx-bytes", 42),
            ("lan-rx-units", 1),
            ("lan-tx-bytes", 70),
            ("lan-tx-units", 1),
            ("routing-decisions", 1),
        ],
    ),
];

#[test]
fn each_event_moves_exactly_its_counters() {
    for (name, event, expected) in CASES {
        let mut lab = Lab::connected();
        forget_ways(&mut lab);
        let before = counters(&lab);

        event(&mut lab);

        assert_eq!(growth(&before, &counters(&lab)), *expected, "{name}");
    }
}

#[test]
fn a_superpacket_takes_one_decision_at_each_end_however_many_packets_it_is() {
    let gue = Framing::Gue(Gue::Variant1);
    for mut lab in [Lab::connected(), Lab::plain(GUE, gue)] {
        let decisions = |lab: &Lab| [&lab.a, &lab.b].map(|at| at.counter("routing-decisions"));
        forget_ways(&mut lab);
        let [at_a, at_b] = decisions(&lab);
        let received = lab.b.counter("tunnel-rx-packets");

        let packet = partial(tcp(A.host, B.host, 1, &[7; 40 * 1300]));
        lab.send_a_with(&packet, superpacket(1300));

        assert_eq!(lab.b.counter("tunnel-rx-packets") - received, 40);
        assert_eq!(decisions(&lab), [at_a + 1, at_b + 1]);

        // Another flow takes a decision of its own, and none when it takes turns with the first.
        for _ in 0..3 {
            lab.send_a(&udp(A.host, silent(B), 64, b"x"));
            lab.send_a_with(&packet, superpacket(1300));
        }
        assert_eq!(decisions(&lab), [at_a + 2, at_b + 2]);
    }
}

/// A new snapshot is asked anew.
fn forget_ways(lab: &mut Lab) {
    lab.a.install(lab.now, |_| {});
    lab.b.install(lab.now, |_| {});
}

#[test]
fn a_new_snapshot_is_asked_anew() {
    let mut lab = Lab::connected();
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    lab.clear();

    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, B.host, NextHop::Blackhole)
    });
    lab.send_a(&udp(A.host, B.host, 64, b"x"));

    assert_eq!(
        (lab.trains.len(), lab.a.dropped(DropReason::Blackhole)),
        (0, 1)
    );
}

#[test]
fn each_tunnel_counts_what_went_through_it_with_and_without_encryption() {
    let gue = Framing::Gue(Gue::Variant1);
    for mut lab in [Lab::connected(), Lab::plain(GUE, gue)] {
        let (before, heard) = (lab.a.forwarder.traffic()[0], lab.now);

        lab.send_a_with(
            &partial(tcp(A.host, B.host, 1, &[7; 2000])),
            superpacket(1000),
        );
        lab.send_b(&udp(B.host, A.host, 64, &[0; 100]));

        let after = lab.a.forwarder.traffic()[0];
        let grown = (
            after.tx_packets - before.tx_packets,
            after.tx_bytes - before.tx_bytes,
            after.rx_packets - before.rx_packets,
            after.rx_bytes - before.rx_bytes,
        );
        assert_eq!(grown, (2, 2080, 1, 128));
        assert!(after.last_received >= Some(heard));
    }
}

#[test]
fn a_tunnel_number_that_leads_to_another_node_counts_from_zero() {
    let mut lab = Lab::connected();
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    let traffic = |lab: &Lab| lab.a.forwarder.traffic()[0];
    let counted = traffic(&lab);
    assert!(counted.tx_packets > 0);

    lab.a
        .install(lab.now, |snapshot| snapshot.tunnels[0].mtu -= 1);
    assert_eq!(traffic(&lab), counted, "the same node");

    let rename = |snapshot: &mut Snapshot| "another".clone_into(&mut snapshot.tunnels[0].name);
    lab.a.install(lab.now, rename);
    assert_eq!(traffic(&lab), TunnelTraffic::default());
}

#[test]
fn a_handshake_and_a_keepalive_are_control_messages() {
    let mut lab = Lab::new();
    let before = counters(&lab);

    // A initiates; B's response is the first control message that A gets.
    lab.send_a(&udp(A.host, B.host, 64, b"x"));

    let grown = growth(&before, &counters(&lab));
    assert!(grown.contains(&("handshakes-completed", 1)), "{grown:?}");
    assert!(grown.contains(&("wg-control-received", 1)), "{grown:?}");
}

#[test]
fn addresses_beyond_the_limit_of_announcements_are_counted() {
    let mut lab = Lab::connected();
    let many = u32::try_from(ANNOUNCEMENT_LIMIT).unwrap() + 3;

    lab.a.install(lab.now, |snapshot| {
        let first = u32::from(Ipv4Addr::new(10, 78, 0, 0));
        let answers = (first..first + many).map(Ipv4Addr::from);
        snapshot.lans[0].answers.extend(answers);
    });

    assert_eq!(lab.a.counter("arp-announcements-skipped"), 3);
}

#[test]
fn no_counter_is_without_a_case() {
    let elsewhere = [
        ("arp-announcements-sent", "arp.rs"),
        ("arp-announcements-skipped", "here"),
        ("arp-withheld", "arp.rs"),
        ("fabric-questions-received", "hosts.rs"),
        ("fabric-questions-sent", "hosts.rs"),
        ("fragments-made", "fitting.rs"),
        ("handshakes-completed", "here"),
        ("hosts-untold", "hosts.rs"),
        ("mss-clamped", "fitting.rs"),
        ("notices-lost", "refusals.rs"),
        ("packets-forced", "fitting.rs"),
        ("path-errors", "paths.rs"),
        ("path-errors-foreign", "paths.rs"),
        ("path-probes-answered", "paths.rs"),
        ("path-probes-sent", "paths.rs"),
        ("path-undelivered", "paths.rs"),
        ("questions-unawaited", "hosts.rs"),
        ("segments-merged", "forwarding.rs"),
        ("superpackets-refused", "of the driver"),
        ("virtual-echoes-answered", "arp.rs"),
        ("wg-control-received", "here"),
    ];
    let lab = Lab::new();
    for (name, _) in counters(&lab) {
        let here = CASES
            .iter()
            .any(|(_, _, growth)| growth.iter().any(|(found, _)| *found == name));
        let there = elsewhere.iter().any(|(found, _)| *found == name);
        assert!(here != there, "{name}");
    }
}

/// All counters of A, by name.
fn counters(lab: &Lab) -> Vec<(&'static str, u64)> {
    let mut counters: Vec<_> = lab
        .a
        .stats
        .counters()
        .map(|(name, _, value)| (name, value))
        .collect();
    counters.sort_unstable();
    counters
}

fn growth(
    before: &[(&'static str, u64)],
    after: &[(&'static str, u64)],
) -> Vec<(&'static str, u64)> {
    let pairs = before.iter().zip(after);
    pairs
        .map(|((name, before), (_, after))| (*name, after - before))
        .filter(|(_, grown)| *grown > 0)
        .collect()
}
