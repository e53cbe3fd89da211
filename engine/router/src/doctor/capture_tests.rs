//! One row per fault of capture in a cloud.

use sam_capture::NodeId;
use sam_capture::provider::NicId;

use crate::Facts;
use crate::config::{
    Capture, CaptureMode, CapturePlacement, CloudCapture, CloudEndpoints, CloudKind,
    DEFAULT_CAPTURE_PRIORITY, DEFAULT_RELEASE_HOLD,
};
use crate::doctor::{Evidence, examine};
use crate::facts::AddressFacts;
use crate::fixture::address;
use crate::testnet::Net;
use crate::view::{
    CaptureGroup, CaptureMember, CaptureNic, CapturePlace, CaptureRow, CheckStatus, NodeRef,
    PermissionRow, StandingRow, UnclassifiedRow,
};

type Spoil = fn(&mut Evidence<'_>);

#[test]
fn a_router_that_captures_passes_every_check() {
    let names = [
        "provider",
        "clock",
        "credentials",
        "forwarding",
        "room",
        "wanted",
        "guest-address",
        "journal",
        "permissions",
        "moves",
        "members",
        "takers",
        "placement",
    ];
    for name in names {
        assert_eq!(found(name, |_| ()), Some(CheckStatus::Pass), "{name}");
    }
    assert_eq!(
        found("provider", |e| e.captures.mode = Some("off".into())),
        Some(CheckStatus::Skip)
    );
    assert_eq!(
        found("provider", |e| e.captures.mode = None),
        None,
        "elsewhere than in a cloud nothing is said of it"
    );
}

#[test]
fn each_fault_of_capture_is_found() {
    use CheckStatus::{Fail, Pass, Skip, Warn};
    let cases: &[(&str, CheckStatus, Spoil)] = &[
        ("provider", Fail, |e| {
            e.captures.failure = Some("no client".into())
        }),
        ("provider", Fail, |e| {
            e.captures.invalid = Some("denied".into())
        }),
        ("provider", Skip, |e| e.captures.nic = None),
        ("provider", Warn, |e| nic(e).seen_s = 901.0),
        ("clock", Pass, |e| standing(e).clock_ahead_s = Some(-5)),
        ("clock", Warn, |e| standing(e).clock_ahead_s = Some(-6)),
        ("clock", Warn, |e| standing(e).clock_ahead_s = Some(900)),
        ("clock", Fail, |e| standing(e).clock_ahead_s = Some(901)),
        ("clock", Warn, |e| {
            e.captures.provider = Some(CloudKind::Azure.name().into());
            standing(e).clock_ahead_s = Some(901);
        }),
        ("credentials", Fail, |e| {
            standing(e).credentials_s = Some(0.0)
        }),
        ("credentials", Pass, |e| standing(e).told_s = 4499.0),
        ("credentials", Warn, |e| standing(e).told_s = 4501.0),
        ("refusals", Warn, |e| {
            e.captures.unclassified = unclassified(86_399.0)
        }),
        ("forwarding", Warn, |e| nic(e).forwarding = false),
        ("room", Warn, |e| row(e).state = "no-room".into()),
        ("room", Warn, |e| member(e).held = 4),
        ("wanted", Warn, |e| row(e).state = "waiting".into()),
        ("wanted", Warn, |e| row(e).state = "planned".into()),
        ("wanted", Warn, |e| row(e).state = "awaits-approval".into()),
        ("wanted", Warn, |e| {
            (row(e).state, row(e).since_s) = ("due".into(), Some(61.0))
        }),
        ("journal", Fail, |e| e.captures.journal_failed = true),
        ("permissions", Fail, |e| {
            e.captures.permissions[0].granted = Some(false)
        }),
        ("permissions", Skip, |e| {
            e.captures.permissions[0].granted = None
        }),
        ("takers", Warn, |e| sibling(e).state = "denied".into()),
        ("takers", Warn, |e| {
            sibling(e).state = "captures-nothing".into()
        }),
        ("takers", Pass, |e| sibling(e).state = "not-there".into()),
        ("placement", Warn, |e| {
            sibling(e).placement = Some("active-active".into())
        }),
        ("placement", Pass, |e| sibling(e).placement = None),
    ];
    for (index, (name, status, spoil)) in cases.iter().enumerate() {
        assert_eq!(found(name, spoil), Some(*status), "case {index}: {name}");
    }
}

#[test]
fn a_refusal_that_nobody_knows_is_named_for_a_day() {
    let named = found("refusals", |e| {
        e.captures.unclassified = unclassified(86_401.0);
    });
    assert_eq!(named, None);
}

#[test]
fn a_router_alone_at_its_site_is_told_nothing_of_others() {
    let alone = found("takers", |e| {
        let group = e.captures.group.as_mut().expect("a group");
        group.members.truncate(1);
    });
    assert_eq!(alone, None);
}

#[test]
fn whether_addresses_move_at_once_is_said_once_it_is_known() {
    assert_eq!(found("moves", |e| e.captures.moves = None), None);
    assert_eq!(
        found("moves", |e| e.captures.moves = Some(false)),
        Some(CheckStatus::Pass)
    );
}

#[test]
fn routers_that_are_told_different_placements_are_named() {
    let (net, facts) = captured();
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
    fill(&mut evidence);
    sibling(&mut evidence).placement = Some("active-active".into());

    let checks = examine(&evidence).checks.into_iter();
    let mut rows = checks.filter(|check| check.name == "placement");
    let row = rows.next().expect("a check of the placement");

    let detail = row.detail.expect("who is told what");
    assert_eq!(detail, "n1 active-standby, n2 active-active");
}

#[test]
fn an_address_of_another_site_on_this_host_is_a_fault_with_its_remedy() {
    let (net, mut facts) = captured();
    let on_host = AddressFacts {
        interface: "eth1".into(),
        address: address(10).into(),
    };
    let status = |facts: &Facts, spoil: Spoil| {
        let mut evidence = net.stations[&1].router.evidence(facts, net.now);
        fill(&mut evidence);
        spoil(&mut evidence);
        status(&evidence, "guest-address")
    };
    facts.host.addresses = Some(vec![on_host]);
    assert_eq!(status(&facts, |_| ()), Some(CheckStatus::Fail));
    // What lives here may well be on this host.
    assert_eq!(
        status(&facts, |e| row(e).want = "absent".into()),
        Some(CheckStatus::Pass)
    );

    facts.host.addresses = None;
    assert_eq!(status(&facts, |_| ()), Some(CheckStatus::Skip));
}

#[test]
fn what_has_a_place_at_the_site_is_not_said_to_fit_nowhere() {
    let (net, facts) = captured();
    let message = |spoil: Spoil| {
        let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
        fill(&mut evidence);
        spoil(&mut evidence);
        let checks = examine(&evidence).checks.into_iter();
        let mut rooms = checks.filter(|check| check.name == "room");
        rooms.next().expect("a check of the room").message
    };
    let nowhere = message(|e| row(e).state = "no-room".into());
    assert!(nowhere.contains("no router of the site"), "{nowhere}");

    let here = message(|e| {
        let node = NodeRef::new(e.config, NodeId(1));
        let (rule, why) = ("elected".into(), String::new());
        row(e).state = "no-room".into();
        row(e).place = Some(CapturePlace { node, rule, why });
    });

    assert!(here.contains("no room here"), "{here}");
}

fn found(name: &str, spoil: impl Fn(&mut Evidence<'_>)) -> Option<CheckStatus> {
    let (net, facts) = captured();
    let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
    fill(&mut evidence);
    spoil(&mut evidence);
    status(&evidence, name)
}

fn status(evidence: &Evidence<'_>, name: &str) -> Option<CheckStatus> {
    let checks = examine(evidence).checks.into_iter();
    let mut checks = checks.filter(|check| check.area == "capture");
    let check = checks.find(|check| check.name == name)?;
    let needs_remedy = matches!(check.status, CheckStatus::Fail | CheckStatus::Warn);
    assert_eq!(check.remedy.is_some(), needs_remedy, "{name}");
    Some(check.status)
}

fn row<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut CaptureRow {
    &mut evidence.captures.captures[0]
}

fn nic<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut CaptureNic {
    evidence.captures.nic.as_mut().expect("a NIC")
}

fn unclassified(told_s: f64) -> Option<UnclassifiedRow> {
    let words = "New: words".into();
    Some(UnclassifiedRow { words, told_s })
}

fn standing<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut StandingRow {
    evidence.captures.standing.as_mut().expect("an answer")
}

fn member<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut CaptureMember {
    let group = evidence.captures.group.as_mut().expect("a group");
    &mut group.members[0]
}

fn sibling<'a>(evidence: &'a mut Evidence<'_>) -> &'a mut CaptureMember {
    let group = evidence.captures.group.as_mut().expect("a group");
    &mut group.members[1]
}

/// What a provider has shown.
fn fill(evidence: &mut Evidence<'_>) {
    evidence.captures.nic = Some(CaptureNic {
        id: NicId("nic-1".into()),
        forwarding: true,
        used: 2,
        limit: Some(8),
        seen_s: 3.0,
    });
    evidence.captures.captures = vec![CaptureRow {
        address: address(10),
        want: "capture".into(),
        holder: Some(NicId("nic-1".into())),
        node: None,
        state: "held".into(),
        place: None,
        why: "it lives elsewhere".into(),
        since_s: Some(5.0),
    }];
    let member = |node| CaptureMember {
        node: NodeRef::new(evidence.config, NodeId(node)),
        state: "captures".into(),
        placement: Some("active-standby".into()),
        held: 3,
        capacity: Some(3),
    };
    evidence.captures.group = Some(CaptureGroup {
        placement: "active-standby".into(),
        members: vec![member(1), member(2)],
    });
    evidence.captures.moves = Some(true);
    evidence.captures.standing = Some(StandingRow {
        clock_ahead_s: Some(1),
        credentials_s: Some(3600.0),
        reads_left: None,
        writes_left: None,
        told_s: 60.0,
    });
    evidence.captures.permissions = vec![PermissionRow {
        action: "ec2:AssignPrivateIpAddresses".into(),
        granted: Some(true),
        detail: String::new(),
    }];
}

/// A router in a cloud.
fn captured() -> (Net, Facts) {
    let mut net = Net::new(2, &[]);
    let mut config = net.stations[&1].router.config().clone();
    config.local.capture = Capture::Cloud(CloudCapture {
        provider: CloudKind::Aws,
        interface: "eth1".into(),
        mode: CaptureMode::Auto,
        priority: DEFAULT_CAPTURE_PRIORITY,
        placement: CapturePlacement::ActiveStandby,
        max_captures: None,
        discovery: None,
        release_hold: DEFAULT_RELEASE_HOLD,
        changes_per_minute: 30,
        journal_file: Some("/nowhere/captures.jsonl".into()),
        endpoints: CloudEndpoints::default(),
    });
    net.start(1, config, crate::journal::RuntimeState::default());
    let mut facts = Facts::default();
    facts.host.addresses = Some(Vec::new());
    (net, facts)
}
