//! Notices when an address is taken from us again and again, and has it left alone for longer and longer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Losses are counted for so long.
const WINDOW: Duration = Duration::from_secs(60);
/// So many losses are an accident; one more is a fight.
const ACCIDENTS: usize = 2;
/// First time that a disputed address is left alone; each further one doubles it.
const HOLD_MIN: Duration = Duration::from_secs(30);
/// Longest time.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// Addresses that were lost lately.
#[derive(Debug, Default)]
pub(crate) struct Fights {
    losses: BTreeMap<Ipv4Addr, Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    recent: Vec<Instant>,
    hold: Option<Duration>,
}

impl Fights {
    /// Takes in that an address was lost; returns for how long to leave it alone, if it is a fight.
    pub(crate) fn lose(&mut self, address: Ipv4Addr, now: Instant) -> Option<Duration> {
        let losses = self.losses.entry(address).or_default();
        losses.recent.retain(|at| now < *at + WINDOW);
        losses.recent.push(now);
        if losses.recent.len() <= ACCIDENTS {
            return None;
        }
        losses.recent.clear();
        let hold = losses
            .hold
            .map_or(HOLD_MIN, |hold| (hold * 2).min(HOLD_MAX));
        losses.hold = Some(hold);
        Some(hold)
    }

    /// Forgets the addresses that nobody wants any more.
    pub(crate) fn retain(&mut self, wanted: impl Fn(Ipv4Addr) -> bool) {
        self.losses.retain(|address, _| wanted(*address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_losses_are_accidents_and_each_fight_is_held_down_for_longer() {
        let mut fights = Fights::default();
        let mut now = start();
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(fights.lose(ADDRESS, now), None);
            assert_eq!(fights.lose(ADDRESS, now), None);
            let hold = fights.lose(ADDRESS, now);
            assert_eq!(hold, Some(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
        }
        fights.retain(|_| false);
        assert_eq!(fights.lose(ADDRESS, now), None);
    }

    #[test]
    fn rare_losses_are_no_fight() {
        let mut fights = Fights::default();
        let mut now = start();
        for _ in 0..20 {
            assert_eq!(fights.lose(ADDRESS, now), None);
            now += Duration::from_secs(31);
        }
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 10);

    #[expect(clippy::disallowed_methods, reason = "time needs a start")]
    fn start() -> Instant {
        Instant::now()
    }
}
