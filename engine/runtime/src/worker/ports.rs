//! The worker's attachments: TUN, underlay sockets, LAN ports; batches in, batches out.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Context;
use sam_dataplane::{BufferPool, DropReason, Egress, Forwarder, Io, PortId, Stats, TxQueue, Unit};
use sam_net::{Epoll, Interest, PacketSocket, Train, Tun};
use sam_router::TUN_PORT;
use tracing::warn;

use super::lan::Lan;
use super::underlay::Underlay;
use crate::StartError;

/// Packets, frames or trains of one port in one round.
pub(super) const BUDGET: usize = 32;
/// Sends kept for a busy socket.
pub(super) const PENDING: usize = 128;

const TUN: u64 = 0;
const UDP: u64 = 1;
const LAN: u64 = 16;

/// All attachments of a worker.
pub(super) struct Ports {
    tun: Tun,
    underlays: Vec<Underlay>,
    lans: Vec<Lan>,
}

impl Ports {
    /// Opens the underlay sockets: IPv4 always, IPv6 where the host has it.
    ///
    /// # Errors
    /// When the UDP port is taken.
    pub(super) fn open(tun: Tun, port: u16, epoll: &Epoll) -> Result<Self, StartError> {
        let v4 = Underlay::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .context("another program uses the WireGuard port, or another router runs here")?;
        let mut underlays = vec![v4];
        match Underlay::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(underlay) => underlays.push(underlay),
            Err(error) => tracing::debug!(%error, "no IPv6 underlay"),
        }
        epoll
            .add(tun.as_fd(), TUN, Interest::Read)
            .context("cannot watch the TUN device")?;
        for (index, underlay) in underlays.iter().enumerate() {
            epoll
                .add(underlay.as_fd(), UDP + index as u64, Interest::Read)
                .context("cannot watch the UDP socket")?;
        }
        Ok(Self {
            tun,
            underlays,
            lans: Vec::new(),
        })
    }

    /// Serves a LAN port, in place of a former socket, whose buffers return to the pool.
    pub(super) fn set_lan(
        &mut self,
        port: PortId,
        socket: PacketSocket,
        epoll: &Epoll,
        pool: &mut BufferPool,
    ) {
        let token = LAN + u64::from(port.0);
        if let Err(error) = epoll.add(socket.as_fd(), token, Interest::Read) {
            warn!(%error, "cannot watch the LAN port");
            return;
        }
        for former in self.lans.extract_if(.., |lan| lan.port == port) {
            former.retire(pool);
        }
        self.lans.push(Lan::new(port, socket));
    }

    /// Tells whether a busy socket holds something back.
    pub(super) fn has_pending(&self) -> bool {
        self.underlays.iter().any(Underlay::has_pending) || self.lans.iter().any(Lan::has_pending)
    }

    /// Moves one batch from the port of `token` into the forwarder. Returns whether more may wait.
    pub(super) fn receive(
        &mut self,
        token: u64,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> bool {
        if token == TUN {
            return self.receive_host(forwarder, io, stats, now);
        }
        if token >= LAN {
            let mut lans = self.lans.iter_mut();
            let lan = lans.find(|lan| LAN + u64::from(lan.port.0) == token);
            return lan.is_some_and(|lan| lan.receive(forwarder, io, stats, now));
        }
        let index = usize::try_from(token - UDP).ok();
        let underlay = index.and_then(|index| self.underlays.get_mut(index));
        underlay.is_some_and(|underlay| underlay.receive(forwarder, io, stats, now))
    }

    fn receive_host(
        &mut self,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> bool {
        for _ in 0..BUDGET {
            let Some(mut buffer) = io.pool.take() else {
                stats.drop(DropReason::BufferPoolEmpty);
                return false;
            };
            match self.tun.recv(&mut buffer) {
                Ok(Some(offload)) => {
                    forwarder.handle_host_packet(Unit { buffer, offload }, io, now);
                }
                Ok(None) => {
                    io.pool.give(buffer);
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    io.pool.give(buffer);
                    stats.drop(DropReason::OffloadMalformed);
                }
                // The device is gone; control finds out and ends the router.
                Err(_) => {
                    io.pool.give(buffer);
                    return false;
                }
            }
        }
        true
    }

    /// Sends everything in `tx`, and what waited; buffers return to the pool.
    pub(super) fn send(&mut self, tx: &mut TxQueue, pool: &mut BufferPool, stats: &Stats) {
        while let Some(egress) = tx.pop() {
            match egress {
                Egress::Train {
                    to,
                    segment,
                    tos,
                    buffer,
                } => {
                    let family = usize::from(to.is_ipv6());
                    let Some(underlay) = self.underlays.get_mut(family) else {
                        stats.drop(DropReason::SendFailed);
                        pool.give(buffer);
                        continue;
                    };
                    underlay.queue(Train {
                        to,
                        segment,
                        tos,
                        buffer,
                    });
                }
                Egress::Port { port, unit } => self.send_unit(port, unit, pool, stats),
            }
        }
        for underlay in &mut self.underlays {
            underlay.send(pool, stats);
        }
        for lan in &mut self.lans {
            lan.send(pool, stats);
        }
    }

    fn send_unit(&mut self, port: PortId, unit: Unit, pool: &mut BufferPool, stats: &Stats) {
        if let Some(lan) = self.lans.iter_mut().find(|lan| lan.port == port) {
            return lan.queue(unit);
        }
        // A LAN port may be in the forwarding state before its socket is open.
        if port != TUN_PORT || self.tun.send(&unit).is_err() {
            stats.drop(DropReason::SendFailed);
        }
        pool.give(unit.buffer);
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&mut self, stats: &Stats) {
        for underlay in &mut self.underlays {
            underlay.count_losses(stats);
        }
        for lan in &self.lans {
            lan.count_losses(stats);
        }
    }
}

/// Reads the result of a batch: whether more may wait; an empty pool is counted.
pub(super) fn more(result: io::Result<usize>, stats: &Stats) -> bool {
    match result {
        Ok(count) => count >= BUDGET,
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            stats.drop(DropReason::BufferPoolEmpty);
            false
        }
        Err(_) => false,
    }
}
