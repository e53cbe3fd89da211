//! Buffers that a socket keeps from its pool, so that a receive call finds them ready.

use std::vec::Drain;

use sam_dataplane::{Buffer, BufferPool};

/// Buffers kept between calls. Sockets are many and most are silent: what each keeps for good is out of reach of those that
/// are not.
const KEPT: usize = 8;

/// Empty buffers of one socket.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<Buffer>);

impl Spare {
    /// Allocates room for `capacity` buffers, but takes none.
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Returns up to `wanted` buffers to receive into, as far as the pool has them.
    pub(crate) fn ready(&mut self, wanted: usize, pool: &mut BufferPool) -> &mut [Buffer] {
        while self.0.len() < wanted {
            let Some(buffer) = pool.take() else { break };
            self.0.push(buffer);
        }
        let room = wanted.min(self.0.len());
        &mut self.0[..room]
    }

    /// Takes out the first `count`, which have something in them now.
    pub(crate) fn filled(&mut self, count: usize) -> Drain<'_, Buffer> {
        self.0.drain(..count)
    }

    /// Gives back what is more than a socket keeps.
    pub(crate) fn settle(&mut self, pool: &mut BufferPool) {
        self.give_beyond(KEPT, pool);
    }

    /// Gives back everything.
    pub(crate) fn release(&mut self, pool: &mut BufferPool) {
        self.give_beyond(0, pool);
    }

    fn give_beyond(&mut self, kept: usize, pool: &mut BufferPool) {
        for buffer in self.0.drain(kept.min(self.0.len())..) {
            pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_keeps_a_few_however_many_it_had() {
        let mut pool = BufferPool::new(40);
        let mut spare = Spare::new(32);
        assert_eq!(spare.ready(32, &mut pool).len(), 32);
        assert_eq!(spare.filled(2).count(), 2);
        spare.settle(&mut pool);
        assert_eq!(pool.available(), 8 + 30 - KEPT);
        assert_eq!(spare.ready(4, &mut pool).len(), 4);
        spare.release(&mut pool);
        assert_eq!(pool.available(), 8 + 30, "two were handed on");
        assert_eq!(
            spare.ready(50, &mut pool).len(),
            38,
            "no more than there are"
        );
    }
}
