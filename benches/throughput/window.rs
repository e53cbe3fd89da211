//! The most small packets that pass without loss: a sender that keeps a window of them in flight, and waits when it is full.
//!
//! So it is a throughput in the sense of RFC 1242 §3.17 (at most one in a hundred is lost), found as TCP finds its rate,
//! by what arrives. An open flood measures something else: how much is left after the surplus was thrown away.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_dataplane::{Buffer, BufferPool};
use sam_net::udp::{RECEIVE_BATCH, SEND_BATCH};
use sam_net::{Epoll, Interest, Train, UdpSocket};

use crate::carried::{Carried, Datagrams};
use crate::lab::{CLIENTS, Lab};

/// Of the first window; each has a port of its own, so that nothing late of one counts for the next.
const PORT: u16 = 5400;
/// Packets in flight, tried one after the other; the best counts.
const WINDOWS: [u64; 4] = [64, 256, 1024, 4096];
/// Share of the packets that may be lost.
const LOSS: f64 = 0.01;
/// What has not arrived by then is lost, and no longer in flight.
const STALL: Duration = Duration::from_millis(20);
const IP_AND_UDP: usize = 28;

/// What one window carried.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    window: u64,
    sent: u64,
    received: u64,
    seconds: f64,
}

/// Measures packets of `size` bytes, headers included, for `time` in total.
pub(crate) fn measure(lab: &Lab, size: usize, time: Duration) -> Result<Carried> {
    let share = time / u32::try_from(WINDOWS.len())?;
    let mut outcomes = Vec::new();
    for (port, window) in (PORT..).zip(WINDOWS) {
        outcomes.push(carry(lab, port, size - IP_AND_UDP, window, share)?);
    }
    let received: u64 = outcomes.iter().map(|outcome| outcome.received).sum();
    let best = best(&outcomes).context("no packet arrived")?;
    let payload = number((size - IP_AND_UDP) as u64);
    Ok(Carried {
        gbit_s: best.rate() * payload * 8.0 / 1e9,
        gigabytes: number(received) * payload / 1e9,
        datagrams: Some(Datagrams {
            kpps: best.rate() / 1e3,
            lost_percent: 100.0 * best.loss(),
            window: Some(best.window),
        }),
    })
}

/// The fastest of those that lost little; if none did, the fastest.
fn best(outcomes: &[Outcome]) -> Option<Outcome> {
    let arrived = outcomes.iter().filter(|outcome| outcome.received > 0);
    arrived.copied().max_by(|one, other| {
        let little = |outcome: &Outcome| outcome.loss() <= LOSS;
        little(one)
            .cmp(&little(other))
            .then(one.rate().total_cmp(&other.rate()))
    })
}

impl Outcome {
    fn rate(&self) -> f64 {
        number(self.received) / self.seconds
    }

    fn loss(&self) -> f64 {
        1.0 - number(self.received) / number(self.sent.max(1))
    }
}

/// What sender and receiver tell each other.
#[derive(Debug, Default)]
struct Progress {
    /// One more than the highest number that arrived: what was lost before it is not in flight any more.
    arrived: AtomicU64,
    /// The sender sleeps until this has arrived; zero while it is awake.
    awaited: AtomicU64,
    over: AtomicBool,
}

fn carry(lab: &Lab, port: u16, payload: usize, window: u64, time: Duration) -> Result<Outcome> {
    let to = SocketAddr::from((CLIENTS[1], port));
    let receiver = lab.clients[1].enter(|| UdpSocket::bind(to))??;
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let sender = lab.clients[0].enter(|| UdpSocket::bind(any))??;
    let mut sender = Sender::new(sender, to, payload);
    let mut receiver = Receiver::new(receiver)?;
    let progress = Progress::default();
    let sending = thread::current();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| receiver.run(&progress, &sending));
        let begun = Instant::now();
        let sent = sender.run(&progress, window, begun + time);
        let seconds = begun.elapsed().as_secs_f64();
        // What is still on its way may arrive.
        thread::sleep(5 * STALL);
        progress.over.store(true, Ordering::Relaxed);
        let Ok(received) = receiving.join() else {
            bail!("the receiver panicked");
        };
        let received = received?;
        Ok(Outcome {
            window,
            sent,
            received,
            seconds,
        })
    })
}

/// Sends numbered packets, many by one system call: what the load costs is missing to the routers beside it. Each is a packet
/// of its own all the same.
struct Sender {
    socket: UdpSocket,
    packets: Vec<Train>,
    payload: Vec<u8>,
}

impl Sender {
    fn new(mut socket: UdpSocket, to: SocketAddr, payload: usize) -> Self {
        socket.forbid_segmentation();
        let packet = |_| Train {
            to,
            segment: u16::MAX,
            tos: 0,
            buffer: Buffer::new(),
        };
        Self {
            socket,
            packets: (0..SEND_BATCH).map(packet).collect(),
            payload: vec![0; payload],
        }
    }

    /// Sends until `end`; returns how many.
    fn run(&mut self, progress: &Progress, window: u64, end: Instant) -> u64 {
        let (mut next, mut written_off) = (0_u64, 0);
        while Instant::now() < end {
            let arrived = progress.arrived.load(Ordering::Acquire).max(written_off);
            let until = window + arrived.min(next);
            while next < until {
                next += self.send(next..until);
            }
            if !await_half(progress, next, window) {
                written_off = next;
            }
        }
        next
    }

    /// Sends the first of these, and returns how many.
    fn send(&mut self, numbers: Range<u64>) -> u64 {
        let mut count = 0;
        for (packet, number) in self.packets.iter_mut().zip(numbers) {
            self.payload[..8].copy_from_slice(&number.to_be_bytes());
            packet.buffer.clear();
            assert!(
                packet.buffer.append(&self.payload),
                "a buffer takes a packet"
            );
            count += 1;
        }
        let mut failures = Vec::new();
        let mut done = 0;
        while done < count {
            // What is refused is lost, like anything else.
            done += self
                .socket
                .send_trains(&mut self.packets[done..count], &mut failures);
        }
        count as u64
    }
}

/// Waits until half of the window is free; false if nothing came for [`STALL`].
fn await_half(progress: &Progress, next: u64, window: u64) -> bool {
    let awaited = next.saturating_sub(window / 2).max(1);
    progress.awaited.store(awaited, Ordering::SeqCst);
    let deadline = Instant::now() + STALL;
    let arrived = loop {
        if progress.arrived.load(Ordering::SeqCst) >= awaited {
            break true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        thread::park_timeout(left);
    };
    progress.awaited.store(0, Ordering::SeqCst);
    arrived
}

/// Receives packets, many by one system call.
struct Receiver {
    socket: UdpSocket,
    epoll: Epoll,
    pool: BufferPool,
}

impl Receiver {
    fn new(mut socket: UdpSocket) -> Result<Self> {
        socket.forbid_joining();
        let epoll = Epoll::new(1)?;
        epoll.add(socket.as_fd(), 0, Interest::Read)?;
        Ok(Self {
            socket,
            epoll,
            pool: BufferPool::new(2 * RECEIVE_BATCH),
        })
    }

    /// Receives until it is over; returns how many arrived.
    fn run(&mut self, progress: &Progress, sender: &Thread) -> Result<u64> {
        let (mut count, mut highest) = (0, 0);
        let mut packets = Vec::with_capacity(RECEIVE_BATCH);
        while !progress.over.load(Ordering::Relaxed) {
            let received = self
                .socket
                .recv_batch(&mut self.pool, &mut packets, RECEIVE_BATCH)?;
            if received == 0 {
                self.epoll.wait(Some(STALL))?.for_each(drop);
                continue;
            }
            for packet in packets.drain(..) {
                if let Some(number) = packet.buffer.bytes().first_chunk() {
                    count += 1;
                    highest = u64::from_be_bytes(*number).max(highest);
                }
                self.pool.give(packet.buffer);
            }
            progress.arrived.store(highest + 1, Ordering::SeqCst);
            let awaited = progress.awaited.load(Ordering::SeqCst);
            if awaited != 0 && highest + 1 >= awaited {
                sender.unpark();
            }
        }
        Ok(count)
    }
}

/// Counts of one run are far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^53"
)]
fn number(count: u64) -> f64 {
    count as f64
}
