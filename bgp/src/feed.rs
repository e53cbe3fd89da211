//! Change feed: what changed, each key once, in the order of its latest change (bgp.md section 5.9).
//!
//! A log that is compacted all the time: each key is in it at the place of its latest change, so the log is also the
//! snapshot, and a reader that begins at its start gets snapshot and stream in one order without a gap. A reader is a
//! [`Cursor`], a place in the log: the feed knows no readers, waits for none and keeps nothing for them. A slow reader
//! finds the latest state of each key, however often it changed meanwhile. State is not in the log; readers look it up
//! when they get to it.
//!
//! Bounded by the keys that exist plus [`MAX_GONE`] that are gone, and as many places again that are no longer the latest
//! of their key: when more are gone, the oldest are forgotten, and readers that have not heard of them are told to begin
//! again.

use std::collections::{BTreeMap, BTreeSet};

/// Keys that are gone and remembered as such.
pub const MAX_GONE: usize = 16_384;
/// Superseded places that are not worth a sweep.
const SUPERSEDED_MIN: usize = 1024;

/// The log. `C` says what made a key change, where readers are told.
#[derive(Debug)]
pub struct Feed<K, C = ()> {
    /// Number of the latest change.
    generation: u64,
    /// All places by generation.
    log: Vec<Place<K, C>>,
    superseded: usize,
    /// Keys that are gone: by key, and in the order in which they went.
    gone: BTreeMap<K, Stamp>,
    gone_order: BTreeSet<u64>,
    /// The newest of these that was forgotten; 0 when none was.
    forgotten: u64,
    max_gone: usize,
}

/// Where the latest change of a key stands in a feed. Whoever owns the key keeps it, and gives it back with the next
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(std::num::NonZeroU64);

/// One change in the log.
#[derive(Debug)]
struct Place<K, C> {
    generation: u64,
    key: K,
    cause: C,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The latest change of a key that exists.
    Exists,
    /// The latest change of a key, after which it was gone.
    Gone,
    /// The key changed again, or is forgotten.
    Superseded,
}

/// A reader's place in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The change that was read last.
    seen: u64,
    /// The latest change when the reader began.
    began: u64,
    /// Whether the reader was told that it knows everything that was there when it began.
    complete: bool,
}

/// What a reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<K, C = ()> {
    /// Something about a key changed; what, is to be looked up.
    Changed {
        /// Number of the change; they grow.
        generation: u64,
        /// The key.
        key: K,
        /// What made it change, the last time.
        cause: C,
    },
    /// Everything that was there when the reader began has been told; changes follow.
    Complete {
        /// The latest change at that time.
        generation: u64,
    },
    /// The reader was too slow to hear of everything that is gone: it must forget what it knows; a snapshot follows.
    Resync,
}

impl<K: Copy + Ord, C: Copy + Default> Default for Feed<K, C> {
    fn default() -> Self {
        Self::with_max_gone(MAX_GONE)
    }
}

impl<K: Copy + Ord, C: Copy + Default> Feed<K, C> {
    fn with_max_gone(max_gone: usize) -> Self {
        Self {
            generation: 0,
            log: Vec::new(),
            superseded: 0,
            gone: BTreeMap::new(),
            gone_order: BTreeSet::new(),
            forgotten: 0,
            max_gone,
        }
    }

    /// Notes that something about a key changed, and whether the key still exists. `latest` is what the last note
    /// returned for it, if it existed then; to be kept is what this one returns.
    pub fn note(&mut self, key: K, latest: Option<Stamp>, exists: bool) -> Option<Stamp> {
        self.note_because(key, latest, exists, C::default())
    }

    /// As [`Self::note`], and why it changed.
    pub fn note_because(
        &mut self,
        key: K,
        latest: Option<Stamp>,
        exists: bool,
        cause: C,
    ) -> Option<Stamp> {
        let known = latest.or_else(|| self.return_of(key));
        match known {
            Some(Stamp(former)) => {
                self.supersede(former.get());
            }
            // It came and went unseen.
            None if !exists => return None,
            None => {}
        }
        self.generation += 1;
        let stamp = std::num::NonZeroU64::new(self.generation).map(Stamp);
        let state = if exists { State::Exists } else { State::Gone };
        self.log.push(Place {
            generation: self.generation,
            key,
            cause,
            state,
        });
        if let Some(stamp) = stamp.filter(|_| !exists) {
            self.gone.insert(key, stamp);
            self.gone_order.insert(self.generation);
            self.forget_oldest();
        }
        self.sweep();
        stamp.filter(|_| exists)
    }

    /// Returns the number of the latest change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Begins to read: everything that is there, then what changes.
    #[must_use]
    pub fn subscribe(&self) -> Cursor {
        Cursor {
            seen: 0,
            began: self.generation,
            complete: false,
        }
    }

    /// Reads on; `None` when there is nothing new.
    pub fn next(&self, cursor: &mut Cursor) -> Option<News<K, C>> {
        // What was gone when the reader began, it was never told of.
        if self.forgotten > cursor.seen.max(cursor.began) {
            *cursor = self.subscribe();
            return Some(News::Resync);
        }
        let first = self
            .log
            .partition_point(|place| place.generation <= cursor.seen);
        let next = self.log[first..].iter().find(|place| match place.state {
            State::Exists => true,
            State::Gone => place.generation > cursor.began,
            State::Superseded => false,
        });
        match next {
            Some(place) if cursor.complete || place.generation <= cursor.began => {
                cursor.seen = place.generation;
                Some(News::Changed {
                    generation: place.generation,
                    key: place.key,
                    cause: place.cause,
                })
            }
            _ if !cursor.complete => {
                cursor.complete = true;
                cursor.seen = cursor.began;
                let generation = cursor.began;
                Some(News::Complete { generation })
            }
            _ => {
                // Nothing is left to find among what is there now.
                cursor.seen = self.generation;
                None
            }
        }
    }

    /// Finds a key that was gone; it is not any more.
    fn return_of(&mut self, key: K) -> Option<Stamp> {
        let stamp = self.gone.remove(&key)?;
        self.gone_order.remove(&stamp.0.get());
        Some(stamp)
    }

    fn forget_oldest(&mut self) {
        while self.gone.len() > self.max_gone
            && let Some(oldest) = self.gone_order.pop_first()
        {
            self.forgotten = oldest;
            if let Some(key) = self.supersede(oldest) {
                self.gone.remove(&key);
            }
        }
    }

    /// Marks a place as no longer the latest of its key, which it returns.
    fn supersede(&mut self, generation: u64) -> Option<K> {
        let at = self.place(generation)?;
        let place = &mut self.log[at];
        place.state = State::Superseded;
        self.superseded += 1;
        Some(place.key)
    }

    fn place(&self, generation: u64) -> Option<usize> {
        // Each generation since the last sweep has its place, so it can be counted from the end.
        let since = usize::try_from(self.generation - generation).ok()?;
        let counted = self.log.len().checked_sub(since + 1);
        let is_it = |at: &usize| self.log[*at].generation == generation;
        let key = |place: &Place<K, C>| place.generation;
        counted
            .filter(is_it)
            .or_else(|| self.log.binary_search_by_key(&generation, key).ok())
    }

    /// Drops superseded places when they are more than the others.
    fn sweep(&mut self) {
        if self.superseded > SUPERSEDED_MIN.max(self.log.len() / 2) {
            self.log.retain(|place| place.state != State::Superseded);
            self.log.shrink_to(self.log.len() * 2);
            self.superseded = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reader_gets_the_snapshot_then_what_changes() {
        let mut feed = Noted::with_max_gone(MAX_GONE);
        for key in [3, 1, 2, 1] {
            feed.note(key, true);
        }
        feed.note(2, false);
        let mut cursor = feed.subscribe();

        assert_eq!(drain(&feed, &mut cursor), ["3@1", "1@4", "complete@5"]);
        assert_eq!(feed.next(&mut cursor), None);
        feed.note(3, true);
        feed.note(1, false);
        feed.note(3, true);
        assert_eq!(drain(&feed, &mut cursor), ["1@7", "3@8"]);
    }

    #[test]
    fn what_changes_while_the_snapshot_is_read_comes_after_it() {
        let mut feed = Noted::with_max_gone(MAX_GONE);
        feed.note(1, true);
        feed.note(2, true);
        let mut cursor = feed.subscribe();
        feed.note(1, true);
        feed.note(2, false);

        assert_eq!(drain(&feed, &mut cursor), ["complete@2", "1@3", "2@4"]);
    }

    #[test]
    fn a_key_that_nobody_could_know_is_no_news_when_it_is_gone() {
        let mut feed = Noted::with_max_gone(MAX_GONE);
        feed.note(1, false);
        assert_eq!(feed.generation(), 0);
        assert_eq!(drain(&feed, &mut feed.subscribe()), ["complete@0"]);
    }

    #[test]
    fn a_reader_that_missed_what_is_gone_begins_again() {
        let mut feed = Noted::with_max_gone(1);
        feed.note(1, true);
        feed.note(2, true);
        let (mut slow, mut late) = (feed.subscribe(), feed.subscribe());
        drain(&feed, &mut slow);
        feed.note(1, false);
        assert_eq!(drain(&feed, &mut slow), ["1@3"], "still remembered");
        feed.note(1, true);
        feed.note(1, false);
        feed.note(2, false);

        assert_eq!(drain(&feed, &mut slow), ["resync", "complete@6"]);
        assert_eq!(drain(&feed, &mut late), ["resync", "complete@6"]);
    }

    /// Of several changes that a reader finds as one it is told the last.
    #[test]
    fn the_cause_is_that_of_the_latest_change_also_of_what_is_gone() {
        let mut feed: Feed<u8, char> = Feed::default();
        let mut early = feed.subscribe();
        let stamp = feed.note_because(1, None, true, 'a');
        let stamp = feed.note_because(1, stamp, true, 'b');
        let causes = |feed: &Feed<u8, char>, cursor: &mut Cursor| -> String {
            let news = std::iter::from_fn(|| feed.next(cursor));
            news.filter_map(|news| match news {
                News::Changed { cause, .. } => Some(cause),
                News::Complete { .. } | News::Resync => None,
            })
            .collect()
        };
        assert_eq!(causes(&feed, &mut feed.subscribe()), "b");
        assert_eq!(causes(&feed, &mut early), "b");
        feed.note_because(1, stamp, false, 'c');
        assert_eq!(causes(&feed, &mut early), "c");
    }

    proptest! {
        /// A reader that begins at any moment and reads as slowly as it likes knows, whenever it has read everything,
        /// exactly what is there; and what the feed keeps depends on keys alone.
        #[test]
        fn every_reader_sees_the_final_state_of_each_key(
            steps in proptest::collection::vec((0u8..4, 0u8..12, any::<u8>()), 1..300),
            max_gone in 0usize..6,
        ) {
            let mut feed = Noted::with_max_gone(max_gone);
            let mut truth: BTreeMap<u8, u8> = BTreeMap::new();
            let mut readers: Vec<Reader> = Vec::new();
            for (step, key, value) in steps {
                match step {
                    0 => readers.push(Reader::new(&feed)),
                    1 => {
                        let at = usize::from(key).checked_rem(readers.len());
                        if let Some(at) = at {
                            readers[at].read(&feed, &truth, usize::from(value % 4));
                        }
                    }
                    2 => {
                        truth.remove(&key);
                        feed.note(key, false);
                    }
                    _ => {
                        truth.insert(key, value);
                        feed.note(key, true);
                    }
                }
                prop_assert!(feed.living() <= truth.len() + max_gone);
                prop_assert!(feed.log.len() <= 2 * feed.living() + SUPERSEDED_MIN + 1);
            }
            readers.push(Reader::new(&feed));
            for mut reader in readers {
                // Once for each key, and twice for the words around a snapshot.
                let most = feed.living() + 2;
                prop_assert!(reader.read(&feed, &truth, usize::MAX) <= most, "each key once");
                prop_assert_eq!(&reader.known, &truth);
            }
        }
    }

    /// Superseded places are dropped, and a reader in the middle of them goes on.
    #[test]
    fn a_key_that_changes_again_and_again_takes_no_more_room() {
        let mut feed = Noted::with_max_gone(1);
        feed.note(1, true);
        let mut cursor = feed.subscribe();
        drain(&feed, &mut cursor);
        for _ in 0..10 * SUPERSEDED_MIN {
            feed.note(2, true);
        }
        assert!(feed.log.len() <= SUPERSEDED_MIN + 3, "{}", feed.log.len());
        assert_eq!(drain(&feed, &mut cursor).len(), 1);
    }

    /// A feed with the stamps of its keys.
    struct Noted {
        feed: Feed<u8>,
        stamps: BTreeMap<u8, Stamp>,
    }

    impl Noted {
        fn with_max_gone(max_gone: usize) -> Self {
            Self {
                feed: Feed::with_max_gone(max_gone),
                stamps: BTreeMap::new(),
            }
        }

        fn note(&mut self, key: u8, exists: bool) {
            let stamp = self.feed.note(key, self.stamps.remove(&key), exists);
            self.stamps.extend(stamp.map(|stamp| (key, stamp)));
        }

        fn living(&self) -> usize {
            self.feed.log.len() - self.feed.superseded
        }
    }

    impl std::ops::Deref for Noted {
        type Target = Feed<u8>;

        fn deref(&self) -> &Self::Target {
            &self.feed
        }
    }

    /// A reader that looks up what it is told of.
    struct Reader {
        cursor: Cursor,
        known: BTreeMap<u8, u8>,
    }

    impl Reader {
        fn new(feed: &Feed<u8>) -> Self {
            Self {
                cursor: feed.subscribe(),
                known: BTreeMap::new(),
            }
        }

        fn read(&mut self, feed: &Feed<u8>, truth: &BTreeMap<u8, u8>, most: usize) -> usize {
            let mut count = 0;
            while count < most
                && let Some(news) = feed.next(&mut self.cursor)
            {
                count += 1;
                match news {
                    News::Resync => self.known.clear(),
                    News::Complete { .. } => {}
                    News::Changed { key, .. } => match truth.get(&key) {
                        Some(value) => drop(self.known.insert(key, *value)),
                        None => drop(self.known.remove(&key)),
                    },
                }
            }
            count
        }
    }

    fn drain(feed: &Feed<u8>, cursor: &mut Cursor) -> Vec<String> {
        let news = std::iter::from_fn(|| feed.next(cursor));
        news.map(|news| match news {
            News::Changed {
                generation, key, ..
            } => format!("{key}@{generation}"),
            News::Complete { generation } => format!("complete@{generation}"),
            News::Resync => "resync".into(),
        })
        .collect()
    }
}
