//! One speaker whose peers are played by the test.
//!
//! Every step returns all that the speaker put out, decoded: an [`Outcome`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use sam_bgp::speaker::{Event, PeerConfig, PeerView};
use sam_bgp::wire::{
    AddPathDirection, AddPathFamily, Capability, DecodeContext, Ipv6Context, Message, Nlri, Open,
    Update, frame,
};
use sam_bgp::{BestPathChange, ConnectionId, Input, Output, PathAttributes, Speaker};

use crate::vocabulary::{AS, Rules, peer, router, speaker_config, start};

pub(crate) const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// The speaker is router 1.
pub(crate) struct Bench {
    pub(crate) speaker: Speaker<Rules>,
    pub(crate) now: Instant,
    next_accepted: u64,
    /// Connections whose sessions tell paths apart, in both directions.
    add_path: BTreeSet<ConnectionId>,
    /// Connections whose sessions speak IPv6 unicast.
    pub(crate) ipv6: BTreeMap<ConnectionId, Ipv6Context>,
}

/// All outputs of one drain, sorted by kind; order within a kind is kept.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) connects: Vec<ConnectionId>,
    pub(crate) messages: Vec<(ConnectionId, Message)>,
    pub(crate) closed: Vec<ConnectionId>,
    pub(crate) changes: Vec<BestPathChange>,
    pub(crate) events: Vec<Event>,
    /// Kinds in order: `c`onnect, `s`end, `x` close, `b`est path, `e`vent.
    pub(crate) order: String,
}

impl Bench {
    pub(crate) fn new(peers: Vec<PeerConfig>) -> (Self, Outcome) {
        Self::with_speaker(
            Speaker::new(speaker_config(1), Rules::default(), 1, start()),
            peers,
        )
    }

    pub(crate) fn with_speaker(speaker: Speaker<Rules>, peers: Vec<PeerConfig>) -> (Self, Outcome) {
        let mut bench = Self {
            speaker,
            now: start(),
            next_accepted: 2,
            add_path: BTreeSet::new(),
            ipv6: BTreeMap::new(),
        };
        let everyone: BTreeSet<Ipv4Addr> = (0..=255).map(router).collect();
        bench.speaker.set_next_hops(everyone, bench.now);
        bench.speaker.set_peers(peers, bench.now);
        let outcome = bench.drain();
        (bench, outcome)
    }

    /// A bench with Established sessions to passive peers, their connections in the same order.
    pub(crate) fn established(peers: Vec<PeerConfig>) -> (Self, Vec<ConnectionId>) {
        let addresses: Vec<Ipv4Addr> = peers.iter().map(|peer| peer.address).collect();
        let peers = peers
            .into_iter()
            .map(|peer| PeerConfig {
                active: false,
                ..peer
            })
            .collect();
        let (mut bench, _) = Self::new(peers);
        let connections = addresses
            .into_iter()
            .map(|address| bench.establish(address))
            .collect();
        (bench, connections)
    }

    /// Has a peer connect and complete the session.
    pub(crate) fn establish(&mut self, address: Ipv4Addr) -> ConnectionId {
        self.establish_with(open(address)).0
    }

    /// Has a peer connect and complete the session with this OPEN.
    pub(crate) fn establish_with(&mut self, open: Open) -> (ConnectionId, Outcome) {
        let (connection, mut outcome) = self.accept(open.router_id);
        outcome.extend(self.send(connection, &Message::Open(open)));
        outcome.extend(self.send(connection, &Message::Keepalive));
        (connection, outcome)
    }

    /// The same with a peer that can receive and send several paths; configure `AddPathDirection::Both` for it.
    pub(crate) fn establish_with_add_path(&mut self, address: Ipv4Addr) -> (ConnectionId, Outcome) {
        let (connection, _) = self.accept(address);
        self.add_path.insert(connection);
        let mut open = open(address);
        open.capabilities
            .push(Capability::AddPath(vec![AddPathFamily {
                afi: 1,
                safi: 1,
                direction: AddPathDirection::Both,
            }]));
        self.send(connection, &Message::Open(open));
        (connection, self.send(connection, &Message::Keepalive))
    }

    pub(crate) fn accept(&mut self, from: Ipv4Addr) -> (ConnectionId, Outcome) {
        let connection = ConnectionId(self.next_accepted);
        self.next_accepted += 2;
        (connection, self.input(Input::Accepted { connection, from }))
    }

    pub(crate) fn input(&mut self, input: Input<'_>) -> Outcome {
        self.speaker.handle_input(input, self.now);
        self.drain()
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, message: &Message) -> Outcome {
        self.receive(connection, &message.encode(self.context(connection)))
    }

    fn context(&self, connection: ConnectionId) -> DecodeContext {
        DecodeContext {
            add_path: self.add_path.contains(&connection),
            ipv6: self.ipv6.get(&connection).copied(),
            ..CONTEXT
        }
    }

    pub(crate) fn receive(&mut self, connection: ConnectionId, bytes: &[u8]) -> Outcome {
        self.input(Input::Received(connection, bytes))
    }

    pub(crate) fn announce(
        &mut self,
        connection: ConnectionId,
        prefixes: &[Ipv4Net],
        attributes: PathAttributes,
    ) -> Outcome {
        self.send(connection, &announcement(prefixes, attributes))
    }

    pub(crate) fn withdraw(&mut self, connection: ConnectionId, prefixes: &[Ipv4Net]) -> Outcome {
        let update = Update {
            withdrawn: routes(prefixes),
            ..Update::default()
        };
        self.send(connection, &Message::Update(update))
    }

    /// Lets time pass, stopping at every deadline.
    pub(crate) fn pass(&mut self, duration: Duration) -> Outcome {
        let until = self.now + duration;
        let mut total = Outcome::default();
        let mut rounds = 0;
        while let Some((at, _)) = self.speaker.poll_timeout().filter(|(at, _)| *at <= until) {
            rounds += 1;
            assert!(rounds < 10_000, "a deadline that is not met");
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            total.extend(self.drain());
        }
        self.now = until;
        total
    }

    /// Lets time pass while the peer keeps the session alive.
    pub(crate) fn pass_alive(&mut self, connection: ConnectionId, duration: Duration) -> Outcome {
        let until = self.now + duration;
        let mut total = Outcome::default();
        while self.now < until {
            let step = Duration::from_secs(1).min(until - self.now);
            total.extend(self.pass(step));
            total.extend(self.send(connection, &Message::Keepalive));
        }
        total
    }

    pub(crate) fn drain(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(output) = self.speaker.poll_output() {
            outcome.note(output, |connection| self.context(connection));
        }
        outcome
    }

    pub(crate) fn view(&self, host: u8) -> PeerView {
        self.speaker
            .peers()
            .into_iter()
            .find(|view| view.id == peer(host))
            .expect("a known peer")
    }
}

impl Outcome {
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// UPDATEs sent on a connection.
    pub(crate) fn updates(&self, connection: ConnectionId) -> Vec<&Update> {
        let on_it = self.messages.iter().filter(|(id, _)| *id == connection);
        on_it
            .filter_map(|(_, message)| match message {
                Message::Update(update) => Some(update),
                Message::Ipv6Update(_)
                | Message::Open(_)
                | Message::Notification(_)
                | Message::Keepalive
                | Message::RouteRefresh(_) => None,
            })
            .collect()
    }

    /// What was sent of IPv6 unicast on a connection.
    pub(crate) fn ipv6_updates(&self, connection: ConnectionId) -> Vec<&Update<Ipv6Net>> {
        let on_it = self.messages.iter().filter(|(id, _)| *id == connection);
        on_it
            .filter_map(|(_, message)| match message {
                Message::Ipv6Update(update) => Some(&update.ipv6),
                Message::Open(_)
                | Message::Update(_)
                | Message::Notification(_)
                | Message::Keepalive
                | Message::RouteRefresh(_) => None,
            })
            .collect()
    }

    /// Code and subcode of NOTIFICATIONs sent on a connection.
    pub(crate) fn notifications(&self, connection: ConnectionId) -> Vec<(u8, u8)> {
        let on_it = self.messages.iter().filter(|(id, _)| *id == connection);
        on_it
            .filter_map(|(_, message)| match message {
                Message::Notification(notification) => {
                    Some((notification.code, notification.subcode))
                }
                Message::Open(_)
                | Message::Update(_)
                | Message::Ipv6Update(_)
                | Message::Keepalive
                | Message::RouteRefresh(_) => None,
            })
            .collect()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.connects.extend(other.connects);
        self.messages.extend(other.messages);
        self.closed.extend(other.closed);
        self.changes.extend(other.changes);
        self.events.extend(other.events);
        self.order.push_str(&other.order);
    }

    pub(crate) fn note(&mut self, output: Output, context: impl Fn(ConnectionId) -> DecodeContext) {
        match output {
            Output::Connect { connection, .. } => {
                self.order.push('c');
                self.connects.push(connection);
            }
            Output::Send(connection, bytes) => {
                self.order.push('s');
                let mut rest = bytes.as_slice();
                while let Some(length) = frame(rest, context(connection)).expect("a good header") {
                    let message = Message::decode(&rest[..length], context(connection))
                        .expect("a good message");
                    self.messages.push((connection, message));
                    rest = &rest[length..];
                }
                assert!(rest.is_empty(), "only whole messages are sent");
            }
            Output::Close(connection) => {
                self.order.push('x');
                self.closed.push(connection);
            }
            Output::BestPath(change) => {
                self.order.push('b');
                self.changes.push(change);
            }
            Output::Event(event) => {
                self.order.push('e');
                self.events.push(event);
            }
        }
    }
}

/// The OPEN of a well-behaved peer.
pub(crate) fn open(router_id: Ipv4Addr) -> Open {
    Open {
        asn: u16::try_from(AS).expect("a two-octet AS"),
        hold_time_s: 9,
        router_id,
        capabilities: vec![
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(AS),
        ],
    }
}

pub(crate) fn announcement(prefixes: &[Ipv4Net], attributes: PathAttributes) -> Message {
    Message::Update(Update {
        announced: routes(prefixes),
        attributes: Some(attributes),
        ..Update::default()
    })
}

fn routes(prefixes: &[Ipv4Net]) -> Vec<Nlri> {
    prefixes.iter().copied().map(Nlri::from).collect()
}
