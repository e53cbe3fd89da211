//! One virtual router as this router takes part in it (RFC 9568 section 6.4).
//!
//! Contract: any input (`handle_*`, `set_*`), then drain `poll_transmit` and `poll_copy`; [`Instance::status`] tells the role. What waits
//! in a socket is handed in before the timers are, for what arrived in time must not be late because nobody read it.
//!
//! Beside the RFC's steps there are some of our own, marked as such: a master that overslept steps back instead of
//! insisting, a backup without preemption takes over from a master that got worse, a master that is outranked says
//! that it leaves, and a router that is fenced takes over from nobody who lives.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::packet::{Packet, Version};
use crate::refusal::{Refusal, Remark};
use crate::senders::Senders;
use crate::settings::{LEAST_PRIORITY, OWNER, Settings, down_interval, effective_priority, skew};
use crate::status::{Cause, Heard, State, Status};
use crate::{GROUP, TTL};

/// How a packet came in: what its IP header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Sender.
    pub source: Ipv4Addr,
    /// Where it was sent to.
    pub destination: Ipv4Addr,
    /// TTL.
    pub ttl: u8,
}

/// A packet to send, with TTL [`TTL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: Ipv4Addr,
    /// What follows the IP header.
    pub payload: Vec<u8>,
}

/// One virtual router as this router takes part in it.
#[derive(Debug)]
pub struct Instance {
    settings: Settings,
    /// Our primary address: source of our packets, and what decides ties.
    source: Ipv4Addr,
    penalty: u8,
    /// Whether no master that lives is taken over from.
    fenced: bool,
    state: State,
    since: Instant,
    cause: Cause,
    /// Master_Adver_Interval.
    master_interval: Duration,
    /// Active_Down_Timer of a backup, Adver_Timer of a master.
    due: Option<Instant>,
    heard: Option<Heard>,
    /// The master whose silence a backup waits for, once it has heard one.
    followed: Option<Ipv4Addr>,
    /// When a master last answered a lesser one at once.
    asserted: Option<Instant>,
    outgoing: VecDeque<Transmit>,
    /// The newest advertisement, for whoever carries it another way too.
    copy: Option<Vec<u8>>,
    /// Whose own packet was heard last, and when.
    direct: Option<(Ipv4Addr, Instant)>,
    promotions: u64,
    conflicts: u64,
    sent: u64,
    received: u64,
    senders: Senders,
    refusals: BTreeMap<Refusal, u64>,
    remarks: BTreeMap<Remark, u64>,
}

impl Instance {
    /// Makes an instance that does not take part yet; `source` is our primary address on the LAN.
    #[must_use]
    pub fn new(settings: Settings, source: Ipv4Addr, now: Instant) -> Self {
        Self {
            master_interval: settings.interval,
            settings,
            source,
            penalty: 0,
            fenced: false,
            state: State::Initialize,
            since: now,
            cause: Cause::New,
            due: None,
            heard: None,
            followed: None,
            asserted: None,
            outgoing: VecDeque::new(),
            copy: None,
            direct: None,
            promotions: 0,
            conflicts: 0,
            sent: 0,
            received: 0,
            senders: Senders::default(),
            refusals: BTreeMap::new(),
            remarks: BTreeMap::new(),
        }
    }

    /// Begins to take part: the Startup event (RFC 9568 section 6.4.1).
    pub fn handle_startup(&mut self, now: Instant) {
        if self.state != State::Initialize {
            return;
        }
        // 1. The owner of the address is master at once.
        // 2. Anybody else looks first who is there.
        if self.obeys_nobody() {
            self.transition(State::Master, Cause::AddressOwner, now);
        } else {
            self.master_interval = self.settings.interval;
            self.transition(State::Backup, Cause::Started, now);
        }
    }

    /// Leaves: the Shutdown event (RFC 9568 sections 6.4.2 and 6.4.3). A master says so; [`Status::heard`] then tells who
    /// follows it.
    pub fn handle_shutdown(&mut self, now: Instant) {
        if self.state == State::Master {
            self.advertise(GIVES_UP);
        }
        self.heard = None;
        self.transition(State::Initialize, Cause::Stopped, now);
    }

    /// Changes the settings in place; virtual router and version are those of the instance.
    pub fn set_settings(&mut self, settings: Settings, now: Instant) {
        let settings = Settings {
            vrid: self.settings.vrid,
            version: self.settings.version,
            ..settings
        };
        if settings != self.settings {
            let former = self.priority();
            self.settings = settings;
            self.reprioritized(former, now);
        }
    }

    /// Takes this much from the priority, for conditions that do not hold.
    pub fn set_penalty(&mut self, penalty: u8, now: Instant) {
        let former = self.priority();
        self.penalty = penalty;
        self.reprioritized(former, now);
    }

    /// Our own step: while this router is `fenced` it takes over from no master that lives, whatever their priorities, and
    /// is not master at once as owner of the address. It may have nothing yet to do that one's work with.
    pub fn set_fence(&mut self, fenced: bool) {
        self.fenced = fenced;
    }

    /// Takes in a packet.
    ///
    /// # Errors
    /// Why it does not count; it is counted there.
    pub fn handle_packet(
        &mut self,
        arrival: Arrival,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let packet = self.admit(arrival, payload, now)?;
        self.direct = Some((arrival.source, now));
        self.accept(arrival.source, &packet, now);
        Ok(())
    }

    /// Takes in an advertisement of `source` that came another way than as a packet of its own: what [`Self::poll_copy`]
    /// gave there. It counts while the sender's own packets are lost, for a master that nobody hears would be one of two.
    ///
    /// # Errors
    /// As [`Self::handle_packet`].
    pub fn handle_copy(
        &mut self,
        source: Ipv4Addr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let arrival = Arrival {
            source,
            destination: GROUP,
            ttl: TTL,
        };
        let packet = self.admit(arrival, payload, now)?;
        self.senders.on_copy(source, now);
        let patience = packet.interval.saturating_mul(2);
        let is_known = |(heard, at): (Ipv4Addr, Instant)| heard == source && now < at + patience;
        if !self.direct.is_some_and(is_known) {
            *self.remarks.entry(Remark::CopyOnly).or_default() += 1;
            self.accept(source, &packet, now);
        }
        Ok(())
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.notice_sleep(now);
        let Some(due) = self.due.filter(|due| *due <= now) else {
            return;
        };
        self.senders.forget(now);
        match self.state {
            State::Initialize => self.due = None,
            // Section 6.4.2: the Active_Down_Timer fires.
            State::Backup => {
                let relieved = self.heard.is_some_and(|heard| heard.priority == GIVES_UP);
                let cause = if relieved {
                    Cause::Relieved
                } else {
                    Cause::Silence
                };
                self.transition(State::Master, cause, now);
            }
            // Section 6.4.3: the Adver_Timer fires. The next one keeps the rhythm.
            State::Master => {
                self.advertise(self.priority());
                let next = due + self.settings.interval;
                self.due = Some(next.max(now));
            }
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.outgoing.pop_front()?;
        self.sent += 1;
        Some(transmit)
    }

    /// Takes the newest advertisement, to be carried another way too: encoded as if it went to [`GROUP`].
    pub fn poll_copy(&mut self) -> Option<Vec<u8>> {
        self.copy.take()
    }

    /// Shows how things are.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            cause: self.cause,
            priority: self.priority(),
            penalty: self.penalty,
            heard: self.heard,
            rivals: self.senders.rivals(),
            strangers: self.strangers(),
            down_interval: self.down_interval(),
            promotions: self.promotions,
            conflicts: self.conflicts,
            sent: self.sent,
            received: self.received,
        }
    }

    /// Lists how many advertisements did not count, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        let count = |refusal| self.refusals.get(&refusal).copied().unwrap_or(0);
        Refusal::ALL
            .map(|refusal| (refusal, count(refusal)))
            .into_iter()
    }

    /// Lists how many counted though something was odd about them.
    pub fn remarks(&self) -> impl Iterator<Item = (Remark, u64)> {
        let count = |remark| self.remarks.get(&remark).copied().unwrap_or(0);
        Remark::ALL
            .map(|remark| (remark, count(remark)))
            .into_iter()
    }

    /// Who takes part that nobody named; with peers only they do, and strangers are those who try.
    fn strangers(&self) -> Vec<Ipv4Addr> {
        if self.settings.peers.is_empty() {
            let strangers = self.senders.strangers();
            strangers
                .filter(|address| !self.settings.routers.contains(address))
                .collect()
        } else {
            self.senders.refused().collect()
        }
    }

    /// Checks a packet, and counts why it does not count.
    fn admit(&mut self, arrival: Arrival, payload: &[u8], now: Instant) -> Result<Packet, Refusal> {
        let outcome = self.check(arrival, payload);
        if let Err(refusal) = outcome {
            *self.refusals.entry(refusal).or_default() += 1;
            if refusal == Refusal::Stranger {
                self.senders.on_refused(arrival.source, now);
            }
        }
        outcome
    }

    fn accept(&mut self, source: Ipv4Addr, packet: &Packet, now: Instant) {
        self.received += 1;
        if packet.priority != GIVES_UP {
            self.senders.on_advertisement(source, packet.interval, now);
        }
        self.remark(source, packet);
        self.notice_sleep(now);
        self.on_advertisement(source, packet, now);
    }

    /// Checks a packet (RFC 9568 section 7.1, RFC 3768 section 7.1).
    fn check(&self, arrival: Arrival, payload: &[u8]) -> Result<Packet, Refusal> {
        // 1. It crossed no router.
        if arrival.ttl != TTL {
            return Err(Refusal::Ttl);
        }
        // 2. It is an advertisement: version, type, length, checksum.
        let packet = Packet::decode(payload, arrival.source, arrival.destination)
            .map_err(Refusal::Malformed)?;
        // 3. It speaks of our virtual router, in our version.
        if packet.vrid != self.settings.vrid {
            return Err(Refusal::Vrid);
        }
        if packet.version != self.settings.version {
            return Err(Refusal::Version);
        }
        // 4. It comes from another router, and from one that may take part.
        if arrival.source == self.source {
            return Err(Refusal::OwnAddress);
        }
        let peers = &self.settings.peers;
        if !peers.is_empty() && !peers.contains(&arrival.source) {
            return Err(Refusal::Stranger);
        }
        // 5. We do not own the addresses.
        if self.obeys_nobody() {
            return Err(Refusal::AddressOwner);
        }
        // 6. Version 2: the interval is ours.
        if packet.version == Version::V2 && packet.interval != self.settings.interval {
            return Err(Refusal::Interval);
        }
        Ok(packet)
    }

    /// Counts what is odd. Both routers guard the same LAN, whatever they think its virtual address is: an election that
    /// ignored the other one would make two masters of a typing error.
    fn remark(&mut self, source: Ipv4Addr, packet: &Packet) {
        let unnamed = self.settings.peers.is_empty() && !self.settings.routers.contains(&source);
        let odd = [
            (
                Remark::Addresses,
                packet.addresses != [self.settings.address],
            ),
            (Remark::Interval, packet.interval != self.settings.interval),
            (
                Remark::UnknownSender,
                unnamed && self.senders.is_stranger(source),
            ),
        ];
        for (remark, _) in odd.into_iter().filter(|(_, odd)| *odd) {
            *self.remarks.entry(remark).or_default() += 1;
        }
    }

    fn on_advertisement(&mut self, from: Ipv4Addr, packet: &Packet, now: Instant) {
        let got_worse = self.hear(from, packet, now);
        match self.state {
            // Only who follows us is of interest.
            State::Initialize => {}
            // Section 6.4.2:
            // 1. The master gives up: whoever has the least skew takes over.
            // Our own step: only the one that is followed. Others say so when they have been outranked.
            State::Backup if packet.priority == GIVES_UP => {
                if self.followed.is_some_and(|followed| followed != from) {
                    return;
                }
                let skew = skew(self.settings.version, self.priority(), self.master_interval);
                let due = now + skew;
                // A second farewell must not put the takeover off.
                self.due = Some(self.due.map_or(due, |former| former.min(due)));
            }
            State::Backup => {
                // 2. Without preemption any master is followed, else one that is not worse than we are.
                // Our own step: a master that got worse, and worse than we are, asks to be taken over from.
                let preempt = !self.fenced && (self.settings.preempt || got_worse);
                if !preempt || packet.priority >= self.priority() {
                    self.follow(from, packet, now);
                }
            }
            // Section 6.4.3:
            // 1. Another router gives up what is ours: say that we are there.
            State::Master if packet.priority == GIVES_UP => self.assert(now),
            State::Master => {
                // 2. The better priority wins, among equals the higher address.
                let theirs = (packet.priority, from);
                if theirs > (self.priority(), self.source) {
                    // Our own step: the better master may not have heard us yet, and has to overrule what we said.
                    self.advertise(GIVES_UP);
                    self.transition(State::Backup, Cause::Outranked, now);
                    self.follow(from, packet, now);
                } else {
                    // 3. A lesser master is told at once.
                    self.assert(now);
                }
            }
        }
    }

    /// Remembers who was heard; tells whether it is a master that got worse than it was and than we are.
    fn hear(&mut self, from: Ipv4Addr, packet: &Packet, now: Instant) -> bool {
        let former = self.heard.filter(|heard| heard.address == from);
        let best = former.map_or(packet.priority, |heard| {
            heard.best_priority.max(packet.priority)
        });
        self.heard = Some(Heard {
            address: from,
            priority: packet.priority,
            best_priority: best,
            interval: packet.interval,
            at: now,
            copy_only: self.direct.is_none_or(|direct| direct != (from, now)),
        });
        // Whoever has the least that there is has lost the rest, also if that was before it was heard.
        let got_worse = packet.priority < best || packet.priority == LEAST_PRIORITY;
        got_worse && packet.priority < self.priority()
    }

    /// Follows a master: learns its interval and waits for its silence.
    fn follow(&mut self, from: Ipv4Addr, packet: &Packet, now: Instant) {
        self.followed = Some(from);
        self.master_interval = packet.interval;
        self.due = Some(now + self.down_interval());
    }

    /// Says at once that we are the master; not more often than a tick allows, however often it is asked for.
    fn assert(&mut self, now: Instant) {
        let is_recent = |at| now < at + Version::V3.tick();
        if self.asserted.is_some_and(is_recent) {
            return;
        }
        self.asserted = Some(now);
        self.conflicts += 1;
        self.advertise(self.priority());
        self.due = Some(now + self.settings.interval);
    }

    /// Our own step: a master that said nothing for more than three intervals has been taken over from, if anybody else is
    /// there. It steps back and listens instead of insisting, and says that it leaves: what it answered in the moment of
    /// waking is overruled by the announcements of whoever is the master.
    fn notice_sleep(&mut self, now: Instant) {
        let patience = self.settings.interval.saturating_mul(2);
        let overslept = self.due.is_some_and(|due| now > due + patience);
        if self.state == State::Master && overslept && self.priority() != OWNER {
            self.advertise(GIVES_UP);
            self.master_interval = self.settings.interval;
            self.transition(State::Backup, Cause::Overslept, now);
        }
    }

    /// The one place where the state changes; sends what belongs to it and sets its timer.
    fn transition(&mut self, to: State, cause: Cause, now: Instant) {
        if self.state != to {
            self.since = now;
        }
        self.state = to;
        self.cause = cause;
        self.followed = None;
        self.due = match to {
            State::Initialize => None,
            State::Backup => Some(now + self.down_interval()),
            State::Master => {
                self.promotions += 1;
                self.heard = None;
                self.advertise(self.priority());
                Some(now + self.settings.interval)
            }
        };
    }

    /// A master tells its new priority at once: it may be the reason to take over from it.
    fn reprioritized(&mut self, former: u8, now: Instant) {
        if self.state == State::Master && self.priority() != former {
            self.advertise(self.priority());
            self.due = Some(now + self.settings.interval);
        }
    }

    fn advertise(&mut self, priority: u8) {
        let packet = Packet {
            version: self.settings.version,
            vrid: self.settings.vrid,
            priority,
            interval: self.settings.interval,
            addresses: vec![self.settings.address],
        };
        self.copy = Some(packet.encode(self.source, GROUP));
        let peers = &self.settings.peers;
        let group = peers.is_empty().then_some(GROUP);
        for destination in peers.iter().copied().chain(group) {
            if self.outgoing.len() < OUTGOING_LIMIT {
                self.outgoing.push_back(Transmit {
                    destination,
                    payload: packet.encode(self.source, destination),
                });
            }
        }
    }

    /// The owner of the address does, once it may act.
    fn obeys_nobody(&self) -> bool {
        self.priority() == OWNER && !self.fenced
    }

    fn priority(&self) -> u8 {
        effective_priority(self.settings.priority, self.penalty)
    }

    fn down_interval(&self) -> Duration {
        down_interval(self.settings.version, self.priority(), self.master_interval)
    }
}

/// Priority of a master that leaves.
const GIVES_UP: u8 = 0;
/// Packets that wait to be taken, at most; a caller that drains after each input never gets there.
const OUTGOING_LIMIT: usize = 512;

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
