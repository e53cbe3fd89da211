//! The packet worker: one thread that owns the `Forwarder`, its ports and its buffers.
//!
//! Loop: wait for readiness → mailbox → one batch per ready port → flush → send → timers → notices. Everything per
//! packet happens inside `Forwarder`; this file only moves batches between it and the kernel.

mod lan;
mod mailbox;
mod ports;
mod underlay;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_dataplane::trace::{Tap, TapRecord};
use sam_dataplane::{BufferPool, Forwarder, Io, Notice, PortId, Snapshot, Stats, TxQueue};
use sam_net::{Epoll, Interest, PacketSocket, Tun};
use sam_router::Config;
use sam_wg::PeerConfig;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

pub(crate) use mailbox::WorkerReport;

use crate::StartError;
use mailbox::{Letters, Mailbox};
use ports::Ports;

/// Packet buffers of 64 KiB; pages are touched only as far as they are used.
pub(crate) const BUFFERS: usize = 256;
/// Sends that may wait within one batch.
const SENDS: usize = 1024;
/// Notices that may wait for control.
pub(crate) const NOTICES: usize = 1024;
/// Batches of one port before the others get their turn.
const ROUNDS: usize = 4;
/// Packets kept for a capture between two turns of the loop, and bytes kept of each.
const TAP_RECORDS: usize = 4096;
const TAP_BYTES: usize = 2048;
/// Longest wait, so that a lost wake-up cannot stall the worker.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Wait before a busy socket is tried again.
const BUSY_WAIT: Duration = Duration::from_micros(500);

/// Time between two questions to the kernel what it lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Time for a worker to say how things are; beyond that the answer does without, for BGP must not wait.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Token of the mailbox in the readiness set.
const WAKE: u64 = u64::MAX;

/// The control side of a running worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    mailbox: Arc<Mailbox>,
    stats: Arc<Stats>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Opens the underlay sockets and starts the thread.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub(crate) fn start(
        config: &Config,
        tun: Tun,
        notices: mpsc::Sender<Notice>,
        seed: u64,
    ) -> Result<Self, StartError> {
        let stats = Arc::new(Stats::default());
        let device = sam_wg::Device::new(&config.local.private_key, seed);
        let epoll = Epoll::new(64).context("cannot make an epoll set")?;
        let mailbox = Arc::new(Mailbox::new().context("cannot make an eventfd")?);
        epoll
            .add(mailbox.as_ref().as_fd(), WAKE, Interest::Read)
            .context("cannot watch the mailbox")?;
        let ports = Ports::open(tun, config.local.listen_port, &epoll)?;
        let worker = Worker {
            forwarder: Forwarder::new(device, Arc::clone(&stats)),
            pool: BufferPool::new(BUFFERS),
            tx: TxQueue::new(SENDS),
            ports,
            epoll,
            mailbox: Arc::clone(&mailbox),
            notices,
            notices_lost: 0,
            generation: 0,
            next_look: Instant::now(),
            listener: None,
            stats: Arc::clone(&stats),
        };
        let thread = std::thread::Builder::new()
            .name("worker0".to_owned())
            .spawn(move || worker.run())
            .context("cannot start the worker thread")?;
        Ok(Self {
            mailbox,
            stats,
            thread: Some(thread),
        })
    }

    /// Makes the WireGuard peers exactly these.
    pub(crate) fn set_peers(&self, peers: Vec<PeerConfig>) {
        self.mailbox.post(|letters| letters.peers = Some(peers));
    }

    /// Makes the worker forward by this snapshot from now on.
    pub(crate) fn install(&self, snapshot: Arc<Snapshot>) {
        self.mailbox
            .post(|letters| letters.snapshot = Some(snapshot));
    }

    /// Makes the worker serve a LAN port, in place of a former socket.
    pub(crate) fn set_lan(&self, port: PortId, socket: PacketSocket) {
        self.mailbox
            .post(|letters| drop(letters.lans.insert(port, socket)));
    }

    /// Copies packets to `sender` until it is closed, in place of a former one.
    pub(crate) fn tap(&self, sender: mpsc::Sender<TapRecord>) {
        self.mailbox.post(|letters| letters.tap = Some(sender));
    }

    /// Asks how things are; `None` when the worker does not answer in time.
    pub(crate) async fn report(&self) -> Option<WorkerReport> {
        let (sender, receiver) = oneshot::channel();
        self.mailbox.post(|letters| letters.report = Some(sender));
        tokio::time::timeout(REPORT_PATIENCE, receiver)
            .await
            .ok()?
            .ok()
    }

    /// The worker's counters.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Ends the thread.
    pub(crate) fn stop(&mut self) {
        self.mailbox.post(|letters| letters.stop = true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("the worker thread had panicked");
        }
    }
}

struct Worker {
    forwarder: Forwarder,
    pool: BufferPool,
    tx: TxQueue,
    ports: Ports,
    epoll: Epoll,
    mailbox: Arc<Mailbox>,
    notices: mpsc::Sender<Notice>,
    notices_lost: u64,
    generation: u64,
    /// When to ask the kernel next what it lost.
    next_look: Instant,
    listener: Option<mpsc::Sender<TapRecord>>,
    stats: Arc<Stats>,
}

impl Worker {
    fn run(mut self) {
        let mut ready = Vec::with_capacity(64);
        loop {
            ready.clear();
            let wait = self.wait();
            match self.epoll.wait(Some(wait)) {
                Ok(events) => ready.extend(events.map(|event| event.token)),
                Err(error) => {
                    warn!(%error, "cannot wait for packets");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            let now = Instant::now();
            if ready.contains(&WAKE) {
                let letters = self.mailbox.take();
                if letters.stop {
                    return;
                }
                self.read(letters, now);
            }
            self.receive(&ready, now);
            self.due(now);
            if self.ports.has_pending() {
                self.ports.send(&mut self.tx, &mut self.pool, &self.stats);
            }
            self.send_notices();
            self.send_tap();
            if now >= self.next_look {
                self.next_look = now + LOOK_INTERVAL;
                self.ports.count_losses(&self.stats);
            }
        }
    }

    fn wait(&self) -> Duration {
        if self.ports.has_pending() {
            return BUSY_WAIT;
        }
        let now = Instant::now();
        self.forwarder
            .poll_timeout()
            .map_or(LONGEST_WAIT, |(at, _)| {
                at.saturating_duration_since(now).min(LONGEST_WAIT)
            })
    }

    fn receive(&mut self, ready: &[u64], now: Instant) {
        for _ in 0..ROUNDS {
            let mut more = false;
            for &token in ready.iter().filter(|token| **token != WAKE) {
                let mut io = Io {
                    pool: &mut self.pool,
                    tx: &mut self.tx,
                };
                more |= self
                    .ports
                    .receive(token, &mut self.forwarder, &mut io, &self.stats, now);
                self.flush(now);
            }
            if !more {
                return;
            }
        }
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
    }

    /// Does what control wants: peers first, for a snapshot names them.
    fn read(&mut self, letters: Letters, now: Instant) {
        if let Some(peers) = letters.peers {
            self.forwarder.device().set_peers(&peers, now);
        }
        for (port, socket) in letters.lans {
            self.ports
                .set_lan(port, socket, &self.epoll, &mut self.pool);
        }
        if let Some(snapshot) = letters.snapshot {
            self.generation = snapshot.generation;
            let mut io = Io {
                pool: &mut self.pool,
                tx: &mut self.tx,
            };
            self.forwarder.install(snapshot, &mut io, now);
        }
        if let Some(sender) = letters.tap {
            self.listener = Some(sender);
            self.forwarder
                .set_tap(Some(Tap::new(TAP_RECORDS, TAP_BYTES)));
        }
        self.flush(now);
        if let Some(reply) = letters.report {
            // Whoever asked may have given up.
            reply.send(self.report()).ok();
        }
    }

    fn report(&mut self) -> WorkerReport {
        let dropped = self.forwarder.device().dropped();
        WorkerReport {
            peers: self.forwarder.device().status(),
            neighbors: self.forwarder.neighbors(),
            buffers_free: self.pool.available(),
            generation: self.generation,
            notices_waiting: self.notices.max_capacity() - self.notices.capacity(),
            notices_lost: self.notices_lost + self.stats.notices_lost.load(Relaxed),
            wireguard_lost: dropped.transmits + dropped.events,
        }
    }

    fn send_notices(&mut self) {
        while let Some(notice) = self.forwarder.poll_notice() {
            if self.notices.try_send(notice).is_err() {
                self.notices_lost += 1;
            }
        }
    }

    fn send_tap(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        if listener.is_closed() {
            self.listener = None;
            self.forwarder.set_tap(None);
            return;
        }
        let Some(tap) = self.forwarder.tap() else {
            return;
        };
        while let Some(record) = tap.pop() {
            // A reader that does not keep up misses packets; `Tap` bounds what waits.
            if listener.try_send(record).is_err() {
                break;
            }
        }
    }
}
