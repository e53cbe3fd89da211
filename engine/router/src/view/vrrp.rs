//! `samctl vrrp`: the election on the LAN, and what follows.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Router;
use crate::facts::{CounterFacts, ElectionFacts, Facts};

/// `samctl vrrp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VrrpView {
    /// The LAN; `None` when capture is off.
    pub interface: Option<String>,
    /// Configuration; `None` where no election decides.
    pub configured: Option<VrrpConfigured>,
    /// Whether this router may act on the LAN.
    pub gate_open: bool,
    /// Why.
    pub gate_reason: String,
    /// The election; `None` while none is held.
    pub election: Option<ElectionFacts>,
    /// Why no election can be held, if it should be.
    pub failure: Option<String>,
    /// `real-time`, or why not.
    pub scheduling: String,
    /// Conditions with a penalty.
    pub tracked: Vec<TrackedRow>,
    /// Advertisements that did not count, or were odd, by reason; reasons that never occurred are left out.
    pub counters: Vec<CounterFacts>,
}

/// What is configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VrrpConfigured {
    /// Version of the protocol.
    pub version: u8,
    /// Number of the virtual router.
    pub vrid: u8,
    /// The virtual address.
    pub address: Ipv4Addr,
    /// Priority without penalties.
    pub priority: u8,
    /// Interval in milliseconds.
    pub interval_ms: f64,
    /// Whether a backup takes over from a master of lower priority.
    pub preempt: bool,
    /// Unicast peers; empty means multicast.
    pub peers: Vec<Ipv4Addr>,
}

/// A condition with a penalty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedRow {
    /// Its name in the configuration.
    pub name: String,
    /// What is taken from the priority while it does not hold.
    pub penalty: u8,
    /// Whether it holds.
    pub holds: bool,
}

impl Router {
    /// `samctl vrrp`
    #[must_use]
    pub fn vrrp(&self, facts: &Facts) -> VrrpView {
        let vrrp = self.config.vrrp();
        let gate = self.gate();
        let conditions = vrrp.map(|vrrp| self.vrrp_conditions(vrrp));
        let tracked = conditions.into_iter().flatten();
        let tracked = tracked.filter(|condition| condition.penalty > 0);
        let counters = facts.vrrp.counters.iter();
        VrrpView {
            interface: self.config.local.capture.interface().map(String::from),
            configured: vrrp.map(|vrrp| VrrpConfigured {
                version: vrrp.settings.version.number(),
                vrid: vrrp.settings.vrid,
                address: vrrp.settings.address,
                priority: vrrp.settings.priority,
                interval_ms: vrrp.settings.interval.as_secs_f64() * 1e3,
                preempt: vrrp.settings.preempt,
                peers: vrrp.settings.peers.iter().copied().collect(),
            }),
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
            election: facts.vrrp.election.clone(),
            failure: facts.vrrp.failure.clone(),
            scheduling: facts.vrrp.scheduling.clone(),
            tracked: tracked
                .map(|condition| TrackedRow {
                    name: condition.name.into(),
                    penalty: condition.penalty,
                    holds: condition.holds,
                })
                .collect(),
            counters: counters
                .filter(|counter| counter.value > 0)
                .cloned()
                .collect(),
        }
    }
}
