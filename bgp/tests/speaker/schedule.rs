//! Whatever order connections, bytes, deadlines and changes come in: the driver never gets an order that it cannot
//! carry out, nothing grows without bound, no route outlives its session but as a stale one and for its time, no deadline
//! is forgotten, who listens knows what it is to know, and in the end a peer that behaves has its session.
//!
//! Each schedule meets two speakers: a plain one, and one that grants graceful restart (RFC 4724) and has just restarted.
//!
//! The input is a list of steps: a kind, an argument, and for some kinds more bytes. The fuzz target `bgp_schedule`
//! searches for inputs that break this; `fuzzed.rs` replays its seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use sam_bgp::session::SessionState;
use sam_bgp::speaker::{
    GracefulRestartConfig, OwnRestart, PeerConfig, PeerRole, PeerView, SpeakerConfig,
};
use sam_bgp::wire::{
    Capability, DecodeContext, GracefulRestart, Message, Notification, Open, RestartFamily,
    RouteRefresh, Update, frame,
};
use sam_bgp::{ConnectionId, Input, Output, Speaker};

use crate::vocabulary::{
    AS, Rules, millis, numbered, peer, peer_config, prefix, route, router, seconds, speaker_config,
    start,
};

/// Steps of one input that are carried out; more would only be slow.
const STEPS: usize = 96;
/// Outputs of one step at most, and the bytes in them.
const OUTPUTS_MAX: usize = 256;
const BYTES_MAX: usize = 65_536;
/// Connections at most: of each of three peers one established, one on its way up in each direction.
const WIRES_MAX: usize = 9;
/// Routes that are accepted from a peer.
const MAX_PREFIXES: usize = 8;

/// Carries out the steps that `data` stands for.
///
/// # Panics
/// When the speaker breaks a promise.
pub(crate) fn check(data: &[u8]) {
    carry_out(Run::new(None), data);
    carry_out(Run::new(Some(RESTART)), data);
}

fn carry_out(mut run: Run, data: &[u8]) {
    let mut input = data;
    for _ in 0..STEPS {
        let Some(([kind, argument], rest)) = input.split_first_chunk() else {
            break;
        };
        input = rest;
        run.step(*kind, *argument, &mut input);
        run.check();
    }
    run.aftermath();
}

/// Graceful restart as one of the speakers grants it.
const RESTART: GracefulRestartConfig = GracefulRestartConfig {
    restart_time: Duration::from_secs(5),
    deferral_time: Duration::from_secs(3),
};

/// A connection as its driver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wire {
    host: u8,
    up: bool,
    /// Whether much waits to be written.
    congested: bool,
}

struct Run {
    speaker: Speaker<Rules>,
    now: Instant,
    /// What is originated.
    own: BTreeSet<Ipv4Net>,
    /// Next hops that do not answer.
    silent: BTreeSet<Ipv4Addr>,
    wires: BTreeMap<ConnectionId, Wire>,
    next_accepted: u64,
}

impl Run {
    fn new(graceful_restart: Option<GracefulRestartConfig>) -> Self {
        let now = start();
        let config = SpeakerConfig {
            graceful_restart,
            ..speaker_config(1)
        };
        let mut run = Self {
            speaker: Speaker::new(config, Rules::default(), 1, now),
            now,
            own: BTreeSet::new(),
            silent: BTreeSet::new(),
            wires: BTreeMap::new(),
            next_accepted: 2,
        };
        run.speaker
            .set_next_hops((0..=255).map(router).collect(), now);
        let restart = OwnRestart {
            awaited: [2, 3].map(peer).into(),
            forwarding: true,
        };
        run.speaker.begin_restart(restart, now);
        run.speaker.set_peers(peers(), now);
        run.drain();
        run
    }

    fn step(&mut self, kind: u8, argument: u8, input: &mut &[u8]) {
        match kind % 18 {
            0 | 1 => drop(self.accept(2 + argument % 3)),
            2 => self.on_wire(argument, |wire| !wire.up, Input::Connected),
            3 => self.on_wire(argument, |_| true, Input::Closed),
            4 => self.on_wire(argument, |wire| wire.up, Input::Stalled),
            5..=9 => self.say(argument, |_| {}),
            10 => {
                let (at, value) = (take(input, 1), take(input, 1));
                self.say(argument, |message| spoil(message, at, value));
            }
            11 => {
                let bytes = take(input, argument.into());
                self.on_wire(argument, |wire| wire.up, |id| Input::Received(id, bytes));
            }
            12 => self.pass(u64::from(argument) * u64::from(argument)),
            13 => {
                if let Some((at, _)) = self.speaker.poll_timeout() {
                    self.now = self.now.max(at);
                    self.speaker.handle_timeout(self.now);
                    self.drain();
                }
            }
            14 => self.change(argument),
            15 => self.late_event(argument),
            16 if argument & 1 == 0 => {
                self.on_wire(argument >> 1, |wire| wire.up, Input::Congested);
            }
            16 => self.on_wire(argument >> 1, |wire| wire.congested, Input::Relieved),
            _ => self.notice(argument),
        }
    }

    fn accept(&mut self, host: u8) -> ConnectionId {
        let connection = ConnectionId(self.next_accepted);
        self.next_accepted += 2;
        self.wires.insert(connection, Wire::up(host));
        self.input(Input::Accepted {
            connection,
            from: router(host),
        });
        connection
    }

    /// Has something happen to one of the connections for which that is possible.
    fn on_wire<'a>(
        &mut self,
        argument: u8,
        possible: impl Fn(&Wire) -> bool,
        event: impl Fn(ConnectionId) -> Input<'a>,
    ) {
        let Some(id) = self.nth(argument, possible) else {
            return;
        };
        let input = event(id);
        match input {
            Input::Connected(id) => {
                self.wires.entry(id).and_modify(|wire| wire.up = true);
            }
            Input::Closed(id) | Input::Stalled(id) => {
                self.wires.remove(&id);
            }
            Input::Congested(id) | Input::Relieved(id) => {
                let congested = matches!(input, Input::Congested(_));
                self.wires
                    .entry(id)
                    .and_modify(|wire| wire.congested = congested);
            }
            Input::Accepted { .. } | Input::Received(..) => {}
        }
        self.input(input);
    }

    /// Has the far end of a connection say something, after a change to it.
    fn say(&mut self, argument: u8, change: impl Fn(&mut [u8])) {
        if let Some(id) = self.nth(argument & 7, |wire| wire.up) {
            let mut message = message(argument >> 3, self.wires[&id].host);
            change(&mut message);
            self.input(Input::Received(id, &message));
        }
    }

    fn nth(&self, argument: u8, possible: impl Fn(&Wire) -> bool) -> Option<ConnectionId> {
        let wires = self.wires.iter().filter(|(_, wire)| possible(wire));
        let ids: Vec<ConnectionId> = wires.map(|(id, _)| *id).collect();
        ids.get(usize::from(argument) % ids.len().max(1)).copied()
    }

    fn change(&mut self, argument: u8) {
        let (number, now) = (argument >> 4, self.now);
        let speaker = &mut self.speaker;
        match argument % 6 {
            0 => {
                self.own.insert(prefix(number % 4));
                speaker.originate(prefix(number % 4), route(1, 100 + u32::from(number)), now);
            }
            1 => {
                self.own.remove(&prefix(number % 4));
                speaker.withdraw(prefix(number % 4), now);
            }
            2 => speaker.set_next_hops(BTreeSet::from([router(2 + number % 3)]), now),
            3 => {
                let rules = Rules {
                    refuse: vec![prefix(number)],
                    ..Rules::default()
                };
                speaker.set_policy(rules, now);
            }
            4 => {
                let kept = peers()
                    .into_iter()
                    .filter(|peer| peer.id.0 != u32::from(2 + number % 4));
                speaker.set_peers(kept.collect(), now);
            }
            _ => {
                let hold_time = seconds(3 + u64::from(number));
                speaker.set_peers(
                    peers()
                        .into_iter()
                        .map(|peer| PeerConfig { hold_time, ..peer })
                        .collect(),
                    now,
                );
            }
        }
        self.drain();
    }

    /// Has something else than BGP know of other routers.
    fn notice(&mut self, argument: u8) {
        let hosts = (2..5).filter(|host| argument >> host & 1 == 1);
        let now = self.now;
        match argument % 4 {
            0 => {
                self.silent = hosts.map(router).collect();
                self.speaker.set_silent_next_hops(self.silent.clone(), now);
            }
            1 => self
                .speaker
                .set_unsteady_next_hops(hosts.map(router).collect(), now),
            2 => self.speaker.await_no_more(&hosts.map(peer).collect(), now),
            _ => hosts.for_each(|host| self.speaker.handle_path_down(peer(host), now)),
        }
        self.drain();
    }

    /// What comes from a connection that is closed already changes nothing.
    fn late_event(&mut self, argument: u8) {
        let id = ConnectionId(argument.into());
        if self.wires.contains_key(&id) || id.0 >= self.next_accepted && id.0.is_multiple_of(2) {
            return;
        }
        let before = self.speaker.poll_timeout();
        self.speaker
            .handle_input(Input::Received(id, &message(6, 2)), self.now);
        self.speaker.handle_input(Input::Closed(id), self.now);
        assert!(self.speaker.poll_output().is_none());
        assert_eq!(self.speaker.poll_timeout(), before);
    }

    fn pass(&mut self, duration_ms: u64) {
        let until = self.now + millis(duration_ms);
        for round in 0.. {
            assert!(round < 2000, "a deadline that is not met");
            let Some((at, _)) = self.speaker.poll_timeout().filter(|(at, _)| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn input(&mut self, input: Input<'_>) {
        self.speaker.handle_input(input, self.now);
        self.drain();
    }

    /// Carries out all orders; each must be possible.
    fn drain(&mut self) {
        let (mut outputs, mut sent) = (0, 0);
        while let Some(output) = self.speaker.poll_output() {
            outputs += 1;
            match output {
                Output::Connect {
                    connection,
                    address,
                } => {
                    assert!(!connection.0.is_multiple_of(2), "{connection:?}");
                    let wire = Wire {
                        up: false,
                        ..Wire::up(address.octets()[3])
                    };
                    assert_eq!(self.wires.insert(connection, wire), None);
                }
                Output::Send(connection, bytes) => {
                    assert!(
                        self.wires.get(&connection).is_some_and(|wire| wire.up),
                        "{connection:?}"
                    );
                    sent += bytes.len();
                    all_whole(&bytes);
                }
                Output::Close(connection) => {
                    assert!(self.wires.remove(&connection).is_some(), "{connection:?}");
                }
                Output::BestPath(_) | Output::Event(_) => {}
            }
        }
        assert!(outputs <= OUTPUTS_MAX, "{outputs} outputs");
        assert!(sent <= BYTES_MAX, "{sent} bytes");
    }

    fn check(&self) {
        assert!(self.wires.len() <= WIRES_MAX, "{:?}", self.wires);
        let views = self.speaker.peers();
        let established = |view: &&PeerView| view.state == SessionState::Established;
        let alive: BTreeSet<_> = views
            .iter()
            .filter(established)
            .map(|view| view.id)
            .collect();
        for view in views.iter().filter(established) {
            let mut wires = self.wires.values().filter(|wire| wire.up);
            assert!(wires.any(|wire| peer(wire.host) == view.id), "{view:?}");
        }
        let remembered: BTreeSet<_> = views
            .iter()
            .filter(|view| view.ipv4.stale_until.is_some())
            .map(|view| view.id)
            .collect();
        let mut paths = 0;
        for prefix in self.speaker.prefixes() {
            for view in self.speaker.paths(prefix) {
                paths += 1;
                let Some(source) = view.path.source.peer() else {
                    continue;
                };
                let rightful = if view.path.stale {
                    remembered.contains(&source)
                } else {
                    alive.contains(&source)
                };
                assert!(rightful, "{prefix} from {source:?}");
                let relied_on = view.best && view.path.stale;
                assert!(!relied_on || !self.silent.contains(&view.path.attributes.next_hop));
            }
        }
        for view in &views {
            assert!(view.ipv4.accepted <= MAX_PREFIXES, "{view:?}");
            let latest = self.now + RESTART.restart_time;
            let timely = |until| until > self.now && until <= latest;
            assert!(view.ipv4.stale_until.is_none_or(timely), "{view:?}");
            if alive.contains(&view.id) {
                self.check_listener(view, paths);
            } else {
                assert_eq!(view.ipv4.advertised, 0, "{view:?}");
                let kept = view.ipv4.received > 0;
                assert!(!kept || remembered.contains(&view.id), "{view:?}");
            }
        }
        let restarting = self.speaker.restarting();
        assert!(restarting.is_none_or(|restart| restart.until > self.now));
        let next = self.speaker.poll_timeout().map(|(at, _)| at);
        let planned = next.is_some_and(|at| at <= self.now + seconds(120));
        assert!(
            planned || next.is_none() && self.wires.is_empty(),
            "{next:?}"
        );
    }

    /// A peer that takes what it is told knows each of all `paths`, or there is a reason; during our restart none of others.
    fn check_listener(&self, view: &PeerView, paths: usize) {
        let mut wires = self.wires.values();
        if wires.any(|wire| wire.congested && peer(wire.host) == view.id) {
            return;
        }
        let advertised = self.speaker.advertised(view.id);
        let withheld = self.speaker.withheld(view.id);
        assert_eq!(advertised.len() + withheld.len(), paths, "{view:?}");
        if self.speaker.restarting().is_some() {
            let mut told = advertised.iter();
            assert!(told.all(|(route, _)| self.own.contains(&route.prefix)));
        }
    }

    /// Silence ends all sessions; then a peer that behaves gets its own, and the shutdown ends everything.
    fn aftermath(&mut self) {
        self.speaker.set_policy(Rules::default(), self.now);
        self.speaker
            .set_next_hops((0..=255).map(router).collect(), self.now);
        self.speaker.set_peers(peers(), self.now);
        self.drain();
        self.pass(200_000);
        let learned = |view: &PeerView| view.ipv4.received > 0;
        assert!(!self.speaker.peers().iter().any(learned), "nothing is kept");
        assert_eq!(self.speaker.restarting(), None);
        assert_eq!(
            self.wires.values().filter(|wire| wire.up).count(),
            0,
            "{:?}",
            self.wires
        );

        let connection = self.accept(2);
        for kind in [0, 6, 2] {
            self.input(Input::Received(connection, &message(kind, 2)));
        }
        let views = self.speaker.peers();
        let view = views
            .iter()
            .find(|view| view.id == peer(2))
            .expect("configured");
        assert_eq!(
            (view.state, view.ipv4.accepted),
            (SessionState::Established, 2)
        );
        self.check();

        self.speaker.shutdown("", self.now);
        self.drain();
        assert_eq!(self.wires, BTreeMap::new());
        assert_eq!(self.speaker.poll_timeout(), None);
    }
}

impl Wire {
    fn up(host: u8) -> Self {
        Self {
            host,
            up: true,
            congested: false,
        }
    }
}

/// Peer 2 is dialed, a client; 3 is waited for; 4 is no peer.
fn peers() -> Vec<PeerConfig> {
    let limited = |host| PeerConfig {
        max_prefixes: MAX_PREFIXES,
        ..peer_config(host)
    };
    let client = PeerConfig {
        role: PeerRole::Client,
        ..limited(2)
    };
    let passive = PeerConfig {
        active: false,
        ..limited(3)
    };
    vec![client, passive]
}

/// Message `kind` of a peer.
fn message(kind: u8, host: u8) -> Vec<u8> {
    let message = match kind % 16 {
        0 => Message::Open(open(router(host), 9, true)),
        1 => Message::Open(open(router(host), 3, false)),
        2 => announcement(&[1, 2], host),
        3 => announcement(&[2, 3], host),
        4 => Message::Update(Update {
            withdrawn: vec![prefix(1).into()],
            ..Update::default()
        }),
        5 => Message::RouteRefresh(RouteRefresh {
            afi: 1,
            subtype: if kind < 16 {
                RouteRefresh::REQUEST
            } else {
                RouteRefresh::BEGIN
            },
            safi: 1,
        }),
        6 if kind >= 16 => Message::RouteRefresh(RouteRefresh {
            afi: 1,
            subtype: RouteRefresh::END,
            safi: 1,
        }),
        7 => Message::Notification(Notification::new(6, 4)),
        8 => Message::Update(Update::default()),
        9 => Message::Open(open(router(9), 9, true)),
        10 => Message::Open(open(router(1), 0, true)),
        11 => Message::Update(Update {
            announced: (0..20).map(|number| numbered(number).into()).collect(),
            attributes: Some(route(host, 200)),
            ..Update::default()
        }),
        12 => Message::Open(restartable(router(host), false)),
        13 => Message::Open(restartable(router(host), true)),
        14 => Message::Notification(Notification::new(6, 2).hard_reset()),
        _ => Message::Keepalive,
    };
    message.encode(CONTEXT)
}

fn announcement(prefixes: &[u8], host: u8) -> Message {
    Message::Update(Update {
        announced: prefixes.iter().map(|host| prefix(*host).into()).collect(),
        attributes: Some(route(host, 100)),
        ..Update::default()
    })
}

fn open(router_id: Ipv4Addr, hold_time_s: u16, capable: bool) -> Open {
    let capabilities = vec![
        Capability::Multiprotocol { afi: 1, safi: 1 },
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::FourOctetAs(AS),
    ];
    Open {
        asn: u16::try_from(AS).expect("a two-octet AS"),
        hold_time_s,
        router_id,
        capabilities: if capable { capabilities } else { Vec::new() },
    }
}

/// The OPEN of a peer that restarts gracefully, or has just done so.
fn restartable(router_id: Ipv4Addr, restarted: bool) -> Open {
    let mut open = open(router_id, 9, true);
    open.capabilities
        .push(Capability::GracefulRestart(GracefulRestart {
            restarted,
            notification: true,
            restart_time_s: 4,
            families: vec![RestartFamily {
                afi: 1,
                safi: 1,
                forwarding: true,
            }],
        }));
    open
}

fn spoil(message: &mut [u8], at: &[u8], value: &[u8]) {
    if let ([at], [value]) = (at, value) {
        let at = usize::from(*at) % message.len();
        message[at] ^= value;
    }
}

/// Takes up to `len` bytes of the input.
fn take<'a>(input: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    taken
}

/// Only whole messages are sent.
fn all_whole(mut bytes: &[u8]) {
    while let Some(len) = frame(bytes, CONTEXT).expect("a good header") {
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "half a message");
}

const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};
