//! What control tells a worker, and what it asks.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use sam_dataplane::trace::TapRecord;
use sam_dataplane::{NeighborView, PortId, Snapshot};
use sam_net::{EventFd, PacketSocket};
use sam_wg::{PeerConfig, PeerStatus};
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait; control never has more under way.
pub(crate) const MAILBOX: usize = 1024;

/// One message to the worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Forward by this from now on.
    Install(Arc<Snapshot>),
    /// Make the WireGuard peers exactly these.
    Peers(Vec<PeerConfig>),
    /// Serve this LAN port, in place of a former socket.
    Lan(PortId, PacketSocket),
    /// Copy packets to the sender until it is closed.
    Tap(mpsc::Sender<TapRecord>),
    /// Say how things are.
    Report(oneshot::Sender<WorkerReport>),
    /// End the thread.
    Stop,
}

/// How things are in the worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerReport {
    /// WireGuard peers.
    pub peers: Vec<PeerStatus>,
    /// Neighbors.
    pub neighbors: Vec<NeighborView>,
    /// Free packet buffers.
    pub buffers_free: usize,
    /// Generation of the snapshot in force.
    pub generation: u64,
    /// Notices that found their queue full.
    pub notices_lost: u64,
}

/// The control side of a worker's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    sender: SyncSender<WorkerMessage>,
    wake: Arc<EventFd>,
}

impl Mailbox {
    /// Joins the queue to the descriptor that wakes the worker.
    pub(crate) fn new(sender: SyncSender<WorkerMessage>, wake: Arc<EventFd>) -> Self {
        Self { sender, wake }
    }

    /// Posts a message and wakes the worker. Returns `false` when the worker is gone or does not keep up.
    pub(crate) fn post(&self, message: WorkerMessage) -> bool {
        let posted = match self.sender.try_send(message) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        };
        self.wake.wake();
        posted
    }
}
