//! `samctl bench`: measures what a path carries, in the protocol of iperf3, so that a stock iperf3 is a peer on
//! either side.
//!
//! Between two routers it runs over their overlay addresses: kernel, TUN, engine, tunnel, engine, TUN, kernel. What it
//! refuses: omitting seconds, authentication, SCTP, tuning of the server's sockets where it sends – each by name. One thread
//! per stream.
//!
//! | file | owns |
//! |---|---|
//! | `message`, `parameters`, `results`, `datagram` | bytes to meaning and back, without a socket |
//! | `control` | the control connection, with deadlines |
//! | `traffic`, `pace`, `processor` | the data of a test, and what it cost |
//! | `client`, `server` | the two sides |
//! | `report` | what a test gave |

pub mod client;
pub mod control;
pub mod datagram;
mod fault;
pub mod message;
mod pace;
pub mod parameters;
mod processor;
pub mod report;
pub mod results;
pub mod server;
pub mod traffic;

pub use fault::Fault;
pub use report::Report;

/// The port of iperf3.
pub const PORT: u16 = 5201;
