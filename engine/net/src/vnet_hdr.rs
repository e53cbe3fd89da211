//! virtio_net_hdr (10 bytes, native endian) to and from [`Offload`]: what TUN and AF_PACKET say beside a packet.
//!
//! Offsets of the header count from the first byte behind it, as those of [`Checksum::Partial`] count from the first
//! byte of the buffer: the Ethernet header on a LAN port, the IP header on a TUN. No shift is needed as long as
//! header and buffer begin together. `hdr_len` is written but never trusted: on a forwarded packet it may span the
//! whole linear part.

use sam_dataplane::{Checksum, Gso, Offload};

/// Length of the header.
pub const LEN: usize = 10;

/// Says what a buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// An Ethernet header.
    Ethernet,
    /// An IP header.
    Ip,
}

/// Names why a header and its packet do not fit together; the packet is to be dropped under this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VnetError {
    /// The kernel reports a kind of segmentation that is not known here (UFO, or one that came later).
    #[error("unknown segmentation type {0}")]
    UnknownGso(u8),
    /// A superpacket without a segment size.
    #[error("superpacket without a segment size")]
    ZeroSegment,
    /// The checksum field lies outside the packet.
    #[error("checksum field outside the packet")]
    ChecksumOutside,
    /// A superpacket leaves with a checksum that is not partial: its segments would carry wrong ones.
    #[error("superpacket without a partial checksum")]
    ChecksumComplete,
    /// A superpacket that is neither IPv4 nor IPv6, or whose headers are cut short.
    #[error("superpacket without IP and transport header")]
    Headerless,
}

impl From<VnetError> for std::io::Error {
    fn from(error: VnetError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Reads the header of a received packet of `length` bytes (without the header).
///
/// # Errors
/// A [`VnetError`] when the header describes something that this packet cannot be.
pub fn decode(header: [u8; LEN], length: usize) -> Result<Offload, VnetError> {
    let gso = match (header[1] & !GSO_ECN, word(header, 4)) {
        (GSO_NONE, _) => Gso::None,
        (GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4, 0) => return Err(VnetError::ZeroSegment),
        (GSO_TCPV4 | GSO_TCPV6, size) => Gso::Tcp { size },
        (GSO_UDP_L4, size) => Gso::Udp { size },
        (unknown, _) => return Err(VnetError::UnknownGso(unknown)),
    };
    let checksum = if header[0] & FLAG_NEEDS_CSUM == 0 {
        Checksum::Complete
    } else {
        let (start, offset) = (word(header, 6), word(header, 8));
        check_field(start, offset, length)?;
        Checksum::Partial { start, offset }
    };
    Ok(Offload { gso, checksum })
}

/// Writes the header for a packet that is to be sent.
///
/// # Errors
/// A [`VnetError`] when the kernel would refuse the pair or finish the packet wrongly.
pub fn encode(offload: Offload, packet: &[u8], link: LinkType) -> Result<[u8; LEN], VnetError> {
    let mut header = [0; LEN];
    let Checksum::Partial { start, offset } = offload.checksum else {
        return if offload.gso == Gso::None {
            Ok(header)
        } else {
            Err(VnetError::ChecksumComplete)
        };
    };
    check_field(start, offset, packet.len())?;
    header[0] = FLAG_NEEDS_CSUM;
    put(&mut header, 6, start);
    put(&mut header, 8, offset);
    let transport = &packet[usize::from(start)..];
    let (kind, size, header_length) = match offload.gso {
        Gso::None => return Ok(header),
        Gso::Tcp { size } => {
            let [words, flags] = transport.get(12..14).ok_or(VnetError::Headerless)? else {
                return Err(VnetError::Headerless);
            };
            let ecn = if flags & TCP_CWR == 0 { 0 } else { GSO_ECN };
            (
                tcp_kind(packet, link)? | ecn,
                size,
                u16::from(words >> 4) * 4,
            )
        }
        Gso::Udp { size } => (GSO_UDP_L4, size, 8),
    };
    if size == 0 {
        return Err(VnetError::ZeroSegment);
    }
    header[1] = kind;
    put(&mut header, 2, start.saturating_add(header_length));
    put(&mut header, 4, size);
    Ok(header)
}

fn tcp_kind(packet: &[u8], link: LinkType) -> Result<u8, VnetError> {
    match (link, packet) {
        (LinkType::Ip, [first, ..]) if first >> 4 == 4 => Ok(GSO_TCPV4),
        (LinkType::Ip, [first, ..]) if first >> 4 == 6 => Ok(GSO_TCPV6),
        (LinkType::Ethernet, _) => match packet.get(12..14) {
            Some([0x08, 0x00]) => Ok(GSO_TCPV4),
            Some([0x86, 0xdd]) => Ok(GSO_TCPV6),
            _ => Err(VnetError::Headerless),
        },
        (LinkType::Ip, _) => Err(VnetError::Headerless),
    }
}

fn check_field(start: u16, offset: u16, length: usize) -> Result<(), VnetError> {
    let end = usize::from(start) + usize::from(offset) + 2;
    if end <= length {
        Ok(())
    } else {
        Err(VnetError::ChecksumOutside)
    }
}

fn word(header: [u8; LEN], at: usize) -> u16 {
    u16::from_ne_bytes([header[at], header[at + 1]])
}

fn put(header: &mut [u8; LEN], at: usize, value: u16) {
    header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

const FLAG_NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Set beside a TCP type when the first segment carries CWR.
const GSO_ECN: u8 = 0x80;
const TCP_CWR: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_header_is_an_ordinary_packet() {
        assert_eq!(decode([0; LEN], 60), Ok(Offload::default()));
        assert_eq!(
            encode(Offload::default(), &[0x45; 60], LinkType::Ip),
            Ok([0; LEN])
        );
    }

    #[test]
    fn every_known_kind_is_read_and_written_back() {
        let tcp = Gso::Tcp { size: 1448 };
        for (link, first, gso, offset, kind) in [
            (LinkType::Ip, &[0x45][..], tcp, 16, GSO_TCPV4),
            (LinkType::Ip, &[0x60][..], tcp, 16, GSO_TCPV6),
            (
                LinkType::Ip,
                &[0x45][..],
                Gso::Udp { size: 1400 },
                6,
                GSO_UDP_L4,
            ),
            (LinkType::Ethernet, &ethernet([8, 0]), tcp, 16, GSO_TCPV4),
            (
                LinkType::Ethernet,
                &ethernet([0x86, 0xdd]),
                tcp,
                16,
                GSO_TCPV6,
            ),
        ] {
            let packet = packet_starting_with(first);
            let offload = Offload {
                gso,
                checksum: Checksum::Partial { start: 54, offset },
            };
            let header = encode(offload, &packet, link).unwrap();
            assert_eq!(header[1], kind);
            assert_eq!(decode(header, packet.len()), Ok(offload));
        }
    }

    #[test]
    fn the_header_length_is_that_of_all_headers() {
        let mut packet = packet_starting_with(&[0x45]);
        packet[20 + 12] = 0x80;
        let offload = Offload {
            gso: Gso::Tcp { size: 1380 },
            checksum: Checksum::Partial {
                start: 20,
                offset: 16,
            },
        };
        assert_eq!(
            word(encode(offload, &packet, LinkType::Ip).unwrap(), 2),
            20 + 32
        );
    }

    #[test]
    fn cwr_is_announced_and_its_bit_ignored_on_input() {
        let mut packet = packet_starting_with(&[0x45]);
        packet[20 + 13] = TCP_CWR;
        let offload = Offload {
            gso: Gso::Tcp { size: 1380 },
            checksum: Checksum::Partial {
                start: 20,
                offset: 16,
            },
        };
        let header = encode(offload, &packet, LinkType::Ip).unwrap();
        assert_eq!(header[1], GSO_TCPV4 | GSO_ECN);
        assert_eq!(decode(header, packet.len()), Ok(offload));
    }

    #[test]
    fn what_does_not_fit_has_a_name() {
        let with = |flags, gso, size: u16, start: u16| {
            let mut header = [flags, gso, 0, 0, 0, 0, 0, 0, 16, 0];
            put(&mut header, 4, size);
            put(&mut header, 6, start);
            put(&mut header, 8, 16);
            decode(header, 100)
        };
        assert_eq!(with(0, 3, 1400, 0), Err(VnetError::UnknownGso(3)));
        assert_eq!(with(0, 0x7f, 1400, 0), Err(VnetError::UnknownGso(0x7f)));
        assert_eq!(with(1, GSO_TCPV4, 0, 20), Err(VnetError::ZeroSegment));
        assert_eq!(with(1, 0, 0, 83), Err(VnetError::ChecksumOutside));
        assert!(with(1, 0, 0, 82).is_ok());
    }

    #[test]
    fn a_superpacket_without_partial_checksum_is_refused() {
        let offload = Offload {
            gso: Gso::Udp { size: 1400 },
            checksum: Checksum::Complete,
        };
        let packet = packet_starting_with(&[0x45]);
        assert_eq!(
            encode(offload, &packet, LinkType::Ip),
            Err(VnetError::ChecksumComplete)
        );
    }

    proptest::proptest! {
        #[test]
        fn a_decoded_checksum_field_lies_within_the_packet(header: [u8; LEN], length in 0usize..70_000) {
            if let Ok(Offload { checksum: Checksum::Partial { start, offset }, .. }) = decode(header, length) {
                assert!(usize::from(start) + usize::from(offset) + 2 <= length);
            }
        }

        #[test]
        fn encode_accepts_any_bytes(
            packet in proptest::collection::vec(0u8.., 0..80), start: u16, offset: u16, size: u16,
        ) {
            let checksum = Checksum::Partial { start, offset };
            for link in [LinkType::Ip, LinkType::Ethernet] {
                let offload = Offload { gso: Gso::Tcp { size }, checksum };
                if let Ok(header) = encode(offload, &packet, link) {
                    assert_eq!(decode(header, packet.len()), Ok(offload));
                }
            }
        }
    }

    fn ethernet(protocol: [u8; 2]) -> [u8; 14] {
        let mut header = [0; 14];
        header[12..].copy_from_slice(&protocol);
        header
    }

    fn packet_starting_with(first: &[u8]) -> Vec<u8> {
        let mut packet = first.to_vec();
        packet.resize(200, 0);
        packet
    }
}
