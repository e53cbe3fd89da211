//! `samctl status` and `samctl version`: one page about this router.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_capture::Role;
use serde::{Deserialize, Serialize};

use super::{CheckStatus, NodeRef};

/// One page about this router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Program version.
    pub version: String,
    /// Seconds since start.
    pub uptime_s: f64,
    /// Name of the fabric.
    pub fabric: String,
    /// AS number.
    pub asn: u32,
    /// This router.
    pub node: NodeRef,
    /// Where it runs.
    pub role: Role,
    /// Its overlay address.
    pub overlay: Ipv4Addr,
    /// Whether it reflects routes.
    pub route_reflector: bool,
    /// Whether an orderly stop is under way.
    pub stopping: bool,
    /// Generation of the published forwarding state.
    pub generation: u64,
    /// Forwarding entries.
    pub routes: usize,
    /// BGP sessions.
    pub bgp_sessions: UpCount,
    /// Tunnels.
    pub tunnels: UpCount,
    /// Pools.
    pub pools: Vec<PoolSummary>,
    /// How packets are drawn in.
    pub capture: CaptureSummary,
    /// Packets dropped since start, all reasons.
    pub drops: u64,
    /// Events that found the queue full.
    pub events_lost: u64,
    /// Verdict of `samctl doctor`.
    pub health: CheckStatus,
    /// Messages of the checks that warn or fail.
    pub problems: Vec<String>,
}

/// How many of how many are up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpCount {
    /// Up.
    pub up: usize,
    /// Configured.
    pub configured: usize,
}

/// One pool in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Number.
    pub id: u32,
    /// Name.
    pub name: String,
    /// Subnet.
    pub prefix: Ipv4Net,
    /// Addresses owned here.
    pub local: usize,
    /// Addresses owned by other nodes.
    pub remote: usize,
}

/// How packets for other sites' addresses are drawn in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSummary {
    /// `none` or `proxy-arp`.
    pub kind: String,
    /// LAN interface.
    pub interface: Option<String>,
    /// Whether this router may act on its LAN.
    pub gate_open: bool,
    /// Why the gate is open or closed.
    pub gate_reason: String,
    /// Addresses answered for.
    pub answers: usize,
}

/// What program this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Program name.
    pub name: String,
    /// Program version.
    pub version: String,
    /// Version of this JSON API; grows when a field changes its meaning or goes away.
    pub api: u32,
}
