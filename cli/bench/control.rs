//! The control connection: states and documents over TCP, each with a deadline.
//!
//! A deadline is for the whole of a message, so that a peer that sends byte after byte gains nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fault::Fault;
use super::message::{self, COOKIE_BYTES, Cookie, State};

/// Time for a connection and for each answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One side of a control connection.
#[derive(Debug)]
pub struct Control {
    stream: TcpStream,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(server: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)
            .map_err(|error| Fault::Io("connect", error))?;
        Self::new(stream)
    }

    /// Takes a connection over.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(stream: TcpStream) -> Result<Self, Fault> {
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(false))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(|error| Fault::Io("prepare a connection", error))?;
        Ok(Self { stream })
    }

    /// The other side.
    ///
    /// # Errors
    /// When it is gone.
    pub fn peer(&self) -> Result<SocketAddr, Fault> {
        self.stream
            .peer_addr()
            .map_err(|error| Fault::Io("name the other side", error))
    }

    /// Sends a state.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_state(&mut self, state: State) -> Result<(), Fault> {
        self.send(&[state.byte()])
    }

    /// Sends a document.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_document(&mut self, document: &impl Serialize) -> Result<(), Fault> {
        self.send(&message::json_frame(document))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream
            .write_all(bytes)
            .map_err(|error| Fault::Io("send to the other side", error))
    }

    /// Waits for a state until a deadline; `None` when none has come by then.
    ///
    /// # Errors
    /// When the connection is gone, or the byte is no state.
    pub fn poll_state(&mut self, until: Instant) -> Result<Option<State>, Fault> {
        let mut byte = [0];
        match self.read(&mut byte, until, "go on") {
            Ok(()) => Ok(Some(State::parse(byte[0])?)),
            Err(Fault::TimedOut(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Waits for a certain state; `task` says what the other side has to do.
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub fn expect(&mut self, wanted: State, task: &'static str) -> Result<(), Fault> {
        let state = self.poll_state(Instant::now() + PATIENCE)?;
        match state {
            Some(state) if state == wanted => Ok(()),
            Some(State::AccessDenied) => Err(Fault::Busy),
            Some(State::ServerError) => Err(self.refusal()),
            Some(State::ServerTerminate | State::ClientTerminate) => Err(Fault::Terminated),
            Some(other) => Err(Fault::OutOfTurn(format!("{other:?}"), task)),
            None => Err(Fault::TimedOut(task)),
        }
    }

    /// Waits for a document.
    ///
    /// # Errors
    /// When it is too long, or does not come.
    pub fn document(&mut self, task: &'static str) -> Result<Vec<u8>, Fault> {
        let until = Instant::now() + PATIENCE;
        let mut head = [0; 4];
        self.read(&mut head, until, task)?;
        let mut text = vec![0; message::json_length(head)?];
        self.read(&mut text, until, task)?;
        Ok(text)
    }

    /// Waits for a cookie until a deadline.
    ///
    /// # Errors
    /// When it does not come.
    pub fn cookie(&mut self, until: Instant) -> Result<Cookie, Fault> {
        let mut cookie = [0; COOKIE_BYTES];
        self.read(&mut cookie, until, "send its cookie")?;
        Ok(cookie)
    }

    /// Hands the connection out: it becomes a stream of data.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Tells a client that a test is under way, and ends the connection.
    pub fn deny(mut self) {
        // What was sent and not read would reset the connection and might take our byte along.
        let soon = Instant::now() + Duration::from_millis(100);
        if self.cookie(soon).is_ok() && self.send_state(State::AccessDenied).is_ok() {
            // It ends with the drop in any case.
            self.stream.shutdown(Shutdown::Write).ok();
        }
    }

    /// Reads the numbers behind a refusal.
    pub fn refusal(&mut self) -> Fault {
        let mut numbers = [0; 8];
        match self.read(&mut numbers, Instant::now() + PATIENCE, "say why") {
            Ok(()) => Fault::Refused(message::refusal(numbers)),
            Err(fault) => fault,
        }
    }

    fn read(
        &mut self,
        mut buffer: &mut [u8],
        until: Instant,
        task: &'static str,
    ) -> Result<(), Fault> {
        while !buffer.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::TimedOut(task));
            }
            self.stream
                .set_read_timeout(Some(left))
                .map_err(|error| Fault::Io("wait for the other side", error))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed(task)),
                Ok(read) => buffer = &mut buffer[read..],
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(Fault::Io("hear the other side", error)),
            }
        }
        Ok(())
    }
}

/// Tells whether a call was merely interrupted or timed out.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    type Judge = fn(&Fault) -> bool;

    fn pair() -> (Control, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let other = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (stream, _) = listener.accept().expect("accepted");
        (Control::new(stream).expect("prepared"), other)
    }

    #[test]
    fn a_peer_that_drips_bytes_does_not_move_the_deadline() {
        let (mut control, mut other) = pair();
        let dripping = std::thread::spawn(move || {
            for _ in 0..20 {
                if other.write_all(b"x").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let begun = Instant::now();
        let cookie = control.cookie(begun + Duration::from_millis(100));
        assert!(matches!(cookie, Err(Fault::TimedOut(_))), "{cookie:?}");
        assert!(begun.elapsed() < Duration::from_millis(350));
        drop(control);
        dripping.join().expect("no panic");
    }

    #[test]
    fn a_long_document_is_refused_without_waiting_for_it() {
        let (mut control, mut other) = pair();
        other.write_all(&[0x7f, 0xff, 0xff, 0xff]).expect("sent");
        assert!(matches!(
            control.document("send its parameters"),
            Err(Fault::Malformed(_))
        ));
    }

    #[test]
    fn an_answer_out_of_turn_a_refusal_and_an_end_are_told_apart() {
        let cases: [(&[u8], Judge); 5] = [
            (&[2], |fault| matches!(fault, Fault::OutOfTurn(..))),
            (&[77], |fault| matches!(fault, Fault::Malformed(_))),
            (&[0xff], |fault| matches!(fault, Fault::Busy)),
            (&[0xfe, 0, 0, 0, 13, 0, 0, 0, 0], |fault| {
                matches!(fault, Fault::Refused(_))
            }),
            (&[], |fault| matches!(fault, Fault::Closed(_))),
        ];
        for (bytes, expected) in cases {
            let (mut control, mut other) = pair();
            other.write_all(bytes).expect("sent");
            drop(other);
            let fault = control
                .expect(State::ParamExchange, "begin")
                .expect_err("not the state");
            assert!(expected(&fault), "{bytes:?}: {fault}");
        }
    }
}
