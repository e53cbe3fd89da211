//! `samctl counters`: packets, drops by reason, refused routes.

use serde::{Deserialize, Serialize};

use super::NodeRef;

/// All counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
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
