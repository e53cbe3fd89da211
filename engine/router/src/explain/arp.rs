//! Whether this router answers ARP for an address: the conditions of `sam_dataplane::arp_responder`, by state.
//!
//! Those that depend on the sender are listed with `holds: None`.

use super::Subject;
use crate::doctor::Evidence;
use crate::view::{ArpCondition, ArpVerdict, ForeignAnswerRow, OwnerRow, RouteAction};

/// How long an address counts as alive on the LAN after somebody claimed it, in seconds.
fn observation_s() -> f64 {
    sam_dataplane::arp_responder::OBSERVATION_TIME.as_secs_f64()
}

/// Checks the conditions.
pub(super) fn verdict(evidence: &Evidence<'_>, subject: &Subject<'_>) -> ArpVerdict {
    let address = subject.address;
    let listed = evidence.arp.answers.contains(&address);
    let by_tunnel = subject
        .route
        .as_ref()
        .is_some_and(|route| route.action == RouteAction::Tunnel);
    let alive = evidence.arp.foreign_answers.iter().find(|seen| {
        // Another router of the LAN is a matter of the election.
        seen.address == address && seen.node.is_none() && seen.last_s < observation_s()
    });
    let conditions = vec![
        condition(
            "the address is in the answer set",
            Some(listed),
            why_listed(evidence, subject, listed),
        ),
        condition(
            "this router may act on the LAN",
            Some(evidence.arp.gate_open),
            evidence.arp.gate_reason.clone(),
        ),
        condition(
            "the address lives behind a tunnel",
            Some(by_tunnel),
            subject
                .route
                .as_ref()
                .map_or_else(|| "no route".into(), |route| route.action.name().into()),
        ),
        condition(
            "the request is no probe and no announcement",
            None,
            "depends on the sender".into(),
        ),
        condition(
            "the sender is on the LAN's subnet or in a pool",
            None,
            evidence
                .arp
                .subnet
                .map_or_else(|| "no LAN".into(), |subnet| subnet.to_string()),
        ),
        condition(
            "nobody on the LAN uses the address",
            Some(alive.is_none()),
            alive.map_or_else(|| "not seen".into(), ForeignAnswerRow::text),
        ),
    ];
    let answered = conditions
        .iter()
        .all(|condition| condition.holds != Some(false));
    ArpVerdict {
        answered,
        conditions,
    }
}

fn why_listed(evidence: &Evidence<'_>, subject: &Subject<'_>, listed: bool) -> String {
    if listed {
        return "another node actively owns it".into();
    }
    if evidence.arp.interface.is_none() {
        return "capture is off".into();
    }
    if evidence.config.cloud().is_some() {
        return "in a cloud its provider answers ARP".into();
    }
    match subject.owner {
        _ if subject.excluded => "the pool excludes it".into(),
        None => "nobody owns it".into(),
        Some(row) if row.local => "this router owns it".into(),
        Some(row) if row.configured => "it is to be owned here".into(),
        Some(row) if on_our_lan(evidence, row) => {
            "another router of this LAN serves it: it answers for itself".into()
        }
        Some(row) => format!("the owner's claim is {}", row.state),
    }
}

fn on_our_lan(evidence: &Evidence<'_>, row: &OwnerRow) -> bool {
    let owner = row.owner.as_ref();
    owner.is_some_and(|owner| evidence.config.shares_lan_with(owner.id))
}

fn condition(condition: &str, holds: Option<bool>, evidence: String) -> ArpCondition {
    ArpCondition {
        condition: condition.into(),
        holds,
        evidence,
    }
}
