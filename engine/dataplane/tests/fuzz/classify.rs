//! Classification of arbitrary bytes: no panic, offsets inside of the packet, and no header survives a flipped bit.

use sam_dataplane::packet::{classify, ipv4};

pub(crate) fn check(data: &[u8]) {
    check_packet(data);
    // The same bytes with a header that fits get behind the first checks.
    let mut packet = data.to_vec();
    if packet.len() >= ipv4::IPV4_HEADER {
        packet[0] = 0x45 + (packet[0] & 1);
        let header = usize::from(packet[0] & 0x0f) * 4;
        let total = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        let end = header.min(packet.len());
        ipv4::write_checksum(&mut packet[..end]);
    }
    check_packet(&packet);
}

fn check_packet(packet: &[u8]) {
    let Ok(classified) = classify(packet) else {
        return;
    };
    assert!((20..=60).contains(&classified.ip_header));
    assert!(classified.ip_header <= classified.payload);
    assert!(classified.payload <= classified.total && classified.total <= packet.len());
    assert!(classified.fragment || !classified.later_fragment);
    assert_eq!(classify(&packet[..classified.total]), Ok(classified));
    let mut flipped = packet.to_vec();
    flipped[usize::from(packet[packet.len() - 1]) % classified.ip_header] ^= 1 << (packet[4] % 8);
    assert!(classify(&flipped).is_err());
}
