//! Whether machines run, as their provider told last.
//!
//! A call that fails, or that leaves a machine out, says nothing of it: what was told before stands for a while. Lest a
//! machine that is stopped be taken for a running one, a list of addresses fails where nothing is known of any machine;
//! who may not ask goes on without.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{ErrorClass, ProviderError};

/// Machines, by the provider's names; there are as many as its longest list has.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    told: BTreeMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    runs: bool,
    at: DateTime<Utc>,
}

/// How long what was told stands.
const STANDS: TimeDelta = TimeDelta::minutes(30);

impl Machines {
    /// Takes in what a provider says of machines.
    ///
    /// # Errors
    /// Why it says nothing, when nothing is known from before either.
    pub(crate) fn follow(
        &mut self,
        told: Result<BTreeMap<String, bool>, ProviderError>,
        now: DateTime<Utc>,
    ) -> Result<(), ProviderError> {
        self.told.retain(|_, told| now - told.at < STANDS);
        match told {
            Ok(told) => {
                let told = told.into_iter();
                self.told
                    .extend(told.map(|(machine, runs)| (machine, Told { runs, at: now })));
                Ok(())
            }
            Err(failed) if failed.class == ErrorClass::Denied || !self.told.is_empty() => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Tells whether a machine runs, if that is known.
    pub(crate) fn runs(&self, machine: &str) -> Option<bool> {
        self.told.get(machine).map(|told| told.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error;

    #[test]
    fn what_was_told_stands_while_calls_fail_but_not_for_ever() {
        let start = DateTime::UNIX_EPOCH;
        let mut machines = Machines::default();
        let down = || Err(error(ErrorClass::Unavailable, "Down", "as ordered"));
        let denied = || Err(error(ErrorClass::Denied, "Denied", "as ordered"));
        assert!(machines.follow(down(), start).is_err(), "nothing is known");
        assert!(machines.follow(denied(), start).is_ok());
        let told = BTreeMap::from([("a".to_owned(), false), ("b".to_owned(), true)]);
        assert!(machines.follow(Ok(told), start).is_ok());

        let late = start + STANDS - TimeDelta::seconds(1);
        assert!(machines.follow(down(), late).is_ok());
        let told = BTreeMap::from([("b".to_owned(), false)]);
        assert!(machines.follow(Ok(told), late).is_ok());
        assert_eq!(machines.runs("a"), Some(false), "left out");
        assert_eq!(machines.runs("b"), Some(false));
        assert_eq!(machines.runs("c"), None);

        assert!(machines.follow(down(), start + STANDS).is_ok());
        assert_eq!(machines.runs("a"), None, "too old");
        assert!(machines.follow(down(), late + STANDS).is_err());
    }
}
