//! Routes leave a dead next hop at once, before the RIB is asked, and then the RIB says the same. What changes costs what
//! changed (decision 0029).

use sam_capture::{Claim, ClaimSource, RouteKind, RouteTags};

use super::bfd::Session;
use super::*;
use crate::fib_sync::{FibSync, Sources};

/// The last octets of the addresses.
const HOSTS: std::ops::Range<u8> = 10..16;

#[test]
fn every_route_turns_to_its_backup_before_the_rib_is_asked() {
    let mut net = Net::new(4, FULL_MESH);
    for host in HOSTS {
        claim(&mut net, 2, &[host], ClaimState::Active);
        if host % 3 > 0 {
            claim(
                &mut net,
                2 + u32::from(host % 3),
                &[host],
                ClaimState::Standby,
            );
        }
    }
    let mut session = Session::up(&mut net, 1, 2);

    session.fail(&net);
    net.bfd(1, &session);

    let flipped = net.flip(1).expect("a table before anything else");
    let backup = |host: u8| match host % 3 {
        0 => NextHop::Withhold,
        more => NextHop::Tunnel(net.tunnel(1, 2 + u32::from(more))),
    };
    assert!(HOSTS.map(backup).eq(flipped.iter().copied()), "{flipped:?}");
    assert_eq!(net.ways(1), flipped, "and the RIB agrees");
}

#[test]
fn a_backup_that_dies_too_gives_way_whichever_died_first() {
    for order in [[2, 3], [3, 2]] {
        let mut net = Net::new(4, FULL_MESH);
        for (node, state) in [(2, ClaimState::Active), (3, ClaimState::Standby)] {
            claim(&mut net, node, &[ADDRESS], state);
        }
        for node in order {
            lose(&mut net, node);
        }
        let flipped = net.flip(1);
        assert_eq!(
            flipped.map(|ways| ways[0]),
            Some(NextHop::Withhold),
            "{order:?}"
        );
        assert_eq!(net.next_hop(1, address(ADDRESS)), Some(NextHop::Withhold));
    }
}

#[test]
fn nothing_is_published_twice_and_nothing_for_what_nobody_uses() {
    let mut net = Net::new(4, FULL_MESH);
    claim(&mut net, 2, &[ADDRESS], ClaimState::Active);
    net.station(1).kinds.clear();
    claim(&mut net, 3, &[ADDRESS], ClaimState::Standby);
    lose(&mut net, 4);
    assert!(
        !net.station(1).kinds.contains(&"publish"),
        "a backup, and none"
    );

    lose(&mut net, 2);

    let kinds = &net.stations[&1].kinds;
    let published = kinds.iter().filter(|kind| **kind == "publish");
    assert_eq!(published.count(), 1, "{kinds:?}");
}

#[test]
fn a_stale_route_turns_when_its_next_hop_falls_silent() {
    let mut net = Net::new(3, &[1]);
    net.command(2, Command::Announce(address(ADDRESS)));
    net.kill(1);
    net.run(20);
    assert_eq!(net.tunneled_to(3, address(ADDRESS)), Some(2));
    net.kill(2);
    net.station(3).flipped = None;

    net.run(3);

    assert_eq!(net.flip(3).map(|ways| ways[0]), Some(NextHop::Withhold));
    assert_eq!(net.next_hop(3, address(ADDRESS)), Some(NextHop::Withhold));
}

#[test]
fn a_fill_looks_at_each_route_once_however_many_there_are() {
    let mut net = wide();
    let work = |net: &Net| net.stations[&1].router.fib.work;
    for part in 0..20 {
        let before = work(&net);
        announce(
            &mut net,
            2,
            part * 100..(part + 1) * 100,
            ClaimState::Active,
        );
        assert_eq!(work(&net) - before, 100, "after {part} parts");
    }
    let before = work(&net);
    announce(&mut net, 3, 700..701, ClaimState::Standby);
    assert_eq!(work(&net) - before, 1, "one of many");
}

#[test]
fn who_hears_too_late_what_is_gone_begins_again() {
    let mut net = wide();
    let count = u32::try_from(sam_bgp::feed::MAX_GONE).unwrap() + 100;
    let routes = |net: &Net| net.stations[&1].router.fib.routes().count();
    let before = routes(&net);
    announce(&mut net, 3, 0..7, ClaimState::Active);
    announce(&mut net, 2, 7..count, ClaimState::Active);
    assert_eq!(routes(&net), before + usize::try_from(count).unwrap());

    let gone: Vec<Ipv4Addr> = (7..count).map(host).collect();
    let withdrawals = gone.chunks(400).map(|part| {
        let withdrawn = part.iter().map(|address| Ipv4Net::from(*address).into());
        Message::Update(Update {
            withdrawn: withdrawn.collect(),
            ..Update::default()
        })
    });
    net.say_all(2, 1, &withdrawals.collect::<Vec<_>>());

    assert_eq!(routes(&net), before + 7);
    assert_eq!(net.next_hop(1, host(7)), Some(NextHop::Withhold));
    assert_eq!(net.tunneled_to(1, host(6)), Some(3));
    same_as_from_scratch(&net, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever nodes claim and whichever of them die, by the word of BFD or of their tunnels: what the routes do at once is
    /// what the RIB finds.
    #[test]
    fn a_flip_does_what_the_rib_finds(
        claims in proptest::collection::vec((2_u32..6, HOSTS, 0_usize..4), 0..24),
        own in proptest::collection::vec(HOSTS, 0..3),
        deaths in proptest::sample::subsequence(vec![2_u32, 3, 4, 5], 1..=4).prop_shuffle(),
        by_bfd in any::<bool>(),
    ) {
        let mut net = Net::new(5, FULL_MESH);
        for host in own {
            net.command(1, Command::Announce(address(host)));
        }
        for (node, host, state) in claims {
            let states = [ClaimState::Active, ClaimState::Standby, ClaimState::Draining, ClaimState::Seizing];
            claim(&mut net, node, &[host], states[state]);
        }
        same_as_from_scratch(&net, 1);
        for node in deaths {
            net.station(1).flipped = None;
            let before = net.ways(1);
            if by_bfd {
                let mut session = Session::up(&mut net, 1, node);
                session.fail(&net);
                net.bfd(1, &session);
            } else {
                lose(&mut net, node);
            }
            let flipped = net.flip(1).unwrap_or(before);
            prop_assert_eq!(flipped, net.ways(1), "without {}", node);
            same_as_from_scratch(&net, 1);
        }
    }
}

/// The routes that were kept are those that would be made of everything that is known.
fn same_as_from_scratch(net: &Net, id: u32) {
    let router = &net.stations[&id].router;
    let mut fresh = FibSync::default();
    let sources = Sources {
        speaker: &router.speaker,
        owners: &router.owners,
    };
    let terms = router.terms(&router.tunnel_plans());
    fresh.follow(sources, terms, router.deaths(), router.lives_here());
    assert!(router.fib.routes().eq(fresh.routes()));
    assert_eq!(router.fib.answers(), fresh.answers());
}

/// Routers with room for a million addresses, each connected to each.
fn wide() -> Net {
    let mut net = Net::empty();
    for id in 1..=3 {
        let mut config = fixture::config(id, 3, FULL_MESH);
        config.fabric.pools[0].prefix = "10.64.0.0/12".parse().unwrap();
        config.fabric.bgp.max_prefixes = 100_000;
        net.start(id, config, RuntimeState::default());
    }
    net.run(10);
    net
}

fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a48_0000 + number)
}

/// Has a node claim addresses of [`wide`] towards router 1, in one piece of input.
fn announce(net: &mut Net, node: u32, numbers: std::ops::Range<u32>, state: ClaimState) {
    let addresses: Vec<Ipv4Addr> = numbers.map(host).collect();
    say(net, node, &addresses, state);
}

/// Has a node claim addresses towards router 1.
fn claim(net: &mut Net, node: u32, hosts: &[u8], state: ClaimState) {
    let addresses: Vec<Ipv4Addr> = hosts.iter().copied().map(address).collect();
    say(net, node, &addresses, state);
}

fn say(net: &mut Net, node: u32, addresses: &[Ipv4Addr], state: ClaimState) {
    let claim = Claim {
        state,
        sequence: 1,
        pool: 1,
        source: ClaimSource::Configured,
    };
    let mut attributes = PathAttributes::local(overlay(node));
    let tags = RouteTags::new(NodeId(node), RouteKind::Owner(claim));
    tags.apply(net.stations[&1].router.config().fabric.asn, &mut attributes);
    let updates = addresses.chunks(400).map(|part| {
        let announced = part.iter().map(|address| Ipv4Net::from(*address).into());
        Message::Update(Update {
            announced: announced.collect(),
            attributes: Some(attributes.clone()),
            ..Update::default()
        })
    });
    net.say_all(node, 1, &updates.collect::<Vec<_>>());
}

/// Router 1 loses its tunnel to a node.
fn lose(net: &mut Net, far: u32) {
    let tunnel = net.tunnel(1, far);
    net.input(1, Input::Notice(Notice::SessionDown { tunnel }));
}

impl Net {
    fn tunnel(&self, id: u32, far: u32) -> TunnelId {
        let tunnel = self.stations[&id].router.numbering.tunnel(NodeId(far));
        tunnel.expect("a node")
    }

    /// Where all addresses lead.
    fn ways(&self, id: u32) -> Vec<NextHop> {
        ways(&self.stations[&id].snapshot)
    }

    /// Where all addresses led when a next hop had just died.
    fn flip(&mut self, id: u32) -> Option<Vec<NextHop>> {
        let flipped = self.station(id).flipped.take()?;
        Some(ways(&flipped))
    }
}

fn ways(snapshot: &sam_dataplane::Snapshot) -> Vec<NextHop> {
    let ways = HOSTS.map(|host| snapshot.fib.lookup(address(host)));
    ways.map(|way| way.expect("inside of the pool")).collect()
}
