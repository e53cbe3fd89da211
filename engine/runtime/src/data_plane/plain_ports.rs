//! One worker's sockets of tunnels without encryption: which receives, and which a train leaves by.

use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Context;
use sam_dataplane::{BufferPool, Lane, Stats};
use sam_net::{Epoll, Interest};
use sam_router::Offloads;

use super::carriers::CarrierSockets;
use super::underlay::Underlay;
use crate::StartError;

/// First token; far above those of LAN ports.
pub(super) const PLAIN: u64 = 1 << 32;
/// First token of what only sends: its errors wake the worker.
const SENDERS: u64 = 1 << 33;

/// The sockets, with what waits for them.
pub(super) struct PlainPorts {
    receivers: Vec<Underlay>,
    /// Per address family.
    lanes: [Vec<Underlay>; 2],
    raw: [Vec<(u8, Underlay)>; 2],
}

impl PlainPorts {
    /// Watches what receives.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn new(
        sockets: CarrierSockets,
        offloads: Offloads,
        epoll: &Epoll,
    ) -> Result<Self, StartError> {
        let receiver = |(carrier, socket)| Underlay::of_carrier(carrier, socket, offloads);
        let receivers: Vec<Underlay> = sockets.receivers.into_iter().map(receiver).collect();
        for (index, receiver) in receivers.iter().enumerate() {
            epoll
                .add(receiver.as_fd(), PLAIN + index as u64, Interest::Read)
                .context("cannot watch the socket of a transport")?;
        }
        let sender = |socket| Underlay::new(socket, offloads);
        let ports = Self {
            receivers,
            lanes: sockets
                .lanes
                .map(|lanes| lanes.into_iter().map(sender).collect()),
            raw: sockets.raw.map(|raw| {
                let raw = raw.into_iter();
                raw.map(|(protocol, socket)| (protocol, sender(socket)))
                    .collect()
            }),
        };
        for (index, sender) in ports.senders().enumerate() {
            epoll
                .add(sender.as_fd(), SENDERS + index as u64, Interest::Nothing)
                .context("cannot watch the socket of a transport")?;
        }
        Ok(ports)
    }

    /// Returns the socket that trains of a lane leave by.
    pub(super) fn sender(&mut self, lane: Lane, ipv6: bool) -> Option<&mut Underlay> {
        let family = usize::from(ipv6);
        match lane {
            Lane::WireGuard => None,
            Lane::Udp(lane) => {
                let lanes = &mut self.lanes[family];
                let index = usize::from(lane).checked_rem(lanes.len())?;
                lanes.get_mut(index)
            }
            Lane::Ip { protocol } => {
                let mut raw = self.raw[family].iter_mut();
                raw.find(|(known, _)| *known == protocol)
                    .map(|(_, underlay)| underlay)
            }
        }
    }

    /// Returns the socket of `token`, whether it receives or only sends.
    pub(super) fn socket(&mut self, token: u64) -> Option<&mut Underlay> {
        match token.checked_sub(SENDERS) {
            Some(index) => self.senders_mut().nth(usize::try_from(index).ok()?),
            None => self.receiver(token),
        }
    }

    /// Returns the receiving socket of `token`.
    pub(super) fn receiver(&mut self, token: u64) -> Option<&mut Underlay> {
        let index = usize::try_from(token.checked_sub(PLAIN)?).ok()?;
        self.receivers.get_mut(index)
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats) {
        self.senders_mut()
            .for_each(|sender| sender.send(pool, stats));
    }

    /// Tells whether something waits.
    pub(super) fn has_pending(&self) -> bool {
        self.senders().any(Underlay::has_pending)
    }

    /// Tells whether trains leave as trains, where they can.
    pub(super) fn segments(&self) -> bool {
        self.lanes.iter().flatten().all(Underlay::segments)
    }

    /// Tries again what the kernel refused long ago.
    pub(super) fn retry_segmentation(&mut self, now: Instant) {
        self.senders_mut()
            .for_each(|sender| sender.retry_segmentation(now));
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&mut self, stats: &Stats) {
        for receiver in &mut self.receivers {
            receiver.count_losses(stats);
        }
    }

    fn senders(&self) -> impl Iterator<Item = &Underlay> {
        let raw = self.raw.iter().flatten().map(|(_, underlay)| underlay);
        self.lanes.iter().flatten().chain(raw)
    }

    fn senders_mut(&mut self) -> impl Iterator<Item = &mut Underlay> {
        let raw = self.raw.iter_mut().flatten().map(|(_, underlay)| underlay);
        self.lanes.iter_mut().flatten().chain(raw)
    }
}
