//! A question to another router: does this address live with you? An ICMP echo request between the overlay addresses of
//! two routers, with a mark and the address behind it.
//!
//! A router that discovers hosts takes it out and asks its LAN; the answer is a route. Any other host answers it like a
//! ping, which harms nobody, so no router has to know what the others can.

use std::net::Ipv4Addr;

use crate::buffer::Buffer;
use crate::ids::TunnelId;
use crate::packet::checksum::Sum;
use crate::packet::icmp::{ECHO_REQUEST, ICMP_HEADER};
use crate::packet::ipv4::{ICMP, IPV4_HEADER, Ipv4Header, put};
use crate::packet::{Classified, L4};

/// A question to one router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FabricQuestion {
    /// Through which tunnel.
    pub tunnel: TunnelId,
    /// The router's overlay address.
    pub to: Ipv4Addr,
    /// The address.
    pub address: Ipv4Addr,
}

/// Length of a question in bytes.
pub const QUESTION: u16 = 40;

impl FabricQuestion {
    /// Writes the packet from our overlay address into an empty buffer.
    pub fn write(&self, from: Ipv4Addr, buffer: &mut Buffer) {
        let header = Ipv4Header {
            tos: 0,
            total: QUESTION,
            id: 0,
            dont_fragment: true,
            ttl: 64,
            protocol: ICMP,
            source: from,
            destination: self.to,
        };
        let length = usize::from(QUESTION);
        let packet = &mut buffer.tail_mut()[..length];
        packet.fill(0);
        let (ip, icmp) = packet.split_at_mut(IPV4_HEADER);
        ip.copy_from_slice(&header.emit());
        icmp[0] = ECHO_REQUEST;
        icmp[ICMP_HEADER..MARK_END].copy_from_slice(&MARK);
        icmp[MARK_END..ADDRESS_END].copy_from_slice(&self.address.octets());
        let checksum = Sum::of(icmp).checksum();
        put(icmp, ICMP_CHECKSUM, checksum);
        buffer.grow(length);
    }
}

/// Returns the address that a packet asks for, if it is a question.
#[must_use]
pub fn asked(packet: &[u8], classified: &Classified) -> Option<Ipv4Addr> {
    if classified.l4 != (L4::Icmp { kind: ECHO_REQUEST }) {
        return None;
    }
    let icmp = packet.get(classified.ip_header..)?;
    let octets: [u8; 4] = icmp.get(MARK_END..ADDRESS_END)?.try_into().ok()?;
    let is_question = icmp.len() == ADDRESS_END && icmp[ICMP_HEADER..MARK_END] == MARK;
    is_question.then(|| Ipv4Addr::from(octets))
}

/// First bytes of the payload.
const MARK: [u8; 8] = *b"SAM-WHO4";
/// Where the mark ends, from the ICMP header on.
const MARK_END: usize = ICMP_HEADER + MARK.len();
const ADDRESS_END: usize = MARK_END + 4;
const ICMP_CHECKSUM: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::classify;
    use crate::packet::icmp::ECHO_REPLY;

    const QUESTION_FOR: FabricQuestion = FabricQuestion {
        tunnel: TunnelId(0),
        to: Ipv4Addr::new(10, 99, 0, 2),
        address: Ipv4Addr::new(10, 77, 60, 50),
    };
    const FROM: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

    #[test]
    fn a_question_reads_back_and_is_a_proper_ping_for_those_who_do_not_know_it() {
        let packet = write();
        let classified = classify(&packet).unwrap();

        assert_eq!(packet.len(), usize::from(QUESTION));
        assert_eq!(asked(&packet, &classified), Some(QUESTION_FOR.address));
        assert_eq!(
            (classified.source, classified.destination),
            (FROM, QUESTION_FOR.to)
        );
        assert!(Sum::of(&packet[20..]).is_intact());
    }

    #[test]
    fn answers_pings_and_pieces_are_no_questions() {
        let number = |packet: &[u8]| asked(packet, &classify(packet).unwrap());
        let mut reply = write();
        reply[20] = ECHO_REPLY;
        assert_eq!(number(&reply), None);
        let mut ping = write();
        ping[28] ^= 1;
        assert_eq!(number(&ping), None);
        for length in 28..40 {
            let mut short = write();
            short.truncate(length);
            put(&mut short, 2, u16::try_from(length).unwrap());
            crate::sample::fix_header(&mut short);
            assert_eq!(number(&short), None, "{length}");
        }
    }

    fn write() -> Vec<u8> {
        let mut buffer = Buffer::new();
        QUESTION_FOR.write(FROM, &mut buffer);
        buffer.bytes().to_vec()
    }
}
