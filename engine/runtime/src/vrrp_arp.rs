//! The second way of VRRP advertisements: ARP frames with a mark, for a LAN that loses multicast or IP protocol 112.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use sam_dataplane::arp_advertisement::{MARK, MARK_OFFSET, emit_frame, parse_frame};
use sam_dataplane::{BufferPool, Unit};
use sam_net::filter::Filter;
use sam_net::packet_socket::FrameError;
use sam_net::{NetError, PacketSocket, SendFailure};

/// Frames in one round, and buffers.
const BATCH: usize = 4;
/// Bytes that may wait: few and small, with the kernel's overhead.
const RECEIVE_BUFFER: i32 = 256 << 10;

/// A packet socket for marked ARP frames of one interface.
pub(crate) struct VrrpArp {
    socket: PacketSocket,
    pool: BufferPool,
    frames: Vec<Result<Unit, FrameError>>,
    failures: Vec<SendFailure>,
}

impl VrrpArp {
    /// Opens the socket.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV.
    pub(crate) fn open(interface: &str) -> Result<Self, NetError> {
        let offset = u32::try_from(MARK_OFFSET).unwrap_or(u32::MAX);
        let filter = Filter::marked_arp(MARK, offset);
        Ok(Self {
            socket: PacketSocket::open_with(interface, Some(&filter), RECEIVE_BUFFER)?,
            // The socket keeps buffers between calls, and one is needed to send.
            pool: BufferPool::new(BATCH + 1),
            frames: Vec::new(),
            failures: Vec::new(),
        })
    }

    /// Hands over the advertisements that wait, one batch at most, each with the address of its sender.
    ///
    /// # Errors
    /// What the kernel says, such as ENETDOWN.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Ipv4Addr, &[u8])) -> io::Result<()> {
        let received = self
            .socket
            .recv_batch(&mut self.pool, &mut self.frames, BATCH);
        for unit in self.frames.drain(..).flatten() {
            if let Some((source, advertisement)) = parse_frame(unit.buffer.bytes()) {
                take(source, advertisement);
            }
            self.pool.give(unit.buffer);
        }
        received.map(drop)
    }

    /// Tells an advertisement from our address; returns whether the kernel took it.
    pub(crate) fn send(&mut self, source: Ipv4Addr, advertisement: &[u8]) -> bool {
        let Some(mut buffer) = self.pool.take() else {
            return false;
        };
        let fits = buffer.append(&emit_frame(self.socket.mac(), source, advertisement));
        let unit = Unit::plain(buffer);
        let done = self
            .socket
            .send_batch(std::slice::from_ref(&unit), &mut self.failures);
        self.pool.give(unit.buffer);
        let failed = self.failures.drain(..).count();
        fits && done == 1 && failed == 0
    }
}

impl AsFd for VrrpArp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
