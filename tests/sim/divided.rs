//! A LAN with two routers of which one finds itself on a segment without hosts: its cable was moved, or a switch fell apart.
//!
//! ```text
//!   (nobody) ── switch ──┬── router 0, priority 150 ══╗
//!                  ┊     │                            ╠══ router 2 ── host
//!       host ── switch ──┴── router 1, priority 100 ══╝══ router 3 ── host
//! ```
//! Each becomes the master of its part and claims the same addresses. The claim of router 0 would win by its router id.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_capture::ClaimState;
use sam_testkit::topology::home;
use sam_testkit::{Cache, Host, World};

use crate::{converge, discovering_pair, for_seeds};

const FIRST: usize = 0;
const SECOND: usize = 1;
const FAR: usize = 2;
/// A host that nobody configured.
const HEARD: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 100);
/// Three intervals and a skew until the other router is master, then the questions to the hosts.
const LIMIT: Duration = Duration::from_millis(1_100 + 1_500);

#[test]
fn a_master_whose_cable_is_moved_leaves_the_hosts_to_the_router_that_hears_them() {
    for_seeds(10, |seed| {
        let mut world = running(seed);
        world.run_for(Duration::from_millis(seed * 131 % 1_000));

        world.set_partition(0, true);
        world.run_for(LIMIT);

        for address in [home(FIRST), HEARD] {
            assert_eq!(claim(&world, FIRST, address), Some(ClaimState::Standby));
            assert_eq!(claim(&world, SECOND, address), Some(ClaimState::Active));
            assert_eq!(world.owner_at(FAR, address), Some(SECOND), "{address}");
            reach(&mut world, address);
        }
        // It lasts, and ends without a moment in which nobody claims the addresses.
        world.run_for(Duration::from_secs(20));
        reach(&mut world, home(FIRST));
        reach(&mut world, HEARD);
        world.set_partition(0, false);
        let limit = Duration::from_secs(3);
        let returned = |world: &World| {
            let claims = [home(FIRST), HEARD].map(|address| claim(world, FIRST, address));
            claims == [Some(ClaimState::Active); 2]
        };
        assert!(world.run_until(limit, returned).is_some());
        converge(&mut world, Duration::from_secs(10));
        for address in [home(FIRST), HEARD] {
            reach(&mut world, address);
        }
    });
}

/// A host that comes to the other part is claimed there as soon as it is heard of.
#[test]
fn a_host_that_changes_its_part_of_the_lan_is_claimed_by_the_router_there() {
    for_seeds(10, |seed| {
        let mut world = running(seed);
        world.set_partition(0, true);
        world.run_for(LIMIT);
        assert_eq!(world.owner_at(FAR, home(FIRST)), Some(SECOND));

        set_island(&mut world, home(FIRST), false);
        world.speak_up(home(FIRST));
        world.run_for(Duration::from_secs(4));

        assert_eq!(claim(&world, FIRST, home(FIRST)), Some(ClaimState::Active));
        assert_eq!(world.owner_at(FAR, home(FIRST)), Some(FIRST));
        reach(&mut world, home(FIRST));
    });
}

/// Nobody hears a host that is off: the claims stay what they were, and the address in the hands of one router.
#[test]
fn a_host_that_answers_neither_router_has_one_owner_all_the_same() {
    for_seeds(5, |seed| {
        let mut world = running(seed);
        world.unplug(home(FIRST));
        world.set_partition(0, true);
        world.run_for(LIMIT);
        let owner = world.owner_at(FAR, home(FIRST));
        assert!(owner.is_some());
        for _ in 0..20 {
            world.run_for(Duration::from_secs(1));
            assert_eq!(world.owner_at(FAR, home(FIRST)), owner);
        }
    });
}

/// A fabric whose hosts on the LAN of the pair stand behind the second router's switch.
fn running(seed: u64) -> World {
    let mut world = discovering_pair(seed);
    set_island(&mut world, home(FIRST), true);
    let mut host = Host::new(HEARD);
    host.island = true;
    world.plug(host, FIRST);
    world.speak_up(HEARD);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.owner_at(FAR, HEARD), Some(FIRST));
    for router in [FIRST, SECOND] {
        world.believe(router, HEARD);
    }
    world
}

/// Moves a host of the LAN to one of its switches.
fn set_island(world: &mut World, address: Ipv4Addr, island: bool) {
    world.replug(address, FIRST, Cache::Kept);
    let mut hosts = world.sites[FIRST].hosts.iter_mut();
    let host = hosts.find(|host| host.address == address);
    host.expect("just plugged in").island = island;
}

fn claim(world: &World, site: usize, address: Ipv4Addr) -> Option<ClaimState> {
    world.sites[site].router.claim_on(address)
}

/// Asserts that the far host reaches an address; the first ping may wait for a MAC.
fn reach(world: &mut World, address: Ipv4Addr) {
    let answered = (0..2).any(|_| {
        let ping = world.ping(home(FAR), address);
        let limit = Duration::from_secs(2);
        let took = world.run_until(limit, |world| world.answered.contains(&ping));
        took.is_some()
    });
    assert!(answered, "{address} is not reached");
}
