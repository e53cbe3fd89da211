//! Hosts that were heard and have no home yet: each is asked for its address, at its MAC alone.
//!
//! Anybody can say anything in anybody's name; only who is reached at its MAC answers there.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_dataplane::notice::Mac;

use super::Question;
use super::pace::Pace;

/// Most hosts that wait for a home, of those heard in one way.
pub(super) const NEWCOMERS: usize = 128;
/// Questions to them per second.
pub(super) const QUESTIONS: u32 = 25;
/// Within which a host has to answer.
const WINDOW: Duration = Duration::from_secs(5);
/// Time between two questions to it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Hosts that were heard in one way.
#[derive(Debug)]
pub(super) struct Newcomers {
    hosts: BTreeMap<(Ipv4Addr, Mac), Newcomer>,
    questions: Pace,
}

/// A host without a home.
#[derive(Debug)]
struct Newcomer {
    first: Instant,
    /// When to ask it again.
    ask: Instant,
    /// Whether it was asked.
    asked: bool,
}

impl Newcomers {
    pub(super) fn new() -> Self {
        Self {
            hosts: BTreeMap::new(),
            questions: Pace::new(QUESTIONS),
        }
    }

    /// Takes in a host that was heard; tells whether there was room.
    pub(super) fn admit(&mut self, address: Ipv4Addr, mac: Mac, now: Instant) -> bool {
        if !self.hosts.contains_key(&(address, mac)) && self.hosts.len() >= NEWCOMERS {
            return false;
        }
        let (first, ask, asked) = (now, now, false);
        let host = self.hosts.entry((address, mac));
        host.or_insert(Newcomer { first, ask, asked });
        true
    }

    /// Gives a host away; tells whether it was asked.
    pub(super) fn take(&mut self, address: Ipv4Addr, mac: Mac) -> bool {
        let host = self.hosts.remove(&(address, mac));
        host.is_some_and(|host| host.asked)
    }

    /// Tells whether a host waits for its home.
    pub(super) fn contains(&self, address: Ipv4Addr, mac: Mac) -> bool {
        self.hosts.contains_key(&(address, mac))
    }

    /// How many addresses a MAC waits for.
    pub(super) fn of(&self, mac: Mac) -> usize {
        self.hosts.keys().filter(|(_, of)| *of == mac).count()
    }

    /// Asks those whose turn it is, and gives up those who do not answer.
    pub(super) fn turn(&mut self, questions: &mut VecDeque<Question>, now: Instant) {
        self.hosts.retain(|_, host| now < host.first + WINDOW);
        let due = self.hosts.iter_mut().filter(|(_, host)| host.ask <= now);
        let mut due: Vec<_> = due.collect();
        // Who was not asked yet comes first, so that repeated questions keep nobody from being asked at all.
        due.sort_by_key(|(_, host)| (host.asked, host.first));
        for (&(address, mac), host) in due {
            let granted = self.questions.spend(now);
            host.asked |= granted;
            let wait = if granted {
                ASK_AGAIN
            } else {
                self.questions.tick()
            };
            host.ask = now + wait;
            if granted {
                let to = Some(mac);
                questions.push_back(Question { address, to });
            }
        }
    }

    /// When [`Self::turn`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let hosts = self.hosts.values();
        hosts.map(|host| host.ask.min(host.first + WINDOW)).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }
}
