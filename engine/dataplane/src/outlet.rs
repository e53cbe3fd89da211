//! The one place where packets leave: the send queue, its overflow, and the copy for a listener.

use std::time::Instant;

use crate::buffer::BufferPool;
use crate::drop_reason::DropReason;
use crate::encap::{Carrier, Lane};
use crate::ids::TunnelId;
use crate::stats::Stats;
use crate::trace::{Seen, Tap, TapPoint};
use crate::tx::{Egress, TxQueue};

/// What every step may use: free buffers and the send queue.
#[derive(Debug)]
pub struct Io<'a> {
    /// Free buffers; consumed units return here.
    pub pool: &'a mut BufferPool,
    /// What to send.
    pub tx: &'a mut TxQueue,
}

/// What is needed to send something.
#[derive(Debug)]
pub struct Outlet<'a, 'b> {
    /// Buffers and send queue.
    pub io: &'a mut Io<'b>,
    /// Counters.
    pub stats: &'a Stats,
    /// The listener, if there is one.
    pub tap: Option<&'a mut Tap>,
    /// The current time.
    pub now: Instant,
}

impl Outlet<'_, '_> {
    /// Queues `egress`, seen at `point`, of `tunnel` if of any; returns whether the queue took it.
    pub fn push(&mut self, egress: Egress, point: TapPoint, tunnel: Option<TunnelId>) -> bool {
        if let Some(tap) = &mut self.tap {
            record(tap, &egress, point, tunnel, self.now);
        }
        let Err(egress) = self.io.tx.push(egress) else {
            return true;
        };
        self.stats
            .drop_many(DropReason::TxQueueFull, egress.packets());
        self.io.pool.give(egress.into_buffer());
        false
    }
}

fn record(tap: &mut Tap, egress: &Egress, point: TapPoint, tunnel: Option<TunnelId>, now: Instant) {
    match egress {
        Egress::Port { unit, .. } => {
            tap.record(Seen::outbound(point, unit.buffer.bytes(), now));
        }
        Egress::Train {
            lane,
            to,
            segment,
            buffer,
            ..
        } => {
            let carrier = carrier(*lane, to.port());
            for datagram in buffer.bytes().chunks(usize::from(*segment).max(1)) {
                let seen = Seen::outbound(point, datagram, now).with_remote(*to, carrier);
                tap.record(Seen { tunnel, ..seen });
            }
        }
    }
}

/// Returns what carries the packets of a lane to a port; `None` for WireGuard.
fn carrier(lane: Lane, port: u16) -> Option<Carrier> {
    match lane {
        Lane::WireGuard => None,
        Lane::Udp(_) => Some(Carrier::Udp { port }),
        Lane::Ip { protocol } => Some(Carrier::Ip { protocol }),
    }
}
