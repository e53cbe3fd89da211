//! Ownership: one owner per address, and what we are told to own is ours.

use super::{Evidence, listed, pass, result, warn};
use crate::view::CheckStatus;
use crate::view::{CheckRow, DrainView, HandoversView, OwnerRow};

const AREA: &str = "owners";

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    checks.push(duplicates(evidence));
    checks.push(unannounced(evidence));
    checks.extend(given_away(evidence));
    checks.extend(drained(&evidence.drain));
    checks.extend(on_offer(&evidence.handovers));
}

/// A router that leaves everything to others should not do so longer than intended.
fn drained(view: &DrainView) -> Option<CheckRow> {
    const NAME: &str = "drained";
    let left = view.left.len();
    let message = match (view.drained, view.empty) {
        (false, _) => return None,
        (true, true) => "this router is drained: nothing is left to do here".to_owned(),
        (true, false) => format!("this router is drained, and still claims {left} addresses"),
    };
    let remedy = "`samctl drain` shows what is left; `samctl drain off` when the work is done";
    Some(warn(AREA, NAME, message).remedy(remedy))
}

/// A file that says what its LAN gave away is old, or that of the holder is wrong.
fn given_away(evidence: &Evidence<'_>) -> Option<CheckRow> {
    let addresses = &evidence.given_away;
    let count = addresses.len();
    let message =
        format!("{count} addresses are to be owned here, but another site holds them by order");
    (!addresses.is_empty()).then(|| {
        warn(AREA, "given-away", message)
            .detail(listed(addresses))
            .remedy("take them out of self.owned, or `samctl announce ADDRESS` to have them again")
    })
}

/// An offer that stands was not taken.
fn on_offer(view: &HandoversView) -> Option<CheckRow> {
    let rows = &view.handovers;
    let message = format!("{} addresses are offered to other nodes", rows.len());
    let detail = rows
        .iter()
        .map(|row| format!("{} to {}", row.address, row.to.name));
    (!rows.is_empty()).then(|| {
        warn(AREA, "handover", message).detail(listed(detail)).remedy(
            "`samctl events` on the other node says why it does not take it; `samctl handover ADDRESS --cancel`",
        )
    })
}

fn duplicates(evidence: &Evidence<'_>) -> CheckRow {
    let rows: Vec<_> = evidence
        .owners
        .owners
        .iter()
        .filter(|row| row.duplicate)
        .collect();
    if rows.is_empty() {
        return pass(
            AREA,
            "duplicate-owner",
            "no address is claimed by two nodes",
        );
    }
    // Everybody knows of it (RFC 7911); the fault is here if the address is to be owned here too.
    let status = if rows.iter().any(|row| row.configured) {
        CheckStatus::Fail
    } else {
        CheckStatus::Warn
    };
    let message = format!("{} addresses are claimed by several nodes", rows.len());
    result(AREA, "duplicate-owner", status, message)
        .detail(listed(rows.into_iter().map(claimants)))
        .remedy("an address lives at one site: `samctl withdraw ADDRESS` on the others, and correct their self.owned")
}

fn claimants(row: &OwnerRow) -> String {
    let mut names: Vec<&str> = Vec::new();
    for claim in &row.claims {
        if !names.contains(&claim.node.name.as_str()) {
            names.push(&claim.node.name);
        }
    }
    let owner = row
        .owner
        .as_ref()
        .map_or("nobody", |owner| owner.name.as_str());
    format!(
        "{} by {}, owner is {owner}",
        row.address,
        names.join(" and ")
    )
}

fn unannounced(evidence: &Evidence<'_>) -> CheckRow {
    let rows = evidence.owners.owners.iter();
    let missing: Vec<_> = rows
        .filter(|row| row.configured && row.owner.is_none())
        .collect();
    if missing.is_empty() && !evidence.withdrawn.is_empty() {
        let count = evidence.withdrawn.len();
        return warn(
            AREA,
            "unannounced",
            format!("{count} addresses are configured, but withdrawn by order"),
        )
        .detail(listed(&evidence.withdrawn))
        .remedy("take them out of self.owned, or `samctl announce ADDRESS` to own them again");
    }
    if missing.is_empty() {
        return pass(
            AREA,
            "unannounced",
            "everything that is to be owned here is announced",
        );
    }
    let count = missing.len();
    let (message, remedy) = if follows_master(evidence) {
        // What comes to a LAN is an order to both of its routers, as far as they are there.
        let message = format!(
            "{count} addresses are to be owned on this LAN, but the router that acts there does not own them"
        );
        let remedy = "`samctl announce ADDRESS` there, if it was not there when they came; or `samctl withdraw ADDRESS` here";
        (message, remedy.to_owned())
    } else {
        let message = format!("{count} addresses are to be owned here, but are not");
        let remedy = format!("the gate decides: {}", evidence.arp.gate_reason);
        (message, remedy)
    };
    warn(AREA, "unannounced", message)
        .detail(listed(missing.iter().map(|row| row.address)))
        .remedy(remedy)
}

/// Another router is heard to act on the LAN.
fn follows_master(evidence: &Evidence<'_>) -> bool {
    let view = evidence.vrrp.as_ref();
    let election = view.and_then(|view| view.election.as_ref());
    election.is_some_and(|election| {
        election.state == sam_vrrp::State::Backup.name() && election.heard.is_some()
    })
}
