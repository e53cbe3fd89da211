//! Whatever happens, the speaker knows and tells what the naive model does, after every single step.
//!
//! Router 1 reflects for clients 2 and 3; 4 and 5 are no clients. All of them restart gracefully (RFC 4724), or none does. What a peer knows is computed from the bytes that it
//! received, so the encoder and every withdrawal count too.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use proptest::sample::Index;
use sam_bgp::session::SessionState;
use sam_bgp::speaker::{GracefulRestartConfig, PeerConfig, PeerRole, SpeakerConfig};
use sam_bgp::wire::{
    AsPathSegment, Capability, GracefulRestart, HEADER_LEN, Message, Nlri, Notification, Open,
    Origin, RestartFamily, RouteRefresh, Update,
};
use sam_bgp::{ConnectionId, Input, PathAttributes, Speaker};

use crate::bench::{Bench, CONTEXT, Outcome, announcement};
use crate::model::{Model, Routes};
use crate::vocabulary::{
    Rules, peer, peer_config, prefix, route, router, seconds, speaker_config, start,
};

/// One step. Hosts are peers, prefixes are numbered 0 to 2.
#[derive(Debug, Clone)]
enum Step {
    Up(u8),
    Down(u8),
    Say(u8, Saying),
    Change(Change),
}

/// What a peer says.
#[derive(Debug, Clone)]
enum Saying {
    Announce(Vec<u8>, Box<PathAttributes>),
    /// An UPDATE whose ORIGIN is malformed: treat-as-withdraw.
    Spoiled(u8),
    /// An UPDATE with some bits inverted behind its header.
    Damaged(Vec<u8>, Box<PathAttributes>, Index, u8),
    Withdraw(u8),
    Refresh,
    EndOfRib,
}

/// What is changed here.
#[derive(Debug, Clone)]
enum Change {
    Originate(u8, Box<PathAttributes>),
    Withdraw(u8),
    NextHops(u8),
    Policy {
        refuse: u8,
        prefer: u8,
        hide: u8,
        mark: u8,
    },
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_speaker_knows_and_tells_what_the_model_does(
        graceful in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new(graceful);
        for step in steps {
            run.take(step);
            run.compare();
        }
        run.end();
    }
}

/// Longer than any run takes.
const RESTART_SECONDS: u16 = 4095;

struct Run {
    bench: Bench,
    model: Model,
    graceful: bool,
    connections: BTreeMap<u8, ConnectionId>,
    /// What each peer with a session knows from us.
    known: BTreeMap<u8, Routes>,
}

impl Run {
    fn new(graceful: bool) -> Self {
        let roles = [
            (2, PeerRole::Client),
            (3, PeerRole::Client),
            (4, PeerRole::NonClient),
            (5, PeerRole::NonClient),
        ];
        let peers = roles.map(|(host, role)| PeerConfig {
            role,
            active: false,
            ..peer_config(host)
        });
        let config = SpeakerConfig {
            graceful_restart: graceful.then_some(GracefulRestartConfig {
                restart_time: seconds(RESTART_SECONDS.into()),
                deferral_time: seconds(20),
            }),
            ..speaker_config(1)
        };
        let speaker = Speaker::new(config, Rules::default(), 1, start());
        let (bench, _) = Bench::with_speaker(speaker, peers.into());
        let model = Model {
            roles: roles.into(),
            heard: BTreeMap::new(),
            stale: BTreeSet::new(),
            complete: BTreeSet::new(),
            own: Routes::new(),
            rules: Rules::default(),
            reachable: (0..=255).map(router).collect(),
        };
        Self {
            bench,
            model,
            graceful,
            connections: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Up(host) => self.up(host),
            Step::Down(host) => self.down(host),
            Step::Say(from, saying) => self.say(from, saying),
            Step::Change(change) => self.change(change),
        }
        let outcome = self.bench.drain();
        self.note(&outcome);
    }

    fn say(&mut self, from: u8, saying: Saying) {
        match saying {
            Saying::Announce(numbers, attributes) => {
                let prefixes: Vec<Ipv4Net> = numbers.into_iter().map(prefix).collect();
                let message = announcement(&prefixes, (*attributes).clone()).encode(CONTEXT);
                self.hear(from, &message, |heard| {
                    heard.extend(
                        prefixes
                            .iter()
                            .map(|prefix| (*prefix, (*attributes).clone())),
                    );
                });
            }
            Saying::Spoiled(number) => {
                let mut message = announcement(&[prefix(number)], route(from, 100)).encode(CONTEXT);
                assert_eq!(message[23..27], [0x40, 1, 1, 0], "ORIGIN comes first");
                message[26] = 7;
                self.hear(from, &message, |heard| drop(heard.remove(&prefix(number))));
            }
            Saying::Damaged(numbers, attributes, at, bits) => {
                let prefixes: Vec<Ipv4Net> = numbers.into_iter().map(prefix).collect();
                let mut message = announcement(&prefixes, *attributes).encode(CONTEXT);
                let at = HEADER_LEN + at.index(message.len() - HEADER_LEN);
                message[at] ^= bits;
                self.hear_damaged(from, &message);
            }
            Saying::Withdraw(number) => {
                let withdrawn = vec![prefix(number).into()];
                let message = Message::Update(Update {
                    withdrawn,
                    ..Update::default()
                });
                self.hear(from, &message.encode(CONTEXT), |heard| {
                    drop(heard.remove(&prefix(number)))
                });
            }
            Saying::EndOfRib => self.end_of_rib(from),
            Saying::Refresh => {
                let refresh = RouteRefresh {
                    afi: 1,
                    subtype: 0,
                    safi: 1,
                };
                self.hear(
                    from,
                    &Message::RouteRefresh(refresh).encode(CONTEXT),
                    |_| {},
                );
            }
        }
    }

    /// Changes speaker and model alike.
    fn change(&mut self, change: Change) {
        let (Bench { speaker, now, .. }, model) = (&mut self.bench, &mut self.model);
        match change {
            Change::Originate(number, attributes) => {
                model.own.insert(prefix(number), (*attributes).clone());
                speaker.originate(prefix(number), *attributes, *now);
            }
            Change::Withdraw(number) => {
                model.own.remove(&prefix(number));
                speaker.withdraw(prefix(number), *now);
            }
            Change::NextHops(bits) => {
                model.reachable = chosen(bits, 2..6).map(router).collect();
                speaker.set_next_hops(model.reachable.clone(), *now);
            }
            Change::Policy {
                refuse,
                prefer,
                hide,
                mark,
            } => {
                let prefixes = |bits| chosen(bits, 0..3).map(prefix).collect();
                model.rules = Rules {
                    refuse: prefixes(refuse),
                    distrust: chosen(refuse >> 4, 2..6).map(peer).collect(),
                    prefer: prefixes(prefer),
                    hide: prefixes(hide),
                    mark: prefixes(mark),
                };
                speaker.set_policy(model.rules.clone(), *now);
            }
        }
    }

    fn up(&mut self, host: u8) {
        if self.connections.contains_key(&host) {
            return;
        }
        self.sit_out_idle_hold(host);
        let (connection, _) = self.bench.accept(router(host));
        self.bench.send(connection, &Message::Open(self.open(host)));
        self.connections.insert(host, connection);
        self.model.heard.entry(host).or_default();
        self.known.insert(host, Routes::new());
        let outcome = self.bench.send(connection, &Message::Keepalive);
        self.note(&outcome);
    }

    fn down(&mut self, host: u8) {
        if let Some(connection) = self.connections.remove(&host) {
            self.forget(host);
            let outcome = self.bench.input(Input::Closed(connection));
            self.note(&outcome);
        }
    }

    /// The session with a peer ended.
    fn forget(&mut self, host: u8) {
        self.known.remove(&host);
        if self.graceful {
            self.model.remember(host);
        } else {
            self.model.complete.remove(&host);
            self.model.heard.remove(&host);
        }
    }

    fn open(&self, host: u8) -> Open {
        let mut open = crate::bench::open(router(host));
        open.capabilities.extend(self.graceful.then(|| {
            Capability::GracefulRestart(GracefulRestart {
                restarted: false,
                notification: true,
                restart_time_s: RESTART_SECONDS,
                families: vec![RestartFamily {
                    afi: 1,
                    safi: 1,
                    forwarding: true,
                }],
            })
        }));
        open
    }

    fn end_of_rib(&mut self, from: u8) {
        if self.connections.contains_key(&from) {
            self.model.end_of_rib(from);
        }
        let message = Message::Update(Update::default()).encode(CONTEXT);
        self.hear(from, &message, |_| {});
    }

    /// Has a peer say something, if it has a session. What `effect` leaves as it was said before is told again where it was
    /// said by `message`, and so not stale any more.
    fn hear(&mut self, from: u8, message: &[u8], effect: impl FnOnce(&mut Routes)) {
        if let Some(connection) = self.connections.get(&from) {
            let routes = self.model.heard.get_mut(&from);
            let routes = routes.expect("a table for each session");
            effect(routes);
            let said = told_by(message);
            self.model.stale.retain(|(peer, prefix)| {
                *peer != from || routes.contains_key(prefix) && !said.contains(prefix)
            });
            let outcome = self.bench.receive(*connection, message);
            self.note(&outcome);
        }
    }

    /// Has a peer say what may be malformed: it means what the decoder says, or the end of the session.
    fn hear_damaged(&mut self, from: u8, message: &[u8]) {
        match Message::decode(message, CONTEXT) {
            Ok(Message::Update(update)) if update.is_end_of_rib() && update.faults.is_empty() => {
                self.end_of_rib(from);
            }
            Ok(Message::Update(update)) => self.hear(from, message, |heard| {
                heard.retain(|prefix, _| !update.withdrawn.contains(&(*prefix).into()));
                let attributes = update.attributes.clone();
                heard.extend(
                    update
                        .announced
                        .iter()
                        .map(|it| (it.prefix, attributes.clone().expect("attributes"))),
                );
            }),
            Ok(other) => unreachable!("the header stayed as it was: {other:?}"),
            Err(error) => {
                let Some(connection) = self.connections.remove(&from) else {
                    return;
                };
                self.forget(from);
                let mut outcome = self.bench.receive(connection, message);
                let Notification { code, subcode, .. } = error.notification;
                assert_eq!(outcome.notifications(connection), [(code, subcode)]);
                assert_eq!(std::mem::take(&mut outcome.closed), [connection]);
                self.note(&outcome);
            }
        }
    }

    /// Lets the time pass for which a peer is held off after an error, while all others stay.
    fn sit_out_idle_hold(&mut self, host: u8) {
        while self.bench.view(host).state == SessionState::Idle {
            let outcome = self.bench.pass(seconds(1));
            self.note(&outcome);
            for connection in self.connections.values().copied().collect::<Vec<_>>() {
                let outcome = self.bench.send(connection, &Message::Keepalive);
                self.note(&outcome);
            }
        }
    }

    /// Has the peers hear what was sent to them.
    fn note(&mut self, outcome: &Outcome) {
        for (host, connection) in &self.connections {
            let known = self.known.get_mut(host).expect("a table for each session");
            for update in outcome.updates(*connection) {
                assert_eq!(update.faults, []);
                update
                    .withdrawn
                    .iter()
                    .for_each(|route| drop(known.remove(&route.prefix)));
                for route in &update.announced {
                    known.insert(route.prefix, update.attributes.clone().expect("attributes"));
                }
            }
        }
        assert_eq!(outcome.closed, [], "no session ends by itself");
    }

    fn compare(&self) {
        let speaker = &self.bench.speaker;
        assert_eq!(speaker.prefixes(), self.model.prefixes());
        for prefix in [0, 1, 2].map(prefix) {
            let best = speaker
                .best(prefix)
                .map(|path| (path.source.peer(), (*path.attributes).clone(), path.stale));
            let expected = self
                .model
                .best(prefix)
                .map(|it| (it.from.map(peer), it.attributes, it.stale));
            assert_eq!(best, expected, "{prefix}");
        }
        for (host, known) in &self.known {
            let expected = self.model.told(*host);
            assert_eq!(*known, expected, "what {host} knows");
            let advertised = speaker.advertised(peer(*host)).into_iter();
            let advertised: Routes = advertised.map(|(route, it)| (route.prefix, it)).collect();
            let paths = speaker.prefixes().into_iter();
            let paths: usize = paths.map(|prefix| speaker.paths(prefix).len()).sum();
            let withheld = speaker.withheld(peer(*host)).len();
            let all = advertised.len() + withheld;
            assert_eq!(all, paths, "each path is told to {host} or has a reason");
            assert_eq!(advertised, expected, "what {host} was told");
        }
    }

    /// When everything is withdrawn, nothing is left.
    fn end(mut self) {
        for number in 0..3 {
            self.take(Step::Change(Change::Withdraw(number)));
        }
        for host in 2..6 {
            self.up(host);
        }
        for (from, routes) in self.model.heard.clone() {
            let withdrawn = routes.into_keys().map(Nlri::from).collect();
            let message = Message::Update(Update {
                withdrawn,
                ..Update::default()
            });
            self.hear(from, &message.encode(CONTEXT), BTreeMap::clear);
        }
        self.compare();
        assert_eq!(self.bench.speaker.prefixes(), []);
        for view in self.bench.speaker.peers() {
            assert_eq!(
                (view.ipv4.received, view.ipv4.accepted, view.ipv4.advertised),
                (0, 0, 0)
            );
        }
        assert!(self.known.values().all(BTreeMap::is_empty));
    }
}

/// The prefixes that a message announces.
fn told_by(message: &[u8]) -> Vec<Ipv4Net> {
    match Message::decode(message, CONTEXT) {
        Ok(Message::Update(update)) => update.announced.iter().map(|it| it.prefix).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let host = || 2..6_u8;
    prop_oneof![
        8 => host().prop_map(Step::Up),
        2 => host().prop_map(Step::Down),
        18 => (host(), saying()).prop_map(|(from, saying)| Step::Say(from, saying)),
        7 => change().prop_map(Step::Change),
    ]
}

fn saying() -> impl Strategy<Value = Saying> {
    let numbers = || proptest::sample::subsequence(vec![0, 1, 2], 1..3);
    prop_oneof![
        12 => (numbers(), attributes()).prop_map(|(numbers, attributes)| Saying::Announce(numbers, attributes)),
        1 => (0..3_u8).prop_map(Saying::Spoiled),
        3 => (numbers(), attributes(), any::<Index>(), 1..=255_u8)
            .prop_map(|(numbers, attributes, at, bits)| Saying::Damaged(numbers, attributes, at, bits)),
        4 => (0..3_u8).prop_map(Saying::Withdraw),
        1 => Just(Saying::Refresh),
        4 => Just(Saying::EndOfRib),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let bits = || prop_oneof![Just(0), any::<u8>()];
    prop_oneof![
        2 => (0..3_u8, attributes()).prop_map(|(number, attributes)| Change::Originate(number, attributes)),
        1 => (0..3_u8).prop_map(Change::Withdraw),
        2 => any::<u8>().prop_map(Change::NextHops),
        2 => (bits(), bits(), bits(), bits())
            .prop_map(|(refuse, prefer, hide, mark)| Change::Policy { refuse, prefer, hide, mark }),
    ]
}

/// Few values of each attribute, so that every step of the decision gets its turn.
fn attributes() -> impl Strategy<Value = Box<PathAttributes>> {
    let reflector = || proptest::option::weighted(0.3, (1..8_u8).prop_map(router));
    let decisive = (
        2..6_u8,
        proptest::option::of(99..102_u32),
        proptest::collection::vec(1..3_u32, 0..3),
        0..3_u8,
        proptest::option::of(0..2_u32),
    );
    (
        decisive,
        reflector(),
        proptest::collection::vec((1..10_u8).prop_map(router), 0..3),
    )
        .prop_map(
            |((next_hop, local_pref, path, origin, med), originator_id, cluster_list)| {
                Box::new(PathAttributes {
                    local_pref,
                    as_path: (!path.is_empty())
                        .then_some(AsPathSegment(path))
                        .into_iter()
                        .collect(),
                    origin: [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(origin)],
                    med,
                    originator_id,
                    cluster_list,
                    ..PathAttributes::local(router(next_hop))
                })
            },
        )
}

/// The numbers of a range whose bit is set, counted from the start of the range.
fn chosen(bits: u8, range: std::ops::Range<u8>) -> impl Iterator<Item = u8> {
    range
        .enumerate()
        .filter(move |(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, number)| number)
}
