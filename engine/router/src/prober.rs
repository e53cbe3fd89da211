//! Datagram packetization layer path MTU discovery (RFC 8899, with RFC 4821 and RFC 1191) for one tunnel.
//!
//! Sizes are those of inner packets. The size that the underlay promises is believed until something speaks against it,
//! and an idle tunnel is left alone: only while long packets flow ([`Prober::handle_traffic`]) it is confirmed, every
//! [`CONFIRM_INTERVAL`].
//!
//! ```text
//!           long packets             lost 3 times, a smaller size answered
//!   Settled ────────────► Confirm ──────────────────────────────────────────► Search
//!     ▲ ▲      answered │     │ no size answered: nothing learnt                 │ ▲
//!     │ └───────────────┴─────┘                                                  │ │ after 10 min below the top
//!     └───────────────────────── the size is found ──────────────────────────────┘ └─ Settled
//! ```
//! A confirmation that is not answered in time is sent again together with smaller sizes ([`PLATEAUS`]). What is lost
//! while a smaller packet that left later is answered, is too long; what is lost while nothing is answered tells nothing.
//! So no estimate of the round trip can lower a size; a wrong one only costs probes. A search begins with the former
//! size, which restores it if chance alone had lost it.
//!
//! An ICMP error lowers the size at once (to [`Limits::floor`] at least). As anybody on the path can forge one, the
//! former size is tried once more ([`State::Doubt`]); an answer restores it. The size rises only by answers, and where
//! nobody ever answered, by forgetting the error after 10 minutes (RFC 1191 section 6.3).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sam_dataplane::path_probe::PROBE_MIN;
use sam_dataplane::path_watch::BASE_SIZE;

/// Between which sizes the truth lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Never less: IPv4 underlays carry 576 bytes, IPv6 1280, less the overhead.
    pub(crate) floor: u16,
    /// What the underlay promises or the configuration says.
    pub(crate) top: u16,
}

/// What the size in force is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An ICMP error or a refusal of the kernel.
    Error,
    /// Probes.
    Probe,
}

impl Source {
    /// Returns the name for people.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Probe => "probe",
        }
    }
}

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Number by which the answer is known.
    pub(crate) id: u32,
    /// Length of the inner packet.
    pub(crate) size: u16,
}

impl Probe {
    fn new((size, id): (u16, u32)) -> Self {
        Self { id, size }
    }
}

/// Finds the largest inner packet that a tunnel carries.
#[derive(Debug)]
pub(crate) struct Prober {
    limits: Limits,
    /// In force.
    size: u16,
    /// Why it is below the top, if it is.
    source: Option<Source>,
    state: State,
    /// The probe under way.
    flight: Option<Flight>,
    /// Smaller sizes asked along with it.
    smaller: Vec<Probe>,
    /// What is to be sent.
    sends: VecDeque<Probe>,
    next_id: u32,
    /// Until when long packets are taken to flow.
    busy_until: Option<Instant>,
    /// No confirmation before.
    confirm_after: Option<Instant>,
    /// Time between two confirmations.
    pace: Duration,
    /// When a larger size is tried.
    raise_at: Option<Instant>,
    /// Which size an error named that was found to be wrong, and until when it is believed if it comes again.
    refuted: Option<(u16, Instant)>,
    /// Whether the far end ever answered.
    is_heard: bool,
    /// How long that takes, as far as known.
    round_trip: Option<Duration>,
}

/// RFC 8899 section 5.2, by what the probe under way asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Settled,
    /// Does the size in force still pass?
    Confirm,
    /// Was the error a lie that made the size smaller?
    Doubt,
    /// How much passes, above the size in force and below `lost`?
    Search { lost: u16 },
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    probe: Probe,
    /// When its first copy was sent.
    sent: Instant,
    /// Copies sent.
    tries: u8,
    /// Largest of the smaller sizes that was answered.
    passed: Option<u16>,
    /// When it counts as lost.
    expires: Instant,
}

impl Prober {
    /// Believes in the top. Probes are numbered from `seed`.
    #[must_use]
    pub(crate) fn new(limits: Limits, seed: u32) -> Self {
        Self {
            limits,
            size: limits.top,
            source: None,
            state: State::Settled,
            flight: None,
            smaller: Vec::new(),
            sends: VecDeque::new(),
            next_id: seed,
            busy_until: None,
            confirm_after: None,
            pace: CONFIRM_INTERVAL,
            raise_at: None,
            refuted: None,
            is_heard: false,
            round_trip: None,
        }
    }

    /// Returns the largest inner packet that the path carries, as far as known.
    #[must_use]
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Returns what a size below the top is known by.
    #[must_use]
    pub(crate) fn source(&self) -> Option<Source> {
        self.source
    }

    /// Takes in other limits: a size at the top stays there, a smaller one was learnt and stays.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        if limits == self.limits {
            return;
        }
        if self.source.is_none() || self.size >= limits.top {
            *self = Self::new(limits, self.next_id);
        } else {
            self.limits = limits;
            self.size = self.size.max(limits.floor.min(limits.top));
        }
    }

    /// Forgets everything: the path is another one.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.limits, self.next_id);
    }

    /// Takes in that long packets go into the tunnel: they are confirmed at this pace for as long as that is told again.
    pub(crate) fn handle_traffic(&mut self, pace: Duration, now: Instant) {
        self.pace = pace;
        self.busy_until = Some(now + BUSY_INTERVAL);
        if self.confirm_at().is_some_and(|at| now >= at) {
            self.confirm(now);
        }
    }

    /// Tells whether long packets flow.
    #[must_use]
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.busy_until.is_some_and(|until| now < until)
    }

    /// Takes in that the underlay refused a packet because only an inner one of `size` bytes fits; `None`: it did not
    /// say.
    pub(crate) fn handle_error(&mut self, size: Option<u16>, now: Instant) {
        let Some(size) = size else {
            self.confirm_after = None;
            return self.handle_traffic(self.pace, now);
        };
        let size = size.max(self.floor());
        if size >= self.size {
            return self.narrow(size, now);
        }
        let former = std::mem::replace(&mut self.size, size);
        self.source = Some(Source::Error);
        self.raise_at = Some(now + RAISE_INTERVAL);
        if self.state == State::Doubt {
            // The probe under way asks for what was in force before the first of these errors.
            return;
        }
        if self.is_repeated(size, now) {
            self.settle(now);
        } else {
            self.refuted = None;
            self.ask(State::Doubt, former, now);
        }
    }

    /// Tells whether an error says again what was refuted: two ways of one path may differ. A smaller size is another
    /// matter, and doubted anew.
    fn is_repeated(&self, size: u16, now: Instant) -> bool {
        self.refuted
            .is_some_and(|(refuted, until)| size >= refuted && now < until)
    }

    /// Takes in the answer to a probe.
    pub(crate) fn handle_answer(&mut self, id: u32, now: Instant) {
        if let Some(smaller) = self.smaller.iter().find(|probe| probe.id == id) {
            let size = smaller.size;
            return self.on_smaller(size, now);
        }
        let Some(flight) = self.flight.filter(|flight| flight.probe.id == id) else {
            return;
        };
        self.is_heard = true;
        // Of several copies the last may be the answered one, and hosts are busy now and then: it falls at once and rises
        // slowly.
        let took = now - flight.sent;
        self.round_trip = Some(match self.round_trip {
            Some(known) if known < took => known + (took - known) / 8,
            Some(_) | None => took,
        });
        let size = flight.probe.size;
        match self.state {
            State::Settled => {}
            State::Confirm => self.settle(now),
            State::Doubt => {
                self.refuted = Some((self.size, now + RAISE_INTERVAL));
                self.pass(size);
                self.settle(now);
            }
            State::Search { lost } => {
                self.pass(size);
                self.search(lost, now);
            }
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(flight) = &mut self.flight {
            if now < flight.expires {
                return;
            }
            if flight.tries < TRIES {
                flight.tries += 1;
                flight.expires = now + probe_timer(self.round_trip);
                self.sends.push_back(flight.probe);
                self.sends.extend(&self.smaller);
            } else {
                let flight = *flight;
                self.on_lost(&flight, now);
            }
        } else if self.raise_at.is_some_and(|at| now >= at) {
            self.raise_at = None;
            let lost = self.limits.top.saturating_add(1);
            self.ask(State::Search { lost }, self.limits.top, now);
        } else if self.confirm_at().is_some_and(|at| now >= at) {
            self.confirm(now);
        }
    }

    /// Returns the next probe to send.
    pub(crate) fn poll_probe(&mut self) -> Option<Probe> {
        self.sends.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.flight {
            Some(flight) => Some(flight.expires),
            None => self.raise_at.into_iter().chain(self.confirm_at()).min(),
        }
    }

    /// Returns when the size in force is to be confirmed; `None` while nobody depends on it or something else is asked.
    fn confirm_at(&self) -> Option<Instant> {
        let until = self.busy_until.filter(|_| self.state == State::Settled)?;
        let at = self.confirm_after.unwrap_or(until - BUSY_INTERVAL);
        (at < until && self.size >= PROBE_MIN).then_some(at)
    }

    fn confirm(&mut self, now: Instant) {
        self.ask(State::Confirm, self.size, now);
        let sizes = PLATEAUS.into_iter().chain([self.floor()]);
        let sizes = sizes.filter(|size| (self.floor()..self.size).contains(size));
        let first = self.next_id;
        let ids = (0..TOO_MANY).map(|number| first.wrapping_add(number));
        self.smaller = sizes.zip(ids).map(Probe::new).collect();
        self.next_id = self.next_id.wrapping_add(TOO_MANY);
        if self.round_trip.is_none() {
            self.sends.extend(&self.smaller);
        }
    }

    /// Takes in that a smaller size passed. The one in doubt left no later, and gets a little more time.
    fn on_smaller(&mut self, size: u16, now: Instant) {
        let Some(flight) = self
            .flight
            .as_mut()
            .filter(|flight| flight.passed < Some(size))
        else {
            return;
        };
        self.is_heard = true;
        flight.passed = Some(size);
        let round_trip = *self.round_trip.get_or_insert(now - flight.sent);
        let grace = if flight.tries < TRIES {
            probe_timer(Some(round_trip))
        } else {
            PROBE_TIMER_MIN
        };
        flight.expires = flight.expires.min(now + grace).max(now + PROBE_TIMER_MIN);
    }

    /// Decides what a probe that was lost for good tells.
    fn on_lost(&mut self, flight: &Flight, now: Instant) {
        let size = flight.probe.size;
        match (self.state, flight.passed) {
            (State::Settled, _) => {}
            (State::Confirm, Some(passed)) => {
                self.pass(passed);
                let lost = size.saturating_add(1);
                self.ask(State::Search { lost }, size, now);
            }
            // Perhaps the way has become longer, or all copies met one gap.
            (State::Confirm, None) if self.round_trip.take().is_some() => {
                self.sends.push_back(flight.probe);
                self.sends.extend(&self.smaller);
                self.flight = Some(Flight {
                    expires: now + PROBE_TIMER,
                    ..*flight
                });
            }
            // Nobody answers at all: that tells nothing about sizes.
            (State::Confirm, None) => {
                self.settle(now);
                let pause = if self.is_heard {
                    PROBE_TIMER
                } else {
                    SILENCE_INTERVAL
                };
                self.confirm_after = Some(now + pause);
            }
            (State::Doubt, _) => self.settle(now),
            (State::Search { .. }, _) if !self.is_heard => self.forget(now),
            (State::Search { .. }, _) => self.search(size, now),
        }
    }

    /// Takes the hint of an error about a probe that is larger than what is in force: no more than `size` passes.
    fn narrow(&mut self, size: u16, now: Instant) {
        if let State::Search { lost } = self.state
            && size.saturating_add(1) < lost
        {
            if size > self.size {
                self.ask(State::Search { lost: size + 1 }, size, now);
            } else {
                self.search(size + 1, now);
            }
        }
    }

    /// Asks for a size between the one in force and `lost`, or ends the search.
    fn search(&mut self, lost: u16, now: Instant) {
        let middle = self.size + lost.saturating_sub(self.size) / 2;
        // Between what is known to pass and what is not, one step is not worth a probe.
        if lost.saturating_sub(self.size) <= STEP || middle <= self.size {
            return self.settle(now);
        }
        self.ask(State::Search { lost }, middle, now);
    }

    /// Puts a size in force that passed.
    fn pass(&mut self, size: u16) {
        self.size = size.min(self.limits.top);
        self.source = (self.size < self.limits.top).then_some(Source::Probe);
    }

    /// Goes back to the top where no error can be checked by an answer.
    fn forget(&mut self, now: Instant) {
        self.size = self.limits.top;
        self.source = None;
        self.settle(now);
    }

    fn ask(&mut self, state: State, size: u16, now: Instant) {
        let probe = Probe {
            id: self.next_id,
            size,
        };
        self.next_id = self.next_id.wrapping_add(1);
        self.flight = Some(Flight {
            probe,
            sent: now,
            tries: 1,
            passed: None,
            expires: now + probe_timer(self.round_trip),
        });
        self.state = state;
        self.smaller.clear();
        self.sends = VecDeque::from([probe]);
    }

    fn settle(&mut self, now: Instant) {
        (self.state, self.flight) = (State::Settled, None);
        self.smaller.clear();
        self.sends.clear();
        self.confirm_after = Some(now + self.pace);
        let raise_at = self.raise_at.unwrap_or(now + RAISE_INTERVAL);
        self.raise_at = self.source.map(|_| raise_at);
    }

    /// Never above the top, which a configuration may set as low as it likes.
    fn floor(&self) -> u16 {
        self.limits.floor.max(PROBE_MIN).min(self.limits.top)
    }
}

/// Returns the time for an answer, by the round trip where it is known (RFC 8899 section 5.1.1).
fn probe_timer(round_trip: Option<Duration>) -> Duration {
    round_trip.map_or(PROBE_TIMER, |took| {
        (took * 2).clamp(PROBE_TIMER_MIN, PROBE_TIMER)
    })
}

/// Time for an answer (RFC 8899 section 5.1.1).
pub(crate) const PROBE_TIMER: Duration = Duration::from_secs(1);
/// The same where the round trip is short: a host answers as soon as it gets the processor.
pub(crate) const PROBE_TIMER_MIN: Duration = Duration::from_millis(50);
/// Probes of one size before it counts as lost (RFC 8899 section 5.1.2).
pub(crate) const TRIES: u8 = 3;
/// Time between two confirmations while long packets flow. With [`TRIES`] of [`PROBE_TIMER_MIN`] it ends well before the
/// second retransmission of a TCP that waits 200 ms, and then 400 ms, also on a busy host.
pub(crate) const CONFIRM_INTERVAL: Duration = Duration::from_millis(150);
/// How long packets are taken to flow after the last was told of: more than the time between two such notices.
pub(crate) const BUSY_INTERVAL: Duration = Duration::from_secs(2);
/// Time before a far end that never answered is asked again.
pub(crate) const SILENCE_INTERVAL: Duration = Duration::from_secs(60);
/// Sizes asked when the one in force is in doubt: of jumbo frames, of paths behind one and more tunnels, and less (after
/// RFC 1191 section 7.1).
pub(crate) const PLATEAUS: [u16; 7] = [8000, 4000, 1400, 1320, BASE_SIZE, 1000, 800];
/// More probes than are under way at one time.
const TOO_MANY: u32 = 16;
/// Time before a larger size is tried (RFC 1191 section 6.3, RFC 8899 section 5.1.1).
pub(crate) const RAISE_INTERVAL: Duration = Duration::from_secs(600);
/// Exactness of the search in bytes.
pub(crate) const STEP: u16 = 8;

#[cfg(test)]
#[path = "prober/tests.rs"]
mod tests;
