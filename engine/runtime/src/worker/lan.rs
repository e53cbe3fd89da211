//! One LAN port: frames in, frames out, with the same rules as [`super::underlay`].

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use sam_dataplane::{BufferPool, DropReason, Forwarder, Io, MergePolicy, PortId, Stats, Unit};
use sam_net::packet_socket::FrameError;
use sam_net::{PacketSocket, SendFailure};

use super::ports::{BUDGET, PENDING, more};
use super::software::{cut, is_refusal};

/// A LAN port with what waits for it.
pub(super) struct Lan {
    pub(super) port: PortId,
    socket: PacketSocket,
    received: Vec<Result<Unit, FrameError>>,
    pending: Vec<Unit>,
    failures: Vec<SendFailure>,
}

impl Lan {
    /// Serves a port by a socket.
    pub(super) fn new(port: PortId, socket: PacketSocket) -> Self {
        Self {
            port,
            socket,
            received: Vec::new(),
            pending: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Moves one batch into the forwarder. Returns whether more may wait.
    pub(super) fn receive(
        &mut self,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        stats: &Stats,
        now: Instant,
    ) -> bool {
        let result = self.socket.recv_batch(io.pool, &mut self.received, BUDGET);
        for frame in self.received.drain(..) {
            match frame {
                Ok(unit) => forwarder.handle_frame(self.port, unit, io, now),
                Err(error) => stats.drop(reason(error)),
            }
        }
        more(result, stats)
    }

    /// Queues a frame for [`Self::send`].
    pub(super) fn queue(&mut self, unit: Unit) {
        self.pending.push(unit);
    }

    /// Tells whether something waits.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it; beyond the bound the oldest is dropped.
    ///
    /// A superpacket that the kernel refuses is sent packet by packet, and `policy` learns not to make another.
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats, policy: &mut MergePolicy) {
        if self.pending.is_empty() {
            return;
        }
        let cut = self.send_pending(pool, stats, policy);
        if !cut.is_empty() {
            self.pending.splice(..0, cut);
            // Plain frames are not cut again.
            self.send_pending(pool, stats, policy);
        }
        let excess = self.pending.len().saturating_sub(PENDING);
        for unit in self.pending.drain(..excess) {
            stats.drop(DropReason::SendBusy);
            pool.give(unit.buffer);
        }
    }

    /// Sends once, and returns the pieces of what the kernel refused to cut.
    fn send_pending(
        &mut self,
        pool: &mut BufferPool,
        stats: &Stats,
        policy: &mut MergePolicy,
    ) -> Vec<Unit> {
        let mut pieces = Vec::new();
        let done = self.socket.send_batch(&self.pending, &mut self.failures);
        for failure in self.failures.drain(..) {
            let unit = &self.pending[failure.index];
            if !is_refusal(unit, &failure.error) {
                stats.drop_many(DropReason::SendFailed, failure.packets as u64);
                continue;
            }
            policy.forbid(unit.offload.gso);
            stats.add(&stats.superpackets_refused, 1);
            if let Err(reason) = cut(unit, LINK, pool, |piece, _| pieces.push(piece)) {
                stats.drop(reason);
            }
        }
        for unit in self.pending.drain(..done) {
            pool.give(unit.buffer);
        }
        pieces
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&self, stats: &Stats) {
        // The kernel starts anew with each answer.
        if let Ok(lost) = self.socket.overflows() {
            stats.drop_many(DropReason::ReceiveOverflow, lost);
        }
    }

    /// Gives every buffer back.
    pub(super) fn retire(mut self, pool: &mut BufferPool) {
        self.socket.release(pool);
        for unit in self.pending {
            pool.give(unit.buffer);
        }
    }
}

impl AsFd for Lan {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

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
