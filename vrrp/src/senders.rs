//! Whoever advertises our virtual router: whether several do as masters at the same time, and who does that is not known
//! as one of ours.
//!
//! A change of masters is heard as one after the other, perhaps with a packet that was under way. Two at once are heard in
//! turn, again and again. Ours carry each advertisement another way too ([`crate::Instance::handle_copy`]); who never does
//! is of another make, or is somebody who wants the role.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Most senders that are remembered.
const LIMIT: usize = 16;
/// For how long one that is silent is.
const MEMORY: Duration = Duration::from_secs(60);
/// Advertisements of a sender in a row, each after one of another, before both are masters at once.
const IN_TURN: u8 = 2;
/// Within how many of its intervals a sender has to be heard again.
const PATIENCE: u32 = 4;
/// Advertisements without a copy before a sender is not known.
const UNCOPIED: u8 = 5;

/// Two other masters at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rivals {
    /// Their addresses, sorted.
    pub addresses: [Ipv4Addr; 2],
    /// How many times it began.
    pub times: u64,
    /// When it was noticed last.
    pub at: Instant,
}

/// Remembers who advertised.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    known: BTreeMap<Ipv4Addr, Sender>,
    /// Who advertised last.
    last: Option<Ipv4Addr>,
    /// Who advertised though others are named that may, and when.
    refused: BTreeMap<Ipv4Addr, Instant>,
    rivals: Option<Rivals>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    heard: Instant,
    /// Its last advertisements in a row that came after one of another sender.
    in_turn: u8,
    /// Advertisements, as far as they matter.
    count: u8,
    copied: bool,
}

impl Senders {
    /// Takes in an advertisement of a master.
    pub(crate) fn on_advertisement(&mut self, from: Ipv4Addr, interval: Duration, now: Instant) {
        let other = self.last.replace(from).filter(|last| *last != from);
        let Some(sender) = self.sender(from, now) else {
            return;
        };
        let again = now < sender.heard + interval * PATIENCE;
        let in_turn = sender.count > 0 && again && other.is_some();
        sender.in_turn = if in_turn {
            sender.in_turn.saturating_add(1)
        } else {
            0
        };
        sender.count = sender.count.saturating_add(1);
        sender.heard = now;
        let other = other.filter(|_| sender.in_turn >= IN_TURN);
        if let Some(other) = other {
            let addresses = [from.min(other), from.max(other)];
            let former = self.rivals;
            let goes_on = former.is_some_and(|rivals| now < rivals.at + interval * PATIENCE);
            let times = former.map_or(0, |rivals| rivals.times) + u64::from(!goes_on);
            let at = now;
            self.rivals = Some(Rivals {
                addresses,
                times,
                at,
            });
        }
    }

    /// Takes in that an advertisement came as a copy: its sender is one of ours.
    pub(crate) fn on_copy(&mut self, from: Ipv4Addr, now: Instant) {
        if let Some(sender) = self.sender(from, now) {
            sender.copied = true;
        }
    }

    /// Takes in an advertisement of somebody who may not take part.
    pub(crate) fn on_refused(&mut self, from: Ipv4Addr, now: Instant) {
        self.forget(now);
        if self.refused.len() < LIMIT || self.refused.contains_key(&from) {
            self.refused.insert(from, now);
        }
    }

    /// Lists those who may not take part.
    pub(crate) fn refused(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.refused.keys().copied()
    }

    /// Forgets whoever was silent for long.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.refused.retain(|_, heard| now < *heard + MEMORY);
        self.known.retain(|_, sender| now < sender.heard + MEMORY);
    }

    /// The last time that two others were masters at once.
    pub(crate) fn rivals(&self) -> Option<Rivals> {
        self.rivals
    }

    /// Tells whether a sender has been heard often enough to know that it is none of ours.
    pub(crate) fn is_stranger(&self, address: Ipv4Addr) -> bool {
        self.known.get(&address).is_some_and(Sender::is_stranger)
    }

    /// Lists the senders that are none of ours.
    pub(crate) fn strangers(&self) -> impl Iterator<Item = Ipv4Addr> {
        let strangers = self.known.iter().filter(|(_, sender)| sender.is_stranger());
        strangers.map(|(address, _)| *address)
    }

    fn sender(&mut self, from: Ipv4Addr, now: Instant) -> Option<&mut Sender> {
        self.forget(now);
        let fits = self.known.len() < LIMIT || self.known.contains_key(&from);
        fits.then(|| {
            self.known.entry(from).or_insert(Sender {
                heard: now,
                in_turn: 0,
                count: 0,
                copied: false,
            })
        })
    }
}

impl Sender {
    fn is_stranger(&self) -> bool {
        !self.copied && self.count >= UNCOPIED
    }
}
