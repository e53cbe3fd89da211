//! One router of the model: what it has heard, and whether what it sends follows from that.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::desired::{Claimed, Landscape, RibView};
use sam_capture::executor::Order;
use sam_capture::placement::weight;
use sam_capture::provider::{Operation, Outcome, ProviderError};
use sam_capture::{
    Authority, Candidate, Desires, Executor, Load, NodeId, PathSignature, Prior, Want,
};

use crate::cloud::{Style, address, nic_id};

/// Changes per minute that each run of a router may send.
pub(crate) const BUDGET: usize = 5;
pub(crate) const SEIZE_HOLD: Duration = Duration::from_secs(3);
pub(crate) const RELEASE_HOLD: Duration = Duration::from_secs(120);
/// Addresses in play.
pub(crate) const ADDRESSES: std::ops::Range<u8> = 10..14;

/// Where an address lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Elsewhere { sequence: u32 },
    Here,
}

/// What a router has heard of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Idea {
    pub(crate) homes: BTreeMap<Ipv4Addr, Home>,
    pub(crate) alive: BTreeMap<NodeId, bool>,
    /// What the others have captured, and can.
    pub(crate) loads: BTreeMap<NodeId, Load>,
    pub(crate) isolated: bool,
    pub(crate) complete: bool,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) enum Stage {
    Idle,
    Ordered(Order),
    Sent(u64, Result<Outcome, ProviderError>),
}

pub(crate) struct Router {
    pub(crate) number: u8,
    pub(crate) running: bool,
    pub(crate) isolated: bool,
    /// The provider permits it no change.
    pub(crate) denied: bool,
    /// It is to be emptied.
    pub(crate) drained: bool,
    pub(crate) style: Style,
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
}

impl Router {
    /// What it has captured, and can, as it tells the others.
    pub(crate) fn told(&self, now: Instant) -> Load {
        Load {
            refused: BTreeSet::new(),
            ..self.executor.load(self.style.shares, now)
        }
    }

    pub(crate) fn landscape(&self, now: Instant) -> Landscape {
        let own = node(self.number);
        let mut loads = self.idea.loads.clone();
        loads.insert(own, self.executor.load(self.style.shares, now));
        let siblings = self.idea.alive.iter().filter(|(node, _)| **node != own);
        let claims = self.idea.homes.iter().map(|(at, home)| {
            let claimed = match home {
                Home::Here => Claimed::AtOurSite,
                Home::Elsewhere { sequence } => Claimed::Elsewhere(signature(*at, *sequence)),
            };
            (*at, claimed)
        });
        Landscape {
            yields: self.drained,
            generation: 1,
            view: match (self.idea.isolated, self.idea.complete) {
                (true, _) => RibView::Isolated,
                (false, false) => RibView::Incomplete,
                (false, true) => RibView::Complete,
            },
            own,
            candidate: Candidate::default(),
            loads,
            siblings: siblings
                .map(|(node, alive)| (*node, alive.then(Candidate::default)))
                .collect(),
            unheard: BTreeSet::new(),
            claims: claims.collect(),
            released: BTreeSet::new(),
            all_released: false,
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
        let gone = |nic: &sam_capture::provider::NicId| {
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

    /// An address is not for this router if another one that is there has it, or comes first and has room for all.
    fn check_turn(&self, at: Ipv4Addr) {
        let own = node(self.number);
        let rank = |node: NodeId| {
            let weight = if self.style.shares {
                weight(at, node)
            } else {
                0
            };
            (Reverse(weight), node)
        };
        let others = self.idea.alive.iter();
        let others = others.filter(|(other, alive)| **alive && **other != own);
        for (other, _) in others {
            let load = self.idea.loads.get(other).cloned().unwrap_or_default();
            assert!(!load.held.contains(&at), "{at} is where it belongs");
            let ample = |most: usize| most >= load.held.len() + ADDRESSES.len();
            if rank(*other) < rank(own) && load.capacity.is_none_or(ample) {
                panic!("{at} is for node {other} to take");
            }
        }
        assert!(
            !self.drained || others_are_gone(&self.idea, own),
            "{at}: it is drained"
        );
    }

    /// Nothing is put on a NIC beyond what it may have.
    fn check_room(&self, addresses: &BTreeSet<Ipv4Addr>, now: Instant) {
        let load = self.executor.load(self.style.shares, now);
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

fn others_are_gone(idea: &Idea, own: NodeId) -> bool {
    let mut others = idea.alive.iter().filter(|(node, _)| **node != own);
    others.all(|(_, alive)| !alive)
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
