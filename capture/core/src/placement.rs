//! Which router of a site captures which address: pure, and the same for all routers that have heard the same.
//!
//! An address stays where it is. Each of the others goes to the first router that has room for it, lowest address first:
//! first in the order of the election where one captures and the others stand by; by rendezvous hashing (highest random
//! weight, Thaler and Ravishankar 1998), for each address anew, where they share. What is done of a placement changes
//! nothing of the rest: whoever follows a little later comes to the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use crate::desired::Candidate;
use crate::inability::Inability;
use crate::node::NodeId;
use crate::route_tags::RouteTags;

/// What a router has captured, and can capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Whether it tells any of this: one of a version from before that does not, and gets nothing but as the elected one.
    pub tells: bool,
    /// Whether it shares captures with the other routers of its site, instead of leaving them to the elected one.
    pub shares: bool,
    /// Most addresses of pools that its NIC may have; `None`: nobody knows of a limit.
    pub capacity: Option<usize>,
    /// Addresses of pools that are on its NIC.
    pub held: BTreeSet<Ipv4Addr>,
    /// Addresses that it was refused: they take no room. Known of our own NIC only.
    pub refused: BTreeSet<Ipv4Addr>,
    /// Why it captures nothing, where it says so.
    pub inability: Option<Inability>,
}

/// What a marker says of how much may be captured, where nobody knows of a limit.
const NO_LIMIT: u32 = u32::MAX;

impl Load {
    /// Reads what a marker tells, and what it says is held.
    #[must_use]
    pub fn from_marker(marker: &RouteTags, held: BTreeSet<Ipv4Addr>) -> Self {
        let capacity = marker.capacity.filter(|most| *most != NO_LIMIT);
        Self {
            tells: marker.shares || marker.capacity.is_some(),
            shares: marker.shares,
            capacity: capacity.and_then(|most| usize::try_from(most).ok()),
            held,
            refused: BTreeSet::new(),
            inability: marker.inability,
        }
    }

    /// Returns what the marker says of how much may be captured.
    #[must_use]
    pub fn told_capacity(&self) -> Option<u32> {
        let most = self.capacity.and_then(|most| u32::try_from(most).ok());
        self.tells.then(|| most.unwrap_or(NO_LIMIT))
    }

    /// Returns how many more addresses its NIC may have.
    fn room(&self) -> usize {
        let capacity = self.capacity.unwrap_or(usize::MAX);
        capacity.saturating_sub(self.held.len())
    }
}

/// A router of the site that is there.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Which.
    pub node: NodeId,
    /// How it stands in the election.
    pub candidate: Candidate,
    /// What it has and can.
    pub load: &'a Load,
}

/// Where an address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// To which router.
    pub node: NodeId,
    /// Why.
    pub rule: Rule,
}

/// Why an address goes to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// It has it.
    Incumbent,
    /// It is the one that is elected.
    Elected,
    /// Its weight is the greatest.
    Rendezvous,
    /// Those before it have no room.
    Overflow,
}

impl Rule {
    /// Returns its name, for operators.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incumbent => "incumbent",
            Self::Elected => "elected",
            Self::Rendezvous => "rendezvous",
            Self::Overflow => "overflow",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match self.rule {
            Rule::Incumbent => write!(f, "node {node} of this site has it"),
            Rule::Elected => write!(f, "node {node} of this site takes new addresses"),
            Rule::Rendezvous => write!(f, "it is in the share of node {node} of this site"),
            Rule::Overflow => write!(
                f,
                "node {node} of this site takes what others have no room for"
            ),
        }
    }
}

/// Where each address goes; `None`: nobody has room for it.
pub type Placement = BTreeMap<Ipv4Addr, Option<Place>>;

/// Tells whether routers share captures: all of them that capture say so.
#[must_use]
pub fn are_shared(members: &[Member<'_>]) -> bool {
    let mut takers = takers(members).into_iter();
    takers.all(|member| member.load.shares)
}

/// Places addresses on the routers that are there.
#[must_use]
pub fn place(addresses: impl IntoIterator<Item = Ipv4Addr>, members: &[Member<'_>]) -> Placement {
    let mut incumbents = BTreeMap::new();
    for member in elected_first(members) {
        for address in &member.load.held {
            incumbents.entry(*address).or_insert(member.node);
        }
    }
    let takers = takers(members);
    let mut room: Vec<usize> = takers.iter().map(|member| member.load.room()).collect();
    let shared = are_shared(members);
    let addresses: BTreeSet<Ipv4Addr> = addresses.into_iter().collect();
    let places = addresses.into_iter().map(|address| {
        if let Some(&node) = incumbents.get(&address) {
            let rule = Rule::Incumbent;
            return (address, Some(Place { node, rule }));
        }
        let mut order: Vec<usize> = (0..takers.len()).collect();
        if shared {
            order.sort_by_key(|&at| {
                let node = takers[at].node;
                (Reverse(weight(address, node)), node)
            });
        }
        let first = order.first().copied();
        // Who does not tell what it has and may have would never be full.
        let takes = |at: usize| room[at] > 0 && (at == 0 || takers[at].load.tells);
        let at = order.into_iter().find(|&at| takes(at));
        let place = at.map(|at| {
            let taker = takers[at];
            if !taker.load.refused.contains(&address) {
                room[at] -= 1;
            }
            let rule = match (first == Some(at), shared) {
                (false, _) => Rule::Overflow,
                (true, false) => Rule::Elected,
                (true, true) => Rule::Rendezvous,
            };
            let node = taker.node;
            Place { node, rule }
        });
        (address, place)
    });
    places.collect()
}

/// Routers in the order of the election.
#[must_use]
pub(crate) fn elected_first<'a>(members: &[Member<'a>]) -> Vec<Member<'a>> {
    let mut members = members.to_vec();
    members.sort_by_key(|member| (Reverse(member.candidate), member.node));
    members
}

/// Those of them that take something new: who captures at all, or everybody where nobody does and all only plan.
fn takers<'a>(members: &[Member<'a>]) -> Vec<Member<'a>> {
    let mut members = elected_first(members);
    let capture = members.first().map(|first| first.candidate.captures);
    members.retain(|member| Some(member.candidate.captures) == capture);
    members
}

/// Weight of a router for an address; the greatest takes it. All routers of a site must come to the same, of whatever
/// version: this never changes. It is the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
#[must_use]
pub fn weight(address: Ipv4Addr, node: NodeId) -> u64 {
    let seed = (u64::from(u32::from(address)) << 32) | u64::from(node.0);
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
