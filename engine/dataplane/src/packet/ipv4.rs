//! IPv4 header fields (RFC 791): reads, in-place changes with incremental checksum, and a builder.
//!
//! Changes expect a packet that [`classify`](super::classify()) accepted; on anything shorter they do nothing.

use std::net::Ipv4Addr;

use super::checksum::{Sum, update};

/// Length of an IPv4 header without options in bytes.
pub const IPV4_HEADER: usize = 20;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of IPv4 in IP (RFC 2003).
pub const IPIP: u8 = 4;
/// Protocol number of GRE (RFC 2784).
pub const GRE: u8 = 47;

/// Flag Don't Fragment in the word of flags and fragment offset.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// Flag More Fragments in the word of flags and fragment offset.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Mask of the fragment offset, counted in units of eight bytes.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Offset of the total length in the header.
pub(crate) const TOTAL_LENGTH: usize = 2;
/// Offset of the identification in the header.
pub(crate) const IDENTIFICATION: usize = 4;
/// Offset of flags and fragment offset in the header.
pub(crate) const FLAGS: usize = 6;
/// Offset of the header checksum in the header.
pub(crate) const CHECKSUM: usize = 10;

/// An IPv4 header without options and without fragmentation, to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// TOS byte (DSCP and ECN).
    pub tos: u8,
    /// Total length of header and payload in bytes.
    pub total: u16,
    /// Identification; may be 0 with `dont_fragment` (RFC 6864).
    pub id: u16,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// Returns the header as bytes, checksum included.
    #[must_use]
    pub fn emit(&self) -> [u8; IPV4_HEADER] {
        let mut header = [0; IPV4_HEADER];
        header[0] = 0x45;
        header[1] = self.tos;
        put(&mut header, TOTAL_LENGTH, self.total);
        put(&mut header, IDENTIFICATION, self.id);
        put(
            &mut header,
            FLAGS,
            if self.dont_fragment { DONT_FRAGMENT } else { 0 },
        );
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..].copy_from_slice(&self.destination.octets());
        write_checksum(&mut header);
        header
    }
}

/// Lowers the TTL by one (RFC 1812 section 5.3.1), not below zero.
pub fn decrement_ttl(packet: &mut [u8]) {
    change(packet, 8, |[ttl, protocol]| {
        [ttl.saturating_sub(1), protocol]
    });
}

/// Sets the ECN field, the two low bits of the TOS byte (RFC 3168), and keeps the DSCP.
pub fn set_ecn(packet: &mut [u8], ecn: u8) {
    change(packet, 0, |[version, tos]| {
        [version, (tos & !3) | (ecn & 3)]
    });
}

/// Clears Don't Fragment, for tunnels that are configured to fragment whatever the sender says.
pub fn clear_dont_fragment(packet: &mut [u8]) {
    change(packet, FLAGS, |[high, low]| [high & 0xbf, low]);
}

/// Computes the header checksum and stores it. `header` is exactly the IPv4 header.
pub fn write_checksum(header: &mut [u8]) {
    if header.len() < IPV4_HEADER {
        return;
    }
    put(header, CHECKSUM, 0);
    let checksum = Sum::of(header).checksum();
    put(header, CHECKSUM, checksum);
}

/// Changes the word at the even offset `at` and updates the header checksum.
fn change(packet: &mut [u8], at: usize, to: impl FnOnce([u8; 2]) -> [u8; 2]) {
    let Some(header) = packet.first_chunk_mut::<IPV4_HEADER>() else {
        return;
    };
    let old = [header[at], header[at + 1]];
    let new = to(old);
    let checksum = update(
        word(header, CHECKSUM),
        u16::from_be_bytes(old),
        u16::from_be_bytes(new),
    );
    put(header, at, u16::from_be_bytes(new));
    put(header, CHECKSUM, checksum);
}

/// Reads a big-endian word; callers guarantee `at + 2 <= bytes.len()`.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a big-endian double word; callers guarantee `at + 4 <= bytes.len()`.
pub(crate) fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Writes a big-endian word; callers guarantee `at + 2 <= bytes.len()`.
pub(crate) fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Narrows a length or count to a header field; callers guarantee that it fits or is meant to wrap.
#[expect(
    clippy::cast_possible_truncation,
    reason = "lengths come from 16-bit fields, ids wrap"
)]
pub(crate) const fn low_word(value: usize) -> u16 {
    value as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_changed_ttl_keeps_the_checksum_right_at_every_value() {
        for ttl in 1..=255 {
            let mut packet = Ipv4Header { ttl, ..HEADER }.emit();
            decrement_ttl(&mut packet);
            assert_eq!(
                packet,
                Ipv4Header {
                    ttl: ttl - 1,
                    ..HEADER
                }
                .emit()
            );
        }
    }

    #[test]
    fn a_ttl_of_zero_stays_zero() {
        let mut packet = Ipv4Header { ttl: 0, ..HEADER }.emit();
        decrement_ttl(&mut packet);
        assert_eq!(packet, Ipv4Header { ttl: 0, ..HEADER }.emit());
    }

    #[test]
    fn the_ecn_field_changes_and_the_dscp_stays() {
        let mut packet = Ipv4Header {
            tos: 0xb9,
            ..HEADER
        }
        .emit();
        set_ecn(&mut packet, 3);
        assert_eq!(
            packet,
            Ipv4Header {
                tos: 0xbb,
                ..HEADER
            }
            .emit()
        );
    }

    #[test]
    fn dont_fragment_can_be_cleared() {
        let mut packet = HEADER.emit();
        clear_dont_fragment(&mut packet);
        assert_eq!(
            packet,
            Ipv4Header {
                dont_fragment: false,
                ..HEADER
            }
            .emit()
        );
    }

    #[test]
    fn a_packet_that_is_too_short_is_left_alone() {
        let mut packet = [0x45; 19];
        decrement_ttl(&mut packet);
        set_ecn(&mut packet, 3);
        write_checksum(&mut packet);
        assert_eq!(packet, [0x45; 19]);
    }

    proptest! {
        #[test]
        fn an_emitted_header_is_what_another_parser_reads(id in any::<u16>(), total in 20u16.., source in any::<u32>(), tos in any::<u8>()) {
            let header = Ipv4Header { id, total, tos, source: source.into(), ..HEADER };
            let (read, _) = etherparse::Ipv4Header::from_slice(&header.emit()).unwrap();
            prop_assert_eq!(read.calc_header_checksum(), read.header_checksum);
            prop_assert_eq!((read.identification, read.total_len, read.source), (id, total, source.to_be_bytes()));
            prop_assert_eq!((read.time_to_live, read.protocol.0, read.dont_fragment), (64, TCP, true));
        }
    }

    const HEADER: Ipv4Header = Ipv4Header {
        tos: 0,
        total: 1500,
        id: 7,
        dont_fragment: true,
        ttl: 64,
        protocol: TCP,
        source: Ipv4Addr::new(10, 1, 0, 2),
        destination: Ipv4Addr::new(10, 2, 0, 3),
    };
}
