//! LAN and host side of the forwarder: frames in, frames and host packets out.

use std::sync::Arc;
use std::time::Instant;

use super::Forwarder;
use super::tunnel::for_each_wire_packet;
use crate::decision::Refusal;
use crate::drop_reason::DropReason;
use crate::ids::PortId;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::neighbor::{NeighborKey, Resolution};
use crate::notice::Mac;
use crate::outlet::Io;
use crate::packet::classify;
use crate::packet::ethernet::{BROADCAST, ETHERNET_HEADER, EtherType, EthernetHeader};
use crate::packet::icmp::IcmpError;
use crate::segment::segment_size;
use crate::trace::TapPoint;
use crate::tx::Egress;
use crate::unit::{Checksum, Unit};
use crate::verdict::Verdict;

impl Forwarder {
    /// Handles an Ethernet frame.
    pub(super) fn receive_frame(
        &mut self,
        port: PortId,
        mut unit: Unit,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if self.is_heard_elsewhere(unit.buffer.bytes()) {
            return self.receive_copy(port, unit, io, now);
        }
        self.stats.add(&self.stats.lan_rx_units, 1);
        self.stats
            .add(&self.stats.lan_rx_bytes, unit.buffer.len() as u64);
        self.record(
            TapPoint::Lan(port),
            unit.buffer.bytes(),
            unit.offload.gso,
            now,
        );
        let Some(lan) = self.snapshot.lan(port) else {
            return self.discard(unit.buffer, DropReason::PortUnknown, io, now);
        };
        let header = match EthernetHeader::parse(unit.buffer.bytes()) {
            Ok(header) => header,
            Err(reason) => return self.discard(unit.buffer, reason, io, now),
        };
        if header.source == lan.mac {
            return self.discard(unit.buffer, DropReason::FrameLooped, io, now);
        }
        let unicast = header.destination == lan.mac;
        self.sender = header.source;
        match header.ether_type {
            EtherType::Arp if unicast || header.destination == BROADCAST => {
                let snapshot = Arc::clone(&self.snapshot);
                if let Some(lan) = snapshot.lan(port) {
                    self.receive_arp(lan, unicast, unit, io, now);
                }
            }
            EtherType::Ipv4 if unicast => {
                unit.buffer.trim_front(ETHERNET_HEADER);
                match shift_checksum(unit.offload.checksum, |start| {
                    start.checked_sub(ETHERNET_HEADER_U16)
                }) {
                    Some(checksum) => {
                        unit.offload.checksum = checksum;
                        self.receive_ip(Ingress::Lan(port), unit, io, now);
                    }
                    None => self.discard(unit.buffer, DropReason::OffloadMalformed, io, now),
                }
            }
            EtherType::Arp | EtherType::Ipv4 => {
                self.discard(unit.buffer, DropReason::FrameNotForUs, io, now);
            }
        }
    }

    /// Sends a packet to a neighbor, in fragments when it is too long.
    pub(super) fn send_lan(
        &mut self,
        packet: IpPacket,
        port: PortId,
        mtu: u16,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if segment_size(&packet.classified, packet.unit.offload) <= usize::from(mtu) {
            return self.send_neighbor(packet, port, io, now);
        }
        let ingress = packet.ingress;
        let mut scratch = std::mem::take(&mut self.scratch);
        let stats = Arc::clone(&self.stats);
        let outcome = for_each_wire_packet(&packet, mtu, &mut scratch, &stats, |wire| {
            let mut buffer = io.pool.take().ok_or(DropReason::BufferPoolEmpty)?;
            wire.write(&mut buffer.tail_mut()[..wire.len()]);
            buffer.grow(wire.len());
            let classified = match classify(buffer.bytes()) {
                Ok(classified) => classified,
                Err(reason) => {
                    io.pool.give(buffer);
                    return Err(reason);
                }
            };
            let piece = IpPacket {
                unit: Unit::plain(buffer),
                classified,
                ingress,
            };
            self.send_neighbor(piece, port, io, now);
            Ok(())
        });
        self.scratch = scratch;
        match outcome {
            Ok(()) => io.pool.give(packet.unit.buffer),
            Err(reason) => self.discard(packet.unit.buffer, reason, io, now),
        }
    }

    /// Sends a packet that fits, once the neighbor's MAC is known.
    pub(super) fn send_neighbor(
        &mut self,
        packet: IpPacket,
        port: PortId,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let key = NeighborKey {
            port,
            address: packet.classified.destination,
        };
        match self.neighbors.resolve(key, now) {
            Resolution::Ready(mac) => self.send_frame(port, mac, packet, io, now),
            // What waits must not take the buffers from what flows.
            Resolution::Pending if io.pool.available() < RESERVE_BUFFERS => {
                self.discard(packet.unit.buffer, DropReason::NeighborQueueFull, io, now);
            }
            Resolution::Pending => {
                self.judge(Verdict::Waits(DropReason::NeighborFailed));
                self.neighbors.enqueue(key, packet);
            }
            Resolution::Refused(reason) => self.refuse_neighbor(packet, reason, io, now),
        }
    }

    /// Drops a packet whose neighbor cannot be reached; the sender is told when the neighbor is silent.
    pub(super) fn refuse_neighbor(
        &mut self,
        packet: IpPacket,
        reason: DropReason,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let is_silent = reason == DropReason::NeighborFailed;
        let error = is_silent.then_some(IcmpError::HostUnreachable);
        self.refuse(packet, Refusal { reason, error }, io, now);
    }

    /// Puts the Ethernet header in front and sends.
    pub(super) fn send_frame(
        &mut self,
        port: PortId,
        mac: Mac,
        packet: IpPacket,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let mut unit = packet.unit;
        let Some(lan) = self.snapshot.lan(port) else {
            return self.discard(unit.buffer, DropReason::PortUnknown, io, now);
        };
        let header = EthernetHeader {
            destination: mac,
            source: lan.mac,
            ether_type: EtherType::Ipv4,
        };
        let shifted = shift_checksum(unit.offload.checksum, |start| {
            start.checked_add(ETHERNET_HEADER_U16)
        });
        let Some(checksum) = shifted else {
            return self.discard(unit.buffer, DropReason::OffloadMalformed, io, now);
        };
        unit.offload.checksum = checksum;
        unit.buffer
            .prepend(ETHERNET_HEADER)
            .copy_from_slice(&header.emit());
        self.push_lan(port, unit, io, now);
    }

    /// Queues a frame; returns whether it will be sent.
    pub(super) fn push_lan(
        &mut self,
        port: PortId,
        unit: Unit,
        io: &mut Io<'_>,
        now: Instant,
    ) -> bool {
        let bytes = unit.buffer.len() as u64;
        let sent = self.push(Egress::Port { port, unit }, TapPoint::Lan(port), io, now);
        if sent {
            self.stats.add(&self.stats.lan_tx_units, 1);
            self.stats.add(&self.stats.lan_tx_bytes, bytes);
        }
        sent
    }

    /// Delivers a packet to the router's own host.
    pub(super) fn send_host(&mut self, unit: Unit, io: &mut Io<'_>, now: Instant) {
        let Some(port) = self.snapshot.tun.as_ref().map(|tun| tun.id) else {
            return self.discard(unit.buffer, DropReason::PortUnknown, io, now);
        };
        if self.push(Egress::Port { port, unit }, TapPoint::Tun, io, now) {
            self.stats.add(&self.stats.tun_tx_units, 1);
        }
    }
}

/// Moves the start of a pending checksum when a header is removed or prepended; `None` when it leaves the packet.
fn shift_checksum(checksum: Checksum, by: impl FnOnce(u16) -> Option<u16>) -> Option<Checksum> {
    match checksum {
        Checksum::Complete => Some(checksum),
        Checksum::Partial { start, offset } => {
            by(start).map(|start| Checksum::Partial { start, offset })
        }
    }
}

/// Buffers that stay free while packets wait for a neighbor or a session.
pub(super) const RESERVE_BUFFERS: usize = 16;
const ETHERNET_HEADER_U16: u16 = 14;
