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
        let connections = |packets: &Packets| -> BTreeSet<Vec<String>> {
            packets.fields("tcp", &UNCHANGED).into_iter().collect()
        };
        let first = connections(&seen[0].2);
        assert!(!first.is_empty(), "no connection was seen");
        let clients = [NEAR, FAR].map(|site| site.client().to_string());
        for row in &first {
            assert!(
                clients.contains(&row[0]) && clients.contains(&row[2]),
                "{row:?}"
            );
        }
        for (name, site, packets) in &seen {
            let here = connections(packets);
            let changed: Vec<_> = here.symmetric_difference(&first).collect();
            assert!(changed.is_empty(), "{name} and {}: {changed:#?}", seen[0].0);
            arrived(lab, name, *site, packets);
        }
    }
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
