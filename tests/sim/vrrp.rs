//! Two routers on one LAN: exactly one of them answers there, whatever happens to the other.
//!
//! ```text
//!   site 0, priority 150 ──┐
//!                          ├── LAN: advertisements take up to 3 ms
//!   site 1, priority 100 ──┘
//! ```
//! Election and router are those of production; what lies between them here is a thread there. There is no BGP, so nobody
//! tells routes; the fence of a router that waits for them is left out (`startup`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_dataplane::Snapshot;
use sam_dataplane::arp_advertisement::{emit_frame, parse_frame};
use sam_router::config::{ActiveWhen, Capture, Track, Vrrp, VrrpSettings, VrrpVersion};
use sam_router::journal::RuntimeState;
use sam_router::router::Start;
use sam_router::{Command, HostEvent, Input, Output, Router, VrrpPlan, VrrpReport};
use sam_testkit::topology::{LAN, router_mac};
use sam_testkit::{Rng, Topology};
use sam_vrrp::{Arrival, Instance, State, TTL};

use crate::for_seeds;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
const INTERVAL: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(1);
/// Three intervals, the skew of the lower priority, and advertisements under way.
const TAKEOVER: Duration = Duration::from_millis(3 * 300 + 183 + 6);

#[test]
fn a_killed_master_is_followed_and_never_are_there_two() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);

        lan.stations[0].instance = None;
        lan.stations[0].router = None;
        let gap = lan.until_answered_by(1);

        assert!(gap <= TAKEOVER, "{gap:?}");
        lan.start(0, seed + 1);
        lan.run(Duration::from_secs(10));
        assert_eq!(lan.answerers(), BTreeSet::from([1]), "no preemption");
        assert_eq!(lan.longest_overlap, Duration::ZERO);
    });
}

#[test]
fn an_orderly_stop_hands_over_before_it_falls_silent() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);

        lan.resign(0);
        let mut silent = Duration::ZERO;
        while lan.stations[0].router.is_some() {
            lan.step();
            if lan.answerers().is_empty() {
                silent += STEP;
            }
        }
        lan.run(Duration::from_secs(1));

        assert_eq!(lan.answerers(), BTreeSet::from([1]));
        assert!(silent <= 2 * STEP, "{silent:?}");
        // As long as an advertisement is under way.
        assert!(lan.longest_overlap <= 5 * STEP, "{:?}", lan.longest_overlap);
    });
}

#[test]
fn a_drained_master_makes_way_without_a_moment_of_silence() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);

        lan.input(0, Input::Command(Command::Drain(true)));
        let mut silent = Duration::ZERO;
        let end = lan.now + 2 * TAKEOVER;
        while lan.answerers() != BTreeSet::from([1]) && lan.now < end {
            lan.step();
            if lan.answerers().is_empty() {
                silent += STEP;
            }
        }
        lan.run(Duration::from_secs(2));

        assert_eq!(silent, Duration::ZERO);
        // As long as an advertisement is under way.
        assert!(lan.longest_overlap <= 5 * STEP, "{:?}", lan.longest_overlap);
        // Back and forth: whoever is drained comes last, and nobody takes a role back.
        lan.input(0, Input::Command(Command::Drain(false)));
        lan.run(Duration::from_secs(2));
        assert_eq!(lan.answerers(), BTreeSet::from([1]));
        lan.input(1, Input::Command(Command::Drain(true)));
        lan.run(Duration::from_secs(2));
        assert_eq!(lan.answerers(), BTreeSet::from([0]));
        // Who is alone goes on, drained or not.
        lan.stations[1].router = None;
        lan.stations[1].instance = None;
        lan.input(0, Input::Command(Command::Drain(true)));
        lan.run(Duration::from_secs(2));
        assert_eq!(lan.answerers(), BTreeSet::from([0]));
    });
}

#[test]
fn a_frozen_master_steps_back_in_the_step_in_which_it_wakes() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);
        let asleep = Duration::from_millis(2_000 + seed * 97 % 5_000);

        lan.stations[0].frozen_until = lan.now + asleep;
        lan.until_answered_by(1);
        lan.run(asleep + Duration::from_secs(5));

        assert_eq!(lan.answerers(), BTreeSet::from([1]));
        assert_eq!(
            lan.longest_overlap,
            Duration::ZERO,
            "who is frozen does not answer"
        );
        let conflicts = lan.stations[1].snapshot.lans[0].conflicts;
        assert_eq!(conflicts, 1, "what it said in its sleep is overruled");
    });
}

#[test]
fn a_pulled_cable_ends_the_role_and_its_return_starts_no_fight() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);

        lan.set_link(0, false);
        assert!(
            lan.stations[0]
                .snapshot
                .lans
                .iter()
                .all(|lan| !lan.gate_open)
        );
        lan.until_answered_by(1);
        lan.run(Duration::from_millis(seed * 311 % 4_000));
        lan.set_link(0, true);
        lan.run(Duration::from_secs(10));

        assert_eq!(lan.answerers(), BTreeSet::from([1]));
        assert_eq!(lan.longest_overlap, Duration::ZERO);
    });
}

#[test]
fn after_a_split_the_better_router_stays_and_announces_everything_again() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);
        lan.cut = true;
        lan.run(Duration::from_secs(5));
        assert_eq!(lan.answerers().len(), 2, "neither hears the other");
        lan.longest_overlap = Duration::ZERO;
        lan.overlap = Duration::ZERO;

        lan.cut = false;
        lan.run(Duration::from_secs(5));

        assert_eq!(lan.answerers(), BTreeSet::from([0]));
        let limit = INTERVAL + Duration::from_millis(10);
        assert!(lan.longest_overlap <= limit, "{:?}", lan.longest_overlap);
        assert_eq!(lan.stations[0].snapshot.lans[0].conflicts, 1);
    });
}

#[test]
fn where_advertisements_are_lost_arp_carries_them_and_there_is_one_master() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);

        lan.lost = [1000, 0];
        lan.run(Duration::from_secs(10));
        assert_eq!(lan.answerers(), BTreeSet::from([0]));

        lan.stations[0].instance = None;
        lan.stations[0].router = None;
        let gap = lan.until_answered_by(1);
        assert!(gap <= TAKEOVER, "{gap:?}");
        assert_eq!(lan.longest_overlap, Duration::ZERO);
    });
}

#[test]
fn two_masters_are_one_within_an_interval_after_arp_passes_again() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);
        lan.lost = [1000, 0];
        lan.cut = true;
        lan.run(Duration::from_millis(5_000 + seed * 37 % 300));
        assert_eq!(lan.answerers().len(), 2, "neither hears the other");
        lan.longest_overlap = Duration::ZERO;
        lan.overlap = Duration::ZERO;

        lan.cut = false;
        lan.run(Duration::from_secs(10));

        assert_eq!(lan.answerers(), BTreeSet::from([0]));
        let limit = INTERVAL + Duration::from_millis(10);
        assert!(lan.longest_overlap <= limit, "{:?}", lan.longest_overlap);
        assert_eq!(lan.stations[0].snapshot.lans[0].conflicts, 1);
        let promotions = |at: usize| {
            let instance = lan.stations[at].instance.as_ref();
            instance.map(|instance| instance.status().promotions)
        };
        assert_eq!(
            [promotions(0), promotions(1)],
            [Some(1), Some(1)],
            "no flap"
        );
    });
}

/// Each way loses much: what matters is that both together do not.
#[test]
fn on_a_lan_that_loses_a_third_of_everything_two_masters_do_not_last() {
    for_seeds(20, |seed| {
        let mut lan = Segment::elected(seed);
        lan.lost = [330, 330];
        lan.run(Duration::from_secs(60));
        lan.cut = true;
        lan.run(Duration::from_secs(5));
        lan.longest_overlap = Duration::ZERO;
        lan.overlap = Duration::ZERO;

        lan.cut = false;
        lan.run(Duration::from_secs(60));

        // One word of the better one ends it; of nine in a row one comes through.
        assert!(
            lan.longest_overlap <= 5 * INTERVAL,
            "{:?}",
            lan.longest_overlap
        );
        lan.lost = [0, 0];
        lan.run(TAKEOVER);
        assert_eq!(lan.answerers().len(), 1);
    });
}

/// One router and its part in the election.
struct Station {
    router: Option<Router>,
    instance: Option<Instance>,
    plan: Option<VrrpPlan>,
    snapshot: Arc<Snapshot>,
    frozen_until: Instant,
    inbox: Vec<Message>,
    linked: bool,
    resigned: bool,
    /// What the router was told last: of which election, role and disputes.
    told: (Option<u64>, State, u64),
}

/// What an advertisement comes by.
enum Message {
    /// A packet of its own.
    Packet(Arrival, Vec<u8>),
    /// An ARP frame.
    Frame(Vec<u8>),
}

/// The LAN.
struct Segment {
    now: Instant,
    stations: Vec<Station>,
    in_flight: Vec<(Instant, usize, Message)>,
    /// Nothing passes.
    cut: bool,
    /// How many of a thousand packets and of ARP frames are lost.
    lost: [u64; 2],
    rng: Rng,
    topology: Topology,
    overlap: Duration,
    longest_overlap: Duration,
}

impl Segment {
    /// Two routers of which the first has become master.
    fn elected(seed: u64) -> Self {
        let now = Instant::now();
        let mut rng = Rng::new(seed);
        let station = || Station {
            router: None,
            instance: None,
            plan: None,
            snapshot: Arc::default(),
            frozen_until: now,
            inbox: Vec::new(),
            linked: true,
            resigned: false,
            told: (None, State::Initialize, 0),
        };
        let mut lan = Self {
            now,
            stations: vec![station(), station()],
            in_flight: Vec::new(),
            cut: false,
            lost: [0, 0],
            topology: Topology::new(2, &[], &mut rng),
            rng,
            overlap: Duration::ZERO,
            longest_overlap: Duration::ZERO,
        };
        lan.start(0, seed);
        lan.run(STEP * 50);
        lan.start(1, seed);
        lan.run(Duration::from_secs(5));
        assert_eq!(lan.answerers(), BTreeSet::from([0]));
        lan
    }

    fn start(&mut self, at: usize, seed: u64) {
        let mut config = self.topology.config(at);
        for node in config.fabric.nodes.values_mut() {
            node.site = "lan".into();
        }
        let Capture::ProxyArp { active_when, .. } = &mut config.local.capture else {
            panic!("all sites have a LAN")
        };
        *active_when = ActiveWhen::Vrrp(Vrrp {
            settings: VrrpSettings {
                version: VrrpVersion::V3,
                vrid: 60,
                priority: [150, 100][at],
                address: VIP,
                interval: INTERVAL,
                preempt: false,
                peers: BTreeSet::new(),
                routers: BTreeSet::new(),
            },
            track: Track::default(),
        });
        let state = RuntimeState::default();
        let start = Start {
            config,
            state,
            seed,
        };
        let station = &mut self.stations[at];
        station.router = Some(Router::new(start, self.now));
        station.resigned = false;
        self.set_link(at, true);
    }

    fn set_link(&mut self, at: usize, up: bool) {
        self.stations[at].linked = up;
        let event = HostEvent::Lan {
            interface: LAN.to_owned(),
            index: 2,
            mac: router_mac(at),
            address: Some(Ipv4Net::new_assert(address(at), 24)),
            mtu: 1500,
            up,
        };
        self.input(at, Input::Host(event));
    }

    /// The thread's part of an orderly stop: priority 0, and the router goes on until another master is heard.
    fn resign(&mut self, at: usize) {
        let now = self.now;
        let station = &mut self.stations[at];
        station.resigned = true;
        if let Some(instance) = &mut station.instance {
            instance.handle_shutdown(now);
        }
        self.send(at);
    }

    fn input(&mut self, at: usize, input: Input<'_>) {
        let now = self.now;
        if let Some(router) = &mut self.stations[at].router {
            router.handle_input(input, now);
        }
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        let now = self.now;
        let station = &mut self.stations[at];
        let Some(router) = &mut station.router else {
            return;
        };
        while let Some(output) = router.poll_output() {
            match output {
                Output::Publish(snapshot) => station.snapshot = snapshot,
                Output::Vrrp(plan) => {
                    let generation =
                        |plan: &Option<VrrpPlan>| plan.as_ref().map(|plan| plan.generation);
                    let same = generation(&station.plan) == generation(&plan);
                    match (&mut station.instance, &plan) {
                        (Some(instance), Some(plan)) if same => {
                            instance.set_penalty(plan.penalty, now);
                        }
                        (_, None) => station.instance = None,
                        (_, Some(plan)) => {
                            let mut instance =
                                Instance::new(plan.settings.clone(), plan.source, now);
                            instance.set_penalty(plan.penalty, now);
                            instance.handle_startup(now);
                            station.instance = Some(instance);
                        }
                    }
                    station.plan = plan;
                }
                Output::Journal(_)
                | Output::WireGuardPeers(_)
                | Output::BfdPeers(_)
                | Output::Foreign(_)
                | Output::Bgp(_)
                | Output::Probe(_)
                | Output::Authority(_)
                | Output::CaptureRecord(_)
                | Output::Cloud(_)
                | Output::AskLan(_)
                | Output::AskFabric(_)
                | Output::Event(_) => {}
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn until_answered_by(&mut self, at: usize) -> Duration {
        let since = self.now;
        while !self.answerers().contains(&at) && self.now < since + 2 * TAKEOVER {
            self.step();
        }
        self.now - since
    }

    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.in_flight = later;
        let due: Vec<(Instant, usize, Message)> = due;
        for (_, to, message) in due {
            self.stations[to].inbox.push(message);
        }
        for at in 0..self.stations.len() {
            if self.stations[at].frozen_until <= now {
                self.serve(at);
            }
        }
        self.overlap = if self.answerers().len() > 1 {
            self.overlap + STEP
        } else {
            Duration::ZERO
        };
        self.longest_overlap = self.longest_overlap.max(self.overlap);
    }

    fn serve(&mut self, at: usize) {
        let now = self.now;
        let station = &mut self.stations[at];
        let inbox = std::mem::take(&mut station.inbox);
        let Some(instance) = &mut station.instance else {
            return;
        };
        for message in inbox {
            match message {
                Message::Packet(arrival, payload) => {
                    instance.handle_packet(arrival, &payload, now).ok();
                }
                Message::Frame(frame) => {
                    let (source, payload) = parse_frame(&frame).expect("we made it");
                    instance.handle_copy(source, payload, now).ok();
                }
            }
        }
        instance.handle_timeout(now);
        let status = instance.status();
        let resigned = station.resigned;
        let generation = station.plan.as_ref().map(|plan| plan.generation);
        self.send(at);
        if resigned && status.heard.is_some() {
            self.input(at, Input::Command(Command::Shutdown));
            self.stations[at].router = None;
            return;
        }
        let news = (generation, status.state, status.conflicts);
        let is_news = std::mem::replace(&mut self.stations[at].told, news) != news;
        if let Some(generation) =
            generation.filter(|_| is_news && status.state != State::Initialize)
        {
            let report = VrrpReport {
                generation,
                status: Some(status),
            };
            self.input(at, Input::Vrrp(&report));
        }
    }

    fn send(&mut self, from: usize) {
        let station = &mut self.stations[from];
        let linked = station.linked;
        let Some(instance) = &mut station.instance else {
            return;
        };
        let packets = std::iter::from_fn(|| instance.poll_transmit()).map(|packet| {
            let arrival = Arrival {
                source: address(from),
                destination: packet.destination,
                ttl: TTL,
            };
            (0, Message::Packet(arrival, packet.payload))
        });
        let mut messages: Vec<_> = packets.collect();
        let copy = instance.poll_copy();
        messages.extend(copy.map(|copy| {
            let frame = emit_frame(router_mac(from), address(from), &copy);
            (1, Message::Frame(frame))
        }));
        let to = 1 - from;
        for (way, message) in messages {
            let at = self.now + Duration::from_millis(self.rng.below(4));
            let is_lost = self.lost[way] > 0 && self.rng.chance(self.lost[way]);
            if linked && self.stations[to].linked && !self.cut && !is_lost {
                self.in_flight.push((at, to, message));
            }
        }
    }

    /// Who would answer a question for the virtual address; who is frozen or cut off answers nobody.
    fn answerers(&self) -> BTreeSet<usize> {
        let stations = self.stations.iter().enumerate();
        let answers = |station: &Station| {
            let mut lans = station.snapshot.lans.iter();
            let runs = station.router.is_some() && station.linked;
            runs && station.frozen_until <= self.now && lans.any(|lan| lan.is_answered(VIP))
        };
        stations
            .filter(|(_, station)| answers(station))
            .map(|(at, _)| at)
            .collect()
    }
}

fn address(at: usize) -> Ipv4Addr {
    [Ipv4Addr::new(10, 77, 60, 1), Ipv4Addr::new(10, 77, 60, 2)][at]
}
