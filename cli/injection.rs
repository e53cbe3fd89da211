//! A BGP session that tells routes and takes none: `samctl bgp mrt inject`.
//!
//! A thread reads, so that a speaker that tells much while it hears much stands not still.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sam_bgp::speaker::Event;
use sam_bgp::{
    ConnectionId, ExternalPeer, Input, Output, PathAttributes, PeerConfig, PeerId, PeerRole,
    Policy, Prefix, Rejection, Speaker, SpeakerConfig,
};

use crate::exit::{Exit, Failure};
use crate::mrt_table::MrtTable;

/// Whom the routes are told, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The speaker.
    pub to: SocketAddrV4,
    /// Our AS number.
    pub asn: u32,
    /// Its AS number.
    pub peer_asn: u32,
    /// Next hop instead of those of the file.
    pub next_hop: Option<Ipv4Addr>,
}

/// A session, from the connection on.
pub struct Injection {
    speaker: Speaker<TellOnly>,
    stream: TcpStream,
    connection: ConnectionId,
    /// What the speaker sends; closed when it closes.
    pieces: Receiver<Vec<u8>>,
    terms: Terms,
    established: bool,
    /// Why nothing can be written any more.
    unwritten: Option<std::io::Error>,
}

impl Injection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn open(table: MrtTable, terms: Terms) -> Result<Self, Failure> {
        let to = terms.to;
        let refused = |error: std::io::Error| {
            Failure::new(Exit::Failed, format!("cannot connect to {to}: {error}"))
        };
        let stream = TcpStream::connect_timeout(&to.into(), PATIENCE).map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(refused)?;
        let own = match stream.local_addr().map_err(refused)?.ip() {
            IpAddr::V4(own) => own,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let reading = stream.try_clone().map_err(refused)?;
        let (sender, pieces) = sync_channel(PIECES);
        thread::spawn(move || read(reading, &sender));
        let (speaker, connection) = speaker(table, terms, own);
        Ok(Self {
            speaker,
            stream,
            connection,
            pieces,
            terms,
            established: false,
            unwritten: None,
        })
    }

    /// Tells everything and calls `told` with the number of routes, then keeps the session for as long as `stay` says; for ever
    /// without.
    ///
    /// # Errors
    /// When the session ends before, and those of `told`.
    pub fn run(
        mut self,
        stay: Option<Duration>,
        mut told: impl FnMut(usize) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let connected = Input::Connected(self.connection);
        self.speaker.handle_input(connected, Instant::now());
        let mut leaves_at = None;
        let mut is_told = false;
        loop {
            self.drain()?;
            if let Some(error) = self.unwritten.take() {
                return self.broken(&error);
            }
            let now = Instant::now();
            if self.established && !is_told {
                is_told = true;
                told(self.told())?;
                leaves_at = stay.map(|stay| now + stay);
            }
            if leaves_at.is_some_and(|at| at <= now) {
                return self.leave();
            }
            let due = self.speaker.poll_timeout().map(|(at, _)| at);
            let next = due.into_iter().chain(leaves_at).min();
            let wait = next.map_or(PATIENCE, |at| at.saturating_duration_since(now));
            match self.pieces.recv_timeout(wait) {
                Ok(piece) => {
                    let received = Input::Received(self.connection, &piece);
                    self.speaker.handle_input(received, Instant::now());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.closed(),
            }
            self.speaker.handle_timeout(Instant::now());
        }
    }

    /// How many routes the speaker was told.
    fn told(&self) -> usize {
        let peers = self.speaker.peers();
        peers.iter().map(|peer| peer.ipv4.advertised).sum()
    }

    /// Sends what is to be sent; everything that the speaker is to be told, once there is a session.
    fn drain(&mut self) -> Result<(), Failure> {
        let to = self.terms.to;
        let mut ended = None;
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send(connection, bytes)
                    if connection == self.connection && self.unwritten.is_none() =>
                {
                    self.unwritten = self.stream.write_all(&bytes).err();
                }
                Output::Event(Event::Established { .. }) => self.established = true,
                Output::Event(Event::Down { reason, .. } | Event::AttemptFailed { reason, .. }) => {
                    ended = Some(reason);
                }
                Output::Send(..)
                | Output::Connect { .. }
                | Output::Close(_)
                | Output::BestPath(_)
                | Output::Event(_) => {}
            }
        }
        ended.map_or(Ok(()), |reason| {
            let error = format!("the session with {to} ended: {reason}");
            Err(Failure::new(Exit::Failed, error))
        })
    }

    /// Nothing can be written any more: the far end may have said why.
    fn broken(mut self, error: &std::io::Error) -> Result<(), Failure> {
        let until = Instant::now() + GOODBYE;
        while let Some(piece) = self.piece(until) {
            let received = Input::Received(self.connection, &piece);
            self.speaker.handle_input(received, Instant::now());
            self.drain()?;
        }
        let to = self.terms.to;
        let error = format!("cannot write to {to}: {error}");
        Err(Failure::new(Exit::Failed, error))
    }

    /// Waits for what the far end says.
    fn piece(&self, until: Instant) -> Option<Vec<u8>> {
        let left = until.checked_duration_since(Instant::now())?;
        self.pieces.recv_timeout(left).ok()
    }

    /// The far end closed.
    fn closed(mut self) -> Result<(), Failure> {
        let closed = Input::Closed(self.connection);
        self.speaker.handle_input(closed, Instant::now());
        self.drain()?;
        let Terms { to, asn, .. } = self.terms;
        Err(
            Failure::new(Exit::Failed, format!("{to} closed the connection"))
                .remedy(format!("it needs a neighbor for this host, with AS {asn}")),
        )
    }

    /// Says goodbye, and waits until that was read: a connection that is closed with unread bytes may take written ones along.
    fn leave(mut self) -> Result<(), Failure> {
        self.speaker.shutdown("injected routes end", Instant::now());
        // That the session ends is no failure now, and that the far end is gone neither.
        self.drain().ok();
        self.stream.shutdown(Shutdown::Write).ok();
        let until = Instant::now() + GOODBYE;
        while self.piece(until).is_some() {}
        Ok(())
    }
}

/// Makes a speaker that knows the routes, and wants one connection.
fn speaker(table: MrtTable, terms: Terms, own: Ipv4Addr) -> (Speaker<TellOnly>, ConnectionId) {
    let now = Instant::now();
    let config = SpeakerConfig {
        asn: terms.asn,
        router_id: own,
        cluster_id: own,
        hostname: "samctl-inject".to_owned(),
        graceful_restart: None,
    };
    let seed = RandomState::new().hash_one(());
    let mut speaker = Speaker::new(config, TellOnly, seed, now);
    for (prefix, attributes) in table.into_routes() {
        let attributes = PathAttributes {
            next_hop: terms.next_hop.unwrap_or(attributes.next_hop),
            ..attributes
        };
        speaker.originate(prefix, attributes, now);
        while speaker.poll_output().is_some() {}
    }
    speaker.set_peers(vec![peer(terms, own)], now);
    let mut outputs = std::iter::from_fn(|| speaker.poll_output());
    let connection = outputs.find_map(|output| match output {
        Output::Connect { connection, .. } => Some(connection),
        Output::Send(..) | Output::Close(_) | Output::BestPath(_) | Output::Event(_) => None,
    });
    let connection = connection.expect("an active peer is called at once");
    (speaker, connection)
}

fn peer(terms: Terms, own: Ipv4Addr) -> PeerConfig {
    let external = ExternalPeer {
        asn: terms.peer_asn,
        local_asn: terms.asn,
        next_hop: own,
        next_hop_ipv6: None,
    };
    PeerConfig {
        id: PeerId(1),
        address: *terms.to.ip(),
        router_id: None,
        role: if terms.peer_asn == terms.asn {
            PeerRole::NonClient
        } else {
            PeerRole::External(external)
        },
        active: true,
        hold_time: HOLD_TIME,
        connect_retry: PATIENCE,
        max_prefixes: 0,
        reflector: false,
        add_path: None,
        extended_messages: true,
        ipv6: false,
    }
}

/// Reads until the connection ends.
fn read(mut stream: TcpStream, sender: &SyncSender<Vec<u8>>) {
    let mut piece = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        if sender.send(piece[..count].to_vec()).is_err() {
            return;
        }
    }
}

/// Tells everything and takes nothing.
#[derive(Debug)]
struct TellOnly;

impl<N: Prefix> Policy<N> for TellOnly {
    fn import(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Err(Rejection("not-asked-for"))
    }

    fn export(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}

/// How long a connection may take, and a write.
const PATIENCE: Duration = Duration::from_secs(30);
const HOLD_TIME: Duration = Duration::from_secs(90);
/// How long the far end may take to close.
const GOODBYE: Duration = Duration::from_secs(5);
/// Bytes read at once, and such pieces that may wait.
const READ_BYTES: usize = 16 * 1024;
const PIECES: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    /// Cease/Administrative Shutdown (RFC 4271 section 4.5, RFC 4486).
    const NOTIFICATION: [u8; 21] = {
        let mut message = [0xff; 21];
        (message[16], message[17], message[18]) = (0, 21, 3);
        (message[19], message[20]) = (6, 2);
        message
    };

    #[test]
    fn who_cannot_write_tells_what_the_far_end_said() {
        for (said, expected) in [(&NOTIFICATION[..], "ended: "), (&[], "cannot write")] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let Ok(SocketAddr::V4(to)) = listener.local_addr() else {
                panic!("no address");
            };
            let terms = Terms {
                to,
                asn: 64_512,
                peer_asn: 64_512,
                next_hop: None,
            };
            let session = Injection::open(MrtTable::default(), terms).expect("a connection");
            let (mut far, _) = listener.accept().expect("a call");
            session.stream.shutdown(Shutdown::Write).expect("open");
            far.write_all(said).expect("open");
            drop(far);

            let failure = session.run(None, |_| Ok(())).expect_err("it broke");

            assert!(failure.error.contains(expected), "{}", failure.error);
        }
    }
}
