//! What is configured for the peers of a device.

use std::net::SocketAddr;
use std::time::Duration;

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
    /// Configured endpoint; replaces the current one only when it changes. Without one, the source of the first
    /// authenticated packet is taken.
    pub endpoint: Option<SocketAddr>,
    /// Interval of persistent keepalives; they also bring the tunnel up without traffic and keep it up. Zero is none.
    pub persistent_keepalive: Option<Duration>,
    /// Whether authenticated packets from another address move the endpoint.
    pub roaming: bool,
}
