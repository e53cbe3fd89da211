//! The decision per packet, and the contract with the driver.
//!
//! After each `handle_*`, `install` or `flush`, the driver sends what is in the send queue and returns the buffers to
//! the pool, then takes [`Forwarder::poll_notice`] until `None`. `flush` ends every receive batch.
//!
//! The way of an IPv4 packet: `lan`, `host` or `tunnel` receives it, [`decide`] finds out where it goes or
//! why not, and the same three send it. `icmp` reports errors to senders. No address is ever rewritten; the TTL goes
//! down once, except for packets from or to the router's own host.

mod arp;
mod echo;
mod hosts;
mod icmp;
mod lan;
mod path;
mod plain;
mod session;
mod tunnel;
mod watch;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use sam_wg::RUN_MAX;

use crate::announcer::Announcer;
use crate::arp_responder::ArpResponder;
use crate::buffer::Buffer;
use crate::coalesce::{Coalescer, RUNS_MAX};
use crate::decision::{Refusal, Way, decide};
use crate::drop_reason::DropReason;
use crate::encap::Sources;
use crate::fib::NextHop;
use crate::force_fragment::force;
use crate::handshake_post::{HandshakePost, POSTS_MAX, Posts};
use crate::icmp_limiter::IcmpLimiter;
use crate::ids::{PortId, TunnelId};
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::lan_watch::LanWatch;
use crate::long_packets::LongPackets;
use crate::merging::Merging;
use crate::mss;
use crate::neighbor::{NeighborKey, NeighborState, NeighborTable};
use crate::notice::{Mac, Notice, NoticeQueue};
use crate::observer::Observer;
use crate::outlet::{Io, Outlet};
use crate::packet::classify;
use crate::packet::ipv4::decrement_ttl;
use crate::path_watch::PathWatch;
use crate::recent_ways::RecentWays;
use crate::role::Role;
use crate::segment::segment_size;
use crate::snapshot::Snapshot;
use crate::staging::Staging;
use crate::stats::Stats;
use crate::trace::{Seen, Tap, TapPoint};
use crate::train::Trains;
use crate::tunnel_traffic::{TrafficTable, TunnelTraffic};
use crate::tx::Egress;
use crate::unit::{Gso, Unit};
use crate::verdict::Verdict;

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

/// Decides what happens to each packet. One per worker; workers share nothing but the WireGuard sessions and the limit
/// of ICMP errors.
#[derive(Debug)]
pub struct Forwarder {
    snapshot: Arc<Snapshot>,
    /// The latest decisions by this snapshot.
    recent: RecentWays,
    stats: Arc<Stats>,
    role: Role,
    wg: sam_wg::DataPath,
    /// What waits to be told to [`crate::Handshakes`].
    posts: Posts,
    /// The tunnel to each WireGuard peer, by peer index.
    tunnel_of_peer: Vec<Option<TunnelId>>,
    /// The tunnel of each far end without encryption.
    sources: Sources,
    /// Packets whose senders are told when a path turns out too narrow for them.
    long_packets: LongPackets,
    /// The path of each tunnel, by tunnel number.
    paths: Vec<PathWatch>,
    /// What went through each tunnel.
    traffic: TrafficTable,
    /// Open trains, one per tunnel at most.
    trains: Trains,
    /// Packets that wait for a session.
    staging: Staging,
    /// Packets from tunnels that may still become superpackets in this batch.
    coalescer: Coalescer<Run>,
    /// Superpackets that are complete; empty between calls.
    runs: Vec<(Run, Unit)>,
    merging: Merging,
    neighbors: NeighborTable,
    responder: ArpResponder,
    announcer: Announcer,
    observer: Observer,
    watch: LanWatch,
    /// Source MAC of the last frame.
    sender: Mac,
    limiter: Arc<IcmpLimiter>,
    notices: NoticeQueue,
    tap: Option<Tap>,
    /// Where a superpacket is cut: one wire packet.
    scratch: Vec<u8>,
    /// Where a wire packet is framed that is sealed then.
    shell: Vec<u8>,
    /// Identification of the last packet that got one here.
    fragment_id: u16,
}

/// What all packets of a superpacket from a tunnel share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    way: Way,
    ingress: Ingress,
}

impl Forwarder {
    /// Makes a forwarder with an empty snapshot: it drops everything until [`Self::install`].
    #[must_use]
    pub fn new(
        wg: sam_wg::DataPath,
        role: Role,
        limiter: Arc<IcmpLimiter>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            snapshot: Arc::default(),
            recent: RecentWays::default(),
            stats,
            role,
            wg,
            posts: Posts::new(POSTS_MAX),
            tunnel_of_peer: Vec::new(),
            sources: Sources::default(),
            long_packets: LongPackets::default(),
            paths: Vec::new(),
            traffic: TrafficTable::default(),
            trains: Trains::default(),
            staging: Staging::default(),
            coalescer: Coalescer::new(),
            runs: Vec::with_capacity(RUNS),
            merging: Merging::default(),
            neighbors: NeighborTable::default(),
            responder: ArpResponder::new(),
            announcer: Announcer::default(),
            observer: Observer::default(),
            watch: LanWatch::default(),
            sender: [0; 6],
            limiter,
            notices: NoticeQueue::default(),
            tap: None,
            scratch: vec![0; WIRE_PACKET],
            shell: vec![0; WIRE_PACKET],
            fragment_id: 0,
        }
    }

    /// Replaces the forwarding state; announces newly answered addresses, forgets observations about them.
    pub fn install(&mut self, snapshot: Arc<Snapshot>, io: &mut Io<'_>, now: Instant) {
        // 1. What is on its way leaves by the old state.
        self.flush(io, now);
        let former = std::mem::replace(&mut self.snapshot, snapshot);
        self.recent = RecentWays::default();
        // 2. Tunnels that changed their peer lose what waits for them.
        self.discard_misled(&former, io, now);
        let tap = self.tap.as_mut();
        let mut outlet = Outlet {
            io,
            stats: &self.stats,
            tap,
            now,
        };
        self.trains.resize(self.snapshot.tunnels.len(), &mut outlet);
        self.paths
            .resize(self.snapshot.tunnels.len(), PathWatch::default());
        self.traffic.follow(&former, &self.snapshot);
        self.tunnel_of_peer = tunnels_by_peer(&self.snapshot);
        self.sources = Sources::of(&self.snapshot);
        let mut ports: Vec<u16> = self.snapshot.tunnel_ports().collect();
        ports.sort_unstable();
        ports.dedup();
        self.coalescer.set_alone(ports);
        // 3. Neighbors whose addresses moved away are forgotten.
        let fib = &self.snapshot.fib;
        self.neighbors
            .retain(|key| fib.lookup(key.address) == Some(NextHop::Lan(key.port)));
        // 4. Who sent what is too long now is told.
        self.report_narrowed(io, now);
        // 5. ARP follows the answers.
        self.update_announcements(&former, now);
        self.follow_lans(now);
        self.send_announcements(io, now);
        self.flush(io, now);
    }

    /// Handles an Ethernet frame from a LAN port.
    pub fn handle_frame(&mut self, port: PortId, unit: Unit, io: &mut Io<'_>, now: Instant) {
        self.refresh_sessions(io, now);
        self.receive_frame(port, unit, io, now);
        self.drain_neighbors(io, now);
    }

    /// Handles an IP packet that the router's own host sent into the TUN port.
    pub fn handle_host_packet(&mut self, unit: Unit, io: &mut Io<'_>, now: Instant) {
        self.refresh_sessions(io, now);
        self.stats.add(&self.stats.tun_rx_units, 1);
        self.record(TapPoint::Tun, unit.buffer.bytes(), unit.offload.gso, now);
        self.receive_ip(Ingress::Host, unit, io, now);
        self.drain_neighbors(io, now);
    }

    /// Handles outer datagrams from one source: `buffer` holds them back to back, each `segment` bytes, the last
    /// perhaps shorter. `tos` is the outer TOS byte.
    pub fn handle_datagrams(
        &mut self,
        from: SocketAddr,
        tos: u8,
        segment: usize,
        mut buffer: Buffer,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        self.refresh_sessions(io, now);
        self.stats.add(&self.stats.trains_received, 1);
        let outer = tunnel::Outer { from, tos };
        let segment = segment.max(1);
        if buffer.is_empty() {
            self.receive_run(outer, segment, &mut [], io, now);
        }
        // Who watches sees each datagram before what becomes of it.
        let together = if self.tap.is_some() { 1 } else { RUN_MAX };
        for run in buffer.bytes_mut().chunks_mut(segment * together) {
            self.receive_run(outer, segment, run, io, now);
        }
        io.pool.give(buffer);
        self.drain_neighbors(io, now);
    }

    /// Ends a batch: closes coalesced runs and trains.
    pub fn flush(&mut self, io: &mut Io<'_>, now: Instant) {
        self.settle_tap();
        self.refresh_sessions(io, now);
        self.close_runs(io, now);
        self.drain_neighbors(io, now);
        self.collect_signals();
        let tap = self.tap.as_mut();
        self.trains.close_all(&mut Outlet {
            io,
            stats: &self.stats,
            tap,
            now,
        });
    }

    /// Does what is due: ARP retries, announcements, the end of waiting for a session.
    pub fn handle_timeout(&mut self, io: &mut Io<'_>, now: Instant) {
        self.discard_expired(io, now);
        self.neighbors.handle_timeout(now);
        self.inquire(io, now);
        self.watch_lans(io, now);
        self.send_announcements(io, now);
        self.flush(io, now);
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let neighbors = self.neighbors.poll_timeout().map(|at| (at, "neighbor"));
        let announcer = self.announcer.poll_timeout().map(|at| (at, "announcer"));
        let staging = self.staging.poll_timeout().map(|at| (at, "staging"));
        let responder = self.responder.poll_timeout().map(|at| (at, "responder"));
        let watch = self.watch.poll_timeout().map(|at| (at, "watch"));
        [neighbors, announcer, staging, responder, watch]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Says which superpackets the ports take; between batches, when nothing is being merged.
    pub fn set_merging(&mut self, merging: Merging) {
        self.merging = merging;
    }

    /// Takes the next fact for the control plane.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop()
    }

    /// Takes the next message for [`crate::Handshakes`].
    pub fn poll_post(&mut self) -> Option<HandshakePost> {
        self.posts.pop()
    }

    /// Starts or stops copying packets.
    pub fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
    }

    /// The tap, to take records from.
    pub fn tap(&mut self) -> Option<&mut Tap> {
        self.tap.as_mut()
    }

    /// Lists the neighbors of all LAN ports.
    #[must_use]
    pub fn neighbors(&self) -> Vec<NeighborView> {
        let view = |(key, state, since, queued): (NeighborKey, NeighborState, Instant, usize)| {
            let NeighborKey { port, address } = key;
            NeighborView {
                port,
                address,
                mac: state.mac(),
                state: state.name(),
                since,
                queued,
            }
        };
        self.neighbors.rows().map(view).collect()
    }

    /// Lists what went through each tunnel, by number.
    #[must_use]
    pub fn traffic(&self) -> &[TunnelTraffic] {
        self.traffic.rows()
    }

    /// Classifies an IP packet and forwards it.
    fn receive_ip(&mut self, ingress: Ingress, mut unit: Unit, io: &mut Io<'_>, now: Instant) {
        match classify(unit.buffer.bytes()) {
            Ok(classified) => {
                unit.buffer.truncate(classified.total);
                self.forward(
                    IpPacket {
                        unit,
                        classified,
                        ingress,
                    },
                    io,
                    now,
                );
            }
            Err(reason) => self.discard(unit.buffer, reason, io, now),
        }
    }

    fn forward(&mut self, mut packet: IpPacket, io: &mut Io<'_>, now: Instant) {
        let size = segment_size(&packet.classified, packet.unit.offload);
        match self.route(&packet, size) {
            Ok(way) => {
                // Only a tunnel that is configured so takes such a packet.
                if size > usize::from(way.mtu()) && packet.classified.dont_fragment {
                    self.force(&mut packet, way.mtu());
                }
                if let Way::Tunnel { tunnel, mtu } = way {
                    self.watch_size(&packet, size, (tunnel, mtu), now);
                    self.warn_sender(&packet, tunnel, io, now);
                }
                self.judge(Verdict::Forwarded(way));
                self.send(packet, way, io, now);
            }
            Err(refusal) => {
                let (source, destination) =
                    (packet.classified.source, packet.classified.destination);
                self.strange_source(packet.ingress, refusal.reason, source, now);
                let packet = match self.answer_echo(packet, io, now) {
                    Ok(()) => return,
                    Err(packet) => packet,
                };
                if refusal.reason == DropReason::PoolWithheld
                    && !matches!(packet.ingress, Ingress::Tunnel(_))
                {
                    self.address_wanted(destination, now);
                }
                self.refuse(packet, refusal, io, now);
            }
        }
    }

    /// Finds the way of a packet whose longest wire packet has `size` bytes.
    fn route(&mut self, packet: &IpPacket, size: usize) -> Result<Way, Refusal> {
        let (ingress, classified) = (packet.ingress, &packet.classified);
        if let Some(way) = self.recent.find(ingress, classified, size) {
            return Ok(way);
        }
        self.stats.add(&self.stats.routing_decisions, 1);
        let way = decide(&self.snapshot, ingress, classified, size)?;
        self.recent.note(ingress, classified, way);
        Ok(way)
    }

    /// Makes a packet fit that its sender does not allow to be fragmented.
    fn force(&mut self, packet: &mut IpPacket, mtu: u16) {
        let IpPacket {
            unit, classified, ..
        } = packet;
        let id = self.fragment_id.wrapping_add(1).max(1);
        // The datagrams of a superpacket are numbered from that of the whole.
        let further = match unit.offload.gso {
            Gso::Udp { size } => {
                let payload = unit.buffer.len().saturating_sub(classified.payload);
                payload / usize::from(size.max(1))
            }
            Gso::None | Gso::Tcp { .. } => 0,
        };
        self.fragment_id = id.wrapping_add(u16::try_from(further).unwrap_or(u16::MAX));
        let (bytes, offload) = (unit.buffer.bytes_mut(), &mut unit.offload);
        force(bytes, classified, offload, mtu, id);
        self.stats.add(&self.stats.packets_forced, 1);
    }

    /// Sends a packet on its way, one hop older.
    fn send(&mut self, mut packet: IpPacket, way: Way, io: &mut Io<'_>, now: Instant) {
        if packet.ingress != Ingress::Host && way != Way::Host {
            decrement_ttl(packet.unit.buffer.bytes_mut());
            packet.classified.ttl -= 1;
        }
        self.clamp_mss(&mut packet, way);
        let came_by_tunnel = matches!(packet.ingress, Ingress::Tunnel(_));
        if came_by_tunnel && !matches!(way, Way::Tunnel { .. }) {
            self.coalesce(packet, way, io, now);
        } else {
            self.dispatch(packet, way, io, now);
        }
    }

    fn dispatch(&mut self, packet: IpPacket, way: Way, io: &mut Io<'_>, now: Instant) {
        match way {
            Way::Tunnel { tunnel, mtu } => self.encapsulate(packet, tunnel, mtu, io, now),
            Way::Lan { port, mtu } => self.send_lan(packet, port, mtu, io, now),
            Way::Host => self.send_host(packet.unit, io, now),
        }
    }

    /// Lowers the MSS of a SYN to what fits the tunnels and the LAN that it comes from and goes to.
    fn clamp_mss(&self, packet: &mut IpPacket, way: Way) {
        if !mss::is_syn(&packet.classified) {
            return;
        }
        let Some(max) = mss::limit(&self.snapshot, packet.ingress, way) else {
            return;
        };
        let checksum = packet.unit.offload.checksum;
        let bytes = packet.unit.buffer.bytes_mut();
        if mss::clamp(bytes, &packet.classified, max, checksum) {
            self.stats.add(&self.stats.mss_clamped, 1);
        }
    }

    /// Drops a packet that was understood, and tells its sender if it should know.
    fn refuse(&mut self, packet: IpPacket, refusal: Refusal, io: &mut Io<'_>, now: Instant) {
        if let Some(error) = refusal.error {
            self.report(&packet, error, io, now);
        }
        self.discard(packet.unit.buffer, refusal.reason, io, now);
    }

    /// Drops anything else.
    fn discard(&mut self, buffer: Buffer, reason: DropReason, io: &mut Io<'_>, now: Instant) {
        self.count_drop(reason);
        if let Some(tap) = &mut self.tap {
            tap.lose(buffer.bytes(), reason, now);
        }
        io.pool.give(buffer);
    }

    /// Drops what was received and has no buffer of its own yet.
    fn refuse_received(&mut self, reason: DropReason) {
        self.count_drop(reason);
        self.judge(Verdict::Dropped(reason));
    }

    /// Tells a listener what becomes of the packet that was received last.
    fn judge(&mut self, verdict: Verdict) {
        if let Some(tap) = &mut self.tap {
            tap.judge(verdict);
        }
    }

    /// Ends the time in which verdicts are about the packet that was received last.
    fn settle_tap(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.settle();
        }
    }

    fn count_drop(&self, reason: DropReason) {
        Stats::drop(&self.stats, reason);
    }

    fn notify(&mut self, notice: Notice) {
        if !self.notices.push(notice) {
            self.stats.add(&self.stats.notices_lost, 1);
        }
    }

    /// Queues something to send; returns whether the queue took it.
    fn push(&mut self, egress: Egress, point: TapPoint, io: &mut Io<'_>, now: Instant) -> bool {
        let tap = self.tap.as_mut();
        Outlet {
            io,
            stats: &self.stats,
            tap,
            now,
        }
        .push(egress, point, None)
    }

    /// Copies a received packet for the listener.
    fn record(&mut self, point: TapPoint, bytes: &[u8], gso: Gso, now: Instant) {
        if let Some(tap) = &mut self.tap {
            let seen = Seen::inbound(point, bytes, now);
            tap.record(Seen { gso, ..seen });
        }
    }
}

pub use hosts::LanQuestion;
pub use plain::PlainDatagrams;
pub(crate) use session::tunnels_by_peer;
pub(crate) use tunnel::open_reason;

/// Superpackets that one call can complete: all open runs and the packet that closed them.
const RUNS: usize = RUNS_MAX + 1;
/// Length of the longest wire packet in bytes.
const WIRE_PACKET: usize = 65_535;

/// Cuts what arrived from one sender into its datagrams. What is empty is one empty datagram, to be refused like any other
/// that makes no sense.
fn datagrams_of(bytes: &[u8], segment: usize) -> impl Iterator<Item = &[u8]> {
    let empty = bytes.is_empty().then_some(bytes);
    empty.into_iter().chain(bytes.chunks(segment.max(1)))
}
