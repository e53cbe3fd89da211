//! Encapsulations without encryption, for underlays that are trusted or inside of WireGuard: what stands between outer
//! and inner packet.
//!
//! Each file writes and parses one format on plain bytes. [`Framing`] chooses among them, [`Carrier`] says in what a
//! framed packet travels, [`Plain`] is the whole of one tunnel, [`Nested`] one inside of WireGuard. Nothing here authenticates: a packet belongs to the
//! tunnel whose far end has exactly its outer source address, and the forwarder takes none from a LAN.

pub mod carrier;
pub mod gre;
pub mod gue;
pub mod lane;
pub mod nested;
pub mod payload;
pub mod sources;
pub mod vxlan;

use std::net::SocketAddr;

pub use carrier::Carrier;
pub use gre::Gre;
pub use gue::Gue;
pub use lane::{LANES, Lane};
pub use nested::Nested;
pub use payload::Payload;
pub use sources::Sources;
pub use vxlan::Vxlan;

use crate::drop_reason::DropReason;

/// A tunnel without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// In what it travels.
    pub carrier: Carrier,
    /// What stands in front of the inner packet.
    pub framing: Framing,
    /// The far end; only its address counts for received packets. The port of an IP carrier is 0. `None`: not known.
    pub to: Option<SocketAddr>,
    /// Whether the way to the far end leads out by a LAN: only then its packets may come in there.
    pub by_lan: bool,
}

/// What stands between the header of the carrier and the inner packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing (RFC 2003).
    Ipip,
    /// Generic Routing Encapsulation (RFC 2784, RFC 2890).
    Gre(Gre),
    /// Foo over UDP: the port says what is inside (Linux `ip fou`).
    Fou(Payload),
    /// Generic UDP Encapsulation (draft-ietf-intarea-gue-09).
    Gue(Gue),
    /// VXLAN between two routers (RFC 7348).
    Vxlan(Vxlan),
}

impl Framing {
    /// Returns the bytes that it puts in front of an inner packet.
    #[must_use]
    pub const fn header(self) -> usize {
        match self {
            Self::Ipip => 0,
            Self::Gre(gre) => gre.header(),
            Self::Fou(payload) => payload.header(),
            Self::Gue(gue) => gue.header(),
            Self::Vxlan(_) => vxlan::HEADER,
        }
    }

    /// Writes the header: `packet` has room for it in front of the inner packet.
    ///
    /// # Panics
    /// When `packet` is shorter than [`Self::header`].
    pub fn write(self, packet: &mut [u8]) {
        match self {
            Self::Ipip => {}
            Self::Gre(gre) => gre.write(packet),
            Self::Fou(payload) => payload.write(packet),
            Self::Gue(gue) => gue.write(packet),
            Self::Vxlan(vxlan) => vxlan.write(packet),
        }
    }

    /// Returns the inner packet of a received one, not yet looked into.
    ///
    /// # Errors
    /// `EncapMalformed`, `EncapWrongKey`, `EncapChecksum`; `NotIpv4` for another inner protocol; `FrameNotForUs` for
    /// another inner MAC address (VXLAN).
    pub fn parse(self, packet: &[u8]) -> Result<&[u8], DropReason> {
        match self {
            Self::Ipip => Ok(packet),
            Self::Gre(gre) => gre.parse(packet),
            Self::Fou(payload) => payload.parse(packet),
            Self::Gue(_) => gue::parse(packet),
            Self::Vxlan(vxlan) => vxlan.parse(packet),
        }
    }

    /// Returns the name, as in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipip => "ipip",
            Self::Gre(_) => "gre",
            Self::Fou(_) => "fou",
            Self::Gue(_) => "gue",
            Self::Vxlan(_) => "vxlan",
        }
    }
}

/// Length of the longest header of any framing in bytes.
pub const HEADER_MAX: usize = vxlan::HEADER;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Option<u32> = Some(0x0102_0304);
    const ALL: [Framing; 11] = [
        Framing::Ipip,
        Framing::Gre(Gre::PLAIN),
        Framing::Gre(Gre {
            key: KEY,
            checksum: false,
        }),
        Framing::Gre(Gre {
            key: None,
            checksum: true,
        }),
        Framing::Gre(Gre {
            key: KEY,
            checksum: true,
        }),
        Framing::Fou(Payload::Ipip),
        Framing::Fou(Payload::Gre),
        Framing::Gue(Gue::Variant0(Payload::Ipip)),
        Framing::Gue(Gue::Variant0(Payload::Gre)),
        Framing::Gue(Gue::Variant1),
        Framing::Vxlan(Vxlan {
            vni: 7,
            from: [2; 6],
            to: [2; 6],
        }),
    ];

    proptest! {
        #[test]
        fn what_was_written_is_read_back(rest in prop::collection::vec(any::<u8>(), 19..200)) {
            // An IPv4 packet starts with its version; everything else may be anything.
            let inner = [&[0x45], &rest[..]].concat();
            for framing in ALL {
                prop_assert!(framing.header() <= HEADER_MAX);
                let mut packet = [&vec![0xee; framing.header()][..], &inner].concat();
                framing.write(&mut packet);
                prop_assert_eq!(framing.parse(&packet), Ok(&inner[..]), "{:?}", framing);
            }
        }

        #[test]
        fn anything_received_is_refused_or_ends_with_an_inner_packet(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for framing in ALL {
                if let Ok(inner) = framing.parse(&bytes) {
                    prop_assert!(bytes.ends_with(inner), "{:?}", framing);
                }
            }
        }

        #[test]
        fn a_packet_cut_off_within_its_header_is_refused(cut in any::<prop::sample::Index>()) {
            for framing in ALL.into_iter().filter(|framing| framing.header() > 0) {
                let mut packet = vec![0x45; framing.header() + 20];
                framing.write(&mut packet);
                let cut = cut.index(framing.header());
                prop_assert!(framing.parse(&packet[..cut]).is_err(), "{:?} {}", framing, cut);
            }
        }
    }
}
