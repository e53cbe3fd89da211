//! Speakers, joined by connections of equal latency, on a virtual clock.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::wire::{DecodeContext, Message, frame};
use sam_bgp::{
    AddPathDirection, ConnectionId, GracefulRestartConfig, Input, Output, OwnRestart,
    PathAttributes, PeerConfig, PeerId, PeerRole, Policy, Prefix, Rejection, Speaker,
    SpeakerConfig,
};

/// Nodes 0 and 1.
pub(crate) const REFLECTORS: usize = 2;
/// One way.
const LATENCY: Duration = Duration::from_millis(5);

/// What was counted since the last time.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) updates: usize,
    pub(crate) announced: usize,
    pub(crate) withdrawn: usize,
    pub(crate) moved: usize,
    pub(crate) last_change: Option<Instant>,
}

pub(crate) struct World {
    now: Instant,
    nodes: Vec<Option<Speaker<Everything>>>,
    addresses: usize,
    witnesses: usize,
    graceful_restart: Option<GracefulRestartConfig>,
    /// The other end of each end of a connection.
    ends: BTreeMap<(usize, ConnectionId), (usize, ConnectionId)>,
    /// Nodes that ended unheard.
    silent: BTreeSet<usize>,
    next_connection: Vec<u64>,
    arrivals: BinaryHeap<Reverse<(Instant, u64)>>,
    contents: BTreeMap<u64, (usize, Arrival)>,
    sequence: u64,
    timers: BTreeSet<(Instant, usize)>,
    timer_of: Vec<Option<Instant>>,
    counts: Counts,
}

enum Arrival {
    Accepted(ConnectionId, Ipv4Addr),
    Connected(ConnectionId),
    Received(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
}

/// Takes and gives everything.
struct Everything;

impl<N: Prefix> Policy<N> for Everything {
    fn import(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }

    fn export(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0001 + u32::try_from(node).expect("few nodes"))
}

fn node_of(address: Ipv4Addr) -> usize {
    (u32::from(address) - 0x0a00_0001) as usize
}

impl World {
    pub(crate) fn new(routers: usize, addresses: usize, witnesses: usize) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests need one moment to count from"
        )]
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let nodes = routers + REFLECTORS;
        Self {
            now: *START,
            nodes: (0..nodes).map(|_| None).collect(),
            addresses,
            witnesses,
            graceful_restart: None,
            ends: BTreeMap::new(),
            silent: BTreeSet::new(),
            next_connection: vec![0; nodes],
            arrivals: BinaryHeap::new(),
            contents: BTreeMap::new(),
            sequence: 0,
            timers: BTreeSet::new(),
            timer_of: vec![None; nodes],
            counts: Counts::default(),
        }
    }

    /// The same with graceful restart (RFC 4724).
    pub(crate) fn graceful(routers: usize, addresses: usize, witnesses: usize) -> Self {
        Self {
            graceful_restart: Some(GracefulRestartConfig {
                restart_time: Duration::from_secs(120),
                deferral_time: Duration::from_secs(20),
            }),
            ..Self::new(routers, addresses, witnesses)
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Every reflector and every witness knows so many routes.
    pub(crate) fn check(&self, routes: usize) {
        let watching = self.nodes.iter().take(REFLECTORS + self.witnesses);
        for (node, speaker) in watching.enumerate() {
            if let Some(speaker) = speaker {
                assert_eq!(speaker.prefixes().len(), routes, "node {node}");
            }
        }
    }

    /// Starts a node without memory.
    pub(crate) fn start(&mut self, node: usize) {
        self.launch(node, BTreeSet::new());
    }

    /// Starts a node that remembers whom it had sessions with, and forwards nothing.
    pub(crate) fn restart(&mut self, node: usize) {
        let peers = self.peers(node).into_iter();
        self.launch(node, peers.map(|peer| peer.id).collect());
    }

    fn launch(&mut self, node: usize, awaited: BTreeSet<PeerId>) {
        self.silent.remove(&node);
        let own = address(node);
        let config = SpeakerConfig {
            asn: 64_512,
            router_id: own,
            cluster_id: own,
            hostname: format!("node-{node}"),
            graceful_restart: self.graceful_restart,
        };
        let seed = node as u64;
        let mut speaker = Speaker::new(config, Everything, seed, self.now);
        let everybody = (0..self.nodes.len()).map(address).collect();
        speaker.set_next_hops(everybody, self.now);
        let restart = OwnRestart {
            awaited,
            forwarding: true,
        };
        speaker.begin_restart(restart, self.now);
        speaker.set_peers(self.peers(node), self.now);
        if node >= REFLECTORS {
            for number in 0..self.addresses {
                let host = (node - REFLECTORS) * self.addresses + number;
                let host = 0x0b00_0000 + u32::try_from(host).expect("few hosts");
                let route = PathAttributes {
                    local_pref: Some(400),
                    ..PathAttributes::local(own)
                };
                speaker.originate(Ipv4Net::from(Ipv4Addr::from(host)), route, self.now);
            }
        }
        self.nodes[node] = Some(speaker);
        self.drain(node);
        let everybody: BTreeSet<Ipv4Addr> = (0..self.nodes.len()).map(address).collect();
        let now = self.now;
        for reflector in 0..REFLECTORS {
            let everybody = everybody.clone();
            self.act(reflector, |speaker| speaker.set_next_hops(everybody, now));
        }
    }

    /// Ends the sessions of a node in good order, then the node.
    pub(crate) fn stop(&mut self, node: usize) {
        let now = self.now;
        self.act(node, |speaker| speaker.shutdown("stopped", now));
        self.kill(node);
    }

    /// Ends a node; its connections are reset.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
        let ends: Vec<_> = self.ends_of(node).collect();
        for (own, other) in ends {
            self.ends.remove(&(node, own));
            self.schedule(LATENCY, other.0, Arrival::Closed(other.1));
        }
    }

    /// Ends a node; nobody hears of it.
    pub(crate) fn fall_silent(&mut self, node: usize) {
        self.nodes[node] = None;
        self.silent.insert(node);
    }

    /// The reflectors notice that nodes are silent: their next hops are dead, then their sessions, as BFD tells it.
    pub(crate) fn detect(&mut self, dead: &[usize]) {
        let living: BTreeSet<Ipv4Addr> = (0..self.nodes.len())
            .filter(|node| !dead.contains(node))
            .map(address)
            .collect();
        let now = self.now;
        for reflector in 0..REFLECTORS {
            let living = living.clone();
            self.act(reflector, |speaker| speaker.set_next_hops(living, now));
        }
        for node in dead {
            let ends: Vec<_> = self.ends_of(*node).collect();
            for (own, (other, _)) in ends {
                self.ends.remove(&(*node, own));
                self.act(other, |speaker| speaker.handle_path_down(peer(*node), now));
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let arrival = self.arrivals.peek().map(|Reverse((at, _))| *at);
            let timer = self.timers.first().map(|(at, _)| *at);
            let Some(next) = arrival
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            // What arrived is handed in before timers are looked at.
            if arrival.is_some_and(|at| at <= self.now) {
                let Reverse((_, sequence)) = self.arrivals.pop().expect("there is one");
                let (node, arrival) = self.contents.remove(&sequence).expect("it has content");
                self.arrive(node, arrival);
            } else if let Some((_, node)) = self.timers.first().copied() {
                let now = self.now;
                self.act(node, |speaker| speaker.handle_timeout(now));
            }
        }
        self.now = until;
    }

    fn peers(&self, node: usize) -> Vec<PeerConfig> {
        let others = if node < REFLECTORS {
            0..self.nodes.len()
        } else {
            0..REFLECTORS
        };
        let keeps = node < REFLECTORS + self.witnesses;
        others
            .filter(|other| *other != node)
            .map(|other| PeerConfig {
                id: peer(other),
                address: address(other),
                router_id: None,
                role: if node < REFLECTORS && other >= REFLECTORS {
                    PeerRole::Client
                } else {
                    PeerRole::NonClient
                },
                active: node >= REFLECTORS || node < other,
                hold_time: Duration::from_secs(240),
                connect_retry: Duration::from_secs(1),
                max_prefixes: if keeps { 1_000_000 } else { 0 },
                reflector: other < REFLECTORS,
                add_path: Some(AddPathDirection::Both),
                extended_messages: true,
                ipv6: false,
            })
            .collect()
    }

    fn ends_of(&self, node: usize) -> impl Iterator<Item = (ConnectionId, (usize, ConnectionId))> {
        let from = (node, ConnectionId(0));
        let to = (node, ConnectionId(u64::MAX));
        let ends = self.ends.range(from..=to);
        ends.map(|((_, own), other)| (*own, *other))
    }

    fn arrive(&mut self, node: usize, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Accepted(connection, from) => {
                self.act(node, |speaker| {
                    speaker.handle_input(Input::Accepted { connection, from }, now);
                });
            }
            Arrival::Connected(connection) => {
                self.act(node, |speaker| {
                    speaker.handle_input(Input::Connected(connection), now);
                });
            }
            Arrival::Received(connection, bytes) => {
                if self.ends.contains_key(&(node, connection)) {
                    self.act(node, |speaker| {
                        speaker.handle_input(Input::Received(connection, &bytes), now);
                    });
                }
            }
            Arrival::Closed(connection) => {
                self.ends.remove(&(node, connection));
                self.act(node, |speaker| {
                    speaker.handle_input(Input::Closed(connection), now);
                });
            }
        }
    }

    fn act(&mut self, node: usize, act: impl FnOnce(&mut Speaker<Everything>)) {
        if let Some(speaker) = &mut self.nodes[node] {
            act(speaker);
        }
        self.drain(node);
    }

    /// Carries out what a node wants.
    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].as_mut().and_then(Speaker::poll_output) {
            match output {
                Output::Connect {
                    connection,
                    address,
                } => self.connect(node, connection, node_of(address)),
                Output::Send(connection, bytes) => {
                    self.count(&bytes);
                    if let Some((other, far)) = self.ends.get(&(node, connection)).copied() {
                        self.schedule(LATENCY, other, Arrival::Received(far, bytes));
                    }
                }
                Output::Close(connection) => {
                    if let Some((other, far)) = self.ends.remove(&(node, connection)) {
                        self.schedule(LATENCY, other, Arrival::Closed(far));
                    }
                }
                Output::BestPath(change) => {
                    self.counts.last_change = Some(self.now);
                    if let (Some(old), Some(new)) = (&change.old, &change.new) {
                        let moved = old.attributes.next_hop != new.attributes.next_hop;
                        self.counts.moved += usize::from(moved);
                    }
                }
                Output::Event(_) => {}
            }
        }
        let due = self.nodes[node].as_ref().and_then(Speaker::poll_timeout);
        let due = due.map(|(at, _)| at);
        let former = std::mem::replace(&mut self.timer_of[node], due);
        if former != due {
            former.map(|at| self.timers.remove(&(at, node)));
            self.timers.extend(due.map(|at| (at, node)));
        }
    }

    fn connect(&mut self, from: usize, connection: ConnectionId, to: usize) {
        if self.nodes[to].is_none() {
            if !self.silent.contains(&to) {
                self.schedule(2 * LATENCY, from, Arrival::Closed(connection));
            }
            return;
        }
        self.next_connection[to] += 2;
        let accepted = ConnectionId(self.next_connection[to]);
        self.ends.insert((from, connection), (to, accepted));
        self.ends.insert((to, accepted), (from, connection));
        let own = address(from);
        self.schedule(LATENCY, to, Arrival::Accepted(accepted, own));
        self.schedule(2 * LATENCY, from, Arrival::Connected(connection));
    }

    fn schedule(&mut self, delay: Duration, node: usize, arrival: Arrival) {
        self.sequence += 1;
        self.arrivals
            .push(Reverse((self.now + delay, self.sequence)));
        self.contents.insert(self.sequence, (node, arrival));
    }

    fn count(&mut self, bytes: &[u8]) {
        const UPDATE: u8 = 2;
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: true,
            add_path: true,
            extended: true,
            ipv6: None,
        };
        let mut rest = bytes;
        while let Some(length) = frame(rest, context).expect("a good header") {
            if rest[18] == UPDATE
                && let Ok(Message::Update(update)) = Message::decode(&rest[..length], context)
            {
                self.counts.updates += 1;
                self.counts.announced += update.announced.len();
                self.counts.withdrawn += update.withdrawn.len();
            }
            rest = &rest[length..];
        }
    }
}

fn peer(node: usize) -> PeerId {
    PeerId(u32::try_from(node + 1).expect("few nodes"))
}
