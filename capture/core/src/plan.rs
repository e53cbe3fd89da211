//! What to do at the provider, from what is wanted and what is there: pure, total, in a fixed order.
//!
//! The same function serves the router, `samctl actions` and the model test. It says what is needed, not when: pauses,
//! budget and approval come afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::desired::{Absence, KeepReason, Want};
use crate::pool::Pool;
use crate::provider::{Entry, NicId, Observation};

/// How far the router goes on its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The provider is not called.
    Off,
    /// It looks, and plans nothing.
    Observe,
    /// It says what it would do.
    #[default]
    Plan,
    /// It does what an operator approves.
    Approve,
    /// It does what is needed.
    Auto,
}

impl Mode {
    /// All of them, from the most cautious one.
    pub const ALL: [Self; 5] = [
        Self::Off,
        Self::Observe,
        Self::Plan,
        Self::Approve,
        Self::Auto,
    ];

    /// Returns its name, as in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Plan => "plan",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }
}

/// Kinds of actions, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Have our NIC carry packets that are not its own.
    Forward,
    /// Get addresses on our NIC.
    Capture,
    /// Take addresses off our NIC.
    Release,
    /// Have our NIC carry packets that are not its own no more, as before us.
    Restore,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Capture => "capture",
            Self::Release => "release",
            Self::Restore => "restore",
        })
    }
}

/// Something to do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub kind: Kind,
    /// With which addresses, or because of them.
    pub wants: BTreeMap<Ipv4Addr, Want>,
}

/// What a plan follows from.
#[derive(Debug)]
pub struct Situation<'a> {
    /// How far the router goes.
    pub mode: Mode,
    /// Pools: no address outside of them is touched.
    pub pools: &'a [Pool],
    /// What is wanted.
    pub wants: &'a BTreeMap<Ipv4Addr, Want>,
    /// How our NIC is; `None` plans nothing.
    pub observed: Option<&'a Observation>,
    /// Most addresses of pools that may be on it, by the configuration.
    pub max_captures: Option<usize>,
    /// Addresses that the journal says we put on it.
    pub marks: &'a BTreeSet<Ipv4Addr>,
    /// How it was before us in what is to be so again: whether it forwarded; `None` leaves that.
    pub forwarded: Option<bool>,
    /// What we did a moment ago and a look may not show yet: addresses that are there, or not.
    pub pending: &'a BTreeMap<Ipv4Addr, Pending>,
    /// Addresses that are left alone for a while.
    pub cooldowns: &'a BTreeMap<Ipv4Addr, Cooldown>,
    /// Time.
    pub now: Instant,
}

/// What our own change leads to, until a look shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Whether the address is on our NIC after it.
    pub present: bool,
    /// Whether a look has shown it.
    pub seen: bool,
    /// Until when a look that shows something else is not believed.
    pub until: Instant,
}

/// An address that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooldown {
    /// While this is wanted of it; another want ends it.
    pub want: Want,
    /// Until then.
    pub until: Instant,
    /// Why.
    pub cause: Cause,
}

/// Why an address is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A router of our site that is there has it.
    HeldBySibling(crate::NodeId),
    /// A NIC has it that belongs to no router of our site.
    HeldByStranger(NicId),
    /// A router of our site has it, and not by its own doing.
    Unmarked(NicId),
    /// The provider said that it can never be, while this NIC had it.
    Refused {
        /// What it said.
        why: String,
        /// Who had the address.
        holder: Option<NicId>,
        /// How often in a row.
        times: u32,
        /// When it is tried again though nothing has changed; never without.
        again: Option<Instant>,
    },
    /// It was taken from us several times in a row.
    Fight,
}

impl Cause {
    /// How often in a row the provider refused.
    pub(crate) fn refusals(&self) -> u32 {
        if let Self::Refused { times, .. } = self {
            return *times;
        }
        0
    }

    /// When what was refused is tried again.
    pub(crate) fn again(&self) -> Option<Instant> {
        if let Self::Refused { again, .. } = self {
            return *again;
        }
        None
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeldBySibling(node) => write!(f, "node {node} of this site has it"),
            Self::HeldByStranger(nic) => {
                write!(f, "{nic} has it, which is no router of this site")
            }
            Self::Unmarked(nic) => write!(f, "{nic} has it, put there by hand"),
            Self::Refused { why, .. } => write!(f, "the provider refused: {why}"),
            Self::Fight => f.write_str("it was taken from this router several times in a row"),
        }
    }
}

/// What is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// At most one action of each kind, in order.
    pub actions: Vec<Action>,
    /// Wanted addresses for which our NIC has no room, and those for which no router of our site has.
    pub no_room: BTreeSet<Ipv4Addr>,
}

/// Says what is needed now.
#[must_use]
pub fn plan(situation: &Situation<'_>) -> Plan {
    let Some(observed) = situation
        .observed
        .filter(|_| situation.mode > Mode::Observe)
    else {
        return Plan::default();
    };
    let mut captures = situation.captures(observed);
    let mut no_room = captures.split_off_beyond(situation.room(observed));
    no_room.extend(situation.without_place(observed));
    let mut actions = Vec::new();
    // One address is reason enough: forwarding is for all. Who may have to take over does it before, not then.
    let reason = { situation.wanted() }.chain(situation.stood_by()).next();
    if let Some((address, want)) = reason.filter(|_| !observed.forwarding) {
        actions.push(Action {
            kind: Kind::Forward,
            wants: [(*address, want.clone())].into(),
        });
    }
    for (kind, wants) in [
        (Kind::Capture, captures),
        (Kind::Release, situation.releases(observed)),
        (Kind::Restore, situation.restores(observed)),
    ] {
        if !wants.is_empty() {
            actions.push(Action { kind, wants });
        }
    }
    Plan { actions, no_room }
}

impl Situation<'_> {
    /// Tells whether an address is on our NIC, as far as can be known.
    #[must_use]
    pub fn is_present(&self, observed: &Observation, address: Ipv4Addr) -> bool {
        match self.pending.get(&address) {
            Some(pending) if self.now < pending.until => pending.present,
            Some(_) | None => observed.entries.contains_key(&address),
        }
    }

    fn wanted(&self) -> impl Iterator<Item = (&Ipv4Addr, &Want)> {
        let wanted = |(address, want): &(&Ipv4Addr, &Want)| {
            matches!(want, Want::Capture(_)) && self.is_mobile(**address)
        };
        self.wants.iter().filter(wanted)
    }

    /// What another router of the site takes as long as it is there, and what this one will take once it is known to get on.
    fn stood_by(&self) -> impl Iterator<Item = (&Ipv4Addr, &Want)> {
        let stood_by = |(address, want): &(&Ipv4Addr, &Want)| {
            matches!(
                want,
                Want::Keep(KeepReason::Sibling(_) | KeepReason::Unproven)
            ) && self.is_mobile(**address)
        };
        self.wants.iter().filter(stood_by)
    }

    /// What no router of our site has room for, unless it is on our NIC as yet.
    fn without_place(&self, observed: &Observation) -> impl Iterator<Item = Ipv4Addr> {
        let no_room = Want::Keep(KeepReason::NoRoom);
        let wants = self.wants.iter();
        let without = wants.filter(move |(address, want)| {
            **want == no_room && self.is_mobile(**address) && !self.is_present(observed, **address)
        });
        without.map(|(address, _)| *address)
    }

    fn captures(&self, observed: &Observation) -> BTreeMap<Ipv4Addr, Want> {
        self.wanted()
            .filter(|(address, want)| {
                !self.is_present(observed, **address) && !self.is_cooling(**address, want)
            })
            .map(|(address, want)| (*address, want.clone()))
            .collect()
    }

    fn releases(&self, observed: &Observation) -> BTreeMap<Ipv4Addr, Want> {
        let mine = |address: &Ipv4Addr| {
            let entry = observed.entries.get(address);
            entry.is_some_and(|entry| is_ours(entry, *address, self.marks))
        };
        let unwanted = |(address, want): &(&Ipv4Addr, &Want)| {
            matches!(want, Want::Absent(_))
                && self.is_mobile(**address)
                && mine(address)
                && self.is_present(observed, **address)
                && !self.is_cooling(**address, want)
        };
        let unwanted = self.wants.iter().filter(unwanted);
        unwanted
            .map(|(address, want)| (*address, want.clone()))
            .collect()
    }

    /// The reason to have our NIC forward no more, once nothing is on it by our doing: the first address that is left
    /// alone by order.
    fn restores(&self, observed: &Observation) -> BTreeMap<Ipv4Addr, Want> {
        let differs = self.forwarded == Some(false) && observed.forwarding;
        let mut entries = observed.entries.iter();
        let holds = entries.any(|(address, entry)| is_ours(entry, *address, self.marks));
        let ordered = |(_, want): &(&Ipv4Addr, &Want)| **want == Want::Absent(Absence::Ordered);
        let reasons = self.wants.iter().filter(ordered);
        let reasons = reasons.filter(|_| differs && !holds).take(1);
        reasons
            .map(|(address, want)| (*address, want.clone()))
            .collect()
    }

    /// Addresses that can be added to our NIC.
    fn room(&self, observed: &Observation) -> usize {
        let Some(capacity) = capacity(self.pools, self.max_captures, observed) else {
            return usize::MAX;
        };
        let pending = self.pending.iter().filter(|(address, pending)| {
            self.now < pending.until && pending.present && !observed.entries.contains_key(address)
        });
        let held = captured(self.pools, observed).count();
        capacity.saturating_sub(held + pending.count())
    }

    fn is_mobile(&self, address: Ipv4Addr) -> bool {
        admitted(self.pools, address)
    }

    fn is_cooling(&self, address: Ipv4Addr, want: &Want) -> bool {
        let cooldown = self.cooldowns.get(&address);
        cooldown.is_some_and(|cooldown| cooldown.want == *want && self.now < cooldown.until)
    }
}

fn admitted(pools: &[Pool], address: Ipv4Addr) -> bool {
    pools.iter().any(|pool| pool.admits(address))
}

/// Addresses of pools on our NIC, whoever put them there.
pub(crate) fn captured(pools: &[Pool], observed: &Observation) -> impl Iterator<Item = Ipv4Addr> {
    let entries = observed.entries.iter();
    let captured = entries.filter(|(at, entry)| !entry.primary && admitted(pools, **at));
    captured.map(|(address, _)| *address)
}

/// Most addresses of pools that may be on our NIC: what the provider leaves beside its other addresses, and the operator
/// allows. `None`: nobody knows of a limit.
pub(crate) fn capacity(
    pools: &[Pool],
    max_captures: Option<usize>,
    observed: &Observation,
) -> Option<usize> {
    let others = observed.entries.len() - captured(pools, observed).count();
    let left = observed.limit.map(|limit| limit.saturating_sub(others));
    left.into_iter().chain(max_captures).min()
}

/// Tells whether we put an address on our NIC: by its mark, else by our journal. Never the primary.
#[must_use]
pub fn is_ours(entry: &Entry, address: Ipv4Addr, marks: &BTreeSet<Ipv4Addr>) -> bool {
    !entry.primary && entry.ours.unwrap_or_else(|| marks.contains(&address))
}

/// Cuts off what goes beyond a number.
trait SplitOffBeyond {
    /// Keeps the first `count` addresses; returns the others.
    fn split_off_beyond(&mut self, count: usize) -> BTreeSet<Ipv4Addr>;
}

impl SplitOffBeyond for BTreeMap<Ipv4Addr, Want> {
    fn split_off_beyond(&mut self, count: usize) -> BTreeSet<Ipv4Addr> {
        match self.keys().nth(count).copied() {
            Some(first) => self.split_off(&first).into_keys().collect(),
            None => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fence::PathSignature;
    use crate::node::NodeId;

    #[test]
    fn what_is_wanted_and_missing_is_captured_after_the_nic_forwards() {
        let mut case = Case::new();
        case.want(10, capture(10)).want(11, capture(11));
        case.entry(11, Some(true));
        assert_eq!(case.kinds(), [(Kind::Capture, vec![10])]);

        case.observed.forwarding = false;

        let forward = (Kind::Forward, vec![10]);
        assert_eq!(case.kinds(), [forward, (Kind::Capture, vec![10])]);
    }

    #[test]
    fn who_stands_by_has_its_nic_forward_before_it_has_to_take_over() {
        let mut case = Case::new();
        case.want(10, Want::Keep(KeepReason::Sibling(NodeId(2))));
        assert_eq!(case.kinds(), []);

        case.observed.forwarding = false;

        assert_eq!(case.kinds(), [(Kind::Forward, vec![10])]);
    }

    #[test]
    fn only_what_is_ours_is_released() {
        let mut case = Case::new();
        for last in 9..=15 {
            case.want(last, Want::Absent(Absence::Unowned));
        }
        case.entry(10, Some(true)).entry(11, Some(false));
        case.entry(12, None).entry(13, None).entry(14, Some(true));
        case.marks.insert(address(13));
        case.entry(9, Some(true));
        case.observed.entries.get_mut(&address(9)).unwrap().primary = true;
        case.pools[0].exclude.insert(address(14));

        assert_eq!(case.kinds(), [(Kind::Release, vec![10, 13])]);
    }

    #[test]
    fn forwarding_is_put_back_when_nothing_is_left() {
        let mut case = Case::new();
        case.want(10, Want::Absent(Absence::Ordered));
        assert_eq!(case.kinds(), [], "nobody asked for it");
        case.forwarded = Some(true);
        assert_eq!(case.kinds(), [], "it was so before us");
        case.forwarded = Some(false);
        assert_eq!(case.kinds(), [(Kind::Restore, vec![10])]);

        case.entry(10, Some(true));
        assert_eq!(case.kinds(), [(Kind::Release, vec![10])]);

        case.observed.entries.clear();
        case.observed.forwarding = false;
        assert_eq!(case.kinds(), []);
    }

    #[test]
    fn no_opinion_and_no_look_do_nothing() {
        let mut case = Case::new();
        case.entry(10, Some(true));
        case.want(10, Want::Keep(KeepReason::Isolated));
        case.want(11, Want::Keep(KeepReason::Incomplete));
        assert_eq!(case.kinds(), []);

        case.want(12, capture(12)).blind = true;

        assert_eq!(case.kinds(), []);
    }

    #[test]
    fn modes_that_only_look_plan_nothing() {
        for mode in Mode::ALL {
            let mut case = Case::new();
            case.want(10, capture(10)).mode = mode;

            assert_eq!(case.kinds().is_empty(), mode <= Mode::Observe, "{mode:?}");
        }
    }

    #[test]
    fn what_was_done_a_moment_ago_is_believed_for_a_while() {
        let mut case = Case::new();
        case.want(10, capture(10));
        case.want(11, Want::Absent(Absence::OwnedHere));
        case.entry(11, Some(true));
        for (last, present) in [(10, true), (11, false)] {
            let until = case.now + Duration::from_secs(15);
            let pending = Pending {
                present,
                seen: false,
                until,
            };
            case.pending.insert(address(last), pending);
        }
        assert_eq!(case.kinds(), []);

        case.now += Duration::from_secs(15);

        let both = [(Kind::Capture, vec![10]), (Kind::Release, vec![11])];
        assert_eq!(case.kinds(), both);
    }

    #[test]
    fn a_cooldown_holds_for_its_time_and_its_want() {
        let mut case = Case::new();
        case.want(10, capture(10));
        let cooldown = Cooldown {
            want: capture(10),
            until: case.now + Duration::from_secs(60),
            cause: Cause::Fight,
        };
        case.cooldowns.insert(address(10), cooldown);
        assert_eq!(case.kinds(), []);

        let mut other = capture(10);
        if let Want::Capture(signature) = &mut other {
            signature.sequence += 1;
        }
        case.want(10, other);

        assert_eq!(case.kinds(), [(Kind::Capture, vec![10])]);
    }

    #[test]
    fn a_full_nic_takes_the_first_addresses_and_says_which_have_no_room() {
        let mut case = Case::new();
        case.entry(5, Some(false));
        for last in 10..14 {
            case.want(last, capture(last));
        }
        case.observed.limit = Some(3);

        let plan = case.plan();

        assert_eq!(case.kinds(), [(Kind::Capture, vec![10, 11])]);
        assert_eq!(plan.no_room, [address(12), address(13)].into());
        case.observed.limit = Some(0);
        assert_eq!(case.kinds(), []);
    }

    #[test]
    fn the_operator_may_leave_less_room_than_the_provider() {
        let mut case = Case::new();
        // By hand, and outside of the pools.
        case.entry(10, Some(false)).entry(5, Some(false));
        case.observed.limit = Some(9);
        for last in 10..14 {
            case.want(last, capture(last));
        }
        case.pools[0].exclude.insert(address(5));
        assert_eq!(case.kinds(), [(Kind::Capture, vec![11, 12, 13])]);

        case.max_captures = Some(2);

        assert_eq!(case.kinds(), [(Kind::Capture, vec![11])]);
        assert_eq!(case.plan().no_room, [address(12), address(13)].into());
        let until = case.now + Duration::from_secs(15);
        let pending = Pending {
            present: true,
            seen: false,
            until,
        };
        case.pending.insert(address(11), pending);
        assert_eq!(case.kinds(), [], "it is there already, not seen yet");
    }

    #[test]
    fn what_no_router_has_room_for_is_told() {
        let mut case = Case::new();
        case.want(10, Want::Keep(KeepReason::NoRoom));

        assert_eq!(case.kinds(), []);
        assert_eq!(case.plan().no_room, [address(10)].into());
        // It is still here: others are to take it.
        case.entry(10, Some(true));
        assert_eq!(case.plan().no_room, [].into());
    }

    #[test]
    fn addresses_outside_of_the_pools_are_not_touched() {
        let mut case = Case::new();
        case.want(10, capture(10)).pools.clear();

        assert_eq!(case.kinds(), []);
    }

    struct Case {
        mode: Mode,
        pools: Vec<Pool>,
        wants: BTreeMap<Ipv4Addr, Want>,
        observed: Observation,
        blind: bool,
        max_captures: Option<usize>,
        marks: BTreeSet<Ipv4Addr>,
        forwarded: Option<bool>,
        pending: BTreeMap<Ipv4Addr, Pending>,
        cooldowns: BTreeMap<Ipv4Addr, Cooldown>,
        now: Instant,
    }

    impl Case {
        #[expect(clippy::disallowed_methods, reason = "time needs a start")]
        fn new() -> Self {
            Self {
                mode: Mode::Auto,
                pools: vec![Pool {
                    id: 1,
                    name: "lan60".into(),
                    prefix: "10.77.60.0/24".parse().unwrap(),
                    exclude: BTreeSet::new(),
                }],
                wants: BTreeMap::new(),
                observed: Observation {
                    nic: NicId("nic-a".into()),
                    subnet: "10.77.60.0/24".parse().unwrap(),
                    version: None,
                    forwarding: true,
                    entries: BTreeMap::new(),
                    limit: None,
                },
                blind: false,
                max_captures: None,
                marks: BTreeSet::new(),
                forwarded: None,
                pending: BTreeMap::new(),
                cooldowns: BTreeMap::new(),
                now: Instant::now(),
            }
        }

        fn want(&mut self, last: u8, want: Want) -> &mut Self {
            self.wants.insert(address(last), want);
            self
        }

        fn entry(&mut self, last: u8, ours: Option<bool>) -> &mut Self {
            let entry = Entry {
                primary: false,
                ours,
                id: None,
                version: None,
            };
            self.observed.entries.insert(address(last), entry);
            self
        }

        fn plan(&self) -> Plan {
            plan(&Situation {
                mode: self.mode,
                pools: &self.pools,
                wants: &self.wants,
                observed: (!self.blind).then_some(&self.observed),
                max_captures: self.max_captures,
                marks: &self.marks,
                forwarded: self.forwarded,
                pending: &self.pending,
                cooldowns: &self.cooldowns,
                now: self.now,
            })
        }

        fn kinds(&self) -> Vec<(Kind, Vec<u8>)> {
            let actions = self.plan().actions;
            let lasts = |wants: BTreeMap<Ipv4Addr, Want>| {
                wants.keys().map(|address| address.octets()[3]).collect()
            };
            actions
                .into_iter()
                .map(|action| (action.kind, lasts(action.wants)))
                .collect()
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        [10, 77, 60, last].into()
    }

    fn capture(last: u8) -> Want {
        Want::Capture(PathSignature {
            address: address(last),
            owner: NodeId(9),
            site: "hq".into(),
            next_hop: [10, 99, 0, 9].into(),
            sequence: 1,
        })
    }
}
