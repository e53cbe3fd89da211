//! The RIB's side of an Established session: who the peer is, what it told us, what we told it.
//!
//! Begins empty with every session and ends with it: there is no graceful restart.

use std::net::Ipv4Addr;

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

/// The tables of one Established session; they end with it.
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
            congested: false,
        }
    }
}
