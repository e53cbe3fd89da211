//! One path to a prefix and where it came from.
//!
//! A source has one path to a prefix, or several with ids that tell them apart (RFC 7911).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use crate::config::PeerId;
use crate::wire::{PathAttributes, PathId};

/// Paths to one prefix that are accepted from a peer or told to a peer at most.
pub(crate) const PATHS_MAX: usize = 8;

/// Where a path came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathSource {
    /// Originated here.
    Local,
    /// Received from a peer.
    Peer {
        /// The peer.
        peer: PeerId,
        /// Its BGP identifier.
        router_id: Ipv4Addr,
        /// Its address.
        address: Ipv4Addr,
        /// Whether it is of another AS.
        external: bool,
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

    /// Tells whether it came from a peer of another AS.
    #[must_use]
    pub fn is_external(self) -> bool {
        matches!(self, Self::Peer { external: true, .. })
    }
}

/// Names a path among those to its prefix: the peer that told it, `None` for ourselves, and its id.
pub(crate) type PathKey = (Option<PeerId>, Option<PathId>);

/// One path to a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<A = Ipv4Addr> {
    /// Where it came from.
    pub source: PathSource,
    /// Which of its source's paths to the prefix it is; `None` where a source has one.
    pub path_id: Option<PathId>,
    /// Its attributes after import.
    pub attributes: Arc<PathAttributes<A>>,
    /// When it was learned; never part of the decision.
    pub learned_at: Instant,
    /// Kept from a session that ended, not confirmed since (RFC 4724 section 4.2).
    pub stale: bool,
}

impl<A: PartialEq> Path<A> {
    /// Returns what no two paths to a prefix have in common.
    pub(crate) fn key(&self) -> PathKey {
        (self.source.peer(), self.path_id)
    }

    /// Tells whether two paths are the same but for when they were learned and whether that is confirmed.
    pub(crate) fn is_same_route(&self, other: &Self) -> bool {
        (self.source, self.path_id) == (other.source, other.path_id)
            && self.attributes == other.attributes
    }
}
