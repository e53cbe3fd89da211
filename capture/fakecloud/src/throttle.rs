//! Token buckets: how often a principal may call.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::Time;

/// What a kind of calls may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Calls at once.
    pub burst: u32,
    /// Calls that come back each second.
    pub per_second: u32,
}

/// The rates of one provider; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// Calls that only read.
    #[serde(default)]
    pub read: Option<Rate>,
    /// Calls that change.
    #[serde(default)]
    pub write: Option<Rate>,
}

/// All buckets, one per principal and kind of calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Throttle {
    rates: Rates,
    buckets: BTreeMap<(String, bool), Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a call.
    level: i64,
    at: Time,
}

/// Principals with a bucket of their own; a lab has a handful.
const MAX_BUCKETS: usize = 1024;

impl Throttle {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates,
            buckets: BTreeMap::new(),
        }
    }

    /// Takes one call out of the bucket.
    ///
    /// # Errors
    /// How long to wait for the next one when it is empty.
    pub(crate) fn take(
        &mut self,
        principal: &str,
        writes: bool,
        now: Time,
    ) -> Result<(), TimeDelta> {
        let rate = if writes {
            self.rates.write
        } else {
            self.rates.read
        };
        let Some(rate) = rate else { return Ok(()) };
        let full = i64::from(rate.burst) * CALL;
        let key = (principal.to_owned(), writes);
        if self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&key) {
            self.buckets.clear();
        }
        let bucket = self.buckets.entry(key).or_insert(Bucket {
            level: full,
            at: now,
        });
        let refill = i64::from(rate.per_second);
        let passed = (now - bucket.at).num_milliseconds().max(0);
        bucket.level = full.min(bucket.level.saturating_add(passed.saturating_mul(refill)));
        bucket.at = now;
        if bucket.level < CALL {
            let missing = CALL - bucket.level;
            let milliseconds = missing.checked_div(refill).unwrap_or(60_000);
            return Err(TimeDelta::milliseconds(milliseconds));
        }
        bucket.level -= CALL;
        Ok(())
    }
}

/// One call, in the unit of a bucket's level.
const CALL: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_for_each_principal_alone() {
        let rate = Rate {
            burst: 2,
            per_second: 1,
        };
        let mut throttle = Throttle::new(Rates {
            read: None,
            write: Some(rate),
        });
        let start = Time::UNIX_EPOCH;
        assert_eq!(throttle.take("a", true, start), Ok(()));
        assert_eq!(throttle.take("a", true, start), Ok(()));
        let wait = TimeDelta::seconds(1);
        assert_eq!(throttle.take("a", true, start), Err(wait));
        assert_eq!(throttle.take("b", true, start), Ok(()));
        assert_eq!(throttle.take("a", false, start), Ok(()));
        assert_eq!(throttle.take("a", true, start + wait), Ok(()));
        assert_eq!(throttle.take("a", true, start + wait), Err(wait));
    }
}
