//! The router's reconciler and its provider's client, driven as the router drives them, on a clock that skips waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::desired::{Claimed, RibView};
use sam_capture::executor::Settings;
use sam_capture::executor::{ActionReport, Order, addresses_of};
use sam_capture::plan::{Kind, Mode};
use sam_capture::provider::{ErrorClass, Fence, Outcome, ProviderError};
use sam_capture::{
    Authority, Candidate, Desires, Executor, Landscape, PathSignature, Prior, Provider, Ticket,
};
use sam_router::capture_holds;
use sam_router::config::Config;

use super::lab::Site;
use super::report::{OrderRow, PermissionRow};
use crate::exit::{Exit, Failure};

/// Longest time that a step may take, waits among it.
const BOUND: Duration = Duration::from_secs(3600);
/// Orders that a step may take.
const ORDERS: usize = 5000;
/// Jitter follows from it: each rehearsal is the same.
const SEED: u64 = 1;
/// Time between two lines of the same wait.
const TICK: Duration = Duration::from_millis(1);

/// Where an address lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    Here,
    Elsewhere,
}

pub(super) struct Reconciler {
    settings: Settings,
    site: Site,
    provider: Box<dyn Provider>,
    landscape: Landscape,
    desires: Desires,
    authority: Authority,
    executor: Executor,
    skipped: Duration,
    orders: Vec<OrderRow>,
    since: Instant,
}

impl Reconciler {
    /// Makes the reconciler of a configuration; it plans only.
    ///
    /// # Errors
    /// When the configuration captures in no cloud.
    pub(super) fn new(
        config: &Config,
        site: &Site,
        provider: Box<dyn Provider>,
    ) -> Result<Self, Failure> {
        let settings = config.capture_settings();
        let settings = settings.ok_or_else(|| Failure::new(Exit::Usage, "no cloud"))?;
        let settings = Settings {
            mode: Mode::Plan,
            // Whether each change is right is tried here, not how many addresses there are.
            max_captures: None,
            nic: Some(site.own.nic.clone()),
            members: [(site.other.nic.clone(), site.other.node)].into(),
            ..settings
        };
        let landscape = Landscape {
            generation: 1,
            view: RibView::Complete,
            own: site.own.node,
            yields: false,
            // In office: what the other one has it keeps, what is new is ours to take.
            candidate: Candidate {
                captures: true,
                term: 1,
                priority: 1,
            },
            siblings: [(site.other.node, Some(Candidate::default()))].into(),
            loads: BTreeMap::new(),
            unheard: BTreeSet::new(),
            claims: BTreeMap::new(),
            released: BTreeSet::new(),
            all_released: false,
        };
        let now = Instant::now();
        let capabilities = provider.capabilities();
        let prior = Prior::default();
        Ok(Self {
            executor: Executor::new(settings.clone(), capabilities, prior, SEED, now),
            settings,
            site: site.clone(),
            provider,
            landscape,
            desires: Desires::new(capture_holds(site.release_hold)),
            authority: Authority::default(),
            skipped: Duration::ZERO,
            orders: Vec::new(),
            since: now,
        })
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.settings.mode = mode;
        let now = self.now();
        self.executor.set_settings(self.settings.clone(), now);
    }

    /// Routes say that addresses live here, or elsewhere.
    pub(super) fn set_home(&mut self, addresses: &[Ipv4Addr], whereabouts: Whereabouts) {
        for &address in addresses {
            let claimed = match whereabouts {
                Whereabouts::Here => Claimed::AtOurSite,
                Whereabouts::Elsewhere => Claimed::Elsewhere(PathSignature {
                    address,
                    owner: self.site.owner.node,
                    site: self.site.owner.site.clone(),
                    next_hop: self.site.owner.overlay,
                    sequence: 1,
                }),
            };
            self.landscape.claims.insert(address, claimed);
        }
    }

    /// The other router of the site is there, or dead.
    pub(super) fn set_other_there(&mut self, there: bool) {
        let candidate = there.then(Candidate::default);
        self.landscape
            .siblings
            .insert(self.site.other.node, candidate);
    }

    /// An operator removes the router: `samctl release --all`.
    pub(super) fn release_all(&mut self) {
        self.landscape.all_released = true;
    }

    /// Addresses on our NIC by our doing, as far as the reconciler knows.
    pub(super) fn held(&self) -> BTreeSet<Ipv4Addr> {
        self.executor.held()
    }

    pub(super) fn has_planned(&self) -> bool {
        let actions = self.executor.actions();
        let mut captures = actions.iter().filter(|action| action.kind == Kind::Capture);
        captures.any(|action| action.step.is_some())
    }

    /// Goes on until exactly these addresses are held, and nothing is left to do.
    pub(super) fn until_held(&mut self, addresses: &[Ipv4Addr]) -> bool {
        let addresses: BTreeSet<_> = addresses.iter().copied().collect();
        self.until(|it| it.held() == addresses && it.executor.actions().is_empty())
    }

    /// Goes on until nothing is held and the NIC is as it was.
    pub(super) fn until_restored(&mut self) -> bool {
        self.until(|it| {
            let nic = it.executor.status().nic;
            let forwards = nic.is_none_or(|nic| nic.observation.forwarding);
            it.held().is_empty() && it.executor.actions().is_empty() && !forwards
        })
    }

    /// Goes on until something is so; tells whether it came to that in time.
    pub(super) fn until(&mut self, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now() + BOUND;
        for _ in 0..ORDERS {
            self.follow();
            if is_so(self) {
                return true;
            }
            if !self.advance(end) {
                return false;
            }
        }
        false
    }

    /// Goes on for some time.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        for _ in 0..ORDERS {
            self.follow();
            if !self.advance(end) {
                return;
            }
        }
    }

    /// What is to be done.
    pub(super) fn plans(&self) -> Vec<String> {
        self.executor.actions().iter().map(plan).collect()
    }

    /// Why it does not get on, as far as it knows.
    pub(super) fn obstacle(&self) -> String {
        let failed = self.orders.iter().rev();
        let mut failed = failed.filter(|order| order.result != "done");
        let waiting = self.executor.addresses(self.now()).into_iter();
        let mut waiting = waiting.filter(|report| report.state.name() != "held");
        let status = self.executor.status();
        let last = failed.next().map(|order| {
            let OrderRow {
                operation,
                result,
                detail,
                ..
            } = order;
            format!("{operation} failed as {result}: {detail}")
        });
        let state = waiting.next().map(|report| {
            format!(
                "{} is {}: {}",
                report.address,
                report.state.name(),
                report.why
            )
        });
        last.or(status.invalid)
            .or(state)
            .unwrap_or_else(|| "it did not come to that in an hour".to_owned())
    }

    pub(super) fn permissions(&self) -> Vec<PermissionRow> {
        let permissions = self.executor.status().permissions.into_iter();
        let row = |permission: sam_capture::provider::Permission| PermissionRow {
            action: permission.action,
            granted: permission.granted,
        };
        permissions.map(row).collect()
    }

    /// Takes the changes ordered since the last time, and how long that is ago.
    pub(super) fn take_orders(&mut self) -> (Vec<OrderRow>, Duration) {
        let now = self.now();
        let took = now.saturating_duration_since(std::mem::replace(&mut self.since, now));
        (std::mem::take(&mut self.orders), took)
    }

    fn now(&self) -> Instant {
        Instant::now() + self.skipped
    }

    /// Derives what may be done, as the router does after each input.
    fn follow(&mut self) {
        let now = self.now();
        let held = self.executor.held();
        self.authority = self.desires.update(&self.landscape, &held, now);
        self.executor.set_authority(self.authority.clone(), now);
    }

    /// Makes the next call, or skips the wait for it; tells whether there was one before `end`.
    fn advance(&mut self, end: Instant) -> bool {
        let now = self.now();
        let order = self.executor.poll(now);
        while self.executor.poll_record().is_some() || self.executor.poll_news().is_some() {}
        if let Some(order) = order {
            self.call(&order);
            return true;
        }
        let due = [
            self.executor.poll_timeout(now),
            self.desires.poll_timeout(now),
        ];
        let due = due.into_iter().flatten().min().unwrap_or(end);
        if due >= end {
            self.skipped += end.saturating_duration_since(now);
            return false;
        }
        self.skipped += due.saturating_duration_since(now).max(TICK);
        true
    }

    fn call(&mut self, order: &Order) {
        let guard = Guard {
            authority: &self.authority,
            ticket: order.ticket.as_ref(),
            skipped: self.skipped,
        };
        let answer = if guard.is_current() {
            self.provider.perform(&order.operation, &guard)
        } else {
            Err(not_sent())
        };
        if order.operation.is_change() {
            self.orders.push(row(order, &answer));
        }
        let now = self.now();
        let capabilities = self.provider.capabilities();
        self.executor.set_capabilities(capabilities, now);
        self.executor.handle_answer(order.id, answer, now);
    }
}

/// Holds a ticket against what may be done.
struct Guard<'a> {
    authority: &'a Authority,
    ticket: Option<&'a Ticket>,
    skipped: Duration,
}

impl Fence for Guard<'_> {
    fn is_current(&self) -> bool {
        let now = Instant::now() + self.skipped;
        let ticket = self.ticket;
        ticket.is_none_or(|ticket| self.authority.check(ticket, now).is_ok())
    }
}

fn not_sent() -> ProviderError {
    ProviderError {
        class: ErrorClass::Fenced,
        code: ErrorClass::Fenced.name().to_owned(),
        message: "not sent".to_owned(),
        request_id: None,
        unclassified: false,
    }
}

fn plan(action: &ActionReport) -> String {
    let addresses: Vec<String> = action.wants.keys().map(ToString::to_string).collect();
    let step = action.step.as_ref().map_or("look", |step| step.name());
    let why = action.wants.values().next().map(ToString::to_string);
    let (kind, addresses) = (action.kind, addresses.join(", "));
    format!("{kind} {addresses} by {step}: {}", why.unwrap_or_default())
}

fn row(order: &Order, answer: &Result<Outcome, ProviderError>) -> OrderRow {
    let (result, detail) = match answer {
        Ok(_) => ("done", String::new()),
        Err(error) => (
            error.class.name(),
            format!("{}: {}", error.code, error.message),
        ),
    };
    OrderRow {
        operation: order.operation.name().to_owned(),
        addresses: addresses_of(&order.operation).into_iter().collect(),
        result: result.to_owned(),
        detail,
    }
}
