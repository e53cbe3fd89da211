//! Who owns what now: the best paths of the pools' addresses, read as claims.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_bgp::{BestPathChange, DecisionStep, Feed, Stamp};
use sam_capture::{NodeId, Owner};

use crate::events::Event;
use crate::view::step_name;

/// Owners by address.
#[derive(Debug, Default)]
pub(crate) struct OwnerTable {
    held: BTreeMap<Ipv4Addr, Held>,
    /// Who claims actively what several claim so, with the sequence of each.
    contested: BTreeMap<Ipv4Addr, BTreeSet<(NodeId, u32)>>,
    /// Addresses whose owner changed, or its claim, or the active claims of others.
    feed: Feed<Ipv4Addr>,
}

#[derive(Debug)]
struct Held {
    holding: Holding,
    /// Place of the address in the feed.
    stamp: Option<Stamp>,
}

/// An owned address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Its owner.
    pub(crate) owner: Owner,
    /// Since when this node owns it.
    pub(crate) since: Instant,
    /// What made its path the best.
    pub(crate) step: DecisionStep,
}

impl OwnerTable {
    /// Takes in a best-path change; returns the event when another node owns the address, or its state changed.
    pub(crate) fn on_best_path(
        &mut self,
        asn: u32,
        change: &BestPathChange,
        now: Instant,
    ) -> Option<Event> {
        let address = change.prefix.addr();
        let new = change
            .new
            .as_ref()
            .and_then(|path| Owner::from_path(asn, change.prefix, path));
        let (old, stamp) = match self.held.remove(&address) {
            Some(Held { holding, stamp }) => (Some(holding), stamp),
            None => (None, None),
        };
        if old.is_some() || new.is_some() {
            let stamp = self.feed.note(address, stamp, new.is_some());
            let held = new.map(|owner| {
                let since = match old {
                    Some(old) if old.owner.node == owner.node => old.since,
                    Some(_) | None => now,
                };
                let step = change.step;
                let holding = Holding { owner, since, step };
                (address, Held { holding, stamp })
            });
            self.held.extend(held);
        }
        let key = |owner: Owner| (owner.node, owner.state);
        let old = old.map(|holding| holding.owner);
        (old.map(key) != new.map(key)).then(|| Event::OwnerChanged {
            address,
            from: old.map(|owner| owner.node),
            to: new.map(|owner| owner.node),
            state: new.map(|owner| owner.state),
            sequence: new.map(|owner| owner.sequence),
            step: step_name(change.step).into(),
        })
    }

    /// Takes in who claims an address actively: as long as several do, each change of that is news of the address, too.
    pub(crate) fn on_claims(&mut self, address: Ipv4Addr, claims: BTreeSet<(NodeId, u32)>) {
        let claims = (claims.len() > 1).then_some(claims);
        if self.contested.get(&address) == claims.as_ref() {
            return;
        }
        self.contested.remove(&address);
        self.contested
            .extend(claims.map(|claims| (address, claims)));
        self.note(address);
    }

    /// Forgets who claims what, because changes of that were missed; what may have changed is news.
    pub(crate) fn forget_claims(&mut self) {
        for address in std::mem::take(&mut self.contested).into_keys() {
            self.note(address);
        }
    }

    fn note(&mut self, address: Ipv4Addr) {
        if let Some(held) = self.held.get_mut(&address) {
            held.stamp = self.feed.note(address, held.stamp, true);
        }
    }

    /// What changed.
    pub(crate) fn feed(&self) -> &Feed<Ipv4Addr> {
        &self.feed
    }

    /// Returns who owns an address.
    #[must_use]
    pub(crate) fn holding(&self, address: Ipv4Addr) -> Option<&Holding> {
        self.held.get(&address).map(|held| &held.holding)
    }

    /// Lists all owners, by address.
    pub(crate) fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.held.values().map(|held| &held.holding.owner)
    }
}
