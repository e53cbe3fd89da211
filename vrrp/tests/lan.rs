//! Some routers on one LAN, on a virtual clock: who is master, after whatever happens.
//!
//! ```text
//!   .1 ──┐
//!   .2 ──┼── LAN: every packet takes 0 to 5 ms; parts of it can be cut off from each other
//!   .3 ──┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sam_vrrp::{Arrival, Instance, Settings, State, TTL, Version};

const INTERVAL: Duration = Duration::from_millis(300);
/// Longest time that a packet is under way.
const DELAY: Duration = Duration::from_millis(5);
/// Time between two looks.
const STEP: Duration = Duration::from_millis(1);
/// How long two routers that hear each other may both be master: an interval, and an advertisement under way.
const OVERLAP: Duration = Duration::from_millis(300 + 5);
/// The longest time until somebody is master: three intervals, the longest skew, and packets under way.
const TAKEOVER: Duration = Duration::from_millis(4 * 300 + 3 * 5);

/// What happens to one router, or to the LAN.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill(usize),
    Stop(usize),
    Start(usize),
    /// It does nothing for a while, and then goes on as if nothing had been.
    Freeze(usize, u64),
    /// Cuts one router off from all others.
    Cut(usize),
    Heal,
    Penalty(usize, u8),
}

fn fault(routers: usize) -> impl Strategy<Value = Fault> {
    let one = 0..routers;
    prop_oneof![
        2 => one.clone().prop_map(Fault::Kill),
        2 => one.clone().prop_map(Fault::Stop),
        4 => one.clone().prop_map(Fault::Start),
        2 => (one.clone(), 100..6_000u64).prop_map(|(at, millis)| Fault::Freeze(at, millis)),
        2 => one.clone().prop_map(Fault::Cut),
        3 => Just(Fault::Heal),
        2 => (one, 0..200u8).prop_map(|(at, penalty)| Fault::Penalty(at, penalty)),
    ]
}

#[derive(Debug, Clone)]
struct Scenario {
    priorities: Vec<u8>,
    preempt: bool,
    faults: Vec<(u64, Fault)>,
    seed: u64,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    proptest::collection::vec(1..=254u8, 2..5).prop_flat_map(|priorities| {
        let faults = proptest::collection::vec((0..4_000u64, fault(priorities.len())), 0..12);
        (Just(priorities), any::<bool>(), faults, any::<u64>()).prop_map(
            |(priorities, preempt, faults, seed)| Scenario {
                priorities,
                preempt,
                faults,
                seed,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn routers_that_hear_each_other_have_one_master(scenario in scenario()) {
        let mut lan = Lan::new(&scenario);
        for (wait, fault) in &scenario.faults {
            lan.run(Duration::from_millis(*wait))?;
            lan.suffer(*fault);
        }
        lan.suffer(Fault::Heal);
        for router in 0..scenario.priorities.len() {
            lan.suffer(Fault::Start(router));
        }
        lan.run(Duration::from_secs(20))?;
        prop_assert_eq!(lan.masters().len(), 1);
    }

    // Not priority 1: whoever has lost all that penalties can take is taken over from without preemption too.
    #[test]
    fn the_next_router_takes_over_in_time_and_without_preemption_keeps_the_role(
        priorities in proptest::collection::vec(2..=254u8, 2..5),
        seed in any::<u64>(),
    ) {
        let scenario = Scenario { priorities, preempt: false, faults: Vec::new(), seed };
        let mut lan = Lan::new(&scenario);
        lan.run(Duration::from_secs(3))?;
        let first = lan.only_master();

        lan.suffer(Fault::Kill(first));
        let took = lan.until_master();
        prop_assert!(took <= TAKEOVER, "{took:?}");
        lan.run(Duration::from_secs(3))?;
        let second = lan.only_master();

        lan.suffer(Fault::Start(first));
        lan.run(Duration::from_secs(10))?;
        prop_assert_eq!(lan.only_master(), second, "the returned one does not preempt");
    }

    #[test]
    fn who_leaves_in_an_orderly_way_is_followed_within_the_skew(
        priorities in proptest::collection::vec(1..=254u8, 2..5),
        seed in any::<u64>(),
    ) {
        let scenario = Scenario { priorities, preempt: false, faults: Vec::new(), seed };
        let mut lan = Lan::new(&scenario);
        lan.run(Duration::from_secs(3))?;
        let first = lan.only_master();

        lan.suffer(Fault::Stop(first));
        let took = lan.until_master();

        prop_assert!(took <= INTERVAL + 2 * DELAY, "{took:?}");
        lan.run(Duration::from_secs(3))?;
        prop_assert_ne!(lan.only_master(), first);
    }
}

/// One router.
struct Router {
    instance: Option<Instance>,
    settings: Settings,
    frozen_until: Instant,
    /// What arrived while it was frozen waits in its socket.
    inbox: Vec<(Arrival, Vec<u8>)>,
}

struct Lan {
    now: Instant,
    routers: Vec<Router>,
    in_flight: BTreeMap<(Instant, u64), (usize, Arrival, Vec<u8>)>,
    cut: Option<usize>,
    serial: u64,
    random: u64,
    /// Since when two routers that hear each other are both master.
    overlapping: Option<Instant>,
}

impl Lan {
    fn new(scenario: &Scenario) -> Self {
        let now = start();
        let router = |priority: &u8| Router {
            instance: None,
            settings: settings(*priority, scenario.preempt),
            frozen_until: now,
            inbox: Vec::new(),
        };
        let mut lan = Self {
            now,
            routers: scenario.priorities.iter().map(router).collect(),
            in_flight: BTreeMap::new(),
            cut: None,
            serial: 0,
            random: scenario.seed,
            overlapping: None,
        };
        for router in 0..lan.routers.len() {
            lan.suffer(Fault::Start(router));
        }
        lan
    }

    fn suffer(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Kill(at) => self.routers[at].instance = None,
            Fault::Stop(at) => {
                if let Some(instance) = &mut self.routers[at].instance {
                    instance.handle_shutdown(now);
                }
                self.send(at);
                self.routers[at].instance = None;
            }
            Fault::Start(at) if self.routers[at].instance.is_none() => {
                let settings = self.routers[at].settings.clone();
                let mut instance = Instance::new(settings, address(at), now);
                instance.handle_startup(now);
                self.routers[at].inbox.clear();
                self.routers[at].instance = Some(instance);
            }
            Fault::Start(_) => {}
            Fault::Freeze(at, millis) => {
                self.routers[at].frozen_until = now + Duration::from_millis(millis);
            }
            Fault::Cut(at) => self.cut = Some(at),
            Fault::Heal => self.cut = None,
            Fault::Penalty(at, penalty) => {
                if let Some(instance) = &mut self.routers[at].instance {
                    instance.set_penalty(penalty, now);
                }
                self.send(at);
            }
        }
        // What just changed is given its time.
        self.overlapping = None;
    }

    /// Lets time pass; fails when two are master for too long.
    fn run(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let end = self.now + time;
        while self.now < end {
            self.step();
            let masters = self.masters();
            let both = masters.len() > 1;
            let since = *self.overlapping.get_or_insert(self.now);
            if !both {
                self.overlapping = None;
            }
            let overlap = self.now - since;
            prop_assert!(!both || overlap <= OVERLAP, "{masters:?} for {overlap:?}");
        }
        Ok(())
    }

    fn until_master(&mut self) -> Duration {
        let since = self.now;
        while self.masters().is_empty() && self.now - since < 2 * TAKEOVER {
            self.step();
        }
        self.now - since
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        while let Some(entry) = self
            .in_flight
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            let (to, arrival, payload) = entry.remove();
            self.routers[to].inbox.push((arrival, payload));
        }
        for at in 0..self.routers.len() {
            let router = &mut self.routers[at];
            if router.frozen_until > now {
                continue;
            }
            let inbox = std::mem::take(&mut router.inbox);
            if let Some(instance) = &mut router.instance {
                for (arrival, payload) in inbox {
                    instance.handle_packet(arrival, &payload, now).ok();
                }
                instance.handle_timeout(now);
            }
            self.send(at);
        }
    }

    fn send(&mut self, from: usize) {
        let Some(instance) = &mut self.routers[from].instance else {
            return;
        };
        let packets: Vec<_> = std::iter::from_fn(|| instance.poll_transmit()).collect();
        for packet in packets {
            let arrival = Arrival {
                source: address(from),
                destination: packet.destination,
                ttl: TTL,
            };
            for to in (0..self.routers.len()).filter(|to| *to != from) {
                if self.cut == Some(from) || self.cut == Some(to) {
                    continue;
                }
                let at = self.now + self.delay();
                self.serial += 1;
                let letter = (to, arrival, packet.payload.clone());
                self.in_flight.insert((at, self.serial), letter);
            }
        }
    }

    /// Routers that are master and hear each other; who is frozen does nothing, so it is none.
    fn masters(&self) -> BTreeSet<usize> {
        let is_master = |router: &Router| {
            let instance = router.instance.as_ref();
            router.frozen_until <= self.now
                && instance.is_some_and(|instance| instance.status().state == State::Master)
        };
        let routers = self.routers.iter().enumerate();
        routers
            .filter(|(at, router)| self.cut != Some(*at) && is_master(router))
            .map(|(at, _)| at)
            .collect()
    }

    fn only_master(&self) -> usize {
        let masters = self.masters();
        assert_eq!(masters.len(), 1, "{masters:?}");
        masters.into_iter().next().expect("one")
    }

    fn delay(&mut self) -> Duration {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.random >> 33) % 6)
    }
}

fn address(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, u8::try_from(at + 1).expect("few routers"))
}

fn settings(priority: u8, preempt: bool) -> Settings {
    Settings {
        version: Version::V3,
        vrid: 60,
        priority,
        address: Ipv4Addr::new(10, 77, 60, 254),
        interval: INTERVAL,
        preempt,
        peers: BTreeSet::new(),
        routers: BTreeSet::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn start() -> Instant {
    Instant::now()
}
