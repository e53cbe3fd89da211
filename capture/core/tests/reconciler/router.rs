//! One router of the model: what it has heard, and whether what it sends follows from that.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::desired::{Claimed, Holds, Landscape, RibView};
use sam_capture::executor::{Order, Rhythm, Settings, addresses_of};
use sam_capture::placement::weight;
use sam_capture::provider::{ErrorClass, NicId, Operation, Outcome, ProviderError};
use sam_capture::{
    Authority, Candidate, Desires, Election, Executor, Load, Mode, NodeId, PathSignature, Pool,
    Prior, Want,
};

use crate::cloud::{By, Style, address, nic_id};

/// Changes per minute that each run of a router may send.
const BUDGET: usize = 5;
const SEIZE_HOLD: Duration = Duration::from_secs(3);
const RELEASE_HOLD: Duration = Duration::from_secs(120);
/// From its decision to its last request a change may take so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// From whom something is taken follows from a look that was at most so old when that was decided: it may have taken ten
/// seconds, and is good for two more.
const HOLDERS_MAX: Duration = Duration::from_secs(12);
/// The same of our own NIC, where a look is good for five.
const OWN_MAX: Duration = Duration::from_secs(15);
/// Addresses in play.
pub(crate) const ADDRESSES: std::ops::Range<u8> = 10..14;

/// Where an address lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Elsewhere { sequence: u32 },
    Here,
}

/// What a router tells the others of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) candidate: Candidate,
    pub(crate) drained: bool,
    /// What it has captured, and can.
    pub(crate) load: Load,
}

/// What a router has heard of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Idea {
    pub(crate) homes: BTreeMap<Ipv4Addr, Home>,
    /// The other routers of the site, as those that are there told last.
    pub(crate) markers: BTreeMap<NodeId, Option<Marker>>,
    pub(crate) isolated: bool,
    pub(crate) complete: bool,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Stage {
    Idle,
    /// Since then.
    Ordered(Order, Instant),
    Sent(Order, Result<Outcome, ProviderError>),
}

pub(crate) struct Router {
    pub(crate) number: u8,
    pub(crate) running: bool,
    pub(crate) isolated: bool,
    /// The provider permits it no change.
    pub(crate) denied: bool,
    /// An operator empties it.
    pub(crate) drained: bool,
    /// What operators prefer.
    pub(crate) priority: u8,
    pub(crate) style: Style,
    pub(crate) election: Election,
    pub(crate) idea: Idea,
    /// Since when it takes siblings for gone.
    pub(crate) gone_since: BTreeMap<NodeId, Instant>,
    /// Since when it has heard nothing of addresses.
    pub(crate) missing_since: BTreeMap<Ipv4Addr, Instant>,
    pub(crate) desires: Desires,
    pub(crate) authority: Authority,
    pub(crate) executor: Executor,
    pub(crate) journal: Prior,
    pub(crate) stage: Stage,
    pub(crate) old_look: bool,
    pub(crate) sent: VecDeque<Instant>,
    /// When the provider was last asked who has each address, and how our own NIC is.
    pub(crate) asked_holders: BTreeMap<Ipv4Addr, Instant>,
    pub(crate) asked_own: Option<Instant>,
    /// What an operator said yes to, and was not done since.
    pub(crate) approvals: Vec<Subject>,
}

/// A change as an operator reads it: what, which addresses, and from where each is taken.
pub(crate) type Subject = (&'static str, BTreeMap<Ipv4Addr, Option<NicId>>);

pub(crate) fn subject(operation: &Operation) -> Subject {
    let from = |at: &Ipv4Addr| match operation {
        Operation::Seize { addresses } => addresses.get(at).map(|holder| holder.nic.clone()),
        Operation::Strip { nic, .. } => Some(nic.clone()),
        Operation::Observe
        | Operation::FindHolders(_)
        | Operation::Inventory
        | Operation::Preflight
        | Operation::Assign { .. }
        | Operation::Unassign { .. }
        | Operation::SetForwarding { .. } => None,
    };
    let addresses = addresses_of(operation).into_iter();
    let addresses = addresses.map(|at| (at, from(&at))).collect();
    (operation.name(), addresses)
}

impl Router {
    pub(crate) fn new(
        (number, priority): (u8, u8),
        style: Style,
        desires: Desires,
        executor: Executor,
    ) -> Self {
        Self {
            number,
            running: true,
            isolated: false,
            denied: false,
            drained: false,
            priority,
            style,
            election: Election::default(),
            idea: Idea::default(),
            gone_since: BTreeMap::new(),
            missing_since: BTreeMap::new(),
            desires,
            authority: Authority::default(),
            executor,
            journal: Prior::default(),
            stage: Stage::Idle,
            old_look: false,
            sent: VecDeque::new(),
            asked_holders: BTreeMap::new(),
            asked_own: None,
            approvals: Vec::new(),
        }
    }

    /// What it has captured, and can, as it tells the others.
    pub(crate) fn told(&self, now: Instant) -> Load {
        Load {
            refused: BTreeSet::new(),
            ..self.load(now)
        }
    }

    /// What it has captured, and can, as it sees it itself.
    pub(crate) fn load(&self, now: Instant) -> Load {
        Load {
            shares: self.style.shares,
            ..self.executor.load(now)
        }
    }

    pub(crate) fn landscape(&self, now: Instant) -> Landscape {
        let own = node(self.number);
        let markers = self.idea.markers.iter();
        let loads = markers.filter_map(|(node, told)| Some((*node, told.as_ref()?.load.clone())));
        let ours = (own, self.load(now));
        let claims = self.idea.homes.iter().map(|(at, home)| {
            let claimed = match home {
                Home::Here => Claimed::AtOurSite,
                Home::Elsewhere { sequence } => Claimed::Elsewhere(signature(*at, *sequence)),
            };
            (*at, claimed)
        });
        let captures = self.executor.is_able(now);
        Landscape {
            yields: self.drained,
            generation: 1,
            view: match (self.idea.isolated, self.idea.complete) {
                (true, _) => RibView::Isolated,
                (false, false) => RibView::Incomplete,
                (false, true) => RibView::Complete,
            },
            own,
            candidate: Candidate {
                captures,
                priority: if captures { self.priority } else { 0 },
                ..self.election.candidate()
            },
            siblings: self.siblings().collect(),
            loads: loads.chain([ours]).collect(),
            unheard: BTreeSet::new(),
            claims: claims.collect(),
            released: BTreeSet::new(),
            all_released: false,
        }
    }

    /// What it tells the others now.
    pub(crate) fn marker(&self, now: Instant) -> Marker {
        Marker {
            candidate: self.election.candidate(),
            drained: self.drained,
            load: self.told(now),
        }
    }

    /// The others that are there for this one: one that is drained is as good as gone to who is not.
    fn others(&self) -> impl Iterator<Item = (NodeId, Option<&Marker>)> {
        let markers = self.idea.markers.iter();
        markers.map(|(node, told)| {
            let told = told.as_ref();
            (*node, told.filter(|told| !told.drained || self.drained))
        })
    }

    fn siblings(&self) -> impl Iterator<Item = (NodeId, Option<Candidate>)> {
        let others = self.others();
        others.map(|(node, told)| (node, told.map(|told| told.candidate)))
    }

    /// Whether another router comes before this one for an address: the rule as operators are told it.
    fn is_after(&self, other: NodeId, theirs: Candidate, at: Ipv4Addr) -> bool {
        let (own, ours) = (node(self.number), self.election.candidate());
        if ours.captures != theirs.captures {
            theirs.captures
        } else if self.style.shares {
            (Reverse(weight(at, other)), other) < (Reverse(weight(at, own)), own)
        } else if ours.captures && ours.term != theirs.term {
            theirs.term > ours.term
        } else if ours.priority != theirs.priority {
            theirs.priority > ours.priority
        } else {
            other < own
        }
    }

    pub(crate) fn note_gone(&mut self, landscape: &Landscape, now: Instant) {
        let complete = landscape.view == RibView::Complete;
        self.gone_since
            .retain(|node, _| complete && landscape.siblings[node].is_none());
        self.missing_since
            .retain(|at, _| complete && !landscape.claims.contains_key(at));
        for at in ADDRESSES.map(address) {
            if complete && !landscape.claims.contains_key(&at) {
                self.missing_since.entry(at).or_insert(now);
            }
        }
        for (node, there) in &landscape.siblings {
            if complete && there.is_none() {
                self.gone_since.entry(*node).or_insert(now);
            }
        }
    }

    /// The budget of any minute.
    pub(crate) fn check_budget(&mut self, now: Instant) {
        let minute = Duration::from_secs(60);
        self.sent.retain(|at| now < *at + minute);
        self.sent.push_back(now);
        assert!(
            self.sent.len() <= BUDGET,
            "{} changes in a minute",
            self.sent.len()
        );
    }

    /// A change is sent only soon after it was decided, and on looks that were no older than they may be; and what nothing
    /// else would mark is in the journal before.
    pub(crate) fn check_decision(&self, order: &Order, ordered: Instant, now: Instant) {
        let operation = &order.operation;
        assert!(now <= ordered + PATIENCE, "{operation:?} is late");
        let is_fresh =
            |asked: Option<&Instant>, most| asked.is_some_and(|at| ordered <= *at + most);
        let takes = matches!(operation, Operation::Seize { .. } | Operation::Strip { .. });
        let mut taken = addresses_of(operation).into_iter().filter(|_| takes);
        let seen = taken.all(|at| is_fresh(self.asked_holders.get(&at), HOLDERS_MAX));
        assert!(seen, "{operation:?} on an old look at holders");
        // What was taken off another NIC is put on ours at once.
        let assigns = matches!(operation, Operation::Assign { .. });
        let seen = assigns || is_fresh(self.asked_own.as_ref(), OWN_MAX);
        assert!(seen, "{operation:?} on an old look at our NIC");
        let captures = matches!(
            operation,
            Operation::Assign { .. } | Operation::Seize { .. }
        );
        if captures && !self.style.capabilities.marks {
            let captured = addresses_of(operation);
            let known = captured.is_subset(&self.journal.marks);
            assert!(known, "{operation:?}: the journal knows nothing of it");
        }
    }

    pub(crate) fn note_look(&mut self, operation: &Operation, now: Instant) {
        if let Operation::FindHolders(addresses) = operation {
            let asked = addresses.iter().map(|address| (*address, now));
            self.asked_holders.extend(asked);
        } else if *operation == Operation::Observe {
            self.asked_own = Some(now);
        }
    }

    /// What was certainly not put on our NIC is not in the journal, unless it was there before.
    pub(crate) fn check_refused(
        &self,
        order: &Order,
        class: &ErrorClass,
        there: &BTreeMap<Ipv4Addr, By>,
    ) {
        let operation = &order.operation;
        let captures = matches!(
            operation,
            Operation::Assign { .. } | Operation::Seize { .. }
        );
        if captures && !matches!(class, ErrorClass::Unknown | ErrorClass::Fenced) {
            let mut refused = addresses_of(operation);
            refused.retain(|at| !there.contains_key(at));
            let is_unknown = refused.is_disjoint(&self.journal.marks);
            assert!(is_unknown, "{operation:?}: refused, and in the journal");
        }
    }

    /// In mode approve nothing is sent but what an operator said yes to, or a part of it.
    pub(crate) fn check_approval(&self, operation: &Operation) {
        let (what, addresses) = subject(operation);
        let covers = |(name, approved): &Subject| {
            let mut addresses = addresses.iter();
            *name == what && addresses.all(|(at, from)| approved.get(at) == Some(from))
        };
        let approved = self.approvals.iter().any(covers);
        assert!(approved, "{operation:?}: nobody approved it");
    }

    /// What is done needs another word to be done again.
    pub(crate) fn use_approval(&mut self, operation: &Operation) {
        let (what, addresses) = subject(operation);
        self.approvals.retain_mut(|(name, approved)| {
            if *name == what {
                approved.retain(|at, _| !addresses.contains_key(at));
            }
            *name != what || !approved.is_empty()
        });
    }

    /// A change is sent only for a reason that holds at this moment, by what the router has heard.
    pub(crate) fn check_reason(&self, order: &Order, now: Instant) {
        let operation = &order.operation;
        assert!(
            !self.idea.isolated && self.idea.complete,
            "{operation:?}: routes unknown"
        );
        let elsewhere = |at: &Ipv4Addr| {
            let home = self.idea.homes.get(at);
            self.check_turn(*at);
            let Some(Home::Elsewhere { sequence }) = home else {
                panic!("{at}: {home:?}");
            };
            // It left and came back since: another claim, and another decision.
            let decided = order.ticket.as_ref().map(|ticket| &ticket.wants[at]);
            let still = Want::Capture(signature(*at, *sequence));
            assert_eq!(decided, Some(&still), "{at} was decided on an old claim");
        };
        let gone = |nic: &NicId| {
            let of_nic = |(node, _): &(&NodeId, &Instant)| {
                nic_id(u8::try_from(node.0).expect("few")) == *nic
            };
            let since = self.gone_since.iter().find(of_nic);
            let since = since.unwrap_or_else(|| panic!("{nic} is not gone")).1;
            assert!(now >= *since + SEIZE_HOLD, "{nic} is gone for too short");
        };
        match operation {
            Operation::Assign { addresses, .. } => {
                addresses.iter().for_each(elsewhere);
                self.check_room(addresses, now);
            }
            Operation::Seize { addresses } => {
                addresses.keys().for_each(elsewhere);
                addresses.values().for_each(|holder| gone(&holder.nic));
                self.check_room(&addresses.keys().copied().collect(), now);
            }
            Operation::Strip { nic, addresses, .. } => {
                addresses.iter().for_each(elsewhere);
                gone(nic);
                self.check_room(addresses, now);
            }
            Operation::Unassign { addresses, .. } => {
                for at in addresses.keys() {
                    let home = self.idea.homes.get(at);
                    let missing = self.missing_since.get(at);
                    let lasted = missing.is_some_and(|since| now >= *since + RELEASE_HOLD);
                    assert!(home == Some(&Home::Here) || lasted, "{at}: {home:?}");
                }
            }
            Operation::SetForwarding { enabled, .. } => assert!(enabled),
            Operation::Observe
            | Operation::FindHolders(_)
            | Operation::Inventory
            | Operation::Preflight => {}
        }
    }

    /// An address is not for this router if another one that is there has it, or comes first and has room for all; nor if
    /// that one captures and this one does not, or this one is drained.
    fn check_turn(&self, at: Ipv4Addr) {
        let captures = self.election.candidate().captures;
        let there = self.others().filter_map(|(node, told)| Some((node, told?)));
        for (
            other,
            Marker {
                candidate, load, ..
            },
        ) in there
        {
            assert!(!self.drained, "{at}: it is drained");
            assert!(!load.held.contains(&at), "{at} is where it belongs");
            let ample = |most: usize| most >= load.held.len() + ADDRESSES.len();
            let alone_captures = candidate.captures && !captures;
            let takes = load.capacity.is_none_or(ample) || alone_captures;
            if takes && self.is_after(other, *candidate, at) {
                panic!("{at} is for node {other} to take");
            }
        }
    }

    /// Nothing is put on a NIC beyond what it may have.
    fn check_room(&self, addresses: &BTreeSet<Ipv4Addr>, now: Instant) {
        let load = self.load(now);
        let then = load.held.union(addresses).count();
        let most = self.style.capacity().unwrap_or(usize::MAX);
        assert!(then <= most, "{then} captures where {most} may be");
    }

    pub(crate) fn write_journal(&mut self) {
        while let Some(record) = self.executor.poll_record() {
            self.journal.apply(&record);
        }
    }
}

pub(crate) fn node(number: u8) -> NodeId {
    NodeId(u32::from(number))
}

pub(crate) fn signature(at: Ipv4Addr, sequence: u32) -> PathSignature {
    PathSignature {
        address: at,
        owner: NodeId(99),
        site: "hq".into(),
        next_hop: [10, 99, 0, 99].into(),
        sequence,
    }
}

pub(crate) fn executor(
    number: u8,
    count: u8,
    mode: Mode,
    style: Style,
    prior: Prior,
    now: Instant,
) -> Executor {
    let others = (1..=count).filter(|other| *other != number);
    let settings = Settings {
        mode,
        pools: vec![Pool {
            id: 1,
            name: "lan60".into(),
            prefix: "10.77.60.0/24".parse().expect("a prefix"),
            exclude: BTreeSet::new(),
        }],
        nic: Some(nic_id(number)),
        members: others.map(|other| (nic_id(other), node(other))).collect(),
        max_captures: style.max_captures,
        budget: BUDGET,
        patience: PATIENCE,
        poll: Rhythm {
            shortest: Duration::from_secs(60),
            longest: Duration::from_secs(180),
        },
        inventory: None,
    };
    Executor::new(settings, style.capabilities, prior, u64::from(number), now)
}

pub(crate) fn holds() -> Holds {
    Holds {
        release: RELEASE_HOLD,
        seize: SEIZE_HOLD,
        silence: SEIZE_HOLD,
    }
}
