//! TCP connections of the BGP speaker: bytes in, bytes out, no decision.
//!
//! Sessions run over the host's TCP, bound to the overlay address and to the TUN device: a session that stands proves
//! the data path, and who is not behind a tunnel finds no port. Each connection is a reader and a writer task; both ends of
//! every queue are bounded. A peer that says much waits for the others, one that reads slowly is told less. Neighbors
//! outside of the fabric come to doors of their own (`foreign`).

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use sam_bgp::ConnectionId;
use sam_dataplane::dscp::CONTROL_TOS;
use sam_router::Foreign;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::warn;

mod connection;
mod foreign;

use connection::Connection;
pub(crate) use connection::Piece;
use foreign::ForeignDoors;
pub(crate) use foreign::check;

/// The BGP port (RFC 4271 section 8).
pub(crate) const PORT: u16 = 179;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
/// Least time for a peer to take what is written.
const SEND_HOLD_MIN: Duration = Duration::from_secs(30);
/// Time for the last words on a connection that we close.
const LINGER: Duration = Duration::from_secs(5);
/// Time for a TCP connection to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection reports to the control loop.
#[derive(Debug)]
pub(crate) enum BgpEvent {
    /// The ordered connection is up.
    Connected(ConnectionId, TcpStream),
    /// A peer connected.
    Accepted(TcpStream, Ipv4Addr, Door),
    /// Bytes arrived.
    Received(ConnectionId, Piece),
    /// The connection failed or ended.
    Closed(ConnectionId),
    /// The connection was given up: too much waits for the peer, or for too long.
    Stalled(ConnectionId),
    /// What waited for the peer is mostly written.
    Relieved(ConnectionId),
}

/// Where a peer came in. An address of the fabric is believed from the overlay only, one of a foreign neighbor from outside
/// only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Through a tunnel.
    Overlay,
    /// From outside of the fabric.
    Foreign,
}

/// Returns how long a peer may take nothing of what is written: twice the hold time (RFC 9687 section 6), for it is
/// dead to us well before the eight minutes that are the default there.
pub(crate) fn send_hold(hold_time: Duration) -> Duration {
    hold_time.saturating_mul(2).max(SEND_HOLD_MIN)
}

/// All TCP connections of the speaker.
#[derive(Debug)]
pub(crate) struct BgpIo {
    events: mpsc::Sender<BgpEvent>,
    dialing: HashMap<ConnectionId, AbortHandle>,
    open: HashMap<ConnectionId, Connection>,
    near: Near,
    foreign: ForeignDoors,
    next_accepted: u64,
}

/// Our end of every connection.
#[derive(Debug, Clone)]
pub(crate) struct Near {
    /// The overlay address.
    pub(crate) overlay: Ipv4Addr,
    /// The TUN device that has it. The kernel takes packets to an address from every interface (weak host model), so
    /// the address alone would let the LAN and the underlay in.
    pub(crate) tun: String,
}

impl Near {
    /// Makes a socket at `port` of the overlay address that hears and speaks through the TUN only.
    pub(crate) fn socket(&self, port: u16) -> io::Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind_device(Some(self.tun.as_bytes()))?;
        // A restart must not wait for the connections of the former run.
        socket.set_reuseaddr(port != 0)?;
        socket.bind(SocketAddr::from((self.overlay, port)))?;
        Ok(socket)
    }

    /// Makes a socket whose packets the far router hears however busy it is; for BGP alone.
    fn control_socket(&self, port: u16) -> io::Result<TcpSocket> {
        let socket = self.socket(port)?;
        socket.set_tos_v4(CONTROL_TOS.into())?;
        Ok(socket)
    }

    async fn dial(&self, address: Ipv4Addr) -> io::Result<TcpStream> {
        let far = SocketAddr::from((address, PORT));
        self.control_socket(0)?.connect(far).await
    }
}

impl BgpIo {
    /// Listens on port 179.
    ///
    /// # Errors
    /// When the device or the address cannot be bound.
    pub(crate) fn listen(near: Near, events: mpsc::Sender<BgpEvent>) -> io::Result<Self> {
        // Accepted connections have its TOS.
        let listener = near.control_socket(PORT)?.listen(BACKLOG)?;
        tokio::spawn(accept(listener, Door::Overlay, events.clone()));
        Ok(Self {
            events,
            dialing: HashMap::new(),
            open: HashMap::new(),
            near,
            foreign: ForeignDoors::default(),
            next_accepted: 2,
        })
    }

    /// Starts to connect; the outcome arrives as an event.
    pub(crate) fn connect(&mut self, connection: ConnectionId, address: Ipv4Addr) {
        let (events, near) = (self.events.clone(), self.near.clone());
        let terms = self.foreign.terms(address).cloned();
        let dialing = tokio::spawn(async move {
            let dial = async {
                match terms {
                    Some(terms) => foreign::dial(address, terms).await,
                    None => near.dial(address).await,
                }
            };
            let outcome = tokio::time::timeout(CONNECT_TIMEOUT, dial).await;
            let event = match outcome {
                Ok(Ok(stream)) => BgpEvent::Connected(connection, stream),
                Ok(Err(_)) | Err(_) => BgpEvent::Closed(connection),
            };
            // The control loop is gone only when the program ends.
            events.send(event).await.ok();
        });
        self.dialing.insert(connection, dialing.abort_handle());
    }

    /// Has neighbors outside of the fabric come and be called on these terms from now on.
    pub(crate) fn set_foreign(&mut self, foreign: Foreign) {
        self.foreign.set(foreign);
        self.open_doors();
    }

    /// Listens for foreign neighbors where that was not possible before.
    pub(crate) fn open_doors(&mut self) {
        self.foreign.open(&self.events);
    }

    /// Tells whether somebody may come in by this door, and holds a foreign neighbor to its terms.
    pub(crate) fn admit(&self, stream: &TcpStream, from: Ipv4Addr, door: Door) -> bool {
        let terms = self.foreign.terms(from);
        match (door, terms) {
            (Door::Overlay, terms) => terms.is_none(),
            (Door::Foreign, None) => false,
            (Door::Foreign, Some(terms)) => match foreign::limit(stream.as_fd(), terms) {
                Ok(()) => true,
                Err(error) => {
                    warn!(%error, %from, "BGP connection refused");
                    false
                }
            },
        }
    }

    /// Starts reading and writing a connection that was ordered; tells whether it is still wanted.
    pub(crate) fn attach_dialed(
        &mut self,
        connection: ConnectionId,
        stream: TcpStream,
        send_hold: Duration,
    ) -> bool {
        let wanted = self.dialing.remove(&connection).is_some();
        if wanted {
            self.attach(connection, stream, send_hold);
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
    pub(crate) fn attach(
        &mut self,
        connection: ConnectionId,
        stream: TcpStream,
        send_hold: Duration,
    ) {
        stream.set_nodelay(true).ok();
        let connected = Connection::start(connection, stream, send_hold, &self.events);
        self.open.insert(connection, connected);
    }

    /// Queues bytes; tells whether routes for the peer must wait from now on. When too many bytes wait, the peer does
    /// not read: the connection is given up.
    pub(crate) fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) -> bool {
        let Some(open) = self.open.get(&connection) else {
            return false;
        };
        if let Ok(congested) = open.queue(bytes) {
            return congested;
        }
        warn!(connection = connection.0, "BGP peer does not read, closing");
        open.writer.abort();
        self.open.remove(&connection);
        let events = self.events.clone();
        tokio::spawn(async move { events.send(BgpEvent::Stalled(connection)).await.ok() });
        false
    }

    /// Closes a connection once what was queued has been written, or after a short while; one that is not up yet is
    /// given up.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        if let Some(dialing) = self.dialing.remove(&connection) {
            dialing.abort();
        }
        if let Some(open) = self.open.remove(&connection) {
            let writer = open.writer.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LINGER).await;
                writer.abort();
            });
        }
    }

    /// Tells whether the connection is still ours.
    pub(crate) fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.contains_key(&connection)
    }
}

async fn accept(listener: TcpListener, door: Door, events: mpsc::Sender<BgpEvent>) {
    loop {
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(from))) => {
                if events
                    .send(BgpEvent::Accepted(stream, *from.ip(), door))
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

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::connection::{CONGESTED_BYTES, READ_BYTES, RELIEVED_BYTES, WAITING_BYTES};
    use super::*;

    const PIECE: usize = 64 * 1024;
    const ID: ConnectionId = ConnectionId(2);

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_given_up_and_its_bytes_are_bounded() {
        let (mut io, mut events, far) = connected(Duration::from_secs(60)).await;
        let mut most = 0;
        for _ in 0..1000 {
            io.send(ID, vec![0; PIECE]);
            most = most.max(
                io.open
                    .get(&ID)
                    .map_or(0, |open| open.waiting.load(Relaxed)),
            );
            tokio::task::yield_now().await;
        }
        assert!(most <= WAITING_BYTES, "{most} bytes waited");
        assert!(!io.is_open(ID));
        assert!(matches!(events.recv().await, Some(BgpEvent::Stalled(ID))));
        drop(far);
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_for_the_send_hold_time_is_given_up() {
        let (mut io, mut events, far) = connected(Duration::from_millis(50)).await;
        // More than the kernel keeps for a peer that does not read, less than may wait.
        while io.open[&ID].waiting.load(Relaxed) < WAITING_BYTES / 2 {
            io.send(ID, vec![0; PIECE]);
            tokio::task::yield_now().await;
        }
        assert!(matches!(events.recv().await, Some(BgpEvent::Stalled(ID))));
        drop(far);
    }

    #[tokio::test]
    async fn a_peer_that_reads_gets_everything() {
        let (mut io, mut events, mut far) = connected(Duration::from_secs(60)).await;
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.expect("readable");
            all.len()
        });
        for _ in 0..200 {
            if io.send(ID, vec![0; PIECE]) {
                assert!(matches!(events.recv().await, Some(BgpEvent::Relieved(ID))));
            }
        }
        io.close(ID);
        assert_eq!(reading.await.expect("ends"), 200 * PIECE);
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_slow_peer_is_congested_once_and_relieved_when_it_has_read() {
        let (mut io, mut events, mut far) = connected(Duration::from_secs(60)).await;
        let mut told = 0;
        // More than the kernel keeps for a peer that does not read, and more than may wait without a word.
        while io.open[&ID].waiting.load(Relaxed) < 2 * CONGESTED_BYTES {
            told += usize::from(io.send(ID, vec![0; PIECE]));
            tokio::task::yield_now().await;
        }
        assert_eq!(told, 1);
        assert!(events.try_recv().is_err(), "nothing is read yet");

        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; PIECE];
            while far.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        });
        assert!(matches!(events.recv().await, Some(BgpEvent::Relieved(ID))));
        assert!(io.open[&ID].waiting.load(Relaxed) < RELIEVED_BYTES);
        io.close(ID);
        reading.await.expect("ends");
        assert!(events.try_recv().is_err(), "once");
    }

    #[tokio::test]
    async fn the_next_piece_of_a_peer_is_read_when_the_last_one_is_done_with() {
        let (_io, mut events, mut far) = connected(Duration::from_secs(60)).await;
        far.write_all(&vec![7; 3 * READ_BYTES])
            .await
            .expect("writable");
        let mut read = 0;
        while read < 3 * READ_BYTES {
            let Some(BgpEvent::Received(ID, piece)) = events.recv().await else {
                panic!("bytes are expected");
            };
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(events.try_recv().is_err(), "its next piece waits");
            read += piece.bytes.len();
        }
    }

    /// Who ends a session says why, and closes: what we still had to say cannot be written any more.
    #[tokio::test]
    async fn the_last_words_of_a_peer_that_takes_no_more_are_heard_before_its_end() {
        let (io, mut events, mut far, near) = watched(Duration::from_secs(60)).await;
        far.write_all(b"first").await.expect("writable");
        let Some(BgpEvent::Received(ID, first)) = events.recv().await else {
            panic!("bytes are expected");
        };
        far.write_all(b"last words").await.expect("writable");
        drop(far);
        near.shutdown(Shutdown::Write).expect("connected");
        io.open[&ID].queue(b"unheard".to_vec()).expect("room");
        // Not read on, because the first piece is not done with, until the writer has failed.
        while io.open[&ID].waiting.load(Relaxed) > 0 {
            assert!(events.try_recv().is_err(), "it is not over yet");
            tokio::task::yield_now().await;
        }
        drop(first);
        let Some(BgpEvent::Received(ID, last)) = events.recv().await else {
            panic!("the last words are expected");
        };
        assert_eq!(last.bytes, b"last words");
        drop(last);
        assert!(matches!(events.recv().await, Some(BgpEvent::Closed(ID))));
    }

    /// The far end may be gone without a word: nobody waits for that.
    #[tokio::test]
    async fn a_peer_that_takes_no_more_and_says_nothing_is_given_up() {
        let (io, mut events, far, near) = watched(Duration::from_secs(60)).await;
        near.shutdown(Shutdown::Write).expect("connected");
        io.open[&ID].queue(b"unheard".to_vec()).expect("room");
        assert!(matches!(events.recv().await, Some(BgpEvent::Closed(ID))));
        drop(far);
    }

    #[test]
    fn send_hold_is_twice_the_hold_time_and_never_short() {
        let table = [(3, 30), (9, 30), (15, 30), (90, 180)];
        for (hold, expected) in table {
            let send_hold = send_hold(Duration::from_secs(hold));
            assert_eq!(send_hold, Duration::from_secs(expected));
        }
    }

    /// A connection to a peer on this host, whose end is returned.
    async fn connected(send_hold: Duration) -> (BgpIo, mpsc::Receiver<BgpEvent>, TcpStream) {
        let (io, events, far, _) = watched(send_hold).await;
        (io, events, far)
    }

    /// The same, with a second handle of our end.
    async fn watched(
        send_hold: Duration,
    ) -> (
        BgpIo,
        mpsc::Receiver<BgpEvent>,
        TcpStream,
        std::net::TcpStream,
    ) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let near = TcpStream::connect(address).await.expect("connects");
        let (far, _) = listener.accept().await.expect("accepted");
        let near = near.into_std().expect("registered");
        let handle = near.try_clone().expect("a handle is free");
        let near = TcpStream::from_std(near).expect("registers");
        let (sender, events) = mpsc::channel(8);
        let mut io = BgpIo {
            events: sender,
            dialing: HashMap::new(),
            open: HashMap::new(),
            near: Near {
                overlay: Ipv4Addr::LOCALHOST,
                tun: "lo".to_owned(),
            },
            foreign: ForeignDoors::default(),
            next_accepted: 2,
        };
        io.attach(ID, near, send_hold);
        (io, events, far, handle)
    }
}
