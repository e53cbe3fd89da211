//! ICMP errors that this router originates (RFC 1812 section 4.3.2): rate limited, and never about an error.

use std::net::Ipv4Addr;
use std::time::Instant;

use super::Forwarder;
use crate::buffer::Buffer;
use crate::decision::decide;
use crate::drop_reason::DropReason;
use crate::icmp_error::{Offending, enclose, may_answer, reporter, write_icmp_error};
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::long_packets::LongPacket;
use crate::outlet::Io;
use crate::packet::icmp::IcmpError;
use crate::packet::{Classified, classify};
use crate::unit::Unit;

impl Forwarder {
    /// Tells the sender of `packet` what happened to it; the packet itself stays with the caller.
    pub(super) fn report(
        &mut self,
        packet: &IpPacket,
        error: IcmpError,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let (classified, ingress) = (&packet.classified, packet.ingress);
        let offending = Offending {
            packet: packet.unit.buffer.bytes(),
            classified,
            offload: packet.unit.offload,
        };
        let write =
            |source, buffer: &mut Buffer| write_icmp_error(error, source, &offending, buffer);
        self.send_error(classified, ingress, write, io, now);
    }

    /// Tells the senders of long packets that went into tunnels, and would be refused now: nobody else has told them.
    pub(super) fn report_narrowed(&mut self, io: &mut Io<'_>, now: Instant) {
        let snapshot = &self.snapshot;
        let refused = |packet: &LongPacket| {
            let size = usize::from(packet.size);
            let refusal = decide(snapshot, packet.ingress, &packet.classified, size).err()?;
            let is_too_big = refusal.reason == DropReason::TooBig;
            refusal.error.filter(|_| is_too_big)
        };
        for (packet, error) in self.long_packets.take(now, refused) {
            let (classified, ingress) = (&packet.classified, packet.ingress);
            let write = |source, buffer: &mut Buffer| {
                packet.quote(buffer);
                enclose(error, source, classified.source, buffer);
                Ok(())
            };
            self.send_error(classified, ingress, write, io, now);
        }
    }

    /// Sends what `write` writes, from an address of ours, to the sender of a packet.
    fn send_error(
        &mut self,
        about: &Classified,
        ingress: Ingress,
        write: impl FnOnce(Ipv4Addr, &mut Buffer) -> Result<(), DropReason>,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let Some(source) = reporter(&self.snapshot, ingress, about.destination) else {
            return;
        };
        if !may_answer(about) {
            return;
        }
        if !self.limiter.admit(about.source, now) {
            return self.count_drop(DropReason::IcmpRateLimited);
        }
        let Some(mut buffer) = io.pool.take() else {
            return self.count_drop(DropReason::BufferPoolEmpty);
        };
        let written = write(source, &mut buffer);
        match written.and_then(|()| classify(buffer.bytes())) {
            Ok(classified) => {
                self.stats.add(&self.stats.icmp_errors_sent, 1);
                let unit = Unit::plain(buffer);
                let report = IpPacket {
                    unit,
                    classified,
                    ingress: Ingress::Host,
                };
                self.send_back(report, ingress, io, now);
            }
            Err(reason) => self.discard(buffer, reason, io, now),
        }
    }

    /// Sends a packet out where another one came in.
    fn send_back(&mut self, packet: IpPacket, ingress: Ingress, io: &mut Io<'_>, now: Instant) {
        match ingress {
            Ingress::Lan(port) => self.send_neighbor(packet, port, io, now),
            Ingress::Host => self.send_host(packet.unit, io, now),
            Ingress::Tunnel(tunnel) => {
                match self.snapshot.tunnel(tunnel).map(|tunnel| tunnel.mtu) {
                    Some(mtu) => self.encapsulate(packet, tunnel, mtu, io, now),
                    None => self.discard(packet.unit.buffer, DropReason::TunnelDown, io, now),
                }
            }
        }
    }
}
