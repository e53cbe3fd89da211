//! Of two routers on a LAN the one that is cut off from the other sites gives way, by whichever condition tells it.

use std::time::Duration;

use sam_router::config::{ActiveWhen, Capture, Track};
use sam_testkit::World;
use sam_testkit::topology::home;

use crate::{come_up, for_seeds};

const FIRST: usize = 0;
const SECOND: usize = 1;
const FAR: usize = 2;
const ELECTION: Duration = Duration::from_millis(1_300);
/// Hold time of BGP.
const HOLD: Duration = Duration::from_secs(9);
/// Until WireGuard gives up, where BFD does not tell earlier.
const GIVEN_UP: Duration = Duration::from_secs(220);

#[test]
fn a_master_without_any_session_to_other_sites_gives_way_where_that_is_tracked() {
    for_seeds(5, |seed| {
        let track = Track {
            bgp: 100,
            tunnels: 0,
            engine: 0,
        };
        gives_way(seed, track, HOLD);
    });
}

#[test]
fn a_master_without_any_tunnel_to_other_sites_gives_way_unless_told_otherwise() {
    for_seeds(2, |seed| gives_way(seed, Track::default(), GIVEN_UP));
}

fn gives_way(seed: u64, track: Track, noticed: Duration) {
    let mut world = World::with_pair(4, seed);
    let mut config = world.sites[FIRST].config.clone();
    if let Capture::ProxyArp { active_when, .. } = &mut config.local.capture
        && let ActiveWhen::Vrrp(vrrp) = active_when
    {
        vrrp.track = track;
    }
    world.reload(FIRST, config);
    let mut world = come_up(world);
    world.run_for(Duration::from_secs(10));
    assert!(world.sites[FIRST].gate_open());

    world.isolate(FIRST);
    let took = world.run_until(noticed + 2 * ELECTION, |world| acts(world, SECOND));
    assert!(took.is_some(), "it keeps the role");
    world.run_for(Duration::from_millis(50));
    assert!(!acts(&world, FIRST));
    assert_eq!(world.owner_at(FAR, home(FIRST)), Some(SECOND));

    world.reconnect(FIRST);
    world.run_for(Duration::from_secs(60));
    assert!(acts(&world, SECOND) && !acts(&world, FIRST), "no way back");
}

fn acts(world: &World, site: usize) -> bool {
    world.sites[site].up && world.sites[site].gate_open()
}
