//! Builds the ICMP errors that a router sends (RFC 1812 section 4.3), and says when it must not send one.
//!
//! The quote is as long as 576 bytes allow. For a superpacket it is the first wire packet, as the sender's own kernel
//! would have put it on the wire, so that the sender finds a length and sequence number that it knows.

use std::net::Ipv4Addr;

use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::ingress::Ingress;
use crate::packet::checksum::Sum;
use crate::packet::icmp::{ICMP_HEADER, IcmpError, is_error};
use crate::packet::ipv4::{ICMP, IPV4_HEADER, Ipv4Header, low_word, put};
use crate::packet::{Classified, L4};
use crate::segment::Segments;
use crate::snapshot::Snapshot;
use crate::unit::Offload;

/// Longest ICMP error in bytes, IP header included (RFC 1812 section 4.3.2.3).
pub const ICMP_ERROR_MAX: usize = 576;

/// The packet that an error is about.
#[derive(Debug, Clone, Copy)]
pub struct Offending<'a> {
    /// From the IP header on, as it was received: before its TTL was lowered.
    pub packet: &'a [u8],
    /// What `packet` is.
    pub classified: &'a Classified,
    /// Its pending work; checksum offsets count from the IP header.
    pub offload: Offload,
}

/// Writes an ICMP error into `buffer` as a complete IPv4 packet from `source` to the sender of the offending packet.
///
/// The former content of `buffer` is lost.
///
/// # Errors
/// `OffloadMalformed` when `offload` does not fit the packet; then there is nothing to send.
pub fn write_icmp_error(
    error: IcmpError,
    source: Ipv4Addr,
    offending: &Offending<'_>,
    buffer: &mut Buffer,
) -> Result<(), DropReason> {
    let Offending {
        packet,
        classified,
        offload,
    } = *offending;
    let segments = Segments::new(packet, classified, offload)?;
    let first = segments.first();
    buffer.clear();
    first.write(&mut buffer.tail_mut()[..first.len()]);
    buffer.grow(first.len().min(ICMP_ERROR_MAX - HEADERS));
    enclose(error, source, classified.source, buffer);
    Ok(())
}

/// Puts the headers of an ICMP error in front of what it quotes.
pub(crate) fn enclose(
    error: IcmpError,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    buffer: &mut Buffer,
) {
    let (kind, code, rest) = error.header();
    let icmp = buffer.prepend(ICMP_HEADER);
    icmp[..4].copy_from_slice(&[kind, code, 0, 0]);
    icmp[4..].copy_from_slice(&rest);
    let checksum = Sum::of(buffer.bytes()).checksum();
    put(buffer.bytes_mut(), ICMP_CHECKSUM, checksum);
    let header = Ipv4Header {
        tos: INTERNETWORK_CONTROL,
        total: low_word(IPV4_HEADER + buffer.len()),
        id: 0,
        dont_fragment: true,
        ttl: 64,
        protocol: ICMP,
        source,
        destination,
    };
    buffer.prepend(IPV4_HEADER).copy_from_slice(&header.emit());
}

/// Tells whether a packet may be answered by an ICMP error (RFC 1122 section 3.2.2).
///
/// Whether the frame was a link-layer broadcast is not seen here; the caller knows.
#[must_use]
pub fn may_answer(classified: &Classified) -> bool {
    let about_error = matches!(classified.l4, L4::Icmp { kind } if is_error(kind));
    !about_error
        && !classified.later_fragment
        && is_single_host(classified.source)
        && is_single_host(classified.destination)
}

/// Returns the source address of an error about a packet to `destination`: ours, where the packet came in; `None` when
/// there is none.
///
/// The host is the exception: a kernel drops, as a martian, what claims to come from one of its own addresses, so
/// the error seems to come from where the packet was going.
#[must_use]
pub fn reporter(snapshot: &Snapshot, ingress: Ingress, destination: Ipv4Addr) -> Option<Ipv4Addr> {
    let overlay = snapshot.tun.as_ref().map(|tun| tun.address);
    match ingress {
        Ingress::Lan(port) => snapshot.lan(port)?.address.or(overlay),
        Ingress::Tunnel(_) => overlay,
        Ingress::Host => Some(destination),
    }
}

/// Tells whether an address names one host: not zero, loopback, multicast, broadcast or class E.
fn is_single_host(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

const HEADERS: usize = IPV4_HEADER + ICMP_HEADER;
const ICMP_CHECKSUM: usize = 2;
/// DSCP of network control (RFC 1812 section 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify;
    use crate::packet::ipv4::Ipv4Header;
    use crate::sample::{self, Tcp, Udp};
    use crate::unit::{Checksum, Gso};

    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

    #[test]
    fn an_error_quotes_a_short_packet_as_a_whole() {
        let packet = Udp {
            payload: b"hello",
            ..Udp::default()
        }
        .build();
        let error = write(IcmpError::TimeExceeded, &packet, Offload::default()).unwrap();
        let classified = classify(&error).unwrap();
        assert_eq!(
            (classified.source, classified.destination),
            (ROUTER, sample::SOURCE)
        );
        assert_eq!(
            (classified.tos, classified.ttl, classified.total),
            (0xc0, 64, 28 + packet.len())
        );
        assert_eq!((classified.l4, error[21]), (L4::Icmp { kind: 11 }, 0));
        assert_eq!(error[28..], packet);
        assert!(Sum::of(&error[20..]).is_intact());
    }

    #[test]
    fn a_long_packet_is_quoted_up_to_576_bytes() {
        let packet = Udp {
            payload: &[1; 1400],
            ..Udp::default()
        }
        .build();
        let error = write(
            IcmpError::FragmentationNeeded { mtu: 1420 },
            &packet,
            Offload::default(),
        )
        .unwrap();
        assert_eq!((error.len(), &error[28..]), (576, &packet[..548]));
        assert_eq!(
            (&error[20..22], &error[24..28]),
            (&[3, 4][..], &[0, 0, 0x05, 0x8c][..])
        );
        assert!(Sum::of(&error[20..]).is_intact());
    }

    #[test]
    fn a_superpacket_is_quoted_as_its_first_wire_packet() {
        let payload = vec![3; 20_000];
        let mut superpacket = Tcp {
            payload: &payload,
            flags: 0x18,
            ..Tcp::default()
        }
        .build();
        sample::make_partial(&mut superpacket);
        let checksum = Checksum::Partial {
            start: 20,
            offset: 16,
        };
        let offload = Offload {
            gso: Gso::Tcp { size: 1448 },
            checksum,
        };
        let error = write(
            IcmpError::FragmentationNeeded { mtu: 1420 },
            &superpacket,
            offload,
        )
        .unwrap();
        let first = Tcp {
            payload: &payload[..1448],
            ..Tcp::default()
        }
        .build();
        assert_eq!(error[28..], first[..548]);
    }

    #[test]
    fn metadata_that_does_not_fit_gives_no_error_packet() {
        let packet = Udp {
            payload: b"hello",
            ..Udp::default()
        }
        .build();
        let offload = Offload {
            gso: Gso::Tcp { size: 1448 },
            checksum: Checksum::Complete,
        };
        let result = write(IcmpError::TimeExceeded, &packet, offload);
        assert_eq!(result, Err(DropReason::OffloadMalformed));
    }

    #[test]
    fn errors_answer_only_what_rfc_1122_lets_them_answer() {
        for (row, expected, packet) in [
            ("UDP", true, about(17, 0, 0, [10, 1, 0, 2], [10, 2, 0, 3])),
            (
                "echo request",
                true,
                about(1, 8, 0, [10, 1, 0, 2], [10, 2, 0, 3]),
            ),
            (
                "first fragment",
                true,
                about(17, 0, 0x2000, [10, 1, 0, 2], [10, 2, 0, 3]),
            ),
            (
                "later fragment",
                false,
                about(17, 0, 1, [10, 1, 0, 2], [10, 2, 0, 3]),
            ),
            (
                "unreachable",
                false,
                about(1, 3, 0, [10, 1, 0, 2], [10, 2, 0, 3]),
            ),
            (
                "time exceeded",
                false,
                about(1, 11, 0, [10, 1, 0, 2], [10, 2, 0, 3]),
            ),
            (
                "from zero",
                false,
                about(17, 0, 0, [0, 0, 0, 0], [10, 2, 0, 3]),
            ),
            (
                "from loopback",
                false,
                about(17, 0, 0, [127, 0, 0, 1], [10, 2, 0, 3]),
            ),
            (
                "from multicast",
                false,
                about(17, 0, 0, [224, 0, 0, 1], [10, 2, 0, 3]),
            ),
            (
                "from class E",
                false,
                about(17, 0, 0, [240, 0, 0, 1], [10, 2, 0, 3]),
            ),
            (
                "from broadcast",
                false,
                about(17, 0, 0, [255; 4], [10, 2, 0, 3]),
            ),
            (
                "to multicast",
                false,
                about(17, 0, 0, [10, 1, 0, 2], [239, 1, 1, 1]),
            ),
            (
                "to broadcast",
                false,
                about(17, 0, 0, [10, 1, 0, 2], [255; 4]),
            ),
        ] {
            assert_eq!(may_answer(&classify(&packet).unwrap()), expected, "{row}");
        }
    }

    fn write(error: IcmpError, packet: &[u8], offload: Offload) -> Result<Vec<u8>, DropReason> {
        let mut buffer = Buffer::new();
        assert!(buffer.append(b"former content"));
        let classified = classify(packet)?;
        let offending = Offending {
            packet,
            classified: &classified,
            offload,
        };
        write_icmp_error(error, ROUTER, &offending, &mut buffer)?;
        Ok(buffer.bytes().to_vec())
    }

    fn about(protocol: u8, kind: u8, flags: u16, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let header = Ipv4Header {
            total: 36,
            protocol,
            source: source.into(),
            destination: destination.into(),
            ..sample::IP
        };
        let mut packet = [&header.emit()[..], &[kind, 0, 0, 0, 0, 16, 0, 0], &[0; 8]].concat();
        put(&mut packet, 6, flags);
        sample::fix_header(&mut packet);
        packet
    }
}
