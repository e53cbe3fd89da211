//! One path to a prefix and where it came from.
//!
//! There is at most one path for each prefix and source (no ADD-PATH, RFC 7911).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::PeerId;
use crate::wire::PathAttributes;

/// Where a path came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSource {
    /// Originated here.
    Local,
    /// Received from an iBGP peer.
    Peer {
        /// The peer.
        peer: PeerId,
        /// Its BGP identifier.
        router_id: Ipv4Addr,
        /// Its address.
        address: Ipv4Addr,
    },
}

impl PathSource {
    /// Returns the peer that it came from, `None` if it is our own.
    #[must_use]
    pub fn peer(self) -> Option<PeerId> {
        match self {
            Self::Local => None,
            Self::Peer { peer, .. } => Some(peer),
        }
    }
}

/// One path to a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it came from.
    pub source: PathSource,
    /// Its attributes after import.
    pub attributes: Arc<PathAttributes>,
    /// When it was learned; never part of the decision.
    pub learned_at: Instant,
    /// Kept from a session that ended, not confirmed since (RFC 4724 section 4.2).
    pub stale: bool,
}

impl Path {
    /// Tells whether two paths are the same but for when they were learned and whether that is confirmed.
    pub(crate) fn is_same_route(&self, other: &Self) -> bool {
        self.source == other.source && self.attributes == other.attributes
    }
}
