//! A tunnel that dies takes its paths out of the choice, in the same call.

use super::*;
use crate::facts::Facts;

#[test]
fn the_standby_takes_over_with_route_and_answer_when_the_tunnel_to_the_active_node_dies() {
    for reflectors in [FULL_MESH, &[1]] {
        let mut net = claimed_by_two(reflectors);
        assert_eq!(net.tunneled_to(4, address(ADDRESS)), Some(2));

        lose(&mut net, 4, 2);

        assert_eq!(net.tunneled_to(4, address(ADDRESS)), Some(3));
        assert!(net.answers(4, address(ADDRESS)));
        assert_eq!(
            net.tunneled_to(1, address(ADDRESS)),
            Some(2),
            "others go on"
        );
        regain(&mut net, 4, 2);
        assert_eq!(net.tunneled_to(4, address(ADDRESS)), Some(2));
    }
}

#[test]
fn an_owner_that_cannot_be_reached_is_withheld_and_named() {
    let mut net = Net::new(2, FULL_MESH);
    net.command(2, Command::Announce(address(ADDRESS)));

    lose(&mut net, 1, 2);

    assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));
    let view = net.stations[&1]
        .router
        .explain(address(ADDRESS), &Facts::default(), net.now);
    assert_eq!(
        view.verdict,
        "10.77.60.10 lives at n2, which cannot be reached: packets are dropped, ARP stays silent"
    );
    let ownership = &view.questions[0];
    assert_eq!(ownership.answer, "n2, which cannot be reached from here");
    assert!(ownership.evidence[0].ends_with("cannot be chosen: next-hop-unreachable"));
}

#[test]
fn a_tunnel_that_nothing_keeps_alive_may_be_without_session() {
    let mut net = Net::empty();
    for id in [1, 2] {
        let mut config = fixture::config(id, 2, FULL_MESH);
        config.fabric.transport.keepalive = None;
        net.start(id, config, RuntimeState::default());
    }
    net.run(10);
    net.command(2, Command::Announce(address(ADDRESS)));

    lose(&mut net, 1, 2);

    assert_eq!(net.tunneled_to(1, address(ADDRESS)), Some(2));
}

#[test]
fn a_lost_tunnel_makes_nobody_claim() {
    let mut net = claimed_by_two(&[1]);

    lose(&mut net, 3, 2);
    net.run(30);

    let standby = &net.station(3).router;
    assert_eq!(
        standby.claim_on(address(ADDRESS)),
        Some(ClaimState::Standby)
    );
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));
}

/// Node 2 is active, node 3 standby.
fn claimed_by_two(reflectors: &[u32]) -> Net {
    let mut net = Net::new(4, reflectors);
    for id in [2, 3] {
        net.command(id, Command::Announce(address(ADDRESS)));
    }
    net
}

fn lose(net: &mut Net, id: u32, far: u32) {
    let tunnel = tunnel(net, id, far);
    net.input(id, Input::Notice(Notice::SessionDown { tunnel }));
}

fn regain(net: &mut Net, id: u32, far: u32) {
    let tunnel = tunnel(net, id, far);
    let first = true;
    net.input(id, Input::Notice(Notice::SessionUp { tunnel, first }));
}

fn tunnel(net: &Net, id: u32, far: u32) -> TunnelId {
    let router = &net.stations[&id].router;
    router.numbering.tunnel(NodeId(far)).expect("a node")
}
