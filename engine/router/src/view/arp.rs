//! `samctl arp`: the LAN, whom we answer for, who is there.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{NodeRef, mac_text, seconds_ago};
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
    pub foreign_answers: Vec<ForeignAnswerRow>,
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

/// Somebody who answers for an address that this router answers for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForeignAnswerRow {
    /// Address.
    pub address: Ipv4Addr,
    /// MAC.
    pub mac: String,
    /// The node of this LAN whose MAC that is; `None`: no router of ours.
    pub node: Option<NodeRef>,
    /// How often it claimed the address and upheld that, counted once a minute.
    pub count: u64,
    /// Seconds since the first time.
    pub first_s: f64,
    /// Seconds since the last time.
    pub last_s: f64,
    /// How often this router has asked since then, when there was an answer.
    pub asked: u64,
    /// How often that was answered by this MAC; more than `asked`: several share it.
    pub answers: u64,
}

impl ForeignAnswerRow {
    /// Says who answers, when and how often, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let who = match &self.node {
            Some(node) => format!("router {} at {}", node.name, self.mac),
            None => format!("{}, which is no router of this LAN,", self.mac),
        };
        let several = if self.answers > self.asked {
            "; several share the MAC"
        } else {
            ""
        };
        format!(
            "{who} answers for {} too: {} answers to {} questions, first {:.0} s ago, last {:.0} s ago{several}",
            self.address, self.answers, self.asked, self.first_s, self.last_s
        )
    }
}

impl Router {
    /// `samctl arp`
    #[must_use]
    pub fn arp(&self, facts: &Facts, now: Instant) -> ArpView {
        let lan = self.fib.ports().lans.first();
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
            answers: self.fib.answers().iter().collect(),
            neighbors: facts.neighbors.iter().map(neighbor).collect(),
            foreign_answers: self.foreign_answer_rows(now),
            probes: sighting_rows(&self.probes, now),
        }
    }
}

impl Router {
    fn foreign_answer_rows(&self, now: Instant) -> Vec<ForeignAnswerRow> {
        let rows = self.foreign_answers.newest_first().into_iter();
        rows.map(|(address, mac, sighting)| ForeignAnswerRow {
            address,
            mac: mac_text(mac),
            node: self
                .sibling_at(mac)
                .map(|node| NodeRef::new(&self.config, node)),
            count: sighting.count,
            first_s: seconds_ago(sighting.first, now),
            last_s: seconds_ago(sighting.last, now),
            asked: sighting.asked,
            answers: sighting.answers,
        })
        .collect()
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
