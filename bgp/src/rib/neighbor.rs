//! The RIB's side of a session: who the peer is, what it told us, what we told it.
//!
//! Begins with a session and ends with it, unless the session ends gracefully (RFC 4724): then what the peer told stays,
//! stale, for a limited time or into the next session.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::adj_rib_in::AdjRibIn;
use super::adj_rib_out::{AdjRibOut, Pending};
use super::path::PathSource;
use crate::config::{PeerId, PeerRole};
use crate::reflector::Target;

/// Who a peer is, as far as routes are concerned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeighborIdentity {
    /// Its id.
    pub(crate) peer: PeerId,
    /// Its BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Its role.
    pub(crate) role: PeerRole,
    /// Paths accepted at most.
    pub(crate) max_prefixes: usize,
    /// Whether it tells all that others of its kind tell.
    pub(crate) reflector: bool,
    /// Whether it is told all paths to a prefix (RFC 7911), not only the best.
    pub(crate) all_paths: bool,
}

impl NeighborIdentity {
    /// Returns the source of its paths.
    pub(crate) fn source(&self) -> PathSource {
        PathSource::Peer {
            peer: self.peer,
            router_id: self.router_id,
            address: self.address,
        }
    }

    /// Returns what reflection wants to know of a receiver.
    pub(crate) fn target(&self) -> Target {
        Target {
            router_id: self.router_id,
            role: self.role,
        }
    }
}

/// The tables of one session.
#[derive(Debug)]
pub(crate) struct Neighbor {
    /// Who it is.
    pub(crate) identity: NeighborIdentity,
    /// What it told us.
    pub(crate) adj_rib_in: AdjRibIn,
    /// What we told it.
    pub(crate) adj_rib_out: AdjRibOut,
    /// What we have to tell it.
    pub(crate) pending: Pending,
    /// Whether its End-of-RIB came.
    pub(crate) end_of_rib: bool,
    /// Whether the session is up.
    pub(crate) established: bool,
    /// Until when stale routes are kept; set exactly while there may be some.
    pub(crate) stale_until: Option<Instant>,
    /// Whether it is told nothing, because much waits to be written.
    pub(crate) congested: bool,
}

impl Neighbor {
    /// Makes the tables of a session that was just established: everything is to be told.
    pub(crate) fn new(identity: NeighborIdentity) -> Self {
        Self {
            identity,
            adj_rib_in: AdjRibIn::new(identity.max_prefixes),
            adj_rib_out: AdjRibOut::default(),
            pending: Pending {
                all: true,
                end_of_rib: true,
                ..Pending::default()
            },
            end_of_rib: false,
            established: true,
            stale_until: None,
            congested: false,
        }
    }

    /// Lists the next hops of accepted stale routes; one for each route.
    pub(crate) fn stale_next_hops(&self) -> impl Iterator<Item = Ipv4Addr> {
        let kept = self.stale_until.map(|_| self.adj_rib_in.routes());
        let stale = kept.into_iter().flatten().filter(|(_, route)| route.stale);
        stale.filter_map(|(_, route)| Some(route.verdict.as_ref().ok()?.next_hop))
    }
}
