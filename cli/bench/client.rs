//! The side that asks for a test.
//!
//! ```text
//!  client                         server
//!    │ connect, cookie              │
//!    │              ParamExchange   │
//!    │ parameters                   │
//!    │              CreateStreams   │
//!    │ streams (cookie | hello)     │
//!    │              TestStart, TestRunning
//!    │ ══════════ data ════════════ │
//!    │ TestEnd                      │
//!    │              ExchangeResults │
//!    │ results            results   │
//!    │              DisplayResults  │
//!    │ IperfDone                    │
//! ```

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::control::{Control, PATIENCE};
use super::datagram::{HELLO, HELLO_ANSWER};
use super::fault::Fault;
use super::message::{self, Cookie, State};
use super::parameters::{Parameters, Transport};
use super::report::Report;
use super::results::Results;
use super::traffic::{Socket, Traffic};

/// Measures against a server.
///
/// # Errors
/// When it cannot be reached, refuses, or breaks off.
pub fn measure(server: SocketAddr, parameters: &Parameters) -> Result<Report, Fault> {
    let cookie = new_cookie()?;
    let mut control = Control::connect(server)?;
    let admitted = control
        .send(&cookie)
        .and_then(|()| control.expect(State::ParamExchange, "ask for parameters"));
    admitted.map_err(Fault::of_admission)?;
    control.send_document(&parameters.document())?;
    control.expect(State::CreateStreams, "ask for streams")?;
    let roles = parameters.roles_of_client();
    let sockets = roles
        .iter()
        .map(|_| open(server, &cookie, parameters.transport))
        .collect::<Result<Vec<_>, _>>()?;
    control.expect(State::TestStart, "start the test")?;
    control.expect(State::TestRunning, "run the test")?;

    let mut traffic = Traffic::start(sockets, &roles, parameters)?;
    run(&mut control, parameters)?;
    traffic.halt();
    control.send_state(State::TestEnd)?;
    control.expect(State::ExchangeResults, "ask for results")?;
    let own = traffic.finish()?;
    control.send_document(&own.document())?;
    let theirs = Results::parse(&control.document("send its results")?)?;
    control.expect(State::DisplayResults, "end the test")?;
    control.send_state(State::IperfDone)?;
    Ok(Report::new(server, parameters, &roles, &own, &theirs))
}

/// Lets the time of the test pass; only a server that gives up speaks meanwhile.
fn run(control: &mut Control, parameters: &Parameters) -> Result<(), Fault> {
    let seconds = Duration::from_secs(u64::from(parameters.seconds.unwrap_or(0)));
    match control.poll_state(Instant::now() + seconds)? {
        None => Ok(()),
        Some(State::ServerTerminate) => Err(Fault::Terminated),
        Some(State::ServerError) => Err(control.refusal()),
        Some(state) => Err(Fault::OutOfTurn(format!("{state:?}"), "measure")),
    }
}

fn open(server: SocketAddr, cookie: &Cookie, transport: Transport) -> Result<Socket, Fault> {
    match transport {
        Transport::Tcp => {
            let mut stream = Control::connect(server)?;
            stream.send(cookie)?;
            Ok(Socket::Tcp(stream.into_stream()))
        }
        Transport::Udp => open_udp(server).map(Socket::Udp),
    }
}

fn open_udp(server: SocketAddr) -> Result<UdpSocket, Fault> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let failed = |error| Fault::Io("open a datagram stream", error);
    let socket = UdpSocket::bind((any, 0)).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.send(&HELLO).map_err(failed)?;
    let mut answer = [0; HELLO_ANSWER.len()];
    match socket.recv(&mut answer) {
        Ok(_) => Ok(socket),
        Err(error) if super::control::is_transient(&error) => {
            Err(Fault::TimedOut("answer a datagram stream"))
        }
        Err(error) => Err(failed(error)),
    }
}

fn new_cookie() -> Result<Cookie, Fault> {
    let mut random = [0; message::COOKIE_BYTES - 1];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| Fault::Io("read /dev/urandom", error))?;
    Ok(message::cookie(&random))
}
