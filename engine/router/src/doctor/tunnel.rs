//! The ways to the other nodes: handshakes and MTU.

use super::{Evidence, away, fail, pass, result, skip, warn};
use crate::view::{CheckRow, CheckStatus, TunnelRow};

const AREA: &str = "tunnel";
/// Below this many bytes, ordinary applications meet surprises (RFC 8200 section 5 demands it of IPv6).
const COMFORTABLE_MTU: u16 = 1280;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    if evidence.tunnels.tunnels.is_empty() {
        checks.push(skip(AREA, "handshake", "no other node is configured"));
    }
    let isolated = !evidence.tunnels.tunnels.iter().any(|tunnel| tunnel.up);
    for tunnel in &evidence.tunnels.tunnels {
        checks.push(handshake(evidence, tunnel, away(isolated)));
        checks.push(mtu(evidence, tunnel));
    }
}

fn handshake(evidence: &Evidence<'_>, tunnel: &TunnelRow, down: CheckStatus) -> CheckRow {
    let node = &tunnel.node.name;
    let name = format!("handshake-{node}");
    if let Some(text) = tunnel.fault_text() {
        let tun = &evidence.config.local.tun;
        let endpoint = tunnel
            .endpoint
            .map_or_else(String::new, |to| to.ip().to_string());
        return fail(AREA, &name, format!("the tunnel to {node} is {text}"))
            .detail("what it sends would come back to be sent by it again; nothing is forwarded by it")
            .remedy(format!(
                "`ip route get {endpoint}` must not say `dev {tun}`: remove that route, or add a narrower one to the underlay"
            ));
    }
    if tunnel.up && !tunnel.encrypted {
        let message = format!("the tunnel to {node} needs no handshake ({})", tunnel.encap);
        return pass(AREA, &name, message);
    }
    if tunnel.up {
        let age = tunnel
            .last_handshake_s
            .map_or_else(|| "an unknown time".into(), |age| format!("{age:.0} s"));
        return pass(
            AREA,
            &name,
            format!("the tunnel to {node} is up, last handshake {age} ago"),
        );
    }
    let Some(endpoint) = tunnel.endpoint else {
        let remedy = match &tunnel.configured_endpoint {
            Some(name) => format!("{name} does not resolve: check the name and the resolver"),
            None => format!("{node} has no endpoint and must call us: start it there"),
        };
        let message = format!("the tunnel to {node} has no session and no endpoint");
        return result(AREA, &name, down, message).remedy(remedy);
    };
    let message = format!("the tunnel to {node} has no session");
    result(AREA, &name, down, message)
        .detail(format!(
            "{} unanswered attempts to {endpoint}",
            tunnel.attempts
        ))
        .remedy(format!(
            "check that UDP reaches {endpoint} and comes back to port {}, and that both keys match",
            evidence.tunnels.listen_port
        ))
}

fn mtu(evidence: &Evidence<'_>, tunnel: &TunnelRow) -> CheckRow {
    let node = &tunnel.node.name;
    let name = format!("mtu-{node}");
    let needed = u32::from(tunnel.mtu) + u32::from(tunnel.overhead);
    let learnt = tunnel
        .path_mtu_text()
        .map_or_else(String::new, |text| format!("; {text}"));
    let sum = format!(
        "{} inner + {} overhead = {needed} bytes, underlay {}{learnt}",
        tunnel.mtu, tunnel.overhead, tunnel.underlay_mtu
    );
    if needed > u32::from(tunnel.underlay_mtu) {
        return fail(
            AREA,
            &name,
            format!("packets to {node} do not fit the underlay"),
        )
        .detail(sum)
        .remedy("set fabric.transport.mtu to auto, or to a smaller number");
    }
    if tunnel.mtu < COMFORTABLE_MTU {
        return warn(
            AREA,
            &name,
            format!("the tunnel to {node} carries {} bytes only", tunnel.mtu),
        )
        .detail(sum)
        .remedy("raise the underlay MTU or fabric.transport.mtu");
    }
    let lan_mtu = evidence.facts.host.lan.as_ref().map(|lan| lan.mtu);
    if !evidence.config.transport_to(tunnel.node.id).mss_clamp
        && lan_mtu.is_some_and(|lan| lan > tunnel.mtu)
    {
        return warn(
            AREA,
            &name,
            format!("TCP to {node} depends on ICMP fragmentation needed"),
        )
        .detail(sum)
        .remedy("set fabric.transport.mssClamp to true");
    }
    pass(AREA, &name, sum)
}
