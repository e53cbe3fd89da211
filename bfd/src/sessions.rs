//! All sessions of one router: which datagram belongs to which (RFC 5880 section 6.3, RFC 5881 section 3).
//!
//! Contract: one mutation, then drain `poll_transmit` and `poll_event`. What arrived is handed in before
//! `handle_timeout`, so that a thread that was late does not give up peers whose packets wait.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::TTL;
use crate::jitter::Jitter;
use crate::packet::{Malformed, Packet};
use crate::session::{Event, Session};
use crate::state::State;
use crate::status::SessionStatus;
use crate::timing::Timing;

/// Why a datagram does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// It crossed a router, or more than it may (RFC 5881 section 5, RFC 5883 section 5).
    Ttl,
    /// It is no control packet (RFC 5880 section 6.8.6).
    Malformed(Malformed),
    /// Its sender is no peer.
    UnknownPeer,
    /// It names a discriminator that is not ours, or that of another session.
    UnknownDiscriminator,
}

impl Discard {
    /// All reasons, in order.
    pub const ALL: [Self; 10] = [
        Self::Ttl,
        Self::Malformed(Malformed::Version),
        Self::Malformed(Malformed::Length),
        Self::Malformed(Malformed::Multiplier),
        Self::Malformed(Malformed::Multipoint),
        Self::Malformed(Malformed::Discriminator),
        Self::Malformed(Malformed::Unbound),
        Self::Malformed(Malformed::Authentication),
        Self::UnknownPeer,
        Self::UnknownDiscriminator,
    ];

    /// Returns what it means, one sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ttl => "the TTL is too low: the datagram crossed a router, or too many",
            Self::Malformed(Malformed::Version) => "the version is not 1",
            Self::Malformed(Malformed::Length) => "the length is wrong",
            Self::Malformed(Malformed::Multiplier) => "the detection multiplier is zero",
            Self::Malformed(Malformed::Multipoint) => "the multipoint bit is set",
            Self::Malformed(Malformed::Discriminator) => "the sender's discriminator is zero",
            Self::Malformed(Malformed::Unbound) => "our discriminator is missing",
            Self::Malformed(Malformed::Authentication) => "authentication is not configured",
            Self::UnknownPeer => "the sender is no peer",
            Self::UnknownDiscriminator => "the discriminator is not that of the session",
        }
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Malformed(Malformed::Version) => "version",
            Self::Malformed(Malformed::Length) => "length",
            Self::Malformed(Malformed::Multiplier) => "multiplier",
            Self::Malformed(Malformed::Multipoint) => "multipoint",
            Self::Malformed(Malformed::Discriminator) => "discriminator",
            Self::Malformed(Malformed::Unbound) => "unbound",
            Self::Malformed(Malformed::Authentication) => "authentication",
            Self::UnknownPeer => "unknown-peer",
            Self::UnknownDiscriminator => "unknown-discriminator",
        }
    }
}

/// A session, and when it ends if its peer is none any more.
#[derive(Debug)]
struct Entry {
    session: Session,
    /// TTL with which its datagrams arrive at least.
    least_ttl: u8,
    /// Set while the peer is told that we leave.
    leaves_at: Option<Instant>,
}

/// All sessions of one router.
#[derive(Debug)]
pub struct Sessions {
    entries: BTreeMap<Ipv4Addr, Entry>,
    /// Whether anyone may send in the name of a peer.
    open: bool,
    jitter: Jitter,
    discarded: BTreeMap<Discard, u64>,
}

impl Sessions {
    /// Makes a table without sessions, for links that vouch for the addresses of senders. `seed` need not be secret.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            open: false,
            jitter: Jitter::new(seed),
            discarded: BTreeMap::new(),
        }
    }

    /// The same for links that vouch for nobody: a session that is up heeds only who knows its discriminator. That a peer
    /// began anew, and does not know it any more, shows when the detection time is over. `seed` must be one that nobody can
    /// guess: discriminators follow from it. Peers of one table are not safe from each other.
    #[must_use]
    pub fn over_open_links(seed: u64) -> Self {
        Self {
            open: true,
            ..Self::new(seed)
        }
    }

    /// Makes the peers exactly these. A removed one is told AdminDown until it must have heard it.
    pub fn set_peers(&mut self, peers: &BTreeMap<Ipv4Addr, Timing>, now: Instant) {
        for (address, entry) in &mut self.entries {
            if !peers.contains_key(address) && entry.leaves_at.is_none() {
                entry.session.set_admin_down(now);
                entry.leaves_at = Some(now + entry.session.farewell());
            }
        }
        for (address, timing) in peers {
            match self.entries.get_mut(address) {
                Some(entry) if entry.leaves_at.is_none() => entry.session.set_timing(*timing),
                Some(_) | None => {
                    let session = self.fresh(*timing, now);
                    let entry = Entry {
                        session,
                        least_ttl: TTL,
                        leaves_at: None,
                    };
                    self.entries.insert(*address, entry);
                }
            }
        }
    }

    /// Says with which TTL datagrams of a peer arrive at least; it is 255 until then.
    pub fn set_least_ttl(&mut self, peer: Ipv4Addr, least: u8) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.least_ttl = least;
        }
    }

    /// Tells whether there is no session, nor one that ends.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Handles the payload of a datagram to [`PORT`](crate::PORT) or [`MULTIHOP_PORT`](crate::MULTIHOP_PORT); a table is for
    /// one of them.
    ///
    /// # Errors
    /// Why it does not count; counted.
    pub fn handle_datagram(
        &mut self,
        from: Ipv4Addr,
        ttl: u8,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let outcome = self.receive(from, ttl, payload, now);
        if let Err(discard) = outcome {
            *self.discarded.entry(discard).or_default() += 1;
        }
        outcome
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.session.handle_timeout(now);
        }
        self.entries
            .retain(|_, entry| entry.leaves_at.is_none_or(|at| at > now));
    }

    /// Takes the next packet to send, with its destination.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(Ipv4Addr, Packet)> {
        self.entries.iter_mut().find_map(|(address, entry)| {
            let packet = entry.session.poll_transmit(now)?;
            Some((*address, packet))
        })
    }

    /// Takes the next event, with the peer that it is about.
    pub fn poll_event(&mut self) -> Option<(Ipv4Addr, Event)> {
        self.entries
            .iter_mut()
            .find_map(|(address, entry)| Some((*address, entry.session.poll_event()?)))
    }

    /// Returns when [`Self::handle_timeout`] and [`Self::poll_transmit`] want to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.entries
            .values()
            .flat_map(|entry| [entry.session.poll_timeout(), entry.leaves_at])
            .flatten()
            .min()
    }

    /// Shows all sessions with peers, by address.
    #[must_use]
    pub fn status(&self) -> Vec<SessionStatus> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.leaves_at.is_none())
            .map(|(address, entry)| entry.session.status(*address))
            .collect()
    }

    /// Lists what did not count, with the number of datagrams.
    pub fn discarded(&self) -> impl Iterator<Item = (Discard, u64)> {
        let count = |reason| self.discarded.get(&reason).copied().unwrap_or(0);
        Discard::ALL
            .map(|reason| (reason, count(reason)))
            .into_iter()
    }

    fn receive(
        &mut self,
        from: Ipv4Addr,
        ttl: u8,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let least_ttl = match self.entries.get(&from) {
            Some(entry) => entry.least_ttl,
            // What a stranger sends from afar says nothing of the way to a peer.
            None if self.open => return Err(Discard::UnknownPeer),
            None => TTL,
        };
        if ttl < least_ttl {
            return Err(Discard::Ttl);
        }
        let packet = Packet::decode(payload).map_err(Discard::Malformed)?;
        // One session per peer: the address alone chooses, the discriminator must fit. Tunnels vouch for addresses; elsewhere
        // a single forged datagram without it must not end a session.
        let entry = self.entries.get_mut(&from).ok_or(Discard::UnknownPeer)?;
        let named = packet.your_discriminator;
        let may_lack = !(self.open && entry.session.state() == State::Up);
        if named != entry.session.discriminator() && !(named == 0 && may_lack) {
            return Err(Discard::UnknownDiscriminator);
        }
        entry.session.handle_packet(&packet, now);
        Ok(())
    }

    fn fresh(&mut self, timing: Timing, now: Instant) -> Session {
        loop {
            let session = Session::new(timing, self.jitter.bits(), now);
            let taken = |entry: &Entry| entry.session.discriminator() == session.discriminator();
            if !self.entries.values().any(taken) {
                return session;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMING: Timing = Timing {
        interval: Duration::from_millis(300),
        multiplier: 3,
    };
    const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

    #[test]
    fn only_what_crossed_no_router_counts() {
        let mut sessions = with_peers(&[FAR]);
        let packet = greeting().encode();
        for ttl in [0, 1, 64, 254] {
            let outcome = sessions.handle_datagram(FAR, ttl, &packet, start());
            assert_eq!(outcome, Err(Discard::Ttl));
        }
        assert_eq!(sessions.handle_datagram(FAR, 255, &packet, start()), Ok(()));
        assert_eq!(count(&sessions, Discard::Ttl), 4);
    }

    /// RFC 5883 section 5.
    #[test]
    fn over_several_hops_the_ttl_may_be_lower_down_to_a_limit() {
        let mut sessions = with_peers(&[FAR]);
        sessions.set_least_ttl(FAR, 253);
        let packet = greeting().encode();
        for (ttl, outcome) in [(252, Err(Discard::Ttl)), (253, Ok(())), (255, Ok(()))] {
            let got = sessions.handle_datagram(FAR, ttl, &packet, start());
            assert_eq!(got, outcome, "{ttl}");
        }
        sessions.set_peers(&[(FAR, TIMING)].into(), start());
        let again = sessions.handle_datagram(FAR, 253, &packet, start());
        assert_eq!(again, Ok(()), "the same peers change nothing");
    }

    #[test]
    fn strangers_and_wrong_discriminators_are_refused_and_counted() {
        let mut sessions = with_peers(&[FAR]);
        let packet = greeting();
        let from_stranger = sessions.handle_datagram(NEAR, TTL, &packet.encode(), start());
        assert_eq!(from_stranger, Err(Discard::UnknownPeer));
        let ours = sessions.status()[0].local_discriminator;
        for (named, outcome) in [
            (ours, Ok(())),
            (ours ^ 1, Err(Discard::UnknownDiscriminator)),
        ] {
            let packet = Packet {
                your_discriminator: named,
                ..packet
            };
            let got = sessions.handle_datagram(FAR, TTL, &packet.encode(), start());
            assert_eq!(got, outcome);
        }
        assert_eq!(count(&sessions, Discard::UnknownPeer), 1);
        assert_eq!(count(&sessions, Discard::UnknownDiscriminator), 1);
    }

    #[test]
    fn over_open_links_a_stranger_is_one_from_however_far() {
        for (mut sessions, outcome) in [
            (Sessions::new(3), Discard::Ttl),
            (Sessions::over_open_links(3), Discard::UnknownPeer),
        ] {
            let got = sessions.handle_datagram(NEAR, 63, &greeting().encode(), start());
            assert_eq!(got, Err(outcome));
        }
    }

    /// Over an open link anyone can forge what a peer says that does not know our discriminator.
    #[test]
    fn a_session_that_is_up_over_an_open_link_heeds_only_who_knows_its_discriminator() {
        for (mut sessions, outcome, state) in [
            (Sessions::new(3), Ok(()), State::Down),
            (
                Sessions::over_open_links(3),
                Err(Discard::UnknownDiscriminator),
                State::Up,
            ),
        ] {
            sessions.set_peers(&[(FAR, TIMING)].into(), start());
            let forged = greeting();
            let opening = sessions.handle_datagram(FAR, TTL, &forged.encode(), start());
            assert_eq!(opening, Ok(()), "who begins knows nothing yet");
            let answer = Packet {
                state: State::Up,
                your_discriminator: sessions.status()[0].local_discriminator,
                ..forged
            };
            let known = sessions.handle_datagram(FAR, TTL, &answer.encode(), start());
            assert_eq!(known, Ok(()));
            assert_eq!(sessions.status()[0].state, State::Up);

            let got = sessions.handle_datagram(FAR, TTL, &forged.encode(), start());

            assert_eq!(got, outcome);
            assert_eq!(sessions.status()[0].state, state);
        }
    }

    #[test]
    fn the_same_peers_again_change_nothing() {
        let mut sessions = with_peers(&[FAR]);
        let before = sessions.status();
        sessions.set_peers(&[(FAR, TIMING)].into(), start());
        assert_eq!(
            sessions.status()[0].local_discriminator,
            before[0].local_discriminator
        );
    }

    #[test]
    fn a_removed_peer_is_told_so_and_then_forgotten() {
        let mut sessions = with_peers(&[FAR]);
        let now = start();
        drop(sent(&mut sessions, now));
        sessions.set_peers(&BTreeMap::new(), now);
        assert_eq!(sessions.status(), []);
        let told = sent(&mut sessions, now);
        assert_eq!(
            told.first().map(|packet| packet.state),
            Some(State::AdminDown)
        );
        let later = now + Duration::from_secs(4);
        sessions.handle_timeout(later);
        assert_eq!(sessions.poll_timeout(), None);
    }

    #[test]
    fn a_removed_peer_does_not_say_how_long_it_stays() {
        let mut sessions = with_peers(&[FAR]);
        let rare = Packet {
            required_min_rx: u32::MAX,
            ..greeting()
        };
        let heard = sessions.handle_datagram(FAR, TTL, &rare.encode(), start());
        assert_eq!(heard, Ok(()));
        let now = start();
        sessions.set_peers(&BTreeMap::new(), now);
        let told = sent(&mut sessions, now);
        assert_eq!(
            told.first().map(|packet| packet.state),
            Some(State::AdminDown),
            "at once"
        );

        sessions.handle_timeout(now + Duration::from_secs(10));

        assert!(sessions.is_empty());
    }

    #[test]
    fn a_peer_that_comes_back_while_it_is_told_begins_anew() {
        let mut sessions = with_peers(&[FAR]);
        let now = start();
        sessions.set_peers(&BTreeMap::new(), now);
        sessions.set_peers(&[(FAR, TIMING)].into(), now);
        assert_eq!(sessions.status()[0].state, State::Down);
    }

    #[test]
    fn every_discriminator_differs_and_none_is_zero() {
        let peers: Vec<Ipv4Addr> = (0..200)
            .map(|last| Ipv4Addr::new(10, 99, 1, last))
            .collect();
        let sessions = with_peers(&peers);
        let numbers: std::collections::BTreeSet<u32> = sessions
            .status()
            .iter()
            .map(|status| status.local_discriminator)
            .collect();
        assert_eq!(numbers.len(), 200);
        assert!(!numbers.contains(&0));
    }

    fn with_peers(peers: &[Ipv4Addr]) -> Sessions {
        let mut sessions = Sessions::new(3);
        let peers = peers.iter().map(|peer| (*peer, TIMING)).collect();
        sessions.set_peers(&peers, start());
        sessions
    }

    fn sent(sessions: &mut Sessions, now: Instant) -> Vec<Packet> {
        std::iter::from_fn(|| sessions.poll_transmit(now))
            .map(|(_, packet)| packet)
            .collect()
    }

    fn count(sessions: &Sessions, wanted: Discard) -> u64 {
        let mut counts = sessions.discarded();
        counts
            .find(|(reason, _)| *reason == wanted)
            .map_or(0, |(_, count)| count)
    }

    /// What a peer says first.
    fn greeting() -> Packet {
        let now = start();
        let mut peer = Session::new(TIMING, 8, now);
        peer.poll_transmit(now).expect("says something")
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn start() -> Instant {
        Instant::now()
    }
}
