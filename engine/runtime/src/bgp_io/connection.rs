//! One TCP connection: a task that reads, a task that writes, and what waits between them and the control loop.

use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use sam_bgp::ConnectionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::BgpEvent;

/// Bytes that may wait for a slow peer, beside those that the kernel holds; beyond that the connection is closed.
pub(super) const WAITING_BYTES: usize = 4 * 1024 * 1024;
/// Beyond this, routes for the peer are held back; one part of them is shorter.
pub(super) const CONGESTED_BYTES: usize = 1024 * 1024;
/// Below this they go on.
pub(super) const RELIEVED_BYTES: usize = 256 * 1024;
/// Pieces that may wait, so that very small ones are bounded too.
const WAITING_PIECES: usize = 16_384;
/// How long the last words of a peer that takes no more are listened to.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bytes read at once: what one peer says in a piece holds the others up for as long as it takes.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// Bytes of a peer. Its next ones are read when these are dropped, so that a peer that says much waits for the others.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    _turn: OwnedSemaphorePermit,
}

/// The near ends of one connection's tasks.
#[derive(Debug)]
pub(super) struct Connection {
    pieces: mpsc::Sender<Vec<u8>>,
    /// Bytes queued and not yet taken by the kernel.
    pub(super) waiting: Arc<AtomicUsize>,
    congested: Arc<AtomicBool>,
    reader: AbortHandle,
    pub(super) writer: AbortHandle,
}

/// More waits for the peer than may.
#[derive(Debug)]
pub(super) struct Overfull;

impl Connection {
    /// Starts to read and write.
    pub(super) fn start(
        id: ConnectionId,
        stream: TcpStream,
        send_hold: Duration,
        events: &mpsc::Sender<BgpEvent>,
    ) -> Self {
        let (read_half, write_half) = stream.into_split();
        let (pieces, receiver) = mpsc::channel(WAITING_PIECES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let congested = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(read(id, read_half, events.clone()));
        let writer = Writer {
            connection: id,
            socket: write_half,
            pieces: receiver,
            waiting: Arc::clone(&waiting),
            congested: Arc::clone(&congested),
            events: events.clone(),
        };
        let writing = tokio::spawn(writer.run(send_hold));
        Self {
            pieces,
            waiting,
            congested,
            reader: reading.abort_handle(),
            writer: writing.abort_handle(),
        }
    }

    /// Queues bytes; tells whether much waits since.
    pub(super) fn queue(&self, bytes: Vec<u8>) -> Result<bool, Overfull> {
        let length = bytes.len();
        // Counted first: the writer takes off what it wrote.
        let waiting = self.waiting.fetch_add(length, Relaxed) + length;
        if waiting > WAITING_BYTES {
            return Err(Overfull);
        }
        // Marked before the writer gets these bytes: it relieves when it has written them.
        let newly = waiting > CONGESTED_BYTES && !self.congested.swap(true, Relaxed);
        match self.pieces.try_send(bytes) {
            Ok(()) => Ok(newly),
            // The writer's own report is under way.
            Err(TrySendError::Closed(_)) => Ok(newly),
            Err(TrySendError::Full(_)) => Err(Overfull),
        }
    }
}

impl Drop for Connection {
    /// Stops reading at once; the writer ends by itself when all that was queued is written.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(connection: ConnectionId, mut reader: OwnedReadHalf, events: mpsc::Sender<BgpEvent>) {
    let mut buffer = vec![0; READ_BYTES];
    let turns = Arc::new(Semaphore::new(1));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                events.send(BgpEvent::Closed(connection)).await.ok();
                return;
            }
            Ok(count) => {
                let piece = Piece {
                    bytes: buffer[..count].to_vec(),
                    _turn: turn,
                };
                if events
                    .send(BgpEvent::Received(connection, piece))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

/// The writing end of one connection.
#[derive(Debug)]
struct Writer {
    connection: ConnectionId,
    socket: OwnedWriteHalf,
    pieces: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    congested: Arc<AtomicBool>,
    events: mpsc::Sender<BgpEvent>,
}

impl Writer {
    /// Writes what is queued until the queue is closed and empty, or the connection fails.
    async fn run(mut self, send_hold: Duration) {
        while let Some(bytes) = self.pieces.recv().await {
            let written = tokio::time::timeout(send_hold, self.socket.write_all(&bytes)).await;
            let end = match written {
                Ok(Ok(())) => {
                    let before = self.waiting.fetch_sub(bytes.len(), Relaxed);
                    let left = before.saturating_sub(bytes.len());
                    if left < RELIEVED_BYTES && self.congested.swap(false, Relaxed) {
                        let relieved = BgpEvent::Relieved(self.connection);
                        self.events.send(relieved).await.ok();
                    }
                    continue;
                }
                Ok(Err(error)) => {
                    self.waiting.fetch_sub(bytes.len(), Relaxed);
                    // The peer closed; after any other error nothing is left to be read.
                    let closed = matches!(error.kind(), BrokenPipe | ConnectionReset);
                    if closed && self.hear_out().await {
                        return;
                    }
                    BgpEvent::Closed(self.connection)
                }
                Err(_) => BgpEvent::Stalled(self.connection),
            };
            self.events.send(end).await.ok();
            return;
        }
        self.socket.shutdown().await.ok();
    }

    /// Writes nothing any more, and lets the reader come to the end, which it tells: the peer may have said why before it
    /// closed. Tells whether the connection is closed since.
    async fn hear_out(&mut self) -> bool {
        let discard = async {
            while let Some(bytes) = self.pieces.recv().await {
                self.waiting.fetch_sub(bytes.len(), Relaxed);
            }
        };
        tokio::time::timeout(LAST_WORDS, discard).await.is_ok()
    }
}
