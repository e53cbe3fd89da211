//! What goes into a speaker: events of its TCP connections.
//!
//! Connections are named by numbers; sockets stay with the driver. Time is not in here, it goes in beside.

use std::net::Ipv4Addr;

/// Names one TCP connection. Ids of connections that we open are chosen here (odd); those of accepted ones by the
/// driver (even). An id is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What goes in.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A connection ordered by [`crate::Output::Connect`] is up.
    Connected(ConnectionId),
    /// A connection from `from` was accepted; `connection` is an even id chosen by the driver.
    Accepted {
        /// Its id.
        connection: ConnectionId,
        /// Who connects.
        from: Ipv4Addr,
    },
    /// Bytes arrived.
    Received(ConnectionId, &'a [u8]),
    /// The connection failed or was closed by the far end.
    Closed(ConnectionId),
    /// The driver gave the connection up because the far end does not read: too much waits for it, or for longer than
    /// the send hold time (RFC 9687 section 3.1).
    Stalled(ConnectionId),
    /// Much waits to be written. Routes for this peer are held back and kept as what they are by then; messages of the
    /// session are not.
    Congested(ConnectionId),
    /// What waited is written.
    Relieved(ConnectionId),
}
