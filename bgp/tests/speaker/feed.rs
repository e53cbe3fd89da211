//! Who watches the speaker's change feeds, from any moment on and as slowly as he likes, ends up with what is there.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sam_bgp::speaker::PathView;
use sam_bgp::{Cause, ConnectionId, Cursor, Input, News};

use crate::bench::Bench;
use crate::vocabulary::{numbered, peer_config, prefix, route, router};

/// Something that happens to routes, or a reader that comes or reads.
#[derive(Debug, Clone)]
enum Step {
    Announce {
        peer: u8,
        prefix: u8,
        local_pref: u32,
    },
    Withdraw {
        peer: u8,
        prefix: u8,
    },
    /// Only this next hop is reachable.
    NextHop(u8),
    /// The session ends and comes back.
    Flap(u8),
    Subscribe,
    Read {
        reader: usize,
        most: usize,
    },
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_that_starts_at_any_moment_sees_the_final_paths_of_each_prefix(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let (mut bench, mut connections) =
            Bench::established(vec![peer_config(2), peer_config(3)]);
        let mut readers = Vec::new();
        for step in steps {
            play(&mut bench, &mut connections, &mut readers, &step);
        }
        readers.push(Reader::new(&bench));
        let there: BTreeMap<Ipv4Net, Vec<PathView>> = bench
            .speaker
            .prefixes()
            .into_iter()
            .map(|prefix| (prefix, bench.speaker.paths(prefix)))
            .collect();
        for mut reader in readers {
            reader.read(&bench, usize::MAX);
            prop_assert_eq!(&reader.known, &there);
        }
    }
}

#[test]
fn a_reader_that_comes_amid_a_load_reads_each_prefix_once() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let prefixes: Vec<Ipv4Net> = (0..1000).map(numbered).collect();
    let announce = |bench: &mut Bench, local_pref| {
        for some in prefixes.chunks(100) {
            bench.announce(connections[0], some, route(2, local_pref));
        }
    };
    announce(&mut bench, 100);
    let mut reader = Reader::new(&bench);
    reader.read(&bench, 300);
    for local_pref in 101..106 {
        announce(&mut bench, local_pref);
    }

    let read = reader.read(&bench, usize::MAX);

    assert_eq!(read, 1001, "each prefix once, and the end of the snapshot");
    assert_eq!(reader.known.len(), 1000);
    let latest = |paths: &Vec<PathView>| paths[0].path.attributes.local_pref == Some(105);
    assert!(reader.known.values().all(latest));
}

#[test]
fn a_second_path_is_news_although_the_best_one_stays() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2), peer_config(3)]);
    bench.announce(connections[0], &[prefix(1)], route(2, 300));
    let mut reader = Reader::new(&bench);
    reader.read(&bench, usize::MAX);

    let outcome = bench.announce(connections[1], &[prefix(1)], route(3, 200));

    assert!(outcome.changes.is_empty());
    assert_eq!(reader.read(&bench, usize::MAX), 1);
    assert_eq!(reader.known[&prefix(1)].len(), 2);
    bench.announce(connections[1], &[prefix(1)], route(3, 200));
    assert_eq!(reader.read(&bench, usize::MAX), 0, "nothing changed");
}

#[test]
fn a_reader_is_told_why_a_route_changed() {
    let (mut bench, connections) = Bench::established(vec![peer_config(2)]);
    let mut cursor = bench.speaker.rib_feed().subscribe();
    let mut causes = |bench: &Bench| -> Vec<Cause> {
        let feed = bench.speaker.rib_feed();
        let news = std::iter::from_fn(|| feed.next(&mut cursor));
        news.filter_map(|news| match news {
            News::Changed { cause, .. } => Some(cause),
            News::Complete { .. } | News::Resync => None,
        })
        .collect()
    };
    bench.announce(connections[0], &[prefix(1)], route(2, 300));
    assert_eq!(causes(&bench), [Cause::Announced]);
    for reachable in [vec![], vec![router(2)]] {
        let reachable = reachable.into_iter().collect();
        bench.speaker.set_next_hops(reachable, bench.now);
        bench.drain();
        assert_eq!(causes(&bench), [Cause::NextHop]);
    }
    bench.speaker.originate(prefix(1), route(1, 100), bench.now);
    bench.drain();
    assert_eq!(causes(&bench), [Cause::Local]);
    bench.input(Input::Closed(connections[0]));
    assert_eq!(causes(&bench), [Cause::SessionEnded]);
}

#[test]
fn sessions_are_news_when_their_state_changes() {
    let (mut bench, _) = Bench::new(vec![peer_config(2)]);
    let mut cursor = bench.speaker.peer_feed().subscribe();
    let mut read = |bench: &Bench| -> usize {
        let feed = bench.speaker.peer_feed();
        std::iter::from_fn(|| feed.next(&mut cursor)).count()
    };
    assert_eq!(read(&bench), 2, "the peer, and the end of the snapshot");
    bench.establish(router(2));
    assert_eq!(read(&bench), 1);
    assert_eq!(read(&bench), 0);
    bench.speaker.set_peers(Vec::new(), bench.now);
    bench.drain();
    assert_eq!(read(&bench), 1);
    assert!(bench.speaker.peers().is_empty());
}

fn step() -> impl Strategy<Value = Step> {
    let (peer, host) = (2u8..4, 1u8..6);
    prop_oneof![
        6 => (peer.clone(), host.clone(), prop_oneof![Just(100u32), Just(200), Just(300)])
            .prop_map(|(peer, prefix, local_pref)| Step::Announce { peer, prefix, local_pref }),
        4 => (peer.clone(), host)
            .prop_map(|(peer, prefix)| Step::Withdraw { peer, prefix }),
        1 => peer.clone().prop_map(Step::NextHop),
        1 => peer.prop_map(Step::Flap),
        1 => Just(Step::Subscribe),
        3 => (0usize..8, 0usize..5).prop_map(|(reader, most)| Step::Read { reader, most }),
    ]
}

fn play(
    bench: &mut Bench,
    connections: &mut [ConnectionId],
    readers: &mut Vec<Reader>,
    step: &Step,
) {
    let of = |peer: u8| usize::from(peer - 2);
    match *step {
        Step::Announce {
            peer,
            prefix: host,
            local_pref,
        } => {
            bench.announce(
                connections[of(peer)],
                &[prefix(host)],
                route(peer, local_pref),
            );
        }
        Step::Withdraw { peer, prefix: host } => {
            bench.withdraw(connections[of(peer)], &[prefix(host)]);
        }
        Step::NextHop(host) => {
            let reachable = [router(host)].into();
            bench.speaker.set_next_hops(reachable, bench.now);
            bench.drain();
        }
        Step::Flap(peer) => {
            bench.input(Input::Closed(connections[of(peer)]));
            connections[of(peer)] = bench.establish(router(peer));
        }
        Step::Subscribe => readers.push(Reader::new(bench)),
        Step::Read { reader, most } => {
            if let Some(at) = reader.checked_rem(readers.len()) {
                readers[at].read(bench, most);
            }
        }
    }
}

/// A reader that looks up the paths of what it is told of.
struct Reader {
    cursor: Cursor,
    known: BTreeMap<Ipv4Net, Vec<PathView>>,
}

impl Reader {
    fn new(bench: &Bench) -> Self {
        Self {
            cursor: bench.speaker.rib_feed().subscribe(),
            known: BTreeMap::new(),
        }
    }

    fn read(&mut self, bench: &Bench, most: usize) -> usize {
        let mut count = 0;
        while count < most
            && let Some(news) = bench.speaker.rib_feed().next(&mut self.cursor)
        {
            count += 1;
            match news {
                News::Resync => self.known.clear(),
                News::Complete { .. } => {}
                News::Changed { key, .. } => {
                    let paths = bench.speaker.paths(key);
                    if paths.is_empty() {
                        self.known.remove(&key);
                    } else {
                        self.known.insert(key, paths);
                    }
                }
            }
        }
        count
    }
}
