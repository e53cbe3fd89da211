//! `sam_bgp::Speaker` as a daemon of its own: a thread per direction of each connection, one loop, no policy.
//!
//! It is what `samctl run` has around its speaker, without tunnels, FIB and journal, so that it can stand beside
//! daemons that have no such things either.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use sam_bgp::{
    ConnectionId, Input, Output, PathAttributes, PeerConfig, PeerId, PeerRole, Policy, Rejection,
    Speaker, SpeakerConfig,
};

use crate::feed::ASN;

/// Events that may wait; readers pause beyond that.
const EVENTS: usize = 256;
const IDLE: Duration = Duration::from_secs(1);

/// Takes and gives everything.
struct Open;

impl Policy for Open {
    fn import(&self, _: PeerId, _: Ipv4Net, _: &mut PathAttributes) -> Result<(), Rejection> {
        Ok(())
    }

    fn export(&self, _: PeerId, _: Ipv4Net, _: &mut PathAttributes) -> bool {
        true
    }
}

enum Happening {
    Accepted(TcpStream, Ipv4Addr),
    Received(ConnectionId, Vec<u8>),
    Closed(ConnectionId),
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
    };
    let mut speaker = Speaker::new(config, Open, 1, start);
    speaker.set_peers(configured(peers), start);
    speaker.set_next_hops(peers.iter().copied().collect::<BTreeSet<_>>(), start);
    let mut daemon = Daemon {
        speaker,
        sender,
        writers: HashMap::new(),
        next: 2,
    };
    loop {
        daemon.drain();
        let routes = daemon.accepted() as u64;
        count.write_all_at(&routes.to_ne_bytes(), 0)?;
        if !daemon.wait(&happenings) {
            return Ok(());
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
        })
        .collect()
}

struct Daemon {
    speaker: Speaker<Open>,
    sender: SyncSender<Happening>,
    writers: HashMap<ConnectionId, Sender<Vec<u8>>>,
    next: u64,
}

impl Daemon {
    fn accepted(&self) -> usize {
        self.speaker.peers().iter().map(|peer| peer.accepted).sum()
    }

    /// Waits for something to happen and takes what else is there, up to a bound; false when nothing can happen any
    /// more.
    fn wait(&mut self, happenings: &Receiver<Happening>) -> bool {
        match happenings.recv_timeout(IDLE) {
            Ok(happening) => self.handle(happening),
            Err(RecvTimeoutError::Timeout) => self.speaker.handle_timeout(Instant::now()),
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        for happening in happenings.try_iter().take(EVENTS) {
            self.handle(happening);
        }
        true
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
            Happening::Received(connection, bytes) => {
                self.speaker
                    .handle_input(Input::Received(connection, &bytes), now);
            }
            Happening::Closed(connection) => {
                self.writers.remove(&connection);
                self.speaker.handle_input(Input::Closed(connection), now);
            }
        }
    }

    fn attach(&mut self, connection: ConnectionId, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let (mut reading, mut writing) = (stream.try_clone()?, stream);
        let sender = self.sender.clone();
        thread::spawn(move || {
            let mut piece = vec![0; 65_536];
            while let Ok(count @ 1..) = reading.read(&mut piece) {
                let bytes = piece[..count].to_vec();
                if sender.send(Happening::Received(connection, bytes)).is_err() {
                    return;
                }
            }
            // The loop is gone only when the program ends.
            sender.send(Happening::Closed(connection)).ok();
        });
        let (pieces, queue) = channel::<Vec<u8>>();
        thread::spawn(move || {
            while let Ok(piece) = queue.recv() {
                if writing.write_all(&piece).is_err() {
                    return;
                }
            }
            writing.shutdown(std::net::Shutdown::Both).ok();
        });
        self.writers.insert(connection, pieces);
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(output) = self.speaker.poll_output() {
            match output {
                Output::Send(connection, bytes) => {
                    if let Some(writer) = self.writers.get(&connection) {
                        // A connection that failed reports itself.
                        writer.send(bytes).ok();
                    }
                }
                Output::Close(connection) => drop(self.writers.remove(&connection)),
                Output::Connect { .. } | Output::BestPath(_) | Output::Event(_) => {}
            }
        }
    }
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
