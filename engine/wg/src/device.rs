//! All peers of one WireGuard interface: finds the peer of a message and drives it.
//!
//! The order of checks on a received message: form, mac1, limits, mac2, then the first Diffie-Hellman, which tells the
//! sender of an initiation; responses, cookie replies and data are found by their receiver index without any.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use boringtun::noise::{HandshakeInit, Packet, Tunn};
use boringtun::x25519;

use crate::OVERHEAD;
use crate::error::{OpenError, SealError};
use crate::gate::{Gate, Refused};
use crate::identity::Identity;
use crate::indices::Indices;
use crate::key::{PrivateKey, PublicKey};
use crate::outbox::{Dropped, MESSAGE_MAX, Outbox};
use crate::peer::{Peer, PeerConfig, PeerIndex, PeerStatus, Shared};
use crate::random::Random;
use crate::session::Inner;
use crate::timers::TimerName;

/// What a received datagram turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// An inner IP packet of `len` bytes at the start of `out`, authenticated as sent by `peer`.
    Packet {
        /// Who sent it.
        peer: PeerIndex,
        /// Its length in bytes.
        len: usize,
    },
    /// Handshake, cookie or keepalive: nothing to forward; answers wait in [`Device::poll_transmit`].
    Control,
}

/// Something that happened to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Packets can be sealed with a new session.
    SessionUp {
        /// The peer.
        peer: PeerIndex,
        /// False when it replaces a living session (rekey).
        first: bool,
    },
    /// The last session expired, or 90 s of handshake attempts failed; attempts go on where keepalive is configured.
    SessionDown {
        /// The peer.
        peer: PeerIndex,
    },
    /// The endpoint moved to the source of an authenticated packet.
    EndpointChanged {
        /// The peer.
        peer: PeerIndex,
        /// Former address.
        from: Option<SocketAddr>,
        /// New address.
        to: SocketAddr,
    },
}

/// All peers of one WireGuard interface.
pub struct Device {
    peers: BTreeMap<PeerIndex, Peer>,
    by_key: BTreeMap<PublicKey, PeerIndex>,
    shared: Shared,
    gate: Gate,
    /// Not later than the earliest deadline of any peer; exact after each timeout.
    wake: Option<(Instant, TimerName)>,
}

impl Device {
    /// Makes a device without peers. `seed` feeds the jitter of timers and the choice of session indices.
    #[must_use]
    pub fn new(private_key: &PrivateKey, seed: u64) -> Self {
        let gate = Gate::new(&x25519::PublicKey::from(private_key.public().0));
        let shared = Shared {
            identity: Identity::new(private_key, gate.open_limiter()),
            indices: Indices::default(),
            random: Random::new(seed),
            outbox: Outbox::new(),
        };
        let (peers, by_key) = (BTreeMap::new(), BTreeMap::new());
        Self {
            peers,
            by_key,
            shared,
            gate,
            wake: None,
        }
    }

    /// Makes the configured peers exactly `peers`; sessions of unchanged peers survive, a changed preshared key
    /// starts over, a changed endpoint or keepalive applies in place. Of entries with the same index or the same key
    /// the first counts.
    pub fn set_peers(&mut self, peers: &[PeerConfig], now: Instant) {
        let (mut wanted, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        for config in peers {
            if !wanted.contains_key(&config.index) && !by_key.contains_key(&config.public_key) {
                wanted.insert(config.index, config);
                by_key.insert(config.public_key, config.index);
            }
        }
        let shared = &mut self.shared;
        shared.outbox.fit(wanted.len());
        self.peers.retain(|index, peer| {
            let stays = by_key.get(&peer.public_key()) == Some(index);
            if !stays {
                peer.forget(shared);
            }
            stays
        });
        for (index, config) in wanted {
            match self.peers.entry(index) {
                Entry::Occupied(mut peer) => peer.get_mut().apply(config, shared, now),
                Entry::Vacant(place) => {
                    place.insert(Peer::new(config.clone(), shared, now));
                }
            }
        }
        self.by_key = by_key;
        self.find_wake();
    }

    /// Sets the endpoint of a peer whose name was resolved again.
    pub fn set_endpoint(&mut self, peer: PeerIndex, endpoint: SocketAddr, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.set_endpoint(endpoint, &mut self.shared, now);
            hasten(&mut self.wake, peer);
        }
    }

    /// Seals one inner packet into `out` and returns the datagram's length. The destination is [`Self::endpoint`].
    /// `out` has at least [`crate::OVERHEAD`] bytes more than `inner`, and at least 148.
    ///
    /// Success neither allocates nor computes a handshake, even if one becomes due by it.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &mut self,
        peer: PeerIndex,
        inner: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<usize, SealError> {
        let peer = self.peers.get_mut(&peer).ok_or(SealError::NoPeer)?;
        if out.len() < (inner.len() + OVERHEAD).max(MESSAGE_MAX) {
            return Err(SealError::OutputTooSmall);
        }
        let sealed = peer.seal(inner, out, &mut self.shared, now);
        hasten(&mut self.wake, peer);
        sealed
    }

    /// Returns where sealed packets for `peer` go.
    #[must_use]
    pub fn endpoint(&self, peer: PeerIndex) -> Option<SocketAddr> {
        self.peers.get(&peer)?.endpoint()
    }

    /// Whether packets for `peer` can be sealed, as of the last call with a `now`.
    #[must_use]
    pub fn has_session(&self, peer: PeerIndex) -> bool {
        self.peers.get(&peer).is_some_and(Peer::has_session)
    }

    /// Opens one received datagram; an inner packet is written to `out` (at least as long as the datagram).
    ///
    /// Data messages do not allocate.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut [u8],
        now: Instant,
    ) -> Result<Opened, OpenError> {
        if out.len() < datagram.len() {
            return Err(OpenError::OutputTooSmall);
        }
        let packet = Tunn::parse_incoming_packet(datagram).map_err(|_| OpenError::UnknownType)?;
        let received = (from, datagram);
        match packet {
            Packet::PacketData(message) => self.open_data(received, message.receiver_idx, out, now),
            Packet::HandshakeInit(message) => self.open_initiation(received, &message, now),
            Packet::HandshakeResponse(message) => {
                self.open_response(received, message.receiver_idx, now)
            }
            Packet::PacketCookieReply(message) => {
                let peer = owner(&mut self.peers, &self.shared, message.receiver_idx)?;
                peer.open_cookie_reply(datagram, message.receiver_idx)?;
                Ok(Opened::Control)
            }
        }
    }

    /// Takes the next waiting datagram (handshake, cookie reply, keepalive): writes it to `out` (at least 148 bytes),
    /// returns destination and length.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.shared.outbox.poll_transmit(out)
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.outbox.poll_event()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_none_or(|(at, _)| at > now) {
            return;
        }
        for peer in self.peers.values_mut() {
            if peer.deadline().is_some_and(|(at, _)| at <= now) {
                peer.handle_timeout(&mut self.shared, now);
            }
        }
        self.find_wake();
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why. It may turn out that the deadline has moved
    /// in the meantime and nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        self.wake
    }

    /// Returns what is known about all peers, by index.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        self.peers.values().map(Peer::status).collect()
    }

    /// Returns what was lost because the queues of [`Self::poll_transmit`] and [`Self::poll_event`] were full.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.shared.outbox.dropped()
    }

    fn open_data(
        &mut self,
        received: (SocketAddr, &[u8]),
        index: u32,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Opened, OpenError> {
        let name = self
            .shared
            .indices
            .owner(index)
            .ok_or(OpenError::UnknownIndex)?;
        let peer = self.peers.get_mut(&name).ok_or(OpenError::UnknownIndex)?;
        let inner = peer.open(received, index, out, &mut self.shared, now);
        hasten(&mut self.wake, peer);
        match inner? {
            Inner::Packet(len) => Ok(Opened::Packet { peer: name, len }),
            Inner::Keepalive => Ok(Opened::Control),
            Inner::NotIp => Err(OpenError::NotIp),
        }
    }

    fn open_initiation(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        message: &HandshakeInit<'_>,
        now: Instant,
    ) -> Result<Opened, OpenError> {
        let admitted = self.gate.admit_initiation(from, datagram, now);
        self.admitted(from, admitted)?;
        let key = self.shared.identity.initiator(message)?;
        let name = self.by_key.get(&key).ok_or(OpenError::UnknownPeer)?;
        let peer = self.peers.get_mut(name).ok_or(OpenError::UnknownPeer)?;
        let opened = peer.open_initiation((from, datagram), &mut self.shared, now);
        hasten(&mut self.wake, peer);
        opened.map(|()| Opened::Control)
    }

    fn open_response(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        index: u32,
        now: Instant,
    ) -> Result<Opened, OpenError> {
        if !owner(&mut self.peers, &self.shared, index)?.awaits_response(index) {
            return Err(OpenError::UnknownIndex);
        }
        let admitted = self.gate.admit_response(from, datagram, now);
        self.admitted(from, admitted)?;
        let peer = owner(&mut self.peers, &self.shared, index)?;
        let opened = peer.open_response((from, datagram), &mut self.shared, now);
        hasten(&mut self.wake, peer);
        opened.map(|()| Opened::Control)
    }

    /// Queues the cookie reply if there has to be one.
    fn admitted(
        &mut self,
        from: SocketAddr,
        admitted: Result<(), Refused>,
    ) -> Result<(), OpenError> {
        admitted.map_err(|refused| match refused {
            Refused::BadMac => OpenError::BadMac,
            Refused::OverLimit => OpenError::UnderLoad,
            Refused::ProofNeeded(reply) => {
                self.shared.outbox.send(from, *reply);
                OpenError::UnderLoad
            }
        })
    }

    fn find_wake(&mut self) {
        self.wake = self
            .peers
            .values()
            .filter_map(Peer::deadline)
            .min_by_key(|(at, _)| *at);
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("peers", &self.status())
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

/// Returns the peer to whom the session or handshake `index` belongs.
fn owner<'a>(
    peers: &'a mut BTreeMap<PeerIndex, Peer>,
    shared: &Shared,
    index: u32,
) -> Result<&'a mut Peer, OpenError> {
    let name = shared.indices.owner(index).ok_or(OpenError::UnknownIndex)?;
    peers.get_mut(&name).ok_or(OpenError::UnknownIndex)
}

/// Brings `wake` forward to the deadline of `peer`. That a deadline was put off shows only at the next timeout, so
/// a packet costs no look at the other peers.
fn hasten(wake: &mut Option<(Instant, TimerName)>, peer: &Peer) {
    if let Some(deadline) = peer.deadline()
        && wake.is_none_or(|(at, _)| deadline.0 < at)
    {
        *wake = Some(deadline);
    }
}
