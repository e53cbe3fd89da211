//! Neighbors on the LANs: which MAC address an on-link IPv4 address has, and what waits for the answer.
//!
//! A pure state machine in the words of RFC 4861 section 7.3.2, fed by ARP (RFC 826). It never sends: it tells by
//! [`NeighborTable::poll_output`] what to send, to release or to give up. States:
//! - `incomplete`: asked by broadcast, packets wait,
//! - `reachable`: confirmed by an answer less than [`REACHABLE_TIME`] ago,
//! - `stale`: known, but unconfirmed; the next use asks again by unicast and does not wait,
//! - `probe`: in use and being asked again, by unicast and then, as its MAC may have changed, by broadcast (RFC 7048),
//! - `failed`: no answer; packets are refused for [`FAILED_TIME`].
//!
//! It learns from answers to its own questions and from requests that are addressed to this router; from anything
//! else only what changes about an entry that it already has.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::drop_reason::DropReason;
use crate::ids::PortId;
use crate::ip_packet::IpPacket;
use crate::notice::Mac;

/// How long an answer counts as confirmation.
pub const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// Time between two questions to the same neighbor.
pub const RETRANSMIT_TIME: Duration = Duration::from_secs(1);
/// Questions by broadcast before an unknown neighbor counts as failed.
pub const BROADCAST_ATTEMPTS: u8 = 3;
/// Questions by unicast before a known neighbor is asked by broadcast like an unknown one, but still used.
pub const UNICAST_ATTEMPTS: u8 = 3;
/// How long a failed neighbor is not asked again.
pub const FAILED_TIME: Duration = Duration::from_secs(20);
/// Most neighbors in the table.
pub const TABLE_LIMIT: usize = 4096;
/// Most units that wait for one neighbor.
pub const QUEUE_UNITS: usize = 3;
/// Most bytes that wait for one neighbor.
pub const QUEUE_BYTES: usize = 64 * 1024;
/// Most units that wait in total: each holds a buffer of 64 KiB, which makes 2 MB.
pub const TOTAL_UNITS: usize = 32;

/// Names a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NeighborKey {
    /// LAN port.
    pub port: PortId,
    /// Its address.
    pub address: Ipv4Addr,
}

/// Answers the question for a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Send to this address.
    Ready(Mac),
    /// Not known yet; hand the packet to [`NeighborTable::enqueue`].
    Pending,
    /// Give up, for this reason.
    Refused(DropReason),
}

/// What an ARP packet proves about its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A reply sent to this router.
    Reply,
    /// A request for an address for which this router answers.
    Request,
    /// Anything else: announcements, requests to others.
    Overheard,
}

/// What the table wants to be done.
#[derive(Debug)]
pub enum NeighborOutput {
    /// Ask for `address`: by unicast to `to`, or by broadcast.
    Ask {
        /// Who is asked for.
        key: NeighborKey,
        /// Last known MAC.
        to: Option<Mac>,
    },
    /// Send a packet that waited.
    Release {
        /// To whom.
        key: NeighborKey,
        /// To which MAC.
        mac: Mac,
        /// What.
        packet: IpPacket,
    },
    /// Drop a packet that waited in vain.
    GiveUp {
        /// What.
        packet: IpPacket,
        /// Why.
        reason: DropReason,
    },
    /// A MAC was learned or changed.
    Up {
        /// Whose.
        key: NeighborKey,
        /// The MAC.
        mac: Mac,
    },
    /// A neighbor stopped answering.
    Down {
        /// Who.
        key: NeighborKey,
    },
}

/// State of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborState {
    /// Asked by broadcast; no MAC.
    Incomplete {
        /// Questions sent.
        attempts: u8,
    },
    /// Confirmed.
    Reachable(Mac),
    /// Known, unconfirmed, unused.
    Stale(Mac),
    /// Known, unconfirmed, in use.
    Probe {
        /// Last known MAC.
        mac: Mac,
        /// Questions sent.
        attempts: u8,
    },
    /// Does not answer.
    Failed,
}

impl NeighborState {
    /// Returns the name in RFC 4861 words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomplete { .. } => "incomplete",
            Self::Reachable(_) => "reachable",
            Self::Stale(_) => "stale",
            Self::Probe { .. } => "probe",
            Self::Failed => "failed",
        }
    }

    /// Returns the MAC, if one is known.
    #[must_use]
    pub fn mac(self) -> Option<Mac> {
        match self {
            Self::Reachable(mac) | Self::Stale(mac) | Self::Probe { mac, .. } => Some(mac),
            Self::Incomplete { .. } | Self::Failed => None,
        }
    }

    /// Returns how long this state lasts when nothing happens.
    fn lifetime(self) -> Option<Duration> {
        match self {
            Self::Incomplete { .. } | Self::Probe { .. } => Some(RETRANSMIT_TIME),
            Self::Reachable(_) => Some(REACHABLE_TIME),
            Self::Stale(_) => None,
            Self::Failed => Some(FAILED_TIME),
        }
    }
}

/// One row of the table.
#[derive(Debug)]
struct Neighbor {
    state: NeighborState,
    /// Since when the state has its name.
    since: Instant,
    /// When the state ends by itself.
    deadline: Option<Instant>,
    /// Empty unless incomplete.
    queue: VecDeque<IpPacket>,
}

impl Neighbor {
    fn new(state: NeighborState, now: Instant) -> Self {
        let deadline = state.lifetime().map(|lifetime| now + lifetime);
        Self {
            state,
            since: now,
            deadline,
            queue: VecDeque::new(),
        }
    }

    /// Tells whether `bytes` more would exceed what may wait.
    fn is_full(&self, bytes: usize) -> bool {
        let waiting: usize = self
            .queue
            .iter()
            .map(|packet| packet.unit.buffer.len())
            .sum();
        self.queue.len() >= QUEUE_UNITS || waiting + bytes > QUEUE_BYTES
    }

    /// Tells whether this row may give way to a new one.
    fn is_replaceable(&self) -> bool {
        matches!(self.state, NeighborState::Stale(_) | NeighborState::Failed)
    }
}

/// All neighbors of all LAN ports.
#[derive(Debug)]
pub struct NeighborTable {
    neighbors: BTreeMap<NeighborKey, Neighbor>,
    outputs: VecDeque<NeighborOutput>,
    /// Not later than the earliest deadline of a row.
    wake: Option<Instant>,
    /// Sum of all queue lengths.
    waiting: usize,
    /// The row after which the search for a replaceable one goes on.
    hand: Option<NeighborKey>,
}

impl Default for NeighborTable {
    /// Is empty, with room for what usually is to be done at a time.
    fn default() -> Self {
        Self {
            neighbors: BTreeMap::new(),
            outputs: VecDeque::with_capacity(TOTAL_UNITS),
            wake: None,
            waiting: 0,
            hand: None,
        }
    }
}

impl NeighborTable {
    /// Finds the MAC of a neighbor, and starts asking when it is unknown or unconfirmed.
    pub fn resolve(&mut self, key: NeighborKey, now: Instant) -> Resolution {
        let Some(neighbor) = self.neighbors.get(&key) else {
            return self.ask(key, now);
        };
        match neighbor.state {
            NeighborState::Reachable(mac) | NeighborState::Probe { mac, .. } => {
                Resolution::Ready(mac)
            }
            NeighborState::Stale(mac) => {
                self.transition(key, NeighborState::Probe { mac, attempts: 1 }, now);
                Resolution::Ready(mac)
            }
            NeighborState::Incomplete { .. } => Resolution::Pending,
            NeighborState::Failed => Resolution::Refused(DropReason::NeighborFailed),
        }
    }

    /// Queues a packet after [`Resolution::Pending`].
    ///
    /// In a full queue the oldest packets give way (RFC 1122 section 2.3.2.2 wants the latest one kept).
    pub fn enqueue(&mut self, key: NeighborKey, packet: IpPacket) {
        let bytes = packet.unit.buffer.len();
        let Some(neighbor) = self.neighbors.get_mut(&key) else {
            return self.give_up(packet, DropReason::NeighborFailed);
        };
        while !neighbor.queue.is_empty() && neighbor.is_full(bytes) {
            if let Some(packet) = neighbor.queue.pop_front() {
                self.waiting -= 1;
                let reason = DropReason::NeighborQueueFull;
                self.outputs
                    .push_back(NeighborOutput::GiveUp { packet, reason });
            }
        }
        if self.waiting >= TOTAL_UNITS {
            return self.give_up(packet, DropReason::NeighborQueueFull);
        }
        neighbor.queue.push_back(packet);
        self.waiting += 1;
    }

    /// Learns from an ARP packet whose sender is `key` at `mac`.
    pub fn learn(&mut self, key: NeighborKey, mac: Mac, evidence: Evidence, now: Instant) {
        let Some(neighbor) = self.neighbors.get(&key) else {
            // 1. Nobody asked: only who talks to us becomes a neighbor.
            if evidence == Evidence::Request && self.make_room() {
                self.insert(key, NeighborState::Stale(mac), now);
                self.outputs.push_back(NeighborOutput::Up { key, mac });
            }
            return;
        };
        let asked = match neighbor.state {
            NeighborState::Incomplete { .. }
            | NeighborState::Probe { .. }
            | NeighborState::Failed => true,
            NeighborState::Reachable(_) | NeighborState::Stale(_) => false,
        };
        if asked && evidence == Evidence::Reply {
            // 2. The answer to our question.
            self.transition(key, NeighborState::Reachable(mac), now);
        } else if neighbor.state.mac() != Some(mac) {
            // 3. Something new about a known neighbor: used from now on, confirmed by the next use.
            self.transition(key, NeighborState::Stale(mac), now);
        }
    }

    /// Drops the rows that `keep` refuses, because their addresses live elsewhere now.
    pub fn retain(&mut self, mut keep: impl FnMut(NeighborKey) -> bool) {
        let mut removed = VecDeque::new();
        self.neighbors.retain(|&key, neighbor| {
            let kept = keep(key);
            if !kept {
                removed.append(&mut neighbor.queue);
            }
            kept
        });
        self.waiting -= removed.len();
        for packet in removed {
            self.give_up(packet, DropReason::NeighborFailed);
        }
    }

    /// Repeats questions, ages confirmations and gives up, as far as due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_none_or(|wake| wake > now) {
            return;
        }
        let mut done = Bound::Unbounded;
        while let Some((key, state)) = self.next_due(done, now) {
            done = Bound::Excluded(key);
            match Self::successor(state) {
                Some(next) => self.transition(key, next, now),
                None => drop(self.neighbors.remove(&key)),
            }
        }
        self.wake = self
            .neighbors
            .values()
            .filter_map(|neighbor| neighbor.deadline)
            .min();
    }

    /// Finds the first row behind `done` whose time has come.
    fn next_due(
        &self,
        done: Bound<NeighborKey>,
        now: Instant,
    ) -> Option<(NeighborKey, NeighborState)> {
        let mut rows = self.neighbors.range((done, Bound::Unbounded));
        let is_due = |row: &Neighbor| row.deadline.is_some_and(|deadline| deadline <= now);
        let (key, row) = rows.find(|(_, row)| is_due(row))?;
        Some((*key, row.state))
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// Takes what is to be done next.
    pub fn poll_output(&mut self) -> Option<NeighborOutput> {
        self.outputs.pop_front()
    }

    /// Lists all neighbors: key, state, since when, packets waiting.
    pub fn rows(&self) -> impl Iterator<Item = (NeighborKey, NeighborState, Instant, usize)> + '_ {
        let row = |(&key, neighbor): (&NeighborKey, &Neighbor)| {
            (key, neighbor.state, neighbor.since, neighbor.queue.len())
        };
        self.neighbors.iter().map(row)
    }

    /// Starts to ask for an unknown neighbor.
    fn ask(&mut self, key: NeighborKey, now: Instant) -> Resolution {
        if !self.make_room() {
            return Resolution::Refused(DropReason::NeighborTableFull);
        }
        self.insert(key, NeighborState::Incomplete { attempts: 1 }, now);
        self.outputs
            .push_back(NeighborOutput::Ask { key, to: None });
        Resolution::Pending
    }

    /// Makes sure that one more row fits; looks at no more than [`REPLACE_SEARCH`] rows.
    fn make_room(&mut self) -> bool {
        if self.neighbors.len() < TABLE_LIMIT {
            return true;
        }
        for _ in 0..REPLACE_SEARCH {
            let after = self.hand.map_or(Bound::Unbounded, Bound::Excluded);
            let next = self.neighbors.range((after, Bound::Unbounded)).next();
            let candidate = next.map(|(&key, neighbor)| (key, neighbor.is_replaceable()));
            self.hand = candidate.map(|(key, _)| key);
            if let Some((key, true)) = candidate {
                self.neighbors.remove(&key);
                return true;
            }
        }
        false
    }

    fn insert(&mut self, key: NeighborKey, state: NeighborState, now: Instant) {
        let neighbor = Neighbor::new(state, now);
        self.wake = earlier(self.wake, neighbor.deadline);
        self.neighbors.insert(key, neighbor);
    }

    /// Returns the state that follows when nothing happened in time; `None` forgets the neighbor.
    fn successor(state: NeighborState) -> Option<NeighborState> {
        match state {
            NeighborState::Incomplete { attempts } if attempts < BROADCAST_ATTEMPTS => {
                Some(NeighborState::Incomplete {
                    attempts: attempts + 1,
                })
            }
            NeighborState::Probe { mac, attempts }
                if attempts < UNICAST_ATTEMPTS + BROADCAST_ATTEMPTS =>
            {
                Some(NeighborState::Probe {
                    mac,
                    attempts: attempts + 1,
                })
            }
            NeighborState::Incomplete { .. } | NeighborState::Probe { .. } => {
                Some(NeighborState::Failed)
            }
            NeighborState::Reachable(mac) | NeighborState::Stale(mac) => {
                Some(NeighborState::Stale(mac))
            }
            NeighborState::Failed => None,
        }
    }

    /// The only place where a state changes.
    fn transition(&mut self, key: NeighborKey, next: NeighborState, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&key) else {
            return;
        };
        let former = neighbor.state;
        neighbor.state = next;
        neighbor.deadline = next.lifetime().map(|lifetime| now + lifetime);
        if former.name() != next.name() {
            neighbor.since = now;
        }
        self.wake = earlier(self.wake, neighbor.deadline);
        match next {
            NeighborState::Incomplete { .. } => {
                self.outputs
                    .push_back(NeighborOutput::Ask { key, to: None });
            }
            NeighborState::Probe { mac, attempts } => {
                let to = (attempts <= UNICAST_ATTEMPTS).then_some(mac);
                self.outputs.push_back(NeighborOutput::Ask { key, to });
            }
            NeighborState::Reachable(mac) | NeighborState::Stale(mac) => {
                if former.mac() != Some(mac) {
                    self.outputs.push_back(NeighborOutput::Up { key, mac });
                }
                self.waiting -= neighbor.queue.len();
                let released = neighbor.queue.drain(..);
                let release = |packet| NeighborOutput::Release { key, mac, packet };
                self.outputs.extend(released.map(release));
            }
            NeighborState::Failed => {
                self.outputs.push_back(NeighborOutput::Down { key });
                self.waiting -= neighbor.queue.len();
                let reason = DropReason::NeighborFailed;
                let give_up = |packet| NeighborOutput::GiveUp { packet, reason };
                self.outputs.extend(neighbor.queue.drain(..).map(give_up));
            }
        }
    }

    fn give_up(&mut self, packet: IpPacket, reason: DropReason) {
        self.outputs
            .push_back(NeighborOutput::GiveUp { packet, reason });
    }
}

/// Returns the earlier of two deadlines that may be absent.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Rows that are looked at to find a replaceable one; bounds the cost of a packet to a new address.
const REPLACE_SEARCH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::ingress::Ingress;
    use crate::packet::classify;
    use crate::sample::Udp;
    use crate::sample::start;
    use crate::unit::Unit;

    const KEY: NeighborKey = NeighborKey {
        port: PortId(1),
        address: Ipv4Addr::new(10, 77, 60, 10),
    };
    const MAC: Mac = [2, 0, 0, 0, 0, 2];
    const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 3];

    #[test]
    fn an_unknown_neighbor_is_asked_by_broadcast_and_its_packets_are_released_in_order() {
        let (mut table, now) = (NeighborTable::default(), start());
        assert_eq!(table.resolve(KEY, now), Resolution::Pending);
        table.enqueue(KEY, packet(1));
        table.enqueue(KEY, packet(2));
        assert_eq!(table.resolve(KEY, now), Resolution::Pending);
        table.learn(KEY, MAC, Evidence::Reply, now);
        assert_eq!(
            drain(&mut table),
            ["ask broadcast", "up", "release 1", "release 2"]
        );
        assert_eq!(table.resolve(KEY, now), Resolution::Ready(MAC));
    }

    #[test]
    fn an_unknown_neighbor_is_asked_three_times_and_then_refused_for_twenty_seconds() {
        let (mut table, now) = (NeighborTable::default(), start());
        table.resolve(KEY, now);
        table.enqueue(KEY, packet(1));
        assert_eq!(
            run(&mut table, now, 60_000),
            [
                (0, "ask broadcast".to_owned()),
                (1000, "ask broadcast".to_owned()),
                (2000, "ask broadcast".to_owned()),
                (3000, "down".to_owned()),
                (3000, "give up 1: neighbor-failed".to_owned()),
            ]
        );
        assert_eq!(table.rows().count(), 0, "forgotten after FAILED_TIME");
        assert_eq!(table.resolve(KEY, now), Resolution::Pending);
    }

    #[test]
    fn a_failed_neighbor_is_refused_until_it_is_forgotten_or_heard() {
        let (mut table, now) = failed();
        let refused = Resolution::Refused(DropReason::NeighborFailed);
        assert_eq!(table.resolve(KEY, now), refused);
        table.learn(KEY, MAC, Evidence::Overheard, now);
        assert_eq!(
            (drain(&mut table), state(&table)),
            (vec!["up".to_owned()], "stale")
        );
        let (mut table, now) = failed();
        table.handle_timeout(now + FAILED_TIME);
        assert_eq!(table.resolve(KEY, now + FAILED_TIME), Resolution::Pending);
    }

    #[test]
    fn a_confirmation_lasts_thirty_seconds() {
        let (mut table, now) = reachable();
        table.handle_timeout(now + REACHABLE_TIME - Duration::from_millis(1));
        assert_eq!(state(&table), "reachable");
        table.handle_timeout(now + REACHABLE_TIME);
        assert_eq!((state(&table), drain(&mut table).len()), ("stale", 0));
    }

    #[test]
    fn a_stale_neighbor_is_used_at_once_and_asked_by_unicast() {
        let (mut table, now) = reachable();
        let later = now + REACHABLE_TIME;
        table.handle_timeout(later);
        assert_eq!(table.resolve(KEY, later), Resolution::Ready(MAC));
        assert_eq!(table.resolve(KEY, later), Resolution::Ready(MAC));
        assert_eq!(
            (drain(&mut table), state(&table)),
            (vec!["ask unicast".to_owned()], "probe")
        );
        table.learn(KEY, MAC, Evidence::Reply, later);
        assert_eq!((state(&table), drain(&mut table).len()), ("reachable", 0));
    }

    #[test]
    fn a_neighbor_that_changed_its_mac_is_found_by_broadcast_after_three_seconds() {
        let (mut table, now) = reachable();
        let later = now + REACHABLE_TIME;
        table.handle_timeout(later);
        table.resolve(KEY, later);
        run(&mut table, later, 3000);
        let found = later + Duration::from_secs(3);
        assert_eq!(table.resolve(KEY, found), Resolution::Ready(MAC));
        table.learn(KEY, OTHER_MAC, Evidence::Reply, found);
        assert_eq!(
            (drain(&mut table), state(&table)),
            (vec!["up".to_owned()], "reachable")
        );
        assert_eq!(table.resolve(KEY, found), Resolution::Ready(OTHER_MAC));
    }

    #[test]
    fn a_stale_neighbor_that_answers_no_probe_is_asked_by_broadcast_and_then_fails() {
        let (mut table, now) = reachable();
        let later = now + REACHABLE_TIME;
        table.handle_timeout(later);
        table.resolve(KEY, later);
        let outputs = run(&mut table, later, 10_000);
        let times: Vec<_> = outputs
            .iter()
            .map(|(at, output)| (*at, output.as_str()))
            .collect();
        assert_eq!(
            times,
            [
                (0, "ask unicast"),
                (1000, "ask unicast"),
                (2000, "ask unicast"),
                (3000, "ask broadcast"),
                (4000, "ask broadcast"),
                (5000, "ask broadcast"),
                (6000, "down")
            ]
        );
    }

    #[test]
    fn only_a_request_to_us_makes_a_new_entry() {
        for (evidence, rows) in [
            (Evidence::Request, 1),
            (Evidence::Reply, 0),
            (Evidence::Overheard, 0),
        ] {
            let mut table = NeighborTable::default();
            table.learn(KEY, MAC, evidence, start());
            assert_eq!(table.rows().count(), rows, "{evidence:?}");
        }
    }

    #[test]
    fn a_changed_mac_is_used_but_not_trusted() {
        let (mut table, now) = reachable();
        table.learn(KEY, OTHER_MAC, Evidence::Overheard, now);
        assert_eq!(state(&table), "stale");
        assert_eq!(table.resolve(KEY, now), Resolution::Ready(OTHER_MAC));
        assert_eq!(drain(&mut table), ["up", "ask unicast"]);
    }

    #[test]
    fn hearing_the_known_mac_confirms_nothing() {
        let (mut table, now) = reachable();
        table.handle_timeout(now + REACHABLE_TIME);
        for evidence in [Evidence::Overheard, Evidence::Request, Evidence::Reply] {
            table.learn(KEY, MAC, evidence, now + REACHABLE_TIME);
            assert_eq!((state(&table), drain(&mut table).len()), ("stale", 0));
        }
    }

    #[test]
    fn the_oldest_packets_give_way_in_a_full_queue() {
        let (mut table, now) = (NeighborTable::default(), start());
        table.resolve(KEY, now);
        for number in 1..=4 {
            table.enqueue(KEY, packet(number));
        }
        assert_eq!(drain(&mut table)[1..], ["give up 1: neighbor-queue-full"]);
        table.enqueue(
            KEY,
            IpPacket {
                unit: Unit::plain(long_buffer()),
                ..packet(5)
            },
        );
        assert_eq!(
            drain(&mut table).len(),
            3,
            "64 KiB push everything else out"
        );
        assert_eq!(table.waiting, 1);
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let (mut table, now) = (NeighborTable::default(), start());
        for index in 0..=u32::try_from(TOTAL_UNITS).unwrap() {
            let key = neighbor(index);
            table.resolve(key, now);
            table.enqueue(key, packet(7));
        }
        assert_eq!(table.waiting, TOTAL_UNITS);
        assert_eq!(
            drain(&mut table).pop().unwrap(),
            "give up 7: neighbor-queue-full"
        );
    }

    #[test]
    fn a_full_table_replaces_what_is_unused_and_otherwise_refuses() {
        let (mut table, now) = (NeighborTable::default(), start());
        let limit = u32::try_from(TABLE_LIMIT).unwrap();
        for index in 0..limit {
            table.resolve(neighbor(index), now);
        }
        let full = Resolution::Refused(DropReason::NeighborTableFull);
        assert_eq!(table.resolve(neighbor(limit), now), full);
        table.learn(neighbor(5), MAC, Evidence::Overheard, now);
        let found = (0..limit).map(|_| table.resolve(neighbor(limit), now));
        let tries = found.take_while(|resolution| *resolution == full).count();
        assert!(tries <= TABLE_LIMIT / REPLACE_SEARCH, "{tries} tries");
        assert_eq!(table.neighbors.len(), TABLE_LIMIT);
        assert!(!table.neighbors.contains_key(&neighbor(5)));
    }

    #[test]
    fn an_address_that_moved_away_is_forgotten_with_its_packets() {
        let (mut table, now) = (NeighborTable::default(), start());
        table.resolve(KEY, now);
        table.enqueue(KEY, packet(1));
        table.retain(|key| key != KEY);
        assert_eq!(drain(&mut table)[1..], ["give up 1: neighbor-failed"]);
        assert_eq!((table.waiting, table.rows().count()), (0, 0));
    }

    fn neighbor(index: u32) -> NeighborKey {
        NeighborKey {
            port: PortId(1),
            address: Ipv4Addr::from_bits(0x0a00_0000 + index),
        }
    }

    fn reachable() -> (NeighborTable, Instant) {
        let (mut table, now) = (NeighborTable::default(), start());
        table.resolve(KEY, now);
        table.learn(KEY, MAC, Evidence::Reply, now);
        drain(&mut table);
        (table, now)
    }

    fn failed() -> (NeighborTable, Instant) {
        let (mut table, now) = (NeighborTable::default(), start());
        table.resolve(KEY, now);
        let failed = now + RETRANSMIT_TIME * u32::from(BROADCAST_ATTEMPTS);
        run(&mut table, now, 3000);
        assert_eq!(state(&table), "failed");
        (table, failed)
    }

    fn state(table: &NeighborTable) -> &'static str {
        let (_, state, ..) = table.rows().next().expect("one row");
        state.name()
    }

    /// Runs the table by its own deadlines and returns what it wanted after how many milliseconds.
    fn run(table: &mut NeighborTable, from: Instant, millis: u64) -> Vec<(u128, String)> {
        let mut now = from;
        let mut outputs = Vec::new();
        loop {
            let at = (now - from).as_millis();
            outputs.extend(drain(table).into_iter().map(|output| (at, output)));
            match table.poll_timeout() {
                Some(next) if next <= from + Duration::from_millis(millis) => now = next,
                _ => return outputs,
            }
            table.handle_timeout(now);
        }
    }

    fn drain(table: &mut NeighborTable) -> Vec<String> {
        std::iter::from_fn(|| table.poll_output())
            .map(|output| match output {
                NeighborOutput::Ask { to: None, .. } => "ask broadcast".to_owned(),
                NeighborOutput::Ask { to: Some(_), .. } => "ask unicast".to_owned(),
                NeighborOutput::Release { packet, .. } => format!("release {}", number(&packet)),
                NeighborOutput::GiveUp { packet, reason } => {
                    format!("give up {}: {}", number(&packet), reason.name())
                }
                NeighborOutput::Up { .. } => "up".to_owned(),
                NeighborOutput::Down { .. } => "down".to_owned(),
            })
            .collect()
    }

    fn packet(number: u8) -> IpPacket {
        let bytes = Udp {
            payload: &[number],
            ..Udp::default()
        }
        .build();
        let mut buffer = Buffer::new();
        assert!(buffer.append(&bytes));
        let classified = classify(&bytes).expect("a valid packet");
        IpPacket {
            unit: Unit::plain(buffer),
            classified,
            ingress: Ingress::Host,
        }
    }

    fn long_buffer() -> Buffer {
        let mut buffer = Buffer::new();
        assert!(buffer.append(&[9; QUEUE_BYTES]));
        buffer
    }

    fn number(packet: &IpPacket) -> u8 {
        *packet.unit.buffer.bytes().last().expect("not empty")
    }
}
