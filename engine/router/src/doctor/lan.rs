//! The LAN: interface, gate, and whoever else answers there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;

use super::{Evidence, fail, listed, pass, skip, warn};
use crate::view::{CheckRow, ForeignAnswerRow, SightingRow, VrrpView};

const AREA: &str = "lan";
/// How long a sighting counts.
pub(super) const RECENT_S: f64 = 300.0;

pub(super) fn check(evidence: &Evidence<'_>, checks: &mut Vec<CheckRow>) {
    let Some(name) = evidence.arp.interface.as_deref() else {
        checks.push(skip(AREA, "interface", "capture is off"));
        return;
    };
    checks.push(interface(evidence, name));
    checks.push(gate(evidence));
    checks.push(proxy_arp(evidence, name));
    checks.push(subnet(evidence, name));
    checks.push(captured_on_host(evidence));
    checks.push(foreign_answers(evidence));
    checks.push(probes(evidence));
}

fn interface(evidence: &Evidence<'_>, name: &str) -> CheckRow {
    match &evidence.facts.host.lan {
        None => fail(
            AREA,
            "interface",
            format!("the capture interface {name} does not exist"),
        )
        .remedy("correct self.capture.interface, or attach the interface"),
        Some(lan) if !lan.up => fail(
            AREA,
            "interface",
            format!("{name} is down or has no carrier"),
        )
        .remedy(format!(
            "ip link set {name} up, and look at the cable or switch port"
        )),
        Some(lan) => pass(AREA, "interface", format!("{name} is up, MTU {}", lan.mtu)),
    }
}

fn gate(evidence: &Evidence<'_>) -> CheckRow {
    let reason = &evidence.arp.gate_reason;
    let backup = |view: &VrrpView| {
        let election = view.election.as_ref();
        election.is_some_and(|election| election.state == sam_vrrp::State::Backup.name())
    };
    if evidence.vrrp.as_ref().is_some_and(backup) {
        // That is what a backup is for.
        return pass(
            AREA,
            "gate",
            format!("this router stays silent on the LAN: {reason}"),
        );
    }
    if evidence.arp.gate_open {
        pass(
            AREA,
            "gate",
            format!("this router may act on the LAN: {reason}"),
        )
    } else {
        warn(
            AREA,
            "gate",
            format!("this router stays silent on the LAN: {reason}"),
        )
        .detail("no ARP answers, and no owned address is announced")
        .remedy("bring the interface up (see lan/interface), or end the stop")
    }
}

/// The kernel would answer beside us, by other rules.
fn proxy_arp(evidence: &Evidence<'_>, name: &str) -> CheckRow {
    let host = &evidence.facts.host;
    let on_lan = host.lan.as_ref().and_then(|lan| lan.proxy_arp);
    match (on_lan, host.proxy_arp_all) {
        (Some(true), _) => fail(
            AREA,
            "proxy-arp",
            format!("the kernel answers ARP on {name} too"),
        )
        .remedy(format!("sysctl -w net.ipv4.conf.{name}.proxy_arp=0")),
        (_, Some(true)) => fail(
            AREA,
            "proxy-arp",
            "the kernel answers ARP on all interfaces",
        )
        .remedy("sysctl -w net.ipv4.conf.all.proxy_arp=0"),
        (Some(false), Some(false)) => {
            pass(AREA, "proxy-arp", "the kernel answers no ARP for others")
        }
        (None, _) | (_, None) => skip(AREA, "proxy-arp", "proxy_arp could not be read"),
    }
}

/// Hosts ask only for addresses that they think are on their own LAN: one with another subnet never asks us.
fn subnet(evidence: &Evidence<'_>, name: &str) -> CheckRow {
    let Some(subnet) = evidence.arp.subnet else {
        return skip(AREA, "subnet", format!("{name} is absent"));
    };
    let overlaps = |prefix: &Ipv4Net| prefix.contains(&subnet) || subnet.contains(prefix);
    let pool_of = |address| evidence.config.pool_of(address).map(|pool| pool.prefix);
    let pools = evidence.arp.answers.iter().copied().filter_map(pool_of);
    let strange: BTreeSet<Ipv4Net> = pools.filter(|pool| !overlaps(pool)).collect();
    let Some(first) = strange.first() else {
        return pass(
            AREA,
            "subnet",
            "every address answered for is in a pool of this LAN",
        );
    };
    let remedy = format!(
        "give {name} an address of {first}, if its hosts are on this LAN, or correct fabric.pools and self.capture.interface"
    );
    warn(
        AREA,
        "subnet",
        format!("addresses are answered for whose pool is not on the LAN's subnet {subnet}"),
    )
    .detail(listed(strange.iter().map(Ipv4Net::to_string)))
    .remedy(remedy)
}

/// An address that lives elsewhere must not be assigned here: the kernel would answer ARP and reset connections.
fn captured_on_host(evidence: &Evidence<'_>) -> CheckRow {
    let Some(addresses) = &evidence.facts.host.addresses else {
        return skip(
            AREA,
            "captured-address",
            "the host's addresses could not be read",
        );
    };
    let remote =
        |address: IpAddr| {
            evidence.owners.owners.iter().any(|row| {
                IpAddr::from(row.address) == address && row.owner.is_some() && !row.local
            })
        };
    let mut found = addresses
        .iter()
        .filter(|held| remote(held.address))
        .peekable();
    let Some(first) = found.peek() else {
        return pass(
            AREA,
            "captured-address",
            "no address of another site is assigned to this host",
        );
    };
    let remedy = format!(
        "ip address del {}/32 dev {}",
        first.address, first.interface
    );
    let rows = found.map(|held| format!("{} on {}", held.address, held.interface));
    fail(
        AREA,
        "captured-address",
        "addresses of other sites are assigned to this host",
    )
    .detail(listed(rows))
    .remedy(format!(
        "{remedy}; keep cloud-init or the DHCP client from adding it again"
    ))
}

fn foreign_answers(evidence: &Evidence<'_>) -> CheckRow {
    let rows = evidence.arp.foreign_answers.iter();
    // Another router of this LAN is a matter of the election.
    let rows = rows.filter(|row| row.node.is_none() && row.last_s <= RECENT_S);
    let recent: Vec<String> = rows.map(ForeignAnswerRow::text).collect();
    if recent.is_empty() {
        return pass(
            AREA,
            "duplicate-answer",
            "nobody else answers ARP for our answers",
        );
    }
    fail(AREA, "duplicate-answer", "somebody else on the LAN answers ARP for addresses of other sites")
        .detail(listed(recent))
        .remedy("find the host by its MAC: a second router without this one's knowledge, or the address is in use")
}

fn probes(evidence: &Evidence<'_>) -> CheckRow {
    let recent = recent(&evidence.arp.probes);
    if recent.is_empty() {
        return pass(
            AREA,
            "probed-address",
            "no host wants to use an address that lives elsewhere",
        );
    }
    warn(AREA, "probed-address", "hosts on the LAN want to use addresses that live at other sites")
        .detail(listed(recent))
        .remedy("give the host another address, or move the owner: samctl withdraw there, samctl announce here")
}

fn recent(sightings: &[SightingRow]) -> Vec<String> {
    let recent = sightings
        .iter()
        .filter(|sighting| sighting.last_s <= RECENT_S);
    recent
        .map(|sighting| format!("{} by {}", sighting.address, sighting.mac))
        .collect()
}
