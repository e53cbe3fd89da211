//! A BGP peer of the benchmark: says what was encoded before, counts what it hears, keeps no routes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::feed;

/// A daemon that does not take the session by then does not run.
const SESSION_PATIENCE: Duration = Duration::from_secs(60);
/// A case that takes longer is given up.
const CASE_PATIENCE: Duration = Duration::from_secs(180);
/// Bytes of a message header.
const HEADER: usize = 19;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

/// An established session.
pub(crate) struct Peer {
    stream: TcpStream,
    heard: Vec<u8>,
    /// Prefixes announced to it so far.
    pub(crate) announced: usize,
    /// Prefixes withdrawn from it so far.
    pub(crate) withdrawn: usize,
}

impl Peer {
    /// Opens a session from `own` and waits until it is established.
    pub(crate) fn establish(own: Ipv4Addr, daemon: SocketAddr) -> Result<Self> {
        let end = Instant::now() + SESSION_PATIENCE;
        loop {
            match Self::attempt(own, daemon) {
                Ok(peer) => return Ok(peer),
                Err(error) if Instant::now() > end => {
                    return Err(error.context(format!("{own} has no session with {daemon}")));
                }
                // Nobody tells when a daemon is ready for the next attempt.
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn attempt(own: Ipv4Addr, daemon: SocketAddr) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((own, 0)).into())?;
        socket.connect_timeout(&daemon.into(), Duration::from_secs(1))?;
        let stream: TcpStream = socket.into();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut peer = Self {
            stream,
            heard: Vec::new(),
            announced: 0,
            withdrawn: 0,
        };
        peer.say(&feed::open(own))?;
        peer.say(&feed::keepalive())?;
        let mut confirmed = false;
        while !confirmed {
            peer.hear(|kind| confirmed |= kind == KEEPALIVE)?;
        }
        Ok(peer)
    }

    /// Writes encoded messages.
    pub(crate) fn say(&mut self, messages: &[u8]) -> Result<()> {
        self.stream.write_all(messages).context("cannot write")
    }

    /// Returns another handle to write by, while this one reads.
    pub(crate) fn mouth(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Reads until so many prefixes were announced and withdrawn in all; returns when that was.
    pub(crate) fn wait_for(&mut self, announced: usize, withdrawn: usize) -> Result<Instant> {
        let end = Instant::now() + CASE_PATIENCE;
        while self.announced < announced || self.withdrawn < withdrawn {
            ensure!(
                Instant::now() < end,
                "heard {} of {announced} announced, {} of {withdrawn} withdrawn",
                self.announced,
                self.withdrawn
            );
            self.hear(|_| {})?;
        }
        Ok(Instant::now())
    }

    /// Reads once and takes whole messages apart.
    fn hear(&mut self, mut note: impl FnMut(u8)) -> Result<()> {
        let mut piece = [0; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the daemon closed the session"),
            Ok(count) => self.heard.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut at = 0;
        while let Some(length) = self.heard.get(at + 16..at + 18) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some(message) = self.heard.get(at..at + length) else {
                break;
            };
            let (kind, body) = (message[18], &message[HEADER..]);
            ensure!(
                kind != NOTIFICATION,
                "the daemon sent a NOTIFICATION: {body:?}"
            );
            if kind == UPDATE {
                let (announced, withdrawn) = count(body).context("a malformed UPDATE")?;
                self.announced += announced;
                self.withdrawn += withdrawn;
            }
            note(kind);
            at += length;
        }
        self.heard.drain(..at);
        Ok(())
    }
}

/// Counts announced and withdrawn prefixes of an UPDATE.
fn count(body: &[u8]) -> Option<(usize, usize)> {
    let length = |at: usize| {
        Some(usize::from(u16::from_be_bytes(
            body.get(at..at + 2)?.try_into().ok()?,
        )))
    };
    let withdrawn = length(0)?;
    let attributes = length(2 + withdrawn)?;
    let announced = body.get(4 + withdrawn + attributes..)?;
    Some((prefixes(announced)?, prefixes(body.get(2..2 + withdrawn)?)?))
}

fn prefixes(mut field: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let Some((bits, rest)) = field.split_first() {
        field = rest.get(usize::from(*bits).div_ceil(8)..)?;
        count += 1;
    }
    Some(count)
}
