//! Which counters of a session were received: a sliding window over a ring of words (RFC 6479), and those that overtook it.
//!
//! Control messages overtake data on purpose, in the queues of the sender's host and in the receiver's sockets, by as many
//! packets as may wait there, which is more than a window. If they moved the window, everything that they overtook would be
//! too old for it. So their counters are remembered apart until the window has come to them.

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Behind what was sent before, as far as the network keeps order.
    Kept,
    /// Past what was sent before and waits.
    Overtaking,
}

/// Where a counter stands among those received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Above all others: nothing that the peer sent later has arrived.
    Highest,
    /// Below the highest one.
    Late,
}

/// The last [`WINDOW`] counters up to the highest one received in order, and a few above it.
pub(crate) struct Window {
    highest: u64,
    /// One word more than the window needs, because the word of the highest counter is filled only in part.
    words: [u64; WORDS],
    /// Counters above `highest` that overtook, in order; the first `overtaken` count.
    ahead: [u64; AHEAD],
    overtaken: usize,
}

impl Window {
    /// Makes a window that has seen nothing.
    pub(crate) fn new() -> Self {
        Self {
            highest: 0,
            words: [0; WORDS],
            ahead: [0; AHEAD],
            overtaken: 0,
        }
    }

    /// Marks `counter`; `None` if it was marked before or is too old to tell.
    pub(crate) fn mark(&mut self, counter: u64, order: Order) -> Option<Place> {
        let is_new = match order {
            _ if counter <= self.highest => self.highest - counter < WINDOW && self.set(counter),
            Order::Kept => self.step(counter),
            Order::Overtaking => self.leap(counter),
        };
        let newest = self.ahead[..self.overtaken].last();
        let place = if counter >= *newest.unwrap_or(&self.highest) {
            Place::Highest
        } else {
            Place::Late
        };
        is_new.then_some(place)
    }

    /// Moves the window to `counter`; returns whether it is new.
    fn step(&mut self, counter: u64) -> bool {
        // Somebody who repeats what overtook must not move the window by it.
        if self.ahead[..self.overtaken].binary_search(&counter).is_ok() {
            return false;
        }
        self.advance(counter);
        while self.overtaken > 0 && self.ahead[0] <= counter {
            self.take_first();
        }
        self.set(counter)
    }

    /// Remembers `counter`, to which the window is not moved; returns whether it is new. When there is no room, the window
    /// moves to the first that is remembered.
    fn leap(&mut self, counter: u64) -> bool {
        let Err(place) = self.ahead[..self.overtaken].binary_search(&counter) else {
            return false;
        };
        if self.overtaken == AHEAD {
            if place == 0 {
                return self.step(counter);
            }
            self.advance(self.ahead[0]);
            self.take_first();
            return self.leap(counter);
        }
        self.ahead.copy_within(place..self.overtaken, place + 1);
        self.ahead[place] = counter;
        self.overtaken += 1;
        true
    }

    /// Marks the first that overtook in the window, which has come to it.
    fn take_first(&mut self) {
        let counter = self.ahead[0];
        self.ahead.copy_within(1..self.overtaken, 0);
        self.overtaken -= 1;
        if self.highest - counter < WINDOW {
            self.set(counter);
        }
    }

    /// Sets the bit of a counter within the window; returns whether it was not set.
    fn set(&mut self, counter: u64) -> bool {
        let (word, bit) = (&mut self.words[slot(counter / BITS)], 1 << (counter % BITS));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
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
/// Counters that are remembered above the window: control messages of the time that data wait in a full socket, seconds.
const AHEAD: usize = 128;
const BITS: u64 = u64::BITS as u64;
const WORDS: usize = 129;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Order::{Kept, Overtaking};
    use super::*;

    #[test]
    fn what_is_overtaken_by_more_than_a_window_is_still_taken() {
        let mut window = Window::new();
        let far = 20 * WINDOW;
        let is_control = |counter: u64| counter > 0 && counter.is_multiple_of(WINDOW);
        // One control message for each window of data that waits.
        for counter in (1..=20).map(|number| number * WINDOW) {
            assert_eq!(window.mark(counter, Overtaking), Some(Place::Highest));
            assert_eq!(window.mark(counter, Overtaking), None);
            assert_eq!(window.mark(counter, Kept), None, "and moves nothing");
        }
        for counter in 0..far {
            let expected = (!is_control(counter)).then_some(Place::Late);
            assert_eq!(window.mark(counter, Kept), expected, "{counter}");
        }
        assert_eq!(window.mark(far, Kept), None);
        assert_eq!(window.mark(far + 1, Kept), Some(Place::Highest));
    }

    #[test]
    fn who_only_sends_control_messages_moves_the_window_too() {
        let mut window = Window::new();
        for counter in 0..3 * WINDOW {
            assert_eq!(window.mark(counter, Overtaking), Some(Place::Highest));
            assert_eq!(window.mark(counter, Overtaking), None);
            assert_eq!(window.mark(counter / 2, Kept), None);
        }
        assert_eq!(window.overtaken, AHEAD);
    }

    #[test]
    fn each_counter_is_new_once() {
        let mut window = Window::new();
        for counter in 0..3 * WINDOW {
            assert!(window.mark(counter, Kept).is_some(), "{counter}");
            assert!(window.mark(counter, Kept).is_none(), "{counter}");
        }
    }

    #[test]
    fn a_late_counter_is_taken_until_it_is_as_old_as_the_window() {
        // At every place of the highest counter in its word, and around the ring.
        for highest in (WINDOW..WINDOW + 130 * BITS).step_by(17) {
            let mut window = Window::new();
            assert!(window.mark(highest, Kept).is_some());
            assert!(window.mark(highest - WINDOW, Kept).is_none(), "{highest}");
            for counter in highest - WINDOW + 1..highest {
                assert!(
                    window.mark(counter, Kept).is_some(),
                    "{counter} below {highest}"
                );
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
            (0..2 * WINDOW).for_each(|counter| assert!(window.mark(counter, Kept).is_some()));
            let ahead = 2 * WINDOW - 1 + jump;
            assert!(window.mark(ahead, Kept).is_some(), "{jump}");
            assert!(window.mark(ahead, Kept).is_none());
            assert!(
                window.mark(2 * WINDOW - 1, Kept).is_none(),
                "too old after {jump}"
            );
            for counter in ahead - WINDOW + 1..ahead {
                assert!(
                    window.mark(counter, Kept).is_some(),
                    "{counter} after {jump}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn nothing_is_taken_twice_however_it_comes(
            steps in proptest::collection::vec((-9000_i64..9000, any::<bool>()), 1..3000)
        ) {
            let (mut window, mut seen, mut last) = (Window::new(), BTreeSet::new(), 0_u64);
            for (step, overtakes) in steps {
                last = last.saturating_add_signed(step / 8);
                let counter = last.saturating_add_signed(step);
                let order = if overtakes { Overtaking } else { Kept };
                let highest = window.highest;
                let taken = window.mark(counter, order).is_some();
                let is_new = seen.insert(counter);
                prop_assert!(is_new || !taken, "{} twice", counter);
                // What is refused was seen, or is too old.
                prop_assert!(taken || !is_new || counter + WINDOW <= highest, "{}", counter);
            }
        }

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
                prop_assert_eq!(window.mark(counter, Kept), expected);
                highest = highest.max(counter);
            }
        }
    }
}
