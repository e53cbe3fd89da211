//! The two routers of a LAN are the reflectors of the fabric: what the others know of each other they know from them.
//!
//! ```text
//!   host ── LAN ──┬── router 0, reflector ──┬── router 2 ── host
//!                 └── router 1, reflector ──┴── router 3 ── host
//! ```

use std::time::Duration;

use sam_testkit::World;
use sam_testkit::topology::home;

use crate::{come_up, converge, for_seeds, pick};

const PAIR: [usize; 2] = [0, 1];
const OTHERS: [usize; 2] = [2, 3];
/// Hold time of BGP and what follows, with some time besides.
const AFTERMATH: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);

#[test]
fn the_death_and_return_of_either_reflector_takes_no_address_away() {
    for_seeds(10, |seed| {
        let mut world = come_up(World::with_pair_of(4, &PAIR, seed));
        let first = pick(seed, 2);
        for reflector in [first, 1 - first] {
            world.kill(reflector);
            watch(&mut world, AFTERMATH);
            let left = world.owner_at(OTHERS[0], home(PAIR[0]));
            assert_eq!(
                left,
                Some(1 - reflector),
                "the LAN is claimed by who is left"
            );

            world.restart(reflector);
            watch(&mut world, AFTERMATH);
            converge(&mut world, Duration::from_secs(30));
        }
    });
}

/// Lets time pass in which both other sites must know each other's addresses, and those who run must know them too.
fn watch(world: &mut World, time: Duration) {
    for _ in 0..time.as_millis() / LOOK.as_millis() {
        world.run_for(LOOK);
        for (at, of) in [(2, 3), (3, 2)] {
            assert_eq!(world.owner_at(at, home(of)), Some(of), "at site {at}");
        }
    }
}
