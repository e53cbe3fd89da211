//! What operators see.

use std::net::IpAddr;

use ipnet::IpNet;

use super::*;

#[test]
fn owners_show_claims_and_the_deciding_step() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));

    let view = net.stations[&3].router.owners(net.now);

    let row = &view.owners[0];
    assert_eq!(
        (row.address, row.state.as_str(), row.duplicate),
        (address(ADDRESS), "active", true)
    );
    assert_eq!(
        row.owner.as_ref().map(|node| node.name.as_str()),
        Some("n2")
    );
    assert_eq!(
        (row.local, row.answered, row.configured),
        (false, false, true)
    );
    let claims: Vec<_> = row
        .claims
        .iter()
        .map(|c| (c.node.id.0, c.state.as_str(), c.best))
        .collect();
    assert_eq!(claims, [(2, "active", true), (3, "standby", false)]);
    assert_eq!(
        row.claims[1].step,
        crate::view::step_name(DecisionStep::LocalPref)
    );
}

/// bgp.md section 5.7: one value for one view, whoever told of it; and another one when everything is as before again.
#[test]
fn all_nodes_sign_what_they_see_of_an_owner_alike() {
    let mut net = Net::new(4, &[1, 2]);
    net.command(3, Command::Announce(address(ADDRESS)));
    let first = signed(&net);
    net.command(3, Command::Withdraw(address(ADDRESS)));
    net.command(4, Command::Announce(address(ADDRESS)));
    let second = signed(&net);
    net.command(4, Command::Withdraw(address(ADDRESS)));
    net.command(3, Command::Announce(address(ADDRESS)));

    let third = signed(&net);

    assert_eq!(
        std::collections::BTreeSet::from([first, second, third]).len(),
        3
    );
}

/// The signature of the address, which is the same at all nodes.
fn signed(net: &Net) -> String {
    let at = |id: u32| {
        let owners = net.stations[&id].router.owners(net.now).owners;
        let row = owners
            .into_iter()
            .find(|row| row.address == address(ADDRESS));
        row.and_then(|row| row.signature).expect("it has an owner")
    };
    let all: std::collections::BTreeSet<String> = (1..=4).map(at).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().expect("one")
}

#[test]
fn why_shows_the_ladder_down_to_the_deciding_step() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Announce(address(ADDRESS)));

    let why = net.stations[&3].router.bgp_why(host_route(), net.now);

    assert_eq!(why.best.unwrap().node.unwrap().name, "n2");
    let ladder = &why.comparisons[0].ladder;
    let steps: Vec<_> = ladder
        .iter()
        .map(|row| (row.step.name.as_str(), row.decides))
        .collect();
    assert_eq!(
        steps,
        [("eligible", false), ("steady", false), ("local-pref", true)]
    );
    assert_eq!(
        (ladder[2].best.as_str(), ladder[2].other.as_str()),
        ("400", "300")
    );
}

#[test]
fn why_says_which_steps_are_not_used_and_what_decides_between_equals() {
    let mut net = Net::new(4, &[1, 2]);
    net.command(3, Command::Announce(address(ADDRESS)));

    let why = net.stations[&4].router.bgp_why(host_route(), net.now);

    assert_eq!(why.unusable, []);
    let ladder = &why.comparisons[0].ladder;
    let rungs: Vec<_> = ladder
        .iter()
        .map(|row| (row.step.number, row.unused.is_some(), row.decides))
        .collect();
    // The first step has two parts.
    let expected = [
        (1, false, false),
        (1, false, false),
        (2, false, false),
        (3, false, false),
        (4, false, false),
        (5, false, false),
        (6, false, false),
        (7, false, false),
        (8, true, false),
        (9, false, false),
        (10, false, false),
        (11, false, true),
    ];
    assert_eq!(rungs, expected, "two reflectors tell the same route");
    assert_eq!(why.comparisons[0].step.name, "peer-address");
    let last = &ladder[11];
    assert_eq!(
        (last.best.as_str(), last.other.as_str()),
        ("10.99.0.1", "10.99.0.2")
    );
}

#[test]
fn why_shows_the_paths_of_which_none_can_be_chosen() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));
    let now = net.now;
    let router = &mut net.station(1).router;
    router
        .speaker
        .set_next_hops(std::collections::BTreeSet::new(), now);

    let why = router.bgp_why(host_route(), now);

    assert_eq!((why.best, why.comparisons.len()), (None, 0));
    let reasons: Vec<_> = why
        .unusable
        .iter()
        .map(|path| path.ineligible.as_deref())
        .collect();
    assert_eq!(reasons, [Some("next-hop-unreachable")]);
}

#[test]
fn the_tables_of_a_neighbor_show_what_came_what_became_of_it_and_what_went() {
    let mut net = Net::new(3, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    let network: Ipv4Net = "10.77.60.0/24".parse().unwrap();
    let said = Update {
        announced: vec![network.into()],
        attributes: Some(PathAttributes::local(overlay(3))),
        ..Update::default()
    };
    net.say(3, 1, &Message::Update(said));
    net.run(1);
    let (router, now) = (&net.stations[&1].router, net.now);
    let table = |node, table| router.bgp_table(NodeId(node), table, None, now).unwrap();
    let prefixes = |view: &BgpTableView| -> Vec<String> {
        let pools = view.routes.iter().map(|row| row.prefix.to_string());
        pools
            .filter(|prefix| prefix.starts_with("10.77."))
            .collect()
    };

    let received = table(3, RouteTable::Received);
    assert_eq!(prefixes(&received), ["10.77.60.0/24", "10.77.60.10/32"]);
    assert_eq!(
        received
            .routes
            .iter()
            .filter(|row| row.rejected.is_some())
            .count(),
        1
    );
    let neighbors = router.bgp_neighbors(now).neighbors;
    let of = |node| neighbors.iter().find(|row| row.node.id == NodeId(node));
    let refusals = &of(3).expect("a neighbor").refusals;
    assert_eq!(refusals.values().sum::<u64>(), 1, "{refusals:?}");
    assert!(of(2).expect("a neighbor").refusals.is_empty());
    let rejected = table(3, RouteTable::Rejected);
    assert_eq!(prefixes(&rejected), ["10.77.60.0/24"]);
    assert!(rejected.routes[0].rejected.is_some());
    assert_eq!(
        prefixes(&table(3, RouteTable::Accepted)),
        ["10.77.60.10/32"]
    );
    assert_eq!(prefixes(&table(3, RouteTable::Advertised)), [""; 0]);
    let withheld = table(3, RouteTable::Withheld).routes;
    let ours = withheld
        .iter()
        .find(|row| row.prefix == host_route())
        .expect("its own route does not go back");
    assert_eq!(ours.withheld.as_deref(), Some("split-horizon"));
    assert_eq!(ours.from.as_ref().map(|from| from.id.0), Some(3));
    let reflected = table(2, RouteTable::Advertised);
    assert_eq!(prefixes(&reflected), ["10.77.60.10/32"]);
    let attributes = &reflected.routes.last().unwrap().attributes;
    assert_eq!(attributes.next_hop, overlay(3));
    assert_eq!(attributes.originator_id, Some(overlay(3)));
    assert!(
        router
            .bgp_table(NodeId(9), RouteTable::Received, None, now)
            .is_none()
    );
}

#[test]
fn every_view_is_json_and_comes_back_equal() {
    fn round_trip<
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    >(
        view: &T,
    ) {
        let text = serde_json::to_string(view).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *view, "{text}");
    }
    let mut net = Net::new(3, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    let (facts, now) = (crate::Facts::default(), net.now);
    let router = &net.stations[&1].router;

    round_trip(&router.status(&facts, now));
    round_trip(&router.owners(now));
    round_trip(&router.routes());
    round_trip(&router.bgp_neighbors(now));
    round_trip(&router.bgp_neighbor(NodeId(3), &facts, now).unwrap());
    for table in RouteTable::ALL {
        round_trip(&router.bgp_table(NodeId(3), table, None, now).unwrap());
    }
    round_trip(&router.bgp_rib(None, now));
    round_trip(&router.bgp_why(host_route(), now));
    round_trip(&router.tunnels(&facts, now));
    round_trip(&router.arp(&facts, now));
    round_trip(&router.counters(&facts));
    round_trip(&router.doctor(&facts, now));
    round_trip(&router.explain(address(ADDRESS), &facts, now));
    net.stations[&1].events.iter().for_each(round_trip);
    round_trip(&net.stations[&3].state);
}

#[test]
fn status_counts_what_is_up() {
    let mut net = Net::new(3, &[1]);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(1, Command::Announce(address(11)));

    let status = net.stations[&1]
        .router
        .status(&crate::Facts::default(), net.now);

    assert_eq!(
        (status.bgp_sessions.up, status.bgp_sessions.configured),
        (2, 2)
    );
    assert_eq!((status.pools[0].local, status.pools[0].remote), (1, 1));
    assert_eq!(
        (status.capture.gate_open, status.capture.answers),
        (true, 1)
    );
    assert!(status.route_reflector);
}

#[test]
fn routes_name_the_far_node() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));

    let view = net.stations[&1].router.routes();

    let row = view
        .routes
        .iter()
        .find(|row| row.prefix == address(ADDRESS).into())
        .unwrap();
    assert_eq!(
        (row.action, row.origin, row.mtu),
        (RouteAction::Tunnel, RouteOrigin::Bgp, Some(1440))
    );
    assert_eq!(row.node.as_ref().unwrap().name, "n2");
}

/// The prefix of the address that all tests here look at.
fn host_route() -> IpNet {
    IpNet::from(IpAddr::V4(address(ADDRESS)))
}
