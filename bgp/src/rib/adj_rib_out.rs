//! Adj-RIB-Out: what one peer was told (RFC 4271 section 3.2), and what it still has to be told; the best path to a
//! prefix without id, or several paths under ids of ours (RFC 7911).
//!
//! Pending work is a set of prefixes, never a queue of messages: however long the peer is slow, it hears only the
//! latest state of each prefix, and nothing at all when that is what it knows already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::wire::{Nlri, PathAttributes, PathId, Update};

/// A path that a peer should know.
pub(crate) type Told = (Option<PathId>, Arc<PathAttributes>);

/// The routes that one peer was told.
#[derive(Debug, Default)]
pub(crate) struct AdjRibOut {
    routes: BTreeMap<Nlri, Arc<PathAttributes>>,
}

impl AdjRibOut {
    /// Lists all routes.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Nlri, &Arc<PathAttributes>)> {
        self.routes
            .iter()
            .map(|(route, attributes)| (*route, attributes))
    }

    /// Lists the paths to one prefix.
    fn paths(&self, prefix: Ipv4Net) -> impl Iterator<Item = Nlri> {
        self.routes
            .range(Nlri::from(prefix)..)
            .map(|(route, _)| *route)
            .take_while(move |route| route.prefix == prefix)
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
    /// Tells whether there is nothing to do; End-of-RIB waits while `deferring`.
    pub(crate) fn is_empty(&self, deferring: bool) -> bool {
        self.prefixes.is_empty() && !self.all && (deferring || !self.end_of_rib)
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
    withdrawn: Vec<Nlri>,
    announced: BTreeMap<Arc<PathAttributes>, Vec<Nlri>>,
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

    /// Notes which paths to a prefix the peer should know.
    pub(crate) fn note(&mut self, prefix: Ipv4Net, desired: &[Told]) {
        let is_desired = |route: &Nlri| desired.iter().any(|(id, _)| *id == route.path_id);
        let gone: Vec<Nlri> = self
            .told
            .paths(prefix)
            .filter(|route| !is_desired(route))
            .collect();
        for route in gone {
            self.told.routes.remove(&route);
            self.withdrawn.push(route);
        }
        for (path_id, attributes) in desired {
            let route = Nlri {
                prefix,
                path_id: *path_id,
            };
            if self.repeat || self.told.routes.get(&route) != Some(attributes) {
                self.announced
                    .entry(Arc::clone(attributes))
                    .or_default()
                    .push(route);
                self.told.routes.insert(route, Arc::clone(attributes));
            }
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
        assert_eq!(updates[0].withdrawn, [prefix(1).into()]);
        assert_eq!(differ(&mut told, false, &[(1, None)]), []);
    }

    #[test]
    fn each_path_is_told_and_withdrawn_by_its_own_id() {
        let mut told = AdjRibOut::default();
        let mut note = |desired: &[Told]| {
            let mut difference = Difference::new(&mut told, false);
            difference.note(prefix(1), desired);
            let updates = difference.into_updates().into_iter();
            let ids = updates.flat_map(|update| {
                let ids = |routes: Vec<Nlri>| routes.into_iter().filter_map(|route| route.path_id);
                let withdrawn = ids(update.withdrawn).map(|PathId(id)| (id, false));
                let announced = ids(update.announced).map(|PathId(id)| (id, true));
                withdrawn.chain(announced).collect::<Vec<_>>()
            });
            ids.collect::<Vec<_>>()
        };
        let (one, two) = (told_as(Some(1), 400), told_as(Some(2), 300));

        assert_eq!(note(std::slice::from_ref(&two)), [(2, true)]);
        assert_eq!(note(&[one.clone(), two.clone()]), [(1, true)]);
        assert_eq!(note(&[two, one]), [], "their order is no news");
        let better = told_as(Some(2), 500);
        assert_eq!(note(std::slice::from_ref(&better)), [(1, false), (2, true)]);
        assert_eq!(note(&[]), [(2, false)]);
        assert_eq!(note(&[better]), [(2, true)]);
    }

    fn told_as(id: Option<u32>, local_pref: u32) -> Told {
        (id.map(PathId), Arc::new(attributes(1, local_pref)))
    }

    fn differ(told: &mut AdjRibOut, repeat: bool, desired: &[(u8, Option<u32>)]) -> Vec<Update> {
        let mut difference = Difference::new(told, repeat);
        for (host, local_pref) in desired {
            let wanted = local_pref.map(|local_pref| told_as(None, local_pref));
            difference.note(prefix(*host), wanted.as_slice());
        }
        difference.into_updates()
    }
}
