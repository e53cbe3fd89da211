//! Limits how many ICMP errors are sent (RFC 1812 section 4.3.2.8): per destination and in total.
//!
//! All workers of a router share one limiter, without a lock: the limits are the router's, however many workers there
//! are. They are not divided among the workers, for a flow keeps to one of them: of ten errors per second to a host,
//! one worker of sixteen would send one in 1.6 seconds. When a limit is reached, a worker only reads.
//!
//! The table is bounded. An evicted destination starts again with a full burst; the total limit still holds then.

use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Decides whether one more ICMP error may be sent.
#[derive(Debug)]
pub struct IcmpLimiter {
    /// When the first error was due: the zero of all times here.
    start: OnceLock<Instant>,
    /// When the bucket of all destinations is full again, in microseconds.
    total: AtomicU64,
    /// Destinations that got errors lately. Sets of [`WAYS`] entries; the hash of the destination selects the set.
    entries: Box<[AtomicU64]>,
}

impl IcmpLimiter {
    /// Tells whether an error may be sent to `destination` now, and counts it if so.
    pub fn admit(&self, destination: Ipv4Addr, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(*self.start.get_or_init(|| now));
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX / 2);
        let take = |full_at| TOTAL.take(full_at, micros);
        if take(self.total.load(Relaxed)).is_none()
            || !self.take_of(destination.to_bits(), micros / 1000)
        {
            return false;
        }
        // Another worker may have taken the last token meanwhile; the destination has lost one of its own then.
        self.total.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Takes a token of a destination: from its entry, or from a new one in place of the one that matters least.
    fn take_of(&self, destination: u32, now: u64) -> bool {
        // Fibonacci hashing: the high bits of the product depend on all bits of the address.
        let set = (destination.wrapping_mul(0x9e37_79b9) >> SET_SHIFT) as usize;
        let ways = &self.entries[set * WAYS..(set + 1) * WAYS];
        for _ in 0..ATTEMPTS {
            let words: [u64; WAYS] = std::array::from_fn(|way| ways[way].load(Relaxed));
            let entries = words.map(|word| Entry::unpack(word, now));
            let found = entries
                .iter()
                .position(|entry| entry.destination == destination);
            let way = found
                .or_else(|| (0..WAYS).min_by_key(|way| entries[*way].full_at))
                .unwrap_or(0);
            let full_at = if found.is_some() {
                entries[way].full_at
            } else {
                now
            };
            let Some(full_at) = PER_DESTINATION.take(full_at, now) else {
                return false;
            };
            let entry = Entry {
                destination,
                full_at,
            };
            let stored = ways[way].compare_exchange(words[way], entry.pack(), Relaxed, Relaxed);
            if stored.is_ok() {
                return true;
            }
        }
        false
    }
}

impl Default for IcmpLimiter {
    /// All bursts are available.
    fn default() -> Self {
        Self {
            start: OnceLock::new(),
            total: AtomicU64::new(0),
            entries: (0..ENTRIES).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

/// A destination and when its bucket is full again, in milliseconds. As one word it changes as a whole.
#[derive(Debug, Clone, Copy)]
struct Entry {
    destination: u32,
    full_at: u64,
}

impl Entry {
    /// Packs the address and the lower half of the time.
    fn pack(self) -> u64 {
        u64::from(self.destination) << 32 | self.full_at & u64::from(u32::MAX)
    }

    /// Completes the time to the one that is near `now`; one that cannot be is long past.
    fn unpack(word: u64, now: u64) -> Self {
        let ahead = (word & u64::from(u32::MAX)).wrapping_sub(now) & u64::from(u32::MAX);
        Self {
            destination: u32::try_from(word >> 32).unwrap_or_default(),
            full_at: if ahead <= HORIZON { now + ahead } else { 0 },
        }
    }
}

/// How fast a token bucket fills, and how much it holds. The bucket itself is the time at which it is full again.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Time for one token.
    interval: u64,
    /// Most tokens.
    burst: u64,
}

impl Rate {
    /// Takes a token, if there is one, and returns when the bucket is full again.
    fn take(self, full_at: u64, now: u64) -> Option<u64> {
        let has_token = full_at.saturating_sub(now) <= self.interval * (self.burst - 1);
        has_token.then(|| full_at.max(now) + self.interval)
    }
}

/// Ten errors per second to one destination, twenty at once; in milliseconds.
const PER_DESTINATION: Rate = Rate {
    interval: 100,
    burst: 20,
};
/// A thousand errors per second in total, fifty at once; in microseconds.
const TOTAL: Rate = Rate {
    interval: 1000,
    burst: 50,
};
/// Milliseconds that a bucket is farthest from being full: two seconds, and what the workers' clocks differ by.
const HORIZON: u64 = 60_000;
/// Workers that may get in between before an error is held back.
const ATTEMPTS: usize = 8;
const ENTRIES: usize = 1024;
const WAYS: usize = 4;
const SET_SHIFT: u32 = u32::BITS - (ENTRIES / WAYS).ilog2();

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sample;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn a_destination_gets_a_burst_of_twenty_and_then_ten_per_second() {
        let start = sample::start();
        let limiter = IcmpLimiter::default();
        assert_eq!(admitted(&limiter, 100, |_| HOST, start), 20);
        assert_eq!(
            admitted(&limiter, 100, |_| HOST, start + Duration::from_secs(1)),
            10
        );
        assert_eq!(
            admitted(&limiter, 100, |_| HOST, start + Duration::from_secs(60)),
            20
        );
    }

    #[test]
    fn one_destination_does_not_use_up_the_share_of_another() {
        let start = sample::start();
        let limiter = IcmpLimiter::default();
        assert_eq!(admitted(&limiter, 100, |_| HOST, start), 20);
        assert!(limiter.admit(Ipv4Addr::new(10, 0, 0, 2), start));
    }

    #[test]
    fn all_destinations_together_get_a_thousand_per_second() {
        let start = sample::start();
        let limiter = IcmpLimiter::default();
        assert_eq!(admitted(&limiter, 100, Ipv4Addr::from_bits, start), 50);
        let mut count = 0;
        for milli in 1..=1000 {
            let now = start + Duration::from_millis(milli);
            count += admitted(
                &limiter,
                5,
                |i| Ipv4Addr::from_bits(u32::try_from(milli).unwrap() * 8 + i),
                now,
            );
        }
        assert_eq!(count, 1000);
    }

    #[test]
    fn a_busy_destination_stays_in_the_table_while_others_pass_through() {
        let start = sample::start();
        let limiter = IcmpLimiter::default();
        assert_eq!(admitted(&limiter, 100, |_| HOST, start), 20);
        let later = start + Duration::from_millis(50);
        assert_eq!(
            admitted(&limiter, 50, |i| Ipv4Addr::from_bits(i * 7919), later),
            50
        );
        assert_eq!(
            admitted(&limiter, 10, |_| HOST, later + Duration::from_millis(49)),
            0
        );
    }

    #[test]
    fn more_destinations_than_entries_neither_grow_the_table_nor_get_stuck() {
        let start = sample::start();
        let limiter = IcmpLimiter::default();
        for i in 0..5000 {
            let now = start + Duration::from_millis(i);
            assert!(limiter.admit(Ipv4Addr::from_bits(u32::try_from(i).unwrap()), now));
        }
        assert_eq!(limiter.entries.len(), ENTRIES);
    }

    #[test]
    fn workers_that_share_a_limiter_share_its_limits() {
        let (limiter, start) = (IcmpLimiter::default(), sample::start());
        let workers = |to: fn(u32) -> Ipv4Addr, now| {
            std::thread::scope(|scope| {
                let run = || admitted(&limiter, 200, to, now);
                let workers: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
                workers
                    .into_iter()
                    .map(|worker| worker.join().unwrap())
                    .sum::<usize>()
            })
        };
        assert_eq!(workers(|_| HOST, start), 20);
        let later = start + Duration::from_secs(10);
        let total = workers(Ipv4Addr::from_bits, later);
        assert!((40..=50).contains(&total), "{total}");
    }

    #[test]
    fn a_destination_is_neither_forgotten_nor_held_back_when_the_time_of_its_entry_wraps() {
        let (limiter, start) = (IcmpLimiter::default(), sample::start());
        assert!(limiter.admit(HOST, start));
        let wrap = Duration::from_millis(1 << 32);
        for days in 1..120 {
            let now = start + Duration::from_hours(24 * days);
            assert_eq!(admitted(&limiter, 30, |_| HOST, now), 20, "day {days}");
        }
        let limiter = IcmpLimiter::default();
        assert!(limiter.admit(Ipv4Addr::new(10, 0, 0, 2), start));
        let before = start + wrap - Duration::from_millis(500);
        assert_eq!(admitted(&limiter, 30, |_| HOST, before), 20);
        let after = start + wrap + Duration::from_millis(500);
        assert_eq!(admitted(&limiter, 30, |_| HOST, after), 10);
    }

    fn admitted(
        limiter: &IcmpLimiter,
        tries: u32,
        to: impl Fn(u32) -> Ipv4Addr,
        now: Instant,
    ) -> usize {
        (0..tries)
            .filter(|index| limiter.admit(to(*index), now))
            .count()
    }
}
