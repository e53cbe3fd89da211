//! Segmentation of arbitrary packets under arbitrary metadata: refused, or what comes out is valid.

use sam_dataplane::packet::checksum::{Sum, pseudo_header};
use sam_dataplane::packet::{Classified, classify, ipv4};
use sam_dataplane::segment::{Segment, Segments, segment_size};
use sam_dataplane::{Checksum, Gso, Offload};

pub(crate) fn check(data: &[u8]) {
    let Some((&[kind, size, start, offset], packet)) = data.split_first_chunk() else {
        return;
    };
    let size = u16::from(size) * if kind & 0x80 == 0 { 1 } else { 8 };
    let gso = [Gso::None, Gso::Tcp { size }, Gso::Udp { size }][usize::from(kind % 3)];
    let partial = Checksum::Partial {
        start: start.into(),
        offset: offset.into(),
    };
    let checksum = if kind & 0x40 == 0 {
        partial
    } else {
        Checksum::Complete
    };
    let offload = Offload { gso, checksum };
    let packet = &repaired(packet, kind);
    let Ok(classified) = classify(packet) else {
        return;
    };
    let Ok(segments) = Segments::new(packet, &classified, offload) else {
        return;
    };
    let written: Vec<_> = segments.iter().map(|segment| written(&segment)).collect();
    assert!(!written.is_empty());
    if gso != Gso::None {
        check_segments(packet, &classified, &written);
        let largest = written.iter().map(Vec::len).max();
        assert_eq!(largest, Some(segment_size(&classified, offload)));
    }
}

fn written(segment: &Segment<'_>) -> Vec<u8> {
    let mut slot = vec![0; segment.len()];
    segment.write(&mut slot);
    slot
}

fn check_segments(packet: &[u8], classified: &Classified, segments: &[Vec<u8>]) {
    let mut payload = Vec::new();
    for piece in segments {
        let piece_classified = classify(piece).expect("a segment is a valid packet");
        assert_eq!(piece_classified.total, piece.len());
        let l4 = &piece[classified.ip_header..];
        let length = u16::try_from(l4.len()).expect("below 2^16");
        let Classified {
            source,
            destination,
            protocol,
            ..
        } = *classified;
        assert!(
            pseudo_header(source, destination, protocol, length)
                .plus(Sum::of(l4))
                .is_intact()
        );
        payload.extend_from_slice(&piece[classified.payload..]);
    }
    assert_eq!(payload, packet[classified.payload..classified.total]);
}

/// Makes a header that fits in front of arbitrary bytes, and an L4 header that fits in most cases.
fn repaired(packet: &[u8], kind: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet.len() < 40 {
        return packet;
    }
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    if kind & 0x20 == 0 {
        packet[6..8].copy_from_slice(&[0x40, 0]);
        packet[9] = [ipv4::ICMP, ipv4::TCP, ipv4::UDP][usize::from(kind % 3)];
        match packet[9] {
            ipv4::TCP => packet[32] = 0x50,
            _ => packet[24..26].copy_from_slice(&(length - 20).to_be_bytes()),
        }
    }
    ipv4::write_checksum(&mut packet[..20]);
    packet
}
