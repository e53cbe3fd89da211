//! One row per check: a healthy router passes all of them, and each fault is found by the check made for it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sam_capture::NodeId;

use super::{Evidence, examine};
use crate::config::{Capture, Config, TunnelMtu};
use crate::facts::{
    AddressFacts, BfdFacts, BfdSessionFacts, DropFacts, Facts, HostFacts, LanFacts, PeerFacts,
    QueueFacts, TunFacts, WorkerFacts,
};
use crate::fixture::{address, overlay};
use crate::input::Command;
use crate::testnet::Net;
use crate::view::{
    CheckStatus, DoctorView, ForeignAnswerRow, IdentityConflictRow, NodeRef, RouteAction, RouteRow,
    SightingRow,
};

type Spoil = fn(&mut Evidence<'_>);
type SpoilFacts = fn(&mut Facts);

#[test]
fn a_healthy_router_passes_every_check() {
    let (net, facts) = healthy();

    let view = net.stations[&1].router.doctor(&facts, net.now);

    let bad: Vec<_> = view
        .checks
        .iter()
        .filter(|c| c.status != CheckStatus::Pass)
        .collect();
    assert_eq!(bad, Vec::<&super::CheckRow>::new());
    assert_eq!(view.overall, CheckStatus::Pass);
    assert_eq!(view.summary.pass, view.checks.len());
}

#[test]
fn every_bad_check_says_what_to_do() {
    let (net, _) = healthy();

    let view = net.stations[&1].router.doctor(&Facts::default(), net.now);

    for check in view
        .checks
        .iter()
        .filter(|check| check.status >= CheckStatus::Warn)
    {
        assert!(check.remedy.is_some(), "{check:?}");
    }
    assert_eq!(view.overall, CheckStatus::Fail);
    assert_eq!(view.summary.overall, view.overall);
}

#[test]
fn names_are_unique_within_an_area() {
    let (net, facts) = healthy();

    let view = net.stations[&1].router.doctor(&facts, net.now);

    let names: BTreeSet<_> = view
        .checks
        .iter()
        .map(|check| (&check.area, &check.name))
        .collect();
    assert_eq!(names.len(), view.checks.len());
}

#[test]
fn each_fault_of_the_host_is_found() {
    use CheckStatus::{Fail, Skip, Warn};
    let cases: &[(&str, CheckStatus, SpoilFacts)] = &[
        ("host/ip-forward", Warn, |f| {
            f.host.ip_forward = Some(true);
            lan(f).forwarding = Some(true);
        }),
        ("host/ip-forward", Skip, |f| {
            f.host.ip_forward = None;
            lan(f).forwarding = None;
        }),
        ("host/cap-net-admin", Fail, |f| lose(f, "CAP_NET_ADMIN")),
        ("host/cap-net-raw", Fail, |f| lose(f, "CAP_NET_RAW")),
        ("host/cap-net-bind-service", Fail, |f| {
            lose(f, "CAP_NET_BIND_SERVICE")
        }),
        ("host/cap-net-bind-service", Skip, |f| {
            f.host.unprivileged_port_start = Some(0)
        }),
        ("host/cap-net-admin", Skip, |f| f.host.capabilities = None),
        ("host/tun", Fail, |f| f.host.tun = None),
        ("host/tun", Fail, |f| tun(f).up = false),
        ("host/tun", Fail, |f| tun(f).addresses.clear()),
        ("host/tun", Warn, |f| tun(f).mtu = 1000),
        ("host/offloads", Warn, |f| {
            f.workers[0].offloads.udp_segment = false
        }),
        ("host/offloads", Skip, |f| f.workers.clear()),
        ("host/shares", Warn, |f| f.workers[0].receives_lan = false),
        ("host/shares", Warn, |f| f.workers[0].receives_host = false),
        ("host/shares", Skip, |f| f.workers.clear()),
        ("host/kernel-tunnels", Skip, |f| f.host.tunnels = None),
        ("lan/interface", Fail, |f| f.host.lan = None),
        ("lan/interface", Fail, |f| lan(f).up = false),
        ("lan/proxy-arp", Fail, |f| lan(f).proxy_arp = Some(true)),
        ("lan/proxy-arp", Fail, |f| f.host.proxy_arp_all = Some(true)),
        ("lan/proxy-arp", Skip, |f| f.host.proxy_arp_all = None),
        ("lan/captured-address", Fail, |f| {
            let held = AddressFacts {
                interface: "eth0".into(),
                address: address(10).into(),
            };
            f.host.addresses.as_mut().unwrap().push(held);
        }),
        ("lan/captured-address", Skip, |f| f.host.addresses = None),
        ("tunnel/handshake-n2", Fail, |f| f.peers[0].session = false),
        ("tunnel/bfd", Warn, |f| f.bfd.sessions.clear()),
        ("tunnel/bfd", Skip, |f| f.bfd.scheduling.clear()),
        ("tunnel/bfd", Skip, |f| {
            f.bfd.sessions.clear();
            f.bfd.silent = true;
        }),
        ("routes/workers", Warn, |f| f.workers[0].generation += 1),
        ("routes/workers", Skip, |f| f.workers.clear()),
        ("drops/source-not-allowed", Warn, |f| {
            f.drops[0].last_minute = 1
        }),
        ("drops/growing", Skip, |f| f.drops.clear()),
        ("drops/queues", Warn, |f| f.queues[0].full = 1),
    ];
    for (index, (name, status, spoil)) in cases.iter().enumerate() {
        let (net, mut facts) = healthy();
        spoil(&mut facts);

        let view = net.stations[&1].router.doctor(&facts, net.now);

        assert_eq!(found(&view, name), Some(*status), "case {index}: {name}");
    }
}

#[test]
fn each_fault_of_the_fabric_is_found() {
    use CheckStatus::{Fail, Warn};
    let cases: &[(&str, CheckStatus, Spoil)] = &[
        ("lan/gate", Warn, |e| e.arp.gate_open = false),
        ("lan/subnet", Warn, |e| {
            e.arp.subnet = Some("192.0.2.0/24".parse().unwrap());
        }),
        ("lan/duplicate-answer", Fail, |e| {
            e.arp.foreign_answers.push(foreign(299.0))
        }),
        ("lan/probed-address", Warn, |e| {
            e.arp.probes.push(sighting(10.0))
        }),
        ("tunnel/handshake-n2", Fail, |e| {
            e.tunnels.tunnels[0].up = false;
            e.tunnels.tunnels[0].endpoint = None;
        }),
        ("tunnel/handshake-n2", Fail, |e| {
            e.tunnels.tunnels[0].fault = Some("routed-into-itself".into());
        }),
        ("tunnel/mtu-n2", Fail, |e| {
            e.tunnels.tunnels[0].underlay_mtu = 1499
        }),
        ("tunnel/mtu-n2", Warn, |e| e.tunnels.tunnels[0].mtu = 1279),
        ("tunnel/bfd", Warn, |e| {
            e.bfd.as_mut().unwrap().sessions[0].flaps = 4
        }),
        ("tunnel/bfd", Warn, |e| {
            e.bfd.as_mut().unwrap().sessions[0].next_hop = Some("unreachable".into());
        }),
        ("bgp/session-n2", Fail, |e| {
            e.neighbors.neighbors[0].state = "active".into()
        }),
        ("bgp/session-n2", Warn, |e| {
            e.neighbors.neighbors[0].degraded = Some("no-addpath".into());
        }),
        ("bgp/rejected-routes", Warn, |e| reject(e, "outside-pool")),
        ("identity/foreign-claims", Fail, |e| {
            reject(e, "node-id-not-peer")
        }),
        ("identity/one-router-per-node", Fail, |e| {
            e.tunnels.identity_conflicts.push(IdentityConflictRow {
                node: node(e),
                evidence: "endpoint".into(),
                count: 9,
                last_s: 1.0,
            });
        }),
        ("owners/duplicate-owner", Fail, |e| duplicate(e, true)),
        ("owners/duplicate-owner", Warn, |e| duplicate(e, false)),
        ("owners/unannounced", Warn, |e| {
            e.owners.owners[0].owner = None;
            e.owners.owners[0].configured = true;
        }),
        ("owners/unannounced", Warn, |e| {
            e.withdrawn = vec![address(10)];
        }),
        ("owners/given-away", Warn, |e| {
            e.given_away.push(address(10))
        }),
        ("routes/rib-fib", Fail, |e| {
            e.routes
                .routes
                .retain(|row| row.prefix != address(10).into());
        }),
        ("routes/rib-fib", Fail, |e| {
            route_to(e, address(10)).action = RouteAction::Withhold;
        }),
        ("routes/rib-fib", Fail, |e| {
            route_to(e, address(10)).node = None;
        }),
        ("routes/rib-fib", Fail, |e| e.owners.owners[0].owner = None),
    ];
    for (index, (name, status, spoil)) in cases.iter().enumerate() {
        let (net, facts) = healthy();
        let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
        spoil(&mut evidence);

        let view = examine(&evidence);

        assert_eq!(found(&view, name), Some(*status), "case {index}: {name}");
    }
}

#[test]
fn a_session_that_is_disabled_or_whose_limit_is_near_is_found() {
    let cases: [(&str, CheckStatus, Spoil); 2] = [
        ("bgp/session-n2", CheckStatus::Fail, |e| {
            let neighbor = &mut e.neighbors.neighbors[0];
            (neighbor.state, neighbor.disabled) = ("idle".into(), true);
        }),
        ("bgp/max-prefixes-n2", CheckStatus::Warn, |e| {
            let neighbor = &mut e.neighbors.neighbors[0];
            neighbor.max_prefixes = Some(neighbor.accepted);
        }),
    ];
    for (name, status, spoil) in cases {
        let (net, facts) = healthy();
        let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
        spoil(&mut evidence);
        assert_eq!(found(&examine(&evidence), name), Some(status), "{name}");
    }
}

fn found(view: &DoctorView, name: &str) -> Option<CheckStatus> {
    let mut checks = view.checks.iter();
    let check = checks.find(|check| format!("{}/{}", check.area, check.name) == name);
    check.map(|check| check.status)
}

#[test]
fn one_dead_node_of_several_is_a_warning_and_all_of_them_a_failure() {
    let (net, facts) = healthy();
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
    let mut dead = evidence.neighbors.neighbors[0].clone();
    (dead.node.name, dead.state) = ("n3".into(), "active".into());
    evidence.neighbors.neighbors.push(dead);
    let mut dead = evidence.tunnels.tunnels[0].clone();
    (dead.node.name, dead.up) = ("n3".into(), false);
    evidence.tunnels.tunnels.push(dead);

    assert_eq!(status_of(&evidence, "session-n3"), Some(CheckStatus::Warn));
    assert_eq!(
        status_of(&evidence, "handshake-n3"),
        Some(CheckStatus::Warn)
    );

    evidence.neighbors.neighbors[0].state = "idle".into();
    evidence.tunnels.tunnels[0].up = false;

    assert_eq!(status_of(&evidence, "session-n3"), Some(CheckStatus::Fail));
    assert_eq!(
        status_of(&evidence, "handshake-n3"),
        Some(CheckStatus::Fail)
    );
}

#[test]
fn a_tunnel_without_encryption_is_told_of_in_its_own_words() {
    let (net, facts) = healthy();
    let spoils: [(&str, Spoil); 2] = [
        ("has no endpoint", |e| {
            e.tunnels.tunnels[0].up = false;
            e.tunnels.tunnels[0].endpoint = None;
        }),
        ("nothing comes by the tunnel to n2 (gre)", |e| {
            e.bfd.as_mut().unwrap().sessions[0].session.state = "down".into();
        }),
    ];
    for (words, spoil) in spoils {
        let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
        let tunnel = &mut evidence.tunnels.tunnels[0];
        (tunnel.encap, tunnel.encrypted, tunnel.up) = ("gre".into(), false, true);
        assert_eq!(
            status_of(&evidence, "handshake-n2"),
            Some(CheckStatus::Pass)
        );

        spoil(&mut evidence);

        let view = examine(&evidence);
        let mut checks = view.checks.iter();
        let check = checks.find(|check| check.name == "handshake-n2").unwrap();
        assert!(check.status >= CheckStatus::Warn, "{check:?}");
        assert!(check.message.contains(words), "{check:?}");
        let told = format!("{check:?}");
        assert!(!told.contains("session") && !told.contains("key"), "{told}");
    }
}

#[test]
fn tunnel_packets_that_are_refused_point_at_a_fault_whatever_the_reason() {
    let reasons = sam_dataplane::DropReason::ALL.iter();
    for reason in reasons.filter(|reason| reason.name().starts_with("encap-")) {
        let (net, mut facts) = healthy();
        facts.drops.push(DropFacts {
            reason: reason.name().into(),
            last_minute: 1,
            ..DropFacts::default()
        });
        let evidence = net.stations[&1].router.evidence(&facts, net.now);
        let status = status_of(&evidence, reason.name());
        assert_eq!(status, Some(CheckStatus::Warn), "{}", reason.name());
    }
}

#[test]
fn a_sighting_of_long_ago_is_forgiven() {
    let (net, facts) = healthy();
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);

    evidence.arp.foreign_answers.push(foreign(301.0));

    assert_eq!(examine(&evidence).overall, CheckStatus::Pass);
}

#[test]
fn without_clamping_a_lan_wider_than_the_tunnel_is_a_warning() {
    let (net, facts) = healthy();
    let mut config = net.stations[&1].router.config().clone();
    config.fabric.transport.mss_clamp = false;
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);

    evidence.config = &config;

    assert_eq!(status_of(&evidence, "mtu-n2"), Some(CheckStatus::Warn));
}

#[test]
fn a_fixed_mtu_that_does_not_fit_the_underlay_fails() {
    let (mut net, facts) = healthy();
    let mut config = net.stations[&1].router.config().clone();
    config.fabric.transport.mtu = TunnelMtu::Fixed(1480);
    net.input(1, crate::Input::Config(Box::new(config)));

    let evidence = net.stations[&1].router.evidence(&facts, net.now);

    assert_eq!(status_of(&evidence, "mtu-n2"), Some(CheckStatus::Fail));
}

#[test]
fn without_capture_the_lan_is_skipped() {
    let (net, facts) = healthy();
    let mut config: Config = net.stations[&1].router.config().clone();
    config.local.capture = Capture::None;
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
    evidence.config = &config;
    evidence.arp.interface = None;

    let view = examine(&evidence);

    assert_eq!(view.overall, CheckStatus::Pass);
    assert_eq!(view.summary.skip, 3, "interface, ip-forward, cap-net-raw");
}

/// Two routers; node 2 owns 10.77.60.10, and node 1 is looked at.
fn healthy() -> (Net, Facts) {
    let mut net = Net::new(2, &[]);
    net.command(2, Command::Announce(address(10)));
    let generation = net.stations[&1].snapshot.generation;
    let facts = Facts {
        host: host_facts(),
        workers: vec![WorkerFacts {
            generation,
            receives_lan: true,
            receives_host: true,
            ..WorkerFacts::default()
        }],
        peers: vec![PeerFacts {
            session: true,
            last_handshake_s: Some(5.0),
            ..PeerFacts::default()
        }],
        drops: vec![DropFacts {
            reason: "source-not-allowed".into(),
            total: 9,
            ..DropFacts::default()
        }],
        queues: vec![QueueFacts {
            name: "notices".into(),
            limit: 10,
            ..QueueFacts::default()
        }],
        bfd: BfdFacts {
            scheduling: "real-time".into(),
            sessions: vec![session()],
            ..BfdFacts::default()
        },
        ..Facts::default()
    };
    (net, facts)
}

/// The BFD session with node 2, up.
fn session() -> BfdSessionFacts {
    BfdSessionFacts {
        address: overlay(2),
        state: "up".into(),
        since_s: 60.0,
        remote_state: "up".into(),
        local_discriminator: 1,
        remote_discriminator: 2,
        transmit_ms: Some(300.0),
        receive_ms: Some(300.0),
        detection_ms: Some(900.0),
        multiplier: 3,
        remote_multiplier: 3,
        ups: 1,
        failures: 0,
        last_down: None,
        received: 200,
        sent: 200,
    }
}

fn host_facts() -> HostFacts {
    let capabilities = ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"];
    HostFacts {
        hostname: "n1".into(),
        ip_forward: Some(false),
        proxy_arp_all: Some(false),
        capabilities: Some(capabilities.map(String::from).into()),
        unprivileged_port_start: Some(1024),
        addresses: Some(vec![AddressFacts {
            interface: "eth1".into(),
            address: address(1).into(),
        }]),
        tunnels: Some(Vec::new()),
        tun: Some(TunFacts {
            name: "sam0".into(),
            up: true,
            mtu: 1440,
            addresses: vec![overlay(1)],
        }),
        lan: Some(LanFacts {
            name: "eth1".into(),
            up: true,
            mtu: 1500,
            forwarding: Some(false),
            proxy_arp: Some(false),
            ..LanFacts::default()
        }),
    }
}

fn status_of(evidence: &Evidence<'_>, name: &str) -> Option<CheckStatus> {
    let view = examine(evidence);
    view.checks
        .iter()
        .find(|check| check.name == name)
        .map(|check| check.status)
}

fn lan(facts: &mut Facts) -> &mut LanFacts {
    facts.host.lan.as_mut().unwrap()
}

fn tun(facts: &mut Facts) -> &mut TunFacts {
    facts.host.tun.as_mut().unwrap()
}

fn lose(facts: &mut Facts, capability: &str) {
    facts
        .host
        .capabilities
        .as_mut()
        .unwrap()
        .retain(|held| held != capability);
}

/// Has an address claimed by several nodes, this one among them or not.
fn duplicate(e: &mut Evidence<'_>, configured: bool) {
    let row = &mut e.owners.owners[0];
    (row.duplicate, row.configured) = (true, configured);
}

fn reject(evidence: &mut Evidence<'_>, reason: &'static str) {
    let node = node(evidence);
    evidence.rejected.push((node, address(10).into(), reason));
}

fn node(evidence: &Evidence<'_>) -> NodeRef {
    NodeRef::new(evidence.config, NodeId(2))
}

fn foreign(last_s: f64) -> ForeignAnswerRow {
    ForeignAnswerRow {
        address: address(10),
        mac: "02:00:00:00:00:09".into(),
        node: None,
        count: 1,
        first_s: last_s,
        last_s,
        asked: 1,
        answers: 1,
    }
}

fn sighting(last_s: f64) -> SightingRow {
    SightingRow {
        address: address(10),
        mac: "02:00:00:00:00:09".into(),
        count: 1,
        last_s,
    }
}

fn route_to<'a>(evidence: &'a mut Evidence<'_>, address: Ipv4Addr) -> &'a mut RouteRow {
    let rows = &mut evidence.routes.routes;
    rows.iter_mut()
        .find(|row| row.prefix == address.into())
        .unwrap()
}
