//! One LAN port: frames in, frames out, with the same rules as [`super::underlay`].

use std::collections::VecDeque;

use sam_dataplane::{BufferPool, DropReason, Gso, MergePolicy, Offload, PortId, Role, Stats, Unit};
use sam_net::packet_socket::FrameError;
use sam_net::{PacketSocket, SendFailure};
use tracing::warn;

use super::budget::{Budget, MOST};
use super::mailbox::LanSockets;
use super::ports::{PENDING, Received};
use super::software::{cut, is_refusal, protocol};
use super::trust::Trust;

/// A LAN port with what waits for it.
pub(super) struct Lan {
    pub(super) port: PortId,
    ipv4: PacketSocket,
    receives: bool,
    arp: PacketSocket,
    budget: Budget,
    batch: Vec<Result<Unit, FrameError>>,
    received: VecDeque<Unit>,
    pending: Vec<Unit>,
    failures: Vec<SendFailure>,
}

impl Lan {
    /// Serves a port by its sockets.
    pub(super) fn new(port: PortId, sockets: LanSockets) -> Self {
        Self {
            port,
            ipv4: sockets.ipv4,
            receives: sockets.receives,
            arp: sockets.arp,
            budget: Budget::default(),
            batch: Vec::with_capacity(MOST),
            received: VecDeque::with_capacity(MOST),
            pending: Vec::with_capacity(PENDING),
            failures: Vec::new(),
        }
    }

    /// Tells whether this worker has a share of the frames.
    pub(super) fn receives(&self) -> bool {
        self.receives
    }

    /// Tells whether the kernel takes superpackets here.
    pub(super) fn offloads(&self) -> bool {
        self.ipv4.offloads()
    }

    /// Receives one batch, for [`Self::poll_frame`]. Returns what there was.
    pub(super) fn receive(
        &mut self,
        is_arp: bool,
        pool: &mut BufferPool,
        stats: &Stats,
    ) -> Received {
        let (socket, budget) = if is_arp {
            (&mut self.arp, ARP_BUDGET)
        } else {
            (&mut self.ipv4, self.budget.packets())
        };
        let result = socket.recv_batch(pool, &mut self.batch, budget);
        let (count, mut bytes) = (self.batch.len(), 0);
        for frame in self.batch.drain(..) {
            match frame {
                Ok(unit) => {
                    bytes += unit.buffer.len();
                    self.received.push_back(unit);
                }
                Err(error) => stats.drop(reason(error)),
            }
        }
        if !is_arp {
            self.budget.learn(count, bytes);
        }
        Received::new(result, budget, stats)
    }

    /// Takes the oldest frame of the batch.
    pub(super) fn poll_frame(&mut self) -> Option<Unit> {
        self.received.pop_front()
    }

    /// Queues a frame for [`Self::send`], cut when `policy` does not take it whole, finished when the kernel cannot.
    pub(super) fn queue(
        &mut self,
        unit: Unit,
        policy: MergePolicy,
        pool: &mut BufferPool,
        stats: &Stats,
    ) {
        let is_finished = unit.offload == Offload::default();
        if is_finished || self.offloads() && policy.takes(unit.offload.gso) {
            return self.pending.push(unit);
        }
        let pending = &mut self.pending;
        if let Err(reason) = cut(&unit, LINK, pool, |piece, _| pending.push(piece)) {
            stats.drop(reason);
        }
        pool.give(unit.buffer);
    }

    /// Tells whether something waits.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it; beyond the bound the oldest is dropped.
    ///
    /// A superpacket that the kernel refuses is sent packet by packet, and `trust` learns of it.
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats, trust: &mut Trust) {
        if self.pending.is_empty() {
            return;
        }
        // Plain frames are not cut again.
        while self.send_pending(pool, stats, trust) {}
        let excess = self.pending.len().saturating_sub(PENDING);
        for unit in self.pending.drain(..excess) {
            stats.drop(DropReason::SendBusy);
            pool.give(unit.buffer);
        }
    }

    /// Sends up to the first superpacket that fails, and puts the pieces of one that the kernel refused to cut in its place;
    /// returns whether there was one that failed.
    fn send_pending(&mut self, pool: &mut BufferPool, stats: &Stats, trust: &mut Trust) -> bool {
        let (mut pieces, mut stopped) = (Vec::new(), false);
        let done = self.ipv4.send_batch(&self.pending, &mut self.failures);
        for failure in self.failures.drain(..) {
            let unit = &self.pending[failure.index];
            stopped |= unit.offload.gso != Gso::None;
            if !is_refusal(unit, &failure.error) {
                stats.drop_many(DropReason::SendFailed, failure.packets as u64);
                continue;
            }
            if trust.refuse(unit.offload.gso) {
                warn!(
                    "the kernel refuses superpackets of {} on the LAN: they are cut here for some time",
                    protocol(unit.offload.gso)
                );
            }
            stats.add(&stats.superpackets_refused, 1);
            if let Err(reason) = cut(unit, LINK, pool, |piece, _| pieces.push(piece)) {
                stats.drop(reason);
            }
        }
        for unit in self.pending.drain(..done) {
            pool.give(unit.buffer);
        }
        self.pending.splice(..0, pieces);
        stopped
    }

    /// Counts what the kernel lost since the last look; lost ARP frames are the speaker's to count.
    pub(super) fn count_losses(&self, role: Role, stats: &Stats) {
        let arp = (role == Role::Speaker).then_some(&self.arp);
        // The kernel starts anew with each answer.
        for socket in arp.into_iter().chain([&self.ipv4]) {
            if let Ok(lost) = socket.overflows() {
                stats.drop_many(DropReason::ReceiveOverflow, lost);
            }
        }
    }

    /// Gives every buffer back.
    pub(super) fn retire(mut self, pool: &mut BufferPool) {
        self.ipv4.release(pool);
        self.arp.release(pool);
        for unit in self.pending {
            pool.give(unit.buffer);
        }
    }
}

/// ARP frames in one round.
const ARP_BUDGET: usize = 8;
/// Bytes of Ethernet header.
const LINK: u16 = 14;

/// Names why a frame was not handed over.
fn reason(error: FrameError) -> DropReason {
    match error {
        FrameError::Truncated => DropReason::ReceiveTruncated,
        FrameError::Undescribable | FrameError::Header(_) | _ => DropReason::OffloadMalformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_the_kernel_cut_or_cannot_describe_are_named() {
        assert_eq!(reason(FrameError::Truncated), DropReason::ReceiveTruncated);
        assert_eq!(
            reason(FrameError::Undescribable),
            DropReason::OffloadMalformed
        );
    }
}
