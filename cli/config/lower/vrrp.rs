//! VRRP: the election among the routers of one LAN.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::config::{ActiveWhen, FULL_PENALTY, Track, Vrrp, VrrpSettings, VrrpVersion};

use super::check_unique;
use crate::config::finding::Findings;
use crate::config::gate;
use crate::config::read::{At, Field};
use crate::config::scalar::duration_text;
use crate::config::source::Span;

/// Checks when the router may act on its LAN.
pub(super) fn active_when(
    raw: &At<gate::ActiveWhen>,
    findings: &mut Findings,
) -> Option<ActiveWhen> {
    match &raw.value {
        gate::ActiveWhen::SingleRouter => Some(ActiveWhen::SingleRouter),
        gate::ActiveWhen::Vrrp(settings) => {
            vrrp(&settings.value, settings.span, findings).map(ActiveWhen::Vrrp)
        }
    }
}

fn vrrp(raw: &gate::Vrrp, at: Span, findings: &mut Findings) -> Option<Vrrp> {
    let help = "number the virtual router as its other routers do, for example `vrid: 60`";
    let vrid = raw.vrid.required("vrid", at, help, findings);
    let vrid = vrid.and_then(|vrid| byte("vrid", vrid, 1, 255, findings));
    let help = "name the address that moves with the master, for example `address: 10.77.60.254`";
    let address = raw.address.required("address", at, help, findings);
    if let Some(address) = address {
        check_host("address", address, findings);
    }
    let priority = raw.priority.given();
    let priority = match priority {
        Some(priority) => byte("priority", priority, 1, 255, findings),
        None => Some(DEFAULT_PRIORITY),
    };
    let version = version(raw, findings);
    let interval = interval(raw, version, findings);
    let help = "leave `peers` out: multicast reaches all routers of the LAN";
    let peers = others("peers", &raw.peers, help, findings);
    let help = "leave `routers` out: `samctl vrrp` lists who is unknown";
    let routers = others("routers", &raw.routers, help, findings);
    if let Some(given) = raw.routers.given().filter(|_| !peers.is_empty()) {
        findings
            .error(given.span, "`routers` beside `peers`")
            .help("`peers` names all other routers already: nobody else counts");
    }
    let track = track(raw, findings);
    let settings = VrrpSettings {
        version,
        vrid: vrid?,
        priority: priority?,
        address: address?.value,
        interval,
        preempt: raw.preempt.or(false),
        peers,
        routers,
    };
    Some(Vrrp { settings, track })
}

fn version(raw: &gate::Vrrp, findings: &mut Findings) -> VrrpVersion {
    match raw
        .version
        .given()
        .map(|version| (version.value, version.span))
    {
        None | Some((3, _)) => VrrpVersion::V3,
        Some((2, _)) => VrrpVersion::V2,
        Some((other, span)) => {
            findings
                .error(span, format!("there is no VRRP version {other} for IPv4"))
                .help("write `version: 3`, or 2 beside routers that know no other");
            VrrpVersion::V3
        }
    }
}

/// Reads the interval: what a packet of the version can tell.
fn interval(raw: &gate::Vrrp, version: VrrpVersion, findings: &mut Findings) -> Duration {
    let default = match version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => Duration::from_millis(300),
    };
    let Some(interval) = raw.interval.given() else {
        return default;
    };
    let (tick, longest) = (version.tick(), version.longest());
    let wanted = interval.value;
    let is_whole = wanted.as_millis().is_multiple_of(tick.as_millis());
    if !(tick..=longest).contains(&wanted) || !is_whole {
        let number = version.number();
        let shown = duration_text(wanted);
        findings
            .error(
                interval.span,
                format!("VRRP version {number} cannot tell an `interval` of {shown}"),
            )
            .help(format!(
                "use multiples of {} up to {}",
                duration_text(tick),
                duration_text(longest)
            ));
        return default;
    }
    wanted
}

/// Reads a list of the LAN's other routers; `without` says what to do instead of naming too many.
fn others(
    key: &str,
    field: &Field<Vec<At<Ipv4Addr>>>,
    without: &str,
    findings: &mut Findings,
) -> BTreeSet<Ipv4Addr> {
    let Some(others) = field.given() else {
        return BTreeSet::new();
    };
    if others.value.is_empty() {
        let help = match key {
            "peers" => {
                "name the other routers' addresses on the LAN, or leave `peers` out for multicast"
            }
            _ => "name the addresses on the LAN of routers of other makes, or leave it out",
        };
        findings
            .error(others.span, format!("`{key}` is empty"))
            .help(help);
    }
    if others.value.len() > MAX_OTHERS {
        findings
            .error(others.span, format!("more than {MAX_OTHERS} `{key}`"))
            .help(without);
    }
    let describe = |other: &Ipv4Addr| match key {
        "peers" => format!("peer {other}"),
        _ => format!("router {other}"),
    };
    check_unique(
        others.value.iter().cloned(),
        describe,
        "remove one of the two",
        findings,
    );
    for other in &others.value {
        check_host(key, other, findings);
    }
    others.value.iter().map(|other| other.value).collect()
}

fn track(raw: &gate::Vrrp, findings: &mut Findings) -> Track {
    let usual = Track::default();
    let Some(track) = raw.track.given() else {
        return usual;
    };
    let mut penalty = |key, field: &Field<u16>, usual| {
        let given = field.given();
        given
            .and_then(|at| byte(key, at, 0, FULL_PENALTY, findings))
            .unwrap_or(usual)
    };
    Track {
        bgp: penalty("bgp", &track.value.bgp, usual.bgp),
        tunnels: penalty("tunnels", &track.value.tunnels, usual.tunnels),
        engine: penalty("engine", &track.value.engine, usual.engine),
    }
}

/// Checks that an address can be one of a host.
fn check_host(key: &str, address: &At<Ipv4Addr>, findings: &mut Findings) {
    let value = address.value;
    if value.is_unspecified() || value.is_multicast() || value.is_broadcast() || value.is_loopback()
    {
        findings
            .error(address.span, format!("`{key}` cannot be {value}"))
            .help("use an address of the LAN");
    }
}

pub(super) fn byte(
    key: &str,
    number: &At<u16>,
    least: u8,
    most: u8,
    findings: &mut Findings,
) -> Option<u8> {
    let value = u8::try_from(number.value).ok();
    let value = value.filter(|value| (least..=most).contains(value));
    if value.is_none() {
        findings
            .error(number.span, format!("`{key}` cannot be {}", number.value))
            .help(format!("use {least} to {most}"));
    }
    value
}

/// The RFC's priority of a router that backs others up.
const DEFAULT_PRIORITY: u8 = 100;
/// Each of the peers gets every advertisement, and more senders than that are not told apart.
const MAX_OTHERS: usize = 16;
