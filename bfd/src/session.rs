//! The session with one peer (RFC 5880 section 6.8).
//!
//! Contract: any input (`handle_*`, `set_*`), then drain `poll_transmit` and `poll_event`. Reception never moves the
//! next transmission but where the peer asks for another interval: [`Session::transmit_due`] counts from the last packet
//! that was sent.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::jitter::{Jitter, thousandths};
use crate::packet::Packet;
use crate::state::{Diagnostic, DownCause, State};
use crate::status::{LastDown, SessionStatus};
use crate::timing::Timing;

/// Something that the users of a session act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Packets pass in both directions.
    Up,
    /// The session left Up.
    Down(DownCause),
}

/// Whether the peer is asked to confirm our parameters (RFC 5880 section 6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    /// It is not.
    Idle,
    /// Packets carry P until one with F comes.
    Active,
    /// Parameters changed meanwhile: the next F may mean the former ones, so the one after it counts.
    Again,
}

/// What the peer said last; forgotten when nothing is heard for the detection time.
#[derive(Debug, Clone, Copy)]
struct Remote {
    state: State,
    discriminator: u32,
    diagnostic: Diagnostic,
    demand: bool,
    multiplier: u8,
    desired_min_tx: u32,
    required_min_rx: u32,
    heard_at: Instant,
}

/// The session with one peer.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    state: State,
    since: Instant,
    discriminator: u32,
    diagnostic: Diagnostic,
    remote: Option<Remote>,
    /// Desired Min TX Interval as told, and as used until the peer knows it.
    desired_min_tx: InForce,
    /// Required Min RX Interval, likewise.
    required_min_rx: InForce,
    poll: Poll,
    final_owed: bool,
    /// The peer is to know our state at once.
    prompt: bool,
    sent_at: Option<Instant>,
    /// Share of the interval to wait, in thousandths.
    share: u32,
    jitter: Jitter,
    events: VecDeque<Event>,
    ups: u64,
    failures: u64,
    last_down: Option<LastDown>,
    received: u64,
    sent: u64,
}

/// A parameter in microseconds: as the peer is told, and as calculated with (RFC 5880 section 6.8.3).
#[derive(Debug, Clone, Copy)]
struct InForce {
    told: u32,
    used: u32,
}

impl InForce {
    fn new(value: u32) -> Self {
        Self {
            told: value,
            used: value,
        }
    }
}

impl Session {
    /// Makes a session that begins to send at once. `seed` chooses its discriminator and its jitter.
    #[must_use]
    pub fn new(timing: Timing, seed: u64, now: Instant) -> Self {
        let mut jitter = Jitter::new(seed);
        Self {
            timing,
            state: State::Down,
            since: now,
            discriminator: jitter.discriminator(),
            diagnostic: Diagnostic::NONE,
            remote: None,
            desired_min_tx: InForce::new(timing.micros().max(SLOW)),
            required_min_rx: InForce::new(timing.micros()),
            poll: Poll::Idle,
            final_owed: false,
            prompt: true,
            sent_at: None,
            share: jitter.share(timing.multiplier()),
            jitter,
            events: VecDeque::new(),
            ups: 0,
            failures: 0,
            last_down: None,
            received: 0,
            sent: 0,
        }
    }

    /// Our discriminator.
    #[must_use]
    pub fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// Our state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Handles a packet that belongs to this session (RFC 5880 section 6.8.6, from "Set bfd.RemoteDiscr").
    pub fn handle_packet(&mut self, packet: &Packet, now: Instant) {
        self.received += 1;
        self.remote = Some(Remote {
            state: packet.state,
            discriminator: packet.my_discriminator,
            diagnostic: packet.diagnostic,
            demand: packet.demand,
            multiplier: packet.multiplier,
            desired_min_tx: packet.desired_min_tx,
            required_min_rx: packet.required_min_rx,
            heard_at: now,
        });
        if packet.is_final {
            self.on_final();
        }
        if self.state == State::AdminDown {
            return;
        }
        match (packet.state, self.state) {
            (State::AdminDown, State::Init | State::Up) => {
                self.go_down(DownCause::NeighborAdmin, now);
            }
            (State::Down, State::Up) => self.go_down(DownCause::Neighbor, now),
            (State::Down, State::Down) => self.enter(State::Init, now),
            (State::Init, State::Down | State::Init) | (State::Up, State::Init) => {
                self.go_up(now);
            }
            _ => {}
        }
        self.final_owed |= packet.poll;
    }

    /// Does what is due: gives up a peer that was not heard for the detection time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.expiry().is_some_and(|due| due <= now) {
            if matches!(self.state, State::Init | State::Up) {
                self.go_down(DownCause::Expired, now);
            }
            // Kept until here, so that a session that flaps keeps its parameters (RFC 5880 section 6.8.1).
            self.remote = None;
        }
    }

    /// Takes the next packet to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        if std::mem::take(&mut self.final_owed) {
            self.sent += 1;
            return Some(Packet {
                poll: false,
                is_final: true,
                ..self.packet()
            });
        }
        if self.transmit_due().is_none_or(|due| due > now) {
            return None;
        }
        self.prompt = false;
        self.sent_at = Some(now);
        self.share = self.jitter.share(self.timing.multiplier());
        self.sent += 1;
        Some(self.packet())
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when `handle_timeout` and `poll_transmit` want to be called; a time in the past means at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let owed = self.final_owed.then_some(self.since);
        [owed, self.transmit_due(), self.expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Changes the timing; while Up, the peer confirms it by a poll sequence (RFC 5880 section 6.8.3).
    pub fn set_timing(&mut self, timing: Timing) {
        if timing == self.timing {
            return;
        }
        self.timing = timing;
        self.apply_timing();
    }

    /// Holds the session down; it goes on to say so.
    pub fn set_admin_down(&mut self, now: Instant) {
        if self.state == State::AdminDown {
            return;
        }
        if self.state == State::Up {
            self.note_down(DownCause::Admin, now);
        }
        self.diagnostic = Diagnostic::ADMIN_DOWN;
        self.enter(State::AdminDown, now);
    }

    /// Returns how long the peer must be told of AdminDown to notice: the detection time at its side, about. A peer that
    /// takes packets more rarely than that is told once, and has its own detection time for the rest.
    #[must_use]
    pub fn farewell(&self) -> Duration {
        let interval = self.interval().unwrap_or_default();
        let detection_time = interval.saturating_mul(self.timing.multiplier().into());
        detection_time.min(LONGEST_FAREWELL)
    }

    /// Shows the session.
    #[must_use]
    pub fn status(&self, peer: Ipv4Addr) -> SessionStatus {
        let remote = self.remote.as_ref();
        SessionStatus {
            peer,
            state: self.state,
            since: self.since,
            remote_state: remote.map_or(State::Down, |remote| remote.state),
            local_discriminator: self.discriminator,
            remote_discriminator: remote.map_or(0, |remote| remote.discriminator),
            diagnostic: self.diagnostic,
            remote_diagnostic: remote.map_or(Diagnostic::NONE, |remote| remote.diagnostic),
            transmit_interval: self.interval(),
            receive_interval: remote.map(|remote| self.receive_interval(remote)),
            detection_time: remote.map(|remote| self.detection_time(remote)),
            multiplier: self.timing.multiplier(),
            remote_multiplier: remote.map_or(0, |remote| remote.multiplier),
            polling: self.poll != Poll::Idle,
            ups: self.ups,
            failures: self.failures,
            last_down: self.last_down,
            received: self.received,
            sent: self.sent,
        }
    }

    fn packet(&self) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.poll != Poll::Idle,
            is_final: false,
            // One process: who loses the control plane loses this too.
            control_independent: false,
            demand: false,
            multiplier: self.timing.multiplier(),
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.map_or(0, |remote| remote.discriminator),
            desired_min_tx: self.desired_min_tx.told,
            required_min_rx: self.required_min_rx.told,
            required_min_echo_rx: 0,
        }
    }

    /// The transmission interval before jitter (RFC 5880 section 6.8.7).
    fn interval(&self) -> Option<Duration> {
        let wanted = self.remote.map_or(1, |remote| remote.required_min_rx);
        let longer = u64::from(self.desired_min_tx.used.max(wanted));
        (wanted != 0).then(|| Duration::from_micros(longer))
    }

    /// When the next packet leaves by itself.
    fn transmit_due(&self) -> Option<Instant> {
        if self.prompt {
            return Some(self.since);
        }
        let obeying = self.poll == Poll::Idle && self.state == State::Up;
        if obeying
            && self
                .remote
                .is_some_and(|remote| remote.demand && remote.state == State::Up)
        {
            return None;
        }
        let wait = thousandths(self.interval()?, self.share);
        Some(self.sent_at.map_or(self.since, |sent| sent + wait))
    }

    fn receive_interval(&self, remote: &Remote) -> Duration {
        let longer = self.required_min_rx.used.max(remote.desired_min_tx);
        Duration::from_micros(longer.into())
    }

    /// The detection time in asynchronous mode (RFC 5880 section 6.8.4).
    fn detection_time(&self, remote: &Remote) -> Duration {
        self.receive_interval(remote)
            .saturating_mul(remote.multiplier.into())
    }

    fn expiry(&self) -> Option<Instant> {
        let remote = self.remote.as_ref()?;
        Some(remote.heard_at + self.detection_time(remote))
    }

    /// The only place where the state changes.
    fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
        self.prompt = true;
        self.apply_timing();
    }

    fn go_up(&mut self, now: Instant) {
        self.diagnostic = Diagnostic::NONE;
        self.ups += 1;
        self.events.push_back(Event::Up);
        self.enter(State::Up, now);
    }

    fn go_down(&mut self, cause: DownCause, now: Instant) {
        if self.state == State::Up {
            self.note_down(cause, now);
        }
        self.diagnostic = match cause {
            DownCause::Expired => Diagnostic::DETECTION_EXPIRED,
            DownCause::Neighbor | DownCause::NeighborAdmin => Diagnostic::NEIGHBOR_DOWN,
            DownCause::Admin => Diagnostic::ADMIN_DOWN,
        };
        self.enter(State::Down, now);
    }

    fn note_down(&mut self, cause: DownCause, now: Instant) {
        self.failures += u64::from(cause.is_failure());
        let remote = self.remote.as_ref();
        self.last_down = Some(LastDown {
            at: now,
            cause,
            remote_diagnostic: remote.map_or(Diagnostic::NONE, |remote| remote.diagnostic),
        });
        self.events.push_back(Event::Down(cause));
    }

    /// Makes the parameters follow state and configuration; whoever is not Up sends once a second at most.
    fn apply_timing(&mut self) {
        let up = self.state == State::Up;
        let wanted = self.timing.micros();
        let desired = if up { wanted } else { wanted.max(SLOW) };
        let changed = (desired, wanted) != (self.desired_min_tx.told, self.required_min_rx.told);
        self.desired_min_tx.told = desired;
        self.required_min_rx.told = wanted;
        if !up {
            self.poll = Poll::Idle;
            self.use_told();
            return;
        }
        // Sooner at once, later only when the peer knows; it may wait longer at once, and less only when it knows.
        self.desired_min_tx.used = self.desired_min_tx.used.min(desired);
        self.required_min_rx.used = self.required_min_rx.used.max(wanted);
        if changed {
            self.poll = match self.poll {
                Poll::Idle => Poll::Active,
                Poll::Active | Poll::Again => Poll::Again,
            };
            self.prompt = true;
        }
    }

    fn on_final(&mut self) {
        self.poll = match self.poll {
            Poll::Idle => return,
            Poll::Again => Poll::Active,
            Poll::Active => {
                self.use_told();
                Poll::Idle
            }
        };
    }

    fn use_told(&mut self) {
        self.desired_min_tx.used = self.desired_min_tx.told;
        self.required_min_rx.used = self.required_min_rx.told;
    }
}

/// Least interval while not Up, in microseconds (RFC 5880 section 6.8.3).
const SLOW: u32 = 1_000_000;
/// Longest time to tell a peer that we leave: it must not decide how long its session and the sockets stay.
const LONGEST_FAREWELL: Duration = Duration::from_secs(10);

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
