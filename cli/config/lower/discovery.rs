//! Ownership discovery: limits, and bindings to addresses that may be mobile.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::config::ArpDiscovery;

use super::{Checked, check_unique, local::check_mobile};
use crate::config::discovery;
use crate::config::finding::Findings;
use crate::config::read::At;
use crate::config::scalar::duration_text;

/// Checks how addresses of the LAN are learned.
pub(super) fn discovery(
    raw: &At<discovery::Discovery>,
    checked: &Checked<'_>,
    findings: &mut Findings,
) -> Option<ArpDiscovery> {
    let At { value: raw, span } = raw;
    let help =
        "write `discovery: {type: arp}`, or leave `discovery` out to own what is configured only";
    raw.kind.required("type", *span, help, findings)?;
    let default = ArpDiscovery::default();
    let expiry = raw.expiry.given();
    if let Some(expiry) = expiry.filter(|expiry| !EXPIRY.contains(&expiry.value)) {
        let shown = duration_text(expiry.value);
        findings
            .error(
                expiry.span,
                format!("an `expiry` of {shown} is not possible"),
            )
            .help(format!(
                "use {} to {}; the default is {}",
                duration_text(*EXPIRY.start()),
                duration_text(*EXPIRY.end()),
                duration_text(default.expiry)
            ));
    }
    let sweep = raw.sweep.given();
    if let Some(sweep) = sweep.filter(|sweep| sweep.value.0 > SWEEP_MAX) {
        findings
            .error(
                sweep.span,
                format!("`sweep` cannot be {} addresses per second", sweep.value.0),
            )
            .help(format!(
                "use 1 to {SWEEP_MAX}, or `off`; every host of the LAN hears each question"
            ));
    }
    let per_mac = raw.per_mac.given();
    if let Some(per_mac) = per_mac.filter(|per_mac| !(1..=PER_MAC_MAX).contains(&per_mac.value)) {
        findings
            .error(
                per_mac.span,
                format!("`addressesPerMac` cannot be {}", per_mac.value),
            )
            .help(format!(
                "use 1 to {PER_MAC_MAX}; the default is {}",
                default.per_mac
            ));
    }
    Some(ArpDiscovery {
        expiry: expiry.map_or(default.expiry, |expiry| expiry.value),
        sweep: sweep.map_or(default.sweep, |sweep| sweep.value.0),
        per_mac: per_mac.map_or(default.per_mac, |per_mac| per_mac.value.into()),
        bindings: bindings(raw, checked, findings),
    })
}

fn bindings(
    raw: &discovery::Discovery,
    checked: &Checked<'_>,
    findings: &mut Findings,
) -> BTreeMap<Ipv4Addr, [u8; 6]> {
    let Some(At {
        value: bindings, ..
    }) = raw.bindings.given()
    else {
        return BTreeMap::new();
    };
    let addresses = bindings.0.iter().map(|(address, _)| address.clone());
    let describe = |address: &Ipv4Addr| format!("address {address}");
    check_unique(addresses, describe, "remove one of the two", findings);
    for (address, _) in bindings.0.iter().filter(|_| checked.sound.pools) {
        check_mobile(address, checked.fabric, findings);
    }
    let pair = |(address, mac): &(At<Ipv4Addr>, At<[u8; 6]>)| (address.value, mac.value);
    bindings.0.iter().map(pair).collect()
}

/// Less would have hosts asked all the time, more would keep addresses away from other sites for days.
const EXPIRY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
/// Questions of all kinds share 50 per second.
const SWEEP_MAX: u16 = 40;
/// Most homes of all hosts.
const PER_MAC_MAX: u16 = 4096;
