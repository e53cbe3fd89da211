//! Which hosts of a LAN control is told about, and the questions that it has sent.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_dataplane::notice::Heard;
use sam_dataplane::observer::{ANSWER_LIMIT, NOTICES_PER_SECOND, QUESTION_LIMIT, REFRESH};
use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::{DropReason, FabricQuestion, LanQuestion, NextHop, Notice};

use crate::lab::*;

/// An address of the pool that nobody owns, and who has it.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);
const STRANGER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x50];

fn seen(address: Ipv4Addr, mac: [u8; 6], heard: Heard) -> Notice {
    Notice::HostSeen {
        port: LAN,
        address,
        mac,
        heard,
    }
}

#[test]
fn a_stranger_is_told_by_his_arp_and_a_resident_less_often() {
    let mut lab = discovering();
    let request = ArpPacket::request(STRANGER_MAC, STRANGER, A.router);
    let resident = ArpPacket::request(A.host_mac, A.host, A.router);
    for _ in 0..3 {
        lab.arp_a(request, BROADCAST);
        lab.arp_a(resident, BROADCAST);
    }
    let told = hosts(&mut lab);
    assert_eq!(
        told,
        [
            overheard(STRANGER, STRANGER_MAC),
            overheard(A.host, A.host_mac)
        ]
    );

    lab.advance(Duration::from_secs(1));
    lab.arp_a(request, BROADCAST);
    lab.arp_a(resident, BROADCAST);
    assert_eq!(hosts(&mut lab), [overheard(STRANGER, STRANGER_MAC)]);
    lab.advance(REFRESH);
    lab.arp_a(resident, BROADCAST);
    assert_eq!(hosts(&mut lab), [overheard(A.host, A.host_mac)]);
}

#[test]
fn a_stranger_is_told_by_his_packets_too() {
    let mut lab = discovering();
    lab.send_a(&udp(STRANGER, B.host, 64, &[1; 20]));
    let addressed = |address| [seen(address, A.host_mac, Heard::Addressed)];
    assert_eq!(hosts(&mut lab), addressed(STRANGER));
    // A host of another site that has moved here.
    lab.send_a(&udp(B.host, silent(B), 64, &[1; 20]));
    assert_eq!(hosts(&mut lab), addressed(B.host));
}

#[test]
fn nobody_is_told_who_is_no_host_of_this_lan() {
    type Change = fn(&mut ArpPacket);
    let changes: [(&str, Change); 4] = [
        ("the router's MAC", |packet| {
            packet.sender_mac = A.router_mac
        }),
        ("the router's address", |packet| packet.sender = A.router),
        ("outside the pools", |packet| {
            packet.sender = Ipv4Addr::new(192, 0, 2, 1)
        }),
        ("a probe", |packet| packet.sender = Ipv4Addr::UNSPECIFIED),
    ];
    for (what, change) in changes {
        let mut lab = discovering();
        let mut packet = ArpPacket::request(STRANGER_MAC, STRANGER, B.host);
        change(&mut packet);
        lab.arp_a(packet, BROADCAST);
        assert_eq!(hosts(&mut lab), [], "{what}");
    }
    for closed in [true, false] {
        let mut lab = discovering();
        lab.a.install(lab.now, |snapshot| {
            let lan = &mut snapshot.lans[0];
            (lan.gate_open, lan.discovers) = (!closed, closed);
        });
        lab.arp_a(
            ArpPacket::request(STRANGER_MAC, STRANGER, B.host),
            BROADCAST,
        );
        assert_eq!(hosts(&mut lab), []);
    }
}

#[test]
fn questions_beyond_those_that_can_be_waited_for_are_counted() {
    let mut lab = discovering();
    for index in 0..QUESTION_LIMIT + 3 {
        let [.., high, low] = index.to_be_bytes();
        let question = LanQuestion {
            port: LAN,
            address: Ipv4Addr::new(10, 77, high, low),
            to: None,
        };
        let now = lab.now;
        lab.a
            .with(|forwarder, io| forwarder.ask_lan(&question, io, now));
    }
    assert_eq!(lab.a.counter("questions-unawaited"), 3);
}

#[test]
fn a_storm_of_strangers_is_told_in_part_and_the_rest_counted() {
    let mut lab = discovering();
    for index in 0..1_000_u32 {
        let [_, _, high, low] = index.to_be_bytes();
        let mac = [2, 0, 0, 9, high, low];
        let address = Ipv4Addr::new(10, 77, 60, 50 + low % 50);
        lab.arp_a(ArpPacket::request(mac, address, A.router), BROADCAST);
    }
    let told = hosts(&mut lab).len();
    assert!(told <= usize::from(NOTICES_PER_SECOND), "{told}");
    let untold = lab.a.counter("hosts-untold");
    assert_eq!(untold, 1_000 - u64::from(NOTICES_PER_SECOND));
}

#[test]
fn a_question_is_asked_while_the_gate_is_open_and_every_answer_told() {
    let mut lab = discovering();
    let question = |to| LanQuestion {
        port: LAN,
        address: STRANGER,
        to,
    };
    for (to, destination) in [(None, BROADCAST), (Some(STRANGER_MAC), STRANGER_MAC)] {
        ask(&mut lab, question(to));
        let (_, frame) = lab.from_a.last().expect("asked").clone();
        let asked = frame.arp().expect("ARP");
        assert_eq!(frame.bytes[..6], destination);
        assert_eq!(
            (asked.operation, asked.sender),
            (ArpOperation::Request, A.router)
        );
        assert_eq!(asked.target, STRANGER);
        lab.clear();
    }
    let answer = ArpPacket::request(A.router_mac, A.router, STRANGER).reply(STRANGER_MAC);
    // What is said to everybody is no answer.
    lab.arp_a(answer, BROADCAST);
    assert_eq!(hosts(&mut lab), [overheard(STRANGER, STRANGER_MAC)]);
    for _ in 0..10 {
        lab.arp_a(answer, A.router_mac);
    }
    let told = hosts(&mut lab);
    let limit = usize::from(ANSWER_LIMIT);
    let answered = |heard| vec![seen(STRANGER, STRANGER_MAC, heard); limit];
    assert_eq!(
        told[..limit],
        answered(Heard::Answered),
        "who was asked alone"
    );
    assert_eq!(told[limit..], answered(Heard::Addressed), "as one of all");

    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].gate_open = false);
    lab.clear();
    ask(&mut lab, question(None));
    assert_eq!(lab.from_a, []);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn somebody_who_wants_an_address_that_nobody_owns_is_told() {
    let mut lab = discovering();
    let wanted = || vec![Notice::AddressWanted { address: STRANGER }];
    for _ in 0..2 {
        lab.arp_a(ArpPacket::request(A.host_mac, A.host, STRANGER), BROADCAST);
        lab.send_a(&udp(A.host, STRANGER, 64, &[1; 20]));
    }
    assert_eq!(wants(&mut lab), wanted(), "once in a while");
    lab.advance(Duration::from_secs(3));
    lab.send_a(&udp(A.host, STRANGER, 64, &[1; 20]));
    assert_eq!(wants(&mut lab), wanted());

    lab.advance(Duration::from_secs(3));
    // Those are no wants: an address that somebody owns, a probe, an announcement, what comes from another site.
    lab.arp_a(ArpPacket::request(A.host_mac, A.host, B.host), BROADCAST);
    let probe = ArpPacket::request(A.host_mac, Ipv4Addr::UNSPECIFIED, STRANGER);
    lab.arp_a(probe, BROADCAST);
    lab.arp_a(ArpPacket::announcement(STRANGER_MAC, STRANGER), BROADCAST);
    lab.b.install(lab.now, |snapshot| {
        add_route(snapshot, STRANGER, NextHop::Tunnel(TUNNEL));
    });
    lab.send_b(&udp(B.host, STRANGER, 64, &[1; 20]));
    assert_eq!(wants(&mut lab), []);
}

#[test]
fn who_sends_from_an_address_that_nobody_owns_is_told_where_only_a_provider_knows() {
    let mut lab = Lab::connected();
    lab.a
        .install(lab.now, |snapshot| snapshot.lans[0].asks = true);
    lab.a.notices();
    for _ in 0..2 {
        lab.send_a(&udp(STRANGER, B.host, 64, &[1; 20]));
    }
    assert_eq!(
        lab.a.notices(),
        [Notice::AddressWanted { address: STRANGER }]
    );
}

#[test]
fn a_question_of_another_router_is_taken_out_where_somebody_can_be_asked() {
    let mut lab = discovering();
    let now = lab.now;
    let question = FabricQuestion {
        tunnel: TUNNEL,
        to: B.overlay,
        address: STRANGER,
    };
    let send = |lab: &mut Lab| {
        lab.a
            .with(|forwarder, io| forwarder.ask_fabric(&question, io, now));
        lab.settle();
    };
    send(&mut lab);
    assert_eq!(lab.b.notices(), [], "who asks nobody leaves it to the host");
    assert_eq!(lab.from_b.len(), 1, "which answers a ping");
    lab.clear();

    lab.b.install(now, |snapshot| snapshot.lans[0].asks = true);
    lab.clear();
    send(&mut lab);
    let asked = Notice::AddressAsked {
        tunnel: TUNNEL,
        address: STRANGER,
    };
    assert_eq!(lab.b.notices(), [asked]);
    assert_eq!(
        (lab.from_b.len(), lab.b.counter("fabric-questions-received")),
        (0, 1)
    );
    assert_eq!(lab.a.counter("fabric-questions-sent"), 2);
    lab.assert_no_buffer_is_lost();

    let mut lab = Lab::new();
    let now = lab.now;
    lab.a
        .with(|forwarder, io| forwarder.ask_fabric(&question, io, now));
    assert_eq!(lab.a.drops(), [(DropReason::TunnelNoSession, 1)]);
}

/// A connected lab whose router A discovers hosts.
fn discovering() -> Lab {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        (snapshot.lans[0].discovers, snapshot.lans[0].asks) = (true, true);
    });
    lab.a.notices();
    lab.b.notices();
    lab.clear();
    lab
}

fn overheard(address: Ipv4Addr, mac: [u8; 6]) -> Notice {
    seen(address, mac, Heard::Overheard)
}

fn ask(lab: &mut Lab, question: LanQuestion) {
    let now = lab.now;
    lab.a
        .with(|forwarder, io| forwarder.ask_lan(&question, io, now));
    lab.settle();
}

fn hosts(lab: &mut Lab) -> Vec<Notice> {
    let notices = lab.a.notices().into_iter();
    let seen = |notice: &Notice| matches!(notice, Notice::HostSeen { .. });
    notices.filter(seen).collect()
}

fn wants(lab: &mut Lab) -> Vec<Notice> {
    let notices = lab.a.notices().into_iter();
    let wants = |notice: &Notice| matches!(notice, Notice::AddressWanted { .. });
    notices.filter(wants).collect()
}
