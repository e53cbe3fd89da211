//! All peers of one WireGuard interface: handshakes, timers, endpoints. Packets go by [`DataPath`].
//!
//! The order of checks on a handshake message: form, mac1, limits, mac2, then the Diffie-Hellman computations, which tell
//! the sender of an initiation; responses and cookie replies are found by their receiver index without any. A data path
//! has made those that need no state of ours (form, mac1, index) before; they are made again, for a caller may pass on
//! anything, and a table in the hands of a worker may be old.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{PeerConfig, PeerIndex};
use crate::data_path::DataPath;
use crate::error::OpenError;
use crate::gate::{Gate, Refused};
use crate::indices::Indices;
use crate::key::{PrivateKey, PublicKey};
use crate::message::{INITIATION_NOISE, Kind, RECEIVER, RESPONSE_RECEIVER, SENDER, index};
use crate::noise::{Identity, Received};
use crate::outbox::{Dropped, Outbox};
use crate::peer::{Peer, Shared};
use crate::random::Random;
use crate::signal::Signal;
use crate::status::PeerStatus;
use crate::table::{Published, Table};
use crate::tai64n::Clock;
use crate::timers::TimerName;

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
    published: Arc<Published>,
    /// Not later than the earliest deadline of any peer; exact after each timeout.
    wake: Option<(Instant, TimerName)>,
}

impl Device {
    /// Makes a device without peers. All its randomness comes from `seed`, which must be secret and random. `wall` is the
    /// time since the Unix epoch at `now`; peers remember the newest that they saw. No later `now` may be before this one.
    #[must_use]
    pub fn new(private_key: &PrivateKey, seed: [u8; 32], wall: Duration, now: Instant) -> Self {
        let shared = Shared {
            identity: Identity::new(private_key),
            indices: Indices::default(),
            random: Random::new(seed),
            clock: Clock::new(wall, now),
            outbox: Outbox::new(),
            origin: now,
        };
        Self {
            peers: BTreeMap::new(),
            by_key: BTreeMap::new(),
            gate: Gate::new(&shared.identity.public()),
            published: Arc::new(Published::new(&shared.identity.public())),
            shared,
            wake: None,
        }
    }

    /// Makes a data path for one more worker.
    #[must_use]
    pub fn data_path(&self) -> DataPath {
        DataPath::new(&self.published)
    }

    /// Makes the configured peers exactly `peers`; sessions of unchanged peers survive, a changed preshared key
    /// starts over, a changed endpoint or keepalive applies in place. Of entries with the same index or the same key
    /// the first counts.
    ///
    /// Workers know the peers before the handshakes are computed that these ask for, so that packets wait meanwhile.
    pub fn set_peers(&mut self, peers: &[PeerConfig], now: Instant) {
        let changed = self.adopt(peers);
        for name in changed {
            if let Some(peer) = self.peers.get_mut(&name) {
                peer.start(&mut self.shared, now);
            }
        }
        self.find_wake();
        if self.renew_views() {
            self.publish();
        }
    }

    /// Replaces the peers, lets workers know, and returns which are to be started.
    fn adopt(&mut self, peers: &[PeerConfig]) -> Vec<PeerIndex> {
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
        let mut changed = Vec::new();
        for (index, config) in wanted {
            let differs = match self.peers.entry(index) {
                Entry::Occupied(mut peer) => peer.get_mut().apply(config, shared),
                Entry::Vacant(place) => {
                    place.insert(Peer::new(config.clone(), shared));
                    true
                }
            };
            if differs {
                changed.push(index);
            }
        }
        self.by_key = by_key;
        self.renew_views();
        self.publish();
        changed
    }

    /// Corrects the wall clock, from which the timestamps of handshakes are made (WireGuard paper section 5.1): `wall` is
    /// the time since the Unix epoch at `now`. Timestamps grow all the same when it goes back.
    pub fn set_wall(&mut self, wall: Duration, now: Instant) {
        self.shared.clock.set(wall, now);
    }

    /// Sets the endpoint of a peer whose name was resolved again.
    pub fn set_endpoint(&mut self, peer: PeerIndex, endpoint: SocketAddr, now: Instant) {
        if let Some(found) = self.peers.get_mut(&peer) {
            found.set_endpoint(endpoint, &mut self.shared, now);
            self.after(peer);
        }
    }

    /// Handles a handshake message or cookie reply: what [`DataPath::open`] called [`crate::Opened::Handshake`].
    /// Answers wait in [`Self::poll_transmit`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn handle_message(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), OpenError> {
        match Kind::of(datagram) {
            Some(Kind::Initiation) => self.open_initiation((from, datagram), now),
            Some(Kind::Response) => self.open_response((from, datagram), now),
            Some(Kind::CookieReply) => {
                let (_, peer) = self.owner(index(datagram, RECEIVER))?;
                peer.open_cookie_reply(datagram, now)
            }
            Some(Kind::Data) | None => Err(OpenError::UnknownType),
        }
    }

    /// Acts on what a worker reported.
    pub fn handle_signal(&mut self, signal: Signal, now: Instant) {
        let name = signal.peer();
        if let Some(peer) = self.peers.get_mut(&name) {
            peer.handle_signal(signal, &mut self.shared, now);
            self.after(name);
        }
    }

    /// Takes the next waiting datagram (handshake, cookie reply, keepalive): writes it to `out` (at least [`crate::HANDSHAKE_MAX`] bytes),
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
        if self.renew_views() {
            self.publish();
        }
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

    fn open_initiation(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        now: Instant,
    ) -> Result<(), OpenError> {
        let random = &mut self.shared.random;
        let admitted = self.gate.admit_initiation((from, datagram), random, now);
        self.admitted(from, admitted)?;
        let Shared {
            identity, random, ..
        } = &mut self.shared;
        let received = Received::read(identity, &datagram[INITIATION_NOISE], random)?;
        let name = self.by_key.get(&received.initiator);
        let name = *name.ok_or(OpenError::UnknownPeer)?;
        let peer = self.peers.get_mut(&name).ok_or(OpenError::UnknownPeer)?;
        let theirs = index(datagram, SENDER);
        let opened = peer.open_initiation((from, received), theirs, &mut self.shared, now);
        self.after(name);
        opened
    }

    fn open_response(
        &mut self,
        (from, datagram): (SocketAddr, &[u8]),
        now: Instant,
    ) -> Result<(), OpenError> {
        let local_index = index(datagram, RESPONSE_RECEIVER);
        if !self.owner(local_index)?.1.awaits_response(local_index) {
            return Err(OpenError::UnknownIndex);
        }
        let random = &mut self.shared.random;
        let admitted = self.gate.admit_response((from, datagram), random, now);
        self.admitted(from, admitted)?;
        let name = self.owner(local_index)?.0;
        let peer = self.peers.get_mut(&name).ok_or(OpenError::UnknownIndex)?;
        let opened = peer.open_response((from, datagram), &mut self.shared, now);
        self.after(name);
        opened
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

    /// Returns the peer to whom the session or handshake `index` belongs.
    fn owner(&mut self, index: u32) -> Result<(PeerIndex, &mut Peer), OpenError> {
        let name = self.shared.indices.owner(index);
        let name = name.ok_or(OpenError::UnknownIndex)?;
        let peer = self.peers.get_mut(&name).ok_or(OpenError::UnknownIndex)?;
        Ok((name, peer))
    }

    /// Lets the rest of the device, and the workers, know what changed with a peer. That a deadline was put off shows
    /// only at the next timeout, so no other peer is looked at.
    fn after(&mut self, name: PeerIndex) {
        let Some(peer) = self.peers.get_mut(&name) else {
            return;
        };
        if let Some(deadline) = peer.deadline()
            && self.wake.is_none_or(|(at, _)| deadline.0 < at)
        {
            self.wake = Some(deadline);
        }
        if peer.renew_view(&self.shared) {
            self.publish();
        }
    }

    fn find_wake(&mut self) {
        self.wake = self
            .peers
            .values()
            .filter_map(Peer::deadline)
            .min_by_key(|(at, _)| *at);
    }

    /// Brings all views up to date; false if that changed none.
    fn renew_views(&mut self) -> bool {
        let shared = &self.shared;
        let renewed = self.peers.values_mut().map(|peer| peer.renew_view(shared));
        renewed.fold(false, |any, renewed| any | renewed)
    }

    /// Lets workers see the views as they are.
    fn publish(&self) {
        let views = self.peers.iter().map(|(name, peer)| (*name, peer.view()));
        self.published.publish(Table::new(views));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SealError;

    #[test]
    fn workers_know_new_peers_before_their_handshakes_are_computed() {
        let now = start();
        let mut device = Device::new(&PrivateKey::generate([1; 32]), [2; 32], Duration::ZERO, now);
        let mut path = device.data_path();
        let config = PeerConfig {
            index: PeerIndex(3),
            public_key: PrivateKey::generate([3; 32]).public(),
            preshared_key: None,
            endpoint: Some(SocketAddr::from(([192, 0, 2, 1], 1))),
            persistent_keepalive: Some(Duration::from_secs(25)),
            roaming: true,
        };
        let changed = device.adopt(std::slice::from_ref(&config));
        assert_eq!(changed, [config.index]);
        assert_eq!(device.poll_transmit(&mut [0; crate::HANDSHAKE_MAX]), None);
        path.refresh();
        let sealed = path.seal(config.index, &[], &mut [0; 32], now);
        assert_eq!(sealed, Err(SealError::NoSession), "so it waits");
        assert_eq!(device.adopt(&[config]), [], "nothing changed");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
