//! All packets at six places of the way, and on the wire between the routers.
//!
//! ```text
//! near ●──● lan1 ── router onprem ●══ wan ● ══● router aws ── lan2 ●──● far
//!      0  0                       1        1  1                    2  2     routers passed, from near to far
//! ```
//! Hosts and LANs are seen by tcpdump, the tunnel by `samctl pcap` of either router. The wire must hold each inner packet
//! in full, or no part of one where the transport encrypts; around it the outer header's TTL is the tunnel's, whatever the
//! inner one's and the host's default, and it may not be fragmented.

use sam_testkit::netns::{
    Capture, CapturedPacket, Daemon, Packets, Site, holds_within, wait_until,
};

use super::lab::{FAR, Lab, NEAR, PATIENCE, ROUNDS};
use super::streams::streams;
use super::unusual::Sample;

/// Name of each place and how many routers a packet from the near client has passed there.
const PLACES: [(&str, u8); 6] = [
    ("near client", 0),
    ("near LAN", 0),
    ("near end of the tunnel", 1),
    ("far end of the tunnel", 1),
    ("far LAN", 2),
    ("far client", 2),
];

/// No header of a tunnel packet (RFC 2003 section 3.1, RFC 2473 section 6.3). Kernels say other things by ICMP.
const STRANGE: &str = "(ip and not icmp and (ip[8] != 64 or ip[6] & 0x40 = 0)) \
     or (ip6 and not icmp6 and not ip6 multicast and ip6[7] != 64)";
/// Bytes of a capture without packets.
const EMPTY: usize = 24;
/// Offset of the addresses in an IPv4 header.
const ADDRESSES: usize = 12;

/// Running captures, in the order of `PLACES`.
#[derive(Debug)]
pub(super) struct Places {
    hosts: [Capture; 4],
    tunnel: [Tap; 2],
    wire: Capture,
    /// What leaves with another outer header than tunnels have.
    strange: Capture,
}

impl Places {
    pub(super) fn start(lab: &Lab) -> Self {
        let topology = &lab.fabric.topology;
        let capture = |namespace, interface: &str, name: &str| {
            Capture::start(namespace, interface, "ip or ip6", &lab.path(name))
        };
        let host = |site: Site| {
            let name = format!("host-{}.pcap", site.name());
            capture(topology.client(site), "eth0", &name)
        };
        let lan = |site: Site| {
            let name = format!("lan-{}.pcap", site.name());
            capture(topology.wires(), &topology.router_port(site), &name)
        };
        Self {
            hosts: [host(NEAR), lan(NEAR), lan(FAR), host(FAR)],
            tunnel: [NEAR, FAR].map(|site| Tap::start(lab, site)),
            wire: capture(topology.router(FAR), "wan0", "wire.pcap"),
            strange: Capture::start(
                topology.router(FAR),
                "wan0",
                STRANGE,
                &lab.path("strange.pcap"),
            ),
        }
    }

    /// Waits until all packets are at the last place and written by both routers; what did not come is judged at the
    /// end.
    pub(super) fn wait(&self, from: Site, sent: &[Sample]) {
        let last = if from == NEAR {
            &self.hosts[3]
        } else {
            &self.hosts[0]
        };
        holds_within(PATIENCE, || {
            let taps = self.tunnel.iter().map(|tap| (&tap.packets, 1));
            let mut places = taps.chain([(last.so_far(), 2)]);
            places.all(|(packets, hops)| {
                let seen = packets.ipv4();
                let mut expected = sent.iter().map(|sample| sample.after(hops));
                expected.all(|packet| times(&seen, &packet) > 0)
            })
        });
    }

    pub(super) fn stop(self) -> Views {
        let [near, near_lan, far_lan, far] = self.hosts.map(|capture| capture.stop().ipv4());
        let [near_end, far_end] = self.tunnel.map(Tap::stop);
        let wire = self.wire.stop().bytes();
        let is_strange = self.strange.stop().bytes().len() > EMPTY;
        let fault = || "outer headers with another TTL than 64, or without DF".to_owned();
        Views {
            places: [near, near_lan, near_end, far_end, far_lan, far],
            inner: starts(&wire),
            wire,
            faults: is_strange.then(fault).into_iter().collect(),
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Views {
    places: [Vec<CapturedPacket>; 6],
    /// What was captured there, over whichever IP.
    wire: Vec<u8>,
    /// Where packets of the clients start in it.
    inner: Vec<usize>,
    faults: Vec<String>,
}

impl Views {
    /// Notes every packet that some place has not seen exactly once, as it must look there.
    pub(super) fn judge(&mut self, lab: &Lab, from: Site, sent: &[Sample]) {
        for sample in sent {
            let name = format!("{} from {}", sample.name, from.name());
            for ((place, hops), seen) in PLACES.into_iter().zip(&self.places) {
                let hops = if from == NEAR { hops } else { 2 - hops };
                let times = times(seen, &sample.after(hops));
                if times != 1 {
                    self.faults
                        .push(format!("{name}: {times} times at {place}"));
                }
            }
            let inner = sample.after(1);
            let starts = |rest: &&[u8]| rest.starts_with(&inner);
            let times = self.inner_packets().filter(starts).count();
            if times != usize::from(!lab.encrypted) {
                let fault = format!("{name}: {times} times on the wire");
                self.faults.push(fault);
            }
        }
    }

    /// Notes when the wire shows the addresses of the clients although the transport encrypts.
    pub(super) fn judge_wire(&mut self, lab: &Lab) {
        if lab.encrypted && !self.inner.is_empty() {
            let fault = format!("{} packets in the clear on the wire", self.inner.len());
            self.faults.push(fault);
        }
    }

    /// What lies on the wire between the routers from each start of a packet of the clients on.
    fn inner_packets(&self) -> impl Iterator<Item = &[u8]> {
        self.inner.iter().map(|at| &self.wire[*at..])
    }

    /// Notes every place that has not seen the streams of both rounds, each with `expected` in it.
    pub(super) fn judge_streams(&mut self, from: Site, expected: &[u8]) {
        for (index, ((place, _), seen)) in PLACES.iter().zip(&self.places).enumerate() {
            // Its capture keeps only the beginning of a superpacket, and the others see all of it.
            let sends = if from == NEAR { 2 } else { 3 };
            let streams = streams(seen, from);
            let right = streams
                .values()
                .filter(|stream| *stream == expected)
                .count();
            if index != sends && right != ROUNDS.len() {
                let fault = format!("{right} of {} streams at {place}", streams.len());
                self.faults.push(format!("from {}: {fault}", from.name()));
            }
        }
    }

    /// # Panics
    /// When anything was noted.
    pub(super) fn finish(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

/// How often a packet was seen.
fn times(seen: &[CapturedPacket], expected: &[u8]) -> usize {
    let equal = |packet: &&CapturedPacket| packet.bytes == expected;
    seen.iter().filter(equal).count()
}

/// Finds packets inside others by the addresses of both clients.
fn starts(wire: &[u8]) -> Vec<usize> {
    let [near, far] = [NEAR, FAR].map(|site| site.client().octets());
    let pairs = [[near, far].concat(), [far, near].concat()];
    let addresses = wire.windows(8).enumerate().skip(ADDRESSES);
    let found = addresses.filter(|(_, window)| pairs.iter().any(|pair| pair == window));
    found.map(|(at, _)| at - ADDRESSES).collect()
}

/// A running `samctl pcap`.
#[derive(Debug)]
struct Tap {
    samctl: Daemon,
    packets: Packets,
}

impl Tap {
    fn start(lab: &Lab, site: Site) -> Self {
        let file = lab.path(&format!("tunnel-{}.pcapng", site.name()));
        let command = format!("pcap -w {}", file.display());
        let command = lab.fabric.router(site).command(&command);
        let samctl = Daemon::start(command, &file.with_extension("log"));
        wait_until("samctl pcap begins", PATIENCE, || {
            file.metadata().is_ok_and(|file| file.len() > 0)
        });
        Self {
            samctl,
            packets: Packets::of(&file),
        }
    }

    /// What left this router for the tunnel and came from it.
    fn stop(mut self) -> Vec<CapturedPacket> {
        self.samctl.signal("TERM");
        wait_until("samctl pcap ends", PATIENCE, || {
            self.samctl.exit_code().is_some()
        });
        self.packets.ipv4()
    }
}
