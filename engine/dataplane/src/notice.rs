//! What the packet path tells the control plane: rare facts, delivered through a bounded queue.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use crate::ids::{PortId, TunnelId};

/// MAC address.
pub type Mac = [u8; 6];

/// A fact that the control plane may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Somebody else on the LAN answers for an address that this router answers for (split brain or a local owner).
    ForeignAnswer {
        /// LAN port.
        port: PortId,
        /// Claimed address.
        address: Ipv4Addr,
        /// Who claims it.
        mac: Mac,
    },
    /// A host probes (RFC 5227) for an address that the RIB places elsewhere.
    AddressProbed {
        /// LAN port.
        port: PortId,
        /// Probed address.
        address: Ipv4Addr,
        /// Who probes.
        mac: Mac,
    },
    /// A neighbor's MAC address was learned or changed.
    NeighborUp {
        /// LAN port.
        port: PortId,
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: Mac,
    },
    /// A neighbor stopped answering.
    NeighborDown {
        /// LAN port.
        port: PortId,
        /// Its address.
        address: Ipv4Addr,
    },
    /// A WireGuard session came up (first handshake or rekey).
    SessionUp {
        /// The tunnel.
        tunnel: TunnelId,
        /// True for the first session since the tunnel was down.
        first: bool,
    },
    /// No handshake could be completed for the attempt time; attempts go on.
    SessionDown {
        /// The tunnel.
        tunnel: TunnelId,
    },
    /// An authenticated packet came from a new outer address (roaming).
    EndpointChanged {
        /// The tunnel.
        tunnel: TunnelId,
        /// Former address.
        from: Option<SocketAddr>,
        /// New address.
        to: SocketAddr,
    },
}

/// Notices that wait for the control plane; when full, further ones are lost and counted.
#[derive(Debug, Default)]
pub struct NoticeQueue {
    notices: VecDeque<Notice>,
}

impl NoticeQueue {
    /// Most notices that wait.
    pub const LIMIT: usize = 256;

    /// Appends a notice; returns whether there was room.
    #[must_use]
    pub fn push(&mut self, notice: Notice) -> bool {
        let has_room = self.notices.len() < Self::LIMIT;
        if has_room {
            self.notices.push_back(notice);
        }
        has_room
    }

    /// Takes the oldest notice.
    pub fn pop(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}
