//! Proxy ARP and announcements on a whole router. The table of conditions is in `arp_responder.rs`.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_dataplane::arp_responder::{ANSWER_TIME, QUESTIONS};
use sam_dataplane::lan_watch::PACE;
use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::{AddressSet, DropReason, NextHop, Notice};

use crate::lab::*;

const FOREIGN: [u8; 6] = [2, 0, 0, 0, 0, 0xf0];

#[test]
fn each_condition_that_fails_keeps_the_router_silent() {
    let request = ArpPacket::request(A.host_mac, A.host, B.host);
    let foreign = ArpPacket::request(FOREIGN, B.host, A.host);
    // Rows: what is wrong, the request, whether the gate is closed, whether it counts as withheld.
    for (wrong, packet, closed, withheld) in [
        ("a reply", request.reply(A.router_mac), false, 0),
        (
            "another target",
            ArpPacket {
                target: silent(B),
                ..request
            },
            false,
            0,
        ),
        ("gate closed", request, true, 1),
        (
            "a probe",
            ArpPacket {
                sender: Ipv4Addr::UNSPECIFIED,
                ..request
            },
            false,
            1,
        ),
        (
            "own address",
            ArpPacket::announcement(FOREIGN, B.host),
            false,
            1,
        ),
        (
            "off link",
            ArpPacket {
                sender: Ipv4Addr::new(192, 0, 2, 7),
                ..request
            },
            false,
            1,
        ),
    ] {
        let mut lab = Lab::connected();
        lab.a
            .install(lab.now, |snapshot| snapshot.lans[0].gate_open = !closed);
        lab.arp_a(packet, BROADCAST);
        assert_eq!(replies(&lab), 0, "{wrong}");
        assert_eq!(lab.a.counter("arp-withheld"), withheld, "{wrong}");
    }
    let mut lab = Lab::connected();
    lab.arp_a(foreign, BROADCAST);
    lab.arp_a(request, BROADCAST);
    assert_eq!(replies(&lab), 0, "target alive on this LAN");
    lab.advance(Duration::from_secs(60));
    lab.arp_a(request, BROADCAST);
    assert_eq!(replies(&lab), 1, "after the observation expired");
}

#[test]
fn an_address_that_moves_to_this_lan_is_no_longer_answered() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, B.host, NextHop::Lan(LAN));
    });
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    assert_eq!((replies(&lab), lab.a.counter("arp-withheld")), (0, 1));
}

#[test]
fn a_flooding_sender_gets_a_hundred_answers_per_second() {
    let mut lab = Lab::connected();
    for _ in 0..150 {
        lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    }
    assert_eq!((replies(&lab), lab.a.counter("arp-withheld")), (100, 50));
    assert_eq!(lab.a.counter("arp-requests-received"), 150);
}

#[test]
fn a_probe_and_a_foreign_claim_are_told_to_the_control_plane() {
    let mut lab = Lab::connected();
    let probe = ArpPacket::request(FOREIGN, Ipv4Addr::UNSPECIFIED, B.host);
    lab.arp_a(probe, BROADCAST);
    lab.arp_a(probe, BROADCAST);
    let (port, address, mac) = (LAN, B.host, FOREIGN);
    assert_eq!(
        lab.a.notices(),
        [Notice::AddressProbed { port, address, mac }],
        "once a minute"
    );
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    assert_eq!(lab.a.notices(), [], "it may not be true");
    uphold(&mut lab);
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    assert_eq!(
        lab.a.notices(),
        [Notice::ForeignAnswer { port, address, mac }],
        "once a minute"
    );
    lab.advance(Duration::from_secs(60));
    lab.a.notices();
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    assert_eq!(lab.a.notices(), [], "that was true a minute ago");
    uphold(&mut lab);
    assert_eq!(lab.a.notices().len(), 1);
}

#[test]
fn a_new_answer_is_announced_five_times_in_both_forms() {
    let lab = {
        let mut lab = Lab::new();
        lab.advance(Duration::from_secs(10));
        lab
    };
    let form = |packet: ArpPacket| match packet.operation {
        ArpOperation::Request => "request",
        ArpOperation::Reply => "reply",
    };
    let sent = announcements(&lab);
    let timed: Vec<_> = sent
        .iter()
        .map(|(at, packet)| (*at, form(*packet)))
        .collect();
    assert_eq!(
        timed,
        [
            (0, "request"),
            (100, "reply"),
            (200, "request"),
            (1000, "reply"),
            (5000, "request")
        ]
    );
    for (_, packet) in sent {
        assert_eq!((packet.sender, packet.target), (B.host, B.host));
        assert_eq!(packet.sender_mac, A.router_mac);
    }
    assert_eq!(lab.a.counter("arp-announcements-sent"), 5);
}

#[test]
fn an_unchanged_snapshot_announces_nothing() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |_| ());
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab), []);
}

#[test]
fn opening_the_gate_announces_everything_and_closing_it_stops_at_once() {
    let mut lab = Lab::connected();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab), []);
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].gate_open = true;
        snapshot.lans[0].answers.extend([B.host, silent(B)]);
    });
    lab.settle();
    let mut addresses: Vec<_> = announcements(&lab)
        .iter()
        .map(|(_, sent)| sent.sender)
        .collect();
    addresses.sort();
    assert_eq!(addresses, [B.host, silent(B)]);
    lab.clear();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab), []);
}

#[test]
fn what_the_former_router_of_this_lan_announced_does_not_silence_its_successor() {
    let mut lab = Lab::connected();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    assert_eq!(lab.a.notices(), [], "it may, while our gate is closed");
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = true);
    lab.settle();
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    assert_eq!((replies(&lab), announcements(&lab).len()), (1, 1));
}

#[test]
fn a_ping_to_the_virtual_address_is_answered_while_the_gate_is_open_only() {
    let vip = Ipv4Addr::new(10, 77, 60, 254);
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].virtual_address = Some(vip)
    });
    // A host that nobody told of may ask too, but nobody from elsewhere.
    let stranger = "10.77.60.99".parse().unwrap();
    for (source, answered) in [
        (A.host, true),
        (stranger, true),
        ("8.8.8.8".parse().unwrap(), false),
    ] {
        lab.clear();
        let request = ping(source, vip, b"odd");
        lab.send_a(&request);
        let answers = lab.at_client();
        assert_eq!(answers.len(), usize::from(answered), "{source}");
        let Some((answer, _)) = answers.first() else {
            continue;
        };
        let (from, to, kind, code, _) = icmp_of(answer);
        assert_eq!((from, to, kind, code), (vip, source, 0, 0));
        assert_eq!((&answer[24..], answer[8]), (&request[24..], 64));
    }
    assert_eq!(lab.a.counter("virtual-echoes-answered"), 2);
    assert_eq!(lab.a.drops(), [(DropReason::SourceNotAllowed, 1)]);

    lab.clear();
    lab.send_a(&udp(A.host, vip, 64, b"no ping"));
    let fragment = edit(ping(A.host, vip, b"odd"), |header| header[6] = 0x20);
    lab.send_a(&fragment);
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.send_a(&ping(A.host, vip, b"odd"));
    assert_eq!(lab.at_client(), []);
    assert_eq!(lab.a.dropped(DropReason::PoolWithheld), 3);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn the_virtual_address_is_answered_and_announced_while_the_gate_is_open_only() {
    let vip = Ipv4Addr::new(10, 77, 60, 254);
    let mut lab = Lab::connected();
    let ask = |lab: &mut Lab| {
        lab.clear();
        lab.arp_a(ArpPacket::request(A.host_mac, A.host, vip), BROADCAST);
        replies(lab)
    };
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].virtual_address = Some(vip);
        snapshot.lans[0].gate_open = false;
    });
    // The former master speaks of it.
    lab.arp_a(ArpPacket::announcement(FOREIGN, vip), BROADCAST);
    assert_eq!((ask(&mut lab), lab.a.notices()), (0, vec![]));

    lab.clear();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = true);
    lab.settle();
    let announced = announcements(&lab);
    assert!(
        announced.iter().any(|(_, sent)| sent.sender == vip),
        "{announced:?}"
    );
    assert!(
        announced.iter().all(|(_, sent)| sent.sender != A.router),
        "nobody moved"
    );
    assert_eq!(ask(&mut lab), 1);
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    assert_eq!(ask(&mut lab), 0);
}

#[test]
fn after_a_dispute_everything_is_announced_again_and_what_the_other_one_said_is_forgotten() {
    let mut lab = Lab::connected();
    lab.advance(Duration::from_secs(10));
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    lab.clear();

    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].conflicts += 1);
    lab.settle();

    assert_eq!(announcements(&lab).len(), 1);
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    assert_eq!(replies(&lab), 1);
}

#[test]
fn an_address_that_leaves_the_answers_is_announced_no_more() {
    let mut lab = Lab::new();
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].answers = AddressSet::default()
    });
    assert_eq!(lab.a.forwarder.poll_timeout(), None, "nothing is scheduled");
    lab.clear();
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab), []);
}

#[test]
fn nothing_is_announced_without_permission_or_against_a_living_owner() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].gratuitous_arp = false;
        snapshot.lans[0].answers.extend([B.host, silent(B)]);
    });
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab), []);
    let mut lab = Lab::new();
    lab.clear();
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    uphold(&mut lab);
    lab.advance(Duration::from_secs(10));
    assert_eq!(
        announcements(&lab),
        [],
        "the owner spoke after our first announcement"
    );
}

#[test]
fn an_answer_that_somebody_else_used_is_announced_once_it_falls_silent() {
    let mut lab = Lab::connected();
    lab.advance(Duration::from_secs(10));
    lab.clear();
    let claim = ArpPacket::announcement(FOREIGN, B.host);
    lab.arp_a(claim, BROADCAST);
    uphold(&mut lab);
    lab.advance(Duration::from_secs(30));
    lab.arp_a(claim, BROADCAST);
    // An arrival on the LAN announces everything again, but nothing that is in use.
    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, Ipv4Addr::new(10, 77, 60, 99), NextHop::Lan(LAN));
    });
    lab.advance(Duration::from_millis(59_999));
    let of_host = |lab: &Lab| {
        let all = announcements(lab).into_iter();
        all.filter(|(_, packet)| packet.sender == B.host).count()
    };
    assert_eq!(of_host(&lab), 0, "in use");

    lab.advance(Duration::from_secs(10));

    assert_eq!(of_host(&lab), 5, "answered again");
}

#[test]
fn what_is_answered_is_asked_for_while_the_gate_is_open_and_who_answers_is_counted() {
    let mut lab = Lab::connected();
    lab.advance(Duration::from_secs(10));
    lab.clear();
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].siblings = vec![FOREIGN];
    });
    lab.advance(PACE);
    let question = ArpPacket::request(A.router_mac, A.router, B.host);
    let asked = |lab: &Lab| {
        let all = lab.from_a.iter().filter_map(|(_, sent)| sent.arp());
        all.filter(|arp| *arp == question).count()
    };
    assert_eq!(asked(&lab), 1);
    // Two routers that share a MAC; the first answer makes this router ask again.
    for _ in 0..2 {
        lab.arp_a(question.reply(FOREIGN), A.router_mac);
    }
    lab.advance(PACE);

    let notices = lab.a.notices();
    let mut counted = notices.iter().filter_map(|notice| {
        let Notice::QuestionAnswered {
            address,
            mac,
            answers,
            ..
        } = notice
        else {
            return None;
        };
        Some((*address, *mac, *answers))
    });
    assert_eq!(counted.next(), Some((B.host, FOREIGN, 2)), "{notices:?}");
    let host = ArpPacket::request(A.host_mac, A.host, B.host);
    lab.arp_a(host, BROADCAST);
    assert_eq!(replies(&lab), 1, "another router silences nobody");

    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.clear();
    lab.advance(Duration::from_secs(10));
    assert_eq!(asked(&lab), 0);
}

#[test]
fn a_claim_that_nobody_upholds_silences_for_less_than_a_second() {
    let mut lab = Lab::connected();
    lab.advance(Duration::from_secs(10));
    lab.clear();
    let question = ArpPacket::request(A.host_mac, A.host, B.host);
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    lab.arp_a(question, BROADCAST);
    assert_eq!(replies(&lab), 0, "it may be true");
    let silent = ANSWER_TIME * u32::from(QUESTIONS);
    assert!(silent < Duration::from_secs(1));
    lab.advance(silent - Duration::from_millis(1));
    let asked = lab.from_a.iter().filter_map(|(_, sent)| sent.arp());
    let asked = asked.filter(|arp| (arp.sender, arp.target) == (A.router, B.host));
    // And once or twice because it is watched.
    assert!((4..=5).contains(&asked.count()));

    lab.advance(Duration::from_millis(1));
    lab.arp_a(question, BROADCAST);

    assert_eq!(replies(&lab), 1);
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab).len(), 5, "who believed the claim");
}

#[test]
fn an_address_that_enters_the_answers_forgets_who_had_it() {
    let mut lab = Lab::connected();
    lab.arp_a(ArpPacket::announcement(FOREIGN, B.host), BROADCAST);
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].answers = AddressSet::default()
    });
    lab.a.install(lab.now, |snapshot| {
        snapshot.lans[0].answers.extend([B.host])
    });
    lab.settle();
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    assert_eq!(replies(&lab), 1);
}

#[test]
fn thousands_of_answers_are_announced_at_a_bounded_rate() {
    let mut lab = Lab::connected();
    let first = Ipv4Addr::new(10, 77, 64, 0).to_bits();
    let answers: Vec<_> = (0..2000)
        .map(|index| Ipv4Addr::from_bits(first + index))
        .collect();
    let now = lab.now;
    lab.a.install(now, |snapshot| {
        let mut fib = sam_dataplane::FibBuilder::default();
        snapshot
            .fib
            .entries()
            .into_iter()
            .for_each(|(prefix, next_hop)| fib.insert(prefix, next_hop));
        for address in &answers {
            fib.insert((*address).into(), NextHop::Tunnel(TUNNEL));
        }
        snapshot.fib = fib.build();
        snapshot.lans[0].answers.extend(answers.iter().copied());
    });
    assert_eq!(lab.a.tx.len(), 32, "the first burst");
    lab.advance(Duration::from_secs(10));
    assert_eq!(announcements(&lab).len(), 5 * answers.len());
    lab.assert_no_buffer_is_lost();
}

/// Lets whoever claims the address of B's host answer for it.
fn uphold(lab: &mut Lab) {
    // The second question.
    lab.advance(ANSWER_TIME);
    let answer = ArpPacket::request(A.router_mac, A.router, B.host).reply(FOREIGN);
    lab.arp_a(answer, A.router_mac);
}

/// Replies that A sent to its client.
fn replies(lab: &Lab) -> usize {
    let arps = lab.from_a.iter().filter(|(_, sent)| sent.port == LAN);
    arps.filter_map(|(_, sent)| sent.arp().filter(|_| sent.bytes[..6] != BROADCAST))
        .filter(|packet| packet.operation == ArpOperation::Reply)
        .count()
}

/// Announcements that A broadcast, with the milliseconds since the start.
fn announcements(lab: &Lab) -> Vec<(u128, ArpPacket)> {
    let broadcast = lab
        .from_a
        .iter()
        .filter(|(_, sent)| sent.bytes[..6] == BROADCAST);
    broadcast
        .filter_map(|(at, sent)| sent.arp().map(|packet| (*at, packet)))
        .filter(|(_, packet)| packet.is_gratuitous())
        .collect()
}

#[test]
fn a_learner_learns_and_leaves_the_rest_to_the_speaker() {
    let mut lab = Lab::connected();
    let (now, sessions) = (lab.now, lab.a.handshakes.data_path());
    let stats = std::sync::Arc::new(sam_dataplane::Stats::default());
    lab.a.forwarder = sam_dataplane::Forwarder::new(
        sessions,
        sam_dataplane::Role::Learner,
        std::sync::Arc::default(),
        std::sync::Arc::clone(&stats),
    );
    lab.a.stats = stats;
    lab.a.install(now, |_| ());
    lab.advance(Duration::from_secs(10));
    assert_eq!(lab.from_a, [], "it announces nothing");

    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);

    assert_eq!(lab.from_a, [], "it answers nothing");
    assert_eq!(lab.a.counter("arp-requests-received"), 0);
    assert_eq!(lab.a.counter("lan-rx-units"), 0);
    assert_eq!(lab.a.notices(), []);
    let rows = lab.a.forwarder.neighbors();
    let known: Vec<_> = rows.iter().map(|row| (row.address, row.mac)).collect();
    assert_eq!(known, [(A.host, Some(A.host_mac))]);

    // A broken frame is the speaker's to count.
    let mut broken = ArpPacket::request(A.host_mac, A.host, B.host).emit_frame();
    broken[14] = 9;
    lab.a
        .frame_with(&broken, sam_dataplane::Offload::default(), now);
    assert_eq!(lab.a.drops(), []);
    lab.assert_no_buffer_is_lost();
}
