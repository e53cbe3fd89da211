//! IPv6 unicast beside IPv4 unicast (RFC 4760): agreed on by itself, kept, reflected, refreshed and limited by itself.

use std::net::Ipv6Addr;

use bgpkit_parser::BgpkitParser;
use ipnet::Ipv6Net;
use sam_bgp::mrt::DumpHead;
use sam_bgp::speaker::{
    Event, FamilyView, GracefulRestartConfig, PeerConfig, PeerRole, SpeakerConfig,
};
use sam_bgp::wire::{
    AddPathDirection, AddPathFamily, Capability, GracefulRestart, Ipv6Context, Ipv6Update, Message,
    Nlri, Open, RestartFamily, RouteRefresh, Update,
};
use sam_bgp::{ConnectionId, DecisionStep, ExternalPeer, Input, PathAttributes, PathId, Speaker};

use crate::bench::{Bench, Outcome, open};
use crate::vocabulary::{
    AS, Rules, peer, peer_config, prefix, route, router, seconds, speaker_config, start,
};

#[test]
fn a_route_is_reflected_to_clients_that_speak_the_family_and_to_nobody_else() {
    let (mut bench, connections) = speaking(&[2, 3]);
    let (deaf, _) = bench.establish_with(open(router(4)));

    let outcome = announce(
        &mut bench,
        connections[0],
        &[destination(1)],
        route_ipv6(2, 100),
    );

    let expected = PathAttributes {
        originator_id: Some(router(2)),
        cluster_list: vec![router(1)],
        ..route_ipv6(2, 100)
    };
    let [told] = outcome.ipv6_updates(connections[1])[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!(told.announced, [destination(1).into()]);
    assert_eq!(told.attributes, Some(expected));
    assert_eq!(
        outcome.ipv6_updates(connections[0]),
        [] as [&Update<Ipv6Net>; 0]
    );
    assert_eq!(outcome.ipv6_updates(deaf), [] as [&Update<Ipv6Net>; 0]);
    assert_eq!(outcome.changes, [], "nothing of it is for a FIB");
    let withheld = bench.speaker.ipv6().withheld(peer(4));
    assert_eq!(withheld[0].reason, "session-down");
    assert_eq!(bench.speaker.ipv6().prefixes(), [destination(1)]);
    assert_eq!(bench.speaker.prefixes(), []);

    let outcome = withdraw(&mut bench, connections[0], &[destination(1)]);
    assert_eq!(
        outcome.ipv6_updates(connections[1])[0].withdrawn,
        [destination(1).into()]
    );
    assert_eq!(bench.speaker.ipv6().prefixes(), []);
}

/// RFC 4271 section 6.3: such a route is ignored, and the session stays. Nobody looks after next hops of this family, so
/// that nothing else would keep it from being chosen and reflected.
#[test]
fn a_route_whose_next_hop_is_no_host_is_refused_and_takes_the_former_one_along() {
    for next_hop in ["::", "::1", "ff02::1", "::ffff:127.0.0.1"] {
        let (mut bench, connections) = speaking(&[2, 3]);
        let from = connections[0];
        announce(&mut bench, from, &[destination(1)], route_ipv6(2, 100));
        let lost = PathAttributes {
            next_hop: next_hop.parse().unwrap(),
            ..route_ipv6(2, 100)
        };

        let outcome = announce(&mut bench, from, &[destination(1)], lost);

        assert_eq!(bench.speaker.ipv6().prefixes(), [], "{next_hop}");
        let told = outcome.ipv6_updates(connections[1]);
        assert_eq!(told[0].withdrawn, [destination(1).into()]);
        let rejected = bench.speaker.ipv6().rejected(peer(2));
        assert_eq!(rejected[0].reason, "no-host-next-hop");
    }
}

#[test]
fn a_family_that_one_side_does_not_offer_is_not_exchanged() {
    for (we, they) in [(true, false), (false, true)] {
        let config = PeerConfig {
            ipv6: we,
            ..client(2)
        };
        let (mut bench, _) = Bench::new(vec![config]);
        let (connection, _) =
            bench.establish_with(if they { offering(2) } else { open(router(2)) });
        // What the peer sends all the same is dropped, and the session stays.
        bench
            .ipv6
            .insert(connection, Ipv6Context { add_path: false });
        let outcome = announce(
            &mut bench,
            connection,
            &[destination(1)],
            route_ipv6(2, 100),
        );

        assert_eq!(bench.speaker.ipv6().prefixes(), []);
        let malformed = |event: &Event| matches!(event, Event::Malformed { kind: 14, .. });
        assert!(outcome.events.iter().any(malformed), "{outcome:?}");
        let view = bench.view(2);
        assert_eq!(view.ipv6.map(|ipv6| ipv6.negotiated), we.then_some(false));
        assert_eq!(outcome.closed, []);
    }
}

#[test]
fn the_decision_is_that_of_ipv4_and_believes_every_next_hop() {
    let (mut bench, connections) = speaking(&[2, 3]);
    announce(
        &mut bench,
        connections[0],
        &[destination(1)],
        route_ipv6(2, 100),
    );
    announce(
        &mut bench,
        connections[1],
        &[destination(1)],
        route_ipv6(3, 200),
    );

    let paths = bench.speaker.ipv6().paths(destination(1));

    assert_eq!(paths[0].path.source.peer(), Some(peer(3)));
    assert_eq!(
        (paths[0].step, paths[1].step),
        (DecisionStep::LocalPref, DecisionStep::LocalPref)
    );
    assert!(paths.iter().all(|path| path.ineligible.is_none()));
    let best = bench.speaker.ipv6().best(destination(1)).unwrap();
    assert_eq!(best.attributes.next_hop, next_hop(3));
}

#[test]
fn a_route_that_was_here_before_is_refused() {
    let (mut bench, connections) = speaking(&[2]);
    let ours = PathAttributes {
        originator_id: Some(router(1)),
        ..route_ipv6(2, 100)
    };
    let passed = PathAttributes {
        cluster_list: vec![router(1)],
        ..route_ipv6(2, 100)
    };
    announce(&mut bench, connections[0], &[destination(1)], ours);
    announce(&mut bench, connections[0], &[destination(2)], passed);

    let rejected = bench.speaker.ipv6().rejected(peer(2));

    let reasons: Vec<_> = rejected
        .iter()
        .map(|route| (route.prefix, route.reason))
        .collect();
    let expected = [
        (destination(1), "originator-loop"),
        (destination(2), "cluster-loop"),
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn the_limit_of_routes_counts_each_family_by_itself() {
    let (mut bench, _) = Bench::new(vec![PeerConfig {
        max_prefixes: 2,
        ..client(2)
    }]);
    let connection = establish(&mut bench, offering(2));
    bench.announce(connection, &[prefix(1), prefix(2)], route(2, 100));
    let all = [1, 2, 3].map(destination);

    announce(&mut bench, connection, &all, route_ipv6(2, 100));

    let view = bench.view(2);
    assert_eq!((view.ipv4.accepted, ipv6(&bench, 2).accepted), (2, 2));
    assert_eq!(
        bench.speaker.ipv6().rejected(peer(2))[0].reason,
        "max-prefixes"
    );
}

#[test]
fn several_paths_are_told_where_that_is_agreed_for_the_family() {
    let both = |host| PeerConfig {
        add_path: Some(AddPathDirection::Both),
        ..client(host)
    };
    let (mut bench, _) = Bench::new(vec![both(2), both(3), both(4)]);
    let mut connections = Vec::new();
    for host in [2, 3, 4] {
        let mut open = offering(host);
        open.capabilities
            .push(Capability::AddPath(vec![AddPathFamily {
                afi: 2,
                safi: 1,
                direction: AddPathDirection::Both,
            }]));
        let (connection, _) = bench.accept(router(host));
        bench
            .ipv6
            .insert(connection, Ipv6Context { add_path: true });
        bench.send(connection, &Message::Open(open));
        bench.send(connection, &Message::Keepalive);
        connections.push(connection);
    }
    let identified = Nlri {
        prefix: destination(1),
        path_id: Some(PathId(7)),
    };
    let mut told = Vec::new();
    for (connection, host) in connections.iter().zip([2, 3]) {
        let update = Update {
            announced: vec![identified],
            attributes: Some(route_ipv6(host, 100)),
            ..Update::default()
        };
        let outcome = send(&mut bench, *connection, update);
        told.extend(
            outcome
                .ipv6_updates(connections[2])
                .into_iter()
                .flat_map(|update| update.announced.clone()),
        );
    }

    let ids: Vec<_> = told.iter().map(|route| route.path_id).collect();
    assert_eq!(ids, [Some(PathId(1)), Some(PathId(2))]);
    assert!(ipv6(&bench, 4).add_path_send && !bench.view(4).ipv4.add_path_send);
    let tried = bench
        .speaker
        .ipv6()
        .try_export(&bench.view(4), destination(1));
    assert_eq!(tried.len(), 2);
    assert!(tried.iter().all(|(_, told)| told.is_ok()), "{tried:?}");
}

#[test]
fn a_refresh_is_answered_with_the_family_that_was_asked_for_and_its_end_is_marked_at_first() {
    let (mut bench, _) = Bench::new(vec![client(2), client(3)]);
    let connection = establish(&mut bench, offering(2));
    announce(
        &mut bench,
        connection,
        &[destination(1)],
        route_ipv6(2, 100),
    );
    bench.announce(connection, &[prefix(1)], route(2, 100));
    let (other, outcome) = bench.accept(router(3));
    assert_eq!(outcome.ipv6_updates(other), [] as [&Update<Ipv6Net>; 0]);
    bench.ipv6.insert(other, Ipv6Context { add_path: false });
    bench.send(other, &Message::Open(offering(3)));
    let outcome = bench.send(other, &Message::Keepalive);
    let told = outcome.ipv6_updates(other);
    assert_eq!((told.len(), told[1].is_end_of_rib()), (2, true), "{told:?}");

    for (afi, ipv4, ipv6) in [(2, 0, 1), (1, 1, 0)] {
        let refresh = RouteRefresh {
            afi,
            subtype: 0,
            safi: 1,
        };
        let outcome = bench.send(other, &Message::RouteRefresh(refresh));
        let counts = (
            outcome.updates(other).len(),
            outcome.ipv6_updates(other).len(),
        );
        assert_eq!(counts, (ipv4, ipv6), "family {afi}");
    }
}

#[test]
fn routes_of_a_broken_session_are_kept_of_the_families_that_were_asked_for() {
    for (families, ipv4, kept) in [(&[1, 2][..], 1, 1), (&[1], 1, 0), (&[2], 0, 1)] {
        let mut bench = graceful(vec![client(2)]);
        let connection = establish(&mut bench, restartable(2, families));
        bench.announce(connection, &[prefix(1)], route(2, 100));
        announce(
            &mut bench,
            connection,
            &[destination(1)],
            route_ipv6(2, 100),
        );

        bench.input(Input::Closed(connection));

        assert_eq!(
            (bench.view(2).ipv4.stale, ipv6(&bench, 2).stale),
            (ipv4, kept),
            "{families:?}"
        );
        assert_eq!(bench.speaker.ipv6().prefixes().len(), kept);
    }
}

#[test]
fn stale_routes_go_with_the_end_of_rib_of_their_family_or_when_the_family_is_spoken_no_more() {
    let begin = || {
        let mut bench = graceful(vec![client(2)]);
        let connection = establish(&mut bench, restartable(2, &[1, 2]));
        let all = [destination(1), destination(2)];
        announce(&mut bench, connection, &all, route_ipv6(2, 100));
        bench.announce(connection, &[prefix(1)], route(2, 100));
        bench.input(Input::Closed(connection));
        bench
    };

    let mut bench = begin();
    let connection = establish(&mut bench, restartable(2, &[1, 2]));
    announce(
        &mut bench,
        connection,
        &[destination(2)],
        route_ipv6(2, 100),
    );
    bench.send(connection, &Message::Update(Update::default()));
    assert_eq!((bench.view(2).ipv4.stale, ipv6(&bench, 2).stale), (0, 1));
    send(&mut bench, connection, Update::default());
    assert_eq!(bench.speaker.ipv6().prefixes(), [destination(2)]);
    assert!(ipv6(&bench, 2).end_of_rib);

    let mut bench = begin();
    bench.establish_with(Open {
        capabilities: restartable(2, &[1])
            .capabilities
            .into_iter()
            .filter(|it| *it != FAMILY)
            .collect(),
        ..open(router(2))
    });
    assert_eq!(bench.speaker.ipv6().prefixes(), []);
    assert_eq!(bench.view(2).ipv4.stale, 1, "the other family stays");

    let mut bench = begin();
    bench.pass(seconds(61));
    assert_eq!(bench.speaker.ipv6().prefixes(), []);
}

#[test]
fn a_session_that_ends_takes_the_routes_along() {
    let (mut bench, connections) = speaking(&[2, 3]);
    announce(
        &mut bench,
        connections[0],
        &[destination(1)],
        route_ipv6(2, 100),
    );

    let outcome = bench.input(Input::Closed(connections[0]));

    assert_eq!(
        outcome.ipv6_updates(connections[1])[0].withdrawn,
        [destination(1).into()]
    );
}

#[test]
fn a_dump_holds_the_routes_of_both_families() {
    let (mut bench, connections) = speaking(&[2]);
    let rich = PathAttributes {
        med: Some(10),
        originator_id: Some(router(9)),
        ..route_ipv6(2, 300)
    };
    announce(&mut bench, connections[0], &[destination(1)], rich);
    bench.announce(connections[0], &[prefix(1)], route(2, 100));
    let head = DumpHead {
        view: "lab",
        time: 1,
        now: bench.now,
    };

    let dump = bench.speaker.table_dump(head);

    let routes: Vec<_> = BgpkitParser::from_reader(dump.as_slice())
        .into_elem_iter()
        .map(|route| {
            (
                route.prefix.prefix.to_string(),
                route.next_hop,
                route.local_pref,
                route.med,
            )
        })
        .collect();
    // The parser takes no MED for 0.
    let ipv4 = (
        prefix(1).to_string(),
        Some(router(2).into()),
        Some(100),
        Some(0),
    );
    let ipv6 = (
        destination(1).to_string(),
        Some(next_hop(2).into()),
        Some(300),
        Some(10),
    );
    assert_eq!(routes, [ipv4, ipv6]);
}

#[test]
fn an_external_peer_is_told_our_own_next_hop_of_the_family_or_nothing() {
    for next_hop_ipv6 in [Some(next_hop(1)), None] {
        let external = PeerConfig {
            role: PeerRole::External(ExternalPeer {
                asn: 65001,
                local_asn: AS,
                next_hop: router(1),
                next_hop_ipv6,
            }),
            ..client(3)
        };
        let (mut bench, _) = Bench::new(vec![client(2), external]);
        let connection = establish(&mut bench, offering(2));
        let mut open = offering(3);
        open.asn = 65001;
        open.capabilities
            .retain(|it| *it != Capability::FourOctetAs(AS));
        open.capabilities.push(Capability::FourOctetAs(65001));
        let outside = establish(&mut bench, open);

        let outcome = announce(
            &mut bench,
            connection,
            &[destination(1)],
            route_ipv6(2, 100),
        );

        let told = outcome.ipv6_updates(outside);
        let hops: Vec<_> = told
            .iter()
            .filter_map(|it| it.attributes.as_ref())
            .map(|it| it.next_hop)
            .collect();
        assert_eq!(hops, next_hop_ipv6.into_iter().collect::<Vec<_>>());
        let withheld = bench.speaker.ipv6().withheld(peer(3));
        let reasons: Vec<_> = withheld.iter().map(|route| route.reason).collect();
        assert_eq!(
            reasons,
            if next_hop_ipv6.is_some() {
                vec![]
            } else {
                vec!["no-next-hop"]
            }
        );
    }
}

#[test]
fn who_watches_hears_of_each_family_by_itself() {
    let (mut bench, connections) = speaking(&[2]);
    let mut cursor = bench.speaker.ipv6().feed().subscribe();
    let ipv4 = bench.speaker.rib_feed().generation();

    announce(
        &mut bench,
        connections[0],
        &[destination(1)],
        route_ipv6(2, 100),
    );

    let feed = bench.speaker.ipv6().feed();
    let news: Vec<_> = std::iter::from_fn(|| feed.next(&mut cursor)).collect();
    assert_eq!(news.len(), 2, "{news:?}");
    assert_eq!(bench.speaker.rib_feed().generation(), ipv4);
}

const FAMILY: Capability = Capability::Multiprotocol { afi: 2, safi: 1 };

fn destination(number: u16) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, number, 0, 0, 0, 0, 0), 48)
}

fn next_hop(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host.into())
}

fn route_ipv6(host: u8, local_pref: u32) -> PathAttributes<Ipv6Addr> {
    PathAttributes {
        local_pref: Some(local_pref),
        ..PathAttributes::local(next_hop(host))
    }
}

fn client(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        active: false,
        ipv6: true,
        ..peer_config(host)
    }
}

/// Sessions with clients that speak both families, and one more client that is configured for it.
fn speaking(hosts: &[u8]) -> (Bench, Vec<ConnectionId>) {
    let clients = hosts.iter().copied().chain([4]).map(client);
    let (mut bench, _) = Bench::new(clients.collect());
    let connections = hosts
        .iter()
        .map(|host| establish(&mut bench, offering(*host)));
    let connections = connections.collect();
    (bench, connections)
}

fn graceful(peers: Vec<PeerConfig>) -> Bench {
    let config = SpeakerConfig {
        graceful_restart: Some(GracefulRestartConfig {
            restart_time: seconds(120),
            deferral_time: seconds(20),
        }),
        ..speaker_config(1)
    };
    let speaker = Speaker::new(config, Rules::default(), 1, start());
    Bench::with_speaker(speaker, peers).0
}

fn offering(host: u8) -> Open {
    let mut open = open(router(host));
    open.capabilities.push(FAMILY);
    open
}

/// Offers to restart within a minute, having forwarded by the routes of these families.
fn restartable(host: u8, families: &[u16]) -> Open {
    let family = |afi: &u16| RestartFamily {
        afi: *afi,
        safi: 1,
        forwarding: true,
    };
    let mut open = offering(host);
    open.capabilities
        .push(Capability::GracefulRestart(GracefulRestart {
            restarted: false,
            notification: true,
            restart_time_s: 60,
            families: families.iter().map(family).collect(),
        }));
    open
}

fn establish(bench: &mut Bench, open: Open) -> ConnectionId {
    let (connection, _) = bench.accept(open.router_id);
    bench
        .ipv6
        .insert(connection, Ipv6Context { add_path: false });
    bench.send(connection, &Message::Open(open));
    bench.send(connection, &Message::Keepalive);
    connection
}

fn ipv6(bench: &Bench, host: u8) -> FamilyView {
    bench.view(host).ipv6.expect("it is offered")
}

fn announce(
    bench: &mut Bench,
    connection: ConnectionId,
    prefixes: &[Ipv6Net],
    attributes: PathAttributes<Ipv6Addr>,
) -> Outcome {
    let update = Update {
        announced: prefixes.iter().copied().map(Nlri::from).collect(),
        attributes: Some(attributes),
        ..Update::default()
    };
    send(bench, connection, update)
}

fn withdraw(bench: &mut Bench, connection: ConnectionId, prefixes: &[Ipv6Net]) -> Outcome {
    let update = Update {
        withdrawn: prefixes.iter().copied().map(Nlri::from).collect(),
        ..Update::default()
    };
    send(bench, connection, update)
}

fn send(bench: &mut Bench, connection: ConnectionId, ipv6: Update<Ipv6Net>) -> Outcome {
    let ipv4 = None;
    bench.send(
        connection,
        &Message::Ipv6Update(Box::new(Ipv6Update { ipv6, ipv4 })),
    )
}
