//! What leaves the engine: filled by the forwarder, emptied by the driver after each batch.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::buffer::Buffer;
use crate::encap::Lane;
use crate::ids::PortId;
use crate::unit::Unit;

/// One send operation for a driver.
#[derive(Debug)]
pub enum Egress {
    /// A frame (LAN: with Ethernet header) or packet (TUN: bare IP), perhaps a superpacket.
    Port {
        /// Where it leaves.
        port: PortId,
        /// What leaves.
        unit: Unit,
    },
    /// Datagrams of equal size (the last may be shorter) to one underlay destination, back to back.
    Train {
        /// By which socket it leaves.
        lane: Lane,
        /// Outer destination.
        to: SocketAddr,
        /// Bytes per datagram; equals the buffer length when there is one datagram.
        segment: u16,
        /// Outer TOS byte: ECN of the inner packets, DSCP of the tunnel or theirs.
        tos: u8,
        /// The datagrams.
        buffer: Buffer,
    },
}

impl Egress {
    /// Returns how many packets are lost with it; a superpacket counts as one, as wherever it is dropped.
    #[must_use]
    pub fn packets(&self) -> u64 {
        match self {
            Self::Port { .. } => 1,
            Self::Train {
                segment, buffer, ..
            } => datagrams(buffer.len(), *segment),
        }
    }

    /// Returns the buffer.
    #[must_use]
    pub fn into_buffer(self) -> Buffer {
        match self {
            Self::Port { unit, .. } => unit.buffer,
            Self::Train { buffer, .. } => buffer,
        }
    }
}

/// Returns how many datagrams of `segment` bytes, the last perhaps shorter, `bytes` are.
#[must_use]
pub fn datagrams(bytes: usize, segment: u16) -> u64 {
    bytes.div_ceil(usize::from(segment.max(1))) as u64
}

/// Bounded queue of pending sends; order within it is the order on the wire.
#[derive(Debug)]
pub struct TxQueue {
    entries: VecDeque<Egress>,
    limit: usize,
}

impl TxQueue {
    /// Makes a queue for at most `limit` entries.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            entries: VecDeque::with_capacity(limit),
            limit,
        }
    }

    /// Appends, or hands the entry back when the queue is full.
    ///
    /// # Errors
    /// The entry itself, so that its buffer is not lost.
    pub fn push(&mut self, egress: Egress) -> Result<(), Egress> {
        if self.entries.len() >= self.limit {
            return Err(egress);
        }
        self.entries.push_back(egress);
        Ok(())
    }

    /// Takes the oldest entry.
    pub fn pop(&mut self) -> Option<Egress> {
        self.entries.pop_front()
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
