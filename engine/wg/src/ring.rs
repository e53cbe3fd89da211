//! The sessions of one peer: previous, current, next, as in the kernel's implementation.
//!
//! *Current* seals. *Previous* opens what was under way when current replaced it. *Next* is the answer to the peer's
//! initiation: it opens, and becomes current when the first packet on it proves that the peer has it too.

use std::time::{Duration, Instant};

use crate::indices::Indices;
use crate::session::Session;

/// Up to three sessions.
#[derive(Default)]
pub(crate) struct Ring {
    current: Option<Session>,
    previous: Option<Session>,
    next: Option<Session>,
}

impl Ring {
    /// Returns the session that seals.
    pub(crate) fn current(&mut self) -> Option<&mut Session> {
        self.current.as_mut()
    }

    /// Whether something can be sealed.
    pub(crate) fn can_seal(&self) -> bool {
        self.current.is_some()
    }

    /// Returns when the session was offered that waits for its first packet.
    pub(crate) fn next_born(&self) -> Option<Instant> {
        self.next.as_ref().map(Session::born)
    }

    /// Returns the session with this local index.
    pub(crate) fn find(&mut self, local_index: u32) -> Option<&mut Session> {
        [&mut self.current, &mut self.next, &mut self.previous]
            .into_iter()
            .flatten()
            .find(|session| session.local_index() == local_index)
    }

    /// Whether `local_index` belongs to the session that waits for its first packet.
    pub(crate) fn is_next(&self, local_index: u32) -> bool {
        self.next
            .as_ref()
            .is_some_and(|next| next.local_index() == local_index)
    }

    /// Installs a session that we initiated: it is current at once.
    pub(crate) fn install(&mut self, session: Session, indices: &mut Indices) {
        retire(self.previous.take(), indices);
        self.previous = self.current.replace(session);
    }

    /// Installs a session that the peer initiated.
    pub(crate) fn install_next(&mut self, mut session: Session, indices: &mut Indices) {
        let used = self.current.as_ref().filter(|current| current.heard());
        session.set_asked_over(used.map(Session::local_index));
        retire(self.next.replace(session), indices);
    }

    /// Takes the session that waits for its first packet out of the ring, with its index still reserved.
    pub(crate) fn take_next(&mut self) -> Option<Session> {
        self.next.take()
    }

    /// Lets next become current, for the peer has used it; false if current stays.
    ///
    /// When both peers initiate at once, two sessions come to life, and each side would prefer the one that it heard
    /// of last: they would use different ones, and nobody would be the initiator of the one that he uses, so both
    /// would start over at its end. Both therefore decide by what both know:
    /// 1. the session that is clearly younger, or was asked for by a peer that had used the other one;
    /// 2. of two that are about equally old, the one initiated by the side for which `wins_ties` is true.
    pub(crate) fn confirm(&mut self, wins_ties: bool, indices: &mut Indices) -> bool {
        let Some(next) = self.next.take() else {
            return false;
        };
        retire(self.previous.take(), indices);
        let stays = |current: &Session| {
            let clearly_younger = current.born() > next.born() + CLEARLY;
            let clearly_older = next.born() > current.born() + CLEARLY
                || next.asked_over() == Some(current.local_index());
            clearly_younger
                || (!clearly_older && current.initiator() && (wins_ties || current.heard()))
        };
        if self.current.as_ref().is_some_and(stays) {
            self.previous = Some(next);
            return false;
        }
        self.previous = self.current.replace(next);
        true
    }

    /// Returns to previous, which the peer uses (`local_index`), although it lost a tie against current:
    /// 1. on the side that wins ties, when the peer, long after that, has never used current. It restarted, and current
    ///    died with its memory;
    /// 2. on the other side at once, for only so can the peer have come to use what we initiated.
    pub(crate) fn reconsider(&mut self, local_index: u32, wins_ties: bool, now: Instant) {
        let (Some(current), Some(previous)) = (&self.current, &self.previous) else {
            return;
        };
        let (older, younger) = (
            current.born().min(previous.born()),
            current.born().max(previous.born()),
        );
        let was_tie = younger < older + CLEARLY && current.initiator() != previous.initiator();
        let peer_returned = if wins_ties {
            current.initiator() && !current.heard() && now > younger + CLEARLY
        } else {
            previous.initiator()
        };
        if was_tie && peer_returned && previous.local_index() == local_index {
            std::mem::swap(&mut self.current, &mut self.previous);
        }
    }

    /// Forgets what is too old; returns current if it is among it.
    pub(crate) fn expire(&mut self, now: Instant, indices: &mut Indices) -> Option<Expired> {
        for slot in [&mut self.previous, &mut self.next] {
            if slot.as_ref().is_some_and(|session| !session.alive(now)) {
                retire(slot.take(), indices);
            }
        }
        let expired = self.current.take_if(|session| !session.alive(now))?;
        let initiator = expired.initiator();
        retire(Some(expired), indices);
        Some(Expired { initiator })
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, indices: &mut Indices) {
        for slot in [&mut self.previous, &mut self.current, &mut self.next] {
            retire(slot.take(), indices);
        }
    }

    /// Returns when the next session expires.
    pub(crate) fn expires(&self) -> Option<Instant> {
        [&self.previous, &self.current, &self.next]
            .into_iter()
            .flatten()
            .map(Session::expires)
            .min()
    }
}

/// What is to be known of an expired current session.
#[derive(Debug)]
pub(crate) struct Expired {
    /// Whether we had initiated it.
    pub(crate) initiator: bool,
}

/// Difference in age from which on both sides see the same session as the younger one, whatever the delay between
/// them. Initiations repeat after 5 s and a bit, so differences about that long are frequent; half of it
/// is far from them and from the delay of most paths.
const CLEARLY: Duration = Duration::from_millis(2500);

fn retire(session: Option<Session>, indices: &mut Indices) {
    if let Some(session) = session {
        indices.release(session.local_index());
    }
}
