//! Makes a packet fit a tunnel against its sender's will, for tunnels that are configured so (`forceFragmentIPv4`).
//!
//! A superpacket of TCP is cut into smaller segments, which is what its sender's own kernel would have done with a
//! smaller MTU; nothing is fragmented then. Anything else loses Don't Fragment and is fragmented later. This hides the
//! MTU of the path from the sender, who is no longer told (RFC 1191), and is therefore off by default: it helps where
//! ICMP errors do not reach senders.

use crate::packet::ipv4::{IDENTIFICATION, clear_dont_fragment, put, word, write_checksum};
use crate::packet::{Classified, L4};
use crate::segment::SEGMENT_SIZE_MIN;
use crate::unit::{Gso, Offload};

/// Changes a packet that is longer than `mtu` and says Don't Fragment, so that it can be made to fit.
///
/// `id` is its identification if it has none: packets that must not be fragmented need none (RFC 6864 section 4.1).
pub fn force(
    packet: &mut [u8],
    classified: &mut Classified,
    offload: &mut Offload,
    mtu: u16,
    id: u16,
) {
    let room = usize::from(mtu).saturating_sub(classified.payload);
    if let (Gso::Tcp { .. }, L4::Tcp { .. }) = (offload.gso, classified.l4)
        && room >= SEGMENT_SIZE_MIN
        && let Ok(size) = u16::try_from(room)
    {
        offload.gso = Gso::Tcp { size };
        return;
    }
    clear_dont_fragment(packet);
    classified.dont_fragment = false;
    if let Some(header) = packet.get_mut(..classified.ip_header)
        && word(header, IDENTIFICATION) == 0
    {
        put(header, IDENTIFICATION, id);
        write_checksum(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify;
    use crate::sample::{self, Tcp, Udp};

    #[test]
    fn a_superpacket_of_tcp_is_cut_smaller_and_stays_whole_otherwise() {
        let before = Tcp {
            payload: &[7; 5000],
            ..Tcp::default()
        }
        .build();
        let (mut packet, mut classified) = (before.clone(), classify(&before).unwrap());
        let mut offload = Offload {
            gso: Gso::Tcp { size: 1460 },
            ..Offload::default()
        };
        force(&mut packet, &mut classified, &mut offload, 1240, 9);
        assert_eq!((offload.gso, packet), (Gso::Tcp { size: 1200 }, before));
    }

    #[test]
    fn anything_else_may_be_fragmented_and_has_an_identification() {
        for (id, expected) in [(0, 9), (5, 5)] {
            let mut packet = Udp {
                payload: &[7; 1400],
                ..Udp::default()
            }
            .build();
            put(&mut packet, IDENTIFICATION, id);
            put(&mut packet, 6, 0x4000);
            sample::fix_header(&mut packet);
            let mut classified = classify(&packet).unwrap();
            force(
                &mut packet,
                &mut classified,
                &mut Offload::default(),
                1240,
                9,
            );
            let after = classify(&packet).unwrap();
            assert_eq!(after, classified);
            assert!(!after.dont_fragment && sample::is_intact(&packet));
            assert_eq!(word(&packet, IDENTIFICATION), expected);
        }
    }
}
