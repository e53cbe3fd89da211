//! Reads captures without the help of another parser: pcap as tcpdump writes it, pcapng as samctl does.
//!
//! Both in the byte order of this machine, Ethernet and raw IP. A last record that is not complete is left out, since
//! a file may be read while it is written.

use crate::packet::ipv4_of;

/// One IPv4 packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Name of the interface, where the file knows one.
    pub interface: String,
    /// From the first byte of the IPv4 header to the last one that was kept, without padding.
    pub bytes: Vec<u8>,
}

/// Returns every IPv4 packet of a capture.
///
/// # Panics
/// When it is neither pcap nor pcapng.
pub(crate) fn ipv4(file: &[u8]) -> Vec<CapturedPacket> {
    match word(file, 0) {
        Some(PCAP) => pcap(file),
        Some(PCAPNG) => pcapng(file),
        _ => panic!("no capture, or of the other byte order"),
    }
}

fn pcap(file: &[u8]) -> Vec<CapturedPacket> {
    let link = word(file, 20).unwrap_or_default();
    let mut rest = file.get(24..).unwrap_or_default();
    let mut packets = Vec::new();
    while let Some(record) = word(rest, 8).and_then(|length| rest.get(16..16 + size(length))) {
        packets.extend(captured("", link, record));
        rest = &rest[16 + record.len()..];
    }
    packets
}

fn pcapng(file: &[u8]) -> Vec<CapturedPacket> {
    let (mut rest, mut packets) = (file, Vec::new());
    let mut interfaces: Vec<(String, u32)> = Vec::new();
    while let Some(block) = word(rest, 4).and_then(|length| rest.get(..size(length))) {
        if block.len() < 12 {
            break;
        }
        match word(block, 0) {
            Some(INTERFACE) => {
                let link = word(block, 8).unwrap_or_default() & 0xffff;
                interfaces.push((interface_name(&block[16..]), link));
            }
            Some(PACKET) => {
                let interface = word(block, 8).and_then(|index| interfaces.get(size(index)));
                let data = word(block, 20).and_then(|length| block.get(28..28 + size(length)));
                if let (Some((name, link)), Some(data)) = (interface, data) {
                    packets.extend(captured(name, *link, data));
                }
            }
            _ => {}
        }
        rest = &rest[block.len()..];
    }
    packets
}

/// Finds the name among the options of an interface.
fn interface_name(mut options: &[u8]) -> String {
    while let Some(head) = options.first_chunk::<4>() {
        let code = u16::from_ne_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_ne_bytes([head[2], head[3]]));
        let Some(value) = options.get(4..4 + length) else {
            break;
        };
        if code == IF_NAME {
            return String::from_utf8_lossy(value).into_owned();
        }
        options = options
            .get(4 + length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    String::new()
}

fn captured(interface: &str, link: u32, data: &[u8]) -> Option<CapturedPacket> {
    let bytes = match link {
        ETHERNET => ipv4_of(data)?.to_vec(),
        RAW_IP if data.first()? >> 4 == 4 => data.to_vec(),
        RAW_IP => return None,
        _ => panic!("link type {link}"),
    };
    Some(CapturedPacket {
        interface: interface.to_owned(),
        bytes,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().expect("4 bytes")))
}

fn size(length: u32) -> usize {
    usize::try_from(length).expect("at least 32 bits")
}

/// First word of a pcap file with microseconds, as tcpdump writes it.
const PCAP: u32 = 0xa1b2_c3d4;
/// First word of a pcapng file: a section header.
const PCAPNG: u32 = 0x0a0d_0d0a;
/// Block types of pcapng.
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
/// Option of an interface.
const IF_NAME: u16 = 2;
/// Link types.
const ETHERNET: u32 = 1;
const RAW_IP: u32 = 101;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::packet::{IPV4, frame, ipv4_packet};

    fn packet() -> Vec<u8> {
        let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        ipv4_packet(from, to, 253, b"twelve bytes")
    }

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn pcap_of_ethernet_loses_padding_and_what_is_not_complete() {
        let mut padded = frame([1; 6], [2; 6], IPV4, &packet());
        padded.resize(60, 0);
        let length = u32::try_from(padded.len()).unwrap();
        let mut file = bytes(&[PCAP, 0x0004_0002, 0, 0, 65_535, ETHERNET]);
        for _ in 0..2 {
            file.extend(bytes(&[0, 0, length, length]));
            file.extend(&padded);
        }
        file.pop();
        let found = ipv4(&file);
        let expected = CapturedPacket {
            interface: String::new(),
            bytes: packet(),
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn pcapng_names_the_interface_of_a_packet_and_ipv6_is_left_out() {
        let mut file = bytes(&[PCAPNG, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
        let name = |text: [u8; 4]| u32::from_ne_bytes(text);
        let option = u32::from(IF_NAME) | 4 << 16;
        let data = packet();
        for interface in [*b"lan0", *b"wan0"] {
            let block = [INTERFACE, 32, RAW_IP, 0, option, name(interface), 0, 32];
            file.extend(bytes(&block));
        }
        let length = u32::try_from(data.len()).unwrap();
        let mut ipv6 = data.clone();
        ipv6[0] = 0x60;
        for packet in [&ipv6, &data] {
            file.extend(bytes(&[PACKET, length + 32, 1, 0, 0, length, length]));
            file.extend(packet);
            file.extend(bytes(&[length + 32]));
        }
        let found = ipv4(&file);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].interface.as_str(), &found[0].bytes),
            ("wan0", &data)
        );
    }
}
