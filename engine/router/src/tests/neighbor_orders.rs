//! Orders about one BGP session, and policies that are tried.

use ipnet::IpNet;
use sam_bgp::{OrderRefusal, PeerOrder};

use super::graceful_shutdown::{THEIRS, border};
use super::*;
use crate::view::{CheckStatus, PolicyVerdict};

#[test]
fn a_disabled_session_is_shown_and_warned_of_until_it_is_enabled() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(1, Command::Neighbor(NodeId(2), PeerOrder::Disable));
    net.run(60);

    assert_eq!(shown(&net), ("idle".into(), true));
    assert!(net.station(1).told("neighbor-order"));
    let problem = "the session with n2 is disabled by order";
    assert!(
        problems(&net).contains(&problem.into()),
        "{:?}",
        problems(&net)
    );
    let again = Command::Neighbor(NodeId(2), PeerOrder::Disable);
    let router = &net.station(1).router;
    let refusal = CommandRefusal::Neighbor(OrderRefusal::Disabled);
    assert_eq!(router.check_command(&again), Err(refusal));

    net.command(1, Command::Neighbor(NodeId(2), PeerOrder::Enable));
    net.run(60);

    assert_eq!(shown(&net), ("established".into(), false));
    assert!(!problems(&net).contains(&problem.into()));
}

#[test]
fn a_route_of_a_node_is_judged_by_what_the_fabric_demands() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));
    let router = &net.station(1).router;

    let view = router.bgp_policy_test(host_route(), Some(NodeId(2)));

    let verdicts = view.expect("a peer").verdicts;
    let row = |it: &PolicyVerdict| (it.direction.clone(), it.route.clone(), it.passes);
    let rows: Vec<_> = verdicts.iter().map(row).collect();
    let expected = [("import", "received", true), ("export", "path", false)];
    assert_eq!(
        rows,
        expected.map(|(way, route, passes)| (way.into(), route.into(), passes))
    );
    assert_eq!(verdicts[1].reason.as_deref(), Some("not-reflected"));
    assert!(verdicts.iter().all(|it| it.term.starts_with("fixed")));
    assert_eq!(router.bgp_policy_test(host_route(), Some(NodeId(9))), None);
}

#[test]
fn a_rule_that_decides_is_named_and_a_route_that_is_not_there_is_assumed() {
    let net = border();
    let router = &net.stations[&1].router;
    let neighbor = NodeId(overlay(9).into());
    let test = |prefix: IpNet| {
        let view = router.bgp_policy_test(prefix, Some(neighbor));
        let verdicts = view.expect("a peer").verdicts.into_iter();
        let row = |it: PolicyVerdict| (it.direction, it.route, it.passes, it.term);
        verdicts.map(row).collect::<Vec<_>>()
    };
    let row = |direction: &str, route: &str, passes, term: &str| {
        (direction.into(), route.into(), passes, term.into())
    };
    let (rule, fixed) = ("rule 1 of 1: anything: accept", "fixed: before any rule");

    let theirs = [
        row("import", "received", true, rule),
        row("export", "path", false, fixed),
    ];
    assert_eq!(test(THEIRS.into()), theirs);
    let elsewhere = "203.0.113.0/24".parse().unwrap();
    let assumed = [
        row("import", "assumed", true, rule),
        row("export", "assumed", true, rule),
    ];
    assert_eq!(test(elsewhere), assumed);
    let ours = test(host_route());
    assert_eq!(
        ours[0],
        row("import", "assumed", false, fixed),
        "an address of a pool"
    );
    assert_eq!(ours[1], row("export", "path", true, rule));
    let all = router.bgp_policy().neighbors;
    let rules = all
        .iter()
        .find(|it| it.node.id == neighbor)
        .expect("a neighbor");
    assert_eq!(rules.import, Some(vec!["anything: accept".into()]));
}

/// The address that is told, as a route.
fn host_route() -> IpNet {
    Ipv4Net::from(address(ADDRESS)).into()
}

/// State of the session with n2, and whether that is by order.
fn shown(net: &Net) -> (String, bool) {
    let rows = net.stations[&1].router.bgp_neighbors(net.now).neighbors;
    let row = rows.into_iter().find(|row| row.node.name == "n2");
    row.map(|row| (row.state, row.disabled))
        .expect("a neighbor")
}

fn problems(net: &Net) -> Vec<String> {
    let router = &net.stations[&1].router;
    let view = router.doctor(&crate::Facts::default(), net.now);
    let checks = view.checks.into_iter();
    let bad = checks.filter(|check| matches!(check.status, CheckStatus::Warn | CheckStatus::Fail));
    bad.map(|check| check.message).collect()
}
