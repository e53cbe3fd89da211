//! The search for the longest packet that passes with Don't Fragment set: first the one that should, then the next
//! longer one that should not, and only if the first is lost, by halves.
//!
//! A packet counts as lost when several tries in a row have no answer: one loss is no proof.

/// A search under way. Ask [`Self::poll_size`], try, tell [`Self::handle_outcome`], until there is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    computed: u16,
    /// Longest that is known to pass.
    passes: u16,
    /// Shortest that is known to be lost.
    lost: Option<u16>,
    /// Tries of the present size that had no answer.
    silent: u8,
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepResult {
    /// The longest packet that passes, in bytes with its IP header.
    Largest(u16),
    /// Longer packets pass than the tunnel is said to take: at least this long.
    Beyond(u16),
}

/// Tries of one size.
const TRIES: u8 = 3;

impl Sweep {
    /// Starts a search; packets of `known` bytes pass, `computed` is what should be the longest.
    #[must_use]
    pub fn new(known: u16, computed: u16) -> Self {
        Self {
            computed: computed.max(known),
            passes: known,
            lost: None,
            silent: 0,
        }
    }

    /// Returns the length to try next, IP header included; `None` when the search has ended.
    #[must_use]
    pub fn poll_size(&self) -> Option<u16> {
        match self.lost {
            None if self.passes < self.computed => Some(self.computed),
            None if self.passes == self.computed => self.computed.checked_add(1),
            None => None,
            Some(lost) if lost - self.passes <= 1 => None,
            Some(lost) => Some(self.passes + (lost - self.passes) / 2),
        }
    }

    /// Takes whether a packet of the length to try was answered.
    pub fn handle_outcome(&mut self, answered: bool) {
        let Some(size) = self.poll_size() else {
            return;
        };
        if answered {
            self.passes = size;
            self.silent = 0;
            return;
        }
        self.silent += 1;
        if self.silent == TRIES {
            self.lost = Some(size);
            self.silent = 0;
        }
    }

    /// Returns what was found so far; the result once there is no further size.
    #[must_use]
    pub fn result(&self) -> SweepResult {
        if self.passes > self.computed {
            SweepResult::Beyond(self.passes)
        } else {
            SweepResult::Largest(self.passes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path on which packets up to `largest` pass, of which every `nth` is lost; returns the tries, too.
    fn search(computed: u16, largest: u16, nth: usize) -> (SweepResult, usize) {
        let mut sweep = Sweep::new(84, computed);
        let mut tries = 0;
        while let Some(size) = sweep.poll_size() {
            tries += 1;
            assert!(tries < 100, "a search ends");
            sweep.handle_outcome(size <= largest && tries % nth != 0);
        }
        (sweep.result(), tries)
    }

    #[test]
    fn a_path_as_computed_needs_one_size_and_the_next() {
        let expected = (SweepResult::Largest(1440), 1 + usize::from(TRIES));
        assert_eq!(search(1440, 1440, usize::MAX), expected);
    }

    #[test]
    fn the_longest_is_found_to_the_byte_wherever_it_is_and_although_packets_are_lost() {
        for largest in [84, 85, 576, 1279, 1280, 1371, 1438, 1439] {
            for nth in [3, 5, usize::MAX] {
                let (result, _) = search(1440, largest, nth);
                assert_eq!(result, SweepResult::Largest(largest), "loss of every {nth}");
            }
        }
        assert_eq!(search(65_535, 1, usize::MAX).0, SweepResult::Largest(84));
    }

    #[test]
    fn a_path_that_takes_more_than_computed_is_told() {
        let (result, tries) = search(1440, 1500, usize::MAX);
        assert_eq!((result, tries), (SweepResult::Beyond(1441), 2));
        assert_eq!(
            search(65_535, 65_535, usize::MAX).0,
            SweepResult::Largest(65_535)
        );
    }

    #[test]
    fn a_tunnel_narrower_than_the_known_size_is_searched_upwards_once() {
        assert_eq!(Sweep::new(84, 68).poll_size(), Some(85));
    }
}
