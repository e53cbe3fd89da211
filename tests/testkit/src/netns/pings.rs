//! A stream of pings, and what became of it.
//!
//! Not ping(8): while an answer is out it sends every 10 to 20 ms whatever interval it is told, and what it counts as lost in
//! a gap is up to half of what a client would have lost.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sam_dataplane::packet::checksum::Sum;
use sam_net::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

use super::wait::{wait_until, wall_time};

const PATIENCE: Duration = Duration::from_secs(15);
/// Answers at least, before they count as begun and before they may end.
const ANSWERS: usize = 20;
/// How long the receiver waits before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);
/// Echo request and reply, destination unreachable (RFC 792).
const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
/// Bytes of an ICMP header, after which the payload comes: as many as ping(8) sends.
const HEADER: usize = 8;
const PAYLOAD: usize = 56;

/// Tells one stream of this process from another.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Pings at a fixed interval, whatever is answered. Each run stays below 65,536 of them, what their numbers are enough for.
#[derive(Debug)]
pub struct Pings {
    course: Arc<Mutex<Course>>,
    over: Arc<AtomicBool>,
    threads: [JoinHandle<()>; 2],
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Pings up to the last that was answered.
    pub sent: usize,
    /// Pings before that one without answer. Those after it were still under way.
    pub lost: usize,
    /// Answers to a ping that had been answered.
    pub twice: usize,
    /// Longest time between two answers.
    pub gap: Duration,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Course {
    /// Each answer: when it came, in seconds since the epoch, and the number of its ping, from 1.
    answers: Vec<(f64, u16)>,
    /// ICMP errors that say that nobody is reached.
    unreachable: usize,
}

impl Pings {
    /// Starts a ping every ten milliseconds, and waits until some are answered.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn start(from: &Namespace, to: Ipv4Addr) -> Self {
        Self::every(Duration::from_millis(10), from, to)
    }

    /// The same with any `interval`.
    ///
    /// # Panics
    /// When no ping is answered.
    #[must_use]
    pub fn every(interval: Duration, from: &Namespace, to: Ipv4Addr) -> Self {
        let pings = Self::unheard(interval, from, to);
        pings.wait_for_answers(0);
        pings
    }

    /// Starts them although nobody may answer yet.
    ///
    /// # Panics
    /// When the namespace has no raw sockets.
    #[must_use]
    pub fn unheard(interval: Duration, from: &Namespace, to: Ipv4Addr) -> Self {
        let open = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4));
        let socket = from.enter(open).expect("a namespace");
        let socket = socket.expect("a raw socket, which needs root");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
        let receiver = socket.try_clone().expect("a socket");
        let process = u16::try_from(process::id() & 0xffff).expect("masked");
        let stream = Stream {
            to,
            identifier: process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        let course = Arc::new(Mutex::new(Course::default()));
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ends) = (Arc::clone(&course), Arc::clone(&over));
        let hearing = thread::spawn(move || stream.hear(receiver, &shared, &ends));
        let ends = Arc::clone(&over);
        let sending = thread::spawn(move || stream.send(&socket, interval, &ends));
        Self {
            course,
            over,
            threads: [sending, hearing],
        }
    }

    /// When the first answer came, in seconds since the epoch.
    #[must_use]
    pub fn first_answer(&self) -> Option<f64> {
        self.with(|course| course.answers.first().map(|(time, _)| *time))
    }

    /// How often somebody said that nobody is reached.
    #[must_use]
    pub fn unreachable(&self) -> usize {
        self.with(|course| course.unreachable)
    }

    /// Ends them, and says what became of them.
    ///
    /// # Panics
    /// When no more are answered.
    #[must_use]
    pub fn stop(self) -> Loss {
        self.stop_with_times().0
    }

    /// The same, and when each answer came, in seconds since the epoch.
    ///
    /// # Panics
    /// When no more are answered.
    #[must_use]
    pub fn stop_with_times(self) -> (Loss, Vec<f64>) {
        self.wait_for_answers(self.with(|course| course.answers.len()));
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("pings go on");
        }
        let course = self.course.lock().expect("pings go on");
        let times = course.answers.iter().map(|(time, _)| *time);
        (course.loss(), times.collect())
    }

    fn wait_for_answers(&self, seen: usize) {
        wait_until("pings are answered", PATIENCE, || {
            self.with(|course| course.answers.len()) >= seen + ANSWERS
        });
    }

    fn with<T>(&self, look: impl Fn(&Course) -> T) -> T {
        look(&self.course.lock().expect("pings go on"))
    }
}

impl Course {
    fn loss(&self) -> Loss {
        let mut answered = BTreeSet::new();
        let mut twice = 0;
        for (_, number) in &self.answers {
            twice += usize::from(!answered.insert(usize::from(*number)));
        }
        let gaps = self.answers.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let sent = answered.last().copied().unwrap_or(0);
        Loss {
            sent,
            lost: sent - answered.len(),
            twice,
            gap: Duration::from_secs_f64(gaps.fold(0.0, f64::max)),
        }
    }
}

/// Whom a stream asks, and under which identifier.
#[derive(Debug, Clone, Copy)]
struct Stream {
    to: Ipv4Addr,
    identifier: u16,
}

impl Stream {
    /// Sends until it is over. A ping that cannot be sent is lost as one is that the network loses.
    fn send(self, socket: &Socket, interval: Duration, over: &AtomicBool) {
        let to = SocketAddr::from((self.to, 0)).into();
        let begin = Instant::now();
        for number in 1..=u16::MAX {
            let due = begin + interval * u32::from(number - 1);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if over.load(Ordering::Relaxed) {
                return;
            }
            drop(socket.send_to(&self.request(number), &to));
        }
    }

    fn request(self, number: u16) -> [u8; HEADER + PAYLOAD] {
        let mut message = [0; HEADER + PAYLOAD];
        message[0] = REQUEST;
        message[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        message[6..8].copy_from_slice(&number.to_be_bytes());
        let checksum = Sum::of(&message).checksum();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// Notes answers until it is over.
    fn hear(self, mut socket: Socket, course: &Mutex<Course>, over: &AtomicBool) {
        let mut packet = [0; 2048];
        while !over.load(Ordering::Relaxed) {
            let Ok(length) = socket.read(&mut packet) else {
                continue;
            };
            let now = wall_time();
            let heard = self.read(&packet[..length]);
            let mut course = course.lock().expect("pings go on");
            match heard {
                Some(Heard::Answer(number)) => course.answers.push((now, number)),
                Some(Heard::Unreachable) => course.unreachable += 1,
                None => {}
            }
        }
    }

    /// What an IP packet with ICMP says about this stream.
    fn read(self, packet: &[u8]) -> Option<Heard> {
        let (from, message) = payload(packet)?;
        match *message.first()? {
            REPLY if from == self.to => self.number(message).map(Heard::Answer),
            UNREACHABLE => {
                let (_, request) = payload(message.get(HEADER..)?)?;
                self.number(request).map(|_| Heard::Unreachable)
            }
            _ => None,
        }
    }

    /// The number in an echo message of this stream.
    fn number(self, message: &[u8]) -> Option<u16> {
        let word = |at: usize| {
            Some(u16::from_be_bytes([
                *message.get(at)?,
                *message.get(at + 1)?,
            ]))
        };
        (word(4)? == self.identifier).then(|| word(6)).flatten()
    }
}

enum Heard {
    Answer(u16),
    Unreachable,
}

/// Source and payload of an IPv4 packet.
fn payload(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    Some((source.into(), packet.get(header..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream {
        to: Ipv4Addr::new(10, 0, 0, 1),
        identifier: 77,
    };

    #[test]
    fn the_last_ping_was_under_way_and_an_answer_may_come_twice() {
        let course = Course {
            answers: vec![(10.00, 1), (10.03, 4), (10.04, 3), (10.05, 4)],
            unreachable: 1,
        };

        let loss = course.loss();

        assert_eq!((loss.sent, loss.lost, loss.twice), (4, 1, 1));
        assert!((loss.gap.as_secs_f64() - 0.03).abs() < 1e-6, "{loss:?}");
    }

    #[test]
    fn answers_and_errors_of_this_stream_are_told_from_others() {
        let message = |kind: u8, identifier: u16| {
            let mut message = STREAM.request(5);
            message[0] = kind;
            message[4..6].copy_from_slice(&identifier.to_be_bytes());
            message
        };
        let packet = |from: Ipv4Addr, body: &[u8]| crate::packet::ipv4_packet(from, from, 1, body);
        let heard = |from: Ipv4Addr, body: &[u8]| match STREAM.read(&packet(from, body)) {
            Some(Heard::Answer(number)) => Some(Some(number)),
            Some(Heard::Unreachable) => Some(None),
            None => None,
        };
        let router = Ipv4Addr::new(10, 0, 0, 9);
        let error = |quoted: &[u8]| {
            let mut error = vec![UNREACHABLE, 1, 0, 0, 0, 0, 0, 0];
            error.extend(packet(STREAM.to, quoted));
            error
        };

        assert_eq!(heard(STREAM.to, &message(REPLY, 77)), Some(Some(5)));
        assert_eq!(heard(STREAM.to, &message(REPLY, 78)), None);
        assert_eq!(heard(router, &message(REPLY, 77)), None);
        assert_eq!(heard(router, &error(&message(REQUEST, 77))), Some(None));
        assert_eq!(heard(router, &error(&message(REQUEST, 78))), None);
        assert_eq!(heard(router, &[UNREACHABLE]), None);
    }
}
