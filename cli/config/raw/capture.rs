//! How packets are drawn in, as it is written.

use std::path::PathBuf;
use std::time::Duration;

use sam_router::config::{CaptureMode, CapturePlacement, CloudKind};

use crate::config::discovery::Discovery;
use crate::config::finding::Findings;
use crate::config::gate::ActiveWhen;
use crate::config::node::Node;
use crate::config::read::{Field, Fields, Read, mapping};
use crate::config::scalar::Word;

mapping! {
    /// How packets are drawn in.
    Capture {
        /// Kind.
        "type" => kind: CaptureKind,
        /// Interface name.
        "interface" => interface: String,
        /// Announce newly answered addresses.
        "gratuitousArp" => gratuitous_arp: bool,
        /// When this router may answer.
        "activeWhen" => active_when: ActiveWhen,
        /// How addresses of the LAN are learned.
        "discovery" => discovery: Discovery,
        /// How far the router goes on its own in a cloud.
        "mode" => mode: CaptureMode,
        /// Who captures for the site in a cloud: the one with the most.
        "priority" => priority: u16,
        /// How the routers of the site divide what is to be captured in a cloud.
        "placement" => placement: CapturePlacement,
        /// Most addresses that this router captures in a cloud.
        "maxCaptures" => max_captures: u16,
        /// How long a route may be missing before an address is given back.
        "releaseHold" => release_hold: Duration,
        /// Changes at the provider per minute.
        "changesPerMinute" => changes_per_minute: u16,
        /// File in which it is written what was done, or `none`.
        "journalFile" => journal_file: PathBuf,
        /// Where the provider is, if not where everybody finds it.
        "endpoints" => endpoints: Endpoints,
    }
}

mapping! {
    /// Base URLs of a provider.
    Endpoints {
        /// The API.
        "api" => api: String,
        /// The metadata service of the instance.
        "metadata" => metadata: String,
        /// Where a certificate of the instance becomes a token.
        "federation" => federation: String,
        /// Interface by which calls leave.
        "interface" => interface: String,
    }
}

/// Kinds of capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaptureKind {
    /// None at all.
    None,
    /// Proxy ARP.
    ProxyArp,
    /// Addresses on the network interface in a cloud.
    Cloud(CloudKind),
}

impl Word for CaptureKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("proxy-arp", Self::ProxyArp),
        ("aws", Self::Cloud(CloudKind::Aws)),
        ("azure", Self::Cloud(CloudKind::Azure)),
        ("oci", Self::Cloud(CloudKind::Oci)),
        ("none", Self::None),
    ];
    const LATER: &'static [&'static str] = &["gcp"];
}

impl Word for CapturePlacement {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("active-standby", Self::ActiveStandby),
        ("active-active", Self::ActiveActive),
    ];
}

impl Word for CaptureMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("observe", Self::Observe),
        ("plan", Self::Plan),
        ("approve", Self::Approve),
        ("auto", Self::Auto),
    ];
}
