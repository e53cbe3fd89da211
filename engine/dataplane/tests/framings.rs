//! Framings against parsers that share no code with them: etherparse for Ethernet, IPv4 and UDP, and for what it does not
//! know - GRE, GUE, VXLAN - a reading of the specifications bit by bit.
//!
//! Both must find the same inner packet, or none, in everything that a framing writes, in each such packet with one byte
//! changed to each other value or cut anywhere, and in packets with several random changes.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::net::Ipv4Addr;

use etherparse::{
    EtherType, IpNumber, Ipv4Slice, LinkSlice, NetSlice, PacketBuilder, SlicedPacket, UdpSlice,
};
use proptest::prelude::*;
use sam_dataplane::Carrier;
use sam_dataplane::encap::nested::Content;
use sam_dataplane::encap::{Framing, Gre, Gue, Nested, Payload, Vxlan};
use sam_dataplane::packet::classify;
use sam_dataplane::wire_packet::WirePacket;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const VNI: u32 = 0x0012_3456;
const KEY: u32 = 0x0102_0304;
const PORT: u16 = 6080;

/// All framings, as the far end writes them and as we read them.
fn framings() -> [(Framing, Framing); 11] {
    let gre = |key, checksum| Framing::Gre(Gre { key, checksum });
    let same = |framing| (framing, framing);
    [
        same(Framing::Ipip),
        same(gre(None, false)),
        same(gre(Some(KEY), false)),
        same(gre(None, true)),
        same(gre(Some(KEY), true)),
        same(Framing::Fou(Payload::Ipip)),
        same(Framing::Fou(Payload::Gre)),
        same(Framing::Gue(Gue::Variant0(Payload::Ipip))),
        same(Framing::Gue(Gue::Variant0(Payload::Gre))),
        same(Framing::Gue(Gue::Variant1)),
        (
            Framing::Vxlan(Vxlan::between(VNI, FAR, OWN)),
            Framing::Vxlan(Vxlan::between(VNI, OWN, FAR)),
        ),
    ]
}

/// Tunnels inside of WireGuard, as the far end writes them.
fn tunnels() -> [Nested; 5] {
    let udp = Carrier::Udp { port: PORT };
    let keyed = Gre {
        key: Some(KEY),
        checksum: true,
    };
    [
        (Carrier::GRE, Framing::Gre(Gre::PLAIN)),
        (Carrier::GRE, Framing::Gre(keyed)),
        (udp, Framing::Gue(Gue::Variant1)),
        (udp, Framing::Gue(Gue::Variant0(Payload::Ipip))),
        (udp, Framing::Gue(Gue::Variant0(Payload::Gre))),
    ]
    .map(|(carrier, framing)| Nested {
        carrier,
        framing,
        own: FAR,
        far: OWN,
    })
}

fn ours(tunnel: Nested) -> Nested {
    Nested {
        own: tunnel.far,
        far: tunnel.own,
        ..tunnel
    }
}

#[test]
fn every_framed_packet_and_each_with_one_change_is_read_alike() {
    let inner = inner_packet(b"hello");
    for (theirs, mine) in framings() {
        let packet = framed(theirs, &inner);
        assert_eq!(agreed(mine, &packet), Some(&inner[..]), "{mine:?}");
        let (mut taken, mut refused) = (0, 0);
        for damaged in changes(&packet, theirs.header() + 2) {
            match agreed(mine, &damaged) {
                Some(_) => taken += 1,
                None => refused += 1,
            }
        }
        let has_header = theirs.header() > 0 || matches!(theirs, Framing::Gue(_));
        assert!(taken > 0 && (refused > 0) == has_header, "{mine:?}");
    }
}

#[test]
fn every_nested_packet_and_each_with_one_change_is_read_alike() {
    let inner = inner_packet(b"hello");
    for theirs in tunnels() {
        let packet = nested(theirs, &inner);
        let mine = ours(theirs);
        assert_eq!(agreed_nested(mine, &packet), Some(&inner[..]), "{mine:?}");
        let (mut taken, mut refused) = (0, 0);
        for mut damaged in changes(&packet, usize::from(theirs.header()) + 2) {
            for has_checksum in [false, true] {
                if has_checksum {
                    repair(&mut damaged);
                }
                match agreed_nested(mine, &damaged) {
                    Some(_) => taken += 1,
                    None => refused += 1,
                }
            }
        }
        assert!(taken > 0 && refused > 0, "{mine:?}");
    }
}

/// Ports, lengths, addresses and checksums are what another parser reads.
#[test]
fn the_headers_around_a_nested_packet_are_what_they_should_be() {
    let inner = inner_packet(b"hello");
    for tunnel in tunnels() {
        let packet = nested(tunnel, &inner);
        let ip = Ipv4Slice::from_slice(&packet).unwrap();
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        assert_eq!(
            (header.source, header.destination),
            (FAR.octets(), OWN.octets())
        );
        assert_eq!(usize::from(header.total_len), packet.len());
        assert_eq!((header.dont_fragment, header.time_to_live), (true, 64));
        assert_eq!((header.dscp.value(), header.ecn.value()), (46, 2));
        match tunnel.carrier {
            Carrier::Ip { .. } => assert_eq!(header.protocol, IpNumber::GRE),
            Carrier::Udp { port } => {
                assert_eq!(header.protocol, IpNumber::UDP);
                let udp = UdpSlice::from_slice(ip.payload().payload).unwrap();
                assert_eq!(usize::from(udp.length()), packet.len() - 20);
                assert_eq!((udp.destination_port(), udp.checksum()), (port, 0));
                assert!(udp.source_port() >= 49_152);
            }
        }
    }
}

/// etherparse finds the whole way through the Ethernet header inside of VXLAN.
#[test]
fn vxlan_carries_an_ethernet_frame() {
    let inner = inner_packet(b"hello");
    let packet = framed(Framing::Vxlan(Vxlan::between(VNI, OWN, FAR)), &inner);
    let frame = SlicedPacket::from_ethernet(&packet[8..]).unwrap();
    let Some(LinkSlice::Ethernet2(ethernet)) = frame.link else {
        panic!("Ethernet")
    };
    assert_eq!(ethernet.destination(), [2, 0x53, 10, 99, 0, 2]);
    assert_eq!(ethernet.source(), [2, 0x53, 10, 99, 0, 1]);
    assert_eq!(ethernet.ether_type(), EtherType::IPV4);
    let Some(NetSlice::Ipv4(ip)) = frame.net else {
        panic!("IPv4")
    };
    assert_eq!(usize::from(ip.header().total_len()), inner.len());
}

proptest! {
    #[test]
    fn several_changes_are_read_alike(
        payload in prop::collection::vec(any::<u8>(), 0..80),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        more in prop::collection::vec(any::<u8>(), 0..20),
        is_repaired in any::<bool>(),
    ) {
        let inner = inner_packet(&payload);
        // Half of the damage is where the headers are.
        let damage = |mut packet: Vec<u8>, headers: usize| {
            packet.extend_from_slice(&more);
            for (number, (at, value)) in changes.iter().enumerate() {
                let within = if number % 2 == 0 { headers.max(1) } else { packet.len() };
                packet[at.index(within)] = *value;
            }
            packet.truncate(cut.map_or(packet.len(), |cut| cut.index(packet.len())));
            packet
        };
        for (theirs, mine) in framings() {
            agreed(mine, &damage(framed(theirs, &inner), theirs.header()));
        }
        for theirs in tunnels() {
            let mut damaged = damage(nested(theirs, &inner), theirs.header().into());
            if is_repaired {
                repair(&mut damaged);
            }
            agreed_nested(ours(theirs), &damaged);
        }
    }
}

/// The inner packet that both find; what is taken for IPv4 then is so for etherparse too.
fn agreed(framing: Framing, packet: &[u8]) -> Option<&[u8]> {
    let found = framing.parse(packet).ok();
    assert_eq!(found, reference(framing, packet), "{framing:?} {packet:x?}");
    if let Some((inner, classified)) = found.and_then(|inner| Some((inner, classify(inner).ok()?)))
    {
        let theirs = Ipv4Slice::from_slice(inner).unwrap();
        let header = theirs.header();
        assert_eq!(
            (
                header.source_addr(),
                header.destination_addr(),
                header.protocol().0,
                usize::from(header.total_len())
            ),
            (
                classified.source,
                classified.destination,
                classified.protocol,
                classified.total
            )
        );
        assert!(sum_is_good(header.slice()));
    }
    found
}

/// As [`agreed`], inside of WireGuard.
fn agreed_nested(tunnel: Nested, packet: &[u8]) -> Option<&[u8]> {
    let found = match tunnel.parse(packet) {
        Ok(Content::Framed { inner, .. }) => Some(&packet[inner]),
        Ok(Content::Bare) | Err(_) => None,
    };
    assert_eq!(
        found,
        nested_reference(tunnel, packet),
        "{tunnel:?} {packet:x?}"
    );
    found
}

fn nested_reference(tunnel: Nested, packet: &[u8]) -> Option<&[u8]> {
    let ip = Ipv4Slice::from_slice(packet).ok()?;
    let header = ip.header().to_header();
    let is_ours = (header.source, header.destination) == (FAR.octets(), OWN.octets());
    // etherparse's own sum would leave the reserved flag out.
    if !is_ours || ip.is_payload_fragmented() || !sum_is_good(ip.header().slice()) {
        return None;
    }
    let payload = ip.payload().payload;
    match tunnel.carrier {
        Carrier::Ip { .. } if header.protocol == IpNumber::GRE => {
            reference(tunnel.framing, payload)
        }
        Carrier::Udp { port } if header.protocol == IpNumber::UDP => {
            let udp = UdpSlice::from_slice(payload).ok()?;
            let length = usize::from(udp.length());
            if udp.destination_port() != port || length < 8 {
                return None;
            }
            let sum = udp
                .to_header()
                .calc_checksum_ipv4(&header, udp.payload())
                .ok()?;
            let is_good = udp.checksum() == 0 || udp.checksum() == sum;
            is_good.then(|| reference(tunnel.framing, udp.payload()))?
        }
        Carrier::Ip { .. } | Carrier::Udp { .. } => None,
    }
}

/// Reads the header in front of an inner packet as its specification says.
fn reference(framing: Framing, packet: &[u8]) -> Option<&[u8]> {
    match framing {
        Framing::Ipip | Framing::Fou(Payload::Ipip) => Some(packet),
        Framing::Gre(gre) => gre_reference(gre.key, packet),
        Framing::Fou(Payload::Gre) => gre_reference(None, packet),
        Framing::Gue(_) => gue_reference(packet),
        Framing::Vxlan(_) => vxlan_reference(packet),
    }
}

/// RFC 2784 section 2, RFC 2890 section 2: bits are numbered from the most significant.
fn gre_reference(key: Option<u32>, packet: &[u8]) -> Option<&[u8]> {
    let bit = |number: usize| packet[number / 8] >> (7 - number % 8) & 1 == 1;
    let long = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    if packet.len() < 4 {
        return None;
    }
    let (has_checksum, has_key, has_sequence) = (bit(0), bit(2), bit(3));
    let must_be_zero = [1, 4, 5, 13, 14, 15];
    if must_be_zero.into_iter().any(bit) {
        return None;
    }
    let mut next = 4;
    if has_checksum {
        let unmade = packet.get(4..6)? == [0, 0];
        next += 4;
        packet.get(..next)?;
        if !unmade && !sum_is_good(packet) {
            return None;
        }
    }
    let found = if has_key {
        next += 4;
        Some(long(next - 4)?)
    } else {
        None
    };
    next += if has_sequence { 4 } else { 0 };
    let inner = packet.get(next..)?;
    (found == key && packet[2..4] == [0x08, 0x00]).then_some(inner)
}

/// draft-ietf-intarea-gue-09 sections 3.1 and 4.
fn gue_reference(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    match format!("{first:08b}").split_at(2) {
        ("01", _) => Some(packet),
        ("00", rest) => {
            let (control, length) = rest.split_at(1);
            let length = usize::from_str_radix(length, 2).unwrap();
            let [_, protocol, 0, 0] = *packet.first_chunk()? else {
                return None;
            };
            let inner = packet.get(4 + 4 * length..)?;
            match (control, IpNumber(protocol)) {
                ("0", IpNumber::IPV4) => Some(inner),
                ("0", IpNumber::GRE) => gre_reference(None, inner),
                _ => None,
            }
        }
        _ => None,
    }
}

/// RFC 7348 section 5; the frame is etherparse's.
fn vxlan_reference(packet: &[u8]) -> Option<&[u8]> {
    let (header, frame) = packet.split_first_chunk::<8>()?;
    let is_valid = header[0] & 0b0000_1000 != 0;
    let vni = header[4..7]
        .iter()
        .fold(0, |vni, byte| vni << 8 | u32::from(*byte));
    let (ethernet, inner) = etherparse::Ethernet2Header::from_slice(frame).ok()?;
    let is_ours = ethernet.destination == [2, 0x53, 10, 99, 0, 1];
    (is_valid && vni == VNI && is_ours && ethernet.ether_type == EtherType::IPV4).then_some(inner)
}

/// RFC 1071, word by word: the sum of a range and its checksum in it is all ones.
fn sum_is_good(range: &[u8]) -> bool {
    let mut sum = 0_u32;
    for pair in range.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(pair[0]) << 8 | u32::from(low);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

/// Makes the checksum of an IPv4 header right, so that what it says is looked at.
fn repair(packet: &mut [u8]) {
    let length = packet
        .first()
        .map_or(0, |first| usize::from(first & 15) * 4);
    if let Some(header) = packet.get_mut(..length).filter(|header| header.len() >= 20) {
        sam_dataplane::packet::ipv4::write_checksum(header);
    }
}

/// Every value of each of the first `within` bytes, and every cut.
fn changes(packet: &[u8], within: usize) -> impl Iterator<Item = Vec<u8>> {
    let changed = (0..within).flat_map(move |at| {
        (0..=255).map(move |value| {
            let mut changed = packet.to_vec();
            changed[at] = value;
            changed
        })
    });
    changed.chain((0..packet.len()).map(|length| packet[..length].to_vec()))
}

fn framed(framing: Framing, inner: &[u8]) -> Vec<u8> {
    let mut packet = [&vec![0xee; framing.header()][..], inner].concat();
    framing.write(&mut packet);
    packet
}

fn nested(tunnel: Nested, inner: &[u8]) -> Vec<u8> {
    let mut slot = [0xee; 1500];
    tunnel
        .write(&WirePacket::Whole(inner), 46 << 2 | 2, 5, &mut slot)
        .unwrap()
        .to_vec()
}

/// An inner packet made by etherparse.
fn inner_packet(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4([10, 77, 60, 10], [10, 77, 60, 11], 64).udp(5000, 5001);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}
