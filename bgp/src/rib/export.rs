//! What a neighbor should know of a destination.
//!
//! Made for one part of one neighbor's pending work, during which tables do not change; what is worked out for one
//! path holds for all that have the same attributes and the same source.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::adj_rib_in::MAX_PATHS;
use super::adj_rib_out::Told;
use super::attribute_pool::AttributePool;
use super::destination::Entry;
use super::destinations::Slot;
use super::loc_rib::LocRib;
use super::neighbor::{Neighbor, NeighborIdentity};
use super::path::{PATHS_MAX, PathSource};
use crate::config::PeerId;
use crate::policy::{Policy, Rejection};
use crate::reflector::{Reflector, originator};
use crate::wire::{PathAttributes, Prefix};

/// Works out what one neighbor should know.
pub(super) struct Exporter<'a, P, N: Prefix> {
    /// Who is told.
    pub(super) to: NeighborIdentity,
    /// How routes are reflected.
    pub(super) reflector: Reflector,
    /// What may be told.
    pub(super) policy: &'a P,
    /// Whom paths came from.
    pub(super) neighbors: &'a BTreeMap<PeerId, Neighbor<N>>,
    /// Whether only our own routes are told.
    pub(super) deferring: bool,
    /// Where sets of attributes are shared.
    pub(super) pool: &'a mut AttributePool<N::NextHop>,
    /// What was worked out, by the address of the set of attributes and the source.
    pub(super) known: HashMap<Key<N::NextHop>, Exported<N::NextHop>, FixedState>,
    /// The latest of it: neighbors in the table mostly share a set.
    pub(super) latest: Option<(Key<N::NextHop>, Exported<N::NextHop>)>,
}

/// The attributes with which a path is told, before policy, or why it is not.
pub(super) type Exported<A> = Result<Arc<PathAttributes<A>>, Rejection>;

/// The address of a set of attributes, and the source.
type Key<A> = (*const PathAttributes<A>, PathSource);

/// Only the best path is told.
const NOT_BEST: Rejection = Rejection("not-best");
/// The same path is told as another reflector tells it.
const SAME_PATH: Rejection = Rejection("same-path");
/// While we restart, only our own routes are told (RFC 4724 section 4.1).
const RESTARTING: Rejection = Rejection("restarting");

/// What was told of the paths to one destination that came before.
#[derive(Debug)]
pub(super) struct Before<A> {
    /// Whether there was one.
    any: bool,
    /// How many were told.
    told: usize,
    /// Who brought them into the AS, and their next hops.
    known: BTreeSet<(Option<Ipv4Addr>, A)>,
}

impl<A> Default for Before<A> {
    fn default() -> Self {
        Self {
            any: false,
            told: 0,
            known: BTreeSet::new(),
        }
    }
}

impl<P: Policy<N>, N: Prefix> Exporter<'_, P, N> {
    /// Writes into `desired` what the neighbor should know: the best path; or, best first, all that may be chosen.
    /// Returns the prefix; `None` if there is no such destination.
    pub(super) fn desired(
        &mut self,
        rib: &LocRib<N>,
        slot: Slot,
        desired: &mut Vec<Told<N::NextHop>>,
    ) -> Option<N> {
        desired.clear();
        let (prefix, eligible) = rib.eligible(slot)?;
        let mut before = Before::default();
        for path in eligible {
            desired.extend(self.judge(prefix, path, &mut before));
            if !self.to.all_paths || desired.len() == PATHS_MAX {
                break;
            }
        }
        Some(prefix)
    }

    /// Judges the next best path to a destination.
    ///
    /// # Errors
    /// Why the neighbor is not told.
    pub(super) fn judge(
        &mut self,
        prefix: N,
        (entry, source): (&Entry<N::NextHop>, PathSource),
        before: &mut Before<N::NextHop>,
    ) -> Result<Told<N::NextHop>, Rejection> {
        if !self.to.all_paths {
            if std::mem::replace(&mut before.any, true) {
                return Err(NOT_BEST);
            }
            let exported = self.export(entry, source)?;
            return Ok((None, self.admit(prefix, exported)?));
        }
        if before.told == PATHS_MAX {
            return Err(MAX_PATHS);
        }
        let exported = self.export(entry, source)?;
        // Reflected twice, by us and by another reflector, a path is the same path.
        let same = (originator(&entry.attributes, source), exported.next_hop);
        if !before.known.insert(same) {
            return Err(SAME_PATH);
        }
        let admitted = self.admit(prefix, exported)?;
        before.told += 1;
        Ok((Some(entry.local_id), admitted))
    }

    /// Returns the attributes with which a path is told as the policy wants it, if it does.
    fn admit(
        &mut self,
        prefix: N,
        exported: Arc<PathAttributes<N::NextHop>>,
    ) -> Exported<N::NextHop> {
        let mut attributes = Cow::Borrowed(&*exported);
        self.policy.export(self.to.peer, prefix, &mut attributes)?;
        match attributes {
            Cow::Borrowed(_) => Ok(exported),
            Cow::Owned(changed) => Ok(self.pool.intern(changed)),
        }
    }

    /// Returns the attributes with which a path is told, before policy.
    fn export(&mut self, entry: &Entry<N::NextHop>, source: PathSource) -> Exported<N::NextHop> {
        if self.deferring && source != PathSource::Local {
            return Err(RESTARTING);
        }
        let key = (Arc::as_ptr(&entry.attributes), source);
        if let Some((latest, exported)) = &self.latest
            && *latest == key
        {
            return exported.clone();
        }
        let exported = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => {
                let neighbor = source.peer().and_then(|peer| self.neighbors.get(&peer));
                let origin = (source, neighbor.map(|neighbor| neighbor.identity.role));
                let target = self.to.target();
                let exported = self
                    .reflector
                    .export::<N>(&entry.attributes, origin, target);
                let exported = exported.map(|attributes| self.pool.intern(attributes));
                self.known.insert(key, exported.clone());
                exported
            }
        };
        self.latest = Some((key, exported.clone()));
        exported
    }
}
