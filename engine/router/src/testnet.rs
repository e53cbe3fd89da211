//! Routers joined by in-memory pipes, on virtual time: the driver of the tests.
//!
//! Bytes need [`DELAY`] and keep their order. Every drain is checked against the order of the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_bgp::ConnectionId;
use sam_bgp::wire::{DecodeContext, Message};
use sam_capture::executor::Order;
use sam_capture::{Authority, NodeId, Prior};
use sam_dataplane::path_probe::PROBE_MIN;
use sam_dataplane::{LanQuestion, NextHop, Notice, PathProbe, Snapshot, TunnelId};

use crate::config::Config;
use crate::events::Event;
use crate::fixture;
use crate::input::{Command, HostEvent, Input};
use crate::journal::RuntimeState;
use crate::lan_role::VrrpPlan;
use crate::output::{BgpOrder, Output};
use crate::router::{Router, Start};

/// How long bytes are under way.
const DELAY: Duration = Duration::from_millis(1);

/// Some routers and what lies between them.
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) stations: BTreeMap<u32, Station>,
    in_flight: BTreeMap<(Instant, u64), Delivery>,
    pipes: BTreeMap<(u32, ConnectionId), (u32, ConnectionId)>,
    /// Routers that reach nobody.
    cut: BTreeSet<u32>,
    /// Pairs of routers, the smaller number first, that do not reach each other.
    parted: BTreeSet<(u32, u32)>,
    serial: u64,
}

/// A router and what it said.
pub(crate) struct Station {
    pub(crate) router: Router,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What was published last before anything but the death of a next hop was followed.
    pub(crate) flipped: Option<Arc<Snapshot>>,
    pub(crate) state: RuntimeState,
    pub(crate) events: Vec<Event>,
    /// Kinds of outputs since the last look.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) wireguard: Vec<sam_wg::PeerConfig>,
    pub(crate) probes: Vec<PathProbe>,
    /// Questions to its LAN.
    pub(crate) asked: Vec<LanQuestion>,
    /// The election that it takes part in.
    pub(crate) vrrp: Option<VrrpPlan>,
    /// What may be done at the provider of its cloud.
    pub(crate) authority: Authority,
    /// What its journal of captures says.
    pub(crate) prior: Prior,
    /// Calls to the provider that nobody has answered.
    pub(crate) orders: Vec<Order>,
}

/// What arrives at a router.
#[derive(Debug, Clone)]
enum Delivery {
    Connected(u32, ConnectionId),
    Accepted(u32, ConnectionId, Ipv4Addr),
    Received(u32, ConnectionId, Vec<u8>),
    Closed(u32, ConnectionId),
    Answered(u32, TunnelId, u32),
}

impl Net {
    /// Makes routers `1..=nodes`, each with its LAN up, and lets them settle.
    pub(crate) fn new(nodes: u32, reflectors: &[u32]) -> Self {
        let mut net = Self::empty();
        for id in 1..=nodes {
            net.start(
                id,
                fixture::config(id, nodes, reflectors),
                RuntimeState::default(),
            );
        }
        net.run(10);
        net
    }

    /// Makes a net without routers.
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    pub(crate) fn empty() -> Self {
        Self {
            now: Instant::now(),
            stations: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            pipes: BTreeMap::new(),
            cut: BTreeSet::new(),
            parted: BTreeSet::new(),
            serial: 0,
        }
    }

    /// Starts a router (again).
    pub(crate) fn start(&mut self, id: u32, config: Config, state: RuntimeState) {
        self.serial += 1;
        let seed = u64::from(id) << 32 | (1000 + self.serial);
        let router = Router::new(
            Start {
                config,
                state: state.clone(),
                seed,
            },
            self.now,
        );
        let station = Station {
            router,
            snapshot: Arc::default(),
            flipped: None,
            state,
            events: Vec::new(),
            kinds: Vec::new(),
            wireguard: Vec::new(),
            probes: Vec::new(),
            asked: Vec::new(),
            vrrp: None,
            authority: Authority::default(),
            prior: Prior::default(),
            orders: Vec::new(),
        };
        self.stations.insert(id, station);
        self.drain(id);
        self.host(id, fixture::lan(true));
    }

    /// Stops a router without a word; its connections break.
    pub(crate) fn kill(&mut self, id: u32) {
        self.stations.remove(&id);
        self.disconnect(id);
    }

    /// Breaks the connections of a router, and lets it make none.
    pub(crate) fn cut_off(&mut self, id: u32) {
        self.cut.insert(id);
        self.disconnect(id);
    }

    /// Lets a router that was cut off reach the others again.
    pub(crate) fn rejoin(&mut self, id: u32) {
        self.cut.remove(&id);
    }

    /// Lets two routers make no connection to each other; what they have stays.
    pub(crate) fn part(&mut self, one: u32, other: u32) {
        self.parted.insert((one.min(other), one.max(other)));
    }

    /// Lets them reach each other again.
    pub(crate) fn reunite(&mut self, one: u32, other: u32) {
        self.parted.remove(&(one.min(other), one.max(other)));
    }

    fn disconnect(&mut self, id: u32) {
        let broken: Vec<_> = self
            .pipes
            .iter()
            .filter(|((from, _), _)| *from == id)
            .map(|(a, b)| (*a, *b))
            .collect();
        for ((near, its), (far, connection)) in broken {
            self.pipes.remove(&(near, its));
            self.pipes.remove(&(far, connection));
            self.deliver(Delivery::Closed(near, its));
            self.deliver(Delivery::Closed(far, connection));
        }
    }

    /// Hands an input to a router.
    pub(crate) fn input(&mut self, id: u32, input: Input<'_>) {
        let now = self.now;
        self.station(id).router.handle_input(input, now);
        self.drain(id);
    }

    /// Lets one router's peer say something that no router would say.
    pub(crate) fn say(&mut self, from: u32, to: u32, message: &Message) {
        self.say_all(from, to, std::slice::from_ref(message));
    }

    /// The same, with several messages that arrive in one piece.
    pub(crate) fn say_all(&mut self, from: u32, to: u32, messages: &[Message]) {
        let (_, (_, connection)) = self
            .pipes
            .iter()
            .find(|((near, _), (far, _))| (*near, *far) == (from, to))
            .expect("the test names two routers that are connected");
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: true,
            add_path: true,
            extended: false,
            ipv6: None,
        };
        let connection = *connection;
        let bytes = messages.iter().flat_map(|message| message.encode(context));
        let bytes: Vec<u8> = bytes.collect();
        self.input(to, Input::Bgp(sam_bgp::Input::Received(connection, &bytes)));
    }

    /// Hands a command to a router and lets the fabric settle.
    pub(crate) fn command(&mut self, id: u32, command: Command) {
        self.input(id, Input::Command(command));
        self.run(5);
    }

    /// Hands a host event to a router.
    pub(crate) fn host(&mut self, id: u32, event: HostEvent) {
        self.input(id, Input::Host(event));
    }

    /// Lets `seconds` pass.
    pub(crate) fn run(&mut self, seconds: u64) {
        self.run_for(Duration::from_secs(seconds));
    }

    /// Lets some time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next_occasion().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn station(&mut self, id: u32) -> &mut Station {
        self.stations
            .get_mut(&id)
            .expect("the test names a started router")
    }

    /// The node to which a router forwards an address by tunnel.
    pub(crate) fn tunneled_to(&self, id: u32, address: Ipv4Addr) -> Option<u32> {
        let station = &self.stations[&id];
        match station.snapshot.fib.lookup(address) {
            Some(NextHop::Tunnel(tunnel)) => station.node_behind(tunnel),
            _ => None,
        }
    }

    /// The FIB entry that a router uses for an address.
    pub(crate) fn next_hop(&self, id: u32, address: Ipv4Addr) -> Option<NextHop> {
        self.stations[&id].snapshot.fib.lookup(address)
    }

    /// Whom a router takes for the owner of an address.
    pub(crate) fn owner(&self, id: u32, address: Ipv4Addr) -> Option<u32> {
        let holding = self.stations[&id].router.owners.holding(address)?;
        Some(holding.owner.node.0)
    }

    /// Whether a router answers ARP for an address.
    pub(crate) fn answers(&self, id: u32, address: Ipv4Addr) -> bool {
        let lans = &self.stations[&id].snapshot.lans;
        lans.iter()
            .any(|lan| lan.gate_open && lan.answers.contains(address))
    }

    fn next_occasion(&self) -> Option<Instant> {
        let delivery = self.in_flight.keys().next().map(|(at, _)| *at);
        let timers = self
            .stations
            .values()
            .filter_map(|station| station.router.poll_timeout());
        timers.map(|(at, _)| at).chain(delivery).min()
    }

    fn step(&mut self) {
        while let Some(entry) = self
            .in_flight
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let delivery = entry.remove();
            self.arrive(&delivery);
        }
        for id in self.stations.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            let router = &mut self.station(id).router;
            if router.poll_timeout().is_some_and(|(at, _)| at <= now) {
                router.handle_timeout(now);
                self.drain(id);
            }
        }
    }

    fn arrive(&mut self, delivery: &Delivery) {
        let (id, input) = match delivery {
            Delivery::Connected(id, connection) => (*id, sam_bgp::Input::Connected(*connection)),
            Delivery::Accepted(id, connection, from) => (
                *id,
                sam_bgp::Input::Accepted {
                    connection: *connection,
                    from: *from,
                },
            ),
            Delivery::Received(id, connection, bytes) => {
                (*id, sam_bgp::Input::Received(*connection, bytes))
            }
            Delivery::Closed(id, connection) => (*id, sam_bgp::Input::Closed(*connection)),
            Delivery::Answered(id, tunnel, probe) => {
                let (tunnel, id_of_probe) = (*tunnel, *probe);
                let answered = Notice::ProbeAnswered {
                    tunnel,
                    id: id_of_probe,
                };
                if self.stations.contains_key(id) {
                    self.input(*id, Input::Notice(answered));
                }
                return;
            }
        };
        if self.stations.contains_key(&id) {
            self.input(id, Input::Bgp(input));
        }
    }

    fn drain(&mut self, id: u32) {
        let mut sent = false;
        let mut called = false;
        while let Some(output) = self.station(id).router.poll_output() {
            let station = self.station(id);
            match output {
                Output::Journal(state) => {
                    assert!(!sent, "the journal comes before the news");
                    station.kinds.push("journal");
                    station.state = state;
                }
                Output::Publish(snapshot) => {
                    assert!(!sent, "the FIB knows before the peers (R6)");
                    assert!(snapshot.generation > station.snapshot.generation);
                    station.kinds.push("publish");
                    if station.router.is_unsettled() {
                        station.flipped = Some(Arc::clone(&snapshot));
                    }
                    station.snapshot = snapshot;
                }
                Output::WireGuardPeers(peers) => {
                    station.kinds.push("wireguard");
                    station.wireguard = peers;
                }
                Output::BfdPeers(_) => station.kinds.push("bfd"),
                Output::Foreign(_) => station.kinds.push("foreign"),
                Output::Vrrp(plan) => {
                    station.kinds.push("vrrp");
                    station.vrrp = plan;
                }
                Output::Authority(authority) => {
                    station.kinds.push("authority");
                    station.authority = authority;
                }
                Output::CaptureRecord(record) => {
                    station.kinds.push("record");
                    called = true;
                    station.prior.apply(&record);
                }
                Output::Cloud(order) => {
                    station.kinds.push("cloud");
                    called = true;
                    station.orders.push(order);
                }
                Output::Probe(probe) => {
                    station.kinds.push("probe");
                    station.probes.push(probe);
                    self.answer(id, &probe);
                }
                Output::AskLan(question) => {
                    station.kinds.push("ask");
                    station.asked.push(question);
                }
                Output::AskFabric(_) => station.kinds.push("ask"),
                Output::Event(event) => {
                    station.kinds.push("event");
                    station.events.push(event);
                }
                Output::Bgp(order) => {
                    assert!(!called, "the peers know before the provider");
                    station.kinds.push(match order {
                        BgpOrder::Connect { .. } => "connect",
                        BgpOrder::Send(..) => "send",
                        BgpOrder::Close(_) => "close",
                    });
                    sent = true;
                    self.order(id, order);
                }
            }
        }
    }

    /// Routers that run answer whoever asks whether they are there; sizes are for the tests to answer.
    fn answer(&mut self, id: u32, probe: &PathProbe) {
        let mut stations = self.stations.values();
        let lives = stations.any(|station| fixture_overlay(station) == probe.to);
        if lives && probe.size == PROBE_MIN {
            self.deliver(Delivery::Answered(id, probe.tunnel, probe.id));
        }
    }

    fn order(&mut self, id: u32, order: BgpOrder) {
        match order {
            BgpOrder::Connect {
                connection,
                address,
            } => {
                let source = fixture_overlay(&self.stations[&id]);
                let far = self
                    .stations
                    .iter()
                    .find(|(_, station)| fixture_overlay(station) == address)
                    .map(|(far, _)| *far)
                    .filter(|far| !self.cut.contains(far) && !self.cut.contains(&id))
                    .filter(|far| !self.parted.contains(&(id.min(*far), id.max(*far))));
                let Some(far) = far else {
                    return self.deliver(Delivery::Closed(id, connection));
                };
                self.serial += 1;
                let accepted = ConnectionId(self.serial * 2);
                self.pipes.insert((id, connection), (far, accepted));
                self.pipes.insert((far, accepted), (id, connection));
                self.deliver(Delivery::Accepted(far, accepted, source));
                self.deliver(Delivery::Connected(id, connection));
            }
            BgpOrder::Send(connection, bytes) => {
                if let Some(&(far, connection)) = self.pipes.get(&(id, connection)) {
                    self.deliver(Delivery::Received(far, connection, bytes));
                }
            }
            BgpOrder::Close(connection) => {
                if let Some((far, connection)) = self.pipes.remove(&(id, connection)) {
                    self.pipes.remove(&(far, connection));
                    self.deliver(Delivery::Closed(far, connection));
                }
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.serial += 1;
        self.in_flight
            .insert((self.now + DELAY, self.serial), delivery);
    }
}

impl Station {
    /// Tells whether an event of this name came.
    pub(crate) fn told(&self, name: &str) -> bool {
        self.events.iter().any(|event| event.name() == name)
    }

    fn node_behind(&self, tunnel: TunnelId) -> Option<u32> {
        let name = &self.snapshot.tunnels.get(usize::from(tunnel.0))?.name;
        let nodes = &self.router.config().fabric.nodes;
        nodes
            .values()
            .find(|node| node.name == *name)
            .map(|node| node.id)
            .map(|NodeId(id)| id)
    }
}

fn fixture_overlay(station: &Station) -> Ipv4Addr {
    station.router.config().own_node().overlay
}
