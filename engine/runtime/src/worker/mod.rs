//! The packet worker: one thread that owns the `Forwarder`, its ports and its buffers.
//!
//! Loop: wait for readiness → mailbox → one batch per ready port → flush → send → timers → notices. Everything per
//! packet happens inside `Forwarder`; this file only moves batches between it and the kernel.

mod mailbox;
mod ports;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_dataplane::trace::{Tap, TapRecord};
use sam_dataplane::{BufferPool, Forwarder, Io, Notice, Stats, TxQueue};
use sam_net::{Epoll, EventFd, Interest, Tun};
use sam_router::Config;
use std::os::fd::AsFd;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

pub(crate) use mailbox::{WorkerMessage, WorkerReport};

use crate::StartError;
use mailbox::{MAILBOX, Mailbox};
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

/// Token of the mailbox in the readiness set.
const WAKE: u64 = u64::MAX;

/// The control side of a running worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    mailbox: Mailbox,
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
        let wake = Arc::new(EventFd::new().context("cannot make an eventfd")?);
        epoll
            .add(wake.as_ref().as_fd(), WAKE, Interest::Read)
            .context("cannot watch the mailbox")?;
        let ports = Ports::open(tun, config.local.listen_port, &epoll)?;
        let (sender, receiver) = sync_channel(MAILBOX);
        let worker = Worker {
            forwarder: Forwarder::new(device, Arc::clone(&stats)),
            pool: BufferPool::new(BUFFERS),
            tx: TxQueue::new(SENDS),
            ports,
            epoll,
            wake: Arc::clone(&wake),
            mailbox: receiver,
            notices,
            notices_lost: 0,
            generation: 0,
            listener: None,
            stats: Arc::clone(&stats),
        };
        let thread = std::thread::Builder::new()
            .name("worker0".to_owned())
            .spawn(move || worker.run())
            .context("cannot start the worker thread")?;
        Ok(Self {
            mailbox: Mailbox::new(sender, wake),
            stats,
            thread: Some(thread),
        })
    }

    /// Posts a message. Returns `false` when the worker is gone or does not keep up.
    pub(crate) fn post(&self, message: WorkerMessage) -> bool {
        self.mailbox.post(message)
    }

    /// Asks how things are.
    pub(crate) async fn report(&self) -> Option<WorkerReport> {
        let (sender, receiver) = oneshot::channel();
        if !self.post(WorkerMessage::Report(sender)) {
            return None;
        }
        tokio::time::timeout(Duration::from_secs(2), receiver)
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
        self.post(WorkerMessage::Stop);
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
    wake: Arc<EventFd>,
    mailbox: Receiver<WorkerMessage>,
    notices: mpsc::Sender<Notice>,
    notices_lost: u64,
    generation: u64,
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
                self.wake.drain();
            }
            if !self.read_mailbox(now) {
                return;
            }
            self.receive(&ready, now);
            self.due(now);
            if self.ports.has_pending() {
                self.ports.send(&mut self.tx, &mut self.pool, &self.stats);
            }
            self.send_notices();
            self.send_tap();
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

    /// Returns `false` when the worker is to end.
    fn read_mailbox(&mut self, now: Instant) -> bool {
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                WorkerMessage::Install(snapshot) => {
                    self.generation = snapshot.generation;
                    let mut io = Io {
                        pool: &mut self.pool,
                        tx: &mut self.tx,
                    };
                    self.forwarder.install(snapshot, &mut io, now);
                }
                WorkerMessage::Peers(peers) => self.forwarder.device().set_peers(&peers, now),
                WorkerMessage::Lan(port, socket) => self.ports.set_lan(port, socket, &self.epoll),
                WorkerMessage::Tap(sender) => {
                    self.listener = Some(sender);
                    self.forwarder
                        .set_tap(Some(Tap::new(TAP_RECORDS, TAP_BYTES)));
                }
                WorkerMessage::Report(reply) => {
                    // Whoever asked may have given up.
                    reply.send(self.report()).ok();
                }
                WorkerMessage::Stop => return false,
            }
            self.flush(now);
        }
        true
    }

    fn report(&mut self) -> WorkerReport {
        WorkerReport {
            peers: self.forwarder.device().status(),
            neighbors: self.forwarder.neighbors(),
            buffers_free: self.pool.available(),
            generation: self.generation,
            notices_lost: self.notices_lost,
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
