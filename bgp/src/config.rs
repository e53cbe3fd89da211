//! What is configured: the speaker itself and its peers.
//!
//! Values only. Whether they make sense together (unique ids and addresses, hold time of at least three seconds) is
//! for whoever reads the configuration file; here nonsense is survived, not reported.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::wire::AddPathDirection;

/// Names a configured peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Role of an iBGP peer (RFC 4456).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRole {
    /// Its routes are reflected to everybody, everybody's to it.
    Client,
    /// Ordinary iBGP peer.
    NonClient,
}

/// What is configured for the speaker itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS number.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Cluster id when reflecting; customarily the router id.
    pub cluster_id: Ipv4Addr,
    /// Host name for the FQDN capability.
    pub hostname: String,
}

/// What is configured for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its id.
    pub id: PeerId,
    /// Its address: TCP destination, and source of accepted connections.
    pub address: Ipv4Addr,
    /// Expected BGP identifier, if pinned.
    pub router_id: Option<Ipv4Addr>,
    /// Reflection role.
    pub role: PeerRole,
    /// Whether to open connections ourselves; accepting is always possible.
    pub active: bool,
    /// Proposed hold time, sent in whole seconds and never below three; keepalives go at a third of the negotiated
    /// one.
    pub hold_time: Duration,
    /// Base of the connect-retry backoff (grows by 1.5 to 30 s, with jitter).
    pub connect_retry: Duration,
    /// Paths accepted at most; further ones are refused and counted, the session stays.
    pub max_prefixes: usize,
    /// What to offer of several paths to a prefix (RFC 7911); `None` offers nothing. A peer that we send several to is
    /// told all paths that it may have, the others only the best.
    pub add_path: Option<AddPathDirection>,
}
