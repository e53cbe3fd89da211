//! What would become of a route: import and export tried without a session, and without changing anything.

use std::borrow::Cow;

use super::attribute_pool::AttributePool;
use super::destination::Ineligible;
use super::export::Before;
use super::neighbor::NeighborIdentity;
use super::path::{Path, PathSource};
use super::tables::Tables;
use crate::config::{PeerId, PeerRole};
use crate::policy::{Policy, Rejection};
use crate::wire::{PathAttributes, Prefix};

/// The attributes that a route would have, or why it does not pass.
pub type Tried<A> = Result<PathAttributes<A>, Rejection>;

impl<P: Policy<N>, N: Prefix> Tables<P, N> {
    /// Tries the import of a route of a peer; limits are not tried.
    pub(crate) fn try_import(
        &self,
        (peer, role): (PeerId, PeerRole),
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Tried<N::NextHop> {
        self.reflector.check::<N>(attributes, role)?;
        let mut imported = Cow::Borrowed(attributes);
        self.policy.import(peer, prefix, &mut imported)?;
        Ok(imported.into_owned())
    }

    /// Tries the export of each path to a prefix, best first; with the attributes that the policy is asked about.
    pub(crate) fn try_export(
        &self,
        to: NeighborIdentity,
        prefix: N,
    ) -> Vec<(Path<N::NextHop>, Tried<N::NextHop>)> {
        // Attributes made for the answer go with it.
        let mut pool = AttributePool::new(0);
        let mut exporter = self.exporter(to, &mut pool);
        let mut before = Before::default();
        let tried = self.loc_rib.entries(prefix).map(|path| {
            let told = match path.0.ineligible.map(Ineligible::name) {
                Some(reason) => Err(Rejection(reason)),
                None => exporter.judge(prefix, path, &mut before),
            };
            let told = told.map(|(_, attributes)| (*attributes).clone());
            (self.loc_rib.path(path.0), told)
        });
        tried.collect()
    }

    /// Tries the export of a route of our own that is not there.
    pub(crate) fn try_originating(
        &self,
        to: NeighborIdentity,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Tried<N::NextHop> {
        let ours = (PathSource::Local, None);
        let told = self.reflector.export::<N>(attributes, ours, to.target())?;
        let mut told = Cow::Owned(told);
        self.policy.export(to.peer, prefix, &mut told)?;
        Ok(told.into_owned())
    }
}
