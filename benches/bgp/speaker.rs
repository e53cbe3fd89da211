//! `sam_bgp::Speaker` as a daemon of its own: a thread per direction of each connection, one loop, no policy.
//!
//! It is what `samctl run` has around its speaker, without tunnels, FIB and journal, so that it can stand beside
//! daemons that have no such things either.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sam_bgp::{
    ConnectionId, Input, Output, PathAttributes, PeerConfig, PeerId, PeerRole, Policy, Prefix,
    Rejection, Speaker, SpeakerConfig,
};

use crate::feed::ASN;

/// Events that may wait; readers pause beyond that.
const EVENTS: usize = 256;
/// Bytes read at once, as `samctl run` does.
const READ_BYTES: usize = 16 * 1024;
/// Waiting bytes beyond which routes are held back, and below which they go on; likewise.
const CONGESTED_BYTES: usize = 1024 * 1024;
const RELIEVED_BYTES: usize = 256 * 1024;
const IDLE: Duration = Duration::from_secs(1);

/// Takes and gives everything.
struct Open;

impl<N: Prefix> Policy<N> for Open {
    fn import(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
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

enum Happening {
    Accepted(TcpStream, Ipv4Addr),
    /// The next bytes of this peer are read when the sender is dropped.
    Received(ConnectionId, Vec<u8>, Sender<()>),
    Relieved(ConnectionId),
    Closed(ConnectionId),
}

/// The near end of the thread that writes.
struct Mouth {
    pieces: Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// What waits to be written on a connection.
#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    congested: AtomicBool,
}

/// Serves `peers` until it is killed; writes the number of routes into `count` (eight bytes) whenever it has nothing
/// to do.
pub(crate) fn serve(own: Ipv4Addr, peers: &[Ipv4Addr], count: &Path) -> Result<()> {
    let count = File::create(count).context("cannot write the count of routes")?;
    let (sender, happenings) = sync_channel(EVENTS);
    let listener = TcpListener::bind((own, 179)).context("cannot listen")?;
    let accepting = sender.clone();
    thread::spawn(move || accept(&listener, &accepting));

    let start = Instant::now();
    let config = SpeakerConfig {
        asn: ASN.into(),
        router_id: own,
        cluster_id: own,
        hostname: "speaker".to_owned(),
        graceful_restart: None,
    };
    let mut speaker = Speaker::new(config, Open, 1, start);
    speaker.set_peers(configured(peers), start);
    speaker.set_next_hops(peers.iter().copied().collect::<BTreeSet<_>>(), start);
    let mut daemon = Daemon {
        speaker,
        sender,
        mouths: HashMap::new(),
        next: 2,
    };
    loop {
        daemon.drain();
        if let Ok(happening) = happenings.try_recv() {
            daemon.handle(happening);
            continue;
        }
        let routes = daemon.accepted() as u64;
        count.write_all_at(&routes.to_ne_bytes(), 0)?;
        match happenings.recv_timeout(IDLE) {
            Ok(happening) => daemon.handle(happening),
            Err(RecvTimeoutError::Timeout) => daemon.speaker.handle_timeout(Instant::now()),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn configured(peers: &[Ipv4Addr]) -> Vec<PeerConfig> {
    let peers = (1..).zip(peers);
    peers
        .map(|(id, address)| PeerConfig {
            id: PeerId(id),
            address: *address,
            router_id: None,
            role: PeerRole::Client,
            active: false,
            hold_time: Duration::from_secs(240),
            connect_retry: Duration::from_secs(1),
            max_prefixes: 2_000_000,
            reflector: false,
            add_path: None,
            extended_messages: false,
            ipv6: false,
        })
        .collect()
}

struct Daemon {
    speaker: Speaker<Open>,
    sender: SyncSender<Happening>,
    mouths: HashMap<ConnectionId, Mouth>,
    next: u64,
}

impl Daemon {
    fn accepted(&self) -> usize {
        self.speaker
            .peers()
            .iter()
            .map(|peer| peer.ipv4.accepted)
            .sum()
    }

    fn handle(&mut self, happening: Happening) {
        let now = Instant::now();
        match happening {
            Happening::Accepted(stream, from) => {
                let connection = ConnectionId(self.next);
                self.next += 2;
                if self.attach(connection, stream).is_ok() {
                    self.speaker
                        .handle_input(Input::Accepted { connection, from }, now);
                }
            }
            Happening::Relieved(connection) => {
                self.speaker.handle_input(Input::Relieved(connection), now);
            }
            Happening::Received(connection, bytes, _turn) => {
                self.speaker
                    .handle_input(Input::Received(connection, &bytes), now);
            }
            Happening::Closed(connection) => {
                self.mouths.remove(&connection);
                self.speaker.handle_input(Input::Closed(connection), now);
            }
        }
    }

    fn attach(&mut self, connection: ConnectionId, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (reading, writing) = (stream.try_clone()?, stream);
        let (pieces, queue) = channel();
        let waiting = Arc::new(Waiting::default());
        let mouth = Mouth {
            pieces,
            waiting: Arc::clone(&waiting),
        };
        self.mouths.insert(connection, mouth);
        let (hearing, telling) = (self.sender.clone(), self.sender.clone());
        thread::spawn(move || read(connection, reading, &hearing));
        thread::spawn(move || write(connection, writing, &queue, &waiting, &telling));
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send(connection, bytes) => {
                    if self
                        .mouths
                        .get(&connection)
                        .is_some_and(|mouth| mouth.say(bytes))
                    {
                        let congested = Input::Congested(connection);
                        self.speaker.handle_input(congested, Instant::now());
                    }
                }
                Output::Close(connection) => drop(self.mouths.remove(&connection)),
                Output::Connect { .. } | Output::BestPath(_) | Output::Event(_) => {}
            }
        }
    }
}

impl Mouth {
    /// Queues bytes; tells whether much waits since.
    fn say(&self, bytes: Vec<u8>) -> bool {
        let length = bytes.len();
        let waiting = self.waiting.bytes.fetch_add(length, Relaxed) + length;
        let newly = waiting > CONGESTED_BYTES && !self.waiting.congested.swap(true, Relaxed);
        // A connection that failed reports itself.
        self.pieces.send(bytes).ok();
        newly
    }
}

fn read(connection: ConnectionId, mut stream: TcpStream, sender: &SyncSender<Happening>) {
    let mut piece = vec![0; READ_BYTES];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        let (turn, done) = channel();
        let bytes = piece[..count].to_vec();
        if sender
            .send(Happening::Received(connection, bytes, turn))
            .is_err()
        {
            return;
        }
        // Nothing is ever sent: it ends when the other half is dropped.
        done.recv().ok();
    }
    // The loop is gone only when the program ends.
    sender.send(Happening::Closed(connection)).ok();
}

fn write(
    connection: ConnectionId,
    mut stream: TcpStream,
    queue: &Receiver<Vec<u8>>,
    waiting: &Waiting,
    sender: &SyncSender<Happening>,
) {
    while let Ok(piece) = queue.recv() {
        if stream.write_all(&piece).is_err() {
            return;
        }
        let left = waiting.bytes.fetch_sub(piece.len(), Relaxed) - piece.len();
        if left < RELIEVED_BYTES && waiting.congested.swap(false, Relaxed) {
            sender.send(Happening::Relieved(connection)).ok();
        }
    }
    stream.shutdown(std::net::Shutdown::Both).ok();
}

fn accept(listener: &TcpListener, sender: &SyncSender<Happening>) {
    while let Ok((stream, from)) = listener.accept() {
        if let IpAddr::V4(from) = from.ip()
            && sender.send(Happening::Accepted(stream, from)).is_err()
        {
            return;
        }
    }
}
