//! Gathers what the router cannot know: counters, WireGuard peers, neighbors, the host.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_dataplane::{DropReason, NeighborView, Stats};
use sam_router::Config;
use sam_router::facts::{
    CounterFacts, DropFacts, Facts, NeighborFacts, PeerFacts, QueueFacts, WorkerFacts,
};
use sam_wg::PeerStatus;

use crate::host_io::HostIo;
use crate::worker::{BUFFERS, WorkerReport};

/// Samples of the drop counters, one a second, for "within the last minute".
const SAMPLES: usize = 60;

/// Where facts come from.
#[derive(Debug)]
pub(crate) struct FactSource {
    stats: Arc<Stats>,
    samples: VecDeque<Vec<u64>>,
    bgp_stalled: u64,
}

impl FactSource {
    /// Reads the counters of one worker.
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self {
            stats,
            samples: VecDeque::with_capacity(SAMPLES),
            bgp_stalled: 0,
        }
    }

    /// Remembers the drop counters; called once a second.
    pub(crate) fn sample(&mut self) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples
            .push_back(self.stats.drops().map(|(_, count)| count).collect());
    }

    /// Counts a BGP connection that was given up because its peer does not read.
    pub(crate) fn count_stalled(&mut self) {
        self.bgp_stalled += 1;
    }

    /// Gathers everything for one answer.
    pub(crate) fn gather(
        &self,
        report: Option<WorkerReport>,
        uptime: Duration,
        host: &mut HostIo,
        config: &Config,
    ) -> Facts {
        let now = Instant::now();
        let report = report.unwrap_or_default();
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: uptime.as_secs_f64(),
            host: host.facts(config),
            workers: vec![WorkerFacts {
                worker: 0,
                generation: report.generation,
                buffers_free: report.buffers_free as u64,
                buffers: BUFFERS as u64,
            }],
            counters: self
                .stats
                .counters()
                .map(|(name, text, value)| CounterFacts {
                    name: name.to_owned(),
                    text: text.to_owned(),
                    value,
                })
                .chain([
                    CounterFacts {
                        name: "wg-messages-lost".to_owned(),
                        text: "WireGuard messages and events that found their queue full"
                            .to_owned(),
                        value: report.wireguard_lost,
                    },
                    CounterFacts {
                        name: "bgp-stalled".to_owned(),
                        text: "BGP connections given up because the peer does not read".to_owned(),
                        value: self.bgp_stalled,
                    },
                ])
                .collect(),
            drops: self
                .stats
                .drops()
                .map(|(reason, total)| self.drop(reason, total))
                .collect(),
            peers: report
                .peers
                .iter()
                .map(|peer| peer_facts(peer, now))
                .collect(),
            neighbors: report
                .neighbors
                .iter()
                .map(|row| neighbor_facts(row, now))
                .collect(),
            queues: vec![QueueFacts {
                name: "notices".to_owned(),
                length: report.notices_waiting as u64,
                limit: crate::worker::NOTICES as u64,
                full: report.notices_lost,
            }],
        }
    }

    fn drop(&self, reason: DropReason, total: u64) -> DropFacts {
        let before = self
            .samples
            .front()
            .and_then(|sample| sample.get(reason.index()));
        DropFacts {
            reason: reason.name().to_owned(),
            text: reason.text().to_owned(),
            total,
            last_minute: total.saturating_sub(before.copied().unwrap_or(0)),
        }
    }
}

fn seconds_ago(at: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(at).as_secs_f64()
}

fn peer_facts(peer: &PeerStatus, now: Instant) -> PeerFacts {
    PeerFacts {
        index: peer.index.0,
        endpoint: peer.endpoint,
        last_handshake_s: peer.last_handshake.map(|at| seconds_ago(at, now)),
        last_received_s: peer.last_received.map(|at| seconds_ago(at, now)),
        session: peer.session,
        rx_bytes: peer.rx_bytes,
        tx_bytes: peer.tx_bytes,
        handshakes: peer.handshakes,
        attempts: peer.attempts,
        roams: peer.roams,
    }
}

fn neighbor_facts(row: &NeighborView, now: Instant) -> NeighborFacts {
    NeighborFacts {
        port: row.port.0,
        address: row.address,
        mac: row
            .mac
            .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
        state: row.state.to_owned(),
        since_s: seconds_ago(row.since, now),
        queued: row.queued,
    }
}
