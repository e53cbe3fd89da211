//! One LAN port: frames in, frames out, with the same rules as [`super::underlay`].

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use sam_dataplane::{BufferPool, DropReason, Forwarder, Io, PortId, Stats, Unit};
use sam_net::packet_socket::FrameError;
use sam_net::{PacketSocket, SendFailure};

use super::ports::{BUDGET, PENDING, more};

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
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats) {
        if self.pending.is_empty() {
            return;
        }
        let done = self.socket.send_batch(&self.pending, &mut self.failures);
        for failure in self.failures.drain(..) {
            stats.drop_many(DropReason::SendFailed, failure.packets as u64);
        }
        for unit in self.pending.drain(..done) {
            pool.give(unit.buffer);
        }
        let excess = self.pending.len().saturating_sub(PENDING);
        for unit in self.pending.drain(..excess) {
            stats.drop(DropReason::SendBusy);
            pool.give(unit.buffer);
        }
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
