//! An advertisement of VRRP in an ARP frame: the router announces its own LAN address (RFC 5227 section 2.3), which is
//! true and asks for no answer, and behind the packet, where ARP has padding, stand a mark and the advertisement.
//!
//! Multicast is lost in places where ARP still passes (IGMP snooping, a filter of IP protocol 112). Where hosts hear the
//! answers of two routers, the routers hear each other. Whoever does not know the mark sees an ordinary announcement.

use std::net::Ipv4Addr;

use crate::notice::Mac;
use crate::packet::arp::{ARP_FRAME, ArpPacket};
use crate::packet::ethernet::{BROADCAST, ETHERNET_HEADER, EtherType, EthernetHeader};

/// What stands directly behind the ARP packet.
pub const MARK: [u8; 8] = *b"SAM-VRRP";
/// Where it stands, in bytes from the start of the frame.
pub const MARK_OFFSET: usize = ARP_FRAME;

/// Returns the frame by which the router with this MAC and LAN address tells an advertisement.
#[must_use]
pub fn emit_frame(mac: Mac, address: Ipv4Addr, advertisement: &[u8]) -> Vec<u8> {
    let announcement = ArpPacket::announcement(mac, address).emit_frame_to(BROADCAST);
    [&announcement[..], &MARK, advertisement].concat()
}

/// Reads the sender's address and the advertisement, with padding; `None` when the frame carries none.
#[must_use]
pub fn parse_frame(frame: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let header = EthernetHeader::parse(frame).ok()?;
    let packet = ArpPacket::parse(frame.get(ETHERNET_HEADER..)?).ok()?;
    let advertisement = frame.get(MARK_OFFSET..)?.strip_prefix(&MARK)?;
    let is_told = header.ether_type == EtherType::Arp
        && header.source == packet.sender_mac
        && packet.is_gratuitous();
    is_told.then_some((packet.sender, advertisement))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Mac = [2, 0, 0, 0, 0, 1];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);

    #[test]
    fn what_is_told_is_read_and_to_others_it_is_an_announcement() {
        let frame = emit_frame(ROUTER, ADDRESS, b"advertisement");

        assert_eq!(parse_frame(&frame), Some((ADDRESS, &b"advertisement"[..])));
        let packet = ArpPacket::parse(&frame[ETHERNET_HEADER..]).unwrap();
        assert_eq!(packet, ArpPacket::announcement(ROUTER, ADDRESS));
        assert!(frame.len() >= 60, "no switch has to pad it");
    }

    #[test]
    fn other_frames_carry_nothing() {
        let whole = emit_frame(ROUTER, ADDRESS, b"advertisement");
        for length in 0..MARK_OFFSET + MARK.len() {
            assert_eq!(parse_frame(&whole[..length]), None, "{length}");
        }
        // Another mark, another sender on the wire, a question for somebody else, no ARP.
        for at in [MARK_OFFSET, 6, 38, 13] {
            let mut frame = whole.clone();
            frame[at] ^= 4;
            assert_eq!(parse_frame(&frame), None, "byte {at}");
        }
    }
}
