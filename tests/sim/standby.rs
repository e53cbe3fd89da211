//! Two nodes own one address: everybody knows both paths (RFC 7911), and who loses the active node goes on with the
//! standby, before BGP says anything.
//!
//! ```text
//!   active 1 ───┐
//!               ├── reflector 0 ── observer 3        the host has a cable to the LANs of 1 and 2
//!   standby 2 ──┘
//! ```

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_capture::ClaimState;
use sam_dataplane::{Notice, TunnelId};
use sam_router::Input;
use sam_router::facts::Facts;
use sam_router::view::PathRow;
use sam_testkit::topology::{home, name, node_id};
use sam_testkit::{Cache, Host, World};

use crate::{converge, fabric, for_seeds};

const REFLECTOR: usize = 0;
const ACTIVE: usize = 1;
const STANDBY: usize = 2;
const OBSERVER: usize = 3;
/// The address that two nodes own.
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 95);

#[test]
fn an_observer_turns_to_the_standby_in_the_step_in_which_the_actives_tunnel_dies() {
    for_seeds(20, |seed| {
        let mut world = shared(seed);
        world.run_for(Duration::from_millis(seed * 137 % 3000));
        world.kill(ACTIVE);
        let heard = updates_heard(&world);

        lose_tunnel(&mut world, OBSERVER, ACTIVE);

        // No time passed; that forwarding follows the owner is an invariant of the world.
        assert_eq!(world.owner_at(OBSERVER, SHARED), Some(STANDBY));
        lose_tunnel(&mut world, STANDBY, ACTIVE);
        assert_eq!(world.owner_at(STANDBY, SHARED), Some(STANDBY));
        world.replug(SHARED, STANDBY, Cache::Forgotten);
        assert_eq!(reach(&mut world), STANDBY);
        // All that while BGP took the active node for alive.
        assert_eq!(world.owner_at(REFLECTOR, SHARED), Some(ACTIVE));
        assert_eq!(updates_heard(&world), heard);

        // BGP follows, and so do the claims.
        converge(&mut world, Duration::from_secs(15));
        world.run_for(Duration::from_secs(1));
        assert_eq!(claim(&world, STANDBY), Some(ClaimState::Active));
        world.replug(SHARED, ACTIVE, Cache::Forgotten);
        world.restart(ACTIVE);
        converge(&mut world, Duration::from_secs(60));
        world.run_for(Duration::from_secs(20));
        assert_eq!(reach(&mut world), ACTIVE);
    });
}

#[test]
fn both_paths_and_why_one_of_them_lost_are_shown() {
    let mut world = shared(1);
    let why = |world: &World| {
        world.sites[OBSERVER]
            .router
            .bgp_why(prefix().into(), world.now)
    };
    let view = why(&world);
    let claimant = |row: &PathRow| row.node.as_ref().map(|node| node.id);
    let (active, standby) = (Some(node_id(ACTIVE)), Some(node_id(STANDBY)));
    assert_eq!(claimant(&view.best.unwrap()), active);
    let [comparison] = view.comparisons.as_slice() else {
        panic!("{:?}", view.comparisons)
    };
    assert_eq!(claimant(&comparison.loser), standby);
    assert_eq!(comparison.step.name, "local-pref");

    lose_tunnel(&mut world, OBSERVER, ACTIVE);

    let view = why(&world);
    assert_eq!(claimant(&view.best.unwrap()), standby);
    let [comparison] = view.comparisons.as_slice() else {
        panic!("{:?}", view.comparisons)
    };
    assert_eq!(claimant(&comparison.loser), active);
    let rung = comparison.ladder.last().unwrap();
    assert!(rung.decides);
    assert_eq!(
        [rung.step.name.as_str(), &rung.best, &rung.other],
        ["eligible", "yes", "next-hop-unreachable"]
    );
}

/// It delivers on its own what it gets, but the address is not its: others reach the active node well.
#[test]
fn a_standby_that_is_cut_off_from_the_active_node_alone_takes_nothing_over() {
    for_seeds(10, |seed| {
        let mut world = shared(seed);

        lose_tunnel(&mut world, STANDBY, ACTIVE);
        world.run_for(Duration::from_secs(seed % 30));

        assert_eq!(claim(&world, STANDBY), Some(ClaimState::Standby));
        for site in [REFLECTOR, ACTIVE, OBSERVER] {
            assert_eq!(world.owner_at(site, SHARED), Some(ACTIVE), "site {site}");
        }
    });
}

#[test]
fn without_another_path_an_address_behind_a_dead_tunnel_is_withheld_until_it_is_back() {
    for_seeds(10, |seed| {
        let mut world = fabric(seed);

        lose_tunnel(&mut world, OBSERVER, ACTIVE);

        assert_eq!(world.owner_at(OBSERVER, home(ACTIVE)), None);
        assert_eq!(world.owner_at(OBSERVER, home(STANDBY)), Some(STANDBY));
        let tunnel = tunnel(&world, OBSERVER, ACTIVE);
        let first = true;
        world.input(OBSERVER, Input::Notice(Notice::SessionUp { tunnel, first }));
        assert!(world.converged());
    });
}

/// A fabric in which two nodes own [`SHARED`].
fn shared(seed: u64) -> World {
    let mut world = fabric(seed);
    world.plug(Host::new(SHARED), ACTIVE);
    for site in [ACTIVE, STANDBY] {
        world.announce(site, SHARED);
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(Duration::from_secs(6));
    assert!(world.converged());
    assert_eq!(claim(&world, ACTIVE), Some(ClaimState::Active));
    assert_eq!(claim(&world, STANDBY), Some(ClaimState::Standby));
    world
}

/// Tells the router of a site that its tunnel to another one is dead.
fn lose_tunnel(world: &mut World, site: usize, far: usize) {
    let tunnel = tunnel(world, site, far);
    world.input(site, Input::Notice(Notice::SessionDown { tunnel }));
}

fn tunnel(world: &World, site: usize, far: usize) -> TunnelId {
    let mut tunnels = world.sites[site].snapshot.tunnels.iter();
    let found = tunnels.find(|tunnel| tunnel.name == name(far));
    found.expect("all sites have tunnels").id
}

fn claim(world: &World, site: usize) -> Option<ClaimState> {
    world.sites[site].router.claim_on(SHARED)
}

/// Pings the shared address from the observer's host; returns the site whose LAN has the host that answered.
fn reach(world: &mut World) -> usize {
    let ping = world.ping(home(OBSERVER), SHARED);
    let limit = Duration::from_secs(2);
    let took = world.run_until(limit, |world| world.answered.contains(&ping));
    assert!(took.is_some(), "no answer within {limit:?}");
    world.delivered[&ping].site
}

/// UPDATEs that the observer heard.
fn updates_heard(world: &World) -> u64 {
    let facts = Facts::default();
    let view = world.sites[OBSERVER]
        .router
        .bgp_neighbor(node_id(REFLECTOR), &facts, world.now);
    view.expect("the reflector is a peer")
        .messages_received
        .update
}

fn prefix() -> Ipv4Net {
    Ipv4Net::from(SHARED)
}
