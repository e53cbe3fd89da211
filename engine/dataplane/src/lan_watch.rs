//! Asks the LANs for what this router answers for there, as long as it does: whoever else answers is one too many.
//!
//! Every [`PACE`] one question per LAN, in turn for the virtual address and for the next of the others. The answers to a
//! question are counted by MAC until the next one: two that share a MAC are known by their number. A router does not hear
//! itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::fib::AddressSet;
use crate::ids::PortId;
use crate::notice::Mac;
use crate::snapshot::LanPort;

/// Time between two questions to a LAN, and for the answers to one.
pub const PACE: Duration = Duration::from_millis(500);
/// Most MACs whose answers to one question are counted.
pub const MAC_LIMIT: usize = 8;

/// Asks in turn, and counts.
#[derive(Debug, Default)]
pub struct LanWatch {
    lans: BTreeMap<PortId, Turn>,
    due: Option<Instant>,
}

/// Where the round on one LAN is.
#[derive(Debug, Default)]
struct Turn {
    question: Option<Question>,
    /// The last that was asked for, except for the virtual address.
    last: Option<Ipv4Addr>,
    /// The virtual address was asked for last.
    virtual_done: bool,
}

/// A question with what it brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who was asked for.
    pub address: Ipv4Addr,
    /// How often, while its answers were counted: others of this router ask too.
    pub asked: u16,
    /// Number of answers by MAC.
    pub answers: BTreeMap<Mac, u16>,
}

impl LanWatch {
    /// Watches these LANs: those with an open gate.
    pub fn follow<'a>(&mut self, lans: impl Iterator<Item = &'a LanPort>, now: Instant) {
        let mut former = std::mem::take(&mut self.lans);
        let watched = lans.filter(|lan| lan.gate_open && lan.listed().next().is_some());
        self.lans = watched
            .map(|lan| (lan.id, former.remove(&lan.id).unwrap_or_default()))
            .collect();
        self.due = match self.due {
            _ if self.lans.is_empty() => None,
            None => Some(now + PACE),
            due => due,
        };
    }

    /// Tells whether it is time for the next questions; then [`Self::end`] and [`Self::begin`] follow for each LAN.
    pub fn poll_turn(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = Some(now + PACE);
        }
        is_due
    }

    /// Returns when [`Self::poll_turn`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Ends the question to a LAN, and returns what it brought.
    pub fn end(&mut self, port: PortId) -> Option<Question> {
        self.lans.get_mut(&port)?.question.take()
    }

    /// Begins the next question to a LAN, and returns whom to ask for.
    pub fn begin(&mut self, lan: &LanPort) -> Option<Ipv4Addr> {
        let turn = self.lans.get_mut(&lan.id)?;
        let next = turn.next_answer(&lan.answers);
        let virtual_next = lan
            .virtual_address
            .filter(|_| !turn.virtual_done || next.is_none());
        turn.virtual_done = virtual_next.is_some();
        if virtual_next.is_none() {
            turn.last = next;
        }
        let address = virtual_next.or(next)?;
        turn.question = Some(Question {
            address,
            asked: 0,
            answers: BTreeMap::new(),
        });
        Some(address)
    }

    /// Notes that a LAN was asked for an address.
    pub fn note_question(&mut self, port: PortId, address: Ipv4Addr) {
        if let Some(question) = self.question(port, address) {
            question.asked = question.asked.saturating_add(1);
        }
    }

    /// Notes that somebody answered this router.
    pub fn note_answer(&mut self, port: PortId, address: Ipv4Addr, mac: Mac) {
        if let Some(question) = self.question(port, address)
            && (question.answers.len() < MAC_LIMIT || question.answers.contains_key(&mac))
        {
            let count = question.answers.entry(mac).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn question(&mut self, port: PortId, address: Ipv4Addr) -> Option<&mut Question> {
        let question = self.lans.get_mut(&port)?.question.as_mut();
        question.filter(|question| question.address == address)
    }
}

impl Turn {
    /// The next of the addresses after the last one, from the first again after all.
    fn next_answer(&self, answers: &AddressSet) -> Option<Ipv4Addr> {
        let next = self.last.and_then(|last| answers.after(last));
        next.or_else(|| answers.iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::start;

    const PORT: PortId = PortId(1);
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];

    #[test]
    fn the_virtual_address_and_the_others_are_asked_for_in_turn() {
        let (mut watch, lan) = (LanWatch::default(), lan(&[10, 11, 12], Some(254)));
        watch.follow([&lan].into_iter(), start());
        let asked: Vec<u8> = (0..9).filter_map(|_| watch.begin(&lan)).map(last).collect();
        assert_eq!(asked, [254, 10, 254, 11, 254, 12, 254, 10, 254]);
    }

    #[test]
    fn one_sort_of_addresses_alone_gets_every_turn() {
        for (answers, address, expected) in [
            (&[10, 11][..], None, [10, 11, 10]),
            (&[], Some(254), [254; 3]),
        ] {
            let (mut watch, lan) = (LanWatch::default(), lan(answers, address));
            watch.follow([&lan].into_iter(), start());
            let asked: Vec<u8> = (0..3).filter_map(|_| watch.begin(&lan)).map(last).collect();
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn it_asks_at_its_pace_and_behind_an_open_gate_only() {
        let (mut watch, mut lan, now) = (LanWatch::default(), lan(&[10], None), start());
        watch.follow([&lan].into_iter(), now);
        assert_eq!(watch.poll_timeout(), Some(now + PACE));
        assert!(!watch.poll_turn(now));
        assert!(watch.poll_turn(now + PACE));
        assert!(!watch.poll_turn(now + PACE));
        watch.follow([&lan].into_iter(), now + PACE);
        assert_eq!(
            watch.poll_timeout(),
            Some(now + 2 * PACE),
            "the rhythm stays"
        );

        lan.gate_open = false;
        watch.follow([&lan].into_iter(), now + PACE);
        assert_eq!((watch.poll_timeout(), watch.begin(&lan)), (None, None));
    }

    #[test]
    fn answers_are_counted_by_question_and_mac_and_are_bounded() {
        let (mut watch, lan) = (LanWatch::default(), lan(&[10], None));
        watch.follow([&lan].into_iter(), start());
        let address = watch.begin(&lan).unwrap();
        watch.note_question(PORT, address);
        for _ in 0..2 {
            watch.note_answer(PORT, address, OTHER);
        }
        watch.note_answer(PORT, Ipv4Addr::LOCALHOST, OTHER);
        for last in 0..100 {
            watch.note_answer(PORT, address, [4, 0, 0, 0, 0, last]);
        }

        let question = watch.end(PORT).unwrap();
        assert_eq!((question.asked, question.answers[&OTHER]), (1, 2));
        assert_eq!(question.answers.len(), MAC_LIMIT);
        watch.note_answer(PORT, address, OTHER);
        assert_eq!(watch.end(PORT), None, "late");
    }

    fn lan(answers: &[u8], virtual_address: Option<u8>) -> LanPort {
        let address = |last| Ipv4Addr::new(10, 77, 60, last);
        LanPort {
            id: PORT,
            name: "lan0".to_owned(),
            interface: 2,
            mac: [2, 0, 0, 0, 0, 1],
            address: Some(address(1)),
            subnet: "10.77.60.0/24".parse().unwrap(),
            pools: Vec::new(),
            mtu: 1500,
            answers: answers.iter().copied().map(address).collect(),
            virtual_address: virtual_address.map(address),
            gate_open: true,
            gratuitous_arp: true,
            conflicts: 0,
            siblings: Vec::new(),
            beside: Vec::new(),
            discovers: false,
            asks: false,
        }
    }

    fn last(address: Ipv4Addr) -> u8 {
        address.octets()[3]
    }
}
