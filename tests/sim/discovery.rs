//! Hosts that nobody configured: heard on their LAN, reached from everywhere, followed when they move.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::Event;
use sam_router::config::ArpDiscovery;
use sam_testkit::topology::home;
use sam_testkit::{Cache, Host, World};

use crate::{assert_all_pairs_talk, discovering, for_seeds, pick};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 77);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 78);
/// Question and answer on the LAN, and a BGP message across the fabric; nothing else may take time.
const BLINK: Duration = Duration::from_millis(50);
/// Three questions to a host that has left, 200 ms apart, and as long for the answer to the last.
const MOVE: Duration = Duration::from_millis(900);

#[test]
fn a_host_that_speaks_is_reached_from_everywhere_within_a_blink() {
    for_seeds(30, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        world.plug(Host::new(ADDRESS), site);
        world.speak_up(ADDRESS);

        assert!(known(&mut world, ADDRESS, site, BLINK) < BLINK);
        world.believe(site, ADDRESS);
        assert_all_pairs_talk(&mut world);
        world.assert_clean();
    });
}

#[test]
fn a_host_that_says_nothing_is_found_by_the_sweep() {
    for_seeds(4, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        world.plug(Host::new(ADDRESS), site);

        // 250 addresses, ten per second; the first round began when the fabric came up, the next one begins after 300 s.
        known(&mut world, ADDRESS, site, Duration::from_secs(340));
    });
}

#[test]
fn a_host_that_says_nothing_is_found_when_another_site_wants_it() {
    for_seeds(10, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        let far = (site + 1 + pick(seed / 4, 3)) % 4;
        world.plug(Host::new(ADDRESS), site);

        world.probe(home(far), ADDRESS);

        let limit = 2 * BLINK;
        assert!(known(&mut world, ADDRESS, site, limit) < limit);
        world.believe(site, ADDRESS);
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn a_host_that_leaves_is_forgotten_and_others_stay() {
    for_seeds(4, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        for address in [ADDRESS, SECOND] {
            world.plug(Host::new(address), site);
            world.speak_up(address);
            known(&mut world, address, site, BLINK);
            world.believe(site, address);
        }

        drop(world.unplug(ADDRESS));
        let gone = world.run_until(Duration::from_secs(320), |world| world.is_unknown(ADDRESS));

        let gone = gone.expect("forgotten");
        assert!(gone > Duration::from_secs(270), "{gone:?}");
        world.disbelieve(site, ADDRESS);
        world.run_for(Duration::from_secs(320));
        assert_eq!(world.owner_at(0, SECOND), Some(site));
    });
}

#[test]
fn a_lan_that_falls_silent_or_is_cut_off_withdraws_no_more_than_it_must() {
    for_seeds(4, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        world.plug(Host::new(ADDRESS), site);
        world.speak_up(ADDRESS);
        known(&mut world, ADDRESS, site, BLINK);
        world.believe(site, ADDRESS);

        // Behind the switch everything is dark.
        let hosts = [home(site), ADDRESS].map(|address| world.unplug(address));
        world.run_for(Duration::from_secs(1_200));
        assert_eq!(world.owner_at(pick(seed / 4, 4), ADDRESS), Some(site));
        for host in hosts {
            world.plug(host, site);
        }

        world.set_lan(site, false);
        let gone = world.run_until(BLINK, |world| world.is_unknown(ADDRESS));
        assert!(gone.is_some(), "nothing is originated behind a closed gate");
        world.run_for(Duration::from_secs(60));
        world.set_lan(site, true);
        known(&mut world, ADDRESS, site, BLINK);
        world.run_for(Duration::from_secs(320));
        assert_eq!(world.owner_at(0, ADDRESS), Some(site));
    });
}

#[test]
fn a_host_that_moves_is_followed() {
    for_seeds(30, |seed| {
        let (mut world, from) = (listening(seed), pick(seed, 4));
        let to = (from + 1 + pick(seed / 4, 3)) % 4;
        world.plug(Host::new(ADDRESS), from);
        world.speak_up(ADDRESS);
        known(&mut world, ADDRESS, from, BLINK);
        world.believe(from, ADDRESS);
        assert_all_pairs_talk(&mut world);

        world.replug(ADDRESS, to, Cache::Forgotten);
        world.disbelieve(from, ADDRESS);
        world.speak_up(ADDRESS);

        let took = known(&mut world, ADDRESS, to, MOVE);
        assert!(took < MOVE, "{took:?}");
        world.believe(to, ADDRESS);
        let mut events = world.sites.iter().flat_map(|site| &site.events);
        assert!(!events.any(is_duplicate), "a move is no alarm");
        world.run_for(Duration::from_secs(6));
        assert_all_pairs_talk(&mut world);
    });
}

#[test]
fn an_address_that_lives_elsewhere_is_not_taken_by_who_speaks_for_it() {
    for_seeds(20, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        let liar = (site + 1 + pick(seed / 4, 3)) % 4;
        world.plug(Host::new(ADDRESS), site);
        world.speak_up(ADDRESS);
        known(&mut world, ADDRESS, site, BLINK);
        world.believe(site, ADDRESS);
        let mut owners = vec![site; 4];

        // One claims what is configured elsewhere, one what is heard elsewhere.
        for victim in [home(site), ADDRESS] {
            let mut thief = Host::new(victim);
            thief.mac = [2, 0xBA, 0xD0, 0, 0, victim.octets()[3]];
            let announcement = thief.announcement();
            world.plug(thief, liar);
            for _ in 0..10 {
                world.shout(liar, announcement.clone());
                world.run_for(Duration::from_secs(3));
                let seen = (0..4).map(|at| world.owner_at(at, victim));
                owners.extend(seen.map(|owner| owner.expect("somebody owns it")));
            }
        }

        assert!(owners.iter().all(|owner| *owner == site), "{owners:?}");
        let told = |name: &str| {
            world.sites[liar]
                .events
                .iter()
                .any(|event| event.name() == name)
        };
        assert!(told("discovery-refused"));
        let mut events = world.sites.iter().flat_map(|site| &site.events);
        assert!(
            events.any(is_duplicate),
            "two hosts have it: that is an alarm"
        );
    });
}

#[test]
fn a_storm_of_forged_senders_takes_no_address_and_little_time() {
    for_seeds(4, |seed| {
        let (mut world, site) = (listening(seed), pick(seed, 4));
        world.plug(Host::new(ADDRESS), site);
        for index in 0..1_000_u32 {
            let [_, _, high, low] = index.to_be_bytes();
            let mut forged = Host::new(Ipv4Addr::new(10, 77, 60, 2 + low % 250));
            forged.mac = [2, 0xBA, 0xD0, 0, high, low];
            world.shout(site, forged.announcement());
        }
        world.run_for(Duration::from_secs(2));

        let homes = world.sites[site].router.discovery(world.now).homes;
        // Who is there may have been asked by then, and answered.
        let forged = homes.iter().filter(|home| home.mac.starts_with("02:ba:d0"));
        assert_eq!(forged.count(), 0, "{homes:?}");
        world.run_for(Duration::from_secs(10));
        world.speak_up(ADDRESS);
        known(&mut world, ADDRESS, site, Duration::from_secs(2));
        for last in (2..252).filter(|last| Ipv4Addr::new(10, 77, 60, *last) != ADDRESS) {
            let address = Ipv4Addr::new(10, 77, 60, last);
            let configured = (0..4).find(|at| home(*at) == address);
            assert_eq!(world.owner_at(0, address), configured, "{address}");
        }
    });
}

fn is_duplicate(event: &Event) -> bool {
    matches!(event, Event::DuplicateOwner { address, .. } if *address == ADDRESS)
}

/// Four sites that listen to their LANs.
fn listening(seed: u64) -> World {
    discovering(World::new(4, seed), &ArpDiscovery::default())
}

/// Runs until every router takes `site` for the owner; returns how long that took.
fn known(world: &mut World, address: Ipv4Addr, site: usize, limit: Duration) -> Duration {
    let took = world.run_until(limit, |world| {
        (0..4).all(|at| world.owner_at(at, address) == Some(site))
    });
    took.unwrap_or_else(|| panic!("{address} is not known at site {site} within {limit:?}"))
}
