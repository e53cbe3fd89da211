//! What goes wrong: loss, reordering, partition, death and return of routers.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::topology::home;
use sam_testkit::{Cache, Host, World};

use crate::{assert_all_pairs_talk, come_up, converge, fabric, for_seeds, pick};

/// Hold time, connect retry and handshake retry, each with jitter.
const RECOVERY: Duration = Duration::from_secs(60);
/// Hold time of 9 s and what it takes to tell.
const DEATH: Duration = Duration::from_secs(15);

#[test]
fn lost_reordered_and_duplicated_messages_delay_convergence_but_do_not_prevent_it() {
    for_seeds(60, |seed| {
        let mut world = World::new(4, seed);
        make_hostile_weather(&mut world);

        converge(&mut world, RECOVERY);
        for round in 0..3 {
            let from = pick(seed + round, 4);
            let Some(address) = world.sites[from].told.first().copied() else {
                continue;
            };
            let to = (from + 1 + pick(seed / 4, 3)) % 4;
            world.move_host(address, from, to, Cache::Forgotten);
            converge(&mut world, RECOVERY);
        }
        world.faults = Default::default();
        world.run_for(Duration::from_secs(20));
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_partitioned_site_is_withdrawn_and_comes_back_when_the_cut_heals() {
    for_seeds(30, |seed| {
        let mut world = fabric(seed);
        world.isolate(3);
        let gone = world.run_until(DEATH, |world| {
            (0..3).all(|site| world.owner_at(site, home(3)).is_none())
                && (0..3).all(|site| world.owner_at(3, home(site)).is_none())
        });
        assert!(gone.is_some(), "a dead session still owns addresses");
        // Short, longer than the hold time, longer than a WireGuard session lives.
        world.run_for(Duration::from_secs([1, 60, 200][pick(seed, 3)]));

        world.reconnect(3);

        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_short_cut_is_not_noticed_by_anybody() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let owners = world.sites[0].snapshot.generation;
        world.isolate(1 + pick(seed, 3));
        world.run_for(Duration::from_secs(2));

        (1..4).for_each(|site| world.reconnect(site));

        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_eq!(
            world.sites[0].snapshot.generation, owners,
            "nothing changed"
        );
    });
}

#[test]
fn what_is_announced_during_a_partition_is_known_when_it_heals() {
    for_seeds(40, |seed| {
        let mut world = fabric(seed);
        let apart = 1 + pick(seed, 3);
        let other = 1 + (apart + pick(seed / 3, 2)) % 3;
        world.isolate(apart);
        world.run_for(Duration::from_secs(seed % 20));
        let inside = Ipv4Addr::new(10, 77, 60, 70);
        let contested = Ipv4Addr::new(10, 77, 60, 71);

        // Both parts of the fabric go on.
        world.plug(Host::new(inside), apart);
        world.announce(apart, inside);
        world.announce(apart, contested);
        world.announce(other, contested);
        drop(world.unplug(home(other)));
        world.withdraw(other, home(other));
        world.run_for(Duration::from_secs(seed % 7));
        world.reconnect(apart);

        converge(&mut world, RECOVERY);
        assert_eq!(world.owner_at(0, contested), Some(apart.min(other)));
        assert!(world.is_unknown(home(other)));
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_killed_router_comes_back_with_what_it_owned_and_a_higher_sequence() {
    for_seeds(30, |seed| {
        let mut world = fabric(seed);
        let victim = 1 + pick(seed, 3);
        let ordered = Ipv4Addr::new(10, 77, 60, 80);
        world.plug(Host::new(ordered), victim);
        world.announce(victim, ordered);
        converge(&mut world, Duration::from_secs(2));
        let before = [home(victim), ordered].map(|address| world.sequence(0, address));
        world.kill(victim);
        // At once: the others still hold what it said before. Later: they have forgotten it.
        world.run_for(Duration::from_secs([0, 5, 12][pick(seed / 3, 3)]));

        world.restart(victim);

        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        let after = [home(victim), ordered].map(|address| world.sequence(0, address));
        assert!(
            after > before && after[1] > before[1],
            "{before:?} {after:?}"
        );
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn an_address_that_moved_while_its_router_was_dead_stays_moved() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let (victim, to) = (1 + pick(seed, 3), 1 + pick(seed + 1, 3));
        world.kill(victim);
        world.replug(home(victim), to, Cache::Forgotten);
        world.announce(to, home(victim));
        // The dead router's configuration is corrected before it starts.
        world.sites[victim].config.local.owned.remove(&home(victim));
        world.sites[victim].told.remove(&home(victim));
        converge(&mut world, DEATH);

        world.restart(victim);

        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_all_pairs_talk(&mut world);
    });
}

/// The only reflector is a single point of failure of the control plane, as in BGP without graceful restart: leaves
/// forget each other's addresses with its session. Their own hosts stay reachable on their LANs.
#[test]
fn without_its_only_reflector_a_fabric_forgets_and_recovers_when_it_returns() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        world.kill(0);
        let forgotten = world.run_until(DEATH, |world| {
            (1..4).all(|site| world.owner_at(site, home(1 + site % 3)).is_none())
        });
        assert!(forgotten.is_some(), "a dead session still owns addresses");
        assert!((1..4).all(|site| world.owner_at(site, home(site)) == Some(site)));

        world.run_for(Duration::from_secs(seed % 40));
        world.restart(0);

        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn the_death_of_one_of_two_reflectors_is_not_noticed_by_hosts() {
    for_seeds(25, |seed| {
        let mut world = come_up(World::with_reflectors(4, &[0, 1], seed));
        assert_all_pairs_talk(&mut world);
        let victim = pick(seed, 2);
        world.kill(victim);

        let pings: Vec<u32> = (0..150)
            .map(|_| {
                let id = world.ping(home(2), home(3));
                world.run_for(Duration::from_millis(100));
                id
            })
            .collect();
        world.run_for(Duration::from_secs(1));

        assert!(
            pings.iter().all(|id| world.answered.contains(id)),
            "hosts noticed"
        );
        world.move_host(home(3), 3, 2, Cache::Forgotten);
        converge(&mut world, Duration::from_secs(1));
        world.restart(victim);
        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn a_lan_that_goes_down_takes_its_addresses_with_it_and_brings_them_back() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let site = pick(seed, 4);

        world.set_lan(site, false);

        converge(&mut world, Duration::from_secs(1));
        assert!(world.is_unknown(home(site)));
        world.run_for(Duration::from_secs(seed % 30));
        world.set_lan(site, true);
        converge(&mut world, Duration::from_secs(1));
        world.run_for(Duration::from_secs(6));
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_seed_replays_step_by_step() {
    for_seeds(5, |seed| {
        let run = || {
            let mut world = World::new(4, seed);
            make_hostile_weather(&mut world);
            world.run_for(Duration::from_secs(5));
            world.isolate(2);
            world.run_for(Duration::from_secs(20));
            world.reconnect(2);
            world.run_for(Duration::from_secs(10));
            world.fingerprint
        };
        assert_eq!(run(), run());
    });
}

fn make_hostile_weather(world: &mut World) {
    world.faults.loss_per_mille = 50;
    world.faults.duplicate_per_mille = 50;
    world.faults.jitter = Duration::from_millis(40);
}
