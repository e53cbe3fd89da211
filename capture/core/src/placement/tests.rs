//! Rules one at a time, then what holds of all placements.

use proptest::prelude::*;

use super::*;
use crate::route_tags::RouteKind;

#[test]
fn the_elected_router_takes_all_until_it_is_full_then_the_next_one() {
    let mut site = Site::new(false, &[None, None]);
    site.candidates.get_mut(&NodeId(2)).unwrap().priority = 150;
    let rules = |site: &Site| site.rules(10..13);
    let [elected, overflow] = [Rule::Elected, Rule::Overflow];
    assert_eq!(rules(&site), [(2, elected), (2, elected), (2, elected)]);

    site.load(2).capacity = Some(1);
    assert_eq!(rules(&site), [(2, elected), (1, overflow), (1, overflow)]);

    site.load(1).capacity = Some(1);
    assert_eq!(site.place(10..13)[&address(12)], None, "nobody has room");
    // Who cannot capture has no room either, whatever it says.
    site.candidates.get_mut(&NodeId(1)).unwrap().captures = false;
    assert_eq!(site.place(10..13)[&address(11)], None);
}

#[test]
fn an_address_stays_where_it_is() {
    let mut site = Site::new(true, &[Some(1), Some(9)]);
    let first = site.holders(10..20);
    let (at, holder) = first.iter().next().expect("one is placed");
    let other = NodeId(3 - holder.0);

    site.load(other.0).held.insert(*at);

    let place = site.place(10..20)[at].expect("it is placed");
    assert_eq!((place.node, place.rule), (other, Rule::Incumbent));
    // Also with one that captures nothing new, or more than it may have by now.
    site.load(other.0).capacity = Some(0);
    site.candidates.get_mut(&other).unwrap().captures = false;
    assert_eq!(site.place(10..20)[at].map(|place| place.node), Some(other));
    // Of two that say so the one is believed that comes first in the election.
    for node in [NodeId(1), NodeId(2)] {
        site.load(node.0).held.insert(*at);
    }
    assert_eq!(
        site.place(10..20)[at].map(|place| place.node),
        Some(NodeId(3 - other.0))
    );
}

#[test]
fn who_cannot_capture_does_not_have_what_one_that_can_says_it_has() {
    let mut site = Site::new(false, &[None, None]);
    site.load(1).held.insert(address(10));
    site.load(2).held.insert(address(10));
    let holder = |site: &Site| site.holders(10..11)[&address(10)];
    assert_eq!(holder(&site), NodeId(1));

    let idle = site.candidates.get_mut(&NodeId(1)).unwrap();
    (idle.captures, idle.term, idle.priority) = (false, 9, 255);

    assert_eq!(holder(&site), NodeId(2));
}

#[test]
fn who_tells_nothing_takes_no_overflow() {
    let mut site = Site::new(false, &[Some(1), None, Some(1)]);
    *site.load(2) = Load::default();
    let rules = |site: &Site| site.rules(10..13);
    assert_eq!(rules(&site), [(1, Rule::Elected), (3, Rule::Overflow)]);

    site.candidates.get_mut(&NodeId(2)).unwrap().priority = 150;
    assert_eq!(rules(&site), [(2, Rule::Elected); 3]);
}

#[test]
fn a_load_is_told_by_a_marker() {
    let marker = RouteTags::new(NodeId(1), RouteKind::Marker { epoch: 1 });
    assert_eq!(Load::default().told_capacity(), None);
    let silent = Load::from_marker(&marker, BTreeSet::new());
    assert_eq!(silent, Load::default());
    for capacity in [None, Some(0), Some(7)] {
        let load = Load {
            tells: true,
            capacity,
            held: [address(10)].into(),
            inability: Some(Inability::Blind),
            ..Load::default()
        };
        let marker = RouteTags {
            capacity: load.told_capacity(),
            inability: load.inability,
            ..marker
        };
        assert_eq!(Load::from_marker(&marker, load.held.clone()), load);
    }
}

#[test]
fn captures_are_shared_when_all_that_capture_say_so() {
    let mut site = Site::new(true, &[None, None, None]);
    let shared = |site: &Site| are_shared(&site.members());
    assert!(shared(&site));

    site.load(3).shares = false;
    assert!(!shared(&site));

    site.candidates.get_mut(&NodeId(3)).unwrap().captures = false;
    assert!(shared(&site), "it takes nothing");
    assert!(
        !site
            .holders(10..100)
            .values()
            .any(|node| *node == NodeId(3))
    );
}

#[test]
fn what_is_refused_takes_no_room_of_others() {
    let mut site = Site::new(false, &[Some(1)]);
    site.load(1).refused.insert(address(10));

    assert_eq!(site.holders(10..12).len(), 2);
    assert_eq!(site.holders(11..13).len(), 1);
}

/// Routers of other versions must come to the same.
#[test]
fn weights_never_change() {
    assert_eq!(
        weight(Ipv4Addr::UNSPECIFIED, NodeId(0)),
        0xe220_a839_7b1d_cdaf
    );
    assert_eq!(weight(address(10), NodeId(2)), 0xeee0_c40d_a27f_3346);
}

#[test]
fn shares_are_about_equal() {
    for count in 2..=5 {
        let site = Site::new(true, &vec![None; count]);
        let pool = (0..200_u8).flat_map(|net| (1..=5).map(move |last| [10, 77, net, last].into()));
        let holders = place(pool, &site.members());
        for node in site.candidates.keys() {
            let share = holders.values().flatten();
            let share = share.filter(|place| place.node == *node).count();
            let fair = 1000 / count;
            assert!(
                share * 5 > fair * 4 && share * 5 < fair * 6,
                "{share} of {fair}"
            );
        }
    }
}

proptest! {
    /// Without incumbents a router that goes takes nothing along but its own, and one that comes takes only for itself.
    #[test]
    fn only_the_addresses_of_a_router_move_when_it_goes_or_comes(
        ids in prop::collection::btree_set(1_u32..1000, 2..6), at in any::<prop::sample::Index>(),
    ) {
        let mut site = Site::of(true, ids.iter().map(|id| (*id, None)));
        let gone = NodeId(*at.get(&ids.iter().copied().collect::<Vec<_>>()));
        let before = site.holders(1..250);

        site.candidates.remove(&gone);

        for (address, node) in site.holders(1..250) {
            prop_assert!(before[&address] == gone || before[&address] == node);
            prop_assert!(node != gone);
        }
    }

    /// With what each has and how much it may have: nobody gets too much, nothing is left that has room, nothing moves from
    /// who is there; and when one is gone nothing moves but what it had.
    #[test]
    fn room_is_used_up_and_nothing_is_moved(
        shares in any::<bool>(), capacities in prop::collection::vec(0_usize..8, 2..5),
        held in prop::collection::btree_map(1_u8..30, 0_usize..5, 0..20), gone in any::<prop::sample::Index>(),
    ) {
        let caps: Vec<_> = capacities.iter().map(|most| Some(*most)).collect();
        let mut site = Site::new(shares, &caps);
        for (last, index) in &held {
            let node = u32::try_from(index % capacities.len() + 1).unwrap();
            site.load(node).held.insert(address(*last));
        }
        check(&site)?;
        let gone = NodeId(u32::try_from(gone.index(capacities.len()) + 1).unwrap());
        site.fill();
        let before = site.holders(1..30);

        site.candidates.remove(&gone);

        check(&site)?;
        for (address, node) in site.holders(1..30) {
            let former = before.get(&address);
            prop_assert!(former.is_none_or(|former| *former == gone || *former == node));
        }
    }

    /// Whoever follows a little later, when a part is done, comes to the same.
    #[test]
    fn what_is_done_of_a_placement_changes_nothing_of_the_rest(
        shares in any::<bool>(), capacities in prop::collection::vec(prop::option::of(0_usize..8), 1..5),
        held in prop::collection::btree_map(1_u8..30, 0_usize..5, 0..20), done in any::<u32>(),
    ) {
        let mut site = Site::new(shares, &capacities);
        for (last, index) in &held {
            let node = u32::try_from(index % capacities.len() + 1).unwrap();
            site.load(node).held.insert(address(*last));
        }
        let before = site.holders(1..30);

        for (address, node) in &before {
            if done & (1 << address.octets()[3]) != 0 {
                site.load(node.0).held.insert(*address);
            }
        }

        prop_assert_eq!(site.holders(1..30), before);
    }
}

fn check(site: &Site) -> Result<(), TestCaseError> {
    let holders = site.holders(1..30);
    let mut left = 0;
    for (node, load) in site
        .loads
        .iter()
        .filter(|(node, _)| site.candidates.contains_key(node))
    {
        for address in &load.held {
            prop_assert_eq!(holders.get(address), Some(node));
        }
        let placed = holders.values().filter(|holder| *holder == node).count();
        let most = load.capacity.unwrap_or(usize::MAX).max(load.held.len());
        prop_assert!(placed <= most, "{node} gets {placed} of {most}");
        left += most - placed;
    }
    prop_assert!(left == 0 || holders.len() == 29, "{left} more have room");
    Ok(())
}

struct Site {
    candidates: BTreeMap<NodeId, Candidate>,
    loads: BTreeMap<NodeId, Load>,
}

impl Site {
    /// Routers 1, 2, … with what each may have.
    fn new(shares: bool, capacities: &[Option<usize>]) -> Self {
        Self::of(shares, (1..).zip(capacities.iter().copied()))
    }

    fn of(shares: bool, routers: impl Iterator<Item = (u32, Option<usize>)>) -> Self {
        let candidate = Candidate {
            captures: true,
            term: 0,
            priority: 100,
        };
        let load = |capacity| Load {
            tells: true,
            shares,
            capacity,
            ..Load::default()
        };
        let loads: BTreeMap<_, _> = routers.map(|(id, most)| (NodeId(id), load(most))).collect();
        Self {
            candidates: loads.keys().map(|node| (*node, candidate)).collect(),
            loads,
        }
    }

    fn load(&mut self, node: u32) -> &mut Load {
        self.loads.get_mut(&NodeId(node)).expect("a router")
    }

    fn members(&self) -> Vec<Member<'_>> {
        let members = self.candidates.iter().map(|(node, candidate)| Member {
            node: *node,
            candidate: *candidate,
            load: &self.loads[node],
        });
        members.collect()
    }

    fn place(&self, lasts: std::ops::Range<u8>) -> Placement {
        place(lasts.map(address), &self.members())
    }

    fn holders(&self, lasts: std::ops::Range<u8>) -> BTreeMap<Ipv4Addr, NodeId> {
        let places = self.place(lasts).into_iter();
        places
            .filter_map(|(at, place)| Some((at, place?.node)))
            .collect()
    }

    fn rules(&self, lasts: std::ops::Range<u8>) -> Vec<(u32, Rule)> {
        let places = self.place(lasts).into_values().flatten();
        places.map(|place| (place.node.0, place.rule)).collect()
    }

    /// Does what is placed.
    fn fill(&mut self) {
        for (address, node) in self.holders(1..30) {
            self.load(node.0).held.insert(address);
        }
    }
}

fn address(last: u8) -> Ipv4Addr {
    [10, 77, 60, last].into()
}
