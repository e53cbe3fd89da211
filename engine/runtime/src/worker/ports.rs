//! The worker's attachments: TUN, underlay sockets, LAN sockets; batches in, batches out.
//!
//! What a busy socket does not take stays here in order and is tried again; beyond a bound it is dropped and counted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Context;
use sam_dataplane::{BufferPool, DropReason, Egress, Forwarder, Io, PortId, Stats, TxQueue, Unit};
use sam_net::packet_socket::FrameError;
use sam_net::{Datagrams, Epoll, Interest, PacketSocket, SendFailure, Train, Tun, UdpSocket};
use sam_router::TUN_PORT;
use tracing::warn;

use crate::StartError;

/// Packets, frames or trains of one port in one round.
const BUDGET: usize = 32;
/// Sends kept for a busy socket.
const PENDING: usize = 128;

const TUN: u64 = 0;
const UDP: u64 = 1;
const LAN: u64 = 16;

/// All attachments of a worker.
pub(super) struct Ports {
    tun: Tun,
    underlays: Vec<Underlay>,
    lans: Vec<Lan>,
    failures: Vec<SendFailure>,
}

/// One underlay socket, of one address family.
struct Underlay {
    socket: UdpSocket,
    received: Vec<Datagrams>,
    pending: Vec<Train>,
}

struct Lan {
    port: PortId,
    socket: PacketSocket,
    received: Vec<Result<Unit, FrameError>>,
    pending: Vec<Unit>,
}

impl Ports {
    /// Opens the underlay sockets: IPv4 always, IPv6 where the host has it.
    ///
    /// # Errors
    /// When the UDP port is taken.
    pub(super) fn open(tun: Tun, port: u16, epoll: &Epoll) -> Result<Self, StartError> {
        let v4 = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .context("another program uses the WireGuard port, or another router runs here")?;
        let mut sockets = vec![v4];
        match UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
            Ok(socket) => sockets.push(socket),
            Err(error) => tracing::debug!(%error, "no IPv6 underlay"),
        }
        epoll
            .add(tun.as_fd(), TUN, Interest::Read)
            .context("cannot watch the TUN device")?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll
                .add(socket.as_fd(), UDP + index as u64, Interest::Read)
                .context("cannot watch the UDP socket")?;
        }
        let underlays = sockets
            .into_iter()
            .map(|socket| Underlay {
                socket,
                received: Vec::new(),
                pending: Vec::new(),
            })
            .collect();
        Ok(Self {
            tun,
            underlays,
            lans: Vec::new(),
            failures: Vec::new(),
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
        for mut former in self.lans.extract_if(.., |lan| lan.port == port) {
            former.socket.release(pool);
            for unit in former.pending {
                pool.give(unit.buffer);
            }
        }
        self.lans.push(Lan {
            port,
            socket,
            received: Vec::new(),
            pending: Vec::new(),
        });
    }

    /// Tells whether a busy socket holds something back.
    pub(super) fn has_pending(&self) -> bool {
        self.underlays
            .iter()
            .any(|underlay| !underlay.pending.is_empty())
            || self.lans.iter().any(|lan| !lan.pending.is_empty())
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
            return self.receive_lan(token, forwarder, io, stats, now);
        }
        let Some(underlay) = usize::try_from(token - UDP)
            .ok()
            .and_then(|i| self.underlays.get_mut(i))
        else {
            return false;
        };
        let result = underlay
            .socket
            .recv_batch(io.pool, &mut underlay.received, BUDGET);
        for train in underlay.received.drain(..) {
            forwarder.handle_datagrams(train.from, train.tos, train.segment, train.buffer, io, now);
        }
        more(result, stats)
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

    fn receive_lan(
        &mut self,
        token: u64,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> bool {
        let Some(lan) = self
            .lans
            .iter_mut()
            .find(|lan| LAN + u64::from(lan.port.0) == token)
        else {
            return false;
        };
        let result = lan.socket.recv_batch(io.pool, &mut lan.received, BUDGET);
        for frame in lan.received.drain(..) {
            match frame {
                Ok(unit) => forwarder.handle_frame(lan.port, unit, io, now),
                Err(FrameError::Truncated) => stats.drop(DropReason::ReceiveTruncated),
                Err(_) => stats.drop(DropReason::OffloadMalformed),
            }
        }
        more(result, stats)
    }

    /// Sends everything in `tx`; buffers return to the pool.
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
                    underlay.pending.push(Train {
                        to,
                        segment,
                        tos,
                        buffer,
                    });
                }
                Egress::Port { port, unit } => self.queue_unit(port, unit, pool, stats),
            }
        }
        self.send_trains(pool, stats);
        self.send_frames(pool, stats);
    }

    fn queue_unit(&mut self, port: PortId, unit: Unit, pool: &mut BufferPool, stats: &Stats) {
        if let Some(lan) = self.lans.iter_mut().find(|lan| lan.port == port) {
            lan.pending.push(unit);
            return;
        }
        // A LAN port may be in the forwarding state before its socket is open.
        if port != TUN_PORT || self.tun.send(&unit).is_err() {
            stats.drop(DropReason::SendFailed);
        }
        pool.give(unit.buffer);
    }

    fn send_trains(&mut self, pool: &mut BufferPool, stats: &Stats) {
        for underlay in &mut self.underlays {
            if underlay.pending.is_empty() {
                continue;
            }
            let done = underlay
                .socket
                .send_trains(&mut underlay.pending, &mut self.failures);
            for failure in self.failures.drain(..) {
                count(stats, DropReason::SendFailed, failure.packets);
            }
            for train in underlay.pending.drain(..done) {
                pool.give(train.buffer);
            }
            while underlay.pending.len() > PENDING {
                let train = underlay.pending.remove(0);
                count(
                    stats,
                    DropReason::SendBusy,
                    train.buffer.len().div_ceil(train.segment.max(1).into()),
                );
                pool.give(train.buffer);
            }
        }
    }

    fn send_frames(&mut self, pool: &mut BufferPool, stats: &Stats) {
        for lan in &mut self.lans {
            if lan.pending.is_empty() {
                continue;
            }
            let done = lan.socket.send_batch(&lan.pending, &mut self.failures);
            for failure in self.failures.drain(..) {
                count(stats, DropReason::SendFailed, failure.packets);
            }
            for unit in lan.pending.drain(..done) {
                pool.give(unit.buffer);
            }
            while lan.pending.len() > PENDING {
                count(stats, DropReason::SendBusy, 1);
                pool.give(lan.pending.remove(0).buffer);
            }
        }
    }
}

/// Reads the result of a batch: whether more may wait; an empty pool is counted.
fn more(result: io::Result<usize>, stats: &Stats) -> bool {
    match result {
        Ok(count) => count >= BUDGET,
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            stats.drop(DropReason::BufferPoolEmpty);
            false
        }
        Err(_) => false,
    }
}

fn count(stats: &Stats, reason: DropReason, packets: usize) {
    for _ in 0..packets {
        stats.drop(reason);
    }
}
