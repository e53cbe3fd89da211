//! pcapng (draft-ietf-opsawg-pcapng): one section, one interface per place where the engine sees packets.
//!
//! LAN ports are Ethernet; TUN, inner and outer packets are raw IPv4. Outer datagrams reach the engine without their
//! IP and UDP headers (the kernel's socket removes them), so these are written anew from the socket's addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use sam_dataplane::trace::{TapPoint, TapRecord};

const LINK_ETHERNET: u16 = 1;
const LINK_RAW: u16 = 101;
/// Option codes.
const IF_NAME: u16 = 2;
const EPB_FLAGS: u16 = 2;

/// Writes one capture.
#[derive(Debug)]
pub(crate) struct PcapngWriter {
    points: Vec<(TapPoint, String)>,
    local: SocketAddr,
    start: Instant,
    start_wall: Duration,
}

impl PcapngWriter {
    /// Starts a capture; `points` become the interfaces, in this order.
    pub(crate) fn new(points: Vec<(TapPoint, String)>, local: SocketAddr) -> Self {
        let start_wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            points,
            local,
            start: Instant::now(),
            start_wall,
        }
    }

    /// Returns the section header and the interface descriptions.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut section = Vec::new();
        section.extend(0x1A2B_3C4D_u32.to_le_bytes());
        section.extend(1_u16.to_le_bytes());
        section.extend(0_u16.to_le_bytes());
        section.extend(u64::MAX.to_le_bytes());
        let mut out = block(0x0A0D_0D0A, &section);
        for (point, name) in &self.points {
            let link = if matches!(point, TapPoint::Lan(_)) {
                LINK_ETHERNET
            } else {
                LINK_RAW
            };
            let mut body = Vec::new();
            body.extend(link.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
            body.extend(option(IF_NAME, name.as_bytes()));
            body.extend(option(0, &[]));
            out.extend(block(1, &body));
        }
        out
    }

    /// Returns one packet; `None` when its place is none of the interfaces.
    pub(crate) fn packet(&self, record: &TapRecord) -> Option<Vec<u8>> {
        let interface = self
            .points
            .iter()
            .position(|(point, _)| *point == record.point)?;
        let (data, length) = match (record.point, record.remote) {
            (TapPoint::Outer, Some(remote)) => self.with_outer_headers(record, remote),
            _ => (record.data.to_vec(), record.length),
        };
        let since = record.at.saturating_duration_since(self.start);
        let micros = u64::try_from((self.start_wall + since).as_micros()).unwrap_or(u64::MAX);
        let mut body = Vec::with_capacity(data.len() + 48);
        body.extend(u32::try_from(interface).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(
            u32::try_from(micros >> 32)
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        body.extend(
            u32::try_from(micros & 0xFFFF_FFFF)
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        body.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(padded(&data));
        let direction: u32 = if record.outbound { 2 } else { 1 };
        body.extend(option(EPB_FLAGS, &direction.to_le_bytes()));
        body.extend(option(0, &[]));
        Some(block(6, &body))
    }

    fn with_outer_headers(&self, record: &TapRecord, remote: SocketAddr) -> (Vec<u8>, usize) {
        let (from, to) = if record.outbound {
            (self.local, remote)
        } else {
            (remote, self.local)
        };
        let total = u16::try_from(record.length + 28).unwrap_or(u16::MAX);
        let mut packet = vec![0x45, 0];
        packet.extend(total.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        packet.extend(ipv4(from).octets());
        packet.extend(ipv4(to).octets());
        sam_dataplane::packet::ipv4::write_checksum(&mut packet);
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend((total - 20).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(&record.data[..]);
        (packet, record.length + 28)
    }
}

fn ipv4(address: SocketAddr) -> Ipv4Addr {
    match address {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(address) => address.ip().to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED),
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(body.len() + 12);
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(body);
    out.extend(length.to_le_bytes());
    out
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut out = code.to_le_bytes().to_vec();
    out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(padded(value));
    out
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    out.resize(data.len().next_multiple_of(4), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_framed_by_equal_lengths() {
        let writer = PcapngWriter::new(
            vec![
                (TapPoint::Tun, "sam0".to_owned()),
                (TapPoint::Outer, "outer".to_owned()),
            ],
            "192.0.2.1:51820".parse().expect("address"),
        );
        let record = TapRecord {
            point: TapPoint::Outer,
            outbound: true,
            at: Instant::now(),
            length: 5,
            data: [1, 2, 3, 4, 5].into(),
            remote: Some("192.0.2.2:51820".parse().expect("address")),
        };
        let mut bytes = writer.header();
        bytes.extend(writer.packet(&record).expect("known point"));
        let mut kinds = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("4"));
            let length = word(4) as usize;
            kinds.push(word(0));
            assert_eq!(word(length - 4) as usize, length);
            assert_eq!(length % 4, 0);
            rest = &rest[length..];
        }
        assert_eq!(kinds, [0x0A0D_0D0A, 1, 1, 6]);
    }
}
