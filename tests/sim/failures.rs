//! What goes wrong: loss, reordering, partition, death of a router.

use std::time::Duration;

use sam_testkit::World;
use sam_testkit::world::home;

use crate::{assert_invariants, converged, for_seeds};

#[test]
fn lost_reordered_and_duplicated_messages_delay_convergence_but_do_not_prevent_it() {
    for_seeds(15, |seed| {
        let mut world = World::new(4, seed);
        world.faults.loss_per_mille = 50;
        world.faults.duplicate_per_mille = 50;
        world.faults.jitter = Duration::from_millis(40);
        let took = world.run_until(Duration::from_secs(60), World::converged);
        assert!(took.is_some(), "no convergence within 60 s at 5 % loss");
        assert_invariants(&world);
    });
}

#[test]
fn a_partitioned_site_is_withdrawn_and_comes_back_when_the_cut_heals() {
    for_seeds(10, |seed| {
        let mut world = converged(World::new(4, seed));
        for other in 0..3 {
            world.faults.cut(3, other);
        }
        let gone = world.run_until(Duration::from_secs(15), |world| {
            (0..3).all(|site| world.sites[site].router.owner_of(home(3)).is_none())
        });
        assert!(
            gone.is_some(),
            "a dead session still owns addresses after 15 s"
        );
        for other in 0..3 {
            world.faults.heal(3, other);
        }
        assert!(
            world
                .run_until(Duration::from_secs(60), World::converged)
                .is_some()
        );
        world.run_for(Duration::from_secs(20));
        let id = world.probe(0, home(0), home(3));
        world.run_for(Duration::from_secs(2));
        assert!(
            world.arrived(id).is_some(),
            "healed, but packets do not flow"
        );
        assert_invariants(&world);
    });
}

#[test]
fn a_killed_router_comes_back_with_what_it_owned() {
    for_seeds(5, |seed| {
        let mut world = converged(World::new(4, seed));
        let victim = usize::try_from(seed % 4).expect("small");
        world.kill(victim);
        world.run_for(Duration::from_secs(12));
        world.restart(victim);
        let took = world.run_until(Duration::from_secs(60), World::converged);
        assert!(took.is_some(), "site {victim} does not come back");
        assert_invariants(&world);
    });
}
