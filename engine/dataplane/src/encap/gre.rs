//! Generic Routing Encapsulation: RFC 2784 with the key and sequence number of RFC 2890.
//!
//! Sequence numbers are accepted and not looked at: a router that reorders nothing needs none. Packets with a routing
//! field (RFC 1701) are refused, as RFC 2784 section 2.3 wants it.

use crate::drop_reason::DropReason;
use crate::packet::checksum::Sum;
use crate::packet::ethernet::ETHERTYPE_IPV4;
use crate::packet::ipv4::{put, word};

/// What both ends of a GRE tunnel agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gre {
    /// Key; a packet without one is not a packet with key 0.
    pub key: Option<u32>,
    /// Whether sent packets carry a checksum. Received ones are verified when they carry one other than zero, which
    /// stands for one that was left to a network card and never made.
    pub checksum: bool,
}

impl Gre {
    /// Without options.
    pub const PLAIN: Self = Self {
        key: None,
        checksum: false,
    };

    /// Returns the length of the header in bytes.
    #[must_use]
    pub const fn header(self) -> usize {
        let key = if self.key.is_some() { 4 } else { 0 };
        let checksum = if self.checksum { 4 } else { 0 };
        FIXED + checksum + key
    }

    /// Writes the header in front of an IPv4 packet; `packet` is both.
    ///
    /// # Panics
    /// When `packet` is shorter than the header.
    pub fn write(self, packet: &mut [u8]) {
        let flags =
            if self.checksum { CHECKSUM } else { 0 } | if self.key.is_some() { KEY } else { 0 };
        put(packet, 0, flags);
        put(packet, 2, ETHERTYPE_IPV4);
        if let Some(key) = self.key {
            let at = self.header() - 4;
            packet[at..at + 4].copy_from_slice(&key.to_be_bytes());
        }
        if self.checksum {
            packet[FIXED..FIXED + 4].fill(0);
            let checksum = Sum::of(packet).checksum();
            put(packet, FIXED, checksum);
        }
    }

    /// Returns the IPv4 packet behind the header.
    ///
    /// # Errors
    /// `EncapMalformed`, `EncapChecksum`, `EncapWrongKey`, `NotIpv4`.
    pub fn parse(self, packet: &[u8]) -> Result<&[u8], DropReason> {
        let fixed: &[u8; FIXED] = packet.first_chunk().ok_or(DropReason::EncapMalformed)?;
        let flags = word(fixed, 0);
        if flags & (REFUSED | VERSION) != 0 {
            return Err(DropReason::EncapMalformed);
        }
        let field = |flag| if flags & flag == 0 { 0 } else { 4 };
        let key_at = FIXED + field(CHECKSUM);
        let header = key_at + field(KEY) + field(SEQUENCE);
        let (front, inner) = packet
            .split_at_checked(header)
            .ok_or(DropReason::EncapMalformed)?;
        if flags & CHECKSUM != 0 && !is_intact(packet) {
            return Err(DropReason::EncapChecksum);
        }
        let key = front[key_at..].first_chunk().filter(|_| flags & KEY != 0);
        if key.map(|key| u32::from_be_bytes(*key)) != self.key {
            return Err(DropReason::EncapWrongKey);
        }
        if word(fixed, 2) != ETHERTYPE_IPV4 {
            return Err(DropReason::NotIpv4);
        }
        Ok(inner)
    }
}

/// Verifies the checksum of a packet that has one.
///
/// Linux leaves it to the network card, as zero, and virtual cards and cables do not fill it in. Nothing tells a raw
/// socket so. One in 65,536 packets has this checksum by right.
fn is_intact(packet: &[u8]) -> bool {
    packet.get(FIXED..FIXED + 2) == Some(&[0, 0]) || Sum::of(packet).is_intact()
}

/// Bytes that every header has.
const FIXED: usize = 4;
const CHECKSUM: u16 = 0x8000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
/// Bits 1, 4 and 5: routing of RFC 1701 and what is reserved (RFC 2784 section 2.3).
const REFUSED: u16 = 0x4c00;
const VERSION: u16 = 0x0007;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYED: Gre = Gre {
        key: Some(42),
        checksum: false,
    };
    const SUMMED: Gre = Gre {
        key: None,
        checksum: true,
    };

    #[test]
    fn headers_are_those_of_the_rfcs() {
        let cases: [(Gre, &[u8]); 4] = [
            (Gre::PLAIN, &[0, 0, 8, 0]),
            (KEYED, &[0x20, 0, 8, 0, 0, 0, 0, 42]),
            // 0x8000 + 0x0800 + 0x4500 = 0xcd00
            (SUMMED, &[0x80, 0, 8, 0, 0x32, 0xff, 0, 0]),
            // 0xa000 + 0x0800 + 0x002a + 0x4500 = 0xed2a
            (
                Gre {
                    key: Some(42),
                    checksum: true,
                },
                &[0xa0, 0, 8, 0, 0x12, 0xd5, 0, 0, 0, 0, 0, 42],
            ),
        ];
        for (gre, expected) in cases {
            let mut packet = vec![0xee; gre.header() + 2];
            packet[gre.header()..].copy_from_slice(&[0x45, 0]);
            gre.write(&mut packet);
            assert_eq!(packet, [expected, &[0x45, 0]].concat(), "{gre:?}");
        }
    }

    #[test]
    fn what_another_router_may_send_is_read() {
        let cases: [(Gre, &[u8]); 5] = [
            (Gre::PLAIN, &[0x10, 0, 8, 0, 0, 0, 0, 9]),
            // A checksum that was left to a card which does not exist.
            (SUMMED, &[0x80, 0, 8, 0, 0, 0, 0, 0]),
            (KEYED, &[0x30, 0, 8, 0, 0, 0, 0, 42, 0, 0, 0, 9]),
            // Checksum offered though this side sends none.
            (Gre::PLAIN, &[0x80, 0, 8, 0, 0x32, 0xff, 0, 0]),
            // Bits 6 to 12 are ignored.
            (Gre::PLAIN, &[0x03, 0xf8, 8, 0]),
        ];
        for (gre, header) in cases {
            let packet = [header, &[0x45, 0]].concat();
            assert_eq!(gre.parse(&packet), Ok(&[0x45, 0][..]), "{header:x?}");
        }
    }

    #[test]
    fn what_does_not_belong_is_refused_by_its_reason() {
        let cases: [(Gre, &[u8], DropReason); 12] = [
            (Gre::PLAIN, &[], DropReason::EncapMalformed),
            (Gre::PLAIN, &[0, 0, 8], DropReason::EncapMalformed),
            (Gre::PLAIN, &[0, 1, 8, 0], DropReason::EncapMalformed),
            (
                Gre::PLAIN,
                &[0x40, 0, 8, 0, 0, 0, 0, 0],
                DropReason::EncapMalformed,
            ),
            (Gre::PLAIN, &[0x08, 0, 8, 0], DropReason::EncapMalformed),
            (Gre::PLAIN, &[0x04, 0, 8, 0], DropReason::EncapMalformed),
            (KEYED, &[0x20, 0, 8, 0, 0, 0, 0], DropReason::EncapMalformed),
            (
                KEYED,
                &[0x20, 0, 8, 0, 0, 0, 0, 43],
                DropReason::EncapWrongKey,
            ),
            (KEYED, &[0, 0, 8, 0], DropReason::EncapWrongKey),
            (
                Gre::PLAIN,
                &[0x20, 0, 8, 0, 0, 0, 0, 0],
                DropReason::EncapWrongKey,
            ),
            (
                SUMMED,
                &[0x80, 0, 8, 0, 0x32, 0xfe, 0, 0, 0x45, 0],
                DropReason::EncapChecksum,
            ),
            (Gre::PLAIN, &[0, 0, 0x86, 0xdd], DropReason::NotIpv4),
        ];
        for (gre, packet, reason) in cases {
            assert_eq!(gre.parse(packet), Err(reason), "{packet:x?}");
        }
    }
}
