//! Adj-RIB-Out: what one peer was told (RFC 4271 section 3.2), and what it still has to be told.
//!
//! Pending work is a set of prefixes, never a queue of messages: however long the peer is slow, it hears only the
//! latest state of each prefix, and nothing at all when that is what it knows already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::wire::{PathAttributes, Update};

/// The routes that one peer was told.
#[derive(Debug, Default)]
pub(crate) struct AdjRibOut {
    routes: BTreeMap<Ipv4Net, Arc<PathAttributes>>,
}

impl AdjRibOut {
    /// Lists all routes.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Ipv4Net, &Arc<PathAttributes>)> {
        self.routes
            .iter()
            .map(|(prefix, attributes)| (*prefix, attributes))
    }

    /// Counts all routes.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }
}

/// Prefixes that are written out at once, so that what a slow peer leaves unread stays bounded.
const PART: usize = 8192;

/// What is to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// These prefixes.
    pub(crate) prefixes: BTreeSet<Ipv4Net>,
    /// All prefixes.
    pub(crate) all: bool,
    /// Tell even what the peer knows (RFC 2918).
    pub(crate) repeat: bool,
    /// Tell that the initial routes are complete (RFC 4724 section 2).
    pub(crate) end_of_rib: bool,
}

impl Pending {
    /// Tells whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && !self.all && !self.end_of_rib
    }

    /// Takes out what is looked at next, by prefix; End-of-RIB comes with the last part.
    pub(crate) fn take_part(&mut self) -> Self {
        match self.prefixes.iter().nth(PART).copied() {
            None => std::mem::take(self),
            Some(first_left) => {
                let left = self.prefixes.split_off(&first_left);
                Self {
                    prefixes: std::mem::replace(&mut self.prefixes, left),
                    all: false,
                    repeat: self.repeat,
                    end_of_rib: false,
                }
            }
        }
    }
}

/// Collects the difference between what a peer was told and what it should be told.
#[derive(Debug)]
pub(crate) struct Difference<'a> {
    told: &'a mut AdjRibOut,
    repeat: bool,
    withdrawn: Vec<Ipv4Net>,
    announced: BTreeMap<Arc<PathAttributes>, Vec<Ipv4Net>>,
}

impl<'a> Difference<'a> {
    /// Starts with nothing; with `repeat`, known routes are told again.
    pub(crate) fn new(told: &'a mut AdjRibOut, repeat: bool) -> Self {
        Self {
            told,
            repeat,
            withdrawn: Vec::new(),
            announced: BTreeMap::new(),
        }
    }

    /// Notes what the peer should know about a prefix.
    pub(crate) fn note(&mut self, prefix: Ipv4Net, desired: Option<Arc<PathAttributes>>) {
        let Some(desired) = desired else {
            if self.told.routes.remove(&prefix).is_some() {
                self.withdrawn.push(prefix);
            }
            return;
        };
        if self.repeat || self.told.routes.get(&prefix) != Some(&desired) {
            self.announced
                .entry(Arc::clone(&desired))
                .or_default()
                .push(prefix);
            self.told.routes.insert(prefix, desired);
        }
    }

    /// Returns the UPDATEs: one with all withdrawals, then one for each set of attributes.
    pub(crate) fn into_updates(self) -> Vec<Update> {
        let withdrawal = (!self.withdrawn.is_empty()).then(|| Update {
            withdrawn: self.withdrawn,
            ..Update::default()
        });
        let announcements = self
            .announced
            .into_iter()
            .map(|(attributes, announced)| Update {
                announced,
                attributes: Some((*attributes).clone()),
                ..Update::default()
            });
        withdrawal.into_iter().chain(announcements).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, prefix};

    #[test]
    fn prefixes_with_equal_attributes_share_an_update() {
        let mut told = AdjRibOut::default();
        let updates = differ(
            &mut told,
            false,
            &[(1, Some(100)), (2, Some(200)), (3, Some(100))],
        );
        let packed: Vec<usize> = updates
            .iter()
            .map(|update| update.announced.len())
            .collect();
        assert_eq!(packed, [2, 1]);
    }

    #[test]
    fn what_the_peer_knows_is_not_told_again_unless_asked() {
        let mut told = AdjRibOut::default();
        differ(&mut told, false, &[(1, Some(100))]);
        assert_eq!(differ(&mut told, false, &[(1, Some(100))]), []);
        assert_eq!(differ(&mut told, true, &[(1, Some(100))]).len(), 1);
    }

    #[test]
    fn only_what_was_told_is_withdrawn_and_only_once() {
        let mut told = AdjRibOut::default();
        differ(&mut told, false, &[(1, Some(100))]);
        let updates = differ(&mut told, false, &[(1, None), (2, None)]);
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].withdrawn, [prefix(1)]);
        assert_eq!(differ(&mut told, false, &[(1, None)]), []);
    }

    fn differ(told: &mut AdjRibOut, repeat: bool, desired: &[(u8, Option<u32>)]) -> Vec<Update> {
        let mut difference = Difference::new(told, repeat);
        for (host, local_pref) in desired {
            let wanted = local_pref.map(|local_pref| Arc::new(attributes(1, local_pref)));
            difference.note(prefix(*host), wanted);
        }
        difference.into_updates()
    }
}
