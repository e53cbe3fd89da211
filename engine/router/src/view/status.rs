//! `samctl status` and `samctl version`: one page about this router.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::session::SessionState;
use sam_capture::{Pool, Role};
use serde::{Deserialize, Serialize};

use super::{BfdSummary, CheckStatus, NodeRef};
use crate::Router;
use crate::facts::Facts;

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
    /// Whether this router leaves everything to others (`samctl drain`).
    #[serde(default)]
    pub drained: bool,
    /// Generation of the published forwarding state.
    pub generation: u64,
    /// Forwarding entries.
    pub routes: usize,
    /// BGP sessions.
    pub bgp_sessions: UpCount,
    /// Tunnels.
    pub tunnels: UpCount,
    /// BFD; `None` when it is off.
    #[serde(default)]
    pub bfd: Option<BfdSummary>,
    /// Pools.
    pub pools: Vec<PoolSummary>,
    /// How packets are drawn in.
    pub capture: CaptureSummary,
    /// Packet workers that answered in time.
    pub workers: usize,
    /// Offloads that are not in force.
    pub offloads_off: Vec<OffloadOff>,
    /// Packets dropped since start, all reasons.
    pub drops: u64,
    /// Events that found the queue full.
    pub events_lost: u64,
    /// Verdict of `samctl doctor`.
    pub health: CheckStatus,
    /// Messages of the checks that warn or fail.
    pub problems: Vec<String>,
}

/// An offload that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffloadOff {
    /// Its name in the configuration.
    pub name: String,
    /// `configured` or `refused by the kernel`.
    pub why: String,
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

/// Version of the JSON API.
pub const API_VERSION: u32 = 1;

impl VersionView {
    /// Says what program this is; `version` is that of its package.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            name: "samctl".into(),
            version: version.into(),
            api: API_VERSION,
        }
    }
}

impl Router {
    /// `samctl status`
    #[must_use]
    pub fn status(&self, facts: &Facts, now: Instant) -> StatusView {
        let fabric = &self.config.fabric;
        let own = self.config.own_node();
        let peers = self.speaker.peers();
        let tunnels = self.tunnels(facts, now).tunnels;
        let doctor = self.doctor(facts, now);
        let bad = doctor
            .checks
            .into_iter()
            .filter(|check| check.status >= CheckStatus::Warn);
        StatusView {
            version: facts.version.clone(),
            uptime_s: facts.uptime_s,
            fabric: fabric.name.clone(),
            asn: fabric.asn,
            node: NodeRef::new(&self.config, own.id),
            role: own.role,
            overlay: own.overlay,
            route_reflector: fabric.bgp.route_reflectors.contains(&own.id),
            stopping: self.stopping,
            drained: self.state.drained,
            generation: self.fib.generation(),
            routes: self.fib.len(),
            bgp_sessions: UpCount {
                up: peers
                    .iter()
                    .filter(|peer| peer.state == SessionState::Established)
                    .count(),
                configured: peers.len(),
            },
            tunnels: UpCount {
                up: tunnels.iter().filter(|tunnel| tunnel.up).count(),
                configured: tunnels.len(),
            },
            bfd: self.bfd_summary(facts),
            pools: self.pool_summaries(),
            capture: self.capture_summary(),
            workers: facts.workers.len(),
            offloads_off: self.offloads_off(facts),
            drops: facts.drops.iter().map(|drop| drop.total).sum(),
            events_lost: self.events.lost(),
            health: doctor.overall,
            problems: bad.map(|check| check.message).collect(),
        }
    }

    fn offloads_off(&self, facts: &Facts) -> Vec<OffloadOff> {
        let wanted = self.config.local.offloads;
        let in_force = wanted.in_force(&facts.workers);
        let both = wanted.list().into_iter().zip(in_force.list());
        both.filter(|(_, (_, on))| !on)
            .map(|((name, wanted), _)| OffloadOff {
                name: name.to_owned(),
                why: if wanted {
                    "refused by the kernel"
                } else {
                    "configured"
                }
                .to_owned(),
            })
            .collect()
    }

    fn pool_summaries(&self) -> Vec<PoolSummary> {
        let owners = |pool: u32, local: bool| {
            self.owners
                .owners()
                .filter(|owner| owner.pool == pool && owner.local == local)
                .count()
        };
        let summary = |pool: &Pool| PoolSummary {
            id: pool.id,
            name: pool.name.clone(),
            prefix: pool.prefix,
            local: owners(pool.id, true),
            remote: owners(pool.id, false),
        };
        self.config.fabric.pools.iter().map(summary).collect()
    }

    fn capture_summary(&self) -> CaptureSummary {
        let interface = self.config.local.capture.interface();
        let gate = self.gate();
        CaptureSummary {
            kind: if interface.is_some() {
                "proxy-arp"
            } else {
                "none"
            }
            .into(),
            interface: interface.map(String::from),
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
            answers: self.fib.answers().len(),
        }
    }
}
