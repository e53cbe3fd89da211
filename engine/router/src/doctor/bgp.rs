//! BGP: sessions, refused routes, and nodes that are not who they say.

use sam_bgp::is_near_limit;
use sam_capture::IDENTITY_REASONS;

use super::{Evidence, away, fail, listed, pass, result, skip, warn};
use crate::graceful_shutdown::BY_ORDER;
use crate::view::{CheckRow, NeighborSummary};

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    if evidence.neighbors.neighbors.is_empty() {
        checks.push(skip("bgp", "session", "no BGP peer is configured"));
    }
    let neighbors = &evidence.neighbors.neighbors;
    let (foreign, nodes): (Vec<_>, Vec<_>) = neighbors.iter().partition(|it| is_foreign(it));
    let isolated = !nodes.iter().any(|neighbor| is_up(neighbor));
    checks.extend(nodes.iter().map(|neighbor| session(neighbor, isolated)));
    checks.extend(foreign.iter().map(|neighbor| session(neighbor, false)));
    checks.extend(neighbors.iter().filter_map(near_limit));
    checks.extend(leaving(evidence.neighbors.graceful_shutdown.as_deref()));
    checks.push(rejections(evidence));
    checks.push(foreign_identity(evidence));
    checks.push(conflicts(evidence));
}

/// A router that neighbors are to avoid should not be avoided longer than intended; a drained one is warned of by itself.
fn leaving(why: Option<&str>) -> Option<CheckRow> {
    (why == Some(BY_ORDER)).then(|| {
        let message = "neighbors of other ASes are asked to use other ways";
        warn("bgp", "graceful-shutdown", message)
            .remedy("`samctl bgp graceful-shutdown off` when the work is done")
    })
}

fn is_up(neighbor: &NeighborSummary) -> bool {
    neighbor.state == "established"
}

fn is_foreign(neighbor: &NeighborSummary) -> bool {
    neighbor.role == "external"
}

fn session(neighbor: &NeighborSummary, isolated: bool) -> CheckRow {
    let node = &neighbor.node.name;
    let name = format!("session-{node}");
    if is_up(neighbor) {
        let message = format!(
            "the session with {node} is up, {} routes accepted",
            neighbor.accepted
        );
        if let Some(lack) = &neighbor.degraded {
            return warn(
                "bgp",
                &name,
                format!("degraded: {lack}: {message}"),
            )
            .detail("only the best path to each address is told there: who loses it waits for BGP")
            .remedy(format!(
                "update {node}, or enable add-path (RFC 7911), receive and send, in its BGP program"
            ));
        }
        return pass("bgp", &name, message);
    }
    if neighbor.disabled {
        let message = format!("the session with {node} is disabled by order");
        return result("bgp", &name, away(isolated), message).remedy(format!(
            "`samctl bgp neighbor {node} enable` when the work is done"
        ));
    }
    let down = result(
        "bgp",
        &name,
        away(isolated),
        format!(
            "the session with {node} is {}{}",
            neighbor.state,
            kept(neighbor)
        ),
    )
    .remedy(if is_foreign(neighbor) {
        format!(
            "`samctl bgp neighbor {node}`, then address, AS number, hop limit and key on both sides"
        )
    } else {
        format!("first the tunnel to {node}, then `samctl bgp neighbor {node}`")
    });
    match &neighbor.last_down {
        Some(reason) => down.detail(format!("last down: {reason}")),
        None => down,
    }
}

/// Three quarters of what is accepted are reached in some family.
fn near_limit(neighbor: &NeighborSummary) -> Option<CheckRow> {
    let limit = neighbor.max_prefixes?;
    let ipv6 = neighbor.ipv6.as_ref().map_or(0, |ipv6| ipv6.accepted);
    let accepted = neighbor.accepted.max(ipv6);
    is_near_limit(accepted, limit).then(|| {
        let node = &neighbor.node.name;
        let message = format!("{accepted} of at most {limit} routes are accepted from {node}");
        warn("bgp", &format!("max-prefixes-{node}"), message)
            .detail("beyond the limit routes are refused; the session stays")
            .remedy(if is_foreign(neighbor) {
                "raise `maxPrefixes` of the neighbor if it may tell so many"
            } else {
                "raise fabric.bgp.maxPrefixes on every router if the fabric has so many addresses"
            })
    })
}

/// Says for how long the routes of a lost session are kept.
fn kept(neighbor: &NeighborSummary) -> String {
    match neighbor.stale_remaining_s {
        Some(seconds) if neighbor.stale > 0 => {
            let routes = neighbor.stale;
            format!("; {routes} routes from it are kept for {seconds:.0} s at most")
        }
        Some(_) | None => String::new(),
    }
}

fn rejections(evidence: &Evidence<'_>) -> CheckRow {
    let rows = rejected(evidence, false);
    if rows.is_empty() {
        return pass("bgp", "rejected-routes", "no route is refused");
    }
    warn(
        "bgp",
        "rejected-routes",
        format!("{} routes are refused", rows.len()),
    )
    .detail(listed(rows))
    .remedy("compare the fabric part of the configuration on both routers")
}

fn foreign_identity(evidence: &Evidence<'_>) -> CheckRow {
    let rows = rejected(evidence, true);
    if rows.is_empty() {
        return pass(
            "identity",
            "foreign-claims",
            "nobody speaks in another node's name",
        );
    }
    fail(
        "identity",
        "foreign-claims",
        "routes are refused because the sender is not who it says",
    )
    .detail(listed(rows))
    .remedy("self.node must be unique: look for a copied configuration, then for an intruder")
}

fn conflicts(evidence: &Evidence<'_>) -> CheckRow {
    let conflicts = &evidence.tunnels.identity_conflicts;
    if conflicts.is_empty() {
        return pass("identity", "one-router-per-node", "each node is one router");
    }
    let rows = conflicts.iter().map(|conflict| {
        format!(
            "{}: {} alternated {} times",
            conflict.node.name, conflict.evidence, conflict.count
        )
    });
    fail(
        "identity",
        "one-router-per-node",
        "two routers seem to run as one node",
    )
    .detail(listed(rows))
    .remedy("stop one of them: a node's configuration and key belong to one router only")
}

fn rejected(evidence: &Evidence<'_>, identity: bool) -> Vec<String> {
    let rows = evidence.rejected.iter();
    let rows = rows.filter(|(_, _, reason)| IDENTITY_REASONS.contains(reason) == identity);
    rows.map(|(node, prefix, reason)| format!("{prefix} from {}: {reason}", node.name))
        .collect()
}
