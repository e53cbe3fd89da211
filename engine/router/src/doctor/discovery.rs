//! Ownership discovery: whether the LAN is heard, and who disputes an address.

use super::{Evidence, listed, pass, skip, warn};
use crate::view::CheckRow;

const AREA: &str = "lan";
/// How long a dispute or a refusal counts.
const RECENT_S: f64 = 300.0;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let view = &evidence.discovery;
    let Some(configured) = &view.configured else {
        return;
    };
    if !view.gate_open {
        let why = format!("nobody is listened to: {}", view.gate_reason);
        checks.push(skip(AREA, "discovery", why));
        return;
    }
    let silence = view.heard_s.unwrap_or(f64::INFINITY);
    let count = view.homes.len();
    checks.push(if count > 0 && silence > configured.expiry_s {
        warn(
            AREA,
            "discovery",
            "no host of the LAN is heard: all are kept that were heard before",
        )
        .detail(format!("{count} hosts"))
        .remedy(
            "look at the switch port and at the hosts; `samctl withdraw` takes back what is wrong",
        )
    } else {
        pass(
            AREA,
            "discovery",
            format!("{count} hosts live here by what is heard"),
        )
    });
    let recent = view.disputes.iter().filter(|row| row.last_s < RECENT_S);
    let recent: Vec<String> = recent
        .map(|row| format!("{} is used by {} too", row.address, row.mac))
        .collect();
    checks.push(if recent.is_empty() {
        pass(AREA, "duplicate-host", "no address is used by two hosts of the LAN")
    } else {
        let message = format!("{} addresses are used by two hosts of the LAN", recent.len());
        warn(AREA, "duplicate-host", message)
            .detail(listed(recent))
            .remedy(
                "give one of the two another address; `self.capture.discovery.bindings` says whose it is",
            )
    });
    let recent = view.changes.iter().filter(|row| row.last_s < RECENT_S);
    let recent: Vec<String> = recent
        .map(|row| format!("{} is that of {}", row.address, row.mac))
        .collect();
    checks.push(if recent.is_empty() {
        pass(
            AREA,
            "changed-host",
            "no address has changed its MAC lately",
        )
    } else {
        let message = format!("{} addresses have changed their MAC", recent.len());
        warn(AREA, "changed-host", message)
            .detail(listed(recent))
            .remedy(
                "if nobody exchanged the host or its interface, find out who took the address; \
                 `self.capture.discovery.bindings` says whose it is",
            )
    });
}
