//! Fragments of tunnel packets: the router's kernel joins them (RFC 791), and what it made is a tunnel packet like any other.
//! What does not fit together never leaves the kernel.

use std::net::Ipv4Addr;

use sam_net::{Namespace, Netlink};
use sam_testkit::netns::{Capture, Fabric, Site, send_ipv4, sh, wait_until};
use sam_testkit::packet::{Ipv4, Mac};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[Case {
    name: "tunnel_fragments::are_joined_by_the_kernel_and_judged_as_a_whole",
    needs: &[Need::Tool("tcpdump")],
    run: fragments,
}];

const HERE: Site = Site::ONPREM;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
const GUE_PORT: u16 = 6080;
const WIREGUARD_PORT: u16 = 51820;
/// Port where nothing answers.
pub(crate) const DISCARD: u16 = 9;
const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
/// Bytes of a fragment but the last.
const PIECE: usize = 1000;

/// What becomes of the packets of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The inner packet reaches the client, once.
    Arrives,
    /// The router drops it by this name, once.
    Dropped(&'static str),
    /// The kernel keeps it.
    Kept,
}

/// One inner packet and how it is sent.
struct Sample {
    name: &'static str,
    from: Site,
    /// Outer packets.
    packets: Vec<Vec<u8>>,
    /// Identification of the inner packet.
    id: u16,
    fate: Fate,
}

/// ```text
///   .10 ── lan1 ── router onprem ══ GUE ══ router aws ── .11
///           ▲ tcpdump  ▲  ╚════════ GRE ══ router azure ── .12
///                      └ hand-made packets from the addresses of aws and azure
/// ```
fn fragments() {
    let mut fabric = Fabric::new(samctl(), 3);
    let settings = "  transport: {encap: gue, trustedUnderlay: true}\n  pairs:\n    \
        - {nodes: [onprem, azure], transport: {encap: gre, trustedUnderlay: true}}\n  bgp:";
    fabric.edit_all("  bgp:", settings);
    fabric.start_all();
    for site in [Site::AWS, Site::AZURE] {
        wait_for_ping(fabric.topology.client(site), HERE.client(), PATIENCE);
    }
    let client = fabric.topology.client(HERE);
    let filter = format!("udp dst port {DISCARD}");
    let seen = Capture::start(client, "eth0", &filter, &fabric.path("client.pcap"));
    let mac = mac(fabric.topology.router(HERE), "wan0");
    let unjoined = || reassembly_failures(&fabric);
    let before = unjoined();

    let samples = samples();
    let reasons = ["encap-unknown-source", "too-big", "wg-unknown-type"];
    let counted = || reasons.map(|reason| fabric.router(HERE).dropped(reason));
    let expected = reasons.map(|reason| {
        let fates = samples.iter().map(|sample| sample.fate);
        fates.filter(|fate| *fate == Fate::Dropped(reason)).count() as u64
    });
    let dropped_before = counted();
    for sample in &samples {
        let packets = sample.packets.iter().map(Vec::as_slice);
        let router = fabric.topology.router(sample.from);
        send_ipv4(router, "wan0", mac, packets);
    }

    let arrived = |sample: &Sample| {
        let packets = seen.so_far().ipv4();
        let id = |bytes: &[u8]| u16::from_be_bytes([bytes[4], bytes[5]]);
        packets
            .iter()
            .filter(|packet| id(&packet.bytes) == sample.id)
            .count()
    };
    for sample in samples.iter().filter(|sample| sample.fate == Fate::Arrives) {
        wait_until(sample.name, PATIENCE, || arrived(sample) == 1);
    }
    let news = || {
        let (now, mut news) = (counted(), [0; 3]);
        for ((news, now), before) in news.iter_mut().zip(now).zip(dropped_before) {
            *news = now - before;
        }
        news
    };
    wait_until("all refusals are counted", PATIENCE, || news() == expected);
    wait_until(
        "the kernel counts what does not fit together",
        PATIENCE,
        || unjoined() >= before + 4,
    );
    for sample in &samples {
        let times = usize::from(sample.fate == Fate::Arrives);
        assert_eq!(arrived(sample), times, "{}", sample.name);
    }
    let captured = seen.stop().ipv4().len();
    let arriving = samples.iter().filter(|sample| sample.fate == Fate::Arrives);
    assert_eq!(captured, arriving.count(), "nothing else was forwarded");
}

/// How a tunnel packet is sent.
struct Shape {
    name: &'static str,
    /// Bytes of the inner datagram.
    length: usize,
    fate: Fate,
    cut: fn(Outer) -> Vec<Vec<u8>>,
}

/// What comes from the far end of the tunnel.
const SHAPES: &[Shape] = &[
    Shape {
        name: "whole",
        length: 100,
        fate: Fate::Arrives,
        cut: |outer| vec![outer.whole()],
    },
    Shape {
        name: "in order",
        length: 1400,
        fate: Fate::Arrives,
        cut: |outer| outer.pieces(),
    },
    Shape {
        name: "in reverse",
        length: 1400,
        fate: Fate::Arrives,
        cut: |outer| outer.pieces().into_iter().rev().collect(),
    },
    Shape {
        name: "first only",
        length: 1400,
        fate: Fate::Kept,
        cut: |outer| outer.pieces().drain(..1).collect(),
    },
    Shape {
        name: "last only",
        length: 1400,
        fate: Fate::Kept,
        cut: |outer| outer.pieces().drain(1..).collect(),
    },
    Shape {
        name: "overlapping",
        length: 2500,
        fate: Fate::Kept,
        cut: |outer| {
            let mut pieces = outer.pieces();
            pieces.insert(1, outer.piece(PIECE - 8, 2 * PIECE));
            pieces
        },
    },
    Shape {
        name: "longer than any packet",
        length: 100,
        fate: Fate::Kept,
        cut: |outer| {
            let body = vec![0x45; 65_600];
            Outer { body, ..outer }.pieces()
        },
    },
    Shape {
        name: "joined longer than the LAN takes",
        length: 9000,
        fate: Fate::Dropped("too-big"),
        cut: |outer| outer.pieces(),
    },
];

const STRANGERS: Shape = Shape {
    name: "a stranger's",
    length: 1400,
    fate: Fate::Dropped("encap-unknown-source"),
    cut: |outer| outer.pieces(),
};

const NO_MESSAGE: Shape = Shape {
    name: "no message of WireGuard",
    length: 100,
    fate: Fate::Dropped("wg-unknown-type"),
    cut: |outer| {
        let body = udp_to(WIREGUARD_PORT, &[9; 1400]);
        Outer { body, ..outer }.pieces()
    },
};

/// Each shape by GUE from aws and by GRE from azure, that of strangers the other way round.
fn samples() -> Vec<Sample> {
    let (aws, azure) = (Site::AWS, Site::AZURE);
    let mut list = List::default();
    for (peer, stranger, protocol) in [(aws, azure, UDP), (azure, aws, GRE)] {
        for shape in SHAPES {
            list.add(shape, peer, peer, protocol);
        }
        list.add(&STRANGERS, stranger, peer, protocol);
    }
    list.add(&NO_MESSAGE, aws, aws, UDP);
    // What comes last tells that all the others were dealt with.
    list.add(&SHAPES[0], aws, aws, UDP);
    list.0
}

#[derive(Default)]
struct List(Vec<Sample>);

impl List {
    /// Adds an inner datagram of a site's client, in the tunnel of that site, sent by the router of `from`.
    fn add(&mut self, shape: &Shape, from: Site, of: Site, protocol: u8) {
        let id = 5000 + u16::try_from(self.0.len()).expect("few");
        let inner = Ipv4 {
            id,
            protocol: UDP,
            ..Ipv4::default()
        };
        let inner = inner.packet(
            of.client(),
            HERE.client(),
            &udp_to(DISCARD, &vec![7; shape.length]),
        );
        let body = match protocol {
            UDP => udp_to(GUE_PORT, &inner),
            _ => [&[0, 0, 8, 0], &inner[..]].concat(),
        };
        let outer = Outer {
            from: from.underlay(),
            id,
            protocol,
            body,
        };
        self.0.push(Sample {
            name: shape.name,
            from,
            packets: (shape.cut)(outer),
            id,
            fate: shape.fate,
        });
    }
}

/// A tunnel packet to be cut.
struct Outer {
    from: Ipv4Addr,
    id: u16,
    protocol: u8,
    body: Vec<u8>,
}

impl Outer {
    fn whole(&self) -> Vec<u8> {
        self.packet(DONT_FRAGMENT, &self.body)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        let starts = (0..self.body.len()).step_by(PIECE);
        starts
            .map(|start| self.piece(start, start + PIECE))
            .collect()
    }

    /// The fragment of these bytes.
    fn piece(&self, start: usize, end: usize) -> Vec<u8> {
        let end_of_all = self.body.len();
        let more = if end < end_of_all { MORE_FRAGMENTS } else { 0 };
        let offset = u16::try_from(start / 8).expect("within a packet");
        self.packet(more | offset, &self.body[start..end.min(end_of_all)])
    }

    fn packet(&self, fragment: u16, body: &[u8]) -> Vec<u8> {
        let header = Ipv4 {
            id: self.id,
            fragment,
            protocol: self.protocol,
            ..Ipv4::default()
        };
        header.packet(self.from, HERE.underlay(), body)
    }
}

/// A datagram without checksum.
pub(crate) fn udp_to(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("short");
    let words = [40_000, port, length, 0];
    let header = words.iter().flat_map(|word| word.to_be_bytes());
    header.chain(payload.iter().copied()).collect()
}

/// The MAC address of an interface.
pub(crate) fn mac(namespace: &Namespace, interface: &str) -> Mac {
    let link = namespace.enter(|| Netlink::open()?.link(interface));
    link.expect("a namespace")
        .expect("a link")
        .mac
        .expect("Ethernet")
}

/// How often the kernel of our router gave fragments up (RFC 4293, ipSystemStatsReasmFails).
fn reassembly_failures(fabric: &Fabric) -> u64 {
    let text = sh(fabric.topology.router(HERE), "cat /proc/net/snmp").success();
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (
        rows.next().unwrap_or_default(),
        rows.next().unwrap_or_default(),
    );
    let mut fields = names.split(' ').zip(values.split(' '));
    let field = fields.find(|(name, _)| *name == "ReasmFails");
    field.expect("a counter").1.parse().expect("a number")
}
