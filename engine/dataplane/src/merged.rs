//! Unfinished packets that the kernel hands over without saying so.
//!
//! The receive offload of a network card (GRO) joins TCP packets inside of GRE and IPIP too, and leaves their checksum
//! unfinished; a raw socket is told neither. Nor is a packet socket without virtio headers, which some sandboxes do not
//! have. Both can be seen: the checksum field then holds the sum of the pseudo-header, and the packet is longer than
//! what it came through. How long the pieces were is lost. The UDP sockets of the underlay do not meet this, for the
//! kernel does not look into their datagrams.

use crate::packet::checksum::{Sum, pseudo_header};
use crate::packet::ipv4::{TCP, UDP, low_word, word};
use crate::packet::{Classified, L4, classify};
use crate::unit::{Checksum, Gso, Offload};

/// Finds out what the kernel left undone in an inner packet of a tunnel that carries `mtu` bytes. The pieces that it
/// joined are taken for packets that fill the tunnel.
#[must_use]
pub fn offload_of(packet: &[u8], mtu: u16) -> Offload {
    let Ok(classified) = classify(packet) else {
        return Offload::default();
    };
    let checksum = unfinished(packet, &classified);
    if checksum == Checksum::Complete || classified.l4 == L4::Udp {
        return Offload::default();
    }
    let size = mtu.saturating_sub(low_word(classified.payload));
    let gso = if classified.total > usize::from(mtu) {
        Gso::Tcp { size }
    } else {
        Gso::None
    };
    Offload { gso, checksum }
}

/// Finds out what the kernel left undone in an IP packet of a link that carries `mtu` bytes; `None` says that nobody can
/// know: the boundaries of joined datagrams are lost. Joined TCP is cut to what fits every path, because its sender may
/// have been told of a narrow one.
#[must_use]
pub fn offload_on_link(packet: &[u8], mtu: u32) -> Option<Offload> {
    let Ok(classified) = classify(packet) else {
        return Some(Offload::default());
    };
    let checksum = unfinished(packet, &classified);
    let is_joined = u32::try_from(classified.total).unwrap_or(u32::MAX) > mtu;
    let gso = match classified.l4 {
        _ if !is_joined => Gso::None,
        L4::Tcp { .. } if checksum != Checksum::Complete => Gso::Tcp { size: EVERY_PATH },
        L4::Tcp { .. } | L4::Udp | L4::Icmp { .. } | L4::Other => return None,
    };
    Some(Offload { gso, checksum })
}

/// Tells whether the checksum of a TCP or UDP packet is only begun.
fn unfinished(packet: &[u8], classified: &Classified) -> Checksum {
    let (protocol, field) = match classified.l4 {
        L4::Tcp { .. } if !classified.fragment => (TCP, TCP_CHECKSUM),
        L4::Udp if !classified.fragment => (UDP, UDP_CHECKSUM),
        L4::Tcp { .. } | L4::Udp | L4::Icmp { .. } | L4::Other => return Checksum::Complete,
    };
    let segment = &packet[classified.ip_header..classified.total];
    let length = low_word(segment.len());
    let pseudo = pseudo_header(classified.source, classified.destination, protocol, length);
    let is_unfinished =
        word(segment, field) == pseudo.fold() && !pseudo.plus(Sum::of(segment)).is_intact();
    if is_unfinished {
        Checksum::Partial {
            start: low_word(classified.ip_header),
            offset: low_word(field),
        }
    } else {
        Checksum::Complete
    }
}

/// Offset of the checksum in a TCP header (RFC 9293 section 3.1).
const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header (RFC 768).
const UDP_CHECKSUM: usize = 6;
/// Bytes of data in a TCP segment that every path carries (RFC 9293 section 3.7.1).
const EVERY_PATH: u16 = 536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Tcp, Udp, make_partial};

    const UNFINISHED: Checksum = Checksum::Partial {
        start: 20,
        offset: 16,
    };

    #[test]
    fn an_unfinished_checksum_is_seen_and_a_long_packet_is_a_superpacket() {
        for (payload, gso) in [(3000, Gso::Tcp { size: 1436 }), (1000, Gso::None)] {
            let mut packet = packet(payload);
            assert_eq!(offload_of(&packet, 1476), Offload::default(), "complete");
            unfinish(&mut packet);
            let expected = Offload {
                gso,
                checksum: UNFINISHED,
            };
            assert_eq!(offload_of(&packet, 1476), expected);
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong() {
        let mut packet = packet(3000);
        packet[36] ^= 1;
        assert_eq!(offload_of(&packet, 1476), Offload::default());
        assert_eq!(offload_of(&packet[..30], 1476), Offload::default(), "cut");
    }

    #[test]
    fn on_a_link_joined_tcp_is_cut_small_and_joined_datagrams_are_nobodys() {
        let found = |packet: &[u8]| offload_on_link(packet, 1500);
        let whole = Some(Offload::default());
        let begun = |gso, offset| {
            let checksum = Checksum::Partial { start: 20, offset };
            Some(Offload { gso, checksum })
        };
        let datagram = |payload: usize| {
            Udp {
                payload: &vec![7; payload],
                ..Udp::default()
            }
            .build()
        };
        let partial = |mut packet: Vec<u8>| {
            make_partial(&mut packet);
            packet
        };
        assert_eq!(found(&packet(1000)), whole);
        assert_eq!(found(&partial(packet(1000))), begun(Gso::None, 16));
        let cut = Gso::Tcp { size: EVERY_PATH };
        assert_eq!(found(&partial(packet(3000))), begun(cut, 16));
        assert_eq!(found(&datagram(1000)), whole);
        assert_eq!(found(&partial(datagram(1000))), begun(Gso::None, 6));
        // With a finished checksum it is not known what was joined, if anything was.
        for unknown in [packet(3000), datagram(3000), partial(datagram(3000))] {
            assert_eq!(found(&unknown), None);
        }
        assert_eq!(found(&[0x45; 9]), whole, "others say what is wrong with it");
    }

    fn packet(payload: usize) -> Vec<u8> {
        Tcp {
            payload: &vec![7; payload],
            ..Tcp::default()
        }
        .build()
    }

    fn unfinish(packet: &mut [u8]) {
        let classified = classify(packet).unwrap();
        let length = low_word(packet.len() - 20);
        let sum = pseudo_header(classified.source, classified.destination, TCP, length);
        packet[36..38].copy_from_slice(&sum.fold().to_be_bytes());
    }
}
