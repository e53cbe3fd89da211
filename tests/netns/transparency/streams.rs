//! TCP streams put together again from the packets of a capture, however they were cut and merged.

use std::collections::BTreeMap;

use sam_testkit::netns::{CapturedPacket, Site};
use sam_testkit::packet::addresses;

use super::unusual::DISCARD;

/// Protocol number of TCP.
const TCP: u8 = 6;
/// Half of the sequence numbers (RFC 9293 section 3.4).
const HALF: u32 = 1 << 31;

/// Source and destination port, and what was sent.
pub(super) type Streams = BTreeMap<(u16, u16), Vec<u8>>;

/// Returns what a client sent by TCP, by connection. What a capture lacks, or holds only in part, is zero.
pub(super) fn streams(seen: &[CapturedPacket], from: Site) -> Streams {
    let mut connections: BTreeMap<(u16, u16), Vec<(u32, &[u8])>> = BTreeMap::new();
    for packet in seen {
        let Some((ports, sequence, payload)) = segment(&packet.bytes) else {
            continue;
        };
        let ours = addresses(&packet.bytes).0 == from.client() && ports.1 != DISCARD;
        if ours && !payload.is_empty() {
            connections
                .entry(ports)
                .or_default()
                .push((sequence, payload));
        }
    }
    let whole = |(ports, pieces): ((u16, u16), Vec<(u32, &[u8])>)| (ports, join(&pieces));
    connections.into_iter().map(whole).collect()
}

/// Ports, sequence number and payload of a TCP segment that is there in full.
fn segment(packet: &[u8]) -> Option<((u16, u16), u32, &[u8])> {
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    if packet[9] != TCP || packet.len() != usize::from(word(packet, 2)) {
        return None;
    }
    let segment = &packet[usize::from(packet[0] & 0x0f) * 4..];
    let sequence = segment.get(4..8)?.try_into().expect("four bytes");
    let payload = segment.get(usize::from(segment.get(12)? >> 4) * 4..)?;
    let ports = (word(segment, 0), word(segment, 2));
    Some((ports, u32::from_be_bytes(sequence), payload))
}

fn join(pieces: &[(u32, &[u8])]) -> Vec<u8> {
    let earlier = |one: u32, other: u32| {
        if other.wrapping_sub(one) < HALF {
            one
        } else {
            other
        }
    };
    let start = pieces
        .iter()
        .map(|piece| piece.0)
        .reduce(earlier)
        .unwrap_or_default();
    let mut whole = Vec::new();
    for (sequence, payload) in pieces {
        let at = usize::try_from(sequence.wrapping_sub(start)).expect("at least 32 bits");
        let end = at + payload.len();
        whole.resize(whole.len().max(end), 0);
        whole[at..end].copy_from_slice(payload);
    }
    whole
}
