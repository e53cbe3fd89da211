//! `samctl counters`: packets, drops by reason, refused routes.

use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Router;
use crate::facts::{CounterFacts, DropFacts, Facts, WorkerFacts};

/// All counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// What each packet worker received.
    pub workers: Vec<WorkerRow>,
    /// Counters that are no drops.
    pub counters: Vec<CounterRow>,
    /// Drops by reason, zeros included.
    pub drops: Vec<DropRow>,
    /// Routes refused, by peer and reason.
    pub rejections: Vec<RejectionRow>,
    /// Repeated events held back.
    pub events_suppressed: u64,
    /// Events that found the queue full.
    pub events_lost: u64,
}

/// What one packet worker received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its number.
    pub worker: u16,
    /// Frames and superframes from LAN ports.
    pub lan_rx_units: u64,
    /// Packets and superpackets from the router's own host.
    pub tun_rx_units: u64,
    /// Packets from tunnels.
    pub tunnel_rx_packets: u64,
    /// Packet buffers free.
    pub buffers_free: u64,
    /// Packet buffers in all.
    pub buffers: u64,
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Name.
    pub name: String,
    /// Meaning.
    pub text: String,
    /// Value.
    pub value: u64,
}

/// Drops for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRow {
    /// Name of the reason.
    pub reason: String,
    /// Meaning.
    pub text: String,
    /// Packets since start.
    pub total: u64,
    /// Packets within the last minute.
    pub last_minute: u64,
}

/// Routes refused from one peer for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectionRow {
    /// The peer.
    pub node: NodeRef,
    /// Name of the reason.
    pub reason: String,
    /// How many.
    pub count: u64,
}

impl Router {
    /// `samctl counters`
    #[must_use]
    pub fn counters(&self, facts: &Facts) -> CountersView {
        let worker = |worker: &WorkerFacts| WorkerRow {
            worker: worker.worker,
            lan_rx_units: worker.lan_rx_units,
            tun_rx_units: worker.tun_rx_units,
            tunnel_rx_packets: worker.tunnel_rx_packets,
            buffers_free: worker.buffers_free,
            buffers: worker.buffers,
        };
        let counter = |counter: &CounterFacts| CounterRow {
            name: counter.name.clone(),
            text: counter.text.clone(),
            value: counter.value,
        };
        let drop = |drop: &DropFacts| DropRow {
            reason: drop.reason.clone(),
            text: drop.text.clone(),
            total: drop.total,
            last_minute: drop.last_minute,
        };
        let rejections = self
            .rejections
            .iter()
            .map(|((node, reason), count)| RejectionRow {
                node: NodeRef::new(&self.config, *node),
                reason: (*reason).into(),
                count: *count,
            });
        CountersView {
            workers: facts.workers.iter().map(worker).collect(),
            counters: facts.counters.iter().map(counter).collect(),
            drops: facts.drops.iter().map(drop).collect(),
            rejections: rejections.collect(),
            events_suppressed: self.events.suppressed(),
            events_lost: self.events.lost(),
        }
    }
}
