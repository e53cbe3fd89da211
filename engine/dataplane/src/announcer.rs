//! Gratuitous ARP (RFC 5227 section 2.3): tells the LAN that an address is reached through this router now.
//!
//! Each address is announced five times, alternately in request and reply form, because hosts differ in which form
//! they believe. Announcements of many addresses are paced, for hosts and switches have small queues for broadcasts: [`BURST`]
//! frames per [`PACE`], which is a thousand addresses within 200 ms, the first time of each before the second of any. What is
//! late by more than [`LATENESS`] waits once more: a process that was stopped must not draw traffic from whoever took over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ids::PortId;
use crate::notice::Mac;
use crate::packet::arp::{ARP_FRAME, ArpOperation, ArpPacket};
use crate::packet::ethernet::BROADCAST;

/// When an address is announced, counted from its first announcement.
pub const SCHEDULE: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// Most frames per [`PACE`].
pub const BURST: u32 = 32;
/// Time in which [`BURST`] frames may be sent.
pub const PACE: Duration = Duration::from_millis(5);
/// Who is later than this was stopped or starved, and may have been taken over from meanwhile.
pub const LATENESS: Duration = Duration::from_secs(1);
/// How long such a one waits before it announces, so that it can be told.
pub const SECOND_THOUGHT: Duration = Duration::from_millis(500);
/// Most addresses that are being announced.
pub const ANNOUNCEMENT_LIMIT: usize = 16_384;

/// One frame that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// On which LAN.
    pub port: PortId,
    /// What is announced.
    pub address: Ipv4Addr,
    /// In which form.
    pub form: ArpOperation,
}

impl Announcement {
    /// Returns the frame that says that `mac` has the address.
    #[must_use]
    pub fn emit_frame(&self, mac: Mac) -> [u8; ARP_FRAME] {
        let request = ArpPacket::announcement(mac, self.address);
        let packet = match self.form {
            ArpOperation::Request => request,
            ArpOperation::Reply => request.reply(mac),
        };
        packet.emit_frame_to(BROADCAST)
    }
}

/// Schedules announcements on all LAN ports.
#[derive(Debug, Default)]
pub struct Announcer {
    turns: BTreeMap<(PortId, Ipv4Addr), Turn>,
    /// The same turns in the order in which they are due.
    due: BTreeSet<(Instant, PortId, Ipv4Addr)>,
    /// Frames left until `burst_end`.
    burst: u32,
    burst_end: Option<Instant>,
    /// When somebody last asked what is due.
    polled: Option<Instant>,
}

/// The next announcement of an address.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Index in [`SCHEDULE`].
    step: usize,
    due: Instant,
}

impl Announcer {
    /// Announces `address` from `at` on, from the beginning if it is being announced; returns `false` when too many are.
    #[must_use]
    pub fn start(&mut self, port: PortId, address: Ipv4Addr, at: Instant) -> bool {
        self.stop(port, address);
        if self.turns.len() >= ANNOUNCEMENT_LIMIT {
            return false;
        }
        self.schedule(port, address, Turn { step: 0, due: at });
        true
    }

    /// Stops to announce `address`.
    pub fn stop(&mut self, port: PortId, address: Ipv4Addr) {
        if let Some(turn) = self.turns.remove(&(port, address)) {
            self.due.remove(&(turn.due, port, address));
        }
    }

    /// Stops to announce what `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(PortId, Ipv4Addr) -> bool) {
        self.due.retain(|&(_, port, address)| keep(port, address));
        let due = &self.due;
        self.turns
            .retain(|&(port, address), turn| due.contains(&(turn.due, port, address)));
    }

    /// Takes the next frame that is due, as long as the pace allows.
    pub fn poll_announcement(&mut self, now: Instant) -> Option<Announcement> {
        self.notice_sleep(now);
        let &(due, port, address) = self.due.first()?;
        if due > now || !self.spend(now) {
            return None;
        }
        self.due.pop_first();
        let turn = self.turns.remove(&(port, address))?;
        if let Some(next) = SCHEDULE.get(turn.step + 1) {
            let gap = *next - SCHEDULE[turn.step];
            self.schedule(
                port,
                address,
                Turn {
                    step: turn.step + 1,
                    due: now + gap,
                },
            );
        }
        let form = if turn.step % 2 == 0 {
            ArpOperation::Request
        } else {
            ArpOperation::Reply
        };
        Some(Announcement {
            port,
            address,
            form,
        })
    }

    /// Returns when [`Self::poll_announcement`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let &(due, ..) = self.due.first()?;
        match self.burst_end {
            Some(end) if self.burst == 0 => Some(due.max(end)),
            _ => Some(due),
        }
    }

    /// Puts off what should have been sent long ago.
    fn notice_sleep(&mut self, now: Instant) {
        let polled = self.polled.replace(now).unwrap_or(now);
        let since = self.due.first().map(|(due, ..)| (*due).max(polled));
        if since.is_none_or(|since| now <= since + LATENESS) {
            return;
        }
        for (due, port, address) in std::mem::take(&mut self.due) {
            if let Some(turn) = self.turns.get_mut(&(port, address)) {
                turn.due = due.max(now + SECOND_THOUGHT);
                self.due.insert((turn.due, port, address));
            }
        }
    }

    fn schedule(&mut self, port: PortId, address: Ipv4Addr, turn: Turn) {
        self.turns.insert((port, address), turn);
        self.due.insert((turn.due, port, address));
    }

    /// Takes one frame from the current burst.
    fn spend(&mut self, now: Instant) -> bool {
        if self.burst_end.is_none_or(|end| end <= now) {
            (self.burst, self.burst_end) = (BURST, Some(now + PACE));
        }
        let allowed = self.burst > 0;
        self.burst = self.burst.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::start;

    const PORT: PortId = PortId(3);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 12);
    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn an_address_is_announced_five_times_in_alternating_forms() {
        let start = start();
        let mut announcer = Announcer::default();
        assert!(announcer.start(PORT, ADDRESS, start));
        let sent = run(&mut announcer, start, Duration::from_secs(60));
        let expected: Vec<_> = [
            (0, ArpOperation::Request),
            (100, ArpOperation::Reply),
            (200, ArpOperation::Request),
            (1000, ArpOperation::Reply),
            (5000, ArpOperation::Request),
        ]
        .map(|(at, form)| {
            (
                at,
                Announcement {
                    port: PORT,
                    address: ADDRESS,
                    form,
                },
            )
        })
        .into();
        assert_eq!(sent, expected);
        assert_eq!(announcer.poll_timeout(), None);
    }

    #[test]
    fn a_stopped_address_is_announced_no_more() {
        let start = start();
        let mut announcer = Announcer::default();
        let other = Ipv4Addr::new(10, 77, 60, 13);
        assert!(announcer.start(PORT, ADDRESS, start) && announcer.start(PORT, other, start));
        announcer.stop(PORT, ADDRESS);
        announcer.retain(|_, address| address != other);
        assert_eq!(announcer.poll_announcement(start), None);
        assert_eq!((announcer.poll_timeout(), announcer.turns.len()), (None, 0));
    }

    #[test]
    fn who_was_stopped_thinks_again_before_it_announces() {
        let start = start();
        let mut announcer = Announcer::default();
        assert!(announcer.start(PORT, ADDRESS, start));
        assert!(announcer.poll_announcement(start).is_some());
        let woken = start + Duration::from_secs(4);

        assert_eq!(announcer.poll_announcement(woken), None);

        let due = woken + SECOND_THOUGHT;
        assert_eq!(announcer.poll_timeout(), Some(due));
        assert!(
            announcer.poll_announcement(due).is_some(),
            "nobody objected"
        );
    }

    #[test]
    fn many_addresses_are_paced() {
        let start = start();
        let mut announcer = Announcer::default();
        for index in 0..100 {
            assert!(announcer.start(PORT, Ipv4Addr::from_bits(index), start));
        }
        let sent = run(&mut announcer, start, Duration::from_millis(99));
        let at = |millis| sent.iter().filter(|(sent, _)| *sent == millis).count();
        assert_eq!([at(0), at(5), at(10), at(15)], [32, 32, 32, 4]);
        assert_eq!(sent.len(), 100);
    }

    #[test]
    fn a_thousand_addresses_are_told_within_200_ms_though_each_burst_is_late() {
        const LATE: Duration = Duration::from_millis(1);
        let start = start();
        let mut announcer = Announcer::default();
        for index in 0..1000 {
            assert!(announcer.start(PORT, Ipv4Addr::from_bits(index), start));
        }
        let (mut now, mut told) = (start, BTreeSet::new());
        while told.len() < 1000 {
            while let Some(announcement) = announcer.poll_announcement(now) {
                told.insert(announcement.address);
            }
            let due = announcer.poll_timeout().expect("each is told five times");
            now = now.max(due) + LATE;
        }
        assert!(
            now - start <= Duration::from_millis(200),
            "{:?}",
            now - start
        );
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let start = start();
        let mut announcer = Announcer::default();
        let limit = u32::try_from(ANNOUNCEMENT_LIMIT).unwrap();
        assert!((0..limit).all(|index| announcer.start(PORT, Ipv4Addr::from_bits(index), start)));
        assert!(!announcer.start(PORT, Ipv4Addr::from_bits(limit), start));
        assert!(announcer.start(PORT, Ipv4Addr::from_bits(0), start));
    }

    #[test]
    fn both_forms_are_broadcast_and_carry_the_address_twice() {
        for form in [ArpOperation::Request, ArpOperation::Reply] {
            let frame = Announcement {
                port: PORT,
                address: ADDRESS,
                form,
            }
            .emit_frame(MAC);
            let packet = ArpPacket::parse(&frame[14..]).unwrap();
            assert_eq!((&frame[..6], &frame[6..12]), (&BROADCAST[..], &MAC[..]));
            assert_eq!((packet.operation, packet.sender_mac), (form, MAC));
            assert_eq!((packet.sender, packet.target), (ADDRESS, ADDRESS));
        }
    }

    /// Runs the announcer by its own deadlines and returns what it sent after how many milliseconds.
    fn run(announcer: &mut Announcer, start: Instant, span: Duration) -> Vec<(u128, Announcement)> {
        let mut sent = Vec::new();
        while let Some(now) = announcer.poll_timeout().filter(|due| *due <= start + span) {
            while let Some(announcement) = announcer.poll_announcement(now) {
                sent.push(((now - start).as_millis(), announcement));
            }
        }
        sent
    }
}
