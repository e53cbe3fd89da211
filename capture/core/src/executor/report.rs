//! What operators are shown: how each address is and why, what is planned, what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use super::Executor;
use super::work::Work;
use crate::desired::{KeepReason, Want};
use crate::plan::{Cause, Kind, Mode};
use crate::provider::{NicId, Observation, Operation, Permission};

/// How an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On our NIC.
    Held,
    /// A change is under way, or was made a moment ago.
    Changing,
    /// To be changed as soon as budget and pauses permit.
    Due,
    /// An operator must approve.
    AwaitsApproval,
    /// It would be changed in another mode.
    Planned,
    /// Left alone for now.
    Waiting,
    /// No room on our NIC, nor elsewhere at the site.
    NoRoom,
    /// Not on our NIC.
    Absent,
}

impl State {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Changing => "changing",
            Self::Due => "due",
            Self::AwaitsApproval => "awaits-approval",
            Self::Planned => "planned",
            Self::Waiting => "waiting",
            Self::NoRoom => "no-room",
            Self::Absent => "absent",
        }
    }
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressReport {
    /// Which.
    pub address: Ipv4Addr,
    /// What is wanted of it; nothing of an entry that is none of our business.
    pub want: Option<Want>,
    /// Who has it, as far as known.
    pub holder: Option<NicId>,
    /// How it is.
    pub state: State,
    /// Why, in words.
    pub why: String,
    /// Since when.
    pub since: Option<Instant>,
}

/// An action that is planned, waits or is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionReport {
    /// Its number.
    pub id: u64,
    /// What it is for.
    pub kind: Kind,
    /// With which addresses, and why.
    pub wants: BTreeMap<Ipv4Addr, Want>,
    /// The next change at the provider, as far as known.
    pub step: Option<Operation>,
    /// Whether it is under way.
    pub under_way: bool,
    /// Whether an operator must approve it.
    pub awaits_approval: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Since when.
    pub since: Instant,
}

/// An action that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its number.
    pub id: u64,
    /// The change at the provider.
    pub operation: &'static str,
    /// With which addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// `done`, or the class of the error.
    pub result: &'static str,
    /// The provider's code and message.
    pub detail: String,
    /// When.
    pub at: Instant,
}

/// Our NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicReport {
    /// How it is.
    pub observation: Observation,
    /// When that was asked.
    pub at: Instant,
}

/// A look that fails again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingLook {
    /// Class of the newest failure.
    pub class: &'static str,
    /// The provider's code and message.
    pub detail: String,
    /// Since when none has succeeded.
    pub since: Instant,
    /// How many have failed since.
    pub times: u32,
}

/// How the whole is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// How far the router goes on its own.
    pub mode: Mode,
    /// Our NIC, once it was seen.
    pub nic: Option<NicReport>,
    /// Why the newest look was no good.
    pub invalid: Option<String>,
    /// Looks that fail, by their name, until they succeed.
    pub failing: BTreeMap<&'static str, FailingLook>,
    /// What the instance may do.
    pub permissions: Vec<Permission>,
    /// Whether an address moves from one NIC to another in one change, in two it is on none for a while; `None` while nobody
    /// has looked.
    pub moves: Option<bool>,
    /// Whether the journal cannot be written.
    pub journal_failed: bool,
    /// Addresses without room.
    pub no_room: BTreeSet<Ipv4Addr>,
    /// How often the rate is halved because the provider was asked too often.
    pub halvings: u32,
    /// The newest refusal that fell in no class: when it came, and the provider's code and message.
    pub unclassified: Option<(Instant, String)>,
    /// Calls by operation, and failures by class; `unclassified` are those among them that nobody knows.
    pub counters: BTreeMap<&'static str, u64>,
    /// Addresses on our NIC by our doing.
    pub held: BTreeSet<Ipv4Addr>,
}

impl Executor {
    /// Reports how the whole is.
    #[must_use]
    pub fn status(&self) -> StatusReport {
        StatusReport {
            mode: self.settings.mode,
            nic: self.observed.as_ref().map(|seen| NicReport {
                observation: seen.observation.clone(),
                at: seen.asked,
            }),
            invalid: self.invalid.clone(),
            failing: self.failing.clone(),
            permissions: self.preflight.permissions().to_vec(),
            moves: self.moves(),
            journal_failed: self.journal_failed,
            no_room: self.no_room.clone(),
            halvings: self.pace.halvings(),
            unclassified: self.unclassified.clone(),
            counters: self.counters.clone(),
            held: self.held(),
        }
    }

    /// Reports all addresses that are wanted, unwanted or held.
    #[must_use]
    pub fn addresses(&self, now: Instant) -> Vec<AddressReport> {
        let wants = self.authority.wants.keys().copied();
        let all: BTreeSet<Ipv4Addr> = wants.chain(self.held()).collect();
        all.into_iter()
            .map(|address| self.address(address, now))
            .collect()
    }

    /// Reports one address.
    #[must_use]
    pub fn address(&self, address: Ipv4Addr, now: Instant) -> AddressReport {
        let want = self.authority.wants.get(&address).cloned();
        let (state, cause) = self.state(address, now);
        let reason = want.as_ref().map(Want::to_string);
        AddressReport {
            address,
            holder: self.holder(address),
            state,
            why: cause
                .or(reason)
                .unwrap_or_else(|| "no route says anything of it".to_owned()),
            since: self.states.get(&address).map(|(_, since)| *since),
            want,
        }
    }

    /// Reports the actions that did not end yet, in the order in which they are done.
    #[must_use]
    pub fn actions(&self) -> Vec<ActionReport> {
        let works = self.ordered_works().into_iter();
        works
            .filter_map(|id| {
                let work = self.works.get(&id)?;
                Some(ActionReport {
                    id,
                    kind: work.kind,
                    wants: work.wants.clone(),
                    step: work.step.clone(),
                    under_way: self.is_under_way(id),
                    awaits_approval: self.awaits_approval(work),
                    failures: work.failures,
                    since: work.since,
                })
            })
            .collect()
    }

    /// Reports the actions that ended, the newest last.
    pub fn history(&self) -> impl Iterator<Item = &Done> {
        self.history.iter()
    }

    /// Notes since when each address is as it is.
    pub(super) fn note_states(&mut self, now: Instant) {
        let wants = self.authority.wants.keys().copied();
        let all: BTreeSet<Ipv4Addr> = wants.chain(self.held()).collect();
        let states = all.into_iter().map(|address| {
            let (state, _) = self.state(address, now);
            let former = self.states.get(&address);
            let same = former.filter(|(former, _)| *former == state);
            (address, same.copied().unwrap_or((state, now)))
        });
        self.states = states.collect();
    }

    fn state(&self, address: Ipv4Addr, now: Instant) -> (State, Option<String>) {
        let is_of = |work: &&Work| {
            !matches!(work.kind, Kind::Forward | Kind::Restore) && work.wants.contains_key(&address)
        };
        let pending = self.pending.get(&address);
        let pending = pending.filter(|pending| now < pending.until);
        let unseen = pending.is_some_and(|pending| pending.present != self.is_there(address));
        if self.flight_has(address) || unseen {
            return (State::Changing, None);
        }
        if let Some(work) = self.works.values().find(is_of) {
            return match self.settings.mode {
                Mode::Off | Mode::Observe | Mode::Plan => (State::Planned, None),
                Mode::Approve | Mode::Auto if self.awaits_approval(work) => {
                    (State::AwaitsApproval, None)
                }
                Mode::Approve | Mode::Auto => (State::Due, None),
            };
        }
        if self.is_there(address) {
            return (State::Held, None);
        }
        if self.no_room.contains(&address) {
            let nowhere = Want::Keep(KeepReason::NoRoom);
            let here = "the NIC has no room for it";
            let is_nowhere = self.authority.wants.get(&address) == Some(&nowhere);
            return (State::NoRoom, (!is_nowhere).then(|| here.to_owned()));
        }
        match self.cooldowns.get(&address) {
            Some(cooldown) => (State::Waiting, Some(cooldown.cause.to_string())),
            None => (State::Absent, None),
        }
    }

    fn holder(&self, address: Ipv4Addr) -> Option<NicId> {
        if self.is_there(address) {
            return self
                .observed
                .as_ref()
                .map(|seen| seen.observation.nic.clone());
        }
        let found = self.works.values().filter_map(|work| work.found.as_ref());
        let holder = found.filter_map(|found| found.holders.get(&address)).next();
        let left = || match &self.cooldowns.get(&address)?.cause {
            Cause::HeldBySibling(node) => {
                let mut members = self.settings.members.iter();
                members
                    .find(|(_, member)| *member == node)
                    .map(|(nic, _)| nic.clone())
            }
            Cause::HeldByStranger(nic) | Cause::Unmarked(nic) => Some(nic.clone()),
            Cause::Refused { holder, .. } => holder.clone(),
            Cause::Fight => None,
        };
        holder.map(|holder| holder.nic.clone()).or_else(left)
    }

    fn is_there(&self, address: Ipv4Addr) -> bool {
        let mut seen = self.observed.iter();
        self.has(address) || seen.any(|seen| seen.observation.entries.contains_key(&address))
    }

    fn flight_has(&self, address: Ipv4Addr) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| {
            let operation = &flight.order.operation;
            operation.is_change() && addresses_of(operation).contains(&address)
        })
    }

    fn is_under_way(&self, id: u64) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.work == Some(id) && flight.order.ticket.is_some())
    }

    pub(super) fn awaits_approval(&self, work: &Work) -> bool {
        let open = work.step.is_some() && work.approved.is_none() && !work.is_ordered();
        self.settings.mode == Mode::Approve && open
    }
}

/// The addresses that an operation is about; none for what is about the NIC.
#[must_use]
pub fn addresses_of(operation: &Operation) -> BTreeSet<Ipv4Addr> {
    match operation {
        Operation::Assign { addresses, .. }
        | Operation::Strip { addresses, .. }
        | Operation::FindHolders(addresses) => addresses.clone(),
        Operation::Seize { addresses } => addresses.keys().copied().collect(),
        Operation::Unassign { addresses, .. } => addresses.keys().copied().collect(),
        Operation::Observe
        | Operation::Inventory
        | Operation::Preflight
        | Operation::SetForwarding { .. } => BTreeSet::new(),
    }
}
