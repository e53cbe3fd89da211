//! Whole fabrics on a virtual clock: the same `Router` and `Forwarder` as in production.
//!
//! Every scenario runs for its share of 1000 seeds; the shares sum up to more than all of them. `authority` draws 1024 of its own. `SIM_SEED=n` replays one,
//! `SIM_SEEDS=n` changes how many there are, `SIM_TRACE=1` shows what the routers tell. The invariants of
//! `sam_testkit` are checked after every step.

mod authority;
mod chaos;
mod discovery;
mod divided;
mod failures;
mod given_away;
mod hostile;
mod live;
mod operations;
mod path_mtu;
mod reflectors;
mod standby;
mod startup;
mod tracked;
mod vrrp;

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::config::{ArpDiscovery, Capture};
use sam_testkit::World;

/// Runs `scenario` for its share of seeds, per mille of all; a failing seed is named.
#[expect(clippy::print_stderr, reason = "how to replay a failing seed")]
fn for_seeds(share: u64, scenario: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, total) => 0..(total.unwrap_or(1000) * share).div_ceil(1000).max(1),
    };
    for seed in seeds {
        if let Err(cause) = std::panic::catch_unwind(|| scenario(seed)) {
            eprintln!("seed {seed} failed; replay with SIM_SEED={seed}, see more with SIM_TRACE=1");
            std::panic::resume_unwind(cause);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Picks one of `count` by a seed.
fn pick(seed: u64, count: usize) -> usize {
    usize::try_from(seed).expect("seeds are small") % count
}

/// Four sites that have come up, and had time to announce what they answer for.
fn fabric(seed: u64) -> World {
    come_up(World::new(4, seed))
}

/// Lets a fresh fabric come up.
fn come_up(mut world: World) -> World {
    let took = world.run_until(Duration::from_secs(30), World::converged);
    assert!(took.is_some(), "no convergence within 30 s");
    world.run_for(Duration::from_secs(6));
    world
}

/// The same with routers that listen to their LANs.
fn discovering(mut world: World, settings: &ArpDiscovery) -> World {
    for site in 0..world.sites.len() {
        let mut config = world.sites[site].config.clone();
        if let Capture::ProxyArp { discovery, .. } = &mut config.local.capture {
            *discovery = Some(settings.clone());
        }
        world.reload(site, config);
    }
    come_up(world)
}

/// Two routers on one LAN and two elsewhere, which listen to their LANs, and ask nobody who says nothing.
fn discovering_pair(seed: u64) -> World {
    let settings = ArpDiscovery {
        sweep: 0,
        ..ArpDiscovery::default()
    };
    discovering(World::with_pair(4, seed), &settings)
}

/// Lets a fabric converge; returns how long that took.
fn converge(world: &mut World, limit: Duration) -> Duration {
    let took = world.run_until(limit, World::converged);
    took.unwrap_or_else(|| panic!("no convergence within {limit:?}"))
}

/// Pings between all hosts, both ways; a second try covers packets that arrived before a MAC was known.
fn assert_all_pairs_talk(world: &mut World) {
    let hosts: Vec<(usize, Ipv4Addr)> = (0..world.sites.len())
        .flat_map(|site| {
            world.sites[site]
                .hosts
                .iter()
                .map(move |host| (site, host.address))
        })
        .collect();
    for &(site, source) in &hosts {
        for &(far, destination) in hosts.iter().filter(|(_, address)| *address != source) {
            let arrived = (0..2).any(|_| {
                let id = world.ping(source, destination);
                let limit = Duration::from_secs(4);
                let done = world.run_until(limit, |world| world.answered.contains(&id));
                done.is_some() && world.delivered[&id].site == far
            });
            assert!(
                arrived,
                "{source} (site {site}) does not reach {destination} (site {far})"
            );
        }
    }
}
