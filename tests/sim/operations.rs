//! What operators do: bring up, add, move, withdraw, reload, stop.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::topology::home;
use sam_testkit::world::NOBODY;
use sam_testkit::{Cache, Host, World};

use crate::{assert_all_pairs_talk, come_up, converge, fabric, for_seeds, pick};

/// A BGP message crosses the fabric in three delays of 5 ms; nothing else may take time.
const BLINK: Duration = Duration::from_millis(50);

#[test]
fn four_sites_come_up_and_every_pair_of_hosts_talks() {
    for_seeds(60, |seed| {
        let mut world = World::new(4, seed);
        world.faults.jitter = Duration::from_millis(3);
        let mut world = come_up(world);

        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_full_mesh_needs_no_reflector() {
    for_seeds(20, |seed| {
        let mut world = come_up(World::with_reflectors(4, &[], seed));

        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn an_added_address_is_reached_from_everywhere() {
    for_seeds(40, |seed| {
        let mut world = fabric(seed);
        let address = Ipv4Addr::new(10, 77, 60, 77);
        let site = pick(seed, 4);
        world.plug(Host::new(address), site);

        world.announce(site, address);

        assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_moved_address_is_followed_by_every_site_within_a_blink() {
    for_seeds(70, |seed| {
        let mut world = fabric(seed);
        assert_all_pairs_talk(&mut world);
        let from = pick(seed, 4);
        let to = (from + 1 + pick(seed / 4, 3)) % 4;

        world.move_host(home(from), from, to, Cache::Forgotten);

        assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
        if seed % 2 == 0 {
            world.speak_up(home(from));
        }
        // All announcements of the new way are out after 5 s.
        world.run_for(Duration::from_secs(6));
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn an_address_that_goes_back_and_forth_is_reached_after_every_move() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let (mut at, mut to) = (3, pick(seed, 3));
        for round in 0..5 {
            world.replug(home(3), to, Cache::Forgotten);
            if (seed + round) % 3 != 0 {
                // The router hears the host before it is told, and is silent about it; that must not last.
                world.speak_up(home(3));
                world.run_for(Duration::from_millis(1));
            }
            world.announce(to, home(3));
            world.withdraw(at, home(3));
            (at, to) = (to, at);
            assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
            // The first announcements are out; all hosts know the way, without having asked.
            world.run_for(Duration::from_millis(seed % 300));
            for site in 0..3 {
                let id = world.ping(home(site), home(3));
                let limit = Duration::from_millis(100);
                let answered = world.run_until(limit, |world| world.answered.contains(&id));
                assert!(
                    answered.is_some(),
                    "not reached from site {site} in round {round}"
                );
            }
        }
        world.assert_clean();
    });
}

#[test]
fn a_search_for_a_host_ends_when_its_address_moves() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let (from, to) = (pick(seed, 2), 2 + pick(seed / 2, 2));
        let host = world.unplug(home(from));
        let ids: Vec<u32> = (0..4)
            .map(|_| world.probe(home(3 - from), home(from)))
            .collect();
        // The old router asks its LAN for a host that has gone.
        world.run_for(Duration::from_millis(100 + seed));

        world.plug(host, to);
        world.announce(to, home(from));
        world.withdraw(from, home(from));

        // From convergence on, the invariants forbid to ask at the old site.
        assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
        world.run_for(Duration::from_secs(10));
        assert!(
            ids.iter().all(|id| !world.delivered.contains_key(id)),
            "found where it is not"
        );
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_withdrawn_address_is_unknown_everywhere_and_never_answered() {
    for_seeds(40, |seed| {
        let mut world = fabric(seed);
        assert_all_pairs_talk(&mut world);
        let site = pick(seed, 4);
        drop(world.unplug(home(site)));

        world.withdraw(site, home(site));

        let took = world.run_until(Duration::from_secs(2), |world| world.is_unknown(home(site)));
        assert!(took.is_some_and(|took| took < BLINK), "{took:?}");
        for destination in [home(site), NOBODY] {
            let id = world.probe(home((site + 1) % 4), destination);
            world.run_for(Duration::from_secs(5));
            assert!(!world.delivered.contains_key(&id));
        }
        world.assert_clean();
    });
}

#[test]
fn an_equal_configuration_changes_nothing() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let site = pick(seed, 4);
        let site_state = |world: &World| {
            let site = &world.sites[site];
            let sent: Vec<u64> = site.stats.counters().map(|(_, _, value)| value).collect();
            (
                site.outputs,
                site.snapshot.generation,
                site.state.clone(),
                sent,
            )
        };
        let before = site_state(&world);

        let config = world.sites[site].config.clone();
        world.reload(site, config);

        assert_eq!(
            site_state(&world),
            before,
            "I16: an equal configuration has effects"
        );
        world.run_for(Duration::from_millis(1));
        assert_eq!(
            site_state(&world).0,
            before.0,
            "I16: an equal configuration has effects later"
        );
    });
}

#[test]
fn an_owner_list_changed_on_both_sides_by_reload_moves_the_address() {
    for_seeds(50, |seed| {
        let mut world = fabric(seed);
        let from = pick(seed, 4);
        let to = (from + 1 + pick(seed / 4, 3)) % 4;
        let added = Ipv4Addr::new(10, 77, 60, 99);
        let mut releasing = world.sites[from].config.clone();
        releasing.local.owned.remove(&home(from));
        let mut acquiring = world.sites[to].config.clone();
        acquiring.local.owned.extend([home(from), added]);
        world.plug(Host::new(added), to);
        world.replug(home(from), to, Cache::Forgotten);

        if seed % 2 == 0 {
            world.reload(to, acquiring);
            world.run_for(Duration::from_millis(seed % 20));
            world.reload(from, releasing);
        } else {
            world.reload(from, releasing);
            world.run_for(Duration::from_millis(seed % 20));
            world.reload(to, acquiring);
        }

        assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn two_claimants_have_one_owner_everywhere_and_the_other_takes_over() {
    for_seeds(60, |seed| {
        let mut world = fabric(seed);
        let address = Ipv4Addr::new(10, 77, 60, 50);
        let first = pick(seed, 4);
        let second = (first + 1 + pick(seed / 4, 3)) % 4;
        world.announce(first, address);
        // At once, or one after the other.
        world.run_for(Duration::from_millis(if seed % 3 == 0 {
            0
        } else {
            seed % 40
        }));

        world.announce(second, address);

        let winner = first.min(second);
        assert_eq!(world.expected_owner(address), Some(winner));
        converge(&mut world, Duration::from_secs(2));
        world.run_for(Duration::from_secs(30));
        assert!(world.converged(), "the owner changes back and forth");
        assert_both_are_told(&world, address, [first, second]);

        world.withdraw(winner, address);

        assert_eq!(world.expected_owner(address), Some(first.max(second)));
        assert!(converge(&mut world, Duration::from_secs(2)) < BLINK);
        world.run_for(Duration::from_secs(2));
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_router_that_stops_in_order_leaves_nothing_behind() {
    for_seeds(30, |seed| {
        let mut world = fabric(seed);
        assert_all_pairs_talk(&mut world);
        // A dead reflector takes everything with it; that is another scenario.
        let site = 1 + pick(seed, 3);

        world.shutdown(site);

        let took = world.run_until(Duration::from_secs(2), |world| world.is_unknown(home(site)));
        assert!(took.is_some_and(|took| took < BLINK), "{took:?}");
        converge(&mut world, BLINK);
        world.run_for(Duration::from_secs(1));
        world.kill(site);
        world.run_for(Duration::from_secs(20));
        assert!(
            world.converged(),
            "I14: what a stopped router owned comes back"
        );
        for (at, other) in world.sites.iter().enumerate().filter(|(_, other)| other.up) {
            let overlay = sam_testkit::topology::overlay(site);
            let left = other
                .router
                .rib_prefixes()
                .iter()
                .any(|prefix| prefix.addr() == overlay);
            assert!(!left, "I14: site {at} holds the marker of a stopped router");
        }
        let id = world.probe(home(0), home(site));
        world.run_for(Duration::from_secs(2));
        assert!(!world.delivered.contains_key(&id));
    });
}

/// Asserts that the losing router raises the alarm.
fn assert_both_are_told(world: &World, address: Ipv4Addr, claimants: [usize; 2]) {
    let loser = claimants[0].max(claimants[1]);
    let alarm = world.sites[loser].events.iter().any(|event| {
        matches!(event, sam_router::Event::DuplicateOwner { address: of, nodes } if *of == address && nodes.len() == 2)
    });
    assert!(alarm, "site {loser} does not tell about the duplicate");
}
