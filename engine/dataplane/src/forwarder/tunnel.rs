//! Tunnel side of the forwarder: datagrams in, trains and superpackets out.

use std::net::SocketAddr;
use std::time::Instant;

use sam_wg::{DataPath, OpenError, Opened, Order, PeerIndex, SealError};

use super::plain::{frame, plain_passage};
use super::{Forwarder, Run, Way};
use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::dscp::is_control;
use crate::encap::Lane;
use crate::encap::lane::udp_lane;
use crate::encap::nested::Content;
use crate::fragment::fragment;
use crate::ids::TunnelId;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::outlet::{Io, Outlet};
use crate::packet::ipv4::set_ecn;
use crate::packet::{Classified, classify};
use crate::segment::Segments;
use crate::snapshot::{Encap, Tunnel};
use crate::stats::Stats;
use crate::trace::{Seen, Tap, TapPoint};
use crate::train::Passage;
use crate::unit::{Gso, Offload, Unit};
use crate::verdict::Verdict;
use crate::wire_packet::WirePacket;

/// What the outer headers say about a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outer {
    /// Source.
    pub(super) from: SocketAddr,
    /// TOS byte.
    pub(super) tos: u8,
}

impl Forwarder {
    /// Handles outer datagrams of `segment` bytes each that came together.
    pub(super) fn receive_run(
        &mut self,
        outer: Outer,
        segment: usize,
        datagrams: &mut [u8],
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if let Some(tap) = &mut self.tap {
            let seen = Seen::inbound(TapPoint::Outer, datagrams, now);
            tap.record(seen.with_remote(outer.from, None));
        }
        if datagrams.is_empty() {
            return self.receive_datagram(outer, &[], Err(OpenError::UnknownType), io, now);
        }
        let order = if is_control(outer.tos) {
            Order::Overtaking
        } else {
            Order::Kept
        };
        let run = sam_wg::Run {
            from: outer.from,
            segment,
            order,
        };
        self.wg.open_run(run, datagrams, now);
        for datagram in datagrams.chunks(segment) {
            if let Some(opened) = self.wg.poll_opened() {
                self.receive_datagram(outer, datagram, opened, io, now);
            }
        }
    }

    /// Handles one outer datagram; an inner packet is at its start.
    fn receive_datagram(
        &mut self,
        outer: Outer,
        datagram: &[u8],
        opened: Result<Opened, OpenError>,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        match opened {
            Ok(Opened::Packet { peer, len }) => {
                let Some(mut buffer) = io.pool.take() else {
                    return self.refuse_received(DropReason::BufferPoolEmpty);
                };
                buffer.tail_mut()[..len].copy_from_slice(&datagram[..len]);
                buffer.grow(len);
                match self.tunnel_of(peer) {
                    Some(tunnel) => {
                        self.judge(Verdict::Opened(tunnel));
                        self.receive_opened(tunnel, outer.tos, buffer, io, now);
                    }
                    None => self.discard(buffer, DropReason::TunnelDown, io, now),
                }
            }
            Ok(Opened::Keepalive) => {
                self.stats.add(&self.stats.wg_control_received, 1);
                self.judge(Verdict::Keepalive);
            }
            Ok(Opened::Handshake) => self.pass_on(outer.from, datagram),
            Err(error) => self.refuse_received(open_reason(error)),
        }
    }

    /// Handles what came out of WireGuard.
    fn receive_opened(
        &mut self,
        tunnel: TunnelId,
        outer_tos: u8,
        mut buffer: Buffer,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let nested = self.snapshot.tunnel(tunnel).and_then(|far| far.nested);
        let content = nested.map_or(Ok(Content::Bare), |nested| nested.parse(buffer.bytes()));
        let tos = match content {
            Ok(Content::Bare) => outer_tos,
            Ok(Content::Framed { inner, tos }) => {
                let Some(ecn) = merge_ecn(tos & ECN, outer_tos & ECN) else {
                    return self.discard(buffer, DropReason::EcnCeNotEct, io, now);
                };
                buffer.truncate(inner.end);
                buffer.trim_front(inner.start);
                ecn
            }
            Err(reason) => return self.discard(buffer, reason, io, now),
        };
        self.receive_inner(tunnel, tos, Unit::plain(buffer), io, now);
    }

    /// Handles an inner packet that came by `tunnel`.
    pub(super) fn receive_inner(
        &mut self,
        tunnel: TunnelId,
        outer_tos: u8,
        unit: Unit,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let Unit {
            mut buffer,
            offload,
        } = unit;
        self.stats.add(&self.stats.tunnel_rx_packets, 1);
        self.stats
            .add(&self.stats.tunnel_rx_bytes, buffer.len() as u64);
        self.traffic.on_received(tunnel, buffer.len(), now);
        self.record(TapPoint::Inner(tunnel), buffer.bytes(), offload.gso, now);
        let mut classified = match classify(buffer.bytes()) {
            Ok(classified) => classified,
            Err(reason) => return self.discard(buffer, reason, io, now),
        };
        buffer.truncate(classified.total);
        let Some(ecn) = merge_ecn(classified.tos & ECN, outer_tos & ECN) else {
            return self.discard(buffer, DropReason::EcnCeNotEct, io, now);
        };
        if ecn != classified.tos & ECN {
            set_ecn(buffer.bytes_mut(), ecn);
            classified.tos = classified.tos & !ECN | ecn;
        }
        if self.take_answer(tunnel, buffer.bytes(), &classified) {
            self.judge(Verdict::ProbeAnswer);
            return io.pool.give(buffer);
        }
        if self.take_question(tunnel, buffer.bytes(), &classified) {
            self.judge(Verdict::Question);
            return io.pool.give(buffer);
        }
        let ingress = Ingress::Tunnel(tunnel);
        self.forward(
            IpPacket {
                unit: Unit { buffer, offload },
                classified,
                ingress,
            },
            io,
            now,
        );
    }

    /// Collects a packet from a tunnel into a superpacket for LAN or host, and sends what is complete.
    pub(super) fn coalesce(&mut self, packet: IpPacket, way: Way, io: &mut Io<'_>, now: Instant) {
        let policy = match way {
            Way::Lan { .. } => self.merging.lan,
            Way::Host | Way::Tunnel { .. } => self.merging.host,
        };
        if packet.unit.offload != Offload::default() {
            // The kernel merged it; what came before leaves first.
            self.close_runs(io, now);
            return self.dispatch(packet, way, io, now);
        }
        if !policy.allows(packet.classified.l4) {
            return self.dispatch(packet, way, io, now);
        }
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
            Err(reason) => self.discard(unit.buffer, reason, io, now),
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
        let suspended = self.tap.as_mut().map(Tap::suspend);
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
                Err(reason) => self.discard(unit.buffer, reason, io, now),
            }
        }
        if let (Some(tap), Some(suspended)) = (&mut self.tap, suspended) {
            tap.resume(suspended);
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

    pub(super) fn seal_or_stage(
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
                    tap.record(Seen::outbound(TapPoint::Inner(tunnel), bytes, now));
                    tap.judge(Verdict::Forwarded(Way::Tunnel { tunnel, mtu }));
                }
                io.pool.give(packet.unit.buffer);
            }
            Err(DropReason::TunnelNoSession) => self.stage(packet, tunnel, io, now),
            Err(reason) => self.discard(packet.unit.buffer, reason, io, now),
        }
    }

    /// Encapsulates all wire packets of `packet`. After the first failure the rest is left out.
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
            traffic,
            shell,
            ..
        } = self;
        let Tunnel {
            encap,
            nested,
            dscp,
            ..
        } = snapshot.tunnel(tunnel).ok_or(DropReason::TunnelDown)?;
        let mut outlet = Outlet {
            io,
            stats,
            tap: tap.as_mut(),
            now,
        };
        let tos = dscp.outer_tos(packet.classified.tos, packet.ingress == Ingress::Host);
        match *encap {
            Encap::WireGuard(peer) => {
                let around = nested.map_or(0, |nested| usize::from(nested.header()));
                wg.pad_up_to(usize::from(mtu) + around);
                let to = wg.endpoint(peer).ok_or_else(|| no_endpoint(wg, peer))?;
                let flow = nested.map_or(0, |_| {
                    udp_lane(packet.unit.buffer.bytes(), &packet.classified)
                });
                for_each_wire_packet(packet, mtu, scratch, stats, |inner| {
                    let passage = Passage {
                        tunnel,
                        lane: Lane::WireGuard,
                        to,
                        tos,
                        growth: wg.sealed_len(inner.len() + around) - inner.len(),
                    };
                    let sealed = match nested {
                        Some(nested) => WirePacket::Whole(nested.write(&inner, tos, flow, shell)?),
                        None => inner,
                    };
                    trains.load(passage, inner.len(), &mut outlet, |slot| {
                        let write = |text: &mut [u8]| sealed.write(text);
                        wg.seal_with(peer, sealed.len(), write, slot, now)
                            .map_err(seal_reason)
                    })?;
                    traffic.on_sent(tunnel, inner.len());
                    Ok(())
                })
            }
            Encap::Plain(plain) => {
                let (passage, framing) =
                    (plain_passage(packet, tunnel, plain, tos)?, plain.framing);
                for_each_wire_packet(packet, mtu, scratch, stats, |inner| {
                    trains.load(passage, inner.len(), &mut outlet, |slot| {
                        frame(framing, &inner, slot)
                    })?;
                    traffic.on_sent(tunnel, inner.len());
                    Ok(())
                })
            }
        }
    }
}

/// Hands every wire packet of `packet` to `each`; those longer than `mtu` bytes are written to `scratch` and go in
/// fragments. After the first failure the rest is left out.
pub(super) fn for_each_wire_packet(
    packet: &IpPacket,
    mtu: u16,
    scratch: &mut [u8],
    stats: &Stats,
    mut each: impl FnMut(WirePacket<'_>) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let (bytes, offload) = (packet.unit.buffer.bytes(), packet.unit.offload);
    if offload == Offload::default() && bytes.len() <= usize::from(mtu) {
        return each(WirePacket::Whole(bytes));
    }
    let segments = Segments::new(bytes, &packet.classified, offload)?;
    for segment in segments.iter() {
        let wire = WirePacket::Segment(segment);
        if wire.len() <= usize::from(mtu) {
            each(wire)?;
        } else {
            let whole = &mut scratch[..wire.len()];
            wire.write(whole);
            for_each_fragment(whole, mtu, stats, &mut each)?;
        }
    }
    Ok(())
}

/// Hands `wire` to `each` in fragments of at most `mtu` bytes; leaves out the rest after the first failure.
fn for_each_fragment(
    wire: &[u8],
    mtu: u16,
    stats: &Stats,
    each: &mut impl FnMut(WirePacket<'_>) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let classified = classify(wire)?;
    let mut outcome = Ok(());
    let count = fragment(wire, &classified, usize::from(mtu), |fragment| {
        if outcome.is_ok() {
            outcome = each(WirePacket::Fragment(fragment));
        }
    })?;
    stats.add(&stats.fragments_made, count as u64);
    outcome
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

/// Tells why a peer has no endpoint. A snapshot may name a peer that the owner of the handshakes is about to publish:
/// what is for it can wait like what has no session.
fn no_endpoint(wg: &DataPath, peer: PeerIndex) -> DropReason {
    if wg.has_peer(peer) {
        DropReason::TunnelNoEndpoint
    } else {
        DropReason::TunnelNoSession
    }
}

/// Names what sealing refused.
fn seal_reason(error: SealError) -> DropReason {
    match error {
        SealError::NoSession => DropReason::TunnelNoSession,
        SealError::NoEndpoint => DropReason::TunnelNoEndpoint,
        SealError::OutputTooSmall => DropReason::TooBig,
        SealError::NoPeer | _ => DropReason::TunnelDown,
    }
}

/// Names what WireGuard refused.
pub(crate) fn open_reason(error: OpenError) -> DropReason {
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

/// Mask of the ECN field in the TOS byte (RFC 3168 section 5).
const ECN: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;
