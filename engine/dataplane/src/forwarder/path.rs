//! The size of a tunnel's path: what the underlay refuses, what depends on it, and probes of it.

use std::time::Instant;

use super::Forwarder;
use crate::drop_reason::DropReason;
use crate::fib::NextHop;
use crate::ids::TunnelId;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::notice::Notice;
use crate::outlet::Io;
use crate::packet::icmp::IcmpError;
use crate::packet::{Classified, classify};
use crate::path_error::{PathError, PathErrorKind};
use crate::path_probe::{PROBE_MIN, PathProbe, answered};
use crate::path_watch::is_long;
use crate::snapshot::Encap;
use crate::unit::Unit;

impl Forwarder {
    /// Takes in what the underlay says about a packet. Port 0 stands for any; what is not about the far end of a tunnel is
    /// not believed.
    pub fn handle_path_error(&mut self, error: PathError, now: Instant) {
        let PathError { to, by, kind } = error;
        let mut is_known = false;
        for index in 0..self.snapshot.tunnels.len() {
            let tunnel = &self.snapshot.tunnels[index];
            let end = match tunnel.encap {
                Encap::WireGuard(peer) => self.wg.endpoint(peer),
                Encap::Plain(plain) => plain.to,
            };
            let is_meant = end.is_some_and(|end| {
                end.ip() == to.ip() && (to.port() == 0 || to.port() == end.port())
            });
            if !is_meant {
                continue;
            }
            is_known = true;
            let (tunnel, path) = (tunnel.id, &mut self.paths[index]);
            let notice = match kind {
                PathErrorKind::TooLong { mtu } => path
                    .on_refusal(mtu, now)
                    .then_some(Notice::PathTooNarrow { tunnel, mtu }),
                PathErrorKind::Undelivered(why) => path
                    .on_undelivered(now)
                    .then_some(Notice::Undelivered { tunnel, why, by }),
            };
            if let Some(notice) = notice {
                self.notify(notice);
            }
        }
        let counter = match kind {
            _ if !is_known => &self.stats.path_errors_foreign,
            PathErrorKind::TooLong { .. } => &self.stats.path_errors,
            PathErrorKind::Undelivered(_) => &self.stats.path_undelivered,
        };
        self.stats.add(counter, 1);
    }

    /// Tells the sender of a packet that it goes to where nothing arrives, as the underlay says (RFC 2003 section 4). The host's
    /// own kernel is not told: BGP must not give up what is tried all the same.
    pub(super) fn warn_sender(
        &mut self,
        packet: &IpPacket,
        tunnel: TunnelId,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if self.snapshot.unreachable.contains(&tunnel) && packet.ingress != Ingress::Host {
            self.report(packet, IcmpError::HostUnreachable, io, now);
        }
    }

    /// Sends a probe, whatever the MTU of its tunnel.
    pub fn send_probe(&mut self, probe: &PathProbe, io: &mut Io<'_>, now: Instant) {
        self.refresh_sessions(io, now);
        // A probe of a size that waits for a session would measure the wait. The shortest one asks only whether anybody is
        // there, and may have to wake the tunnel up for that.
        if probe.size > PROBE_MIN && !self.has_session(probe.tunnel) {
            return self.count_drop(DropReason::TunnelNoSession);
        }
        let Some(overlay) = self.snapshot.tun.as_ref().map(|tun| tun.address) else {
            return self.count_drop(DropReason::PortUnknown);
        };
        let Some(mut buffer) = io.pool.take() else {
            return self.count_drop(DropReason::BufferPoolEmpty);
        };
        if !probe.write(overlay, &mut buffer) {
            return self.discard(buffer, DropReason::IpMalformed, io, now);
        }
        match classify(buffer.bytes()) {
            Ok(classified) => {
                self.stats.add(&self.stats.path_probes_sent, 1);
                let packet = IpPacket {
                    unit: Unit::plain(buffer),
                    classified,
                    ingress: Ingress::Host,
                };
                self.encapsulate(packet, probe.tunnel, probe.size, io, now);
            }
            Err(reason) => self.discard(buffer, reason, io, now),
        }
    }

    /// Takes note of a packet that depends on the size of a path: for control, and for its sender.
    pub(super) fn watch_size(
        &mut self,
        packet: &IpPacket,
        size: usize,
        (tunnel, mtu): (TunnelId, u16),
        now: Instant,
    ) {
        if !is_long(size, mtu) {
            return;
        }
        if packet.classified.dont_fragment
            && let Ok(size) = u16::try_from(size)
        {
            self.long_packets.remember(packet, size, now);
        }
        let watch = self.paths.get_mut(usize::from(tunnel.0));
        if watch.is_some_and(|watch| watch.on_long_packet(now)) {
            self.notify(Notice::LongPackets { tunnel });
        }
    }

    /// Takes the answer to a probe out of what came by a tunnel; returns whether it was one.
    pub(super) fn take_answer(
        &mut self,
        tunnel: TunnelId,
        packet: &[u8],
        classified: &Classified,
    ) -> bool {
        let Some(id) = answered(packet, classified) else {
            return false;
        };
        let is_ours = self
            .snapshot
            .tun
            .as_ref()
            .is_some_and(|tun| tun.address == classified.destination);
        // Only the router at the far end answers for its path.
        let is_far = self.snapshot.fib.lookup(classified.source) == Some(NextHop::Tunnel(tunnel));
        if is_ours && is_far {
            self.stats.add(&self.stats.path_probes_answered, 1);
            self.notify(Notice::ProbeAnswered { tunnel, id });
        }
        is_ours && is_far
    }
}
