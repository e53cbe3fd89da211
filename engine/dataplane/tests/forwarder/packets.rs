//! Packets as hosts send them, and what other parsers make of those that arrive.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;
use sam_dataplane::notice::Mac;
use sam_dataplane::{Checksum, Gso, Offload};

pub(crate) fn frame(to: Mac, from: Mac, ip: &[u8]) -> Vec<u8> {
    [&to[..], &from, &[8, 0], ip].concat()
}

pub(crate) fn udp(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(source.octets(), destination.octets(), ttl);
    let mut packet = Vec::new();
    builder.udp(4000, 5000).write(&mut packet, payload).unwrap();
    packet
}

/// A ping of its eight bytes and a payload.
pub(crate) fn ping(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(source.octets(), destination.octets(), 61);
    let mut packet = Vec::new();
    let echo = builder.icmpv4_echo_request(7, 9);
    echo.write(&mut packet, payload).unwrap();
    packet
}

/// A TCP packet as a host sends it: DF set.
pub(crate) fn tcp(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    sequence: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut ip = etherparse::Ipv4Header::new(
        0,
        64,
        etherparse::IpNumber::TCP,
        source.octets(),
        destination.octets(),
    )
    .unwrap();
    ip.dont_fragment = true;
    ip.identification = 7;
    let ip = etherparse::IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default());
    let builder = PacketBuilder::ip(ip)
        .tcp(4000, 5001, sequence, 1000)
        .ack(99);
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// A TCP SYN with an MSS option.
pub(crate) fn syn(source: Ipv4Addr, destination: Ipv4Addr, mss: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    let option = etherparse::TcpOptionElement::MaximumSegmentSize(mss);
    PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
        .tcp(4000, 5001, 1, 1000)
        .syn()
        .options(&[option])
        .unwrap()
        .write(&mut packet, &[])
        .unwrap();
    packet
}

/// Makes a TCP packet a superpacket as the kernel hands it over: partial checksum in an Ethernet frame.
pub(crate) fn superpacket(size: u16) -> Offload {
    Offload {
        gso: Gso::Tcp { size },
        checksum: Checksum::Partial {
            start: 34,
            offset: 16,
        },
    }
}

/// The MSS option of a SYN that [`syn`] made.
pub(crate) fn mss_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[42], packet[43]])
}

/// Checks IP and L4 checksums by another parser's reckoning.
pub(crate) fn assert_checksums(packet: &[u8]) {
    let sliced = etherparse::SlicedPacket::from_ip(packet).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else {
        panic!("not IPv4")
    };
    let header = ip.header().to_header();
    assert_eq!(
        header.header_checksum,
        header.calc_header_checksum(),
        "IP checksum"
    );
    match &sliced.transport {
        Some(etherparse::TransportSlice::Tcp(tcp)) => {
            let sum = tcp
                .calc_checksum_ipv4(header.source, header.destination)
                .unwrap();
            assert_eq!(tcp.checksum(), sum, "TCP checksum");
        }
        Some(etherparse::TransportSlice::Udp(udp)) => {
            let sum = udp
                .to_header()
                .calc_checksum_ipv4(&header, udp.payload())
                .unwrap();
            assert_eq!(udp.checksum(), sum, "UDP checksum");
        }
        Some(etherparse::TransportSlice::Icmpv4(icmp)) => {
            let payload = icmp.payload();
            assert_eq!(
                icmp.checksum(),
                icmp.icmp_type().calc_checksum(payload),
                "ICMP checksum"
            );
        }
        _ => {}
    }
}

/// Type, code and the four bytes behind the checksum of an ICMP packet, and who sent it to whom.
pub(crate) fn icmp_of(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr, u8, u8, u16) {
    assert_eq!(packet[9], 1, "ICMP");
    assert_checksums(packet);
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    let mtu = u16::from_be_bytes([packet[26], packet[27]]);
    (address(12), address(16), packet[20], packet[21], mtu)
}

/// Changes the header of an IPv4 packet and repairs its checksum.
pub(crate) fn edit(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet);
    sam_dataplane::packet::ipv4::write_checksum(&mut packet[..20]);
    packet
}

/// Sets the ECN field of an IPv4 packet.
pub(crate) fn with_ecn(packet: Vec<u8>, ecn: u8) -> Vec<u8> {
    edit(packet, |packet| packet[1] = ecn)
}

/// Clears Don't Fragment.
pub(crate) fn may_fragment(packet: Vec<u8>) -> Vec<u8> {
    edit(packet, |packet| packet[6] &= !0x40)
}

/// Replaces the TCP checksum by the pseudo-header sum, as the kernel hands over packets it did not finish.
pub(crate) fn partial(mut packet: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(packet.len() - 20).unwrap();
    let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap().into();
    let sum = sam_dataplane::packet::checksum::pseudo_header(address(12), address(16), 6, length);
    packet[36..38].copy_from_slice(&sum.fold().to_be_bytes());
    packet
}
