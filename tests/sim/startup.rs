//! A router with preemption that begins on a LAN where another one works: not before it has heard the routes.
//!
//! ```text
//!   host ── switch ──┬── router 0, priority 150, preempts ══╗
//!                    │                                      ╠══ router 2 ── host
//!                    └── router 1, priority 100 ════════════╝══ router 3 ── host
//! ```

use std::time::Duration;

use sam_router::config::{ActiveWhen, Capture, Track};
use sam_testkit::World;
use sam_testkit::topology::home;

use crate::{come_up, for_seeds, pick};

const FIRST: usize = 0;
const SECOND: usize = 1;
const FAR: usize = 2;
const OTHER: usize = 3;
/// What it waits for at least, and at most where routes do not end; and an election.
const FLOOR: Duration = Duration::from_secs(10);
const BOUND: Duration = Duration::from_secs(120);
const ELECTION: Duration = Duration::from_millis(1_300);
/// Until all have called each other again by BGP, which they do every half minute at least.
const REST: Duration = Duration::from_secs(60);

#[test]
fn a_router_that_restarts_takes_the_lan_back_with_all_routes_and_without_a_gap() {
    for_seeds(10, |seed| {
        let mut world = restarted(seed);
        world.restart(FIRST);
        world.run_for(FLOOR - Duration::from_millis(1));
        assert!(acts(&world, SECOND) && !acts(&world, FIRST));

        let taken = world.run_until(2 * ELECTION, |world| acts(world, FIRST));
        assert!(taken.is_some());
        assert_eq!(world.owner_at(FIRST, home(FAR)), Some(FAR));
        world.run_for(Duration::from_millis(50));
        assert!(!acts(&world, SECOND));
    });
}

#[test]
fn a_router_that_reaches_nobody_takes_a_lan_over_from_nobody() {
    for_seeds(2, |seed| {
        let mut world = restarted(seed);
        begin_isolated(&mut world);
        for _ in 0..BOUND.as_secs() + 60 {
            world.run_for(Duration::from_secs(1));
            assert!(acts(&world, SECOND) && !acts(&world, FIRST));
        }
        world.reconnect(FIRST);
        let limit = Duration::from_secs(60);
        let taken = world.run_until(limit, |world| acts(world, FIRST));
        assert!(taken.is_some(), "it has heard routes");
    });
}

#[test]
fn a_router_that_was_isolated_takes_the_lan_back_when_it_knows_what_each_of_the_others_tells() {
    for_seeds(20, |seed| {
        let mut world = restarted(seed);
        begin_isolated(&mut world);
        world.run_for(Duration::from_secs([11, 60, 130][pick(seed, 3)]));
        assert!(!acts(&world, FIRST), "it is isolated");

        // One after the other, or all at once; each calls by BGP when its time has come.
        for other in [OTHER, SECOND] {
            world.faults.heal(FIRST, other);
            world.run_for(Duration::from_secs(seed % 3));
            assert!(!acts(&world, FIRST), "it knows nothing of one site");
        }
        world.faults.heal(FIRST, FAR);

        let taken = world.run_until(REST, |world| acts(world, FIRST));
        assert!(taken.is_some(), "it has heard all routes");
        for far in [FAR, OTHER] {
            assert_eq!(world.owner_at(FIRST, home(far)), Some(far));
        }
    });
}

#[test]
fn a_node_that_is_down_does_not_keep_a_router_from_taking_the_lan_back() {
    for_seeds(10, |seed| {
        let mut world = restarted(seed);
        world.kill(FAR);
        begin_isolated(&mut world);
        world.run_for(Duration::from_secs([0, 11, 60][pick(seed, 3)]));
        world.reconnect(FIRST);

        let taken = world.run_until(REST, |world| acts(world, FIRST));
        assert!(taken.is_some(), "the others have told all routes");
        assert_eq!(world.owner_at(FIRST, home(OTHER)), Some(OTHER));
    });
}

#[test]
fn a_fabric_that_loses_its_power_comes_up_whole_and_the_lan_has_its_first_router() {
    for_seeds(12, |seed| {
        let reflectors = [&[][..], &[OTHER], &[FIRST, SECOND]][pick(seed, 3)];
        let mut world = restarted_of(World::with_pair_of(4, reflectors, seed), seed);
        for site in [SECOND, FAR, OTHER] {
            world.kill(site);
        }
        for turn in 0..4 {
            world.restart((turn + pick(seed, 4)) % 4);
            world.run_for(Duration::from_millis(seed * 613 % 7_000));
        }

        let whole = |world: &World| acts(world, FIRST) && world.converged();
        assert!(world.run_until(REST, whole).is_some());
        assert!(!acts(&world, SECOND));
    });
}

#[test]
fn a_router_that_begins_alone_acts_at_once() {
    for_seeds(5, |seed| {
        let mut world = restarted(seed);
        world.kill(SECOND);
        world.isolate(FIRST);
        world.restart(FIRST);
        let took = world.run_until(ELECTION, |world| acts(world, FIRST));
        assert!(took.is_some());
    });
}

/// The first router begins and reaches nobody; nothing but that keeps it from taking the LAN over.
fn begin_isolated(world: &mut World) {
    if let Capture::ProxyArp { active_when, .. } = &mut world.sites[FIRST].config.local.capture
        && let ActiveWhen::Vrrp(vrrp) = active_when
    {
        vrrp.track = Track {
            bgp: 0,
            tunnels: 0,
            engine: 0,
        };
    }
    world.isolate(FIRST);
    world.restart(FIRST);
}

/// The first router was killed, and the second one acts.
fn restarted(seed: u64) -> World {
    restarted_of(World::with_pair(4, seed), seed)
}

fn restarted_of(mut world: World, seed: u64) -> World {
    let mut config = world.sites[FIRST].config.clone();
    if let Capture::ProxyArp { active_when, .. } = &mut config.local.capture
        && let ActiveWhen::Vrrp(vrrp) = active_when
    {
        vrrp.settings.preempt = true;
    }
    world.reload(FIRST, config);
    let mut world = come_up(world);
    world.kill(FIRST);
    world.run_for(2 * ELECTION);
    assert!(acts(&world, SECOND));
    world.run_for(Duration::from_millis(seed * 377 % 1_000));
    world
}

fn acts(world: &World, site: usize) -> bool {
    world.sites[site].up && world.sites[site].gate_open()
}
