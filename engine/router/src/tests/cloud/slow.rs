//! Routers that start at the same moment, at a provider whose calls take their time.

use std::time::{Duration, Instant};

use super::*;

/// Starts that are tried, each with other times.
const SEEDS: u64 = 64;
/// Until one of the two has captured the address: looks, the election, and three changes of 1 s.
const PATIENCE: Duration = Duration::from_secs(15);

#[test]
fn of_two_that_start_at_the_same_moment_one_captures_and_the_other_one_says_so() {
    for seed in 0..SEEDS {
        let mut start = SlowStart::new(seed);

        start.run_until_captured();

        start.run(Duration::from_secs(5));
        let taken = start.site.holder(ADDRESS).expect("captured");
        let other = 5 - taken;
        let want = |id| start.site.captures(id)[0].want.clone();
        assert_eq!(
            (want(taken).as_str(), want(other).as_str()),
            ("capture", "keep"),
            "seed {seed}"
        );
        let elected = |id: u32| start.site.net.stations[&id].router.cloud.election.elected();
        assert_eq!(
            (elected(2), elected(3)),
            (Some(NodeId(taken)), Some(NodeId(taken))),
            "seed {seed}"
        );
    }
}

/// Two routers that start within a moment, and calls that wait for their answers.
struct SlowStart {
    site: Site,
    draw: Draw,
    seed: u64,
    /// Calls under way: when they are answered.
    under_way: BTreeMap<u32, (Instant, Order)>,
}

impl SlowStart {
    /// The reflector comes before them, between their calls, or after them.
    fn new(seed: u64) -> Self {
        let mut start = Self {
            site: Site::empty(CaptureMode::Auto, |_, _| {}),
            draw: Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seed,
            under_way: BTreeMap::new(),
        };
        let mut begins =
            [(1, 4000), (2, 300), (3, 300)].map(|(id, most)| (start.draw.below(most), id));
        begins.sort_unstable();
        let mut passed = 0;
        for (at, id) in begins {
            start.run(Duration::from_millis(at - passed));
            passed = at;
            start.site.start(id);
        }
        let announce = Command::Announce(address(ADDRESS));
        start.site.net.input(1, Input::Command(announce));
        start
    }

    fn run_until_captured(&mut self) {
        let end = self.site.net.now + PATIENCE;
        while self.site.holder(ADDRESS).is_none() {
            assert!(
                self.site.net.now < end,
                "seed {}: nobody captures: {}",
                self.seed,
                self.told()
            );
            self.step();
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.site.net.now + time;
        while self.site.net.now < end {
            self.step();
        }
    }

    /// Begins and ends calls, and lets a moment pass.
    fn step(&mut self) {
        for id in [2, 3] {
            if !self.site.net.stations.contains_key(&id) {
                continue;
            }
            if let Some(order) = self.site.pending(id) {
                let takes = self.takes(&order.operation);
                self.under_way
                    .insert(id, (self.site.net.now + takes, order));
            }
            let now = self.site.net.now;
            if self.under_way.get(&id).is_some_and(|(due, _)| *due <= now)
                && let Some((_, order)) = self.under_way.remove(&id)
            {
                self.site.answer(id, &order);
            }
        }
        self.site.net.run_for(Duration::from_millis(5));
    }

    /// A look asks for several things one after the other, at first for an identity as well.
    fn takes(&mut self, operation: &Operation) -> Duration {
        let times = 1 + self.draw.below(5);
        Duration::from_millis(if operation.is_change() {
            1000
        } else {
            100 * times + self.draw.below(20)
        })
    }

    fn told(&self) -> String {
        let rows = [2, 3].map(|id| self.site.captures(id));
        let rows = rows.iter().flatten().map(|row| row.why.clone());
        rows.collect::<Vec<_>>().join("; ")
    }
}

/// Numbers that follow from a seed (xorshift).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
