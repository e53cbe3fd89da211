//! What one neighbor still has to be told: destinations, never messages, so that however long it is slow it hears only the
//! latest state of each.
//!
//! News about what it knows goes first: a withdrawal or another path must not wait behind a table that is being sent.

use std::collections::VecDeque;

use super::destinations::Slot;
use crate::session::Marks;

/// Destinations that are written out at once, so that what a slow peer leaves unread stays bounded.
pub(super) const PART: usize = 8192;

/// What is to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Destinations that the neighbor knows.
    known: VecDeque<Slot>,
    /// Others.
    unknown: VecDeque<Slot>,
    /// A bit for each destination that is in one of the two.
    queued: Vec<u64>,
    /// All destinations.
    pub(crate) all: bool,
    /// Tell that the initial routes are complete (RFC 4724 section 2).
    pub(crate) end_of_rib: bool,
    /// Tell even what the peer knows (RFC 2918).
    repeat: bool,
    /// No part of that was taken yet.
    repeat_begins: bool,
    /// Begin with that when the initial routes are complete (RFC 7313 section 4).
    repeat_next: bool,
}

/// What is looked at next.
#[derive(Debug)]
pub(crate) struct Part {
    /// These destinations.
    pub(crate) slots: Vec<Slot>,
    /// As in [`Pending`].
    pub(crate) repeat: bool,
    /// What stands around what is told of them.
    pub(crate) marks: Marks,
}

impl Pending {
    /// All destinations, then End-of-RIB.
    pub(crate) fn everything() -> Self {
        Self {
            all: true,
            end_of_rib: true,
            ..Self::default()
        }
    }

    /// Tells whether there is nothing to do; End-of-RIB waits while `deferring`.
    pub(crate) fn is_empty(&self, deferring: bool) -> bool {
        let queues_are_empty = self.known.is_empty() && self.unknown.is_empty();
        queues_are_empty && !self.all && (deferring || !self.end_of_rib)
    }

    /// Has a destination looked at; `known` if the neighbor was told a path to it.
    pub(crate) fn push(&mut self, slot: Slot, known: bool) {
        let (word, bit) = (slot.index() / 64, 1 << (slot.index() % 64));
        if self.queued.len() <= word {
            self.queued.resize(word + 1, 0);
        }
        let queued = &mut self.queued[word];
        if *queued & bit != 0 {
            return;
        }
        *queued |= bit;
        let queue = if known {
            &mut self.known
        } else {
            &mut self.unknown
        };
        queue.push_back(slot);
    }

    /// Has all destinations told, even those that the neighbor knows.
    pub(crate) fn tell_again(&mut self) {
        if self.end_of_rib {
            self.repeat_next = true;
            return;
        }
        self.repeat_begins |= !self.repeat;
        (self.repeat, self.all) = (true, true);
    }

    /// Takes out what is looked at next; End-of-RIB comes with the last part, but not while `deferring`.
    pub(crate) fn take_part(&mut self, deferring: bool) -> Part {
        // A part of each part is for the rest of the table, or it might never leave.
        let reserved = self.unknown.len().min(PART / 4);
        let known = self.known.len().min(PART - reserved);
        let unknown = self.unknown.len().min(PART - known);
        let slots: Vec<Slot> = self
            .known
            .drain(..known)
            .chain(self.unknown.drain(..unknown))
            .collect();
        for slot in &slots {
            self.queued[slot.index() / 64] &= !(1 << (slot.index() % 64));
        }
        let last = self.known.is_empty() && self.unknown.is_empty();
        let marks = Marks {
            begin_refresh: std::mem::take(&mut self.repeat_begins),
            end_of_rib: last && self.end_of_rib && !deferring,
            end_refresh: last && self.repeat,
        };
        let repeat = self.repeat;
        self.repeat &= !last;
        self.end_of_rib &= !marks.end_of_rib;
        if !self.end_of_rib && std::mem::take(&mut self.repeat_next) {
            self.tell_again();
        }
        Part {
            slots,
            repeat,
            marks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rib::destinations::Destinations;
    use ipnet::Ipv4Net;

    #[test]
    fn each_destination_waits_once_and_known_ones_go_first() {
        let slots = slots(4);
        let mut pending = Pending::default();
        for (slot, known) in [(0, false), (1, false), (2, true), (1, true), (3, false)] {
            pending.push(slots[slot], known);
        }
        let part = pending.take_part(false);
        assert_eq!(part.slots, [slots[2], slots[0], slots[1], slots[3]]);
        pending.push(slots[1], false);
        assert_eq!(pending.take_part(false).slots, [slots[1]]);
        assert!(pending.is_empty(false));
    }

    #[test]
    fn end_of_rib_comes_with_the_last_part() {
        let mut pending = Pending {
            end_of_rib: true,
            ..Pending::default()
        };
        for slot in slots(PART + 1) {
            pending.push(slot, false);
        }
        let first = pending.take_part(false);
        assert_eq!((first.slots.len(), first.marks.end_of_rib), (PART, false));
        let last = pending.take_part(false);
        assert_eq!((last.slots.len(), last.marks.end_of_rib), (1, true));
        assert!(!last.repeat && pending.is_empty(false));
    }

    #[test]
    fn marks_stand_around_all_parts_of_a_refresh() {
        let mut pending = Pending::default();
        pending.tell_again();
        assert!(std::mem::take(&mut pending.all));
        for slot in slots(PART + 1) {
            pending.push(slot, true);
        }
        let (first, last) = (pending.take_part(false), pending.take_part(false));
        let around = |part: &Part| (part.marks.begin_refresh, part.marks.end_refresh);
        assert!(first.repeat && last.repeat && pending.is_empty(false));
        assert_eq!(
            (around(&first), around(&last)),
            ((true, false), (false, true))
        );
        assert_eq!(pending.take_part(false).marks, Marks::default());
    }

    /// RFC 7313 section 4: BoRR comes behind End-of-RIB.
    #[test]
    fn a_refresh_begins_when_the_initial_routes_are_complete() {
        let mut pending = Pending::everything();
        pending.all = false;
        pending.tell_again();
        let deferred = pending.take_part(true);
        assert_eq!(deferred.marks, Marks::default());
        let initial = pending.take_part(false);
        assert!(initial.marks.end_of_rib && !initial.marks.begin_refresh && !initial.repeat);
        assert!(std::mem::take(&mut pending.all), "everything again");
        let refresh = pending.take_part(false);
        assert!(refresh.marks.begin_refresh && refresh.marks.end_refresh && refresh.repeat);
    }

    #[test]
    fn what_is_unknown_is_not_held_up_for_ever_by_what_is_known() {
        let mut pending = Pending::default();
        let slots = slots(2 * PART);
        for (place, slot) in slots.iter().enumerate() {
            pending.push(*slot, place != 5);
        }
        assert!(pending.take_part(false).slots.contains(&slots[5]));
    }

    fn slots(count: usize) -> Vec<Slot> {
        let mut table = Destinations::new(1);
        let hosts = (0u32..).take(count);
        hosts
            .map(|host| table.find_or_insert(Ipv4Net::from(std::net::Ipv4Addr::from(host))))
            .collect()
    }
}
