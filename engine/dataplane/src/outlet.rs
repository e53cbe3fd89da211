//! The one place where packets leave: the send queue, its overflow, and the copy for a listener.

use std::time::Instant;

use crate::buffer::BufferPool;
use crate::drop_reason::DropReason;
use crate::stats::Stats;
use crate::trace::{Tap, TapPoint};
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
    /// Queues `egress`, seen at `point`; returns whether the queue took it.
    pub fn push(&mut self, egress: Egress, point: TapPoint) -> bool {
        if let Some(tap) = &mut self.tap {
            record(tap, &egress, point, self.now);
        }
        let Err(egress) = self.io.tx.push(egress) else {
            return true;
        };
        self.stats.drop(DropReason::TxQueueFull);
        self.io.pool.give(match egress {
            Egress::Port { unit, .. } => unit.buffer,
            Egress::Train { buffer, .. } => buffer,
        });
        false
    }
}

fn record(tap: &mut Tap, egress: &Egress, point: TapPoint, now: Instant) {
    match egress {
        Egress::Port { unit, .. } => tap.record(point, true, unit.buffer.bytes(), None, now),
        Egress::Train {
            to,
            segment,
            buffer,
            ..
        } => {
            for datagram in buffer.bytes().chunks(usize::from(*segment).max(1)) {
                tap.record(point, true, datagram, Some(*to), now);
            }
        }
    }
}
