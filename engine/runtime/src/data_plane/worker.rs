//! One packet worker: a thread that owns a `Forwarder`, its ports and its buffers.
//!
//! Loop: wait for readiness → mailbox → one batch per ready port → flush → send → timers → notices →
//! a word to the scheduler. Everything per
//! packet happens inside `Forwarder`; this file only moves batches between it and the kernel.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_dataplane::icmp_limiter::IcmpLimiter;
use sam_dataplane::{
    BufferPool, DropReason, Forwarder, Io, Notice, Role, Snapshot, Stats, TxQueue,
};
use sam_net::{Epoll, Interest, Tun};
use sam_router::Offloads;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::courtesy::Courtesy;
use super::handshake_thread::HandshakeBox;
use super::listener::Listener;
use super::mailbox::{Letters, Mailbox, WorkerReport};
use super::offer;
use super::ports::Ports;
use super::sockets::SocketChange;
use crate::StartError;
use crate::pulse::Pulse;

/// Packet buffers of 64 KiB; pages are touched only as far as they are used.
pub(crate) const BUFFERS: usize = 256;
/// Sends that may wait within one batch.
const SENDS: usize = 1024;
/// Batches of every port before the mailbox and timers get their turn.
const ROUNDS: usize = 4;
/// Time after which they get it earlier: where sealing is slow, a round of superpackets takes long, and probes and snapshots
/// wait in the mailbox.
const TURN: Duration = Duration::from_millis(5);
/// Longest wait, so that a lost wake-up cannot stall the worker.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Wait before a busy socket is tried again.
const BUSY_WAIT: Duration = Duration::from_micros(500);
/// Time between two questions to the kernel what it lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Token of the mailbox in the readiness set.
const WAKE: u64 = u64::MAX;

/// What a worker is made of.
pub(super) struct WorkerStart {
    /// Its number.
    pub(super) index: usize,
    /// Its queue of the TUN device, or a handle to write by.
    pub(super) tun: Tun,
    /// Whether it reads the TUN device.
    pub(super) reads_tun: bool,
    /// Its sockets of the underlay.
    pub(super) sockets: SocketChange,
    /// What the kernel may be asked to do.
    pub(super) offloads: Offloads,
    /// Its sessions.
    pub(super) sessions: sam_wg::DataPath,
    /// The router's limit of ICMP errors.
    pub(super) icmp_limiter: Arc<IcmpLimiter>,
    /// Its counters.
    pub(super) stats: Arc<Stats>,
    /// What control tells it.
    pub(super) mailbox: Arc<Mailbox>,
    /// Where it passes handshakes on.
    pub(super) handshakes: Arc<HandshakeBox>,
    /// Where it tells control something.
    pub(super) notices: mpsc::Sender<Notice>,
    /// Where it shows that it runs.
    pub(super) pulse: Arc<Pulse>,
}

/// A worker, ready to run.
pub(super) struct Worker {
    forwarder: Forwarder,
    pool: BufferPool,
    tx: TxQueue,
    ports: Ports,
    epoll: Epoll,
    mailbox: Arc<Mailbox>,
    handshakes: Arc<HandshakeBox>,
    notices: mpsc::Sender<Notice>,
    notices_lost: u64,
    pulse: Arc<Pulse>,
    /// By what control wants to be forwarded.
    snapshot: Arc<Snapshot>,
    /// Whether the LANs get no answer all the same: control does not know yet that it lost its role.
    muted: bool,
    /// When to ask the kernel next what it lost.
    next_look: Instant,
    listener: Option<Listener>,
    courtesy: Courtesy,
    stats: Arc<Stats>,
}

impl Worker {
    /// Watches everything that can wake the worker.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new(start: WorkerStart) -> Result<Self, StartError> {
        let epoll = Epoll::new(64).context("cannot make an epoll set")?;
        epoll
            .add(start.mailbox.as_ref().as_fd(), WAKE, Interest::Read)
            .context("cannot watch the mailbox")?;
        let role = Role::of_worker(start.index);
        let mut pool = BufferPool::new(BUFFERS);
        let mut ports = Ports::new(start.tun, start.reads_tun, start.offloads, role, &epoll)?;
        ports.change_sockets(start.sockets, &epoll, &mut pool, &start.stats)?;
        Ok(Self {
            forwarder: Forwarder::new(
                start.sessions,
                role,
                start.icmp_limiter,
                Arc::clone(&start.stats),
            ),
            pool,
            tx: TxQueue::new(SENDS),
            ports,
            epoll,
            mailbox: start.mailbox,
            handshakes: start.handshakes,
            notices: start.notices,
            notices_lost: 0,
            pulse: start.pulse,
            snapshot: Arc::default(),
            muted: false,
            next_look: Instant::now(),
            listener: None,
            courtesy: Courtesy::default(),
            stats: start.stats,
        })
    }

    /// Forwards until told to stop.
    pub(super) fn run(mut self) {
        self.forwarder.set_merging(self.ports.merging());
        let (mut ready, mut failed) = (Vec::with_capacity(64), Vec::with_capacity(64));
        loop {
            ready.clear();
            failed.clear();
            let wait = self.wait();
            match self.epoll.wait(Some(wait)) {
                Ok(events) => ready.extend(events.map(|event| {
                    failed.extend(event.failed.then_some(event.token));
                    event.token
                })),
                Err(error) => {
                    warn!(%error, "cannot wait for packets");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            let now = Instant::now();
            self.pulse.beat(now);
            if ready.contains(&WAKE) {
                let letters = self.mailbox.take();
                if letters.stop {
                    return;
                }
                // Half a router would draw traffic and lose it: control ends with this thread.
                if let Err(error) = self.read(letters, now) {
                    error!("{error:#}");
                    return;
                }
            }
            for &token in &failed {
                self.ports.take_path_errors(token, &mut self.forwarder, now);
            }
            let received = self.receive(&ready, now);
            self.due(now);
            if self.ports.has_pending() {
                self.ports.send(&mut self.tx, &mut self.pool, &self.stats);
            }
            self.pass_on_posts();
            self.send_notices();
            self.send_tap();
            if now >= self.next_look {
                self.next_look = now + LOOK_INTERVAL;
                self.ports.count_losses(&self.stats);
                self.ports.retry_offloads(now);
                // An idle worker lets go of sessions that are no more.
                self.flush(now);
            }
            self.courtesy.after_turn(received);
        }
    }

    fn wait(&self) -> Duration {
        if self.ports.has_pending() {
            return BUSY_WAIT;
        }
        if self.courtesy.lingers() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        self.forwarder
            .poll_timeout()
            .map_or(LONGEST_WAIT, |(at, _)| {
                at.saturating_duration_since(now).min(LONGEST_WAIT)
            })
    }

    /// Moves what waits at the ready ports, some batches of each. Returns how much there was.
    fn receive(&mut self, ready: &[u64], now: Instant) -> usize {
        let mut count = 0;
        for _ in 0..ROUNDS {
            let mut more = false;
            for &token in ready.iter().filter(|token| **token != WAKE) {
                let mut io = Io {
                    pool: &mut self.pool,
                    tx: &mut self.tx,
                };
                let received =
                    self.ports
                        .receive(token, &mut self.forwarder, &mut io, &self.stats, now);
                count += received.count;
                more |= received.more;
                self.flush(now);
            }
            if !more || now.elapsed() >= TURN {
                break;
            }
        }
        count
    }

    fn due(&mut self, now: Instant) {
        if self
            .forwarder
            .poll_timeout()
            .is_some_and(|(at, _)| at <= now)
        {
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.handle_timeout(&mut io, now);
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.forwarder.flush(
            &mut Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            },
            now,
        );
        self.ports.send(&mut self.tx, &mut self.pool, &self.stats);
        self.forwarder.set_merging(self.ports.merging());
    }

    /// Does what control wants. An empty letter says that a session came up.
    ///
    /// # Errors
    /// When sockets that tunnels need cannot be served.
    fn read(&mut self, letters: Letters, now: Instant) -> Result<(), StartError> {
        for (port, sockets) in letters.lans {
            self.ports
                .set_lan(port, sockets, &self.epoll, &mut self.pool);
        }
        // Before the snapshot that sends by them.
        if let Some(change) = letters.sockets {
            self.ports
                .change_sockets(change, &self.epoll, &mut self.pool, &self.stats)?;
        }
        let muted = letters.muted.unwrap_or(self.muted);
        let is_news = letters.snapshot.is_some() || muted != self.muted;
        self.muted = muted;
        if let Some(snapshot) = letters.snapshot {
            self.snapshot = snapshot;
        }
        if is_news {
            let snapshot = self.permitted();
            self.ports.set_outer_source(snapshot.outer_source);
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.install(snapshot, &mut io, now);
        }
        for probe in letters.probes.values() {
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.send_probe(probe, &mut io, now);
        }
        for question in letters.questions.values() {
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.ask_lan(question, &mut io, now);
        }
        for question in letters.fabric_questions.values() {
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.ask_fabric(question, &mut io, now);
        }
        if let Some(listener) = letters.tap {
            self.forwarder.set_tap(Some(listener.tap()));
            self.listener = Some(listener);
        }
        self.flush(now);
        if let Some(reply) = letters.report {
            // Whoever asked may have given up.
            reply.send(self.report()).ok();
        }
        Ok(())
    }

    /// The snapshot in force; with closed gates while this router has to be silent.
    fn permitted(&self) -> Arc<Snapshot> {
        if !self.muted {
            return Arc::clone(&self.snapshot);
        }
        let mut silent = Snapshot::clone(&self.snapshot);
        silent.lans.iter_mut().for_each(|lan| lan.gate_open = false);
        Arc::new(silent)
    }

    fn report(&self) -> WorkerReport {
        WorkerReport {
            offloads: self.ports.offloads(),
            receives_lan: self.ports.receives_lan(),
            receives_host: self.ports.receives_host(),
            neighbors: self.forwarder.neighbors(),
            tunnels: self.forwarder.traffic().to_vec(),
            buffers_free: self.pool.available(),
            generation: self.snapshot.generation,
            notices_lost: self.notices_lost + self.stats.notices_lost.load(Relaxed),
        }
    }

    /// Hands over what belongs to the owner of the handshakes.
    fn pass_on_posts(&mut self) {
        let refused = self.handshakes.pass_on(&mut self.forwarder);
        self.stats.drop_many(DropReason::WgQueueFull, refused);
    }

    fn send_notices(&mut self) {
        while let Some(notice) = self.forwarder.poll_notice() {
            if !offer(&self.notices, notice) {
                self.notices_lost += 1;
            }
        }
    }

    fn send_tap(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        if listener.is_gone() {
            self.listener = None;
            self.forwarder.set_tap(None);
        } else if let Some(tap) = self.forwarder.tap() {
            listener.take_from(tap);
        }
    }
}
