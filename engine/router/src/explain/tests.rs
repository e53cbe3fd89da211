//! One row per situation of an address: what `explain` must say about it.

use std::net::Ipv4Addr;

use crate::facts::{Facts, LanFacts, PeerFacts};
use crate::fixture::{self, address, overlay};
use crate::input::{Command, Input};
use crate::testnet::Net;
use crate::view::ExplainView;

/// Node 2 owns .10, node 1 (looked at) owns .11; .99 is free, .254 excluded.
fn explain(of: Ipv4Addr) -> ExplainView {
    let net = net();
    net.stations[&1].router.explain(of, &facts(), net.now)
}

#[test]
fn each_situation_has_its_verdict_owner_and_arp_answer() {
    let cases: &[(Ipv4Addr, &str, &str, bool)] = &[
        (
            address(10),
            "10.77.60.10 lives at n2: packets go through the tunnel",
            "n2 at site s2",
            true,
        ),
        (
            address(11),
            "10.77.60.11 lives here, on the LAN",
            "n1 at site s1",
            false,
        ),
        (
            address(99),
            "nobody owns 10.77.60.99",
            "nobody: it lies in pool lan60",
            false,
        ),
        (
            address(254),
            "nobody owns 10.77.60.254",
            "nobody: pool lan60 excludes it",
            false,
        ),
        (
            address(1),
            "10.77.60.1 is delivered to this host",
            "nobody: pool lan60 excludes it",
            false,
        ),
        (
            overlay(2),
            "10.99.0.2 lives at n2",
            "nobody: it lies in no pool",
            false,
        ),
        (
            Ipv4Addr::new(192, 0, 2, 1),
            "no route to 192.0.2.1",
            "nobody: it lies in no pool",
            false,
        ),
    ];
    for (of, verdict, owner, answered) in cases {
        let view = explain(*of);

        assert!(view.verdict.starts_with(verdict), "{of}: {}", view.verdict);
        assert!(
            view.questions[0].answer.starts_with(owner),
            "{of}: {}",
            view.questions[0].answer
        );
        assert_eq!(view.arp.answered, *answered, "{of}");
    }
}

#[test]
fn there_are_seven_numbered_questions() {
    let view = explain(address(10));

    let numbers: Vec<u8> = view
        .questions
        .iter()
        .map(|question| question.number)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert!(
        view.questions
            .iter()
            .all(|question| question.question.ends_with('?'))
    );
}

#[test]
fn the_mtu_is_a_sum() {
    let mtu = explain(address(10)).mtu.unwrap();

    assert_eq!((mtu.underlay, mtu.overhead, mtu.tunnel), (1500, 60, 1440));
    assert_eq!(mtu.tcp_mss, Some(1400));
    assert_eq!(explain(address(11)).mtu, None);
}

#[test]
fn the_mss_is_that_of_the_tunnel_or_of_a_narrower_lan() {
    let cases = [
        (1500, "TCP MSS is lowered to 1400 (inner MTU - 40)"),
        (1440, "TCP MSS is lowered to 1400 (inner MTU - 40)"),
        (1300, "TCP MSS is lowered to 1260 (LAN MTU - 40)"),
    ];
    for (lan, text) in cases {
        let net = net();
        let mut facts = facts();
        facts.host.lan = Some(LanFacts {
            mtu: lan,
            ..LanFacts::default()
        });
        let router = &net.stations[&1].router;
        let view = router.explain(address(10), &facts, net.now);

        let lines = &view.questions[1].evidence;
        assert!(lines.iter().any(|line| line == text), "{lan}: {lines:?}");
    }
}

#[test]
fn drop_reasons_follow_the_route() {
    let cases: &[(Ipv4Addr, &[&str])] = &[
        (address(10), &["source-not-allowed", "too-big"]),
        (address(11), &["source-not-allowed", "same-interface"]),
        (address(99), &["pool-withheld", "source-not-allowed"]),
        (
            Ipv4Addr::new(192, 0, 2, 1),
            &["no-route", "source-not-allowed"],
        ),
        (overlay(1), &[]),
    ];
    for (of, reasons) in cases {
        let view = explain(*of);

        let found: Vec<&str> = view.drops.iter().map(|drop| drop.reason.as_str()).collect();
        assert_eq!(found, *reasons, "{of}");
    }
}

#[test]
fn a_tunnel_without_session_is_named() {
    let net = net();
    let mut facts = facts();
    facts.peers[0].session = false;

    let view = net.stations[&1]
        .router
        .explain(address(10), &facts, net.now);

    assert!(view.verdict.contains("no session"), "{}", view.verdict);
    assert!(
        view.drops
            .iter()
            .any(|drop| drop.reason == "tunnel-no-session")
    );
}

#[test]
fn a_closed_gate_and_a_foreign_answer_silence_arp() {
    let mut net = net();
    let (port, mac) = (sam_dataplane::PortId(1), [2, 0, 0, 0, 0, 9]);
    let notice = sam_dataplane::Notice::ForeignAnswer {
        port,
        address: address(10),
        mac,
    };
    net.input(1, Input::Notice(notice));
    let view = net.stations[&1]
        .router
        .explain(address(10), &facts(), net.now);
    assert!(!view.arp.answered);
    assert_eq!(view.arp.conditions[5].holds, Some(false));

    net.host(1, fixture::lan(false));
    let view = net.stations[&1]
        .router
        .explain(address(10), &facts(), net.now);

    assert_eq!(view.arp.conditions[1].holds, Some(false));
    assert_eq!(view.arp.conditions[1].evidence, "interface is down");
}

#[test]
fn the_forwarding_answer_names_entry_and_reason() {
    assert_eq!(
        explain(address(10)).questions[3].answer,
        "10.77.60.10/32: tunnel to n2, because of bgp"
    );
    assert_eq!(
        explain(address(99)).questions[3].answer,
        "10.77.60.0/24: withhold, because of pool"
    );
}

fn net() -> Net {
    let mut net = Net::new(2, &[]);
    net.command(2, Command::Announce(address(10)));
    net.command(1, Command::Announce(address(11)));
    net
}

fn facts() -> Facts {
    Facts {
        peers: vec![PeerFacts {
            session: true,
            last_handshake_s: Some(5.0),
            ..PeerFacts::default()
        }],
        ..Facts::default()
    }
}
