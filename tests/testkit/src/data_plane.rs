//! The packet path of a site: some workers and the owner of the handshakes, all in one thread.
//!
//! Like the kernel it hands each flow to one worker and ARP to every worker. The number of workers is a matter of
//! chance: nothing may depend on it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_dataplane::{
    Buffer, BufferPool, Egress, FabricQuestion, Forwarder, Handshakes, Io, LanQuestion,
    NeighborView, Notice, PathProbe, Role, Snapshot, Stats, TxQueue, Unit,
};
use sam_router::LAN_PORT;
use sam_router::config::Config;
use sam_wg::{Device, PeerConfig};

use crate::rng::Rng;

/// Packet buffers per site.
pub(crate) const BUFFERS: usize = 64;
/// Entries of the send queue.
const SENDS: usize = 512;
/// Most workers of a site.
const WORKERS: u64 = 3;
/// Time between the Unix epoch and the start of all virtual clocks.
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// Workers, handshakes and buffers of a site.
#[derive(Debug)]
pub struct DataPlane {
    workers: Vec<Forwarder>,
    handshakes: Handshakes,
    pool: BufferPool,
    tx: TxQueue,
}

impl DataPlane {
    /// Makes a packet path without forwarding state. `wall` is the virtual time since the world began.
    pub(crate) fn new(
        config: &Config,
        stats: &Arc<Stats>,
        rng: &mut Rng,
        wall: Duration,
        now: Instant,
    ) -> Self {
        let mut seed = [0; 32];
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&rng.draw().to_le_bytes());
        }
        let device = Device::new(&config.local.private_key, seed, WALL + wall, now);
        let handshakes = Handshakes::new(device, Arc::clone(stats));
        let limiter = Arc::default();
        let worker = |index| {
            let role = Role::of_worker(index);
            Forwarder::new(
                handshakes.data_path(),
                role,
                Arc::clone(&limiter),
                Arc::clone(stats),
            )
        };
        let count = 1 + usize::try_from(rng.below(WORKERS)).unwrap_or_default();
        Self {
            workers: (0..count).map(worker).collect(),
            handshakes,
            pool: BufferPool::new(BUFFERS),
            tx: TxQueue::new(SENDS),
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let workers = self.workers.iter().filter_map(Forwarder::poll_timeout);
        let handshakes = self.handshakes.poll_timeout();
        workers.chain(handshakes).map(|(at, _)| at).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.handshakes.handle_timeout(now);
        self.each(|worker, io| worker.handle_timeout(io, now));
    }

    /// Replaces the forwarding state.
    pub(crate) fn install(&mut self, snapshot: &Arc<Snapshot>, now: Instant) {
        self.handshakes.install(snapshot);
        self.each(|worker, io| worker.install(Arc::clone(snapshot), io, now));
    }

    /// Sends a probe of a tunnel's size.
    pub(crate) fn send_probe(&mut self, probe: &PathProbe, now: Instant) {
        self.on(0, |worker, io| worker.send_probe(probe, io, now));
    }

    /// Asks the LAN who has an address.
    pub(crate) fn ask_lan(&mut self, question: &LanQuestion, now: Instant) {
        self.on(0, |worker, io| worker.ask_lan(question, io, now));
    }

    /// Asks another router whether an address lives with it.
    pub(crate) fn ask_fabric(&mut self, question: &FabricQuestion, now: Instant) {
        self.on(0, |worker, io| worker.ask_fabric(question, io, now));
    }

    /// Makes the WireGuard peers exactly these.
    pub(crate) fn set_peers(&mut self, peers: &[PeerConfig], now: Instant) {
        self.handshakes.set_peers(peers, now);
    }

    /// Takes a datagram from the underlay.
    pub(crate) fn receive_datagram(
        &mut self,
        from: SocketAddr,
        tos: u8,
        bytes: &[u8],
        now: Instant,
    ) {
        let buffer = self.filled(bytes);
        let index = self.pick(&from);
        self.on(index, |worker, io| {
            worker.handle_datagrams(from, tos, bytes.len(), buffer, io, now);
        });
    }

    /// Takes a frame from the LAN.
    pub(crate) fn receive_frame(&mut self, bytes: &[u8], now: Instant) {
        if bytes.get(12..14) == Some(&ARP) {
            for index in 0..self.workers.len() {
                let unit = Unit::plain(self.filled(bytes));
                self.on(index, |worker, io| {
                    worker.handle_frame(LAN_PORT, unit, io, now);
                });
            }
            return;
        }
        let unit = Unit::plain(self.filled(bytes));
        let index = self.pick(&flow(bytes.get(14..).unwrap_or_default()));
        self.on(index, |worker, io| {
            worker.handle_frame(LAN_PORT, unit, io, now);
        });
    }

    /// Takes a packet from the router's own host.
    pub(crate) fn receive_host_packet(&mut self, bytes: &[u8], now: Instant) {
        let unit = Unit::plain(self.filled(bytes));
        let index = self.pick(&flow(bytes));
        self.on(index, |worker, io| {
            worker.handle_host_packet(unit, io, now);
        });
    }

    /// Ends the batches and lets the handshakes go on.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.each(|worker, io| worker.flush(io, now));
        let Self {
            workers,
            handshakes,
            pool,
            tx,
        } = self;
        for worker in workers {
            handshakes.serve(worker, &mut Io { pool, tx }, now);
        }
        self.each(|worker, io| worker.flush(io, now));
    }

    /// Takes the next thing to send; [`Self::give`] takes its buffer back.
    pub(crate) fn poll_egress(&mut self) -> Option<Egress> {
        self.tx.pop()
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        self.pool.give(buffer);
    }

    /// Takes the next fact for the router.
    pub(crate) fn poll_notice(&mut self) -> Option<Notice> {
        let handshakes = self.handshakes.poll_notice();
        handshakes.or_else(|| self.workers.iter_mut().find_map(Forwarder::poll_notice))
    }

    /// Lists the neighbors that each worker knows.
    #[must_use]
    pub fn neighbors(&self) -> Vec<NeighborView> {
        self.workers.iter().flat_map(Forwarder::neighbors).collect()
    }

    /// Number of free buffers.
    pub(crate) fn available(&self) -> usize {
        self.pool.available()
    }

    fn filled(&mut self, bytes: &[u8]) -> Buffer {
        let mut buffer = self
            .pool
            .take()
            .expect("a simulated site never runs out of buffers");
        assert!(buffer.append(bytes), "packet larger than a buffer");
        buffer
    }

    fn pick(&self, key: &impl Hash) -> usize {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let workers = self.workers.len() as u64;
        usize::try_from(hasher.finish() % workers).unwrap_or_default()
    }

    fn on(&mut self, index: usize, run: impl FnOnce(&mut Forwarder, &mut Io<'_>)) {
        let Self {
            workers, pool, tx, ..
        } = self;
        run(&mut workers[index], &mut Io { pool, tx });
    }

    fn each(&mut self, mut run: impl FnMut(&mut Forwarder, &mut Io<'_>)) {
        for index in 0..self.workers.len() {
            self.on(index, &mut run);
        }
    }
}

/// What the packets of a flow have in common: protocol, addresses, and ports where there are any.
fn flow(ip: &[u8]) -> (Option<&u8>, Option<&[u8]>) {
    let with_ports = matches!(ip.get(9), Some(6 | 17)) && ip.first() == Some(&0x45);
    let end = if with_ports { 24 } else { 20 };
    (ip.get(9), ip.get(12..end))
}

/// EtherType of ARP.
const ARP: [u8; 2] = [8, 6];
