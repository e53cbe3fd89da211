//! `samctl arp`: the LAN, whom we answer for, who is there.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

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
