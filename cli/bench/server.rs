//! The side that waits for tests: one at a time, everybody else is told so.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{Control, PATIENCE, is_transient};
use super::datagram::{HELLO, HELLO_ANSWER};
use super::fault::Fault;
use super::message::{Cookie, NOT_IMPLEMENTED, State, UNREADABLE_PARAMETERS, server_error};
use super::parameters::{MAX_SECONDS, Parameters, Refusal, Role, Transport};
use super::report::Report;
use super::results::Results;
use super::traffic::{Socket, Traffic};

/// A listening server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens; port 0 takes any.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bind(address: SocketAddr) -> Result<Self, Fault> {
        let failed = |error| Fault::Io("listen", error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            listener,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a client and measures with it.
    ///
    /// # Errors
    /// When the client breaks the protocol or goes away; the server can go on.
    pub fn serve(&self) -> Result<Report, Fault> {
        self.blocking(true)?;
        let (stream, _) = self
            .listener
            .accept()
            .map_err(|error| Fault::Io("accept a client", error))?;
        self.blocking(false)?;
        let mut session = Session::begin(self, stream)?;
        let sockets = session.open()?;
        session.measure(sockets)
    }

    fn blocking(&self, blocking: bool) -> Result<(), Fault> {
        self.listener
            .set_nonblocking(!blocking)
            .map_err(|error| Fault::Io("listen", error))
    }

    /// Takes a connection that waits, if there is one.
    fn accept(&self) -> Result<Option<Control>, Fault> {
        match self.listener.accept() {
            Ok((stream, _)) => Control::new(stream).map(Some),
            Err(error) if is_transient(&error) => Ok(None),
            // It went away before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => Err(Fault::Io("accept a stream", error)),
        }
    }
}

/// A test with one client.
struct Session<'a> {
    server: &'a Server,
    control: Control,
    client: SocketAddr,
    cookie: Cookie,
    parameters: Parameters,
    /// What this side does with each stream, in the order in which they are opened.
    roles: Vec<Role>,
}

impl<'a> Session<'a> {
    fn begin(server: &'a Server, stream: TcpStream) -> Result<Self, Fault> {
        let mut control = Control::new(stream)?;
        let client = control.peer()?;
        let cookie = control.cookie(Instant::now() + PATIENCE)?;
        control.send_state(State::ParamExchange)?;
        let text = control.document("send its parameters")?;
        let parameters = Parameters::parse(&text).or_else(|refusal| {
            let number = match &refusal {
                Refusal::Malformed(_) => UNREADABLE_PARAMETERS,
                Refusal::Unsupported(_) => NOT_IMPLEMENTED,
            };
            control.send(&server_error(number))?;
            Err(Fault::from(refusal))
        })?;
        Ok(Self {
            server,
            control,
            client,
            cookie,
            roles: parameters
                .roles_of_client()
                .into_iter()
                .map(Role::other)
                .collect(),
            parameters,
        })
    }

    /// Lets the client open its streams.
    fn open(&mut self) -> Result<Vec<Socket>, Fault> {
        match self.parameters.transport {
            Transport::Tcp => {
                self.control.send_state(State::CreateStreams)?;
                self.accept_connections()
            }
            Transport::Udp => {
                let first = self.datagram_socket()?;
                self.control.send_state(State::CreateStreams)?;
                self.accept_datagram_streams(first)
            }
        }
    }

    fn accept_connections(&self) -> Result<Vec<Socket>, Fault> {
        let until = Instant::now() + PATIENCE;
        let mut sockets = Vec::new();
        while sockets.len() < self.roles.len() {
            if Instant::now() > until {
                return Err(Fault::TimedOut("open its streams"));
            }
            let Some(mut connection) = self.server.accept()? else {
                thread::sleep(POLL);
                continue;
            };
            // Whoever does not know the cookie has no part in this test.
            match connection.cookie(Instant::now() + COOKIE_PATIENCE) {
                Ok(cookie) if cookie == self.cookie => {
                    sockets.push(Socket::Tcp(connection.into_stream()));
                }
                Ok(_) | Err(_) => {
                    connection.send_state(State::AccessDenied).ok();
                }
            }
        }
        Ok(sockets)
    }

    /// Each hello gets a socket of its own, connected to its sender; the next one must listen before it is answered.
    fn accept_datagram_streams(&self, first: UdpSocket) -> Result<Vec<Socket>, Fault> {
        let failed = |error| Fault::Io("open a datagram stream", error);
        let until = Instant::now() + PATIENCE;
        let (mut sockets, mut waiting) = (Vec::new(), first);
        while sockets.len() < self.roles.len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::TimedOut("open its streams"));
            }
            waiting.set_read_timeout(Some(left)).map_err(failed)?;
            let mut hello = [0; HELLO.len() + 1];
            match waiting.recv_from(&mut hello) {
                // Anybody can send a datagram: only the client of the control connection is meant.
                Ok((length, from))
                    if length == HELLO.len()
                        && from.ip().to_canonical() == self.client.ip().to_canonical() =>
                {
                    waiting.connect(from).map_err(failed)?;
                    let next = self.datagram_socket()?;
                    let stream = std::mem::replace(&mut waiting, next);
                    stream.send(&HELLO_ANSWER).map_err(failed)?;
                    sockets.push(Socket::Udp(stream));
                }
                Ok(_) => {}
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(sockets)
    }

    fn datagram_socket(&self) -> Result<UdpSocket, Fault> {
        let failed = |error| Fault::Io("open a datagram stream", error);
        let address = self.server.address;
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).map_err(failed)?;
        // All streams of a test have the same port here.
        socket.set_reuse_address(true).map_err(failed)?;
        socket.bind(&address.into()).map_err(failed)?;
        Ok(socket.into())
    }

    fn measure(mut self, sockets: Vec<Socket>) -> Result<Report, Fault> {
        self.control.send_state(State::TestStart)?;
        self.control.send_state(State::TestRunning)?;
        let mut traffic = Traffic::start(sockets, &self.roles, &self.parameters)?;
        self.wait_for_end()?;
        traffic.halt();
        let own = traffic.finish()?;
        self.control.send_state(State::ExchangeResults)?;
        let theirs = Results::parse(&self.control.document("send its results")?)?;
        self.control.send_document(&own.document())?;
        self.control.send_state(State::DisplayResults)?;
        let report = Report::new(self.client, &self.parameters, &self.roles, &own, &theirs);
        // All is said; a client that just goes has ended too.
        self.control.expect(State::IperfDone, "end the test").ok();
        Ok(report)
    }

    /// Waits for the client's word and turns others away.
    fn wait_for_end(&mut self) -> Result<(), Fault> {
        let seconds = self.parameters.seconds.unwrap_or(MAX_SECONDS);
        let until = Instant::now() + Duration::from_secs(u64::from(seconds)) + PATIENCE;
        while Instant::now() < until {
            match self.control.poll_state(Instant::now() + TURN)? {
                None => {}
                Some(State::TestEnd) => return Ok(()),
                Some(State::ClientTerminate) => return Err(Fault::Terminated),
                Some(state) => return Err(Fault::OutOfTurn(format!("{state:?}"), "measure")),
            }
            if let Some(other) = self.server.accept()? {
                other.deny();
            }
        }
        Err(Fault::TimedOut("end the test"))
    }
}

/// How often the server looks for others while it measures.
const TURN: Duration = Duration::from_millis(100);
/// How often it looks for streams that it waits for.
const POLL: Duration = Duration::from_millis(2);
/// Time for the cookie of a stream: one that stays silent must not keep the others out.
const COOKIE_PATIENCE: Duration = Duration::from_secs(1);
