//! How the routers of a pair wrap packets for each other, as configured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use sam_dataplane::encap::{Carrier, Gre, Gue, Payload};
use sam_dataplane::encap::{Framing, Plain, Vxlan};

/// An encapsulation with its settings, which are the same at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encapsulation {
    /// Encrypted and authenticated, over UDP.
    WireGuard,
    /// Generic UDP Encapsulation.
    Gue {
        /// UDP port at both ends.
        port: u16,
        /// What is sent.
        gue: Gue,
    },
    /// Foo over UDP.
    Fou {
        /// UDP port at both ends.
        port: u16,
        /// What is inside.
        payload: Payload,
    },
    /// GRE over IP.
    Gre(Gre),
    /// IPv4 in IP.
    Ipip,
    /// VXLAN.
    Vxlan {
        /// UDP port at both ends.
        port: u16,
        /// Network identifier, 24 bits.
        vni: u32,
    },
}

impl Encapsulation {
    /// Returns the name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Gue { .. } => "gue",
            Self::Fou { .. } => "fou",
            Self::Gre(_) => "gre",
            Self::Ipip => "ipip",
            Self::Vxlan { .. } => "vxlan",
        }
    }

    /// Returns in what packets travel; `None` for WireGuard, which has a socket of its own.
    #[must_use]
    pub fn carrier(self) -> Option<Carrier> {
        match self {
            Self::WireGuard => None,
            Self::Gue { port, .. } | Self::Fou { port, .. } | Self::Vxlan { port, .. } => {
                Some(Carrier::Udp { port })
            }
            Self::Gre(_) => Some(Carrier::GRE),
            Self::Ipip => Some(Carrier::IPIP),
        }
    }

    /// Makes the tunnel between two overlay addresses to a host; `None` for WireGuard.
    #[must_use]
    pub(crate) fn plain(self, own: Ipv4Addr, far: Ipv4Addr, host: Option<IpAddr>) -> Option<Plain> {
        let framing = match self {
            Self::WireGuard => return None,
            Self::Gue { gue, .. } => Framing::Gue(gue),
            Self::Fou { payload, .. } => Framing::Fou(payload),
            Self::Gre(gre) => Framing::Gre(gre),
            Self::Ipip => Framing::Ipip,
            Self::Vxlan { vni, .. } => Framing::Vxlan(Vxlan::between(vni, own, far)),
        };
        let carrier = self.carrier()?;
        let port = match carrier {
            Carrier::Udp { port } => port,
            Carrier::Ip { .. } => 0,
        };
        Some(Plain {
            carrier,
            framing,
            to: host.map(|host| SocketAddr::new(host, port)),
        })
    }
}
