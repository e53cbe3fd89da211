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

/// Graceful restart (RFC 4724): leaves believe in each other as long as they answer, until the reflector is back. Only
/// its own addresses go, for they died with it.
#[test]
fn the_death_of_the_only_reflector_is_noticed_by_its_own_hosts_only() {
    for_seeds(30, |seed| {
        let mut world = fabric(seed);
        world.kill(0);
        let outage = Duration::from_secs([0, 3, 12, 60][pick(seed, 4)]);
        let pings = ping_steadily(&mut world, outage);
        if outage > DEATH {
            assert!((1..4).all(|site| world.owner_at(site, home(0)).is_none()));
        }
        assert!(believes_in_others(&world), "after {outage:?}");

        world.restart(0);

        let more = ping_steadily(&mut world, RECOVERY);
        assert!(world.converged());
        let lost: Vec<&u32> = pings.iter().chain(&more).collect();
        assert!(
            lost.iter().all(|id| world.answered.contains(id)),
            "hosts of other sites noticed"
        );
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn an_owner_that_dies_while_the_only_reflector_is_away_is_withheld_and_returns() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        world.kill(0);
        world.run_for(Duration::from_secs(20));
        let victim = 1 + pick(seed, 3);
        let others = || (1..4).filter(|site| *site != victim);

        world.isolate(victim);

        let silent = Duration::from_secs(6);
        let withheld = world.run_until(silent, |world| {
            others().all(|site| world.owner_at(site, home(victim)).is_none())
        });
        assert!(withheld.is_some(), "a dead next hop still owns addresses");
        for (site, other) in others().zip(others().collect::<Vec<_>>().into_iter().rev()) {
            assert_eq!(world.owner_at(site, home(other)), Some(other));
        }
        // Its packet path is back before anybody can tell by BGP.
        world.reconnect(victim);
        let back = world.run_until(Duration::from_secs(40), believes_in_others);
        assert!(back.is_some(), "a next hop that answers is not believed in");
    });
}

#[test]
fn a_reflector_that_never_returns_is_believed_for_the_restart_time_only() {
    for_seeds(10, |seed| {
        let mut world = fabric(seed);
        world.kill(0);
        world.run_for(Duration::from_secs(110));
        assert!(believes_in_others(&world));

        world.run_for(Duration::from_secs(30));

        for site in 1..4 {
            for other in (1..4).filter(|other| *other != site) {
                assert_eq!(world.owner_at(site, home(other)), None);
            }
        }
    });
}

/// The copy of a route that a dead reflector left behind must not hide what the living one tells.
#[test]
fn an_address_that_moves_while_one_of_two_reflectors_is_dead_is_followed_at_once() {
    for_seeds(20, |seed| {
        let mut world = come_up(World::with_reflectors(4, &[0, 1], seed));
        let victim = pick(seed, 2);
        world.kill(victim);
        world.run_for(Duration::from_secs(15));

        // To the lower identifier and to the higher one: neither tie may decide.
        for (address, to) in [(home(3), 2), (home(2), 3)] {
            let from = world.site_of(address).expect("on a LAN");
            world.move_host(address, from, to, Cache::Forgotten);
            let told = |world: &World| {
                let mut sites = (0..4).filter(|site| *site != victim);
                sites.all(|site| world.owner_at(site, address) == Some(to))
            };
            assert!(world.run_until(Duration::from_secs(1), told).is_some());
        }
        world.withdraw(2, home(3));
        let gone = |world: &World| {
            let mut sites = (0..4).filter(|site| *site != victim);
            sites.all(|site| world.owner_at(site, home(3)).is_none())
        };
        assert!(world.run_until(Duration::from_secs(1), gone).is_some());
        world.announce(2, home(3));

        world.restart(victim);
        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_all_pairs_talk(&mut world);
    });
}

/// Nobody is left who reflects: what is known stays while it answers, and moves on when one of both is back.
#[test]
fn the_death_of_both_reflectors_is_noticed_by_their_own_hosts_only() {
    for_seeds(6, |seed| {
        let mut world = come_up(World::with_reflectors(4, &[0, 1], seed));
        // At once, or one after the other with the sessions of the first over or not.
        let between = Duration::from_secs([0, 2, 15][pick(seed, 3)]);
        world.kill(0);
        world.run_for(between);
        world.kill(1);

        let mut pings = ping_steadily(&mut world, DEATH);

        for (site, other) in [(2, 3), (3, 2)] {
            assert_eq!(world.owner_at(site, home(other)), Some(other));
            for dead in [0, 1] {
                assert_eq!(world.owner_at(site, home(dead)), None, "{dead} is dead");
            }
        }
        world.restart(pick(seed, 2));
        pings.extend(ping_steadily(&mut world, Duration::from_secs(5)));
        world.run_for(Duration::from_secs(30));
        assert!(
            pings.iter().all(|id| world.answered.contains(id)),
            "hosts of other sites noticed"
        );
        world.move_host(home(3), 3, 2, Cache::Forgotten);
        let told = |world: &World| (2..4).all(|site| world.owner_at(site, home(3)) == Some(2));
        let moved = world.run_until(Duration::from_secs(2), told);
        assert!(moved.is_some(), "the one that is back reflects");

        world.restart(1 - pick(seed, 2));

        converge(&mut world, RECOVERY);
        world.run_for(Duration::from_secs(20));
        assert!(world.converged());
        assert_all_pairs_talk(&mut world);
    });
}

/// Pings between two sites without reflector ten times a second; returns the numbers.
fn ping_steadily(world: &mut World, duration: Duration) -> Vec<u32> {
    let rounds = duration.as_millis() / 100;
    let ping = |world: &mut World| {
        let id = world.ping(home(2), home(3));
        world.run_for(Duration::from_millis(100));
        id
    };
    let pings = (0..rounds).map(|_| ping(world)).collect();
    world.run_for(Duration::from_secs(1));
    pings
}

/// Whether leaves 1 to 3 name the right owners of each other's addresses.
fn believes_in_others(world: &World) -> bool {
    let pairs = (1..4).flat_map(|site| (1..4).map(move |other| (site, other)));
    let mut pairs = pairs.filter(|(site, other)| site != other);
    pairs.all(|(site, other)| world.owner_at(site, home(other)) == Some(other))
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
