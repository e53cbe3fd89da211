//! `samctl vrrp`: the election on the LAN, and what follows.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::seconds_ago;
use crate::Router;
use crate::facts::{CounterFacts, ElectionFacts, Facts};
use crate::lan_role::TrackedCondition;

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
    /// Whether the thread of the election stands still, so that nobody knows who is master.
    #[serde(default)]
    pub silent: bool,
    /// `real-time`, or why not.
    pub scheduling: String,
    /// The last time that two routers were master at once, if there was one.
    pub split_brain: Option<SplitBrainRow>,
    /// Addresses that another router of the LAN claims too, and whose hosts do not answer here: the LAN is cut in two.
    pub absent: Vec<Ipv4Addr>,
    /// Whether this router has just begun: it does not take the role from a master that works, whatever the priorities.
    pub fenced: bool,
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
    /// Routers of other makes that are expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Ipv4Addr>,
}

/// Two masters at once, as the election ended it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitBrainRow {
    /// LAN address of the other router.
    pub rival: Ipv4Addr,
    /// Whether this router keeps the role.
    pub keeps: bool,
    /// Who keeps silent, and by which rule.
    pub verdict: String,
    /// Seconds since it was noticed last.
    pub last_s: f64,
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
    pub fn vrrp(&self, facts: &Facts, now: Instant) -> VrrpView {
        let vrrp = self.config.vrrp();
        let gate = self.gate();
        let conditions = vrrp.map(|vrrp| self.vrrp_conditions(vrrp));
        let engine = vrrp.map(|vrrp| TrackedCondition {
            name: "engine",
            penalty: vrrp.track.engine,
            holds: facts.vrrp.stalled.is_none(),
        });
        let tracked = conditions.into_iter().flatten().chain(engine);
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
                routers: vrrp.settings.routers.iter().copied().collect(),
            }),
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
            election: facts.vrrp.election.clone(),
            failure: facts.vrrp.failure.clone(),
            silent: facts.vrrp.silent,
            scheduling: facts.vrrp.scheduling.clone(),
            split_brain: self.lan_role.split_brain().map(|split| SplitBrainRow {
                rival: split.rival,
                keeps: split.keeps,
                verdict: split.verdict(),
                last_s: seconds_ago(split.at, now),
            }),
            absent: self.contests.absent().collect(),
            fenced: vrrp.is_some() && (self.fence.is_up() || self.fence.is_early()),
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
