//! One TCP connection of a session: its state, the bytes not yet understood, its deadlines.
//!
//! Never keeps more than one incomplete message; decides nothing.

use std::time::{Duration, Instant};

use super::collision::{Contender, Direction, HALF_DEAD};
use super::fsm::ConnectionState;
use super::negotiated::{Negotiated, initial_context};
use super::refreshing::Refreshing;
use super::restart::PeerRestart;
use crate::input::ConnectionId;
use crate::output::TimerName;
use crate::wire::{DecodeContext, DecodeError, Message, frame};

/// How long TCP may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the peer's OPEN may take. RFC 4271 section 8.2.2 suggests four minutes; a peer that is that slow is dead
/// to us, and the slot is better used for a new attempt.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its id.
    pub(crate) id: ConnectionId,
    /// Who opened it.
    pub(crate) direction: Direction,
    /// Its state.
    pub(crate) state: ConnectionState,
    /// When TCP came up; before that, when the attempt began.
    pub(crate) opened_at: Instant,
    /// When the last whole message came; before the first one, as `opened_at`.
    pub(crate) heard_at: Instant,
    /// When the next KEEPALIVE is due.
    pub(crate) keepalive_at: Option<Instant>,
    /// When it became Established.
    pub(crate) established_at: Option<Instant>,
    /// What the OPENs agreed on.
    pub(crate) negotiated: Option<Negotiated>,
    /// What the peer asked for again.
    pub(crate) refreshing: Refreshing,
    stream: Vec<u8>,
    consumed: usize,
    /// Where the message begins that was looked at last.
    latest: usize,
}

impl Connection {
    /// Makes a connection whose TCP is under way.
    pub(crate) fn new(id: ConnectionId, direction: Direction, now: Instant) -> Self {
        Self {
            id,
            direction,
            state: ConnectionState::Connect,
            opened_at: now,
            heard_at: now,
            keepalive_at: None,
            established_at: None,
            negotiated: None,
            refreshing: Refreshing::default(),
            stream: Vec::new(),
            consumed: 0,
            latest: 0,
        }
    }

    /// Returns how messages are written.
    pub(crate) fn send_context(&self) -> DecodeContext {
        self.negotiated
            .as_ref()
            .map_or_else(initial_context, |negotiated| negotiated.send)
    }

    /// Returns how messages are read.
    fn receive_context(&self) -> DecodeContext {
        self.negotiated
            .as_ref()
            .map_or_else(initial_context, |negotiated| negotiated.receive)
    }

    /// Takes bytes in.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        self.stream.drain(..self.consumed);
        self.consumed = 0;
        self.stream.extend_from_slice(bytes);
    }

    /// Takes the next whole message out.
    pub(crate) fn next_message(&mut self) -> Option<Result<Message, DecodeError>> {
        self.latest = self.consumed;
        let rest = self.stream.get(self.consumed..)?;
        let context = self.receive_context();
        let length = match frame(rest, context) {
            Ok(length) => length?,
            Err(error) => return Some(Err(error)),
        };
        let message = Message::decode(rest.get(..length)?, context);
        self.consumed += length;
        Some(message)
    }

    /// Returns the bytes of the message that was looked at last; all that came when it has no end.
    pub(crate) fn latest_message(&self) -> &[u8] {
        let end = if self.consumed > self.latest {
            self.consumed
        } else {
            self.stream.len()
        };
        self.stream.get(self.latest..end).unwrap_or_default()
    }

    /// Tells whether routes are exchanged on it.
    pub(crate) fn is_established(&self) -> bool {
        self.state == ConnectionState::Established
    }

    /// Tells whether nothing was heard for a keepalive interval.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.negotiated.as_ref().is_some_and(|negotiated| {
            now.saturating_duration_since(self.heard_at) >= negotiated.keepalive_interval()
        })
    }

    /// Tells whether a newer connection of the peer may replace this one though it is Established. For the first moments
    /// even graceful restart does not allow that: what comes then may be the loser of the race that this one won.
    pub(crate) fn yields(&self, now: Instant) -> bool {
        let settled = self
            .established_at
            .is_some_and(|at| now.saturating_duration_since(at) >= HALF_DEAD);
        self.is_silent(now) || (settled && self.restart().is_some())
    }

    /// Returns what the peer said about its restarts.
    pub(crate) fn restart(&self) -> Option<PeerRestart> {
        self.negotiated.as_ref()?.restart
    }

    /// Returns what the collision rule wants to know; `None` while TCP is not up.
    pub(crate) fn contender(&self, now: Instant) -> Option<Contender> {
        (self.state > ConnectionState::Connect).then(|| Contender {
            id: self.id,
            direction: self.direction,
            peer_router_id: self
                .negotiated
                .as_ref()
                .map(|negotiated| negotiated.router_id),
            established: self.is_established(),
            yields: self.yields(now),
            opened_at: self.opened_at,
        })
    }

    /// Returns when the connection is given up unless something is heard.
    pub(crate) fn expiry(&self) -> (Instant, TimerName) {
        match self.state {
            ConnectionState::Connect => (self.opened_at + CONNECT_TIMEOUT, TimerName::ConnectRetry),
            ConnectionState::OpenSent => (self.opened_at + OPEN_TIMEOUT, TimerName::Hold),
            ConnectionState::OpenConfirm
            | ConnectionState::Confirmed
            | ConnectionState::Established => {
                let hold_time = self
                    .negotiated
                    .as_ref()
                    .map_or(OPEN_TIMEOUT, |negotiated| negotiated.hold_time);
                (self.heard_at + hold_time, TimerName::Hold)
            }
        }
    }

    /// Returns the earlier of expiry and next KEEPALIVE.
    pub(crate) fn deadline(&self) -> (Instant, TimerName) {
        let expiry = self.expiry();
        match self.keepalive_at {
            Some(at) if at < expiry.0 => (at, TimerName::Keepalive),
            Some(_) | None => expiry,
        }
    }

    /// Lists the timers that run.
    pub(crate) fn timers(&self) -> impl Iterator<Item = (Instant, TimerName)> {
        let keepalive = self.keepalive_at.map(|at| (at, TimerName::Keepalive));
        [Some(self.expiry()), keepalive, self.refresh_due()]
            .into_iter()
            .flatten()
    }

    /// Returns when the peer is to hear everything again, if it asked.
    pub(crate) fn refresh_due(&self) -> Option<(Instant, TimerName)> {
        self.refreshing.due().map(|at| (at, TimerName::Refresh))
    }
}
