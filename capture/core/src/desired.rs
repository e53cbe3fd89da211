//! What is wanted of each address: on our NIC, not on it, or no opinion.
//!
//! No opinion is the answer to everything uncertain: lack of information never changes anything at the provider.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::fence::{Authority, PathSignature};
use crate::node::NodeId;
use crate::placement::{Load, Member, Placement, are_shared, elected_first, place};

/// What is wanted of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// On our NIC, for it lives there.
    Capture(PathSignature),
    /// Not on our NIC.
    Absent(Absence),
    /// As it is.
    Keep(KeepReason),
}

/// Why an address must not be on our NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absence {
    /// It lives at this site.
    OwnedHere,
    /// Nobody has owned it for as long as a route may be missing.
    Unowned,
    /// An operator wants it left alone.
    Ordered,
}

/// Why there is no opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepReason {
    /// Not all routes are known yet since the start.
    Incomplete,
    /// No BGP session is up.
    Isolated,
    /// The route is gone, perhaps not for long.
    Withdrawn,
    /// Another router of the site has it, or takes it.
    Sibling(NodeId),
    /// No router of the site has room for it.
    NoRoom,
    /// Several nodes say that they own it.
    Disputed,
    /// Its owner is about to change.
    Unsettled,
    /// Another router of the site goes on with it until it is known whether its owner can be reached from here.
    Unproven,
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capture(signature) => write!(f, "it lives elsewhere: {signature}"),
            Self::Absent(Absence::OwnedHere) => f.write_str("it lives at this site"),
            Self::Absent(Absence::Unowned) => f.write_str("nobody owns it any more"),
            Self::Absent(Absence::Ordered) => f.write_str("it is left alone by order"),
            Self::Keep(KeepReason::Incomplete) => f.write_str("not all routes are known yet"),
            Self::Keep(KeepReason::Isolated) => f.write_str("no BGP session is up"),
            Self::Keep(KeepReason::Withdrawn) => f.write_str("its route is gone, not for long yet"),
            Self::Keep(KeepReason::Sibling(node)) => {
                write!(f, "it is left to node {node} of this site")
            }
            Self::Keep(KeepReason::NoRoom) => f.write_str("no router of this site has room for it"),
            Self::Keep(KeepReason::Disputed) => f.write_str("several nodes own it"),
            Self::Keep(KeepReason::Unsettled) => f.write_str("its owner is about to change"),
            Self::Keep(KeepReason::Unproven) => {
                f.write_str("whether its owner can be reached from here is not known yet")
            }
        }
    }
}

impl Want {
    /// Returns its name, for operators.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capture(_) => "capture",
            Self::Absent(_) => "absent",
            Self::Keep(_) => "keep",
        }
    }
}

/// How much of the routes is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RibView {
    /// All, as far as anybody tells.
    Complete,
    /// The first routes since the start are not all there.
    Incomplete,
    /// Nobody tells any.
    Isolated,
}

/// What routes say of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// This router itself owns it.
    ByUs,
    /// Another router of our site owns it.
    AtOurSite,
    /// It lives at another site.
    Elsewhere(PathSignature),
    /// Several nodes own it.
    Disputed,
    /// A node takes it over or gives it up.
    Unsettled,
    /// It lives at another site, and whether that can be reached from here is not known yet.
    Unproven,
}

/// What the router knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landscape {
    /// Generation of the configuration.
    pub generation: u64,
    /// How much is known.
    pub view: RibView,
    /// Our own node.
    pub own: NodeId,
    /// Whether we leave what is new to the others, where there are any: we are being emptied.
    pub yields: bool,
    /// How we stand in the election of who captures for the site.
    pub candidate: Candidate,
    /// The other routers of our site, and how those that are there stand: marker present, path alive.
    pub siblings: BTreeMap<NodeId, Option<Candidate>>,
    /// What each router of our site, ours among them, has captured and can; nothing is known of those that are missing.
    pub loads: BTreeMap<NodeId, Load>,
    /// Those of them that are not heard of, while nothing says that the way to them is broken: it may be BGP alone.
    pub unheard: BTreeSet<NodeId>,
    /// Addresses of the pools that somebody owns.
    pub claims: BTreeMap<Ipv4Addr, Claimed>,
    /// Addresses that an operator wants left alone.
    pub released: BTreeSet<Ipv4Addr>,
    /// Whether he wants that of all, and the NIC as it was before us.
    pub all_released: bool,
}

/// How a router stands in the election of who captures for its site. The greater one is elected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Whether it can and may change anything at the provider.
    pub captures: bool,
    /// Number of the term since which it has captured for the site; 0: it does not. Whoever has the role keeps it, and of
    /// two the one that took it last, for it took it while the other one was gone.
    pub term: u32,
    /// What operators prefer.
    pub priority: u8,
}

impl Candidate {
    /// How it counts in an election: a term ends with its router's capturing.
    fn standing(self) -> Self {
        let term = if self.captures { self.term } else { 0 };
        Self { term, ..self }
    }
}

impl Landscape {
    /// Elects who captures for our site, of those who are there: who captures at all, then who has done so, then by
    /// priority, then the lowest id. A term counts for nothing once its router captures no more: the others hear of both at
    /// once, and must not differ from it until then.
    #[must_use]
    pub fn elected(&self) -> NodeId {
        let members = self.members();
        let elected = elected_first(&members).first().map(|first| first.node);
        elected.unwrap_or(self.own)
    }

    /// Tells whether the routers of our site share captures, instead of leaving them to the elected one.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        are_shared(&self.members())
    }

    /// Places the addresses that live elsewhere on the routers of our site, also those whose owner may not be reached from here:
    /// the other routers of the site, which place them too, may reach it.
    #[must_use]
    pub fn place(&self) -> Placement {
        let claims = self.claims.iter();
        let elsewhere = claims
            .filter(|(_, claimed)| matches!(claimed, Claimed::Elsewhere(_) | Claimed::Unproven));
        place(elsewhere.map(|(address, _)| *address), &self.members())
    }

    /// The routers of our site that are there, without ours if it is being emptied and others are there.
    fn members(&self) -> Vec<Member<'_>> {
        let others = self.siblings.iter();
        let others = others.filter_map(|(node, candidate)| Some((*node, (*candidate)?)));
        let mut all: Vec<_> = others.collect();
        if !self.yields || all.is_empty() {
            all.push((self.own, self.candidate));
        }
        let members = all.into_iter().map(|(node, candidate)| Member {
            node,
            candidate: candidate.standing(),
            load: self.loads.get(&node).unwrap_or(&UNKNOWN),
        });
        members.collect()
    }
}

/// The load of a router of which nothing is known.
static UNKNOWN: Load = Load {
    tells: false,
    shares: false,
    capacity: None,
    held: BTreeSet::new(),
    refused: BTreeSet::new(),
    inability: None,
};

/// How long things must last before they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// A route is missing: before a captured address is given back.
    pub release: Duration,
    /// Another router of the site is gone: before anything is taken from it.
    pub seize: Duration,
    /// The same of one that is only not heard of.
    pub silence: Duration,
}

/// Derives what is wanted.
#[derive(Debug)]
pub struct Desires {
    holds: Holds,
    /// Captured addresses without route.
    missing_since: BTreeMap<Ipv4Addr, Instant>,
    /// Siblings that are not there: since when, and for how long that must last.
    gone_since: BTreeMap<NodeId, (Instant, Duration)>,
    placement: Placement,
}

impl Desires {
    /// Makes one that knows nothing yet.
    #[must_use]
    pub fn new(holds: Holds) -> Self {
        Self {
            holds,
            missing_since: BTreeMap::new(),
            gone_since: BTreeMap::new(),
            placement: Placement::new(),
        }
    }

    /// Where the addresses go that live elsewhere, as of the last update.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Changes how long things must last.
    pub fn set_holds(&mut self, holds: Holds) {
        self.holds = holds;
    }

    /// Takes in what is known, and which addresses are on our NIC by our doing.
    pub fn update(
        &mut self,
        landscape: &Landscape,
        held: &BTreeSet<Ipv4Addr>,
        now: Instant,
    ) -> Authority {
        let complete = landscape.view == RibView::Complete;
        // Who knows nothing knows nothing of an absence either: time counts only while all is known.
        self.gone_since
            .retain(|node, _| complete && landscape.siblings.get(node) == Some(&None));
        self.missing_since.retain(|address, _| {
            complete && held.contains(address) && !landscape.claims.contains_key(address)
        });
        if complete {
            let gone = landscape
                .siblings
                .iter()
                .filter(|(_, there)| there.is_none());
            for (node, _) in gone {
                let unheard = landscape.unheard.contains(node);
                let hold = if unheard {
                    self.holds.silence
                } else {
                    self.holds.seize
                };
                let gone = self.gone_since.entry(*node).or_insert((now, hold));
                gone.1 = hold;
            }
        }
        self.placement = landscape.place();
        let placed = |address| match self.placement.get(&address).copied().flatten() {
            Some(place) if place.node == landscape.own => None,
            Some(place) => Some(KeepReason::Sibling(place.node)),
            None => Some(KeepReason::NoRoom),
        };
        let mut wants: BTreeMap<Ipv4Addr, Want> = landscape
            .claims
            .iter()
            .map(|(address, claimed)| (*address, want(landscape.view, claimed, placed(*address))))
            .collect();
        for address in held {
            if !wants.contains_key(address) {
                let want = self.want_of_unclaimed(*address, landscape.view, now);
                wants.insert(*address, want);
            }
        }
        // What an operator says needs no route.
        let ordered = Want::Absent(Absence::Ordered);
        wants.extend(landscape.released.iter().map(|at| (*at, ordered.clone())));
        if landscape.all_released {
            wants.values_mut().for_each(|want| *want = ordered.clone());
        }
        let gone = self.gone_since.iter();
        let gone = gone.filter(|(_, (since, hold))| now >= *since + *hold);
        Authority {
            generation: landscape.generation,
            wants,
            restores: landscape.all_released,
            gone: gone.map(|(node, _)| *node).collect(),
        }
    }

    /// Returns when something has lasted long enough to count.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let missing = self
            .missing_since
            .values()
            .map(|at| *at + self.holds.release);
        let gone = self.gone_since.values().map(|(at, hold)| *at + *hold);
        missing.chain(gone).filter(|due| *due > now).min()
    }

    fn want_of_unclaimed(&mut self, address: Ipv4Addr, view: RibView, now: Instant) -> Want {
        match view {
            RibView::Incomplete => return Want::Keep(KeepReason::Incomplete),
            RibView::Isolated => return Want::Keep(KeepReason::Isolated),
            RibView::Complete => {}
        }
        let since = *self.missing_since.entry(address).or_insert(now);
        if now >= since + self.holds.release {
            Want::Absent(Absence::Unowned)
        } else {
            Want::Keep(KeepReason::Withdrawn)
        }
    }
}

/// `left`: why an address that lives elsewhere is not for us to take.
fn want(view: RibView, claimed: &Claimed, left: Option<KeepReason>) -> Want {
    // What our operator says needs no route.
    if *claimed == Claimed::ByUs {
        return Want::Absent(Absence::OwnedHere);
    }
    match view {
        RibView::Incomplete => return Want::Keep(KeepReason::Incomplete),
        RibView::Isolated => return Want::Keep(KeepReason::Isolated),
        RibView::Complete => {}
    }
    match claimed {
        Claimed::ByUs | Claimed::AtOurSite => Want::Absent(Absence::OwnedHere),
        Claimed::Disputed => Want::Keep(KeepReason::Disputed),
        Claimed::Unsettled => Want::Keep(KeepReason::Unsettled),
        Claimed::Unproven => Want::Keep(KeepReason::Unproven),
        Claimed::Elsewhere(signature) => match left {
            Some(reason) => Want::Keep(reason),
            None => Want::Capture(signature.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_site_is_wanted_by_the_first_router_of_the_site_that_is_there() {
        let mut case = Case::new();
        assert_eq!(case.want(10), Some(Want::Capture(signature(10))));

        case.landscape
            .siblings
            .insert(NodeId(1), Some(Candidate::default()));

        let sibling = Want::Keep(KeepReason::Sibling(NodeId(1)));
        assert_eq!(case.want(10), Some(sibling));
        case.landscape.siblings.insert(NodeId(1), None);
        assert_eq!(case.want(10), Some(Want::Capture(signature(10))));
    }

    #[test]
    fn who_captures_comes_first_then_who_has_done_so_then_priority_then_the_id() {
        let plain = Candidate {
            captures: true,
            term: 0,
            priority: 100,
        };
        let with = |change: fn(&mut Candidate)| {
            let mut candidate = plain;
            change(&mut candidate);
            candidate
        };
        let idle = with(|c| (c.captures, c.priority) = (false, 200));
        let cases = [
            ("same", plain, plain, NodeId(1)),
            ("priority", plain, with(|c| c.priority = 101), NodeId(2)),
            (
                "in office",
                with(|c| c.priority = 200),
                with(|c| c.term = 1),
                NodeId(2),
            ),
            (
                "later term",
                with(|c| c.term = 1),
                with(|c| c.term = 2),
                NodeId(2),
            ),
            ("plans only", idle, plain, NodeId(2)),
            ("nobody else", idle, with(|c| c.captures = false), NodeId(1)),
            (
                "no more",
                with(|c| c.captures = false),
                with(|c| (c.captures, c.term) = (false, 1)),
                NodeId(1),
            ),
        ];
        for (name, one, two, elected) in cases {
            let mut case = Case::new();
            case.landscape.candidate = two;
            case.landscape.siblings.insert(NodeId(1), Some(one));
            assert_eq!(case.landscape.elected(), elected, "{name}");
            // Seen from the other one it is the same.
            case.landscape.own = NodeId(1);
            case.landscape.candidate = one;
            case.landscape.siblings = [(NodeId(2), Some(two))].into();
            assert_eq!(case.landscape.elected(), elected, "{name}");
            // Who is to be emptied leaves it to the other one, if there is one.
            case.landscape.yields = true;
            assert_eq!(case.landscape.elected(), NodeId(2), "{name}");
            case.landscape.siblings = [(NodeId(2), None)].into();
            assert_eq!(case.landscape.elected(), NodeId(1), "{name}");
        }
    }

    #[test]
    fn what_we_have_no_room_for_is_left_to_others_or_to_nobody() {
        let mut case = Case::new();
        case.landscape
            .claims
            .insert(address(11), Claimed::Elsewhere(signature(11)));
        let ours = Load {
            capacity: Some(1),
            ..Load::default()
        };
        case.landscape.loads.insert(NodeId(2), ours);
        assert_eq!(case.want(10), Some(Want::Capture(signature(10))));
        assert_eq!(case.want(11), Some(Want::Keep(KeepReason::NoRoom)));
        assert_eq!(case.desires.placement()[&address(11)], None);

        let idle = Some(Candidate::default());
        case.landscape.siblings.insert(NodeId(3), idle);
        let theirs = Load {
            tells: true,
            ..Load::default()
        };
        case.landscape.loads.insert(NodeId(3), theirs);

        let sibling = Want::Keep(KeepReason::Sibling(NodeId(3)));
        assert_eq!(case.want(11), Some(sibling));
    }

    #[test]
    fn what_a_router_has_stays_with_it_whoever_is_elected() {
        let mut case = Case::new();
        let idle = Some(Candidate::default());
        case.landscape.siblings.insert(NodeId(1), idle);
        let mut ours = Load::default();
        ours.held.insert(address(10));

        case.landscape.loads.insert(NodeId(2), ours);

        assert_eq!(case.landscape.elected(), NodeId(1));
        assert_eq!(case.want(10), Some(Want::Capture(signature(10))));
        // Unless we are being emptied.
        case.landscape.yields = true;
        let sibling = Want::Keep(KeepReason::Sibling(NodeId(1)));
        assert_eq!(case.want(10), Some(sibling));
    }

    #[test]
    fn who_does_not_know_all_routes_has_no_opinion() {
        for (view, reason) in [
            (RibView::Incomplete, KeepReason::Incomplete),
            (RibView::Isolated, KeepReason::Isolated),
        ] {
            let mut case = Case::new();
            case.landscape.view = view;
            case.held = [address(10), address(11)].into();
            case.landscape.siblings.insert(NodeId(3), None);

            assert_eq!(case.want(10), Some(Want::Keep(reason)));
            assert_eq!(case.want(11), Some(Want::Keep(reason)));
            case.now += Duration::from_secs(1000);
            assert_eq!(case.want(11), Some(Want::Keep(reason)));
            assert_eq!(case.update().gone, [].into());
        }
    }

    #[test]
    fn an_address_that_lives_here_is_given_back_at_once() {
        let mut case = Case::new();
        case.landscape
            .claims
            .insert(address(10), Claimed::AtOurSite);
        assert_eq!(case.want(10), Some(Want::Absent(Absence::OwnedHere)));

        case.landscape.claims.insert(address(10), Claimed::ByUs);
        case.landscape.view = RibView::Isolated;

        assert_eq!(case.want(10), Some(Want::Absent(Absence::OwnedHere)));
    }

    #[test]
    fn a_route_may_be_missing_for_a_while() {
        let mut case = Case::new();
        case.landscape.claims.clear();
        assert_eq!(case.want(10), None, "nothing is held, nothing is said");
        case.held = [address(10)].into();
        let kept = Some(Want::Keep(KeepReason::Withdrawn));
        assert_eq!(case.want(10), kept);
        let due = case.desires.poll_timeout(case.now).expect("a hold runs");
        case.now = due - Duration::from_millis(1);
        assert_eq!(case.want(10), kept);
        case.now = due;
        assert_eq!(case.want(10), Some(Want::Absent(Absence::Unowned)));

        case.landscape.view = RibView::Isolated;
        case.update();
        case.landscape.view = RibView::Complete;

        assert_eq!(case.want(10), kept, "the hold begins anew");
    }

    #[test]
    fn a_sibling_is_gone_only_after_a_while() {
        let mut case = Case::new();
        case.landscape.siblings.insert(NodeId(3), None);
        assert_eq!(case.update().gone, [].into());
        case.now += Duration::from_secs(3);
        assert_eq!(case.update().gone, [NodeId(3)].into());

        case.landscape
            .siblings
            .insert(NodeId(3), Some(Candidate::default()));
        assert_eq!(case.update().gone, [].into());
        case.landscape.siblings.insert(NodeId(3), None);

        assert_eq!(case.update().gone, [].into());
    }

    #[test]
    fn a_sibling_that_is_only_not_heard_of_is_gone_later() {
        let mut case = Case::new();
        case.landscape.siblings.insert(NodeId(3), None);
        case.landscape.unheard.insert(NodeId(3));
        case.update();
        case.now += Duration::from_secs(9);
        assert_eq!(case.update().gone, [].into());
        let due = case.desires.poll_timeout(case.now);
        assert_eq!(due, Some(case.now + Duration::from_secs(1)));

        case.landscape.unheard.clear();

        assert_eq!(case.update().gone, [NodeId(3)].into(), "the way is broken");
    }

    #[test]
    fn what_an_operator_wants_left_alone_needs_no_route() {
        let ordered = Some(Want::Absent(Absence::Ordered));
        for view in [RibView::Complete, RibView::Incomplete, RibView::Isolated] {
            let mut case = Case::new();
            case.landscape.view = view;
            case.held = [address(11), address(12)].into();
            case.landscape.released = [address(10), address(11)].into();
            assert_eq!(case.want(10), ordered);
            assert_eq!(case.want(11), ordered);
            assert_ne!(case.want(12), ordered);

            case.landscape.all_released = true;

            assert_eq!(case.want(12), ordered);
            assert!(case.update().restores);
        }
    }

    #[test]
    fn several_owners_change_nothing() {
        let mut case = Case::new();
        case.landscape.claims.insert(address(10), Claimed::Disputed);

        assert_eq!(case.want(10), Some(Want::Keep(KeepReason::Disputed)));
    }

    struct Case {
        desires: Desires,
        landscape: Landscape,
        held: BTreeSet<Ipv4Addr>,
        now: Instant,
    }

    impl Case {
        #[expect(clippy::disallowed_methods, reason = "time needs a start")]
        fn new() -> Self {
            let claims = [(address(10), Claimed::Elsewhere(signature(10)))];
            Self {
                desires: Desires::new(Holds {
                    release: Duration::from_secs(120),
                    seize: Duration::from_secs(3),
                    silence: Duration::from_secs(10),
                }),
                landscape: Landscape {
                    yields: false,
                    generation: 1,
                    view: RibView::Complete,
                    own: NodeId(2),
                    candidate: Candidate::default(),
                    siblings: BTreeMap::new(),
                    loads: BTreeMap::new(),
                    unheard: BTreeSet::new(),
                    claims: claims.into(),
                    released: BTreeSet::new(),
                    all_released: false,
                },
                held: BTreeSet::new(),
                now: Instant::now(),
            }
        }

        fn update(&mut self) -> Authority {
            self.desires.update(&self.landscape, &self.held, self.now)
        }

        fn want(&mut self, last: u8) -> Option<Want> {
            self.update().wants.remove(&address(last))
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        [10, 77, 60, last].into()
    }

    fn signature(last: u8) -> PathSignature {
        PathSignature {
            address: address(last),
            owner: NodeId(9),
            site: "hq".into(),
            next_hop: [10, 99, 0, 9].into(),
            sequence: 1,
        }
    }
}
