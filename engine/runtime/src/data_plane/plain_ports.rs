//! One worker's sockets of tunnels without encryption: which receives, and which a train leaves by.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Context;
use sam_dataplane::{BufferPool, Carrier, Lane, Stats};
use sam_net::{Epoll, Interest, UdpSocket};
use sam_router::Offloads;

use super::carriers::CarrierSockets;
use super::underlay::Underlay;
use crate::StartError;

/// First token; far above those of LAN ports.
pub(super) const PLAIN: u64 = 1 << 32;

/// The sockets, with what waits for them.
pub(super) struct PlainPorts {
    receivers: Vec<Member>,
    /// Per address family.
    lanes: [Vec<Member>; 2],
    raw: [Vec<(u8, Member)>; 2],
    /// Address that packets leave with; `None`: the kernel chooses.
    source: Option<IpAddr>,
    /// Of the next socket: none is used twice, because a turn may still hold that of a closed one.
    next_token: u64,
}

/// A socket under the token by which it is watched.
struct Member {
    token: u64,
    underlay: Underlay,
}

impl PlainPorts {
    /// Has none.
    pub(super) fn new() -> Self {
        Self {
            receivers: Vec::new(),
            lanes: Default::default(),
            raw: Default::default(),
            source: None,
            next_token: PLAIN,
        }
    }

    /// Serves sockets, besides those that are there.
    ///
    /// # Errors
    /// When one cannot be watched.
    pub(super) fn open(
        &mut self,
        sockets: CarrierSockets,
        offloads: Offloads,
        epoll: &Epoll,
    ) -> Result<(), StartError> {
        for (carrier, socket) in sockets.receivers {
            let underlay = Underlay::of_carrier(carrier, socket, offloads);
            let member = self.watch(underlay, Interest::Read, epoll)?;
            self.receivers.push(member);
        }
        for (family, (lanes, raw)) in sockets.lanes.into_iter().zip(sockets.raw).enumerate() {
            for socket in lanes {
                let member = self.watch_sender(socket, offloads, epoll)?;
                self.lanes[family].push(member);
            }
            for (protocol, socket) in raw {
                let member = self.watch_sender(socket, offloads, epoll)?;
                self.raw[family].push((protocol, member));
            }
        }
        Ok(())
    }

    /// Watches what only sends, because its errors wake the worker.
    fn watch_sender(
        &mut self,
        socket: UdpSocket,
        offloads: Offloads,
        epoll: &Epoll,
    ) -> Result<Member, StartError> {
        let mut underlay = Underlay::new(socket, offloads);
        underlay.set_source(self.source);
        self.watch(underlay, Interest::Nothing, epoll)
    }

    /// Makes packets leave with an address of this host, or with the kernel's choice.
    pub(super) fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
        let raw = self.raw.iter_mut().flatten().map(|(_, member)| member);
        for member in self.lanes.iter_mut().flatten().chain(raw) {
            member.underlay.set_source(source);
        }
    }

    fn watch(
        &mut self,
        underlay: Underlay,
        interest: Interest,
        epoll: &Epoll,
    ) -> Result<Member, StartError> {
        let token = self.next_token;
        self.next_token += 1;
        epoll
            .add(underlay.as_fd(), token, interest)
            .context("cannot watch the socket of a transport")?;
        Ok(Member { token, underlay })
    }

    /// Closes the sockets of all carriers but these, and the lanes if they are not wanted.
    pub(super) fn close(
        &mut self,
        kept: &BTreeSet<Carrier>,
        keeps_lanes: bool,
        pool: &mut BufferPool,
        stats: &Stats,
    ) {
        let is_unwanted = |receiver: &mut Member| {
            let carrier = receiver.underlay.carrier();
            carrier.is_none_or(|carrier| !kept.contains(&carrier))
        };
        let mut closed: Vec<Member> = self.receivers.extract_if(.., is_unwanted).collect();
        for raw in &mut self.raw {
            let unwanted = raw.extract_if(.., |(protocol, _)| {
                let protocol = *protocol;
                !kept.contains(&Carrier::Ip { protocol })
            });
            closed.extend(unwanted.map(|(_, member)| member));
        }
        if !keeps_lanes {
            closed.extend(self.lanes.iter_mut().flat_map(std::mem::take));
        }
        for member in closed {
            member.underlay.retire(pool, stats);
        }
    }

    /// Returns the socket that trains of a lane leave by.
    pub(super) fn sender(&mut self, lane: Lane, ipv6: bool) -> Option<&mut Underlay> {
        let family = usize::from(ipv6);
        let member = match lane {
            Lane::WireGuard => None,
            Lane::Udp(lane) => {
                let lanes = &mut self.lanes[family];
                let index = usize::from(lane).checked_rem(lanes.len())?;
                lanes.get_mut(index)
            }
            Lane::Ip { protocol } => {
                let mut raw = self.raw[family].iter_mut();
                raw.find(|(known, _)| *known == protocol)
                    .map(|(_, member)| member)
            }
        };
        member.map(|member| &mut member.underlay)
    }

    /// Returns the socket of `token`, whether it receives or only sends.
    pub(super) fn socket(&mut self, token: u64) -> Option<&mut Underlay> {
        let raw = self.raw.iter_mut().flatten().map(|(_, member)| member);
        let senders = self.lanes.iter_mut().flatten().chain(raw);
        let mut members = self.receivers.iter_mut().chain(senders);
        members
            .find(|member| member.token == token)
            .map(|member| &mut member.underlay)
    }

    /// Returns the receiving socket of `token`.
    pub(super) fn receiver(&mut self, token: u64) -> Option<&mut Underlay> {
        let mut receivers = self.receivers.iter_mut();
        receivers
            .find(|member| member.token == token)
            .map(|member| &mut member.underlay)
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats) {
        let raw = self.raw.iter_mut().flatten().map(|(_, member)| member);
        for member in self.lanes.iter_mut().flatten().chain(raw) {
            member.underlay.send(pool, stats);
        }
    }

    /// Tells whether something waits.
    pub(super) fn has_pending(&self) -> bool {
        let raw = self.raw.iter().flatten().map(|(_, member)| member);
        let mut senders = self.lanes.iter().flatten().chain(raw);
        senders.any(|member| member.underlay.has_pending())
    }

    /// Tells whether trains leave as trains, where they can.
    pub(super) fn segments(&self) -> bool {
        let mut lanes = self.lanes.iter().flatten();
        lanes.all(|member| member.underlay.segments())
    }

    /// Tries again what the kernel refused long ago.
    pub(super) fn retry_segmentation(&mut self, now: Instant) {
        for member in self.lanes.iter_mut().flatten() {
            member.underlay.retry_segmentation(now);
        }
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&mut self, stats: &Stats) {
        for receiver in &mut self.receivers {
            receiver.underlay.count_losses(stats);
        }
    }
}
