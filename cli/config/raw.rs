//! The schema: what may be written in a file, key by key, before anything is checked together.
//!
//! Keys are camelCase as in the file. Every field is optional here; what is required and what the defaults are is
//! decided in [`super::lower`].

mod capture;
mod foreign;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use sam_capture::Role;
use sam_router::config::{CaptureMode, CapturePlacement};
use sam_router::encapsulation::Payload;

use super::finding::Findings;
use super::node::{Node, Value};
use super::read::{At, Field, Fields, Read, mapping};
use super::scalar::{Word, read_word};
pub(crate) use capture::*;
pub(crate) use foreign::*;

mapping! {
    /// A whole file.
    Document {
        /// Version of the schema.
        "version" => version: u32,
        /// File with the fabric part; the same as `fabric: {include: …}`.
        "include" => include: PathBuf,
        /// What all routers share.
        "fabric" => fabric: FabricPart,
        /// What is this router's own.
        "self" => local: Local,
    }
}

/// The fabric part: here or in another file.
#[derive(Debug, Clone)]
pub(crate) enum FabricPart {
    /// Written here.
    Here(Box<Fabric>),
    /// Written in another file.
    Include(Include),
}

mapping! {
    /// `{include: fabric.yaml}`.
    Include {
        /// The other file, relative to this one.
        "include" => include: PathBuf,
    }
}

mapping! {
    /// What all routers share.
    Fabric {
        /// Name of the fabric.
        "name" => name: String,
        /// AS number of the mesh.
        "asn" => asn: u32,
        /// Shared subnets.
        "pools" => pools: Vec<At<Pool>>,
        /// How nodes reach each other.
        "transport" => transport: Transport,
        /// Pairs of nodes with another transport.
        "pairs" => pairs: Vec<At<Pair>>,
        /// BGP settings.
        "bgp" => bgp: Bgp,
        /// BFD settings.
        "bfd" => bfd: Bfd,
        /// All routers.
        "nodes" => nodes: Vec<At<FabricNode>>,
    }
}

mapping! {
    /// A shared subnet.
    Pool {
        /// Name.
        "name" => name: String,
        /// The subnet.
        "prefix" => prefix: Ipv4Net,
        /// Addresses that never move.
        "exclude" => exclude: Vec<At<Ipv4Addr>>,
    }
}

mapping! {
    /// How nodes reach each other.
    Transport {
        /// Encapsulation.
        "encap" => encap: Encap,
        /// Inside of what.
        "over" => over: Over,
        /// Nobody else can read or send there.
        "trustedUnderlay" => trusted_underlay: bool,
        /// UDP port.
        "port" => port: u16,
        /// Variant of GUE.
        "variant" => variant: GueVariant,
        /// What FOU and GUE carry.
        "inner" => inner: Payload,
        /// Key of GRE.
        "key" => key: u32,
        /// Whether GRE packets carry a checksum.
        "checksum" => checksum: bool,
        /// Network of VXLAN.
        "vni" => vni: u32,
        /// `auto` or bytes.
        "mtu" => mtu: Mtu,
        /// Lower the MSS of passing SYNs.
        "mssClamp" => mss_clamp: bool,
        /// Fragment what its sender forbids to fragment.
        "forceFragmentIPv4" => force_fragment: bool,
        /// `inherit` or the DSCP of outer headers.
        "dscp" => dscp: Dscp,
        /// Duration or `off`.
        "keepalive" => keepalive: Keepalive,
    }
}

mapping! {
    /// Two nodes and how they reach each other.
    Pair {
        /// Names of both.
        "nodes" => nodes: Vec<At<String>>,
        /// How they do.
        "transport" => transport: Transport,
    }
}

mapping! {
    /// BGP settings.
    Bgp {
        /// A profile or explicit timers.
        "timers" => timers: Timers,
        /// Names of nodes.
        "routeReflectors" => route_reflectors: Vec<At<String>>,
        /// Prefixes accepted per session.
        "maxPrefixes" => max_prefixes: u32,
        /// Times or `off`.
        "gracefulRestart" => graceful_restart: GracefulRestart,
        /// Prefixes of IPv6 within which routes are exchanged.
        "ipv6" => ipv6: Vec<At<Ipv6Net>>,
    }
}

mapping! {
    /// Times of graceful restart.
    RestartTimes {
        /// How long routes are kept without session.
        "restartTime" => restart_time: Duration,
        /// How long a router that restarted waits for what its peers know.
        "deferralTime" => deferral_time: Duration,
    }
}

mapping! {
    /// BFD settings: a profile, or the timing.
    Bfd {
        /// A name for a timing.
        "profile" => profile: BfdProfile,
        /// Interval of packets in both directions.
        "interval" => interval: Duration,
        /// How many in a row may be missed.
        "multiplier" => multiplier: u16,
    }
}

mapping! {
    /// Explicit timers.
    ExplicitTimers {
        /// Hold time.
        "hold" => hold: Duration,
        /// Base of the connect retry.
        "connectRetry" => connect_retry: Duration,
    }
}

mapping! {
    /// One router.
    FabricNode {
        /// Number.
        "id" => id: u32,
        /// Name.
        "name" => name: String,
        /// Site.
        "site" => site: String,
        /// Where it runs.
        "role" => role: Role,
        /// Overlay address.
        "overlay" => overlay: Ipv4Addr,
        /// Underlay host and port.
        "endpoint" => endpoint: String,
        /// WireGuard public key in base64.
        "publicKey" => public_key: String,
        /// Prefixes that it may own.
        "may" => may: Vec<At<Ipv4Net>>,
        /// Its network interface by the name of its cloud's provider.
        "nic" => nic: String,
    }
}

mapping! {
    /// This router's own part.
    Local {
        /// Its name in the fabric.
        "node" => node: String,
        /// File with the private key.
        "privateKeyFile" => private_key_file: PathBuf,
        /// Files with preshared keys, by name of the peer.
        "presharedKeyFiles" => preshared_key_files: PeerFiles,
        /// UDP port.
        "listenPort" => listen_port: u16,
        /// Name of the TUN device.
        "tun" => tun: String,
        /// Packet workers.
        "workers" => workers: u16,
        /// What the kernel may be asked to do.
        "offloads" => offloads: Offloads,
        /// How packets are drawn in.
        "capture" => capture: Capture,
        /// BGP with routers of others.
        "bgp" => bgp: ForeignBgp,
        /// Addresses that live here.
        "owned" => owned: Vec<At<Ipv4Addr>>,
        /// Control socket.
        "control" => control: Control,
        /// File for run-time state.
        "stateFile" => state_file: PathBuf,
    }
}

mapping! {
    /// What the kernel may be asked to do; everything by default.
    Offloads {
        /// TCP superpackets from and to the host.
        "tunTcp" => tun_tcp: bool,
        /// UDP superpackets from and to the host.
        "tunUdp" => tun_udp: bool,
        /// TCP superpackets to the LAN.
        "lanTcp" => lan_tcp: bool,
        /// UDP superpackets to the LAN.
        "lanUdp" => lan_udp: bool,
        /// Trains that the kernel cuts.
        "udpSegment" => udp_segment: bool,
        /// Trains that the kernel joins.
        "udpGro" => udp_gro: bool,
    }
}

mapping! {
    /// Control API.
    Control {
        /// Path of the socket.
        "socket" => socket: PathBuf,
    }
}

/// Files by name of the peer, with the places of the names.
#[derive(Debug, Clone)]
pub(crate) struct PeerFiles(pub(crate) Vec<(At<String>, At<PathBuf>)>);

/// `auto` or a number of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mtu {
    /// Computed from the underlay.
    Auto,
    /// Bytes.
    Bytes(u16),
}

/// `inherit` or a number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dscp {
    /// That of the inner packet.
    Inherit,
    /// Code point.
    Value(u8),
}

/// A duration or `off`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keepalive {
    /// Never.
    Off,
    /// Every.
    Every(Duration),
}

/// Times or `off`.
#[derive(Debug, Clone)]
pub(crate) enum GracefulRestart {
    /// Neither offered nor granted.
    Off,
    /// One by one.
    Times(RestartTimes),
}

/// A profile or explicit timers.
#[derive(Debug, Clone)]
pub(crate) enum Timers {
    /// By name.
    Profile(TimersProfile),
    /// One by one.
    Explicit(ExplicitTimers),
}

/// Named sets of timers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimersProfile {
    /// Notice a dead router within seconds.
    Fast,
    /// The usual times of BGP.
    Slow,
}

/// Named timings of BFD.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BfdProfile {
    /// Between clouds.
    Default,
    /// Virtual machines of one region.
    Fast,
    /// Machines on one LAN.
    LanRt,
    /// Lines that are at times slow.
    Wan,
    /// No BFD.
    None,
}

/// Encapsulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encap {
    /// Encrypted UDP.
    Wireguard,
    /// Generic UDP Encapsulation.
    Gue,
    /// Foo over UDP.
    Fou,
    /// Generic Routing Encapsulation.
    Gre,
    /// IPv4 in IP.
    Ipip,
    /// Virtual Extensible LAN.
    Vxlan,
}

/// What an encapsulation can be inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Encrypted UDP.
    Wireguard,
}

/// Variants of GUE.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GueVariant {
    /// With a header.
    Zero,
    /// Without.
    One,
}

impl Word for Encap {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("wireguard", Self::Wireguard),
        ("gue", Self::Gue),
        ("fou", Self::Fou),
        ("gre", Self::Gre),
        ("ipip", Self::Ipip),
        ("vxlan", Self::Vxlan),
    ];
}

impl Word for Over {
    const WORDS: &'static [(&'static str, Self)] = &[("wireguard", Self::Wireguard)];
}

impl Word for GueVariant {
    const WORDS: &'static [(&'static str, Self)] = &[("0", Self::Zero), ("1", Self::One)];
}

impl Word for Payload {
    const WORDS: &'static [(&'static str, Self)] = &[("ipip", Self::Ipip), ("gre", Self::Gre)];
}

impl Word for Role {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("onprem", Self::Onprem),
        ("aws", Self::Aws),
        ("azure", Self::Azure),
        ("oci", Self::Oci),
        ("gcp", Self::Gcp),
    ];
}

impl Word for TimersProfile {
    const WORDS: &'static [(&'static str, Self)] = &[("fast", Self::Fast), ("slow", Self::Slow)];
}

impl Word for BfdProfile {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("default", Self::Default),
        ("fast", Self::Fast),
        ("lan-rt", Self::LanRt),
        ("wan", Self::Wan),
        ("none", Self::None),
    ];
}

macro_rules! read_words {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
                read_word(node, key, findings)
            }
        }
    )*};
}
read_words!(
    CaptureMode,
    CapturePlacement,
    Encap,
    Over,
    GueVariant,
    Payload,
    CaptureKind,
    Role,
    TimersProfile,
    BfdProfile
);

impl Read for FabricPart {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let included = match &node.value {
            Value::Map(entries) => entries.iter().any(|entry| entry.key == "include"),
            Value::Empty | Value::Text(_) | Value::List(_) => false,
        };
        if included {
            return Include::read(node, key, findings).map(Self::Include);
        }
        Fabric::read(node, key, findings).map(|fabric| Self::Here(Box::new(fabric)))
    }
}

impl Read for Timers {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if let Value::Map(_) = &node.value {
            return ExplicitTimers::read(node, key, findings).map(Self::Explicit);
        }
        read_word(node, key, findings).map(Self::Profile)
    }
}

impl Read for Mtu {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if let Value::Text(text) = &node.value {
            if text == "auto" {
                return Some(Self::Auto);
            }
            if let Ok(bytes) = text.parse() {
                return Some(Self::Bytes(bytes));
            }
        }
        let found = node.value.describe();
        findings.error(
            node.span,
            format!("`{key}` must be `auto` or a number of bytes, not {found}"),
        );
        None
    }
}

impl Read for Dscp {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if let Value::Text(text) = &node.value {
            if text == "inherit" {
                return Some(Self::Inherit);
            }
            if let Ok(value) = text.parse() {
                return Some(Self::Value(value));
            }
        }
        let found = node.value.describe();
        findings.error(
            node.span,
            format!("`{key}` must be `inherit` or a number from 0 to 63, not {found}"),
        );
        None
    }
}

impl Read for Keepalive {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        if matches!(&node.value, Value::Text(text) if text == "off") {
            return Some(Self::Off);
        }
        Duration::read(node, key, findings).map(Self::Every)
    }
}

impl Read for GracefulRestart {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "off" => Some(Self::Off),
            Value::Map(_) => RestartTimes::read(node, key, findings).map(Self::Times),
            Value::Empty | Value::Text(_) | Value::List(_) => {
                let found = node.value.describe();
                findings
                    .error(
                        node.span,
                        format!("`{key}` must be times or `off`, not {found}"),
                    )
                    .help(format!("write `{key}: {{restartTime: 120s}}`"));
                None
            }
        }
    }
}

impl Read for PeerFiles {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let found = node.value.describe();
            findings
                .error(node.span, format!("`{key}` must be a mapping, not {found}"))
                .help(format!("write `{key}: {{name-of-the-peer: file}}`"));
            return None;
        };
        let mut files = Vec::new();
        for entry in entries {
            if let Some(path) = PathBuf::read(&entry.node, &entry.key, findings) {
                let name = At {
                    value: entry.key.clone(),
                    span: entry.key_span,
                };
                files.push((
                    name,
                    At {
                        value: path,
                        span: entry.node.span,
                    },
                ));
            }
        }
        Some(Self(files))
    }
}
