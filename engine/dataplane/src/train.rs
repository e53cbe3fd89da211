//! Trains: encapsulated packets for one tunnel, back to back in one buffer, sent by one system call.
//!
//! All packets of a train have the same length, only the last may be shorter, because that is what `UDP_SEGMENT` can
//! cut. A train also ends when the outer address or TOS changes. Order within a lane of a tunnel is kept: it has at
//! most one open train, and a closed one goes to the send queue at once.

use std::net::SocketAddr;

use crate::buffer::Buffer;
use crate::drop_reason::DropReason;
use crate::encap::{LANES, Lane};
use crate::ids::TunnelId;
use crate::outlet::Outlet;
use crate::trace::TapPoint;
use crate::tx::Egress;

/// Most datagrams in a train: what `UDP_SEGMENT` takes in any Linux; kernels before 5.16 refuse the 64th.
pub const TRAIN_SEGMENTS: usize = 63;
/// Most bytes in a train: the largest UDP payload over IPv4.
pub const TRAIN_BYTES: usize = 65_507;
/// Most bytes in a train: the largest UDP payload over IPv6.
pub const TRAIN_BYTES_IPV6: usize = 65_487;
/// Where an encapsulated packet goes and how.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// The tunnel, for order.
    pub tunnel: TunnelId,
    /// The lane, for order too.
    pub lane: Lane,
    /// Outer destination.
    pub to: SocketAddr,
    /// Outer TOS byte.
    pub tos: u8,
    /// Bytes that encapsulation adds, padding included.
    pub growth: usize,
}

/// A train that still grows.
#[derive(Debug)]
struct Train {
    tunnel: TunnelId,
    lane: Lane,
    to: SocketAddr,
    tos: u8,
    /// Length of the first packet.
    segment: usize,
    count: usize,
    buffer: Buffer,
}

impl Train {
    fn new(passage: Passage, buffer: Buffer) -> Self {
        Self {
            tunnel: passage.tunnel,
            lane: passage.lane,
            to: passage.to,
            tos: passage.tos,
            segment: 0,
            count: 0,
            buffer,
        }
    }

    /// Tells whether an inner packet of `len` bytes may follow.
    fn accepts(&self, len: usize, passage: Passage) -> bool {
        let limit = if passage.to.is_ipv6() {
            TRAIN_BYTES_IPV6
        } else {
            TRAIN_BYTES
        };
        (self.lane, self.to, self.tos) == (passage.lane, passage.to, passage.tos)
            && len + passage.growth <= self.segment
            && self.buffer.len() + len + passage.growth <= limit
    }

    /// Takes in a packet written at the start of the tail; returns whether the train is complete.
    fn couple(&mut self, written: usize) -> bool {
        self.buffer.grow(written);
        self.count += 1;
        if self.count == 1 {
            self.segment = written;
        }
        debug_assert!(
            written <= self.segment,
            "only the last packet may differ, and is shorter"
        );
        written < self.segment || self.count >= TRAIN_SEGMENTS
    }

    fn send(self, outlet: &mut Outlet<'_, '_>) {
        let segment = u16::try_from(self.segment).expect("no longer than TRAIN_BYTES");
        let train = Egress::Train {
            lane: self.lane,
            to: self.to,
            segment,
            tos: self.tos,
            buffer: self.buffer,
        };
        if outlet.push(train, TapPoint::Outer, Some(self.tunnel)) {
            outlet.stats.add(&outlet.stats.trains_sent, 1);
        }
    }
}

/// The open trains of all tunnels.
#[derive(Debug, Default)]
pub struct Trains {
    /// One place per tunnel and lane.
    open: Vec<Option<Train>>,
}

impl Trains {
    /// Makes room for `tunnels` tunnels.
    pub fn resize(&mut self, tunnels: usize, outlet: &mut Outlet<'_, '_>) {
        self.close_all(outlet);
        self.open.resize_with(tunnels * PLACES, || None);
    }

    /// Encapsulates an inner packet of `len` bytes into the train of its tunnel: `write` puts it into the slot that it
    /// gets, and returns its length.
    ///
    /// # Errors
    /// Why it could not be written; nothing was sent of it.
    pub fn load(
        &mut self,
        passage: Passage,
        len: usize,
        outlet: &mut Outlet<'_, '_>,
        write: impl FnOnce(&mut [u8]) -> Result<usize, DropReason>,
    ) -> Result<(), DropReason> {
        if len + passage.growth > TRAIN_BYTES_IPV6 {
            return Err(DropReason::TooBig);
        }
        let place = self.open.get_mut(place(passage));
        let place = place.ok_or(DropReason::TunnelDown)?;
        // 1. A packet that does not fit behind the others sends their train off.
        if let Some(train) = place.take_if(|train| !train.accepts(len, passage)) {
            train.send(outlet);
        }
        // 2. It is written into the tail of the open train, or of a new one.
        let mut train = match place.take() {
            Some(train) => train,
            None => Train::new(
                passage,
                outlet.io.pool.take().ok_or(DropReason::BufferPoolEmpty)?,
            ),
        };
        let written = match write(train.buffer.tail_mut()) {
            Ok(written) => written,
            Err(reason) => {
                if train.count == 0 {
                    outlet.io.pool.give(train.buffer);
                } else {
                    *place = Some(train);
                }
                return Err(reason);
            }
        };
        outlet.stats.add(&outlet.stats.tunnel_tx_packets, 1);
        outlet.stats.add(&outlet.stats.tunnel_tx_bytes, len as u64);
        // 3. A shorter packet, or one that fills the train, sends it off.
        if train.couple(written) {
            train.send(outlet);
        } else {
            *place = Some(train);
        }
        Ok(())
    }

    /// Sends all open trains.
    pub fn close_all(&mut self, outlet: &mut Outlet<'_, '_>) {
        for train in self.open.iter_mut().filter_map(Option::take) {
            train.send(outlet);
        }
    }
}

/// Returns the place of the train that a packet may join.
fn place(passage: Passage) -> usize {
    let lane = match passage.lane {
        Lane::WireGuard | Lane::Ip { .. } => 0,
        Lane::Udp(lane) => lane % LANES,
    };
    usize::from(passage.tunnel.0) * PLACES + usize::from(lane)
}

/// Places per tunnel.
const PLACES: usize = LANES as usize;
