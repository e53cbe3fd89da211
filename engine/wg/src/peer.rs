//! One peer: configuration, state and what is shown of it.
//!
//! Joins the sessions, the handshake and the timers; decides about the endpoint. What it sends goes into the outbox of
//! the device, what workers see of it into its view. The endpoint moves only by what is authenticated: handshake messages
//! and data, never cookie replies (data-plane.md section 10 row 34).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::OVERHEAD;
use crate::config::PeerConfig;
use crate::cookie::Signer;
use crate::device::Event;
use crate::error::OpenError;
use crate::indices::Indices;
use crate::key::PublicKey;
use crate::message::{
    INITIATION_LEN, INITIATION_NOISE, Kind, RESPONSE_LEN, RESPONSE_NOISE, RESPONSE_RECEIVER,
    SENDER, index,
};
use crate::noise::{Identity, Initiator, Keys, Received};
use crate::outbox::{Message, Outbox};
use crate::random::Random;
use crate::ring::Ring;
use crate::session::{Origin, Session};
use crate::signal::Signal;
use crate::status::PeerStatus;
use crate::table::{OpenSession, PeerView};
use crate::tai64n::{Clock, Stamp};
use crate::timers::{Demand, Due, REKEY_TIMEOUT, RESPONDER_GRACE, TimerName, Timers};
use crate::traffic::Traffic;

/// What all peers of a device share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) indices: Indices,
    pub(crate) random: Random,
    pub(crate) clock: Clock,
    pub(crate) outbox: Outbox,
    /// Not after any `now`.
    pub(crate) origin: Instant,
}

/// A handshake that we started, and the index to which its response is addressed.
struct Handshake {
    noise: Initiator,
    local_index: u32,
}

/// The state of one peer.
pub(crate) struct Peer {
    config: PeerConfig,
    signer: Signer,
    /// Of the newest initiation, so a replayed one opens no session and moves no endpoint.
    newest: Stamp,
    handshake: Option<Handshake>,
    ring: Ring,
    traffic: Arc<Traffic>,
    timers: Timers,
    /// Whether the lack of a session has been reported since the last one.
    down_reported: bool,
    status: PeerStatus,
    view: Arc<PeerView>,
}

impl Peer {
    /// Makes a peer; [`Self::start`] is to follow.
    pub(crate) fn new(config: PeerConfig, shared: &Shared) -> Self {
        let traffic = Arc::new(Traffic::new(shared.origin));
        Self {
            signer: Signer::new(&config.public_key),
            newest: [0; 12],
            handshake: None,
            ring: Ring::default(),
            timers: Timers::new(Arc::clone(&traffic)),
            down_reported: false,
            status: PeerStatus::new(&config),
            view: Arc::new(PeerView {
                endpoint: None,
                roaming: false,
                current: None,
                others: [None, None],
                handshake: None,
                traffic: Arc::clone(&traffic),
            }),
            config,
            traffic,
        }
    }

    /// Applies a configuration with the same index and public key. False if it is the one applied; else
    /// [`Self::start`] is to follow.
    pub(crate) fn apply(&mut self, config: &PeerConfig, shared: &mut Shared) -> bool {
        if self.config == *config {
            return false;
        }
        let old = std::mem::replace(&mut self.config, config.clone());
        if old.preshared_key != config.preshared_key {
            self.forget(shared);
        }
        if old.endpoint != config.endpoint && config.endpoint.is_some() {
            self.status.endpoint = config.endpoint;
        }
        true
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
        self.timers = Timers::new(Arc::clone(&self.traffic));
        self.timers.on_session_down();
        if was_up {
            self.report_down(shared);
        }
    }

    /// Acts on what a worker reported.
    pub(crate) fn handle_signal(&mut self, signal: Signal, shared: &mut Shared, now: Instant) {
        let followed = self.catch_up(shared, now);
        match signal {
            Signal::SessionWanted { .. } => self.want_session(now),
            Signal::SessionOld { .. } => self.renew_session(now),
            Signal::SessionUsed { session, .. } => {
                if followed != Some(session) {
                    let wins_ties = self.wins_ties(shared);
                    self.ring.reconsider(session, wins_ties, now);
                }
            }
            Signal::PeerMoved { session, from, .. } => {
                // A worker may have opened the packet with a session that is forgotten by now.
                if self.ring.contains(session) {
                    self.on_seen_at(from, shared);
                }
            }
            // Planning follows every call.
            Signal::DataFlows { .. } => {}
        }
        self.settle(shared, now);
    }

    /// Answers a handshake initiation that passed the gate and bears this peer's key.
    pub(crate) fn open_initiation(
        &mut self,
        (from, received): (SocketAddr, Received),
        remote_index: u32,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), OpenError> {
        self.catch_up(shared, now);
        if received.stamp <= self.newest {
            return Err(OpenError::HandshakeRejected);
        }
        let stamp = received.stamp;
        let (keys, noise) = received.answer(self.config.preshared_key.as_ref())?;
        self.newest = stamp;
        self.on_authenticated(from, shared, now);
        let origin = Origin {
            local_index: self.allocate(shared),
            remote_index,
            initiator: false,
            born: now,
            asked_over: self.ring.used(),
        };
        let mut response = [0; RESPONSE_LEN];
        response[..4].copy_from_slice(&Kind::Response.bytes());
        response[SENDER].copy_from_slice(&origin.local_index.to_le_bytes());
        response[RESPONSE_RECEIVER].copy_from_slice(&remote_index.to_le_bytes());
        response[RESPONSE_NOISE].copy_from_slice(&noise);
        self.signer.sign(&mut response, now);
        self.ring
            .install_next(Session::new(&keys, origin), &mut shared.indices);
        self.send(&response, shared, now);
        self.timers.want_tunnel(now, RESPONDER_GRACE);
        self.settle(shared, now);
        Ok(())
    }

    /// Whether the response to our latest initiation is addressed to `local_index`.
    pub(crate) fn awaits_response(&self, local_index: u32) -> bool {
        self.handshake
            .as_ref()
            .is_some_and(|handshake| handshake.local_index == local_index)
    }

    /// Takes a handshake response that passed the gate.
    pub(crate) fn open_response(
        &mut self,
        (from, response): (SocketAddr, &[u8]),
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), OpenError> {
        self.catch_up(shared, now);
        let handshake = self.handshake.as_mut().ok_or(OpenError::UnknownIndex)?;
        let keys = handshake.noise.finish(&response[RESPONSE_NOISE])?;
        let origin = Origin {
            local_index: handshake.local_index,
            remote_index: index(response, SENDER),
            initiator: true,
            born: now,
            asked_over: None,
        };
        self.handshake = None;
        self.on_authenticated(from, shared, now);
        self.install(&keys, origin, shared, now);
        self.settle(shared, now);
        Ok(())
    }

    /// Takes a cookie reply. It proves nothing about where the peer is.
    pub(crate) fn open_cookie_reply(
        &mut self,
        reply: &[u8],
        now: Instant,
    ) -> Result<(), OpenError> {
        self.signer.take(reply, now)
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared, now: Instant) {
        self.catch_up(shared, now);
        self.settle(shared, now);
    }

    /// Returns the earliest deadline.
    pub(crate) fn deadline(&self) -> Option<(Instant, TimerName)> {
        let expiry = self.ring.expires().map(|at| (at, TimerName::Expiry));
        expiry
            .into_iter()
            .chain(self.timers.deadline())
            .min_by_key(|(at, _)| *at)
    }

    /// Returns its static key.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.config.public_key
    }

    /// Returns what workers see.
    pub(crate) fn view(&self) -> &Arc<PeerView> {
        &self.view
    }

    /// Makes a new view if workers would see a difference; true if they do.
    pub(crate) fn renew_view(&mut self, shared: &Shared) -> bool {
        let others = self.ring.others(self.wins_ties(shared)).map(|other| {
            other.map(|(session, watched)| OpenSession {
                session: Arc::clone(session),
                watched,
            })
        });
        let view = PeerView {
            endpoint: self.status.endpoint,
            roaming: self.config.roaming,
            current: self.ring.current().cloned(),
            others,
            handshake: self.handshake.as_ref().map(|started| started.local_index),
            traffic: Arc::clone(&self.traffic),
        };
        let differs = !view.same(&self.view);
        if differs {
            self.view = Arc::new(view);
            self.traffic.listen();
        }
        differs
    }

    /// Returns what is known about the peer.
    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            session: self.ring.can_seal(),
            last_received: self.traffic.last_received(),
            rx_bytes: self.traffic.bytes_received(),
            tx_bytes: self.traffic.bytes_sent(),
            ..self.status.clone()
        }
    }

    /// Starts what the configuration asks for.
    pub(crate) fn start(&mut self, shared: &mut Shared, now: Instant) {
        self.timers.set_persistent(self.config.persistent_keepalive);
        if self.status.endpoint.is_some() {
            self.timers.want_tunnel(now, Duration::ZERO);
        }
        self.handle_timeout(shared, now);
    }

    /// Does what is due and plans the next look at the traffic.
    fn settle(&mut self, shared: &mut Shared, now: Instant) {
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
        self.timers.plan(now);
    }

    /// Learns what became of the sessions since the last look: by time, and by what workers opened. Returns the session
    /// that the peer was followed to.
    fn catch_up(&mut self, shared: &mut Shared, now: Instant) -> Option<u32> {
        self.expire(shared, now);
        // Asked of the session itself, for the word of a worker may have been lost.
        let heard = self.ring.heard_next()?;
        self.follow(shared, now);
        Some(heard)
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

    /// Asks for a handshake because a packet waits, unless a session has come up meanwhile.
    fn want_session(&mut self, now: Instant) {
        if self.ring.can_seal() {
            return;
        }
        // A session that we have just offered may be confirmed any moment: do not cross that handshake.
        let offered = self.ring.next_born().map(|born| born + REKEY_TIMEOUT);
        self.timers
            .want_handshake(offered.map_or(now, |end| end.max(now)), Demand::Packet);
    }

    /// Asks for a handshake because of the age of the session in use, unless it was replaced meanwhile.
    fn renew_session(&mut self, now: Instant) {
        let current = self.ring.current();
        if let Some(current) = current.filter(|current| current.old_for_sending(now)) {
            self.timers.want_handshake(now, Demand::Keepalive);
            current.note_renewed(now);
        }
    }

    fn initiate(&mut self, shared: &mut Shared, now: Instant) {
        self.drop_handshake(shared);
        self.send_initiation(shared, now);
    }

    /// Starts a handshake; the response to an earlier initiation is not accepted any more.
    fn send_initiation(&mut self, shared: &mut Shared, now: Instant) {
        self.drop_handshake(shared);
        let keys = (&self.config.public_key, self.config.preshared_key.as_ref());
        let stamp = shared.clock.stamp(now);
        let Some((noise, message)) =
            Initiator::start(&shared.identity, keys, stamp, &mut shared.random)
        else {
            return;
        };
        let local_index = self.allocate(shared);
        self.handshake = Some(Handshake { noise, local_index });
        let mut initiation = [0; INITIATION_LEN];
        initiation[..4].copy_from_slice(&Kind::Initiation.bytes());
        initiation[SENDER].copy_from_slice(&local_index.to_le_bytes());
        initiation[INITIATION_NOISE].copy_from_slice(&message);
        self.signer.sign(&mut initiation, now);
        self.send(&initiation, shared, now);
        self.timers.on_initiation_sent(now, shared.random.jitter());
        self.status.attempts = self.status.attempts.saturating_add(1);
        self.traffic.listen();
    }

    fn send_keepalive(&mut self, shared: &mut Shared, now: Instant) {
        let Some(session) = self.ring.current() else {
            return;
        };
        let mut keepalive = [0; OVERHEAD];
        if session.seal(&[], 0, &mut keepalive).is_some() {
            self.send(&keepalive, shared, now);
        }
        self.renew_session(now);
    }

    fn send(&self, message: &[u8], shared: &mut Shared, now: Instant) {
        if let Some(endpoint) = self.status.endpoint {
            shared.outbox.send(endpoint, Message::new(message));
            self.traffic.on_sent(self.traffic.tick(now));
        }
    }

    /// Installs a session that the peer has confirmed by its response, and tells it so by a keepalive.
    fn install(&mut self, keys: &Keys, origin: Origin, shared: &mut Shared, now: Instant) {
        let first = !self.ring.can_seal();
        self.ring
            .install(Session::new(keys, origin), &mut shared.indices);
        self.send_keepalive(shared, now);
        self.on_established(now);
        self.report_up(first, shared);
    }

    /// Follows the peer to the session offered, which it has used.
    fn follow(&mut self, shared: &mut Shared, now: Instant) {
        let (first, wins_ties) = (!self.ring.can_seal(), self.wins_ties(shared));
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
        self.traffic.on_received(self.traffic.tick(now));
        self.on_seen_at(from, shared);
    }

    /// Moves the endpoint to where an authenticated message came from, if it may move.
    fn on_seen_at(&mut self, from: SocketAddr, shared: &mut Shared) {
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
        self.timers.on_session_up(shared.random.jitter());
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
            shared.indices.release(handshake.local_index);
        }
    }

    fn allocate(&self, shared: &mut Shared) -> u32 {
        shared
            .indices
            .allocate(self.config.index, &mut shared.random)
    }
}
