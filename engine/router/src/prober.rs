//! Datagram packetization layer path MTU discovery (RFC 8899, with RFC 4821 and RFC 1191) for one tunnel.
//!
//! Sizes are those of inner packets. The size that the underlay promises is believed until something speaks against it,
//! and an idle tunnel is left alone: only long packets ([`Prober::handle_traffic`]) start a confirmation.
//!
//! ```text
//!              long packets            lost 3 times           lost 3 times
//!   Settled ───────────────► Confirm ───────────────► Base ───────────────► Floor ──► Settled, nothing learnt:
//!      ▲ ▲       answered │     ▲  after 10 min          │ answered          │         nobody answers
//!      │ └────────────────┘     └─ Settled below the top │                   │ answered
//!      │                                                 ▼                   ▼
//!      └───── the size is found ───────────────────── Search ◄───────────────┘
//! ```
//! An ICMP error lowers the size at once (to [`Limits::floor`] at least). As anybody on the path can forge one, the
//! former size is tried once more ([`State::Doubt`]); an answer restores it. The size rises only by answers, and where
//! nobody ever answered, by forgetting the error after 10 minutes (RFC 1191 section 6.3).

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
    /// Whether a copy of it is to be sent.
    send: bool,
    next_id: u32,
    /// When long packets start a confirmation again.
    confirm_after: Option<Instant>,
    /// When a larger size is tried.
    raise_at: Option<Instant>,
    /// Which size an error named that was found to be wrong, and until when it is believed if it comes again.
    refuted: Option<(u16, Instant)>,
    /// Whether the far end ever answered.
    is_heard: bool,
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
    /// Does the base pass, when `lost` does not?
    Base { lost: u16 },
    /// Does the floor pass, when not even the base does?
    Floor { lost: u16 },
    /// How much passes, above the size in force and below `lost`?
    Search { lost: u16 },
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    probe: Probe,
    /// Copies sent.
    tries: u8,
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
            send: false,
            next_id: seed,
            confirm_after: None,
            raise_at: None,
            refuted: None,
            is_heard: false,
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

    /// Takes in that long packets go into the tunnel.
    pub(crate) fn handle_traffic(&mut self, now: Instant) {
        let is_due = self.confirm_after.is_none_or(|at| now >= at);
        if is_due && self.state == State::Settled && self.size >= PROBE_MIN {
            self.ask(State::Confirm, self.size, now);
        }
    }

    /// Takes in that the underlay refused a packet because only an inner one of `size` bytes fits; `None`: it did not
    /// say.
    pub(crate) fn handle_error(&mut self, size: Option<u16>, now: Instant) {
        let Some(size) = size else {
            self.confirm_after = None;
            return self.handle_traffic(now);
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
        let Some(flight) = self.flight.filter(|flight| flight.probe.id == id) else {
            return;
        };
        self.is_heard = true;
        let size = flight.probe.size;
        match self.state {
            State::Settled => {}
            State::Confirm => self.settle(now),
            State::Doubt => {
                self.refuted = Some((self.size, now + RAISE_INTERVAL));
                self.pass(size);
                self.settle(now);
            }
            State::Base { lost } | State::Floor { lost } | State::Search { lost } => {
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
                flight.expires = now + PROBE_TIMER;
                self.send = true;
            } else {
                let size = flight.probe.size;
                self.on_lost(size, now);
            }
        } else if self.raise_at.is_some_and(|at| now >= at) {
            self.raise_at = None;
            let lost = self.limits.top.saturating_add(1);
            self.ask(State::Search { lost }, self.limits.top, now);
        }
    }

    /// Returns the next probe to send.
    pub(crate) fn poll_probe(&mut self) -> Option<Probe> {
        let is_due = std::mem::take(&mut self.send);
        self.flight.filter(|_| is_due).map(|flight| flight.probe)
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self.flight {
            Some(flight) => Some(flight.expires),
            None => self.raise_at,
        }
    }

    /// Decides what a probe that was lost for good tells.
    fn on_lost(&mut self, size: u16, now: Instant) {
        match self.state {
            State::Settled => {}
            State::Confirm if size > self.base() => {
                self.ask(State::Base { lost: size }, self.base(), now);
            }
            State::Confirm | State::Base { .. } if size > self.floor() => {
                self.ask(State::Floor { lost: size }, self.floor(), now);
            }
            // Nobody answers at all: that tells nothing about sizes.
            State::Confirm | State::Base { .. } | State::Floor { .. } => {
                self.settle(now);
                self.confirm_after = Some(now + SILENCE_INTERVAL);
            }
            State::Doubt => self.settle(now),
            State::Search { .. } if !self.is_heard => self.forget(now),
            State::Search { .. } => self.search(size, now),
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
            tries: 1,
            expires: now + PROBE_TIMER,
        });
        (self.state, self.send) = (state, true);
    }

    fn settle(&mut self, now: Instant) {
        (self.state, self.flight, self.send) = (State::Settled, None, false);
        self.confirm_after = Some(now + CONFIRM_INTERVAL);
        let raise_at = self.raise_at.unwrap_or(now + RAISE_INTERVAL);
        self.raise_at = self.source.map(|_| raise_at);
    }

    fn base(&self) -> u16 {
        BASE_SIZE.min(self.limits.top)
    }

    /// Never above the top, which a configuration may set as low as it likes.
    fn floor(&self) -> u16 {
        self.limits.floor.max(PROBE_MIN).min(self.limits.top)
    }
}

/// Time for an answer (RFC 8899 section 5.1.1).
pub(crate) const PROBE_TIMER: Duration = Duration::from_secs(1);
/// Probes of one size before it counts as lost (RFC 8899 section 5.1.2).
pub(crate) const TRIES: u8 = 3;
/// Time between two confirmations while long packets flow.
pub(crate) const CONFIRM_INTERVAL: Duration = Duration::from_secs(5);
/// Time before a far end that does not answer is asked again.
pub(crate) const SILENCE_INTERVAL: Duration = Duration::from_secs(60);
/// Time before a larger size is tried (RFC 1191 section 6.3, RFC 8899 section 5.1.1).
pub(crate) const RAISE_INTERVAL: Duration = Duration::from_secs(600);
/// Exactness of the search in bytes.
pub(crate) const STEP: u16 = 8;

#[cfg(test)]
#[path = "prober/tests.rs"]
mod tests;
