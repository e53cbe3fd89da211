//! Where an IPv4 packet goes, or why it goes nowhere: one pure function of the snapshot.
//!
//! `samctl trace` asks the same function. It changes nothing and sends nothing.

use std::net::Ipv4Addr;

use crate::drop_reason::DropReason;
use crate::fib::NextHop;
use crate::ids::{PortId, TunnelId};
use crate::ingress::Ingress;
use crate::packet::icmp::{ECHO_REQUEST, ICMP_HEADER, IcmpError};
use crate::packet::ipv4::IPV4_HEADER;
use crate::packet::{Classified, L4};
use crate::snapshot::Snapshot;

/// Where a packet goes, once nothing speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the router's own host.
    Host,
    /// To a neighbor on this LAN.
    Lan {
        /// The LAN.
        port: PortId,
        /// Longest packet that fits, in bytes.
        mtu: u16,
    },
    /// Into this tunnel.
    Tunnel {
        /// The tunnel.
        tunnel: TunnelId,
        /// Longest packet that fits, in bytes.
        mtu: u16,
    },
}

impl Way {
    /// Returns the longest packet that fits, in bytes.
    #[must_use]
    pub fn mtu(self) -> u16 {
        match self {
            Self::Host => u16::MAX,
            Self::Lan { mtu, .. } | Self::Tunnel { mtu, .. } => mtu,
        }
    }
}

/// Why a packet goes nowhere, and what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// For counters and `samctl explain`.
    pub reason: DropReason,
    /// What the sender is told.
    pub error: Option<IcmpError>,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self {
            reason,
            error: None,
        }
    }
}

/// Finds out where a packet goes. `size` is the length of the longest wire packet that it stands for.
///
/// # Errors
/// Why it goes nowhere.
pub fn decide(
    snapshot: &Snapshot,
    ingress: Ingress,
    packet: &Classified,
    size: usize,
) -> Result<Way, Refusal> {
    let Classified {
        source,
        destination,
        ..
    } = *packet;
    // 1. The source may be the source of something (RFC 1812 section 5.3.7).
    if !is_unicast(source) || snapshot.is_directed_broadcast(source) {
        return Err(DropReason::SourceInvalid.into());
    }
    // 2. The destination is one host.
    if !is_unicast(destination) || snapshot.is_directed_broadcast(destination) {
        return Err(DropReason::Multicast.into());
    }
    // 3. The source lives where the packet came from, or on the LAN of that router.
    let fib = &snapshot.fib;
    let reverse_path = fib.lookup(source);
    let is_beside = || {
        let way_back = is_beside(snapshot, ingress, reverse_path);
        way_back && snapshot.is_mobile(source) && fib.lookup(destination) != Some(NextHop::Local)
    };
    if reverse_path != Some(ingress.reverse_path()) && !is_beside() {
        return Err(match (ingress, reverse_path) {
            (Ingress::Host, Some(NextHop::Lan(_))) => DropReason::ForwardedByKernel.into(),
            _ => DropReason::SourceNotAllowed.into(),
        });
    }
    // 4. The destination lives somewhere else.
    let mut forced = false;
    let way = match fib.lookup(destination) {
        Some(NextHop::Local) => return decide_local(ingress),
        Some(NextHop::Lan(port)) => {
            let lan = snapshot.lan(port).ok_or(DropReason::PortUnknown)?;
            Way::Lan { port, mtu: lan.mtu }
        }
        Some(NextHop::Tunnel(id)) if ingress == Ingress::Tunnel(id) => {
            return Err(DropReason::SameInterface.into());
        }
        Some(NextHop::Tunnel(id)) => {
            let tunnel = snapshot.tunnel(id).ok_or(DropReason::TunnelDown)?;
            forced = tunnel.force_fragment;
            Way::Tunnel {
                tunnel: id,
                mtu: tunnel.mtu,
            }
        }
        Some(NextHop::Withhold) => return Err(DropReason::PoolWithheld.into()),
        Some(NextHop::Blackhole) => return Err(DropReason::Blackhole.into()),
        Some(NextHop::Unreachable) | None => {
            // The host's kernel sends what it has no better route for; it needs no answer.
            let error = (ingress != Ingress::Host).then_some(IcmpError::HostUnreachable);
            return Err(Refusal {
                reason: DropReason::NoRoute,
                error,
            });
        }
    };
    // 5. It may make one more hop (RFC 1812 section 5.3.1); we are no hop for our own host.
    if ingress != Ingress::Host && packet.ttl <= 1 {
        let error = Some(IcmpError::TimeExceeded);
        return Err(Refusal {
            reason: DropReason::TtlExceeded,
            error,
        });
    }
    // 6. It fits, or may be made to fit (RFC 1191 section 4); some tunnels do not ask its sender.
    let mtu = way.mtu();
    if size > usize::from(mtu) && packet.dont_fragment && !forced {
        let error = Some(IcmpError::FragmentationNeeded { mtu });
        return Err(Refusal {
            reason: DropReason::TooBig,
            error,
        });
    }
    Ok(way)
}

/// Returns the LAN whose virtual address a packet that is refused pings, where this router has that address and answers.
#[must_use]
pub fn pinged_lan(snapshot: &Snapshot, ingress: Ingress, packet: &Classified) -> Option<PortId> {
    let Ingress::Lan(port) = ingress else {
        return None;
    };
    let Classified {
        source,
        destination,
        ..
    } = *packet;
    let lan = snapshot.lan(port)?;
    let is_ping = packet.l4 == L4::Icmp { kind: ECHO_REQUEST }
        && !packet.fragment
        && packet.ip_header == IPV4_HEADER
        && packet.total >= IPV4_HEADER + ICMP_HEADER;
    let has_address = lan.gate_open && lan.virtual_address == Some(destination);
    let is_host =
        lan.is_on_link(source) && source != destination && !snapshot.is_directed_broadcast(source);
    (is_ping && has_address && is_host).then_some(port)
}

/// Tells whether a packet comes through another router of the site where its source lives, or that is this one: hosts of a
/// LAN may still send through the former one while another owns them already. For routers themselves nobody else speaks, nor
/// to them.
fn is_beside(snapshot: &Snapshot, ingress: Ingress, reverse_path: Option<NextHop>) -> bool {
    match (ingress, reverse_path) {
        (Ingress::Tunnel(from), Some(NextHop::Tunnel(owner))) => snapshot.is_one_site(from, owner),
        (Ingress::Lan(port), Some(NextHop::Tunnel(owner))) => snapshot
            .lan(port)
            .is_some_and(|lan| lan.beside.contains(&owner)),
        _ => false,
    }
}

/// Decides about packets for one of the router's own addresses.
fn decide_local(ingress: Ingress) -> Result<Way, Refusal> {
    match ingress {
        Ingress::Tunnel(_) => Ok(Way::Host),
        Ingress::Lan(_) => Err(DropReason::DuplicateDelivery.into()),
        Ingress::Host => Err(DropReason::NoRoute.into()),
    }
}

/// Tells whether `address` can name one host on a network (RFC 1812 section 4.2.2.11).
fn is_unicast(address: Ipv4Addr) -> bool {
    // 0.0.0.0/8 and 127.0.0.0/8 mean this host; 224.0.0.0/4 groups; 240.0.0.0/4 is reserved up to broadcast.
    !matches!(address.octets()[0], 0 | 127 | 224..)
}
