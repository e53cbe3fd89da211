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

/// All buckets, one per principal and action, as the provider counts actions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Throttle {
    rates: Rates,
    buckets: BTreeMap<(String, String), Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Thousandths of a call.
    level: i64,
    at: Time,
}

/// Buckets at the same time; a lab has a handful of principals, each with a dozen actions.
const MAX_BUCKETS: usize = 1024;

impl Throttle {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates,
            buckets: BTreeMap::new(),
        }
    }

    /// Takes one call out of the bucket, and returns how many are left; `None` where there is no limit.
    ///
    /// # Errors
    /// How long to wait for the next one when it is empty.
    pub(crate) fn take(
        &mut self,
        principal: &str,
        action: &str,
        writes: bool,
        now: Time,
    ) -> Result<Option<u32>, TimeDelta> {
        let rate = if writes {
            self.rates.write
        } else {
            self.rates.read
        };
        let Some(rate) = rate else { return Ok(None) };
        let full = i64::from(rate.burst) * CALL;
        let key = (principal.to_owned(), action.to_owned());
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
        let left = u32::try_from(bucket.level / CALL).unwrap_or_default();
        Ok(Some(left))
    }
}

/// One call, in the unit of a bucket's level.
const CALL: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_for_each_principal_and_action_alone() {
        let rate = Rate {
            burst: 2,
            per_second: 1,
        };
        let mut throttle = Throttle::new(Rates {
            read: None,
            write: Some(rate),
        });
        let start = Time::UNIX_EPOCH;
        let mut take = |who, action, at| throttle.take(who, action, true, at);
        assert_eq!(take("a", "Assign", start), Ok(Some(1)));
        assert_eq!(take("a", "Assign", start), Ok(Some(0)));
        let wait = TimeDelta::seconds(1);
        assert_eq!(take("a", "Assign", start), Err(wait));
        assert_eq!(take("b", "Assign", start), Ok(Some(1)));
        assert_eq!(take("a", "Unassign", start), Ok(Some(1)));
        assert_eq!(take("a", "Assign", start + wait), Ok(Some(0)));
        assert_eq!(take("a", "Assign", start + wait), Err(wait));
        assert_eq!(throttle.take("a", "Describe", false, start), Ok(None));
    }
}
