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
use tracing::warn;

/// The BGP port (RFC 4271 section 8).
pub(crate) const PORT: u16 = 179;
/// Messages that may wait for a slow peer; beyond that the connection is closed.
const WRITE_QUEUE: usize = 16_384;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
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
    writers: HashMap<ConnectionId, mpsc::Sender<Vec<u8>>>,
    overlay: Ipv4Addr,
    next_accepted: u64,
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
            writers: HashMap::new(),
            overlay,
            next_accepted: 2,
        })
    }

    /// Starts to connect; the outcome arrives as an event.
    pub(crate) fn connect(&self, connection: ConnectionId, address: Ipv4Addr) {
        let (events, overlay) = (self.events.clone(), self.overlay);
        tokio::spawn(async move {
            let outcome = tokio::time::timeout(CONNECT_TIMEOUT, dial(overlay, address)).await;
            let event = match outcome {
                Ok(Ok(stream)) => BgpEvent::Connected(connection, stream),
                Ok(Err(_)) | Err(_) => BgpEvent::Closed(connection),
            };
            // The control loop is gone only when the program ends.
            events.send(event).await.ok();
        });
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
        self.writers.insert(connection, sender);
        tokio::spawn(read(connection, reader, self.events.clone()));
        tokio::spawn(write(writer, receiver));
    }

    /// Queues bytes. A full queue means a peer that does not read: the connection is given up.
    pub(crate) fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        let Some(writer) = self.writers.get(&connection) else {
            return;
        };
        if writer.try_send(bytes).is_err() {
            warn!(connection = connection.0, "BGP peer does not read, closing");
            self.writers.remove(&connection);
            let events = self.events.clone();
            tokio::spawn(async move { events.send(BgpEvent::Closed(connection)).await.ok() });
        }
    }

    /// Closes a connection once what was queued has been written.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        self.writers.remove(&connection);
    }

    /// Tells whether the connection is still ours.
    pub(crate) fn is_open(&self, connection: ConnectionId) -> bool {
        self.writers.contains_key(&connection)
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

async fn write(mut writer: OwnedWriteHalf, mut receiver: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = receiver.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    writer.shutdown().await.ok();
}
