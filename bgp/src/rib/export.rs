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
    /// What was worked out, by the address of the set of attributes and the source.
    pub(super) known: HashMap<(*const PathAttributes, PathSource), Exported, FixedState>,
    /// The latest of it: neighbors in the table mostly share a set.
    pub(super) latest: Option<(*const PathAttributes, PathSource, Exported)>,
}

/// The attributes with which a path is told, before policy; `None` if it is not.
pub(super) type Exported = Option<Arc<PathAttributes>>;

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
            let best = eligible.next();
            let best = best.and_then(|(entry, source)| self.export(entry, source));
            let best = best.and_then(|attributes| self.admit(prefix, attributes));
            desired.extend(best.map(|attributes| (None, attributes)));
            return Some(prefix);
        }
        // Reflected twice, by us and by another reflector, a path is the same path.
        let mut known: BTreeSet<(Option<Ipv4Addr>, Ipv4Addr)> = BTreeSet::new();
        for (entry, source) in eligible {
            if desired.len() == PATHS_MAX {
                break;
            }
            let Some(exported) = self.export(entry, source) else {
                continue;
            };
            let same = (originator(&entry.attributes, source), exported.next_hop);
            if known.insert(same) {
                let admitted = self.admit(prefix, exported);
                desired.extend(admitted.map(|attributes| (Some(entry.local_id), attributes)));
            }
        }
        Some(prefix)
    }

    /// Returns the attributes with which a path is told as the policy wants it; `None` if it does not.
    fn admit(&mut self, prefix: Ipv4Net, exported: Arc<PathAttributes>) -> Exported {
        let mut attributes = Cow::Borrowed(&*exported);
        if !self.policy.export(self.to.peer, prefix, &mut attributes) {
            return None;
        }
        match attributes {
            Cow::Borrowed(_) => Some(exported),
            Cow::Owned(changed) => Some(self.pool.intern(changed)),
        }
    }

    /// Returns the attributes with which a path is told, before policy.
    fn export(&mut self, entry: &Entry, source: PathSource) -> Exported {
        if self.deferring && source != PathSource::Local {
            return None;
        }
        let key = Arc::as_ptr(&entry.attributes);
        if let Some((latest, from, exported)) = &self.latest
            && (*latest, *from) == (key, source)
        {
            return exported.clone();
        }
        let exported = match self.known.get(&(key, source)) {
            Some(known) => known.clone(),
            None => {
                let neighbor = source.peer().and_then(|peer| self.neighbors.get(&peer));
                let origin = (source, neighbor.map(|neighbor| neighbor.identity.role));
                let target = self.to.target();
                let exported = self.reflector.export(&entry.attributes, origin, target);
                let exported = exported.map(|attributes| self.pool.intern(attributes));
                self.known.insert((key, source), exported.clone());
                exported
            }
        };
        self.latest = Some((key, source, exported.clone()));
        exported
    }
}
