//! The worker's attachments: TUN, underlay sockets, LAN ports; batches in, batches out.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Context;
use sam_dataplane::tx::datagrams;
use sam_dataplane::{
    BufferPool, DropReason, Egress, Forwarder, Io, Lane, MergePolicy, Merging, PortId, Role, Stats,
    TxQueue, Unit,
};
use sam_net::tun::TunOffloads;
use sam_net::{Epoll, Interest, Train, Tun, UdpSocket};
use sam_router::{Offloads, TUN_PORT};
use tracing::{info, warn};

use super::budget::FEWEST;
use super::lan::Lan;
use super::mailbox::LanSockets;
use super::plain_ports::{PLAIN, PlainPorts};
use super::sockets::{SocketChange, WireGuardSockets};
use super::software::{cut, is_refusal, protocol};
use super::switches::merging;
use super::trust::Trust;
use super::underlay::Underlay;
use crate::StartError;

/// Sends kept for a busy socket.
pub(super) const PENDING: usize = 128;

/// With fewer free buffers, what is ready leaves before the next train: a train has at most 64 datagrams, and half as
/// many buffers are left to others.
const LOW_BUFFERS: usize = 96;

/// Sends that do not wait for the end of the batch.
const EARLY_SENDS: usize = 16;

const TUN: u64 = 0;
const UDP: u64 = 1;
const CONTROL: u64 = 8;
/// Two tokens per LAN port: IPv4, and ARP behind it.
const LAN: u64 = 16;

/// All attachments of a worker.
pub(super) struct Ports {
    tun: Tun,
    reads_tun: bool,
    underlays: Vec<Underlay>,
    /// These only receive.
    controls: Vec<Underlay>,
    plain: PlainPorts,
    lans: Vec<Lan>,
    role: Role,
    wanted: Offloads,
    lan_trust: Trust,
    host_trust: Trust,
}

impl Ports {
    /// Watches the TUN device, if this worker reads it. There is no other port yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new(
        tun: Tun,
        reads_tun: bool,
        offloads: Offloads,
        role: Role,
        epoll: &Epoll,
    ) -> Result<Self, StartError> {
        if reads_tun {
            epoll
                .add(tun.as_fd(), TUN, Interest::Read)
                .context("cannot watch the TUN device")?;
        }
        let Merging { lan, host } = merging(offloads, tun.offloads());
        Ok(Self {
            role,
            wanted: offloads,
            lan_trust: Trust::new(lan),
            host_trust: Trust::new(host),
            tun,
            reads_tun,
            underlays: Vec::new(),
            controls: Vec::new(),
            plain: PlainPorts::new(),
            lans: Vec::new(),
        })
    }

    /// Serves a LAN port, in place of former sockets, whose buffers return to the pool.
    pub(super) fn set_lan(
        &mut self,
        port: PortId,
        sockets: LanSockets,
        epoll: &Epoll,
        pool: &mut BufferPool,
    ) {
        let token = LAN + 2 * u64::from(port.0);
        let watched = epoll
            .add(sockets.ipv4.as_fd(), token, Interest::Read)
            .and_then(|()| epoll.add(sockets.arp.as_fd(), token + 1, Interest::Read));
        if let Err(error) = watched {
            warn!(%error, "cannot watch the LAN port");
            return;
        }
        for former in self.lans.extract_if(.., |lan| lan.port == port) {
            former.retire(pool);
        }
        self.lans.push(Lan::new(port, sockets));
        let Merging { lan, .. } = merging(self.wanted, self.tun.offloads());
        let takes = self.lans.iter().all(Lan::offloads);
        self.lan_trust = Trust::new(if takes { lan } else { MergePolicy::NOTHING });
    }

    /// Closes the sockets of the underlay that are not wanted any more and serves the new ones; all others go on as they
    /// are.
    ///
    /// # Errors
    /// When a new one cannot be watched; some tunnels have no sockets then.
    pub(super) fn change_sockets(
        &mut self,
        mut change: SocketChange,
        epoll: &Epoll,
        pool: &mut BufferPool,
        stats: &Stats,
    ) -> Result<(), StartError> {
        if let Some(sockets) = change.wireguard.take() {
            self.set_wireguard(sockets, epoll, pool, stats)?;
        }
        let opened = std::mem::take(&mut change.opened);
        let (kept, keeps_lanes) = (&change.kept, change.keeps_lanes);
        self.plain.close(kept, keeps_lanes, pool, stats);
        self.plain.open(opened, self.wanted, epoll)
    }

    /// Makes packets without encryption leave with an address of this host, or with the kernel's choice.
    pub(super) fn set_outer_source(&mut self, source: Option<IpAddr>) {
        self.plain.set_source(source);
    }

    /// Serves the sockets of the WireGuard port, in place of former ones.
    fn set_wireguard(
        &mut self,
        sockets: WireGuardSockets,
        epoll: &Epoll,
        pool: &mut BufferPool,
        stats: &Stats,
    ) -> Result<(), StartError> {
        let serve = |sockets: Vec<UdpSocket>| -> Vec<Underlay> {
            let sockets = sockets.into_iter();
            sockets
                .map(|socket| Underlay::new(socket, self.wanted))
                .collect()
        };
        let (members, controls) = (serve(sockets.members), serve(sockets.controls));
        for (first, sockets) in [(UDP, &members), (CONTROL, &controls)] {
            for (index, socket) in sockets.iter().enumerate() {
                epoll
                    .add(socket.as_fd(), first + index as u64, Interest::Read)
                    .context("cannot watch the UDP socket")?;
            }
        }
        let joins = members.iter().all(Underlay::joins);
        if self.wanted.udp_gro && self.role == Role::Speaker && !joins {
            warn!("the kernel does not join datagrams (UDP_GRO, Linux 5.0): each arrives alone");
        }
        let segments = members.iter().all(Underlay::segments);
        if self.wanted.udp_segment && self.role == Role::Speaker && !segments {
            warn!(
                "the kernel does not cut trains (UDP_SEGMENT, Linux 4.18): each datagram leaves alone"
            );
        }
        let members = std::mem::replace(&mut self.underlays, members);
        let controls = std::mem::replace(&mut self.controls, controls);
        for former in members.into_iter().chain(controls) {
            // A closed one stays in the set while the thread of the handshakes has it.
            epoll.remove(former.as_fd()).ok();
            former.retire(pool, stats);
        }
        Ok(())
    }

    /// Returns which superpackets the kernel takes, as far as known.
    pub(super) fn merging(&self) -> Merging {
        Merging {
            lan: self.lan_trust.policy(),
            host: self.host_trust.policy(),
        }
    }

    /// Tells whether this worker receives from the LAN ports.
    pub(super) fn receives_lan(&self) -> bool {
        self.lans.iter().all(Lan::receives)
    }

    /// Tells whether this worker receives from the router's own host.
    pub(super) fn receives_host(&self) -> bool {
        self.reads_tun
    }

    /// Returns the offloads in force.
    pub(super) fn offloads(&self) -> Offloads {
        let Merging { lan, host } = self.merging();
        self.wanted.and(Offloads {
            // What is written may be whole all the same.
            tun_tcp: host.tcp && self.tun.offloads() >= TunOffloads::Tcp,
            tun_udp: host.udp,
            lan_tcp: lan.tcp,
            lan_udp: lan.udp,
            udp_segment: self.underlays.iter().all(Underlay::segments) && self.plain.segments(),
            udp_gro: self.underlays.iter().all(Underlay::joins),
        })
    }

    /// Tells whether a busy socket holds something back.
    pub(super) fn has_pending(&self) -> bool {
        self.underlays.iter().any(Underlay::has_pending)
            || self.plain.has_pending()
            || self.lans.iter().any(Lan::has_pending)
    }

    /// Moves one batch from the port of `token` into the forwarder. Returns what there was.
    pub(super) fn receive(
        &mut self,
        token: u64,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> Received {
        if token == TUN {
            return self.receive_host(forwarder, io, stats, now);
        }
        if (LAN..PLAIN).contains(&token) {
            let (number, is_arp) = ((token - LAN) / 2, (token - LAN) % 2 == 1);
            return self.receive_frames(number, is_arp, forwarder, io, stats, now);
        }
        self.receive_datagrams(token, forwarder, io, stats, now)
    }

    /// Hands over what the underlay says about packets that it did not carry, if `token` is one of its sockets.
    pub(super) fn take_path_errors(&mut self, token: u64, forwarder: &mut Forwarder, now: Instant) {
        let underlay = if token >= PLAIN {
            self.plain.socket(token)
        } else {
            self.underlay(token)
        };
        if let Some(underlay) = underlay {
            underlay.take_path_errors(forwarder, now);
        }
    }

    /// Moves one batch from a LAN port.
    fn receive_frames(
        &mut self,
        number: u64,
        is_arp: bool,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> Received {
        let mut lans = self.lans.iter();
        let Some(index) = lans.position(|lan| u64::from(lan.port.0) == number) else {
            return Received::default();
        };
        let port = self.lans[index].port;
        let received = self.lans[index].receive(is_arp, io.pool, stats);
        while let Some(unit) = self.lans[index].poll_frame() {
            forwarder.handle_frame(port, unit, io, now);
            self.send_early(io, stats);
        }
        received
    }

    /// Sends complete trains before the batch ends: of what is sealed but not sent, other workers must not get ahead by
    /// a replay window.
    fn send_early(&mut self, io: &mut Io<'_>, stats: &Stats) {
        if io.tx.len() >= EARLY_SENDS {
            self.send(io.tx, io.pool, stats);
        }
    }

    /// Moves one batch from an underlay socket. One train may become as many packets as it has datagrams, each in a
    /// buffer of its own; before buffers run out, what is ready leaves.
    fn receive_datagrams(
        &mut self,
        token: u64,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> Received {
        let Some(underlay) = self.underlay(token) else {
            return Received::default();
        };
        let received = underlay.receive(io.pool, stats);
        while self
            .underlay(token)
            .is_some_and(|underlay| underlay.poll_train(forwarder, io, now))
        {
            if io.pool.available() < LOW_BUFFERS {
                forwarder.flush(io, now);
                self.send(io.tx, io.pool, stats);
            }
        }
        received
    }

    /// Returns the underlay socket of `token`.
    fn underlay(&mut self, token: u64) -> Option<&mut Underlay> {
        if token >= PLAIN {
            return self.plain.receiver(token);
        }
        let (sockets, first) = if token >= CONTROL {
            (&mut self.controls, CONTROL)
        } else {
            (&mut self.underlays, UDP)
        };
        let index = usize::try_from(token.checked_sub(first)?).ok()?;
        sockets.get_mut(index)
    }

    fn receive_host(
        &mut self,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> Received {
        let mut count = 0;
        while count < FEWEST {
            let Some(mut buffer) = io.pool.take() else {
                stats.drop(DropReason::BufferPoolEmpty);
                break;
            };
            match self.tun.recv(&mut buffer) {
                Ok(Some(offload)) => {
                    forwarder.handle_host_packet(Unit { buffer, offload }, io, now);
                    self.send_early(io, stats);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    io.pool.give(buffer);
                    stats.drop(DropReason::OffloadMalformed);
                }
                // Empty; or the device is gone: control finds out and ends the router.
                Ok(None) | Err(_) => {
                    io.pool.give(buffer);
                    break;
                }
            }
            count += 1;
        }
        Received {
            count,
            more: count == FEWEST,
        }
    }

    /// Sends everything in `tx`, and what waited; buffers return to the pool.
    pub(super) fn send(&mut self, tx: &mut TxQueue, pool: &mut BufferPool, stats: &Stats) {
        while let Some(egress) = tx.pop() {
            match egress {
                Egress::Train {
                    lane,
                    to,
                    segment,
                    tos,
                    buffer,
                } => {
                    let family = usize::from(to.is_ipv6());
                    let underlay = match lane {
                        Lane::WireGuard => self.underlays.get_mut(family),
                        Lane::Udp(_) | Lane::Ip { .. } => self.plain.sender(lane, to.is_ipv6()),
                    };
                    let Some(underlay) = underlay else {
                        let packets = datagrams(buffer.len(), segment);
                        stats.drop_many(DropReason::SendFailed, packets);
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
        self.plain.send(pool, stats);
        for lan in &mut self.lans {
            lan.send(pool, stats, &mut self.lan_trust);
        }
    }

    fn send_unit(&mut self, port: PortId, unit: Unit, pool: &mut BufferPool, stats: &Stats) {
        if let Some(lan) = self.lans.iter_mut().find(|lan| lan.port == port) {
            return lan.queue(unit, self.lan_trust.policy(), pool, stats);
        }
        // A LAN port may be in the forwarding state before its socket is open.
        if port != TUN_PORT {
            stats.drop(DropReason::SendFailed);
        } else if !self.host_trust.policy().takes(unit.offload.gso) {
            self.send_cut(&unit, pool, stats);
        } else if let Err(error) = self.tun.send(&unit) {
            if is_refusal(&unit, &error) {
                self.refused(&unit, stats);
                self.send_cut(&unit, pool, stats);
            } else {
                stats.drop(DropReason::SendFailed);
            }
        }
        pool.give(unit.buffer);
    }

    fn refused(&mut self, unit: &Unit, stats: &Stats) {
        stats.add(&stats.superpackets_refused, 1);
        if self.host_trust.refuse(unit.offload.gso) {
            warn!(
                "the kernel refuses superpackets of {} on the TUN device: they are cut here for some time",
                protocol(unit.offload.gso)
            );
        }
    }

    /// Delivers packet by packet what the TUN device does not take as a whole.
    fn send_cut(&self, unit: &Unit, pool: &mut BufferPool, stats: &Stats) {
        let tun = &self.tun;
        let sent = cut(unit, 0, pool, |piece, pool| {
            if tun.send(&piece).is_err() {
                stats.drop(DropReason::SendFailed);
            }
            pool.give(piece.buffer);
        });
        if let Err(reason) = sent {
            stats.drop(reason);
        }
    }

    /// Tries again what the kernel refused long ago.
    pub(super) fn retry_offloads(&mut self, now: Instant) {
        for underlay in &mut self.underlays {
            underlay.retry_segmentation(now);
        }
        self.plain.retry_segmentation(now);
        for (trust, port) in [
            (&mut self.lan_trust, "the LAN"),
            (&mut self.host_trust, "the TUN device"),
        ] {
            if trust.look(now) {
                info!("superpackets are tried again on {port}");
            }
        }
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&mut self, stats: &Stats) {
        for underlay in self.underlays.iter_mut().chain(&mut self.controls) {
            underlay.count_losses(stats);
        }
        self.plain.count_losses(stats);
        for lan in &self.lans {
            lan.count_losses(self.role, stats);
        }
    }
}

/// What one batch of a port brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// Packets, frames or trains.
    pub(super) count: usize,
    /// Whether more may wait.
    pub(super) more: bool,
}

impl Received {
    /// Reads the result of a batch; an empty pool is counted.
    pub(super) fn new(result: io::Result<usize>, budget: usize, stats: &Stats) -> Self {
        match result {
            Ok(count) => Self {
                count,
                more: count >= budget,
            },
            Err(error) => {
                if error.kind() == io::ErrorKind::OutOfMemory {
                    stats.drop(DropReason::BufferPoolEmpty);
                }
                Self::default()
            }
        }
    }
}
