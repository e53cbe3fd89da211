//! What follows from the provider's answers.
//!
//! The reaction to a failure depends on its class only; it is the same for all providers. No batch is repeated unchanged
//! that the provider refused: it is cut in halves until the address is found that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::report::{Done, FailingLook};
use super::work::{Found, Work};
use super::{
    CONFIRM, CONFIRM_OPEN, Executor, Flight, HISTORY, Inventory, News, Observed, PATIENCE, SETTLED,
    SLOW_LOOK, addresses_of,
};
use crate::desired::Want;
use crate::pace::BACKOFF_MAX;
use crate::plan::{Cause, Kind, Pending, is_ours};
use crate::provider::{ErrorClass, Holder, Observation, Operation, Outcome, ProviderError};
use crate::record::Record;

/// For so long nothing is added after the provider said that there is no room.
const FULL: Duration = Duration::from_secs(120);
/// Pause while permission is missing; each further refusal doubles it.
const DENIED_MIN: Duration = Duration::from_secs(30);
/// The longest such pause.
const DENIED_MAX: Duration = Duration::from_secs(300);
/// Shortest pause after a list of the subnet that failed.
const LIST_AGAIN: Duration = Duration::from_secs(5);
/// Longest pause before a capture is tried again.
const CAPTURE_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Shortest pause while another change of the NIC is under way, and by how much it may be longer.
const BUSY: Duration = Duration::from_secs(1);
const BUSY_MORE: Duration = Duration::from_secs(2);
/// What the provider calls impossible is tried again after this though nothing seems to have changed, for a code that
/// nobody knows is called so as well; each further refusal doubles it.
const REFUSED_MIN: Duration = Duration::from_secs(600);
/// The longest such pause.
const REFUSED_MAX: Duration = Duration::from_secs(6 * 3600);
/// Shortest pause when asked too often.
const THROTTLED: Duration = Duration::from_secs(1);
/// The longest pause that a provider can ask for.
const THROTTLED_MAX: Duration = Duration::from_secs(600);

impl Executor {
    /// Takes in the answer to the order under way; one to another order is of a former life and says nothing.
    pub fn handle_answer(&mut self, id: u64, answer: Result<Outcome, ProviderError>, now: Instant) {
        let Some(flight) = self.flight.take_if(|flight| flight.order.id == id) else {
            return;
        };
        let change = flight.order.operation.is_change();
        if change {
            self.pace.settle(now);
            self.note_answer(&flight, &answer, now);
        }
        match answer {
            Ok(outcome) => {
                self.denials = 0;
                if !matches!(outcome, Outcome::PermissionsInPart { .. }) {
                    self.failing.remove(flight.order.operation.name());
                }
                match outcome {
                    Outcome::Observed(observation) => self.on_observed(observation, &flight, now),
                    Outcome::Inventory(holders) => self.on_listed(holders, flight.order.id, now),
                    // It would never be fresh, however often it is repeated.
                    Outcome::Holders(_) if self.is_too_much(&flight, now) => {
                        self.halve(&flight, now);
                    }
                    Outcome::Holders(holders) => {
                        let work = flight.work.and_then(|work| self.works.get_mut(&work));
                        if let Some(work) = work {
                            let (asked, answered) = (flight.since, now);
                            work.found = Some(Found {
                                holders,
                                asked,
                                answered,
                                stripped: false,
                            });
                        }
                    }
                    Outcome::Permissions(permissions) => self.preflight.tell(permissions, now),
                    Outcome::PermissionsInPart { found, failed } => {
                        self.preflight.show(found);
                        self.on_look_failed(&flight, &failed, now);
                    }
                    Outcome::Done { .. } => self.on_done(&flight, now),
                }
            }
            Err(error) if change => self.on_change_failed(&flight, &error, now),
            Err(error) => self.on_look_failed(&flight, &error, now),
        }
        self.review(now);
    }

    /// Takes in how our NIC is. A look that cannot be true changes nothing.
    fn on_observed(&mut self, observation: Observation, flight: &Flight, now: Instant) {
        let seen = self.observed.as_ref().map(|seen| &seen.observation);
        self.same_looks = match seen {
            Some(seen) if *seen == observation => self.same_looks.saturating_add(1),
            Some(_) | None => 0,
        };
        let pause = self.settings.poll.pause(self.same_looks);
        self.observe_at = now + self.pace.poll_interval(pause);
        let fault = match &self.settings.nic {
            Some(nic) if *nic != observation.nic => Some(format!(
                "the NIC is {}, not the configured {nic}",
                observation.nic
            )),
            _ if !observation.entries.values().any(|entry| entry.primary) => {
                Some("the NIC is shown without its primary address".to_owned())
            }
            _ => None,
        };
        if let Some(why) = fault {
            self.count("invalid");
            self.invalid = Some(why);
            self.blind_since.get_or_insert(now);
            self.pause_looks(now);
            return;
        }
        (self.invalid, self.blind_since) = (None, None);
        self.read_failures = 0;
        let before = self.held();
        self.forget_marks(&observation, flight.since);
        self.forget_taken(&observation);
        self.observed = Some(Observed {
            observation,
            asked: flight.since,
            answered: now,
        });
        self.compare(&before, now);
    }

    /// An address that is not there long after our last change is not ours if it comes back.
    fn forget_marks(&mut self, observation: &Observation, asked: Instant) {
        if self.last_change.is_some_and(|at| asked < at + SETTLED) {
            return;
        }
        let marks = self.prior.marks.iter();
        let addresses: BTreeSet<Ipv4Addr> = marks
            .filter(|address| !observation.entries.contains_key(address))
            .copied()
            .collect();
        if !addresses.is_empty() {
            self.note(Record::Unmark { addresses });
        }
    }

    /// A look may be older than another one before it, so what is wanted is believed to be there still. What is not
    /// wanted any more and was seen is left to others, who have taken it once a look lacks it.
    fn forget_taken(&mut self, observation: &Observation) {
        let wants = &self.authority.wants;
        self.pending.retain(|address, pending| {
            let is_there = observation.entries.contains_key(address);
            pending.seen |= pending.present == is_there;
            let is_wanted = matches!(wants.get(address), Some(Want::Capture(_)));
            is_there || is_wanted || !pending.present || !pending.seen
        });
    }

    /// Tells what came and what went since the last look.
    fn compare(&mut self, before: &BTreeSet<Ipv4Addr>, now: Instant) {
        let after = self.held();
        // A look that does not show yet what we did a moment ago is no news.
        let pending = |address: &Ipv4Addr| {
            let pending = self.pending.get(address);
            pending
                .filter(|pending| now < pending.until)
                .map(|pending| pending.present)
        };
        let came = after
            .difference(before)
            .filter(|address| pending(address) != Some(false));
        let went = before
            .difference(&after)
            .filter(|address| pending(address) != Some(true));
        let (came, went): (Vec<_>, Vec<_>) = (came.copied().collect(), went.copied().collect());
        for address in came {
            self.tell(News::Captured(address));
        }
        for address in went {
            if !matches!(self.authority.wants.get(&address), Some(Want::Capture(_))) {
                self.tell(News::Released(address));
                continue;
            }
            let hold = self.fights.lose(address, now);
            self.tell(News::Lost(address, hold));
            if let Some(hold) = hold {
                self.cool_down(address, Cause::Fight, now + hold);
            }
        }
    }

    fn on_done(&mut self, flight: &Flight, now: Instant) {
        self.changed(&CONFIRM, now);
        self.denied_at = None;
        let addresses = addresses_of(&flight.order.operation);
        self.remember(flight, "done", String::new(), now);
        let work = flight.work.and_then(|work| self.works.get_mut(&work));
        if let Some(work) = work {
            (work.failures, work.not_before) = (0, None);
            let found = work.found.take();
            if matches!(flight.order.operation, Operation::Strip { .. }) {
                work.found = found.map(|found| found.without(&addresses, now));
            }
            // It was for this once.
            work.approved = None;
        }
        let present = match flight.order.operation {
            Operation::Assign { .. } | Operation::Seize { .. } => true,
            Operation::Unassign { .. } => false,
            // Seen by the next look.
            Operation::SetForwarding { enabled, .. } => {
                if !enabled {
                    self.note(Record::Restored);
                }
                self.observe_at = now;
                return;
            }
            Operation::Strip { .. }
            | Operation::Observe
            | Operation::FindHolders(_)
            | Operation::Inventory
            | Operation::Preflight => return,
        };
        for address in &addresses {
            self.cooldowns.remove(address);
        }
        self.believe(addresses, present, now);
    }

    fn believe(&mut self, addresses: BTreeSet<Ipv4Addr>, present: bool, now: Instant) {
        let until = now + SETTLED;
        let pending = Pending {
            present,
            seen: false,
            until,
        };
        for address in addresses {
            self.pending.insert(address, pending);
        }
    }

    /// Something has changed at the provider, or may yet: look several times.
    fn changed(&mut self, looks: &[u64], now: Instant) {
        self.last_change = Some(now);
        self.same_looks = 0;
        let looks = looks.iter().map(|after| now + Duration::from_secs(*after));
        self.confirm_at = looks.collect();
    }

    /// Counts a failure by its class, and one that fell in none for that as well.
    fn count_failure(&mut self, error: &ProviderError, now: Instant) {
        self.count(error.class.name());
        if error.unclassified {
            self.count("unclassified");
            self.unclassified = Some((now, detail(error)));
        }
    }

    fn on_look_failed(&mut self, flight: &Flight, error: &ProviderError, now: Instant) {
        self.count_failure(error, now);
        let operation = &flight.order.operation;
        self.note_failing(operation, error, now);
        if *operation == Operation::Observe {
            self.invalid = Some(error.to_string());
            self.blind_since.get_or_insert(now);
        }
        if *operation == Operation::Preflight {
            // Nothing waits for it: what is not permitted, or comes too often, is told by the calls themselves.
            self.put_preflight_off(&error.class, now);
        } else if let ErrorClass::Throttled(after) = error.class {
            self.throttle(after, now);
        } else if *operation == Operation::Inventory {
            // Nothing is held up by it: what is known stays.
            self.inventory_failures = self.inventory_failures.saturating_add(1);
            let rhythm = self.settings.inventory.unwrap_or(self.settings.poll);
            let longest = rhythm.longest.max(DENIED_MAX);
            let pause = self.pace.backoff(self.inventory_failures, longest);
            self.inventory_at = now + pause.max(LIST_AGAIN);
            if self.inventory_failures == 1 {
                self.tell(News::Refused {
                    operation: operation.name(),
                    addresses: BTreeSet::new(),
                    class: error.class.name(),
                    detail: detail(error),
                });
            }
        } else if error.class == ErrorClass::Denied {
            self.deny(flight, error, now);
        } else if error.class == ErrorClass::Busy {
            // A change is under way: it is followed to its end, however long it takes.
            let pause = BUSY + self.pace.up_to(BUSY_MORE);
            self.pace.pause(pause, now);
        } else {
            self.pause_looks(now);
        }
    }

    /// Remembers that a look fails, how, and since when.
    fn note_failing(&mut self, operation: &Operation, error: &ProviderError, now: Instant) {
        let former = self.failing.get(operation.name());
        let look = FailingLook {
            class: error.class.name(),
            detail: detail(error),
            since: former.map_or(now, |former| former.since),
            times: former.map_or(0, |former| former.times).saturating_add(1),
        };
        self.failing.insert(operation.name(), look);
    }

    fn on_listed(&mut self, holders: BTreeMap<Ipv4Addr, Holder>, number: u64, now: Instant) {
        let former = self.inventory.as_ref().map(|former| &former.holders);
        self.same_lists = match former {
            Some(former) if show_the_same(former, &holders) => self.same_lists.saturating_add(1),
            Some(_) | None => 0,
        };
        let seen = self.observed.as_ref().map(|seen| &seen.observation);
        if seen.is_some_and(|seen| !shows_our_nic(&holders, seen)) {
            self.observe_at = now;
        }
        self.inventory = Some(Inventory {
            number,
            holders,
            answered: now,
        });
        self.inventory_failures = 0;
        let rhythm = self.settings.inventory.unwrap_or(self.settings.poll);
        let pause = rhythm.pause(self.same_lists);
        self.inventory_at = now + self.pace.poll_interval(pause);
    }

    fn pause_looks(&mut self, now: Instant) {
        self.read_failures = self.read_failures.saturating_add(1);
        let pause = self.pace.backoff(self.read_failures, BACKOFF_MAX);
        self.pace.pause(pause, now);
    }

    /// Reacts to the failure of a change, by its class.
    fn on_change_failed(&mut self, flight: &Flight, error: &ProviderError, now: Instant) {
        self.count_failure(error, now);
        self.remember(flight, error.class.name(), detail(error), now);
        let operation = &flight.order.operation;
        let addresses = addresses_of(operation);
        let certain = !matches!(error.class, ErrorClass::Unknown | ErrorClass::Fenced);
        if certain {
            self.unmark(operation, &addresses);
        } else {
            let open = error.class == ErrorClass::Unknown;
            self.changed(if open { &CONFIRM_OPEN[..] } else { &CONFIRM }, now);
        }
        if error.class != ErrorClass::Fenced {
            self.tell(News::Refused {
                operation: operation.name(),
                addresses: addresses.clone(),
                class: error.class.name(),
                detail: detail(error),
            });
        }
        match &error.class {
            ErrorClass::Fenced => {
                self.tell(News::Fenced {
                    operation: operation.name(),
                    addresses,
                    why: error.message.clone(),
                });
                self.look_again(flight, now);
            }
            ErrorClass::Unknown | ErrorClass::PreconditionLost => self.look_again(flight, now),
            ErrorClass::Held | ErrorClass::Unavailable => self.back_off(flight, now),
            ErrorClass::Throttled(after) => self.throttle(*after, now),
            ErrorClass::Denied => self.deny(flight, error, now),
            ErrorClass::Busy => {
                let pause = BUSY + self.pace.up_to(BUSY_MORE);
                self.pace.pause(pause, now);
                self.look_again(flight, now);
            }
            ErrorClass::AlreadyGone if addresses.len() == 1 => {
                self.believe(addresses, false, now);
                self.observe_at = now;
            }
            ErrorClass::AlreadyGone => self.halve(flight, now),
            ErrorClass::LocalOwner | ErrorClass::Permanent | ErrorClass::Capacity
                if addresses.len() > 1 =>
            {
                self.halve(flight, now);
            }
            ErrorClass::Capacity => {
                self.full_until = Some(now + FULL);
                self.tell(News::NoRoom(1));
            }
            ErrorClass::LocalOwner | ErrorClass::Permanent => {
                self.refuse(flight, error, &addresses, now);
            }
        }
    }

    /// Nothing was put on our NIC, so nothing there is ours by this.
    fn unmark(&mut self, operation: &Operation, addresses: &BTreeSet<Ipv4Addr>) {
        if matches!(
            operation,
            Operation::Assign { .. } | Operation::Seize { .. }
        ) {
            let addresses = addresses.clone();
            self.note(Record::Unmark { addresses });
        }
    }

    /// Decides anew on a fresh look.
    fn look_again(&mut self, flight: &Flight, now: Instant) {
        self.observe_at = now;
        self.back_off(flight, now);
    }

    fn back_off(&mut self, flight: &Flight, now: Instant) {
        let Some(work) = flight.work.and_then(|work| self.works.get_mut(&work)) else {
            return;
        };
        work.found = None;
        work.failures = work.failures.saturating_add(1);
        let longest = match work.kind {
            Kind::Capture => CAPTURE_BACKOFF_MAX,
            Kind::Forward | Kind::Release | Kind::Restore => BACKOFF_MAX,
        };
        work.not_before = Some(now + self.pace.backoff(work.failures, longest));
    }

    fn throttle(&mut self, after: Option<Duration>, now: Instant) {
        self.pace.throttle(now);
        let pause = after.unwrap_or(THROTTLED).min(THROTTLED_MAX);
        let more = self.pace.up_to(THROTTLED);
        self.pace.pause(pause.max(THROTTLED) + more, now);
    }

    fn deny(&mut self, flight: &Flight, error: &ProviderError, now: Instant) {
        if !flight.order.operation.is_change() && self.denials == 0 {
            self.tell(News::Refused {
                operation: flight.order.operation.name(),
                addresses: BTreeSet::new(),
                class: error.class.name(),
                detail: detail(error),
            });
        }
        let pause = DENIED_MIN
            .saturating_mul(1 << self.denials.min(8))
            .min(DENIED_MAX);
        self.denials = self.denials.saturating_add(1);
        // A change that is not permitted keeps nobody from looking.
        let work = flight.work.and_then(|work| self.works.get_mut(&work));
        match work.filter(|_| flight.order.operation.is_change()) {
            Some(work) => {
                self.denied_at = Some(now);
                let pause = DENIED_MIN
                    .saturating_mul(1 << work.failures.min(8))
                    .min(DENIED_MAX);
                work.failures = work.failures.saturating_add(1);
                work.not_before = Some(now + pause);
            }
            None => self.pace.pause(pause, now),
        }
    }

    /// Tells whether a look for several addresses took too long to be of use.
    fn is_too_much(&self, flight: &Flight, now: Instant) -> bool {
        let work = flight.work.and_then(|work| self.works.get(&work));
        now >= flight.since + SLOW_LOOK && work.is_some_and(|work| work.wants.len() > 1)
    }

    /// Cuts a work in two, so that one bad address does not hold up the others.
    fn halve(&mut self, flight: &Flight, now: Instant) {
        let Some(id) = flight.work else { return };
        let Some(work) = self.works.get_mut(&id) else {
            return;
        };
        (work.found, work.step) = (None, None);
        let Some(middle) = work.wants.keys().nth(work.wants.len() / 2).copied() else {
            return;
        };
        let rest = work.wants.split_off(&middle);
        let mut half = Work::new(work.kind, rest, work.since);
        (half.approved, half.shown) = (work.approved.clone(), work.shown.clone());
        if work.wants.is_empty() {
            // The others are not wanted any more.
            self.works.remove(&id);
            half.not_before = Some(now + PATIENCE);
        }
        self.works.insert(self.next_id, half);
        self.next_id += 1;
    }

    /// Leaves alone what can never be, until another NIC has it. What is known to be a machine's own is never tried again
    /// otherwise; anything else after a time that grows.
    fn refuse(
        &mut self,
        flight: &Flight,
        error: &ProviderError,
        addresses: &BTreeSet<Ipv4Addr>,
        now: Instant,
    ) {
        let work = flight.work.and_then(|work| self.works.get(&work));
        let found = work.and_then(|work| work.found.clone());
        let until = now + self.pace.poll_interval(self.settings.poll.shortest);
        for &address in addresses {
            let holder = found.as_ref().and_then(|found| found.holders.get(&address));
            let holder = holder.map(|holder| holder.nic.clone());
            let known = error.class == ErrorClass::LocalOwner && holder.is_some();
            let former = self.cooldowns.get(&address);
            let times = former.map_or(0, |former| former.cause.refusals());
            let pause = REFUSED_MIN.saturating_mul(1 << times.min(16));
            let cause = Cause::Refused {
                why: detail(error),
                holder,
                times: times.saturating_add(1),
                again: (!known).then(|| now + pause.min(REFUSED_MAX)),
            };
            self.cool_down(address, cause, until);
        }
        let work = flight.work.and_then(|work| self.works.get_mut(&work));
        if let Some(work) = work.filter(|work| matches!(work.kind, Kind::Forward | Kind::Restore)) {
            // It has no address of its own to leave alone.
            work.not_before = Some(until);
        }
    }

    fn note_answer(
        &mut self,
        flight: &Flight,
        answer: &Result<Outcome, ProviderError>,
        now: Instant,
    ) {
        let (result, detail, request_id) = match answer {
            Ok(Outcome::Done { request_id }) => ("done", String::new(), request_id.clone()),
            Ok(_) => ("done", String::new(), None),
            Err(error) => {
                let request_id = error.request_id.clone();
                (error.class.name(), detail(error), request_id)
            }
        };
        let took = now.saturating_duration_since(flight.since).as_millis();
        let detail = format!("{detail} ({took} ms)").trim_start().to_owned();
        self.note(Record::Answer {
            order: flight.order.id,
            result: result.to_owned(),
            detail,
            request_id,
        });
    }

    fn remember(&mut self, flight: &Flight, result: &'static str, detail: String, now: Instant) {
        if self.history.len() >= HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Done {
            id: flight.work.unwrap_or(flight.order.id),
            operation: flight.order.operation.name(),
            addresses: addresses_of(&flight.order.operation),
            result,
            detail,
            at: now,
        });
    }

    /// Tells whether an address is on our NIC by our doing.
    pub(super) fn has(&self, address: Ipv4Addr) -> bool {
        let entries = self.observed.as_ref().map(|seen| &seen.observation.entries);
        let entry = entries.and_then(|entries| entries.get(&address));
        entry.is_some_and(|entry| is_ours(entry, address, &self.prior.marks))
    }
}

/// Tells whether two lists differ in nothing but versions.
fn show_the_same(one: &BTreeMap<Ipv4Addr, Holder>, other: &BTreeMap<Ipv4Addr, Holder>) -> bool {
    let shown = |holders: &BTreeMap<Ipv4Addr, Holder>| {
        let holders = holders.iter();
        let shown = holders.map(|(at, holder)| (*at, holder.nic.clone(), holder.running));
        shown.collect::<Vec<_>>()
    };
    shown(one) == shown(other)
}

/// Tells whether a list has on our NIC what a look at it showed.
fn shows_our_nic(holders: &BTreeMap<Ipv4Addr, Holder>, seen: &Observation) -> bool {
    let listed = holders.iter();
    let listed = listed.filter(|(_, holder)| holder.nic == seen.nic);
    listed.map(|(at, _)| at).eq(seen.entries.keys())
}

fn detail(error: &ProviderError) -> String {
    format!("{}: {}", error.code, error.message)
}
