//! Jumbo frames on both LANs, 1500 bytes between the routers: TCP never notices, what must not be cut is refused with
//! the size that fits, the rest is cut.

use sam_testkit::netns::{Capture, Site};

use super::lab::{FAR, Lab, NEAR};
use super::sizes::{HEADERS, ping, too_big};
use crate::bulk;

/// MTU of the LANs.
const JUMBO: u32 = 9000;
/// Bytes that are enough for a sender to use the largest frames.
const BULK: usize = 8 << 20;

/// Runs last, for the LANs stay as they are.
pub(super) fn check(lab: &Lab) {
    for site in [NEAR, FAR] {
        lab.fabric.topology.set_lan_mtu(site, JUMBO);
    }
    lab.twice(|_| {
        for (from, to) in [(NEAR, FAR), (FAR, NEAR)] {
            refused(lab, from, to);
            cut(lab, from, to);
            bulk::tcp(lab.client(from), lab.client(to), to.client(), 1, BULK);
        }
    });
}

fn refused(lab: &Lab, from: Site, to: Site) {
    lab.forget();
    let text = ping(lab, from, to, &format!("-M do -s {}", whole())).text();
    assert!(text.contains(&too_big(lab)), "{text}");
    let fits = lab.mtu - HEADERS;
    ping(lab, from, to, &format!("-M do -s {fits}")).success();
}

fn cut(lab: &Lab, from: Site, to: Site) {
    lab.forget();
    let filter = format!("icmp and src host {}", from.client());
    let before = Capture::start(lab.client(from), "eth0", &filter, &lab.path("whole.pcap"));
    let after = Capture::start(lab.client(to), "eth0", &filter, &lab.path("pieces.pcap"));

    ping(lab, from, to, &format!("-M dont -s {}", whole())).success();

    let sizes = |capture: Capture| -> Vec<usize> {
        let packets = capture.stop().ipv4();
        packets.iter().map(|packet| packet.bytes.len()).collect()
    };
    let (sent, arrived) = (sizes(before), sizes(after));
    assert!(
        sent.contains(&(JUMBO as usize)),
        "not sent in one frame: {sent:?}"
    );
    assert!(arrived.iter().all(|size| *size <= lab.mtu), "{arrived:?}");
}

/// Bytes of an echo request that fills a frame.
fn whole() -> usize {
    JUMBO as usize - HEADERS
}
