//! What the clients at both ends of a tunnel exchange: sizes around the MTU, and streams whose every byte is compared.

use std::time::Duration;

use sam_testkit::netns::{GATEWAY, Site, sh};

use super::site::{KERNEL, KernelSite};
use crate::bulk;
use crate::case::wait_for_ping;

/// IPv4 and ICMP headers of an echo request.
const HEADERS: usize = 28;
/// A datagram is sent no more often.
const TRIES: u8 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything, from both ends. `bytes` go each way.
///
/// Both forward as far as `mtu`, and tell a sender of more what fits; what may be fragmented arrives at any size.
pub(super) fn everything(world: &KernelSite, near: Site, mtu: usize, bytes: usize) {
    let topology = &world.fabric.topology;
    for (from, to) in [(near, KERNEL), (KERNEL, near)] {
        let (client, far) = (topology.client(from), to.client());
        let ping = |discovery: &str, size: usize| {
            let size = size - HEADERS;
            sh(
                client,
                &format!("ping -n -c 1 -W 5 -M {discovery} -s {size} {far}"),
            )
        };
        wait_for_ping(client, far, PATIENCE);
        // An exchange before may have told it, or less.
        sh(client, "ip route flush cache").success();
        for size in [HEADERS, mtu - 1, mtu] {
            ping("do", size).success();
        }
        let refused = ping("do", mtu + 1);
        let expected = format!("From {GATEWAY} icmp_seq=1 Frag needed and DF set (mtu = {mtu})");
        assert!(refused.text().contains(&expected), "{}", refused.text());
        // Forgets what it was told, so that the routers cut and not the sender.
        sh(client, "ip route flush cache").success();
        for size in [mtu + 1, 3000] {
            ping("dont", size).success();
        }
        bulk::tcp(client, topology.client(to), far, 2, bytes / 2);
        let sizes = [1, 512, 1400, 4000];
        bulk::udp_in_tries(client, topology.client(to), far, &sizes, TRIES);
    }
}

/// Both clients reach each other.
pub(super) fn pings(world: &KernelSite, near: Site) {
    let topology = &world.fabric.topology;
    wait_for_ping(topology.client(near), KERNEL.client(), PATIENCE);
    wait_for_ping(topology.client(KERNEL), near.client(), PATIENCE);
}

/// Datagrams in both directions, one after the other: each arrives, however late.
pub(super) fn nothing_is_lost(world: &KernelSite, near: Site) {
    let topology = &world.fabric.topology;
    for (from, to) in [(near, KERNEL), (KERNEL, near)] {
        bulk::udp(
            topology.client(from),
            topology.client(to),
            to.client(),
            &[64; 5],
        );
    }
}

/// Neither client reaches the other.
pub(super) fn silence(world: &KernelSite, near: Site) {
    let topology = &world.fabric.topology;
    for (from, to) in [(near, KERNEL), (KERNEL, near)] {
        let command = format!("ping -n -c 2 -i 0.2 -W 1 {}", to.client());
        let outcome = sh(topology.client(from), &command);
        assert_ne!(outcome.code, 0, "answered: {}", outcome.text());
    }
}
