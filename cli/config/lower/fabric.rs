//! The fabric but its nodes and transports: name, AS number, pools, BGP.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_capture::Pool;
use sam_router::config::{BgpSettings, GracefulRestartConfig};

use super::{Names, check_name, check_unique, find_node};
use crate::config::finding::Findings;
use crate::config::raw::{self, GracefulRestart, RestartTimes, Timers, TimersProfile};
use crate::config::read::At;
use crate::config::source::Span;

/// Checks the name of the fabric.
pub(super) fn fabric_name(raw: &raw::Fabric, at: Span, findings: &mut Findings) -> String {
    let help = "give the fabric a name, for example `name: cloudedge`";
    let Some(name) = raw.name.required("name", at, help, findings) else {
        return String::new();
    };
    check_name(name, findings);
    name.value.clone()
}

/// Checks the AS number.
pub(super) fn asn(raw: &raw::Fabric, at: Span, findings: &mut Findings) -> u32 {
    let help = "choose a private one, for example `asn: 64577`";
    let Some(asn) = raw.asn.required("asn", at, help, findings) else {
        return 0;
    };
    if matches!(asn.value, 0 | AS_TRANS | u32::MAX) {
        findings
            .error(asn.span, format!("AS number {} is reserved", asn.value))
            .help(help);
    }
    asn.value
}

/// Checks all pools and that they do not overlap; numbers them in the order of the file.
pub(super) fn pools(raw: &raw::Fabric, at: Span, findings: &mut Findings) -> Vec<Pool> {
    let help = "a pool is a shared subnet: `- {name: lan60, prefix: 10.77.60.0/24}`";
    let Some(pools) = raw.pools.required("pools", at, help, findings) else {
        return Vec::new();
    };
    if pools.value.is_empty() {
        findings.error(pools.span, "there is no pool").help(help);
    }
    if let Some(excess) = pools.value.get(MAX_POOLS) {
        findings
            .error(
                excess.span,
                format!("there are more than {MAX_POOLS} pools"),
            )
            .help("join neighboring subnets into one pool, or make a second fabric");
    }
    let names = pools
        .value
        .iter()
        .filter_map(|pool| pool.value.name.given().cloned());
    let describe = |name: &String| format!("the name `{name}`");
    check_unique(names, describe, "every pool has its own name", findings);
    check_disjoint(&pools.value, findings);
    (1..)
        .zip(&pools.value)
        .filter_map(|(id, raw)| pool(id, raw, findings))
        .collect()
}

fn pool(id: u32, raw: &At<raw::Pool>, findings: &mut Findings) -> Option<Pool> {
    let name = raw
        .value
        .name
        .required("name", raw.span, "every pool has a name", findings);
    if let Some(name) = name {
        check_name(name, findings);
    }
    let help = "the prefix is the shared subnet, for example `prefix: 10.77.60.0/24`";
    let prefix = raw
        .value
        .prefix
        .required("prefix", raw.span, help, findings)?;
    check_pool_prefix(prefix, findings);
    let excluded = raw
        .value
        .exclude
        .given()
        .map_or(&[][..], |list| &list.value);
    for address in excluded
        .iter()
        .filter(|address| !prefix.value.contains(&address.value))
    {
        findings
            .error(
                address.span,
                format!("{} is not inside {}", address.value, prefix.value),
            )
            .help("`exclude` takes addresses of this pool");
    }
    let describe = |address: &std::net::Ipv4Addr| format!("address {address}");
    check_unique(
        excluded.iter().cloned(),
        describe,
        "remove one of the two",
        findings,
    );
    Some(Pool {
        id,
        name: name?.value.clone(),
        prefix: prefix.value,
        exclude: excluded.iter().map(|address| address.value).collect(),
    })
}

fn check_pool_prefix(prefix: &At<Ipv4Net>, findings: &mut Findings) {
    let length = prefix.value.prefix_len();
    if !POOL_LENGTHS.contains(&length) {
        findings
            .error(prefix.span, format!("a pool cannot be a /{length}"))
            .help(format!(
                "lengths from /{} to /{} are possible",
                POOL_LENGTHS.start(),
                POOL_LENGTHS.end()
            ));
    }
    let overlaps = |reserved: &Ipv4Net| {
        reserved.contains(&prefix.value.network()) || prefix.value.contains(&reserved.network())
    };
    if let Some(reserved) = reserved_prefixes()
        .iter()
        .find(|reserved| overlaps(reserved))
    {
        findings
            .error(
                prefix.span,
                format!("{} overlaps the reserved {reserved}", prefix.value),
            )
            .help("a pool is a subnet whose hosts have unicast addresses");
    }
}

fn check_disjoint(pools: &[At<raw::Pool>], findings: &mut Findings) {
    let prefixes: Vec<_> = pools
        .iter()
        .filter_map(|pool| pool.value.prefix.given())
        .collect();
    for (index, later) in prefixes.iter().enumerate() {
        let overlap = prefixes[..index].iter().find(|earlier| {
            earlier.value.contains(&later.value) || later.value.contains(&earlier.value)
        });
        if let Some(earlier) = overlap {
            findings
                .error(
                    later.span,
                    format!("pool {} overlaps pool {}", later.value, earlier.value),
                )
                .also(earlier.span, "the other pool")
                .help("an address belongs to one pool only");
        }
    }
}

/// Checks a UDP port.
pub(super) fn port(
    key: &str,
    given: Option<&At<u16>>,
    default: u16,
    findings: &mut Findings,
) -> u16 {
    let Some(port) = given else { return default };
    if port.value == 0 {
        findings
            .error(port.span, format!("`{key}` cannot be 0"))
            .help(format!("write `{key}: {default}`"));
    }
    port.value
}

/// Checks the BGP settings; everything in them has a default.
pub(super) fn bgp(raw: &raw::Fabric, names: &Names<'_>, findings: &mut Findings) -> BgpSettings {
    let (hold_time, connect_retry) = FAST_TIMERS;
    let mut settings = BgpSettings {
        hold_time,
        connect_retry,
        route_reflectors: BTreeSet::new(),
        max_prefixes: DEFAULT_MAX_PREFIXES,
        graceful_restart: Some(DEFAULT_GRACEFUL_RESTART),
        ipv6: Vec::new(),
    };
    let Some(raw) = raw.bgp.given().map(|raw| &raw.value) else {
        return settings;
    };
    if let Some(timers) = raw.timers.given() {
        (settings.hold_time, settings.connect_retry) = explicit_timers(&timers.value, findings);
    }
    if let Some(reflectors) = raw.route_reflectors.given() {
        let describe = |name: &String| format!("route reflector `{name}`");
        check_unique(
            reflectors.value.iter().cloned(),
            describe,
            "remove one of the two",
            findings,
        );
        settings.route_reflectors = reflectors
            .value
            .iter()
            .filter_map(|name| find_node(names, name, findings))
            .collect();
    }
    if let Some(limit) = raw.max_prefixes.given() {
        if limit.value == 0 {
            let help = format!("write `maxPrefixes: {DEFAULT_MAX_PREFIXES}`");
            findings
                .error(limit.span, "`maxPrefixes` 0 would accept nothing")
                .help(help);
        }
        settings.max_prefixes = usize::try_from(limit.value).unwrap_or(usize::MAX);
    }
    if let Some(restart) = raw.graceful_restart.given() {
        settings.graceful_restart = match &restart.value {
            GracefulRestart::Off => None,
            GracefulRestart::Times(times) => Some(restart_times(times, findings)),
        };
    }
    if let Some(prefixes) = raw.ipv6.given() {
        settings.ipv6 = prefixes.value.iter().map(|at| at.value).collect();
    }
    settings
}

fn restart_times(raw: &RestartTimes, findings: &mut Findings) -> GracefulRestartConfig {
    let mut times = DEFAULT_GRACEFUL_RESTART;
    if let Some(given) = raw.restart_time.given() {
        let written = (given.value, given.span);
        check_within("restartTime", written, 1..=MAX_RESTART_SECONDS, findings);
        times.restart_time = given.value;
        times.deferral_time = times.deferral_time.min(given.value);
    }
    if let Some(given) = raw.deferral_time.given() {
        // Longer than routes are kept would be too late.
        let most = times.restart_time.as_secs().max(1);
        let written = (given.value, given.span);
        check_within("deferralTime", written, 1..=most, findings);
        times.deferral_time = given.value;
    }
    times
}

pub(super) fn explicit_timers(timers: &Timers, findings: &mut Findings) -> (Duration, Duration) {
    let raw = match timers {
        Timers::Profile(TimersProfile::Fast) => return FAST_TIMERS,
        Timers::Profile(TimersProfile::Slow) => return SLOW_TIMERS,
        Timers::Explicit(raw) => raw,
    };
    let (mut hold, mut connect_retry) = FAST_TIMERS;
    if let Some(given) = raw.hold.given() {
        check_seconds(
            "hold",
            (given.value, given.span),
            MIN_HOLD_SECONDS,
            findings,
        );
        hold = given.value;
    }
    if let Some(given) = raw.connect_retry.given() {
        check_seconds("connectRetry", (given.value, given.span), 1, findings);
        connect_retry = given.value;
    }
    (hold, connect_retry)
}

/// Checks a time that the protocol carries in 16 bits of seconds.
pub(super) fn check_seconds(
    key: &str,
    time: (Duration, Span),
    least: u64,
    findings: &mut Findings,
) {
    check_within(key, time, least..=u64::from(u16::MAX), findings);
}

fn check_within(
    key: &str,
    (time, at): (Duration, Span),
    seconds: std::ops::RangeInclusive<u64>,
    findings: &mut Findings,
) {
    if time.subsec_nanos() != 0 || !seconds.contains(&time.as_secs()) {
        let (least, most) = (seconds.start(), seconds.end());
        let shown = crate::config::scalar::duration_text(time);
        findings
            .error(at, format!("`{key}` cannot be {shown}"))
            .help(format!("use whole seconds from {least}s to {most}s"));
    }
}

/// Prefixes that hold no unicast hosts of a LAN.
fn reserved_prefixes() -> [Ipv4Net; 4] {
    let prefix = |a, b, length| Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, 0, 0), length);
    [
        prefix(0, 0, 8),
        prefix(127, 0, 8),
        prefix(169, 254, 16),
        prefix(224, 0, 3),
    ]
}

/// RFC 6793 section 9: stands in for numbers that do not fit into two octets, never a real AS.
pub(super) const AS_TRANS: u32 = 23_456;
const POOL_LENGTHS: std::ops::RangeInclusive<u8> = 8..=30;
pub(super) const DEFAULT_MAX_PREFIXES: usize = 4_096;
/// RFC 4271 section 4.2: zero or at least three seconds; zero would never notice a dead peer.
const MIN_HOLD_SECONDS: u64 = 3;
/// Hold time and connect retry.
const FAST_TIMERS: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(1));
pub(super) const SLOW_TIMERS: (Duration, Duration) =
    (Duration::from_secs(90), Duration::from_secs(10));
/// RFC 4724 section 3: twelve bits of seconds.
const MAX_RESTART_SECONDS: u64 = 4_095;
const DEFAULT_GRACEFUL_RESTART: GracefulRestartConfig = GracefulRestartConfig {
    restart_time: Duration::from_secs(120),
    deferral_time: Duration::from_secs(20),
};
/// What the kernel's filter of the LAN port can hold.
const MAX_POOLS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_that_is_accepted_fits_into_the_filter_of_the_lan() {
        assert_eq!(MAX_POOLS, sam_net::filter::LIMIT);
    }
}
