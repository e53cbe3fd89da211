//! TCP connections of the BGP speaker: bytes in, bytes out, no decision.
//!
//! Sessions run over the host's TCP, bound to the overlay address on the TUN device: a session that stands proves
//! the data path. Each connection is a reader and a writer task; both ends of every queue are bounded.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use sam_bgp::ConnectionId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::AbortHandle;
use tracing::warn;

/// The BGP port (RFC 4271 section 8).
pub(crate) const PORT: u16 = 179;
/// Messages that may wait for a slow peer; beyond that the connection is closed.
const WRITE_QUEUE: usize = 16_384;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Time for a peer to take one message; longer means that it reads no more (RFC 9687 names the same cause).
const SEND_HOLD: Duration = Duration::from_secs(480);
/// Time for a TCP connection to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection reports to the control loop.
#[derive(Debug)]
pub(crate) enum BgpEvent {
    /// The ordered connection is up.
    Connected(ConnectionId, TcpStream),
    /// A peer connected.
    Accepted(TcpStream, Ipv4Addr),
    /// Bytes arrived.
    Received(ConnectionId, Vec<u8>),
    /// The connection failed or ended.
    Closed(ConnectionId),
}

/// All TCP connections of the speaker.
#[derive(Debug)]
pub(crate) struct BgpIo {
    events: mpsc::Sender<BgpEvent>,
    dialing: HashMap<ConnectionId, AbortHandle>,
    open: HashMap<ConnectionId, Connection>,
    overlay: Ipv4Addr,
    next_accepted: u64,
}

/// The near ends of one connection's tasks.
#[derive(Debug)]
struct Connection {
    writer: mpsc::Sender<Vec<u8>>,
    reader: AbortHandle,
}

impl Drop for Connection {
    /// Stops reading at once; the writer ends when all that was queued is written.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl BgpIo {
    /// Listens on port 179 of the overlay address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn listen(
        overlay: Ipv4Addr,
        events: mpsc::Sender<BgpEvent>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(overlay, PORT)).await?;
        tokio::spawn(accept(listener, events.clone()));
        Ok(Self {
            events,
            dialing: HashMap::new(),
            open: HashMap::new(),
            overlay,
            next_accepted: 2,
        })
    }

    /// Starts to connect; the outcome arrives as an event.
    pub(crate) fn connect(&mut self, connection: ConnectionId, address: Ipv4Addr) {
        let (events, overlay) = (self.events.clone(), self.overlay);
        let dialing = tokio::spawn(async move {
            let outcome = tokio::time::timeout(CONNECT_TIMEOUT, dial(overlay, address)).await;
            let event = match outcome {
                Ok(Ok(stream)) => BgpEvent::Connected(connection, stream),
                Ok(Err(_)) | Err(_) => BgpEvent::Closed(connection),
            };
            // The control loop is gone only when the program ends.
            events.send(event).await.ok();
        });
        self.dialing.insert(connection, dialing.abort_handle());
    }

    /// Starts reading and writing a connection that was ordered; tells whether it is still wanted.
    pub(crate) fn attach_dialed(&mut self, connection: ConnectionId, stream: TcpStream) -> bool {
        let wanted = self.dialing.remove(&connection).is_some();
        if wanted {
            self.attach(connection, stream);
        }
        wanted
    }

    /// Chooses an id for an accepted connection.
    pub(crate) fn next_accepted(&mut self) -> ConnectionId {
        let id = ConnectionId(self.next_accepted);
        self.next_accepted += 2;
        id
    }

    /// Starts reading and writing a connection.
    pub(crate) fn attach(&mut self, connection: ConnectionId, stream: TcpStream) {
        stream.set_nodelay(true).ok();
        let (reader, writer) = stream.into_split();
        let (sender, receiver) = mpsc::channel(WRITE_QUEUE);
        let reading = tokio::spawn(read(connection, reader, self.events.clone()));
        tokio::spawn(write(connection, writer, receiver, self.events.clone()));
        let connected = Connection {
            writer: sender,
            reader: reading.abort_handle(),
        };
        self.open.insert(connection, connected);
    }

    /// Queues bytes. A full queue means a peer that does not read: the connection is given up.
    pub(crate) fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(open) = self.open.get(&connection) else {
            return;
        };
        match open.writer.try_send(bytes) {
            Ok(()) => {}
            // The writer's own report is under way.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                warn!(connection = connection.0, "BGP peer does not read, closing");
                self.open.remove(&connection);
                let events = self.events.clone();
                tokio::spawn(async move { events.send(BgpEvent::Closed(connection)).await.ok() });
            }
        }
    }

    /// Closes a connection once what was queued has been written; one that is not up yet is given up.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        if let Some(dialing) = self.dialing.remove(&connection) {
            dialing.abort();
        }
        self.open.remove(&connection);
    }

    /// Tells whether the connection is still ours.
    pub(crate) fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.contains_key(&connection)
    }
}

async fn dial(overlay: Ipv4Addr, address: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((overlay, 0)))?;
    socket.connect(SocketAddr::from((address, PORT))).await
}

async fn accept(listener: TcpListener, events: mpsc::Sender<BgpEvent>) {
    loop {
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(from))) => {
                if events
                    .send(BgpEvent::Accepted(stream, *from.ip()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                warn!(%error, "cannot accept a BGP connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn read(connection: ConnectionId, mut reader: OwnedReadHalf, events: mpsc::Sender<BgpEvent>) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                events.send(BgpEvent::Closed(connection)).await.ok();
                return;
            }
            Ok(count) => {
                let bytes = buffer[..count].to_vec();
                if events
                    .send(BgpEvent::Received(connection, bytes))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

async fn write(
    connection: ConnectionId,
    mut writer: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<BgpEvent>,
) {
    while let Some(bytes) = receiver.recv().await {
        let written = tokio::time::timeout(SEND_HOLD, writer.write_all(&bytes)).await;
        if !matches!(written, Ok(Ok(()))) {
            events.send(BgpEvent::Closed(connection)).await.ok();
            return;
        }
    }
    writer.shutdown().await.ok();
}
