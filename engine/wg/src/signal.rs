//! What a worker tells the device: bounded, and not once per packet.
//!
//! A worker speaks about a subject of a peer only after a pause (`traffic.rs`), and it speaks again as long as there is
//! cause. So nothing is lost for good when a queue is full, here or on the way to the device. The one cause that does not
//! come again, the only packet on a session offered, the device finds in the session itself.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::config::PeerIndex;
use crate::traffic::{Subject, Tick, Traffic};

/// What [`crate::DataPath`] found that only [`crate::Device`] can act on; for [`crate::Device::handle_signal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A packet found no session: one is needed now.
    SessionWanted {
        /// The peer.
        peer: PeerIndex,
    },
    /// The session in use has to be replaced soon, because of its age or of the number of its messages.
    SessionOld {
        /// The peer.
        peer: PeerIndex,
    },
    /// The peer used a session that is not the one in use here, for example a new one for the first time.
    SessionUsed {
        /// The peer.
        peer: PeerIndex,
        /// Local index of the session.
        session: u32,
    },
    /// The newest authenticated packet of a session came from another address than the peer's endpoint.
    PeerMoved {
        /// The peer.
        peer: PeerIndex,
        /// Local index of the session that authenticated the packet.
        session: u32,
        /// Where the packet came from.
        from: SocketAddr,
    },
    /// Data flows, so a deadline (keepalive, silence) has to be armed.
    DataFlows {
        /// The peer.
        peer: PeerIndex,
    },
}

impl Signal {
    /// Returns which peer it is about.
    #[must_use]
    pub fn peer(&self) -> PeerIndex {
        match self {
            Self::SessionWanted { peer }
            | Self::SessionOld { peer }
            | Self::SessionUsed { peer, .. }
            | Self::PeerMoved { peer, .. }
            | Self::DataFlows { peer } => *peer,
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Self::SessionWanted { .. } => Subject::Wanted,
            Self::SessionOld { .. } => Subject::Old,
            Self::SessionUsed { .. } => Subject::Used,
            Self::PeerMoved { .. } => Subject::Moved,
            Self::DataFlows { .. } => Subject::Look,
        }
    }
}

/// The signals of one worker that wait to be taken.
#[derive(Debug)]
pub(crate) struct Signals(VecDeque<Signal>);

impl Signals {
    /// Makes an empty queue; it never allocates again.
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(BOUND))
    }

    /// Queues `signal` about the peer with this traffic, unless it was said a moment ago or the queue is full; then the
    /// next packet with the same cause tries again. One about the same that still waits is replaced, and leaves it to
    /// other workers to speak in the meantime. True if it was queued.
    pub(crate) fn raise(&mut self, signal: Signal, traffic: &Traffic, now: Tick) -> bool {
        let (peer, subject) = (signal.peer(), signal.subject());
        if !traffic.wants_word(subject, now) {
            return false;
        }
        let mut waiting = self.0.iter_mut();
        if let Some(same) = waiting.find(|other| (other.peer(), other.subject()) == (peer, subject))
        {
            *same = signal;
            return false;
        }
        let speaks = self.0.len() < BOUND && traffic.take_word(subject, now);
        if speaks {
            self.0.push_back(signal);
        }
        speaks
    }

    /// Takes the next one.
    pub(crate) fn take(&mut self) -> Option<Signal> {
        self.0.pop_front()
    }
}

/// Signals that wait at most.
const BOUND: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_subject_is_raised_again_only_after_a_pause_or_when_the_device_listens() {
        let (t0, signal) = (start(), Signal::SessionOld { peer: PeerIndex(1) });
        let traffic = Traffic::new(t0);
        let at = |milliseconds| traffic.tick(t0 + Duration::from_millis(milliseconds));
        assert!(said(signal, &traffic, at(0)));
        assert!(!said(signal, &traffic, at(249)));
        assert!(said(signal, &traffic, at(250)));
        assert!(!said(signal, &traffic, at(250)));
        traffic.listen();
        assert!(said(signal, &traffic, at(250)));
        let other = Signal::SessionWanted { peer: PeerIndex(1) };
        assert!(said(other, &traffic, at(250)));
    }

    #[test]
    fn a_look_is_asked_for_when_none_is_planned() {
        let (t0, signal) = (start(), Signal::DataFlows { peer: PeerIndex(1) });
        let traffic = Traffic::new(t0);
        let at = |seconds| traffic.tick(t0 + Duration::from_secs(seconds));
        assert!(said(signal, &traffic, at(0)));
        assert!(!said(signal, &traffic, at(9)));
        assert!(said(signal, &traffic, at(10)), "the device did not look");
        traffic.plan(t0 + Duration::from_secs(12));
        assert!(!said(signal, &traffic, at(11)));
        traffic.listen();
        assert!(!said(signal, &traffic, at(11)));
        traffic.unplan();
        assert!(said(signal, &traffic, at(11)));
    }

    #[test]
    fn what_does_not_fit_is_raised_by_the_next_packet() {
        let (t0, mut signals) = (start(), Signals::new());
        let traffic = Traffic::new(t0);
        let now = traffic.tick(t0);
        for index in 0..64 {
            let signal = Signal::SessionOld {
                peer: PeerIndex(index),
            };
            assert!(signals.raise(signal, &Traffic::new(t0), now));
        }
        let signal = Signal::DataFlows {
            peer: PeerIndex(64),
        };
        assert!(!signals.raise(signal, &traffic, now));
        assert!(signals.take().is_some());
        assert!(signals.raise(signal, &traffic, now));
    }

    #[test]
    fn what_waits_keeps_its_word_and_leaves_the_next_one_to_other_workers() {
        let (t0, signal) = (start(), Signal::SessionOld { peer: PeerIndex(1) });
        let ([mut idle, mut other], traffic) =
            ([(), ()].map(|()| Signals::new()), Traffic::new(t0));
        let at = |milliseconds| traffic.tick(t0 + Duration::from_millis(milliseconds));
        assert!(idle.raise(signal, &traffic, at(0)));
        assert!(!idle.raise(signal, &traffic, at(250)), "it waits already");
        assert!(other.raise(signal, &traffic, at(250)));
        assert_eq!(idle.take(), Some(signal));
        assert_eq!(idle.take(), None);
        assert!(idle.raise(signal, &traffic, at(500)));
    }

    /// Whether a worker whose signals are taken at once speaks.
    fn said(signal: Signal, traffic: &Traffic, now: Tick) -> bool {
        let mut signals = Signals::new();
        signals.raise(signal, traffic, now) && signals.take() == Some(signal)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
