//! Decides when the provider is called, and what follows from its answers. Reads no clock and makes no call itself.
//!
//! ```text
//!  Authority ──► plan ──► works ──► poll() ──► Order ──► provider thread (asks the fence again)
//!                  ▲                                          │
//!                  └── observation, pending, cooldowns ◄── handle_answer()
//! ```
//! One order at a time. The plan is replaced, never queued; each change is decided on a look at our NIC and at the
//! holders that is a moment old, and is followed by further looks.

mod ability;
mod answer;
mod consent;
mod load;
mod news;
mod preflight;
mod report;
mod settings;
mod step;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use self::consent::Consent;
pub use self::news::News;
use self::preflight::Preflight;
pub use self::report::{
    ActionReport, AddressReport, Done, FailingLook, NicReport, State, StatusReport, addresses_of,
};
pub use self::settings::{Rhythm, Settings};
use self::work::{Found, Work};
use crate::desired::{Absence, Want};
use crate::fence::{Authority, Ticket};
use crate::fights::Fights;
use crate::pace::Pace;
use crate::plan::{Cooldown, Kind, Mode, Pending, Situation, is_ours, plan};
use crate::provider::{Capabilities, Holder, NicId, Observation, Operation};
use crate::record::{Prior, Record};

/// A call to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub id: u64,
    /// What to ask.
    pub operation: Operation,
    /// What a change rests on; nothing for a look.
    pub ticket: Option<Ticket>,
}

/// A look at our NIC older than this is taken again before a change.
const FRESH: Duration = Duration::from_secs(5);
/// The same for who holds addresses.
const FRESH_HOLDERS: Duration = Duration::from_secs(2);
/// A look that took longer than this is not fresh whenever it ends.
const SLOW_LOOK: Duration = Duration::from_secs(10);
/// For so long an own change is believed in spite of what a look shows.
const SETTLED: Duration = Duration::from_secs(15);
/// Seconds after an own change at which is looked.
const CONFIRM: [u64; 4] = [1, 2, 5, 15];
/// The same after a change of which nobody knows what became: it may land much later.
const CONFIRM_OPEN: [u64; 11] = [1, 2, 5, 10, 20, 30, 40, 50, 60, 90, 120];
/// Pause before something is looked at again that should have shown already.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before a journal that failed is written again, where no order does that.
const JOURNAL: Duration = Duration::from_secs(10);
/// Finished actions that are remembered.
const HISTORY: usize = 64;
/// News and lines of the journal that wait to be fetched; the caller fetches all after each call.
const WAITING_MAX: usize = 4096;

/// The reconciler of one NIC.
#[derive(Debug)]
pub struct Executor {
    settings: Settings,
    capabilities: Capabilities,
    prior: Prior,
    /// Whether the journal cannot be written; while so, nothing is released, nor captured where nothing else marks.
    journal_failed: bool,
    journal_at: Instant,
    authority: Authority,
    observed: Option<Observed>,
    /// Why the newest look was no good.
    invalid: Option<String>,
    /// Looks that fail, by their name, until they succeed.
    failing: BTreeMap<&'static str, FailingLook>,
    /// The newest refusal that fell in no class, and when it came.
    unclassified: Option<(Instant, String)>,
    inventory: Option<Inventory>,
    inventory_at: Instant,
    /// Looks at our NIC, and lists, that showed nothing new, in a row.
    same_looks: u32,
    same_lists: u32,
    /// Lists that failed in a row.
    inventory_failures: u32,
    preflight: Preflight,
    works: BTreeMap<u64, Work>,
    flight: Option<Flight>,
    next_id: u64,
    pending: BTreeMap<Ipv4Addr, Pending>,
    cooldowns: BTreeMap<Ipv4Addr, Cooldown>,
    /// Who had addresses that must be left alone: a moment later they may be taken.
    left: Option<Found>,
    no_room: BTreeSet<Ipv4Addr>,
    /// Until when nothing is added, for the provider said that there is no room.
    full_until: Option<Instant>,
    pace: Pace,
    fights: Fights,
    observe_at: Instant,
    /// Looks that follow an own change.
    confirm_at: VecDeque<Instant>,
    last_change: Option<Instant>,
    read_failures: u32,
    /// Since when looks have failed.
    blind_since: Option<Instant>,
    denials: u32,
    /// When a change was denied last, if none has succeeded since.
    denied_at: Option<Instant>,
    states: BTreeMap<Ipv4Addr, (State, Instant)>,
    history: VecDeque<Done>,
    counters: BTreeMap<&'static str, u64>,
    records: VecDeque<Record>,
    news: VecDeque<News>,
}

#[derive(Debug)]
struct Observed {
    observation: Observation,
    /// When it was asked for, and answered.
    asked: Instant,
    answered: Instant,
}

/// Everything in the subnet, as the provider listed it.
#[derive(Debug)]
pub struct Inventory {
    /// Tells one list from another.
    pub number: u64,
    /// Who has which address.
    pub holders: BTreeMap<Ipv4Addr, Holder>,
    answered: Instant,
}

#[derive(Debug)]
struct Flight {
    order: Order,
    /// Which work it belongs to.
    work: Option<u64>,
    since: Instant,
}

impl Executor {
    /// Makes one that knows what the journal says.
    #[must_use]
    pub fn new(
        settings: Settings,
        capabilities: Capabilities,
        prior: Prior,
        seed: u64,
        now: Instant,
    ) -> Self {
        // What was sent before the restart may show later than the first look.
        let last_change = (!prior.marks.is_empty()).then_some(now);
        Self {
            pace: Pace::new(settings.budget, seed),
            settings,
            capabilities,
            prior,
            journal_failed: false,
            journal_at: now,
            authority: Authority::default(),
            observed: None,
            invalid: None,
            failing: BTreeMap::new(),
            unclassified: None,
            inventory: None,
            inventory_at: now,
            same_looks: 0,
            same_lists: 0,
            inventory_failures: 0,
            preflight: Preflight::new(now),
            works: BTreeMap::new(),
            flight: None,
            next_id: 1,
            pending: BTreeMap::new(),
            cooldowns: BTreeMap::new(),
            left: None,
            no_room: BTreeSet::new(),
            full_until: None,
            fights: Fights::default(),
            observe_at: now,
            confirm_at: VecDeque::new(),
            last_change,
            read_failures: 0,
            blind_since: None,
            denials: 0,
            denied_at: None,
            states: BTreeMap::new(),
            history: VecDeque::new(),
            counters: BTreeMap::new(),
            records: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// Takes in what is wanted from now on.
    pub fn set_authority(&mut self, authority: Authority, now: Instant) {
        if self.authority == authority {
            return;
        }
        if self.concerns_us(&authority) {
            // Others may be about to change what is on our NIC, or have done so.
            self.same_looks = 0;
            self.observe_at = self.observe_at.min(now + PATIENCE);
        }
        // What could never be as configured may be as it is configured now.
        if self.authority.generation != authority.generation {
            self.cooldowns.clear();
            self.full_until = None;
        }
        self.authority = authority;
        self.follow_siblings();
        let wants = &self.authority.wants;
        self.cooldowns
            .retain(|address, cooldown| wants.get(address) == Some(&cooldown.want));
        let wanted = |address| matches!(wants.get(&address), Some(Want::Capture(_)));
        self.fights.retain(wanted);
        self.review(now);
    }

    /// Takes in another configuration.
    pub fn set_settings(&mut self, settings: Settings, now: Instant) {
        if self.settings == settings {
            return;
        }
        let begins = self.settings.mode == Mode::Off && settings.mode > Mode::Off;
        if self.settings.nic != settings.nic || begins {
            // What is there now is another one, or was not looked at for long.
            self.observed = None;
            self.observe_at = now;
        }
        self.pace.set_budget(settings.budget);
        self.observe_at = self.observe_at.min(now + settings.poll.shortest);
        if let Some(rhythm) = settings
            .inventory
            .filter(|_| settings.inventory != self.settings.inventory)
        {
            let listed = self.inventory.as_ref().map(|listed| listed.answered);
            let due = listed.map_or(now, |listed| listed + rhythm.shortest);
            self.inventory_at = self.inventory_at.min(due);
        }
        (self.same_looks, self.same_lists) = (0, 0);
        self.settings = settings;
        self.review(now);
    }

    /// Tells whether something else is wanted of what is on our NIC, or whether a sibling came or went.
    fn concerns_us(&self, authority: &Authority) -> bool {
        let seen = self.observed.iter();
        let mut entries = seen.flat_map(|seen| seen.observation.entries.keys());
        authority.gone != self.authority.gone
            || entries.any(|at| authority.wants.get(at) != self.authority.wants.get(at))
    }

    /// Takes in whether the journal can be written.
    pub fn set_journal_failed(&mut self, failed: bool) {
        self.journal_failed = failed;
    }

    /// Lets the change of an action that operators are shown be made, and no other; tells whether it waits for that.
    pub fn approve(&mut self, id: u64) -> bool {
        let awaits = self
            .works
            .get(&id)
            .is_some_and(|work| self.awaits_approval(work));
        let work = self.works.get_mut(&id).filter(|_| awaits);
        let Some(work) = work else { return false };
        work.approved = work.step.as_ref().map(Consent::to);
        work.approved.is_some()
    }

    /// Returns the call to make now, if any.
    pub fn poll(&mut self, now: Instant) -> Option<Order> {
        self.pace.recover(now);
        if self.journal_failed && self.journal_at <= now {
            self.journal_at = now + JOURNAL;
            // It says nothing new; that it can be written is the news.
            let addresses = self.prior.marks.clone();
            self.note(Record::Mark { addresses });
        }
        if self.flight.is_some() || self.settings.mode == Mode::Off || self.pace.is_paused(now) {
            return None;
        }
        if self.observe_due() <= now {
            self.confirm_at.retain(|at| *at > now);
            return Some(self.send(Operation::Observe, None, None, now));
        }
        if self.inventory_due().is_some_and(|due| due <= now) {
            return Some(self.send(Operation::Inventory, None, None, now));
        }
        let preflight = self.preflight.due() <= now;
        if preflight && self.preflight.goes_first() {
            return Some(self.send_preflight(now));
        }
        self.review(now);
        let order = self
            .ordered_works()
            .into_iter()
            .find_map(|id| self.advance(id, now));
        if order.is_some() {
            self.note_states(now);
        }
        order.or_else(|| preflight.then(|| self.send_preflight(now)))
    }

    /// Returns when [`Self::poll`] may have something to do without anything new.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.flight.is_some() || self.settings.mode == Mode::Off {
            return None;
        }
        let paused = self.pace.paused_until().filter(|until| *until > now);
        let works = self
            .works
            .values()
            .filter_map(|work| self.work_due(work, now));
        let holds = self.cooldowns.values().map(|cooldown| cooldown.until);
        let settled = self.pending.values().map(|pending| pending.until);
        let rest = holds
            .chain(settled)
            .chain(self.full_until)
            .filter(|due| *due > now);
        let journal = self.journal_failed.then_some(self.journal_at);
        let due = works
            .chain(rest)
            .chain(journal)
            .chain(self.inventory_due())
            .chain([self.observe_due(), self.preflight.due()])
            .min()?;
        Some(paused.map_or(due, |paused| due.max(paused)))
    }

    /// Takes the next line of the journal; all are to be written before the order that [`Self::poll`] returned is sent.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Takes the next news.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Addresses that are on our NIC by our doing, as far as known.
    #[must_use]
    pub fn held(&self) -> BTreeSet<Ipv4Addr> {
        let entries = self
            .observed
            .iter()
            .flat_map(|seen| &seen.observation.entries);
        entries
            .filter(|(address, entry)| is_ours(entry, **address, &self.prior.marks))
            .map(|(address, _)| *address)
            .collect()
    }

    /// Tells whether an address may be on our NIC by our doing: it was seen, a change is not seen yet, or nobody looked.
    #[must_use]
    pub fn may_hold(&self) -> bool {
        let unseen = self.observed.is_none() && self.settings.mode != Mode::Off;
        let expected = self.pending.values().any(|pending| pending.present);
        unseen || expected || !self.held().is_empty()
    }

    /// Our NIC, once it was seen.
    #[must_use]
    pub fn nic(&self) -> Option<&NicId> {
        self.observed.as_ref().map(|seen| &seen.observation.nic)
    }

    /// Somebody waits for the next list: it comes soon, however rare they have become.
    pub fn hurry_list(&mut self, now: Instant) {
        let listed = self.inventory.as_ref().map(|listed| listed.answered);
        if let (Some(listed), Some(rhythm), 0) =
            (listed, self.settings.inventory, self.inventory_failures)
        {
            let due = now.max(listed + rhythm.hurried());
            self.inventory_at = self.inventory_at.min(due);
        }
    }

    /// The newest list of everything in the subnet.
    #[must_use]
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    fn inventory_due(&self) -> Option<Instant> {
        self.settings.inventory.map(|_| self.inventory_at)
    }

    fn observe_due(&self) -> Instant {
        let confirm = self.confirm_at.front().copied();
        confirm.map_or(self.observe_at, |confirm| confirm.min(self.observe_at))
    }

    fn situation(&self, now: Instant) -> Situation<'_> {
        Situation {
            mode: self.settings.mode,
            pools: &self.settings.pools,
            wants: &self.authority.wants,
            observed: self.observed.as_ref().map(|seen| &seen.observation),
            max_captures: self.settings.max_captures,
            marks: &self.prior.marks,
            forwarded: self.prior.forwarding.filter(|_| self.authority.restores),
            pending: &self.pending,
            cooldowns: &self.cooldowns,
            now,
        }
    }

    /// Makes the works follow the plan: what is not needed any more goes, what is new comes.
    fn review(&mut self, now: Instant) {
        self.pending.retain(|_, pending| now < pending.until);
        self.full_until = self.full_until.filter(|until| now < *until);
        let plan = plan(&self.situation(now));
        if plan.no_room.len() > self.no_room.len() {
            self.tell(News::NoRoom(plan.no_room.len()));
        }
        self.no_room = plan.no_room;
        let mut needed: BTreeMap<Kind, BTreeMap<Ipv4Addr, Want>> = plan
            .actions
            .into_iter()
            .map(|action| (action.kind, action.wants))
            .collect();
        for work in self.works.values_mut() {
            let needed = needed.entry(work.kind).or_default();
            work.wants
                .retain(|address, want| needed.get(address) == Some(want));
            // What a work is about is planned.
            needed.retain(|address, _| !work.wants.contains_key(address));
        }
        self.works.retain(|_, work| !work.wants.is_empty());
        if !self.works.values().any(|work| work.kind == Kind::Capture) {
            // Nothing waits for the look that failed.
            let look = Operation::FindHolders(BTreeSet::new());
            self.failing.remove(look.name());
        }
        for (kind, mut wants) in needed {
            if kind == Kind::Capture {
                self.join_waiting(&mut wants);
            }
            // What an operator has ordered needs no approval, and does not wait for what does.
            let (ordered, rest) = wants
                .into_iter()
                .partition(|(_, want)| *want == Want::Absent(Absence::Ordered));
            self.begin(kind, ordered, now);
            self.begin(kind, rest, now);
        }
        self.note_states(now);
    }

    /// Captures that wait for their turn take in what came meanwhile: one change for many addresses, not one for each.
    fn join_waiting(&mut self, wants: &mut BTreeMap<Ipv4Addr, Want>) {
        let under_way = self.flight.as_ref().and_then(|flight| flight.work);
        let batch = self.capabilities.batch.max(1);
        let waiting = self.works.iter_mut().filter(|(id, work)| {
            Some(**id) != under_way && work.kind == Kind::Capture && work.is_untouched()
        });
        for (_, work) in waiting {
            while work.wants.len() < batch
                && let Some((address, want)) = wants.pop_first()
            {
                work.wants.insert(address, want);
            }
        }
    }

    /// Makes works of what is needed, each as great as the provider takes in one change.
    fn begin(&mut self, kind: Kind, wants: BTreeMap<Ipv4Addr, Want>, now: Instant) {
        let mut wants = wants.into_iter().peekable();
        while wants.peek().is_some() {
            let batch = wants.by_ref().take(self.capabilities.batch.max(1));
            let mut work = Work::new(kind, batch.collect(), now);
            let left = self.left.as_ref().filter(|_| kind == Kind::Capture);
            let left =
                left.filter(|left| work.wants.keys().all(|at| left.holders.contains_key(at)));
            work.found = left.cloned();
            self.works.insert(self.next_id, work);
            self.next_id += 1;
        }
    }

    /// Works in the order in which they are done.
    fn ordered_works(&self) -> Vec<u64> {
        let mut works: Vec<_> = self
            .works
            .iter()
            .map(|(id, work)| (work.kind, *id))
            .collect();
        works.sort_unstable();
        works.into_iter().map(|(_, id)| id).collect()
    }

    fn send(
        &mut self,
        operation: Operation,
        ticket: Option<Ticket>,
        work: Option<u64>,
        now: Instant,
    ) -> Order {
        self.count(operation.name());
        let id = self.next_id;
        self.next_id += 1;
        let order = Order {
            id,
            operation,
            ticket,
        };
        self.flight = Some(Flight {
            order: order.clone(),
            work,
            since: now,
        });
        order
    }

    fn journal_intent(&mut self, step: &Operation, ticket: &Ticket, forwarding: bool) {
        match step {
            Operation::SetForwarding { enabled: true, .. } if self.prior.forwarding.is_none() => {
                self.note(Record::Forwarding { before: forwarding });
            }
            Operation::Assign { .. } | Operation::Seize { .. } => {
                let addresses = addresses_of(step);
                self.note(Record::Mark { addresses });
            }
            Operation::Observe
            | Operation::FindHolders(_)
            | Operation::Inventory
            | Operation::Preflight
            | Operation::Strip { .. }
            | Operation::Unassign { .. }
            | Operation::SetForwarding { .. } => {}
        }
        let because = ticket.wants.values().next().map(Want::to_string);
        self.note(Record::Intent {
            order: self.next_id,
            operation: step.name().to_owned(),
            addresses: addresses_of(step),
            because: because.unwrap_or_default(),
        });
    }

    fn note(&mut self, record: Record) {
        self.prior.apply(&record);
        if self.records.len() < WAITING_MAX {
            self.records.push_back(record);
        }
    }

    fn tell(&mut self, news: News) {
        if self.news.len() < WAITING_MAX {
            self.news.push_back(news);
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
