//! Tunnel side of the forwarder: datagrams in, trains out, and what waits for a session.

use std::net::SocketAddr;
use std::time::Instant;

use sam_wg::{Event, OpenError, Opened, PeerIndex, TimerName};

use super::lan::RESERVE_BUFFERS;
use super::{Forwarder, Run, Way};
use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::fragment::fragment;
use crate::ids::TunnelId;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::notice::Notice;
use crate::outlet::{Io, Outlet};
use crate::packet::ipv4::set_ecn;
use crate::packet::{Classified, classify};
use crate::segment::segment;
use crate::snapshot::{Encap, Snapshot};
use crate::stats::Stats;
use crate::trace::TapPoint;
use crate::train::{Passage, Trains};
use crate::unit::{Gso, Offload, Unit};

/// What the outer headers say about a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outer {
    /// Source.
    pub(super) from: SocketAddr,
    /// TOS byte.
    pub(super) tos: u8,
}

impl Forwarder {
    /// Handles one outer datagram.
    pub(super) fn receive_datagram(
        &mut self,
        outer: Outer,
        datagram: &[u8],
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if let Some(tap) = &mut self.tap {
            tap.record(TapPoint::Outer, false, datagram, Some(outer.from), now);
        }
        let Some(mut buffer) = io.pool.take() else {
            return self.count_drop(DropReason::BufferPoolEmpty);
        };
        match self.wg.open(outer.from, datagram, buffer.tail_mut(), now) {
            Ok(Opened::Packet { peer, len }) => {
                buffer.grow(len);
                self.receive_inner(peer, outer.tos, buffer, io, now);
            }
            Ok(Opened::Control) => io.pool.give(buffer),
            Err(error) => self.discard(buffer, open_reason(error), io),
        }
    }

    /// Handles an inner packet that `peer` sent.
    fn receive_inner(
        &mut self,
        peer: PeerIndex,
        outer_tos: u8,
        mut buffer: Buffer,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let Some(tunnel) = self.tunnel_of(peer) else {
            return self.discard(buffer, DropReason::TunnelDown, io);
        };
        self.stats.add(&self.stats.tunnel_rx_packets, 1);
        self.stats
            .add(&self.stats.tunnel_rx_bytes, buffer.len() as u64);
        self.record(TapPoint::Inner(tunnel), buffer.bytes(), now);
        let mut classified = match classify(buffer.bytes()) {
            Ok(classified) => classified,
            Err(reason) => return self.discard(buffer, reason, io),
        };
        buffer.truncate(classified.total);
        let Some(ecn) = merge_ecn(classified.tos & ECN, outer_tos & ECN) else {
            return self.discard(buffer, DropReason::EcnCeNotEct, io);
        };
        if ecn != classified.tos & ECN {
            set_ecn(buffer.bytes_mut(), ecn);
            classified.tos = classified.tos & !ECN | ecn;
        }
        let ingress = Ingress::Tunnel(tunnel);
        self.forward(
            IpPacket {
                unit: Unit::plain(buffer),
                classified,
                ingress,
            },
            io,
            now,
        );
    }

    /// Collects a packet from a tunnel into a superpacket for LAN or host, and sends what is complete.
    pub(super) fn coalesce(&mut self, packet: IpPacket, way: Way, io: &mut Io<'_>, now: Instant) {
        let run = Run {
            way,
            ingress: packet.ingress,
        };
        let IpPacket {
            unit, classified, ..
        } = packet;
        let Self {
            coalescer, runs, ..
        } = self;
        let mut emit = |run, unit| runs.push((run, unit));
        let pushed = coalescer.push(run, unit.buffer.bytes(), &classified, io.pool, &mut emit);
        match pushed {
            Ok(()) => io.pool.give(unit.buffer),
            Err(reason) => self.discard(unit.buffer, reason, io),
        }
        self.send_runs(io, now);
    }

    /// Ends all superpackets and sends them.
    pub(super) fn close_runs(&mut self, io: &mut Io<'_>, now: Instant) {
        let Self {
            coalescer, runs, ..
        } = self;
        coalescer.flush(&mut |run, unit| runs.push((run, unit)));
        self.send_runs(io, now);
    }

    fn send_runs(&mut self, io: &mut Io<'_>, now: Instant) {
        let mut runs = std::mem::take(&mut self.runs);
        for (Run { way, ingress }, unit) in runs.drain(..) {
            match classify(unit.buffer.bytes()) {
                Ok(classified) => {
                    self.count_merged(&classified, unit.offload);
                    self.dispatch(
                        IpPacket {
                            unit,
                            classified,
                            ingress,
                        },
                        way,
                        io,
                        now,
                    );
                }
                Err(reason) => self.discard(unit.buffer, reason, io),
            }
        }
        self.runs = runs;
    }

    fn count_merged(&self, classified: &Classified, offload: Offload) {
        let (Gso::Tcp { size } | Gso::Udp { size }) = offload.gso else {
            return;
        };
        let payload = classified.total - classified.payload;
        let packets = payload.div_ceil(usize::from(size).max(1));
        self.stats.add(&self.stats.segments_merged, packets as u64);
    }

    /// Seals a packet into the train of its tunnel, cut into wire packets and fragments as needed.
    pub(super) fn encapsulate(
        &mut self,
        packet: IpPacket,
        tunnel: TunnelId,
        mtu: u16,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if self.staging.len(tunnel) > 0 && self.has_session(tunnel) {
            // Packets that waited go first.
            self.replay(tunnel, io, now);
        }
        self.seal_or_stage(packet, tunnel, mtu, io, now);
    }

    fn seal_or_stage(
        &mut self,
        packet: IpPacket,
        tunnel: TunnelId,
        mtu: u16,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        match self.seal(&packet, tunnel, mtu, io, now) {
            Ok(()) => {
                if let Some(tap) = &mut self.tap {
                    let bytes = packet.unit.buffer.bytes();
                    tap.record(TapPoint::Inner(tunnel), true, bytes, None, now);
                }
                io.pool.give(packet.unit.buffer);
            }
            Err(DropReason::TunnelNoSession) => self.stage(packet, tunnel, io),
            Err(reason) => self.discard(packet.unit.buffer, reason, io),
        }
    }

    /// Seals all wire packets of `packet`. After the first failure the rest is left out.
    fn seal(
        &mut self,
        packet: &IpPacket,
        tunnel: TunnelId,
        mtu: u16,
        io: &mut Io<'_>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let Self {
            snapshot,
            trains,
            wg,
            scratch,
            stats,
            tap,
            ..
        } = self;
        let Encap::WireGuard(peer) = snapshot.tunnel(tunnel).ok_or(DropReason::TunnelDown)?.encap;
        let passage = Passage {
            tunnel,
            peer,
            tos: packet.classified.tos & ECN,
        };
        let mut outlet = Outlet {
            io,
            stats,
            tap: tap.as_mut(),
            now,
        };
        let mut seal = |inner: &[u8]| trains.seal(wg, passage, inner, &mut outlet);
        let (bytes, offload) = (packet.unit.buffer.bytes(), packet.unit.offload);
        if offload == Offload::default() && bytes.len() <= usize::from(mtu) {
            return seal(bytes);
        }
        let mut outcome = Ok(());
        segment(bytes, &packet.classified, offload, |len, write| {
            if outcome.is_ok() {
                let wire = &mut scratch[..len];
                write(wire);
                outcome = for_each_fragment(wire, mtu, stats, &mut seal);
            }
        })?;
        outcome
    }

    /// Keeps a packet until its tunnel has a session.
    fn stage(&mut self, packet: IpPacket, tunnel: TunnelId, io: &mut Io<'_>) {
        if io.pool.available() < RESERVE_BUFFERS {
            return self.discard(packet.unit.buffer, DropReason::TunnelNoSession, io);
        }
        let stats = &self.stats;
        self.staging.stage(tunnel, packet, |refused| {
            Stats::drop(stats, DropReason::TunnelNoSession);
            io.pool.give(refused.unit.buffer);
        });
    }

    /// Sends what waited for the session of a tunnel.
    fn replay(&mut self, tunnel: TunnelId, io: &mut Io<'_>, now: Instant) {
        let Some(mtu) = self.snapshot.tunnel(tunnel).map(|tunnel| tunnel.mtu) else {
            return;
        };
        for _ in 0..self.staging.len(tunnel) {
            if let Some(packet) = self.staging.take(tunnel) {
                self.seal_or_stage(packet, tunnel, mtu, io, now);
            }
        }
    }

    /// Drops what waits for a tunnel.
    fn discard_staged(&mut self, tunnel: TunnelId, reason: DropReason, io: &mut Io<'_>) {
        while let Some(packet) = self.staging.take(tunnel) {
            self.discard(packet.unit.buffer, reason, io);
        }
    }

    /// Drops what waits for tunnels that do not lead where they led.
    pub(super) fn discard_misled(&mut self, former: &Snapshot, io: &mut Io<'_>) {
        for tunnel in &former.tunnels {
            let same = self
                .snapshot
                .tunnel(tunnel.id)
                .is_some_and(|now| now.encap == tunnel.encap);
            if !same {
                self.discard_staged(tunnel.id, DropReason::TunnelDown, io);
            }
        }
    }

    fn has_session(&self, tunnel: TunnelId) -> bool {
        self.snapshot.tunnel(tunnel).is_some_and(|tunnel| {
            let Encap::WireGuard(peer) = tunnel.encap;
            self.wg.has_session(peer)
        })
    }

    /// Handles what WireGuard reports, and queues what it wants to send.
    pub(super) fn drain_wireguard(&mut self, io: &mut Io<'_>, now: Instant) {
        while let Some(event) = self.wg.poll_event() {
            self.on_event(event, io, now);
        }
        while let Some(mut buffer) = io.pool.take() {
            let Some((to, len)) = self.wg.poll_transmit(buffer.tail_mut()) else {
                return io.pool.give(buffer);
            };
            buffer.grow(len);
            let tap = self.tap.as_mut();
            let mut outlet = Outlet {
                io,
                stats: &self.stats,
                tap,
                now,
            };
            Trains::send_alone(to, buffer, &mut outlet);
        }
    }

    fn on_event(&mut self, event: Event, io: &mut Io<'_>, now: Instant) {
        match event {
            Event::SessionUp { peer, first } => {
                self.stats.add(&self.stats.handshakes_completed, 1);
                let Some(tunnel) = self.tunnel_of(peer) else {
                    return;
                };
                self.notify(Notice::SessionUp { tunnel, first });
                self.replay(tunnel, io, now);
            }
            Event::SessionDown { peer } => {
                let Some(tunnel) = self.tunnel_of(peer) else {
                    return;
                };
                self.notify(Notice::SessionDown { tunnel });
                self.discard_staged(tunnel, DropReason::TunnelNoSession, io);
            }
            Event::EndpointChanged { peer, from, to } => {
                let Some(tunnel) = self.tunnel_of(peer) else {
                    return;
                };
                self.notify(Notice::EndpointChanged { tunnel, from, to });
            }
        }
    }

    fn tunnel_of(&self, peer: PeerIndex) -> Option<TunnelId> {
        self.tunnel_of_peer
            .get(usize::from(peer.0))
            .copied()
            .flatten()
    }
}

/// Hands `wire` to `each`, in fragments of at most `mtu` bytes when it is longer; stops at the first failure.
pub(super) fn for_each_fragment(
    wire: &[u8],
    mtu: u16,
    stats: &Stats,
    each: &mut impl FnMut(&[u8]) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    if wire.len() <= usize::from(mtu) {
        return each(wire);
    }
    let classified = classify(wire)?;
    let mut slot = [0; FRAGMENT_MAX];
    let mut outcome = Ok(());
    let count = fragment(
        wire,
        &classified,
        usize::from(mtu).min(FRAGMENT_MAX),
        |len, write| {
            if outcome.is_ok() {
                write(&mut slot[..len]);
                outcome = each(&slot[..len]);
            }
        },
    )?;
    stats.add(&stats.fragments_made, count as u64);
    outcome
}

/// Lists the tunnel of each peer, by peer index.
pub(super) fn by_peer(snapshot: &Snapshot) -> Vec<Option<TunnelId>> {
    let mut tunnels = Vec::new();
    for tunnel in &snapshot.tunnels {
        let Encap::WireGuard(PeerIndex(index)) = tunnel.encap;
        let index = usize::from(index);
        if tunnels.len() <= index {
            tunnels.resize(index + 1, None);
        }
        tunnels[index] = Some(tunnel.id);
    }
    tunnels
}

/// Merges the outer ECN field into the inner one (RFC 6040 section 4.2); `None` drops the packet.
fn merge_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}

/// Names what WireGuard refused.
fn open_reason(error: OpenError) -> DropReason {
    match error {
        OpenError::BadMac => DropReason::WgBadMac,
        OpenError::UnknownPeer => DropReason::WgUnknownPeer,
        OpenError::HandshakeRejected => DropReason::WgHandshakeRejected,
        OpenError::UnknownIndex => DropReason::WgUnknownIndex,
        OpenError::DecryptFailed => DropReason::WgDecryptFailed,
        OpenError::Replay => DropReason::WgReplay,
        OpenError::UnderLoad => DropReason::WgUnderLoad,
        OpenError::NotIp => DropReason::WgNotIp,
        OpenError::UnknownType | _ => DropReason::WgUnknownType,
    }
}

/// Names a WireGuard deadline.
pub(super) fn timer_name(timer: TimerName) -> &'static str {
    match timer {
        TimerName::HandshakeRetry => "wg-handshake-retry",
        TimerName::Rekey => "wg-rekey",
        TimerName::Keepalive => "wg-keepalive",
        TimerName::PersistentKeepalive => "wg-persistent-keepalive",
        TimerName::Expiry => "wg-expiry",
    }
}

/// Longest fragment in bytes; longer MTUs get more fragments than needed.
const FRAGMENT_MAX: usize = 16 * 1024;
/// Mask of the ECN field in the TOS byte (RFC 3168 section 5).
const ECN: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;
