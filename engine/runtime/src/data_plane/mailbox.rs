//! What control tells a worker, and what it asks.
//!
//! Slots, not a queue: the newest state replaces one that the worker has not read yet. A mailbox is therefore never
//! full (R10), and a worker that was busy installs what holds now, not what held meanwhile.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use sam_dataplane::{NeighborView, PathProbe, PortId, Snapshot, TunnelId, TunnelTraffic};
use sam_net::{EventFd, PacketSocket};
use sam_router::Offloads;
use tokio::sync::oneshot;

use super::listener::Listener;

/// What the worker has not read yet.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Forward by this from now on.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Serve these LAN ports, in place of former sockets.
    pub(super) lans: BTreeMap<PortId, LanSockets>,
    /// Send these probes, one per tunnel.
    pub(super) probes: BTreeMap<TunnelId, PathProbe>,
    /// Copy packets to the listener until it is gone.
    pub(super) tap: Option<Listener>,
    /// Say how things are; whoever asked before has given up.
    pub(super) report: Option<oneshot::Sender<WorkerReport>>,
    /// End the thread.
    pub(super) stop: bool,
}

/// How things are in the worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerReport {
    /// Offloads in force.
    pub offloads: Offloads,
    /// Neighbors.
    pub neighbors: Vec<NeighborView>,
    /// What went through each tunnel, by number.
    pub tunnels: Vec<TunnelTraffic>,
    /// Free packet buffers.
    pub buffers_free: usize,
    /// Generation of the snapshot in force.
    pub generation: u64,
    /// Notices that found their queue full.
    pub notices_lost: u64,
}

/// The sockets of one worker on one LAN port.
#[derive(Debug)]
pub(crate) struct LanSockets {
    /// Its share of the IPv4 frames, by flow; everything is sent here.
    pub(crate) ipv4: PacketSocket,
    /// Every ARP frame. On a socket of its own no flood of IPv4 can displace it.
    pub(crate) arp: PacketSocket,
}

/// The mailbox, shared by control and worker.
#[derive(Debug)]
pub(super) struct Mailbox {
    letters: Mutex<Letters>,
    wake: EventFd,
}

impl Mailbox {
    /// Makes an empty mailbox.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            letters: Mutex::default(),
            wake: EventFd::new()?,
        })
    }

    /// Writes and wakes the worker.
    pub(super) fn post(&self, write: impl FnOnce(&mut Letters)) {
        write(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.wake();
    }

    /// Wakes the worker without telling it anything.
    pub(super) fn wake(&self) {
        self.wake.wake();
    }

    /// Takes everything; the mailbox is empty and quiet afterwards.
    pub(super) fn take(&self) -> Letters {
        // In this order a letter that is posted meanwhile wakes again.
        self.wake.drain();
        std::mem::take(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    /// Readable while there is something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_snapshot_is_replaced_by_the_newest() {
        let mailbox = Mailbox::new().expect("descriptor");
        for generation in 1..=10_000 {
            let snapshot = Arc::new(Snapshot {
                generation,
                ..Snapshot::default()
            });
            mailbox.post(|letters| letters.snapshot = Some(snapshot));
        }

        let letters = mailbox.take();

        let generation = letters.snapshot.map(|snapshot| snapshot.generation);
        assert_eq!(generation, Some(10_000));
        assert!(mailbox.take().snapshot.is_none());
    }
}
