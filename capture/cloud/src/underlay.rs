//! TCP connections from a chosen source, and the witness that tells whether a request left the host.
//!
//! ureq knows neither: it connects from wherever the route says, and its errors do not tell a request that was never
//! sent from one whose answer was lost. For a change at a provider that is the difference between "try again" and
//! "nobody knows".

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

/// Opens TCP connections.
#[derive(Debug, Default)]
pub(crate) struct UnderlayConnector {
    pub(crate) source: Option<IpAddr>,
    pub(crate) interface: Option<String>,
}

impl<In: Transport> Connector<In> for UnderlayConnector {
    type Out = Either<In, TcpTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let deadline = Deadline::new(details.timeout);
        let mut failure = Error::HostNotFound;
        for address in details.addrs.iter().filter(|address| self.reaches(address)) {
            match self.open(*address, deadline.left()?) {
                Ok(stream) => {
                    let config = details.config;
                    let buffers =
                        LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    return Ok(Some(Either::B(TcpTransport { stream, buffers })));
                }
                Err(error) => failure = deadline.explain(error),
            }
        }
        Err(failure)
    }
}

impl UnderlayConnector {
    fn reaches(&self, address: &SocketAddr) -> bool {
        self.source
            .is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }

    fn open(&self, address: SocketAddr, budget: Duration) -> io::Result<TcpStream> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect_timeout(&address.into(), budget)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }
}

/// A TCP connection.
pub(crate) struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for TcpTransport {
    /// Shows nothing of the buffers: tokens pass through them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpTransport").field(&self.stream).finish()
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = Deadline::new(timeout);
        self.stream.set_write_timeout(Some(deadline.left()?))?;
        let output = &self.buffers.output()[..amount];
        let written = self.stream.write_all(output);
        written.map_err(|error| deadline.explain(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = Deadline::new(timeout);
        loop {
            self.stream.set_read_timeout(Some(deadline.left()?))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Ok(amount) => {
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(deadline.explain(error)),
            }
        }
    }

    /// Says no: each request has a connection of its own, so that none is lost on one that the other side has closed.
    fn is_open(&mut self) -> bool {
        false
    }
}

/// A timeout of ureq, from now on.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    start: Instant,
    timeout: NextTimeout,
}

/// Nothing waits for longer, even where ureq has no timeout.
const LONGEST: Duration = Duration::from_secs(3600);

impl Deadline {
    fn new(timeout: NextTimeout) -> Self {
        Self {
            start: Instant::now(),
            timeout,
        }
    }

    fn left(&self) -> Result<Duration, Error> {
        let whole = (*self.timeout.after).min(LONGEST);
        let left = whole.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return Err(Error::Timeout(self.timeout.reason));
        }
        Ok(left)
    }

    fn explain(&self, error: io::Error) -> Error {
        if [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock].contains(&error.kind()) {
            Error::Timeout(self.timeout.reason)
        } else {
            Error::Io(error)
        }
    }
}

/// Remembers whether anything of a request was handed to a connection, and asks before that whether it may be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<State>);

#[derive(Debug, Default)]
struct State {
    sent: AtomicBool,
    /// Whom the request under way asks; nobody where that is gone.
    door: Mutex<Weak<Door>>,
}

/// Asks another thread whether a request may be sent.
#[derive(Debug)]
pub(crate) struct Door {
    /// Which of the keeper's doors it is.
    number: usize,
    ask: SyncSender<Question>,
}

/// A door's number, and where it waits for the answer.
type Question = (usize, SyncSender<bool>);

/// The other side of some [`Door`]s.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// For doors to come.
    ask: SyncSender<Question>,
    asked: Receiver<Question>,
}

impl Keeper {
    pub(crate) fn new() -> Self {
        let (ask, asked) = sync_channel(1);
        Self { ask, asked }
    }

    /// Answers each door by its number until all are gone.
    pub(crate) fn keep(self, mut may: impl FnMut(usize) -> bool) {
        drop(self.ask);
        while let Ok((number, answer)) = self.asked.recv() {
            // Who does not wait for the answer any more sends nothing either.
            answer.send(may(number)).unwrap_or(());
        }
    }
}

impl Sent {
    pub(crate) fn clear(&self) {
        self.0.sent.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// As long as the door lives, the first byte of a request needs its keeper's word.
    pub(crate) fn guard(&self, number: usize, keeper: &Keeper) -> Arc<Door> {
        let ask = keeper.ask.clone();
        let door = Arc::new(Door { number, ask });
        *self.door() = Arc::downgrade(&door);
        door
    }

    fn door(&self) -> MutexGuard<'_, Weak<Door>> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something is sent, unless that is the first and may not be.
    fn pass(&self) -> io::Result<()> {
        if !self.is_set() && self.door().upgrade().is_some_and(|door| !door.opens()) {
            let message = "the reason for the change ended before it was sent";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        self.0.sent.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Door {
    fn opens(&self) -> bool {
        let (answer, verdict) = sync_channel(1);
        self.ask.send((self.number, answer)).is_ok() && verdict.recv() == Ok(true)
    }
}

/// Puts a witness on the connection that carries the request; behind TLS, so that a handshake counts as nothing sent.
#[derive(Debug)]
pub(crate) struct WitnessConnector {
    pub(crate) sent: Sent,
    /// Whether there is a proxy: the connection to it is no witness, for it carries `CONNECT`.
    pub(crate) proxied: bool,
}

impl<In: Transport> Connector<In> for WitnessConnector {
    type Out = Either<In, Witness<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let to_proxy = self.proxied && details.config.proxy().is_none();
        Ok(chained.map(|inner| {
            if to_proxy {
                Either::A(inner)
            } else {
                let sent = self.sent.clone();
                Either::B(Witness { inner, sent })
            }
        }))
    }
}

/// A connection that notes when something is sent.
#[derive(Debug)]
pub(crate) struct Witness<In> {
    inner: In,
    sent: Sent,
}

impl<In: Transport> Transport for Witness<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.sent.pass()?;
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
