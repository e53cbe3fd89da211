//! `samctl arp`: the LAN, whom we answer for, who is there.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{mac_text, seconds_ago};
use crate::Router;
use crate::facts::{Facts, NeighborFacts};
use crate::sightings::Sightings;

/// The LAN side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArpView {
    /// Interface; `None` when capture is off.
    pub interface: Option<String>,
    /// Our MAC on it, once it is present.
    pub mac: Option<String>,
    /// Our address on it.
    pub address: Option<Ipv4Addr>,
    /// The on-link subnet.
    pub subnet: Option<Ipv4Net>,
    /// Whether this router may act on it.
    pub gate_open: bool,
    /// Why the gate is open or closed.
    pub gate_reason: String,
    /// Addresses answered for.
    pub answers: Vec<Ipv4Addr>,
    /// Neighbor table.
    pub neighbors: Vec<NeighborRow>,
    /// Others who answered for our answers, newest first.
    pub foreign_answers: Vec<SightingRow>,
    /// Hosts that probed for an address that lives elsewhere, newest first.
    pub probes: Vec<SightingRow>,
}

/// One neighbor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeighborRow {
    /// Address.
    pub address: Ipv4Addr,
    /// MAC, once known.
    pub mac: Option<String>,
    /// State in RFC 4861 words: incomplete, reachable, stale, probe, failed.
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// Packets waiting.
    pub queued: usize,
}

/// Somebody seen on the LAN who should not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SightingRow {
    /// Address.
    pub address: Ipv4Addr,
    /// MAC.
    pub mac: String,
    /// How often.
    pub count: u64,
    /// Seconds since the last time.
    pub last_s: f64,
}

impl Router {
    /// `samctl arp`
    #[must_use]
    pub fn arp(&self, facts: &Facts, now: Instant) -> ArpView {
        let lan = self.fib.published().lans.first();
        let gate = self.gate();
        let neighbor = |neighbor: &NeighborFacts| NeighborRow {
            address: neighbor.address,
            mac: neighbor.mac.clone(),
            state: neighbor.state.clone(),
            since_s: neighbor.since_s,
            queued: neighbor.queued,
        };
        ArpView {
            interface: self.config.local.capture.interface().map(String::from),
            mac: lan.map(|lan| mac_text(lan.mac)),
            address: lan.and_then(|lan| lan.address),
            subnet: lan.map(|lan| lan.subnet),
            gate_open: gate.open,
            gate_reason: gate.reason.into(),
            answers: self.answers().to_vec(),
            neighbors: facts.neighbors.iter().map(neighbor).collect(),
            foreign_answers: sighting_rows(&self.foreign_answers, now),
            probes: sighting_rows(&self.probes, now),
        }
    }
}

pub(super) fn sighting_rows(sightings: &Sightings, now: Instant) -> Vec<SightingRow> {
    let rows = sightings.newest_first().into_iter();
    rows.map(|(address, mac, sighting)| SightingRow {
        address,
        mac: mac_text(mac),
        count: sighting.count,
        last_s: seconds_ago(sighting.last, now),
    })
    .collect()
}
