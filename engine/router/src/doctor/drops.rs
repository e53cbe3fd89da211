//! Drops and full queues that say more than that somebody sent rubbish.

use super::{Evidence, listed, pass, skip, warn};
use crate::view::CheckRow;

const AREA: &str = "drops";

/// Reasons that point at a fault, with what to do. The others are ordinary life.
const TELLING: [(&str, &str); 19] = [
    (
        "source-not-allowed",
        "a host uses a source address that lives elsewhere: announce it here, or look for spoofing",
    ),
    (
        "forwarded-by-kernel",
        "net.ipv4.ip_forward is on: sysctl -w net.ipv4.conf.<lan>.forwarding=0",
    ),
    (
        "tunnel-no-session",
        "a tunnel has no session: see the tunnel checks",
    ),
    (
        "tunnel-no-endpoint",
        "a node's endpoint is unknown: configure it, or let the node call",
    ),
    (
        "wg-unknown-peer",
        "a router with an unknown key calls: compare fabric.nodes on both sides",
    ),
    (
        "wg-handshake-rejected",
        "keys or preshared keys of both sides differ, or a clock went backwards",
    ),
    (
        "wg-decrypt-failed",
        "packets are altered on the way, or two routers share one key",
    ),
    (
        "encap-unknown-source",
        "a router sends from another address than its endpoint, or a stranger does: compare fabric.nodes with `samctl pcap`",
    ),
    (
        "encap-from-inside",
        "a host of the LAN forges tunnel packets; if it is a router of yours, this router's route to it must lead out by that LAN too",
    ),
    (
        "encap-wrong-key",
        "the routers of a tunnel differ in key or vni: compare fabric.transport and fabric.pairs on both sides",
    ),
    (
        "encap-checksum",
        "packets are altered on the way: look for a device or driver that damages them",
    ),
    (
        "encap-malformed",
        "the routers of a tunnel differ in encap, variant or inner: compare fabric.transport and fabric.pairs on both sides",
    ),
    (
        "encap-missing",
        "the far router sends by WireGuard alone: compare fabric.transport and fabric.pairs on both sides",
    ),
    (
        "buffer-pool-empty",
        "more traffic than one worker takes: add workers",
    ),
    (
        "tx-queue-full",
        "more traffic than can be sent: look at the underlay",
    ),
    (
        "send-failed",
        "the kernel refuses to send: look at routes and firewall of the underlay",
    ),
    (
        "receive-overflow",
        "packets came faster than they were read: give the host more CPU, raise net.core.rmem_max",
    ),
    (
        "receive-truncated",
        "packets are larger than buffers: lower the MTU or switch LRO off",
    ),
    (
        "neighbor-failed",
        "an owned address does not answer ARP on the LAN: is the host up?",
    ),
];

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let drops = &evidence.facts.drops;
    if drops.is_empty() {
        checks.push(skip(AREA, "growing", "no counters were read"));
    } else {
        let growing = TELLING.iter().filter_map(|(reason, remedy)| {
            let drop = drops
                .iter()
                .find(|drop| drop.reason == *reason && drop.last_minute > 0)?;
            let count = drop.last_minute;
            let message = format!("{count} packets were dropped within a minute: {reason}");
            Some(
                warn(AREA, reason, message)
                    .detail(drop.text.clone())
                    .remedy(*remedy),
            )
        });
        let before = checks.len();
        checks.extend(growing);
        if checks.len() == before {
            checks.push(pass(
                AREA,
                "growing",
                "no drop counter grows that points at a fault",
            ));
        }
    }
    checks.push(queues(evidence));
}

fn queues(evidence: &Evidence<'_>) -> CheckRow {
    let full = evidence.facts.queues.iter().filter(|queue| queue.full > 0);
    let full: Vec<String> = full
        .map(|queue| {
            format!(
                "{} of {} entries: {} times",
                queue.name, queue.limit, queue.full
            )
        })
        .collect();
    if full.is_empty() {
        return pass(AREA, "queues", "no queue was ever full");
    }
    warn(AREA, "queues", "queues between threads were full")
        .detail(listed(full))
        .remedy("facts were lost: look for a flood on the LAN, or a starved host")
}
