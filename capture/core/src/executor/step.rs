//! How a work gets on: what it takes next, whether that may be sent, and when to look at it again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::work::Work;
use super::{Executor, FRESH, FRESH_HOLDERS, Order, PATIENCE, SLOW_LOOK};
use crate::fence::Ticket;
use crate::plan::{Kind, Mode};
use crate::provider::{Observation, Operation};

/// What brings a work forward.
enum Step {
    Change(Operation),
    /// To know how things are.
    Look(Order),
    Wait,
}

impl Executor {
    /// Brings one work a step forward, if it is its turn.
    pub(super) fn advance(&mut self, id: u64, now: Instant) -> Option<Order> {
        let work = self.works.get(&id)?;
        if work.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let kind = work.kind;
        let allowed = self.pace.allows(kind == Kind::Release, now);
        let live = self.may_send(self.works.get(&id)?) && allowed;
        if live && !self.is_fresh(now) && !self.has_stripped(id, now) {
            return Some(self.send(Operation::Observe, None, None, now));
        }
        let observation = self
            .observed
            .as_ref()
            .map(|seen| seen.observation.clone())?;
        let step = match kind {
            Kind::Forward => Operation::SetForwarding {
                enabled: true,
                version: observation.version,
            },
            Kind::Restore => Operation::SetForwarding {
                enabled: false,
                version: observation.version,
            },
            Kind::Release => Operation::Unassign {
                addresses: self.works.get(&id)?.entries(&observation),
                version: observation.version,
            },
            Kind::Capture => match self.capture_step(id, &observation, live, now) {
                Step::Change(step) => step,
                Step::Look(order) => return Some(order),
                Step::Wait => return None,
            },
        };
        let id = self.show(id, &step)?;
        // Another change than the approved one has to be approved anew.
        if !live || !self.may_send(self.works.get(&id)?) {
            return None;
        }
        let work = self.works.get_mut(&id)?;
        self.pace.spend(now);
        let ticket = Ticket {
            generation: self.authority.generation,
            wants: work.wants_of(&step),
            gone: std::mem::take(&mut work.from),
            not_after: now + self.settings.patience,
        };
        self.journal_intent(&step, &ticket, observation.forwarding);
        Some(self.send(step, Some(ticket), Some(id), now))
    }

    /// The next change of a work that captures; or the look that it needs first, if it is time for one.
    fn capture_step(
        &mut self,
        id: u64,
        observation: &Observation,
        live: bool,
        now: Instant,
    ) -> Step {
        if self.full_until.is_some() {
            return Step::Wait;
        }
        let Some(work) = self.works.get(&id) else {
            return Step::Wait;
        };
        let addresses: BTreeSet<Ipv4Addr> = work.wants.keys().copied().collect();
        let age = if live {
            FRESH_HOLDERS
        } else {
            self.settings.poll.shortest
        };
        let Some(found) = work.found.clone().filter(|found| found.is_fresh(age, now)) else {
            let look = Operation::FindHolders(addresses);
            return Step::Look(self.send(look, None, Some(id), now));
        };
        let takeover = self.judge(&addresses, &found.holders, observation, now);
        self.leave_alone(&takeover, &addresses, now);
        if !takeover.refused.is_empty() {
            self.left = Some(found);
        }
        if !takeover.mine.is_empty() {
            self.observe_at = self.observe_at.min(now + PATIENCE);
        }
        let Some(work) = self.works.get_mut(&id) else {
            return Step::Wait;
        };
        work.from = takeover.from;
        work.wants
            .retain(|address, _| !takeover.refused.contains_key(address));
        if takeover.step.is_none() {
            (work.found, work.step) = (None, None);
            work.not_before = Some(now + PATIENCE);
        }
        if work.wants.is_empty() {
            self.works.remove(&id);
        }
        takeover.step.map_or(Step::Wait, Step::Change)
    }

    /// Whether a work may be sent, not only shown, as far as the budget allows.
    fn may_send(&self, work: &Work) -> bool {
        let willing = match self.settings.mode {
            Mode::Off | Mode::Observe | Mode::Plan => false,
            Mode::Approve => work.approved.is_some() || work.is_ordered(),
            Mode::Auto => true,
        };
        let able = match work.kind {
            Kind::Forward => true,
            // Before that packets would get lost here.
            Kind::Capture => {
                let mut seen = self.observed.iter();
                self.full_until.is_none()
                    && seen.any(|seen| seen.observation.forwarding)
                    && (self.capabilities.marks || !self.journal_failed)
            }
            // What is not written down is not ours after a restart.
            Kind::Release | Kind::Restore => !self.journal_failed,
        };
        willing && able
    }

    /// Tells whether a work took addresses off another NIC a moment ago: on none they are lost to everybody. The change that
    /// puts them on ours names the version of it that was seen before, so that it fails if anybody has changed it since.
    fn has_stripped(&self, id: u64, now: Instant) -> bool {
        let versioned = self.observed.as_ref().filter(|_| self.invalid.is_none());
        let versioned = versioned.is_some_and(|seen| seen.observation.version.is_some());
        let work = self.works.get(&id).filter(|_| versioned);
        let found = work.and_then(|work| work.found.as_ref());
        found.is_some_and(|found| found.stripped && found.is_fresh(FRESH_HOLDERS, now))
    }

    fn is_fresh(&self, now: Instant) -> bool {
        let seen = self.observed.as_ref().filter(|_| self.invalid.is_none());
        seen.is_some_and(|seen| {
            now < seen.answered + FRESH && seen.answered < seen.asked + SLOW_LOOK
        })
    }

    /// When a work wants to be looked at again; `None`: when something else happens.
    pub(super) fn work_due(&self, work: &Work, now: Instant) -> Option<Instant> {
        let due = if self.may_send(work) {
            self.pace
                .next_allowed(work.kind == Kind::Release)
                .unwrap_or(now)
        } else if work.kind == Kind::Capture && self.full_until.is_none() {
            let found = work.found.as_ref();
            found.map_or(now, |found| found.answered + self.settings.poll.shortest)
        } else {
            return None;
        };
        Some(due.max(work.not_before.unwrap_or(now)).max(now))
    }
}
