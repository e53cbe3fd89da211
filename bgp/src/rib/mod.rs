//! Routing information base: Adj-RIB-In, Loc-RIB, Adj-RIB-Out and the decision process (skeleton).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::Ipv4Net;

use crate::speaker::PeerId;
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

/// One path to a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Where it came from.
    pub source: PathSource,
    /// Its attributes after import.
    pub attributes: Arc<PathAttributes>,
    /// When it was learned; never part of the decision.
    pub learned_at: Instant,
}

/// The step of the decision process that separated two paths (bgp.md section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecisionStep {
    /// There was no other path.
    OnlyPath,
    /// 1 Next hop reachable, no loop.
    Eligible,
    /// 2 Highest LOCAL_PREF.
    LocalPref,
    /// 3 Locally originated over learned.
    LocalOrigin,
    /// 4 Shortest AS_PATH.
    AsPathLength,
    /// 5 Lowest ORIGIN.
    Origin,
    /// 6 Lowest MED, always compared.
    Med,
    /// 9 Lowest ORIGINATOR_ID, else router id.
    RouterId,
    /// 10 Shortest CLUSTER_LIST.
    ClusterListLength,
    /// 11 Lowest peer address.
    PeerAddress,
    /// The paths are the same.
    Identical,
}

/// A change of the best path of a prefix: the only thing that leaves the RIB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestPathChange {
    /// The prefix.
    pub prefix: Ipv4Net,
    /// Former best path.
    pub old: Option<Path>,
    /// New best path.
    pub new: Option<Path>,
    /// What decided.
    pub step: DecisionStep,
}
