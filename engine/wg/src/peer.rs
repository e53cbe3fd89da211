//! One peer: configuration, state and what is shown of it (skeleton).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::key::{PresharedKey, PublicKey};

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
    /// Configured endpoint; replaces the current one only when it changes.
    pub endpoint: Option<SocketAddr>,
    /// Interval of persistent keepalives.
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
