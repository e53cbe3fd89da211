//! Where an IP packet entered the router: decides which sources it may have and who reports errors about it.

use crate::fib::NextHop;
use crate::ids::{PortId, TunnelId};

/// Where an IP packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingress {
    /// A LAN port.
    Lan(PortId),
    /// The router's own host, through the TUN port.
    Host,
    /// A tunnel.
    Tunnel(TunnelId),
}

impl Ingress {
    /// Returns what the source address of a packet from here must look up to (strict RPF, RFC 3704 section 2.2).
    #[must_use]
    pub fn reverse_path(self) -> NextHop {
        match self {
            Self::Lan(port) => NextHop::Lan(port),
            Self::Host => NextHop::Local,
            Self::Tunnel(tunnel) => NextHop::Tunnel(tunnel),
        }
    }
}
