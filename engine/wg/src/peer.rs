//! One peer: configuration, state and what is shown of it.
//!
//! Joins the sessions, the handshake and the timers; decides about the endpoint. What it sends goes into the outbox of
//! the device. The endpoint moves only by what is authenticated: handshake messages and data, never cookie replies
//! (data-plane.md section 10 row 34).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use boringtun::noise::Tunn;

use crate::device::Event;
use crate::error::{OpenError, SealError};
use crate::identity::Identity;
use crate::indices::Indices;
use crate::key::{PresharedKey, PublicKey};
use crate::outbox::{MESSAGE_MAX, Message, Outbox};
use crate::random::Random;
use crate::ring::Ring;
use crate::session::{Handshake, Inner, Session, written};
use crate::timers::{Demand, Due, REKEY_TIMEOUT, RESPONDER_GRACE, TimerName, Timers};

/// Names one peer of a device; stable as long as the peer is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub u16);

/// What is configured for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its index; unique within the device.
    pub index: PeerIndex,
    /// Its static key; unique within the device.
    pub public_key: PublicKey,
    /// Preshared key.
    pub preshared_key: Option<PresharedKey>,
    /// Configured endpoint; replaces the current one only when it changes. Without one, the source of the first
    /// authenticated packet is taken.
    pub endpoint: Option<SocketAddr>,
    /// Interval of persistent keepalives; they also bring the tunnel up without traffic and keep it up. Zero is none.
    pub persistent_keepalive: Option<Duration>,
    /// Whether authenticated packets from another address move the endpoint.
    pub roaming: bool,
}

/// What is known about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its index.
    pub index: PeerIndex,
    /// Current outer address.
    pub endpoint: Option<SocketAddr>,
    /// When the newest session was established.
    pub last_handshake: Option<Instant>,
    /// When the last authenticated packet came.
    pub last_received: Option<Instant>,
    /// Whether packets can be sealed now.
    pub session: bool,
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner bytes sent.
    pub tx_bytes: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Handshake initiations sent since the last success.
    pub attempts: u32,
    /// How often the endpoint moved by roaming.
    pub roams: u64,
}

/// What all peers of a device share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) indices: Indices,
    pub(crate) random: Random,
    pub(crate) outbox: Outbox,
}

/// The state of one peer.
pub(crate) struct Peer {
    config: PeerConfig,
    /// Sees every initiation first and knows the newest timestamp, so a replayed one opens no session and moves no
    /// endpoint. Its own answers are thrown away.
    replay_guard: Box<Tunn>,
    handshake: Option<Handshake>,
    ring: Ring,
    timers: Timers,
    /// Whether the lack of a session has been reported since the last one.
    down_reported: bool,
    status: PeerStatus,
}

impl Peer {
    /// Makes a peer and starts what its configuration asks for.
    pub(crate) fn new(config: PeerConfig, shared: &mut Shared, now: Instant) -> Self {
        let mut peer = Self {
            replay_guard: shared.identity.tunn(&config.public_key, None, 0),
            handshake: None,
            ring: Ring::default(),
            timers: Timers::default(),
            down_reported: false,
            status: PeerStatus::new(&config),
            config,
        };
        peer.start(shared, now);
        peer
    }

    /// Applies a configuration with the same index and public key.
    pub(crate) fn apply(&mut self, config: &PeerConfig, shared: &mut Shared, now: Instant) {
        if self.config == *config {
            return;
        }
        let old = std::mem::replace(&mut self.config, config.clone());
        if old.preshared_key != config.preshared_key {
            self.forget(shared);
        }
        if old.endpoint != config.endpoint && config.endpoint.is_some() {
            self.status.endpoint = config.endpoint;
        }
        self.start(shared, now);
    }

    /// Sets the endpoint.
    pub(crate) fn set_endpoint(&mut self, to: SocketAddr, shared: &mut Shared, now: Instant) {
        self.status.endpoint = Some(to);
        self.start(shared, now);
    }

    /// Drops all keys but the configured ones; to be called before the peer itself is dropped.
    pub(crate) fn forget(&mut self, shared: &mut Shared) {
        self.drop_handshake(shared);
        let was_up = self.ring.can_seal();
        self.ring.clear(&mut shared.indices);
        self.timers = Timers::default();
        if was_up {
            self.report_down(shared);
        }
    }

    /// Seals one inner packet; `out` is long enough.
    pub(crate) fn seal(
        &mut self,
        inner: &[u8],
        out: &mut [u8],
        shared: &mut Shared,
        now: Instant,
    ) -> Result<usize, SealError> {
        if self.status.endpoint.is_none() {
            return Err(SealError::NoEndpoint);
        }
        self.expire(shared, now);
        if let Some(len) = self.seal_with_session(inner, out, &mut shared.random, now) {
            return Ok(len);
        }
        // A session that we have just offered may be confirmed any moment: do not cross that handshake.
        let offered = self.ring.next_born().map(|born| born + REKEY_TIMEOUT);
        self.timers
            .want_handshake(offered.map_or(now, |end| end.max(now)), Demand::Packet);
        self.run(shared, now);
        Err(SealError::NoSession)
    }

    /// Opens a data message for the session `local_index`; `out` is as long as `datagram`.
    pub(crate) fn open(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        local_index: u32,
        out: &mut [u8],
        shared: &mut Shared,
        now: Instant,
    ) -> Result<Inner, OpenError> {
        self.expire(shared, now);
        let session = self.ring.find(local_index).ok_or(OpenError::UnknownIndex)?;
        let inner = session.open(datagram, out)?;
        let old = session.old_for_receiving(now);
        self.on_authenticated(from, shared, now);
        match inner {
            Inner::Packet(len) => {
                self.status.rx_bytes += len as u64;
                self.timers.on_data_received(now);
            }
            Inner::NotIp => self.timers.on_data_received(now),
            Inner::Keepalive => {}
        }
        if self.ring.is_next(local_index) {
            self.confirm(shared, now);
        } else {
            self.ring
                .reconsider(local_index, self.wins_ties(shared), now);
        }
        if old {
            self.timers.want_handshake(now, Demand::Keepalive);
        }
        Ok(inner)
    }

    /// Answers a handshake initiation that passed the gate and bears this peer's key.
    pub(crate) fn open_initiation(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), OpenError> {
        self.expire(shared, now);
        written(
            self.replay_guard
                .decapsulate(None, datagram, &mut [0; MESSAGE_MAX]),
        )?;
        self.on_authenticated(from, shared, now);
        let (tunn, wire_index) = match self.ring.take_next() {
            Some(unused) => {
                let index = unused.local_index();
                (unused.into_tunn(), index)
            }
            None => self.make_tunn(shared),
        };
        match Session::respond(tunn, datagram, now) {
            Ok((session, response)) => {
                self.ring.install_next(session, &mut shared.indices);
                self.send(response, shared, now);
                self.timers.want_tunnel(now, RESPONDER_GRACE);
                Ok(())
            }
            Err(error) => {
                shared.indices.release(wire_index);
                Err(error)
            }
        }
    }

    /// Whether the response to our latest initiation is addressed to `local_index`.
    pub(crate) fn awaits_response(&self, local_index: u32) -> bool {
        self.handshake
            .as_ref()
            .is_some_and(|handshake| handshake.local_index() == local_index)
    }

    /// Takes a handshake response that passed the gate.
    pub(crate) fn open_response(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), OpenError> {
        self.expire(shared, now);
        let mut handshake = self.handshake.take().ok_or(OpenError::UnknownIndex)?;
        let keepalive = match handshake.finish(datagram) {
            Ok(keepalive) => keepalive,
            Err(error) => {
                self.handshake = Some(handshake);
                return Err(error);
            }
        };
        self.on_authenticated(from, shared, now);
        let first = !self.ring.can_seal();
        self.ring
            .install(handshake.into_session(now), &mut shared.indices);
        self.send(keepalive, shared, now);
        self.on_established(now);
        self.report_up(first, shared);
        Ok(())
    }

    /// Takes a cookie reply. It proves nothing about where the peer is.
    pub(crate) fn open_cookie_reply(
        &mut self,
        datagram: &[u8],
        local_index: u32,
    ) -> Result<(), OpenError> {
        if let Some(handshake) = &mut self.handshake
            && handshake.local_index() == local_index
        {
            return handshake.take_cookie(datagram);
        }
        let session = self.ring.find(local_index).ok_or(OpenError::UnknownIndex)?;
        session.take_cookie(datagram)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared, now: Instant) {
        self.expire(shared, now);
        self.run(shared, now);
    }

    /// Returns the earliest deadline.
    pub(crate) fn deadline(&self) -> Option<(Instant, TimerName)> {
        let expiry = self.ring.expires().map(|at| (at, TimerName::Expiry));
        expiry
            .into_iter()
            .chain(self.timers.deadline())
            .min_by_key(|(at, _)| *at)
    }

    /// Returns the current endpoint.
    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        self.status.endpoint
    }

    /// Returns its static key.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.config.public_key
    }

    /// Whether packets can be sealed.
    pub(crate) fn has_session(&self) -> bool {
        self.ring.can_seal()
    }

    /// Returns what is known about the peer.
    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            session: self.has_session(),
            ..self.status.clone()
        }
    }

    fn start(&mut self, shared: &mut Shared, now: Instant) {
        self.timers.set_persistent(self.config.persistent_keepalive);
        if self.status.endpoint.is_some() {
            self.timers.want_tunnel(now, Duration::ZERO);
        }
        self.handle_timeout(shared, now);
    }

    fn run(&mut self, shared: &mut Shared, now: Instant) {
        while let Some(due) = self.timers.take_due(now) {
            match due {
                Due::Start => self.initiate(shared, now),
                Due::Repeat => self.send_initiation(shared, now),
                Due::Restart => {
                    if !self.ring.can_seal() && !self.down_reported {
                        self.report_down(shared);
                    }
                    self.initiate(shared, now);
                }
                Due::GiveUp => {
                    self.drop_handshake(shared);
                    if !self.ring.can_seal() {
                        self.report_down(shared);
                    }
                }
                Due::Keepalive => self.send_keepalive(shared, now),
            }
        }
    }

    fn expire(&mut self, shared: &mut Shared, now: Instant) {
        let Some(expired) = self.ring.expire(now, &mut shared.indices) else {
            return;
        };
        self.timers.on_session_down();
        self.report_down(shared);
        let grace = if expired.initiator {
            Duration::ZERO
        } else {
            RESPONDER_GRACE
        };
        self.timers.want_tunnel(now, grace);
    }

    /// Starts a cycle of attempts with a new `Tunn`, which so forgets a cookie before it is too old to be of use.
    fn initiate(&mut self, shared: &mut Shared, now: Instant) {
        self.drop_handshake(shared);
        let (tunn, wire_index) = self.make_tunn(shared);
        self.handshake = Some(Handshake::new(tunn, wire_index >> 8));
        self.send_initiation(shared, now);
    }

    fn send_initiation(&mut self, shared: &mut Shared, now: Instant) {
        let Some(message) = self.handshake.as_mut().and_then(Handshake::initiate) else {
            return;
        };
        self.send(message, shared, now);
        self.timers.on_initiation_sent(now, shared.random.jitter());
        self.status.attempts = self.status.attempts.saturating_add(1);
    }

    fn send_keepalive(&mut self, shared: &mut Shared, now: Instant) {
        let mut buffer = [0; MESSAGE_MAX];
        let len = self.seal_with_session(&[], &mut buffer, &mut shared.random, now);
        if let Some(message) = len.and_then(|len| Message::copy_of(&buffer[..len])) {
            self.send(message, shared, now);
        }
    }

    fn seal_with_session(
        &mut self,
        inner: &[u8],
        out: &mut [u8],
        random: &mut Random,
        now: Instant,
    ) -> Option<usize> {
        let session = self.ring.current()?;
        let len = session.seal(inner, out)?;
        if session.old_for_sending(now) {
            // Only wished for here: a handshake costs more than this packet may wait.
            self.timers.want_handshake(now, Demand::Keepalive);
        }
        if inner.is_empty() {
            self.timers.on_sent(now);
        } else {
            self.timers.on_data_sent(now, || random.jitter());
        }
        self.status.tx_bytes += inner.len() as u64;
        Some(len)
    }

    fn send(&mut self, message: Message, shared: &mut Shared, now: Instant) {
        if let Some(endpoint) = self.status.endpoint {
            shared.outbox.send(endpoint, message);
            self.timers.on_sent(now);
        }
    }

    fn confirm(&mut self, shared: &mut Shared, now: Instant) {
        let first = !self.ring.can_seal();
        let wins_ties = self.wins_ties(shared);
        self.on_established(now);
        if self.ring.confirm(wins_ties, &mut shared.indices) {
            self.drop_handshake(shared);
            self.report_up(first, shared);
        }
    }

    /// Whether our session is kept when both sides initiate at once.
    fn wins_ties(&self, shared: &Shared) -> bool {
        shared.identity.public() > self.config.public_key
    }

    fn on_established(&mut self, now: Instant) {
        self.status.handshakes += 1;
        self.status.attempts = 0;
        self.status.last_handshake = Some(now);
    }

    fn on_authenticated(&mut self, from: SocketAddr, shared: &mut Shared, now: Instant) {
        self.timers.on_received();
        self.status.last_received = Some(now);
        let known = self.status.endpoint;
        if known == Some(from) || (known.is_some() && !self.config.roaming) {
            return;
        }
        self.status.endpoint = Some(from);
        self.status.roams += u64::from(known.is_some());
        let peer = self.config.index;
        shared.outbox.report(Event::EndpointChanged {
            peer,
            from: known,
            to: from,
        });
    }

    fn report_up(&mut self, first: bool, shared: &mut Shared) {
        self.timers.on_session_up();
        self.down_reported = false;
        shared.outbox.report(Event::SessionUp {
            peer: self.config.index,
            first,
        });
    }

    fn report_down(&mut self, shared: &mut Shared) {
        self.down_reported = true;
        shared.outbox.report(Event::SessionDown {
            peer: self.config.index,
        });
    }

    fn drop_handshake(&mut self, shared: &mut Shared) {
        if let Some(handshake) = self.handshake.take() {
            shared.indices.release(handshake.local_index());
        }
    }

    /// Makes a `Tunn` and returns it with its index in wire form.
    fn make_tunn(&self, shared: &mut Shared) -> (Box<Tunn>, u32) {
        let index = shared
            .indices
            .allocate(self.config.index, &mut shared.random);
        let key = self.config.preshared_key.as_ref();
        (
            shared.identity.tunn(&self.config.public_key, key, index),
            index << 8,
        )
    }
}

impl PeerStatus {
    fn new(config: &PeerConfig) -> Self {
        Self {
            index: config.index,
            endpoint: config.endpoint,
            last_handshake: None,
            last_received: None,
            session: false,
            rx_bytes: 0,
            tx_bytes: 0,
            handshakes: 0,
            attempts: 0,
            roams: 0,
        }
    }
}
