//! What went through each tunnel, as one worker saw it.
//!
//! Plain numbers: the worker alone has them, and says them when it is asked.

use std::time::Instant;

use crate::ids::TunnelId;
use crate::snapshot::Snapshot;

/// What went through one tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelTraffic {
    /// Inner packets received.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Inner packets sent.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// When the last packet was received.
    pub last_received: Option<Instant>,
}

impl TunnelTraffic {
    /// Counts a received packet of `bytes` bytes.
    pub(crate) fn on_received(&mut self, bytes: usize, now: Instant) {
        self.rx_packets += 1;
        self.rx_bytes += bytes as u64;
        self.last_received = Some(now);
    }

    /// Counts a packet of `bytes` bytes that was sent.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.tx_packets += 1;
        self.tx_bytes += bytes as u64;
    }

    /// Adds what another worker saw.
    pub fn add(&mut self, other: &Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.last_received = self.last_received.max(other.last_received);
    }
}

/// What went through all tunnels, by number.
#[derive(Debug, Default)]
pub(crate) struct TrafficTable {
    rows: Vec<TunnelTraffic>,
}

impl TrafficTable {
    /// Makes the rows those of the tunnels of `snapshot`; a number that leads to another node starts at zero.
    pub(crate) fn follow(&mut self, former: &Snapshot, snapshot: &Snapshot) {
        self.rows
            .resize(snapshot.tunnels.len(), TunnelTraffic::default());
        for (row, tunnel) in self.rows.iter_mut().zip(&snapshot.tunnels) {
            let is_same = former
                .tunnel(tunnel.id)
                .is_some_and(|was| was.name == tunnel.name);
            if !is_same {
                *row = TunnelTraffic::default();
            }
        }
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &[TunnelTraffic] {
        &self.rows
    }

    /// Counts a received packet of `bytes` bytes.
    pub(crate) fn on_received(&mut self, tunnel: TunnelId, bytes: usize, now: Instant) {
        if let Some(row) = self.rows.get_mut(usize::from(tunnel.0)) {
            row.on_received(bytes, now);
        }
    }

    /// Counts a packet of `bytes` bytes that was sent.
    pub(crate) fn on_sent(&mut self, tunnel: TunnelId, bytes: usize) {
        if let Some(row) = self.rows.get_mut(usize::from(tunnel.0)) {
            row.on_sent(bytes);
        }
    }
}
