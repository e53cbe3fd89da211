//! Adj-RIB-Out: what one neighbor was told (RFC 4271 section 3.2); the best path to a prefix without id, or several paths
//! under ids of ours (RFC 7911).
//!
//! A column beside the table of destinations: 16 bytes for each of them, more only where several paths were told.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::destinations::Slot;
use crate::wire::{Nlri, PathAttributes, PathId, Prefix, Update};

/// A path that a neighbor should know; its attributes come from the pool, so that equal ones are the same.
pub(crate) type Told<A> = (Option<PathId>, Arc<PathAttributes<A>>);

/// The routes that one neighbor was told.
#[derive(Debug)]
pub(crate) struct AdjRibOut<A> {
    /// The first path to each destination.
    first: Vec<Option<Told<A>>>,
    /// Further paths.
    more: BTreeMap<Slot, Vec<Told<A>>>,
    len: usize,
}

impl<A> Default for AdjRibOut<A> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            more: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<A: Copy> AdjRibOut<A> {
    /// Tells whether a path to a destination was told.
    pub(crate) fn knows(&self, slot: Slot) -> bool {
        matches!(self.first.get(slot.index()), Some(Some(_)))
    }

    /// Lists all destinations of which something was told, each with its paths.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Slot, impl Iterator<Item = &Told<A>>)> {
        let slots = (0..).map(Slot::at).zip(&self.first);
        slots.filter_map(|(slot, first)| Some((slot, self.with_more(slot, first.as_ref()?))))
    }

    /// Counts all routes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn with_more<'a>(
        &'a self,
        slot: Slot,
        first: &'a Told<A>,
    ) -> impl Iterator<Item = &'a Told<A>> {
        std::iter::once(first).chain(self.more.get(&slot).into_iter().flatten())
    }

    /// Lists the paths to one destination.
    pub(crate) fn paths(&self, slot: Slot) -> impl Iterator<Item = &Told<A>> {
        let first = self.first.get(slot.index()).and_then(Option::as_ref);
        first
            .into_iter()
            .flat_map(move |first| self.with_more(slot, first))
    }

    /// Replaces the paths to a destination.
    fn set(&mut self, slot: Slot, paths: &[Told<A>]) {
        self.len -= self.paths(slot).count();
        self.len += paths.len();
        if self.first.len() <= slot.index() {
            self.first.resize(slot.index() + 1, None);
        }
        let mut paths = paths.iter().cloned();
        self.first[slot.index()] = paths.next();
        while let Some(None) = self.first.last() {
            self.first.pop();
        }
        if self.first.len() < self.first.capacity() / 4 {
            self.first.shrink_to(self.first.len() * 2);
        }
        let more: Vec<Told<A>> = paths.collect();
        if !more.is_empty() {
            self.more.insert(slot, more);
        } else if !self.more.is_empty() {
            self.more.remove(&slot);
        }
    }
}

/// How what a neighbor knows of a destination changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// It knew something before if and only if it knows something now.
    Same,
    /// It knew nothing.
    Gained,
    /// It knows nothing any more.
    Lost,
}

/// Collects the difference between what a neighbor was told and what it should be told.
#[derive(Debug)]
pub(crate) struct Difference<'a, N: Prefix> {
    told: &'a mut AdjRibOut<N::NextHop>,
    repeat: bool,
    withdrawn: Vec<Nlri<N>>,
    /// In the order in which the sets first appeared.
    announced: Vec<(Arc<PathAttributes<N::NextHop>>, Vec<Nlri<N>>)>,
    /// Places in `announced` by the address of the set.
    places: HashMap<*const PathAttributes<N::NextHop>, usize, FixedState>,
}

impl<'a, N: Prefix> Difference<'a, N> {
    /// Starts with nothing; with `repeat`, known routes are told again.
    pub(crate) fn new(told: &'a mut AdjRibOut<N::NextHop>, repeat: bool) -> Self {
        Self {
            told,
            repeat,
            withdrawn: Vec::new(),
            announced: Vec::new(),
            places: HashMap::default(),
        }
    }

    /// Notes which paths to a destination the neighbor should know.
    pub(crate) fn note(
        &mut self,
        slot: Slot,
        prefix: N,
        desired: &[Told<N::NextHop>],
    ) -> Knowledge {
        let knew = self.told.knows(slot);
        let mut changed = false;
        for (path_id, _) in self.told.paths(slot) {
            if desired.iter().all(|(id, _)| id != path_id) {
                changed = true;
                let path_id = *path_id;
                self.withdrawn.push(Nlri { prefix, path_id });
            }
        }
        for (path_id, attributes) in desired {
            let is_known =
                |(id, known): &Told<N::NextHop>| id == path_id && is_same(known, attributes);
            if self.repeat || !self.told.paths(slot).any(is_known) {
                changed = true;
                let path_id = *path_id;
                self.announce(attributes, Nlri { prefix, path_id });
            }
        }
        if changed {
            self.told.set(slot, desired);
        }
        match (knew, desired.is_empty()) {
            (false, false) => Knowledge::Gained,
            (true, true) => Knowledge::Lost,
            (false, true) | (true, false) => Knowledge::Same,
        }
    }

    /// Returns the UPDATEs: one for each set of attributes, and one with all withdrawals. A neighbor that is told several
    /// paths hears of the new ones first, so that it is never without any; without ids one replaces the other.
    pub(crate) fn into_updates(self) -> Vec<Update<N>> {
        let identified = self.withdrawn.iter().any(|route| route.path_id.is_some());
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
        if identified {
            announcements.chain(withdrawal).collect()
        } else {
            withdrawal.into_iter().chain(announcements).collect()
        }
    }

    fn announce(&mut self, attributes: &Arc<PathAttributes<N::NextHop>>, route: Nlri<N>) {
        // Neighbors in the table mostly share a set.
        if let Some((latest, routes)) = self.announced.last_mut()
            && Arc::ptr_eq(latest, attributes)
        {
            routes.push(route);
            return;
        }
        let next = self.announced.len();
        let place = *self.places.entry(Arc::as_ptr(attributes)).or_insert(next);
        if place == next {
            self.announced.push((Arc::clone(attributes), Vec::new()));
        }
        self.announced[place].1.push(route);
    }
}

/// Sets from the pool are equal only if they are the same, unless one of them has left the pool meanwhile.
fn is_same<A: Eq>(one: &Arc<PathAttributes<A>>, other: &Arc<PathAttributes<A>>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::rib::attribute_pool::AttributePool;
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
        let mut note = |desired: &[Told<Ipv4Addr>]| {
            let mut difference = Difference::new(&mut told, false);
            difference.note(Slot::at(1), prefix(1), desired);
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
        assert_eq!(note(std::slice::from_ref(&better)), [(2, true), (1, false)]);
        assert_eq!(note(&[]), [(2, false)]);
        assert_eq!(note(&[better]), [(2, true)]);
    }

    #[test]
    fn what_is_known_is_counted_and_its_coming_and_going_is_told() {
        let mut told = AdjRibOut::default();
        let mut note = |desired: &[Told<Ipv4Addr>]| {
            let knowledge = Difference::new(&mut told, false).note(Slot::at(5), prefix(1), desired);
            (knowledge, told.len(), told.routes().count())
        };
        let (one, two) = (told_as(Some(1), 400), told_as(Some(2), 300));
        assert_eq!(note(&[]), (Knowledge::Same, 0, 0));
        assert_eq!(note(&[one, two.clone()]), (Knowledge::Gained, 2, 1));
        assert_eq!(note(&[two]), (Knowledge::Same, 1, 1));
        assert_eq!(note(&[]), (Knowledge::Lost, 0, 0));
    }

    fn told_as(id: Option<u32>, local_pref: u32) -> Told<Ipv4Addr> {
        (id.map(PathId), Arc::new(attributes(1, local_pref)))
    }

    fn differ(
        told: &mut AdjRibOut<Ipv4Addr>,
        repeat: bool,
        desired: &[(u8, Option<u32>)],
    ) -> Vec<Update> {
        let mut difference = Difference::new(told, repeat);
        let mut pool = AttributePool::new(1);
        for (host, local_pref) in desired {
            let wanted =
                local_pref.map(|local_pref| (None, pool.intern(attributes(1, local_pref))));
            difference.note(Slot::at((*host).into()), prefix(*host), wanted.as_slice());
        }
        difference.into_updates()
    }
}
