//! Every TCP connection of a suite as seen at four places: by the near client, on both LANs, by the far client.
//!
//! ```text
//! near ●── ● lan1 ── router ══════ router ── lan2 ● ──● far
//! ```
//! Both SYNs of a connection must look the same at all places but for TTL, header checksum and MSS: nothing is
//! translated. The MSS is lowered in both directions.

use std::collections::BTreeSet;

use sam_testkit::netns::{Capture, CapturedPacket, Packets, Site};
use sam_testkit::packet::{addresses, transport_checksum};

use super::lab::{FAR, Lab, NEAR};

/// Real ones: hand-made packets go to the port of discard.
const SYNS: &str = "tcp[tcpflags] & tcp-syn != 0 and not dst port 9";
/// TCP and IPv4 headers: what the MSS leaves out.
const HEADERS: usize = 40;
/// What hosts send, and what is left after two routers.
const TTL: (&str, &str) = ("64", "62");
/// Who sent it, and what no router may change.
const UNCHANGED: [&str; 9] = [
    "ip.src",
    "tcp.srcport",
    "ip.dst",
    "tcp.dstport",
    "ip.id",
    "ip.dsfield",
    "tcp.seq_raw",
    "tcp.window_size_value",
    "tcp.options.timestamp.tsval",
];

/// How many of these tell a direction of a connection from others.
const ENDS: usize = 4;
/// One SYN: these fields.
type Row = Vec<String>;

/// Four running captures.
#[derive(Debug)]
pub(super) struct Witness {
    places: Vec<(&'static str, Site, Capture)>,
}

impl Witness {
    /// Starts to look.
    pub(super) fn start(lab: &Lab) -> Self {
        let topology = &lab.fabric.topology;
        let capture = |name: &'static str, site: Site, namespace, interface: &str| {
            let file = lab.path(&format!("syns-{}.pcap", name.replace(' ', "-")));
            (
                name,
                site,
                Capture::start(namespace, interface, SYNS, &file),
            )
        };
        Self {
            places: vec![
                capture("near client", NEAR, topology.client(NEAR), "eth0"),
                capture(
                    "near LAN",
                    NEAR,
                    topology.wires(),
                    &topology.router_port(NEAR),
                ),
                capture("far LAN", FAR, topology.wires(), &topology.router_port(FAR)),
                capture("far client", FAR, topology.client(FAR), "eth0"),
            ],
        }
    }

    /// Ends the captures and compares them.
    pub(super) fn judge(self, lab: &Lab) {
        let places = self.places.into_iter();
        let seen: Vec<(&str, Site, Packets)> = places
            .map(|(name, site, capture)| (name, site, capture.stop()))
            .collect();
        let views: Vec<BTreeSet<Row>> = seen.iter().map(|(_, _, packets)| rows(packets)).collect();
        // What each client itself sent. A lost SYN is sent again with another identification.
        let of = |view: &BTreeSet<Row>, site: Site| -> BTreeSet<Row> {
            let own = site.client().to_string();
            view.iter().filter(|row| row[0] == own).cloned().collect()
        };
        let origin = &of(&views[0], NEAR) | &of(&views[views.len() - 1], FAR);
        let connections = |view: &BTreeSet<Row>| -> BTreeSet<Row> {
            view.iter().map(|row| row[..ENDS].to_vec()).collect()
        };
        assert!(!origin.is_empty(), "no connection was seen");
        for ((name, site, packets), view) in seen.iter().zip(&views) {
            let changed: Vec<_> = view.difference(&origin).collect();
            assert!(changed.is_empty(), "{name}, sent by nobody: {changed:#?}");
            assert_eq!(connections(view), connections(&origin), "{name}");
            arrived(lab, name, *site, packets);
        }
    }
}

fn rows(packets: &Packets) -> BTreeSet<Row> {
    packets.fields("tcp", &UNCHANGED).into_iter().collect()
}

/// Checks TTL and MSS of the SYNs at one place: those of its own client, whose kernel leaves their checksums unfinished
/// on a virtual wire, and those from the other site.
fn arrived(lab: &Lab, name: &str, site: Site, packets: &Packets) {
    let own = site.client().to_string();
    let clamped = lab.mtu - HEADERS;
    let from_afar = |packet: &&CapturedPacket| addresses(&packet.bytes).0 != site.client();
    for packet in packets.ipv4().iter().filter(from_afar) {
        let remainder = transport_checksum(&packet.bytes);
        assert_eq!(remainder, 0, "{name}: checksum of {packet:?}");
    }
    for row in packets.fields("tcp", &["ip.src", "ip.ttl", "tcp.options.mss_val"]) {
        let mss: usize = row[2].parse().expect("every SYN has an MSS");
        let (ttl, as_expected) = if row[0] == own {
            (TTL.0, mss > clamped)
        } else {
            (TTL.1, mss == clamped)
        };
        assert!(
            row[1] == ttl && as_expected,
            "{name}: {row:?}, MSS to be {clamped}"
        );
    }
}
