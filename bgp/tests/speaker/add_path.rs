//! Several paths to a prefix (RFC 7911), from the OPEN to the choice.
//!
//! ```text
//!   active 3 ──┐                  ┌── observer 5, may be told all paths
//!              ├── reflector 1 ───┤
//!  standby 4 ──┘                  └── old 6, without the capability
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;
use sam_bgp::speaker::{Event, PathView, PeerConfig, PeerRole};
use sam_bgp::wire::{
    AddPathDirection, AddPathFamily, Capability, DecodeContext, Message, Nlri, PathId, Update,
};
use sam_bgp::{ConnectionId, Input, PathAttributes, PathSource};

use crate::bench::{Bench, CONTEXT, Outcome};
use crate::fabric::Fabric;
use crate::vocabulary::{millis, peer, peer_config, prefix, route, router, seconds};

#[test]
fn a_client_hears_the_standby_too_and_nobody_hears_itself() {
    let fabric = claimed();
    let next_hops = |host: u8| -> Vec<Ipv4Addr> {
        let paths = fabric.nodes[&host].speaker.paths(prefix(9));
        paths
            .iter()
            .map(|view| view.path.attributes.next_hop)
            .collect()
    };
    assert_eq!(next_hops(5), [router(3), router(4)]);
    assert_eq!(next_hops(3), [router(3), router(4)], "its own and one more");
    assert_eq!(next_hops(4), [router(3), router(4)], "its own and one more");
    assert_eq!(next_hops(6), [router(3)], "the best only");
    let told = fabric.nodes[&1].speaker.advertised(peer(3));
    let told: Vec<Ipv4Addr> = told.iter().map(|(_, told)| told.next_hop).collect();
    assert_eq!(told, [router(4)], "never back to its source");
}

/// Without, a router whose own path is not the best withdraws it: nobody would know the standby.
#[test]
fn a_router_tells_its_own_path_although_another_is_better() {
    let fabric = claimed();
    let told = fabric.nodes[&4].speaker.advertised(peer(1));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, route(4, 300));
}

/// Each leaf has one reflector only: what a reflector keeps to itself, the leaves of the other never hear.
#[test]
fn a_standby_behind_another_reflector_is_heard() {
    let mut fabric = Fabric::new(|| millis(5));
    fabric.add(1, 1, vec![equal(2), both(3), both(5)]);
    fabric.add(2, 2, vec![equal(1), both(4)]);
    for (leaf, reflector) in [(3, 1), (4, 2), (5, 1)] {
        fabric.add(leaf, leaf.into(), vec![equal(reflector)]);
    }
    fabric.run_for(seconds(5));
    for (host, local_pref) in [(3, 400), (4, 300)] {
        fabric.with(host, |speaker, now| {
            speaker.originate(prefix(9), route(host, local_pref), now);
        });
    }
    fabric.run_for(seconds(1));

    let paths = fabric.nodes[&5].speaker.paths(prefix(9));
    let hops: Vec<Ipv4Addr> = paths
        .iter()
        .map(|view| view.path.attributes.next_hop)
        .collect();
    assert_eq!(hops, [router(3), router(4)]);
    assert_eq!(
        paths[1].path.attributes.cluster_list,
        [router(1), router(2)]
    );
}

/// Both reflectors have each path twice, from its owner and from each other.
#[test]
fn a_reflector_tells_a_path_once_although_it_has_it_twice() {
    let mut fabric = Fabric::new(|| millis(5));
    for (reflector, other) in [(1, 2), (2, 1)] {
        let leaves = [3, 4, 5].map(both);
        let peers = [equal(other)].into_iter().chain(leaves).collect();
        fabric.add(reflector, reflector.into(), peers);
    }
    for leaf in [3, 4, 5] {
        fabric.add(leaf, leaf.into(), vec![equal(1), equal(2)]);
    }
    fabric.run_for(seconds(5));
    for (host, local_pref) in [(3, 400), (4, 300)] {
        fabric.with(host, |speaker, now| {
            speaker.originate(prefix(9), route(host, local_pref), now);
        });
    }
    fabric.run_for(seconds(1));

    for reflector in [1, 2] {
        assert_eq!(fabric.nodes[&reflector].speaker.paths(prefix(9)).len(), 4);
        let told = fabric.nodes[&reflector].speaker.advertised(peer(5));
        let told: Vec<Ipv4Addr> = told.iter().map(|(_, told)| told.next_hop).collect();
        assert_eq!(BTreeSet::from_iter(&told), [&router(3), &router(4)].into());
        assert_eq!(told.len(), 2);
    }
}

#[test]
fn what_was_agreed_is_shown_in_both_directions() {
    let fabric = claimed();
    let agreed = |host, of| {
        let view = fabric.view(host, of);
        (view.ipv4.add_path_receive, view.ipv4.add_path_send)
    };
    assert_eq!(agreed(1, 5), (true, true));
    assert_eq!(agreed(5, 1), (true, true));
    assert_eq!(agreed(1, 6), (false, false));
    assert_eq!(agreed(6, 1), (false, false));
    let offered = |host, of| fabric.view(host, of).capabilities_received;
    let both = Capability::AddPath(vec![AddPathFamily {
        afi: 1,
        safi: 1,
        direction: AddPathDirection::Both,
    }]);
    assert!(offered(5, 1).contains(&both));
}

#[test]
fn a_dead_next_hop_gives_way_to_the_other_path_without_a_word_from_the_reflector() {
    let mut fabric = claimed();
    let heard = |fabric: &Fabric| fabric.view(5, 1).messages_received;
    let before = heard(&fabric);

    let alive: BTreeSet<Ipv4Addr> = [router(1), router(4)].into();
    fabric.with(5, |speaker, now| speaker.set_next_hops(alive, now));

    let best = fabric.nodes[&5].speaker.best(prefix(9)).unwrap();
    assert_eq!(best.attributes.next_hop, router(4));
    assert_eq!(heard(&fabric), before);
}

#[test]
fn each_path_is_withdrawn_on_its_own() {
    let mut fabric = claimed();

    fabric.with(3, |speaker, now| speaker.withdraw(prefix(9), now));
    fabric.run_for(seconds(1));

    for host in [5, 6] {
        let paths = fabric.nodes[&host].speaker.paths(prefix(9));
        assert_eq!(paths.len(), 1, "{host}");
        assert_eq!(paths[0].path.attributes.next_hop, router(4), "{host}");
    }
    fabric.with(4, |speaker, now| speaker.withdraw(prefix(9), now));
    fabric.run_for(seconds(1));
    for host in [3, 4, 5, 6] {
        assert_eq!(fabric.nodes[&host].speaker.prefixes(), [], "{host}");
    }
}

#[test]
fn end_of_rib_is_the_same_message_as_ever() {
    let fabric = claimed();
    for (host, of) in [(5, 1), (1, 5), (6, 1)] {
        assert!(fabric.view(host, of).ipv4.end_of_rib, "{host} of {of}");
    }
    let (mut bench, connection) = identified(2);
    let outcome = bench.receive(
        connection,
        &Message::Update(Update::default()).encode(CONTEXT),
    );
    assert!(outcome.is_empty(), "{outcome:?}");
    assert!(bench.view(2).ipv4.end_of_rib);
}

/// GoBGP keeps the accepted path in this case (osrg/gobgp pull request 3586).
#[test]
fn a_looped_update_removes_the_path_that_it_replaces_and_no_other() {
    let (mut bench, connection) = identified(2);
    bench.send(connection, &announced(1, 1, route(3, 200)));
    bench.send(connection, &announced(1, 2, route(4, 100)));
    let looped = PathAttributes {
        cluster_list: vec![router(9), router(1)],
        ..route(3, 200)
    };

    let outcome = bench.send(connection, &announced(1, 1, looped));

    let reason = "cluster-loop";
    let rejected = Event::Rejected {
        peer: peer(2),
        prefix: prefix(1).into(),
        reason,
    };
    assert_eq!(outcome.events, [rejected]);
    let best = outcome.changes[0].new.as_ref().unwrap();
    assert_eq!(best.path_id, Some(PathId(2)));
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 1);
    let refused = &bench.speaker.rejected(peer(2))[0];
    assert_eq!((refused.path_id, refused.reason), (Some(PathId(1)), reason));
}

#[test]
fn an_id_without_prefix_ends_the_session_and_a_plain_prefix_is_no_id() {
    for nlri in [&[0, 0, 0, 1][..], &[32, 10, 99, 0, 1]] {
        let (mut bench, connection) = identified(2);
        let mut bytes = announced(1, 1, route(2, 100)).encode(IDENTIFIED);
        // The field ends the message: an id of four bytes, a length and an address.
        bytes.truncate(bytes.len() - 9);
        bytes.extend(nlri);
        let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        bytes[16..18].copy_from_slice(&len);

        let outcome = bench.receive(connection, &bytes);

        assert_eq!(outcome.notifications(connection), [(3, 10)], "{nlri:?}");
        assert_eq!(bench.speaker.prefixes(), []);
    }
}

#[test]
fn a_peer_may_have_eight_paths_to_a_prefix_and_the_ninth_takes_the_first_free_place() {
    let (mut bench, connection) = identified(2);
    for id in 1..=9 {
        let outcome = bench.send(connection, &announced(1, id, route(3, 100)));
        let reasons: Vec<&str> = outcome.events.iter().map(reason).collect();
        let expected: &[&str] = if id == 9 { &["max-paths"] } else { &[] };
        assert_eq!(reasons, expected, "{id}");
    }
    assert_eq!(bench.speaker.paths(prefix(1)).len(), 8);
    assert_eq!(bench.view(2).ipv4.accepted, 8);

    bench.send(connection, &withdrawn(1, 4));

    let ids: BTreeSet<u32> = bench
        .speaker
        .paths(prefix(1))
        .iter()
        .filter_map(|view| view.path.path_id.map(|PathId(id)| id))
        .collect();
    assert_eq!(ids, [1, 2, 3, 5, 6, 7, 8, 9].into());
    assert_eq!(bench.speaker.rejected(peer(2)), []);
}

#[test]
fn a_route_refresh_repeats_every_path() {
    let mut bench = Bench::new(vec![both(2), both(3)]).0;
    let (sender, _) = bench.establish_with_add_path(router(2));
    let (receiver, _) = bench.establish_with_add_path(router(3));
    bench.send(sender, &announced(1, 7, route(4, 200)));
    bench.send(sender, &announced(1, 8, route(5, 100)));
    let request = sam_bgp::wire::RouteRefresh {
        afi: 1,
        subtype: 0,
        safi: 1,
    };

    let outcome = bench.send(receiver, &Message::RouteRefresh(request));

    let told = outcome.updates(receiver).into_iter();
    let told: BTreeSet<Nlri> = told.flat_map(|update| update.announced.clone()).collect();
    assert_eq!(told, [nlri(1, 1), nlri(1, 2)].into());
}

/// What happens to the speaker in the middle.
#[derive(Debug, Clone)]
enum Incident {
    Announce { host: u8, id: u32, local_pref: u32 },
    AnnounceLooped { host: u8, id: u32 },
    AnnouncePlain { host: u8, local_pref: u32 },
    Withdraw { host: u8, id: u32 },
    WithdrawPlain { host: u8 },
    NextHops { dead: BTreeSet<Ipv4Addr> },
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Router 2 tells several paths, router 3 one per prefix; router 4 is told all, router 5 the best. After every
    /// step, what was received and what was told are those of a table of keys.
    #[test]
    fn tables_with_path_ids_are_those_of_a_naive_model(
        incidents in proptest::collection::vec(incident(), 1..80),
    ) {
        let mut play = Play::new();
        for incident in incidents {
            let before = play.local_ids();

            play.happen(incident);

            prop_assert_eq!(play.received(), play.paths.clone());
            for host in 0..HOSTS {
                let wanted = play.wanted(host);
                let best: BTreeSet<_> = wanted.iter().take(1).copied().collect();
                let first_eight: BTreeSet<_> = wanted.iter().take(8).copied().collect();
                prop_assert_eq!(play.told(play.all, host), first_eight);
                prop_assert_eq!(play.told(play.best, host), best);
            }
            for (key, id) in play.local_ids() {
                prop_assert!(before.get(&key).is_none_or(|former| *former == id), "{key:?} moved");
            }
        }
    }
}

/// Number of prefixes in the play.
const HOSTS: u8 = 3;

/// Which path: prefix, sender, id.
type Key = (u8, u8, Option<PathId>);

/// The speaker, the model, and what the receivers made of what they heard.
struct Play {
    bench: Bench,
    many: ConnectionId,
    one: ConnectionId,
    all: ConnectionId,
    best: ConnectionId,
    paths: BTreeMap<Key, PathAttributes>,
    dead: BTreeSet<Ipv4Addr>,
    heard: BTreeMap<(ConnectionId, Nlri), PathAttributes>,
}

impl Play {
    fn new() -> Self {
        let mut bench = Bench::new(vec![both(2), plain(3), both(4), plain(5)]).0;
        Self {
            many: bench.establish_with_add_path(router(2)).0,
            one: bench.establish(router(3)),
            all: bench.establish_with_add_path(router(4)).0,
            best: bench.establish(router(5)),
            bench,
            paths: BTreeMap::new(),
            dead: BTreeSet::new(),
            heard: BTreeMap::new(),
        }
    }

    fn happen(&mut self, incident: Incident) {
        let path = |host, id| (host, 2, Some(PathId(id)));
        let outcome = match incident {
            Incident::Announce {
                host,
                id,
                local_pref,
            } => {
                let attributes = route(next_hop(id), local_pref);
                self.paths.insert(path(host, id), attributes.clone());
                self.bench.send(self.many, &announced(host, id, attributes))
            }
            Incident::AnnounceLooped { host, id } => {
                let attributes = PathAttributes {
                    originator_id: Some(router(1)),
                    ..route(next_hop(id), 900)
                };
                self.paths.remove(&path(host, id));
                self.bench.send(self.many, &announced(host, id, attributes))
            }
            Incident::AnnouncePlain { host, local_pref } => {
                let attributes = route(3, local_pref);
                self.paths.insert((host, 3, None), attributes.clone());
                self.bench.announce(self.one, &[prefix(host)], attributes)
            }
            Incident::Withdraw { host, id } => {
                self.paths.remove(&path(host, id));
                self.bench.send(self.many, &withdrawn(host, id))
            }
            Incident::WithdrawPlain { host } => {
                self.paths.remove(&(host, 3, None));
                self.bench.withdraw(self.one, &[prefix(host)])
            }
            Incident::NextHops { dead } => {
                let up = (0..=255)
                    .map(router)
                    .filter(|address| !dead.contains(address));
                self.bench
                    .speaker
                    .set_next_hops(up.collect(), self.bench.now);
                self.dead = dead;
                self.bench.drain()
            }
            Incident::Restart => {
                self.paths.retain(|(_, sender, _), _| *sender != 2);
                let outcome = self.bench.input(Input::Closed(self.many));
                self.many = self.bench.establish_with_add_path(router(2)).0;
                outcome
            }
        };
        self.hear(&outcome);
    }

    fn hear(&mut self, outcome: &Outcome) {
        for at in [self.all, self.best] {
            for update in outcome.updates(at) {
                for route in &update.withdrawn {
                    assert!(self.heard.remove(&(at, *route)).is_some(), "{route:?}");
                }
                for route in &update.announced {
                    let attributes = update.attributes.clone().expect("an announcement");
                    self.heard.insert((at, *route), attributes);
                }
            }
        }
    }

    /// Paths as accepted by the speaker.
    fn received(&self) -> BTreeMap<Key, PathAttributes> {
        let accepted = |sender: u8| {
            let accepted = self.bench.speaker.accepted(peer(sender)).into_iter();
            accepted.map(move |(prefix, path)| {
                let key = (prefix.addr().octets()[3], sender, path.path_id);
                (key, (*path.attributes).clone())
            })
        };
        accepted(2).chain(accepted(3)).collect()
    }

    /// Next hop and LOCAL_PREF of what a receiver should know, best first.
    fn wanted(&self, host: u8) -> Vec<(Ipv4Addr, Option<u32>)> {
        let alive = self.paths.iter().filter(|((of, _, _), attributes)| {
            *of == host && !self.dead.contains(&attributes.next_hop)
        });
        let mut alive: Vec<_> = alive.collect();
        alive.sort_by_key(|((_, sender, id), attributes)| {
            (std::cmp::Reverse(attributes.local_pref), *sender, *id)
        });
        alive
            .into_iter()
            .map(|(_, attributes)| (attributes.next_hop, attributes.local_pref))
            .collect()
    }

    /// Next hop and LOCAL_PREF of what a receiver knows.
    fn told(&self, at: ConnectionId, host: u8) -> BTreeSet<(Ipv4Addr, Option<u32>)> {
        let heard = self.heard.iter();
        let heard = heard.filter(|((by, route), _)| *by == at && route.prefix == prefix(host));
        heard
            .map(|(_, attributes)| (attributes.next_hop, attributes.local_pref))
            .collect()
    }

    /// The ids under which paths are told.
    fn local_ids(&self) -> BTreeMap<(u8, PathSource, Option<PathId>), PathId> {
        let views = |host| {
            let views: Vec<PathView> = self.bench.speaker.paths(prefix(host));
            views
                .into_iter()
                .map(move |view| ((host, view.path.source, view.path.path_id), view.local_id))
        };
        (0..HOSTS).flat_map(views).collect()
    }
}

fn incident() -> impl Strategy<Value = Incident> {
    let (host, id, local_pref) = (0..HOSTS, 0..8u32, 0..3u32);
    let dead = proptest::collection::btree_set((0..8u32).prop_map(|id| router(next_hop(id))), 0..4);
    prop_oneof![
        8 => (host.clone(), id.clone(), local_pref.clone())
            .prop_map(|(host, id, local_pref)| Incident::Announce { host, id, local_pref }),
        1 => (host.clone(), id.clone())
            .prop_map(|(host, id)| Incident::AnnounceLooped { host, id }),
        2 => (host.clone(), local_pref)
            .prop_map(|(host, local_pref)| Incident::AnnouncePlain { host, local_pref }),
        3 => (host.clone(), id).prop_map(|(host, id)| Incident::Withdraw { host, id }),
        1 => host.prop_map(|host| Incident::WithdrawPlain { host }),
        1 => dead.prop_map(|dead| Incident::NextHops { dead }),
        1 => Just(Incident::Restart),
    ]
}

/// The next hop of one of router 2's paths; different ones, so that no two paths are the same.
fn next_hop(id: u32) -> u8 {
    20 + u8::try_from(id).expect("a small id")
}

/// The fabric of the picture, with a claim of each on 10.99.0.9.
fn claimed() -> Fabric {
    let mut fabric = Fabric::new(|| millis(5));
    fabric.add(1, 1, vec![both(3), both(4), both(5), both(6)]);
    for leaf in [3, 4, 5] {
        fabric.add(leaf, leaf.into(), vec![equal(1)]);
    }
    fabric.add(6, 6, vec![peer_config(1)]);
    for (host, local_pref) in [(4, 300), (3, 400)] {
        fabric.with(host, |speaker, now| {
            speaker.originate(prefix(9), route(host, local_pref), now);
        });
        fabric.run_for(seconds(5));
    }
    fabric
}

/// A bench with one Established session whose paths have ids.
fn identified(host: u8) -> (Bench, ConnectionId) {
    let mut bench = Bench::new(vec![both(host)]).0;
    let (connection, _) = bench.establish_with_add_path(router(host));
    (bench, connection)
}

/// A peer that is no client.
fn equal(host: u8) -> PeerConfig {
    PeerConfig {
        add_path: Some(AddPathDirection::Both),
        ..peer_config(host)
    }
}

fn both(host: u8) -> PeerConfig {
    PeerConfig {
        add_path: Some(AddPathDirection::Both),
        ..plain(host)
    }
}

fn plain(host: u8) -> PeerConfig {
    PeerConfig {
        role: PeerRole::Client,
        active: false,
        ..peer_config(host)
    }
}

fn announced(host: u8, id: u32, attributes: PathAttributes) -> Message {
    Message::Update(Update {
        announced: vec![nlri(host, id)],
        attributes: Some(attributes),
        ..Update::default()
    })
}

fn withdrawn(host: u8, id: u32) -> Message {
    Message::Update(Update {
        withdrawn: vec![nlri(host, id)],
        ..Update::default()
    })
}

fn nlri(host: u8, id: u32) -> Nlri {
    Nlri {
        prefix: prefix(host),
        path_id: Some(PathId(id)),
    }
}

fn reason(event: &Event) -> &'static str {
    let Event::Rejected { reason, .. } = event else {
        panic!("no refusal: {event:?}")
    };
    reason
}

const IDENTIFIED: DecodeContext = DecodeContext {
    add_path: true,
    ..CONTEXT
};
