//! Packets made by hand, and what is read back from them.

use std::net::Ipv4Addr;

use sam_dataplane::{Buffer, Checksum, Gso, Offload, Unit};

pub(crate) const ETHERNET: usize = 14;
pub(crate) const IPV4: usize = 20;

/// Wraps an IPv4 packet into an Ethernet frame.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], &[0x08, 0x00], packet].concat()
}

/// Makes an IPv4 packet with a TCP or UDP header whose checksum field holds the pseudo-header sum only.
pub(crate) fn ipv4(from: &str, to: &str, protocol: u8, mut transport: Vec<u8>) -> Vec<u8> {
    let total = u16::try_from(IPV4 + transport.len()).unwrap();
    let mut header = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header.extend(from.parse::<Ipv4Addr>().unwrap().octets());
    header.extend(to.parse::<Ipv4Addr>().unwrap().octets());
    let sum = !sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let length = total - 20;
    let pseudo = [&header[12..20], &[0, protocol], &length.to_be_bytes()].concat();
    let at = checksum_offset(protocol);
    transport[at..at + 2].copy_from_slice(&self::sum(&pseudo).to_be_bytes());
    [header, transport].concat()
}

/// Makes an IPv4 packet a fragment, `offset` times eight bytes from the start; its own checksum is not of interest.
pub(crate) fn fragment(mut packet: Vec<u8>, offset: u8, more: bool) -> Vec<u8> {
    packet[6..8].copy_from_slice(&[if more { 0x20 } else { 0 }, offset]);
    packet[10..12].fill(0);
    let sum = !sum(&packet[..IPV4]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Makes a UDP header and payload for [`ipv4`].
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let header = [from, to, length, 0].map(u16::to_be_bytes).concat();
    [&header, payload].concat()
}

/// Makes a TCP header and payload for [`ipv4`].
pub(crate) fn tcp(from: u16, to: u16, numbers: [u32; 2], flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend(numbers.map(u32::to_be_bytes).concat());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

/// Makes a unit of `bytes`, whose IPv4 header stands at `network` and whose checksum is partial.
pub(crate) fn unit(bytes: &[u8], network: usize, gso: Gso) -> Unit {
    let mut buffer = Buffer::new();
    assert!(buffer.append(bytes));
    let protocol = bytes[network + 9];
    let start = u16::try_from(network + IPV4).unwrap();
    let offset = u16::try_from(checksum_offset(protocol)).unwrap();
    Unit {
        buffer,
        offload: Offload {
            gso,
            checksum: Checksum::Partial { start, offset },
        },
    }
}

/// Makes a unit that needs no finishing.
pub(crate) fn plain(bytes: &[u8]) -> Unit {
    let mut buffer = Buffer::new();
    assert!(buffer.append(bytes));
    Unit::plain(buffer)
}

/// Makes the answer to an ARP request, or `None` for any other frame.
pub(crate) fn arp_reply(frame: &[u8], mac: [u8; 6]) -> Option<Unit> {
    if frame.get(12..14)? != [0x08, 0x06] || frame.get(20..22)? != [0, 1] {
        return None;
    }
    let (sender, target) = (frame.get(22..32)?, frame.get(38..42)?);
    let head = [&sender[..6], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
    Some(plain(&[&head, &mac[..], target, sender].concat()))
}

/// Turns an Ethernet frame with UDP around: what it carries goes back to its sender.
pub(crate) fn turn_around(frame: &mut [u8]) {
    swap(frame, 0, 6, 6);
    swap(frame, ETHERNET + 12, ETHERNET + 16, 4);
    swap(frame, ETHERNET + IPV4, ETHERNET + IPV4 + 2, 2);
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 31 % 251).to_le_bytes()[0])
        .collect()
}

fn swap(bytes: &mut [u8], one: usize, other: usize, length: usize) {
    for index in 0..length {
        bytes.swap(one + index, other + index);
    }
}

fn checksum_offset(protocol: u8) -> usize {
    if protocol == 6 { 16 } else { 6 }
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
