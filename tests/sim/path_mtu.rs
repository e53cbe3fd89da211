//! Paths that swallow long packets and say nothing: found out while a transfer waits for its second retransmission.

use std::time::Duration;

use sam_router::Facts;
use sam_testkit::World;
use sam_testkit::topology::{home, node_id};

use crate::{fabric, for_seeds};

/// Largest inner packet of a WireGuard tunnel over an underlay of 1500 bytes.
const WIDE: u16 = 1440;
/// Length of the payload of the outer datagram less that of the inner packet: headers and tag of WireGuard.
const SEALED: usize = 32;
/// Time between two long packets of a transfer.
const SPACING: Duration = Duration::from_millis(50);
/// A TCP with a short round trip sends again after 200 ms, and then after 400 ms. A busy host needs some of this.
const SECOND_RETRANSMISSION: Duration = Duration::from_millis(400);
/// Exactness of what is learnt, and padding of WireGuard.
const NARROWER: u16 = 8 + 16;

#[test]
fn a_black_hole_is_found_out_before_a_second_retransmission() {
    for_seeds(40, |seed| {
        let mut world = fabric(seed);
        world.faults.jitter = Duration::from_micros(seed % 4 * 100);
        world.faults.loss_per_mille = seed % 3;
        transfer(&mut world, Duration::from_millis(3000 + seed % 250), |_| {
            false
        });
        assert_eq!(mtu(&world), WIDE);

        let carried = [1240, 1040, 1400, 800][usize::from(u8::try_from(seed % 4).expect("small"))];
        world.faults.swallowed_above = usize::from(carried) + SEALED;
        let took = transfer(&mut world, SECOND_RETRANSMISSION, |world| {
            mtu(world) <= carried
        });
        assert!(
            took.is_some(),
            "{} bytes in force, {carried} carried",
            mtu(&world)
        );

        transfer(&mut world, Duration::from_secs(5), |_| false);
        let found = mtu(&world);
        assert!(
            (carried - NARROWER..=carried).contains(&found),
            "{found} of {carried}"
        );
        world.faults.loss_per_mille = 0;
        let id = world.long_probe(home(1), home(2), found.into());
        world.run_for(Duration::from_secs(1));
        assert!(
            world.delivered.contains_key(&id),
            "what is said to pass passes"
        );
    });
}

#[test]
fn an_outage_and_chance_losses_lower_nothing() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        world.faults.loss_per_mille = 20;
        transfer(&mut world, Duration::from_secs(20), |_| false);
        world.faults.loss_per_mille = 0;
        world.faults.cut(1, 2);
        transfer(&mut world, Duration::from_millis(1500), |_| false);
        world.faults.heal(1, 2);
        transfer(&mut world, Duration::from_secs(5), |_| false);
        assert_eq!(mtu(&world), WIDE);
    });
}

/// Lets long packets flow from site 1 to site 2 until something is so, but no longer than `limit`; returns when it was.
fn transfer(
    world: &mut World,
    limit: Duration,
    is_over: impl Fn(&World) -> bool,
) -> Option<Duration> {
    let start = world.elapsed();
    while world.elapsed() < start + limit {
        world.long_probe(home(1), home(2), WIDE.into());
        let over = world.run_until(SPACING, |world| is_over(world));
        if over.is_some() {
            return Some(world.elapsed() - start);
        }
    }
    None
}

/// Returns what the tunnel from site 1 to site 2 carries.
fn mtu(world: &World) -> u16 {
    let view = world.sites[1].router.tunnels(&Facts::default(), world.now);
    let mut rows = view.tunnels.iter();
    let row = rows.find(|row| row.node.id == node_id(2));
    row.expect("a full mesh of tunnels").mtu
}
