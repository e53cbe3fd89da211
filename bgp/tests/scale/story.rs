//! What happens to a fabric of some size, and what each step takes.

use std::fmt;
use std::time::{Duration, Instant};

use crate::world::{REFLECTORS, World};

/// Addresses of each router.
pub(crate) const ADDRESSES: usize = 100;
/// Routers that keep what they hear.
const WITNESSES: usize = 40;
/// Until BFD notices.
const DETECTION: Duration = Duration::from_millis(900);
/// Longer than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one step took.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) routers: usize,
    pub(crate) what: &'static str,
    /// Until the last best path changed.
    pub(crate) time: Duration,
    pub(crate) updates: usize,
    /// Routes in them.
    pub(crate) announced: usize,
    pub(crate) withdrawn: usize,
    /// Best paths that lead elsewhere than before, where one followed the other.
    pub(crate) moved: usize,
}

impl Row {
    /// What was counted since the last time; `from` is when it began.
    fn take(world: &mut World, routers: usize, what: &'static str, from: Instant) -> Self {
        let counts = world.take_counts();
        Self {
            routers,
            what,
            time: counts.last_change.map_or(Duration::ZERO, |at| at - from),
            updates: counts.updates,
            announced: counts.announced,
            withdrawn: counts.withdrawn,
            moved: counts.moved,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} | {} | {} | {} | {} | {} | {}",
            self.routers,
            self.what,
            self.time.as_millis(),
            self.updates,
            self.announced,
            self.withdrawn,
            self.moved
        )
    }
}

/// Tells the story of a fabric with so many routers beside the reflectors.
pub(crate) fn tell(routers: usize) -> Vec<Row> {
    let mut world = World::new(routers, ADDRESSES, WITNESSES);
    let mut rows = Vec::new();
    let all = routers * ADDRESSES;
    let mut step = |world: &mut World, what, from: Instant, routes: usize| {
        rows.push(Row::take(world, routers, what, from));
        world.check(routes);
        world.now()
    };

    let mut at = world.now();
    (0..routers + REFLECTORS).for_each(|node| world.start(node));
    world.run_for(PATIENCE);
    at = step(&mut world, "all start", at, all);

    world.kill(0);
    world.run_for(PATIENCE);
    at = step(&mut world, "a reflector is lost", at, all);

    world.start(0);
    world.run_for(PATIENCE);
    at = step(&mut world, "it comes back", at, all);

    let dead = routers.div_ceil(10);
    let dying: Vec<usize> = (REFLECTORS + routers - dead..REFLECTORS + routers).collect();
    dying.iter().for_each(|node| world.fall_silent(*node));
    world.run_for(DETECTION);
    world.detect(&dying);
    world.run_for(PATIENCE);
    at = step(&mut world, "a tenth dies", at, all - dead * ADDRESSES);

    dying.iter().for_each(|node| world.start(*node));
    world.run_for(PATIENCE);
    at = step(&mut world, "it comes back", at, all);

    for node in 0..routers + REFLECTORS {
        world.stop(node);
        world.run_for(Duration::from_secs(1));
        world.start(node);
        world.run_for(Duration::from_secs(5));
    }
    world.run_for(PATIENCE);
    step(&mut world, "all restart in turn", at, all);
    rows.push(lose_both_reflectors(routers));
    rows
}

/// With graceful restart nothing is withdrawn and nothing moves, although nobody is left who could tell.
fn lose_both_reflectors(routers: usize) -> Row {
    let mut world = World::graceful(routers, ADDRESSES, WITNESSES);
    let all = routers * ADDRESSES;
    (0..routers + REFLECTORS).for_each(|node| world.start(node));
    world.run_for(PATIENCE);
    world.take_counts();
    let at = world.now();
    (0..REFLECTORS).for_each(|node| world.kill(node));
    world.run_for(Duration::from_secs(5));
    world.check(all);
    (0..REFLECTORS).for_each(|node| world.restart(node));
    world.run_for(PATIENCE);
    let row = Row::take(&mut world, routers, "both reflectors restart", at);
    world.check(all);
    row
}
