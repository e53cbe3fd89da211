//! The machine on a virtual clock, against advertisements made by hand.

use super::*;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 2);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 1);
const HIGHER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 3);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
const INTERVAL: Duration = Duration::from_millis(300);
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_router_listens_for_the_down_interval_before_it_becomes_master() {
    let mut bench = Bench::started(settings(100));
    let down = bench.instance.status().down_interval;
    // 3 × 300 ms + 156/256 × 300 ms.
    assert_eq!(down.as_micros(), 1_082_812);

    bench.pass(down - MILLI);
    assert_eq!(bench.role(), (State::Backup, Cause::Started));
    assert_eq!(bench.sent(), []);

    bench.pass(2 * MILLI);
    assert_eq!(bench.role(), (State::Master, Cause::Silence));
    assert_eq!(bench.sent(), [(GROUP, 100)]);
}

#[test]
fn the_owner_of_the_address_is_master_at_once_and_obeys_nobody() {
    let mut bench = Bench::started(settings(255));
    assert_eq!(bench.role(), (State::Master, Cause::AddressOwner));
    assert_eq!(bench.hear(HIGHER, 255), Err(Refusal::AddressOwner));
    assert_eq!(bench.role().0, State::Master);
}

#[test]
fn a_fenced_router_takes_over_from_nobody_who_lives_until_the_fence_is_gone() {
    for priority in [200, 255] {
        let mut bench = Bench::new(Settings {
            preempt: true,
            ..settings(priority)
        });
        bench.instance.set_fence(true);
        bench.instance.handle_startup(bench.now);
        for heard in [100, 100, 50, 1, 1] {
            bench.hear(HIGHER, heard).unwrap();
            bench.pass(INTERVAL);
            assert_eq!(bench.role().0, State::Backup, "{priority} {heard}");
        }
        bench.instance.set_fence(false);
        for _ in 0..4 {
            bench.hear(HIGHER, 100).ok();
            bench.pass(INTERVAL);
        }
        assert_eq!(bench.role(), (State::Master, Cause::Silence), "{priority}");
    }
}

#[test]
fn a_master_of_least_priority_is_taken_over_from_though_it_never_had_more() {
    for (priority, followed) in [(1, false), (2, true)] {
        let mut bench = Bench::started(settings(100));
        for _ in 0..6 {
            bench.hear(HIGHER, priority).unwrap();
            bench.pass(INTERVAL);
        }
        assert_eq!(bench.role().0 == State::Backup, followed, "{priority}");
    }
}

#[test]
fn a_fenced_router_that_hears_nobody_acts() {
    for priority in [100, 255] {
        let mut bench = Bench::new(settings(priority));
        bench.instance.set_fence(true);
        bench.instance.handle_startup(bench.now);
        bench.pass(4 * INTERVAL);
        assert_eq!(bench.role(), (State::Master, Cause::Silence), "{priority}");
    }
}

#[test]
fn a_master_advertises_in_rhythm() {
    let mut bench = Bench::master(settings(100));
    bench.pass(INTERVAL * 4 - MILLI);
    assert_eq!(bench.sent(), [(GROUP, 100); 3]);
    bench.pass(MILLI);
    assert_eq!(bench.sent(), [(GROUP, 100)]);
}

#[test]
fn peers_get_an_advertisement_each_and_nobody_else_counts() {
    let mut bench = Bench::started(Settings {
        peers: [LOWER, HIGHER].into(),
        ..settings(100)
    });
    let stranger = Ipv4Addr::new(10, 77, 60, 9);
    assert_eq!(bench.hear(stranger, 200), Err(Refusal::Stranger));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.sent()[..2], [(LOWER, 100), (HIGHER, 100)]);
    assert_eq!(bench.hear(LOWER, 200), Ok(()));
    assert_eq!(bench.role(), (State::Backup, Cause::Outranked));
}

#[test]
fn only_the_master_that_is_followed_can_be_relieved() {
    let mut bench = Bench::started(settings(100));
    bench.hear(HIGHER, 100).unwrap();

    // A third router was outranked by the same master.
    bench.hear(LOWER, 0).unwrap();
    for _ in 0..5 {
        bench.pass(INTERVAL - MILLI);
        assert_eq!(bench.role().0, State::Backup);
        bench.hear(HIGHER, 100).unwrap();
    }

    bench.hear(HIGHER, 0).unwrap();
    bench.pass(INTERVAL);
    assert_eq!(bench.role(), (State::Master, Cause::Relieved));
}

#[test]
fn copies_count_while_the_packets_themselves_are_lost() {
    let mut bench = Bench::started(settings(100));
    for _ in 0..10 {
        bench.hear_copy(HIGHER, 150).unwrap();
        bench.pass(INTERVAL);
    }
    assert_eq!(bench.role(), (State::Backup, Cause::Started));
    let heard = bench.instance.status().heard.unwrap();
    assert_eq!((heard.address, heard.copy_only), (HIGHER, true));
    assert_eq!(bench.remark(Remark::CopyOnly), 10);

    bench.hear(HIGHER, 150).unwrap();
    bench.hear_copy(HIGHER, 150).unwrap();
    bench.pass(INTERVAL);
    bench.hear_copy(HIGHER, 150).unwrap();

    let status = bench.instance.status();
    assert_eq!(status.received, 11, "what is known already is no news");
    assert!(!status.heard.unwrap().copy_only);
    bench.pass(INTERVAL);
    bench.hear_copy(HIGHER, 150).unwrap();
    assert_eq!(
        bench.remark(Remark::CopyOnly),
        11,
        "missed for two intervals"
    );
}

#[test]
fn two_others_that_are_masters_at_once_are_noticed_and_a_change_of_masters_is_not() {
    // With preemption: the second one takes over while a packet of the first is under way.
    let mut bench = Bench::started(settings(50));
    for from in [
        LOWER, LOWER, HIGHER, LOWER, HIGHER, HIGHER, HIGHER, LOWER, LOWER,
    ] {
        bench.hear(from, 100).unwrap();
        bench.pass(INTERVAL);
    }
    assert_eq!(bench.instance.status().rivals, None);

    for (times, from) in [(0, HIGHER), (0, LOWER), (1, HIGHER), (1, LOWER)] {
        bench.hear(from, 100).unwrap();
        let rivals = bench.instance.status().rivals;
        assert_eq!(rivals.map_or(0, |rivals| rivals.times), times, "{from}");
        bench.pass(INTERVAL / 2);
    }
    let rivals = bench.instance.status().rivals.expect("two masters");
    assert_eq!(rivals.addresses, [LOWER, HIGHER]);
    assert_eq!(bench.role().0, State::Backup);
    // Three of them, later on, are no one's change of masters either.
    bench.pass(Duration::from_millis(900));
    let third = Ipv4Addr::new(10, 77, 60, 4);
    bench.hear(LOWER, 100).unwrap();
    bench.pass(Duration::from_millis(900));
    for from in [LOWER, HIGHER, third, LOWER, HIGHER, third, LOWER] {
        bench.hear(from, 100).unwrap();
        bench.pass(INTERVAL / 3);
    }
    assert_eq!(bench.instance.status().rivals.unwrap().times, 2);
}

#[test]
fn who_never_sends_a_copy_is_a_stranger_unless_peers_are_named_and_there_are_not_too_many() {
    let mut bench = Bench::started(settings(100));
    for _ in 0..9 {
        bench.hear(HIGHER, 150).unwrap();
        bench.hear_copy(HIGHER, 150).unwrap();
        bench.hear(LOWER, 120).unwrap();
        bench.pass(INTERVAL);
    }
    assert_eq!(bench.instance.status().strangers, [LOWER]);
    assert_eq!(bench.remark(Remark::UnknownSender), 5, "from the fifth on");

    for last in 20..=255 {
        for _ in 0..9 {
            bench.hear(Ipv4Addr::new(10, 77, 60, last), 150).unwrap();
        }
    }
    assert!(bench.instance.status().strangers.len() <= 16);
    bench.pass(Duration::from_secs(62));
    assert_eq!(bench.instance.status().strangers, [] as [Ipv4Addr; 0]);

    let mut bench = Bench::started(Settings {
        peers: [LOWER].into(),
        ..settings(100)
    });
    for _ in 0..9 {
        bench.hear(LOWER, 120).unwrap();
    }
    assert_eq!(bench.instance.status().strangers, [] as [Ipv4Addr; 0]);
    assert_eq!(bench.hear(HIGHER, 150), Err(Refusal::Stranger));
    assert_eq!(
        bench.instance.status().strangers,
        [HIGHER],
        "it does not count, but it is told"
    );
    for last in 20..=255 {
        let refused = bench.hear(Ipv4Addr::new(10, 77, 60, last), 150);
        assert_eq!(refused, Err(Refusal::Stranger));
    }
    assert!(bench.instance.status().strangers.len() <= 16);
    bench.pass(Duration::from_secs(62));
    assert_eq!(bench.instance.status().strangers, [] as [Ipv4Addr; 0]);
}

#[test]
fn a_router_of_another_make_that_was_named_is_no_stranger_and_counts_as_before() {
    let mut bench = Bench::started(Settings {
        routers: [HIGHER].into(),
        ..settings(100)
    });
    for _ in 0..9 {
        bench.hear(HIGHER, 150).unwrap();
        bench.hear(LOWER, 120).unwrap();
    }
    assert_eq!(bench.instance.status().strangers, [LOWER]);
    assert_eq!(bench.remark(Remark::UnknownSender), 5, "of the other one");
    let heard = bench.instance.status().heard.map(|heard| heard.address);
    assert_eq!(heard, Some(LOWER), "whoever takes part counts");

    bench.instance.set_settings(settings(100), bench.now);
    assert_eq!(bench.instance.status().strangers.len(), 2);
}

#[test]
fn a_copy_decides_between_two_masters_as_a_packet_does() {
    for (from, priority, expected) in [
        (LOWER, 101, State::Backup),
        (HIGHER, 100, State::Backup),
        (LOWER, 100, State::Master),
        (HIGHER, 99, State::Master),
    ] {
        let mut bench = Bench::master(settings(100));
        bench.hear_copy(from, priority).unwrap();
        assert_eq!(bench.role().0, expected, "{from} {priority}");
    }
}

#[test]
fn who_is_outranked_says_that_it_leaves_so_that_the_winner_announces_again() {
    let mut bench = Bench::master(settings(100));
    bench.hear(HIGHER, 100).unwrap();
    assert_eq!(bench.sent(), [(GROUP, 0)]);

    let mut winner = Bench::master(settings(100));
    winner.hear(LOWER, 0).unwrap();
    assert_eq!(winner.sent(), [(GROUP, 100)]);
    assert_eq!(winner.instance.status().conflicts, 1);
}

#[test]
fn each_advertisement_has_a_copy_and_of_several_that_nobody_took_the_newest_stays() {
    let mut bench = Bench::master(Settings {
        peers: [LOWER, HIGHER].into(),
        ..settings(100)
    });
    bench.pass(INTERVAL);
    bench.instance.handle_shutdown(bench.now);

    let copy = bench.instance.poll_copy().unwrap();
    assert_eq!(Packet::decode(&copy, OWN, GROUP).unwrap().priority, 0);
    assert_eq!(bench.instance.poll_copy(), None);
}

#[test]
fn without_preemption_a_lesser_master_is_followed_and_with_it_taken_over_from() {
    for (preempt, expected) in [(false, State::Backup), (true, State::Master)] {
        let mut bench = Bench::started(Settings {
            preempt,
            ..settings(200)
        });
        for _ in 0..20 {
            bench.hear(LOWER, 100).unwrap();
            bench.pass(INTERVAL);
        }
        assert_eq!(bench.role().0, expected, "preempt {preempt}");
    }
}

#[test]
fn a_master_that_got_worse_is_taken_over_from_without_preemption_too() {
    let mut bench = Bench::started(settings(100));
    bench.hear(LOWER, 150).unwrap();
    bench.pass(INTERVAL);
    // Worse, but not worse than we are.
    bench.hear(LOWER, 100).unwrap();
    let due = bench.instance.poll_timeout();
    assert_eq!(due, Some(bench.now + bench.instance.status().down_interval));

    let worse_since = bench.now;
    while bench.role().0 == State::Backup && bench.now < worse_since + INTERVAL * 10 {
        bench.hear(LOWER, 50).unwrap();
        bench.pass(INTERVAL / 3);
    }

    assert_eq!(bench.role(), (State::Master, Cause::Silence));
    let took = bench.now - worse_since;
    assert!(took <= INTERVAL * 4, "{took:?}");
}

#[test]
fn another_lesser_master_did_not_get_worse() {
    let mut bench = Bench::started(settings(100));
    bench.hear(HIGHER, 150).unwrap();
    for _ in 0..20 {
        bench.hear(LOWER, 50).unwrap();
        bench.pass(INTERVAL);
    }
    assert_eq!(bench.role().0, State::Backup);
}

#[test]
fn a_master_that_leaves_is_followed_after_the_skew() {
    let mut bench = Bench::started(settings(100));
    bench.hear(LOWER, 150).unwrap();
    bench.hear(LOWER, 0).unwrap();
    let skew = INTERVAL * 156 / 256;

    bench.pass(skew - MILLI);
    bench.hear(LOWER, 0).unwrap();
    assert_eq!(bench.role().0, State::Backup);
    bench.pass(2 * MILLI);

    assert_eq!(bench.role(), (State::Master, Cause::Relieved));
}

#[test]
fn the_better_priority_wins_and_among_equals_the_higher_address() {
    let cases = [
        (LOWER, 101, State::Backup),
        (LOWER, 100, State::Master),
        (HIGHER, 100, State::Backup),
        (HIGHER, 99, State::Master),
    ];
    for (from, priority, expected) in cases {
        let mut bench = Bench::master(settings(100));
        bench.hear(from, priority).unwrap();
        assert_eq!(bench.role().0, expected, "{from} {priority}");
        let told = if expected == State::Master { 100 } else { 0 };
        assert_eq!(bench.sent(), [(GROUP, told)], "asserts itself, or leaves");
    }
}

#[test]
fn a_flood_of_lesser_advertisements_makes_no_flood_of_answers() {
    let mut bench = Bench::master(settings(100));
    for _ in 0..10_000 {
        bench.hear(LOWER, 1).unwrap();
    }
    assert_eq!(bench.sent().len(), 1);
    bench.pass(10 * MILLI);
    bench.hear(LOWER, 0).unwrap();
    assert_eq!(bench.sent().len(), 1, "a farewell is answered too");
}

#[test]
fn a_master_says_that_it_leaves_and_then_shows_who_follows() {
    let mut bench = Bench::master(settings(100));
    bench.instance.handle_shutdown(bench.now);
    assert_eq!(bench.sent(), [(GROUP, 0)]);
    assert_eq!(bench.role(), (State::Initialize, Cause::Stopped));
    assert_eq!(bench.instance.poll_timeout(), None);
    assert_eq!(bench.instance.status().heard, None);

    bench.hear(HIGHER, 90).unwrap();

    let follower = bench.instance.status().heard.map(|heard| heard.address);
    assert_eq!(follower, Some(HIGHER));
    assert_eq!(bench.role().0, State::Initialize);
}

#[test]
fn a_backup_leaves_without_a_word() {
    let mut bench = Bench::started(settings(100));
    bench.instance.handle_shutdown(bench.now);
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_master_that_overslept_steps_back_even_where_it_would_win() {
    let mut bench = Bench::master(settings(200));
    bench.now += Duration::from_secs(5);
    bench.hear(LOWER, 100).unwrap();
    assert_eq!(bench.role(), (State::Backup, Cause::Overslept));
    assert_eq!(bench.sent(), [(GROUP, 0)]);
    bench.pass(Duration::from_millis(900));
    assert_eq!(bench.role().0, State::Backup);
}

#[test]
fn a_master_that_was_late_by_two_intervals_goes_on() {
    let mut bench = Bench::master(settings(200));
    bench.now += INTERVAL * 3 - 2 * MILLI;
    bench.instance.handle_timeout(bench.now);
    assert_eq!(bench.role().0, State::Master);
    assert_eq!(bench.sent(), [(GROUP, 200)]);
    assert!(bench.instance.poll_timeout() >= Some(bench.now), "no burst");
}

#[test]
fn a_penalty_is_told_at_once() {
    let mut bench = Bench::master(settings(100));
    bench.instance.set_penalty(60, bench.now);
    bench.instance.set_penalty(60, bench.now);
    assert_eq!(bench.sent(), [(GROUP, 40)]);
    bench.instance.set_penalty(0, bench.now);
    assert_eq!(bench.sent(), [(GROUP, 100)]);
}

#[test]
fn the_masters_interval_holds_in_version_3() {
    let mut bench = Bench::started(settings(100));
    let slow = Duration::from_secs(2);
    bench.hear_packet(LOWER, &advertisement(150, slow)).unwrap();
    let expected = slow * 3 + slow * 156 / 256;
    assert_eq!(bench.instance.status().down_interval, expected);
    let remarks: Vec<_> = bench
        .instance
        .remarks()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(remarks, [(Remark::Interval, 1)]);
}

#[test]
fn version_2_counts_in_seconds_and_insists_on_the_interval() {
    let second = Duration::from_secs(1);
    let mut bench = Bench::started(Settings {
        version: Version::V2,
        interval: second,
        ..settings(128)
    });
    let down = bench.instance.status().down_interval;
    assert_eq!(down, Duration::from_millis(3_500));
    let other = Packet {
        version: Version::V2,
        ..advertisement(200, 2 * second)
    };
    assert_eq!(bench.hear_packet(LOWER, &other), Err(Refusal::Interval));
    let right = Packet {
        interval: second,
        ..other
    };
    assert_eq!(bench.hear_packet(LOWER, &right), Ok(()));
}

#[test]
fn another_virtual_address_is_counted_but_the_election_goes_on() {
    let mut bench = Bench::master(settings(100));
    let mut packet = advertisement(200, INTERVAL);
    packet.addresses = vec![VIP, HIGHER];
    bench.hear_packet(LOWER, &packet).unwrap();
    assert_eq!(bench.role().0, State::Backup);
    let remarks: Vec<_> = bench
        .instance
        .remarks()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(remarks, [(Remark::Addresses, 1)]);
}

#[test]
fn what_does_not_count_changes_nothing_and_is_counted() {
    let mut bench = Bench::master(settings(100));
    let good = advertisement(200, INTERVAL);
    let arrival = |source, ttl| Arrival {
        source,
        destination: GROUP,
        ttl,
    };
    let now = bench.now;
    let mut offer = |arrival: Arrival, packet: &Packet, garble: bool| {
        let mut payload = packet.encode(arrival.source, GROUP);
        if garble {
            payload[2] ^= 1;
        }
        bench
            .instance
            .handle_packet(arrival, &payload, now)
            .unwrap_err()
    };
    let other = |vrid, version| Packet {
        vrid,
        version,
        interval: Duration::from_secs(1),
        ..good.clone()
    };
    let refused = [
        offer(arrival(LOWER, 254), &good, false),
        offer(arrival(LOWER, 255), &good, true),
        offer(arrival(LOWER, 255), &other(61, Version::V3), false),
        offer(arrival(LOWER, 255), &other(60, Version::V2), false),
        offer(arrival(OWN, 255), &good, false),
    ];
    let expected = [
        Refusal::Ttl,
        Refusal::Malformed(crate::Malformed::Checksum),
        Refusal::Vrid,
        Refusal::Version,
        Refusal::OwnAddress,
    ];
    assert_eq!(refused, expected);
    assert_eq!(bench.role().0, State::Master);
    let counted = bench.instance.refusals().filter(|(_, count)| *count > 0);
    assert_eq!(counted.count(), expected.len());
}

/// One instance and its clock.
struct Bench {
    instance: Instance,
    now: Instant,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = start();
        let instance = Instance::new(settings, OWN, now);
        Self { instance, now }
    }

    fn started(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.instance.handle_startup(bench.now);
        bench
    }

    fn master(settings: Settings) -> Self {
        let mut bench = Self::started(settings);
        while bench.role().0 != State::Master {
            bench.pass(MILLI);
        }
        drop(bench.sent());
        bench
    }

    /// Lets time pass; every timer is served when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.instance.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.instance.handle_timeout(due);
        }
        self.now = end;
    }

    fn hear(&mut self, from: Ipv4Addr, priority: u8) -> Result<(), Refusal> {
        self.hear_packet(from, &advertisement(priority, INTERVAL))
    }

    fn hear_packet(&mut self, source: Ipv4Addr, packet: &Packet) -> Result<(), Refusal> {
        let arrival = Arrival {
            source,
            destination: GROUP,
            ttl: TTL,
        };
        let payload = packet.encode(source, GROUP);
        self.instance.handle_packet(arrival, &payload, self.now)
    }

    fn hear_copy(&mut self, source: Ipv4Addr, priority: u8) -> Result<(), Refusal> {
        let payload = advertisement(priority, INTERVAL).encode(source, GROUP);
        self.instance.handle_copy(source, &payload, self.now)
    }

    fn remark(&self, remark: Remark) -> u64 {
        let mut remarks = self.instance.remarks();
        remarks.find(|one| one.0 == remark).expect("listed").1
    }

    fn role(&self) -> (State, Cause) {
        let status = self.instance.status();
        (status.state, status.cause)
    }

    /// Takes what was sent: where to, and with which priority.
    fn sent(&mut self) -> Vec<(Ipv4Addr, u8)> {
        std::iter::from_fn(|| self.instance.poll_transmit())
            .map(|transmit| {
                let to = transmit.destination;
                let packet = Packet::decode(&transmit.payload, OWN, to).expect("well-formed");
                (to, packet.priority)
            })
            .collect()
    }
}

fn settings(priority: u8) -> Settings {
    Settings {
        version: Version::V3,
        vrid: 60,
        priority,
        address: VIP,
        interval: INTERVAL,
        preempt: false,
        peers: [].into(),
        routers: [].into(),
    }
}

fn advertisement(priority: u8, interval: Duration) -> Packet {
    Packet {
        version: Version::V3,
        vrid: 60,
        priority,
        interval,
        addresses: vec![VIP],
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn start() -> Instant {
    Instant::now()
}
