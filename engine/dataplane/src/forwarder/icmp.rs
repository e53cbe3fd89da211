//! ICMP errors that this router originates (RFC 1812 section 4.3.2): rate limited, and never about an error.

use std::time::Instant;

use super::Forwarder;
use crate::drop_reason::DropReason;
use crate::icmp_error::{Offending, may_answer, reporter, write_icmp_error};
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::outlet::Io;
use crate::packet::classify;
use crate::packet::icmp::IcmpError;
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
        let destination = packet.classified.destination;
        let Some(source) = reporter(&self.snapshot, packet.ingress, destination) else {
            return;
        };
        if !may_answer(&packet.classified) {
            return;
        }
        if !self.limiter.admit(packet.classified.source, now) {
            return self.count_drop(DropReason::IcmpRateLimited);
        }
        let Some(mut buffer) = io.pool.take() else {
            return self.count_drop(DropReason::BufferPoolEmpty);
        };
        let offending = Offending {
            packet: packet.unit.buffer.bytes(),
            classified: &packet.classified,
            offload: packet.unit.offload,
        };
        let written = write_icmp_error(error, source, &offending, &mut buffer);
        match written.and_then(|()| classify(buffer.bytes())) {
            Ok(classified) => {
                self.stats.add(&self.stats.icmp_errors_sent, 1);
                let unit = Unit::plain(buffer);
                let report = IpPacket {
                    unit,
                    classified,
                    ingress: Ingress::Host,
                };
                self.send_back(report, packet.ingress, io, now);
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
