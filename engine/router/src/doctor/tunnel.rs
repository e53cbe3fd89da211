//! The ways to the other nodes: handshakes and MTU.

use super::{Evidence, away, fail, listed, pass, result, skip, warn};
use crate::view::{BfdView, CheckRow, CheckStatus, TunnelRow};

const AREA: &str = "tunnel";
/// Below this many bytes, ordinary applications meet surprises (RFC 8200 section 5 demands it of IPv6).
const COMFORTABLE_MTU: u16 = 1280;

/// More failures of a path in ten minutes are too many.
const FLAPS: usize = 3;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    if evidence.tunnels.tunnels.is_empty() {
        checks.push(skip(AREA, "handshake", "no other node is configured"));
    }
    let isolated = !evidence.tunnels.tunnels.iter().any(|tunnel| tunnel.up);
    for tunnel in &evidence.tunnels.tunnels {
        checks.push(handshake(evidence, tunnel, away(isolated)));
        checks.push(mtu(evidence, tunnel));
        checks.extend(delivery(tunnel));
    }
    checks.push(bfd(evidence));
    checks.extend(evidence.bfd.as_ref().and_then(bfd_outside));
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
    if !tunnel.encrypted {
        return without_session(evidence, tunnel, &name, down);
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

/// A tunnel without encryption is there when the far end has an address; whether it carries packets is BFD's to say.
fn without_session(
    evidence: &Evidence<'_>,
    tunnel: &TunnelRow,
    name: &str,
    down: CheckStatus,
) -> CheckRow {
    let (node, encap) = (&tunnel.node.name, &tunnel.encap);
    let Some(endpoint) = tunnel.endpoint.filter(|_| tunnel.up) else {
        let configured = tunnel
            .configured_endpoint
            .as_deref()
            .unwrap_or("its endpoint");
        let message = format!("the tunnel to {node} has no endpoint");
        return result(AREA, name, down, message).remedy(format!(
            "{configured} does not resolve: check the name and the resolver"
        ));
    };
    let mut sessions = evidence.bfd.iter().flat_map(|view| &view.sessions);
    if sessions.any(|row| row.node == tunnel.node && !row.session.is_up()) {
        let far = endpoint.ip();
        let message = format!("nothing comes by the tunnel to {node} ({encap})");
        return result(AREA, name, down, message)
            .detail(format!("BFD does not hear {node} at {far}"))
            .remedy(format!(
                "check that {encap} passes to {far} and back, that fabric.transport is the same there, and that it sends \
                 from its endpoint; `samctl counters` shows encap- reasons of what is refused"
            ));
    }
    let message = format!("the tunnel to {node} needs no handshake ({encap})");
    pass(AREA, name, message)
}

/// What the underlay says about packets that it does not deliver; it may be wrong, or lie.
fn delivery(tunnel: &TunnelRow) -> Option<CheckRow> {
    let (node, said) = (&tunnel.node.name, tunnel.complaint()?);
    let told = if said.senders_told {
        "hosts that send there are told"
    } else {
        "hosts are not told"
    };
    let (count, age) = (said.count, said.last_s);
    let by = said
        .by
        .map_or_else(|| "the underlay".into(), |by| by.to_string());
    let to = tunnel
        .endpoint
        .map_or_else(|| node.clone(), |to| to.ip().to_string());
    let encap = &tunnel.encap;
    let remedy = match said.reason.as_str() {
        "port-unreachable" | "protocol-unreachable" => format!(
            "see that samctl runs at {to} with {encap} and that no firewall there rejects it"
        ),
        "prohibited" => format!("have {by} let {encap} to {to} pass"),
        "time-exceeded" => {
            format!("routes to {to} go round in a loop: `traceroute {to}` shows where")
        }
        "net-unreachable" | "host-unreachable" => format!("mend the route to {to} at {by}"),
        _ => format!("see what {by} does to the header of packets to {to}"),
    };
    let row = warn(AREA, &format!("delivery-{node}"), said.text(node))
        .detail(format!(
            "{count} times in a row, {age:.0} s ago; the tunnel is used all the same, {told}"
        ))
        .remedy(remedy);
    Some(row)
}

/// BFD that goes up and down: too fast for the host or the path, or the path is bad.
fn bfd(evidence: &Evidence<'_>) -> CheckRow {
    const NAME: &str = "bfd";
    let Some(view) = &evidence.bfd else {
        return skip(AREA, NAME, "BFD is off");
    };
    if view.interval_ms.is_none() {
        return skip(AREA, NAME, "BFD between nodes is off");
    }
    let is_unknown = view.silent && view.sessions.is_empty();
    if view.scheduling.is_empty() || is_unknown {
        return skip(AREA, NAME, "how BFD is could not be read");
    }
    let rows = view.sessions.iter();
    let flapping: Vec<String> = rows
        .clone()
        .filter(|row| row.flaps > FLAPS)
        .map(|row| format!("{}: {} times", row.node.name, row.flaps))
        .collect();
    if !flapping.is_empty() {
        return warn(
            AREA,
            NAME,
            "BFD found paths broken again and again in ten minutes",
        )
        .detail(listed(flapping))
        .remedy("mend the path, or set fabric.bfd to a slower profile, such as wan");
    }
    let broken: Vec<String> = rows
        .clone()
        .filter(|row| row.next_hop.as_deref() == Some("unreachable"))
        .map(|row| row.node.name.clone())
        .collect();
    if !broken.is_empty() {
        return warn(
            AREA,
            NAME,
            "BFD found paths broken; routes by them are not used",
        )
        .detail(listed(broken))
        .remedy("`samctl bfd` shows when and why; `samctl test` tries the paths");
    }
    if view.sessions.is_empty() && !evidence.tunnels.tunnels.is_empty() {
        return warn(AREA, NAME, format!("BFD {}", view.scheduling)).remedy(
            "free UDP port 3784 of the overlay address, or set fabric.bfd to the profile none",
        );
    }
    let up = rows.filter(|row| row.session.is_up()).count();
    let message = format!("BFD is up with {up} of {} nodes", view.sessions.len());
    pass(AREA, NAME, message).detail(format!("scheduling: {}", view.scheduling))
}

/// BFD with neighbors outside of the fabric; `None` when none is watched.
fn bfd_outside(view: &BfdView) -> Option<CheckRow> {
    const NAME: &str = "bfd-neighbors";
    let down = view.neighbors.iter().filter(|row| !row.session.is_up());
    let down = down.map(|row| format!("{}: {}", row.node.name, row.session.state));
    let missing = view.without_session.iter();
    let missing = missing.map(|node| format!("{}: no session", node.name));
    let faults: Vec<String> = down.chain(missing).collect();
    if !faults.is_empty() {
        let message = "BFD is not up with neighbors outside of the fabric";
        let row = warn(AREA, NAME, message).detail(listed(faults));
        return Some(row.remedy(
            "see that they speak BFD with `localAddress`, and that no other program has its UDP port 3784, or 4784 over \
             several hops; `samctl bfd` shows when and why",
        ));
    }
    let up = view.neighbors.len();
    (up > 0).then(|| pass(AREA, NAME, format!("BFD is up with {up} neighbors")))
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
