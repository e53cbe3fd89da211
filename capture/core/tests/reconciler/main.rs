//! Interleavings of several reconcilers and one cloud: orders, answers, lost answers, restarts, moves, cuts, old looks and
//! changes by hand, in any order. What must never happen is checked at each step; what must happen, after the last fault.
//!
//! `SAM_RECONCILER_CASES` sets how many; a failure is shrunk to a short list of steps.

mod cloud;
mod router;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sam_capture::Mode;
use sam_capture::provider::Capabilities;

use crate::cloud::Style;
use crate::world::World;

/// Interleavings tried by default.
const CASES: u32 = 10_000;

#[test]
fn nothing_wrong_is_ever_sent_and_everything_settles() {
    let cases = cases();
    let run = |(style, routers, steps): &(usize, u8, Vec<u32>)| {
        let mut world = World::new(STYLES[*style], *routers, Mode::Auto);
        steps.iter().for_each(|step| world.step(*step));
        world.settle();
    };
    try_all(cases, run);
}

#[test]
fn a_router_that_only_plans_sends_nothing() {
    try_all(cases() / 10, |(style, routers, steps)| {
        for mode in [Mode::Off, Mode::Observe, Mode::Plan] {
            let mut world = World::new(STYLES[*style], *routers, mode);
            steps.iter().for_each(|step| world.step(*step));
            assert_eq!(world.sent, 0);
        }
    });
}

#[test]
fn what_an_operator_approves_is_as_safe() {
    let sent = std::cell::Cell::new(0);
    try_all(cases() / 10, |(style, routers, steps)| {
        let mut world = World::new(STYLES[*style], *routers, Mode::Approve);
        steps.iter().for_each(|step| world.step(*step));
        sent.set(sent.get() + world.sent);
    });
    assert!(sent.get() > 0, "nothing was ever approved");
}

/// Clouds that move addresses in one change and mark nothing, or the contrary; with much room or little, by the provider or
/// by order; with one router that captures, or all.
const STYLES: [Style; 6] = [
    style(true, false, 50, None),
    style(false, true, 8, None),
    style(true, true, 2, Some(4)),
    style(true, false, 50, None).sharing(None),
    style(true, true, 2, Some(3)).sharing(None),
    style(false, true, 8, Some(4)).sharing(Some(1)),
];

const fn style(moves: bool, marks: bool, batch: usize, limit: Option<usize>) -> Style {
    Style {
        capabilities: Capabilities {
            moves,
            batch,
            marks,
        },
        limit,
        shares: false,
        max_captures: None,
    }
}

impl Style {
    /// The same where all routers capture, each no more than that.
    const fn sharing(self, max_captures: Option<usize>) -> Self {
        Self {
            shares: true,
            max_captures,
            ..self
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads how long to run")]
fn cases() -> u32 {
    let cases = std::env::var("SAM_RECONCILER_CASES").ok();
    cases.map_or(CASES, |cases| cases.parse().expect("a number"))
}

fn try_all(cases: u32, run: impl Fn(&(usize, u8, Vec<u32>))) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = prop::collection::vec(any::<u32>(), 1..50);
    let strategy = (0..STYLES.len(), 2..=3_u8, steps);
    let result = TestRunner::new(config).run(&strategy, |case| {
        run(&case);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
