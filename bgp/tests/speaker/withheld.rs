//! What a peer is not told, and why.

use sam_bgp::speaker::{PeerConfig, PeerRole};
use sam_bgp::wire::{AddPathDirection, AsPathSegment, Community};
use sam_bgp::{ExternalPeer, Input, PathAttributes};

use crate::bench::Bench;
use crate::external::open_of;
use crate::vocabulary::{AS, Rules, peer, peer_config, prefix, route, router};

#[test]
fn each_path_that_a_peer_is_not_told_has_its_reason() {
    let (mut bench, connections) = Bench::established(vec![
        role(2, PeerRole::Client),
        role(3, PeerRole::NonClient),
        role(4, PeerRole::NonClient),
    ]);
    let reachable = [router(1), router(2), router(3)].into();
    bench.speaker.set_next_hops(reachable, bench.now);
    let confined = PathAttributes {
        communities: vec![Community::NO_ADVERTISE.0],
        ..route(2, 100)
    };
    bench.announce(connections[0], &[prefix(1), prefix(7)], route(2, 300));
    bench.announce(connections[0], &[prefix(2)], confined);
    bench.announce(connections[1], &[prefix(1), prefix(3)], route(3, 200));
    bench.announce(connections[1], &[prefix(4)], route(9, 100));
    let hiding = Rules {
        hide: vec![prefix(7)],
        ..Rules::default()
    };
    bench.speaker.set_policy(hiding, bench.now);
    bench.drain();

    assert_eq!(
        reasons(&bench, 4),
        [
            (1, "not-best"),
            (2, "no-advertise"),
            (3, "not-reflected"),
            (4, "next-hop-unreachable"),
            (7, "hidden-by-rule"),
        ]
    );
    let to_its_source = [(1, "split-horizon"), (1, "not-best"), (2, "no-advertise")];
    assert_eq!(reasons(&bench, 2)[..3], to_its_source);
    assert_eq!(
        reasons(&bench, 9).len(),
        6,
        "who is not there is told nothing"
    );
    assert!(
        reasons(&bench, 9)
            .iter()
            .all(|(_, it)| *it == "session-down")
    );
}

#[test]
fn what_waits_for_a_slow_peer_is_said_to_wait() {
    let client = |host| role(host, PeerRole::Client);
    let (mut bench, connections) = Bench::established(vec![client(2), client(3)]);
    bench.input(Input::Congested(connections[1]));
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    assert_eq!(reasons(&bench, 3), [(1, "pending")]);

    bench.input(Input::Relieved(connections[1]));

    assert_eq!(reasons(&bench, 3), []);
}

#[test]
fn copies_of_one_path_and_more_than_are_told_at_most_are_named() {
    let several = |host, reflector| PeerConfig {
        add_path: Some(AddPathDirection::Both),
        reflector,
        ..role(host, PeerRole::Client)
    };
    let sources = 11..20;
    let mut peers: Vec<PeerConfig> = sources.clone().map(|host| several(host, false)).collect();
    peers.push(several(20, true));
    peers.push(several(30, false));
    let mut bench = Bench::new(peers).0;
    for host in sources {
        let connection = bench.establish(router(host));
        bench.announce(connection, &[prefix(1)], route(host, 100));
    }
    let copy = PathAttributes {
        originator_id: Some(router(11)),
        cluster_list: vec![router(20)],
        ..route(11, 100)
    };
    let connection = bench.establish(router(20));
    bench.announce(connection, &[prefix(1)], copy);
    bench.establish_with_add_path(router(30));

    assert_eq!(bench.speaker.advertised(peer(30)).len(), 8);
    let given: Vec<_> = reasons(&bench, 30);
    assert_eq!(given, [(1, "same-path"), (1, "max-paths")]);
}

/// RFC 1997; RFC 4271 section 9.1.2.
#[test]
fn what_may_not_leave_the_as_is_named() {
    let outside = PeerRole::External(ExternalPeer {
        asn: 65002,
        local_asn: AS,
        next_hop: router(200),
        next_hop_ipv6: None,
    });
    let mut bench = Bench::new(vec![role(2, outside)]).0;
    let confined = PathAttributes {
        communities: vec![Community::NO_EXPORT.0],
        ..route(1, 100)
    };
    let theirs = PathAttributes {
        as_path: vec![AsPathSegment(vec![65002])],
        ..route(1, 100)
    };
    bench.speaker.originate(prefix(1), confined, bench.now);
    bench.speaker.originate(prefix(2), theirs, bench.now);
    bench.establish_with(open_of(65002, router(2)));

    assert_eq!(reasons(&bench, 2), [(1, "no-export"), (2, "as-loop")]);
}

/// The hosts of the prefixes that a peer is not told, with the reasons.
fn reasons(bench: &Bench, host: u8) -> Vec<(u8, &'static str)> {
    let withheld = bench.speaker.withheld(peer(host)).into_iter();
    let numbers: Vec<_> = (0..=255).map(|number| (prefix(number), number)).collect();
    let number = |wanted| {
        let found = numbers.iter().find(|(prefix, _)| *prefix == wanted);
        found.expect("a prefix of the test").1
    };
    withheld.map(|it| (number(it.prefix), it.reason)).collect()
}

fn role(host: u8, role: PeerRole) -> PeerConfig {
    PeerConfig {
        role,
        ..peer_config(host)
    }
}
