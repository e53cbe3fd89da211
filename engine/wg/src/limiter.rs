//! How many handshake messages are admitted: per source and in total, counted in `now`.
//!
//! The total alone would let one sender put every peer into cookie mode (data-plane.md section 10 row 33), so each
//! source (an IPv4 address, an IPv6 /64) has its own bucket before it. A source address can be forged. Therefore a
//! source over its limit is not refused but has to prove its address by a cookie, and only what is proven counts
//! against a second bucket that does refuse. Tables are fixed; in a full one a new source counts as over its limit.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::source::Source;

/// A token bucket, kept as the instant at which it is full again (generic cell rate algorithm).
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// Takes a token; false if there is none.
    fn take(&mut self, limit: Limit, now: Instant) -> bool {
        let allowed =
            self.full_at.saturating_duration_since(now) <= limit.interval * (limit.burst - 1);
        if allowed {
            self.full_at = self.full_at.max(now) + limit.interval;
        }
        allowed
    }
}

/// Size of a bucket and how fast it fills.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Time per token.
    interval: Duration,
    /// Tokens in a full bucket.
    burst: u32,
}

/// Buckets by source.
#[derive(Debug, Default)]
struct Sources {
    buckets: BTreeMap<Source, Bucket>,
    next_purge: Option<Instant>,
}

impl Sources {
    fn take(&mut self, source: Source, now: Instant) -> bool {
        if let Some(bucket) = self.buckets.get_mut(&source) {
            return bucket.take(PER_SOURCE, now);
        }
        if self.buckets.len() >= SOURCES_MAX {
            self.purge(now);
        }
        if self.buckets.len() >= SOURCES_MAX {
            return false;
        }
        let mut bucket = Bucket { full_at: now };
        let allowed = bucket.take(PER_SOURCE, now);
        self.buckets.insert(source, bucket);
        allowed
    }

    /// Forgets full buckets, at most once per [`PURGE_INTERVAL`] because it looks at every one.
    fn purge(&mut self, now: Instant) {
        if self.next_purge.is_none_or(|at| at <= now) {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
            self.next_purge = Some(now + PURGE_INTERVAL);
        }
    }
}

/// All buckets of a device.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    claimed: Sources,
    proven: Sources,
    total: Option<Bucket>,
}

impl Limiter {
    /// Counts an initiation that claims to come from `address`; false if the sender has to prove it.
    pub(crate) fn admit_claimed(&mut self, address: IpAddr, now: Instant) -> bool {
        self.claimed.take(address.into(), now) && self.admit_any(now)
    }

    /// Counts an initiation whose sender has proven its `address`; false if it is to be refused.
    pub(crate) fn admit_proven(&mut self, address: IpAddr, now: Instant) -> bool {
        self.proven.take(address.into(), now)
    }

    /// Counts a message of whatever source; false if the sender has to prove its address.
    pub(crate) fn admit_any(&mut self, now: Instant) -> bool {
        self.total
            .get_or_insert(Bucket { full_at: now })
            .take(TOTAL, now)
    }
}

/// 20 per second and source.
const PER_SOURCE: Limit = Limit {
    interval: Duration::from_millis(50),
    burst: 5,
};

/// 200 per second in total; at a quarter of a millisecond of computing per answer a twentieth of a core.
const TOTAL: Limit = Limit {
    interval: Duration::from_millis(5),
    burst: 200,
};

/// Sources remembered, in each of the two tables.
const SOURCES_MAX: usize = 4096;

/// Distance between two purges of a full table.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_burst_of_five_and_then_twenty_per_second() {
        let (mut limiter, t0) = (Limiter::default(), start());
        let source = "192.0.2.1".parse().unwrap();
        let admitted = |limiter: &mut Limiter, now| {
            (0..100)
                .filter(|_| limiter.admit_claimed(source, now))
                .count()
        };
        assert_eq!(admitted(&mut limiter, t0), 5);
        assert_eq!(admitted(&mut limiter, t0 + Duration::from_millis(49)), 0);
        assert_eq!(admitted(&mut limiter, t0 + Duration::from_millis(50)), 1);
        assert_eq!(admitted(&mut limiter, t0 + Duration::from_secs(60)), 5);
    }

    #[test]
    fn what_counts_as_one_source() {
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("0.0.0.0", "::", false),
        ];
        for (a, b, same) in table {
            let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
            assert_eq!(source(a) == source(b), same, "{a} {b}");
        }
    }

    #[test]
    fn one_source_does_not_use_up_the_total() {
        let (mut limiter, now) = (Limiter::default(), start());
        for _ in 0..10_000 {
            limiter.admit_claimed("192.0.2.1".parse().unwrap(), now);
        }
        assert!(limiter.admit_claimed("192.0.2.2".parse().unwrap(), now));
    }

    #[test]
    fn many_sources_use_up_the_total() {
        let (mut limiter, now) = (Limiter::default(), start());
        let admitted = (0..1000u32)
            .filter(|n| limiter.admit_claimed(address(*n), now))
            .count();
        assert_eq!(admitted, 200);
    }

    #[test]
    fn a_full_table_refuses_new_sources_until_old_ones_are_idle() {
        let (mut limiter, t0) = (Limiter::default(), start());
        let full = u32::try_from(SOURCES_MAX).unwrap();
        assert_eq!(
            (0..full)
                .filter(|n| limiter.admit_proven(address(*n), t0))
                .count(),
            SOURCES_MAX
        );
        assert!(!limiter.admit_proven(address(full), t0));
        assert!(limiter.admit_proven(address(0), t0), "known sources go on");
        assert!(limiter.admit_proven(address(full), t0 + Duration::from_secs(1)));
        assert_eq!(limiter.proven.buckets.len(), 1);
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
