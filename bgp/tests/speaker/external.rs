//! Peers of other ASes: what they are told, what is refused from them; and peers from ranges of addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::speaker::{Event, PeerConfig, PeerId, PeerRole};
use sam_bgp::template::PeerTemplate;
use sam_bgp::wire::{AsPathSegment, Capability, Message, Open, code, subcode};
use sam_bgp::{ConnectionId, DecisionStep, ExternalPeer, PathAttributes};

use crate::bench::{Bench, announcement, open};
use crate::vocabulary::{AS, peer, peer_config, prefix, route, router, seconds};

#[test]
fn a_peer_of_another_as_must_have_the_configured_number() {
    for (asn, refused) in [
        (65002, None),
        (65003, Some((code::OPEN, subcode::BAD_PEER_AS))),
    ] {
        let mut bench = Bench::new(vec![outside(2)]).0;
        let (connection, outcome) = bench.establish_with(open_of(asn, router(2)));
        let refusals = outcome.notifications(connection);
        assert_eq!(refusals, refused.into_iter().collect::<Vec<_>>());
    }
}

/// RFC 6286 section 2.3: identifiers are unique within an AS.
#[test]
fn a_peer_of_another_as_may_have_our_identifier() {
    let mut bench = Bench::new(vec![outside(2)]).0;
    let (connection, _) = bench.accept(router(2));
    bench.send(connection, &Message::Open(open_of(65002, router(1))));
    let outcome = bench.send(connection, &Message::Keepalive);
    assert_eq!(outcome.notifications(connection), []);
    assert!(
        outcome
            .events
            .contains(&Event::Established { peer: peer(2) })
    );
}

/// RFC 6286 section 2.3: of two connections, the one that the larger AS opened stays.
#[test]
fn the_larger_as_wins_a_race_between_equal_identifiers() {
    for (asn, ours_stays) in [(64000, true), (65002, false)] {
        let caller = PeerConfig {
            active: true,
            role: external(asn),
            ..outside(2)
        };
        let (mut bench, outcome) = Bench::new(vec![caller]);
        let ours = outcome.connects[0];
        bench.input(sam_bgp::Input::Connected(ours));
        let (theirs, _) = bench.accept(router(2));
        let mut closed = Vec::new();
        for connection in [ours, theirs] {
            let open = Message::Open(open_of(asn, router(1)));
            closed.extend(bench.send(connection, &open).closed);
        }
        let loser = if ours_stays { theirs } else { ours };
        assert_eq!(closed, [loser], "AS {asn}");
    }
}

#[test]
fn our_route_leaves_with_our_as_and_our_address() {
    let mut bench = Bench::new(vec![outside(2)]).0;
    let connection = establish(&mut bench, 2);
    let now = bench.now;
    bench.speaker.originate(prefix(9), route(1, 300), now);

    let outcome = bench.drain();

    let expected = PathAttributes {
        as_path: vec![AsPathSegment(vec![AS])],
        ..PathAttributes::local(router(200))
    };
    assert_eq!(
        outcome.updates(connection)[0].attributes,
        Some(expected.clone())
    );
    assert_eq!(
        bench.speaker.advertised(peer(2)),
        [(prefix(9).into(), expected)]
    );
}

#[test]
fn routes_pass_between_ases_and_into_ours_but_not_back() {
    let inside = PeerConfig {
        active: false,
        ..peer_config(4)
    };
    let mut bench = Bench::new(vec![outside(2), outside(3), inside]).0;
    let (from, to) = (establish(&mut bench, 2), establish(&mut bench, 3));
    let inside = bench.establish(router(4));
    let learned = PathAttributes {
        med: Some(5),
        ..path(&[65002, 65009], 2)
    };

    let outcome = bench.send(from, &announcement(&[prefix(9)], learned.clone()));

    assert_eq!(outcome.updates(from), Vec::<&_>::new());
    let told = outcome.updates(to)[0].attributes.clone().unwrap();
    assert_eq!(told.as_path, [AsPathSegment(vec![AS, 65002, 65009])]);
    assert_eq!((told.next_hop, told.med), (router(200), None));
    let told = outcome.updates(inside)[0].attributes.clone().unwrap();
    let expected = PathAttributes {
        local_pref: Some(100),
        ..learned
    };
    assert_eq!(told, expected);
}

/// RFC 4271 section 5.1.3: a third router on the link, as those that a route server tells of.
#[test]
fn the_next_hop_may_be_a_third_router_of_which_nothing_is_known() {
    let mut bench = Bench::new(vec![outside(2), outside(3)]).0;
    let (from, to) = (establish(&mut bench, 2), establish(&mut bench, 3));
    let now = bench.now;
    bench.speaker.set_next_hops(BTreeSet::new(), now);
    bench.drain();

    let outcome = bench.send(from, &announcement(&[prefix(9)], path(&[65002], 77)));

    let paths = bench.speaker.paths(prefix(9));
    assert_eq!((paths[0].best, paths[0].ineligible), (true, None));
    let told = outcome.updates(to)[0].attributes.clone().unwrap();
    assert_eq!(told.next_hop, router(200));
}

/// RFC 4271 section 9.1.2.2: MED counts within one neighboring AS, and a path from another AS precedes one of ours.
#[test]
fn med_is_asked_within_one_neighboring_as_and_external_paths_precede() {
    let inside = PeerConfig {
        active: false,
        ..peer_config(4)
    };
    let mut bench = Bench::new(vec![outside(2), outside(3), inside]).0;
    let (two, three) = (establish(&mut bench, 2), establish(&mut bench, 3));
    let inside = bench.establish(router(4));
    let with_med = |first, med, hop| PathAttributes {
        med: Some(med),
        ..path(&[first], hop)
    };
    bench.send(inside, &announcement(&[prefix(9)], with_med(65002, 5, 4)));
    bench.send(two, &announcement(&[prefix(9)], with_med(65002, 9, 2)));
    bench.send(three, &announcement(&[prefix(9)], with_med(65003, 99, 3)));

    let paths = bench.speaker.paths(prefix(9));

    let shown: Vec<_> = paths
        .iter()
        .map(|path| (path.path.source.peer(), path.step, path.rival))
        .collect();
    // The path of peer 2 would be better than that of peer 3 by identifier; the one inside has a lower MED.
    let expected = [
        (Some(peer(3)), DecisionStep::External, 1),
        (Some(peer(4)), DecisionStep::External, 0),
        (Some(peer(2)), DecisionStep::Med, 1),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn impossible_routes_are_refused_and_replace_what_was_accepted() {
    let mut bench = Bench::new(vec![outside(2)]).0;
    let connection = establish(&mut bench, 2);
    for (bad, reason) in [
        (path(&[65003], 2), "first-as"),
        (path(&[65002, AS], 2), "as-loop"),
        (path(&[65002], 200), "own-next-hop"),
    ] {
        bench.send(connection, &announcement(&[prefix(9)], path(&[65002], 2)));
        assert_eq!(bench.view(2).ipv4.accepted, 1, "{reason}");
        bench.send(connection, &announcement(&[prefix(9)], bad));
        assert_eq!(bench.view(2).ipv4.accepted, 0, "{reason}");
        assert_eq!(bench.speaker.rejected(peer(2))[0].reason, reason);
    }
}

#[test]
fn nothing_is_kept_for_a_peer_of_another_as() {
    use sam_bgp::speaker::{GracefulRestartConfig, SpeakerConfig};
    use sam_bgp::wire::{GracefulRestart, RestartFamily};
    let config = SpeakerConfig {
        graceful_restart: Some(GracefulRestartConfig {
            restart_time: seconds(120),
            deferral_time: seconds(20),
        }),
        ..crate::vocabulary::speaker_config(1)
    };
    let speaker = sam_bgp::Speaker::new(
        config,
        crate::vocabulary::Rules::default(),
        1,
        crate::vocabulary::start(),
    );
    let mut bench = Bench::with_speaker(speaker, vec![outside(2)]).0;
    let mut open = open_of(65002, router(2));
    open.capabilities
        .push(Capability::GracefulRestart(GracefulRestart {
            restarted: false,
            notification: true,
            restart_time_s: 60,
            families: vec![RestartFamily {
                afi: 1,
                safi: 1,
                forwarding: true,
            }],
        }));
    let (connection, outcome) = bench.establish_with(open);
    let sent = outcome.messages.iter().find_map(|(_, message)| {
        let Message::Open(open) = message else {
            return None;
        };
        Some(open.capabilities.clone())
    });
    let offered = sent.unwrap();
    let mut offered = offered.iter();
    assert!(!offered.any(|one| matches!(one, Capability::GracefulRestart(_))));
    bench.send(connection, &announcement(&[prefix(9)], path(&[65002], 2)));

    bench.input(sam_bgp::Input::Closed(connection));

    assert_eq!(bench.speaker.prefixes(), []);
}

#[test]
fn a_range_admits_as_many_as_it_may_and_forgets_them() {
    let mut bench = with_range(2);
    let first = join(&mut bench, 2);
    join(&mut bench, 3);
    let (third, outcome) = bench.accept(router(4));
    assert_eq!(outcome.closed, [third]);
    let refused = Event::ConnectionRefused {
        from: router(4),
        reason: "range is full",
        count: 1,
    };
    assert_eq!(outcome.events, [refused]);
    bench.send(first, &announcement(&[prefix(9)], path(&[65002], 2)));
    assert_eq!(bench.speaker.prefixes(), [prefix(9)]);

    bench.input(sam_bgp::Input::Closed(first));

    assert_eq!(ids(&bench), [router(3).into()]);
    assert_eq!(bench.speaker.prefixes(), []);
    join(&mut bench, 4);
}

#[test]
fn an_address_outside_of_the_range_stays_a_stranger() {
    let mut bench = with_range(2);
    let far = Ipv4Addr::new(10, 0, 1, 2);
    let (connection, outcome) = bench.accept(far);
    assert_eq!(outcome.closed, [connection]);
    assert_eq!(ids(&bench), [0_u32; 0]);
}

#[test]
fn a_dynamic_peer_that_erred_must_wait_before_it_comes_back() {
    let mut bench = with_range(2);
    let connection = join(&mut bench, 2);
    let outcome = bench.receive(connection, &[0; 19]);
    assert_eq!(outcome.notifications(connection).len(), 1);
    let (again, outcome) = bench.accept(router(2));
    assert_eq!(outcome.closed, [again]);
    bench.pass(seconds(90));
    assert_eq!(ids(&bench), [0_u32; 0]);
    join(&mut bench, 2);
}

#[test]
fn sessions_of_a_changed_range_end_and_those_of_an_equal_one_stay() {
    let mut bench = with_range(2);
    let connection = join(&mut bench, 2);
    let now = bench.now;
    bench.speaker.set_templates(vec![range(5)], now);
    assert!(bench.drain().closed.is_empty());
    bench.speaker.set_peers(Vec::new(), now);
    assert!(bench.drain().closed.is_empty());

    bench.speaker.set_templates(Vec::new(), now);

    let outcome = bench.drain();
    assert_eq!(
        outcome.notifications(connection),
        [(code::CEASE, subcode::PEER_DECONFIGURED)]
    );
    assert_eq!(ids(&bench), [0_u32; 0]);
}

#[test]
fn who_came_before_a_range_grew_counts_in_it() {
    let mut bench = with_range(2);
    join(&mut bench, 2);
    join(&mut bench, 3);
    let wider = PeerTemplate {
        range: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 16),
        ..range(2)
    };
    let now = bench.now;
    bench.speaker.set_templates(vec![wider], now);
    assert!(bench.drain().closed.is_empty());

    let (third, outcome) = bench.accept(router(4));

    assert_eq!(outcome.closed, [third]);
}

/// A passive peer of AS 6500`host`; we are 10.0.0.200 to it.
fn outside(host: u8) -> PeerConfig {
    PeerConfig {
        role: external(65000 + u32::from(host)),
        active: false,
        ..peer_config(host)
    }
}

fn external(asn: u32) -> PeerRole {
    PeerRole::External(ExternalPeer {
        asn,
        local_asn: AS,
        next_hop: router(200),
        next_hop_ipv6: None,
    })
}

fn range(limit: usize) -> PeerTemplate {
    PeerTemplate {
        range: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 24),
        limit,
        peer: outside(2),
    }
}

fn with_range(limit: usize) -> Bench {
    let mut bench = Bench::new(Vec::new()).0;
    let now = bench.now;
    bench.speaker.set_templates(vec![range(limit)], now);
    bench
}

/// Has somebody of AS 65002 come up from the range.
fn join(bench: &mut Bench, host: u8) -> ConnectionId {
    let (connection, outcome) = bench.establish_with(open_of(65002, router(host)));
    let id = PeerId(router(host).into());
    assert!(
        outcome.events.contains(&Event::Established { peer: id }),
        "{outcome:?}"
    );
    connection
}

fn ids(bench: &Bench) -> Vec<u32> {
    let peers = bench.speaker.peers();
    peers.iter().map(|view| view.id.0).collect()
}

fn establish(bench: &mut Bench, host: u8) -> ConnectionId {
    let asn = 65000 + u32::from(host);
    bench.establish_with(open_of(asn, router(host))).0
}

pub(crate) fn open_of(asn: u32, router_id: Ipv4Addr) -> Open {
    let mut open = open(router_id);
    open.asn = u16::try_from(asn).expect("a short number");
    open.capabilities = vec![
        Capability::FourOctetAs(asn),
        Capability::Multiprotocol { afi: 1, safi: 1 },
    ];
    open
}

fn path(numbers: &[u32], next_hop: u8) -> PathAttributes {
    PathAttributes {
        as_path: vec![AsPathSegment(numbers.to_vec())],
        ..PathAttributes::local(router(next_hop))
    }
}
