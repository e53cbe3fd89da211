//! TCP packets that the kernel merged before a raw socket saw them.
//!
//! The receive offload of a network card (GRO) joins TCP packets inside of GRE and IPIP too, and leaves their checksum
//! unfinished; a raw socket is told neither. Both can be seen: the checksum field then holds the sum of the
//! pseudo-header, and the packet is longer than the tunnel carries. How long the pieces were is lost; those that fill
//! the tunnel stand for them. UDP sockets do not meet this, for the kernel does not look into their datagrams.

use crate::packet::checksum::{Sum, pseudo_header};
use crate::packet::ipv4::{TCP, low_word, word};
use crate::packet::{L4, classify};
use crate::unit::{Checksum, Gso, Offload};

/// Finds out what the kernel left undone in an inner packet of a tunnel that carries `mtu` bytes.
#[must_use]
pub fn offload_of(packet: &[u8], mtu: u16) -> Offload {
    let Ok(classified) = classify(packet) else {
        return Offload::default();
    };
    if !matches!(classified.l4, L4::Tcp { .. }) || classified.fragment {
        return Offload::default();
    }
    let segment = &packet[classified.ip_header..classified.total];
    let length = low_word(segment.len());
    let pseudo = pseudo_header(classified.source, classified.destination, TCP, length);
    let is_unfinished =
        word(segment, TCP_CHECKSUM) == pseudo.fold() && !pseudo.plus(Sum::of(segment)).is_intact();
    if !is_unfinished {
        return Offload::default();
    }
    let size = mtu.saturating_sub(low_word(classified.payload));
    let gso = if classified.total > usize::from(mtu) {
        Gso::Tcp { size }
    } else {
        Gso::None
    };
    let checksum = Checksum::Partial {
        start: low_word(classified.ip_header),
        offset: low_word(TCP_CHECKSUM),
    };
    Offload { gso, checksum }
}

/// Offset of the checksum in a TCP header (RFC 9293 section 3.1).
const TCP_CHECKSUM: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Tcp;

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
