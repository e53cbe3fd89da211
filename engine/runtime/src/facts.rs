//! Gathers what the router cannot know: counters, WireGuard peers, neighbors, the host.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sam_dataplane::{DropReason, NeighborView, Stats, TunnelTraffic};
use sam_router::Config;
use sam_router::facts::{
    BfdFacts, CounterFacts, DropFacts, Facts, NeighborFacts, PeerFacts, QueueFacts, TunnelFacts,
    VrrpFacts, WorkerFacts,
};
use sam_wg::PeerStatus;

use crate::data_plane::{BUFFERS, DataPlaneReport, NOTICES};
use crate::host_io::HostIo;

/// Samples of the drop counters, one a second, for "within the last minute".
const SAMPLES: usize = 60;

/// Where facts come from.
#[derive(Debug)]
pub(crate) struct FactSource {
    /// One block per thread of the packet path.
    stats: Vec<Arc<Stats>>,
    samples: VecDeque<Vec<u64>>,
    bgp_stalled: u64,
}

impl FactSource {
    /// Reads these counters.
    pub(crate) fn new(stats: Vec<Arc<Stats>>) -> Self {
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
        self.samples.push_back(self.dropped());
    }

    /// Counts a BGP connection that was given up because its peer does not read.
    pub(crate) fn count_stalled(&mut self) {
        self.bgp_stalled += 1;
    }

    /// Gathers everything for one answer.
    pub(crate) fn gather(
        &self,
        report: &DataPlaneReport,
        uptime: Duration,
        host: &mut HostIo,
        config: &Config,
    ) -> Facts {
        let now = Instant::now();
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: uptime.as_secs_f64(),
            host: host.facts(config),
            workers: report
                .workers
                .iter()
                .map(|(index, worker)| WorkerFacts {
                    worker: u16::try_from(*index).unwrap_or(u16::MAX),
                    lan_rx_units: self.read(*index, |stats| &stats.lan_rx_units),
                    tun_rx_units: self.read(*index, |stats| &stats.tun_rx_units),
                    tunnel_rx_packets: self.read(*index, |stats| &stats.tunnel_rx_packets),
                    offloads: worker.offloads,
                    receives_lan: worker.receives_lan,
                    receives_host: worker.receives_host,
                    generation: worker.generation,
                    buffers_free: worker.buffers_free as u64,
                    buffers: BUFFERS as u64,
                })
                .collect(),
            counters: self
                .counters()
                .into_iter()
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
            drops: DropReason::ALL
                .iter()
                .zip(self.dropped())
                .map(|(reason, total)| self.drop(*reason, total))
                .collect(),
            peers: report
                .peers
                .iter()
                .map(|peer| peer_facts(peer, now))
                .collect(),
            tunnels: traffic(report)
                .iter()
                .zip(0..)
                .map(|(traffic, tunnel)| tunnel_facts(tunnel, traffic, now))
                .collect(),
            neighbors: neighbors(report)
                .iter()
                .map(|row| neighbor_facts(row, now))
                .collect(),
            bfd: BfdFacts::default(),
            vrrp: VrrpFacts::default(),
            queues: vec![QueueFacts {
                name: "notices".to_owned(),
                length: report.notices_waiting as u64,
                limit: NOTICES as u64,
                full: report.notices_lost,
            }],
        }
    }

    /// Reads a counter of one thread.
    fn read(&self, index: usize, counter: impl Fn(&Stats) -> &AtomicU64) -> u64 {
        self.stats
            .get(index)
            .map_or(0, |stats| counter(stats).load(Relaxed))
    }

    /// Sums the counters of all threads.
    fn counters(&self) -> Vec<CounterFacts> {
        let mut sums: Vec<CounterFacts> = Vec::new();
        for stats in &self.stats {
            for (index, (name, text, value)) in stats.counters().enumerate() {
                match sums.get_mut(index) {
                    Some(sum) => sum.value += value,
                    None => sums.push(CounterFacts {
                        name: name.to_owned(),
                        text: text.to_owned(),
                        value,
                    }),
                }
            }
        }
        sums
    }

    /// Sums the drops of all threads, in the order of [`DropReason::ALL`].
    fn dropped(&self) -> Vec<u64> {
        let sum = |reason| self.stats.iter().map(|stats| stats.dropped(reason)).sum();
        DropReason::ALL.iter().copied().map(sum).collect()
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

/// Joins the neighbor tables of the workers: of each neighbor the newest row, one with a MAC before one without.
fn neighbors(report: &DataPlaneReport) -> Vec<NeighborView> {
    let mut rows: BTreeMap<_, NeighborView> = BTreeMap::new();
    let rank = |row: &NeighborView| (row.mac.is_some(), row.since);
    let all = report.workers.iter().map(|(_, worker)| &worker.neighbors);
    for row in all.flatten() {
        let known = rows
            .entry((row.port, row.address))
            .or_insert_with(|| NeighborView {
                queued: 0,
                ..row.clone()
            });
        let queued = known.queued + row.queued;
        if rank(row) > rank(known) {
            known.clone_from(row);
        }
        known.queued = queued;
    }
    rows.into_values().collect()
}

/// Adds up what went through each tunnel at all workers.
fn traffic(report: &DataPlaneReport) -> Vec<TunnelTraffic> {
    let mut sums: Vec<TunnelTraffic> = Vec::new();
    for (_, worker) in &report.workers {
        if sums.len() < worker.tunnels.len() {
            sums.resize(worker.tunnels.len(), TunnelTraffic::default());
        }
        for (sum, seen) in sums.iter_mut().zip(&worker.tunnels) {
            sum.add(seen);
        }
    }
    sums
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
        handshakes: peer.handshakes,
        attempts: peer.attempts,
        roams: peer.roams,
    }
}

fn tunnel_facts(tunnel: u16, traffic: &TunnelTraffic, now: Instant) -> TunnelFacts {
    TunnelFacts {
        tunnel,
        rx_packets: traffic.rx_packets,
        rx_bytes: traffic.rx_bytes,
        tx_packets: traffic.tx_packets,
        tx_bytes: traffic.tx_bytes,
        last_received_s: traffic.last_received.map(|at| seconds_ago(at, now)),
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
