//! What arrives at a router of the lab: frames, packets of its host, datagrams.

use std::net::SocketAddr;
use std::time::Instant;

use sam_dataplane::{Buffer, Carrier, Lane, Offload, PlainDatagrams, Unit};

use super::{LAN, Router, Train, WAN_INTERFACE};

impl Router {
    pub(crate) fn unit(&mut self, bytes: &[u8], offload: Offload) -> Unit {
        let mut buffer = self.pool.take().expect("a free buffer");
        assert!(buffer.append(bytes));
        Unit { buffer, offload }
    }

    /// Lets a frame with a pending-work description arrive on the LAN.
    pub(crate) fn frame_with(&mut self, bytes: &[u8], offload: Offload, now: Instant) {
        let unit = self.unit(bytes, offload);
        self.with(|forwarder, io| forwarder.handle_frame(LAN, unit, io, now));
    }

    pub(crate) fn host_packet(&mut self, bytes: &[u8], now: Instant) {
        let unit = self.unit(bytes, Offload::default());
        self.with(|forwarder, io| forwarder.handle_host_packet(unit, io, now));
    }

    pub(crate) fn datagrams(
        &mut self,
        from: SocketAddr,
        tos: u8,
        segment: usize,
        bytes: &[u8],
        now: Instant,
    ) {
        let mut buffer: Buffer = self.pool.take().expect("a free buffer");
        assert!(buffer.append(bytes));
        self.with(|forwarder, io| forwarder.handle_datagrams(from, tos, segment, buffer, io, now));
    }

    /// Lets a train arrive at the socket for its lane.
    pub(crate) fn train(&mut self, from: SocketAddr, tos: u8, train: &Train, now: Instant) {
        let carrier = match train.lane {
            Lane::WireGuard => return self.datagrams(from, tos, train.segment, &train.bytes, now),
            Lane::Udp(_) => Carrier::Udp {
                port: train.to.port(),
            },
            Lane::Ip { protocol } => Carrier::Ip { protocol },
        };
        self.plain(carrier, from, tos, train.segment, &train.bytes, now);
    }

    pub(crate) fn plain(
        &mut self,
        carrier: Carrier,
        from: SocketAddr,
        tos: u8,
        segment: usize,
        bytes: &[u8],
        now: Instant,
    ) {
        let sender = (carrier, from, WAN_INTERFACE);
        self.plain_by(sender, tos, segment, bytes, now);
    }

    /// Lets datagrams arrive from a sender, by an interface.
    pub(crate) fn plain_by(
        &mut self,
        (carrier, from, interface): (Carrier, SocketAddr, u32),
        tos: u8,
        segment: usize,
        bytes: &[u8],
        now: Instant,
    ) {
        let mut buffer: Buffer = self.pool.take().expect("a free buffer");
        assert!(buffer.append(bytes));
        let datagrams = PlainDatagrams {
            carrier,
            from,
            interface,
            tos,
            segment,
            buffer,
        };
        self.with(|forwarder, io| forwarder.handle_plain(datagrams, io, now));
    }
}
