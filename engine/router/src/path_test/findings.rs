//! What was found out about one node.

use std::net::SocketAddrV4;
use std::time::Duration;

use super::sweep::SweepResult;

/// What was found out about one node; what was not tried is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Time to the answer of an echo request; `None` when there was no answer.
    pub echo: Option<Duration>,
    /// What kept this host from sending.
    pub obstacle: Option<String>,
    /// Which packets pass.
    pub sweep: Option<SweepResult>,
    /// How a transfer by TCP went.
    pub transfer: Option<Transfer>,
}

/// How a transfer by TCP went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// Nothing listens there.
    Refused,
    /// It did not come to an end; why.
    Failed(String),
    /// All was sent and came back.
    Done {
        /// Bytes in each direction.
        bytes: u32,
        /// How long it took.
        time: Duration,
        /// Whether the bytes arrived there as they were sent here.
        intact_there: bool,
        /// Whether the bytes arrived here as they were sent there.
        intact_here: bool,
        /// Our address and port, as we know them.
        own: SocketAddrV4,
        /// Our address and port, as the other side saw them.
        seen: SocketAddrV4,
    },
}
