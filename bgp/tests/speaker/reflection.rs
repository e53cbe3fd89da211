//! Route reflection between whole speakers (RFC 4456).
//!
//! ```text
//!      leaf 3 ---- RR 1 ---- RR 2 ---- leaf 5        leaf 4 and leaf 6 peer with both RRs
//! ```

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sam_bgp::PathSource;
use sam_bgp::session::SessionState;
use sam_bgp::speaker::{Event, PeerConfig, PeerRole};
use sam_bgp::wire::PathAttributes;

use crate::bench::Bench;
use crate::fabric::Fabric;
use crate::vocabulary::{millis, peer, peer_config, prefix, route, router, seconds};

#[test]
fn a_leaf_hears_another_through_the_reflector_with_originator_and_cluster() {
    let mut fabric = star();
    fabric.with(3, |speaker, now| {
        speaker.originate(prefix(3), route(3, 321), now)
    });
    fabric.run_for(seconds(5));
    let best = fabric.nodes[&4].speaker.best(prefix(3)).unwrap();
    let expected = PathAttributes {
        originator_id: Some(router(3)),
        cluster_list: vec![router(1)],
        ..route(3, 321)
    };
    assert_eq!(*best.attributes, expected);
    assert_eq!(best.source.peer(), Some(peer(1)));
    fabric.with(3, |speaker, now| speaker.withdraw(prefix(3), now));
    fabric.run_for(seconds(1));
    assert_eq!(fabric.nodes[&4].speaker.best(prefix(3)), None);
}

#[test]
fn a_route_is_not_sent_back_to_where_it_came_from() {
    let mut fabric = star();
    fabric.with(3, |speaker, now| {
        speaker.originate(prefix(3), route(3, 100), now)
    });
    fabric.run_for(seconds(5));
    assert_eq!(fabric.nodes[&1].speaker.advertised(peer(3)), []);
    assert_eq!(fabric.nodes[&1].speaker.advertised(peer(4)).len(), 1);
}

#[test]
fn two_reflectors_carry_a_route_across_and_settle() {
    let mut fabric = chain();
    fabric.with(3, |speaker, now| {
        speaker.originate(prefix(3), route(3, 100), now)
    });
    fabric.run_for(seconds(5));
    let best = fabric.nodes[&5].speaker.best(prefix(3)).unwrap();
    assert_eq!(best.attributes.originator_id, Some(router(3)));
    assert_eq!(best.attributes.cluster_list, [router(2), router(1)]);
    let updates = |fabric: &Fabric| -> u64 {
        let hosts = [1, 2, 3, 4, 5, 6].iter();
        hosts
            .flat_map(|host| fabric.nodes[host].speaker.peers())
            .map(|view| view.messages_sent[1])
            .sum()
    };
    let settled = updates(&fabric);
    fabric.run_for(seconds(60));
    assert_eq!(
        updates(&fabric),
        settled,
        "nothing more is said once all is known"
    );
}

#[test]
fn our_own_route_reflected_back_is_not_installed() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();
    let reflected = PathAttributes {
        originator_id: Some(router(1)),
        cluster_list: vec![router(2)],
        ..route(1, 500)
    };
    let outcome = bench.announce(connections[0], &[prefix(1)], reflected);
    let reason = "originator-loop";
    assert_eq!(
        outcome.events,
        [Event::Rejected {
            peer: peer(2),
            prefix: prefix(1).into(),
            reason
        }]
    );
    assert_eq!(outcome.changes, []);
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 1);
    assert_eq!(
        bench.speaker.best(prefix(1)).unwrap().source,
        PathSource::Local
    );
}

#[test]
fn a_looped_update_removes_the_path_that_it_replaces() {
    for looped in [
        PathAttributes {
            originator_id: Some(router(1)),
            ..route(2, 100)
        },
        PathAttributes {
            cluster_list: vec![router(9), router(1)],
            ..route(2, 100)
        },
    ] {
        let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
        bench.announce(connections[0], &[prefix(1)], route(2, 100));
        let outcome = bench.announce(connections[0], &[prefix(1)], looped);
        assert_eq!(outcome.changes[0].new, None);
        assert_eq!(bench.speaker.prefixes(), []);
        assert_eq!(bench.view(2).refusals.values().sum::<u64>(), 1);
    }
}

/// What may happen to leaf or cable.
#[derive(Debug, Clone)]
enum Incident {
    Originate { leaf: u8, host: u8, local_pref: u32 },
    Withdraw { leaf: u8, host: u8 },
    Cut { a: u8, b: u8 },
    Mend { a: u8, b: u8 },
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened, once all cables are whole every router elects the owner that a table of claims names.
    #[test]
    fn all_routers_agree_on_the_owner_after_any_incidents(
        incidents in proptest::collection::vec(incident(), 1..25),
    ) {
        let mut fabric = chain();
        let mut claims: BTreeMap<(Ipv4Net, u8), u32> = BTreeMap::new();
        for incident in incidents {
            match incident {
                Incident::Originate { leaf, host, local_pref } => {
                    // Unequal for different leaves, so that there is one owner.
                    let local_pref = 10 * local_pref + u32::from(leaf);
                    claims.insert((prefix(host), leaf), local_pref);
                    fabric.with(leaf, |speaker, now| {
                        speaker.originate(prefix(host), route(leaf, local_pref), now);
                    });
                }
                Incident::Withdraw { leaf, host } => {
                    claims.remove(&(prefix(host), leaf));
                    fabric.with(leaf, |speaker, now| speaker.withdraw(prefix(host), now));
                }
                Incident::Cut { a, b } => fabric.set_cut(a, b, true),
                Incident::Mend { a, b } => fabric.set_cut(a, b, false),
                Incident::Wait(duration) => fabric.run_for(millis(duration)),
            }
        }
        for (a, b) in CABLES {
            fabric.set_cut(a, b, false);
        }
        fabric.run_for(seconds(120));

        for (host, node) in &fabric.nodes {
            for view in node.speaker.peers() {
                prop_assert_eq!(view.state, SessionState::Established, "router {}", host);
            }
            for target in 0..3 {
                let target = prefix(target);
                let claimed = claims.iter().filter(|((prefix, _), _)| *prefix == target);
                let owner = claimed.max_by_key(|(_, local_pref)| **local_pref);
                let expected = owner.map(|((_, leaf), _)| router(*leaf));
                let elected = node.speaker.best(target).map(|best| best.attributes.next_hop);
                prop_assert_eq!(elected, expected, "router {} about {}", host, target);
            }
        }
        for (a, b) in CABLES {
            prop_assert_eq!(told(&fabric, a, b), heard(&fabric, b, a), "{} to {}", a, b);
            prop_assert_eq!(told(&fabric, b, a), heard(&fabric, a, b), "{} to {}", b, a);
        }
    }
}

const CABLES: [(u8, u8); 7] = [(1, 2), (1, 3), (2, 5), (1, 4), (2, 4), (1, 6), (2, 6)];

fn incident() -> impl Strategy<Value = Incident> {
    let cable = || proptest::sample::select(CABLES.to_vec());
    prop_oneof![
        4 => (3..7u8, 0..3u8, 0..3u32)
            .prop_map(|(leaf, host, local_pref)| Incident::Originate { leaf, host, local_pref }),
        2 => (3..7u8, 0..3u8).prop_map(|(leaf, host)| Incident::Withdraw { leaf, host }),
        1 => cable().prop_map(|(a, b)| Incident::Cut { a, b }),
        1 => cable().prop_map(|(a, b)| Incident::Mend { a, b }),
        3 => (0..15_000u64).prop_map(Incident::Wait),
    ]
}

/// What `host` believes that it told `to`.
fn told(fabric: &Fabric, host: u8, to: u8) -> BTreeMap<Ipv4Net, PathAttributes> {
    fabric.nodes[&host]
        .speaker
        .advertised(peer(to))
        .into_iter()
        .map(|(route, attributes)| (route.prefix, attributes))
        .collect()
}

/// What `host` heard from `of`, accepted or not.
fn heard(fabric: &Fabric, host: u8, of: u8) -> BTreeMap<Ipv4Net, PathAttributes> {
    let speaker = &fabric.nodes[&host].speaker;
    let accepted = speaker.accepted(peer(of)).into_iter();
    let accepted = accepted.map(|(prefix, path)| (prefix, (*path.attributes).clone()));
    let rejected = speaker.rejected(peer(of)).into_iter();
    accepted
        .chain(rejected.map(|view| (view.prefix, view.attributes)))
        .collect()
}

/// Reflector 1 with leaves 3 and 4.
fn star() -> Fabric {
    let mut fabric = Fabric::new(|| millis(5));
    fabric.add(1, 1, vec![client(3), client(4)]);
    fabric.add(3, 3, vec![peer_config(1)]);
    fabric.add(4, 4, vec![peer_config(1)]);
    fabric
}

/// The picture above.
fn chain() -> Fabric {
    let mut fabric = Fabric::new(|| millis(5));
    fabric.add(1, 1, vec![peer_config(2), client(3), client(4), client(6)]);
    fabric.add(2, 2, vec![peer_config(1), client(5), client(4), client(6)]);
    fabric.add(3, 3, vec![peer_config(1)]);
    fabric.add(5, 5, vec![peer_config(2)]);
    for leaf in [4, 6] {
        fabric.add(leaf, leaf.into(), vec![peer_config(1), peer_config(2)]);
    }
    fabric.run_for(seconds(5));
    fabric
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        active: false,
        ..peer_config(host)
    }
}
