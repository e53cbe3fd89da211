//! Lowers the maximum segment size that TCP endpoints announce, so that their segments fit a tunnel.
//!
//! Works on SYN and SYN-ACK only (RFC 9293 section 3.7.1). Never raises a value and never adds an option: without one
//! the sender stays at 536 bytes, which fits every tunnel.

use crate::decision::Way;
use crate::ingress::Ingress;
use crate::packet::checksum::{update, update_odd};
use crate::packet::classify::TCP_HEADER;
use crate::packet::ipv4::{put, word};
use crate::packet::{Classified, L4};
use crate::snapshot::Snapshot;
use crate::unit::Checksum;

/// Returns the MSS in bytes that fits the tunnels and the LAN that a packet comes from and goes to; `None` when no tunnel
/// among them asks for it.
#[must_use]
pub fn limit(snapshot: &Snapshot, ingress: Ingress, way: Way) -> Option<u16> {
    let to = match way {
        Way::Tunnel { tunnel, .. } => Some(tunnel),
        Way::Lan { .. } | Way::Host => None,
    };
    let from = match ingress {
        Ingress::Tunnel(tunnel) => Some(tunnel),
        Ingress::Lan(_) | Ingress::Host => None,
    };
    let tunnels = from
        .into_iter()
        .chain(to)
        .filter_map(|id| snapshot.tunnel(id));
    let clamping = tunnels.filter(|tunnel| tunnel.mss_clamp);
    let mtu = clamping.map(|tunnel| tunnel.mtu).min()?;
    let lan = match (ingress, way) {
        (Ingress::Lan(port), _) => snapshot.lan(port).map(|lan| lan.mtu),
        (_, Way::Lan { mtu, .. }) => Some(mtu),
        _ => None,
    };
    let mtu = lan.map_or(mtu, |lan| lan.min(mtu));
    Some(mtu.saturating_sub(TCP_IP_HEADERS))
}

/// Tells whether a packet may announce an MSS: it is a SYN or a SYN-ACK.
#[must_use]
pub fn is_syn(classified: &Classified) -> bool {
    matches!(classified.l4, L4::Tcp { flags } if flags & SYN != 0)
}

/// Lowers the MSS option of a SYN in `packet` to at most `max` bytes and returns whether it changed anything.
///
/// A complete TCP checksum is updated (RFC 1624). A partial one covers only the pseudo-header, which stays the same.
pub fn clamp(packet: &mut [u8], classified: &Classified, max: u16, checksum: Checksum) -> bool {
    if !is_syn(classified) {
        return false;
    }
    let Some(tcp) = packet.get_mut(classified.ip_header..classified.payload) else {
        return false;
    };
    let Some(at) = find_option(tcp) else {
        return false;
    };
    let old = word(tcp, at);
    if old <= max {
        return false;
    }
    put(tcp, at, max);
    if checksum == Checksum::Complete {
        let updated = if at % 2 == 0 {
            update(word(tcp, TCP_CHECKSUM), old, max)
        } else {
            update_odd(word(tcp, TCP_CHECKSUM), old, max)
        };
        put(tcp, TCP_CHECKSUM, updated);
    }
    true
}

/// Returns where the value of the MSS option lies in a TCP header, if there is one before anything malformed.
fn find_option(tcp: &[u8]) -> Option<usize> {
    let mut at = TCP_HEADER;
    loop {
        match *tcp.get(at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let length = usize::from(*tcp.get(at + 1)?);
                if length < 2 || at + length > tcp.len() {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE && length == 4 {
                    return Some(at + 2);
                }
                at += length;
            }
        }
    }
}

/// Bytes of IPv4 and TCP headers without options: what the MSS leaves out (RFC 9293 section 3.7.1).
const TCP_IP_HEADERS: u16 = 40;
const SYN: u8 = 0x02;
const TCP_CHECKSUM: usize = 16;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::classify;
    use crate::sample::{self, Tcp, Udp};

    #[test]
    fn each_kind_of_options_is_treated_as_listed() {
        const SYN_ACK: u8 = 0x12;
        for (row, flags, options, expected) in [
            (
                "lowered",
                SYN,
                &[2, 4, 0x05, 0xb4][..],
                &[2, 4, 0x05, 0x64][..],
            ),
            (
                "lowered on SYN-ACK",
                SYN_ACK,
                &[2, 4, 0x05, 0xb4],
                &[2, 4, 0x05, 0x64],
            ),
            ("equal", SYN, &[2, 4, 0x05, 0x64], &[2, 4, 0x05, 0x64]),
            (
                "never raised",
                SYN,
                &[2, 4, 0x02, 0x18],
                &[2, 4, 0x02, 0x18],
            ),
            ("no SYN", 0x10, &[2, 4, 0x05, 0xb4], &[2, 4, 0x05, 0xb4]),
            ("no option", SYN, &[], &[]),
            (
                "odd offset",
                SYN,
                &[1, 2, 4, 0x05, 0xb4, 0, 0, 0],
                &[1, 2, 4, 0x05, 0x64, 0, 0, 0],
            ),
            (
                "behind another",
                SYN,
                &[4, 2, 2, 4, 0x05, 0xb4, 1, 1],
                &[4, 2, 2, 4, 0x05, 0x64, 1, 1],
            ),
            (
                "another option of its length",
                SYN,
                &[28, 4, 0x05, 0xb4],
                &[28, 4, 0x05, 0xb4],
            ),
            (
                "behind the end",
                SYN,
                &[0, 2, 4, 0x05, 0xb4, 0, 0, 0],
                &[0, 2, 4, 0x05, 0xb4, 0, 0, 0],
            ),
            (
                "wrong length",
                SYN,
                &[2, 3, 0x05, 0xb4],
                &[2, 3, 0x05, 0xb4],
            ),
            (
                "length zero",
                SYN,
                &[8, 0, 2, 4, 0x05, 0xb4, 0, 0],
                &[8, 0, 2, 4, 0x05, 0xb4, 0, 0],
            ),
            ("cut off", SYN, &[1, 1, 1, 2], &[1, 1, 1, 2]),
            ("longer than the header", SYN, &[1, 1, 2, 4], &[1, 1, 2, 4]),
        ] {
            let mut packet = Tcp {
                flags,
                options,
                payload: b"data",
                ..Tcp::default()
            }
            .build();
            let changed = clamp_classified(&mut packet, 1380, Checksum::Complete);
            assert_eq!(changed, options != expected, "{row}");
            let wanted = Tcp {
                flags,
                options: expected,
                payload: b"data",
                ..Tcp::default()
            }
            .build();
            assert_eq!(packet, wanted, "{row}");
        }
    }

    #[test]
    fn a_partial_checksum_is_left_alone() {
        let build = |options| {
            Tcp {
                flags: SYN,
                options,
                ..Tcp::default()
            }
            .build()
        };
        let (mut packet, mut wanted) = (build(&[2, 4, 0x05, 0xb4]), build(&[2, 4, 0x05, 0x64]));
        sample::make_partial(&mut packet);
        sample::make_partial(&mut wanted);
        assert!(clamp_classified(
            &mut packet,
            1380,
            Checksum::Partial {
                start: 20,
                offset: 16
            }
        ));
        assert_eq!(packet, wanted);
    }

    #[test]
    fn other_protocols_are_left_alone() {
        let mut packet = Udp {
            payload: &[2, 4, 0xff, 0xff],
            ..Udp::default()
        }
        .build();
        assert!(!clamp_classified(&mut packet, 1380, Checksum::Complete));
    }

    proptest! {
        #[test]
        fn the_checksum_is_what_summing_again_gives(
            padding in 0..5usize,
            old in any::<u16>(),
            max in any::<u16>(),
            sequence in any::<u32>(),
        ) {
            let options = |mss: u16| {
                let mut options = vec![1; 8];
                options[padding..padding + 2].copy_from_slice(&[2, 4]);
                options[padding + 2..padding + 4].copy_from_slice(&mss.to_be_bytes());
                options
            };
            let mut packet = Tcp { flags: SYN, sequence, options: &options(old), ..Tcp::default() }.build();
            clamp_classified(&mut packet, max, Checksum::Complete);
            let wanted = Tcp { flags: SYN, sequence, options: &options(old.min(max)), ..Tcp::default() }.build();
            prop_assert_eq!(packet, wanted);
        }

        #[test]
        fn no_options_whatsoever_break_the_walk(words in prop::collection::vec(any::<[u8; 4]>(), 0..11)) {
            let options = words.concat();
            let mut packet = Tcp { flags: SYN, options: &options, ..Tcp::default() }.build();
            clamp_classified(&mut packet, 536, Checksum::Complete);
            prop_assert!(sample::is_intact(&packet));
        }
    }

    fn clamp_classified(packet: &mut [u8], max: u16, checksum: Checksum) -> bool {
        let classified = classify(packet).unwrap();
        clamp(packet, &classified, max, checksum)
    }
}
