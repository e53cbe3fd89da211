//! Something to do with some addresses, until it is done or not needed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::consent::Consent;
use super::{Executor, SLOW_LOOK, addresses_of};
use crate::desired::{Absence, Want};
use crate::node::NodeId;
use crate::plan::{Cause, Cooldown, Kind, Mode};
use crate::provider::{Entry, Holder, Observation, Operation};
use crate::takeover::{Holders, Takeover, take_over};

/// A part of the plan that is done in one go.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) wants: BTreeMap<Ipv4Addr, Want>,
    pub(super) since: Instant,
    /// What an operator said yes to.
    pub(super) approved: Option<Consent>,
    /// What operators were shown under its number.
    pub(super) shown: Option<Consent>,
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
    /// Some were taken off a NIC since.
    pub(super) stripped: bool,
}

impl Found {
    /// What is known once addresses were taken off a NIC: nobody has them. That is known as of now, and they are put on
    /// ours next, before anything else is taken; each look first would be time in which they are nowhere.
    pub(super) fn without(mut self, addresses: &BTreeSet<Ipv4Addr>, now: Instant) -> Self {
        self.holders
            .retain(|address, _| !addresses.contains(address));
        (self.asked, self.answered, self.stripped) = (now, now, true);
        self
    }

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
            approved: None,
            shown: None,
            found: None,
            from: BTreeSet::new(),
            step: None,
            failures: 0,
            not_before: None,
        }
    }

    /// Tells whether nothing is known of it yet: nobody was asked, nothing was shown, nothing has failed.
    pub(super) fn is_untouched(&self) -> bool {
        self.found.is_none()
            && self.shown.is_none()
            && self.approved.is_none()
            && self.not_before.is_none()
            && self.failures == 0
    }

    /// Tells whether an operator has ordered it himself.
    pub(super) fn is_ordered(&self) -> bool {
        let ordered = Want::Absent(Absence::Ordered);
        self.wants.values().all(|want| *want == ordered)
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
    /// Notes the next change of a work, and returns the number of the work. A change that is not the one that operators
    /// were shown gets another number, so that nobody says yes to what he did not see.
    pub(super) fn show(&mut self, id: u64, step: &Operation) -> Option<u64> {
        let work = self.works.get_mut(&id)?;
        work.step = Some(step.clone());
        let shown = work.shown.get_or_insert_with(|| Consent::to(step));
        if shown.covers(step) || self.settings.mode != Mode::Approve {
            return Some(id);
        }
        let mut work = self.works.remove(&id)?;
        (work.approved, work.shown) = (None, Some(Consent::to(step)));
        let id = self.next_id;
        self.next_id += 1;
        self.works.insert(id, work);
        Some(id)
    }

    /// Decides how wanted addresses get here. What the provider refused for good is not tried again, unless another NIC
    /// has the address, or its time has come.
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
            let early = again.is_none_or(|again| now < again);
            let same = now_held == holder.as_ref() && early;
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
                    let until = now + self.pace.poll_interval(self.settings.poll.shortest);
                    self.cool_down(*address, cause.clone(), until);
                }
                None if self.is_tried_again(*address, now) => {}
                None => drop(self.cooldowns.remove(address)),
            }
        }
    }

    /// Tells whether an address was refused, and the time has come to see whether it still is: how often it was refused
    /// must not be forgotten.
    fn is_tried_again(&self, address: Ipv4Addr, now: Instant) -> bool {
        let cooldown = self.cooldowns.get(&address);
        cooldown.is_some_and(|cooldown| {
            let again = cooldown.cause.again();
            again.is_some_and(|again| again <= now)
        })
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
