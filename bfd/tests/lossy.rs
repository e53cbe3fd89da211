//! Two routers over a link that loses, repeats and garbles: whatever happens, afterwards they agree.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sam_bfd::{Event, Sessions, State, TTL, Timing};

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
/// Time between two looks.
const STEP: Duration = Duration::from_millis(5);

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// One byte is changed.
    Garbled(u8, u8),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => (0..24u8, 1..=255u8).prop_map(|(at, flip)| Fate::Garbled(at, flip)),
    ]
}

fn timing() -> impl Strategy<Value = Timing> {
    (50..1_500u64, 1..6u8).prop_map(|(millis, multiplier)| Timing {
        interval: Duration::from_millis(millis),
        multiplier,
    })
}

struct World {
    routers: [Sessions; 2],
    now: Instant,
    ups: [i32; 2],
}

impl World {
    fn new(timings: [Timing; 2], seed: u64) -> Self {
        let now = start();
        let router = |own: usize| {
            let mut sessions = Sessions::new(seed ^ own as u64);
            sessions.set_peers(&[(ADDRESSES[1 - own], timings[own])].into(), now);
            sessions
        };
        Self {
            routers: [router(0), router(1)],
            now,
            ups: [0; 2],
        }
    }

    /// Lets one step pass; packets meet the next fates.
    fn step(&mut self, fates: &mut impl Iterator<Item = Fate>) {
        self.now += STEP;
        for from in [0, 1] {
            self.routers[from].handle_timeout(self.now);
            while let Some((to, packet)) = self.routers[from].poll_transmit(self.now) {
                assert_eq!(to, ADDRESSES[1 - from]);
                self.deliver(from, packet.encode(), fates.next().unwrap_or(Fate::Arrives));
            }
        }
        for (own, router) in self.routers.iter_mut().enumerate() {
            while let Some((_, event)) = router.poll_event() {
                self.ups[own] += match event {
                    Event::Up => 1,
                    Event::Down(_) => -1,
                };
                assert!((0..=1).contains(&self.ups[own]), "up and down alternate");
            }
        }
    }

    fn deliver(&mut self, from: usize, mut bytes: [u8; 24], fate: Fate) {
        let copies = match fate {
            Fate::Arrives => 1,
            Fate::Lost => 0,
            Fate::Twice => 2,
            Fate::Garbled(at, flip) => {
                bytes[usize::from(at)] ^= flip;
                1
            }
        };
        for _ in 0..copies {
            let router = &mut self.routers[1 - from];
            router
                .handle_datagram(ADDRESSES[from], TTL, &bytes, self.now)
                .ok();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_routers_agree_once_the_link_is_whole(
        timings in [timing(), timing()],
        fates in proptest::collection::vec(fate(), 0..120),
        seed: u64,
    ) {
        let mut world = World::new(timings, seed);
        let mut fates = fates.into_iter();
        // Garbled intervals hold until the next packet, garbled silence as long as a detection time.
        for _ in 0..200_000 {
            world.step(&mut fates);
            if fates.len() == 0 && agreed(&world, timings) {
                break;
            }
        }
        for router in &world.routers {
            let status = &router.status()[0];
            prop_assert_eq!(status.state, State::Up);
            prop_assert!(!status.polling);
            let interval = timings[0].interval.max(timings[1].interval);
            prop_assert_eq!(status.transmit_interval, Some(interval));
            prop_assert_eq!(status.detection_time, Some(interval * u32::from(status.remote_multiplier)));
        }
    }
}

/// Tells whether both are Up with the intervals that follow from their configuration.
fn agreed(world: &World, timings: [Timing; 2]) -> bool {
    let interval = timings[0].interval.max(timings[1].interval);
    world.routers.iter().all(|router| {
        let status = &router.status()[0];
        status.state == State::Up
            && !status.polling
            && status.transmit_interval == Some(interval)
            && status.receive_interval == Some(interval)
    })
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn start() -> Instant {
    Instant::now()
}
