//! Generic UDP Encapsulation (draft-ietf-intarea-gue-09), both variants on one port.
//!
//! ```text
//!   variant 0:  |0 0|C|hlen 5|  protocol 8  |       flags 16       |  fields: hlen words
//!   variant 1:  |0 1|…  an IP packet: its version is 4 or 6
//! ```
//! No field of variant 0 is known here, and a packet with flags must not be read without knowing them (section 3.4).

use super::payload::Payload;
use crate::drop_reason::DropReason;
use crate::packet::ipv4::{GRE, IPIP, word};

/// How packets are sent; both variants are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gue {
    /// With a header that names what follows.
    Variant0(Payload),
    /// Without any header: the inner packet follows UDP.
    Variant1,
}

impl Gue {
    /// Returns the bytes in front of the inner packet.
    #[must_use]
    pub const fn header(self) -> usize {
        match self {
            Self::Variant0(payload) => FIXED + payload.header(),
            Self::Variant1 => 0,
        }
    }

    /// Writes the header in front of an IPv4 packet; `packet` is both.
    ///
    /// # Panics
    /// When `packet` is shorter than the header.
    pub fn write(self, packet: &mut [u8]) {
        if let Self::Variant0(payload) = self {
            packet[..FIXED].copy_from_slice(&[0, payload.protocol(), 0, 0]);
            payload.write(&mut packet[FIXED..]);
        }
    }
}

/// Returns the inner packet of either variant.
///
/// # Errors
/// `EncapMalformed` for control messages, flags and unknown variants; `NotIpv4` for IPv6 in variant 0; those of GRE.
pub fn parse(packet: &[u8]) -> Result<&[u8], DropReason> {
    let first = *packet.first().ok_or(DropReason::EncapMalformed)?;
    match first >> 6 {
        0 => parse_variant_0(packet, first),
        1 => Ok(packet),
        _ => Err(DropReason::EncapMalformed),
    }
}

fn parse_variant_0(packet: &[u8], first: u8) -> Result<&[u8], DropReason> {
    let fixed: &[u8; FIXED] = packet.first_chunk().ok_or(DropReason::EncapMalformed)?;
    let header = FIXED + 4 * usize::from(first & LENGTH);
    let is_known = first & CONTROL == 0 && word(fixed, 2) == 0;
    let rest = packet
        .get(header..)
        .filter(|_| is_known)
        .ok_or(DropReason::EncapMalformed)?;
    match fixed[1] {
        IPIP => Ok(rest),
        GRE => Payload::Gre.parse(rest),
        IPV6 => Err(DropReason::NotIpv4),
        _ => Err(DropReason::EncapMalformed),
    }
}

/// Bytes that every header of variant 0 has.
const FIXED: usize = 4;
/// The C bit: the packet is a control message.
const CONTROL: u8 = 0x20;
/// Words of fields behind the fixed part.
const LENGTH: u8 = 0x1f;
/// IP protocol number of IPv6.
const IPV6: u8 = 41;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_draft() {
        let cases: [(Gue, &[u8]); 3] = [
            (Gue::Variant0(Payload::Ipip), &[0, 4, 0, 0]),
            (Gue::Variant0(Payload::Gre), &[0, 47, 0, 0, 0, 0, 8, 0]),
            (Gue::Variant1, &[]),
        ];
        for (gue, expected) in cases {
            let mut packet = vec![0xee; gue.header()];
            packet.push(0x45);
            gue.write(&mut packet);
            assert_eq!(packet, [expected, &[0x45]].concat(), "{gue:?}");
        }
    }

    #[test]
    fn both_variants_are_read_and_fields_are_skipped() {
        let cases: [&[u8]; 4] = [
            &[0x45, 1],
            &[0, 4, 0, 0, 0x45, 1],
            &[2, 4, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 0x45, 1],
            &[0, 47, 0, 0, 0, 0, 8, 0, 0x45, 1],
        ];
        for packet in cases {
            assert_eq!(parse(packet), Ok(&[0x45, 1][..]), "{packet:x?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_reason() {
        let cases: [(&[u8], DropReason); 10] = [
            (&[], DropReason::EncapMalformed),
            (&[0, 4, 0], DropReason::EncapMalformed),
            (&[0x20, 4, 0, 0, 0x45], DropReason::EncapMalformed),
            (&[0, 4, 0, 1, 0x45], DropReason::EncapMalformed),
            (&[0, 4, 0x80, 0, 0x45], DropReason::EncapMalformed),
            (&[1, 4, 0, 0, 0x45], DropReason::EncapMalformed),
            (&[0, 17, 0, 0, 0x45], DropReason::EncapMalformed),
            (&[0x85, 4, 0, 0, 0x45], DropReason::EncapMalformed),
            (&[0xc5, 4, 0, 0, 0x45], DropReason::EncapMalformed),
            (&[0, 41, 0, 0, 0x60], DropReason::NotIpv4),
        ];
        for (packet, reason) in cases {
            assert_eq!(parse(packet), Err(reason), "{packet:x?}");
        }
    }
}
