//! The host: kernel forwarding, capabilities, the TUN device.

use super::{Evidence, fail, pass, skip, warn};
use crate::view::CheckRow;

const AREA: &str = "host";
/// Smallest MTU that every IPv4 path of today carries and that IPv6 demands (RFC 8200 section 5).
const COMFORTABLE_MTU: u16 = 1280;
/// Port of BGP.
const BGP_PORT: u16 = 179;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    checks.push(ip_forward(evidence));
    capabilities(evidence, checks);
    checks.push(tun(evidence));
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
