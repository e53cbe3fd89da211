//! The session with one peer: its connections and what they say (RFC 4271 section 8).
//!
//! Owns at most one outgoing and one incoming connection on their way up, besides an Established one. A connection
//! moves only through [`Self::step`](PeerSession), which asks the table in `fsm.rs`; races are judged by
//! `collision.rs` after every step. UPDATEs leave as [`SessionOutput::Update`], in the order in which they came.

mod orders;
mod refresh;

use std::time::Instant;

use super::SessionState;
use super::collision::{Contender, Direction, Rivals, Verdict, judge};
use super::connection::Connection;
use super::dialing::Dialing;
use super::fsm::{Action, ConnectionEvent, ConnectionState, Ending, Transition, transition};
use super::negotiated::{Negotiated, negotiate, own_capabilities, own_open};
use super::occasion::{self, Occasion};
use super::outbox::{Marks, Outbox, SessionOutput};
use super::restart::{Fates, OpenRestart, SessionEnding};
use super::statistics::Statistics;
use super::timers::{ConnectionIds, Jitter};
use crate::config::{PeerConfig, SpeakerConfig};
use crate::input::ConnectionId;
use crate::output::TimerName;
use crate::wire::{
    Capability, DecodeError, Family, Message, Notification, Prefix, Update, code, subcode,
};

/// The session with one peer.
#[derive(Debug)]
pub(crate) struct PeerSession {
    local: SpeakerConfig,
    peer: PeerConfig,
    connections: Vec<Connection>,
    dialing: Dialing,
    /// When to judge an undecided race again.
    collision_at: Option<Instant>,
    /// What our OPENs say about our own restart.
    own_restart: OpenRestart,
    outbox: Outbox,
    shown: (SessionState, Instant),
}

impl PeerSession {
    /// Makes a session that dials at once if the peer is active.
    pub(crate) fn new(
        local: SpeakerConfig,
        peer: PeerConfig,
        jitter: Jitter,
        now: Instant,
    ) -> Self {
        Self {
            dialing: Dialing::new(&peer, jitter, now),
            connections: Vec::new(),
            collision_at: None,
            own_restart: OpenRestart::default(),
            outbox: Outbox::default(),
            shown: (SessionState::Active, now),
            local,
            peer,
        }
    }

    /// Handles an ordered connection that came up.
    pub(crate) fn handle_connected(&mut self, id: ConnectionId, now: Instant) {
        self.step(id, Occasion::plain(ConnectionEvent::Connected, ""), now);
        self.conclude(now);
    }

    /// Handles a connection that failed or was closed by the far end.
    pub(crate) fn handle_closed(&mut self, id: ConnectionId, now: Instant) {
        self.step(
            id,
            Occasion::plain(ConnectionEvent::Closed, "connection closed"),
            now,
        );
        self.conclude(now);
    }

    /// Handles a connection that the driver gave up because the peer does not read.
    pub(crate) fn handle_stalled(&mut self, id: ConnectionId, now: Instant) {
        self.step(
            id,
            Occasion::plain(ConnectionEvent::Closed, "the peer does not read"),
            now,
        );
        self.conclude(now);
    }

    /// Handles a connection from the peer.
    pub(crate) fn handle_accepted(&mut self, id: ConnectionId, now: Instant) {
        if let Some((subcode, reason)) = self.refusal(now) {
            self.outbox.refuse(id, subcode, reason);
            return;
        }
        // A peer opens one connection at a time: an earlier one of its making is dead.
        let earlier = self
            .connections
            .iter()
            .find(|connection| {
                connection.direction == Direction::Incoming
                    && connection.state != ConnectionState::Established
            })
            .map(|connection| connection.id);
        if let Some(earlier) = earlier {
            self.step(
                earlier,
                Occasion::collision("replaced by a newer connection"),
                now,
            );
        }
        self.connections
            .push(Connection::new(id, Direction::Incoming, now));
        self.step(id, Occasion::plain(ConnectionEvent::Connected, ""), now);
        self.conclude(now);
    }

    /// Handles bytes.
    pub(crate) fn handle_received(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) {
        match self.connection_mut(id) {
            Some(connection) if connection.state > ConnectionState::Connect => {
                connection.absorb(bytes);
            }
            Some(_) | None => return,
        }
        while let Some(message) = self.connection_mut(id).and_then(Connection::next_message) {
            match message {
                Ok(message) => self.handle_message(id, message, now),
                Err(error) => self.refuse_message(id, error, now),
            }
            self.settle(now);
        }
        self.conclude(now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ids: &mut ConnectionIds) {
        self.dialing.wake(now);
        let due: Vec<(ConnectionId, bool)> = self
            .connections
            .iter()
            .filter(|connection| connection.deadline().0 <= now)
            .map(|connection| (connection.id, connection.expiry().0 <= now))
            .collect();
        for (id, expired) in due {
            self.handle_deadline(id, expired, now);
        }
        self.refresh(now);
        self.conclude(now);
        if self.dialing.take_due(now) {
            let id = ids.take();
            self.connections
                .push(Connection::new(id, Direction::Outgoing, now));
            self.outbox.push(SessionOutput::Connect(id));
            self.note_state(now);
        }
    }

    /// Begins our own restart: OPENs speak of it, and the peer is called even if it is passive.
    pub(crate) fn begin_restart(&mut self, restart: OpenRestart, now: Instant) {
        self.own_restart = restart;
        self.dialing.call_at(now);
    }

    /// Ends our own restart.
    pub(crate) fn end_restart(&mut self) {
        self.own_restart = OpenRestart::default();
        if !self.peer.active {
            self.dialing.call_no_more();
        }
    }

    /// Ends all connections for good.
    pub(crate) fn stop(&mut self, subcode: u8, reason: &str, now: Instant) {
        self.dialing.stop();
        let ids: Vec<ConnectionId> = self.connections.iter().map(|c| c.id).collect();
        for id in ids {
            self.step(id, Occasion::stopped(subcode, reason), now);
        }
        self.conclude(now);
    }

    /// Ends the Established connection because the path to the peer failed (RFC 9384); others on their way up stay, and
    /// new ones are welcome.
    pub(crate) fn handle_path_down(&mut self, now: Instant) {
        if let Some(id) = self.established().map(|connection| connection.id) {
            let occasion = Occasion::stopped(subcode::BFD_DOWN, "BFD down");
            self.step(id, occasion, now);
            self.conclude(now);
        }
    }

    /// Sends routes on the Established connection, and what stands around them.
    pub(crate) fn send_updates<N: Prefix>(&mut self, updates: &[Update<N>], marks: Marks) {
        let connections = &self.connections;
        if let Some(connection) = connections.iter().find(|c| c.is_established()) {
            self.outbox.send_updates(connection, updates, marks);
        }
    }

    /// Takes the next output.
    pub(crate) fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outbox.pop()
    }

    /// Returns the earliest deadline.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        self.connections
            .iter()
            .map(Connection::deadline)
            .chain(self.dialing.deadline())
            .chain(self.collision_at.map(|at| (at, TimerName::Collision)))
            .chain(self.connections.iter().filter_map(Connection::refresh_due))
            .min_by_key(|(at, _)| *at)
    }

    /// Lists the timers that run: those of the foremost connection and of dialing.
    pub(crate) fn timers(&self) -> Vec<(TimerName, Instant)> {
        let foremost = self.connections.iter().max_by_key(|c| c.state);
        let of_connection = foremost.into_iter().flat_map(Connection::timers);
        of_connection
            .chain(self.dialing.deadline())
            .chain(self.collision_at.map(|at| (at, TimerName::Collision)))
            .map(|(at, name)| (name, at))
            .collect()
    }

    /// Tells whether there is no connection, and nothing that forbids the next one.
    pub(crate) fn is_unused(&self) -> bool {
        self.connections.is_empty() && self.dialing.is_running()
    }

    /// Returns the state and since when it holds.
    pub(crate) fn state(&self) -> (SessionState, Instant) {
        self.shown
    }

    /// Returns counters and last words.
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.outbox.statistics
    }

    /// Returns what was agreed on the foremost connection.
    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        let foremost = self
            .connections
            .iter()
            .max_by_key(|connection| connection.state)?;
        foremost.negotiated.as_ref()
    }

    /// Tells whether routes of a family are exchanged on the foremost connection.
    pub(crate) fn speaks(&self, family: Family) -> bool {
        self.negotiated()
            .is_some_and(|agreed| agreed.speaks(family))
    }

    /// Returns the capabilities in our OPEN.
    pub(crate) fn capabilities_sent(&self) -> Vec<Capability> {
        own_capabilities(&self.local, &self.peer, self.own_restart)
    }

    /// Returns the configuration of the peer.
    pub(crate) fn config(&self) -> &PeerConfig {
        &self.peer
    }

    fn handle_message(&mut self, id: ConnectionId, message: Message, now: Instant) {
        self.outbox.statistics.count_received(&message);
        if let Some(connection) = self.connection_mut(id) {
            connection.heard_at = now;
        }
        match message {
            Message::Open(open) => match negotiate(&self.local, &self.peer, &open) {
                Ok(negotiated) => {
                    if let Some(connection) = self.connection_mut(id) {
                        connection.negotiated.get_or_insert(negotiated);
                    }
                    self.step(
                        id,
                        Occasion::plain(ConnectionEvent::Open, "unexpected OPEN"),
                        now,
                    );
                }
                Err(error) => self.refuse_message(id, error, now),
            },
            Message::Keepalive => {
                let occasion = Occasion::plain(ConnectionEvent::Keepalive, "unexpected KEEPALIVE");
                self.step(id, occasion, now);
            }
            Message::Notification(notification) => {
                self.step(id, Occasion::received(notification), now);
            }
            Message::Update(_) | Message::Ipv6Update(_) => {
                for fault in message.faults() {
                    self.note_error(id, Some(fault.kind), fault.reason, now);
                }
                let occasion = Occasion::plain(ConnectionEvent::Update, "unexpected UPDATE");
                if self.step(id, occasion, now) == Some(ConnectionState::Established) {
                    self.outbox.push(SessionOutput::Update(Box::new(message)));
                }
            }
            Message::RouteRefresh(refresh) => self.handle_refresh(id, refresh, now),
        }
    }

    /// Ends a connection because of what came on it.
    fn refuse_message(&mut self, id: ConnectionId, error: DecodeError, now: Instant) {
        self.note_error(id, None, error.reason, now);
        self.step(id, Occasion::malformed(error), now);
    }

    /// Remembers what is wrong with the latest message of a connection.
    fn note_error(&mut self, id: ConnectionId, kind: Option<u8>, reason: &str, now: Instant) {
        if let Some(connection) = self.connections.iter().find(|c| c.id == id) {
            let errors = &mut self.outbox.statistics.errors;
            errors.note(connection.latest_message(), kind, reason, now);
        }
    }

    fn handle_deadline(&mut self, id: ConnectionId, expired: bool, now: Instant) {
        let connecting = self
            .connection_mut(id)
            .is_some_and(|c| c.state == ConnectionState::Connect);
        let occasion = if !expired {
            Occasion::plain(ConnectionEvent::KeepaliveDue, "")
        } else if connecting {
            Occasion::plain(ConnectionEvent::ConnectExpired, "connect timed out")
        } else {
            Occasion::hold_expired()
        };
        self.step(id, occasion, now);
    }

    /// Moves one connection by the table; the only place where its state changes. Returns the new state, or `None`
    /// when the connection is gone.
    fn step(
        &mut self,
        id: ConnectionId,
        occasion: Occasion,
        now: Instant,
    ) -> Option<ConnectionState> {
        let connection = self.connection_mut(id)?;
        match transition(connection.state, occasion.event) {
            Transition::Enter(state, actions) => {
                connection.state = state;
                for action in actions {
                    self.act(id, *action, now);
                }
                Some(state)
            }
            Transition::End(ending) => {
                self.end(id, ending, occasion, now);
                None
            }
        }
    }

    fn act(&mut self, id: ConnectionId, action: Action, now: Instant) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        match action {
            Action::SendOpen => {
                connection.opened_at = now;
                connection.heard_at = now;
                let open = own_open(&self.local, &self.peer, self.own_restart);
                self.send(id, &Message::Open(open));
            }
            Action::SendKeepalive => {
                let interval = connection
                    .negotiated
                    .as_ref()
                    .map(Negotiated::keepalive_interval);
                connection.keepalive_at = interval.map(|interval| now + interval);
                self.send(id, &Message::Keepalive);
            }
            Action::Establish => {
                connection.established_at = Some(now);
                let restart = connection.restart();
                let agreed = connection.negotiated.as_ref();
                let agreed = agreed.map(|agreed| (agreed.router_id, agreed.send));
                self.outbox.statistics.established += 1;
                self.dialing.on_established();
                let (router_id, send) = agreed.expect("only an OPEN leads to Established");
                self.outbox.push(SessionOutput::Established {
                    router_id,
                    restart,
                    send,
                });
            }
        }
    }

    /// Takes a connection away and draws the consequences.
    fn end(&mut self, id: ConnectionId, ending: Ending, occasion: Occasion, now: Instant) {
        let notification = match ending {
            Ending::Gone | Ending::Close => None,
            Ending::Notify => occasion.notification.clone(),
            Ending::Unexpected(subcode) => Some(Notification::new(code::FSM, subcode)),
        };
        if let Ending::Unexpected(_) = ending {
            self.note_error(id, None, &occasion.reason, now);
        }
        let restart = self.connection_mut(id).and_then(|c| c.restart());
        let farewell = notification.as_ref().is_some_and(occasion::is_farewell);
        let notification =
            notification.map(|notification| occasion::hardened(notification, restart));
        if let Some(notification) = notification.clone() {
            self.send(id, &Message::Notification(notification));
        }
        if ending != Ending::Gone {
            self.outbox.push(SessionOutput::Close(id));
        }
        let Some(position) = self.connections.iter().position(|c| c.id == id) else {
            return;
        };
        let connection = self.connections.remove(position);
        let others_live = self.reaches(ConnectionState::OpenSent);
        let cause = notification.or(occasion.notification);

        let collision = cause.as_ref().is_some_and(occasion::is_collision);
        let opened = connection.state >= ConnectionState::OpenConfirm || cause.is_some();
        if connection.established_at.is_some() || (opened && !collision && !others_live) {
            let reason = occasion.reason.into_owned();
            let ended = match &cause {
                None => SessionEnding::Broken,
                Some(cause) if farewell || cause.is_hard_reset() => SessionEnding::Final,
                Some(_) => SessionEnding::Notified,
            };
            self.outbox.statistics.last_down = Some(reason.clone());
            self.outbox.push(match connection.established_at {
                None => SessionOutput::AttemptFailed(reason),
                Some(_) => {
                    let fates = Fates::of_session(restart, ended, connection.is_silent(now));
                    SessionOutput::Down(reason, fates)
                }
            });
        } else if collision && ending == Ending::Notify {
            self.outbox.push(SessionOutput::Refused("collision"));
        }

        if let Some(at) = connection.established_at {
            self.dialing.on_ended(now.saturating_duration_since(at));
        }
        if cause.as_ref().is_some_and(occasion::is_protocol_error) && !others_live {
            self.dialing.on_protocol_error(now);
        }
    }

    /// Decides races, plans the next dialing, notes the state: the end of every input.
    fn conclude(&mut self, now: Instant) {
        self.settle(now);
        let answered = self.reaches(ConnectionState::OpenConfirm);
        if answered || !self.dialing.is_running() {
            self.abandon_attempts();
        }
        let mut calls = self
            .connections
            .iter()
            .filter(|c| c.direction == Direction::Outgoing);
        let busy = answered || calls.next().is_some();
        self.dialing.plan(busy, now);
        self.note_state(now);
    }

    /// Judges the race between connections until nobody loses any more; then a waiting one becomes Established.
    fn settle(&mut self, now: Instant) {
        self.collision_at = None;
        // The ordinary case, for every UPDATE.
        if let [only] = self.connections.as_slice()
            && only.state == ConnectionState::Established
        {
            return;
        }
        let rivals = Rivals::between(&self.local, &self.peer);
        loop {
            let contenders: Vec<Contender> = self
                .connections
                .iter()
                .filter_map(|c| c.contender(now))
                .collect();
            match judge(&contenders, rivals, now) {
                Verdict::Drop(id) => {
                    let occasion = self.lost_race(id);
                    self.step(id, occasion, now);
                }
                Verdict::Wait(at) => {
                    self.collision_at = Some(at);
                    return;
                }
                Verdict::Settled => break,
            }
        }
        let waiting = self
            .connections
            .iter()
            .find(|c| c.state == ConnectionState::Confirmed);
        if let Some(id) = waiting.map(|connection| connection.id) {
            self.step(id, Occasion::plain(ConnectionEvent::CollisionWon, ""), now);
        }
    }

    /// Returns how a connection is told that another one won.
    fn lost_race(&self, id: ConnectionId) -> Occasion {
        let established = self.established().filter(|connection| connection.id == id);
        if established.is_some_and(|connection| connection.restart().is_some()) {
            // RFC 4724 section 5: no NOTIFICATION, as if TCP had failed.
            return Occasion::plain(ConnectionEvent::Replaced, "the peer opened a new session");
        }
        Occasion::collision("another connection won")
    }

    /// Gives up connections whose TCP is under way. The peer cannot have judged by them: we sent no OPEN there.
    fn abandon_attempts(&mut self) {
        for connection in &self.connections {
            if connection.state == ConnectionState::Connect {
                self.outbox.push(SessionOutput::Close(connection.id));
            }
        }
        self.connections
            .retain(|connection| connection.state != ConnectionState::Connect);
    }

    /// Returns why no connection may be accepted, if so.
    fn refusal(&self, now: Instant) -> Option<(u8, &'static str)> {
        if let Some(reason) = self.dialing.refusal() {
            return Some((subcode::CONNECTION_REJECTED, reason));
        }
        let alive = self
            .established()
            .is_some_and(|connection| !connection.yields(now));
        alive.then_some((subcode::COLLISION, "collision"))
    }

    fn send(&mut self, id: ConnectionId, message: &Message) {
        if let Some(connection) = self.connections.iter().find(|c| c.id == id) {
            self.outbox.send(connection, message);
        }
    }

    fn note_state(&mut self, now: Instant) {
        let foremost = self.connections.iter().map(|c| c.state).max();
        let state = foremost.map_or_else(|| self.dialing.shown(), ConnectionState::shown);
        if state != self.shown.0 {
            self.shown = (state, now);
        }
    }

    /// Tells whether any connection is in `state` or beyond.
    fn reaches(&self, state: ConnectionState) -> bool {
        self.connections.iter().any(|c| c.state >= state)
    }

    fn established(&self) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|c| c.state == ConnectionState::Established)
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|connection| connection.id == id)
    }
}
