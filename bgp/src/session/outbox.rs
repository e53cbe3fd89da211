//! What a session wants done, in order, and the count of what it said.
//!
//! Drained after every input, so never longer than what one input causes. UPDATEs are encoded here, in pieces that a
//! socket can take.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::connection::Connection;
use super::negotiated::initial_context;
use super::refreshing::RefreshStep;
use super::restart::{Fates, PeerRestart};
use super::statistics::Statistics;
use crate::input::ConnectionId;
use crate::wire::{
    DecodeContext, Family, Message, Notification, Prefix, RouteRefresh, Update, code,
};

/// UPDATEs are handed out in pieces of about this size.
const CHUNK_BYTES: usize = 65_536;

/// What stands around routes that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// Before them: everything is told again from here on (RFC 7313).
    pub(crate) begin_refresh: bool,
    /// Behind them: the initial routes are complete (RFC 4724 section 2).
    pub(crate) end_of_rib: bool,
    /// Behind them: everything has been told again.
    pub(crate) end_refresh: bool,
}

/// What a session wants done.
#[derive(Debug)]
pub(crate) enum SessionOutput {
    /// Open a TCP connection.
    Connect(ConnectionId),
    /// Write bytes.
    Send(ConnectionId, Vec<u8>),
    /// Close after the bytes sent so far.
    Close(ConnectionId),
    /// The session is up.
    Established {
        /// The peer's identifier.
        router_id: Ipv4Addr,
        /// What it said about its restarts.
        restart: Option<PeerRestart>,
        /// What is to be told, and how.
        send: DecodeContext,
    },
    /// The session left Established: why, and what becomes of the routes.
    Down(String, Fates),
    /// An attempt failed after the OPEN: why. Routes were never exchanged on it.
    AttemptFailed(String),
    /// What the peer told: a message of routes.
    Update(Box<Message>),
    /// The peer speaks of a refresh of a family.
    Refresh(Family, RefreshStep),
    /// A connection was refused, or lost a race.
    Refused(&'static str),
}

/// Outputs not yet taken, and statistics.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    outputs: VecDeque<SessionOutput>,
    /// What is counted and remembered for the operator.
    pub(crate) statistics: Statistics,
}

impl Outbox {
    /// Takes the next output.
    pub(crate) fn pop(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// Adds an output.
    pub(crate) fn push(&mut self, output: SessionOutput) {
        self.outputs.push_back(output);
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, connection: &Connection, message: &Message) {
        self.statistics.count_sent(message);
        let bytes = message.encode(connection.send_context());
        self.push(SessionOutput::Send(connection.id, bytes));
    }

    /// Answers a connection that is not taken with a Cease and closes it.
    pub(crate) fn refuse(&mut self, id: ConnectionId, subcode: u8, reason: &'static str) {
        let message = Message::Notification(Notification::new(code::CEASE, subcode));
        self.statistics.count_sent(&message);
        self.push(SessionOutput::Send(id, message.encode(initial_context())));
        self.push(SessionOutput::Close(id));
        self.push(SessionOutput::Refused(reason));
    }

    /// Sends routes and what stands around them.
    pub(crate) fn send_updates<N: Prefix>(
        &mut self,
        connection: &Connection,
        updates: &[Update<N>],
        marks: Marks,
    ) {
        if marks.begin_refresh {
            self.mark_refresh::<N>(connection, RouteRefresh::BEGIN);
        }
        let context = connection.send_context();
        let routes = updates
            .iter()
            .flat_map(|update| update.encode_split(context));
        let marker = marks.end_of_rib.then(Update::<N>::default);
        let marker = marker
            .iter()
            .flat_map(|marker| marker.encode_split(context));
        let mut chunk = Vec::new();
        for message in routes.chain(marker) {
            self.statistics.count_update_sent();
            if !chunk.is_empty() && chunk.len() + message.len() > CHUNK_BYTES {
                let full = std::mem::take(&mut chunk);
                self.push(SessionOutput::Send(connection.id, full));
            }
            chunk.extend_from_slice(&message);
        }
        if !chunk.is_empty() {
            self.push(SessionOutput::Send(connection.id, chunk));
        }
        if marks.end_refresh {
            self.mark_refresh::<N>(connection, RouteRefresh::END);
        }
    }

    /// Tells where a refresh begins or ends, if the peer wants to know.
    fn mark_refresh<N: Prefix>(&mut self, connection: &Connection, subtype: u8) {
        let agreed = connection.negotiated.as_ref();
        if agreed.is_some_and(|agreed| agreed.enhanced_refresh) {
            let mark = RouteRefresh::of(N::FAMILY, subtype);
            self.send(connection, &Message::RouteRefresh(mark));
        }
    }
}
