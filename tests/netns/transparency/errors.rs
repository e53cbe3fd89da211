//! ICMP errors quote what was sent, options included, and a packet with options is cut as RFC 791 says.

use sam_testkit::netns::{Capture, CapturedPacket, GATEWAY, Site, wait_until};
use sam_testkit::packet::{Ipv4, addresses, aged};

use super::lab::{FAR, Lab, NEAR, PATIENCE, other};

/// No operation and an empty record route, which stay with the first fragment; router alert, which goes with all.
const OPTIONS: [u8; 12] = [1, 7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0];
const COPIED: [u8; 4] = [148, 4, 0, 0];
/// Bytes of a header with all options.
const HEADER: usize = 20 + OPTIONS.len();
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
/// Longest quote: 576 bytes less an IPv4 and an ICMP header (RFC 1812 section 4.3.2.3).
const QUOTE: usize = 548;
const TIME_EXCEEDED: [u8; 2] = [11, 0];
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
/// Largest packet of a LAN in bytes.
const LAN: usize = 1500;

pub(super) fn check(lab: &Lab) {
    lab.twice(|_| {
        for from in [NEAR, FAR] {
            quotes(lab, from);
            cut(lab, from);
        }
    });
}

fn quotes(lab: &Lab, from: Site) {
    let client = lab.client(from);
    let seen = Capture::start(client, "eth0", "icmp", &lab.path("errors.pcap"));
    let fits = packet(lab, from, 600);
    let too_long = packet(lab, from, lab.mtu + 4);
    let [dies_here, dies_there] = [1, 2].map(|ttl| aged(&fits, fits[8] - ttl));

    let sent = [&dies_here, &dies_there, &too_long];
    lab.send(from, sent.iter().map(|packet| &packet[..]));

    let far = other(from).overlay();
    let mtu = u16::try_from(lab.mtu).expect("an MTU");
    for (reporter, kind, next_mtu, quoted) in [
        (GATEWAY, TIME_EXCEEDED, 0, dies_here),
        // It was a hop older when it got there.
        (far, TIME_EXCEEDED, 0, aged(&dies_there, 1)),
        (GATEWAY, FRAGMENTATION_NEEDED, mtu, too_long),
    ] {
        let fits = |packet: &CapturedPacket| {
            let bytes = &packet.bytes;
            addresses(bytes) == (reporter, from.client())
                && bytes[20..22] == kind
                && bytes[26..28] == next_mtu.to_be_bytes()
                && bytes[28..] == quoted[..quoted.len().min(QUOTE)]
        };
        let what = format!("{kind:?} from {reporter}, quoting the packet");
        wait_until(&what, PATIENCE, || seen.so_far().ipv4().iter().any(fits));
    }
}

/// A datagram with options that the LAN carries and the tunnel does not.
fn cut(lab: &Lab, from: Site) {
    let far = other(from);
    let seen = Capture::start(
        lab.client(far),
        "eth0",
        "ip proto 253",
        &lab.path("cut.pcap"),
    );
    let whole = Ipv4 {
        fragment: 0,
        ..header(2)
    }
    .packet(from.client(), far.client(), &body(LAN - HEADER));

    lab.send(from, std::iter::once(&whole[..]));

    let mut pieces = Vec::new();
    wait_until("both pieces arrive", PATIENCE, || {
        pieces = seen.so_far().ipv4();
        pieces.len() == 2
    });
    pieces.sort_by_key(|piece| offset(&piece.bytes));
    let [first, last] = [0, 1].map(|index| &pieces[index].bytes);
    let copied = 20 + COPIED.len();
    assert!(first.len() <= lab.mtu, "{} bytes", first.len());
    assert_eq!(first[20..HEADER], whole[20..HEADER], "all options");
    assert_eq!(last[0], 0x46, "header of 24 bytes");
    assert_eq!(last[20..copied], COPIED, "what is to be copied");
    assert_eq!(offset(last), first.len() - HEADER);
    let more = [first, last].map(|piece| u16::from_be_bytes([piece[6], piece[7]]) & MORE_FRAGMENTS);
    assert_eq!(more, [MORE_FRAGMENTS, 0]);
    assert_eq!(
        [&first[HEADER..], &last[copied..]].concat(),
        whole[HEADER..]
    );
    for piece in [first, last] {
        assert_eq!(piece[4..6], whole[4..6], "identification");
        assert_eq!(piece[8], whole[8] - 2, "TTL");
    }
}

/// A packet of `size` bytes with DF and options.
fn packet(lab: &Lab, from: Site, size: usize) -> Vec<u8> {
    let header = Ipv4 {
        fragment: DONT_FRAGMENT,
        ..header(1)
    };
    assert!(size <= LAN, "{} does not cut", lab.mtu);
    header.packet(from.client(), other(from).client(), &body(size - HEADER))
}

fn header(id: u16) -> Ipv4<'static> {
    Ipv4 {
        id,
        protocol: 253,
        options: &OPTIONS,
        ..Ipv4::default()
    }
}

fn body(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// Where a fragment belongs, in bytes.
fn offset(packet: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff) * 8
}
