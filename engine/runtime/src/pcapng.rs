//! pcapng (draft-ietf-opsawg-pcapng): one section, one interface per place where the engine sees packets.
//!
//! LAN ports are Ethernet; TUN, inner and outer packets are raw IP. Each packet's comment says what became of it and
//! which node is at the other end. Outer packets reach the engine without their IP and UDP headers (the kernel's socket
//! removes them), so these are written anew from the socket's addresses.

mod comment;
mod outer;

use std::time::{Duration, Instant, SystemTime};

use sam_dataplane::trace::{TapPoint, TapRecord};

pub(crate) use comment::Names;
pub(crate) use outer::Near;

const LINK_ETHERNET: u16 = 1;
const LINK_RAW: u16 = 101;
/// Option codes.
const COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;

/// Writes one capture.
#[derive(Debug)]
pub(crate) struct PcapngWriter {
    points: Vec<TapPoint>,
    names: Names,
    near: Near,
    start: Instant,
    start_wall: Duration,
}

impl PcapngWriter {
    /// Starts a capture of all places that have a name.
    pub(crate) fn new(names: Names, near: Near) -> Self {
        let start_wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            points: names.points(),
            names,
            near,
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
        for point in &self.points {
            let link = if matches!(point, TapPoint::Lan(_)) {
                LINK_ETHERNET
            } else {
                LINK_RAW
            };
            let (name, description) = self.names.interface(*point);
            let mut body = Vec::new();
            body.extend(link.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            body.extend(0_u32.to_le_bytes());
            body.extend(option(IF_NAME, name.as_bytes()));
            body.extend(option(IF_DESCRIPTION, description.as_bytes()));
            body.extend(option(0, &[]));
            out.extend(block(1, &body));
        }
        out
    }

    /// Returns one packet; `None` when its place is none of the interfaces. `missed` packets before it are not in the
    /// capture.
    pub(crate) fn packet(&self, record: &TapRecord, missed: u64) -> Option<Vec<u8>> {
        let interface = self
            .points
            .iter()
            .position(|point| *point == record.point)?;
        let headers = match record.remote {
            Some(remote) => self.near.headers(record, remote),
            None => Vec::new(),
        };
        let (captured, length) = (
            headers.len() + record.data.len(),
            headers.len() + record.length,
        );
        let since = record.at.saturating_duration_since(self.start);
        let micros = u64::try_from((self.start_wall + since).as_micros()).unwrap_or(u64::MAX);
        let [low, high] = [micros & 0xFFFF_FFFF, micros >> 32].map(word);
        let mut body = Vec::with_capacity(captured + 128);
        body.extend(word(interface as u64));
        body.extend(high);
        body.extend(low);
        body.extend(word(captured as u64));
        body.extend(word(length as u64));
        body.extend(padded(&[&headers[..], &record.data[..]].concat()));
        let mut comment = self.names.comment(record);
        if missed > 0 {
            comment.push_str(&format!("; {missed} packets before this one were missed"));
            body.extend(option(EPB_DROPCOUNT, &missed.to_le_bytes()));
        }
        let direction: u32 = if record.outbound { 2 } else { 1 };
        body.extend(option(EPB_FLAGS, &direction.to_le_bytes()));
        body.extend(option(COMMENT, comment.as_bytes()));
        body.extend(option(0, &[]));
        Some(block(6, &body))
    }
}

fn word(value: u64) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
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
    use sam_dataplane::Gso;
    use sam_dataplane::trace::Remote;

    use super::*;

    #[test]
    fn blocks_are_framed_by_equal_lengths_and_a_gap_is_told() {
        let near = Near {
            address: "192.0.2.1".parse().expect("address"),
            wireguard_port: 51820,
        };
        let writer = PcapngWriter::new(Names::sample(), near);
        let record = TapRecord {
            point: TapPoint::Outer,
            outbound: true,
            at: Instant::now(),
            length: 5,
            data: [1, 2, 3, 4, 5].into(),
            remote: Some(Remote {
                address: "192.0.2.2:51820".parse().expect("address"),
                carrier: None,
            }),
            gso: Gso::None,
            tunnel: None,
            verdict: None,
        };
        let mut bytes = writer.header();
        bytes.extend(writer.packet(&record, 7).expect("known point"));
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
        assert_eq!(kinds, [0x0A0D_0D0A, 1, 1, 1, 1, 1, 6]);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("sent to aws; 7 packets before this one were missed"));
    }
}
