//! Which counters of a session were received: a sliding window over a ring of words (RFC 6479).

/// Where a counter stands among those received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Above all others: nothing that the peer sent later has arrived.
    Highest,
    /// Below the highest one.
    Late,
}

/// The last [`WINDOW`] counters up to the highest one received.
pub(crate) struct Window {
    highest: u64,
    /// One word more than the window needs, because the word of the highest counter is filled only in part.
    words: [u64; WORDS],
}

impl Window {
    /// Makes a window that has seen nothing.
    pub(crate) fn new() -> Self {
        let (highest, words) = (0, [0; WORDS]);
        Self { highest, words }
    }

    /// Marks `counter`; `None` if it was marked before or is too old to tell.
    pub(crate) fn mark(&mut self, counter: u64) -> Option<Place> {
        if counter > self.highest {
            self.advance(counter);
        } else if self.highest - counter >= WINDOW {
            return None;
        }
        let (word, bit) = (&mut self.words[slot(counter / BITS)], 1 << (counter % BITS));
        let is_new = *word & bit == 0;
        *word |= bit;
        let place = if counter == self.highest {
            Place::Highest
        } else {
            Place::Late
        };
        is_new.then_some(place)
    }

    /// Moves the window to `counter` and clears the words that come into it.
    fn advance(&mut self, counter: u64) {
        let (old, new) = (self.highest / BITS, counter / BITS);
        let entered = (new - old).min(WORDS as u64);
        for step in 0..entered {
            self.words[slot(new - step)] = 0;
        }
        self.highest = counter;
    }
}

/// Where the ring keeps a word.
fn slot(word: u64) -> usize {
    usize::try_from(word % WORDS as u64).expect("less than the length of the ring")
}

/// Counters that may come late: 8192.
pub(crate) const WINDOW: u64 = (WORDS as u64 - 1) * BITS;
const BITS: u64 = u64::BITS as u64;
const WORDS: usize = 129;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_counter_is_new_once() {
        let mut window = Window::new();
        for counter in 0..3 * WINDOW {
            assert!(window.mark(counter).is_some(), "{counter}");
            assert!(window.mark(counter).is_none(), "{counter}");
        }
    }

    #[test]
    fn a_late_counter_is_taken_until_it_is_as_old_as_the_window() {
        // At every place of the highest counter in its word, and around the ring.
        for highest in (WINDOW..WINDOW + 130 * BITS).step_by(17) {
            let mut window = Window::new();
            assert!(window.mark(highest).is_some());
            assert!(window.mark(highest - WINDOW).is_none(), "{highest}");
            for counter in highest - WINDOW + 1..highest {
                assert!(window.mark(counter).is_some(), "{counter} below {highest}");
            }
        }
    }

    #[test]
    fn a_jump_far_ahead_forgets_what_was_before() {
        for jump in [
            WINDOW,
            WINDOW + BITS,
            1 << 20,
            1 << 60,
            u64::MAX - 2 * WINDOW,
        ] {
            let mut window = Window::new();
            (0..2 * WINDOW).for_each(|counter| assert!(window.mark(counter).is_some()));
            let ahead = 2 * WINDOW - 1 + jump;
            assert!(window.mark(ahead).is_some(), "{jump}");
            assert!(window.mark(ahead).is_none());
            assert!(
                window.mark(2 * WINDOW - 1).is_none(),
                "too old after {jump}"
            );
            for counter in ahead - WINDOW + 1..ahead {
                assert!(window.mark(counter).is_some(), "{counter} after {jump}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn the_window_agrees_with_a_set(steps in proptest::collection::vec(-9000_i64..200, 1..3000)) {
            let (mut window, mut seen, mut highest) = (Window::new(), BTreeSet::new(), 0_u64);
            for step in steps {
                let counter = highest.saturating_add_signed(step);
                let is_first = seen.is_empty();
                let is_new = counter + WINDOW > highest && seen.insert(counter);
                let is_highest = is_first || counter > highest;
                let place = if is_highest { Place::Highest } else { Place::Late };
                let expected = is_new.then_some(place);
                prop_assert_eq!(window.mark(counter), expected);
                highest = highest.max(counter);
            }
        }
    }
}
