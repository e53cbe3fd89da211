//! A site of two routers that gave an address away while one of them was off, and loses its power later.
//!
//! ```text
//!   switch ──┬── router 0 ══╗
//!            │              ╠══ router 2 ── host of 10.77.60.10
//!            └── router 1 ══╝══ router 3 ── host
//! ```
//! The file of router 1 says that 10.77.60.10 is its own, nobody told it anything else, and it has the lower router id.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_capture::ClaimState;
use sam_testkit::topology::home;
use sam_testkit::{Cache, World};

use crate::{come_up, converge, for_seeds, pick};

const FIRST: usize = 0;
const SECOND: usize = 1;
const HOLDER: usize = 2;
const OBSERVER: usize = 3;
const ELECTION: Duration = Duration::from_millis(1_500);
/// Until all have called each other again by BGP.
const REST: Duration = Duration::from_secs(60);

#[test]
fn what_was_given_away_stays_where_it_is_when_both_routers_of_the_lan_begin_anew() {
    for_seeds(20, |seed| {
        let mut world = given_away(seed);
        world.kill(FIRST);
        world.run_for(Duration::from_secs(seed % 12));
        let both = seed % 3 == 0;
        let later = [0, 2, 20, 150][pick(seed / 3, 4)];

        // The LAN has power before the way to the others is there.
        let returning = if both {
            [FIRST, SECOND].as_slice()
        } else {
            &[SECOND]
        };
        for &site in returning {
            world.isolate(site);
            world.restart(site);
        }
        world.run_for(Duration::from_secs(later));
        returning.iter().for_each(|site| world.reconnect(*site));

        assert_it_stays(&mut world, REST);
        assert_eq!(world.owner_at(SECOND, home(FIRST)), Some(HOLDER));
        reach(&mut world);
        // The first one dies again, and the second one alone decides.
        world.kill(FIRST);
        assert_it_stays(&mut world, ELECTION + Duration::from_secs(10));
        assert!(world.sites[SECOND].gate_open());
        reach(&mut world);
    });
}

#[test]
fn what_one_router_was_told_it_knows_after_its_next_start_though_the_holder_is_away() {
    for_seeds(5, |seed| {
        let mut world = given_away(seed);
        world.restart(SECOND);
        converge(&mut world, Duration::from_secs(20));
        for site in [FIRST, SECOND, HOLDER] {
            world.kill(site);
        }
        world.run_for(Duration::from_secs(1 + seed % 12));
        world.restart(SECOND);
        world.run_for(Duration::from_secs(130));

        world.restart(HOLDER);
        let held = |world: &World| world.owner_at(OBSERVER, home(FIRST)) == Some(HOLDER);
        assert!(world.run_until(Duration::from_secs(30), held).is_some());
        assert_it_stays(&mut world, Duration::from_secs(30));
        reach(&mut world);
    });
}

#[test]
fn what_was_given_away_stays_with_a_holder_that_is_heard_again_after_the_lan_was_taken_over() {
    for_seeds(6, |seed| {
        let mut world = given_away(seed);
        world.isolate(HOLDER);
        take_over_unaware(&mut world, seed);

        world.reconnect(HOLDER);

        converge(&mut world, REST);
        assert_it_stays(&mut world, REST);
        reach(&mut world);
    });
}

#[test]
fn what_was_given_away_stays_with_a_holder_that_begins_anew_and_is_heard_last() {
    for_seeds(12, |seed| {
        let mut world = given_away(seed);
        world.kill(HOLDER);
        take_over_unaware(&mut world, seed);

        // Its line comes up later than it does, and either side may be the one that calls.
        world.isolate(HOLDER);
        world.restart(HOLDER);
        world.run_for(Duration::from_millis(seed * 373 % 3_000));
        world.reconnect(HOLDER);

        let held = |world: &World| world.owner_at(OBSERVER, home(FIRST)) == Some(HOLDER);
        assert!(world.run_until(REST, held).is_some(), "it is lost");
        converge(&mut world, REST);
        assert_it_stays(&mut world, REST);
        reach(&mut world);
    });
}

/// The router that was not told takes the LAN over while the holder cannot be heard.
fn take_over_unaware(world: &mut World, seed: u64) {
    world.restart(SECOND);
    world.run_for(Duration::from_secs(150));
    world.kill(FIRST);
    world.run_for(ELECTION + Duration::from_secs(seed % 12));
    // Where a reflector keeps the routes of the holder it may have told them.
    if reflectors(seed).is_empty() {
        let claim = world.sites[SECOND].router.claim_on(home(FIRST));
        assert_eq!(claim, Some(ClaimState::Active), "nobody says else");
    }
}

#[test]
fn what_came_to_the_lan_while_one_router_was_off_is_claimed_by_it_when_it_acts() {
    for_seeds(9, |seed| {
        let mut world = come_up(World::with_pair_of(4, reflectors(seed), seed));
        let came = home(HOLDER);
        world.kill(SECOND);
        world.run_for(Duration::from_secs(15));
        world.replug(came, FIRST, Cache::Forgotten);
        world.hand_over(HOLDER, came, FIRST);
        converge(&mut world, Duration::from_secs(5));
        // It comes back beside the router that knows, and is told nothing by anybody.
        world.believe(SECOND, came);
        world.restart(SECOND);
        converge(&mut world, Duration::from_secs(20));
        world.run_for(Duration::from_secs(seed % 12));
        assert_eq!(world.owner_at(OBSERVER, came), Some(FIRST));

        if seed % 2 == 0 {
            world.stop(FIRST);
        } else {
            world.kill(FIRST);
        }
        let follows = |world: &World| world.owner_at(OBSERVER, came) == Some(SECOND);
        assert!(world.run_until(REST, follows).is_some(), "it is lost");
        converge(&mut world, REST);
        world.run_for(Duration::from_secs(6));
        reach_of(&mut world, came);
    });
}

fn reflectors(seed: u64) -> &'static [usize] {
    [&[][..], &[OBSERVER], &[FIRST, SECOND]][pick(seed, 3)]
}

/// The second router is off while the first one hands the address over.
fn given_away(seed: u64) -> World {
    let mut world = come_up(World::with_pair_of(4, reflectors(seed), seed));
    world.kill(SECOND);
    world.run_for(Duration::from_secs(15));
    world.replug(home(FIRST), HOLDER, Cache::Forgotten);
    world.disbelieve(SECOND, home(FIRST));
    world.hand_over(FIRST, home(FIRST), HOLDER);
    converge(&mut world, Duration::from_secs(5));
    assert_eq!(world.owner_at(OBSERVER, home(FIRST)), Some(HOLDER));
    // What the others forward meanwhile they learned.
    world.run_for(Duration::from_secs(6));
    world
}

fn assert_it_stays(world: &mut World, time: Duration) {
    let lost = |world: &World| world.owner_at(HOLDER, home(FIRST)) != Some(HOLDER);
    assert_eq!(world.run_until(time, lost), None, "its holder gave it up");
    assert_eq!(world.owner_at(OBSERVER, home(FIRST)), Some(HOLDER));
}

fn reach(world: &mut World) {
    reach_of(world, home(FIRST));
}

fn reach_of(world: &mut World, address: Ipv4Addr) {
    let answered = (0..2).any(|_| {
        let ping = world.ping(home(OBSERVER), address);
        let limit = Duration::from_secs(4);
        let took = world.run_until(limit, |world| world.answered.contains(&ping));
        took.is_some()
    });
    assert!(answered, "its host is not reached");
}
