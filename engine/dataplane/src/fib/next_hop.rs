//! The result of a FIB lookup.

use crate::ids::{PortId, TunnelId};

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// To the router's own host stack, through the TUN port.
    Local,
    /// To a neighbor on a directly attached LAN; its MAC comes from the neighbor table.
    Lan(PortId),
    /// Through a tunnel to another node.
    Tunnel(TunnelId),
    /// Inside a pool, owned by nobody: dropped, never answered.
    Withhold,
    /// No way there: ICMP unreachable.
    Unreachable,
    /// Dropped in silence.
    Blackhole,
}
