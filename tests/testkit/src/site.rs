//! One site: router, packet path, LAN with hosts; and its driver, which keeps the contracts of both cores.
//!
//! One mutation of the router, then all of its outputs, in order; then the next. What leaves the site is handed to
//! the world as [`Emission`]s.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_bgp::ConnectionId;
use sam_dataplane::{DropReason, Egress, Snapshot, Stats};
use sam_router::config::Config;
use sam_router::journal::RuntimeState;
use sam_router::output::BgpOrder;
use sam_router::router::Start;
use sam_router::{Command, Event, Input, LAN_PORT, Output, Router};
use sam_vrrp::{Arrival as Advertised, TTL};

use crate::data_plane::{BUFFERS, DataPlane};
use crate::election::Election;
use crate::forgery::Forgery;
use crate::host::Host;
use crate::invariants::{Drain, check_message};
use crate::packet::echo_reply;
use crate::rng::Rng;
use crate::stream::{StreamEvent, Streams};
use crate::topology::{Topology, overlay};

/// Drops that mean a fault of ours: nothing in a simulation sends malformed packets or exhausts a queue.
const OUR_FAULTS: [DropReason; 14] = [
    DropReason::PortUnknown,
    DropReason::FrameLooped,
    DropReason::ArpMalformed,
    DropReason::IpMalformed,
    DropReason::IpChecksum,
    DropReason::NotIpv4,
    DropReason::L4Malformed,
    DropReason::OffloadMalformed,
    DropReason::WgUnknownPeer,
    DropReason::WgBadMac,
    DropReason::WgDecryptFailed,
    DropReason::WgNotIp,
    DropReason::BufferPoolEmpty,
    DropReason::TxQueueFull,
];

/// A router and the hosts on its LAN.
#[derive(Debug)]
pub struct Site {
    /// The control core.
    pub router: Router,
    /// The packet path.
    pub data_plane: DataPlane,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Hosts on the LAN.
    pub hosts: Vec<Host>,
    /// Configuration last handed to the router.
    pub config: Config,
    /// Run-time state that was to be kept last.
    pub state: RuntimeState,
    /// What the router told operators, since the site exists.
    pub events: Vec<Event>,
    /// Number of control outputs since the site exists.
    pub outputs: usize,
    /// The forwarding state in force.
    pub snapshot: Arc<Snapshot>,
    /// Addresses that operators told this site to own.
    pub told: BTreeSet<Ipv4Addr>,
    /// The router runs.
    pub up: bool,
    /// The LAN is connected to the router.
    pub lan_up: bool,
    /// The router was told to stop.
    pub stopping: bool,
    /// Until when its process stands still.
    pub frozen_until: Instant,
    /// The router stands behind the switch that is cut off while its LAN is partitioned.
    pub island: bool,
    /// The site on whose LAN the router stands.
    pub lan: usize,
    /// Its address there.
    pub lan_address: Ipv4Addr,
    pub(crate) election: Election,
    /// What the router's UPDATEs are turned into before they leave.
    pub forgery: Option<Forgery>,
    pub(crate) index: usize,
    /// When it was made.
    born: Instant,
    /// The router got an input since the world last looked at it.
    pub(crate) touched: bool,
    /// Number of events that the world has looked at.
    pub(crate) seen_events: usize,
    streams: Streams,
    /// Answers of the router's own host to pings.
    echoes: VecDeque<Vec<u8>>,
    /// Bytes of messages that a forgery has not seen whole yet.
    unforged: BTreeMap<ConnectionId, Vec<u8>>,
}

/// What leaves a site.
#[derive(Debug)]
pub(crate) enum Emission {
    /// A frame to the LAN.
    Frame(Vec<u8>),
    /// A VRRP advertisement to the LAN.
    Advertisement(Advertised, Vec<u8>),
    /// A datagram to the underlay.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Outer TOS byte.
        tos: u8,
        /// UDP payload.
        bytes: Vec<u8>,
    },
}

impl Site {
    /// Makes a site with one host; its router waits to be told about the host that it runs on.
    #[must_use]
    pub fn new(index: usize, topology: &Topology, rng: &mut Rng, now: Instant) -> Self {
        let config = topology.config(index);
        let state = RuntimeState::default();
        let stats = Arc::new(Stats::default());
        let lives = topology.lan_of(index) == index;
        let hosts = config.local.owned.iter().filter(|_| lives);
        let hosts = hosts.copied().map(Host::new).collect();
        let mut site = Self {
            index,
            router: router(&config, &state, rng, now),
            data_plane: DataPlane::new(&config, &stats, rng, Duration::ZERO, now),
            born: now,
            stats,
            hosts,
            told: config.local.owned.clone(),
            config,
            state,
            events: Vec::new(),
            outputs: 0,
            snapshot: Arc::default(),
            up: true,
            lan_up: true,
            stopping: false,
            frozen_until: now,
            island: topology.lan_of(index) != index,
            lan: topology.lan_of(index),
            lan_address: topology.lan_address(index),
            election: Election::default(),
            forgery: None,
            touched: false,
            seen_events: 0,
            streams: Streams::new(overlay(index), rng.draw()),
            echoes: VecDeque::new(),
            unforged: BTreeMap::new(),
        };
        site.drain_router(now);
        site
    }

    /// Starts the router anew, from its configuration and what it had to keep.
    pub fn restart(&mut self, rng: &mut Rng, now: Instant) {
        self.router = router(&self.config, &self.state, rng, now);
        let wall = now - self.born;
        self.data_plane = DataPlane::new(&self.config, &self.stats, rng, wall, now);
        self.snapshot = Arc::default();
        self.streams = Streams::new(overlay(self.index), rng.draw());
        self.echoes.clear();
        self.unforged.clear();
        self.election = Election::default();
        self.up = true;
        self.stopping = false;
        self.frozen_until = now;
        self.drain_router(now);
    }

    /// Lists the addresses that this site must claim in BGP now.
    pub fn claims(&self) -> impl Iterator<Item = Ipv4Addr> {
        let speaks = self.up && self.lan_up && !self.stopping && self.may_act();
        self.told.iter().copied().filter(move |_| speaks)
    }

    /// Tells whether the router acts on its LAN: nobody decides that, or it was elected.
    fn may_act(&self) -> bool {
        !self.election.is_held() || self.gate_open()
    }

    /// Tells whether the forwarding state lets the router answer on its LAN.
    #[must_use]
    pub fn gate_open(&self) -> bool {
        self.snapshot.lans.iter().any(|lan| lan.gate_open)
    }

    /// Tells whether the process stands still.
    #[must_use]
    pub fn is_frozen(&self, now: Instant) -> bool {
        now < self.frozen_until
    }

    /// Asserts that no buffer is lost and that no packet was dropped through a fault of ours. Only true when nothing
    /// waits for a session: all tunnels are up.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_clean(&self) {
        let waiting: usize = self
            .data_plane
            .neighbors()
            .iter()
            .map(|row| row.queued)
            .sum();
        let free = self.data_plane.available();
        assert_eq!(
            free + waiting,
            BUFFERS,
            "site {}: {free} buffers free, {waiting} wait for neighbors",
            self.index
        );
        let faults = self
            .stats
            .drops()
            .filter(|(reason, count)| *count > 0 && OUR_FAULTS.contains(reason));
        let faults: Vec<_> = faults
            .map(|(reason, count)| (reason.name(), count))
            .collect();
        assert_eq!(
            faults,
            [],
            "site {}: drops through a fault of ours",
            self.index
        );
    }

    /// Returns when [`Self::timeout`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let router = self.router.poll_timeout().map(|(at, _)| at);
        let data_plane = self.data_plane.poll_timeout();
        let election = self.election.poll_timeout();
        let deadlines = [router, data_plane, self.streams.poll_timeout(), election];
        let due = deadlines.into_iter().flatten().min();
        due.map(|at| at.max(self.frozen_until)).filter(|_| self.up)
    }

    /// Does what is due. The thread of the election runs before all others.
    pub(crate) fn timeout(&mut self, now: Instant) {
        self.election.handle_timeout(now);
        if self.router.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.router.handle_timeout(now);
            self.drain_router(now);
        }
        self.data_plane.handle_timeout(now);
        self.streams.handle_timeout(now);
    }

    /// Hands an input to the router and carries out what follows from it.
    pub(crate) fn input(&mut self, input: Input<'_>, now: Instant) {
        self.router.handle_input(input, now);
        self.drain_router(now);
    }

    /// Takes a datagram from the underlay.
    pub(crate) fn receive_datagram(
        &mut self,
        from: SocketAddr,
        tos: u8,
        bytes: &[u8],
        now: Instant,
    ) {
        self.data_plane.receive_datagram(from, tos, bytes, now);
    }

    /// Takes a frame from the LAN.
    pub(crate) fn receive_frame(&mut self, bytes: &[u8], now: Instant) {
        self.data_plane.receive_frame(bytes, now);
    }

    /// Takes an advertisement from the LAN.
    pub(crate) fn receive_advertisement(&mut self, from: Advertised, bytes: &[u8], now: Instant) {
        self.election.handle_packet(from, bytes, now);
    }

    /// Stops in order: the role is handed over first.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.election.resign(now);
    }

    /// Lets the next thing happen that follows at this instant; returns what leaves the site, or `None` when nothing
    /// follows any more.
    pub(crate) fn drive(&mut self, now: Instant) -> Option<Vec<Emission>> {
        let (forwarded, mut emissions) = self.drain_forwarder(now);
        let elected = self.drain_election(&mut emissions, now);
        let busy = forwarded || elected || self.drain_streams(now) || self.tell_router(now);
        busy.then_some(emissions)
    }

    fn drain_router(&mut self, now: Instant) {
        self.touched = true;
        let mut drain = Drain::default();
        while let Some(output) = self.router.poll_output() {
            self.outputs += 1;
            drain.check(&output);
            match output {
                Output::Publish(snapshot) => {
                    self.snapshot = Arc::clone(&snapshot);
                    self.data_plane.install(&snapshot, now);
                }
                Output::WireGuardPeers(peers) => self.data_plane.set_peers(&peers, now),
                Output::Bgp(BgpOrder::Connect {
                    connection,
                    address,
                }) => {
                    self.streams.connect(connection, address, now);
                }
                Output::Bgp(BgpOrder::Send(connection, bytes)) => self.say(connection, bytes, now),
                Output::Bgp(BgpOrder::Close(connection)) => {
                    self.unforged.remove(&connection);
                    self.streams.close(connection, now);
                }
                // Who drives a site says what BFD finds.
                Output::BfdPeers(_) | Output::Foreign(_) => {}
                Output::Vrrp(plan) => self.election.follow(plan, now),
                // No site of the simulator is in a cloud.
                Output::Authority(_) | Output::CaptureRecord(_) | Output::Cloud(_) => {}
                Output::Probe(probe) => self.data_plane.send_probe(&probe, now),
                Output::AskLan(question) => self.data_plane.ask_lan(&question, now),
                Output::AskFabric(question) => self.data_plane.ask_fabric(&question, now),
                Output::Journal(state) => self.state = state,
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    /// Sends BGP bytes, forged if this site is to forge.
    fn say(&mut self, connection: ConnectionId, bytes: Vec<u8>, now: Instant) {
        let bytes = match &self.forgery {
            None => {
                check_message(self, &bytes);
                bytes
            }
            Some(forgery) => {
                let stream = self.unforged.entry(connection).or_default();
                stream.extend(bytes);
                forgery.forge(stream)
            }
        };
        self.streams.send(connection, &bytes, now);
    }

    /// Takes everything that the packet path sends; tells whether there was something.
    fn drain_forwarder(&mut self, now: Instant) -> (bool, Vec<Emission>) {
        self.data_plane.flush(now);
        let (mut busy, mut emissions) = (false, Vec::new());
        while let Some(egress) = self.data_plane.poll_egress() {
            busy = true;
            let buffer = match egress {
                Egress::Port { port, unit } if port == LAN_PORT => {
                    emissions.push(Emission::Frame(unit.buffer.bytes().to_vec()));
                    unit.buffer
                }
                Egress::Port { unit, .. } => {
                    self.streams.handle_packet(unit.buffer.bytes(), now);
                    self.echoes.extend(echo_reply(unit.buffer.bytes()));
                    unit.buffer
                }
                Egress::Train {
                    to,
                    segment,
                    tos,
                    buffer,
                    ..
                } => {
                    let size = usize::from(segment).max(1);
                    let datagrams = buffer.bytes().chunks(size);
                    emissions.extend(datagrams.map(|bytes| {
                        let bytes = bytes.to_vec();
                        Emission::Datagram { to, tos, bytes }
                    }));
                    buffer
                }
            };
            self.data_plane.give(buffer);
        }
        (busy, emissions)
    }

    /// Sends advertisements, tells the router of its role, and stops it when it need not wait any more; tells whether there
    /// was something.
    fn drain_election(&mut self, emissions: &mut Vec<Emission>, now: Instant) -> bool {
        let before = emissions.len();
        while let Some(packet) = self.election.poll_transmit() {
            let arrival = Advertised {
                source: self.lan_address,
                destination: packet.destination,
                ttl: TTL,
            };
            emissions.push(Emission::Advertisement(arrival, packet.payload));
        }
        let mut busy = emissions.len() > before;
        if let Some(report) = self.election.poll_report() {
            self.input(Input::Vrrp(&report), now);
            busy = true;
        }
        // What was sent at the same instant was sent before it.
        if !self.stopping && emissions.is_empty() && self.election.has_left(now) {
            self.stopping = true;
            self.input(Input::Command(Command::Shutdown), now);
            busy = true;
        }
        busy
    }

    /// Hands the packets of the router's own host to the packet path; tells whether there was one.
    fn drain_streams(&mut self, now: Instant) -> bool {
        let mut busy = false;
        while let Some(packet) = self
            .streams
            .poll_packet()
            .or_else(|| self.echoes.pop_front())
        {
            busy = true;
            self.data_plane.receive_host_packet(&packet, now);
        }
        busy
    }

    /// Tells the router the next news; tells whether there was one.
    fn tell_router(&mut self, now: Instant) -> bool {
        if let Some(notice) = self.data_plane.poll_notice() {
            self.input(Input::Notice(notice), now);
            return true;
        }
        let Some(event) = self.streams.poll_event() else {
            return false;
        };
        let input = match &event {
            StreamEvent::Connected(connection) => sam_bgp::Input::Connected(*connection),
            StreamEvent::Accepted(connection, from) => sam_bgp::Input::Accepted {
                connection: *connection,
                from: *from,
            },
            StreamEvent::Received(connection, bytes) => {
                sam_bgp::Input::Received(*connection, bytes)
            }
            StreamEvent::Closed(connection) => sam_bgp::Input::Closed(*connection),
        };
        self.input(Input::Bgp(input), now);
        true
    }
}

fn router(config: &Config, state: &RuntimeState, rng: &mut Rng, now: Instant) -> Router {
    let start = Start {
        config: config.clone(),
        state: state.clone(),
        seed: rng.draw(),
    };
    Router::new(start, now)
}
