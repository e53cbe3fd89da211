//! Everything the packet path reads: built by the control plane, immutable, published as a whole.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::dscp::Dscp;
use crate::encap::{Carrier, Nested, Plain};
use crate::fib::{AddressSet, Fib};
use crate::ids::{PortId, TunnelId};
use crate::notice::Mac;
use crate::packet::ipv4::low_word;

/// A LAN interface on which the engine forwards and answers ARP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanPort {
    /// Its number.
    pub id: PortId,
    /// Interface name, for people.
    pub name: String,
    /// The kernel's number of the interface; 0 while there is none.
    pub interface: u32,
    /// Our MAC address on it.
    pub mac: Mac,
    /// Our IPv4 address on it, owned by the kernel; sender of our ARP requests and ICMP errors. `None`: no address.
    pub address: Option<Ipv4Addr>,
    /// The on-link subnet.
    pub subnet: Ipv4Net,
    /// Pools, whose hosts are on-link too, whatever the subnet of our address is.
    pub pools: Vec<Ipv4Net>,
    /// Interface MTU: largest IP packet.
    pub mtu: u16,
    /// Addresses for which this router answers ARP on this LAN while the gate is open.
    pub answers: AddressSet,
    /// An address of the LAN that belongs to whichever router may answer now (VRRP), if there is one.
    pub virtual_address: Option<Ipv4Addr>,
    /// Whether this router may answer now (`activeWhen`); closed means silent.
    pub gate_open: bool,
    /// Whether to announce newly answered addresses by gratuitous ARP.
    pub gratuitous_arp: bool,
    /// Grows when everything is to be announced again: another router claimed to be the one that answers.
    pub conflicts: u64,
    /// MACs of the other routers of this LAN. Which of us answers is decided by the election: what they say silences
    /// nobody.
    pub siblings: Vec<Mac>,
    /// Tunnels to these routers: each of us may own the hosts of this LAN, which may send through any.
    pub beside: Vec<TunnelId>,
    /// Whether the control plane is told which hosts are heard.
    pub discovers: bool,
    /// Whether the control plane is told what is wanted and nobody owns: it asks this LAN, or the provider of its cloud.
    pub asks: bool,
}

impl LanPort {
    /// Tells whether hosts of this LAN may have `address`: it is in the subnet or in a pool.
    #[must_use]
    pub fn is_on_link(&self, address: Ipv4Addr) -> bool {
        let mut pools = self.pools.iter();
        self.subnet.contains(&address) || pools.any(|pool| pool.contains(&address))
    }

    /// Tells whether IPv4 packets from this LAN to `destination` reach the engine: those to a pool and to the virtual address,
    /// but not those to the host itself. The filter in front of the port leaves all others to the host's kernel.
    #[must_use]
    pub fn is_taken(&self, destination: Ipv4Addr) -> bool {
        let is_virtual = self.virtual_address == Some(destination);
        let mut pools = self.pools.iter();
        let is_mobile = pools.any(|pool| pool.contains(&destination));
        self.address != Some(destination) && (is_virtual || is_mobile)
    }

    /// Tells whether this router answers for `address` here now.
    #[must_use]
    pub fn is_answered(&self, address: Ipv4Addr) -> bool {
        self.gate_open && self.is_listed(address)
    }

    /// Tells whether this router answers for `address` while its gate is open.
    #[must_use]
    pub fn is_listed(&self, address: Ipv4Addr) -> bool {
        self.virtual_address == Some(address) || self.answers.contains(address)
    }

    /// Lists the addresses for which this router answers while its gate is open.
    pub fn listed(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.answers.iter().chain(self.virtual_address)
    }
}

/// The TUN device that connects the engine to the router's own host stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunPort {
    /// Its number.
    pub id: PortId,
    /// Interface name.
    pub name: String,
    /// The kernel's number of the interface.
    pub interface: u32,
    /// The router's overlay address, assigned to the device.
    pub address: Ipv4Addr,
    /// Device MTU.
    pub mtu: u16,
}

/// A way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Its number, equal to the index in [`Snapshot::tunnels`].
    pub id: TunnelId,
    /// Name of the far node, for people.
    pub name: String,
    /// How packets are encapsulated.
    pub encap: Encap,
    /// What is put around them before; in WireGuard only.
    pub nested: Option<Nested>,
    /// Largest inner packet.
    pub mtu: u16,
    /// Whether to lower the MSS of passing SYNs to fit `mtu`.
    pub mss_clamp: bool,
    /// Whether packets that do not fit are fragmented even if they say that they may not be.
    pub force_fragment: bool,
    /// DSCP of outer headers.
    pub dscp: Dscp,
    /// Equal for tunnels to routers that share a LAN and may own the same: each may send for the hosts of the other.
    pub site: u16,
}

/// How an inner packet becomes an outer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encap {
    /// WireGuard peer of this index in `sam_wg::Device`.
    WireGuard(sam_wg::PeerIndex),
    /// Without encryption.
    Plain(Plain),
}

impl Encap {
    /// Bytes added to an inner packet, outer IP header included (data-plane.md section 6.1).
    #[must_use]
    pub const fn overhead(self, outer_ipv6: bool) -> u16 {
        let outer_ip = if outer_ipv6 { 40 } else { 20 };
        match self {
            Self::WireGuard(_) => outer_ip + 8 + 32,
            Self::Plain(plain) => {
                outer_ip + plain.carrier.header() + low_word(plain.framing.header())
            }
        }
    }
}

/// The forwarding state of one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows with each publication.
    pub generation: u64,
    /// Destination and source table in one: a source must look up to where the packet came from.
    pub fib: Fib,
    /// LAN ports.
    pub lans: Vec<LanPort>,
    /// The TUN port, once it exists.
    pub tun: Option<TunPort>,
    /// Tunnels by id.
    pub tunnels: Vec<Tunnel>,
    /// Tunnels through which nothing arrives for the moment, as the underlay says. Who sends into them is told so; as nobody
    /// vouches for it, what is sent goes out all the same.
    pub unreachable: BTreeSet<TunnelId>,
    /// UDP ports that the WireGuard of the fabric has, at any end.
    pub wireguard_ports: BTreeSet<u16>,
    /// Outer source of tunnels without encryption, because far ends know us by it; `None`, or of another address family:
    /// the kernel's choice.
    pub outer_source: Option<IpAddr>,
}

impl Snapshot {
    /// Tells whether `address` is one of those that live at any site.
    #[must_use]
    pub fn is_mobile(&self, address: Ipv4Addr) -> bool {
        let mut pools = self.lans.iter().flat_map(|lan| &lan.pools);
        pools.any(|pool| pool.contains(&address))
    }

    /// Lists the UDP ports of tunnels of the fabric; one may come more than once.
    pub fn tunnel_ports(&self) -> impl Iterator<Item = u16> {
        let carriers = self.tunnels.iter().flat_map(|tunnel| {
            let plain = match tunnel.encap {
                Encap::WireGuard(_) => None,
                Encap::Plain(plain) => Some(plain.carrier),
            };
            plain
                .into_iter()
                .chain(tunnel.nested.map(|nested| nested.carrier))
        });
        let ports = carriers.filter_map(|carrier| match carrier {
            Carrier::Udp { port } => Some(port),
            Carrier::Ip { .. } => None,
        });
        ports.chain(self.wireguard_ports.iter().copied())
    }

    /// Tells whether the routers behind two tunnels share a LAN.
    #[must_use]
    pub fn is_one_site(&self, one: TunnelId, other: TunnelId) -> bool {
        match (self.tunnel(one), self.tunnel(other)) {
            (Some(one), Some(other)) => one.site == other.site,
            _ => false,
        }
    }

    /// Returns the LAN port of this number.
    #[must_use]
    pub fn lan(&self, port: PortId) -> Option<&LanPort> {
        self.lans.iter().find(|lan| lan.id == port)
    }

    /// Returns the tunnel of this number.
    #[must_use]
    pub fn tunnel(&self, tunnel: TunnelId) -> Option<&Tunnel> {
        self.tunnels.get(usize::from(tunnel.0))
    }

    /// Returns the tunnel to a WireGuard peer.
    #[must_use]
    pub fn tunnel_to(&self, peer: sam_wg::PeerIndex) -> Option<TunnelId> {
        let tunnel = self
            .tunnels
            .iter()
            .find(|tunnel| tunnel.encap == Encap::WireGuard(peer))?;
        Some(tunnel.id)
    }

    /// Tells whether `address` is the broadcast address of a LAN (RFC 1812 section 4.2.2.11 (d)).
    #[must_use]
    pub fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        let is_broadcast =
            |lan: &LanPort| lan.subnet.prefix_len() < 31 && lan.subnet.broadcast() == address;
        self.lans.iter().any(is_broadcast)
    }
}
