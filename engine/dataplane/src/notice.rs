//! What the packet path tells the control plane: rare facts, delivered through a bounded queue.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ids::{PortId, TunnelId};
use crate::path_error::Undelivered;

/// MAC address.
pub type Mac = [u8; 6];

/// How a host of a LAN was heard, from what is easily forged in any number to what is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// It said something by ARP that nobody asked for.
    Overheard,
    /// It sent a packet, or answered a question to everybody.
    Addressed,
    /// It answered a question to its MAC alone: frames to that MAC reach it.
    Answered,
}

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
    /// Somebody answered what this router asks its LAN for because it answers for it itself ([`crate::lan_watch`]).
    QuestionAnswered {
        /// LAN port.
        port: PortId,
        /// Who was asked for.
        address: Ipv4Addr,
        /// Who answered.
        mac: Mac,
        /// How often was asked.
        asked: u16,
        /// How often it answered.
        answers: u16,
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
    /// A host of a LAN on which homes are discovered was heard.
    HostSeen {
        /// LAN port.
        port: PortId,
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: Mac,
        /// How it was heard.
        heard: Heard,
    },
    /// Somebody on a LAN, or the router's own host, wants an address of a pool that nobody owns; or sends from it, where
    /// hosts are not discovered.
    AddressWanted {
        /// The address.
        address: Ipv4Addr,
    },
    /// Another router asks whether an address lives here ([`crate::FabricQuestion`]).
    AddressAsked {
        /// By which tunnel.
        tunnel: TunnelId,
        /// The address.
        address: Ipv4Addr,
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
    /// The underlay refused a packet to the far end of a tunnel because it was too long (RFC 1191).
    PathTooNarrow {
        /// The tunnel.
        tunnel: TunnelId,
        /// Longest packet that fits, outer IP header included; 0 when the refusal does not tell.
        mtu: u16,
    },
    /// The underlay says that packets to the far end of a tunnel were not delivered.
    Undelivered {
        /// The tunnel.
        tunnel: TunnelId,
        /// Why.
        why: Undelivered,
        /// Who says so.
        by: Option<IpAddr>,
    },
    /// Packets go into a tunnel that are long enough to depend on its MTU; told once in a while.
    LongPackets {
        /// The tunnel.
        tunnel: TunnelId,
    },
    /// The far router answered a [`crate::PathProbe`].
    ProbeAnswered {
        /// The tunnel.
        tunnel: TunnelId,
        /// Number of the probe.
        id: u32,
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

impl Notice {
    /// Tells whether somebody beside the routers' own control can cause this notice as often as he likes: a host on a
    /// LAN, whoever can send through a tunnel, or who forges errors of the underlay that change little.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        match self {
            Self::ForeignAnswer { .. }
            | Self::QuestionAnswered { .. }
            | Self::AddressProbed { .. }
            | Self::HostSeen { .. }
            | Self::AddressWanted { .. }
            | Self::AddressAsked { .. }
            | Self::NeighborUp { .. }
            | Self::NeighborDown { .. }
            | Self::Undelivered { .. }
            | Self::ProbeAnswered { .. } => true,
            Self::SessionUp { .. }
            | Self::SessionDown { .. }
            | Self::PathTooNarrow { .. }
            | Self::LongPackets { .. }
            | Self::EndpointChanged { .. } => false,
        }
    }
}

/// Notices that wait for the control plane; when full, further ones are lost and counted.
///
/// Those that others can cause at will leave half of the room to the rest: nobody may make the control plane miss a session.
#[derive(Debug)]
pub struct NoticeQueue {
    notices: VecDeque<Notice>,
}

impl Default for NoticeQueue {
    /// Has its memory from the start.
    fn default() -> Self {
        Self {
            notices: VecDeque::with_capacity(Self::LIMIT),
        }
    }
}

impl NoticeQueue {
    /// Most notices that wait.
    pub const LIMIT: usize = 512;
    /// Length from which on notices are lost that others can cause at will.
    pub const UNBOUNDED_LIMIT: usize = Self::LIMIT / 2;

    /// Appends a notice; returns whether there was room.
    #[must_use]
    pub fn push(&mut self, notice: Notice) -> bool {
        let limit = if notice.is_unbounded() {
            Self::UNBOUNDED_LIMIT
        } else {
            Self::LIMIT
        };
        let has_room = self.notices.len() < limit;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_about_a_lan_leave_room_for_those_about_sessions() {
        let mut queue = NoticeQueue::default();
        let probe = Notice::AddressProbed {
            port: PortId(1),
            address: Ipv4Addr::LOCALHOST,
            mac: [2; 6],
        };
        let session = Notice::SessionDown {
            tunnel: TunnelId(0),
        };

        let told = (0..1000).filter(|_| queue.push(probe.clone())).count();

        assert_eq!(told, NoticeQueue::UNBOUNDED_LIMIT);
        assert!(queue.push(session), "a session is told all the same");
        let all = std::iter::from_fn(|| queue.pop());
        assert_eq!(all.count(), told + 1);
    }

    #[test]
    fn errors_that_anybody_on_the_way_can_forge_leave_room_too() {
        let mut queue = NoticeQueue::default();
        let error = Notice::Undelivered {
            tunnel: TunnelId(0),
            why: Undelivered::HostUnreachable,
            by: None,
        };
        let told = (0..1000).filter(|_| queue.push(error.clone())).count();
        assert_eq!(told, NoticeQueue::UNBOUNDED_LIMIT);
    }

    #[test]
    fn the_queue_is_bounded_for_all() {
        let mut queue = NoticeQueue::default();
        let session = Notice::SessionDown {
            tunnel: TunnelId(0),
        };

        let told = (0..1000).filter(|_| queue.push(session.clone())).count();

        assert_eq!(told, NoticeQueue::LIMIT);
    }
}
