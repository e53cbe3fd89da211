//! Something to do with some addresses, until it is done or not needed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Executor, SLOW_LOOK, addresses_of};
use crate::desired::Want;
use crate::node::NodeId;
use crate::plan::{Cause, Cooldown, Kind};
use crate::provider::{Entry, Holder, Observation, Operation};
use crate::takeover::{Holders, Takeover, take_over};

/// A part of the plan that is done in one go.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) wants: BTreeMap<Ipv4Addr, Want>,
    pub(super) since: Instant,
    /// An operator said yes.
    pub(super) approved: bool,
    /// Who has the addresses.
    pub(super) found: Option<Found>,
    /// Routers from which the next change takes something.
    pub(super) from: BTreeSet<NodeId>,
    /// The next change, as far as known.
    pub(super) step: Option<Operation>,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
}

/// Who has some addresses.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) holders: BTreeMap<Ipv4Addr, Holder>,
    pub(super) asked: Instant,
    pub(super) answered: Instant,
}

impl Found {
    /// Tells whether the answer is younger than `age`.
    pub(super) fn is_fresh(&self, age: Duration, now: Instant) -> bool {
        now < self.answered + age && self.answered < self.asked + SLOW_LOOK
    }
}

impl Work {
    pub(super) fn new(kind: Kind, wants: BTreeMap<Ipv4Addr, Want>, now: Instant) -> Self {
        Self {
            kind,
            wants,
            since: now,
            approved: false,
            found: None,
            from: BTreeSet::new(),
            step: None,
            failures: 0,
            not_before: None,
        }
    }

    /// How its addresses are on our NIC.
    pub(super) fn entries(&self, observation: &Observation) -> BTreeMap<Ipv4Addr, Entry> {
        let entries = observation.entries.iter();
        entries
            .filter(|(address, _)| self.wants.contains_key(address))
            .map(|(address, entry)| (*address, entry.clone()))
            .collect()
    }

    /// What is wanted of those addresses that a change is for.
    pub(super) fn wants_of(&self, step: &Operation) -> BTreeMap<Ipv4Addr, Want> {
        let addresses = addresses_of(step);
        let mut wants = self.wants.clone();
        // Forwarding is for the address that is its reason.
        wants.retain(|address, _| addresses.is_empty() || addresses.contains(address));
        wants
    }
}

impl Executor {
    /// Decides how wanted addresses get here. Where the provider said never, nothing is tried for a long time, unless
    /// another NIC has the address.
    pub(super) fn judge(
        &self,
        addresses: &BTreeSet<Ipv4Addr>,
        found: &BTreeMap<Ipv4Addr, Holder>,
        observation: &Observation,
        now: Instant,
    ) -> Takeover {
        let refused = addresses.iter().filter_map(|address| {
            let cause = &self.cooldowns.get(address)?.cause;
            let Cause::Refused { holder, again, .. } = cause else {
                return None;
            };
            let now_held = found.get(address).map(|holder| &holder.nic);
            let same = now_held == holder.as_ref() && now < *again;
            same.then(|| (*address, cause.clone()))
        });
        let refused: BTreeMap<Ipv4Addr, Cause> = refused.collect();
        let others = addresses.iter().copied();
        let others = others
            .filter(|address| !refused.contains_key(address))
            .collect();
        let holders = Holders {
            found,
            members: &self.settings.members,
            gone: &self.authority.gone,
        };
        let mut takeover = take_over(&others, holders, observation, self.capabilities);
        takeover.refused.extend(refused);
        takeover
    }

    /// Leaves alone what must be left alone, until the next regular look, and nothing else of `addresses`.
    pub(super) fn leave_alone(
        &mut self,
        takeover: &Takeover,
        addresses: &BTreeSet<Ipv4Addr>,
        now: Instant,
    ) {
        for address in addresses {
            match takeover.refused.get(address) {
                Some(cause) => {
                    let until = now + self.pace.poll_interval(self.settings.poll);
                    self.cool_down(*address, cause.clone(), until);
                }
                None => drop(self.cooldowns.remove(address)),
            }
        }
    }

    /// Leaves an address alone for a while.
    pub(super) fn cool_down(&mut self, address: Ipv4Addr, cause: Cause, until: Instant) {
        if let Some(want) = self.authority.wants.get(&address) {
            let want = want.clone();
            let cooldown = Cooldown { want, until, cause };
            self.cooldowns.insert(address, cooldown);
        }
    }

    /// Does not leave alone any more what a sibling had that is gone.
    pub(super) fn follow_siblings(&mut self) {
        let gone = &self.authority.gone;
        self.cooldowns.retain(|_, cooldown| {
            !matches!(&cooldown.cause, Cause::HeldBySibling(node) if gone.contains(node))
        });
    }
}
