//! One router of the model: what it has heard, and whether what it sends follows from that.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::desired::{Claimed, Landscape, RibView};
use sam_capture::executor::Order;
use sam_capture::provider::{Operation, Outcome, ProviderError};
use sam_capture::{
    Authority, Candidate, Desires, Election, Executor, NodeId, PathSignature, Prior, Want,
};

use crate::cloud::{address, nic_id};

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

/// What a router tells the others of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) candidate: Candidate,
    pub(crate) drained: bool,
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
    Ordered(Order),
    Sent(u64, Result<Outcome, ProviderError>),
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
}

impl Router {
    pub(crate) fn landscape(&self, now: Instant) -> Landscape {
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
            own: node(self.number),
            candidate: Candidate {
                captures,
                priority: if captures { self.priority } else { 0 },
                ..self.election.candidate()
            },
            siblings: self.siblings().collect(),
            unheard: std::collections::BTreeSet::new(),
            claims: claims.collect(),
            released: std::collections::BTreeSet::new(),
            all_released: false,
        }
    }

    /// What it tells the others now.
    pub(crate) fn marker(&self) -> Marker {
        Marker {
            candidate: self.election.candidate(),
            drained: self.drained,
        }
    }

    /// The others, and how those that count as there stand: one that is drained is as good as gone to who is not.
    fn siblings(&self) -> impl Iterator<Item = (NodeId, Option<Candidate>)> {
        let markers = self.idea.markers.iter();
        markers.map(|(node, marker)| {
            let counts = marker.filter(|marker| !marker.drained || self.drained);
            (*node, counts.map(|marker| marker.candidate))
        })
    }

    /// Whether it is up to this router to take what is new, by what it has heard: the rule as operators are told it.
    fn is_first(&self) -> bool {
        let own = self.election.candidate();
        let mut others = self
            .siblings()
            .filter_map(|(node, there)| Some((node, there?)));
        if self.drained {
            return others.next().is_none();
        }
        others.all(|(other, theirs)| {
            if own.captures != theirs.captures {
                own.captures
            } else if own.captures && own.term != theirs.term {
                own.term > theirs.term
            } else if own.priority != theirs.priority {
                own.priority > theirs.priority
            } else {
                node(self.number) < other
            }
        })
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
            assert!(self.is_first(), "{at} is for a sibling to take");
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
            Operation::Assign { addresses, .. } => addresses.iter().for_each(elsewhere),
            Operation::Seize { addresses } => {
                addresses.keys().for_each(elsewhere);
                addresses.values().for_each(|holder| gone(&holder.nic));
            }
            Operation::Strip { nic, addresses, .. } => {
                addresses.iter().for_each(elsewhere);
                gone(nic);
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
