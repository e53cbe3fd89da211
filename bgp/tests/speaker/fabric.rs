//! Whole speakers, joined by pipes on virtual time; each piece has its own latency, but none overtakes another.
//!
//! ```text
//!   speaker --Connect--> SYN --latency--> Accepted at the other
//!      ^---Connected------- after both latencies
//!   Send/Close -------------latency-----> Received/Closed
//! ```
//! While a cable is cut, everything on it waits and is tried again, in order, as TCP does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sam_bgp::speaker::{Event, PeerConfig, PeerView};
use sam_bgp::{ConnectionId, Input, Output, Speaker};

use crate::vocabulary::{Rules, peer, router, speaker_config, start};

/// How long what was lost takes to be tried again.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// Deliveries and deadlines in one run, more than any test needs.
const ROUNDS_MAX: usize = 1_000_000;

pub(crate) struct Fabric {
    pub(crate) now: Instant,
    pub(crate) nodes: BTreeMap<u8, Node>,
    pipes: Vec<Pipe>,
    deliveries: BTreeMap<(Instant, u64), Delivery>,
    cut: BTreeSet<(u8, u8)>,
    /// Who gets the next piece with one byte changed: where, and by which bits.
    spoils: BTreeMap<u8, (usize, u8)>,
    sequence: u64,
    latency: Box<dyn FnMut() -> Duration>,
}

pub(crate) struct Node {
    pub(crate) speaker: Speaker<Rules>,
    pub(crate) events: Vec<(Instant, Event)>,
}

struct Pipe {
    /// Who connected, who accepted.
    ends: [End; 2],
    /// When the last piece from the first end arrives, when that from the second one.
    arrival: [Instant; 2],
    /// What was lost and will be sent again, in order.
    held: Vec<Delivery>,
}

#[derive(Clone, Copy)]
struct End {
    host: u8,
    connection: ConnectionId,
    open: bool,
}

enum Delivery {
    Retransmit {
        pipe: usize,
    },
    Accepted {
        pipe: usize,
    },
    Connected {
        pipe: usize,
    },
    Received {
        pipe: usize,
        end: usize,
        bytes: Vec<u8>,
    },
    Closed {
        pipe: usize,
        end: usize,
    },
}

impl Fabric {
    pub(crate) fn new(latency: impl FnMut() -> Duration + 'static) -> Self {
        Self {
            now: start(),
            nodes: BTreeMap::new(),
            pipes: Vec::new(),
            deliveries: BTreeMap::new(),
            cut: BTreeSet::new(),
            spoils: BTreeMap::new(),
            sequence: 0,
            latency: Box::new(latency),
        }
    }

    /// Adds a router; every next hop is reachable for it.
    pub(crate) fn add(&mut self, host: u8, seed: u64, peers: Vec<PeerConfig>) {
        let mut speaker = Speaker::new(speaker_config(host), Rules::default(), seed, self.now);
        speaker.set_next_hops((0..=255).map(router).collect(), self.now);
        speaker.set_peers(peers, self.now);
        self.nodes.insert(
            host,
            Node {
                speaker,
                events: Vec::new(),
            },
        );
        self.drain(host);
    }

    /// Changes a speaker and carries out what it wants.
    pub(crate) fn with(&mut self, host: u8, act: impl FnOnce(&mut Speaker<Rules>, Instant)) {
        let now = self.now;
        act(
            &mut self.nodes.get_mut(&host).expect("a known router").speaker,
            now,
        );
        self.drain(host);
    }

    /// Cuts the cable between two routers, or mends it.
    pub(crate) fn set_cut(&mut self, a: u8, b: u8, cut: bool) {
        for pair in [(a, b), (b, a)] {
            if cut {
                self.cut.insert(pair);
            } else {
                self.cut.remove(&pair);
            }
        }
    }

    /// Changes one byte of the next piece that arrives at a router.
    pub(crate) fn spoil_next(&mut self, to: u8, at: usize, bits: u8) {
        self.spoils.insert(to, (at, bits));
    }

    /// Has everything arrive as it was sent again.
    pub(crate) fn spoil_nothing(&mut self) {
        self.spoils.clear();
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    pub(crate) fn run_until(&mut self, until: Instant) {
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "deadlines that are not met");
            let delivery = self.deliveries.keys().next().map(|(at, _)| *at);
            let timers = self
                .nodes
                .values()
                .filter_map(|node| node.speaker.poll_timeout());
            let timer = timers.map(|(at, _)| at).min();
            let Some(next) = delivery
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= until)
            else {
                break;
            };
            self.now = self.now.max(next);
            // What arrived is handed in before timers are looked at.
            if delivery.is_some_and(|at| at <= self.now) {
                let (_, delivery) = self.deliveries.pop_first().expect("there is one");
                self.deliver(delivery);
                continue;
            }
            let hosts: Vec<u8> = self.nodes.keys().copied().collect();
            for host in hosts {
                self.with(host, |speaker, now| speaker.handle_timeout(now));
            }
        }
        self.now = until;
    }

    pub(crate) fn view(&self, host: u8, of: u8) -> PeerView {
        let peers = self.nodes[&host].speaker.peers();
        peers
            .into_iter()
            .find(|view| view.id == peer(of))
            .expect("a known peer")
    }

    /// How many connections have both ends open.
    pub(crate) fn open_pipes(&self) -> usize {
        self.pipes
            .iter()
            .filter(|pipe| pipe.ends.iter().all(|end| end.open))
            .count()
    }

    /// Puts bytes on every open connection from one router to another.
    pub(crate) fn inject(&mut self, from: u8, to: u8, bytes: &[u8]) {
        for pipe in 0..self.pipes.len() {
            let ends = self.pipes[pipe].ends;
            for (end, other) in [(0, 1), (1, 0)] {
                if ends[other].host == from && ends[end].host == to && ends[end].open {
                    let bytes = bytes.to_vec();
                    self.send(pipe, other, Delivery::Received { pipe, end, bytes });
                }
            }
        }
    }

    fn drain(&mut self, host: u8) {
        while let Some(output) = self
            .nodes
            .get_mut(&host)
            .expect("a known router")
            .speaker
            .poll_output()
        {
            match output {
                Output::Connect {
                    connection,
                    address,
                } => {
                    self.connect(host, connection, address.octets()[3]);
                }
                Output::Send(connection, bytes) => {
                    if let Some((pipe, end)) = self.find(host, connection) {
                        self.send(
                            pipe,
                            end,
                            Delivery::Received {
                                pipe,
                                end: 1 - end,
                                bytes,
                            },
                        );
                    }
                }
                Output::Close(connection) => {
                    if let Some((pipe, end)) = self.find(host, connection) {
                        self.pipes[pipe].ends[end].open = false;
                        self.send(pipe, end, Delivery::Closed { pipe, end: 1 - end });
                    }
                }
                Output::BestPath(_) => {}
                Output::Event(event) => {
                    self.nodes
                        .get_mut(&host)
                        .expect("a known router")
                        .events
                        .push((self.now, event));
                }
            }
        }
    }

    fn connect(&mut self, from: u8, connection: ConnectionId, to: u8) {
        let pipe = self.pipes.len();
        let accepted = ConnectionId(2 * (pipe as u64 + 1));
        self.pipes.push(Pipe {
            ends: [
                End {
                    host: from,
                    connection,
                    open: true,
                },
                End {
                    host: to,
                    connection: accepted,
                    open: false,
                },
            ],
            arrival: [self.now; 2],
            held: Vec::new(),
        });
        self.send(pipe, 0, Delivery::Accepted { pipe });
        self.pipes[pipe].arrival[1] = self.pipes[pipe].arrival[0];
        self.send(pipe, 1, Delivery::Connected { pipe });
    }

    /// Sends from one end of a pipe to the other.
    fn send(&mut self, pipe: usize, end: usize, delivery: Delivery) {
        let arrival = &mut self.pipes[pipe].arrival[end];
        *arrival = (*arrival).max(self.now + (self.latency)());
        let delay = *arrival - self.now;
        self.schedule(delay, delivery);
    }

    fn schedule(&mut self, delay: Duration, delivery: Delivery) {
        self.sequence += 1;
        self.deliveries
            .insert((self.now + delay, self.sequence), delivery);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let (Delivery::Accepted { pipe }
        | Delivery::Connected { pipe }
        | Delivery::Received { pipe, .. }
        | Delivery::Closed { pipe, .. }
        | Delivery::Retransmit { pipe }) = delivery;
        let Pipe { ends, held, .. } = &mut self.pipes[pipe];
        if !ends.iter().all(|end| self.nodes.contains_key(&end.host)) {
            return;
        }
        let cut = self.cut.contains(&(ends[0].host, ends[1].host));
        if matches!(delivery, Delivery::Retransmit { .. }) {
            if cut {
                self.schedule(RETRANSMIT, delivery);
            } else {
                for delivery in std::mem::take(held) {
                    self.arrive(delivery);
                }
            }
        } else if cut || !held.is_empty() {
            held.push(delivery);
            if held.len() == 1 {
                self.schedule(RETRANSMIT, Delivery::Retransmit { pipe });
            }
        } else {
            self.arrive(delivery);
        }
    }

    fn arrive(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Accepted { pipe } => {
                let [from, to] = &mut self.pipes[pipe].ends;
                to.open = true;
                let (host, connection, from) = (to.host, to.connection, router(from.host));
                self.input(host, Input::Accepted { connection, from });
            }
            Delivery::Connected { pipe } => {
                let End {
                    host,
                    connection,
                    open,
                } = self.pipes[pipe].ends[0];
                if open {
                    self.input(host, Input::Connected(connection));
                }
            }
            Delivery::Received {
                pipe,
                end,
                mut bytes,
            } => {
                let End {
                    host,
                    connection,
                    open,
                } = self.pipes[pipe].ends[end];
                if open {
                    if let Some((at, bits)) = self.spoils.remove(&host) {
                        let at = at % bytes.len().max(1);
                        bytes
                            .iter_mut()
                            .skip(at)
                            .take(1)
                            .for_each(|byte| *byte ^= bits);
                    }
                    // In two pieces, so that messages arrive torn.
                    let (head, tail) = bytes.split_at(bytes.len() / 2);
                    self.input(host, Input::Received(connection, head));
                    self.input(host, Input::Received(connection, tail));
                }
            }
            Delivery::Closed { pipe, end } => {
                let End {
                    host,
                    connection,
                    open,
                } = self.pipes[pipe].ends[end];
                if open {
                    self.pipes[pipe].ends[end].open = false;
                    self.input(host, Input::Closed(connection));
                }
            }
            Delivery::Retransmit { .. } => {}
        }
    }

    fn input(&mut self, host: u8, input: Input<'_>) {
        self.with(host, |speaker, now| speaker.handle_input(input, now));
    }

    fn find(&self, host: u8, connection: ConnectionId) -> Option<(usize, usize)> {
        self.pipes
            .iter()
            .enumerate()
            .rev()
            .find_map(|(pipe, candidate)| {
                let end = candidate
                    .ends
                    .iter()
                    .position(|end| end.host == host && end.connection == connection && end.open)?;
                Some((pipe, end))
            })
    }
}
