//! A whole fabric inside one value: routers, LANs with hosts, underlay, clock.
//!
//! ```text
//!  hosts ── LAN 0 ── [Forwarder|Router] 0 ─┐            ┌─ [Forwarder|Router] 2 ── LAN 2 ── hosts
//!                                          ├─ underlay ─┤      delay, jitter, loss,
//!  hosts ── LAN 1 ── [Forwarder|Router] 1 ─┘            └─ …   duplicates, partition
//! ```
//! Site 0 is the route reflector. `step` takes the earliest event, lets it happen, drains all outputs and checks the
//! invariants that must hold at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_capture::{NodeId, Pool, Role};
use sam_dataplane::{Buffer, BufferPool, Egress, Forwarder, Io, Stats, TxQueue, Unit};
use sam_router::config::{
    ActiveWhen, BgpSettings, Capture, Config, Endpoint, Fabric, Host as EndpointHost, Local, Node,
    Transport, TunnelMtu,
};
use sam_router::journal::RuntimeState;
use sam_router::output::BgpOrder;
use sam_router::router::Start;
use sam_router::{Command, HostEvent, Input, Output, Router};
use sam_wg::{Device, PrivateKey};

use crate::host::{Host, PROBE_PROTOCOL};
use crate::link::Faults;
use crate::rng::Rng;
use crate::stream::{StreamEvent, Streams};

/// Underlay MTU of all sites.
const UNDERLAY_MTU: u16 = 1500;
/// Time for a frame to cross a LAN.
const LAN_DELAY: Duration = Duration::from_micros(50);
/// Steps without end are a fault of the system under test.
const STEP_LIMIT: usize = 2_000_000;
/// The LAN interface's name at every site.
const LAN: &str = "lan0";

/// A probe that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The probe's number.
    pub id: u32,
    /// Source address in the packet.
    pub source: Ipv4Addr,
    /// Site where it arrived.
    pub site: usize,
    /// TTL left.
    pub ttl: u8,
    /// When, since the start.
    pub at: Duration,
}

/// One site: a router and the hosts on its LAN.
#[derive(Debug)]
pub struct Site {
    /// The control core.
    pub router: Router,
    /// The packet path.
    pub forwarder: Forwarder,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Hosts on the LAN.
    pub hosts: Vec<Host>,
    /// Its configuration.
    pub config: Config,
    /// Last run-time state that was to be kept.
    pub state: RuntimeState,
    /// Number of control outputs so far.
    pub outputs: usize,
    mac: [u8; 6],
    pool: BufferPool,
    tx: TxQueue,
    streams: Streams,
    up: bool,
}

#[derive(Debug)]
enum Arrival {
    Datagram {
        from: SocketAddr,
        tos: u8,
        bytes: Vec<u8>,
    },
    Frame {
        bytes: Vec<u8>,
        to_router: bool,
    },
}

/// The fabric.
#[derive(Debug)]
pub struct World {
    /// The clock.
    pub now: Instant,
    /// All sites.
    pub sites: Vec<Site>,
    /// What the underlay does.
    pub faults: Faults,
    /// Probes that arrived.
    pub delivered: Vec<Delivered>,
    /// Invariants that were broken, in words.
    pub violations: Vec<String>,
    start: Instant,
    rng: Rng,
    queue: BTreeMap<(Instant, u64), (usize, Arrival)>,
    order: u64,
    probes: BTreeMap<u32, (Ipv4Addr, Ipv4Addr)>,
    /// When the set of owners last changed: ARP may lag behind it for a moment.
    truth_changed: Instant,
}

impl World {
    /// Builds `count` sites; site `i` owns and hosts 10.77.60.(10 + i). Nothing has happened yet.
    #[must_use]
    pub fn new(count: usize, seed: u64) -> Self {
        let now = Instant::now();
        let mut rng = Rng::new(seed);
        let keys: Vec<PrivateKey> = (0..count).map(|_| private_key(&mut rng)).collect();
        let sites = (0..count)
            .map(|index| site(index, &keys, &mut rng, now))
            .collect();
        let mut world = Self {
            now,
            start: now,
            sites,
            faults: Faults::default(),
            delivered: Vec::new(),
            violations: Vec::new(),
            rng,
            queue: BTreeMap::new(),
            order: 0,
            probes: BTreeMap::new(),
            truth_changed: now,
        };
        for index in 0..count {
            world.introduce(index);
        }
        world
    }

    /// Tells a router about its host.
    fn introduce(&mut self, index: usize) {
        let lan = HostEvent::Lan {
            interface: LAN.to_owned(),
            mac: self.sites[index].mac,
            address: Some("10.77.60.1/24".parse().expect("literal")),
            mtu: 1500,
            up: true,
        };
        self.drive(index);
        self.input(index, Input::Host(lan));
        self.input(index, Input::Host(HostEvent::Tun { mtu: 1440 }));
        for peer in 0..self.sites.len() {
            if peer != index {
                let endpoint = HostEvent::Endpoint {
                    node: node_id(peer),
                    address: underlay(peer),
                    underlay_mtu: UNDERLAY_MTU,
                };
                self.input(index, Input::Host(endpoint));
            }
        }
    }

    /// Hands an input to a router and lets everything that follows at once happen.
    pub fn input(&mut self, site: usize, input: Input<'_>) {
        self.sites[site].router.handle_input(input, self.now);
        self.drive(site);
    }

    /// Applies a configuration to a running router.
    pub fn reload(&mut self, site: usize, config: Config) {
        self.sites[site].config = config.clone();
        self.truth_changed = self.now;
        self.input(site, Input::Config(Box::new(config)));
    }

    /// Owns an address at a site from now on, as `samctl announce` does.
    pub fn announce(&mut self, site: usize, address: Ipv4Addr) {
        self.truth_changed = self.now;
        self.input(site, Input::Command(Command::Announce(address)));
    }

    /// Stops owning an address at a site, as `samctl withdraw` does.
    pub fn withdraw(&mut self, site: usize, address: Ipv4Addr) {
        self.truth_changed = self.now;
        self.input(site, Input::Command(Command::Withdraw(address)));
    }

    /// Moves a host's cable to another site's LAN and tells both routers.
    pub fn move_host(&mut self, address: Ipv4Addr, from: usize, to: usize) {
        let at = self.sites[from]
            .hosts
            .iter()
            .position(|host| host.address == address)
            .expect("the host is at the site it leaves");
        let mut host = self.sites[from].hosts.remove(at);
        host.forget();
        self.sites[to].hosts.push(host);
        self.withdraw(from, address);
        self.announce(to, address);
    }

    /// Kills a router: its state is gone, what it had to keep is kept. `restart` brings it back.
    pub fn kill(&mut self, index: usize) {
        self.sites[index].up = false;
        self.truth_changed = self.now;
    }

    /// Starts a killed router anew.
    pub fn restart(&mut self, index: usize) {
        let now = self.now;
        let start = start(
            &self.sites[index].config,
            self.sites[index].state.clone(),
            &mut self.rng,
        );
        let key = self.sites[index].config.local.private_key.clone();
        let device = Device::new(&key, self.rng.next());
        let site = &mut self.sites[index];
        site.router = Router::new(start, now);
        site.forwarder = Forwarder::new(device, Arc::clone(&site.stats));
        site.pool = BufferPool::new(64);
        site.tx = TxQueue::new(512);
        site.streams = Streams::new(overlay(index));
        site.up = true;
        self.truth_changed = now;
        self.introduce(index);
    }

    /// Sends one probe from a host; returns its number.
    pub fn probe(&mut self, site: usize, source: Ipv4Addr, destination: Ipv4Addr) -> u32 {
        let id = u32::try_from(self.probes.len()).expect("few probes");
        self.probes.insert(id, (source, destination));
        let host = self.sites[site]
            .hosts
            .iter_mut()
            .find(|host| host.address == source)
            .expect("the probing host is at this site");
        let frames = host.probe(destination, id);
        for bytes in frames {
            self.broadcast(site, &bytes, Some(source));
        }
        id
    }

    /// Lets time pass, event by event.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..STEP_LIMIT {
            if !self.step(end) {
                self.now = end;
                return;
            }
        }
        panic!("{STEP_LIMIT} steps in {duration:?}: something spins");
    }

    /// Lets time pass until `condition` holds; returns how long that took, or `None` after `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        for _ in 0..STEP_LIMIT {
            if condition(self) {
                return Some(self.now - start);
            }
            if !self.step(end) {
                self.now = end;
                return condition(self).then(|| self.now - start);
            }
        }
        panic!("{STEP_LIMIT} steps: something spins");
    }

    /// Lets the earliest event not after `end` happen. Returns `false` when there is none.
    pub fn step(&mut self, end: Instant) -> bool {
        let timer = (0..self.sites.len())
            .filter(|&index| self.sites[index].up)
            .filter_map(|index| self.sites[index].deadline().map(|at| (at, index)))
            .min();
        let arrival = self.queue.first_key_value().map(|(key, _)| key.0);
        match (arrival, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                let (_, (site, arrival)) = self.queue.pop_first().expect("not empty");
                self.arrive(site, arrival);
            }
            (_, Some((due, site))) if due <= end => {
                self.now = self.now.max(due);
                self.timeout(site);
            }
            _ => return false,
        }
        self.check_invariants();
        true
    }

    fn timeout(&mut self, index: usize) {
        let now = self.now;
        let site = &mut self.sites[index];
        site.router.handle_timeout(now);
        site.forwarder.handle_timeout(
            &mut Io {
                pool: &mut site.pool,
                tx: &mut site.tx,
            },
            now,
        );
        site.streams.handle_timeout(now);
        self.drive(index);
    }

    fn arrive(&mut self, index: usize, arrival: Arrival) {
        match arrival {
            Arrival::Datagram { from, tos, bytes } => {
                let now = self.now;
                let site = &mut self.sites[index];
                if !site.up {
                    return;
                }
                let buffer = filled(&mut site.pool, &bytes);
                let mut io = Io {
                    pool: &mut site.pool,
                    tx: &mut site.tx,
                };
                site.forwarder
                    .handle_datagrams(from, tos, bytes.len(), buffer, &mut io, now);
                self.drive(index);
            }
            Arrival::Frame {
                bytes,
                to_router: true,
            } => {
                let now = self.now;
                let site = &mut self.sites[index];
                if !site.up {
                    return;
                }
                let unit = Unit::plain(filled(&mut site.pool, &bytes));
                let mut io = Io {
                    pool: &mut site.pool,
                    tx: &mut site.tx,
                };
                site.forwarder
                    .handle_frame(sam_router::LAN_PORT, unit, &mut io, now);
                self.drive(index);
            }
            Arrival::Frame {
                bytes,
                to_router: false,
            } => self.deliver_to_hosts(index, &bytes),
        }
    }

    fn deliver_to_hosts(&mut self, index: usize, bytes: &[u8]) {
        let mut answers = Vec::new();
        let now = self.now;
        let (start, hosts) = (self.start, &mut self.sites[index].hosts);
        for host in hosts {
            let (frames, packet) = host.handle_frame(bytes);
            answers.extend(frames.into_iter().map(|frame| (host.address, frame)));
            if let Some(packet) = packet.filter(|packet| packet[9] == PROBE_PROTOCOL) {
                self.delivered.push(Delivered {
                    id: u32::from_be_bytes(packet[20..24].try_into().expect("probe length")),
                    source: Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]),
                    site: index,
                    ttl: packet[8],
                    at: now - start,
                });
            }
        }
        self.check_delivery();
        for (address, frame) in answers {
            self.broadcast(index, &frame, Some(address));
        }
    }

    /// Puts a frame on a LAN: every other host, and the router unless it sent it, gets a copy.
    fn broadcast(&mut self, site: usize, bytes: &[u8], from_host: Option<Ipv4Addr>) {
        let at = self.now + LAN_DELAY;
        self.schedule(
            at,
            site,
            Arrival::Frame {
                bytes: bytes.to_vec(),
                to_router: false,
            },
        );
        if from_host.is_some() {
            self.schedule(
                at,
                site,
                Arrival::Frame {
                    bytes: bytes.to_vec(),
                    to_router: true,
                },
            );
        }
    }

    fn schedule(&mut self, at: Instant, site: usize, arrival: Arrival) {
        self.order += 1;
        self.queue.insert((at, self.order), (site, arrival));
    }

    /// Drains all outputs of a site until nothing more follows at this instant.
    fn drive(&mut self, index: usize) {
        loop {
            let busy =
                self.drive_router(index) | self.drive_streams(index) | self.drive_forwarder(index);
            if !busy {
                return;
            }
        }
    }

    fn drive_router(&mut self, index: usize) -> bool {
        let now = self.now;
        let site = &mut self.sites[index];
        let mut busy = false;
        while let Some(output) = site.router.poll_output() {
            busy = true;
            site.outputs += 1;
            let mut io = Io {
                pool: &mut site.pool,
                tx: &mut site.tx,
            };
            match output {
                Output::Publish(snapshot) => site.forwarder.install(snapshot, &mut io, now),
                Output::WireGuardPeers(peers) => site.forwarder.device().set_peers(&peers, now),
                Output::Bgp(BgpOrder::Connect {
                    connection,
                    address,
                }) => {
                    site.streams.connect(connection, address, now);
                }
                Output::Bgp(BgpOrder::Send(connection, bytes)) => {
                    site.streams.send(connection, &bytes, now);
                }
                Output::Bgp(BgpOrder::Close(connection)) => site.streams.close(connection, now),
                Output::Journal(state) => site.state = state,
                Output::Event(_) => {}
            }
        }
        busy
    }

    fn drive_streams(&mut self, index: usize) -> bool {
        let now = self.now;
        let site = &mut self.sites[index];
        let mut busy = false;
        while let Some(packet) = site.streams.poll_packet() {
            busy = true;
            let unit = Unit::plain(filled(&mut site.pool, &packet));
            let mut io = Io {
                pool: &mut site.pool,
                tx: &mut site.tx,
            };
            site.forwarder.handle_host_packet(unit, &mut io, now);
        }
        while let Some(event) = site.streams.poll_event() {
            busy = true;
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
            site.router.handle_input(Input::Bgp(input), now);
        }
        busy
    }

    fn drive_forwarder(&mut self, index: usize) -> bool {
        let now = self.now;
        let site = &mut self.sites[index];
        site.forwarder.flush(
            &mut Io {
                pool: &mut site.pool,
                tx: &mut site.tx,
            },
            now,
        );
        let mut busy = false;
        while let Some(notice) = site.forwarder.poll_notice() {
            busy = true;
            site.router.handle_input(Input::Notice(notice), now);
        }
        let mut frames = Vec::new();
        let mut datagrams = Vec::new();
        while let Some(egress) = site.tx.pop() {
            busy = true;
            match egress {
                Egress::Port { port, unit } if port == sam_router::LAN_PORT => {
                    frames.push(unit.buffer.bytes().to_vec());
                    site.pool.give(unit.buffer);
                }
                Egress::Port { unit, .. } => {
                    site.streams.handle_packet(unit.buffer.bytes(), now);
                    site.pool.give(unit.buffer);
                }
                Egress::Train {
                    to,
                    segment,
                    tos,
                    buffer,
                } => {
                    let size = usize::from(segment).max(1);
                    datagrams.extend(
                        buffer
                            .bytes()
                            .chunks(size)
                            .map(|one| (to, tos, one.to_vec())),
                    );
                    site.pool.give(buffer);
                }
            }
        }
        for bytes in frames {
            self.check_arp_reply(index, &bytes);
            self.broadcast(index, &bytes, None);
        }
        for (to, tos, bytes) in datagrams {
            self.send_datagram(index, to, tos, &bytes);
        }
        busy
    }

    fn send_datagram(&mut self, from: usize, to: SocketAddr, tos: u8, bytes: &[u8]) {
        let Some(target) = (0..self.sites.len()).find(|&index| underlay(index) == to) else {
            return;
        };
        for delay in self.faults.deliveries(from, target, &mut self.rng) {
            let arrival = Arrival::Datagram {
                from: underlay(from),
                tos,
                bytes: bytes.to_vec(),
            };
            self.schedule(self.now + delay, target, arrival);
        }
    }

    /// I3, I8: no router answers for an address on its own LAN, or for one that nobody owns. Right after a move a
    /// router may not have heard of it yet.
    fn check_arp_reply(&mut self, index: usize, bytes: &[u8]) {
        let reply = bytes.len() >= 42 && bytes[12..14] == [8, 6] && bytes[21] == 2;
        if !reply || self.now - self.truth_changed < Duration::from_secs(15) {
            return;
        }
        let claimed = Ipv4Addr::new(bytes[28], bytes[29], bytes[30], bytes[31]);
        if claimed == Ipv4Addr::new(10, 77, 60, 1) {
            return;
        }
        let site = &self.sites[index];
        if site.hosts.iter().any(|host| host.address == claimed) {
            self.violations.push(format!(
                "I3: site {index} answers for its own host {claimed}"
            ));
        }
        let exists = self
            .sites
            .iter()
            .any(|s| s.hosts.iter().any(|host| host.address == claimed));
        if !exists {
            self.violations
                .push(format!("I8: site {index} answers for unknown {claimed}"));
        }
    }

    /// I12, I13: addresses untouched; one TTL step per router.
    fn check_delivery(&mut self) {
        let Some(delivered) = self.delivered.last() else {
            return;
        };
        let Some((source, _)) = self.probes.get(&delivered.id) else {
            return;
        };
        if delivered.source != *source {
            self.violations.push(format!(
                "I12: probe from {source} arrived as {}",
                delivered.source
            ));
        }
        if ![64, 63, 62].contains(&delivered.ttl) {
            self.violations.push(format!(
                "I13: TTL {} after at most two routers",
                delivered.ttl
            ));
        }
    }

    /// I9: nothing but /32s inside the pool and markers is in any RIB.
    fn check_invariants(&mut self) {
        let pool: Ipv4Net = "10.77.60.0/24".parse().expect("literal");
        let overlays: Ipv4Net = "10.99.0.0/24".parse().expect("literal");
        for index in 0..self.sites.len() {
            for prefix in self.sites[index].router.rib_prefixes() {
                let inside = pool.contains(&prefix) || overlays.contains(&prefix);
                if prefix.prefix_len() != 32 || !inside {
                    self.violations
                        .push(format!("I9: site {index} holds {prefix}"));
                }
            }
        }
    }

    /// Tells whether every router sends every host's address to the site where the host is.
    #[must_use]
    pub fn converged(&self) -> bool {
        let truth: Vec<(usize, Ipv4Addr)> = (0..self.sites.len())
            .flat_map(|index| {
                self.sites[index]
                    .hosts
                    .iter()
                    .map(move |host| (index, host.address))
            })
            .collect();
        self.sites.iter().filter(|site| site.up).all(|site| {
            truth
                .iter()
                .all(|(owner, address)| site.router.owner_of(*address) == Some(node_id(*owner)))
        })
    }

    /// Tells whether no router knows an owner of `address`.
    #[must_use]
    pub fn unknown(&self, address: Ipv4Addr) -> bool {
        self.sites
            .iter()
            .all(|site| site.router.owner_of(address).is_none())
    }

    /// Tells whether a probe arrived, and where.
    #[must_use]
    pub fn arrived(&self, id: u32) -> Option<&Delivered> {
        self.delivered.iter().find(|delivered| delivered.id == id)
    }
}

impl Site {
    fn deadline(&self) -> Option<Instant> {
        let router = self.router.poll_timeout().map(|(at, _)| at);
        let forwarder = self.forwarder.poll_timeout().map(|(at, _)| at);
        [router, forwarder, self.streams.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The identity of site `index`.
#[must_use]
pub fn node_id(index: usize) -> NodeId {
    NodeId(u32::try_from(index + 1).expect("few sites"))
}

/// The address that site `index` owns at first.
#[must_use]
pub fn home(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, 10 + u8::try_from(index).expect("few sites"))
}

fn underlay(index: usize) -> SocketAddr {
    let last = 11 + u8::try_from(index).expect("few sites");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), 51820)
}

fn overlay(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, 1 + u8::try_from(index).expect("few sites"))
}

fn private_key(rng: &mut Rng) -> PrivateKey {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes());
    }
    PrivateKey(bytes)
}

fn site(index: usize, keys: &[PrivateKey], rng: &mut Rng, now: Instant) -> Site {
    let config = config(index, keys);
    let stats = Arc::new(Stats::default());
    let device = Device::new(&keys[index], rng.next());
    Site {
        router: Router::new(start(&config, RuntimeState::default(), rng), now),
        forwarder: Forwarder::new(device, Arc::clone(&stats)),
        stats,
        hosts: vec![Host::new(home(index))],
        config,
        state: RuntimeState::default(),
        outputs: 0,
        mac: [2, 0x5A, 0, 0, 0, u8::try_from(index).expect("few sites")],
        pool: BufferPool::new(64),
        tx: TxQueue::new(512),
        streams: Streams::new(overlay(index)),
        up: true,
    }
}

fn start(config: &Config, state: RuntimeState, rng: &mut Rng) -> Start {
    Start {
        config: config.clone(),
        state,
        seed: rng.next(),
    }
}

/// The configuration of site `index`.
#[must_use]
pub fn config(index: usize, keys: &[PrivateKey]) -> Config {
    let nodes = keys
        .iter()
        .enumerate()
        .map(|(at, key)| node(at, key))
        .collect();
    Config {
        fabric: Fabric {
            name: "sim".to_owned(),
            asn: 64577,
            pools: vec![Pool {
                id: 1,
                name: "lan60".to_owned(),
                prefix: "10.77.60.0/24".parse().expect("literal"),
                exclude: BTreeSet::from([Ipv4Addr::new(10, 77, 60, 1)]),
            }],
            transport: Transport {
                port: 51820,
                mtu: TunnelMtu::Auto,
                mss_clamp: true,
                keepalive: Some(Duration::from_secs(5)),
            },
            bgp: BgpSettings {
                hold_time: Duration::from_secs(9),
                connect_retry: Duration::from_secs(1),
                route_reflectors: BTreeSet::from([node_id(0)]),
                max_prefixes: 4096,
            },
            nodes,
        },
        local: Local {
            node: node_id(index),
            private_key: keys[index].clone(),
            preshared_keys: BTreeMap::new(),
            listen_port: 51820,
            tun: "sam0".to_owned(),
            capture: Capture::ProxyArp {
                interface: LAN.to_owned(),
                gratuitous_arp: true,
                active_when: ActiveWhen::SingleRouter,
            },
            owned: BTreeSet::from([home(index)]),
            control_socket: "/run/samctl.sock".into(),
            state_file: None,
        },
    }
}

fn node(index: usize, key: &PrivateKey) -> (NodeId, Node) {
    let id = node_id(index);
    let node = Node {
        id,
        name: format!("site{index}"),
        site: format!("site{index}"),
        role: Role::Onprem,
        overlay: overlay(index),
        endpoint: Some(Endpoint {
            host: EndpointHost::Address(underlay(index).ip()),
            port: underlay(index).port(),
        }),
        public_key: key.public(),
        may: Vec::new(),
    };
    (id, node)
}

fn filled(pool: &mut BufferPool, bytes: &[u8]) -> Buffer {
    let mut buffer = pool
        .take()
        .expect("the pool of a simulation is never empty");
    assert!(buffer.append(bytes), "packet larger than a buffer");
    buffer
}

/// Builds an IPv4 packet without options.
#[must_use]
pub fn ipv4_packet(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    ttl: u8,
    body: &[u8],
) -> Vec<u8> {
    let total = u16::try_from(20 + body.len()).expect("test packets are small");
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, ttl, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let mut sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).expect("folded");
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(body);
    packet
}
