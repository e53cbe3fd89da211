//! Sessions as they concern the forwarder: what waits for one, and what WireGuard reports and sends by itself.

use std::time::Instant;

use sam_wg::{Event, PeerIndex, TimerName};

use super::Forwarder;
use super::lan::RESERVE_BUFFERS;
use crate::drop_reason::DropReason;
use crate::ids::TunnelId;
use crate::ip_packet::IpPacket;
use crate::notice::Notice;
use crate::outlet::{Io, Outlet};
use crate::snapshot::{Encap, Snapshot};
use crate::stats::Stats;
use crate::train::Trains;

impl Forwarder {
    /// Keeps a packet until its tunnel has a session.
    pub(super) fn stage(&mut self, packet: IpPacket, tunnel: TunnelId, io: &mut Io<'_>) {
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
    pub(super) fn replay(&mut self, tunnel: TunnelId, io: &mut Io<'_>, now: Instant) {
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

    pub(super) fn has_session(&self, tunnel: TunnelId) -> bool {
        self.snapshot.tunnel(tunnel).is_some_and(|tunnel| {
            let Encap::WireGuard(peer) = tunnel.encap;
            self.wg.has_session(peer)
        })
    }

    /// Handles what WireGuard reports.
    pub(super) fn drain_events(&mut self, io: &mut Io<'_>, now: Instant) {
        while let Some(event) = self.wg.poll_event() {
            self.on_event(event, io, now);
        }
    }

    /// Queues what WireGuard wants to send by itself.
    pub(super) fn drain_transmits(&mut self, io: &mut Io<'_>, now: Instant) {
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

    pub(super) fn tunnel_of(&self, peer: PeerIndex) -> Option<TunnelId> {
        self.tunnel_of_peer
            .get(usize::from(peer.0))
            .copied()
            .flatten()
    }
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
