//! One row per fault of the election.

use std::net::Ipv4Addr;

use super::*;
use crate::config::{ActiveWhen, Capture, Track, Vrrp, VrrpSettings, VrrpVersion};
use crate::doctor::examine;
use crate::facts::{AddressFacts, CounterFacts, ElectionFacts, Facts, HeardFacts, RivalsFacts};
use crate::fixture::address;
use crate::input::Input;
use crate::testnet::Net;
use crate::view::{CheckStatus, SplitBrainRow, TrackedRow};

type Spoil = fn(&mut VrrpView);

#[test]
fn a_backup_with_a_master_passes_every_check() {
    for name in [
        "vrrp",
        "vrrp-rival",
        "split-brain",
        "lan-divided",
        "vrrp-strangers",
        "vrrp-lost",
        "vrrp-agreement",
        "vrrp-address",
        "vrrp-track",
    ] {
        assert_eq!(found(name, |_| ()), Some(CheckStatus::Pass), "{name}");
    }
    assert_eq!(
        found("gate", |_| ()),
        Some(CheckStatus::Pass),
        "silence is its part"
    );
}

#[test]
fn each_fault_of_the_election_is_found() {
    use CheckStatus::{Fail, Skip, Warn};
    let cases: &[(&str, CheckStatus, Spoil)] = &[
        ("vrrp", Fail, |view| view.failure = Some("no socket".into())),
        ("vrrp", Fail, |view| {
            (view.silent, view.failure) = (true, Some("it stands still".into()));
        }),
        ("vrrp", Warn, |view| view.election = None),
        ("vrrp-rival", Skip, |view| view.election = None),
        ("vrrp-rival", Fail, |view| {
            election(view).state = "master".into()
        }),
        ("vrrp-agreement", Warn, |view| {
            view.counters.push(CounterFacts {
                name: "addresses-differ".into(),
                value: 1,
                ..CounterFacts::default()
            });
        }),
        ("split-brain", Fail, |view| {
            view.split_brain = Some(split(299.0))
        }),
        ("split-brain", Fail, |view| {
            election(view).rivals = Some(rivals(299.0));
        }),
        ("lan-divided", Fail, |view| view.absent.push(address(10))),
        ("vrrp-strangers", Warn, |view| {
            election(view).strangers.push(address(9));
        }),
        ("vrrp-strangers", Warn, |view| {
            let configured = view.configured.as_mut().expect("configured");
            configured.peers = vec![address(2)];
            election(view).strangers.push(address(9));
        }),
        ("vrrp-lost", Warn, |view| {
            election(view).heard.as_mut().expect("heard").by_arp_only = true;
        }),
        ("vrrp-track", Warn, |view| view.tracked[0].holds = false),
    ];
    for (index, (name, status, spoil)) in cases.iter().enumerate() {
        assert_eq!(found(name, spoil), Some(*status), "case {index}: {name}");
    }
}

#[test]
fn an_order_that_only_the_router_that_stands_by_knows_is_given_again_to_the_one_that_acts() {
    let said = |state: &str| {
        let (mut net, mut facts) = backup(100);
        net.command(1, crate::input::Command::Announce(address(10)));
        let election = facts.vrrp.election.as_mut().expect("an election is held");
        election.state = state.into();
        let checks = net.stations[&1].router.doctor(&facts, net.now).checks;
        let check = checks.into_iter().find(|check| check.name == "unannounced");
        check.expect("it is looked at")
    };
    let check = said("backup");
    assert_eq!(check.status, CheckStatus::Warn);
    let remedy = check.remedy.expect("something can be done");
    assert!(
        remedy.starts_with("`samctl announce ADDRESS` there"),
        "{remedy}"
    );
    let remedy = said("initialize").remedy.expect("something can be done");
    assert!(remedy.starts_with("the gate decides"), "{remedy}");
}

#[test]
fn another_virtual_router_or_a_farewell_is_no_fault() {
    let other = |view: &mut VrrpView| {
        view.counters.push(CounterFacts {
            name: "other-vrid".into(),
            value: 1,
            ..CounterFacts::default()
        });
        let election = election(view);
        election.state = "master".into();
        election.heard.as_mut().expect("heard").priority = 0;
    };
    for name in ["vrrp-agreement", "vrrp-rival"] {
        assert_eq!(found(name, other), Some(CheckStatus::Pass), "{name}");
    }
}

#[test]
fn who_has_the_virtual_address_must_be_its_owner_and_the_owner_must_have_it() {
    use CheckStatus::{Fail, Pass, Skip, Warn};
    let cases = [
        (Some(false), 100, Pass),
        (Some(true), 100, Fail),
        (Some(false), 255, Warn),
        (Some(true), 255, Pass),
        (None, 100, Skip),
    ];
    for (on_host, priority, expected) in cases {
        let (net, mut facts) = backup(priority);
        facts.host.addresses = on_host.map(|on_host| {
            let held = AddressFacts {
                interface: "eth1".into(),
                address: IpAddr::from(virtual_address()),
            };
            Vec::from_iter(on_host.then_some(held))
        });
        let evidence = net.stations[&1].router.evidence(&facts, net.now);
        let status = status(&evidence, "vrrp-address");
        assert_eq!(status, Some(expected), "{on_host:?} {priority}");
    }
}

#[test]
fn a_split_brain_of_long_ago_is_no_fault() {
    let ago = |view: &mut VrrpView| {
        view.split_brain = Some(split(301.0));
        election(view).rivals = Some(rivals(301.0));
    };
    assert_eq!(found("split-brain", ago), Some(CheckStatus::Pass));
}

fn split(last_s: f64) -> SplitBrainRow {
    SplitBrainRow {
        rival: address(2),
        keeps: true,
        verdict: "this router keeps the role".into(),
        last_s,
    }
}

fn rivals(last_s: f64) -> RivalsFacts {
    RivalsFacts {
        addresses: [address(2), address(3)],
        times: 1,
        last_s,
    }
}

fn found(name: &str, spoil: impl Fn(&mut VrrpView)) -> Option<CheckStatus> {
    let (net, facts) = backup(100);
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
    spoil(decided(&mut evidence));
    status(&evidence, name)
}

fn decided<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut VrrpView {
    evidence.vrrp.as_mut().expect("an election decides")
}

fn status(evidence: &Evidence<'_>, name: &str) -> Option<CheckStatus> {
    let checks = examine(evidence).checks.into_iter();
    let mut checks = checks.filter(|check| check.area == AREA);
    checks
        .find(|check| check.name == name)
        .map(|check| check.status)
}

fn election(view: &mut VrrpView) -> &mut ElectionFacts {
    view.election.as_mut().expect("an election is held")
}

fn virtual_address() -> Ipv4Addr {
    address(254)
}

/// A router that follows a master of better priority.
fn backup(priority: u8) -> (Net, Facts) {
    let mut net = Net::new(2, &[]);
    let mut config = net.stations[&1].router.config().clone();
    config.local.capture = Capture::ProxyArp {
        interface: "eth1".into(),
        gratuitous_arp: true,
        discovery: None,
        active_when: ActiveWhen::Vrrp(Vrrp {
            settings: VrrpSettings {
                version: VrrpVersion::V3,
                vrid: 60,
                priority,
                address: virtual_address(),
                interval: std::time::Duration::from_millis(300),
                preempt: false,
                peers: [].into(),
                routers: [].into(),
            },
            track: Track {
                bgp: 20,
                tunnels: 0,
                engine: 0,
            },
        }),
    };
    net.input(1, Input::Config(Box::new(config)));
    let mut facts = Facts::default();
    facts.host.addresses = Some(Vec::new());
    facts.vrrp.election = Some(ElectionFacts {
        state: "backup".into(),
        since_s: 9.0,
        cause: "started".into(),
        why: "it listens who is there".into(),
        priority,
        heard: Some(HeardFacts {
            address: address(2),
            priority: 150,
            interval_ms: 300.0,
            last_s: 0.1,
            by_arp_only: false,
        }),
        down_ms: 1_083.0,
        promotions: 0,
        rivals: None,
        strangers: Vec::new(),
        conflicts: 0,
        received: 30,
        sent: 0,
    });
    let holds = |row: &TrackedRow| row.holds;
    let view = net.stations[&1].router.vrrp(&facts, net.now);
    assert!(view.tracked.iter().all(holds), "BGP is up");
    (net, facts)
}
