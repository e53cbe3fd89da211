//! What follows from the election on the LAN: the gate, what is originated, and what is announced again.
//!
//! Nodes 1 and 2 stand on one LAN and own 10.77.60.10; node 3 elsewhere owns 10.77.60.11.

use std::time::Duration;

use sam_vrrp::{Cause, Heard, Settings, State, Status, Version};

use super::*;
use crate::config::{ActiveWhen, Track, Vrrp};
use crate::facts::Facts;
use crate::lan_role::{VrrpPlan, VrrpReport};
use crate::view::{TraceOutcome, TraceProtocol, TraceQuery, TraceView};

pub(super) const FAR: u8 = 11;
const VIRTUAL: u8 = 254;

#[test]
fn before_the_election_is_heard_of_a_router_is_silent_and_owns_nothing() {
    let net = site();
    for id in [1, 2] {
        assert!(!net.answers(id, address(FAR)), "{id}");
    }
    assert_eq!(net.owner(3, address(ADDRESS)), None);
    let lan = &net.stations[&1].snapshot.lans[0];
    assert!(lan.answers.iter().eq([address(FAR)]), "armed");
    assert_eq!(lan.virtual_address, Some(address(VIRTUAL)));
}

#[test]
fn what_the_host_owns_is_left_to_its_kernel() {
    let mut net = site();
    reconfigure(&mut net, 1, |config| settings_of(config).priority = 255);
    assert_eq!(net.stations[&1].snapshot.lans[0].virtual_address, None);
}

#[test]
fn the_master_answers_before_it_originates_and_the_backup_does_neither() {
    let mut net = site();
    net.station(1).kinds.clear();

    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Backup, Cause::Started);

    assert!(net.answers(1, address(FAR)) && !net.answers(2, address(FAR)));
    let kinds = &net.stations[&1].kinds;
    let position = |kind| kinds.iter().position(|found| *found == kind);
    assert!(position("publish") < position("send"), "{kinds:?}");
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), Some(1));
    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(1));
    assert!(net.station(1).told("gate"));
}

#[test]
fn the_next_master_is_active_at_once_though_bgp_still_knows_the_former_one() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(1);

    elect(&mut net, 2, State::Master, Cause::Silence);

    assert_eq!(
        net.next_hop(2, address(ADDRESS)),
        Some(NextHop::Lan(crate::LAN_PORT))
    );
    let claim = net.stations[&2].router.claim_on(address(ADDRESS));
    assert_eq!(claim, Some(ClaimState::Active));

    elect(&mut net, 1, State::Backup, Cause::Outranked);
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));
    assert!(!net.answers(1, address(FAR)) && net.answers(2, address(FAR)));
}

#[test]
fn a_router_never_answers_for_what_another_one_of_its_lan_serves() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.command(1, Command::Announce(address(12)));
    assert_eq!(net.owner(2, address(12)), Some(1));
    assert!(!net.answers(2, address(12)), "it lives on the same LAN");
}

#[test]
fn the_link_takes_the_role_with_it_and_a_late_word_of_it_does_not_count() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    let former = plan(&net, 1).generation;

    net.host(1, fixture::lan(false));
    assert_eq!(net.stations[&1].vrrp, None);
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), None);
    net.host(1, fixture::lan(true));
    let late = VrrpReport {
        generation: former,
        status: Some(status(State::Master, Cause::Silence)),
    };
    net.input(1, Input::Vrrp(&late));

    assert!(!net.answers(1, address(FAR)));
    elect(&mut net, 1, State::Master, Cause::Silence);
    assert!(net.answers(1, address(FAR)));
}

#[test]
fn another_interface_of_the_same_name_is_another_election() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    let former = plan(&net, 1).generation;
    let mut lan = fixture::lan(true);
    if let HostEvent::Lan { index, .. } = &mut lan {
        *index += 1;
    }

    net.host(1, lan);

    assert!(plan(&net, 1).generation > former);
    assert!(
        !net.answers(1, address(FAR)),
        "until the election is heard of"
    );
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), None);
}

#[test]
fn a_drained_master_claims_until_the_next_one_does() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    elect(&mut net, 2, State::Backup, Cause::Started);
    net.run(1);
    net.station(3).events.clear();

    net.command(1, Command::Drain(true));
    assert_eq!(plan(&net, 1).penalty, u8::MAX);
    assert!(net.answers(1, address(FAR)), "until another one is master");
    // Both change their roles; what BGP says of it is under way.
    elect(&mut net, 1, State::Backup, Cause::Outranked);
    assert!(!net.answers(1, address(FAR)));
    let claim = |net: &Net| net.stations[&1].router.claim_on(address(ADDRESS));
    assert_eq!(claim(&net), Some(ClaimState::Draining));
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(1);

    assert_eq!(claim(&net), None);
    assert_eq!(net.owner(3, address(ADDRESS)), Some(2));
    let without = net.stations[&3].events.iter();
    let mut without = without.filter(|event| matches!(event, Event::OwnerChanged { to: None, .. }));
    assert_eq!(without.next(), None);
    assert!(net.station(1).told("drained"));
    net.command(1, Command::Drain(false));
    assert_eq!(
        (claim(&net), net.owner(3, address(ADDRESS))),
        (None, Some(2))
    );
}

#[test]
fn what_the_next_master_says_before_it_is_known_is_no_foreign_answer() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(1);
    let shown = |net: &Net| {
        let facts = Facts::default();
        net.stations[&1]
            .router
            .arp(&facts, net.now)
            .foreign_answers
            .len()
    };
    let say = |net: &mut Net| {
        let answer = Notice::ForeignAnswer {
            port: crate::LAN_PORT,
            address: address(FAR),
            mac: [2, 0, 0, 0, 0, 9],
        };
        net.input(1, Input::Notice(answer));
    };
    say(&mut net);
    assert_eq!(shown(&net), 1);

    elect(&mut net, 1, State::Backup, Cause::Outranked);
    assert_eq!(shown(&net), 0);
    say(&mut net);
    assert_eq!(shown(&net), 0, "it was under way");

    elect(&mut net, 1, State::Master, Cause::Silence);
    say(&mut net);
    net.run(2);
    elect(&mut net, 1, State::Backup, Cause::Outranked);
    assert_eq!(shown(&net), 1, "that was somebody else");
}

#[test]
fn another_router_that_answers_too_is_a_split_brain_with_evidence() {
    let mut net = site();
    let mac = [2, 0, 0, 0, 0, 2];
    let mut lan = fixture::lan(true);
    if let HostEvent::Lan { mac: own, .. } = &mut lan {
        *own = mac;
    }
    net.host(2, lan);
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(2);
    assert_eq!(net.stations[&1].snapshot.lans[0].siblings, [mac]);

    let (port, address) = (crate::LAN_PORT, address(FAR));
    let said = Notice::ForeignAnswer { port, address, mac };
    net.input(1, Input::Notice(said));
    let answered = Notice::QuestionAnswered {
        port,
        address,
        mac,
        asked: 1,
        answers: 2,
    };
    net.input(1, Input::Notice(answered));

    let station = net.station(1);
    assert!(station.told("split-brain") && !station.told("foreign-answer"));
    let facts = Facts::default();
    let now = net.now;
    let router = &net.stations[&1].router;
    let explained = router.explain(address, &facts, now);
    let line = "router n2 at 02:00:00:00:00:02 answers for 10.77.60.11 too: 2 answers to 1 questions, first 0 s ago, \
                last 0 s ago; several share the MAC";
    let evidence = &explained.questions[4].evidence;
    assert!(evidence.iter().any(|found| found == line), "{evidence:?}");
    assert_eq!(explained.arp.conditions[5].holds, Some(true));
    let failed = |name: &str| {
        let checks = router.doctor(&facts, now).checks;
        let check = checks.into_iter().find(|check| check.name == name);
        check.map(|check| check.status)
    };
    use crate::view::CheckStatus::{Fail, Pass};
    assert_eq!(failed("split-brain"), Some(Fail));
    assert_eq!(failed("duplicate-answer"), Some(Pass));

    elect(&mut net, 1, State::Backup, Cause::Outranked);
    let late = Notice::QuestionAnswered {
        port,
        address,
        mac,
        asked: 1,
        answers: 1,
    };
    net.input(1, Input::Notice(late));
    let rows = net.stations[&1].router.arp(&facts, now).foreign_answers;
    assert!(
        rows.iter().all(|row| row.answers == 2),
        "it answers rightly"
    );
}

#[test]
fn a_second_master_is_told_with_the_rule_that_decides() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    dispute(&mut net, 1);
    assert!(
        !net.station(1).told("split-brain"),
        "it has just taken over"
    );
    net.run(2);
    dispute(&mut net, 2);

    assert!(net.station(1).told("split-brain"));
    let facts = Facts::default();
    let view = net.stations[&1].router.vrrp(&facts, net.now);
    let split = view.split_brain.expect("it is shown");
    assert!(split.keeps);
    assert!(
        split.verdict.ends_with("priority 100 against 50"),
        "{split:?}"
    );
}

#[test]
fn others_in_the_election_are_told_once_each() {
    let mut net = site();
    elect(&mut net, 2, State::Backup, Cause::Started);
    let now = net.now;
    let rivals = |times| sam_vrrp::Rivals {
        addresses: [address(3), address(4)],
        times,
        at: now,
    };
    let said = |net: &Net, name: &str| {
        let events = net.stations[&2].events.iter();
        events.filter(|event| event.name() == name).count()
    };
    for (times, strangers, expected) in [
        (1, vec![], (1, 0)),
        (1, vec![address(3)], (1, 1)),
        (1, vec![address(3), address(4)], (1, 2)),
        (2, vec![address(4)], (2, 2)),
    ] {
        let status = Status {
            rivals: Some(rivals(times)),
            strangers,
            ..status(State::Backup, Cause::Started)
        };
        report(&mut net, 2, status);
        net.run(120);
        assert_eq!(
            (said(&net, "split-brain"), said(&net, "vrrp-stranger")),
            expected
        );
    }
}

#[test]
fn a_dispute_announces_everything_again_but_not_more_than_once_a_second() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    let conflicts = |net: &Net| net.stations[&1].snapshot.lans[0].conflicts;
    assert_eq!(conflicts(&net), 0);
    for count in 1..100 {
        dispute(&mut net, count);
    }
    assert_eq!(conflicts(&net), 1);
    assert!(net.station(1).told("vrrp-conflict"));

    net.run_for(Duration::from_millis(999));
    assert_eq!(conflicts(&net), 1);
    net.run_for(Duration::from_millis(1));
    assert_eq!(conflicts(&net), 2, "the last one is answered too");
    net.run(60);
    assert_eq!(conflicts(&net), 2);
    dispute(&mut net, 100);
    assert_eq!(conflicts(&net), 3);
}

#[test]
fn who_loses_the_role_is_silent_on_the_lan_before_others_hear_of_it() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(1);
    net.station(1).kinds.clear();

    elect(&mut net, 1, State::Backup, Cause::Outranked);

    assert!(!net.answers(1, address(FAR)));
    assert_eq!(net.stations[&1].router.claim_on(address(ADDRESS)), None);
    let kinds = &net.stations[&1].kinds;
    let position = |kind| kinds.iter().position(|found| *found == kind);
    assert!(position("publish").is_some(), "{kinds:?}");
    assert!(position("publish") < position("send"), "{kinds:?}");
    net.run(1);
    assert_eq!(net.owner(3, address(ADDRESS)), None);
}

#[test]
fn an_equal_configuration_leaves_the_election_alone() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.run(1);
    net.station(1).kinds.clear();
    reconfigure(&mut net, 1, |_| ());
    assert!(net.stations[&1].kinds.is_empty());

    let former = plan(&net, 1).generation;
    reconfigure(&mut net, 1, |config| settings_of(config).priority = 90);
    assert_eq!(plan(&net, 1).generation, former, "in place");
    assert!(net.answers(1, address(FAR)));
    reconfigure(&mut net, 1, |config| settings_of(config).vrid = 61);
    assert!(plan(&net, 1).generation > former, "another election");
    assert!(!net.answers(1, address(FAR)));
}

#[test]
fn an_orderly_stop_leaves_the_election() {
    let mut net = site();
    elect(&mut net, 1, State::Master, Cause::Silence);
    net.command(1, Command::Shutdown);
    assert_eq!(net.stations[&1].vrrp, None);
    assert!(!net.answers(1, address(FAR)));
}

#[test]
fn a_trace_says_that_the_master_answers_pings_to_the_virtual_address() {
    let mut net = site();
    let ping = TraceQuery {
        from: address(ADDRESS),
        to: address(VIRTUAL),
        protocol: TraceProtocol::Icmp,
        port: None,
        size: TraceQuery::DEFAULT_SIZE,
        df: false,
    };
    let trace = |net: &Net, query: &TraceQuery| {
        let router = &net.stations[&1].router;
        let view = router.trace(query, &Facts::default(), net.now);
        view.expect("there is such a packet")
    };
    elect(&mut net, 1, State::Master, Cause::Silence);
    let view = trace(&net, &ping);
    let ended = (view.verdict.outcome, view.verdict.text.as_str());
    let answered = "the engine of this router answers it";
    assert_eq!(ended, (TraceOutcome::Delivered, answered));
    let other = TraceQuery {
        protocol: TraceProtocol::Udp,
        port: Some(9),
        ..ping
    };
    assert_is_the_masters(&trace(&net, &other));

    elect(&mut net, 1, State::Backup, Cause::Started);
    elect(&mut net, 2, State::Master, Cause::Silence);
    net.run(1);
    assert_is_the_masters(&trace(&net, &ping));
}

fn assert_is_the_masters(view: &TraceView) {
    assert_eq!(view.verdict.outcome, TraceOutcome::Dropped);
    let mut stages = view.stages.iter();
    let route = stages.find(|stage| stage.name == "route");
    let said = route.is_some_and(|stage| stage.text.contains("whose master answers pings"));
    assert!(said, "{view:#?}");
}

/// Nodes 1 and 2 on one LAN, node 3 elsewhere; no election has been heard of.
pub(super) fn site() -> Net {
    let mut net = Net::empty();
    for id in 1..=3 {
        let mut config = fixture::config(id, 3, FULL_MESH);
        for id in [1, 2] {
            let node = config.fabric.nodes.get_mut(&NodeId(id)).expect("a node");
            node.site = "s1".into();
        }
        config.local.owned = [address(if id == 3 { FAR } else { ADDRESS })].into();
        if id != 3 {
            config.local.capture = Capture::ProxyArp {
                interface: "eth1".into(),
                gratuitous_arp: true,
                active_when: ActiveWhen::Vrrp(vrrp()),
                discovery: None,
            };
        }
        net.start(id, config, RuntimeState::default());
    }
    net.run(10);
    net
}

pub(crate) fn vrrp() -> Vrrp {
    Vrrp {
        settings: Settings {
            version: Version::V3,
            vrid: 60,
            priority: 100,
            address: address(VIRTUAL),
            interval: Duration::from_millis(300),
            preempt: false,
            peers: [].into(),
            routers: [].into(),
        },
        track: Track {
            bgp: 20,
            tunnels: 30,
            engine: 0,
        },
    }
}

fn settings_of(config: &mut Config) -> &mut Settings {
    let Capture::ProxyArp {
        active_when: ActiveWhen::Vrrp(vrrp),
        ..
    } = &mut config.local.capture
    else {
        panic!("this node takes part in an election")
    };
    &mut vrrp.settings
}

pub(super) fn plan(net: &Net, id: u32) -> VrrpPlan {
    let plan = net.stations[&id].vrrp.clone();
    plan.expect("it takes part in an election")
}

pub(super) fn elect(net: &mut Net, id: u32, state: State, cause: Cause) {
    report(net, id, status(state, cause));
}

fn dispute(net: &mut Net, conflicts: u64) {
    let now = net.now;
    let rival = Heard {
        address: address(2),
        priority: 50,
        best_priority: 50,
        interval: Duration::from_millis(300),
        at: now,
        copy_only: false,
    };
    let status = Status {
        conflicts,
        heard: Some(rival),
        ..status(State::Master, Cause::Silence)
    };
    report(net, 1, status);
}

pub(super) fn report(net: &mut Net, id: u32, status: Status) {
    let report = VrrpReport {
        generation: plan(net, id).generation,
        status: Some(status),
    };
    net.input(id, Input::Vrrp(&report));
}

#[expect(
    clippy::disallowed_methods,
    reason = "times of a status are only shown"
)]
pub(super) fn status(state: State, cause: Cause) -> Status {
    Status {
        state,
        since: std::time::Instant::now(),
        cause,
        priority: 100,
        penalty: 0,
        heard: None,
        rivals: None,
        strangers: Vec::new(),
        down_interval: Duration::from_secs(1),
        promotions: 0,
        conflicts: 0,
        sent: 0,
        received: 0,
    }
}

pub(super) fn tunnel_to(net: &Net, from: u32, to: u32) -> TunnelId {
    let name = format!("n{to}");
    let mut tunnels = net.stations[&from].snapshot.tunnels.iter();
    let found = tunnels.find(|tunnel| tunnel.name == name);
    found.expect("a tunnel to every node").id
}
