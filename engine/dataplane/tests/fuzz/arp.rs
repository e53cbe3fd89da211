//! Arbitrary bytes as ARP: no panic, and what is accepted is emitted as the same bytes.

use sam_dataplane::packet::arp::{ARP_PACKET, ArpPacket};
use sam_dataplane::packet::ethernet::{ETHERNET_HEADER, EtherType, EthernetHeader};

pub(crate) fn check(data: &[u8]) {
    check_packet(data);
    // The same bytes with the formats that Ethernet and IPv4 need.
    let mut packet = data.to_vec();
    if packet.len() >= ARP_PACKET {
        packet[..7].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0]);
        packet[7] &= 3;
    }
    check_packet(&packet);
    if let Ok(header) = EthernetHeader::parse(data) {
        assert_eq!(header.emit(), data[..ETHERNET_HEADER]);
    }
}

fn check_packet(data: &[u8]) {
    let Ok(packet) = ArpPacket::parse(data) else {
        return;
    };
    assert_eq!(packet.emit(), data[..ARP_PACKET]);
    assert!(!(packet.is_probe() && packet.is_gratuitous()));
    let frame = packet.emit_frame();
    let header = EthernetHeader::parse(&frame).expect("a frame of our own");
    assert_eq!(
        (header.ether_type, header.source),
        (EtherType::Arp, packet.sender_mac)
    );
    assert_eq!(ArpPacket::parse(&frame[ETHERNET_HEADER..]), Ok(packet));
}
