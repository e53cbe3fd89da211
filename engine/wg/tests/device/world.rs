//! Two devices, `a` and `b`, on a link with delay, loss and a virtual clock.
//!
//! ```text
//!   a 192.0.2.1:51820 ----- link: delay, filter ----- 192.0.2.2:51820 b
//! ```
//!
//! Each device has one data path, whose signals it handles at once. Nothing sleeps: [`World::run`] jumps from one arrival
//! or deadline to the next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sam_wg::{
    DataPath, Device, Event, OpenError, Opened, PeerConfig, PeerIndex, PresharedKey, PrivateKey,
    PublicKey, SealError,
};

/// The index under which each device knows the other one.
pub(crate) const PEER: PeerIndex = PeerIndex(3);

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// A datagram on the link.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) arrives: Instant,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Flight {
    /// 1 initiation, 2 response, 3 cookie reply, 4 data.
    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0]
    }

    pub(crate) fn is_keepalive(&self) -> bool {
        self.kind() == 4 && self.bytes.len() == 32
    }
}

/// One device and what came out of it.
pub(crate) struct Node {
    pub(crate) device: Device,
    pub(crate) path: DataPath,
    pub(crate) private: PrivateKey,
    pub(crate) address: SocketAddr,
    pub(crate) received: Vec<Vec<u8>>,
    pub(crate) errors: Vec<OpenError>,
    pub(crate) events: Vec<Event>,
}

/// Decides what the link lets pass, and may change its time of arrival.
pub(crate) type Filter = Box<dyn FnMut(&mut Flight) -> bool>;

/// The two nodes, the link and the clock.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) delay: Duration,
    pub(crate) nodes: [Node; 2],
    pub(crate) flights: Vec<Flight>,
    pub(crate) filter: Filter,
    /// Everything that was sent, lost or not, with its sending time.
    pub(crate) trace: Vec<(Duration, Flight)>,
}

impl World {
    /// Two unconfigured devices.
    pub(crate) fn new(seed: u64) -> Self {
        let start = origin();
        Self {
            now: start,
            start,
            delay: Duration::from_millis(10),
            nodes: [
                Node::new("192.0.2.1:51820", 1, seed, start),
                Node::new("192.0.2.2:51820", 2, !seed, start),
            ],
            flights: Vec::new(),
            filter: Box::new(|_| true),
            trace: Vec::new(),
        }
    }

    /// Two devices that know each other, without keepalives.
    pub(crate) fn connected(seed: u64) -> Self {
        let mut world = Self::new(seed);
        for node in [A, B] {
            let config = world.config(node);
            world.configure(node, &[config]);
        }
        world
    }

    /// As [`Self::connected`], and a session that `a` initiated is in use by both.
    pub(crate) fn established(seed: u64) -> Self {
        let mut world = Self::connected(seed);
        assert_eq!(world.send(A, 0), Err(SealError::NoSession));
        world.run(Duration::from_secs(1));
        world.nodes.iter_mut().for_each(|node| node.events.clear());
        world.trace.clear();
        world
    }

    /// What `node` has to be configured with to know the other one.
    pub(crate) fn config(&self, node: usize) -> PeerConfig {
        let other = &self.nodes[1 - node];
        PeerConfig {
            index: PEER,
            public_key: other.private.public(),
            preshared_key: None,
            endpoint: Some(other.address),
            persistent_keepalive: None,
            roaming: true,
        }
    }

    pub(crate) fn configure(&mut self, node: usize, peers: &[PeerConfig]) {
        self.nodes[node].device.set_peers(peers, self.now);
        self.drain(node);
    }

    /// Configures both nodes with changes to the usual configuration.
    pub(crate) fn configure_both(&mut self, change: impl Fn(&mut PeerConfig)) {
        for node in [A, B] {
            let mut config = self.config(node);
            change(&mut config);
            self.configure(node, &[config]);
        }
    }

    /// Replaces a node by one with the same keys and configuration that remembers nothing.
    pub(crate) fn restart(&mut self, node: usize, seed: u64) {
        let (wall, former) = (WALL + self.since_start(), &self.nodes[node]);
        let device = Device::new(&former.private, seed_of(seed), wall, self.now);
        self.nodes[node].path = device.data_path();
        self.nodes[node].device = device;
        let config = self.config(node);
        self.configure(node, &[config]);
    }

    pub(crate) fn set_endpoint(&mut self, node: usize, endpoint: SocketAddr) {
        self.nodes[node]
            .device
            .set_endpoint(PEER, endpoint, self.now);
        self.drain(node);
    }

    /// Seals `packet(number)` at `node` and puts it on the link.
    pub(crate) fn send(&mut self, node: usize, number: u32) -> Result<(), SealError> {
        let mut out = [0; 2048];
        let path = &mut self.nodes[node].path;
        let sealed = path.seal(PEER, &packet(number), &mut out, self.now);
        if let Ok(len) = sealed {
            let destination = self.nodes[node].path.endpoint(PEER).unwrap();
            self.transmit(node, destination, &out[..len]);
        }
        self.drain(node);
        sealed.map(|_| ())
    }

    /// Lets `node` receive `bytes` from `source` right now.
    pub(crate) fn deliver(
        &mut self,
        node: usize,
        source: SocketAddr,
        bytes: &[u8],
    ) -> Result<Opened, OpenError> {
        let mut out = vec![0; bytes.len()];
        let (now, receiver) = (self.now, &mut self.nodes[node]);
        let opened = match receiver.path.open(source, bytes, &mut out, now) {
            Ok(Opened::Handshake) => {
                let handled = receiver.device.handle_message(source, bytes, now);
                handled.map(|()| Opened::Handshake)
            }
            opened => opened,
        };
        match opened {
            Ok(Opened::Packet { peer, len }) => {
                assert_eq!(peer, PEER);
                receiver.received.push(out[..len].to_vec());
            }
            Ok(Opened::Keepalive | Opened::Handshake) => {}
            Err(error) => receiver.errors.push(error),
        }
        self.drain(node);
        opened
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..1_000_000 {
            let arrival = self.flights.iter().map(|flight| flight.arrives).min();
            let wakes = self
                .nodes
                .iter()
                .filter_map(|node| node.device.poll_timeout());
            let next = wakes.map(|(at, _)| at).chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
        panic!("time does not pass: {:?}", self.nodes[A].device);
    }

    /// Runs in steps of `interval` and sends a numbered packet from each of `senders` in each step.
    pub(crate) fn chat(&mut self, senders: &[usize], steps: u32, interval: Duration) {
        for number in 0..steps {
            for sender in senders {
                self.send(*sender, number).unwrap();
            }
            self.run(interval);
        }
    }

    /// When datagrams of `kind` left `node`, in whole milliseconds since the start.
    pub(crate) fn sent_ms(&self, node: usize, kind: u8) -> Vec<u128> {
        let from = self.nodes[node].address;
        let sent = self
            .trace
            .iter()
            .filter(|(_, f)| f.source == from && f.kind() == kind);
        sent.map(|(at, _)| at.as_millis()).collect()
    }

    /// When keepalives left `node`.
    pub(crate) fn keepalives_ms(&self, node: usize) -> Vec<u128> {
        let from = self.nodes[node].address;
        let sent = self
            .trace
            .iter()
            .filter(|(_, f)| f.source == from && f.is_keepalive());
        sent.map(|(at, _)| at.as_millis()).collect()
    }

    /// The receiver index that a packet sealed at `node` now bears: names the session in use.
    pub(crate) fn session_in_use(&mut self, node: usize) -> [u8; 4] {
        let mut out = [0; 2048];
        let path = &mut self.nodes[node].path;
        path.seal(PEER, &packet(0), &mut out, self.now).unwrap();
        out[4..8].try_into().unwrap()
    }

    pub(crate) fn since_start(&self) -> Duration {
        self.now - self.start
    }

    fn step(&mut self) {
        let due: Vec<_> = self
            .flights
            .extract_if(.., |f| f.arrives <= self.now)
            .collect();
        for flight in due {
            let node = self
                .nodes
                .iter()
                .position(|node| node.address == flight.destination);
            if let Some(node) = node {
                // Errors are collected in the node.
                let _opened = self.deliver(node, flight.source, &flight.bytes);
            }
        }
        for node in [A, B] {
            self.nodes[node].device.handle_timeout(self.now);
            self.drain(node);
        }
    }

    pub(crate) fn drain(&mut self, node: usize) {
        let mut out = [0; 148];
        let Node { path, device, .. } = &mut self.nodes[node];
        while let Some(signal) = path.poll_signal() {
            device.handle_signal(signal, self.now);
        }
        path.refresh();
        while let Some((to, len)) = self.nodes[node].device.poll_transmit(&mut out) {
            self.transmit(node, to, &out[..len]);
        }
        while let Some(event) = self.nodes[node].device.poll_event() {
            self.nodes[node].events.push(event);
        }
    }

    fn transmit(&mut self, node: usize, destination: SocketAddr, bytes: &[u8]) {
        let source = self.nodes[node].address;
        let arrives = self.now + self.delay;
        let mut flight = Flight {
            arrives,
            source,
            destination,
            bytes: bytes.to_vec(),
        };
        self.trace.push((self.since_start(), flight.clone()));
        if (self.filter)(&mut flight) {
            self.flights.push(flight);
        }
    }
}

impl Node {
    fn new(address: &str, key: u8, seed: u64, now: Instant) -> Self {
        let private = PrivateKey::generate([key; 32]);
        let device = Device::new(&private, seed_of(seed), WALL, now);
        Self {
            path: device.data_path(),
            device,
            private,
            address: address.parse().unwrap(),
            received: Vec::new(),
            errors: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(crate) fn status(&self) -> sam_wg::PeerStatus {
        self.device.status().remove(0)
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.private.public()
    }
}

/// The wall clock at the start.
pub(crate) const WALL: Duration = Duration::from_secs(1_800_000_000);

pub(crate) fn seed_of(number: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    seed
}

/// An IPv4 packet that carries `number`.
pub(crate) fn packet(number: u32) -> Vec<u8> {
    let mut bytes = vec![
        0x45, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    bytes.extend(number.to_be_bytes());
    bytes
}

pub(crate) fn packets(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(packet).collect()
}

pub(crate) fn preshared(byte: u8) -> Option<PresharedKey> {
    Some(PresharedKey([byte; 32]))
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[expect(
    clippy::disallowed_methods,
    reason = "any instant serves as the origin of virtual time"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
