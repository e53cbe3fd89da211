//! One underlay socket, of one address family: trains in, trains out.
//!
//! What a busy kernel does not take stays here in order and is tried again; beyond a bound the oldest is dropped and
//! counted.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use sam_dataplane::{BufferPool, DropReason, Forwarder, Io, Stats};
use sam_net::{Datagrams, SendFailure, Train, UdpSocket};

use super::ports::{BUDGET, PENDING, more};
use crate::StartError;

/// An underlay socket with what waits for it.
pub(super) struct Underlay {
    socket: UdpSocket,
    received: Vec<Datagrams>,
    pending: Vec<Train>,
    failures: Vec<SendFailure>,
    /// Losses as counted so far.
    truncated: u64,
    overflows: u32,
}

impl Underlay {
    /// Binds the socket.
    ///
    /// # Errors
    /// When the port is taken, or the host lacks the address family.
    pub(super) fn bind(address: SocketAddr) -> Result<Self, StartError> {
        Ok(Self {
            socket: UdpSocket::bind(address)?,
            received: Vec::new(),
            pending: Vec::new(),
            failures: Vec::new(),
            truncated: 0,
            overflows: 0,
        })
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
        for train in self.received.drain(..) {
            forwarder.handle_datagrams(train.from, train.tos, train.segment, train.buffer, io, now);
        }
        more(result, stats)
    }

    /// Queues a train for [`Self::send`].
    pub(super) fn queue(&mut self, train: Train) {
        self.pending.push(train);
    }

    /// Tells whether something waits.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what waits, as far as the kernel takes it.
    pub(super) fn send(&mut self, pool: &mut BufferPool, stats: &Stats) {
        if self.pending.is_empty() {
            return;
        }
        let done = self
            .socket
            .send_trains(&mut self.pending, &mut self.failures);
        for failure in self.failures.drain(..) {
            stats.drop_many(DropReason::SendFailed, failure.packets as u64);
        }
        for train in self.pending.drain(..done) {
            pool.give(train.buffer);
        }
        self.shed(pool, stats);
    }

    /// Drops the oldest trains beyond the bound.
    fn shed(&mut self, pool: &mut BufferPool, stats: &Stats) {
        let excess = self.pending.len().saturating_sub(PENDING);
        for train in self.pending.drain(..excess) {
            let packets = train.buffer.len().div_ceil(train.segment.max(1).into());
            stats.drop_many(DropReason::SendBusy, packets as u64);
            pool.give(train.buffer);
        }
    }

    /// Counts what the kernel lost since the last look.
    pub(super) fn count_losses(&mut self, stats: &Stats) {
        let (truncated, overflows) = (self.socket.truncated(), self.socket.overflows());
        stats.drop_many(DropReason::ReceiveTruncated, truncated - self.truncated);
        // The kernel counts modulo 2^32.
        let new = overflows.wrapping_sub(self.overflows);
        stats.drop_many(DropReason::ReceiveOverflow, u64::from(new));
        (self.truncated, self.overflows) = (truncated, overflows);
    }
}

impl AsFd for Underlay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_train_that_the_kernel_refuses_is_counted_and_its_buffer_comes_back() {
        let (mut underlay, mut pool, stats) = fixture();
        // The kernel refuses broadcasts of a socket that did not ask for them.
        let train = train(&mut pool, (Ipv4Addr::BROADCAST, 9));

        underlay.queue(train);
        underlay.send(&mut pool, &stats);

        assert_eq!(stats.dropped(DropReason::SendFailed), 3);
        assert_eq!((pool.available(), underlay.has_pending()), (BUFFERS, false));
    }

    #[test]
    fn of_too_many_waiting_trains_the_oldest_are_dropped() {
        let (mut underlay, mut pool, stats) = fixture();
        for port in 0..u16::try_from(PENDING).expect("small") + 2 {
            let train = train(&mut pool, (Ipv4Addr::LOCALHOST, port));
            underlay.queue(train);
        }

        underlay.shed(&mut pool, &stats);

        assert_eq!(stats.dropped(DropReason::SendBusy), 6);
        assert_eq!(underlay.pending.len(), PENDING);
        assert_eq!(underlay.pending[0].to.port(), 2);
        assert_eq!(pool.available(), BUFFERS - PENDING);
    }

    #[test]
    fn datagrams_beyond_the_receive_buffer_are_counted() {
        let (mut underlay, mut pool, stats) = fixture();
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("socket");
        let to = underlay.socket.local_addr();
        let datagram = vec![0; 60_000];
        // More than any receive buffer that the kernel grants.
        let sent = underlay.socket.receive_buffer() / datagram.len() + 64;
        for _ in 0..sent {
            sender.send_to(&datagram, to).expect("loopback");
        }
        let drain = |underlay: &mut Underlay, pool: &mut BufferPool| {
            while underlay
                .socket
                .recv_batch(pool, &mut underlay.received, 1)
                .expect("readable")
                > 0
            {
                for train in underlay.received.drain(..) {
                    pool.give(train.buffer);
                }
            }
        };
        drain(&mut underlay, &mut pool);
        // The kernel tells with the next datagram.
        sender.send_to(&[0], to).expect("loopback");
        drain(&mut underlay, &mut pool);

        underlay.count_losses(&stats);
        let lost = stats.dropped(DropReason::ReceiveOverflow);
        assert!(lost > 0, "of {sent}");

        underlay.count_losses(&stats);
        assert_eq!(stats.dropped(DropReason::ReceiveOverflow), lost);
    }

    const BUFFERS: usize = PENDING + 8;

    fn fixture() -> (Underlay, BufferPool, Stats) {
        let underlay = Underlay::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("socket");
        (underlay, BufferPool::new(BUFFERS), Stats::default())
    }

    /// Three datagrams.
    fn train(pool: &mut BufferPool, to: (Ipv4Addr, u16)) -> Train {
        let mut buffer = pool.take().expect("free buffer");
        buffer.tail_mut()[..250].fill(1);
        buffer.grow(250);
        Train {
            to: SocketAddr::from(to),
            segment: 100,
            tos: 0,
            buffer,
        }
    }
}
