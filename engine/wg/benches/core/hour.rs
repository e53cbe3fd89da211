//! An hour with a renewal every twenty seconds, both directions at once, on a link that lets one datagram in a hundred come
//! late: how many packets do not arrive, and what one costs.
//!
//! Our core runs on virtual time, in which 20,000 packets each way take as long as a session is used. boringtun reads
//! the clock of the machine, so it is told to begin each renewal.

use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use sam_wg::{Opened, PeerIndex};

use crate::ours::{OurSide, Ours, address};
use crate::theirs::{self, tunn};
use crate::tunnels::{Core, Tunnels, packet};
use crate::turns::{Bench, median};

/// Both cores on links that are more or less out of order.
pub(crate) fn run(bench: &Bench) {
    let columns = ["lost", "refused", "processor ns"];
    let (renewals, times) = if bench.measures() {
        (RENEWALS, HOURS)
    } else {
        (2, 1)
    };
    bench.title(
        &format!("{renewals} renewals, 20 s each, 1 % late"),
        &columns,
    );
    for late in [500, 4000] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..times {
            ours.push(hour(OurPair::new(), late, renewals));
            theirs.push(hour(TheirPair::new(), late, renewals));
        }
        for (name, hours) in [("ours", ours), ("boringtun", theirs)] {
            let figure = |place: usize| median(hours.iter().map(|hour| hour[place]).collect());
            let figures = [0, 1, 2].map(figure);
            bench.figures(&format!("{name}, late by up to {late} packets"), &figures);
        }
    }
}

/// Two ends, 0 and 1.
trait Pair {
    /// Seals a packet at an end.
    fn send(&mut self, end: usize, inner: &[u8], link: &mut Link);

    /// Opens what arrives at an end.
    fn receive(&mut self, end: usize, datagram: &[u8], link: &mut Link) -> Received;

    /// Lets time pass for one packet each way; `number` tells how many went before.
    fn step(&mut self, number: usize, link: &mut Link);
}

/// What became of a datagram.
enum Received {
    Packet,
    Nothing,
    Refused,
}

/// Datagrams under way, by the step in which they arrive.
struct Link {
    /// A ring of steps.
    due: Vec<Vec<(usize, Vec<u8>)>>,
    now: usize,
    /// Buffers that are free.
    free: Vec<Vec<u8>>,
    random: u64,
}

impl Link {
    fn new(late: usize) -> Self {
        Self {
            due: vec![Vec::new(); late + 2],
            now: 0,
            free: Vec::new(),
            random: 1,
        }
    }

    fn put(&mut self, to: usize, datagram: &[u8]) {
        let late = self.due.len() - 2;
        let random = self.next();
        let delay = if random.is_multiple_of(100) {
            1 + (random >> 32) as usize % late
        } else {
            0
        };
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        let place = (self.now + 1 + delay) % self.due.len();
        self.due[place].push((to, bytes));
    }

    /// What arrives in the next step.
    fn step(&mut self) -> Vec<(usize, Vec<u8>)> {
        self.now += 1;
        let place = self.now % self.due.len();
        std::mem::take(&mut self.due[place])
    }

    /// xorshift64 (Marsaglia 2003).
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Packets lost, datagrams refused, nanoseconds for each packet.
fn hour(mut pair: impl Pair, late: usize, renewals: usize) -> [f64; 3] {
    let (mut link, inner) = (Link::new(late), packet(64));
    let (mut received, mut refused) = (0_usize, 0_usize);
    let (packets, start) = (renewals * INTERVAL, processor_time());
    for number in 0..packets + late + 10 {
        if number < packets {
            pair.step(number, &mut link);
            for end in [0, 1] {
                pair.send(end, &inner, &mut link);
            }
        }
        for (end, datagram) in link.step() {
            match pair.receive(end, &datagram, &mut link) {
                Received::Packet => received += 1,
                Received::Nothing => {}
                Received::Refused => refused += 1,
            }
            link.free.push(datagram);
        }
    }
    let nanos = (processor_time() - start) / (2 * packets) as f64;
    [(2 * packets - received) as f64, refused as f64, nanos]
}

/// Nanoseconds for which this thread has run: for seconds it is exact enough, and other work does not count.
fn processor_time() -> f64 {
    let all = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let ran = all.split(' ').next().and_then(|ran| ran.parse().ok());
    ran.expect("a number")
}

struct OurPair {
    ends: [OurSide; 2],
    now: Instant,
}

impl OurPair {
    fn new() -> Self {
        let now = Instant::now();
        let Tunnels { near, mut far } = Ours::tunnels(1);
        let far = far.remove(0);
        Self {
            ends: [near, far],
            now,
        }
    }

    fn send_waiting(&mut self, end: usize, link: &mut Link) {
        let mut message = [0; sam_wg::HANDSHAKE_MAX];
        while let Some((_, len)) = self.ends[end].device.poll_transmit(&mut message) {
            link.put(1 - end, &message[..len]);
        }
        while self.ends[end].device.poll_event().is_some() {}
    }

    /// Lets device and data path know what the other one knows.
    fn exchange(&mut self, end: usize, link: &mut Link) {
        let (side, now) = (&mut self.ends[end], self.now);
        let mut told = false;
        while let Some(signal) = side.path.poll_signal() {
            side.device.handle_signal(signal, now);
            told = true;
        }
        if told {
            self.send_waiting(end, link);
        }
    }
}

impl Pair for OurPair {
    fn send(&mut self, end: usize, inner: &[u8], link: &mut Link) {
        let mut out = [0; 128];
        let path = &mut self.ends[end].path;
        path.refresh();
        if let Ok(len) = path.seal(PeerIndex(0), inner, &mut out, self.now) {
            link.put(1 - end, &out[..len]);
        }
        self.exchange(end, link);
    }

    fn receive(&mut self, end: usize, datagram: &[u8], link: &mut Link) -> Received {
        let (mut out, from, now) = ([0; 148], address(0), self.now);
        let side = &mut self.ends[end];
        let received = match side.path.open(from, datagram, &mut out, now) {
            Ok(Opened::Packet { .. }) => Received::Packet,
            Ok(Opened::Keepalive) => Received::Nothing,
            Ok(Opened::Handshake) => {
                let handled = side.device.handle_message(from, datagram, now);
                self.send_waiting(end, link);
                handled.map_or(Received::Refused, |()| Received::Nothing)
            }
            Err(_) => Received::Refused,
        };
        self.exchange(end, link);
        received
    }

    fn step(&mut self, _: usize, link: &mut Link) {
        self.now += STEP;
        for end in [0, 1] {
            let device = &mut self.ends[end].device;
            if device.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                device.handle_timeout(self.now);
                self.send_waiting(end, link);
            }
        }
    }
}

struct TheirPair([Tunn; 2]);

impl TheirPair {
    fn new() -> Self {
        let (mut near, mut far) = (tunn(0, 1), tunn(1, 0));
        theirs::shake_hands(&mut near, &mut far);
        Self([near, far])
    }
}

impl Pair for TheirPair {
    fn send(&mut self, end: usize, inner: &[u8], link: &mut Link) {
        let mut out = [0; 148];
        if let TunnResult::WriteToNetwork(bytes) = self.0[end].encapsulate(inner, &mut out) {
            link.put(1 - end, bytes);
        }
    }

    fn receive(&mut self, end: usize, datagram: &[u8], link: &mut Link) -> Received {
        let mut out = [0; 148];
        match self.0[end].decapsulate(None, datagram, &mut out) {
            TunnResult::WriteToTunnelV4(..) => Received::Packet,
            TunnResult::WriteToNetwork(bytes) => {
                link.put(1 - end, bytes);
                Received::Nothing
            }
            TunnResult::Done => Received::Nothing,
            TunnResult::Err(_) | TunnResult::WriteToTunnelV6(..) => Received::Refused,
        }
    }

    fn step(&mut self, number: usize, link: &mut Link) {
        let mut out = [0; 148];
        if number.is_multiple_of(TICK) {
            for end in [0, 1] {
                if let TunnResult::WriteToNetwork(bytes) = self.0[end].update_timers(&mut out) {
                    link.put(1 - end, bytes);
                }
            }
        }
        if number % INTERVAL == INTERVAL - 1 {
            let initiation = self.0[0].format_handshake_initiation(&mut out, true);
            if let TunnResult::WriteToNetwork(bytes) = initiation {
                link.put(1, bytes);
            }
        }
    }
}

/// 3600 s by 20 s.
const RENEWALS: usize = 180;
/// Packets each way between renewals.
const INTERVAL: usize = 20_000;
/// Packets each way in a quarter of a second, after which boringtun's device looks at its timers.
const TICK: usize = INTERVAL / 80;
/// How often it is done.
const HOURS: usize = 3;
/// Time for a packet each way: 120 s, after which the initiator renews a session, by [`INTERVAL`].
const STEP: Duration = Duration::from_millis(6);
