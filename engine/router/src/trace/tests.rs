//! One row per verdict: the packet, how it ends, under which reason, and at which stage.

use std::net::{Ipv4Addr, SocketAddr};

use crate::Router;
use crate::facts::{Facts, NeighborFacts, PeerFacts};
use crate::fixture::{self, address, overlay};
use crate::input::{Command, HostEvent, Input};
use crate::testnet::Net;
use crate::view::{StageResult, TraceOutcome, TraceProtocol, TraceQuery, TraceStage, TraceView};

const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Source, destination, outcome, reason, last stage. Node 1 owns .11 on its LAN, node 2 owns .10, nobody owns .99.
const VERDICTS: &str = "
    10.77.60.11  10.77.60.10    forwarded  -                   encapsulation
    10.77.60.10  10.77.60.11    forwarded  -                   neighbor
    10.99.0.1    10.77.60.10    forwarded  -                   encapsulation
    10.77.60.10  10.99.0.1      delivered  -                   host
    10.77.60.11  10.77.60.1     delivered  -                   filter
    10.77.60.11  10.99.0.1      delivered  -                   filter
    10.77.60.11  10.99.0.2      left-to-kernel  -              filter
    10.77.60.11  192.0.2.1      left-to-kernel  -              filter
    10.77.60.11  10.77.60.99    dropped    pool-withheld       route
    10.77.60.10  192.0.2.1      dropped    no-route            route
    10.77.60.10  10.99.0.2      dropped    same-interface      route
    10.77.60.99  10.77.60.10    dropped    source-not-allowed  source
    192.0.2.1    10.77.60.10    dropped    source-not-allowed  source
    127.0.0.1    10.77.60.10    dropped    source-invalid      addresses
    10.77.60.11  10.77.60.255   dropped    multicast           addresses
    10.77.60.10  224.0.0.5      dropped    multicast           addresses
";

#[test]
fn each_packet_has_the_verdict_of_the_packet_path() {
    let net = net();
    for row in VERDICTS.trim().lines() {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [from, to, outcome, reason, last] = words[..] else {
            panic!("five words in {row}");
        };
        let view = trace(&net, &ping(from.parse().unwrap(), to.parse().unwrap()));

        let verdict = &view.verdict;
        assert_eq!(verdict.outcome.name(), outcome, "{row}: {view:#?}");
        assert_eq!(verdict.reason.as_deref().unwrap_or("-"), reason, "{row}");
        let mut decisive = view.stages.iter().filter(|stage| stage.name != "icmp");
        let end = decisive.next_back().unwrap();
        assert_eq!(end.name, last, "{row}");
        let drops = view.stages.iter();
        let drops = drops.filter(|stage| stage.result == StageResult::Drop);
        assert_eq!(drops.count(), usize::from(outcome == "dropped"), "{row}");
        assert_eq!(
            end.result == StageResult::Drop,
            outcome == "dropped",
            "{row}"
        );
    }
}

#[test]
fn the_stages_tell_the_values_that_they_looked_at() {
    let view = trace(&net(), &ping(address(11), address(10)));

    assert_eq!(
        names(&view.stages),
        [
            "entrance",
            "arp",
            "filter",
            "packet",
            "addresses",
            "source",
            "route",
            "ttl",
            "mtu",
            "encapsulation"
        ]
    );
    for (name, words) in [
        ("entrance", "LAN eth1"),
        ("arp", "this router answers, with 02:00:00:00:00:01"),
        ("packet", "icmp, 84 bytes, TTL 64, DF clear"),
        ("source", "10.77.60.11/32 lan by eth1, because of owned"),
        (
            "route",
            "10.77.60.10/32 tunnel to n2, because of bgp; n2 owns it (active",
        ),
        ("route", "next hop 10.99.0.2, told by n2, best by only-path"),
        ("ttl", "63 when it leaves"),
        ("mtu", "84 bytes; underlay 1500 - overhead 60 = tunnel 1440"),
        (
            "encapsulation",
            "wireguard to n2 at 192.0.2.2:51820, session up, handshake 5 s ago",
        ),
    ] {
        let text = &stage(&view, name).text;
        assert!(text.contains(words), "{name}: {text}");
    }
    assert_eq!(
        view.verdict.text,
        "through the tunnel to n2, at 192.0.2.2:51820"
    );
}

#[test]
fn the_snapshot_is_the_one_that_was_published() {
    let net = net();
    let published = net.stations[&1].snapshot.generation;

    assert_eq!(
        trace(&net, &ping(address(11), address(10))).generation,
        published
    );
}

#[test]
fn what_is_too_long_is_refused_with_df_and_cut_without() {
    let sized = |size, df| TraceQuery {
        size,
        df,
        ..ping(address(11), address(10))
    };
    let fits = trace(&net(), &sized(1440, true));
    assert_eq!(fits.verdict.outcome, TraceOutcome::Forwarded);

    let refused = trace(&net(), &sized(1441, true));
    assert_eq!(refused.verdict.reason.as_deref(), Some("too-big"));
    assert_eq!(
        stage(&refused, "icmp").text,
        "fragmentation needed (type 3, code 4, MTU 1440) to 10.77.60.11 from 10.77.60.1"
    );
    assert_eq!(stage(&refused, "mtu").result, StageResult::Drop);

    let cut = trace(&net(), &sized(1441, false));
    assert_eq!(cut.verdict.outcome, TraceOutcome::Forwarded);
    assert_eq!(
        stage(&cut, "fragments").text,
        "2 fragments of 1436, 25 bytes"
    );

    let jumbo = trace(&net(), &sized(9000, false));
    assert!(
        stage(&jumbo, "entrance")
            .text
            .contains("longer than its MTU 1500")
    );
}

#[test]
fn a_tunnel_that_forces_fragments_what_may_not_be_fragmented() {
    let mut net = net();
    let mut config = net.station(1).router.config().clone();
    config.fabric.transport.force_fragment = true;
    net.input(1, Input::Config(Box::new(config)));
    let long = TraceQuery {
        size: 1500,
        df: true,
        ..ping(address(11), address(10))
    };
    let view = trace(&net, &long);
    assert_eq!(view.verdict.outcome, TraceOutcome::Forwarded);
    let texts: Vec<&str> = view
        .stages
        .iter()
        .filter(|stage| stage.name == "fragments")
        .map(|stage| stage.text.as_str())
        .collect();
    let expected = [
        "its sender forbids fragments, but forceFragmentIPv4 is on",
        "2 fragments of 1436, 84 bytes",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn an_error_about_a_packet_from_a_tunnel_comes_from_the_overlay_and_the_host_gets_none() {
    let tunneled = trace(&net(), &ping(address(10), STRANGER));
    assert_eq!(
        stage(&tunneled, "icmp").text,
        "host unreachable (type 3, code 1) to 10.77.60.10 from 10.99.0.1"
    );
    let host = trace(&net(), &ping(overlay(1), STRANGER));
    assert_eq!(host.verdict.reason.as_deref(), Some("no-route"));
    assert!(
        !names(&host.stages).contains(&"icmp"),
        "the host needs no answer"
    );
}

#[test]
fn only_tcp_through_a_tunnel_has_its_mss_lowered() {
    let to = |destination, protocol| TraceQuery {
        protocol,
        port: Some(22),
        ..ping(address(11), destination)
    };
    let tunneled = trace(&net(), &to(address(10), TraceProtocol::Tcp));
    assert!(
        stage(&tunneled, "mss")
            .text
            .contains("more than 1400 bytes")
    );
    assert!(
        stage(&tunneled, "packet")
            .text
            .starts_with("tcp to port 22")
    );

    let local = trace(&net(), &to(address(11), TraceProtocol::Tcp));
    assert!(stage(&local, "mss").text.contains("pass as they are"));

    let datagram = trace(&net(), &to(address(10), TraceProtocol::Udp));
    assert!(!names(&datagram.stages).contains(&"mss"));
}

#[test]
fn a_tunnel_without_session_lets_packets_wait() {
    let mut facts = facts();
    facts.peers[0].session = false;
    facts.peers[0].attempts = 3;

    let view = trace_with(&net(), &ping(address(11), address(10)), &facts);

    assert_eq!(view.verdict.outcome, TraceOutcome::Waits);
    assert_eq!(view.verdict.reason.as_deref(), Some("tunnel-no-session"));
    let text = &stage(&view, "encapsulation").text;
    assert!(
        text.ends_with("no session, 3 attempts since the last"),
        "{text}"
    );
}

#[test]
fn the_state_of_a_neighbor_decides_at_the_end() {
    use TraceOutcome::{Dropped, Forwarded, Waits};
    for (state, mac, outcome, reason) in [
        ("reachable", Some("02:00:00:00:00:0b"), Forwarded, None),
        ("stale", Some("02:00:00:00:00:0b"), Forwarded, None),
        ("incomplete", None, Waits, Some("neighbor-failed")),
        ("failed", None, Dropped, Some("neighbor-failed")),
    ] {
        let mut facts = facts();
        facts.neighbors.push(NeighborFacts {
            port: 1,
            address: address(11),
            mac: mac.map(String::from),
            state: state.into(),
            since_s: 2.0,
            queued: 0,
        });
        let view = trace_with(&net(), &ping(address(10), address(11)), &facts);

        assert_eq!(view.verdict.outcome, outcome, "{state}");
        assert_eq!(view.verdict.reason.as_deref(), reason, "{state}");
        let told = names(&view.stages).contains(&"icmp");
        assert_eq!(told, outcome == Dropped, "{state}");
    }
}

#[test]
fn arp_says_why_this_router_is_silent() {
    for (to, words) in [
        (address(99), "not-answered"),
        (overlay(2), "is not on eth1"),
        (address(1), "its kernel answers"),
    ] {
        let view = trace(&net(), &ping(address(11), to));
        let arp = stage(&view, "arp");
        assert_eq!(arp.result, StageResult::Note);
        assert!(arp.text.contains(words), "{}", arp.text);
    }
    let mut net = net();
    let port = sam_dataplane::PortId(1);
    net.input(
        1,
        Input::Notice(sam_dataplane::Notice::ForeignAnswer {
            port,
            address: address(10),
            mac: [2, 0, 0, 0, 0, 9],
        }),
    );
    let view = trace(&net, &ping(address(11), address(10)));
    assert!(stage(&view, "arp").text.contains("(alive)"));
    assert_eq!(
        view.verdict.outcome,
        TraceOutcome::Forwarded,
        "sent to its MAC nevertheless"
    );

    net.run(61);
    let view = trace(&net, &ping(address(11), address(10)));
    assert_eq!(stage(&view, "arp").result, StageResult::Pass);

    net.host(1, fixture::lan(false));
    let view = trace(&net, &ping(address(11), address(10)));
    assert!(stage(&view, "arp").text.contains("(gate-closed)"));
}

pub(super) fn net() -> Net {
    let mut net = Net::new(2, &[]);
    net.host(
        1,
        HostEvent::Tun {
            index: 4,
            mtu: 1440,
        },
    );
    net.command(2, Command::Announce(address(10)));
    net.command(1, Command::Announce(address(11)));
    net
}

pub(super) fn facts() -> Facts {
    let endpoint: SocketAddr = "192.0.2.2:51820".parse().unwrap();
    Facts {
        peers: vec![PeerFacts {
            session: true,
            endpoint: Some(endpoint),
            last_handshake_s: Some(5.0),
            ..PeerFacts::default()
        }],
        ..Facts::default()
    }
}

pub(super) fn ping(from: Ipv4Addr, to: Ipv4Addr) -> TraceQuery {
    TraceQuery {
        from,
        to,
        protocol: TraceProtocol::Icmp,
        port: None,
        size: TraceQuery::DEFAULT_SIZE,
        df: false,
    }
}

pub(super) fn trace(net: &Net, query: &TraceQuery) -> TraceView {
    trace_with(net, query, &facts())
}

fn trace_with(net: &Net, query: &TraceQuery, facts: &Facts) -> TraceView {
    let router: &Router = &net.stations[&1].router;
    router.trace(query, facts, net.now).unwrap()
}

fn stage<'a>(view: &'a TraceView, name: &str) -> &'a TraceStage {
    let mut stages = view.stages.iter();
    stages
        .find(|stage| stage.name == name)
        .unwrap_or_else(|| panic!("no stage {name} in {view:#?}"))
}

pub(super) fn names(stages: &[TraceStage]) -> Vec<&str> {
    stages.iter().map(|stage| stage.name.as_str()).collect()
}
