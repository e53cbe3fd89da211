//! The control side of WireGuard, as the packet path needs it: one owner of peers, handshakes and timers.
//!
//! Workers seal and open with sessions that they share ([`sam_wg::DataPath`]). What they cannot do they post here.
//! After each call the driver drains [`Handshakes::poll_transmit`] and [`Handshakes::poll_notice`], and wakes the workers
//! when [`Handshakes::take_session_up`] says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sam_wg::{Device, Dropped, Event, PeerConfig, PeerIndex, PeerStatus, TimerName};

use crate::dscp::CONTROL_TOS;
use crate::encap::Lane;
use crate::forwarder::Forwarder;
use crate::forwarder::{open_reason, tunnels_by_peer};
use crate::handshake_post::HandshakePost;
use crate::ids::TunnelId;
use crate::notice::{Notice, NoticeQueue};
use crate::outlet::{Io, Outlet};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::trace::TapPoint;
use crate::tx::Egress;

/// Owner of the WireGuard device. One per router.
#[derive(Debug)]
pub struct Handshakes {
    device: Device,
    stats: Arc<Stats>,
    /// The tunnel to each WireGuard peer, by peer index.
    tunnel_of_peer: Vec<Option<TunnelId>>,
    notices: NoticeQueue,
    /// A session came up since the driver asked.
    session_up: bool,
}

impl Handshakes {
    /// Takes over a device.
    #[must_use]
    pub fn new(device: Device, stats: Arc<Stats>) -> Self {
        Self {
            device,
            stats,
            tunnel_of_peer: Vec::new(),
            notices: NoticeQueue::default(),
            session_up: false,
        }
    }

    /// Makes the sessions usable by one more worker.
    #[must_use]
    pub fn data_path(&self) -> sam_wg::DataPath {
        self.device.data_path()
    }

    /// Makes the peers exactly these.
    pub fn set_peers(&mut self, peers: &[PeerConfig], now: Instant) {
        self.device.set_peers(peers, now);
        self.drain_events();
    }

    /// Learns which tunnel leads to which peer. A handshake may have ended before: its session is told now.
    pub fn install(&mut self, snapshot: &Snapshot) {
        let tunnels = tunnels_by_peer(snapshot);
        if tunnels == self.tunnel_of_peer {
            return;
        }
        let former = std::mem::replace(&mut self.tunnel_of_peer, tunnels);
        let of = |tunnels: &[Option<TunnelId>], PeerIndex(peer)| {
            tunnels.get(usize::from(peer)).copied().flatten()
        };
        for peer in self.device.status() {
            let is_new = peer.session && of(&former, peer.index).is_none();
            let tunnel = of(&self.tunnel_of_peer, peer.index).filter(|_| is_new);
            if let Some(tunnel) = tunnel {
                let first = true;
                self.tell(Notice::SessionUp { tunnel, first });
            }
        }
    }

    /// Takes what a worker passed on.
    pub fn handle_post(&mut self, post: &HandshakePost, now: Instant) {
        match post {
            HandshakePost::Message(message) => {
                let handled = self
                    .device
                    .handle_message(message.from(), message.bytes(), now);
                match handled {
                    Ok(()) => self.stats.add(&self.stats.wg_control_received, 1),
                    Err(error) => Stats::drop(&self.stats, open_reason(error)),
                }
            }
            HandshakePost::Signal(signal) => self.device.handle_signal(*signal, now),
        }
        self.drain_events();
    }

    /// Corrects the wall clock, which handshakes carry: `wall` since the Unix epoch.
    pub fn set_wall(&mut self, wall: Duration, now: Instant) {
        self.device.set_wall(wall, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.device.handle_timeout(now);
        self.drain_events();
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (at, timer) = self.device.poll_timeout()?;
        Some((at, timer_name(timer)))
    }

    /// Writes the next datagram to `out`, which has room for [`sam_wg::HANDSHAKE_MAX`] bytes; returns
    /// where it goes and its length.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.device.poll_transmit(out)
    }

    /// Serves a worker that runs in the same thread: takes what it passes on, and puts what is to be sent into its
    /// queue.
    pub fn serve(&mut self, worker: &mut Forwarder, io: &mut Io<'_>, now: Instant) {
        while let Some(post) = worker.poll_post() {
            self.handle_post(&post, now);
        }
        while let Some(mut buffer) = io.pool.take() {
            let Some((to, len)) = self.poll_transmit(buffer.tail_mut()) else {
                return io.pool.give(buffer);
            };
            buffer.grow(len);
            let train = Egress::Train {
                lane: Lane::WireGuard,
                to,
                segment: u16::try_from(len).unwrap_or(u16::MAX),
                tos: CONTROL_TOS,
                buffer,
            };
            let mut outlet = Outlet {
                io,
                stats: &self.stats,
                tap: worker.tap(),
                now,
            };
            outlet.push(train, TapPoint::Outer, None);
        }
    }

    /// Tells, once, that a session came up: packets may wait for it in the workers.
    pub fn take_session_up(&mut self) -> bool {
        std::mem::take(&mut self.session_up)
    }

    /// Takes the next fact for the control plane.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop()
    }

    /// The device itself.
    pub fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// Returns what is known about all peers.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        self.device.status()
    }

    /// Returns what was lost because the driver did not drain the device.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.device.dropped()
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.device.poll_event() {
            if let Event::SessionUp { .. } = event {
                self.session_up = true;
                self.stats.add(&self.stats.handshakes_completed, 1);
            }
            if let Some(notice) = self.notice(event) {
                self.tell(notice);
            }
        }
    }

    fn tell(&mut self, notice: Notice) {
        if !self.notices.push(notice) {
            self.stats.add(&self.stats.notices_lost, 1);
        }
    }

    fn notice(&self, event: Event) -> Option<Notice> {
        let tunnel_of = |PeerIndex(peer)| *self.tunnel_of_peer.get(usize::from(peer))?;
        Some(match event {
            Event::SessionUp { peer, first } => Notice::SessionUp {
                tunnel: tunnel_of(peer)?,
                first,
            },
            Event::SessionDown { peer } => Notice::SessionDown {
                tunnel: tunnel_of(peer)?,
            },
            Event::EndpointChanged { peer, from, to } => Notice::EndpointChanged {
                tunnel: tunnel_of(peer)?,
                from,
                to,
            },
        })
    }
}

/// Names a WireGuard deadline.
fn timer_name(timer: TimerName) -> &'static str {
    match timer {
        TimerName::HandshakeRetry => "wg-handshake-retry",
        TimerName::Rekey => "wg-rekey",
        TimerName::Keepalive => "wg-keepalive",
        TimerName::PersistentKeepalive => "wg-persistent-keepalive",
        TimerName::Expiry => "wg-expiry",
    }
}
