//! What one neighbor is not told, and why: worked out when somebody asks, kept nowhere.

use hashbrown::HashMap;

use super::attribute_pool::AttributePool;
use super::destination::{Entry, Ineligible};
use super::destinations::Slot;
use super::export::{Before, Exporter};
use super::neighbor::{Neighbor, NeighborIdentity};
use super::path::{Path, PathSource};
use super::tables::Tables;
use crate::config::PeerId;
use crate::policy::{Policy, Rejection};
use crate::wire::Prefix;

/// The session is not up.
const SESSION_DOWN: Rejection = Rejection("session-down");
/// It is to be told, and waits: much is to be told, or the neighbor does not read.
const PENDING: Rejection = Rejection("pending");

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Lists the paths that a neighbor is not told, by prefix, best first.
    pub(crate) fn withheld(&self, peer: PeerId) -> Vec<(N, Path<N::NextHop>, Rejection)> {
        let neighbor = self.neighbors.get(&peer);
        // Attributes made for the answer go with it.
        let mut pool = AttributePool::new(0);
        let mut question = neighbor
            .filter(|neighbor| neighbor.established)
            .map(|neighbor| (neighbor, self.exporter(neighbor.identity, &mut pool)));
        let mut withheld = Vec::new();
        for (slot, prefix, paths) in self.loc_rib.all() {
            let mut before = Before::default();
            for path in paths {
                let reason = match &mut question {
                    Some(question) => reason(question, (slot, prefix), path, &mut before),
                    None => Some(SESSION_DOWN),
                };
                withheld.extend(reason.map(|reason| (prefix, self.loc_rib.path(path.0), reason)));
            }
        }
        // Stable: the paths to one prefix keep their order.
        withheld.sort_by_key(|(prefix, ..)| *prefix);
        withheld
    }

    /// Judges what a neighbor is to be told; for questions.
    pub(super) fn exporter<'a>(
        &'a self,
        to: NeighborIdentity,
        pool: &'a mut AttributePool<N::NextHop>,
    ) -> Exporter<'a, P, N> {
        Exporter {
            to,
            reflector: self.reflector,
            policy: &*self.policy,
            neighbors: &self.neighbors,
            deferring: self.deferring,
            pool,
            known: HashMap::default(),
            latest: None,
        }
    }
}

/// Tells why a neighbor does not know the next best path to a destination; `None` if it does.
fn reason<P: Policy<N>, N: Prefix>(
    (neighbor, exporter): &mut (&Neighbor<N>, Exporter<'_, P, N>),
    (slot, prefix): (Slot, N),
    path: (&Entry<N::NextHop>, PathSource),
    before: &mut Before<N::NextHop>,
) -> Option<Rejection> {
    if let Some(reason) = path.0.ineligible.map(Ineligible::name) {
        return Some(Rejection(reason));
    }
    match exporter.judge(prefix, path, before) {
        Ok(wanted) => {
            let mut told = neighbor.adj_rib_out.paths(slot);
            (!told.any(|told| *told == wanted)).then_some(PENDING)
        }
        Err(reason) => Some(reason),
    }
}
