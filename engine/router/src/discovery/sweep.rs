//! Asking for every address of the pools, one after the other: who says nothing by himself is found too.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// A walk through the pools, over and over.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Time between two addresses; `None` is never.
    interval: Option<Duration>,
    /// Shortest time between the starts of two rounds.
    round: Duration,
    started: Instant,
    last: Option<Ipv4Addr>,
    next: Instant,
    /// Before that, there is no permission to ask for what is wanted.
    wait_until: Option<Instant>,
}

impl Sweep {
    /// Begins to ask for `per_second` addresses per second, each at most once per `round`.
    pub(crate) fn new(per_second: u16, round: Duration, now: Instant) -> Self {
        let interval = (per_second > 0).then(|| Duration::from_secs(1) / u32::from(per_second));
        Self {
            interval,
            round,
            started: now,
            last: None,
            next: now + interval.unwrap_or_default(),
            wait_until: None,
        }
    }

    /// When there is something to ask; `wanted`: an address is to be asked for at once.
    pub(crate) fn due(&self, wanted: bool) -> Option<Instant> {
        if wanted {
            return Some(self.wait_until.unwrap_or(self.started));
        }
        self.interval.map(|_| self.next)
    }

    /// Puts off what is wanted.
    pub(crate) fn wait(&mut self, by: Duration, now: Instant) {
        self.wait_until = Some(now + by);
    }

    /// Takes the next address if it is due; `next` names the one after the last.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        next: impl Fn(Option<Ipv4Addr>) -> Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let interval = self.interval.filter(|_| self.next <= now)?;
        self.last = next(self.last);
        if self.last.is_some() {
            self.next = now + interval;
        } else {
            let again = (self.started + self.round).max(now + interval);
            (self.started, self.next) = (again, again);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn a_round_is_paced_and_the_next_one_waits() {
        let start = Instant::now();
        let mut sweep = Sweep::new(10, Duration::from_secs(60), start);
        let three = |last: Option<Ipv4Addr>| {
            let next = last.map_or(1, |last| u32::from(last) + 1);
            (next <= 3).then(|| Ipv4Addr::from(next))
        };

        let asked = (0..1_200).filter_map(|tick| {
            let now = start + Duration::from_millis(100 * tick);
            Some((tick, u32::from(sweep.next(now, three)?)))
        });

        let expected = [(1, 1), (2, 2), (3, 3), (600, 1), (601, 2), (602, 3)];
        assert_eq!(asked.collect::<Vec<_>>(), expected);
    }
}
