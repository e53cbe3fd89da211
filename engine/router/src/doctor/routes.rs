//! Whether packets follow the RIB: each owner's address must lead to that owner, on every worker.

use super::{Evidence, fail, listed, pass, skip, warn};
use crate::view::{CheckRow, OwnerRow, RouteAction};

const AREA: &str = "routes";

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    checks.push(rib_fib(evidence));
    checks.push(workers(evidence));
}

fn rib_fib(evidence: &Evidence<'_>) -> CheckRow {
    let astray = evidence
        .owners
        .owners
        .iter()
        .filter(|row| !is_forwarded(evidence, row));
    let astray: Vec<_> = astray.map(|row| row.address).collect();
    if astray.is_empty() {
        return pass(AREA, "rib-fib", "every address is forwarded to its owner");
    }
    fail(
        AREA,
        "rib-fib",
        "the forwarding table does not follow the owners",
    )
    .detail(listed(astray))
    .remedy("this is a defect of samctl: keep `samctl routes`, `samctl owners` and the log")
}

fn is_forwarded(evidence: &Evidence<'_>, row: &OwnerRow) -> bool {
    let routes = evidence.routes.routes.iter();
    let mut routes = routes
        .filter(|route| route.prefix.prefix_len() == 32 && route.prefix.addr() == row.address);
    match (&row.owner, routes.next()) {
        (None, route) => route.is_none(),
        (Some(_), None) => false,
        (Some(owner), Some(route)) => match route.action {
            RouteAction::Local | RouteAction::Lan => row.local,
            // The LAN is absent, or the tunnel is refused.
            RouteAction::Unreachable => {
                let tunnels = &evidence.tunnels.tunnels;
                let mut refused = tunnels.iter().filter(|tunnel| tunnel.fault.is_some());
                row.local || refused.any(|tunnel| tunnel.node == *owner)
            }
            RouteAction::Tunnel => route.node.as_ref() == Some(owner),
            RouteAction::Withhold | RouteAction::Blackhole => false,
        },
    }
}

fn workers(evidence: &Evidence<'_>) -> CheckRow {
    let published = evidence.routes.generation;
    if evidence.facts.workers.is_empty() {
        return skip(AREA, "workers", "no packet worker runs");
    }
    let late = evidence
        .facts
        .workers
        .iter()
        .filter(|worker| worker.generation != published);
    let late: Vec<String> = late
        .map(|worker| {
            format!(
                "worker {} has generation {}",
                worker.worker, worker.generation
            )
        })
        .collect();
    if late.is_empty() {
        return pass(
            AREA,
            "workers",
            format!("all workers forward by generation {published}"),
        );
    }
    warn(
        AREA,
        "workers",
        format!("not all workers forward by generation {published}"),
    )
    .detail(listed(late))
    .remedy("once is a matter of timing; when it stays, keep the log and restart samctl")
}
