//! Two or three routers of one site, each with its own idea of the routes, one cloud, and everything that goes wrong.
//!
//! What may be sent is judged from the idea that a router has at that moment, not by the fence that is under test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::executor::{News, Order};
use sam_capture::provider::{ErrorClass, NicId, Outcome, ProviderError};
use sam_capture::{Authority, Desires, Election, Mode, NodeId, Prior};

use crate::cloud::{By, Cloud, STRANGER, Style, address, nic_id};
use crate::router::{ADDRESSES, Home, Marker, Router, Stage, executor, holds, node, subject};

/// What operators prefer: not the order of the ids.
const PRIORITIES: [u8; 3] = [100, 150, 100];
/// Time for everything to be as wanted after the last fault.
const BOUND: Duration = Duration::from_secs(30 * 60);

pub(crate) struct World {
    now: Instant,
    mode: Mode,
    cloud: Cloud,
    homes: BTreeMap<Ipv4Addr, Home>,
    sequence: u32,
    /// The routers do not hear of each other, but of everybody else, and reach the provider.
    cut: bool,
    routers: Vec<Router>,
    /// Whom all have elected who hear each other, as long as they do.
    office: Option<NodeId>,
    /// Changes that were sent.
    pub(crate) sent: usize,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    pub(crate) fn new(style: Style, routers: u8, mode: Mode) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            mode,
            cloud: Cloud::new(style, routers),
            homes: BTreeMap::new(),
            sequence: 1,
            cut: false,
            routers: Vec::new(),
            office: None,
            sent: 0,
        };
        for number in 1..=routers {
            let executor = executor(number, routers, mode, style, Prior::default(), now);
            let priority = PRIORITIES[usize::from(number - 1)];
            let router = Router::new((number, priority), style, Desires::new(holds()), executor);
            world.routers.push(router);
        }
        for last in ADDRESSES {
            world
                .homes
                .insert(address(last), Home::Elsewhere { sequence: 1 });
        }
        world.learn_all();
        world
    }

    /// Lets one thing happen.
    pub(crate) fn step(&mut self, number: u32) {
        let (kind, rest) = (number % 42, number / 42);
        let count = u32::try_from(self.routers.len()).expect("few");
        let index = usize::try_from(rest % count).expect("few");
        let rest = rest / count;
        match kind {
            0..=9 => {
                self.poll(index);
                self.send(index);
                self.complete(index);
                self.pass(Duration::from_millis(50));
            }
            10..=13 => self.poll(index),
            14..=16 => self.send(index),
            17..=19 => self.complete(index),
            20 => self.lose_answer(index, rest),
            21 => self.fail(index, rest),
            22 => self.restart(index),
            23 => self.toggle_running(index),
            24 => {
                self.routers[index].isolated ^= true;
                self.office = None;
            }
            25 | 26 => self.move_home(rest),
            27 | 28 => self.learn_all(),
            29 => self.learn(index),
            30 => self.drift(index, rest),
            31 => self.routers[index].old_look = true,
            32 => self.approve(index, rest),
            33 => self.flap(rest),
            34 => {
                self.cut ^= true;
                self.office = None;
                self.learn_all();
            }
            35 => self.routers[index].denied ^= true,
            36 => (0..self.routers.len()).for_each(|index| self.restart(index)),
            37 | 38 => {
                self.routers[index].drained ^= true;
                self.refresh(index);
            }
            _ => self.pass(
                [20, 300, 1000, 3100, 15_000, 61_000, 130_000].map(Duration::from_millis)
                    [usize::try_from(rest % 7).expect("few")],
            ),
        }
        self.check_agreement();
    }

    /// Routers that have heard the same elect the same: who has not yet heard of the newest change may differ. And who is
    /// elected goes on to be until it is drained or unable, as long as all hear each other.
    fn check_agreement(&mut self) {
        let holds_office = |router: &&Router| {
            let candidate = router.election.candidate();
            !router.drained && candidate.captures && candidate.term > 0
        };
        let mut routers = self.routers.iter().filter(holds_office);
        let office = self.office;
        self.office = office.filter(|office| routers.any(|router| node(router.number) == *office));
        let is_there = |router: &Router| router.running && !router.isolated;
        let is_told = |router: &Router| {
            let mut others = self.routers.iter();
            router.idea.complete
                && others.all(|other| {
                    let stands = |told: Marker| (told.candidate, told.drained);
                    let told = router.idea.markers.get(&node(other.number));
                    let now = is_there(other).then(|| stands(other.marker(self.now)));
                    told.is_none_or(|told| told.clone().map(stands) == now)
                })
        };
        let mut there = self.routers.iter().filter(|router| is_there(router));
        if there.any(|router| router.drained || !is_told(router)) {
            return;
        }
        let there = self.routers.iter().filter(|router| is_there(router));
        let elected = there.map(|router| router.election.elected());
        let elected: BTreeSet<Option<NodeId>> = elected.collect();
        assert!(elected.len() <= 1, "several are elected: {elected:?}");
        let elected = elected.first().copied().flatten();
        let office = self.office;
        assert!(
            office.is_none() || elected == office,
            "{office:?} lost its role to {elected:?}"
        );
        self.office = elected;
    }

    /// Ends all faults, and runs until everything is as wanted.
    pub(crate) fn settle(&mut self) {
        self.cut = false;
        // An order is no fault; but of routers that are all emptied none is.
        if self.routers.iter().all(|router| router.drained) {
            self.routers[0].drained = false;
        }
        for index in 0..self.routers.len() {
            self.routers[index].isolated = false;
            self.routers[index].denied = false;
            self.routers[index].old_look = false;
            if !self.routers[index].running {
                self.toggle_running(index);
            }
        }
        let end = self.now + BOUND;
        loop {
            self.learn_all();
            let Some(wrong) = self.wrong() else { break };
            assert!(self.now < end, "still not as wanted: {wrong}");
            for index in 0..self.routers.len() {
                self.poll(index);
                self.send(index);
                self.complete(index);
            }
            let due = self.routers.iter().filter_map(|router| {
                let executor = router.executor.poll_timeout(self.now);
                let desires = router.desires.poll_timeout(self.now);
                executor.into_iter().chain(desires).min()
            });
            let due = due.min().unwrap_or(end);
            let tick = self.now + Duration::from_millis(20);
            self.pass(due.max(tick) - self.now);
        }
        self.check_journals();
    }

    /// Long after the last change the journals know of nothing that is not there: if it came back, it would not be theirs.
    fn check_journals(&mut self) {
        // A release begins in the first turn when its hold does, is made in the next, and is believed after a later look.
        for _ in 0..6 {
            self.pass(Duration::from_secs(600));
            for _ in 0..8 {
                for index in 0..self.routers.len() {
                    self.poll(index);
                    self.send(index);
                    self.complete(index);
                }
            }
        }
        for index in 0..self.routers.len() {
            let router = &self.routers[index];
            let own = &self.cloud.nics[&nic_id(router.number)].entries;
            let mut marks = router.journal.marks.iter();
            let gone = marks.find(|at| !own.contains_key(at));
            assert_eq!(gone, None, "in the journal of {}", router.number);
        }
    }

    /// What is not as wanted.
    fn wrong(&self) -> Option<String> {
        let used = || self.routers.iter().filter(|router| !router.drained);
        let first = used().next()?.election.elected();
        if used().any(|router| router.election.elected() != first) {
            return Some("they elect several".to_owned());
        }
        if self.disagree() {
            return Some("they place addresses differently".to_owned());
        }
        let nic = |router: &Router| &self.cloud.nics[&nic_id(router.number)];
        let full = |most: usize| used().all(|router| nic(router).entries.len() >= most);
        let full = self.cloud.style.capacity().is_some_and(full);
        let emptied = |nic: &NicId| {
            let mut routers = self.routers.iter();
            routers.any(|router| router.drained && nic_id(router.number) == *nic)
        };
        ADDRESSES.map(address).find_map(|at| {
            let holder = self.cloud.holder_of(at);
            match (self.homes.get(&at), holder) {
                (Some(Home::Elsewhere { .. }), None)
                    if !full && !self.cloud.natives.contains(&at) =>
                {
                    Some(format!("{at} is held by nobody"))
                }
                (Some(Home::Elsewhere { .. }), Some((nic, By::Router)))
                    if !full && emptied(nic) =>
                {
                    Some(format!("{at} is still on {nic}, which is drained"))
                }
                (Some(Home::Here) | None, Some((nic, By::Router))) => {
                    Some(format!("{at} is still on {nic}"))
                }
                _ => None,
            }
        })
    }

    /// Those that are used come to the same, unless one knows of an address that it was refused.
    fn disagree(&self) -> bool {
        let mut routers = self.routers.iter();
        if routers.any(|router| !router.load(self.now).refused.is_empty()) {
            return false;
        }
        let used = self.routers.iter().filter(|router| !router.drained);
        let mut placements = used.map(|router| router.desires.placement());
        let first = placements.next().expect("a router");
        !placements.all(|other| other == first)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for index in 0..self.routers.len() {
            self.refresh(index);
        }
    }

    fn poll(&mut self, index: usize) {
        let now = self.now;
        let router = &mut self.routers[index];
        if !router.running || !matches!(router.stage, Stage::Idle) {
            return;
        }
        let order = router.executor.poll(now);
        router.write_journal();
        if let Some(order) = order {
            router.stage = Stage::Ordered(order, now);
        }
        self.adopt(index);
    }

    /// Where entries carry no mark, nobody can tell whose it is what people put on a NIC just when its router was about to.
    fn adopt(&mut self, index: usize) {
        let router = &self.routers[index];
        let nic = self.cloud.nics.get_mut(&nic_id(router.number));
        if self.cloud.style.capabilities.marks {
            return;
        }
        for (at, by) in &mut nic.expect("its own").entries {
            if *by == By::Hand && router.journal.marks.contains(at) {
                *by = By::Either;
            }
        }
    }

    fn send(&mut self, index: usize) {
        let stage = std::mem::replace(&mut self.routers[index].stage, Stage::Idle);
        let (order, ordered) = match stage {
            Stage::Ordered(order, at) => (order, at),
            other @ (Stage::Idle | Stage::Sent(..)) => {
                self.routers[index].stage = other;
                return;
            }
        };
        let now = self.now;
        let router = &mut self.routers[index];
        let verdict = order
            .ticket
            .as_ref()
            .map_or(Ok(()), |ticket| router.authority.check(ticket, now));
        let answer = match verdict {
            Err(stale) => Err(error(ErrorClass::Fenced, &stale.to_string())),
            Ok(()) => {
                if order.operation.is_change() {
                    self.sent += 1;
                    assert!(
                        self.mode >= Mode::Approve,
                        "a change in mode {:?}",
                        self.mode
                    );
                    router.check_budget(now);
                    router.check_decision(&order, ordered, now);
                    router.check_reason(&order, now);
                    if self.mode == Mode::Approve {
                        router.check_approval(&order.operation);
                    }
                }
                router.note_look(&order.operation, now);
                let denied = order.operation.is_change() && router.denied;
                let old = std::mem::take(&mut router.old_look);
                let nic = nic_id(router.number);
                let result = if denied {
                    Err(ErrorClass::Denied)
                } else {
                    self.cloud.perform(&nic, &order.operation, old, now)
                };
                result.map_err(|class| error(class, "the cloud says so"))
            }
        };
        self.routers[index].stage = Stage::Sent(order, answer);
    }

    fn complete(&mut self, index: usize) {
        match std::mem::replace(&mut self.routers[index].stage, Stage::Idle) {
            Stage::Sent(order, answer) => {
                if answer.is_ok() {
                    self.routers[index].use_approval(&order.operation);
                }
                self.answer(index, &order, answer);
            }
            stage @ (Stage::Idle | Stage::Ordered(..)) => self.routers[index].stage = stage,
        }
    }

    /// The connection breaks, before or after the change.
    fn lose_answer(&mut self, index: usize, rest: u32) {
        if rest.is_multiple_of(2) {
            self.send(index);
        }
        self.interrupt(index, ErrorClass::Unknown);
    }

    /// The provider refuses, and nothing happens.
    fn fail(&mut self, index: usize, rest: u32) {
        let after = Some(Duration::from_secs(2));
        let classes = [
            ErrorClass::Held,
            ErrorClass::LocalOwner,
            ErrorClass::AlreadyGone,
            ErrorClass::Capacity,
            ErrorClass::Throttled(after),
            ErrorClass::Denied,
            ErrorClass::PreconditionLost,
            ErrorClass::Busy,
            ErrorClass::Permanent,
            ErrorClass::Unavailable,
        ];
        let class = classes[usize::try_from(rest).expect("small") % classes.len()].clone();
        if matches!(self.routers[index].stage, Stage::Ordered(..)) {
            self.interrupt(index, class);
        }
    }

    fn interrupt(&mut self, index: usize, class: ErrorClass) {
        match std::mem::replace(&mut self.routers[index].stage, Stage::Idle) {
            Stage::Idle => {}
            Stage::Ordered(order, _) | Stage::Sent(order, _) => {
                self.answer(index, &order, Err(error(class, "a fault")));
            }
        }
    }

    fn answer(&mut self, index: usize, order: &Order, answer: Result<Outcome, ProviderError>) {
        let now = self.now;
        let router = &mut self.routers[index];
        let refused = answer.as_ref().err().map(|error| error.class.clone());
        router.executor.handle_answer(order.id, answer, now);
        router.write_journal();
        if let Some(class) = refused {
            let own = &self.cloud.nics[&nic_id(router.number)];
            router.check_refused(order, &class, &own.entries);
        }
        while let Some(news) = router.executor.poll_news() {
            if let News::Captured(address) = news {
                assert!(ADDRESSES.contains(&address.octets()[3]), "{address}");
            }
        }
        self.refresh(index);
    }

    /// The process ends and starts again; only the journal is left, and what was sent is sent.
    fn restart(&mut self, index: usize) {
        self.office = None;
        let (now, mode, style) = (self.now, self.mode, self.cloud.style);
        let count = u8::try_from(self.routers.len()).expect("few");
        let router = &mut self.routers[index];
        router.stage = Stage::Idle;
        router.gone_since.clear();
        router.missing_since.clear();
        router.sent.clear();
        (router.asked_holders, router.asked_own) = (BTreeMap::new(), None);
        router.approvals.clear();
        router.desires = Desires::new(holds());
        router.election = Election::default();
        router.authority = Authority::default();
        router.idea.complete = false;
        let journal = router.journal.clone();
        router.executor = executor(router.number, count, mode, style, journal, now);
    }

    fn toggle_running(&mut self, index: usize) {
        let running = self.routers[index].running;
        self.routers[index].running = !running;
        self.office = None;
        if running {
            // An order that was not sent yet never will be.
            self.routers[index].stage = Stage::Idle;
        } else {
            self.restart(index);
        }
    }

    fn move_home(&mut self, rest: u32) {
        let count = u32::try_from(ADDRESSES.len()).expect("few");
        let last = u8::try_from(rest % count).expect("few") + ADDRESSES.start;
        self.sequence += 1;
        let sequence = self.sequence;
        let at = address(last);
        self.cloud.natives.remove(&at);
        match (rest / count) % 4 {
            0 => drop(self.homes.remove(&at)),
            1 => {
                self.homes.insert(at, Home::Here);
                if self.cloud.holder_of(at).is_none() {
                    self.cloud.natives.insert(at);
                }
            }
            _ => drop(self.homes.insert(at, Home::Elsewhere { sequence })),
        }
    }

    /// An address goes away and comes back to where it was, faster than any order: all hear of both.
    fn flap(&mut self, rest: u32) {
        let count = u32::try_from(ADDRESSES.len()).expect("few");
        let at = address(u8::try_from(rest % count).expect("few") + ADDRESSES.start);
        self.cloud.natives.remove(&at);
        self.homes.insert(at, Home::Here);
        self.learn_all();
        self.sequence += 1;
        let sequence = self.sequence;
        self.homes.insert(at, Home::Elsewhere { sequence });
        self.learn_all();
    }

    fn learn_all(&mut self) {
        for index in 0..self.routers.len() {
            self.learn(index);
        }
    }

    /// A router hears how things are; an isolated one notices that it is.
    fn learn(&mut self, index: usize) {
        let own = self.routers[index].number;
        let others = self.routers.iter().filter(|other| other.number != own);
        let markers = others.map(|other| {
            let heard = other.running && !other.isolated && !self.cut;
            (node(other.number), heard.then(|| other.marker(self.now)))
        });
        let markers = markers.collect();
        let router = &mut self.routers[index];
        router.idea.isolated = router.isolated;
        if !router.isolated {
            router.idea.markers = markers;
            router.idea.homes = self.homes.clone();
            router.idea.complete = true;
        }
        self.refresh(index);
    }

    /// Derives what a router wants from what it has heard.
    fn refresh(&mut self, index: usize) {
        let now = self.now;
        let router = &mut self.routers[index];
        if !router.running {
            return;
        }
        let landscape = router.landscape(now);
        router.election.follow(&landscape);
        router.note_gone(&landscape, now);
        let held = router.executor.held();
        let authority = router.desires.update(&landscape, &held, now);
        router.authority = authority.clone();
        router.executor.set_authority(authority, now);
    }

    /// A person removes an address, or puts one somewhere.
    fn drift(&mut self, index: usize, rest: u32) {
        let count = u32::try_from(ADDRESSES.len()).expect("few");
        let at = address(u8::try_from(rest % count).expect("few") + ADDRESSES.start);
        let nic = match (rest / count) % 3 {
            0 => None,
            1 => Some(nic_id(STRANGER)),
            _ => Some(nic_id(self.routers[index].number)),
        };
        // Where entries carry no mark, nobody can tell what was put back from what was never away.
        let journal = &self.routers[index].journal;
        let marked = !self.cloud.style.capabilities.marks && journal.marks.contains(&at);
        let by = if marked { By::Either } else { By::Hand };
        // Nobody but a router takes what is held.
        let free = self.cloud.holder_of(at).is_none() && !self.cloud.natives.contains(&at);
        self.cloud.edit(self.now, |nics| match nic {
            None => nics
                .values_mut()
                .for_each(|nic| nic.entries.retain(|held, _| *held != at)),
            Some(nic) if free => {
                let by = if nic == nic_id(STRANGER) {
                    By::Hand
                } else {
                    by
                };
                let nic = nics.get_mut(&nic).expect("known");
                nic.entries.insert(at, by);
            }
            Some(_) => {}
        });
    }

    fn approve(&mut self, index: usize, rest: u32) {
        let router = &mut self.routers[index];
        let mut waiting = router.executor.actions();
        waiting.retain(|action| action.awaits_approval);
        if !waiting.is_empty() {
            let action = &waiting[usize::try_from(rest).expect("small") % waiting.len()];
            assert!(router.executor.approve(action.id));
            let step = action.step.as_ref().expect("what is shown");
            router.approvals.push(subject(step));
        }
    }
}

fn error(class: ErrorClass, message: &str) -> ProviderError {
    ProviderError {
        code: class.name().to_owned(),
        class,
        message: message.to_owned(),
        request_id: None,
        unclassified: false,
    }
}
