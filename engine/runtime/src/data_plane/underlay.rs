//! One underlay socket, of one address family: trains in, trains out.
//!
//! What a busy kernel does not take stays here in order and is tried again; beyond a bound the oldest is dropped and
//! counted.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use sam_dataplane::tx::datagrams;
use sam_dataplane::{
    BufferPool, Carrier, DropReason, Forwarder, Io, PathError, PlainDatagrams, Stats,
};
use sam_net::{Datagrams, SendFailure, Train, UdpSocket};
use sam_router::Offloads;
use tracing::{info, warn};

use super::budget::{Budget, MOST};
use super::ports::{PENDING, Received};
use super::trust::RETRY;

/// An underlay socket with what waits for it.
pub(super) struct Underlay {
    /// Of tunnels without encryption; `None` for WireGuard.
    carrier: Option<Carrier>,
    socket: UdpSocket,
    budget: Budget,
    batch: Vec<Datagrams>,
    received: VecDeque<Datagrams>,
    pending: Vec<Train>,
    failures: Vec<SendFailure>,
    /// Empty between calls.
    errors: Vec<PathError>,
    /// Losses as counted so far.
    truncated: u64,
    overflows: u32,
    /// Whether it is to send trains as trains, if the kernel takes them.
    wants_trains: bool,
    /// Since when the kernel is known not to.
    refused: Option<Instant>,
}

impl Underlay {
    /// Serves a bound socket.
    pub(super) fn new(mut socket: UdpSocket, offloads: Offloads) -> Self {
        if !offloads.udp_segment {
            socket.forbid_segmentation();
        }
        if !offloads.udp_gro {
            socket.forbid_joining();
        }
        let wants_trains = socket.segments();
        Self {
            carrier: None,
            socket,
            budget: Budget::default(),
            batch: Vec::with_capacity(MOST),
            received: VecDeque::with_capacity(MOST),
            pending: Vec::with_capacity(PENDING),
            failures: Vec::new(),
            errors: Vec::new(),
            truncated: 0,
            overflows: 0,
            wants_trains,
            refused: None,
        }
    }

    /// Serves a socket that receives packets of tunnels without encryption.
    pub(super) fn of_carrier(carrier: Carrier, socket: UdpSocket, offloads: Offloads) -> Self {
        Self {
            carrier: Some(carrier),
            ..Self::new(socket, offloads)
        }
    }

    /// Receives one batch, for [`Self::poll_train`]. Returns what there was.
    pub(super) fn receive(&mut self, pool: &mut BufferPool, stats: &Stats) -> Received {
        let budget = self.budget.packets();
        let result = self.socket.recv_batch(pool, &mut self.batch, budget);
        let bytes = self.batch.iter().map(|train| train.buffer.len()).sum();
        self.budget.learn(self.batch.len(), bytes);
        self.received.extend(self.batch.drain(..));
        Received::new(result, budget, stats)
    }

    /// Hands the oldest train of the batch to the forwarder; returns whether there was one.
    pub(super) fn poll_train(
        &mut self,
        forwarder: &mut Forwarder,
        io: &mut Io<'_>,
        now: Instant,
    ) -> bool {
        let Some(train) = self.received.pop_front() else {
            return false;
        };
        let Datagrams {
            buffer,
            segment,
            from,
            tos,
            interface,
        } = train;
        match self.carrier {
            None => forwarder.handle_datagrams(from, tos, segment, buffer, io, now),
            Some(carrier) => {
                let datagrams = PlainDatagrams {
                    carrier,
                    from,
                    tos,
                    interface,
                    segment,
                    buffer,
                };
                forwarder.handle_plain(datagrams, io, now);
            }
        }
        true
    }

    /// Makes trains leave with a source of their own, or with the kernel's choice.
    pub(super) fn set_source(&mut self, source: Option<IpAddr>) {
        self.socket.set_source(source);
        // What the kernel refused may have been the address, not the trains.
        if self.wants_trains {
            self.refused = None;
            self.socket.allow_segmentation();
        }
    }

    /// Queues a train for [`Self::send`].
    pub(super) fn queue(&mut self, train: Train) {
        self.pending.push(train);
    }

    /// Tells whether trains leave as trains.
    pub(super) fn segments(&self) -> bool {
        self.socket.segments()
    }

    /// Tells whether the kernel joins what arrives.
    pub(super) fn joins(&self) -> bool {
        self.socket.joins()
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
        let segmented = self.socket.segments();
        let done = self
            .socket
            .send_trains(&mut self.pending, &mut self.failures);
        if segmented && !self.socket.segments() {
            warn!(
                "the kernel refuses to cut trains of datagrams: each is sent alone for some time"
            );
        }
        for failure in self.failures.drain(..) {
            stats.drop_many(DropReason::SendFailed, failure.packets as u64);
        }
        for train in self.pending.drain(..done) {
            pool.give(train.buffer);
        }
        self.shed(PENDING, pool, stats);
    }

    /// Sends what the kernel still takes, and gives every buffer back.
    pub(super) fn retire(mut self, pool: &mut BufferPool, stats: &Stats) {
        self.send(pool, stats);
        self.shed(0, pool, stats);
        self.count_losses(stats);
        for train in self.received {
            pool.give(train.buffer);
        }
        self.socket.release(pool);
    }

    /// Returns in what it receives packets of tunnels without encryption.
    pub(super) fn carrier(&self) -> Option<Carrier> {
        self.carrier
    }

    /// Drops the oldest trains beyond `most`.
    fn shed(&mut self, most: usize, pool: &mut BufferPool, stats: &Stats) {
        let excess = self.pending.len().saturating_sub(most);
        for train in self.pending.drain(..excess) {
            let packets = datagrams(train.buffer.len(), train.segment);
            stats.drop_many(DropReason::SendBusy, packets);
            pool.give(train.buffer);
        }
    }

    /// Hands over what the underlay says about packets that it did not carry.
    pub(super) fn take_path_errors(&mut self, forwarder: &mut Forwarder, now: Instant) {
        self.socket.take_path_errors(&mut self.errors);
        for error in self.errors.drain(..) {
            forwarder.handle_path_error(error, now);
        }
    }

    /// Sends trains as trains again some time after the kernel refused: they may take another route by now.
    pub(super) fn retry_segmentation(&mut self, now: Instant) {
        if !self.wants_trains || self.socket.segments() {
            return;
        }
        let since = *self.refused.get_or_insert(now);
        if now.saturating_duration_since(since) >= RETRY {
            self.refused = None;
            self.socket.allow_segmentation();
            info!("trains of datagrams are left to the kernel again");
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
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::super::logged::logged;
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

        underlay.shed(PENDING, &mut pool, &stats);

        assert_eq!(stats.dropped(DropReason::SendBusy), 6);
        assert_eq!(underlay.pending.len(), PENDING);
        assert_eq!(underlay.pending[0].to.port(), 2);
        assert_eq!(pool.available(), BUFFERS - PENDING);
    }

    #[test]
    fn trains_that_the_kernel_refused_are_tried_again_but_not_those_that_nobody_wants() {
        let (mut underlay, ..) = fixture();
        let start = Instant::now();
        underlay.socket.forbid_segmentation();

        underlay.retry_segmentation(start);
        underlay.retry_segmentation(start + RETRY - Duration::from_secs(1));
        assert!(!underlay.segments());
        underlay.retry_segmentation(start + RETRY);
        assert!(underlay.segments());

        let offloads = Offloads {
            udp_segment: false,
            ..Offloads::default()
        };
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let mut underlay = Underlay::new(socket.expect("socket"), offloads);
        underlay.retry_segmentation(start);
        underlay.retry_segmentation(start + 2 * RETRY);
        assert!(!underlay.segments());
    }

    #[test]
    fn a_kernel_that_refuses_trains_is_told_of_once_until_it_is_asked_again() {
        let (mut underlay, mut pool, stats) = fixture();
        let receiver = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("socket");
        let patience = Some(Duration::from_secs(10));
        receiver.set_read_timeout(patience).expect("valid");
        let port = receiver.local_addr().expect("bound").port();
        // The kernel cuts no train whose datagrams are to have no checksum.
        underlay.socket.omit_checksums().expect("of UDP");

        let log = logged(|| {
            for _ in 0..10 {
                underlay.queue(train(&mut pool, (Ipv4Addr::LOCALHOST, port)));
                underlay.send(&mut pool, &stats);
                for length in [100, 100, 50] {
                    let received = receiver.recv(&mut [0; 999]);
                    assert_eq!(received.expect("a datagram"), length);
                }
            }
            assert!(!underlay.segments());
            let start = Instant::now();
            underlay.retry_segmentation(start);
            underlay.retry_segmentation(start + RETRY);
        });

        let expected = [
            "WARN the kernel refuses to cut trains of datagrams: each is sent alone for some time",
            "INFO trains of datagrams are left to the kernel again",
        ];
        assert_eq!(log, expected);
        assert_eq!(stats.drops().map(|(_, count)| count).sum::<u64>(), 0);
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
                .recv_batch(pool, &mut underlay.batch, 1)
                .expect("readable")
                > 0
            {
                for train in underlay.batch.drain(..) {
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
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let underlay = Underlay::new(
            UdpSocket::bind(address).expect("socket"),
            Offloads::default(),
        );
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
