//! What follows a UDP header in FOU and a GUE header of variant 0: an IPv4 packet as it is, or behind GRE.

use super::gre::Gre;
use crate::drop_reason::DropReason;
use crate::packet::ipv4::{GRE, IPIP};

/// What UDP carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// An IPv4 packet (IP protocol 4).
    Ipip,
    /// An IPv4 packet behind a GRE header without options (IP protocol 47).
    Gre,
}

impl Payload {
    /// Returns the bytes in front of the inner packet.
    #[must_use]
    pub const fn header(self) -> usize {
        match self {
            Self::Ipip => 0,
            Self::Gre => Gre::PLAIN.header(),
        }
    }

    /// Returns the IP protocol number that stands for it.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Ipip => IPIP,
            Self::Gre => GRE,
        }
    }

    /// Writes what is in front of the inner packet; `packet` is both.
    ///
    /// # Panics
    /// When `packet` is shorter than [`Self::header`].
    pub fn write(self, packet: &mut [u8]) {
        match self {
            Self::Ipip => {}
            Self::Gre => Gre::PLAIN.write(packet),
        }
    }

    /// Returns the inner packet.
    ///
    /// # Errors
    /// Those of [`Gre::parse`].
    pub fn parse(self, packet: &[u8]) -> Result<&[u8], DropReason> {
        match self {
            Self::Ipip => Ok(packet),
            Self::Gre => Gre::PLAIN.parse(packet),
        }
    }
}
