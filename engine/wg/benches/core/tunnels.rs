//! What both cores can do, for the cases: tunnels with sessions, and workers that seal and open trains.

/// A WireGuard core.
pub(crate) trait Core {
    /// One side of tunnels.
    type Side: Side;

    /// Makes tunnels with sessions between one near side and a far side each.
    fn tunnels(count: usize) -> Tunnels<Self::Side>;
}

/// Tunnels between one near side and as many far sides.
pub(crate) struct Tunnels<S> {
    /// Has all tunnels, by number.
    pub(crate) near: S,
    /// Each has one, whose number is 0.
    pub(crate) far: Vec<S>,
}

/// One side of tunnels, which any number of workers use at once.
pub(crate) trait Side {
    /// A thread's access.
    type Worker<'a>: Worker + Send
    where
        Self: 'a;

    /// Makes the access of one more thread.
    fn worker(&self) -> Self::Worker<'_>;
}

/// What a thread does.
pub(crate) trait Worker {
    /// Seals `inner` into each slot of `train`, for a tunnel.
    fn seal(&mut self, tunnel: usize, inner: &[u8], train: &mut Train);

    /// Opens all of `train`, which is spoilt then.
    fn open(&mut self, tunnel: usize, train: &mut Train);
}

/// Datagrams back to back.
#[derive(Debug, Clone)]
pub(crate) struct Train {
    /// All of them.
    pub(crate) bytes: Vec<u8>,
    /// Length of each.
    pub(crate) segment: usize,
}

impl Train {
    /// Makes room for [`TRAIN`] datagrams with `inner` bytes in each.
    pub(crate) fn new(inner: usize) -> Self {
        let segment = inner + sam_wg::OVERHEAD;
        Self {
            bytes: vec![0; segment * TRAIN],
            segment,
        }
    }

    /// The datagrams.
    pub(crate) fn slots(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.bytes.chunks_mut(self.segment)
    }
}

/// An IPv4 packet of so many bytes.
pub(crate) fn packet(len: u16) -> Vec<u8> {
    let mut bytes = vec![7; usize::from(len)];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// Datagrams in a train.
pub(crate) const TRAIN: usize = 32;
