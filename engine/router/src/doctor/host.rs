//! The host: kernel forwarding, capabilities, the TUN device, what the kernel does not do for the packet path.

use super::{Evidence, fail, kernel_tunnel, pass, skip, warn};
use crate::facts::WorkerFacts;
use crate::view::CheckRow;

pub(super) const AREA: &str = "host";
/// Smallest MTU that every IPv4 path of today carries and that IPv6 demands (RFC 8200 section 5).
const COMFORTABLE_MTU: u16 = 1280;
/// Port of BGP.
const BGP_PORT: u16 = 179;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    checks.push(ip_forward(evidence));
    capabilities(evidence, checks);
    checks.push(tun(evidence));
    checks.push(offloads(evidence));
    checks.push(shares(evidence));
    checks.push(kernel_tunnel::check(evidence));
}

/// A kernel that forwards delivers a second copy of every packet, or sends redirects (data-plane.md section 8).
fn ip_forward(evidence: &Evidence<'_>) -> CheckRow {
    let host = &evidence.facts.host;
    let on_lan = host.lan.as_ref().and_then(|lan| lan.forwarding);
    match (evidence.arp.interface.as_deref(), host.ip_forward, on_lan) {
        (None, _, _) => skip(AREA, "ip-forward", "capture is off, nothing is drawn in"),
        (Some(_), Some(false), _) => pass(AREA, "ip-forward", "the kernel does not forward"),
        (Some(lan), _, Some(false)) => pass(
            AREA,
            "ip-forward",
            format!("the kernel does not forward from {lan}"),
        ),
        (Some(lan), Some(true), _) => warn(
            AREA,
            "ip-forward",
            format!("the kernel forwards packets from {lan} as well"),
        )
        .detail("packets can arrive twice, and hosts can get ICMP redirects")
        .remedy(format!("sysctl -w net.ipv4.conf.{lan}.forwarding=0")),
        (Some(_), None, _) => skip(AREA, "ip-forward", "net.ipv4.ip_forward could not be read"),
    }
}

fn capabilities(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let host = &evidence.facts.host;
    let low_port = host
        .unprivileged_port_start
        .is_none_or(|start| start > BGP_PORT);
    let needed = [
        (
            "CAP_NET_ADMIN",
            true,
            "to create the TUN device and its routes",
        ),
        (
            "CAP_NET_RAW",
            evidence.arp.interface.is_some(),
            "to send and receive frames on the LAN",
        ),
        (
            "CAP_NET_BIND_SERVICE",
            low_port,
            "to listen on port 179 for BGP",
        ),
    ];
    for (capability, needed, purpose) in needed {
        let name = capability.to_lowercase().replace('_', "-");
        checks.push(match &host.capabilities {
            _ if !needed => skip(AREA, &name, format!("{capability} is not needed here")),
            None => skip(AREA, &name, "capabilities could not be read"),
            Some(held) if held.iter().any(|held| held == capability) => {
                pass(AREA, &name, format!("{capability} is held"))
            }
            Some(_) => fail(
                AREA,
                &name,
                format!("{capability} is missing, it is needed {purpose}"),
            )
            .remedy(format!(
                "systemd: AmbientCapabilities={capability}; container: --cap-add={}",
                capability.trim_start_matches("CAP_")
            )),
        });
    }
}

fn tun(evidence: &Evidence<'_>) -> CheckRow {
    let name = &evidence.config.local.tun;
    let overlay = evidence.config.own_node().overlay;
    let Some(tun) = &evidence.facts.host.tun else {
        return fail(AREA, "tun", format!("the TUN device {name} does not exist"))
            .remedy("/dev/net/tun must exist and be writable; container: --device /dev/net/tun");
    };
    if !tun.up {
        return fail(AREA, "tun", format!("the TUN device {name} is down"))
            .remedy(format!("ip link set {name} up"));
    }
    if !tun.addresses.contains(&overlay) {
        return fail(
            AREA,
            "tun",
            format!("{name} does not carry the overlay address {overlay}"),
        )
        .detail("BGP sessions start from it")
        .remedy(format!("ip address add {overlay}/32 dev {name}"));
    }
    if tun.mtu < COMFORTABLE_MTU {
        return warn(
            AREA,
            "tun",
            format!("{name} has an MTU of {} bytes only", tun.mtu),
        )
        .remedy(format!("ip link set {name} mtu 1420"));
    }
    pass(
        AREA,
        "tun",
        format!("{name} is up with {overlay}, MTU {}", tun.mtu),
    )
}

/// What the kernel refuses is done packet by packet.
fn offloads(evidence: &Evidence<'_>) -> CheckRow {
    let workers = &evidence.facts.workers;
    if workers.is_empty() {
        return skip(AREA, "offloads", "no packet worker runs");
    }
    let wanted = evidence.config.local.offloads;
    let both = wanted
        .list()
        .into_iter()
        .zip(wanted.in_force(workers).list());
    let refused = both.filter(|((_, wanted), (_, on))| *wanted && !on);
    let refused: Vec<&str> = refused.map(|((name, _), _)| name).collect();
    if refused.is_empty() {
        return pass(AREA, "offloads", "all that are switched on are in force");
    }
    warn(
        AREA,
        "offloads",
        format!("the kernel refuses {}", refused.join(", ")),
    )
    .detail("everything is forwarded all the same, packet by packet, which is slower")
    .remedy(format!(
        "a newer kernel, or `self.offloads: {{{}}}` where that is as it should be",
        refused
            .iter()
            .map(|name| format!("{name}: false"))
            .collect::<Vec<_>>()
            .join(", ")
    ))
}

/// Without a fanout group or TUN queues one worker receives for all.
fn shares(evidence: &Evidence<'_>) -> CheckRow {
    type Receives = fn(&WorkerFacts) -> bool;
    let workers = &evidence.facts.workers;
    if workers.is_empty() {
        return skip(AREA, "shares", "no packet worker runs");
    }
    let tun = &evidence.config.local.tun;
    let sources: [(&str, String, Receives); 2] = [
        (
            "the LAN",
            "a kernel that lets packet sockets share (PACKET_FANOUT)".to_owned(),
            |worker| worker.receives_lan,
        ),
        (
            "this host",
            format!("`ip link delete {tun}` and a restart: it was made with fewer queues"),
            |worker| worker.receives_host,
        ),
    ];
    for (source, remedy, receives) in sources {
        let count = workers.iter().filter(|worker| receives(worker)).count();
        if count < workers.len() {
            let all = workers.len();
            return warn(
                AREA,
                "shares",
                format!("{count} of {all} workers receive from {source}"),
            )
            .detail("what comes from there uses fewer cores than there are")
            .remedy(format!("{remedy}; or `self.workers: {count}`"));
        }
    }
    pass(
        AREA,
        "shares",
        "each worker has its share of what is received",
    )
}
