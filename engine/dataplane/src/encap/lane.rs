//! Lanes: which socket sends a packet, so that the underlay can tell flows apart.
//!
//! Underlays and receivers spread flows by the outer ports, and one socket has one source port. A flow keeps to its
//! lane, so it stays in order.

use crate::packet::{Classified, L4};

/// UDP sockets that send: source ports that the flows of one worker spread over.
pub const LANES: u8 = 8;

/// By which socket a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// That of WireGuard.
    WireGuard,
    /// The UDP socket of this number, below [`LANES`].
    Udp(u8),
    /// The raw socket of this IP protocol.
    Ip {
        /// Protocol number.
        protocol: u8,
    },
}

/// Chooses the UDP lane of a packet by its flow.
#[must_use]
pub fn udp_lane(packet: &[u8], classified: &Classified) -> u8 {
    flow_hash(packet, classified) % LANES
}

/// Hashes the flow of a packet: addresses, protocol and ports, without ports for fragments.
pub(crate) fn flow_hash(packet: &[u8], classified: &Classified) -> u8 {
    let ports = match classified.l4 {
        L4::Tcp { .. } | L4::Udp if !classified.fragment => packet
            .get(classified.ip_header..)
            .and_then(<[u8]>::first_chunk)
            .map_or(0, |ports| u32::from_be_bytes(*ports)),
        L4::Tcp { .. } | L4::Udp | L4::Icmp { .. } | L4::Other => 0,
    };
    let addresses =
        u64::from(classified.source.to_bits()) << 32 | u64::from(classified.destination.to_bits());
    let flow = addresses
        ^ u64::from(ports).wrapping_mul(GOLDEN)
        ^ u64::from(classified.protocol).rotate_right(8);
    // The upper bits of a product depend on all bits below.
    let [high, ..] = flow.wrapping_mul(GOLDEN).to_be_bytes();
    high
}

/// 2^64 divided by the golden ratio, odd: Knuth, The Art of Computer Programming, volume 3, section 6.4.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify;
    use crate::sample::Tcp;

    #[test]
    fn flows_spread_over_all_lanes_and_each_keeps_to_one() {
        let mut flows = [0; LANES as usize];
        for port in 0..800u16 {
            let mut packet = Tcp {
                payload: b"x",
                ..Tcp::default()
            }
            .build();
            packet[20..22].copy_from_slice(&(40_000 + port).to_be_bytes());
            let lane = udp_lane(&packet, &classify(&packet).unwrap());
            flows[usize::from(lane)] += 1;
            // What is not part of the flow does not matter.
            packet[30] ^= 0xff;
            assert_eq!(udp_lane(&packet, &classify(&packet).unwrap()), lane);
        }
        assert!(
            flows.iter().all(|count| (40..200).contains(count)),
            "{flows:?}"
        );
    }
}
