//! Trains: sealed datagrams for one tunnel, back to back in one buffer, sent by one system call.
//!
//! All datagrams of a train have the same length, only the last may be shorter, because that is what `UDP_SEGMENT`
//! can cut. A train also ends when the outer address or TOS changes. Order within a tunnel is kept: a tunnel has at
//! most one open train, and a closed one goes to the send queue at once.

use std::net::SocketAddr;

use sam_wg::{Device, PeerIndex, SealError};

use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::ids::TunnelId;
use crate::outlet::Outlet;
use crate::trace::TapPoint;
use crate::tx::Egress;

/// Most datagrams in a train: the limit of `UDP_SEGMENT` in Linux.
pub const TRAIN_SEGMENTS: usize = 64;
/// Most bytes in a train: the largest UDP payload over IPv4.
pub const TRAIN_BYTES: usize = 65_507;
/// Most bytes in a train: the largest UDP payload over IPv6.
pub const TRAIN_BYTES_IPV6: usize = 65_487;
/// Most bytes by which sealing makes a packet longer: header, tag, padding to 16.
pub const SEAL_ROOM: usize = sam_wg::OVERHEAD + 15;

/// Where a sealed datagram goes and how.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// The tunnel, for order.
    pub tunnel: TunnelId,
    /// The peer, for keys and endpoint.
    pub peer: PeerIndex,
    /// Outer TOS byte.
    pub tos: u8,
}

/// A train that still grows.
#[derive(Debug)]
struct Train {
    to: SocketAddr,
    tos: u8,
    /// Length of the first datagram.
    segment: usize,
    count: usize,
    buffer: Buffer,
}

impl Train {
    fn new(to: SocketAddr, tos: u8, buffer: Buffer) -> Self {
        Self {
            to,
            tos,
            segment: 0,
            count: 0,
            buffer,
        }
    }

    /// Tells whether an inner packet of `len` bytes may follow.
    ///
    /// Padding does not matter here: it rounds up to a length that the first datagram was rounded up to, or less.
    fn accepts(&self, len: usize, to: SocketAddr, tos: u8) -> bool {
        let limit = if to.is_ipv6() {
            TRAIN_BYTES_IPV6
        } else {
            TRAIN_BYTES
        };
        (self.to, self.tos) == (to, tos)
            && len + sam_wg::OVERHEAD <= self.segment
            && self.buffer.len() + len + SEAL_ROOM <= limit
    }

    /// Takes in a datagram sealed at the start of the tail; returns whether the train is complete.
    fn couple(&mut self, sealed: usize) -> bool {
        self.buffer.grow(sealed);
        self.count += 1;
        if self.count == 1 {
            self.segment = sealed;
        }
        debug_assert!(
            sealed <= self.segment,
            "only the last datagram may differ, and is shorter"
        );
        sealed < self.segment || self.count >= TRAIN_SEGMENTS
    }

    fn send(self, outlet: &mut Outlet<'_, '_>) {
        let segment = u16::try_from(self.segment).expect("no longer than TRAIN_BYTES");
        let train = Egress::Train {
            to: self.to,
            segment,
            tos: self.tos,
            buffer: self.buffer,
        };
        if outlet.push(train, TapPoint::Outer) {
            outlet.stats.add(&outlet.stats.trains_sent, 1);
        }
    }
}

/// The open trains of all tunnels.
#[derive(Debug, Default)]
pub struct Trains {
    /// One place per tunnel id.
    open: Vec<Option<Train>>,
}

impl Trains {
    /// Makes room for `tunnels` tunnels.
    pub fn resize(&mut self, tunnels: usize, outlet: &mut Outlet<'_, '_>) {
        self.close_all(outlet);
        self.open.resize_with(tunnels, || None);
    }

    /// Seals `inner` into the train of its tunnel.
    ///
    /// # Errors
    /// Why it could not be sealed; nothing was sent of it.
    pub fn seal(
        &mut self,
        wg: &mut Device,
        passage: Passage,
        inner: &[u8],
        outlet: &mut Outlet<'_, '_>,
    ) -> Result<(), DropReason> {
        if inner.len() + SEAL_ROOM > TRAIN_BYTES_IPV6 {
            return Err(DropReason::TooBig);
        }
        let to = wg
            .endpoint(passage.peer)
            .ok_or(DropReason::TunnelNoEndpoint)?;
        let place = self.open.get_mut(usize::from(passage.tunnel.0));
        let place = place.ok_or(DropReason::TunnelDown)?;
        // 1. A packet that does not fit behind the others sends their train off.
        if let Some(train) = place.take_if(|train| !train.accepts(inner.len(), to, passage.tos)) {
            train.send(outlet);
        }
        // 2. It is sealed into the tail of the open train, or of a new one.
        let mut train = match place.take() {
            Some(train) => train,
            None => Train::new(
                to,
                passage.tos,
                outlet.io.pool.take().ok_or(DropReason::BufferPoolEmpty)?,
            ),
        };
        let sealed = match wg.seal(passage.peer, inner, train.buffer.tail_mut(), outlet.now) {
            Ok(sealed) => sealed,
            Err(error) => {
                if train.count == 0 {
                    outlet.io.pool.give(train.buffer);
                } else {
                    *place = Some(train);
                }
                return Err(reason(error));
            }
        };
        outlet.stats.add(&outlet.stats.tunnel_tx_packets, 1);
        outlet
            .stats
            .add(&outlet.stats.tunnel_tx_bytes, inner.len() as u64);
        // 3. A shorter datagram, or one that fills the train, sends it off.
        if train.couple(sealed) {
            train.send(outlet);
        } else {
            *place = Some(train);
        }
        Ok(())
    }

    /// Sends a datagram that WireGuard made by itself, as a train of its own.
    pub fn send_alone(to: SocketAddr, buffer: Buffer, outlet: &mut Outlet<'_, '_>) {
        let mut train = Train::new(to, CONTROL_TOS, buffer);
        train.segment = train.buffer.len();
        train.send(outlet);
    }

    /// Sends all open trains.
    pub fn close_all(&mut self, outlet: &mut Outlet<'_, '_>) {
        for train in self.open.iter_mut().filter_map(Option::take) {
            train.send(outlet);
        }
    }
}

/// Names what sealing refused.
fn reason(error: SealError) -> DropReason {
    match error {
        SealError::NoSession => DropReason::TunnelNoSession,
        SealError::NoEndpoint => DropReason::TunnelNoEndpoint,
        SealError::OutputTooSmall => DropReason::TooBig,
        SealError::NoPeer | _ => DropReason::TunnelDown,
    }
}

/// TOS of handshakes and keepalives, as the Linux kernel's WireGuard sends them: DSCP AF41.
const CONTROL_TOS: u8 = 0x88;
