//! The thread that owns the WireGuard handshakes: a Diffie-Hellman computation delays no packet.
//!
//! Its mailbox has slots for what control says and a bounded queue for what workers pass on; a flood of handshake
//! messages leaves half of the queue to the workers' signals.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sam_dataplane::dscp::CONTROL_TOS;
use sam_dataplane::trace::{Seen, Tap, TapPoint};
use sam_dataplane::{
    BufferPool, DropReason, Forwarder, Handshakes, Notice, Posts, Snapshot, Stats,
};
use sam_net::{SendFailure, Train, UdpSocket};
use sam_wg::{PeerConfig, PeerStatus};
use tokio::sync::{mpsc, oneshot};

use super::listener::Listener;
use super::mailbox::Mailbox;
use super::{offer, wall_time};

/// Posts of workers that may wait.
const POSTS: usize = 512;
/// Longest wait, so that a lost wake-up cannot stall the thread.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Messages sent in one batch.
const SENDS: usize = 16;

/// What the thread has not read yet.
#[derive(Debug, Default)]
pub(super) struct HandshakeLetters {
    /// Make the WireGuard peers exactly these.
    pub(super) peers: Option<Vec<PeerConfig>>,
    /// Tunnels lead to peers by this from now on.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Send by these, in place of former ones, which are closed when the second is dropped.
    pub(super) senders: Option<(Vec<UdpSocket>, oneshot::Sender<()>)>,
    /// Copy messages to the listener until it is gone.
    pub(super) tap: Option<Listener>,
    /// Say how things are.
    pub(super) report: Option<oneshot::Sender<HandshakeReport>>,
    /// End the thread.
    pub(super) stop: bool,
}

impl HandshakeLetters {
    fn is_empty(&self) -> bool {
        let silent = self.peers.is_none() && self.snapshot.is_none() && self.tap.is_none();
        silent && self.senders.is_none() && self.report.is_none() && !self.stop
    }
}

/// What waits for the thread: what control says, and what workers pass on.
#[derive(Debug)]
struct Waiting {
    letters: HandshakeLetters,
    posts: Posts,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            letters: HandshakeLetters::default(),
            posts: Posts::new(POSTS),
        }
    }
}

/// How things are with WireGuard.
#[derive(Debug)]
pub(crate) struct HandshakeReport {
    /// All peers.
    pub(crate) peers: Vec<PeerStatus>,
    /// Messages and events that found their queue full.
    pub(crate) lost: u64,
    /// Notices that found their queue full.
    pub(crate) notices_lost: u64,
}

/// The mailbox of the thread.
#[derive(Debug, Default)]
pub(super) struct HandshakeBox {
    waiting: Mutex<Waiting>,
    posted: Condvar,
}

impl HandshakeBox {
    /// Writes and wakes the thread.
    pub(super) fn post(&self, write: impl FnOnce(&mut HandshakeLetters)) {
        write(&mut self.lock().letters);
        self.posted.notify_one();
    }

    /// Queues what a worker passes on, as far as there is room; returns how many messages found none. Signals that find
    /// none stay with the worker. Without a post nothing is locked.
    pub(super) fn pass_on(&self, worker: &mut Forwarder) -> u64 {
        let Some(first) = worker.poll_post() else {
            return 0;
        };
        let mut waiting = self.lock();
        let posts = &mut waiting.posts;
        let mut refused = u64::from(!posts.push(first));
        while posts.has_room()
            && let Some(post) = worker.poll_post()
        {
            refused += u64::from(!posts.push(post));
        }
        drop(waiting);
        self.posted.notify_one();
        refused
    }

    /// Takes everything, after at most `wait`. `posts`, which are empty, change places with those that wait: so neither
    /// side ever allocates any.
    fn take(&self, wait: Duration, posts: &mut Posts) -> HandshakeLetters {
        let silent = |waiting: &mut Waiting| waiting.letters.is_empty() && waiting.posts.is_empty();
        let (mut waiting, _) = self
            .posted
            .wait_timeout_while(self.lock(), wait, silent)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.posts, posts);
        std::mem::take(&mut waiting.letters)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, ready to run.
pub(super) struct HandshakeThread {
    handshakes: Handshakes,
    /// One per address family.
    senders: Vec<UdpSocket>,
    mailbox: Arc<HandshakeBox>,
    workers: Vec<Arc<Mailbox>>,
    stats: Arc<Stats>,
    notices: mpsc::Sender<Notice>,
    notices_lost: u64,
    pool: BufferPool,
    /// Empty between turns.
    posts: Posts,
    tap: Option<(Tap, Listener)>,
}

impl HandshakeThread {
    pub(super) fn new(
        handshakes: Handshakes,
        senders: Vec<UdpSocket>,
        mailbox: Arc<HandshakeBox>,
        workers: Vec<Arc<Mailbox>>,
        stats: Arc<Stats>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            handshakes,
            senders,
            mailbox,
            workers,
            stats,
            notices,
            notices_lost: 0,
            pool: BufferPool::new(SENDS),
            posts: Posts::new(POSTS),
            tap: None,
        }
    }

    /// Shakes hands until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let wait = self.wait();
            let letters = self.mailbox.take(wait, &mut self.posts);
            if letters.stop {
                return;
            }
            let now = Instant::now();
            // A clock that was wrong at the start may have been set since.
            self.handshakes.set_wall(wall_time(), now);
            self.read(letters, now);
            let deadline = self.handshakes.poll_timeout();
            if deadline.is_some_and(|(at, _)| at <= now) {
                self.handshakes.handle_timeout(now);
            }
            self.send(now);
            self.wake_workers();
            self.send_notices();
            self.send_tap();
        }
    }

    fn wait(&self) -> Duration {
        let deadline = self.handshakes.poll_timeout();
        deadline.map_or(LONGEST_WAIT, |(at, _)| {
            at.saturating_duration_since(Instant::now())
                .min(LONGEST_WAIT)
        })
    }

    /// Does what control and workers want: peers first, for a snapshot names them.
    fn read(&mut self, letters: HandshakeLetters, now: Instant) {
        if let Some((senders, _done)) = letters.senders {
            self.senders = senders;
        }
        if let Some(peers) = letters.peers {
            self.handshakes.set_peers(&peers, now);
        }
        if let Some(snapshot) = letters.snapshot {
            self.handshakes.install(&snapshot);
        }
        if let Some(listener) = letters.tap {
            self.tap = Some((listener.tap(), listener));
        }
        while let Some(post) = self.posts.pop() {
            self.handshakes.handle_post(&post, now);
            // An answer, and packets that wait, do not wait for the next handshake to be computed.
            self.send(now);
            self.wake_workers();
        }
        if let Some(reply) = letters.report {
            let dropped = self.handshakes.dropped();
            let report = HandshakeReport {
                peers: self.handshakes.status(),
                lost: dropped.transmits + dropped.events,
                notices_lost: self.notices_lost + self.stats.notices_lost.load(Relaxed),
            };
            // Whoever asked may have given up.
            reply.send(report).ok();
        }
    }

    /// Sends what WireGuard wants to send by itself.
    fn send(&mut self, now: Instant) {
        loop {
            let mut families: [Vec<Train>; 2] = [Vec::new(), Vec::new()];
            let mut more = false;
            while let Some(mut buffer) = self.pool.take() {
                let Some((to, len)) = self.handshakes.poll_transmit(buffer.tail_mut()) else {
                    self.pool.give(buffer);
                    break;
                };
                more = true;
                buffer.grow(len);
                if let Some((tap, _)) = &mut self.tap {
                    let seen = Seen::outbound(TapPoint::Outer, buffer.bytes(), now);
                    tap.record(seen.with_remote(to, None));
                }
                families[usize::from(to.is_ipv6())].push(Train {
                    to,
                    segment: u16::try_from(len).unwrap_or(u16::MAX),
                    tos: CONTROL_TOS,
                    buffer,
                });
            }
            if !more {
                return;
            }
            for (family, trains) in families.into_iter().enumerate() {
                self.send_family(family, trains);
            }
        }
    }

    fn send_family(&mut self, family: usize, mut trains: Vec<Train>) {
        let mut failures: Vec<SendFailure> = Vec::new();
        let sent = match self.senders.get_mut(family) {
            Some(sender) => sender.send_trains(&mut trains, &mut failures),
            None => 0,
        };
        let refused = failures.len() as u64;
        self.stats.drop_many(DropReason::SendFailed, refused);
        let reason = if family < self.senders.len() {
            DropReason::SendBusy
        } else {
            DropReason::SendFailed
        };
        // Handshakes repeat themselves; what a busy kernel does not take need not be kept.
        self.stats.drop_many(reason, (trains.len() - sent) as u64);
        for train in trains {
            self.pool.give(train.buffer);
        }
    }

    /// Wakes the workers when packets may wait for a session that came up.
    fn wake_workers(&mut self) {
        if self.handshakes.take_session_up() {
            self.workers.iter().for_each(|worker| worker.wake());
        }
    }

    fn send_notices(&mut self) {
        while let Some(notice) = self.handshakes.poll_notice() {
            if !offer(&self.notices, notice) {
                self.notices_lost += 1;
            }
        }
    }

    fn send_tap(&mut self) {
        let Some((tap, listener)) = &mut self.tap else {
            return;
        };
        listener.take_from(tap);
        if listener.is_gone() {
            self.tap = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use sam_dataplane::{Io, Role, TxQueue};
    use sam_wg::{Device, PeerIndex, PrivateKey};

    use super::*;

    #[test]
    fn a_flood_of_messages_is_refused_and_counted_and_control_is_still_heard() {
        let mailbox = HandshakeBox::default();
        let (mut worker, mut pool, mut tx) = worker();
        let initiation = initiation();
        let mut refused = 0;
        for (_, source) in (0..POSTS).zip(0_u32..) {
            let mut buffer = pool.take().expect("free buffer");
            assert!(buffer.append(&initiation));
            let from = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + source), 9));
            let mut io = Io {
                pool: &mut pool,
                tx: &mut tx,
            };
            let now = Instant::now();
            worker.handle_datagrams(from, 0, initiation.len(), buffer, &mut io, now);
            refused += mailbox.pass_on(&mut worker);
        }
        mailbox.post(|letters| letters.peers = Some(Vec::new()));

        assert_eq!(refused, POSTS as u64 / 2);
        let mut posts = Posts::new(POSTS);
        let letters = mailbox.take(Duration::ZERO, &mut posts);
        assert!(letters.peers.is_some());
        let waiting = std::iter::from_fn(|| posts.pop()).count();
        assert_eq!(waiting, POSTS / 2);
        assert!(mailbox.take(Duration::ZERO, &mut posts).is_empty());
        assert!(posts.is_empty());
    }

    /// A message of somebody who knows the public key of the worker's router.
    fn initiation() -> Vec<u8> {
        let now = Instant::now();
        let key = PrivateKey::generate([3; 32]);
        let mut device = Device::new(&key, [4; 32], Duration::ZERO, now);
        let peer = PeerConfig {
            index: PeerIndex(0),
            public_key: PrivateKey::generate([1; 32]).public(),
            preshared_key: None,
            endpoint: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))),
            persistent_keepalive: Some(Duration::from_secs(25)),
            roaming: true,
        };
        device.set_peers(&[peer], now);
        device.handle_timeout(now);
        let mut out = [0; sam_wg::HANDSHAKE_MAX];
        let (_, len) = device.poll_transmit(&mut out).expect("an initiation");
        out[..len].to_vec()
    }

    fn worker() -> (Forwarder, BufferPool, TxQueue) {
        let key = PrivateKey::generate([1; 32]);
        let device = Device::new(&key, [2; 32], Duration::ZERO, Instant::now());
        let worker = Forwarder::new(
            device.data_path(),
            Role::Learner,
            Arc::default(),
            Arc::default(),
        );
        (worker, BufferPool::new(4), TxQueue::new(4))
    }
}
