//! All peers of one WireGuard interface (skeleton).

use std::net::SocketAddr;
use std::time::Instant;

use crate::key::PrivateKey;
use crate::peer::{PeerConfig, PeerIndex, PeerStatus};
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

/// Why a received datagram was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No WireGuard message.
    #[error("no WireGuard message")]
    UnknownType,
    /// mac1 or mac2 is wrong.
    #[error("wrong mac")]
    BadMac,
    /// The handshake comes from a key that no peer has.
    #[error("unknown public key")]
    UnknownPeer,
    /// The handshake is invalid (preshared key, timestamp, replay).
    #[error("invalid handshake")]
    HandshakeRejected,
    /// Receiver index of no session.
    #[error("unknown session index")]
    UnknownIndex,
    /// The AEAD tag does not verify.
    #[error("does not decrypt")]
    DecryptFailed,
    /// Counter seen before, or too old.
    #[error("replayed")]
    Replay,
    /// Handshake limit reached; a cookie reply waits to be sent, or the source is over its limit.
    #[error("under load")]
    UnderLoad,
    /// The inner packet is no IP packet.
    #[error("not an IP packet")]
    NotIp,
}

/// Why a packet could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No session; a handshake has been started. Stage the packet and retry at [`Event::SessionUp`].
    #[error("no session")]
    NoSession,
    /// The peer's address is unknown.
    #[error("no endpoint")]
    NoEndpoint,
    /// No such peer.
    #[error("no such peer")]
    NoPeer,
    /// `out` is shorter than the packet plus [`crate::OVERHEAD`] (and than 148 bytes).
    #[error("output buffer too small")]
    OutputTooSmall,
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
#[derive(Debug)]
pub struct Device {}

impl Device {
    /// Makes a device without peers. `seed` feeds the jitter of timers and the choice of session indices.
    #[must_use]
    pub fn new(_private_key: &PrivateKey, _seed: u64) -> Self {
        todo!()
    }

    /// Makes the configured peers exactly `peers`; sessions of unchanged peers survive, a changed preshared key
    /// starts over, a changed endpoint or keepalive applies in place.
    pub fn set_peers(&mut self, _peers: &[PeerConfig], _now: Instant) {
        todo!()
    }

    /// Sets the endpoint of a peer whose name was resolved again.
    pub fn set_endpoint(&mut self, _peer: PeerIndex, _endpoint: SocketAddr, _now: Instant) {
        todo!()
    }

    /// Seals one inner packet into `out` and returns the datagram's length. The destination is [`Self::endpoint`].
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &mut self,
        _peer: PeerIndex,
        _inner: &[u8],
        _out: &mut [u8],
        _now: Instant,
    ) -> Result<usize, SealError> {
        todo!()
    }

    /// Returns where sealed packets for `peer` go.
    #[must_use]
    pub fn endpoint(&self, _peer: PeerIndex) -> Option<SocketAddr> {
        todo!()
    }

    /// Whether packets for `peer` can be sealed now.
    #[must_use]
    pub fn has_session(&self, _peer: PeerIndex) -> bool {
        todo!()
    }

    /// Opens one received datagram; an inner packet is written to `out` (at least as long as the datagram).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        &mut self,
        _from: SocketAddr,
        _datagram: &[u8],
        _out: &mut [u8],
        _now: Instant,
    ) -> Result<Opened, OpenError> {
        todo!()
    }

    /// Takes the next waiting datagram (handshake, cookie reply, keepalive): writes it to `out` (at least 148 bytes),
    /// returns destination and length.
    pub fn poll_transmit(&mut self, _out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        todo!()
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        todo!()
    }

    /// Returns what is known about all peers, by index.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        todo!()
    }
}
