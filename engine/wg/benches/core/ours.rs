//! Our core: a device on each side, and a data path for each worker.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sam_wg::{
    DataPath, Device, Opened, Order, PeerConfig, PeerIndex, PrivateKey, PublicKey, Run, Signal,
};

use crate::tunnels::{Core, Side, Train, Tunnels, Worker};

/// Our core.
pub(crate) struct Ours;

/// Our core again, whose workers open one datagram at a time.
pub(crate) struct OneByOne;

/// A device.
pub(crate) struct OurSide {
    /// Handshakes.
    pub(crate) device: Device,
    /// What the thread of the handshakes opens with.
    pub(crate) path: DataPath,
}

/// The data path of one thread.
pub(crate) struct OurWorker {
    path: DataPath,
    together: bool,
    out: Vec<u8>,
}

/// A side of [`OneByOne`].
pub(crate) struct Single(OurSide);

impl Core for Ours {
    type Side = OurSide;

    fn tunnels(count: usize) -> Tunnels<OurSide> {
        let now = Instant::now();
        let near_key = key(0);
        let far_keys: Vec<_> = (1..=count).map(key).collect();
        let far = far_keys.iter().map(|key| {
            let mut side = OurSide::new(key, now);
            side.set_peers(&[near_key.public()], now);
            side
        });
        let mut far: Vec<_> = far.collect();
        let mut near = OurSide::new(&near_key, now);
        let peers: Vec<_> = far_keys.iter().map(PrivateKey::public).collect();
        near.set_peers(&peers, now);
        for (tunnel, far) in far.iter_mut().enumerate() {
            shake_hands((&mut near, tunnel), (far, 0), now);
        }
        Tunnels { near, far }
    }
}

impl Core for OneByOne {
    type Side = Single;

    fn tunnels(count: usize) -> Tunnels<Single> {
        let Tunnels { near, far } = Ours::tunnels(count);
        Tunnels {
            near: Single(near),
            far: far.into_iter().map(Single).collect(),
        }
    }
}

impl OurSide {
    /// Makes a side without peers.
    pub(crate) fn new(key: &PrivateKey, now: Instant) -> Self {
        let device = Device::new(key, [3; 32], WALL, now);
        Self {
            path: device.data_path(),
            device,
        }
    }

    /// Has these peers, each at the address of its number.
    pub(crate) fn set_peers(&mut self, keys: &[PublicKey], now: Instant) {
        let peers: Vec<_> = keys.iter().enumerate().map(config).collect();
        self.device.set_peers(&peers, now);
    }

    /// Receives a datagram from the peer of this number; what is sent in return waits in the device.
    pub(crate) fn receive(&mut self, peer: usize, datagram: &[u8], now: Instant) {
        self.path.refresh();
        let mut out = [0; 256];
        let opened = self.path.open(address(peer), datagram, &mut out, now);
        if opened == Ok(Opened::Handshake) {
            self.device
                .handle_message(address(peer), datagram, now)
                .expect("a handshake");
        }
        while let Some(signal) = self.path.poll_signal() {
            self.device.handle_signal(signal, now);
        }
    }
}

impl Side for OurSide {
    type Worker<'a> = OurWorker;

    fn worker(&self) -> OurWorker {
        OurWorker {
            path: self.device.data_path(),
            together: true,
            out: vec![0; 2048],
        }
    }
}

impl Side for Single {
    type Worker<'a> = OurWorker;

    fn worker(&self) -> OurWorker {
        let mut worker = self.0.worker();
        worker.together = false;
        worker
    }
}

impl OurWorker {
    /// Pads what it seals to 16 bytes, up to a limit, from now on.
    pub(crate) fn pad_up_to(&mut self, limit: usize) {
        self.path.pad_up_to(limit);
    }

    /// Makes a train for what it seals of packets of so many bytes.
    pub(crate) fn train(&self, inner: usize) -> Train {
        Train::new(self.path.sealed_len(inner) - sam_wg::OVERHEAD)
    }

    fn end_batch(&mut self) {
        while self.path.poll_signal().is_some() {}
        self.path.refresh();
    }
}

impl Worker for OurWorker {
    fn seal(&mut self, tunnel: usize, inner: &[u8], train: &mut Train) {
        let (now, peer) = (Instant::now(), peer(tunnel));
        for slot in train.slots() {
            let sealed = self.path.seal(peer, inner, slot, now);
            assert_eq!(sealed, Ok(slot.len()));
        }
        self.end_batch();
    }

    fn open(&mut self, tunnel: usize, train: &mut Train) {
        let (now, from) = (Instant::now(), address(tunnel));
        if self.together {
            let run = Run {
                from,
                segment: train.segment,
                order: Order::Kept,
            };
            self.path.open_run(run, &mut train.bytes, now);
            while let Some(opened) = self.path.poll_opened() {
                assert!(matches!(opened, Ok(Opened::Packet { .. })), "{opened:?}");
            }
        } else {
            for datagram in train.slots() {
                let opened = self.path.open(from, datagram, &mut self.out, now);
                assert!(matches!(opened, Ok(Opened::Packet { .. })), "{opened:?}");
            }
        }
        self.end_batch();
    }
}

/// Has a peer of one side begin a handshake with a peer of the other side, up to the first packet that the responder opens.
pub(crate) fn shake_hands(
    (a, to_b): (&mut OurSide, usize),
    (b, to_a): (&mut OurSide, usize),
    now: Instant,
) {
    let wanted = Signal::SessionWanted { peer: peer(to_b) };
    a.device.handle_signal(wanted, now);
    let mut message = [0; sam_wg::HANDSHAKE_MAX];
    for _ in 0..2 {
        while let Some((_, len)) = a.device.poll_transmit(&mut message) {
            b.receive(to_a, &message[..len], now);
        }
        while let Some((_, len)) = b.device.poll_transmit(&mut message) {
            a.receive(to_b, &message[..len], now);
        }
    }
    for side in [a, b] {
        while side.device.poll_event().is_some() {}
    }
}

/// The private key of a number.
pub(crate) fn key(number: usize) -> PrivateKey {
    let number = u8::try_from(number).expect("a few");
    PrivateKey::generate([number + 1; 32])
}

/// The address of a peer.
pub(crate) fn address(peer: usize) -> SocketAddr {
    let number = u8::try_from(peer).expect("a few");
    SocketAddr::from(([192, 0, 2, number], 51820))
}

fn peer(tunnel: usize) -> PeerIndex {
    PeerIndex(u16::try_from(tunnel).expect("a few"))
}

fn config((number, key): (usize, &PublicKey)) -> PeerConfig {
    PeerConfig {
        index: peer(number),
        public_key: *key,
        preshared_key: None,
        endpoint: Some(address(number)),
        persistent_keepalive: None,
        roaming: true,
    }
}

/// Before the clock of the machine, by which boringtun makes its timestamps.
const WALL: Duration = Duration::from_secs(1_000_000_000);
