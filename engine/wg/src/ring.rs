//! The sessions of one peer: previous, current, next, as in the kernel's implementation.
//!
//! *Current* seals. *Previous* opens what was under way when current replaced it. *Next* is the answer to the peer's
//! initiation: it opens, and becomes current when the first packet on it proves that the peer has it too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::indices::Indices;
use crate::session::Session;

/// Up to three sessions.
#[derive(Default)]
pub(crate) struct Ring {
    current: Option<Arc<Session>>,
    previous: Option<Arc<Session>>,
    next: Option<Arc<Session>>,
}

impl Ring {
    /// Returns the session that seals.
    pub(crate) fn current(&self) -> Option<&Arc<Session>> {
        self.current.as_ref()
    }

    /// Whether something can be sealed.
    pub(crate) fn can_seal(&self) -> bool {
        self.current.is_some()
    }

    /// Returns when the session was offered that waits for its first packet.
    pub(crate) fn next_born(&self) -> Option<Instant> {
        self.next.as_ref().map(|next| next.born())
    }

    /// Returns the sessions that open but do not seal, and whether their use means something: that next is to become
    /// current, or that previous may have to return, see [`Self::reconsider`].
    pub(crate) fn others(&self, wins_ties: bool) -> [Option<(&Arc<Session>, bool)>; 2] {
        let contested = self.tie().is_some_and(|tie| {
            if wins_ties {
                tie.current.initiator()
            } else {
                tie.previous.initiator()
            }
        });
        [
            self.previous.as_ref().map(|previous| (previous, contested)),
            self.next.as_ref().map(|next| (next, true)),
        ]
    }

    /// Whether there is a session with this local index.
    pub(crate) fn contains(&self, local_index: u32) -> bool {
        [&self.current, &self.next, &self.previous]
            .into_iter()
            .flatten()
            .any(|session| session.local_index() == local_index)
    }

    /// Returns the local index of the session that waits for its first packet, if a worker has opened that packet.
    pub(crate) fn heard_next(&self) -> Option<u32> {
        let next = self.next.as_ref().filter(|next| next.heard())?;
        Some(next.local_index())
    }

    /// Installs a session that we initiated: it is current at once.
    pub(crate) fn install(&mut self, session: Session, indices: &mut Indices) {
        retire(self.previous.take(), indices);
        self.previous = self.current.replace(Arc::new(session));
    }

    /// Installs a session that the peer initiated.
    pub(crate) fn install_next(&mut self, session: Session, indices: &mut Indices) {
        retire(self.next.replace(Arc::new(session)), indices);
    }

    /// Returns the local index of the session that the peer has used, if it uses one that seals.
    pub(crate) fn used(&self) -> Option<u32> {
        let used = self.current.as_ref().filter(|current| current.heard());
        used.map(|current| current.local_index())
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
        let stays = |current: &Arc<Session>| {
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
        let Some(tie) = self.tie() else {
            return;
        };
        let peer_returned = if wins_ties {
            tie.current.initiator() && !tie.current.heard() && now > tie.decided + CLEARLY
        } else {
            tie.previous.initiator()
        };
        if peer_returned && tie.previous.local_index() == local_index {
            std::mem::swap(&mut self.current, &mut self.previous);
        }
    }

    /// Returns current and previous if they look like two sessions that came to life because both peers initiated.
    fn tie(&self) -> Option<Tie<'_>> {
        let (current, previous) = (self.current.as_ref()?, self.previous.as_ref()?);
        let (older, younger) = (
            current.born().min(previous.born()),
            current.born().max(previous.born()),
        );
        let is_tie = younger < older + CLEARLY && current.initiator() != previous.initiator();
        is_tie.then_some(Tie {
            current,
            previous,
            decided: younger,
        })
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
            .map(|session| session.expires())
            .min()
    }
}

/// Two sessions about equally old, each initiated by another side.
struct Tie<'a> {
    current: &'a Session,
    previous: &'a Session,
    decided: Instant,
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

fn retire(session: Option<Arc<Session>>, indices: &mut Indices) {
    if let Some(session) = session {
        indices.release(session.local_index());
    }
}
