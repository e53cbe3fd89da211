//! Ownership discovery: limits, and bindings to addresses that may be mobile.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use sam_router::config::{ArpDiscovery, ProviderDiscovery};

use super::{Checked, check_unique, local::check_mobile};
use crate::config::discovery::{self, DiscoveryKind};
use crate::config::finding::Findings;
use crate::config::read::{At, Field};
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
    let kind = raw.kind.required("type", *span, help, findings)?;
    if kind.value != DiscoveryKind::Arp {
        findings
            .error(kind.span, "a LAN has no provider that lists its hosts")
            .help(help);
        return None;
    }
    if let Some(interval) = raw.interval.given() {
        findings
            .error(interval.span, "`interval` means nothing with `type: arp`")
            .help("remove it; `sweep` says how often hosts are asked for");
    }
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

/// Checks how a router in a cloud learns which addresses live there.
pub(super) fn provider(
    raw: &At<discovery::Discovery>,
    findings: &mut Findings,
) -> Option<ProviderDiscovery> {
    let At { value: raw, span } = raw;
    let help = "write `discovery: {type: provider}`, or leave `discovery` out to own what is configured only";
    let kind = raw.kind.required("type", *span, help, findings)?;
    if kind.value != DiscoveryKind::Provider {
        findings
            .error(kind.span, "in a cloud nobody hears the ARP of others")
            .help(help);
    }
    for (key, at) in [
        ("sweep", raw.sweep.given().map(|at| at.span)),
        ("addressesPerMac", raw.per_mac.given().map(|at| at.span)),
        ("bindings", raw.bindings.given().map(|at| at.span)),
    ] {
        if let Some(at) = at {
            findings
                .error(at, format!("`{key}` means nothing with `type: provider`"))
                .help("remove it");
        }
    }
    let default = ProviderDiscovery::default();
    let mut time =
        |key: &str, field: &Field<Duration>, default, range: RangeInclusive<Duration>| {
            let Some(written) = field.given() else {
                return default;
            };
            if !range.contains(&written.value) {
                let shown = duration_text(written.value);
                let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
                findings
                    .error(written.span, format!("`{key}` cannot be {shown}"))
                    .help(format!(
                        "use {least} to {most}; the default is {}",
                        duration_text(default)
                    ));
            }
            written.value
        };
    Some(ProviderDiscovery {
        interval: time("interval", &raw.interval, default.interval, INTERVAL),
        expiry: time("expiry", &raw.expiry, default.expiry, EXPIRY),
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

/// Less would be too many calls, more would leave machines unknown for too long.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(600);
/// Less would have hosts asked all the time, more would keep addresses away from other sites for days.
const EXPIRY: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
/// Questions of all kinds share 50 per second.
const SWEEP_MAX: u16 = 40;
/// Most homes of all hosts.
const PER_MAC_MAX: u16 = 4096;
