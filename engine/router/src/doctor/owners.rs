//! Ownership: one owner per address, and what we are told to own is ours.

use super::{Evidence, listed, pass, result, warn};
use crate::view::CheckStatus;
use crate::view::{CheckRow, OwnerRow};

const AREA: &str = "owners";

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    checks.push(duplicates(evidence));
    checks.push(unannounced(evidence));
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
    warn(
        AREA,
        "unannounced",
        format!(
            "{} addresses are to be owned here, but are not",
            missing.len()
        ),
    )
    .detail(listed(missing.iter().map(|row| row.address)))
    .remedy(format!("the gate decides: {}", evidence.arp.gate_reason))
}
