//! Whatever happens, in any order: in the end all routers agree, and every packet finds its way.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::topology::{home, node_id};
use sam_testkit::{Cache, Faults, Host, Rng, World};

use crate::{assert_all_pairs_talk, converge, for_seeds};

/// Things that happen in one run.
const HAPPENINGS: u64 = 12;
/// Addresses that come and go.
const ADDRESSES: u64 = 4;

#[test]
fn whatever_happens_the_fabric_comes_to_rest_at_the_truth() {
    for_seeds(108, |seed| {
        let mut rng = Rng::new(!seed);
        let reflectors: &[usize] = [&[0][..], &[0, 1], &[]][pick(&mut rng, 3)];
        let mut world = World::with_reflectors(4, reflectors, seed);
        world.run_for(Duration::from_millis(rng.below(4000)));

        for _ in 0..HAPPENINGS {
            happen(&mut world, &mut rng);
            world.run_for(Duration::from_millis(
                [1, 30, 1000, 12_000][pick(&mut rng, 4)],
            ));
        }

        calm_down(&mut world);
        converge(&mut world, Duration::from_secs(120));
        world.run_for(Duration::from_secs(30));
        assert!(world.converged(), "the fabric does not stay at rest");
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

/// Lets one thing happen that operators, cables, hosts or the underlay may do.
fn happen(world: &mut World, rng: &mut Rng) {
    let site = pick(rng, 4);
    let address = Ipv4Addr::new(
        10,
        77,
        60,
        100 + u8::try_from(rng.below(ADDRESSES)).expect("few"),
    );
    match rng.below(18) {
        0..=4 => move_somewhere(world, address, site, rng),
        5 => disown(world, address),
        // A second claim, by mistake.
        6 if world.sites[site].up => world.announce(site, address),
        7 if world.sites[site].up => world.kill(site),
        7 | 8 if !world.sites[site].up => world.restart(site),
        8 | 9 => world.isolate(site),
        10 => world.reconnect(site),
        11 => world.set_lan(site, !world.sites[site].lan_up),
        12 => {
            world.faults.loss_per_mille = rng.below(80);
            world.faults.jitter = Duration::from_millis(rng.below(60));
            world.faults.duplicate_per_mille = rng.below(80);
        }
        13 => reload(world, site, address),
        14 => reload_reflectors(world, rng),
        15 if world.sites[site].up => {
            world.shutdown(site);
            world.run_for(Duration::from_millis(rng.below(100)));
            world.kill(site);
        }
        // A host appears where nobody expects it, or talks.
        16 if world.site_of(address).is_some() => world.replug(address, site, Cache::Kept),
        _ if world.site_of(address).is_some() => {
            world.speak_up(address);
            world.probe(address, home(site));
        }
        _ => {}
    }
}

/// Moves a host to a site, or lets it appear there; operators order it in any order, if the routers run.
fn move_somewhere(world: &mut World, address: Ipv4Addr, to: usize, rng: &mut Rng) {
    if !world.sites[to].up {
        return;
    }
    let from = world.site_of(address);
    match from {
        Some(_) => world.replug(address, to, Cache::Forgotten),
        None => world.plug(Host::new(address), to),
    }
    if rng.chance(500) {
        world.speak_up(address);
    }
    let announce_first = rng.chance(500);
    if announce_first {
        world.announce(to, address);
    }
    world.run_for(Duration::from_millis(rng.below(20)));
    for old in (0..4).filter(|site| *site != to) {
        if world.sites[old].up && world.sites[old].told.contains(&address) {
            world.withdraw(old, address);
        }
    }
    if !announce_first {
        world.announce(to, address);
    }
}

/// Takes an address out of use.
fn disown(world: &mut World, address: Ipv4Addr) {
    if world.site_of(address).is_some() {
        drop(world.unplug(address));
    }
    for site in 0..4 {
        if world.sites[site].up && world.sites[site].told.contains(&address) {
            world.withdraw(site, address);
        }
    }
}

/// Reloads the configuration, changed or not.
fn reload(world: &mut World, site: usize, address: Ipv4Addr) {
    if !world.sites[site].up {
        return;
    }
    let mut config = world.sites[site].config.clone();
    if !config.local.owned.remove(&address) && !world.sites[site].told.contains(&address) {
        config.local.owned.insert(address);
    }
    world.reload(site, config);
}

/// Changes who reflects, on one router after the other.
fn reload_reflectors(world: &mut World, rng: &mut Rng) {
    world.discord = true;
    let sets = [&[0][..], &[1], &[0, 1], &[]];
    let reflectors = sets[pick(rng, 4)];
    for site in 0..4 {
        if world.sites[site].up {
            let mut config = world.sites[site].config.clone();
            config.fabric.bgp.route_reflectors = reflectors.iter().map(|at| node_id(*at)).collect();
            world.reload(site, config);
            world.run_for(Duration::from_millis(rng.below(100)));
        }
    }
}

/// Lets operators repair everything: all routers run, all links work, every address is owned where its host is.
fn calm_down(world: &mut World) {
    world.faults = Faults::default();
    let fabric = world.sites[0].config.fabric.clone();
    for site in 0..4 {
        let mut config = world.sites[site].config.clone();
        config.fabric = fabric.clone();
        if world.sites[site].up {
            world.reload(site, config);
        } else {
            world.sites[site].config = config;
        }
        if !world.sites[site].up {
            world.restart(site);
        }
        if !world.sites[site].lan_up {
            world.set_lan(site, true);
        }
    }
    for site in 0..4 {
        let told: Vec<Ipv4Addr> = world.sites[site].told.iter().copied().collect();
        for address in told {
            match world.site_of(address) {
                Some(at) if at == site => {}
                Some(_) | None => world.withdraw(site, address),
            }
        }
        let hosts: Vec<Ipv4Addr> = world.sites[site]
            .hosts
            .iter()
            .map(|host| host.address)
            .collect();
        for address in hosts {
            if !world.sites[site].told.contains(&address) {
                world.announce(site, address);
            }
        }
    }
}

fn pick(rng: &mut Rng, count: u64) -> usize {
    usize::try_from(rng.below(count)).expect("few")
}
