//! Probes of a tunnel's size, or of whether anybody is at its far end: ICMP echo requests of an exact length between the
//! overlay addresses of two routers.
//!
//! The far host's kernel answers them like any ping, so every transport and every peer can be probed, and none needs
//! to know of it. A mark in the payload tells our answers from those to pings of the host. An answer may come in
//! fragments, for the way back may be narrower; its first one shows that the request arrived whole (RFC 8899
//! section 4.1).

use std::net::Ipv4Addr;

use crate::buffer::Buffer;
use crate::ids::TunnelId;
use crate::packet::checksum::Sum;
use crate::packet::icmp::{ECHO_REPLY, ECHO_REQUEST, ICMP_HEADER};
use crate::packet::ipv4::{ICMP, IPV4_HEADER, Ipv4Header, long, put};
use crate::packet::{Classified, L4};

/// One question: does a packet of this size pass? The shortest asks only whether anybody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathProbe {
    /// Through which tunnel.
    pub tunnel: TunnelId,
    /// The far router's overlay address.
    pub to: Ipv4Addr,
    /// Length of the inner packet in bytes, at least [`PROBE_MIN`].
    pub size: u16,
    /// Number by which the answer is known.
    pub id: u32,
}

/// Shortest probe in bytes.
pub const PROBE_MIN: u16 = 36;

impl PathProbe {
    /// Writes the packet from our overlay address into an empty buffer; returns whether it is long enough to be one.
    #[must_use]
    pub fn write(&self, from: Ipv4Addr, buffer: &mut Buffer) -> bool {
        if self.size < PROBE_MIN {
            return false;
        }
        let header = Ipv4Header {
            tos: 0,
            total: self.size,
            id: 0,
            dont_fragment: true,
            ttl: 64,
            protocol: ICMP,
            source: from,
            destination: self.to,
        };
        let length = usize::from(self.size);
        let packet = &mut buffer.tail_mut()[..length];
        packet.fill(0);
        let (ip, icmp) = packet.split_at_mut(IPV4_HEADER);
        ip.copy_from_slice(&header.emit());
        icmp[0] = ECHO_REQUEST;
        icmp[ID..ICMP_HEADER].copy_from_slice(&self.id.to_be_bytes());
        icmp[ICMP_HEADER..MARK_END].copy_from_slice(&MARK);
        let checksum = Sum::of(icmp).checksum();
        put(icmp, ICMP_CHECKSUM, checksum);
        buffer.grow(length);
        true
    }
}

/// Returns the number of the probe that a packet answers, if it answers one. `packet` may be a first fragment.
#[must_use]
pub fn answered(packet: &[u8], classified: &Classified) -> Option<u32> {
    let icmp = match classified.l4 {
        L4::Icmp { kind: ECHO_REPLY } => packet.get(classified.ip_header..)?,
        L4::Icmp { .. } | L4::Tcp { .. } | L4::Udp | L4::Other => return None,
    };
    let is_marked = icmp.get(ICMP_HEADER..MARK_END) == Some(&MARK);
    is_marked.then(|| long(icmp, ID))
}

/// First bytes of the payload.
const MARK: [u8; 8] = *b"SAM-PMTU";
/// Where the mark ends, from the ICMP header on.
const MARK_END: usize = ICMP_HEADER + MARK.len();
/// Offset of identifier and sequence number in the ICMP header; both together are the number of the probe.
const ID: usize = 4;
const ICMP_CHECKSUM: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify;

    const PROBE: PathProbe = PathProbe {
        tunnel: TunnelId(0),
        to: Ipv4Addr::new(10, 99, 0, 2),
        size: 1440,
        id: 0x1234_5678,
    };
    const FROM: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

    #[test]
    fn a_probe_is_an_echo_request_of_its_exact_size_that_may_not_be_fragmented() {
        for size in [PROBE_MIN, 1440, 1441, 9001] {
            let packet = write(PathProbe { size, ..PROBE });
            let classified = classify(&packet).unwrap();
            assert_eq!((packet.len(), classified.total), (size.into(), size.into()));
            assert_eq!(
                (classified.source, classified.destination),
                (FROM, PROBE.to)
            );
            assert_eq!(classified.l4, L4::Icmp { kind: ECHO_REQUEST });
            assert!(classified.dont_fragment && Sum::of(&packet[20..]).is_intact());
        }
        let tiny = PathProbe {
            size: PROBE_MIN - 1,
            ..PROBE
        };
        assert!(!tiny.write(FROM, &mut Buffer::new()));
    }

    #[test]
    fn answers_are_known_by_their_mark_also_as_first_fragments() {
        let mut reply = write(PROBE);
        assert_eq!(number(&reply), None, "a request is no answer");
        reply[20] = ECHO_REPLY;
        assert_eq!(number(&reply), Some(PROBE.id));

        let mut first = reply[..556].to_vec();
        put(&mut first, 2, 556);
        put(&mut first, 6, 0x2000);
        crate::sample::fix_header(&mut first);
        assert_eq!(number(&first), Some(PROBE.id));

        let mut ping = reply;
        ping[28] ^= 1;
        assert_eq!(number(&ping), None, "an answer to a ping of the host");
    }

    fn write(probe: PathProbe) -> Vec<u8> {
        let mut buffer = Buffer::new();
        buffer.tail_mut()[..200].fill(0xee);
        assert!(probe.write(FROM, &mut buffer));
        buffer.bytes().to_vec()
    }

    fn number(packet: &[u8]) -> Option<u32> {
        answered(packet, &classify(packet).unwrap())
    }
}
