//! Timers of one peer: the state machine of the WireGuard paper section 6, on `now` alone.
//!
//! It knows neither keys nor packets: what was sent and received is read from [`Traffic`], other facts come in by
//! `on_*`, wishes by `want_*`, and [`Timers::take_due`] says what is to be done. Where it goes beyond the paper:
//! - attempts never end while a persistent keepalive is configured or packets wait (data-plane.md section 10 row 31);
//! - the 15 s without an answer count from the first unanswered packet, not from the last one (row 29);
//! - whoever was the responder waits [`RESPONDER_GRACE`] before it starts a handshake just to keep the tunnel up, so
//!   two peers with keepalives do not fight for the initiator's role (row 30).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::traffic::Traffic;

/// Says which deadline is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerName {
    /// Send the handshake initiation again.
    HandshakeRetry,
    /// Start a new handshake because the session is old, gone or silent.
    Rekey,
    /// Answer received data with an empty packet.
    Keepalive,
    /// Persistent keepalive.
    PersistentKeepalive,
    /// Forget session keys.
    Expiry,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Start a cycle of attempts: send a handshake initiation.
    Start,
    /// Send another initiation of the same cycle.
    Repeat,
    /// The cycle failed; start the next one.
    Restart,
    /// The cycle failed and nobody wants another one.
    GiveUp,
    /// Send an empty packet.
    Keepalive,
}

/// A cycle of handshake attempts.
#[derive(Debug)]
struct Attempt {
    started: Instant,
    retry: Instant,
    /// Whether a packet wanted to be sent since the cycle started.
    demand: bool,
}

/// All deadlines of a peer but the expiry of its sessions.
#[derive(Debug)]
pub(crate) struct Timers {
    traffic: Arc<Traffic>,
    /// Interval of persistent keepalives, not zero.
    persistent: Option<Duration>,
    /// Whether there is a session to send keepalives with.
    session: bool,
    attempt: Option<Attempt>,
    /// When to start a cycle; `None` while there is one.
    start: Option<Instant>,
    last_initiation: Option<Instant>,
    /// Spreads the handshakes that follow when no answer comes.
    jitter: Duration,
    /// When to look at the traffic again.
    look: Option<Instant>,
}

impl Timers {
    /// Makes the timers of the peer with this traffic.
    pub(crate) fn new(traffic: Arc<Traffic>) -> Self {
        Self {
            traffic,
            persistent: None,
            session: false,
            attempt: None,
            start: None,
            last_initiation: None,
            jitter: Duration::ZERO,
            look: None,
        }
    }

    /// Sets the interval of persistent keepalives; zero means none.
    pub(crate) fn set_persistent(&mut self, interval: Option<Duration>) {
        self.persistent = interval.filter(|interval| !interval.is_zero());
    }

    /// Notes that a handshake initiation was sent.
    pub(crate) fn on_initiation_sent(&mut self, now: Instant, jitter: Duration) {
        self.traffic.on_sent(self.traffic.tick(now));
        self.last_initiation = Some(now);
        self.start = None;
        let retry = now + REKEY_TIMEOUT + jitter;
        let demand = false;
        self.attempt
            .get_or_insert(Attempt {
                started: now,
                retry,
                demand,
            })
            .retry = retry;
    }

    /// Notes that packets can be sealed with a fresh session; attempts end. `jitter` spreads the handshakes that follow
    /// if no answer comes.
    pub(crate) fn on_session_up(&mut self, jitter: Duration) {
        self.session = true;
        self.jitter = jitter;
        self.attempt = None;
        self.start = None;
    }

    /// Notes that there is no session to seal with.
    pub(crate) fn on_session_down(&mut self) {
        self.session = false;
        self.traffic.forget_unacknowledged();
        self.traffic.forget_unanswered();
    }

    /// Asks for a handshake as soon as the distance between initiations allows; `demand` tells that packets wait.
    pub(crate) fn want_handshake(&mut self, now: Instant, demand: Demand) {
        if let Some(attempt) = &mut self.attempt {
            attempt.demand |= demand == Demand::Packet;
            return;
        }
        let earliest = self
            .last_initiation
            .map_or(now, |last| now.max(last + REKEY_TIMEOUT));
        self.start = Some(self.start.map_or(earliest, |start| start.min(earliest)));
    }

    /// Sees to it that a peer with persistent keepalive and without session has a handshake under way or planned,
    /// not before `grace` is over.
    pub(crate) fn want_tunnel(&mut self, now: Instant, grace: Duration) {
        if self.persistent.is_some()
            && !self.session
            && self.attempt.is_none()
            && self.start.is_none()
        {
            self.want_handshake(now + grace, Demand::Keepalive);
        }
    }

    /// Tells what is due at `now` and disarms it; call until `None`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        // 1. Silence after data asks for a handshake, which may be due at once.
        if is_due(self.silence_deadline(), now) {
            self.traffic.forget_unanswered();
            self.want_handshake(now, Demand::Keepalive);
        }
        // 2. Handshakes come before keepalives, which need a session.
        if let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.retry <= now) {
            if now.saturating_duration_since(attempt.started) < REKEY_ATTEMPT_TIME {
                attempt.retry = now + REKEY_TIMEOUT;
                return Some(Due::Repeat);
            }
            let restart = attempt.demand || self.persistent.is_some();
            self.attempt = None;
            return Some(if restart { Due::Restart } else { Due::GiveUp });
        }
        if is_due(self.start, now) {
            self.start = None;
            return Some(Due::Start);
        }
        // 3. Whatever keepalive is due, one empty packet serves both.
        if is_due(self.passive_deadline(), now) || is_due(self.persistent_deadline(), now) {
            self.traffic.on_sent(self.traffic.tick(now));
            return Some(Due::Keepalive);
        }
        None
    }

    /// Plans the next look at the traffic, to be called when nothing is due any more. Whatever workers note from now on
    /// has its deadline [`KEEPALIVE_TIMEOUT`] later or more, so a look by then is early enough for all of it; without
    /// one planned they ask for it.
    pub(crate) fn plan(&mut self, now: Instant) {
        self.traffic.unplan();
        let waiting = [self.silence_deadline(), self.passive_deadline()];
        let first = waiting.into_iter().flatten().min();
        self.look = first.map(|at| at.min(now + KEEPALIVE_TIMEOUT));
        if let Some(at) = self.look {
            self.traffic.plan(at);
        }
    }

    /// Returns the earliest deadline.
    pub(crate) fn deadline(&self) -> Option<(Instant, TimerName)> {
        let retry = self.attempt.as_ref().map(|attempt| attempt.retry);
        [
            (retry, TimerName::HandshakeRetry),
            (self.start, TimerName::Rekey),
            (self.silence_deadline(), TimerName::Rekey),
            (self.passive_deadline(), TimerName::Keepalive),
            (self.persistent_deadline(), TimerName::PersistentKeepalive),
            (self.look, TimerName::Keepalive),
        ]
        .into_iter()
        .filter_map(|(at, name)| Some((at?, name)))
        .min_by_key(|(at, _)| *at)
    }

    /// When data sent without an answer leads to a new handshake.
    fn silence_deadline(&self) -> Option<Instant> {
        Some(self.traffic.unanswered()? + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self.jitter)
    }

    /// When received data is answered by a keepalive.
    fn passive_deadline(&self) -> Option<Instant> {
        Some(self.traffic.unacknowledged()? + KEEPALIVE_TIMEOUT)
    }

    fn persistent_deadline(&self) -> Option<Instant> {
        let interval = self.persistent.filter(|_| self.session)?;
        Some(self.traffic.last_sent()? + interval)
    }
}

/// Who asks for a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A packet waits for the session.
    Packet,
    /// The tunnel is to stay up, or the session to be replaced in time.
    Keepalive,
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}

/// Age at which the initiator replaces a session when it sends.
pub(crate) const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);

/// Age at which a session neither seals nor opens any more.
pub(crate) const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);

/// How long a cycle of attempts lasts.
pub(crate) const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);

/// Distance between initiations, without jitter.
pub(crate) const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long received data may stay without a packet in return.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Packets after which a session is replaced.
pub(crate) const REKEY_AFTER_MESSAGES: u64 = 1 << 60;

/// Counter from which on a session is not used any more, 2^64 - 2^13 - 1.
pub(crate) const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// Age at which the initiator replaces a session when it receives.
pub(crate) const REKEY_ON_RECEIVE_TIME: Duration = REJECT_AFTER_TIME
    .saturating_sub(KEEPALIVE_TIMEOUT)
    .saturating_sub(REKEY_TIMEOUT);

/// How much longer than the initiator a responder waits to bring the tunnel up again.
pub(crate) const RESPONDER_GRACE: Duration = KEEPALIVE_TIMEOUT.saturating_add(REKEY_TIMEOUT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Tick;

    #[test]
    fn initiations_repeat_every_five_seconds_and_end_after_ninety() {
        let (mut timers, t0) = started();
        let mut sent = vec![0];
        let end = loop {
            let (at, name) = timers.deadline().unwrap();
            assert_eq!(name, TimerName::HandshakeRetry);
            let due = timers.take_due(at).unwrap();
            if due != Due::Repeat {
                break (at, due);
            }
            timers.on_initiation_sent(at, Duration::ZERO);
            sent.push((at - t0).as_secs());
        };
        assert_eq!(sent, (0..18).map(|n| n * 5).collect::<Vec<_>>());
        assert_eq!(end, (t0 + secs(90), Due::GiveUp));
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn attempts_restart_for_a_keepalive_or_a_waiting_packet() {
        type Wish = fn(&mut Timers, Instant);
        let table: &[(Wish, Due)] = &[
            (|_, _| {}, Due::GiveUp),
            (
                |timers, _| timers.set_persistent(Some(secs(25))),
                Due::Restart,
            ),
            (
                |timers, _| timers.set_persistent(Some(secs(0))),
                Due::GiveUp,
            ),
            (
                |timers, now| timers.want_handshake(now, Demand::Packet),
                Due::Restart,
            ),
            (
                |timers, now| timers.want_handshake(now, Demand::Keepalive),
                Due::GiveUp,
            ),
        ];
        for (row, (wish, expected)) in table.iter().enumerate() {
            let (mut timers, t0) = started();
            wish(&mut timers, t0 + secs(1));
            assert_eq!(timers.take_due(t0 + secs(90)), Some(*expected), "row {row}");
        }
    }

    #[test]
    fn initiations_keep_their_distance_across_cycles() {
        let (mut timers, t0) = started();
        timers.on_session_up(Duration::ZERO);
        timers.want_handshake(t0 + secs(2), Demand::Packet);
        assert_eq!(timers.deadline(), Some((t0 + secs(5), TimerName::Rekey)));
        assert_eq!(timers.take_due(t0 + secs(5)), Some(Due::Start));
    }

    #[test]
    fn a_waiting_packet_does_not_wait_for_the_grace() {
        let (mut timers, t0) = fresh();
        timers.set_persistent(Some(secs(25)));
        timers.want_tunnel(t0, RESPONDER_GRACE);
        assert_eq!(timers.deadline(), Some((t0 + secs(15), TimerName::Rekey)));
        timers.want_handshake(t0 + secs(3), Demand::Packet);
        assert_eq!(timers.deadline(), Some((t0 + secs(3), TimerName::Rekey)));
    }

    #[test]
    fn silence_counts_from_the_first_unanswered_packet() {
        let (mut timers, t0) = up();
        note(&timers, t0, |traffic, at| traffic.on_data_sent(1, at));
        note(&timers, t0 + secs(14), |traffic, at| {
            traffic.on_data_sent(1, at)
        });
        assert_eq!(timers.deadline(), Some((t0 + secs(15), TimerName::Rekey)));
        assert_eq!(timers.take_due(t0 + secs(15)), Some(Due::Start));
    }

    #[test]
    fn any_answer_ends_the_silence() {
        let (mut timers, t0) = up();
        note(&timers, t0, |traffic, at| traffic.on_data_sent(1, at));
        note(&timers, t0, Traffic::on_received);
        assert_eq!(timers.take_due(t0 + secs(60)), None);
    }

    #[test]
    fn received_data_is_answered_after_ten_seconds_unless_something_is_sent() {
        let (mut timers, t0) = up();
        note(&timers, t0, |traffic, at| traffic.on_data_received(1, at));
        note(&timers, t0 + secs(9), |traffic, at| {
            traffic.on_data_received(1, at)
        });
        assert_eq!(
            timers.deadline(),
            Some((t0 + secs(10), TimerName::Keepalive))
        );
        assert_eq!(timers.take_due(t0 + secs(10)), Some(Due::Keepalive));
        assert_eq!(timers.take_due(t0 + secs(10)), None);

        note(&timers, t0 + secs(20), |traffic, at| {
            traffic.on_data_received(1, at)
        });
        note(&timers, t0 + secs(21), Traffic::on_sent);
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn a_keepalive_is_not_answered() {
        let (timers, t0) = up();
        note(&timers, t0, Traffic::on_received);
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn persistent_keepalive_counts_from_the_last_packet_sent() {
        let (mut timers, t0) = up();
        timers.set_persistent(Some(secs(25)));
        note(&timers, t0 + secs(7), Traffic::on_sent);
        assert_eq!(
            timers.deadline(),
            Some((t0 + secs(32), TimerName::PersistentKeepalive))
        );
        assert_eq!(timers.take_due(t0 + secs(32)), Some(Due::Keepalive));
        assert_eq!(
            timers.deadline(),
            Some((t0 + secs(57), TimerName::PersistentKeepalive))
        );
    }

    #[test]
    fn without_a_session_no_keepalive_is_due() {
        let (mut timers, t0) = up();
        timers.set_persistent(Some(secs(25)));
        note(&timers, t0, |traffic, at| traffic.on_data_received(1, at));
        note(&timers, t0, |traffic, at| traffic.on_data_sent(1, at));
        note(&timers, t0, |traffic, at| traffic.on_data_received(1, at));
        timers.on_session_down();
        assert_eq!(timers.take_due(t0 + secs(1000)), None);
    }

    #[test]
    fn while_something_waits_a_look_is_planned_within_ten_seconds() {
        let (mut timers, t0) = up();
        timers.plan(t0);
        assert_eq!(timers.deadline(), None);
        note(&timers, t0, |traffic, at| traffic.on_data_sent(1, at));
        timers.plan(t0);
        // Silence would count 15 s, but data that comes in the next moment is to be answered after 10 s.
        assert_eq!(
            timers.deadline(),
            Some((t0 + secs(10), TimerName::Keepalive))
        );
        timers.plan(t0 + secs(10));
        assert_eq!(timers.deadline(), Some((t0 + secs(15), TimerName::Rekey)));
        note(&timers, t0 + secs(11), Traffic::on_received);
        timers.plan(t0 + secs(15));
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn constants_are_those_of_the_paper() {
        assert_eq!(REKEY_ON_RECEIVE_TIME, secs(165));
        assert_eq!(REJECT_AFTER_MESSAGES, 18_446_744_073_709_543_423); // 2^64 - 2^13 - 1
    }

    /// Notes in the traffic what happened `at`.
    fn note(timers: &Timers, at: Instant, what: impl Fn(&Traffic, Tick)) {
        what(&timers.traffic, timers.traffic.tick(at));
    }

    fn fresh() -> (Timers, Instant) {
        let now = start();
        (Timers::new(Arc::new(Traffic::new(now))), now)
    }

    /// Timers in their first attempt, without jitter, and when it started.
    fn started() -> (Timers, Instant) {
        let (mut timers, now) = fresh();
        timers.on_initiation_sent(now, Duration::ZERO);
        (timers, now)
    }

    /// Timers with a session.
    fn up() -> (Timers, Instant) {
        let (mut timers, now) = started();
        timers.on_session_up(Duration::ZERO);
        (timers, now + REKEY_TIMEOUT)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}
