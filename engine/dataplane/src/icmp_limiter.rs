//! Limits how many ICMP errors are sent (RFC 1812 section 4.3.2.8): per destination and in total.
//!
//! The table is bounded. An evicted destination starts again with a full burst; the total limit still holds then.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Decides whether one more ICMP error may be sent.
#[derive(Debug)]
pub struct IcmpLimiter {
    total: Bucket,
    /// Sets of [`WAYS`] entries; the hash of the destination selects the set.
    entries: Box<[Option<Entry>]>,
}

/// A destination that got errors lately.
#[derive(Debug, Clone, Copy)]
struct Entry {
    destination: Ipv4Addr,
    bucket: Bucket,
}

impl IcmpLimiter {
    /// Makes a limiter whose bursts are all available at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            total: Bucket { full_at: now },
            entries: vec![None; ENTRIES].into_boxed_slice(),
        }
    }

    /// Tells whether an error may be sent to `destination` now, and counts it if so.
    pub fn admit(&mut self, destination: Ipv4Addr, now: Instant) -> bool {
        if !self.total.has_token(TOTAL, now) {
            return false;
        }
        let entry = self.entry(destination, now);
        if !entry.bucket.has_token(PER_DESTINATION, now) {
            return false;
        }
        entry.bucket.take(PER_DESTINATION, now);
        self.total.take(TOTAL, now);
        true
    }

    /// Finds the entry of `destination`, or makes it in place of the one that matters least.
    fn entry(&mut self, destination: Ipv4Addr, now: Instant) -> &mut Entry {
        // Fibonacci hashing: the high bits of the product depend on all bits of the address.
        let set = (destination.to_bits().wrapping_mul(0x9e37_79b9) >> SET_SHIFT) as usize;
        let ways = &mut self.entries[set * WAYS..(set + 1) * WAYS];
        let found = ways
            .iter()
            .position(|way| way.is_some_and(|entry| entry.destination == destination));
        let index = found.unwrap_or_else(|| {
            let fullness = |index: &usize| ways[*index].map(|entry| entry.bucket.full_at);
            (0..WAYS).min_by_key(fullness).unwrap_or(0)
        });
        let fresh = Entry {
            destination,
            bucket: Bucket { full_at: now },
        };
        if found.is_none() {
            ways[index] = None;
        }
        ways[index].get_or_insert(fresh)
    }
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Time for one token.
    interval: Duration,
    /// Most tokens.
    burst: u32,
}

impl Bucket {
    fn has_token(self, rate: Rate, now: Instant) -> bool {
        self.full_at.saturating_duration_since(now) <= rate.interval * (rate.burst - 1)
    }

    fn take(&mut self, rate: Rate, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.interval;
    }
}

/// Ten errors per second to one destination, twenty at once.
const PER_DESTINATION: Rate = Rate {
    interval: Duration::from_millis(100),
    burst: 20,
};
/// A thousand errors per second in total, fifty at once.
const TOTAL: Rate = Rate {
    interval: Duration::from_millis(1),
    burst: 50,
};
const ENTRIES: usize = 1024;
const WAYS: usize = 4;
const SET_SHIFT: u32 = u32::BITS - (ENTRIES / WAYS).ilog2();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn a_destination_gets_a_burst_of_twenty_and_then_ten_per_second() {
        let start = sample::start();
        let mut limiter = IcmpLimiter::new(start);
        assert_eq!(admitted(&mut limiter, 100, |_| HOST, start), 20);
        assert_eq!(
            admitted(&mut limiter, 100, |_| HOST, start + Duration::from_secs(1)),
            10
        );
        assert_eq!(
            admitted(&mut limiter, 100, |_| HOST, start + Duration::from_secs(60)),
            20
        );
    }

    #[test]
    fn one_destination_does_not_use_up_the_share_of_another() {
        let start = sample::start();
        let mut limiter = IcmpLimiter::new(start);
        assert_eq!(admitted(&mut limiter, 100, |_| HOST, start), 20);
        assert!(limiter.admit(Ipv4Addr::new(10, 0, 0, 2), start));
    }

    #[test]
    fn all_destinations_together_get_a_thousand_per_second() {
        let start = sample::start();
        let mut limiter = IcmpLimiter::new(start);
        assert_eq!(admitted(&mut limiter, 100, Ipv4Addr::from_bits, start), 50);
        let mut count = 0;
        for milli in 1..=1000 {
            let now = start + Duration::from_millis(milli);
            count += admitted(
                &mut limiter,
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
        let mut limiter = IcmpLimiter::new(start);
        assert_eq!(admitted(&mut limiter, 100, |_| HOST, start), 20);
        let later = start + Duration::from_millis(50);
        assert_eq!(
            admitted(&mut limiter, 50, |i| Ipv4Addr::from_bits(i * 7919), later),
            50
        );
        assert_eq!(
            admitted(
                &mut limiter,
                10,
                |_| HOST,
                later + Duration::from_millis(49)
            ),
            0
        );
    }

    #[test]
    fn more_destinations_than_entries_neither_grow_the_table_nor_get_stuck() {
        let start = sample::start();
        let mut limiter = IcmpLimiter::new(start);
        for i in 0..5000 {
            let now = start + Duration::from_millis(i);
            assert!(limiter.admit(Ipv4Addr::from_bits(u32::try_from(i).unwrap()), now));
        }
        assert_eq!(limiter.entries.len(), ENTRIES);
    }

    fn admitted(
        limiter: &mut IcmpLimiter,
        tries: u32,
        to: impl Fn(u32) -> Ipv4Addr,
        now: Instant,
    ) -> usize {
        (0..tries)
            .filter(|index| limiter.admit(to(*index), now))
            .count()
    }
}
