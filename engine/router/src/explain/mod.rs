//! `samctl explain ADDRESS`: the seven questions of SAM, answered from live state, with the lines that show it.
//!
//! 1. Who owns the address by BGP best path? 2. Which transport carries it? 3. Where can its packets be seen?
//! 4. Did the FIB take it in? 5. What draws packets in? 6. What keeps stale actions from happening?
//! 7. What shows that nothing is rewritten?

mod arp;
mod claim;
mod drops;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::Router;
use crate::doctor::Evidence;
use crate::facts::Facts;
use crate::view::{
    CapturePlace, CaptureRow, CapturesView, ExplainView, ForeignAnswerRow, OwnerRow, PathMtu,
    QuestionRow, ROOM_REMEDY, RouteAction, RouteRow, TunnelRow,
};

/// What is known about the address in question.
#[derive(Debug)]
struct Subject<'a> {
    address: Ipv4Addr,
    /// Pool in whose prefix it lies.
    pool: Option<&'a str>,
    /// Whether the pool excludes it.
    excluded: bool,
    owner: Option<&'a OwnerRow>,
    route: Option<RouteRow>,
    tunnel: Option<&'a TunnelRow>,
}

/// Bytes of IPv4 and TCP headers without options.
const TCP_HEADERS: u16 = 40;

impl Router {
    /// `samctl explain ADDRESS`
    #[must_use]
    pub fn explain(&self, address: Ipv4Addr, facts: &Facts, now: Instant) -> ExplainView {
        let evidence = self.evidence(facts, now);
        let route = self
            .fib
            .lookup(address)
            .map(|(prefix, route)| self.route_row(prefix, route));
        let mut view = explain(&evidence, address, route);
        let rule = self.owner_rule(address);
        let line = format!("rule {} of 13, {}: {}", rule.number, rule.name, rule.text);
        if let Some(ownership) = view.questions.first_mut() {
            ownership.evidence.push(line);
            ownership.evidence.extend(self.claim_remark(address));
        }
        view
    }
}

/// Answers from evidence; `route` is the forwarding entry that a packet to the address takes.
fn explain(evidence: &Evidence<'_>, address: Ipv4Addr, route: Option<RouteRow>) -> ExplainView {
    let pool = evidence
        .config
        .fabric
        .pools
        .iter()
        .find(|pool| pool.prefix.contains(&address));
    let tunnel = route.as_ref().and_then(|route| route.tunnel);
    let owner = evidence
        .owners
        .owners
        .iter()
        .find(|row| row.address == address);
    // No entry leads into a refused tunnel; it is that of the owner, or of the overlay address itself.
    let is_refused = |row: &TunnelRow| {
        // BFD may have found it broken first: then its node only claims the address.
        let claims = owner.iter().flat_map(|row| &row.claims);
        let mut nodes = claims.map(|claim| &claim.node);
        row.fault.is_some() && (row.overlay == address || nodes.any(|node| *node == row.node))
    };
    let subject = Subject {
        address,
        pool: pool.map(|pool| pool.name.as_str()),
        excluded: pool.is_some_and(|pool| !pool.admits(address)),
        owner,
        tunnel: evidence
            .tunnels
            .tunnels
            .iter()
            .find(|row| Some(row.tunnel) == tunnel || is_refused(row)),
        route,
    };
    let arp = arp::verdict(evidence, &subject);
    let questions = vec![
        ownership(&subject),
        transport(evidence, &subject),
        visibility(evidence, &subject),
        forwarding(evidence, &subject),
        match evidence.captures.provider {
            Some(_) => cloud_capture(&evidence.captures, address),
            None => capture(evidence, &subject, arp.answered),
        },
        fencing(evidence, &subject),
        transparency(evidence),
    ];
    ExplainView {
        address,
        verdict: verdict(&subject),
        questions,
        mtu: subject.tunnel.map(|tunnel| path_mtu(evidence, tunnel)),
        arp,
        drops: drops::risks(evidence, &subject),
    }
}

fn verdict(subject: &Subject<'_>) -> String {
    let address = subject.address;
    let Some(route) = &subject.route else {
        return format!(
            "no route to {address}: packets are dropped, the sender gets ICMP unreachable"
        );
    };
    match route.action {
        RouteAction::Tunnel => {
            match (&route.node, subject.tunnel.is_some_and(|tunnel| tunnel.up)) {
                (Some(node), true) => format!(
                    "{address} lives at {}: packets go through the tunnel",
                    node.name
                ),
                (Some(node), false) => {
                    format!(
                        "{address} lives at {}, but the tunnel there has no session",
                        node.name
                    )
                }
                (None, _) => format!("{address} leads into a tunnel to nobody"),
            }
        }
        RouteAction::Lan => format!("{address} lives here, on the LAN"),
        RouteAction::Local => format!("{address} is delivered to this host"),
        RouteAction::Withhold => {
            let why = match claimants(subject).as_str() {
                "" => format!("nobody owns {address}"),
                names => match subject.tunnel.and_then(TunnelRow::fault_text) {
                    Some(fault) => {
                        format!("{address} lives at {names}, but the tunnel there is {fault}")
                    }
                    None => format!("{address} lives at {names}, which cannot be reached"),
                },
            };
            format!("{why}: packets are dropped, ARP stays silent")
        }
        RouteAction::Unreachable => match subject.tunnel {
            Some(tunnel) => format!(
                "{address} lives at {}, but the tunnel there is {}",
                tunnel.node.name,
                tunnel.fault_text().unwrap_or_default()
            ),
            None => format!("{address} is owned here, but the LAN is absent"),
        },
        RouteAction::Blackhole => format!("packets to {address} are dropped in silence"),
    }
}

fn ownership(subject: &Subject<'_>) -> QuestionRow {
    let row = |answer: String, evidence| {
        question(
            1,
            "Who owns the address by BGP best path?",
            answer,
            evidence,
        )
    };
    let Some(owned) = subject.owner else {
        let reason = match (subject.pool, subject.excluded) {
            (None, _) => "it lies in no pool".into(),
            (Some(pool), true) => format!("pool {pool} excludes it"),
            (Some(pool), false) => format!("it lies in pool {pool}, but no node announces it"),
        };
        return row(format!("nobody: {reason}"), Vec::new());
    };
    let claims = owned.claims.iter().map(|claim| {
        let best = if claim.best { "best" } else { "lost at" };
        let from = claim
            .from
            .as_ref()
            .map_or("here", |from| from.name.as_str());
        let decided = match &claim.ineligible {
            Some(reason) => format!("cannot be chosen: {reason}"),
            None => format!("{best}: {}", claim.step),
        };
        let told = if claim.stale {
            "stale, once told"
        } else {
            "told"
        };
        format!(
            "{} claims it: {}, {}, sequence {}, LOCAL_PREF {}, {told} by {from}; {decided}",
            claim.node.name, claim.state, claim.source, claim.sequence, claim.local_pref
        )
    });
    let evidence: Vec<String> = claims.collect();
    match &owned.owner {
        Some(owner) => {
            let since = owned.since_s.unwrap_or(0.0);
            row(
                format!("{} at site {}, for {since:.0} s", owner.name, owner.site),
                evidence,
            )
        }
        None if !owned.claims.is_empty() => row(
            format!("{}, which cannot be reached from here", claimants(subject)),
            evidence,
        ),
        None => row(
            "nobody: it is to be owned here, but is not announced".into(),
            evidence,
        ),
    }
}

/// Names the nodes that claim the address.
fn claimants(subject: &Subject<'_>) -> String {
    let claims = subject.owner.iter().flat_map(|row| &row.claims);
    let names: BTreeSet<&str> = claims.map(|claim| claim.node.name.as_str()).collect();
    names.into_iter().collect::<Vec<_>>().join(" or ")
}

fn transport(evidence: &Evidence<'_>, subject: &Subject<'_>) -> QuestionRow {
    let row = |answer: String, lines| {
        question(
            2,
            "Which transport carries BGP and the packets?",
            answer,
            lines,
        )
    };
    let Some(tunnel) = subject.tunnel else {
        return row(
            "none: the packets do not leave by a tunnel".into(),
            Vec::new(),
        );
    };
    let endpoint = tunnel
        .endpoint
        .map_or_else(|| "an unknown endpoint".into(), |to| to.to_string());
    let mtu = path_mtu(evidence, tunnel);
    let age = tunnel.last_handshake_s;
    let mut lines = if tunnel.encrypted {
        vec![age.map_or_else(
            || "no handshake yet".into(),
            |age| format!("last handshake {age:.0} s ago"),
        )]
    } else {
        vec!["neither encrypted nor authenticated: the underlay is trusted".into()]
    };
    lines.extend([
        format!(
            "received {} packets ({} bytes), sent {} packets ({} bytes)",
            tunnel.rx_packets, tunnel.rx_bytes, tunnel.tx_packets, tunnel.tx_bytes
        ),
        mtu_text(tunnel),
        mss_text(&mtu),
        format!(
            "BGP uses the same tunnel, between the overlay addresses {} and {}",
            evidence.config.own_node().overlay,
            tunnel.overlay
        ),
    ]);
    let name = tunnel.encap.to_uppercase().replace("OVER", "over");
    let name = name.replace("WIREGUARD", "WireGuard");
    let down = if tunnel.encrypted {
        "without session"
    } else {
        "without endpoint"
    };
    let state = match &tunnel.fault {
        Some(_) => "refused",
        None if tunnel.up => "up",
        None => down,
    };
    lines.extend(tunnel.fault_text());
    row(format!("{name} to {endpoint}, {state}"), lines)
}

/// Says what becomes of the MSS of SYNs, and by what.
fn mss_text(mtu: &PathMtu) -> String {
    let Some(mss) = mtu.tcp_mss else {
        return "TCP MSS is left as it is".into();
    };
    let by = if mtu.lan.is_some_and(|lan| lan < mtu.tunnel) {
        "LAN MTU"
    } else {
        "inner MTU"
    };
    format!("TCP MSS is lowered to {mss} ({by} - {TCP_HEADERS})")
}

fn visibility(evidence: &Evidence<'_>, subject: &Subject<'_>) -> QuestionRow {
    let mut lines = Vec::new();
    if let Some(interface) = &evidence.arp.interface {
        lines.push(format!("inner, with Ethernet header: {interface}"));
    }
    if let Some(tunnel) = subject.tunnel {
        lines.push(format!(
            "inner, before encryption: inner:{}",
            tunnel.node.name
        ));
        if let Some(endpoint) = tunnel.endpoint {
            let (host, port) = (endpoint.ip(), endpoint.port());
            lines.push(format!(
                "outer: outer (elsewhere: udp port {port} and host {host})"
            ));
        }
    }
    lines.push(format!(
        "to and from this host: {}",
        evidence.config.local.tun
    ));
    let answer = format!("at {} interfaces of `samctl pcap`", lines.len());
    question(3, "Where can its packets be seen?", answer, lines)
}

fn forwarding(evidence: &Evidence<'_>, subject: &Subject<'_>) -> QuestionRow {
    let row =
        |answer: String, lines| question(4, "Did the forwarding table take it in?", answer, lines);
    let generation = evidence.routes.generation;
    let mut lines = vec![format!("published generation {generation}")];
    lines.extend(evidence.facts.workers.iter().map(|worker| {
        format!(
            "worker {} forwards by generation {}",
            worker.worker, worker.generation
        )
    }));
    match &subject.route {
        None => row("no: there is no entry".into(), lines),
        Some(route) => {
            let to = route
                .node
                .as_ref()
                .map_or(String::new(), |node| format!(" to {}", node.name));
            let answer = format!(
                "{}: {}{to}, because of {}",
                route.prefix,
                route.action.name(),
                route.origin.name()
            );
            row(answer, lines)
        }
    }
}

fn capture(evidence: &Evidence<'_>, subject: &Subject<'_>, answered: bool) -> QuestionRow {
    let mut lines = match &evidence.arp.interface {
        None => Vec::new(),
        Some(interface) => {
            let gate = if evidence.arp.gate_open {
                "open"
            } else {
                "closed"
            };
            vec![format!(
                "gate on {interface} is {gate}: {}",
                evidence.arp.gate_reason
            )]
        }
    };
    let others = evidence.arp.foreign_answers.iter();
    let others = others.filter(|row| row.address == subject.address);
    lines.extend(others.map(ForeignAnswerRow::text));
    let split = evidence.vrrp.iter().flat_map(|view| &view.split_brain);
    lines.extend(split.map(|row| format!("two masters {:.0} s ago: {}", row.last_s, row.verdict)));
    let answer = match (&evidence.arp.interface, answered, subject.owner) {
        (None, _, _) => "nothing: capture is off".into(),
        (Some(interface), true, _) => format!("proxy ARP on {interface}"),
        (Some(_), false, Some(row)) if row.local => {
            "nothing: the host itself answers on the LAN".into()
        }
        (Some(_), false, _) => "nothing: this router does not answer ARP for it (see `arp`)".into(),
    };
    question(5, "What draws packets in here?", answer, lines)
}

/// In a cloud packets come to the network interface that has the address.
fn cloud_capture(view: &CapturesView, address: Ipv4Addr) -> QuestionRow {
    let row = view.captures.iter().find(|row| row.address == address);
    let (mode, provider) = (view.mode.as_deref(), view.provider.as_deref());
    let mut lines = vec![format!(
        "mode {} at {}",
        mode.unwrap_or_default(),
        provider.unwrap_or_default()
    )];
    lines.extend(view.failure.clone());
    let answer = match row {
        None => "nothing: no route says that it lives elsewhere".into(),
        Some(row) => {
            let holder = row.holder.as_ref();
            let holder = holder.map_or_else(|| "nobody known".to_owned(), ToString::to_string);
            lines.push(format!("want {}: {}", row.want, row.why));
            lines.push(format!("held by {holder}"));
            lines.extend(placement(row));
            match row.state.as_str() {
                "held" => "its entry on our network interface".into(),
                state => format!("nothing here: it is {state}"),
            }
        }
    };
    question(5, "What draws packets in here?", answer, lines)
}

/// Which router of the site is to capture it, and by which rule.
fn placement(row: &CaptureRow) -> Option<String> {
    match &row.place {
        Some(CapturePlace { node, rule, why }) => {
            let node = &node.name;
            Some(format!("to be captured by {node}, rule {rule}: {why}"))
        }
        None if row.state == "no-room" => Some(format!("no room: {ROOM_REMEDY}")),
        None => None,
    }
}

fn fencing(evidence: &Evidence<'_>, subject: &Subject<'_>) -> QuestionRow {
    let mut lines = vec![format!(
        "answers and routes come from one snapshot, generation {}",
        evidence.routes.generation
    )];
    lines.push(match evidence.captures.provider {
        Some(_) => "a change at the provider is sent only while owner, next hop and sequence are those it rests on".into(),
        None => "no provider is called: capture is on a LAN, or off".into(),
    });
    lines.extend(
        subject
            .owner
            .iter()
            .flat_map(|row| &row.claims)
            .map(|claim| format!("{} holds sequence {}", claim.node.name, claim.sequence)),
    );
    let answer = match subject.owner.and_then(|row| row.sequence) {
        Some(sequence) => format!(
            "the owner's claim has sequence {sequence}; each acquisition takes a higher one"
        ),
        None => "there is no claim to act on".into(),
    };
    question(6, "What keeps stale actions from happening?", answer, lines)
}

fn transparency(evidence: &Evidence<'_>) -> QuestionRow {
    let drop = evidence
        .facts
        .drops
        .iter()
        .find(|drop| drop.reason == "source-not-allowed");
    let mut lines = vec![
        "the forwarder has no code that rewrites an address or a port".into(),
        "each source must lead back to where the packet came from".into(),
    ];
    lines
        .extend(drop.map(|drop| format!("source-not-allowed: {} dropped since start", drop.total)));
    lines.push("compare a capture on both LANs: only the TTL differs, by one per router".into());
    question(
        7,
        "What shows that nothing is rewritten?",
        "there is no NAT; sources are kept and checked",
        lines,
    )
}

/// Writes the MTU as a sum.
fn mtu_text(tunnel: &TunnelRow) -> String {
    let (underlay, overhead, mtu) = (tunnel.underlay_mtu, tunnel.overhead, tunnel.mtu);
    let missing = tunnel.path_mtu.and_then(|path| underlay.checked_sub(path));
    match (missing, tunnel.path_mtu_text()) {
        (Some(missing), Some(text)) => format!(
            "MTU: underlay {underlay} - learnt {missing} - overhead {overhead} = inner {mtu}; {text}"
        ),
        _ => format!("MTU: underlay {underlay} - overhead {overhead} = inner {mtu}"),
    }
}

fn path_mtu(evidence: &Evidence<'_>, tunnel: &TunnelRow) -> PathMtu {
    let clamp = evidence.config.transport_to(tunnel.node.id).mss_clamp;
    let lan = evidence.facts.host.lan.as_ref().map(|lan| lan.mtu);
    let fits = lan.map_or(tunnel.mtu, |lan| lan.min(tunnel.mtu));
    PathMtu {
        underlay: tunnel.underlay_mtu,
        path: tunnel.path_mtu,
        overhead: tunnel.overhead,
        tunnel: tunnel.mtu,
        lan,
        tcp_mss: clamp.then(|| fits.saturating_sub(TCP_HEADERS)),
    }
}

fn question(
    number: u8,
    question: &str,
    answer: impl Into<String>,
    evidence: Vec<String>,
) -> QuestionRow {
    QuestionRow {
        number,
        question: question.into(),
        answer: answer.into(),
        evidence,
    }
}
