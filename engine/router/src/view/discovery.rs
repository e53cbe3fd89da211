//! `samctl discovery`: which addresses live on the LAN by what is heard there.

use std::net::Ipv4Addr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::arp::{SightingRow, sighting_rows};
use super::{mac_text, seconds_ago};
use crate::Router;
use crate::cloud_homes::CloudHome;
use crate::facts::CounterFacts;

/// `samctl discovery`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryView {
    /// The LAN; `None` when capture is off.
    pub interface: Option<String>,
    /// Configuration; `None` where addresses are owned by order only.
    pub configured: Option<DiscoveryConfigured>,
    /// Whether this router may act on the LAN: only then it listens and asks.
    pub gate_open: bool,
    /// Why.
    pub gate_reason: String,
    /// Seconds since any host of the pools was heard; `None`: none since the gate opened.
    pub heard_s: Option<f64>,
    /// Hosts that live here by what was heard, by address.
    pub homes: Vec<HomeRow>,
    /// Machines that the provider of the cloud lists, by address; `None` where it is not asked.
    #[serde(default)]
    pub machines: Option<Vec<MachineRow>>,
    /// Other MACs that used the address of a host that still answers, newest first.
    pub disputes: Vec<SightingRow>,
    /// MACs that have taken the address of a host that answered no more, newest first.
    #[serde(default)]
    pub changes: Vec<SightingRow>,
    /// What happened how often; what never did is left out.
    pub counters: Vec<CounterFacts>,
}

/// What is configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiscoveryConfigured {
    /// Seconds that a host counts as there after its last frame.
    pub expiry_s: f64,
    /// Addresses asked for per second; 0: none without reason.
    pub sweep: u16,
    /// Addresses that one MAC may have.
    pub per_mac: usize,
    /// Addresses with a fixed MAC.
    pub bindings: usize,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HomeRow {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC.
    pub mac: String,
    /// `present`; `silent`: being asked whether it is still there; `disputed`: another MAC uses the address;
    /// `challenged`: another node claims it; `refused`: the claim of another node wins; `kept`: this router stands by, and
    /// claims and asks it once it acts.
    pub state: String,
    /// State of our claim in BGP; `None` while nothing is announced.
    pub claim: Option<String>,
    /// Seconds since it was learned.
    pub since_s: f64,
    /// Seconds since control was last told that it was heard.
    pub seen_s: f64,
}

/// One machine of a cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineRow {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its network interface, by the provider's name.
    pub nic: String,
    /// State of our claim in BGP; `None` while this router announces nothing, or another one of the site does.
    pub claim: Option<String>,
    /// Seconds since it was found.
    pub since_s: f64,
    /// Seconds since it was listed last.
    pub seen_s: f64,
}

/// State of all hosts while the router stands by.
const KEPT: &str = "kept";

impl Router {
    /// Machines that the provider lists; `None` where it is not asked.
    fn machines(&self, now: Instant) -> Option<Vec<MachineRow>> {
        self.config.cloud()?.discovery?;
        let machines = self.cloud_homes.known().iter();
        let row = |(&address, home): (&Ipv4Addr, &CloudHome)| MachineRow {
            address,
            nic: home.nic.0.clone(),
            claim: self.claim_on(address).map(|state| state.name().into()),
            since_s: seconds_ago(home.since, now),
            seen_s: seconds_ago(home.seen, now),
        };
        Some(machines.map(row).collect())
    }

    /// `samctl discovery`
    #[must_use]
    pub fn discovery(&self, now: Instant) -> DiscoveryView {
        let capture = &self.config.local.capture;
        let gate = self.gate();
        let is_active = self.discovery.is_active() == Some(true);
        let homes = self.discovery.homes().iter();
        let homes = homes.map(|(&address, home)| HomeRow {
            address,
            mac: mac_text(home.mac),
            state: if is_active { home.state() } else { KEPT }.into(),
            claim: self.claim_on(address).map(|state| state.name().into()),
            since_s: seconds_ago(home.since, now),
            seen_s: seconds_ago(home.seen, now),
        });
        let counters = self.discovery.counters().iter();
        let counters = counters.map(|(name, value)| CounterFacts {
            name: (*name).into(),
            text: crate::discovery::counter_text(name).into(),
            value: *value,
        });
        DiscoveryView {
            interface: capture.interface().map(String::from),
            configured: capture.discovery().map(|settings| DiscoveryConfigured {
                expiry_s: settings.expiry.as_secs_f64(),
                sweep: settings.sweep,
                per_mac: settings.per_mac,
                bindings: settings.bindings.len(),
            }),
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
            heard_s: self.discovery.heard().map(|heard| seconds_ago(heard, now)),
            homes: homes.collect(),
            machines: self.machines(now),
            disputes: sighting_rows(self.discovery.disputes(), now),
            changes: sighting_rows(self.discovery.changes(), now),
            counters: counters.collect(),
        }
    }
}
