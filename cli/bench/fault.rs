//! Why a measurement ended without a result.

use std::io;

use super::message::Malformed;
use super::parameters::Refusal;
use crate::exit::{Exit, Failure};

/// Why a measurement ended without a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The kernel refused.
    #[error("cannot {0}: {1}")]
    Io(&'static str, #[source] io::Error),
    /// The other side took too long.
    #[error("the other side took too long to {0}")]
    TimedOut(&'static str),
    /// The other side closed the control connection.
    #[error("the other side closed the connection while it had to {0}")]
    Closed(&'static str),
    /// The other side sent what it must not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message that does not belong here.
    #[error("the other side sent {0} while it had to {1}")]
    OutOfTurn(String, &'static str),
    /// A server measures with somebody else.
    #[error("the server measures with another client")]
    Busy,
    /// A server refused.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// We refused.
    #[error("refused a test: {0}")]
    Refusal(#[from] Refusal),
    /// The other side gave up in order.
    #[error("the other side ended the test early")]
    Terminated,
    /// A stream broke during the test.
    #[error("a stream broke during the test: {0}")]
    Stream(#[source] io::Error),
}

impl Fault {
    /// What it means when it ends a connection that has just begun: iperf3 turns a client away without reading its cookie, so
    /// that the kernel resets the connection and the word that says why is lost.
    #[must_use]
    pub fn of_admission(self) -> Self {
        let is_end = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            )
        };
        if matches!(&self, Self::Io(_, error) if is_end(error)) {
            return Self::Busy;
        }
        self
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = match &fault {
            Fault::TimedOut(_) => Exit::TimedOut,
            Fault::Io(_, error) if error.kind() == io::ErrorKind::TimedOut => Exit::TimedOut,
            Fault::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Exit::NotPermitted
            }
            Fault::Io(..)
            | Fault::Closed(_)
            | Fault::Malformed(_)
            | Fault::OutOfTurn(..)
            | Fault::Busy
            | Fault::Refused(_)
            | Fault::Refusal(_)
            | Fault::Terminated
            | Fault::Stream(_) => Exit::Failed,
        };
        let failure = Self::new(exit, fault.to_string());
        match &fault {
            Fault::Io("connect", _) => {
                failure.remedy("run `samctl bench --server` or `iperf3 -s` on the other side")
            }
            Fault::Busy => failure.remedy("try again when its test is over"),
            Fault::Io(..)
            | Fault::TimedOut(_)
            | Fault::Closed(_)
            | Fault::Malformed(_)
            | Fault::OutOfTurn(..)
            | Fault::Refused(_)
            | Fault::Refusal(_)
            | Fault::Terminated
            | Fault::Stream(_) => failure,
        }
    }
}
