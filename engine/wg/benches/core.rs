//! What a packet and a handshake cost in our core, beside boringtun, in one run.
//!
//! `cargo bench -p sam-wg` prints nanoseconds per packet and microseconds per handshake; a handshake is the work of both
//! sides together, up to the first packet that the responder opens.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench may fail by panic, and its time starts now"
)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sam_wg::{DataPath, Device, Opened, PeerConfig, PeerIndex, PrivateKey, Signal};

criterion_group!(benches, packets, handshakes);
criterion_main!(benches);

fn packets(criterion: &mut Criterion) {
    for len in [64, 1420] {
        let inner = packet(len);
        let mut group = criterion.benchmark_group("seal");
        group.throughput(Throughput::Bytes(u64::from(len)));
        let (mut ours, mut theirs, mut out) = (Ours::new(), Theirs::new(), vec![0; 2048]);
        group.bench_function(BenchmarkId::new("ours", len), |bencher| {
            bencher.iter(|| ours.seal(black_box(&inner), &mut out));
        });
        group.bench_function(BenchmarkId::new("boringtun", len), |bencher| {
            bencher.iter(|| theirs.seal(black_box(&inner), &mut out));
        });
        group.finish();
        let mut group = criterion.benchmark_group("open");
        group.throughput(Throughput::Bytes(u64::from(len)));
        group.bench_function(BenchmarkId::new("ours", len), |bencher| {
            let [sealer, opener] = &mut ours.paths;
            bencher.iter_batched_ref(
                || sealed(|out| sealer.seal(PEER, &inner, out, ours.now).unwrap()),
                |datagram| {
                    let opened = opener.open(ADDRESS, datagram, &mut out, ours.now);
                    assert!(matches!(opened, Ok(Opened::Packet { .. })));
                },
                BATCH,
            );
        });
        group.bench_function(BenchmarkId::new("boringtun", len), |bencher| {
            let [sealer, opener] = &mut theirs.tunns;
            bencher.iter_batched_ref(
                || sealed(|out| written(&sealer.encapsulate(&inner, out))),
                |datagram| {
                    let opened = opener.decapsulate(None, datagram, &mut out);
                    assert!(matches!(opened, TunnResult::WriteToTunnelV4(..)));
                },
                BATCH,
            );
        });
        group.finish();
    }
}

fn handshakes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    let (mut ours, mut theirs) = (Ours::new(), Theirs::new());
    group.bench_function("ours", |bencher| bencher.iter(|| ours.handshake()));
    group.bench_function("boringtun", |bencher| bencher.iter(|| theirs.handshake()));
    group.finish();
}

/// Two devices with a session.
struct Ours {
    devices: [Device; 2],
    paths: [DataPath; 2],
    configs: [PeerConfig; 2],
    now: Instant,
}

impl Ours {
    fn new() -> Self {
        let (keys, now) = (keys(), Instant::now());
        let devices = [[3; 32], [4; 32]];
        let mut own = keys.iter();
        let devices = devices.map(|seed| {
            let key = own.next().unwrap();
            Device::new(key, seed, Duration::from_secs(1_800_000_000), now)
        });
        let configs = [1, 0].map(|other: usize| PeerConfig {
            index: PEER,
            public_key: keys[other].public(),
            preshared_key: None,
            endpoint: Some(ADDRESS),
            persistent_keepalive: None,
            roaming: true,
        });
        let mut ours = Self {
            paths: [devices[0].data_path(), devices[1].data_path()],
            devices,
            configs,
            now,
        };
        let responder = std::slice::from_ref(&ours.configs[1]);
        ours.devices[1].set_peers(responder, now);
        ours.handshake();
        ours
    }

    fn seal(&mut self, inner: &[u8], out: &mut [u8]) -> usize {
        self.paths[0].seal(PEER, inner, out, self.now).unwrap()
    }

    /// Lets the first device forget its peer and find it again.
    fn handshake(&mut self) {
        self.now += Duration::from_secs(1);
        let (now, [a, b]) = (self.now, &mut self.devices);
        a.set_peers(&[], now);
        a.set_peers(std::slice::from_ref(&self.configs[0]), now);
        a.handle_signal(Signal::SessionWanted { peer: PEER }, now);
        let mut message = [0; 148];
        let (_, len) = a.poll_transmit(&mut message).unwrap();
        b.handle_message(ADDRESS, &message[..len], now).unwrap();
        let (_, len) = b.poll_transmit(&mut message).unwrap();
        a.handle_message(ADDRESS, &message[..len], now).unwrap();
        let (_, len) = a.poll_transmit(&mut message).unwrap();
        let [ours, theirs] = &mut self.paths;
        theirs.refresh();
        let opened = theirs.open(ADDRESS, &message[..len], &mut [0; 148], now);
        assert_eq!(opened, Ok(Opened::Keepalive));
        while let Some(signal) = theirs.poll_signal() {
            b.handle_signal(signal, now);
        }
        ours.refresh();
        for device in &mut self.devices {
            while device.poll_event().is_some() {}
        }
    }
}

/// Two `Tunn`s with a session.
struct Theirs {
    tunns: [Tunn; 2],
}

impl Theirs {
    fn new() -> Self {
        let keys = keys();
        let tunns = [0, 1].map(|own: usize| {
            let public = |side: usize| x25519::PublicKey::from(keys[side].public().0);
            let limiter = Arc::new(RateLimiter::new(&public(own), u64::MAX));
            let secret = x25519::StaticSecret::from(keys[own].0);
            Tunn::new(secret, public(1 - own), None, None, 7, Some(limiter))
        });
        let mut theirs = Self { tunns };
        theirs.handshake();
        theirs
    }

    fn seal(&mut self, inner: &[u8], out: &mut [u8]) -> usize {
        written(&self.tunns[0].encapsulate(inner, out))
    }

    fn handshake(&mut self) {
        let [a, b] = &mut self.tunns;
        let (mut first, mut second) = ([0; 148], [0; 148]);
        let len = written(&a.format_handshake_initiation(&mut first, true));
        let len = written(&b.decapsulate(None, &first[..len], &mut second));
        let len = written(&a.decapsulate(None, &second[..len], &mut first));
        let done = b.decapsulate(None, &first[..len], &mut second);
        assert!(matches!(done, TunnResult::Done));
    }
}

fn written(result: &TunnResult<'_>) -> usize {
    let TunnResult::WriteToNetwork(bytes) = result else {
        panic!("{result:?}");
    };
    bytes.len()
}

fn sealed(seal: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut datagram = vec![0; 1500];
    let len = seal(&mut datagram);
    datagram.truncate(len);
    datagram
}

fn packet(len: u16) -> Vec<u8> {
    let mut bytes = vec![7; usize::from(len)];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

fn keys() -> [PrivateKey; 2] {
    [1, 2].map(|byte| PrivateKey::generate([byte; 32]))
}

const PEER: PeerIndex = PeerIndex(0);
const ADDRESS: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    51820,
);
/// Packets sealed before as many are opened: they fit into the second-level cache and into every replay window.
const BATCH: BatchSize = BatchSize::NumIterations(256);
