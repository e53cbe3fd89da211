//! How packets for other sites' addresses are drawn in: proxy ARP on a LAN, addresses on the NIC in a cloud, or not at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sam_router::config::{
    CHANGES_PER_MINUTE_MAX, Capture, CaptureMode, CapturePlacement, CloudCapture, CloudEndpoints,
    CloudKind, DEFAULT_CAPTURE_PRIORITY, DEFAULT_CHANGES_PER_MINUTE, DEFAULT_RELEASE_HOLD,
    MAX_CAPTURES_MAX, Node,
};

use super::local::{NO_STATE_FILE, STATE_FOLDER, absolute, check_interface};
use super::{Checked, Input, discovery, vrrp};
use crate::config::finding::Findings;
use crate::config::raw::{self, CaptureKind};
use crate::config::read::{At, Field};
use crate::config::scalar::duration_text;
use crate::config::source::Span;

/// Shortest and longest time that a route may be missing before an address is given back.
const RELEASE_HOLD: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3600));

/// Checks how packets are drawn in.
pub(super) fn capture(
    input: &Input<'_>,
    checked: &Checked<'_>,
    own: Option<&Node>,
    tun: &str,
    findings: &mut Findings,
) -> Option<Capture> {
    let owner = input.local.span;
    let help = "write `capture: {type: proxy-arp, ...}` on a LAN, `{type: aws, ...}` in a cloud, or `{type: none}` \
                for a mere reflector";
    let capture = &input.local.value.capture;
    let At { value: raw, span } = capture.required("capture", owner, help, findings)?;
    let help = "it is `proxy-arp`, `aws`, `azure`, `oci` or `none`";
    let kind = raw.kind.required("type", *span, help, findings)?;
    match kind.value {
        CaptureKind::None => {
            let keys = [
                ("interface", place(&raw.interface)),
                ("gratuitousArp", place(&raw.gratuitous_arp)),
                ("activeWhen", place(&raw.active_when)),
                ("discovery", place(&raw.discovery)),
            ];
            let help = "remove it, or write `type: proxy-arp`";
            check_idle(
                keys.into_iter().chain(cloud_keys(raw)),
                "none",
                help,
                findings,
            );
            Some(Capture::None)
        }
        CaptureKind::ProxyArp => {
            let help = "remove it, or write the cloud as `type`";
            check_idle(cloud_keys(raw), "proxy-arp", help, findings);
            proxy_arp(raw, *span, tun, checked, findings)
        }
        CaptureKind::Cloud(provider) => {
            let keys = [
                ("gratuitousArp", place(&raw.gratuitous_arp)),
                ("activeWhen", place(&raw.active_when)),
            ];
            let help = "remove it: in a cloud its provider answers ARP";
            check_idle(keys, provider.name(), help, findings);
            let scope = Scope {
                input,
                checked,
                own,
                tun,
                at: *span,
            };
            let interface = interface(raw, *span, tun, findings);
            cloud(raw, provider, interface, &scope, findings).map(Capture::Cloud)
        }
    }
}

/// What capture in a cloud is checked against.
struct Scope<'a> {
    input: &'a Input<'a>,
    checked: &'a Checked<'a>,
    own: Option<&'a Node>,
    tun: &'a str,
    at: Span,
}

fn cloud_keys(raw: &raw::Capture) -> [(&'static str, Option<Span>); 8] {
    [
        ("mode", place(&raw.mode)),
        ("priority", place(&raw.priority)),
        ("placement", place(&raw.placement)),
        ("maxCaptures", place(&raw.max_captures)),
        ("releaseHold", place(&raw.release_hold)),
        ("changesPerMinute", place(&raw.changes_per_minute)),
        ("journalFile", place(&raw.journal_file)),
        ("endpoints", place(&raw.endpoints)),
    ]
}

/// Reports keys that mean nothing with this type.
fn check_idle(
    keys: impl IntoIterator<Item = (&'static str, Option<Span>)>,
    kind: &str,
    help: &str,
    findings: &mut Findings,
) {
    for (key, at) in keys {
        if let Some(at) = at {
            findings
                .error(at, format!("`{key}` means nothing with `type: {kind}`"))
                .help(help);
        }
    }
}

fn place<T>(field: &Field<T>) -> Option<Span> {
    field.given().map(|at| at.span)
}

fn interface(raw: &raw::Capture, at: Span, tun: &str, findings: &mut Findings) -> Option<String> {
    let help = "name the interface of the LAN, for example `interface: lan0`";
    let interface = raw.interface.required("interface", at, help, findings)?;
    check_interface("interface", interface, findings);
    if interface.value == tun {
        findings
            .error(
                interface.span,
                format!("`{tun}` is the TUN device, not the LAN"),
            )
            .help("name the interface of the LAN, or give `tun` another name");
    }
    Some(interface.value.clone())
}

fn proxy_arp(
    raw: &raw::Capture,
    at: Span,
    tun: &str,
    checked: &Checked<'_>,
    findings: &mut Findings,
) -> Option<Capture> {
    let interface = interface(raw, at, tun, findings);
    let help = "two routers that answer ARP on one LAN break it; write `activeWhen: single-router` \
                when this is the only one, else `activeWhen: {vrrp: {vrid: 60, address: 10.77.60.254}}`";
    let active_when = raw.active_when.required("activeWhen", at, help, findings);
    let active_when = active_when.and_then(|raw| vrrp::active_when(raw, findings));
    // A broken part is no part left out: the file is refused then.
    let discovery = raw.discovery.given();
    let discovery = discovery.and_then(|raw| discovery::discovery(raw, checked, findings));
    Some(Capture::ProxyArp {
        interface: interface?,
        gratuitous_arp: raw.gratuitous_arp.or(true),
        active_when: active_when?,
        discovery,
    })
}

fn cloud(
    raw: &raw::Capture,
    provider: CloudKind,
    interface: Option<String>,
    scope: &Scope<'_>,
    findings: &mut Findings,
) -> Option<CloudCapture> {
    let mode = raw.mode.or(CaptureMode::default());
    let journal_file = journal_file(raw, scope);
    if mode >= CaptureMode::Approve {
        check_changes(raw, mode, journal_file.as_deref(), scope, findings);
    }
    let release_hold = release_hold(raw, findings);
    let changes_per_minute = changes_per_minute(raw, findings);
    let max_captures = max_captures(raw, findings);
    let discovery = raw.discovery.given();
    let discovery = discovery.and_then(|raw| discovery::provider(raw, findings));
    let priority = match raw.priority.given() {
        Some(priority) => vrrp::byte("priority", priority, 1, 254, findings),
        None => Some(DEFAULT_CAPTURE_PRIORITY),
    };
    Some(CloudCapture {
        provider,
        interface: interface?,
        mode,
        priority: priority?,
        placement: raw.placement.or(CapturePlacement::default()),
        max_captures: max_captures?,
        discovery,
        release_hold: release_hold?,
        changes_per_minute: changes_per_minute?,
        journal_file,
        endpoints: endpoints(raw, scope.tun, findings),
    })
}

/// Where the provider is; what is no base URL is reported.
fn endpoints(raw: &raw::Capture, tun: &str, findings: &mut Findings) -> CloudEndpoints {
    let Some(At { value: raw, .. }) = raw.endpoints.given() else {
        return CloudEndpoints::default();
    };
    let mut url = |name: &str, field: &Field<String>| {
        let At { value, span } = field.given()?;
        let rest = ["http://", "https://"]
            .into_iter()
            .find_map(|scheme| value.strip_prefix(scheme));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(char::is_whitespace)) {
            findings
                .error(*span, format!("`{name}` is no base URL: '{value}'"))
                .help("write it like `https://vpce-0a.ec2.eu-central-1.vpce.amazonaws.com`");
        }
        Some(value.trim_end_matches('/').to_owned())
    };
    CloudEndpoints {
        api: url("api", &raw.api),
        metadata: url("metadata", &raw.metadata),
        federation: url("federation", &raw.federation),
        interface: raw.interface.given().map(|at| {
            check_interface("interface", at, findings);
            if at.value == tun {
                findings
                    .error(at.span, format!("`{tun}` is the TUN device: a provider cannot be behind the tunnels that need it"))
                    .help("name the interface by which the provider is reached");
            }
            at.value.clone()
        }),
    }
}

/// Who changes anything at the provider must know which NIC is its own, and what it did before a restart.
fn check_changes(
    raw: &raw::Capture,
    mode: CaptureMode,
    journal_file: Option<&Path>,
    scope: &Scope<'_>,
    findings: &mut Findings,
) {
    let mode_at = place(&raw.mode).unwrap_or(scope.at);
    let mode = mode.name();
    if journal_file.is_none() {
        findings
            .error(
                place(&raw.journal_file).unwrap_or(scope.at),
                format!(
                    "mode {mode} needs a journal: without it nobody knows which addresses are ours"
                ),
            )
            .help("name a file that survives a restart, or leave `journalFile` out");
    }
    let own = scope
        .own
        .filter(|own| scope.checked.sound.nodes && own.nic.is_none());
    if let Some(own) = own {
        findings
            .error(mode_at, format!("mode {mode} needs the `nic` of node {}", own.name))
            .help(format!(
                "add `nic: ...` to {} in fabric.nodes on every router: the provider's id of this interface",
                own.name
            ));
    }
}

fn release_hold(raw: &raw::Capture, findings: &mut Findings) -> Option<Duration> {
    let Some(written) = raw.release_hold.given() else {
        return Some(DEFAULT_RELEASE_HOLD);
    };
    let (shortest, longest) = RELEASE_HOLD;
    if !(shortest..=longest).contains(&written.value) {
        let (shortest, longest) = (duration_text(shortest), duration_text(longest));
        findings
            .error(
                written.span,
                format!("`releaseHold` cannot be {}", duration_text(written.value)),
            )
            .help(format!(
                "write {shortest} to {longest}; routes may be missing for a while"
            ));
        return None;
    }
    Some(written.value)
}

/// Nothing written is no limit but the provider's.
fn max_captures(raw: &raw::Capture, findings: &mut Findings) -> Option<Option<usize>> {
    let Some(written) = raw.max_captures.given() else {
        return Some(None);
    };
    let count = usize::from(written.value);
    if !(1..=MAX_CAPTURES_MAX).contains(&count) {
        findings
            .error(written.span, format!("`maxCaptures` cannot be {count}"))
            .help(format!(
                "write 1 to {MAX_CAPTURES_MAX}, or leave it out: then it is what the provider has room for"
            ));
        return None;
    }
    Some(Some(count))
}

fn changes_per_minute(raw: &raw::Capture, findings: &mut Findings) -> Option<usize> {
    let Some(written) = raw.changes_per_minute.given() else {
        return Some(DEFAULT_CHANGES_PER_MINUTE);
    };
    let count = usize::from(written.value);
    if !(1..=CHANGES_PER_MINUTE_MAX).contains(&count) {
        findings
            .error(
                written.span,
                format!("`changesPerMinute` cannot be {count}"),
            )
            .help(format!(
                "write 1 to {CHANGES_PER_MINUTE_MAX}; mode plan changes nothing"
            ));
        return None;
    }
    Some(count)
}

fn journal_file(raw: &raw::Capture, scope: &Scope<'_>) -> Option<PathBuf> {
    match raw.journal_file.given() {
        Some(file) if file.value == Path::new(NO_STATE_FILE) => None,
        Some(file) => Some(absolute(scope.input.path, &file.value)),
        None => {
            let node = scope.own.map_or("", |own| &own.name);
            let fabric = &scope.checked.fabric.name;
            Some(Path::new(STATE_FOLDER).join(format!("{fabric}-{node}-captures.jsonl")))
        }
    }
}
