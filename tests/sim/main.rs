//! Whole fabrics on a virtual clock: the same `Router` and `Forwarder` as in production.
//!
//! Every scenario runs for many seeds; `SIM_SEED=n` replays one, `SIM_SEEDS=n` changes how many (default 1000 over
//! all scenarios). The invariants of `sam_testkit::World` are checked after every step.

mod failures;
mod scenarios;

use std::time::Duration;

use sam_testkit::World;

/// Runs `scenario` for its share of seeds; a failing seed is named.
fn for_seeds(share: u64, scenario: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let seeds = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, total) => 0..(total.unwrap_or(1000) * share).div_ceil(100).max(1),
    };
    for seed in seeds {
        if let Err(cause) = std::panic::catch_unwind(|| scenario(seed)) {
            eprintln!("seed {seed} failed; replay with SIM_SEED={seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lets a fresh fabric come up.
fn converged(mut world: World) -> World {
    let took = world.run_until(Duration::from_secs(30), World::converged);
    assert!(took.is_some(), "four sites do not converge within 30 s");
    world
}

fn assert_invariants(world: &World) {
    assert!(
        world.violations.is_empty(),
        "{}",
        world.violations.join("\n")
    );
}
