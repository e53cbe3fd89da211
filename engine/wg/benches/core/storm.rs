//! Handshakes: what one costs, what initiations cost that are refused or answered, and what a storm of them leaves of the
//! throughput.
//!
//! boringtun's part is what its own device does with a datagram: limits by one count for all sources, then the key of the
//! sender, then the lock of the tunnel.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use sam_wg::Opened;

use crate::ours::{OurSide, Ours, address, key, shake_hands};
use crate::theirs::{self, public, secret, tunn, written};
use crate::tunnels::{Core, Side, TRAIN, Train, Tunnels, Worker, packet};
use crate::turns::{Bench, Slice};

/// A whole handshake, and single initiations by what becomes of them.
pub(crate) fn costs(bench: &Bench) {
    bench.title("one thread, µs per message", &["ours", "boringtun"]);
    let mut slices = [our_handshakes(), their_handshakes()];
    bench.row("handshake, both sides", &mut slices);
    for flood in Flood::ALL {
        let mut slices = [flood.cost(OurGate::new), flood.cost(TheirGate::new)];
        bench.row(flood.name(), &mut slices);
    }
}

/// Packets that one thread seals while another one is flooded.
pub(crate) fn throughput(bench: &Bench) {
    let columns = ["ours", "boringtun"];
    bench.title("thousand packets/s sealed meanwhile, 1420 B", &columns);
    bench.long_row("no storm", &mut [calm(OurGate::new), calm(TheirGate::new)]);
    for flood in [
        Flood::Forged,
        Flood::Unproven,
        Flood::Proven,
        Flood::Stranger,
        Flood::Peer,
    ] {
        let mut slices = [flood.storm(OurGate::new), flood.storm(TheirGate::new)];
        bench.long_row(flood.name(), &mut slices);
    }
}

/// Initiations of one kind.
#[derive(Debug, Clone, Copy)]
enum Flood {
    /// mac1 is wrong.
    Forged,
    /// Over the limit, without a cookie, from many addresses.
    Unproven,
    /// Over the limit, with the right cookie, from one address.
    Proven,
    /// Within the limit, from a key that no peer has.
    Stranger,
    /// Within the limit, of a peer, and fresh.
    Peer,
    /// The same one again and again.
    Replayed,
}

impl Flood {
    const ALL: [Self; 6] = [
        Self::Forged,
        Self::Unproven,
        Self::Proven,
        Self::Stranger,
        Self::Replayed,
        Self::Peer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Forged => "wrong mac1",
            Self::Unproven => "many sources, no cookie",
            Self::Proven => "one source, with its cookie",
            Self::Stranger => "unknown key",
            Self::Replayed => "of the peer, replayed",
            Self::Peer => "of the peer, fresh",
        }
    }

    /// Whether the limits are to be reached.
    fn load(self) -> Load {
        match self {
            Self::Forged | Self::Unproven | Self::Proven => Load::Heavy,
            Self::Stranger | Self::Replayed | Self::Peer => Load::Light,
        }
    }

    /// Makes initiations to the owner of key 0.
    fn messages(self, count: usize, gate: &mut impl Gate) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut sender = match self {
            Self::Replayed | Self::Peer => tunn(1, 0),
            Self::Forged | Self::Unproven | Self::Proven | Self::Stranger => tunn(STRANGER, 0),
        };
        let mut first = initiation(&mut sender);
        match self {
            Self::Forged => {
                first[120] ^= 1;
                vec![(address(1), first); count]
            }
            Self::Unproven => {
                let sources = 0..u32::try_from(count).expect("a few");
                let sources = sources.map(|n| SocketAddr::from((n.to_be_bytes(), 1000)));
                sources.map(|source| (source, first.clone())).collect()
            }
            Self::Proven => {
                let reply = (0..1000).find_map(|_| gate.handle(address(9), &first));
                let mut scratch = [0; 148];
                let taken = sender.decapsulate(None, &reply.expect("a cookie"), &mut scratch);
                assert!(matches!(taken, TunnResult::Done));
                vec![(address(9), initiation(&mut sender)); count]
            }
            Self::Stranger | Self::Replayed => vec![(address(1), first); count],
            Self::Peer => {
                let all = (0..count).map(|_| (address(1), initiation(&mut sender)));
                all.collect()
            }
        }
    }

    /// First byte of what is sent in return.
    fn reply(self) -> Option<u8> {
        match self {
            Self::Unproven => Some(3),
            Self::Peer => Some(2),
            Self::Forged | Self::Proven | Self::Stranger | Self::Replayed => None,
        }
    }

    /// Microseconds for each.
    fn cost<G: Gate + 'static>(self, make: fn(Load) -> G) -> Slice<'static> {
        let mut gate = make(self.load());
        Box::new(move || {
            let messages = self.messages(AT_ONCE, &mut gate);
            if matches!(self, Self::Proven | Self::Replayed) {
                // Only the first ones are anything else.
                messages.iter().for_each(|(from, message)| {
                    gate.handle(*from, message);
                });
            }
            let start = Instant::now();
            for (from, message) in &messages {
                let reply = gate.handle(*from, message);
                assert_eq!(
                    reply.as_ref().map(|reply| reply[0]),
                    self.reply(),
                    "{self:?}"
                );
            }
            start.elapsed().as_secs_f64() * 1e6 / messages.len() as f64
        })
    }

    /// Thousand packets per second that are sealed meanwhile, with limits as they are in earnest.
    fn storm<G: Gate + Send + 'static>(self, make: fn(Load) -> G) -> Slice<'static> {
        let mut gate = make(Load::Real);
        Box::new(move || {
            let messages = self.messages(IN_TURN, &mut gate);
            let (sealer, ended) = (gate.sealer(), AtomicBool::new(false));
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut messages = messages.iter().cycle();
                    while !ended.load(Relaxed)
                        && let Some((from, message)) = messages.next()
                    {
                        gate.handle(*from, message);
                    }
                });
                let rate = scope.spawn(|| sealed(sealer)).join();
                ended.store(true, Relaxed);
                rate.expect("no panic")
            })
        })
    }
}

/// How the limits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// None is reached.
    Light,
    /// All are used up.
    Heavy,
    /// By the clock.
    Real,
}

/// Seals a train for the peer.
type Sealer = Box<dyn FnMut(&mut Train) + Send>;

/// What looks at the handshake messages of the owner of key 0, whose peer has key 1.
trait Gate {
    /// Handles a message; returns what is to be sent in return.
    fn handle(&mut self, from: SocketAddr, message: &[u8]) -> Option<Vec<u8>>;

    /// Makes what seals meanwhile.
    fn sealer(&self) -> Sealer;
}

/// Our device, and the data path that looks at a message first.
struct OurGate {
    side: OurSide,
    now: Instant,
    load: Load,
}

impl OurGate {
    fn new(load: Load) -> Self {
        let now = Instant::now();
        let Tunnels { near, .. } = Ours::tunnels(1);
        let mut gate = Self {
            side: near,
            now,
            load,
        };
        if load == Load::Heavy {
            let message = initiation(&mut tunn(STRANGER, 0));
            for number in 0..300_u32 {
                let source = SocketAddr::from((number.to_be_bytes(), 1000));
                gate.handle(source, &message);
            }
        }
        gate
    }
}

impl Gate for OurGate {
    fn handle(&mut self, from: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
        match self.load {
            Load::Light => self.now += Duration::from_secs(1),
            Load::Heavy => {}
            Load::Real => self.now = Instant::now(),
        }
        let (now, mut out) = (self.now, [0; 148]);
        let opened = self.side.path.open(from, message, &mut out, now);
        if opened == Ok(Opened::Handshake) {
            self.side.device.handle_message(from, message, now).ok();
        }
        let sent = self.side.device.poll_transmit(&mut out);
        sent.map(|(_, len)| out[..len].to_vec())
    }

    fn sealer(&self) -> Sealer {
        let (mut worker, inner) = (self.side.worker(), packet(1420));
        Box::new(move |train| worker.seal(0, &inner, train))
    }
}

/// What boringtun's device keeps for a message without a connected socket.
struct TheirGate {
    limiter: RateLimiter,
    keys: (StaticSecret, PublicKey),
    peer: PublicKey,
    tunn: Arc<Mutex<Tunn>>,
    reset: Instant,
}

impl TheirGate {
    fn new(load: Load) -> Self {
        let limit = match load {
            Load::Light => u64::MAX,
            Load::Heavy => 0,
            // As its device has it.
            Load::Real => 100,
        };
        let (mut near, mut far) = (tunn(0, 1), tunn(1, 0));
        theirs::shake_hands(&mut near, &mut far);
        Self {
            limiter: RateLimiter::new(&public(0), limit),
            keys: (secret(0), public(0)),
            peer: public(1),
            tunn: Arc::new(Mutex::new(near)),
            reset: Instant::now(),
        }
    }
}

impl Gate for TheirGate {
    fn handle(&mut self, from: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
        if self.reset.elapsed() >= Duration::from_millis(250) {
            self.limiter.reset_count();
            self.reset = Instant::now();
        }
        let mut out = [0; 148];
        let (secret, own) = &self.keys;
        match self
            .limiter
            .verify_packet(Some(from.ip()), message, &mut out)
        {
            Ok(Packet::HandshakeInit(initiation)) => {
                let sender = parse_handshake_anon(secret, own, &initiation).ok()?;
                if sender.peer_static_public != *self.peer.as_bytes() {
                    return None;
                }
                let mut tunn = self.tunn.lock().expect("nobody panics");
                // What its device calls here does not check mac1 again, which is half a microsecond.
                let answered = tunn.decapsulate(None, message, &mut out);
                let TunnResult::WriteToNetwork(reply) = answered else {
                    return None;
                };
                Some(reply.to_vec())
            }
            Err(TunnResult::WriteToNetwork(reply)) => Some(reply.to_vec()),
            _ => None,
        }
    }

    fn sealer(&self) -> Sealer {
        let (tunn, inner) = (Arc::clone(&self.tunn), packet(1420));
        Box::new(move |train| theirs::seal(&tunn, &inner, train))
    }
}

/// Thousand packets per second without a storm.
fn calm<G: Gate + 'static>(make: fn(Load) -> G) -> Slice<'static> {
    let gate = make(Load::Real);
    Box::new(move || sealed(gate.sealer()))
}

/// Thousand packets per second.
fn sealed(mut sealer: Sealer) -> f64 {
    let (start, mut train, mut trains) = (Instant::now(), Train::new(1420), 0);
    while start.elapsed() < SLICE {
        sealer(&mut train);
        trains += 1;
    }
    (trains * TRAIN) as f64 / start.elapsed().as_secs_f64() / 1e3
}

fn initiation(sender: &mut Tunn) -> Vec<u8> {
    let mut message = [0; 148];
    let len = written(&sender.format_handshake_initiation(&mut message, true));
    message[..len].to_vec()
}

/// Microseconds for a handshake of ours: the first device forgets its peer and finds it again.
fn our_handshakes() -> Slice<'static> {
    let mut now = Instant::now();
    let (mut a, mut b) = (OurSide::new(&key(0), now), OurSide::new(&key(1), now));
    b.set_peers(&[key(0).public()], now);
    Box::new(move || {
        now += Duration::from_secs(1);
        let start = Instant::now();
        a.set_peers(&[], now);
        a.set_peers(&[key(1).public()], now);
        shake_hands((&mut a, 0), (&mut b, 0), now);
        start.elapsed().as_secs_f64() * 1e6
    })
}

fn their_handshakes() -> Slice<'static> {
    let (mut a, mut b) = (tunn(0, 1), tunn(1, 0));
    Box::new(move || {
        let start = Instant::now();
        theirs::shake_hands(&mut a, &mut b);
        start.elapsed().as_secs_f64() * 1e6
    })
}

/// The key of somebody whom nobody knows.
const STRANGER: usize = 77;
/// Messages in a slice: so few that it is seldom interrupted.
const AT_ONCE: usize = 4;
/// Different messages of a storm.
const IN_TURN: usize = 64;
/// Length of a slice of a storm.
const SLICE: Duration = Duration::from_millis(50);
