//! Address families (RFC 4760): which there are, and what of a route depends on them.
//!
//! A table, a message or a policy is written once, for any [`Prefix`]; only what stands here differs.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::ExternalPeer;

/// A family whose routes can be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// Returns address family and subsequent address family as they stand on the wire.
    #[must_use]
    pub const fn on_wire(self) -> (u16, u8) {
        match self {
            Self::Ipv4Unicast => (1, 1),
            Self::Ipv6Unicast => (2, 1),
        }
    }

    /// Returns the family with these numbers; `None` if it is another one.
    #[must_use]
    pub const fn from_wire(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// Returns its name, as shown to operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        }
    }
}

/// A destination of one family; bits after its length are zero.
pub trait Prefix: Copy + Ord + Hash + fmt::Debug + fmt::Display + Into<IpNet> + 'static {
    /// Where packets go next.
    type NextHop: Copy + Ord + Hash + fmt::Debug + fmt::Display + Into<IpAddr> + 'static;

    /// The family.
    const FAMILY: Family;

    /// Bytes of the longest prefix.
    const OCTETS: usize;

    /// Makes the prefix with so many bits, of which `octets` are the first; `None` when those are not its bytes.
    fn from_wire(bits: u8, octets: &[u8]) -> Option<Self>;

    /// Returns its length in bits.
    fn bits(self) -> u8;

    /// Returns the bytes of its address, all of them.
    fn address(self) -> impl AsRef<[u8]>;

    /// Returns what is hashed of it: as few bytes as tell it apart.
    fn key(self) -> impl Hash;

    /// Reads a next hop of MP_REACH_NLRI; `None` when its length is wrong.
    fn next_hop(octets: &[u8]) -> Option<Self::NextHop>;

    /// Tells whether an address can be one of a host, and so a next hop (RFC 4271 section 6.3).
    fn is_host(next_hop: Self::NextHop) -> bool;

    /// Returns our own address as an external peer is told it; `None` where there is none.
    fn own_next_hop(peer: &ExternalPeer) -> Option<Self::NextHop>;
}

impl Prefix for Ipv4Net {
    type NextHop = Ipv4Addr;

    const FAMILY: Family = Family::Ipv4Unicast;
    const OCTETS: usize = 4;

    fn from_wire(bits: u8, octets: &[u8]) -> Option<Self> {
        let address = Ipv4Addr::from(padded(bits, octets)?);
        Some(Self::new(address, bits).ok()?.trunc())
    }

    fn bits(self) -> u8 {
        self.prefix_len()
    }

    fn address(self) -> impl AsRef<[u8]> {
        self.network().octets()
    }

    fn key(self) -> impl Hash {
        u64::from(self.network().to_bits()) << 8 | u64::from(self.prefix_len())
    }

    fn next_hop(octets: &[u8]) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
    }

    /// Not one of "this network", loopback, multicast or the reserved rest (RFC 6890).
    fn is_host(next_hop: Ipv4Addr) -> bool {
        !matches!(next_hop.octets()[0], 0 | 127 | 224..)
    }

    fn own_next_hop(peer: &ExternalPeer) -> Option<Ipv4Addr> {
        Some(peer.next_hop)
    }
}

impl Prefix for Ipv6Net {
    type NextHop = Ipv6Addr;

    const FAMILY: Family = Family::Ipv6Unicast;
    const OCTETS: usize = 16;

    fn from_wire(bits: u8, octets: &[u8]) -> Option<Self> {
        let address = Ipv6Addr::from(padded(bits, octets)?);
        Some(Self::new(address, bits).ok()?.trunc())
    }

    fn bits(self) -> u8 {
        self.prefix_len()
    }

    fn address(self) -> impl AsRef<[u8]> {
        self.network().octets()
    }

    fn key(self) -> impl Hash {
        (self.network().to_bits(), self.prefix_len())
    }

    /// The global address. A link-local one behind it means something to who shares the link only, and must not be passed
    /// on to others (RFC 2545 section 3).
    fn next_hop(octets: &[u8]) -> Option<Ipv6Addr> {
        let global = match octets.len() {
            16 | 32 => octets.first_chunk::<16>()?,
            _ => return None,
        };
        Some(Ipv6Addr::from(*global))
    }

    /// Not unspecified, loopback or multicast; one that maps an address of IPv4 is what that is.
    fn is_host(next_hop: Ipv6Addr) -> bool {
        let mapped = next_hop.to_ipv4_mapped();
        let never = next_hop.is_unspecified() || next_hop.is_loopback() || next_hop.is_multicast();
        !never && mapped.is_none_or(<Ipv4Net as Prefix>::is_host)
    }

    fn own_next_hop(peer: &ExternalPeer) -> Option<Ipv6Addr> {
        peer.next_hop_ipv6
    }
}

/// Fills the bytes of an address up with zeros; `None` when they are not those of so many bits.
fn padded<const N: usize>(bits: u8, octets: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    if octets.len() != usize::from(bits.div_ceil(8)) {
        return None;
    }
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_its_global_address() {
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let local: Ipv6Addr = "fe80::1".parse().unwrap();
        let both = [global.octets(), local.octets()].concat();

        assert_eq!(Ipv6Net::next_hop(&both), Some(global));
        assert_eq!(Ipv6Net::next_hop(&both[..16]), Some(global));
        for length in [0, 4, 15, 17, 24, 31] {
            assert_eq!(Ipv6Net::next_hop(&both[..length]), None, "{length}");
        }
        assert_eq!(Ipv4Net::next_hop(&both[..16]), None);
    }

    #[test]
    fn a_prefix_has_no_more_bits_than_its_family() {
        assert!(Ipv6Net::from_wire(128, &[0xff; 16]).is_some());
        assert_eq!(Ipv6Net::from_wire(129, &[0xff; 17]), None);
        assert_eq!(Ipv4Net::from_wire(33, &[0xff; 5]), None);
        assert_eq!(
            Ipv6Net::from_wire(20, &[0x20, 1, 0xff])
                .unwrap()
                .to_string(),
            "2001:f000::/20"
        );
    }
}
