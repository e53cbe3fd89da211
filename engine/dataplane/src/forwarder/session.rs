//! Sessions as they concern a worker: what waits for one, and what their owner has to know.

use std::net::SocketAddr;
use std::time::Instant;

use sam_wg::PeerIndex;

use super::Forwarder;
use super::lan::RESERVE_BUFFERS;
use crate::drop_reason::DropReason;
use crate::handshake_post::{HandshakeMessage, HandshakePost};
use crate::ids::TunnelId;
use crate::ip_packet::IpPacket;
use crate::outlet::Io;
use crate::snapshot::{Encap, Snapshot};
use crate::stats::Stats;
use crate::trace::Tap;
use crate::verdict::Verdict;

impl Forwarder {
    /// Keeps a packet until its tunnel has a session.
    pub(super) fn stage(
        &mut self,
        packet: IpPacket,
        tunnel: TunnelId,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        if io.pool.available() < RESERVE_BUFFERS {
            return self.discard(packet.unit.buffer, DropReason::TunnelNoSession, io, now);
        }
        self.judge(Verdict::Waits(DropReason::TunnelNoSession));
        let Self {
            staging,
            stats,
            tap,
            ..
        } = self;
        let suspended = tap.as_mut().map(Tap::suspend);
        staging.stage(tunnel, packet, now, |refused| {
            Stats::drop(stats, DropReason::TunnelNoSession);
            if let Some(tap) = tap {
                let bytes = refused.unit.buffer.bytes();
                tap.lose(bytes, DropReason::TunnelNoSession, now);
            }
            io.pool.give(refused.unit.buffer);
        });
        if let (Some(tap), Some(suspended)) = (tap, suspended) {
            tap.resume(suspended);
        }
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
    fn discard_staged(
        &mut self,
        tunnel: TunnelId,
        reason: DropReason,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        while let Some(packet) = self.staging.take(tunnel) {
            self.discard(packet.unit.buffer, reason, io, now);
        }
    }

    /// Drops what waits for tunnels that do not lead where they led.
    pub(super) fn discard_misled(&mut self, former: &Snapshot, io: &mut Io<'_>, now: Instant) {
        for tunnel in &former.tunnels {
            let same = self
                .snapshot
                .tunnel(tunnel.id)
                .is_some_and(|now| now.encap == tunnel.encap);
            if !same {
                self.discard_staged(tunnel.id, DropReason::TunnelDown, io, now);
            }
        }
    }

    pub(super) fn has_session(&self, tunnel: TunnelId) -> bool {
        self.snapshot
            .tunnel(tunnel)
            .is_some_and(|tunnel| match tunnel.encap {
                Encap::WireGuard(peer) => self.wg.has_session(peer),
                Encap::Plain(_) => true,
            })
    }

    /// Takes over new sessions, and sends what waited for them.
    pub(super) fn refresh_sessions(&mut self, io: &mut Io<'_>, now: Instant) {
        if !self.wg.refresh() || self.staging.is_empty() {
            return;
        }
        for index in 0..self.snapshot.tunnels.len() {
            let tunnel = self.snapshot.tunnels[index].id;
            if self.staging.len(tunnel) > 0 && self.has_session(tunnel) {
                self.replay(tunnel, io, now);
            }
        }
    }

    /// Drops what has waited for too long: its sender has given up or sent it again.
    pub(super) fn discard_expired(&mut self, io: &mut Io<'_>, now: Instant) {
        while let Some(packet) = self.staging.take_expired(now) {
            self.discard(packet.unit.buffer, DropReason::TunnelNoSession, io, now);
        }
    }

    /// Collects what the owner of the handshakes has to know of this batch.
    pub(super) fn collect_signals(&mut self) {
        // What finds no room stays where it is until the queue is read.
        while self.posts.has_room()
            && let Some(signal) = self.wg.poll_signal()
        {
            self.post(HandshakePost::Signal(signal));
        }
    }

    /// Passes a handshake message on to its owner.
    pub(super) fn pass_on(&mut self, from: SocketAddr, datagram: &[u8]) {
        match HandshakeMessage::new(from, datagram) {
            Some(message) => {
                self.judge(Verdict::Handshake);
                self.post(HandshakePost::Message(message));
            }
            None => self.refuse_received(DropReason::WgUnknownType),
        }
    }

    fn post(&mut self, post: HandshakePost) {
        if !self.posts.push(post) {
            self.count_drop(DropReason::WgQueueFull);
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
pub(crate) fn tunnels_by_peer(snapshot: &Snapshot) -> Vec<Option<TunnelId>> {
    let mut tunnels = Vec::new();
    for tunnel in &snapshot.tunnels {
        let Encap::WireGuard(PeerIndex(index)) = tunnel.encap else {
            continue;
        };
        let index = usize::from(index);
        if tunnels.len() <= index {
            tunnels.resize(index + 1, None);
        }
        tunnels[index] = Some(tunnel.id);
    }
    tunnels
}
