//! All packets at six places of the way, and on the wire between the routers.
//!
//! ```text
//! near ●──● lan1 ── router onprem ●══ wan ● ══● router aws ── lan2 ●──● far
//!      0  0                       1        1  1                    2  2     routers passed, from near to far
//! ```
//! Hosts and LANs are seen by tcpdump, the tunnel by `samctl pcap` of either router. The wire must hold each inner packet
//! in full, or no part of one where the transport encrypts.

use sam_testkit::netns::{
    Capture, CapturedPacket, Daemon, Packets, Site, holds_within, wait_until,
};

use super::lab::{FAR, Lab, NEAR, PATIENCE};
use super::unusual::{BODY, Sample};

/// Name of each place and how many routers a packet from the near client has passed there.
const PLACES: [(&str, u8); 6] = [
    ("near client", 0),
    ("near LAN", 0),
    ("near end of the tunnel", 1),
    ("far end of the tunnel", 1),
    ("far LAN", 2),
    ("far client", 2),
];

/// Running captures, in the order of `PLACES`.
#[derive(Debug)]
pub(super) struct Places {
    hosts: [Capture; 4],
    tunnel: [Tap; 2],
    wire: Capture,
}

impl Places {
    pub(super) fn start(lab: &Lab) -> Self {
        let topology = &lab.fabric.topology;
        let capture = |namespace, interface: &str, name: &str| {
            Capture::start(namespace, interface, "ip", &lab.path(name))
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
        }
    }

    /// Waits until all packets are at the last place; what did not come is judged at the end.
    pub(super) fn wait(&self, from: Site, sent: &[Sample]) {
        let last = if from == NEAR {
            &self.hosts[3]
        } else {
            &self.hosts[0]
        };
        holds_within(PATIENCE, || {
            let seen = last.so_far().ipv4();
            sent.iter().all(|sample| times(&seen, &sample.after(2)) > 0)
        });
    }

    pub(super) fn stop(self) -> Views {
        let [near, near_lan, far_lan, far] = self.hosts.map(|capture| capture.stop().ipv4());
        let [near_end, far_end] = self.tunnel.map(Tap::stop);
        Views {
            places: [near, near_lan, near_end, far_end, far_lan, far],
            wire: self.wire.stop().ipv4(),
            faults: Vec::new(),
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Views {
    places: [Vec<CapturedPacket>; 6],
    wire: Vec<CapturedPacket>,
    faults: Vec<String>,
}

impl Views {
    /// Notes every packet that some place has not seen exactly once, as it must look there.
    pub(super) fn judge(&mut self, lab: &Lab, from: Site, sent: &[Sample]) {
        for sample in sent {
            let mut note = |fault: String| {
                let name = format!("{} from {}", sample.name, from.name());
                self.faults.push(format!("{name}: {fault}"));
            };
            for ((place, hops), seen) in PLACES.into_iter().zip(&self.places) {
                let hops = if from == NEAR { hops } else { 2 - hops };
                let times = times(seen, &sample.after(hops));
                if times != 1 {
                    note(format!("{times} times at {place}"));
                }
            }
            let inner = sample.after(1);
            let outer = self.wire.iter();
            let times: usize = outer.map(|outer| count(&outer.bytes, &inner)).sum();
            if times != usize::from(!lab.encrypted) {
                note(format!("{times} times on the wire"));
            }
        }
        let clear = self.wire.iter().any(|outer| count(&outer.bytes, BODY) > 0);
        if clear == lab.encrypted {
            self.faults.push(format!("content in the clear: {clear}"));
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

/// How often `part` occurs in `whole`.
fn count(whole: &[u8], part: &[u8]) -> usize {
    whole
        .windows(part.len())
        .filter(|window| *window == part)
        .count()
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
        self.samctl.signal("INT");
        wait_until("samctl pcap ends", PATIENCE, || {
            self.samctl.exit_code().is_some()
        });
        self.packets.ipv4()
    }
}
