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
use ipnet::Ipv4Net;

use super::adj_rib_out::Told;
use super::attribute_pool::AttributePool;
use super::destination::Entry;
use super::destinations::Slot;
use super::loc_rib::LocRib;
use super::neighbor::{Neighbor, NeighborIdentity};
use super::path::{PATHS_MAX, PathSource};
use crate::config::PeerId;
use crate::policy::Policy;
use crate::reflector::{Reflector, originator};
use crate::wire::PathAttributes;

/// Works out what one neighbor should know.
pub(super) struct Exporter<'a, P> {
    /// Who is told.
    pub(super) to: NeighborIdentity,
    /// How routes are reflected.
    pub(super) reflector: Reflector,
    /// What may be told.
    pub(super) policy: &'a P,
    /// Whom paths came from.
    pub(super) neighbors: &'a BTreeMap<PeerId, Neighbor>,
    /// Whether only our own routes are told.
    pub(super) deferring: bool,
    /// Where sets of attributes are shared.
    pub(super) pool: &'a mut AttributePool,
    /// Reflected forms by the address of the set and the source.
    pub(super) reflected:
        HashMap<(*const PathAttributes, PathSource), Arc<PathAttributes>, FixedState>,
    /// The latest of them: neighbors in the table mostly share a set.
    pub(super) latest: Option<(*const PathAttributes, PathSource, Arc<PathAttributes>)>,
}

impl<P: Policy> Exporter<'_, P> {
    /// Writes into `desired` what the neighbor should know: the best path; or, best first, all that may be chosen.
    /// Returns the prefix; `None` if there is no such destination.
    pub(super) fn desired(
        &mut self,
        rib: &LocRib,
        slot: Slot,
        desired: &mut Vec<Told>,
    ) -> Option<Ipv4Net> {
        desired.clear();
        let (prefix, mut eligible) = rib.eligible(slot)?;
        if !self.to.all_paths {
            if let Some((entry, source)) = eligible.next() {
                let attributes = self.export(prefix, entry, source);
                desired.extend(attributes.map(|attributes| (None, attributes)));
            }
            return Some(prefix);
        }
        // Reflected twice, by us and by another reflector, a path is the same path.
        let mut known: BTreeSet<(Option<Ipv4Addr>, Ipv4Addr)> = BTreeSet::new();
        for (entry, source) in eligible {
            if desired.len() == PATHS_MAX || !self.tells(entry, source) {
                continue;
            }
            let attributes = &entry.attributes;
            if !known.insert((originator(attributes, source), attributes.next_hop)) {
                continue;
            }
            let attributes = self.export(prefix, entry, source);
            desired.extend(attributes.map(|attributes| (Some(entry.local_id), attributes)));
        }
        Some(prefix)
    }

    /// Returns the attributes with which a path is told; `None` if it is not.
    fn export(
        &mut self,
        prefix: Ipv4Net,
        entry: &Entry,
        source: PathSource,
    ) -> Option<Arc<PathAttributes>> {
        if !self.tells(entry, source) {
            return None;
        }
        let reflected = self.reflect(&entry.attributes, source);
        let mut attributes = Cow::Borrowed(&*reflected);
        if !self.policy.export(self.to.peer, prefix, &mut attributes) {
            return None;
        }
        match attributes {
            Cow::Borrowed(_) => Some(reflected),
            Cow::Owned(changed) => Some(self.pool.intern(changed)),
        }
    }

    fn tells(&self, entry: &Entry, source: PathSource) -> bool {
        if self.deferring && source != PathSource::Local {
            return false;
        }
        let neighbor = source.peer().and_then(|peer| self.neighbors.get(&peer));
        let role = neighbor.map(|neighbor| neighbor.identity.role);
        Reflector::tells(&entry.attributes, source, role, self.to.target())
    }

    fn reflect(
        &mut self,
        attributes: &Arc<PathAttributes>,
        source: PathSource,
    ) -> Arc<PathAttributes> {
        let key = Arc::as_ptr(attributes);
        if let Some((latest, from, reflected)) = &self.latest
            && (*latest, *from) == (key, source)
        {
            return Arc::clone(reflected);
        }
        let (pool, reflector) = (&mut *self.pool, self.reflector);
        let reflected = self
            .reflected
            .entry((key, source))
            .or_insert_with(|| pool.intern(reflector.reflect(attributes, source)));
        self.latest = Some((key, source, Arc::clone(reflected)));
        Arc::clone(reflected)
    }
}
