//! Ethernet II header (RFC 894). Tagged frames (802.1Q) and 802.3 lengths are refused as unknown ether types.

use crate::drop_reason::DropReason;
use crate::notice::Mac;

/// Length of an untagged Ethernet header in bytes.
pub const ETHERNET_HEADER: usize = 14;
/// Ether type of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];

/// Payload protocols that the engine handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4 (0x0800).
    Ipv4,
    /// ARP (0x0806).
    Arp,
}

/// An Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Destination MAC address.
    pub destination: Mac,
    /// Source MAC address.
    pub source: Mac,
    /// Payload protocol.
    pub ether_type: EtherType,
}

impl EthernetHeader {
    /// Reads the header of `frame`; the payload starts at [`ETHERNET_HEADER`].
    ///
    /// # Errors
    /// `FrameTooShort`, `EtherTypeUnknown`.
    pub fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        let header: &[u8; ETHERNET_HEADER] =
            frame.first_chunk().ok_or(DropReason::FrameTooShort)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let ether_type = match [t0, t1] {
            [0x08, 0x00] => EtherType::Ipv4,
            [0x08, 0x06] => EtherType::Arp,
            _ => return Err(DropReason::EtherTypeUnknown),
        };
        Ok(Self {
            destination: [d0, d1, d2, d3, d4, d5],
            source: [s0, s1, s2, s3, s4, s5],
            ether_type,
        })
    }

    /// Returns the header as bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; ETHERNET_HEADER] {
        let mut header = [0; ETHERNET_HEADER];
        header[..6].copy_from_slice(&self.destination);
        header[6..12].copy_from_slice(&self.source);
        header[12..].copy_from_slice(match self.ether_type {
            EtherType::Ipv4 => &[0x08, 0x00],
            EtherType::Arp => &[0x08, 0x06],
        });
        header
    }
}

/// Tells whether `mac` is a multicast or broadcast address.
#[must_use]
pub fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: EthernetHeader = EthernetHeader {
        destination: [2, 0, 0, 0, 0, 1],
        source: [2, 0, 0, 0, 0, 2],
        ether_type: EtherType::Arp,
    };

    #[test]
    fn an_emitted_header_reads_back() {
        for ether_type in [EtherType::Ipv4, EtherType::Arp] {
            let header = EthernetHeader {
                ether_type,
                ..HEADER
            };
            assert_eq!(EthernetHeader::parse(&header.emit()), Ok(header));
        }
    }

    #[test]
    fn a_frame_of_thirteen_bytes_is_too_short() {
        assert_eq!(
            EthernetHeader::parse(&HEADER.emit()[..13]),
            Err(DropReason::FrameTooShort)
        );
    }

    #[test]
    fn tags_lengths_and_ipv6_are_unknown() {
        for ether_type in [[0x81, 0x00], [0x88, 0xa8], [0x00, 0x2e], [0x86, 0xdd]] {
            let mut frame = HEADER.emit();
            frame[12..].copy_from_slice(&ether_type);
            assert_eq!(
                EthernetHeader::parse(&frame),
                Err(DropReason::EtherTypeUnknown)
            );
        }
    }

    #[test]
    fn the_group_bit_marks_multicast_and_broadcast() {
        assert!(is_group(BROADCAST) && is_group([1, 0, 0x5e, 0, 0, 1]) && !is_group(HEADER.source));
    }
}
