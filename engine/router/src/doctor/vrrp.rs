//! The election on the LAN: is it held, by everybody in the same way, and is there one master?

use std::net::IpAddr;

use super::lan::RECENT_S;
use super::{Evidence, fail, listed, pass, skip, warn};
use crate::view::{CheckRow, ForeignAnswerRow, VrrpConfigured, VrrpView};

const AREA: &str = "lan";
/// How many of its intervals ago another master counts as there: one word of a former master is none.
const RECENT: f64 = 4.0;
/// Priority of the router whose host has the virtual address.
const OWNER: u8 = 255;
/// Counters that say that routers of this LAN are configured differently.
const ODD: [&str; 6] = [
    "addresses-differ",
    "interval-differs",
    "other-interval",
    "other-version",
    "authentication",
    "checksum",
];

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let Some(view) = &evidence.vrrp else {
        return;
    };
    let Some(configured) = &view.configured else {
        return;
    };
    checks.push(election(view));
    checks.push(rival(view));
    checks.push(split_brain(evidence, view));
    checks.push(divided(view));
    checks.push(strangers(view));
    checks.push(lost(view));
    checks.push(agreement(view));
    checks.push(address(evidence, configured));
    checks.push(tracked(view));
}

fn election(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp";
    match (&view.election, &view.failure) {
        (_, Some(failure)) if view.silent => fail(AREA, NAME, failure.clone())
            .detail("who is master is unknown: this router keeps silent on its LAN")
            .remedy("restart this router, and report what its thread `vrrp` waits for (/proc/PID/task/TID/stack)"),
        (_, Some(failure)) => fail(AREA, NAME, "the election on the LAN cannot be held")
            .detail(failure.clone())
            .remedy("grant CAP_NET_RAW, and look at the LAN interface (see lan/interface)"),
        (None, None) => warn(
            AREA,
            NAME,
            "no election on the LAN: the interface is not ready",
        )
        .remedy("bring the interface up and give it an address (see lan/interface)"),
        (Some(election), None) => pass(
            AREA,
            NAME,
            format!(
                "{}, for {:.0} s; priority {}",
                view.gate_reason, election.since_s, election.priority
            ),
        ),
    }
}

/// Two masters do not hear each other, or do not agree on who is better.
fn rival(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp-rival";
    let Some(election) = &view.election else {
        return skip(AREA, NAME, "no election is held");
    };
    let rival = election.heard.as_ref().filter(|heard| {
        election.state == sam_vrrp::State::Master.name()
            && heard.last_s * 1e3 <= RECENT * heard.interval_ms
            && heard.priority > 0
    });
    let Some(rival) = rival else {
        return pass(AREA, NAME, "no second master is heard");
    };
    fail(AREA, NAME, "another router of the LAN is master too")
        .detail(format!("{}, priority {}", rival.address, rival.priority))
        .remedy(
            "see whether it hears this router: VRID, version and peers must be the same, and nothing may filter IP \
             protocol 112",
        )
}

/// Two routers that act at once: two masters, or answers of another router to what this one asks.
fn split_brain(evidence: &Evidence<'_>, view: &VrrpView) -> CheckRow {
    const NAME: &str = "split-brain";
    let masters = view.split_brain.iter().filter(|row| row.last_s <= RECENT_S);
    let masters = masters.map(|row| format!("{:.0} s ago: {}", row.last_s, row.verdict));
    let answers = evidence.arp.foreign_answers.iter();
    let answers = answers.filter(|row| row.node.is_some() && row.last_s <= RECENT_S);
    let election = view.election.as_ref();
    let rivals = election.and_then(|election| election.rivals.as_ref());
    let rivals = rivals.filter(|rivals| rivals.last_s <= RECENT_S);
    let rivals = rivals.map(|rivals| format!("{:.0} s ago: {}", rivals.last_s, rivals.text()));
    let answers = answers.map(ForeignAnswerRow::text);
    let found: Vec<String> = masters.chain(rivals).chain(answers).collect();
    if found.is_empty() {
        return pass(AREA, NAME, "no two routers acted on the LAN at once");
    }
    fail(AREA, NAME, "two routers acted on the LAN at once")
        .detail(listed(found))
        .remedy(
            "find out what kept them from hearing each other: cables and switches between them, filters of IP protocol \
             112 and of broadcast; `samctl vrrp` and `samctl explain ADDRESS` show what is known",
        )
}

/// Two routers that claim one address are masters both, and hear different hosts.
fn divided(view: &VrrpView) -> CheckRow {
    const NAME: &str = "lan-divided";
    if view.absent.is_empty() {
        return pass(
            AREA,
            NAME,
            "no host of this LAN is heard by another router alone",
        );
    }
    fail(AREA, NAME, "the LAN is cut in two: another router of it claims addresses whose hosts do not answer here")
        .detail(listed(view.absent.iter().map(ToString::to_string)))
        .remedy("join the LAN again: see whether this router's cable leads to its hosts, and the switches between the routers")
}

/// Who takes part without being named, or tries to, may be a router of another make, or a host that wants the role.
fn strangers(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp-strangers";
    let election = view.election.as_ref();
    let strangers = election.map_or(&[][..], |election| &election.strangers);
    if strangers.is_empty() {
        return pass(AREA, NAME, "no router of another make takes part");
    }
    let named = view
        .configured
        .as_ref()
        .is_some_and(|vrrp| !vrrp.peers.is_empty());
    let (message, remedy) = if named {
        (
            "others than `peers` advertise the virtual router: they do not count here, and may act on the LAN all the same",
            "find out who that is and stop it; or name it in `peers` on all routers of the LAN",
        )
    } else {
        (
            "routers take part in the election that nobody named",
            "name them in `routers` if they are routers of another make that belong there, or all routers of the LAN in `peers`, so \
             that nobody else counts; or find out who that is",
        )
    };
    warn(AREA, NAME, message)
        .detail(listed(strangers.iter().map(ToString::to_string)))
        .remedy(remedy)
}

/// What only ARP frames bring is lost on this LAN, and with it the role where the other router is not one of ours.
fn lost(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp-lost";
    let heard = view.election.as_ref().and_then(|one| one.heard.as_ref());
    match heard {
        Some(heard) if heard.by_arp_only => warn(
            AREA,
            NAME,
            format!("advertisements of {} are lost on the LAN, only ARP brings them", heard.address),
        )
        .remedy(
            "let IP protocol 112 to 224.0.0.18 pass between the routers (IGMP snooping, filters), or name them in `peers`",
        ),
        Some(_) => pass(AREA, NAME, "advertisements of the other router arrive"),
        None => pass(AREA, NAME, "no other router is heard, nor missed by ARP"),
    }
}

fn agreement(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp-agreement";
    let odd = view
        .counters
        .iter()
        .filter(|counter| ODD.contains(&counter.name.as_str()));
    let odd: Vec<String> = odd
        .map(|counter| format!("{}: {} ({})", counter.name, counter.value, counter.text))
        .collect();
    if odd.is_empty() {
        return pass(
            AREA,
            NAME,
            "all routers of the election are configured alike",
        );
    }
    warn(AREA, NAME, "routers of the LAN are configured differently")
        .detail(listed(odd))
        .remedy("give all routers the same vrid, address, interval and version; `samctl vrrp` shows the counts")
}

/// The host answers for an address that it has, whoever is master.
fn address(evidence: &Evidence<'_>, configured: &VrrpConfigured) -> CheckRow {
    const NAME: &str = "vrrp-address";
    let Some(addresses) = &evidence.facts.host.addresses else {
        return skip(AREA, NAME, "the host's addresses could not be read");
    };
    let address = configured.address;
    let on_host = addresses
        .iter()
        .any(|held| held.address == IpAddr::from(address));
    match (on_host, configured.priority == OWNER) {
        (true, false) => fail(
            AREA,
            NAME,
            format!("the host has the virtual address {address} and answers for it, master or not"),
        )
        .remedy(format!(
            "take it from the host (ip address del {address}/32 ...), the router answers for it; or write priority: 255"
        )),
        (false, true) => warn(
            AREA,
            NAME,
            format!("priority 255 is for the host that has {address}, and this one has not"),
        )
        .remedy("write a priority from 1 to 254"),
        (true, true) => pass(AREA, NAME, format!("the host owns {address}")),
        (false, false) => pass(AREA, NAME, format!("{address} moves with the master")),
    }
}

fn tracked(view: &VrrpView) -> CheckRow {
    const NAME: &str = "vrrp-track";
    let failed = view.tracked.iter().filter(|row| !row.holds);
    let failed: Vec<String> = failed
        .map(|row| format!("{}: priority less {}", row.name, row.penalty))
        .collect();
    if failed.is_empty() {
        return pass(AREA, NAME, "no penalty on the priority");
    }
    warn(
        AREA,
        NAME,
        "this router has less priority for what does not work",
    )
    .detail(listed(failed))
    .remedy("see the checks of bgp and tunnel; `engine`: a thread of this router stood still, see its log")
}

#[cfg(test)]
#[path = "vrrp_tests.rs"]
mod tests;
