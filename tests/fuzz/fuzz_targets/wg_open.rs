//! Whatever arrives, in whatever order and after whatever time: a WireGuard device does not panic, delivers only what
//! its peer has sealed, and the two devices understand each other afterwards.
//!
//! The input is a list of steps: a kind, an argument, and for raw datagrams a length and the bytes.

#![no_main]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sam_wg::{DataPath, Device, Opened, PeerConfig, PeerIndex, PrivateKey};

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut input = input.iter().copied();
    while let (Some(kind), Some(argument)) = (input.next(), input.next()) {
        let to = usize::from(argument & 1);
        match kind % 5 {
            0 => {
                let len = usize::from(input.next().unwrap_or(0));
                let bytes: Vec<u8> = input.by_ref().take(len).collect();
                world.deliver(to, &bytes);
            }
            1 => {
                // A recorded datagram with one changed byte; a change by 0 replays it.
                let (position, bits) = (input.next().unwrap_or(0), input.next().unwrap_or(0));
                let count = world.recorded.len().max(1);
                if let Some(mut bytes) = world.recorded.get(usize::from(argument) % count).cloned() {
                    let position = usize::from(position) % bytes.len();
                    bytes[position] ^= bits;
                    world.deliver(to, &bytes);
                }
            }
            2 => world.pass(Duration::from_millis(u64::from(argument) * 100)),
            3 => world.pass(Duration::from_secs(u64::from(argument))),
            _ => world.send(to),
        }
    }
    world.assert_alive();
});

struct World {
    now: Instant,
    devices: [Device; 2],
    paths: [DataPath; 2],
    /// Every datagram that a device sent, the newest 64.
    recorded: Vec<Vec<u8>>,
    /// Inner packets sealed so far.
    sealed: BTreeSet<Vec<u8>>,
    next: u32,
}

impl World {
    fn new() -> Self {
        let keys = [PrivateKey::generate([1; 32]), PrivateKey::generate([2; 32])];
        let now = Instant::now();
        let devices = [0, 1].map(|own| {
            let wall = Duration::from_secs(1_800_000_000);
            let mut device = Device::new(&keys[own], [own as u8; 32], wall, now);
            let config = PeerConfig {
                index: PEER,
                public_key: keys[1 - own].public(),
                preshared_key: None,
                endpoint: Some(address(1 - own)),
                persistent_keepalive: Some(Duration::from_secs(25)),
                roaming: true,
            };
            device.set_peers(&[config], now);
            device
        });
        let paths = [0, 1].map(|own: usize| devices[own].data_path());
        let (recorded, sealed) = (Vec::new(), BTreeSet::new());
        let mut world = Self { now, devices, paths, recorded, sealed, next: 0 };
        world.settle();
        world
    }

    /// Lets device `to` receive `bytes` and checks what it makes of them.
    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let (mut out, from) = (vec![0; bytes.len()], address(1 - to));
        match self.paths[to].open(from, bytes, &mut out, self.now) {
            Ok(Opened::Packet { peer, len }) => {
                assert_eq!(peer, PEER);
                assert!(self.sealed.contains(&out[..len]), "a packet that nobody sealed");
            }
            Ok(Opened::Handshake) => {
                let _handled = self.devices[to].handle_message(from, bytes, self.now);
            }
            Ok(Opened::Keepalive) | Err(_) => {}
        }
        self.exchange(to);
    }

    /// Lets a device and its data path know what the other one knows.
    fn exchange(&mut self, own: usize) {
        while let Some(signal) = self.paths[own].poll_signal() {
            self.devices[own].handle_signal(signal, self.now);
        }
        self.paths[own].refresh();
    }

    /// Seals a packet that carries its number.
    fn send(&mut self, from: usize) {
        let mut inner = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        inner.extend(self.next.to_be_bytes());
        self.next += 1;
        let mut out = [0; 148];
        let sealed = self.paths[from].seal(PEER, &inner, &mut out, self.now);
        self.exchange(from);
        if let Ok(len) = sealed {
            self.sealed.insert(inner);
            self.record(&out[..len]);
            self.deliver(1 - from, &out[..len]);
        }
        self.settle();
    }

    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        for device in &mut self.devices {
            device.handle_timeout(self.now);
        }
        self.settle();
    }

    /// Exchanges what waits, until nothing does.
    fn settle(&mut self) {
        for _ in 0..100 {
            let mut quiet = true;
            for from in [0, 1] {
                self.exchange(from);
                let mut out = [0; 148];
                while let Some((_, len)) = self.devices[from].poll_transmit(&mut out) {
                    quiet = false;
                    self.record(&out[..len]);
                    self.deliver(1 - from, &out[..len]);
                }
                while self.devices[from].poll_event().is_some() {}
            }
            if quiet {
                return;
            }
        }
        panic!("the devices talk without end");
    }

    fn record(&mut self, bytes: &[u8]) {
        if self.recorded.len() == 64 {
            self.recorded.remove(0);
        }
        self.recorded.push(bytes.to_vec());
    }

    /// With keepalives and a link that works, a session is up after the retry of a handshake at the latest.
    fn assert_alive(&mut self) {
        for _ in 0..300 {
            self.pass(Duration::from_secs(1));
        }
        assert!(self.paths.iter().all(|path| path.has_session(PEER)));
    }
}

const PEER: PeerIndex = PeerIndex(1);

fn address(device: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + device as u8], 51820))
}
