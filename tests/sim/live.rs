//! Moves under traffic: what is lost, and for how long.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::topology::home;
use sam_testkit::{Cache, World};

use crate::{converge, fabric, for_seeds, pick};

/// Time between two pings.
const SPACING: Duration = Duration::from_millis(1);
/// There and back: two times the delay of the underlay, LANs, and a question for a MAC.
const ROUND_TRIP: Duration = Duration::from_millis(11);

/// A stream of pings, each with the time when it was sent.
#[derive(Debug)]
struct Stream {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    sent: Vec<(Duration, u32)>,
}

#[test]
fn a_ping_stream_during_a_move_loses_only_what_was_in_flight() {
    for_seeds(70, |seed| {
        let mut world = fabric(seed);
        let [from, to, observer] = three_sites(seed);
        let cache = if seed % 2 == 0 {
            Cache::Forgotten
        } else {
            Cache::Kept
        };
        // Who keeps its cache reaches new neighbors of its LAN only when they speak first; see the next scenario.
        let observer = if cache == Cache::Kept && observer == to {
            from
        } else {
            observer
        };
        let mut stream = Stream::new(home(observer), home(from));
        stream.run(&mut world, Duration::from_millis(100));

        // Make before break: cable, announcement at the new site, then withdrawal at the old one.
        let moved = world.elapsed();
        world.replug(home(from), to, cache);
        if seed % 3 == 0 {
            world.speak_up(home(from));
        }
        world.announce(to, home(from));
        stream.run(&mut world, Duration::from_millis(seed % 30));
        world.withdraw(from, home(from));
        let withdrawn = world.elapsed();
        stream.run_until_converged(&mut world);
        let converged = world.elapsed();
        stream.run(&mut world, Duration::from_millis(500));
        world.run_for(Duration::from_secs(1));

        assert!(
            converged - withdrawn < Duration::from_millis(30),
            "{:?}",
            converged - withdrawn
        );
        let lost = stream.lost(&world);
        assert_eq!(
            lost.iter().find(|at| **at + ROUND_TRIP < moved),
            None,
            "lost before the move"
        );
        assert_eq!(
            lost.iter().find(|at| **at > converged),
            None,
            "lost after convergence {converged:?}"
        );
        assert!(lost.len() < 90, "{} pings of 1 ms lost", lost.len());
        world.assert_clean();
    });
}

#[test]
fn a_ping_stream_during_a_handover_loses_only_what_was_in_flight() {
    for_seeds(40, |seed| {
        let mut world = fabric(seed);
        let [from, to, observer] = three_sites(seed);
        let observer = if observer == to { from } else { observer };
        let mut stream = Stream::new(home(observer), home(from));
        stream.run(&mut world, Duration::from_millis(100));

        // The cable, then one order at the old site.
        let moved = world.elapsed();
        world.replug(home(from), to, Cache::Forgotten);
        world.hand_over(from, home(from), to);
        stream.run_until_converged(&mut world);
        let converged = world.elapsed();
        stream.run(&mut world, Duration::from_millis(500));
        world.run_for(Duration::from_secs(1));

        assert!(
            converged - moved < Duration::from_millis(50),
            "{:?}",
            converged - moved
        );
        let lost = stream.lost(&world);
        let outside = lost
            .iter()
            .find(|at| **at + ROUND_TRIP < moved || **at > converged);
        assert_eq!(outside, None, "moved {moved:?}, converged {converged:?}");
        world.run_for(Duration::from_secs(2));
        world.assert_clean();
    });
}

#[test]
fn a_stream_between_two_others_does_not_notice_a_move() {
    for_seeds(30, |seed| {
        let mut world = fabric(seed);
        let [from, to, observer] = three_sites(seed);
        let other = (0..4)
            .find(|site| ![from, to, observer].contains(site))
            .expect("four sites");
        let mut stream = Stream::new(home(observer), home(other));
        stream.run(&mut world, Duration::from_millis(50));

        world.move_host(home(from), from, to, Cache::Forgotten);

        stream.run(&mut world, Duration::from_millis(200));
        world.run_for(Duration::from_secs(1));
        assert_eq!(stream.lost(&world), []);
    });
}

#[test]
fn a_host_is_not_talked_over_before_anybody_was_told_of_its_move() {
    for_seeds(20, |seed| {
        let mut world = fabric(seed);
        let [from, to, _] = three_sites(seed);
        world.replug(home(from), to, Cache::Forgotten);
        world.speak_up(home(from));

        // Its new neighbor asks for it: only the host answers, by I1 and I3.
        let id = world.ping(home(to), home(from));
        world.run_for(Duration::from_secs(1));

        assert!(world.answered.contains(&id));
        assert_eq!(world.delivered[&id].hops, 0, "neighbors talk directly");
        world.announce(to, home(from));
        world.withdraw(from, home(from));
        converge(&mut world, Duration::from_secs(2));
    });
}

impl Stream {
    fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        let sent = Vec::new();
        Self {
            source,
            destination,
            sent,
        }
    }

    fn run(&mut self, world: &mut World, duration: Duration) {
        let end = world.elapsed() + duration;
        while world.elapsed() < end {
            self.ping(world);
        }
    }

    fn run_until_converged(&mut self, world: &mut World) {
        for _ in 0..1000 {
            if world.converged() {
                return;
            }
            self.ping(world);
        }
        panic!("no convergence within 1000 pings");
    }

    fn ping(&mut self, world: &mut World) {
        self.sent
            .push((world.elapsed(), world.ping(self.source, self.destination)));
        world.run_for(SPACING);
    }

    /// Lists when the pings were sent that were not answered.
    fn lost(&self, world: &World) -> Vec<Duration> {
        let unanswered = self
            .sent
            .iter()
            .filter(|(_, id)| !world.answered.contains(id));
        unanswered.map(|(at, _)| *at).collect()
    }
}

/// Picks three different sites of four.
fn three_sites(seed: u64) -> [usize; 3] {
    let from = pick(seed, 4);
    let to = (from + 1 + pick(seed / 4, 3)) % 4;
    let others: Vec<usize> = (0..4).filter(|site| ![from, to].contains(site)).collect();
    [from, to, others[pick(seed / 12, 2)]]
}
