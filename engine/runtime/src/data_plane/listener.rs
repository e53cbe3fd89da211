//! Whoever watches packets: a bounded queue of copies, and how many found no place.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use sam_dataplane::PacketFilter;
use sam_dataplane::trace::{Tap, TapRecord};
use tokio::sync::mpsc;

/// Packets kept between two turns of a loop, and bytes kept of each.
const TAP_RECORDS: usize = 4096;
const TAP_BYTES: usize = 2048;
/// Fewer where each packet is explained by control, which takes its time.
const EXPLAINED_RECORDS: usize = 512;
/// Bytes kept of each packet where only headers matter: those of IP with all options, TCP, and Ethernet.
const HEADER_BYTES: usize = 14 + 60 + 60;

/// The end of a thread of the packet path.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    records: mpsc::Sender<TapRecord>,
    missed: Arc<AtomicU64>,
    filter: Option<PacketFilter>,
}

/// The end of the reader; dropping it ends the copying.
#[derive(Debug)]
pub(crate) struct Captured {
    records: mpsc::Receiver<TapRecord>,
    missed: Arc<AtomicU64>,
}

/// Makes both ends; at most `queue` copies wait for the reader. With a filter, only headers of what matches are copied.
pub(super) fn listen(queue: usize, filter: Option<PacketFilter>) -> (Listener, Captured) {
    let (sender, records) = mpsc::channel(queue);
    let missed = Arc::new(AtomicU64::new(0));
    let listener = Listener {
        records: sender,
        missed: Arc::clone(&missed),
        filter,
    };
    (listener, Captured { records, missed })
}

impl Listener {
    /// Makes the tap of a thread.
    pub(super) fn tap(&self) -> Tap {
        match &self.filter {
            Some(filter) => Tap::new(EXPLAINED_RECORDS, HEADER_BYTES).with_filter(filter.clone()),
            None => Tap::new(TAP_RECORDS, TAP_BYTES),
        }
    }

    /// Tells whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.records.is_closed()
    }

    /// A handle that does not keep the queue open.
    pub(super) fn downgrade(&self) -> mpsc::WeakSender<TapRecord> {
        self.records.downgrade()
    }

    /// Hands over what a tap holds, as far as there is room; the rest stays there.
    pub(super) fn take_from(&self, tap: &mut Tap) {
        while let Ok(place) = self.records.try_reserve() {
            match tap.pop() {
                Some(record) => place.send(record),
                None => break,
            }
        }
        self.missed.fetch_add(tap.take_missed(), Relaxed);
    }
}

impl Captured {
    /// Waits for a copy; `None` when the packet path has ended.
    pub(crate) async fn next(&mut self) -> Option<TapRecord> {
        self.records.recv().await
    }

    /// Returns how many copies wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.records.len() as u64
    }

    /// Returns how many packets were missed since the last question, because the reader did not keep up.
    pub(crate) fn take_missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sam_dataplane::trace::{Seen, TapPoint};

    use super::*;

    #[test]
    fn a_slow_reader_gets_the_oldest_and_is_told_how_many_it_missed() {
        let (listener, mut captured) = listen(2, None);
        let mut tap = listener.tap();
        let packets = TAP_RECORDS + 10;
        for _ in 0..packets {
            tap.record(Seen::inbound(TapPoint::Tun, &[1], Instant::now()));
        }

        listener.take_from(&mut tap);
        let first = std::iter::from_fn(|| captured.records.try_recv().ok()).count();
        listener.take_from(&mut tap);
        let second = std::iter::from_fn(|| captured.records.try_recv().ok()).count();

        assert_eq!((first, second), (2, 2));
        assert_eq!((captured.take_missed(), captured.take_missed()), (10, 0));
        let left = std::iter::from_fn(|| tap.pop()).count();
        assert_eq!(left, TAP_RECORDS - 4, "what finds no room stays");
    }

    #[test]
    fn a_listener_without_a_reader_is_gone() {
        let (listener, captured) = listen(2, None);
        assert!(!listener.is_gone());
        drop(captured);
        assert!(listener.is_gone());
    }
}
