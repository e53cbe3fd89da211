//! How the routers of a pair wrap packets for each other, as configured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use sam_dataplane::encap::{Carrier, Gre, Gue, Payload};
use sam_dataplane::encap::{Framing, Nested, Plain, Vxlan};

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
    /// GRE or GUE between the overlay addresses, inside of WireGuard.
    OverWireGuard(Inside),
}

/// What is inside of WireGuard, around each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// GRE over IP.
    Gre(Gre),
    /// Generic UDP Encapsulation.
    Gue {
        /// UDP port at both ends.
        port: u16,
        /// What is sent.
        gue: Gue,
    },
}

impl Encapsulation {
    /// Returns the name, in the words of the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Gue { .. } => "gue",
            Self::Fou { .. } => "fou",
            Self::Gre(_) => "gre",
            Self::Ipip => "ipip",
            Self::Vxlan { .. } => "vxlan",
            Self::OverWireGuard(Inside::Gre(_)) => "gre over wireguard",
            Self::OverWireGuard(Inside::Gue { .. }) => "gue over wireguard",
        }
    }

    /// Tells whether WireGuard is all that the underlay sees.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::WireGuard | Self::OverWireGuard(_))
    }

    /// Returns in what packets travel; `None` for WireGuard, which has a socket of its own.
    #[must_use]
    pub fn carrier(self) -> Option<Carrier> {
        match self {
            Self::WireGuard | Self::OverWireGuard(_) => None,
            Self::Gue { port, .. } | Self::Fou { port, .. } | Self::Vxlan { port, .. } => {
                Some(Carrier::Udp { port })
            }
            Self::Gre(_) => Some(Carrier::GRE),
            Self::Ipip => Some(Carrier::IPIP),
        }
    }

    /// Makes what is put around packets between two overlay addresses before they are sealed.
    #[must_use]
    pub(crate) fn nested(self, own: Ipv4Addr, far: Ipv4Addr) -> Option<Nested> {
        let Self::OverWireGuard(inside) = self else {
            return None;
        };
        let (carrier, framing) = match inside {
            Inside::Gre(gre) => (Carrier::GRE, Framing::Gre(gre)),
            Inside::Gue { port, gue } => (Carrier::Udp { port }, Framing::Gue(gue)),
        };
        Some(Nested {
            carrier,
            framing,
            own,
            far,
        })
    }

    /// Makes the tunnel between two overlay addresses to a host; `None` for WireGuard.
    #[must_use]
    pub(crate) fn plain(self, own: Ipv4Addr, far: Ipv4Addr, host: Option<IpAddr>) -> Option<Plain> {
        let framing = match self {
            Self::WireGuard | Self::OverWireGuard(_) => return None,
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
            by_lan: false,
        })
    }
}
