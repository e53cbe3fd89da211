//! Proxy ARP: may this router answer this request, and for whom?
//!
//! A router answers for an address that lives at another site, so that hosts of the LAN send to it (RFC 1027). A
//! wrong answer steals traffic, so [`ArpResponder::answer`] checks numbered conditions and refuses by name. Whoever
//! claims such an address on this LAN is asked for it, and silences the router meanwhile; who upholds the claim does so for
//! [`OBSERVATION_TIME`]. A claim that nobody upholds is dispelled: a router that took itself for the one that answers has
//! said such things before it learned better, and hosts leave. Who upheld it is asked again when the address moves, or when
//! the control plane looks for its host. Another router of the LAN silences nobody, or both would be silent.
//!
//! Anybody can forge claims, as many as there are addresses. So one that waits for its turn to be asked about silences
//! nobody; nor does, in such a flood, one that repeats what was dispelled a moment ago before somebody upholds it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::fib::{Fib, NextHop};
use crate::ids::PortId;
use crate::notice::Mac;
use crate::packet::arp::{ArpOperation, ArpPacket};
use crate::snapshot::LanPort;

/// How long an address counts as alive on the LAN after an ARP packet from it.
pub const OBSERVATION_TIME: Duration = Duration::from_secs(60);
/// Most addresses that are observed; the oldest observation gives way.
pub const OBSERVATION_LIMIT: usize = 1024;
/// How often somebody who claims an address is asked for it, and the time between.
pub const QUESTIONS: u8 = 3;
/// Time for an answer. A router that took itself for the one that answers upholds its claims until it hears the next
/// advertisement, usually 300 ms later; the second question comes after that, and all is over within a second.
pub const ANSWER_TIME: Duration = Duration::from_millis(320);
/// Most claims that are asked about at the same time; the others wait for their turn.
pub const DOUBT_LIMIT: usize = 32;
/// For how long after claims had to wait, and after nobody upheld one, the next ones do not silence while they are asked about.
pub const DISTRUST_TIME: Duration = Duration::from_secs(60);
/// Most addresses about whose probes notices are sent within [`NOTICE_INTERVAL`].
pub const PROBE_LIMIT: usize = 1024;
/// Shortest time between two notices about the same address.
pub const NOTICE_INTERVAL: Duration = Duration::from_secs(60);
/// Most answers per sender and [`RATE_WINDOW`].
pub const RATE_LIMIT: u16 = 100;
/// Time in which [`RATE_LIMIT`] answers are allowed.
pub const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Why a request is not answered, in the order of the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// No request.
    NotRequest,
    /// This router does not answer for the target.
    NotAnswered,
    /// This router may not answer on this LAN now.
    GateClosed,
    /// The target does not live behind a tunnel.
    NotByTunnel,
    /// A probe (RFC 5227 section 2.1.1): somebody wants to use the address.
    Probe,
    /// The sender asks for its own address: an announcement.
    OwnAddress,
    /// The sender is neither in the on-link subnet nor in a pool.
    OffLink,
    /// Somebody on this LAN uses the address.
    Alive,
    /// The sender asks too often.
    RateLimited,
}

impl Withheld {
    /// Returns the short name for events, `samctl explain` and `samctl trace`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotRequest => "not-request",
            Self::NotAnswered => "not-answered",
            Self::GateClosed => "gate-closed",
            Self::NotByTunnel => "not-by-tunnel",
            Self::Probe => "probe",
            Self::OwnAddress => "own-address",
            Self::OffLink => "off-link",
            Self::Alive => "alive",
            Self::RateLimited => "rate-limited",
        }
    }

    /// Returns the reason in words for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NotRequest => "it is no request",
            Self::NotAnswered => "this router does not answer for the address",
            Self::GateClosed => "this router may not act on the LAN now",
            Self::NotByTunnel => "the address does not live behind a tunnel",
            Self::Probe => "it is a probe: somebody wants to use the address",
            Self::OwnAddress => "the sender asks for its own address",
            Self::OffLink => "the sender is neither in the LAN's subnet nor in a pool",
            Self::Alive => "somebody on the LAN uses the address",
            Self::RateLimited => "the sender asks too often",
        }
    }

    /// Tells whether a request for one of our addresses was refused; the others are ordinary LAN traffic.
    #[must_use]
    pub fn is_deliberate(self) -> bool {
        !matches!(self, Self::NotRequest | Self::NotAnswered)
    }
}

/// Decides about ARP requests on all LAN ports.
#[derive(Debug)]
pub struct ArpResponder {
    observations: BTreeMap<(PortId, Ipv4Addr), Observation>,
    /// Claims that are asked about; a few, for the packet path asks after each batch when the next one is due.
    doubts: BTreeMap<(PortId, Ipv4Addr), Doubt>,
    /// Claims to be asked about after those; each has an observation.
    waiting: BTreeSet<(Turn, PortId, Ipv4Addr)>,
    /// When one had to wait last.
    flooded: Option<Instant>,
    /// Addresses that were probed, and when that was told last.
    probes: BTreeMap<(PortId, Ipv4Addr), Instant>,
    /// One per hash of the sender's MAC and IP address; senders that share one share its limit. The IP address alone
    /// would let one host use up the allowance of another by its name.
    buckets: Vec<Bucket>,
}

/// Who waits is asked about by whether the last claim was dispelled a moment ago, then by when it was made: a host that has
/// arrived does not wait behind a flood that goes round.
type Turn = (bool, Instant);

/// Somebody else claimed an address that we answer for.
#[derive(Debug, Clone, Copy)]
struct Observation {
    seen: Instant,
    noticed: Option<Instant>,
    /// Made by somebody who is no router of this LAN.
    by_host: bool,
    /// Upheld, or asked about for the first time in a while.
    believed: bool,
    /// Its turn to be asked about, where it waits for one.
    waits: Option<Turn>,
    /// When nobody upheld it last.
    dispelled: Option<Instant>,
}

impl Observation {
    fn new(now: Instant) -> Self {
        Self {
            seen: now,
            noticed: None,
            by_host: false,
            believed: false,
            waits: None,
            dispelled: None,
        }
    }

    /// Returns until when it silences this router.
    fn silences_until(&self) -> Option<Instant> {
        (self.by_host && self.believed).then_some(self.seen + OBSERVATION_TIME)
    }

    /// Tells whether nobody upheld such a claim a moment ago.
    fn is_distrusted(&self, now: Instant) -> bool {
        self.dispelled.is_some_and(|at| now < at + DISTRUST_TIME)
    }
}

/// A claim that somebody is asked about.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    asked: u8,
    /// After how many questions without an answer it is dispelled.
    most: u8,
    next: Instant,
}

impl Doubt {
    fn new(now: Instant) -> Self {
        Self {
            asked: 0,
            most: QUESTIONS,
            next: now,
        }
    }
}

/// What to do about a claim in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inquiry {
    /// Ask the LAN who has the address.
    Ask(PortId, Ipv4Addr),
    /// Nobody upheld the claim, which is forgotten: announce the address again.
    Dispelled(PortId, Ipv4Addr),
}

/// Answers given since `start`.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    start: Option<Instant>,
    answers: u16,
}

impl ArpResponder {
    /// Makes a responder that has observed nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            observations: BTreeMap::new(),
            doubts: BTreeMap::new(),
            waiting: BTreeSet::new(),
            flooded: None,
            probes: BTreeMap::new(),
            buckets: vec![Bucket::default(); BUCKETS],
        }
    }

    /// Decides whether to answer, and returns the reply.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn answer(
        &mut self,
        request: &ArpPacket,
        port: &LanPort,
        fib: &Fib,
        now: Instant,
    ) -> Result<ArpPacket, Withheld> {
        // 1. It is a request.
        if request.operation != ArpOperation::Request {
            return Err(Withheld::NotRequest);
        }
        // 2. We are told to answer for the target.
        if !port.is_listed(request.target) {
            return Err(Withheld::NotAnswered);
        }
        // 3. We may answer on this LAN now.
        if !port.gate_open {
            return Err(Withheld::GateClosed);
        }
        // 4. The target lives behind a tunnel, for an address of this LAN answers for itself; or it is ours by election.
        if !serves(request.target, port, fib) {
            return Err(Withheld::NotByTunnel);
        }
        // 5. Nobody is about to take the address (RFC 5227 section 2.1.1).
        if request.sender.is_unspecified() {
            return Err(Withheld::Probe);
        }
        // 6. The sender does not claim the target for itself.
        if request.sender == request.target {
            return Err(Withheld::OwnAddress);
        }
        // 7. The sender is on-link.
        if !port.is_on_link(request.sender) {
            return Err(Withheld::OffLink);
        }
        // 8. Nobody on this LAN uses the target.
        if self.is_alive(port.id, request.target, now) {
            return Err(Withheld::Alive);
        }
        // 9. The sender does not flood us.
        if !self.spend(request, now) {
            return Err(Withheld::RateLimited);
        }
        Ok(request.reply(port.mac))
    }

    /// Decides whether to announce an address: the conditions of [`Self::answer`] that do not depend on a request.
    #[must_use]
    pub fn may_announce(&self, address: Ipv4Addr, port: &LanPort, fib: &Fib, now: Instant) -> bool {
        port.gate_open
            && port.gratuitous_arp
            && port.is_listed(address)
            && serves(address, port, fib)
            && !self.is_alive(port.id, address, now)
    }

    /// Notes that `mac` claims `address`, and returns whether the control plane should be told: not while the claim is in
    /// doubt. `upheld` tells whether it is made because we asked.
    ///
    /// Only addresses that we answer for matter, and silence while the gate is closed: then another router answers.
    pub fn observe(
        &mut self,
        address: Ipv4Addr,
        mac: Mac,
        upheld: bool,
        port: &LanPort,
        now: Instant,
    ) -> bool {
        if mac == port.mac || !port.is_listed(address) {
            return false;
        }
        let key = (port.id, address);
        if !self.observations.contains_key(&key) {
            self.make_room(now);
        }
        // What was true a while ago says nothing about now.
        let is_new = !self.is_alive(port.id, address, now) && !self.doubts.contains_key(&key);
        let by_host = !port.siblings.contains(&mac);
        let fresh = Observation::new(now);
        let observation = self.observations.entry(key).or_insert(fresh);
        observation.believed &= !is_new;
        // A router that speaks after a host does not make the host forgotten.
        if by_host || !observation.by_host || now >= observation.seen + OBSERVATION_TIME {
            (observation.seen, observation.by_host) = (now, by_host);
        }
        if is_new && port.gate_open {
            self.question(key, now);
        }
        // A router that took itself for the one that answers may answer once more before it learns better. And what a host
        // claims no router confirms.
        let flooded = self.is_flooded(now);
        let confirmed = upheld && self.doubts.get(&key).is_some_and(|doubt| doubt.asked > 1);
        let Some(observation) = self.observations.get_mut(&key) else {
            return false;
        };
        if confirmed && (by_host || !observation.by_host) {
            (observation.believed, observation.dispelled) = (true, None);
            self.doubts.remove(&key);
        } else if by_host
            && !flooded
            && let Some(doubt) = self.doubts.get_mut(&key)
            && doubt.asked == QUESTIONS
        {
            // Whoever arrived after the last question has not been asked.
            doubt.most = QUESTIONS + 1;
        }
        let is_due = observation
            .noticed
            .is_none_or(|noticed| now >= noticed + NOTICE_INTERVAL);
        let is_certain = observation.believed && !self.doubts.contains_key(&key);
        let notice = port.gate_open && is_due && is_certain;
        if notice {
            observation.noticed = Some(now);
        }
        notice
    }

    /// Has those who claimed `address` asked anew: its host may have moved since. Nothing where nobody did.
    pub fn doubt(&mut self, port: PortId, address: Ipv4Addr, now: Instant) {
        if self.is_alive(port, address, now) {
            self.question((port, address), now);
        }
    }

    /// Has a claim asked about, in its turn.
    fn question(&mut self, key: (PortId, Ipv4Addr), now: Instant) {
        let observation = self.observations.get_mut(&key);
        let idle = observation.filter(|observation| observation.waits.is_none());
        if let Some(observation) = idle.filter(|_| !self.doubts.contains_key(&key)) {
            let turn = (observation.is_distrusted(now), now);
            observation.waits = Some(turn);
            self.waiting.insert((turn, key.0, key.1));
        }
        self.take_turns(now);
        if !self.waiting.is_empty() {
            self.flooded = Some(now);
        }
    }

    /// Tells whether claims had to wait a moment ago.
    fn is_flooded(&self, now: Instant) -> bool {
        self.flooded.is_some_and(|at| now < at + DISTRUST_TIME)
    }

    /// Begins to ask about as many of the claims that wait as may be asked about.
    fn take_turns(&mut self, now: Instant) {
        // Where claims come one at a time, a host may have arrived since the last one was dispelled.
        let flooded = self.is_flooded(now);
        while self.doubts.len() < DOUBT_LIMIT
            && let Some((_, port, address)) = self.waiting.pop_first()
        {
            let key = (port, address);
            if let Some(observation) = self.observations.get_mut(&key) {
                observation.waits = None;
                observation.believed |= !(flooded && observation.is_distrusted(now));
                self.doubts.insert(key, Doubt::new(now));
            }
        }
    }

    /// Takes the next thing to do about claims in doubt.
    pub fn poll_inquiry(&mut self, now: Instant) -> Option<Inquiry> {
        self.take_turns(now);
        let mut doubts = self.doubts.iter_mut();
        let (&(port, address), doubt) = doubts.find(|(_, doubt)| doubt.next <= now)?;
        if doubt.asked == doubt.most {
            self.doubts.remove(&(port, address));
            if let Some(observation) = self.observations.get_mut(&(port, address)) {
                (observation.believed, observation.dispelled) = (false, Some(now));
            }
            return Some(Inquiry::Dispelled(port, address));
        }
        doubt.asked += 1;
        doubt.next = now + ANSWER_TIME;
        Some(Inquiry::Ask(port, address))
    }

    /// Returns when [`Self::poll_inquiry`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_turn = self.doubts.len() < DOUBT_LIMIT;
        let turn = self.waiting.first().filter(|_| has_turn);
        let doubts = self.doubts.values().map(|doubt| doubt.next);
        doubts.chain(turn.map(|((_, since), ..)| *since)).min()
    }

    /// Notes that `address` was probed, and returns whether the control plane should be told.
    pub fn note_probe(&mut self, port: PortId, address: Ipv4Addr, now: Instant) -> bool {
        let is_recent = |noticed: &Instant| now < *noticed + NOTICE_INTERVAL;
        if self.probes.get(&(port, address)).is_some_and(is_recent) {
            return false;
        }
        if self.probes.len() >= PROBE_LIMIT {
            self.probes.retain(|_, noticed| is_recent(noticed));
        }
        let is_told = self.probes.len() < PROBE_LIMIT;
        if is_told {
            self.probes.insert((port, address), now);
        }
        is_told
    }

    /// Forgets who claimed `address`: it has moved, and what was seen before proves nothing.
    pub fn forget(&mut self, port: PortId, address: Ipv4Addr) {
        let observation = self.observations.remove(&(port, address));
        if let Some(turn) = observation.and_then(|observation| observation.waits) {
            self.waiting.remove(&(turn, port, address));
        }
        self.doubts.remove(&(port, address));
    }

    /// Lists the addresses of a port that somebody else claimed, as far as that is remembered.
    #[must_use]
    pub fn observed(&self, port: PortId) -> Vec<Ipv4Addr> {
        let ends = (port, Ipv4Addr::UNSPECIFIED)..=(port, Ipv4Addr::BROADCAST);
        let observations = self.observations.range(ends);
        observations.map(|((_, address), _)| *address).collect()
    }

    /// Tells whether somebody else used `address` recently.
    #[must_use]
    pub fn is_alive(&self, port: PortId, address: Ipv4Addr, now: Instant) -> bool {
        self.silent_until(port, address)
            .is_some_and(|until| now < until)
    }

    /// Returns when what was seen of `address` no longer silences this router.
    #[must_use]
    pub fn silent_until(&self, port: PortId, address: Ipv4Addr) -> Option<Instant> {
        self.observations.get(&(port, address))?.silences_until()
    }

    /// Makes sure that one more observation fits; those that nobody upheld make room first.
    fn make_room(&mut self, now: Instant) {
        if self.observations.len() < OBSERVATION_LIMIT {
            return;
        }
        self.observations
            .retain(|_, observation| now < observation.seen + OBSERVATION_TIME);
        if self.observations.len() >= OBSERVATION_LIMIT {
            let oldest = self
                .observations
                .iter()
                .min_by_key(|(_, observation)| (observation.believed, observation.seen));
            if let Some((port, address)) = oldest.map(|(&key, _)| key) {
                self.forget(port, address);
            }
        }
    }

    /// Takes one answer from the sender's allowance.
    fn spend(&mut self, request: &ArpPacket, now: Instant) -> bool {
        let bucket = &mut self.buckets[bucket_of(request.sender_mac, request.sender)];
        if bucket.start.is_none_or(|start| now >= start + RATE_WINDOW) {
            *bucket = Bucket {
                start: Some(now),
                answers: 0,
            };
        }
        if bucket.answers >= RATE_LIMIT {
            return false;
        }
        bucket.answers += 1;
        true
    }
}

impl Default for ArpResponder {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells whether an address of the answer set is to be answered for: it lives behind a tunnel, or is the virtual one.
fn serves(address: Ipv4Addr, port: &LanPort, fib: &Fib) -> bool {
    port.virtual_address == Some(address) || matches!(fib.lookup(address), Some(NextHop::Tunnel(_)))
}

/// Number of rate limit buckets.
const BUCKETS: usize = 1024;

/// Returns the bucket of a sender: FNV-1a over its addresses.
fn bucket_of(mac: Mac, address: Ipv4Addr) -> usize {
    let octets = mac.into_iter().chain(address.octets());
    let hash = octets.fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    let [high, low] = [hash >> 16, hash & 0xffff];
    // The low bits of FNV mix least.
    usize::try_from(high ^ low).unwrap_or_default() % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::FibBuilder;
    use crate::ids::TunnelId;
    use crate::sample::start;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const HOST: Mac = [2, 0, 0, 0, 0, 2];
    const SIBLING: Mac = [2, 0, 0, 0, 0, 3];
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 10);
    const CAPTURED: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 12);
    const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 13);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 61, 10);

    #[test]
    fn a_claim_that_nobody_upholds_is_asked_about_and_forgotten() {
        let (mut responder, port, fib, now) = setup();
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        let ask = Some(Inquiry::Ask(port.id, CAPTURED));
        responder.observe(CAPTURED, HOST, false, &port, now);
        assert_eq!(responder.poll_timeout(), Some(now));

        for question in 0..u32::from(QUESTIONS) {
            let at = now + ANSWER_TIME * question;
            assert_eq!(responder.poll_inquiry(at), ask);
            assert_eq!(responder.poll_inquiry(at), None);
            let answer = responder.answer(&request, &port, &fib, at);
            assert_eq!(answer, Err(Withheld::Alive));
        }
        let end = now + ANSWER_TIME * u32::from(QUESTIONS);
        let dispelled = Some(Inquiry::Dispelled(port.id, CAPTURED));

        assert_eq!(responder.poll_inquiry(end), dispelled);
        assert_eq!(responder.poll_timeout(), None);
        assert!(responder.answer(&request, &port, &fib, end).is_ok());
    }

    #[test]
    fn who_claims_after_the_last_question_is_asked_once_more() {
        for is_there in [true, false] {
            let (mut responder, port, _, mut now) = setup();
            let ask = Some(Inquiry::Ask(port.id, CAPTURED));
            responder.observe(CAPTURED, HOST, false, &port, now);
            for _ in 0..QUESTIONS {
                assert_eq!(responder.poll_inquiry(now), ask);
                now += ANSWER_TIME;
            }
            // It was elsewhere, and is back.
            responder.observe(CAPTURED, HOST, false, &port, now - ANSWER_TIME / 2);
            assert_eq!(responder.poll_inquiry(now), ask);

            // However often it is claimed, without an answer it is asked about no more.
            responder.observe(CAPTURED, HOST, is_there, &port, now);
            now += ANSWER_TIME;
            let dispelled = Inquiry::Dispelled(port.id, CAPTURED);
            let end = (!is_there).then_some(dispelled);
            assert_eq!(responder.poll_inquiry(now), end);
            assert_eq!(responder.is_alive(port.id, CAPTURED, now), is_there);
        }
    }

    #[test]
    fn a_claim_that_is_upheld_silences_and_nobody_is_asked_again() {
        let (mut responder, port, _, now) = setup();
        responder.observe(CAPTURED, HOST, false, &port, now);

        uphold(&mut responder, &port, now);
        responder.observe(CAPTURED, HOST, false, &port, now);

        assert_eq!(responder.poll_timeout(), None);
        assert!(responder.is_alive(port.id, CAPTURED, now + ANSWER_TIME * 9));
    }

    #[test]
    fn another_router_of_the_lan_silences_nobody_and_is_asked_and_told_all_the_same() {
        let (mut responder, port, fib, now) = setup();
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        assert!(!responder.observe(CAPTURED, SIBLING, false, &port, now));
        let ask = Some(Inquiry::Ask(port.id, CAPTURED));
        assert_eq!(responder.poll_inquiry(now), ask);
        assert!(responder.answer(&request, &port, &fib, now).is_ok());
        assert!(responder.may_announce(CAPTURED, &port, &fib, now));
        assert!(!responder.observe(CAPTURED, SIBLING, true, &port, now));
        let later = now + ANSWER_TIME;
        assert_eq!(responder.poll_inquiry(later), ask);
        assert!(responder.observe(CAPTURED, SIBLING, true, &port, later));
        assert!(responder.answer(&request, &port, &fib, later).is_ok());

        responder.observe(CAPTURED, HOST, false, &port, later);
        responder.observe(CAPTURED, SIBLING, false, &port, later);
        let answer = responder.answer(&request, &port, &fib, later);
        assert_eq!(answer, Err(Withheld::Alive), "a host does");
    }

    #[test]
    fn a_router_that_answers_until_the_next_advertisement_is_not_believed() {
        let (mut responder, port, _, now) = setup();
        let advertised = now + Duration::from_millis(300);
        responder.observe(CAPTURED, HOST, false, &port, now);
        for at in [now, advertised] {
            while responder.poll_inquiry(at).is_some() {
                responder.observe(CAPTURED, HOST, true, &port, at);
            }
        }

        let later = (1..=3).map(|turn| now + ANSWER_TIME * turn);
        let said: Vec<_> = later.filter_map(|at| responder.poll_inquiry(at)).collect();

        assert_eq!(said.last(), Some(&Inquiry::Dispelled(port.id, CAPTURED)));
        assert!(!responder.is_alive(port.id, CAPTURED, now + 3 * ANSWER_TIME));
    }

    #[test]
    fn a_claim_that_was_upheld_long_ago_is_asked_about_again() {
        let (mut responder, port, _, now) = setup();
        responder.observe(CAPTURED, HOST, false, &port, now);
        assert!(responder.poll_inquiry(now).is_some());
        let later = now + ANSWER_TIME;
        assert!(responder.poll_inquiry(later).is_some());
        responder.observe(CAPTURED, HOST, true, &port, later);

        let much_later = later + OBSERVATION_TIME;
        responder.observe(CAPTURED, HOST, false, &port, much_later);

        assert_eq!(responder.poll_timeout(), Some(much_later));
    }

    #[test]
    fn a_claim_that_was_upheld_is_doubted_anew_when_its_host_may_have_moved() {
        for upheld in [true, false] {
            let (mut responder, port, _, now) = setup();
            responder.doubt(port.id, CAPTURED, now);
            assert_eq!(responder.poll_timeout(), None, "nobody claimed it");
            responder.observe(CAPTURED, HOST, false, &port, now);
            let later = uphold(&mut responder, &port, now);
            assert_eq!(responder.poll_timeout(), None);

            responder.doubt(port.id, CAPTURED, later);
            let mut end = later;
            if upheld {
                end = uphold(&mut responder, &port, later);
            }
            while responder.poll_inquiry(end).is_some() {
                end += ANSWER_TIME;
                responder.doubt(port.id, CAPTURED, end);
            }

            assert_eq!(responder.is_alive(port.id, CAPTURED, end), upheld);
        }
    }

    #[test]
    fn behind_a_closed_gate_nobody_is_asked() {
        let (mut responder, port, _, now) = setup();
        let closed = LanPort {
            gate_open: false,
            ..port
        };
        responder.observe(CAPTURED, HOST, false, &closed, now);
        assert_eq!(responder.poll_timeout(), None);
    }

    #[test]
    fn of_a_flood_of_claims_only_those_silence_that_are_asked_about() {
        let (mut responder, mut port, _, start) = setup();
        port.answers = (0..1000_u32).map(flooded).collect();
        let upheld = flooded(999);
        for address in port.answers.clone().iter() {
            responder.observe(address, HOST, false, &port, start);
        }

        let mut now = start;
        let mut asked = BTreeSet::new();
        while let Some(due) = responder.poll_timeout() {
            now = now.max(due);
            while let Some(inquiry) = responder.poll_inquiry(now) {
                if let Inquiry::Ask(_, address) = inquiry {
                    asked.insert(address);
                    responder.observe(address, HOST, address == upheld, &port, now);
                }
            }
            let silent = port.answers.iter();
            let silent = silent.filter(|address| responder.is_alive(port.id, *address, now));
            assert!(silent.count() <= DOUBT_LIMIT + 1);
        }

        assert_eq!(asked.len(), 1000, "each in its turn");
        let rounds = 1000_u32.div_ceil(u32::try_from(DOUBT_LIMIT).unwrap());
        assert!(now <= start + rounds * u32::from(QUESTIONS) * ANSWER_TIME);
        let alive = |address: &Ipv4Addr| responder.is_alive(port.id, *address, now);
        let alive: Vec<Ipv4Addr> = port.answers.iter().filter(alive).collect();
        assert_eq!(alive, [upheld], "who upholds it is believed");
    }

    #[test]
    fn a_claim_that_repeats_what_was_dispelled_silences_in_a_flood_once_it_is_upheld() {
        let (mut responder, mut port, _, mut now) = setup();
        let claim = |responder: &mut ArpResponder, port: &LanPort, count: u32, now| {
            for index in 0..count {
                responder.observe(flooded(index), HOST, false, port, now);
            }
        };
        let most = u32::try_from(DOUBT_LIMIT).unwrap() + 1;
        port.answers = (0..most).map(flooded).collect();
        for (count, silences) in [(1, true), (most, true), (1, false)] {
            claim(&mut responder, &port, count, now);
            assert_eq!(responder.is_alive(port.id, CAPTURED, now), silences);
            while let Some(due) = responder.poll_timeout() {
                now = now.max(due);
                while responder.poll_inquiry(now).is_some() {}
            }
        }

        claim(&mut responder, &port, 1, now);
        let later = uphold(&mut responder, &port, now);
        assert!(responder.is_alive(port.id, CAPTURED, later));

        let much_later = later + OBSERVATION_TIME + DISTRUST_TIME;
        responder.observe(CAPTURED, HOST, false, &port, much_later);
        assert!(responder.is_alive(port.id, CAPTURED, much_later));
    }

    #[test]
    fn a_request_that_meets_all_conditions_is_answered_by_our_mac() {
        let (mut responder, port, fib, now) = setup();
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        let reply = responder
            .answer(&request, &port, &fib, now)
            .expect("answered");
        assert_eq!(reply, request.reply(OURS));
        assert_eq!(
            (reply.sender, reply.target, reply.target_mac),
            (CAPTURED, CLIENT, HOST)
        );
    }

    #[test]
    fn each_condition_refuses_by_its_own_name() {
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        let open = setup().1;
        let closed = LanPort {
            gate_open: false,
            ..open.clone()
        };
        for (condition, packet, port, expected) in [
            (1, request.reply(HOST), &open, Withheld::NotRequest),
            (
                2,
                ArpPacket {
                    target: STRANGER,
                    ..request
                },
                &open,
                Withheld::NotAnswered,
            ),
            (3, request, &closed, Withheld::GateClosed),
            (
                4,
                ArpPacket {
                    target: LOCAL,
                    ..request
                },
                &open,
                Withheld::NotByTunnel,
            ),
            (
                5,
                ArpPacket {
                    sender: Ipv4Addr::UNSPECIFIED,
                    ..request
                },
                &open,
                Withheld::Probe,
            ),
            (
                6,
                ArpPacket {
                    sender: CAPTURED,
                    ..request
                },
                &open,
                Withheld::OwnAddress,
            ),
            (
                7,
                ArpPacket {
                    sender: STRANGER,
                    ..request
                },
                &open,
                Withheld::OffLink,
            ),
        ] {
            let (mut responder, _, fib, now) = setup();
            let answer = responder.answer(&packet, port, &fib, now);
            assert_eq!(answer, Err(expected), "condition {condition}");
        }
    }

    #[test]
    fn a_sender_in_a_pool_is_on_link_whatever_the_subnet() {
        let (mut responder, port, fib, now) = setup();
        let sender = Ipv4Addr::new(10, 77, 62, 10);
        let request = ArpPacket::request(HOST, sender, CAPTURED);
        assert!(responder.answer(&request, &port, &fib, now).is_ok());
    }

    #[test]
    fn condition_8_an_address_seen_on_the_lan_is_not_answered_until_the_observation_expires() {
        let (mut responder, port, fib, now) = setup();
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        responder.observe(CAPTURED, HOST, false, &port, now - ANSWER_TIME);
        assert!(responder.poll_inquiry(now - ANSWER_TIME).is_some());
        assert!(responder.poll_inquiry(now).is_some());
        assert!(responder.observe(CAPTURED, HOST, true, &port, now));
        assert!(!responder.may_announce(CAPTURED, &port, &fib, now));
        let last = now + OBSERVATION_TIME - Duration::from_millis(1);
        assert_eq!(
            responder.answer(&request, &port, &fib, last),
            Err(Withheld::Alive)
        );
        assert!(
            responder
                .answer(&request, &port, &fib, now + OBSERVATION_TIME)
                .is_ok()
        );
    }

    #[test]
    fn condition_9_a_sender_gets_a_hundred_answers_per_second() {
        let (mut responder, port, fib, now) = setup();
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        for _ in 0..RATE_LIMIT {
            assert!(responder.answer(&request, &port, &fib, now).is_ok());
        }
        assert_eq!(
            responder.answer(&request, &port, &fib, now),
            Err(Withheld::RateLimited)
        );
        let other = ArpPacket {
            sender: LOCAL,
            ..request
        };
        assert!(responder.answer(&other, &port, &fib, now).is_ok());
        assert!(
            responder
                .answer(&request, &port, &fib, now + RATE_WINDOW)
                .is_ok()
        );
    }

    #[test]
    fn a_host_cannot_use_up_the_answers_of_another_in_its_name() {
        let (mut responder, port, fib, now) = setup();
        let in_its_name = ArpPacket::request([2, 0, 0, 0, 0, 9], CLIENT, CAPTURED);
        for _ in 0..2 * RATE_LIMIT {
            responder.answer(&in_its_name, &port, &fib, now).ok();
        }
        let request = ArpPacket::request(HOST, CLIENT, CAPTURED);
        assert!(responder.answer(&request, &port, &fib, now).is_ok());
    }

    #[test]
    fn only_foreign_claims_of_answered_addresses_are_observed() {
        let (mut responder, port, _, now) = setup();
        assert!(!responder.observe(CAPTURED, OURS, false, &port, now));
        assert!(!responder.observe(CLIENT, HOST, false, &port, now));
        assert!(!responder.is_alive(port.id, CAPTURED, now));
        assert!(!responder.is_alive(port.id, CLIENT, now));
    }

    #[test]
    fn a_foreign_claim_is_told_once_a_minute_and_only_while_the_gate_is_open() {
        let (mut responder, port, _, now) = setup();
        let closed = LanPort {
            gate_open: false,
            ..port.clone()
        };
        assert!(!responder.observe(CAPTURED, HOST, false, &closed, now));
        assert!(!responder.observe(CAPTURED, HOST, false, &port, now - ANSWER_TIME));
        for at in [now - ANSWER_TIME, now] {
            assert!(responder.poll_inquiry(at).is_some());
        }
        assert!(responder.observe(CAPTURED, HOST, true, &port, now));
        let soon = now + NOTICE_INTERVAL - Duration::from_millis(1);
        assert!(!responder.observe(CAPTURED, HOST, false, &port, soon));
        assert!(!responder.observe(CAPTURED, HOST, false, &closed, now + NOTICE_INTERVAL));
        assert!(responder.observe(CAPTURED, HOST, false, &port, soon + NOTICE_INTERVAL));
    }

    #[test]
    fn a_forgotten_observation_no_longer_silences() {
        let (mut responder, port, _, now) = setup();
        responder.observe(CAPTURED, HOST, false, &port, now);
        responder.forget(port.id, CAPTURED);
        assert!(!responder.is_alive(port.id, CAPTURED, now));
    }

    #[test]
    fn the_oldest_observation_gives_way_when_the_table_is_full() {
        let (mut responder, mut port, _, now) = setup();
        let limit = u32::try_from(OBSERVATION_LIMIT).unwrap();
        port.answers = (0..=limit).map(flooded).collect();
        for index in 0..=limit {
            let at = now + Duration::from_millis(u64::from(index));
            responder.observe(flooded(index), HOST, false, &port, at);
        }
        assert_eq!(responder.observations.len(), OBSERVATION_LIMIT);
        let is_known = |address| responder.observations.contains_key(&(port.id, address));
        let asked = u32::try_from(DOUBT_LIMIT).unwrap();
        assert!(is_known(flooded(0)), "it is asked about");
        assert!(!is_known(flooded(asked)) && is_known(flooded(limit)));
        assert_eq!(responder.waiting.len(), OBSERVATION_LIMIT - DOUBT_LIMIT);
    }

    #[test]
    fn a_probe_is_told_once_a_minute_per_address_and_of_a_flood_only_so_many() {
        let (mut responder, port, _, now) = setup();
        assert!(responder.note_probe(port.id, CAPTURED, now));
        let soon = now + NOTICE_INTERVAL - Duration::from_millis(1);
        assert!(!responder.note_probe(port.id, CAPTURED, soon));
        assert!(responder.note_probe(port.id, LOCAL, soon));
        let later = now + NOTICE_INTERVAL;
        assert!(responder.note_probe(port.id, CAPTURED, later));

        let flood = |responder: &mut ArpResponder, now| {
            let addresses = (0..5000).map(Ipv4Addr::from_bits);
            addresses
                .filter(|address| responder.note_probe(port.id, *address, now))
                .count()
        };
        assert_eq!(flood(&mut responder, later), PROBE_LIMIT - 2);
        assert_eq!(flood(&mut responder, later + NOTICE_INTERVAL), PROBE_LIMIT);
    }

    fn flooded(index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(CAPTURED.to_bits() + index)
    }

    /// Has the host that claimed the address answer until it is believed; returns when.
    fn uphold(responder: &mut ArpResponder, port: &LanPort, now: Instant) -> Instant {
        assert!(responder.poll_inquiry(now).is_some());
        responder.observe(CAPTURED, HOST, true, port, now);
        let later = now + ANSWER_TIME;
        assert_eq!(responder.poll_timeout(), Some(later), "once is not enough");
        assert!(responder.poll_inquiry(later).is_some());
        responder.observe(CAPTURED, HOST, true, port, later);
        later
    }

    fn setup() -> (ArpResponder, LanPort, Fib, Instant) {
        let port = LanPort {
            id: PortId(1),
            interface: 2,
            name: "lan0".to_owned(),
            mac: OURS,
            address: Some(Ipv4Addr::new(10, 77, 60, 1)),
            subnet: "10.77.60.0/24".parse().unwrap(),
            pools: vec!["10.77.62.0/24".parse().unwrap()],
            mtu: 1500,
            answers: [CAPTURED, LOCAL].into_iter().collect(),
            gate_open: true,
            gratuitous_arp: true,
            virtual_address: None,
            conflicts: 0,
            siblings: vec![SIBLING],
            beside: Vec::new(),
            discovers: false,
            asks: false,
        };
        let mut fib = FibBuilder::default();
        fib.insert("10.77.60.0/24".parse().unwrap(), NextHop::Lan(PortId(1)));
        fib.insert(CAPTURED.into(), NextHop::Tunnel(TunnelId(0)));
        (ArpResponder::new(), port, fib.build(), start())
    }
}
