//! Finds offsets and flags of an IPv4 packet in one pass: the only parser on the hot path.
//!
//! Checks what forwarding relies on: version, lengths, header checksum (RFC 1812 section 5.2.2) and that the L4 header
//! fits. Leaves L4 checksums and IP options alone; a total length of zero (BIG TCP) is malformed.

use std::net::Ipv4Addr;

use super::checksum::Sum;
use super::icmp::ICMP_HEADER;
use super::ipv4::{
    DONT_FRAGMENT, FLAGS, FRAGMENT_OFFSET, ICMP, IPV4_HEADER, MORE_FRAGMENTS, TCP, TOTAL_LENGTH,
    UDP, word,
};
use crate::drop_reason::DropReason;

/// Transport protocol, as far as the engine cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L4 {
    /// TCP; flags byte of its header.
    Tcp {
        /// FIN 0x01, SYN 0x02, RST 0x04, PSH 0x08, ACK 0x10, URG 0x20, ECE 0x40, CWR 0x80.
        flags: u8,
    },
    /// UDP.
    Udp,
    /// ICMP; its type.
    Icmp {
        /// ICMP type.
        kind: u8,
    },
    /// A fragment that does not start the packet, or another protocol.
    Other,
}

/// What one pass over an IPv4 packet tells. Offsets count from the first byte of the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Length of the IP header in bytes.
    pub ip_header: usize,
    /// Where the L4 payload starts (TCP, UDP); equals `ip_header` for others.
    pub payload: usize,
    /// Total length from the IP header; what lies behind it is padding.
    pub total: usize,
    /// Protocol number.
    pub protocol: u8,
    /// Transport details.
    pub l4: L4,
    /// Time to live.
    pub ttl: u8,
    /// TOS byte (DSCP and ECN).
    pub tos: u8,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// More Fragments set or fragment offset non-zero.
    pub fragment: bool,
    /// Fragment offset non-zero.
    pub later_fragment: bool,
}

/// Classifies an IPv4 packet. `packet` may be longer than the IP total length (Ethernet padding).
///
/// # Errors
/// `NotIpv4`, `IpMalformed`, `IpChecksum`, `L4Malformed`.
pub fn classify(packet: &[u8]) -> Result<Classified, DropReason> {
    let first = *packet.first().ok_or(DropReason::IpMalformed)?;
    if first >> 4 != 4 {
        return Err(DropReason::NotIpv4);
    }
    let fixed: &[u8; IPV4_HEADER] = packet.first_chunk().ok_or(DropReason::IpMalformed)?;
    let ip_header = usize::from(first & 0x0f) * 4;
    let total = usize::from(word(fixed, TOTAL_LENGTH));
    if ip_header < IPV4_HEADER || total < ip_header || total > packet.len() {
        return Err(DropReason::IpMalformed);
    }
    let (header, l4_bytes) = packet[..total].split_at(ip_header);
    if !Sum::of(header).is_intact() {
        return Err(DropReason::IpChecksum);
    }
    let flags = word(fixed, FLAGS);
    let later_fragment = flags & FRAGMENT_OFFSET != 0;
    let fragment = later_fragment || flags & MORE_FRAGMENTS != 0;
    let protocol = fixed[9];
    let (l4, l4_header) = if later_fragment {
        (L4::Other, 0)
    } else {
        classify_l4(protocol, l4_bytes, fragment)?
    };
    Ok(Classified {
        source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
        destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
        ip_header,
        payload: ip_header + l4_header,
        total,
        protocol,
        l4,
        ttl: fixed[8],
        tos: fixed[1],
        dont_fragment: flags & DONT_FRAGMENT != 0,
        fragment,
        later_fragment,
    })
}

/// Reads the L4 header at the start of `bytes` and returns its length, zero for what the engine does not look into.
///
/// A first fragment must hold the whole header too (RFC 1858 section 3.2), but not the whole datagram.
fn classify_l4(protocol: u8, bytes: &[u8], fragment: bool) -> Result<(L4, usize), DropReason> {
    let malformed = DropReason::L4Malformed;
    match protocol {
        TCP => {
            let header: &[u8; TCP_HEADER] = bytes.first_chunk().ok_or(malformed)?;
            let length = usize::from(header[12] >> 4) * 4;
            if length < TCP_HEADER || length > bytes.len() {
                return Err(malformed);
            }
            Ok((L4::Tcp { flags: header[13] }, length))
        }
        UDP => {
            let header: &[u8; UDP_HEADER] = bytes.first_chunk().ok_or(malformed)?;
            let length = usize::from(word(header, 4));
            if length < UDP_HEADER || (length > bytes.len() && !fragment) {
                return Err(malformed);
            }
            Ok((L4::Udp, UDP_HEADER))
        }
        ICMP => {
            let header: &[u8; ICMP_HEADER] = bytes.first_chunk().ok_or(malformed)?;
            Ok((L4::Icmp { kind: header[0] }, 0))
        }
        _ => Ok((L4::Other, 0)),
    }
}

/// Length of a TCP header without options in bytes.
pub(crate) const TCP_HEADER: usize = 20;
/// Length of a UDP header in bytes.
pub(crate) const UDP_HEADER: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::{self, Tcp, Udp};

    #[test]
    fn a_tcp_packet_shows_its_offsets_and_flags() {
        let packet = Tcp {
            options: &[1, 1, 1, 0],
            flags: 0x18,
            payload: b"hello",
            ..Tcp::default()
        }
        .build();
        let classified = classify(&packet).unwrap();
        assert_eq!(classified.source, sample::SOURCE);
        assert_eq!(classified.destination, sample::DESTINATION);
        assert_eq!(
            (classified.ip_header, classified.payload, classified.total),
            (20, 44, 49)
        );
        assert_eq!(
            (classified.protocol, classified.l4),
            (TCP, L4::Tcp { flags: 0x18 })
        );
        assert_eq!(
            (classified.ttl, classified.tos, classified.dont_fragment),
            (64, 0, true)
        );
        assert!(!classified.fragment && !classified.later_fragment);
    }

    #[test]
    fn ethernet_padding_is_not_part_of_the_packet() {
        let mut packet = Udp {
            payload: b"x",
            ..Udp::default()
        }
        .build();
        packet.resize(46, 0);
        assert_eq!(classify(&packet).unwrap().total, 29);
    }

    #[test]
    fn each_broken_header_has_its_reason() {
        let tcp = || {
            Tcp {
                payload: b"hello",
                ..Tcp::default()
            }
            .build()
        };
        let udp = || {
            Udp {
                payload: b"hello",
                ..Udp::default()
            }
            .build()
        };
        let (ip, l4) = (DropReason::IpMalformed, DropReason::L4Malformed);
        for (row, reason, packet) in [
            ("nothing", ip, vec![]),
            ("IPv6", DropReason::NotIpv4, changed(tcp(), 0, 0x65)),
            ("nineteen bytes", ip, tcp()[..19].to_vec()),
            ("header length 16", ip, changed(tcp(), 0, 0x44)),
            (
                "header longer than total",
                ip,
                changed(changed(tcp(), 0, 0x4f), 3, 59),
            ),
            ("total longer than received", ip, changed(tcp(), 3, 46)),
            ("total zero", ip, changed(tcp(), 3, 0)),
            (
                "header checksum",
                DropReason::IpChecksum,
                [&tcp()[..8], &[63], &tcp()[9..]].concat(),
            ),
            ("TCP header cut", l4, changed(tcp(), 3, 39)),
            ("TCP data offset 4", l4, changed(tcp(), 32, 0x40)),
            ("TCP data offset beyond", l4, changed(tcp(), 32, 0x70)),
            ("UDP header cut", l4, changed(udp(), 3, 27)),
            ("UDP length 7", l4, changed(udp(), 25, 7)),
            ("UDP length beyond", l4, changed(udp(), 25, 14)),
            (
                "ICMP header cut",
                l4,
                changed(changed(tcp(), 9, ICMP), 3, 27),
            ),
        ] {
            assert_eq!(classify(&packet), Err(reason), "{row}");
        }
    }

    #[test]
    fn a_first_fragment_is_looked_into_and_a_later_one_is_not() {
        let udp = Udp {
            payload: b"hello",
            ..Udp::default()
        }
        .build();
        let first = classify(&changed(changed(udp.clone(), 6, 0x20), 25, 200)).unwrap();
        assert_eq!(
            (
                first.l4,
                first.payload,
                first.fragment,
                first.later_fragment
            ),
            (L4::Udp, 28, true, false)
        );
        let later = classify(&changed(changed(udp, 6, 0x00), 7, 0x19)).unwrap();
        assert_eq!(
            (
                later.l4,
                later.payload,
                later.fragment,
                later.later_fragment
            ),
            (L4::Other, 20, true, true)
        );
    }

    #[test]
    fn icmp_shows_its_type_and_unknown_protocols_nothing() {
        let packet = Udp {
            payload: b"hello",
            ..Udp::default()
        }
        .build();
        let icmp = classify(&changed(changed(packet.clone(), 20, 8), 9, ICMP)).unwrap();
        assert_eq!((icmp.l4, icmp.payload), (L4::Icmp { kind: 8 }, 20));
        let gre = classify(&changed(packet, 9, 47)).unwrap();
        assert_eq!((gre.l4, gre.payload), (L4::Other, 20));
    }

    proptest! {
        #[test]
        fn random_bytes_are_judged_as_by_another_parser(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            agree(&bytes)?;
        }

        #[test]
        fn mutated_packets_are_judged_as_by_another_parser(
            protocol in prop::sample::select(vec![ICMP, TCP, UDP, 47]),
            flags in prop::sample::select(vec![0u8, 0x40, 0x20, 0x01]),
            mutations in prop::collection::vec((0..48usize, any::<u8>()), 0..4),
            cut in 0..60usize,
        ) {
            let mut packet = Tcp { payload: &[0; 20], ..Tcp::default() }.build();
            (packet[6], packet[9]) = (flags, protocol);
            packet[25] = 40;
            for (at, value) in mutations {
                packet[at] = value;
            }
            packet.truncate(60 - cut.min(20));
            sample::fix_header(&mut packet);
            agree(&packet)?;
        }
    }

    /// Compares with etherparse, which differs in three points: it ignores the header checksum, it does not look into
    /// first fragments, and its header value forgets the reserved flag.
    fn agree(packet: &[u8]) -> Result<(), TestCaseError> {
        let ours = classify(packet);
        let Ok(slice) = etherparse::Ipv4Slice::from_slice(packet) else {
            prop_assert!(
                matches!(ours, Err(DropReason::IpMalformed | DropReason::NotIpv4)),
                "{:?}",
                ours
            );
            return Ok(());
        };
        let (header, payload) = (slice.header(), slice.payload());
        if header.slice()[6] & 0x80 != 0 {
            return Ok(());
        }
        if header.to_header().calc_header_checksum() != header.header_checksum() {
            prop_assert_eq!(ours, Err(DropReason::IpChecksum));
            return Ok(());
        }
        let bytes = payload.payload;
        let fits = match header.protocol().0 {
            _ if payload.fragmented => return Ok(()),
            TCP => etherparse::TcpSlice::from_slice(bytes).is_ok(),
            UDP => etherparse::UdpSlice::from_slice(bytes).is_ok_and(|udp| udp.length() >= 8),
            ICMP => etherparse::Icmpv4Slice::from_slice(bytes).is_ok(),
            _ => true,
        };
        prop_assert_eq!(ours.is_ok(), fits, "{:?}", ours);
        let Ok(ours) = ours else { return Ok(()) };
        prop_assert_eq!(
            (ours.source, ours.destination),
            (header.source_addr(), header.destination_addr())
        );
        prop_assert_eq!(
            (ours.total, ours.ip_header),
            (header.total_len().into(), header.slice().len())
        );
        prop_assert_eq!(
            (ours.ttl, ours.dont_fragment),
            (header.ttl(), header.dont_fragment())
        );
        if let L4::Tcp { .. } = ours.l4 {
            let theirs = etherparse::TcpSlice::from_slice(bytes).map(|tcp| tcp.header_len());
            prop_assert_eq!(theirs.ok(), Some(ours.payload - ours.ip_header));
        }
        Ok(())
    }

    fn changed(mut packet: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
        packet[at] = value;
        sample::fix_header(&mut packet);
        packet
    }
}
