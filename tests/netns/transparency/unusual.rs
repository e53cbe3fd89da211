//! Hand-made packets that few hosts send: IP options, odd flags, fragments, missing and wrong checksums, other
//! protocols. Each arrives exactly once and byte by byte, but for TTL, header checksum and the MSS of SYNs: nothing on
//! the way translates, repairs, reassembles or drops.

use sam_testkit::netns::Site;
use sam_testkit::packet::{Ipv4, aged, transport_checksum};

use super::lab::{FAR, Lab, NEAR, PATIENCE, ROUNDS, other};
use super::places::Places;
use crate::bulk;
use crate::case::wait_for_ping;

const ICMP: u8 = 1;
const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const SCTP: u8 = 132;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const RESERVED: u16 = 0x8000;
const SYN: u8 = 0x02;
/// Port where nothing answers and nothing real goes.
pub(super) const DISCARD: u16 = 9;
/// Bytes of a TCP stream beside them: several superpackets.
const TALK: usize = 300_000;
/// A checksum that is right for nothing here.
const WRONG: u16 = 0xbad1;
/// Payload of most.
const BODY: &[u8; 48] = b"as it was sent, byte by byte, 48 bytes in total.";

/// One packet and what is special about it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    /// As it leaves its host.
    pub(super) sent: Vec<u8>,
    /// As the first router passes it on, but for TTL and header checksum.
    pub(super) passed: Vec<u8>,
}

impl Sample {
    /// As it must look after some routers.
    pub(super) fn after(&self, hops: u8) -> Vec<u8> {
        match hops {
            0 => self.sent.clone(),
            hops => aged(&self.passed, hops),
        }
    }
}

pub(super) fn check(lab: &Lab) {
    // A router keeps few packets for a host that it does not know yet.
    for site in [NEAR, FAR] {
        wait_for_ping(lab.client(site), other(site).client(), PATIENCE);
    }
    let places = Places::start(lab);
    lab.twice(|round| {
        for from in [NEAR, FAR] {
            let to = other(from);
            bulk::tcp(lab.client(from), lab.client(to), to.client(), 1, TALK);
            let sent = samples(lab, from, round);
            lab.send(from, sent.iter().map(|sample| &sample.sent[..]));
            places.wait(from, &sent);
        }
    });
    let mut views = places.stop();
    let talk: Vec<u8> = bulk::blocks(0, TALK).flatten().collect();
    for from in [NEAR, FAR] {
        for round in ROUNDS {
            views.judge(lab, from, &samples(lab, from, round));
        }
        views.judge_streams(from, &talk);
    }
    views.judge_wire(lab);
    views.finish();
}

/// Everything unusual from one client to the other; no two packets of a suite are alike.
fn samples(lab: &Lab, from: Site, round: &str) -> Vec<Sample> {
    let mut list = List {
        ends: [from, other(from)],
        id: if round == ROUNDS[0] { 1000 } else { 2000 },
        samples: Vec::new(),
    };
    list.options();
    list.headers();
    list.checksums();
    list.protocols();
    list.fragments();
    list.clamped(lab.mtu - 40);
    let full = Ipv4 {
        protocol: UDP,
        ..Ipv4::default()
    };
    let body = [&BODY[..]; 32].concat();
    let datagram = udp(DISCARD, WRONG, &body[..lab.mtu - 28]);
    list.add("as long as the tunnel carries", full, &datagram);
    list.samples
}

struct List {
    ends: [Site; 2],
    id: u16,
    samples: Vec<Sample>,
}

impl List {
    /// Adds a packet with an identification, and for UDP and TCP a port, of its own: runs of one flow could be merged.
    fn add(&mut self, name: &'static str, header: Ipv4<'_>, body: &[u8]) {
        self.id += 1;
        self.push(
            name,
            Ipv4 {
                id: self.id,
                ..header
            },
            body,
        );
    }

    fn push(&mut self, name: &'static str, header: Ipv4<'_>, body: &[u8]) {
        let [from, to] = self.ends.map(Site::client);
        let mut body = body.to_vec();
        if matches!(header.protocol, UDP | TCP) && header.fragment & 0x1fff == 0 {
            body[..2].copy_from_slice(&(20_000 + header.id).to_be_bytes());
        }
        let sent = header.packet(from, to, &body);
        let passed = sent.clone();
        self.samples.push(Sample { name, sent, passed });
    }

    /// RFC 791 section 3.1, RFC 2113 (router alert), RFC 4727 (experiments).
    fn options(&mut self) {
        let full: Vec<u8> = [&[7, 39, 4][..], &[0; 36], &[1]].concat();
        let lists: [(&str, &[u8]); 7] = [
            ("no operation", &[1, 1, 1, 0]),
            ("record route", &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("timestamp", &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("router alert", &[148, 4, 0, 0]),
            ("loose source route", &[131, 7, 8, 192, 0, 2, 9, 0]),
            ("experimental option", &[158, 6, 1, 2, 3, 4, 0, 0]),
            ("forty bytes of options", &full),
        ];
        for (name, options) in lists {
            let header = Ipv4 {
                options,
                protocol: UDP,
                ..Ipv4::default()
            };
            self.add(name, header, &udp(DISCARD, WRONG, BODY));
        }
    }

    fn headers(&mut self) {
        let plain = Ipv4 {
            protocol: UDP,
            ..Ipv4::default()
        };
        for (name, header) in [
            ("every DSCP bit", Ipv4 { tos: 0xfc, ..plain }),
            ("ECT(0)", Ipv4 { tos: 0x02, ..plain }),
            ("ECT(1) and a DSCP", Ipv4 { tos: 0xb9, ..plain }),
            ("congestion experienced", Ipv4 { tos: 0x03, ..plain }),
            (
                "neither DF nor anything",
                Ipv4 {
                    fragment: 0,
                    ..plain
                },
            ),
            (
                "reserved flag",
                Ipv4 {
                    fragment: RESERVED,
                    ..plain
                },
            ),
            ("TTL 255", Ipv4 { ttl: 255, ..plain }),
            ("TTL just enough", Ipv4 { ttl: 3, ..plain }),
        ] {
            self.add(name, header, &udp(DISCARD, WRONG, BODY));
        }
        self.add(
            "no payload",
            Ipv4 {
                protocol: UDP,
                ..plain
            },
            &udp(DISCARD, WRONG, b""),
        );
        self.add(
            "one odd byte",
            Ipv4 {
                protocol: UDP,
                ..plain
            },
            &udp(DISCARD, WRONG, b"x"),
        );
    }

    fn checksums(&mut self) {
        let datagram = Ipv4 {
            protocol: UDP,
            ..Ipv4::default()
        };
        self.add("UDP without checksum", datagram, &udp(DISCARD, 0, BODY));
        self.add(
            "UDP, checksum of ones",
            datagram,
            &udp(DISCARD, 0xffff, BODY),
        );
        self.add("UDP, wrong checksum", datagram, &udp(DISCARD, WRONG, BODY));
        let segment = Ipv4 {
            protocol: TCP,
            ..Ipv4::default()
        };
        self.add("TCP, wrong checksum", segment, &tcp(0x18, &[], BODY));
        self.add("SYN without MSS, with data", segment, &tcp(SYN, &[], BODY));
        self.add(
            "SYN with a small MSS",
            segment,
            &tcp(SYN, &[2, 4, 2, 24], b""),
        );
        self.add(
            "SYN with half an option",
            segment,
            &tcp(SYN, &[1, 1, 2, 4], b""),
        );
        self.add("every TCP flag", segment, &tcp(0xff, &[], BODY));
        let echo = Ipv4 {
            protocol: ICMP,
            ..Ipv4::default()
        };
        self.add(
            "ping, wrong checksum",
            echo,
            &[&[8, 0, 0xba, 0xd1, 0, 1, 0, 1], &BODY[..]].concat(),
        );
        self.add(
            "ICMP of no known type",
            echo,
            &[&[200, 7, 0xba, 0xd1], &BODY[..]].concat(),
        );
    }

    /// SYNs with a right checksum whose MSS is lowered, the option at an even offset and at an odd one.
    fn clamped(&mut self, max: usize) {
        let max = u16::try_from(max).expect("an MSS").to_be_bytes();
        let high_mss: [(&str, &[u8], usize); 2] = [
            ("SYN with a high MSS", &[2, 4, 5, 180], 22),
            (
                "SYN with a high MSS, odd offset",
                &[1, 2, 4, 5, 180, 1, 1, 1],
                23,
            ),
        ];
        for (name, options, at) in high_mss {
            let segment = Ipv4 {
                protocol: TCP,
                ..Ipv4::default()
            };
            self.add(name, segment, &tcp(SYN, options, b""));
            if let Some(sample) = self.samples.last_mut() {
                sample.passed[20 + at..][..2].copy_from_slice(&max);
                complete(&mut sample.sent);
                complete(&mut sample.passed);
            }
        }
    }

    fn protocols(&mut self) {
        for (name, protocol) in [
            ("IP in IP", IPIP),
            ("GRE", GRE),
            ("ESP", ESP),
            ("SCTP", SCTP),
            ("protocol 253", 253),
            ("protocol 0", 0),
        ] {
            self.add(
                name,
                Ipv4 {
                    protocol,
                    ..Ipv4::default()
                },
                BODY,
            );
        }
    }

    /// One datagram in pieces, the last one first, one of them twice with other bytes.
    fn fragments(&mut self) {
        self.id += 1;
        let datagram = udp(DISCARD, WRONG, &BODY[..36]);
        let pieces = [
            ("last fragment", 5, &datagram[40..]),
            (
                "fragment in the middle",
                3 | MORE_FRAGMENTS,
                &datagram[24..40],
            ),
            ("overlapping fragment", 3 | MORE_FRAGMENTS, &BODY[..16]),
            ("first fragment", MORE_FRAGMENTS, &datagram[..24]),
            ("fragment with DF", 9 | DONT_FRAGMENT, &BODY[..8]),
        ];
        for (name, fragment, body) in pieces {
            let header = Ipv4 {
                id: self.id,
                fragment,
                protocol: UDP,
                ..Ipv4::default()
            };
            self.push(name, header, body);
        }
    }
}

/// Writes the right checksum into a TCP segment.
fn complete(packet: &mut [u8]) {
    packet[36..38].fill(0);
    let checksum = transport_checksum(packet);
    packet[36..38].copy_from_slice(&checksum.to_be_bytes());
}

fn udp(port: u16, checksum: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("short");
    let words = [0, port, length, checksum];
    let header = words.iter().flat_map(|word| word.to_be_bytes());
    header.chain(payload.iter().copied()).collect()
}

/// A segment with a wrong checksum.
fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
    let mut segment = vec![0, 0];
    segment.extend(DISCARD.to_be_bytes());
    segment.extend([1, 2, 3, 4, 5, 6, 7, 8, words << 4, flags, 16, 0]);
    segment.extend(WRONG.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(options);
    segment.extend(payload);
    segment
}
