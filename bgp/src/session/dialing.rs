//! When to dial and when to rest: the states Idle and Active of RFC 4271 section 8.2.2, which belong to the peer and
//! not to a connection.
//!
//! Connect retry grows while attempts fail and starts again with each session; idle hold grows with each protocol
//! error (section 8.1.1, DampPeerOscillations) and is forgiven after a long session.

use std::time::{Duration, Instant};

use super::SessionState;
use super::timers::{Backoff, Jitter};
use crate::config::PeerConfig;
use crate::output::TimerName;

/// Uptime after which earlier protocol errors are forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(180);

/// Whether the session may have connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    IdleHold(Instant),
    Stopped,
}

/// The plan of one session.
#[derive(Debug)]
pub(crate) struct Dialing {
    active: bool,
    phase: Phase,
    /// When to dial; set exactly while dialing is wanted and no attempt is under way.
    connect_at: Option<Instant>,
    connect_retry: Backoff,
    idle_hold: Backoff,
    jitter: Jitter,
}

impl Dialing {
    /// Makes a plan that dials at once if the peer is active.
    pub(crate) fn new(peer: &PeerConfig, jitter: Jitter, now: Instant) -> Self {
        Self {
            active: peer.active,
            phase: Phase::Running,
            connect_at: peer.active.then_some(now),
            connect_retry: Backoff::connect_retry(peer.connect_retry),
            idle_hold: Backoff::idle_hold(),
            jitter,
        }
    }

    /// Has the peer called at `now` and on, even if it is passive; for a session without connections.
    pub(crate) fn call_at(&mut self, now: Instant) {
        self.active = true;
        self.connect_at = Some(now);
    }

    /// Leaves it to the peer to call.
    pub(crate) fn call_no_more(&mut self) {
        self.active = false;
        self.connect_at = None;
    }

    /// Tells whether connections are allowed.
    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Returns why no connection may be accepted, if so.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Running => None,
            Phase::IdleHold(_) => Some("idle hold"),
            Phase::Stopped => Some("shut down"),
        }
    }

    /// Returns the state that is shown while there is no connection.
    pub(crate) fn shown(&self) -> SessionState {
        if self.is_running() {
            SessionState::Active
        } else {
            SessionState::Idle
        }
    }

    /// Returns the earliest deadline.
    pub(crate) fn deadline(&self) -> Option<(Instant, TimerName)> {
        match self.phase {
            Phase::Running => self.connect_at.map(|at| (at, TimerName::ConnectRetry)),
            Phase::IdleHold(until) => Some((until, TimerName::IdleHold)),
            Phase::Stopped => None,
        }
    }

    /// Ends an idle hold that is over.
    pub(crate) fn wake(&mut self, now: Instant) {
        if let Phase::IdleHold(until) = self.phase
            && until <= now
        {
            self.phase = Phase::Running;
            self.connect_at = self.active.then_some(now);
        }
    }

    /// Tells whether to dial now; the attempt counts as begun.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.is_running() && self.connect_at.is_some_and(|at| at <= now);
        if due {
            self.connect_at = None;
        }
        due
    }

    /// Plans the next attempt, unless `busy` with one or with a session.
    pub(crate) fn plan(&mut self, busy: bool, now: Instant) {
        if busy || !self.active || !self.is_running() {
            self.connect_at = None;
        } else if self.connect_at.is_none() {
            self.connect_at = Some(now + self.jitter.spread(self.connect_retry.step()));
        }
    }

    /// Notes that a session is up.
    pub(crate) fn on_established(&mut self) {
        self.connect_retry.reset();
    }

    /// Notes that a session ended.
    pub(crate) fn on_ended(&mut self, uptime: Duration) {
        if uptime >= FORGIVEN_AFTER {
            self.idle_hold.reset();
        }
    }

    /// Rests after a protocol error.
    pub(crate) fn on_protocol_error(&mut self, now: Instant) {
        if self.is_running() {
            self.phase = Phase::IdleHold(now + self.jitter.spread(self.idle_hold.step()));
        }
    }

    /// Begins anew, as if nothing had happened before: dials at once if the peer is active.
    pub(crate) fn start_again(&mut self, now: Instant) {
        self.phase = Phase::Running;
        self.connect_retry.reset();
        self.idle_hold.reset();
        self.connect_at = self.active.then_some(now);
    }

    /// Ends all dialing and accepting, until [`Self::start_again`].
    pub(crate) fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }
}
