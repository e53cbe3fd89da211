//! What this router announces: the addresses that it owns, and the marker that says that it lives. Nothing else, and
//! never a pool prefix (mobility.md I9).
//!
//! Owned addresses need a closed chain of consent: told to own, or heard on the LAN; permitted; gate open. Where another
//! node's claim would win at a third node, ours is announced as standby, so that every node elects the same owner:
//! without that, "local over learned" would make each claimant believe in itself (bgp.md section 5.6, duplicate
//! detection).
//!
//! Who only hears a host that another node claims asks before it takes: it announces that it would seize the address.
//! The other node looks after its host then (`crate::discovery`), and gives way or does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::PathAttributes;
use sam_capture::held_tags::held_communities;
use sam_capture::{Candidate, Claim, ClaimSource, ClaimState, Load, RouteKind, RouteTags};
use sam_dataplane::notice::Mac;

use crate::Router;
use crate::claims::rivals;
use crate::cloud_readiness::Readiness;
use crate::config::Config;
use crate::holdings::Holdings;
use crate::journal::RuntimeState;

/// What is announced now.
#[derive(Debug, Default)]
pub(crate) struct Origination {
    routes: BTreeMap<Ipv4Net, Announcement>,
}

/// A change to what is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Announce, or replace the attributes.
    Originate(Ipv4Net, PathAttributes),
    /// Stop announcing.
    Withdraw(Ipv4Net),
}

/// What the announcements follow from.
#[derive(Debug)]
pub(crate) struct Mandate<'a> {
    /// Configuration.
    pub(crate) config: &'a Config,
    /// Addresses to own, and how we know; empty while the gate is closed.
    pub(crate) owned: &'a BTreeMap<Ipv4Addr, ClaimSource>,
    /// What other nodes claim of them.
    pub(crate) rivals: &'a BTreeMap<Ipv4Addr, Rival>,
    /// Those that this router held when it ran last, and goes on to claim for a while (`crate::holdings`).
    pub(crate) holdings: &'a Holdings,
    /// Addresses that another router of our LAN claims too, and whose hosts do not answer here (`crate::contests`).
    pub(crate) absent: &'a BTreeSet<Ipv4Addr>,
    /// Epoch of the marker; `None` when the marker is withdrawn too.
    pub(crate) epoch: Option<u32>,
    /// Our MAC on the LAN, which nobody shall take for that of a host; told with the marker.
    pub(crate) mac: Option<Mac>,
    /// MACs of hosts that another router of our LAN has to know, in case that it acts there next; told with their claims.
    pub(crate) hosts: &'a BTreeMap<Ipv4Addr, Mac>,
    /// Whether every address is to be left to whoever else claims it.
    pub(crate) drained: bool,
    /// Whether this router cannot know yet what its LAN gave away while it was not there.
    pub(crate) uninformed: bool,
    /// How this router stands among those that capture in the cloud of its site; told with the marker.
    pub(crate) candidate: Candidate,
    /// What it has captured there, and can.
    pub(crate) load: &'a Load,
    /// How far this router is, where it is one of several of its site in a cloud; told with the marker.
    pub(crate) readiness: Option<Readiness>,
    /// Whether another router of the site in a cloud is there that is not ready yet, and not to be emptied either.
    pub(crate) bridges: bool,
    /// Whether one may be there that was not heard.
    pub(crate) unheard: bool,
}

/// Other nodes' claims on an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rival {
    /// Whether one of them would win against an active claim of ours.
    pub(crate) wins: bool,
    /// Whether one would that is only remembered: its session has ended.
    pub(crate) remembered: bool,
    /// Whether one of them stands, win or not: who told it is there, and upholds it.
    pub(crate) stands: bool,
    /// Whether one of these holds the address, or would take it before us: two who ask at once do not wait for each other.
    pub(crate) precedes: bool,
    /// Whether one of them says that it holds the address, and can be reached.
    pub(crate) holds: bool,
    /// Whether one of these may carry its packets: any but another router of our site in a cloud that is not ready.
    pub(crate) carries: bool,
    /// Whether one of them holds the address by order too.
    pub(crate) ordered: bool,
    /// Whether one of them asks this node to take the address over.
    pub(crate) offers: bool,
    /// Whether another router of our LAN claims the address too.
    pub(crate) beside: bool,
    /// Whether another router of our site in a cloud does that is ready for it.
    pub(crate) ready_beside: bool,
    /// Whether one of these holds it by order.
    pub(crate) held_beside: bool,
    /// The same, or it did and is to be emptied.
    pub(crate) ordered_beside: bool,
    /// Highest sequence among them.
    pub(crate) sequence: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Announcement {
    tags: RouteTags,
    attributes: PathAttributes,
}

impl Router {
    /// Makes the announcements follow gate, orders and rivals.
    pub(crate) fn originate(&mut self, now: Instant) {
        self.finish_handovers(now);
        self.review_acceptances(now);
        let owned = self.to_originate();
        let ready = self.ready_siblings();
        let rivals = rivals(&self.speaker, &self.config, &owned, &ready);
        self.follow_holdings(&rivals, now);
        self.follow_contests(&rivals, now);
        let absent = self.contests.absent().collect();
        let hosts = self.hosts_to_tell();
        self.follow_lan_orders(&rivals, now);
        let mandate = Mandate {
            config: &self.config,
            owned: &owned,
            rivals: &rivals,
            holdings: &self.holdings,
            absent: &absent,
            epoch: (!self.stopping).then_some(self.epoch),
            mac: self.host.lan.as_ref().map(|lan| lan.mac),
            hosts: &hosts,
            drained: self.state.drained,
            uninformed: self.has_sibling() && self.fence.is_uninformed(),
            candidate: self.cloud.election.candidate(),
            load: &self.cloud.load,
            readiness: self.shares_cloud().then_some(self.cloud.readiness),
            bridges: self.state.drained && self.bridges(),
            unheard: self.state.drained && self.may_be_followed(),
        };
        let edits = self.origination.reconcile(&mandate, &mut self.state);
        let changed = !edits.is_empty();
        if changed {
            self.save_holdings();
        }
        for edit in edits {
            match edit {
                Edit::Originate(prefix, attributes) => {
                    self.speaker.originate(prefix, attributes, now);
                }
                Edit::Withdraw(prefix) => self.speaker.withdraw(prefix, now),
            }
            self.pump(now);
        }
        let contested = rivals.iter().filter(|(_, rival)| rival.stands);
        let contested: Vec<_> = contested.map(|(address, _)| *address).collect();
        self.tell_discovery(changed, &contested, now);
    }
}

impl Origination {
    /// Makes the announcements follow `mandate`; counts acquisitions in `state`. Empty when nothing changed.
    pub(crate) fn reconcile(
        &mut self,
        mandate: &Mandate<'_>,
        state: &mut RuntimeState,
    ) -> Vec<Edit> {
        let mut wanted = BTreeMap::new();
        if let Some(epoch) = mandate.epoch {
            let own = mandate.config.own_node();
            let mut tags = tags(mandate.config, RouteKind::Marker { epoch });
            (tags.drained, tags.mac) = (mandate.drained, mandate.mac);
            let candidate = mandate.candidate;
            tags.captures = candidate.captures.then_some(candidate.priority);
            tags.term = candidate.term;
            tags.ready = mandate.readiness.is_some_and(Readiness::is_ready);
            let marker = marker(mandate.config, tags, mandate.load);
            wanted.insert(Ipv4Net::from(own.overlay), marker);
        }
        for (&address, &source) in mandate.owned {
            if let Some(kind) = self.claim(mandate, address, source, state) {
                let mut tags = tags(mandate.config, kind);
                tags.successor = state.handovers.get(&address).copied();
                tags.mac = mandate.hosts.get(&address).copied();
                wanted.insert(Ipv4Net::from(address), announcement(mandate.config, tags));
            }
        }
        let gone = self
            .routes
            .keys()
            .filter(|prefix| !wanted.contains_key(prefix));
        let mut edits: Vec<Edit> = gone.copied().map(Edit::Withdraw).collect();
        for (prefix, announcement) in &wanted {
            if self.routes.get(prefix) != Some(announcement) {
                edits.push(Edit::Originate(*prefix, announcement.attributes.clone()));
            }
        }
        self.routes = wanted;
        edits
    }

    /// Lists what is claimed now.
    pub(crate) fn claims(&self) -> impl Iterator<Item = (Ipv4Addr, Claim)> {
        let claim = |(prefix, announcement): (&Ipv4Net, &Announcement)| {
            Some((prefix.addr(), announcement.tags.claim()?))
        };
        self.routes.iter().filter_map(claim)
    }

    /// Returns what is claimed of an address now.
    pub(crate) fn claim_on(&self, address: Ipv4Addr) -> Option<Claim> {
        self.routes.get(&Ipv4Net::from(address))?.tags.claim()
    }

    /// Decides state and sequence of our claim on an address.
    fn claim(
        &self,
        mandate: &Mandate<'_>,
        address: Ipv4Addr,
        source: ClaimSource,
        runtime: &mut RuntimeState,
    ) -> Option<RouteKind> {
        let pool = mandate.config.pool_of(address)?.id;
        let rival = mandate.rivals.get(&address).copied().unwrap_or_default();
        let former = self.claim_on(address);
        let is_absent = mandate.absent.contains(&address);
        let mut state = state(mandate, address, source, rival, former)?;
        // 5. Who was not there when an address of its LAN was given away learns it from who has it now, and until then claims
        //    no more than is needed where nobody else does. So it does when nobody has it any more.
        let is_given_away = runtime.given_away.contains(&address);
        if is_given_away && (rival.stands || rival.remembered) {
            return None;
        }
        let is_ordered = source == ClaimSource::Configured;
        let may_be_given_away = mandate.uninformed && is_ordered && !was_active(former);
        // 6. Who cannot carry its packets yet leaves it to who can (`crate::cloud_readiness`).
        let is_unready = mandate.readiness.is_some_and(|readiness| {
            !readiness.has_begun || (!readiness.is_ready() && rival.ready_beside)
        });
        let stands_by = is_absent || is_given_away || may_be_given_away || is_unready;
        if state == ClaimState::Active && stands_by {
            state = ClaimState::Standby;
        }
        let sequence = match former {
            // Stepping back is no acquisition, nor is to know better; stepping forward is one.
            Some(former) if !is_acquisition(former.state, state) => former.sequence,
            // What is only heard leaves no trace: hosts, and those that are made up, come and go without limit.
            Some(_) | None if source == ClaimSource::Observed => {
                let known = former.map_or(0, |former| former.sequence);
                known.max(rival.sequence).saturating_add(1)
            }
            Some(_) | None => runtime.acquire(address, rival.sequence),
        };
        Some(RouteKind::Owner(Claim {
            state,
            sequence,
            pool,
            source,
        }))
    }
}

/// Decides how far our claim on an address goes; `None` where it is left to others.
fn state(
    mandate: &Mandate<'_>,
    address: Ipv4Addr,
    source: ClaimSource,
    rival: Rival,
    former: Option<Claim>,
) -> Option<ClaimState> {
    // 1. A router that is being emptied goes on until another one holds the address: it gives way to any claim, but
    //    breaks nothing where there is none. In a cloud it does not give way to one of its site that only stands by: that one
    //    is not ready, and holds the address in the moment in which it is. Where one was not heard it steps not back either,
    //    but not forward: that one may have been heard before, and work.
    if mandate.drained {
        let bridges = mandate.bridges || (mandate.unheard && was_active(former));
        let goes_on = bridges && !rival.stands;
        // Two that give way to each other would do so for ever: who is ready does not give way to who is not, and claims the
        // address for want of somebody better.
        let is_ready = mandate.readiness.is_some_and(Readiness::is_ready);
        let is_held = if goes_on && is_ready {
            rival.carries
        } else {
            rival.holds
        };
        let state = if goes_on {
            ClaimState::Active
        } else {
            ClaimState::Draining
        };
        return (!is_held).then_some(state);
    }
    // 2. Whoever is asked to take over does so above all other claims, until they have ended.
    if rival.offers {
        return Some(ClaimState::Handover);
    }
    let was = |state| former.is_some_and(|former| former.state == state);
    let gave_way = was(ClaimState::Standby);
    // 3. Who only hears a host asks those who claim its address before it takes it.
    let is_new = !was(ClaimState::Active) && !gave_way;
    if source == ClaimSource::Observed && rival.precedes && is_new {
        return Some(ClaimState::Seizing);
    }
    // 4. The better claim wins. Who gave way goes on to do so while it cannot hear whether the other one is still there;
    //    who is told only now to own an address knows better than an old claim. Who has just begun first says what it held.
    let insists = source == ClaimSource::Configured && mandate.holdings.contains(address);
    if (rival.wins && !insists) || (rival.remembered && gave_way) {
        return Some(ClaimState::Standby);
    }
    Some(ClaimState::Active)
}

fn was_active(former: Option<Claim>) -> bool {
    former.is_some_and(|former| former.state == ClaimState::Active)
}

/// Tells whether a claim that goes from one state to another takes the address anew.
fn is_acquisition(from: ClaimState, to: ClaimState) -> bool {
    let steps_back = matches!(to, ClaimState::Standby | ClaimState::Draining);
    let has_arrived = (from, to) == (ClaimState::Handover, ClaimState::Active);
    from != to && !steps_back && !has_arrived
}

fn tags(config: &Config, kind: RouteKind) -> RouteTags {
    let own = config.own_node();
    RouteTags {
        role: Some(own.role),
        ..RouteTags::new(own.id, kind)
    }
}

/// The marker, with what its node has captured and can.
fn marker(config: &Config, mut tags: RouteTags, load: &Load) -> Announcement {
    tags.shares = load.shares;
    tags.capacity = load.told_capacity();
    tags.inability = load.inability;
    let mut marker = announcement(config, tags);
    let communities = &mut marker.attributes.large_communities;
    communities.extend(held_communities(config.fabric.asn, &load.held));
    communities.sort_unstable();
    marker
}

fn announcement(config: &Config, tags: RouteTags) -> Announcement {
    let mut attributes = PathAttributes::local(config.own_node().overlay);
    tags.apply(config.fabric.asn, &mut attributes);
    Announcement { tags, attributes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, address};

    #[test]
    fn the_marker_is_announced_even_when_nothing_is_owned() {
        let mut fixture = Fixture::new(&[]);

        let edits = fixture.reconcile();

        let [Edit::Originate(prefix, attributes)] = edits.as_slice() else {
            panic!("{edits:?}")
        };
        assert_eq!(*prefix, Ipv4Net::from(fixture::overlay(1)));
        assert_eq!(attributes.local_pref, Some(50));
        assert_eq!(tags(attributes).kind, RouteKind::Marker { epoch: 77 });
    }

    #[test]
    fn an_owned_address_is_announced_as_host_route_with_our_next_hop() {
        let mut fixture = Fixture::new(&[10]);

        let edits = fixture.reconcile();

        let [Edit::Originate(prefix, attributes), _] = edits.as_slice() else {
            panic!("{edits:?}")
        };
        assert_eq!(*prefix, Ipv4Net::from(address(10)));
        assert_eq!(attributes.next_hop, fixture::overlay(1));
        assert_eq!(attributes.local_pref, Some(400));
        assert_eq!(
            tags(attributes).claim(),
            Some(Claim {
                state: ClaimState::Active,
                sequence: 1,
                pool: 1,
                source: ClaimSource::Configured,
            })
        );
    }

    #[test]
    fn nothing_changes_when_nothing_changed() {
        let mut fixture = Fixture::new(&[10, 11]);
        fixture.reconcile();

        assert_eq!(fixture.reconcile(), []);
    }

    #[test]
    fn every_acquisition_raises_the_sequence_above_all_seen() {
        let mut fixture = Fixture::new(&[10]);
        fixture.reconcile();
        fixture.owned.clear();
        assert_eq!(
            fixture.reconcile(),
            [Edit::Withdraw(Ipv4Net::from(address(10)))]
        );
        fixture.rival(10, false, 5);
        fixture.own(10, ClaimSource::Configured);

        fixture.reconcile();

        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 6)));
        assert_eq!(fixture.state.sequences[&address(10)], 6);
    }

    #[test]
    fn what_is_only_heard_leaves_no_sequence_behind() {
        let mut fixture = Fixture::new(&[]);
        for round in 0..3 {
            for last in 0..100 {
                fixture.owned.insert(address(last), ClaimSource::Observed);
            }
            fixture.reconcile();
            assert_eq!(fixture.claim(7), Some((ClaimState::Active, 1)), "{round}");
            fixture.owned.clear();
            fixture.reconcile();
        }
        assert_eq!(fixture.state.sequences, BTreeMap::new());
    }

    #[test]
    fn a_winning_rival_makes_us_standby_until_it_is_gone() {
        let mut fixture = Fixture::new(&[10]);
        fixture.reconcile();
        fixture.rival(10, true, 4);
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Standby, 1)));

        fixture.rivals.clear();
        fixture.reconcile();

        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 2)));
    }

    #[test]
    fn a_remembered_rival_keeps_us_standby_but_stops_no_new_claim() {
        let mut fixture = Fixture::new(&[10]);
        fixture.rival(10, true, 4);
        fixture.reconcile();
        fixture.remember(10);
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Standby, 5)));

        fixture.own(11, ClaimSource::Configured);
        fixture.rival(11, true, 7);
        fixture.remember(11);
        fixture.reconcile();

        assert_eq!(fixture.claim(11), Some((ClaimState::Active, 8)));
    }

    #[test]
    fn who_held_an_address_says_so_before_it_gives_way() {
        let mut fixture = Fixture::new(&[10, 11]);
        let state = RuntimeState {
            held: [address(10), address(12)].into(),
            ..RuntimeState::default()
        };
        fixture.holdings = Holdings::new(&fixture.config, &state);
        fixture.own(12, ClaimSource::Observed);
        for last in [10, 11, 12] {
            fixture.rival(last, true, 4);
        }
        fixture.reconcile();
        let state = |fixture: &Fixture, last| fixture.claim(last).map(|(state, _)| state);
        assert_eq!(state(&fixture, 10), Some(ClaimState::Active));
        assert_eq!(state(&fixture, 11), Some(ClaimState::Standby));
        let heard = state(&fixture, 12);
        assert_eq!(heard, Some(ClaimState::Seizing), "that is no order");

        fixture.holdings = Holdings::default();
        fixture.reconcile();

        assert_eq!(state(&fixture, 10), Some(ClaimState::Standby));
    }

    #[test]
    fn who_hears_a_host_that_another_node_claims_asks_before_it_takes() {
        let mut fixture = Fixture::new(&[]);
        fixture.own(10, ClaimSource::Observed);
        fixture.rival(10, false, 4);
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Seizing, 5)));

        fixture.rivals.clear();
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 6)));
        fixture.rival(10, false, 7);
        fixture.reconcile();

        assert_eq!(
            fixture.claim(10),
            Some((ClaimState::Active, 6)),
            "who holds it does not ask"
        );
    }

    #[test]
    fn to_know_better_is_no_acquisition_but_said() {
        let mut fixture = Fixture::new(&[]);
        fixture.own(10, ClaimSource::Observed);
        fixture.reconcile();
        fixture.own(10, ClaimSource::Configured);

        let edits = fixture.reconcile();

        let [Edit::Originate(_, attributes)] = edits.as_slice() else {
            panic!("{edits:?}")
        };
        assert_eq!(attributes.med, None);
        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 1)));
    }

    #[test]
    fn whose_host_is_on_the_other_side_of_the_lan_is_left_to_the_router_there() {
        let mut fixture = Fixture::new(&[10]);
        fixture.reconcile();
        fixture.absent.insert(address(10));
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Standby, 1)));

        fixture.absent.clear();
        fixture.reconcile();

        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 2)));
    }

    #[test]
    fn who_is_not_ready_in_a_cloud_leaves_addresses_to_who_is() {
        let readiness = |has_begun, carries| Readiness { has_begun, carries };
        let beside = |ready_beside| Rival {
            ready_beside,
            ..Rival::default()
        };
        use ClaimState::{Active, Standby};
        for (is, rival, claims) in [
            (readiness(false, true), Rival::default(), Standby),
            (readiness(true, false), Rival::default(), Active),
            (readiness(true, false), beside(false), Active),
            (readiness(true, false), beside(true), Standby),
            (readiness(true, true), beside(true), Active),
        ] {
            let mut fixture = Fixture::new(&[10]);
            fixture.readiness = Some(is);
            fixture.rivals.insert(address(10), rival);
            fixture.reconcile();
            let state = fixture.claim(10).map(|(state, _)| state);
            assert_eq!(state, Some(claims), "{is:?} {rival:?}");
        }
    }

    #[test]
    fn who_is_emptied_in_a_cloud_goes_on_in_full_while_another_one_gets_ready() {
        let mut fixture = Fixture::new(&[10]);
        fixture.state.drained = true;
        fixture.reconcile();
        let state = |fixture: &Fixture| fixture.claim(10).map(|(state, _)| state);
        assert_eq!(state(&fixture), Some(ClaimState::Draining));

        fixture.readiness = Some(Readiness {
            has_begun: true,
            carries: true,
        });
        fixture.reconcile();
        let nobody_gets_ready = state(&fixture);
        assert_eq!(nobody_gets_ready, Some(ClaimState::Draining));
        fixture.bridges = true;
        fixture.reconcile();
        assert_eq!(state(&fixture), Some(ClaimState::Active));
        // Another site waits for it.
        fixture.rival(10, false, 1);
        fixture.reconcile();
        assert_eq!(state(&fixture), Some(ClaimState::Draining));

        fixture.rivals.get_mut(&address(10)).expect("there").holds = true;
        fixture.reconcile();

        assert_eq!(state(&fixture), None);
    }

    #[test]
    fn who_is_emptied_and_ready_does_not_give_way_to_one_of_its_site_that_is_not() {
        let unready = Rival {
            holds: true,
            ..Rival::default()
        };
        let ready = Rival {
            carries: true,
            ..unready
        };
        for (carries, rival, claims) in [
            (true, unready, Some(ClaimState::Active)),
            (true, ready, None),
            (false, unready, None),
        ] {
            let mut fixture = Fixture::new(&[10]);
            fixture.state.drained = true;
            fixture.bridges = true;
            fixture.readiness = Some(Readiness {
                has_begun: true,
                carries,
            });
            fixture.rivals.insert(address(10), rival);
            fixture.reconcile();
            let state = fixture.claim(10).map(|(state, _)| state);
            assert_eq!(state, claims, "{carries} {rival:?}");
        }
    }

    #[test]
    fn who_is_emptied_does_not_step_back_for_one_that_was_not_heard_nor_forward() {
        let mut fixture = Fixture::new(&[10]);
        let state = |fixture: &Fixture| fixture.claim(10).map(|(state, _)| state);
        fixture.reconcile();
        fixture.state.drained = true;
        fixture.unheard = true;
        fixture.reconcile();
        assert_eq!(state(&fixture), Some(ClaimState::Active));

        // That one comes, holds the address, and is lost from sight.
        fixture.unheard = false;
        fixture.rival(10, false, 1);
        fixture.rivals.get_mut(&address(10)).expect("there").holds = true;
        fixture.reconcile();
        assert_eq!(state(&fixture), None);
        fixture.rivals.clear();
        fixture.unheard = true;
        for _ in 0..2 {
            fixture.reconcile();
            assert_eq!(state(&fixture), Some(ClaimState::Draining));
        }
    }

    #[test]
    fn who_cannot_know_what_was_given_away_claims_what_it_is_told_as_standby() {
        let mut fixture = Fixture::new(&[10]);
        fixture.own(11, ClaimSource::Observed);
        fixture.uninformed = true;
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Standby, 1)));
        let heard = fixture.claim(11).map(|(state, _)| state);
        assert_eq!(heard, Some(ClaimState::Active), "who hears a host knows");

        fixture.uninformed = false;
        fixture.state.given_away.insert(address(10));
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Standby, 1)));
        fixture.rival(10, false, 5);
        fixture.reconcile();
        assert_eq!(fixture.claim(10), None, "its holder is there");
        fixture.rivals.clear();
        fixture.reconcile();
        let alone = fixture.claim(10).map(|(state, _)| state);
        assert_eq!(alone, Some(ClaimState::Standby), "in case that it is lost");
        fixture.state.given_away.clear();
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 3)));

        fixture.uninformed = true;
        fixture.reconcile();
        assert_eq!(fixture.claim(10), Some((ClaimState::Active, 3)));
    }

    #[test]
    fn a_stop_withdraws_everything() {
        let mut fixture = Fixture::new(&[10]);
        fixture.reconcile();
        fixture.owned.clear();
        fixture.epoch = None;

        let edits = fixture.reconcile();

        assert_eq!(edits.len(), 2);
        assert!(edits.iter().all(|edit| matches!(edit, Edit::Withdraw(_))));
    }

    struct Fixture {
        config: Config,
        owned: BTreeMap<Ipv4Addr, ClaimSource>,
        rivals: BTreeMap<Ipv4Addr, Rival>,
        holdings: Holdings,
        absent: BTreeSet<Ipv4Addr>,
        uninformed: bool,
        readiness: Option<Readiness>,
        bridges: bool,
        unheard: bool,
        epoch: Option<u32>,
        state: RuntimeState,
        origination: Origination,
    }

    impl Fixture {
        fn new(owned: &[u8]) -> Self {
            Self {
                config: fixture::config(1, 2, &[]),
                owned: owned
                    .iter()
                    .map(|last| (address(*last), ClaimSource::Configured))
                    .collect(),
                rivals: BTreeMap::new(),
                holdings: Holdings::default(),
                absent: BTreeSet::new(),
                uninformed: false,
                readiness: None,
                bridges: false,
                unheard: false,
                epoch: Some(77),
                state: RuntimeState::default(),
                origination: Origination::default(),
            }
        }

        fn own(&mut self, last: u8, source: ClaimSource) {
            self.owned.insert(address(last), source);
        }

        fn rival(&mut self, last: u8, wins: bool, sequence: u32) {
            let (remembered, stands, precedes) = (false, true, true);
            let rival = Rival {
                wins,
                remembered,
                stands,
                precedes,
                sequence,
                ..Rival::default()
            };
            self.rivals.insert(address(last), rival);
        }

        /// Ends the session that told of a rival.
        fn remember(&mut self, last: u8) {
            let rival = self.rivals.get_mut(&address(last)).expect("a rival");
            (rival.wins, rival.remembered) = (false, rival.wins);
            (rival.stands, rival.precedes) = (false, false);
        }

        fn reconcile(&mut self) -> Vec<Edit> {
            let mandate = Mandate {
                config: &self.config,
                owned: &self.owned,
                rivals: &self.rivals,
                holdings: &self.holdings,
                absent: &self.absent,
                epoch: self.epoch,
                mac: None,
                hosts: &BTreeMap::new(),
                drained: self.state.drained,
                uninformed: self.uninformed,
                candidate: Candidate::default(),
                load: &Load::default(),
                readiness: self.readiness,
                bridges: self.bridges,
                unheard: self.unheard,
            };
            self.origination.reconcile(&mandate, &mut self.state)
        }

        fn claim(&self, last: u8) -> Option<(ClaimState, u32)> {
            let route = self.origination.routes.get(&Ipv4Net::from(address(last)))?;
            route
                .tags
                .claim()
                .map(|claim| (claim.state, claim.sequence))
        }
    }

    fn tags(attributes: &PathAttributes) -> RouteTags {
        RouteTags::parse(64_577, &attributes.large_communities).unwrap()
    }
}
