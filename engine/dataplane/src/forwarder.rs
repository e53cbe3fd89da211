//! The decision per packet (skeleton).
//!
//! Contract: after each `handle_*`, `install` or `flush`, the driver sends what is in the [`TxQueue`] and returns the
//! buffers to the pool, then takes [`Forwarder::poll_notice`] until `None`. `flush` ends every receive batch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::buffer::{Buffer, BufferPool};
use crate::ids::PortId;
use crate::notice::{Mac, Notice};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::trace::Tap;
use crate::tx::TxQueue;
use crate::unit::Unit;

/// What every step may use: free buffers and the send queue.
#[derive(Debug)]
pub struct Io<'a> {
    /// Free buffers; consumed units return here.
    pub pool: &'a mut BufferPool,
    /// What to send.
    pub tx: &'a mut TxQueue,
}

/// One row of the neighbor table, as shown by `samctl arp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighborView {
    /// LAN port.
    pub port: PortId,
    /// Address.
    pub address: Ipv4Addr,
    /// MAC, once known.
    pub mac: Option<Mac>,
    /// State in RFC 4861 words: incomplete, reachable, stale, probe, failed.
    pub state: &'static str,
    /// Since when in this state.
    pub since: Instant,
    /// Packets waiting.
    pub queued: usize,
}

/// Decides what happens to each packet. One per worker.
#[derive(Debug)]
pub struct Forwarder {}

impl Forwarder {
    /// Makes a forwarder with an empty snapshot: it drops everything until [`Self::install`].
    #[must_use]
    pub fn new(_wg: sam_wg::Device, _stats: Arc<Stats>) -> Self {
        todo!()
    }

    /// Replaces the forwarding state; announces newly answered addresses, forgets observations about them.
    pub fn install(&mut self, _snapshot: Arc<Snapshot>, _io: &mut Io<'_>, _now: Instant) {
        todo!()
    }

    /// Handles an Ethernet frame from a LAN port.
    pub fn handle_frame(&mut self, _port: PortId, _unit: Unit, _io: &mut Io<'_>, _now: Instant) {
        todo!()
    }

    /// Handles an IP packet that the router's own host sent into the TUN port.
    pub fn handle_host_packet(&mut self, _unit: Unit, _io: &mut Io<'_>, _now: Instant) {
        todo!()
    }

    /// Handles outer datagrams from one source: `buffer` holds them back to back, each `segment` bytes, the last
    /// perhaps shorter. `tos` is the outer TOS byte.
    pub fn handle_datagrams(
        &mut self,
        _from: SocketAddr,
        _tos: u8,
        _segment: usize,
        _buffer: Buffer,
        _io: &mut Io<'_>,
        _now: Instant,
    ) {
        todo!()
    }

    /// Ends a batch: closes coalesced runs and trains, and queues what WireGuard wants to send.
    pub fn flush(&mut self, _io: &mut Io<'_>, _now: Instant) {
        todo!()
    }

    /// Does what is due: ARP retries, announcements, WireGuard timers.
    pub fn handle_timeout(&mut self, _io: &mut Io<'_>, _now: Instant) {
        todo!()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        todo!()
    }

    /// Takes the next fact for the control plane.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        todo!()
    }

    /// The WireGuard device, for configuration and status.
    pub fn device(&mut self) -> &mut sam_wg::Device {
        todo!()
    }

    /// Starts or stops copying packets.
    pub fn set_tap(&mut self, _tap: Option<Tap>) {
        todo!()
    }

    /// The tap, to take records from.
    pub fn tap(&mut self) -> Option<&mut Tap> {
        todo!()
    }

    /// Lists the neighbors of all LAN ports.
    #[must_use]
    pub fn neighbors(&self) -> Vec<NeighborView> {
        todo!()
    }
}
