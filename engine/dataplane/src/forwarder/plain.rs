//! Tunnels without encryption: who may send into them, and how a packet is framed.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::{Forwarder, datagrams_of};
use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::encap::lane::udp_lane;
use crate::encap::{Carrier, Framing, Lane, Plain};
use crate::ids::TunnelId;
use crate::ip_packet::IpPacket;
use crate::merged::offload_of;
use crate::outlet::Io;
use crate::trace::{Seen, TapPoint};
use crate::train::Passage;
use crate::unit::{Offload, Unit};
use crate::verdict::Verdict;
use crate::wire_packet::WirePacket;

/// Packets of one carrier from one source, back to back: all `segment` bytes long, the last perhaps shorter.
#[derive(Debug)]
pub struct PlainDatagrams {
    /// By which socket they came.
    pub carrier: Carrier,
    /// Outer source.
    pub from: SocketAddr,
    /// Outer TOS byte.
    pub tos: u8,
    /// The kernel's number of the interface that they came in by.
    pub interface: u32,
    /// Bytes per packet, without the header of the carrier.
    pub segment: usize,
    /// The packets.
    pub buffer: Buffer,
}

impl Forwarder {
    /// Handles packets of tunnels without encryption.
    pub fn handle_plain(&mut self, datagrams: PlainDatagrams, io: &mut Io<'_>, now: Instant) {
        self.refresh_sessions(io, now);
        self.stats.add(&self.stats.trains_received, 1);
        let PlainDatagrams {
            carrier,
            from,
            tos,
            interface,
            segment,
            buffer,
        } = datagrams;
        let found = self.far_end(carrier, from.ip(), interface);
        for packet in datagrams_of(buffer.bytes(), segment) {
            if let Some(tap) = &mut self.tap {
                let seen = Seen::inbound(TapPoint::Outer, packet, now);
                tap.record(seen.with_remote(from, Some(carrier)));
            }
            match found {
                Ok((tunnel, plain)) => self.receive_framed(tunnel, plain, tos, packet, io, now),
                Err(reason) => self.refuse_received(reason),
            }
        }
        io.pool.give(buffer);
        self.drain_neighbors(io, now);
    }

    /// Finds the tunnel whose far end sent a packet. Whoever is on a LAN can write any source; so nothing that comes in by it
    /// counts, but for tunnels that lead out there, nor what our own kernel got from the TUN.
    fn far_end(
        &self,
        carrier: Carrier,
        source: IpAddr,
        interface: u32,
    ) -> Result<(TunnelId, Plain), DropReason> {
        let found = self.sources.find(carrier, source);
        let (tunnel, plain) = found.ok_or(DropReason::EncapUnknownSource)?;
        let (mut lans, mut tun) = (self.snapshot.lans.iter(), self.snapshot.tun.iter());
        let by_lan = lans.any(|lan| lan.interface != 0 && lan.interface == interface);
        let by_tun = tun.any(|tun| tun.interface == interface);
        if by_tun || by_lan && !plain.by_lan {
            return Err(DropReason::EncapFromInside);
        }
        Ok((tunnel, plain))
    }

    fn receive_framed(
        &mut self,
        tunnel: TunnelId,
        plain: Plain,
        tos: u8,
        packet: &[u8],
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let inner = match plain.framing.parse(packet) {
            Ok(inner) => inner,
            Err(reason) => return self.refuse_received(reason),
        };
        let Some(mut buffer) = io.pool.take() else {
            return self.refuse_received(DropReason::BufferPoolEmpty);
        };
        if !buffer.append(inner) {
            return self.discard(buffer, DropReason::EncapMalformed, io, now);
        }
        let offload = match (plain.carrier, self.snapshot.tunnel(tunnel)) {
            (Carrier::Ip { .. }, Some(tunnel)) => offload_of(inner, tunnel.mtu),
            (Carrier::Ip { .. }, None) | (Carrier::Udp { .. }, _) => Offload::default(),
        };
        self.judge(Verdict::Opened(tunnel));
        self.receive_inner(tunnel, tos, Unit { buffer, offload }, io, now);
    }
}

/// Finds the passage of a packet through a tunnel without encryption.
pub(super) fn plain_passage(
    packet: &IpPacket,
    tunnel: TunnelId,
    plain: Plain,
    tos: u8,
) -> Result<Passage, DropReason> {
    let lane = match plain.carrier {
        Carrier::Udp { .. } => Lane::Udp(udp_lane(packet.unit.buffer.bytes(), &packet.classified)),
        Carrier::Ip { protocol } => Lane::Ip { protocol },
    };
    Ok(Passage {
        tunnel,
        lane,
        to: plain.to.ok_or(DropReason::TunnelNoEndpoint)?,
        tos,
        growth: plain.framing.header(),
    })
}

/// Writes a framed packet to the start of `slot` and returns its length.
pub(super) fn frame(
    framing: Framing,
    inner: &WirePacket<'_>,
    slot: &mut [u8],
) -> Result<usize, DropReason> {
    let (header, len) = (framing.header(), framing.header() + inner.len());
    let slot = slot.get_mut(..len).ok_or(DropReason::TooBig)?;
    inner.write(&mut slot[header..]);
    framing.write(slot);
    Ok(len)
}
