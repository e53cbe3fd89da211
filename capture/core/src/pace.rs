//! How often the provider is asked: a budget of changes per minute, pauses after failures, looks at regular intervals.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time to which the budget refers.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// First pause after a failure; each further one doubles it.
const BACKOFF: Duration = Duration::from_millis(250);
/// Longest pause after failures.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest pause between looks while the provider says that it is asked too often.
const POLL_MAX: Duration = Duration::from_secs(300);
/// Share of the budget that work which can wait leaves to the rest: one third.
const RESERVE: usize = 3;
/// Times that the rate can be halved.
const HALVINGS_MAX: u32 = 5;

/// Keeps time for one provider.
#[derive(Debug)]
pub(crate) struct Pace {
    random: SplitMix,
    budget: usize,
    /// When the changes of the last minute were sent, at most as many as the budget.
    sent: VecDeque<Instant>,
    halvings: u32,
    throttled_at: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Pace {
    /// Makes one that allows `budget` changes per minute, at least one.
    #[must_use]
    pub(crate) fn new(budget: usize, seed: u64) -> Self {
        Self {
            random: SplitMix(seed),
            budget: budget.max(1),
            sent: VecDeque::new(),
            halvings: 0,
            throttled_at: None,
            paused_until: None,
        }
    }

    /// Changes the budget.
    pub(crate) fn set_budget(&mut self, budget: usize) {
        self.budget = budget.max(1);
    }

    /// Tells whether a change may be sent; one that can wait leaves a reserve.
    pub(crate) fn allows(&mut self, can_wait: bool, now: Instant) -> bool {
        while self.sent.front().is_some_and(|at| now >= *at + MINUTE) {
            self.sent.pop_front();
        }
        self.sent.len() < self.allowance(can_wait)
    }

    /// Notes that a change was sent.
    pub(crate) fn spend(&mut self, now: Instant) {
        self.sent.push_back(now);
    }

    /// Notes that the last change was answered: it may have been sent as late as that.
    pub(crate) fn settle(&mut self, now: Instant) {
        if let Some(last) = self.sent.back_mut() {
            *last = now;
        }
    }

    /// Returns when the budget allows a change again; `None`: now.
    #[must_use]
    pub(crate) fn next_allowed(&self, can_wait: bool) -> Option<Instant> {
        let allowance = self.allowance(can_wait);
        let excess = (self.sent.len() + 1).checked_sub(allowance)?;
        let last = self.sent.get(excess.checked_sub(1)?)?;
        Some(*last + MINUTE)
    }

    fn allowance(&self, can_wait: bool) -> usize {
        let budget = (self.budget >> self.halvings).max(1);
        if can_wait {
            (budget - budget / RESERVE).max(1)
        } else {
            budget
        }
    }

    /// Tells whether nothing is sent for now.
    #[must_use]
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Until when nothing is sent.
    #[must_use]
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Sends nothing for some time.
    pub(crate) fn pause(&mut self, pause: Duration, now: Instant) {
        let until = now + pause;
        self.paused_until = Some(self.paused_until.map_or(until, |former| former.max(until)));
    }

    /// Halves the rate, for the provider was asked too often.
    pub(crate) fn throttle(&mut self, now: Instant) {
        self.halvings = (self.halvings + 1).min(HALVINGS_MAX);
        self.throttled_at = Some(now);
    }

    /// Doubles the rate for each minute without complaint.
    pub(crate) fn recover(&mut self, now: Instant) {
        while let Some(at) = self.throttled_at.filter(|at| now >= *at + MINUTE) {
            self.halvings = self.halvings.saturating_sub(1);
            self.throttled_at = (self.halvings > 0).then_some(at + MINUTE);
        }
    }

    /// Returns how often the rate is halved.
    #[must_use]
    pub(crate) fn halvings(&self) -> u32 {
        self.halvings
    }

    /// Returns a pause after `failures` failures in a row, with full jitter: those who fail together do not come back
    /// together.
    pub(crate) fn backoff(&mut self, failures: u32, longest: Duration) -> Duration {
        let factor = 1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        self.up_to(BACKOFF.saturating_mul(factor).min(longest))
    }

    /// Returns the time to the next regular look: the interval give or take a fifth, longer while throttled.
    pub(crate) fn poll_interval(&mut self, interval: Duration) -> Duration {
        let longest = POLL_MAX.max(interval);
        let interval = interval.saturating_mul(1 << self.halvings).min(longest);
        let fifth = interval / 5;
        interval - fifth + self.up_to(fifth * 2)
    }

    /// Returns a random time up to `longest`.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.next() % millis.saturating_add(1).max(1))
    }
}

/// A small generator for jitter (SplitMix64, public domain, Vigna 2015). Nothing secret comes from it.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_changes_than_the_budget_in_any_minute() {
        let (mut pace, now) = (Pace::new(6, 1), start());
        for _ in 0..4 {
            assert!(pace.allows(true, now));
            pace.spend(now);
        }
        assert!(!pace.allows(true, now), "a reserve stays");
        for _ in 0..2 {
            assert!(pace.allows(false, now));
            pace.spend(now);
        }
        assert!(!pace.allows(false, now));
        assert_eq!(pace.next_allowed(false), Some(now + MINUTE));

        assert!(pace.allows(true, now + MINUTE));
    }

    #[test]
    fn a_change_counts_from_its_answer_because_it_may_have_been_sent_late() {
        let (mut pace, now) = (Pace::new(1, 1), start());
        pace.spend(now);
        pace.settle(now + MINUTE / 2);

        assert!(!pace.allows(false, now + MINUTE));
        assert!(pace.allows(false, now + MINUTE / 2 + MINUTE));
    }

    #[test]
    fn complaints_halve_the_rate_and_silence_doubles_it() {
        let (mut pace, now) = (Pace::new(8, 1), start());
        pace.throttle(now);
        pace.throttle(now);
        for _ in 0..2 {
            assert!(pace.allows(false, now));
            pace.spend(now);
        }
        assert!(!pace.allows(false, now));
        assert!(pace.poll_interval(MINUTE) >= Duration::from_secs(192));

        pace.recover(now + MINUTE * 2);

        assert_eq!(pace.halvings(), 0);
        assert!(pace.poll_interval(MINUTE) <= Duration::from_secs(72));
    }

    #[test]
    fn pauses_grow_up_to_their_limit() {
        let mut pace = Pace::new(1, 7);
        for failures in 0..100 {
            assert!(pace.backoff(failures, BACKOFF_MAX) <= BACKOFF_MAX);
        }
        assert!(pace.backoff(1, BACKOFF_MAX) <= BACKOFF);
        let longest = (0..100).map(|_| pace.backoff(50, BACKOFF_MAX)).max();
        assert!(longest > Some(Duration::from_secs(20)));
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (mut pace, now) = (Pace::new(1, 1), start());
        pace.pause(Duration::from_secs(10), now);
        pace.pause(Duration::from_secs(1), now);

        assert!(pace.is_paused(now + Duration::from_secs(9)));
        assert!(!pace.is_paused(now + Duration::from_secs(10)));
    }

    #[expect(clippy::disallowed_methods, reason = "time needs a start")]
    fn start() -> Instant {
        Instant::now()
    }
}
