//! What is known about the peers of a device.

use std::net::SocketAddr;
use std::time::Instant;

use crate::config::{PeerConfig, PeerIndex};

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

impl PeerStatus {
    /// Nothing has happened yet.
    pub(crate) fn new(config: &PeerConfig) -> Self {
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
