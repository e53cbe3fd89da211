//! `samctl counters`: packets, drops by reason, refused routes.

use serde::{Deserialize, Serialize};

use super::NodeRef;
use crate::Router;
use crate::facts::{CounterFacts, DropFacts, Facts};

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

impl Router {
    /// `samctl counters`
    #[must_use]
    pub fn counters(&self, facts: &Facts) -> CountersView {
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
            counters: facts.counters.iter().map(counter).collect(),
            drops: facts.drops.iter().map(drop).collect(),
            rejections: rejections.collect(),
            events_suppressed: self.events.suppressed(),
            events_lost: self.events.lost(),
        }
    }
}
