//! What operators do: bring up, add, move, withdraw, reload.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::world::home;
use sam_testkit::{Host, World};

use crate::{assert_invariants, converged, for_seeds};

#[test]
fn four_sites_come_up_and_every_pair_of_hosts_talks() {
    for_seeds(30, |seed| {
        let mut world = World::new(4, seed);
        world.faults.jitter = Duration::from_millis(3);
        let mut world = converged(world);
        world.run_for(Duration::from_secs(1));
        assert_all_pairs_talk(&mut world);
        assert_invariants(&world);
    });
}

#[test]
fn an_added_address_is_reached_from_everywhere() {
    for_seeds(10, |seed| {
        let mut world = converged(World::new(4, seed));
        let address = Ipv4Addr::new(10, 77, 60, 77);
        world.sites[2].hosts.push(Host::new(address));
        world.announce(2, address);
        let took = world.run_until(Duration::from_secs(2), World::converged);
        assert!(
            took.is_some_and(|took| took < Duration::from_millis(200)),
            "took {took:?}"
        );
        assert_all_pairs_talk(&mut world);
        assert_invariants(&world);
    });
}

#[test]
fn a_moved_address_is_followed_by_every_site_within_a_blink() {
    for_seeds(15, |seed| {
        let mut world = converged(World::new(4, seed));
        world.run_for(Duration::from_secs(1));
        assert_all_pairs_talk(&mut world);
        let to = 1 + usize::try_from(seed % 2).expect("small");
        world.move_host(home(3), 3, to);
        let took = world.run_until(Duration::from_secs(2), World::converged);
        assert!(
            took.is_some_and(|took| took < Duration::from_millis(200)),
            "took {took:?}"
        );
        world.run_for(Duration::from_secs(6));
        assert_all_pairs_talk(&mut world);
        assert_invariants(&world);
    });
}

#[test]
fn a_withdrawn_address_is_unknown_everywhere_and_never_answered() {
    for_seeds(10, |seed| {
        let mut world = converged(World::new(4, seed));
        world.sites[3].hosts.clear();
        world.withdraw(3, home(3));
        let took = world.run_until(Duration::from_secs(2), |world| world.unknown(home(3)));
        assert!(took.is_some(), "still known somewhere");
        world.run_for(Duration::from_secs(20));
        let id = world.probe(0, home(0), home(3));
        world.run_for(Duration::from_secs(5));
        assert!(world.arrived(id).is_none());
        assert_invariants(&world);
    });
}

#[test]
fn an_equal_configuration_changes_nothing() {
    for_seeds(2, |seed| {
        let mut world = converged(World::new(3, seed));
        world.run_for(Duration::from_secs(1));
        let before = world.sites[1].outputs;
        let config = world.sites[1].config.clone();
        world.reload(1, config);
        assert_eq!(
            world.sites[1].outputs, before,
            "an equal configuration caused outputs"
        );
    });
}

#[test]
fn an_address_added_by_reload_is_followed() {
    for_seeds(3, |seed| {
        let mut world = converged(World::new(3, seed));
        let address = Ipv4Addr::new(10, 77, 60, 99);
        let mut config = world.sites[1].config.clone();
        config.local.owned.insert(address);
        world.sites[1].hosts.push(Host::new(address));
        world.reload(1, config);
        assert!(
            world
                .run_until(Duration::from_secs(2), World::converged)
                .is_some()
        );
        assert_all_pairs_talk(&mut world);
        assert_invariants(&world);
    });
}

/// Probes between all hosts of all sites, both ways; a second try covers packets lost while ARP resolves.
fn assert_all_pairs_talk(world: &mut World) {
    let hosts: Vec<(usize, Ipv4Addr)> = (0..world.sites.len())
        .flat_map(|site| {
            let addresses: Vec<Ipv4Addr> = world.sites[site]
                .hosts
                .iter()
                .map(|host| host.address)
                .collect();
            addresses.into_iter().map(move |address| (site, address))
        })
        .collect();
    for &(site, source) in &hosts {
        for &(target, destination) in hosts.iter().filter(|(_, address)| *address != source) {
            let arrived = (0..2).any(|_| {
                let id = world.probe(site, source, destination);
                let done =
                    world.run_until(Duration::from_secs(4), |world| world.arrived(id).is_some());
                if let Some(delivered) = world.arrived(id) {
                    assert_eq!(
                        delivered.site, target,
                        "{destination} was reached at the wrong site"
                    );
                    let ttl = if site == target { 64 } else { 62 };
                    assert_eq!(delivered.ttl, ttl, "I13: one TTL step per router");
                }
                done.is_some()
            });
            assert!(
                arrived,
                "{source} (site {site}) does not reach {destination} (site {target})"
            );
        }
    }
}
