//! Two routers of the fabric at the border of another AS, of which one goes away (RFC 8326).
//!
//! ```text
//!   n1 (AS 64577) ──┐
//!    │ iBGP         ├── n9 (AS 65001): owns 198.51.100.10
//!   n2 (AS 64577) ──┘   owns 10.77.60.10
//! ```

use std::time::Duration;

use sam_bgp::rules::{Changes, Match, Rule, Rules, Verdict};

use super::*;
use crate::foreign::{ForeignNeighbor, Reach, Terms};

#[test]
fn the_neighbor_turns_to_the_other_router_and_is_never_without_a_path() {
    let mut net = border();
    assert_eq!(ways(&net), [1, 2], "the lower address is preferred");

    net.input(1, Input::Command(Command::GracefulShutdown(true)));
    while ways(&net) != [2, 1] {
        assert_eq!(ways(&net).len(), 2, "a way was taken away");
        net.run_for(Duration::from_millis(1));
    }

    assert_eq!(preference(&net, 1), 0, "theirs is the last choice too");
    assert_eq!(
        preference(&net, 2),
        100,
        "the other border is not concerned"
    );
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2), "the fabric is not");
    assert_eq!(shown(&net, 1), (Some("by order".into()), true));
    assert!(
        warns(&net, 1, "graceful-shutdown"),
        "an operator may forget it"
    );
    assert_eq!(ups(&net), 2, "a session was reset");
    net.command(1, Command::Shutdown);
    assert_eq!(ways(&net), [2]);
}

#[test]
fn what_was_asked_for_ends_by_order_and_not_by_a_restart() {
    let mut net = border();
    net.command(1, Command::GracefulShutdown(true));
    let (config, state) = {
        let station = net.station(1);
        (station.router.config().clone(), station.state.clone())
    };
    net.kill(1);
    net.start(1, config, state);
    net.run(30);
    assert_eq!(ways(&net), [2, 1], "after a restart");

    net.command(1, Command::GracefulShutdown(false));

    assert_eq!(ways(&net), [1, 2]);
    assert_eq!(preference(&net, 1), 100);
    assert_eq!(shown(&net, 1), (None, false));
    assert!(!warns(&net, 1, "graceful-shutdown"));
}

#[test]
fn a_drained_router_asks_the_neighbors_as_well() {
    let mut net = border();

    net.command(1, Command::Drain(true));

    assert_eq!(ways(&net), [2, 1]);
    assert_eq!(shown(&net, 1), (Some("drained".into()), true));
    net.command(1, Command::Drain(false));
    assert_eq!(ways(&net), [1, 2]);
}

#[test]
fn a_router_without_such_neighbors_refuses_to_ask_them() {
    let mut net = Net::new(2, FULL_MESH);
    let router = &net.station(1).router;
    let verdict = |on| router.check_command(&Command::GracefulShutdown(on));
    assert_eq!(verdict(true), Err(CommandRefusal::NoForeignNeighbors));
    assert_eq!(verdict(false), Ok(()));
}

/// The routers through which the neighbor may reach our address, the preferred one first.
fn ways(net: &Net) -> Vec<u32> {
    let paths = net.stations[&9]
        .router
        .speaker
        .paths(Ipv4Net::from(address(ADDRESS)));
    let usable = paths.iter().filter(|path| path.ineligible.is_none());
    let hops = usable.map(|path| path.path.attributes.next_hop);
    hops.map(|hop| if hop == overlay(1) { 1 } else { 2 })
        .collect()
}

/// The LOCAL_PREF that a router gives to the neighbor's route.
fn preference(net: &Net, id: u32) -> u32 {
    let router = &net.stations[&id].router;
    let best = router.speaker.best(THEIRS).expect("the route is there");
    best.attributes.preference()
}

/// What `bgp neighbors` and `bgp neighbor n9` say of it.
fn shown(net: &Net, id: u32) -> (Option<String>, bool) {
    let router = &net.stations[&id].router;
    let neighbor = NodeId(overlay(9).into());
    let one = router.bgp_neighbor(neighbor, &crate::Facts::default(), net.now);
    let asked = one.and_then(|view| view.foreign).expect("it is a neighbor");
    let all = router.bgp_neighbors(net.now);
    (all.graceful_shutdown, asked.graceful_shutdown)
}

/// How often sessions with the neighbor came up.
fn ups(net: &Net) -> u64 {
    let neighbors = net.stations[&9].router.bgp_neighbors(net.now).neighbors;
    neighbors.iter().map(|row| row.established_count).sum()
}

pub(super) const THEIRS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 10), 32);

pub(super) fn border() -> Net {
    let mut net = Net::empty();
    for id in [1, 2] {
        let mut config = fixture::config(id, 2, FULL_MESH);
        meet(&mut config, 9, 65_001);
        net.start(id, config, RuntimeState::default());
    }
    let mut config = fixture::config(9, 9, FULL_MESH);
    config.fabric.asn = 65_001;
    config.fabric.nodes.retain(|node, _| *node == NodeId(9));
    config.fabric.pools[0].prefix = "198.51.100.0/24".parse().unwrap();
    config.local.owned = [THEIRS.addr()].into();
    for id in [1, 2] {
        meet(&mut config, id, 64_577);
    }
    net.start(9, config, RuntimeState::default());
    net.run(10);
    net.command(2, Command::Announce(address(ADDRESS)));
    net
}

/// Makes a router of another AS a neighbor that is told and believed everything.
fn meet(config: &mut Config, other: u32, asn: u32) {
    let everything = Rules(vec![Rule {
        matches: Match::default(),
        set: Changes::default(),
        verdict: Verdict::Accept,
    }]);
    let terms = Terms {
        asn,
        local_address: config.own_node().overlay,
        local_address_ipv6: None,
        interface: None,
        reach: Reach::Link,
        authentication: None,
        bfd: None,
        hold_time: Duration::from_secs(90),
        connect_retry: Duration::from_secs(1),
        max_prefixes: 100,
        extended_messages: true,
        import: Some(everything.clone()),
        export: Some(everything),
        graceful_shutdown: false,
    };
    let neighbor = ForeignNeighbor {
        name: format!("n{other}"),
        passive: false,
        terms,
    };
    config
        .local
        .foreign
        .neighbors
        .insert(overlay(other), neighbor);
}
