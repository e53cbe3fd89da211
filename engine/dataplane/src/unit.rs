//! A received packet or superpacket together with what the kernel said about it.
//!
//! A superpacket is one TCP or UDP packet of up to 64 KiB that stands for many wire packets of `gso.size` payload
//! bytes each. GSO and checksum state change only through the functions that also change the bytes.

use crate::buffer::Buffer;
use crate::packet::classify::{TCP_HEADER, UDP_HEADER};
use crate::packet::ipv4::IPV4_HEADER;

/// Says how a superpacket is to be cut into wire packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// An ordinary packet.
    #[default]
    None,
    /// TCP payload in pieces of `size` bytes.
    Tcp {
        /// Payload bytes per segment.
        size: u16,
    },
    /// UDP payload in datagrams of `size` bytes.
    Udp {
        /// Payload bytes per datagram.
        size: u16,
    },
}

/// Says what is known about the L4 checksum. Offsets count from the first byte of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// The field holds the sender's checksum, not verified by us.
    #[default]
    Complete,
    /// Only the pseudo-header sum is in the field (virtio NEEDS_CSUM): sum from `start`, store at `start + offset`.
    Partial {
        /// Where summing starts.
        start: u16,
        /// Where the field lies, from `start`.
        offset: u16,
    },
}

/// What travels beside the bytes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// Segmentation still to be done.
    pub gso: Gso,
    /// Checksum still to be done.
    pub checksum: Checksum,
}

/// One packet or superpacket on its way through the engine.
#[derive(Debug)]
pub struct Unit {
    /// Ethernet frame (LAN ports) or bare IP packet (TUN, tunnels).
    pub buffer: Buffer,
    /// Segmentation and checksum state.
    pub offload: Offload,
}

impl Unit {
    /// Returns how many wire packets it stands for, to count them where they are lost: headers are taken for the shortest.
    #[must_use]
    pub fn packets(&self) -> usize {
        let (size, headers) = match self.offload.gso {
            Gso::None => return 1,
            Gso::Tcp { size } => (size, IPV4_HEADER + TCP_HEADER),
            Gso::Udp { size } => (size, IPV4_HEADER + UDP_HEADER),
        };
        let payload = self.buffer.len().saturating_sub(headers);
        payload.div_ceil(size.max(1).into()).max(1)
    }

    /// Wraps a complete packet without pending work.
    #[must_use]
    pub fn plain(buffer: Buffer) -> Self {
        Self {
            buffer,
            offload: Offload::default(),
        }
    }
}
