//! The prober on a simulated path: what passes, what is swallowed, what is said about it.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    floor: 516,
    top: 1440,
};
/// Time for an answer.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A path that carries `mtu` bytes inside a tunnel.
struct Path {
    prober: Prober,
    now: Instant,
    mtu: u16,
    /// Whether it says so when a packet is too long.
    speaks: bool,
    /// Whether the far end answers.
    answers: bool,
    /// Whether long packets flow.
    busy: bool,
    round_trip: Duration,
    /// Of so many packets one is lost by chance; 0: none.
    loss: usize,
    answers_due: VecDeque<(Instant, u32)>,
    /// Sizes of the probes sent.
    sent: Vec<u16>,
}

impl Path {
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn new() -> Self {
        Self {
            prober: Prober::new(LIMITS, 7),
            now: Instant::now(),
            mtu: LIMITS.top,
            speaks: false,
            answers: true,
            busy: true,
            round_trip: ROUND_TRIP,
            loss: 0,
            answers_due: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    /// Lets time pass; long packets are noticed once a second, and refused when the path speaks.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut traffic = self.now;
        loop {
            let due = [
                self.prober.poll_timeout(),
                self.answers_due.front().map(|(at, _)| *at),
                self.busy.then_some(traffic),
            ];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            if self.busy && traffic <= self.now {
                traffic += Duration::from_secs(1);
                self.pass_traffic();
            }
            let is_due = |answer: &mut (Instant, u32)| answer.0 <= self.now;
            while let Some((_, id)) = self.answers_due.pop_front_if(is_due) {
                self.prober.handle_answer(id, self.now);
            }
            self.prober.handle_timeout(self.now);
            self.carry();
        }
        self.now = end;
    }

    fn pass_traffic(&mut self) {
        self.prober.handle_traffic(CONFIRM_INTERVAL, self.now);
        if self.speaks && self.prober.size() > self.mtu {
            self.prober.handle_error(Some(self.mtu), self.now);
        }
    }

    fn carry(&mut self) {
        while let Some(Probe { id, size }) = self.prober.poll_probe() {
            self.sent.push(size);
            let is_lost = self.loss > 0 && self.sent.len().is_multiple_of(self.loss);
            if size <= self.mtu {
                let answer = (self.now + self.round_trip, id);
                let is_answered = self.answers && !is_lost;
                self.answers_due.extend(is_answered.then_some(answer));
            } else if self.speaks {
                self.prober.handle_error(Some(self.mtu), self.now);
            }
        }
    }

    fn run_seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }
}

#[test]
fn an_idle_tunnel_is_left_alone() {
    let mut path = Path::new();
    path.busy = false;
    path.mtu = 600;
    path.run_seconds(10_000);
    assert_eq!((path.sent.len(), path.prober.size()), (0, LIMITS.top));
}

#[test]
fn a_busy_tunnel_is_confirmed_several_times_a_second_and_only_while_it_is_busy() {
    let mut path = Path::new();
    path.run_seconds(60);
    let asked = path.sent.iter().filter(|size| **size == LIMITS.top).count();
    assert!((270..=400).contains(&asked), "{asked} times in a minute");
    // Where the round trip is known, no other sizes are asked.
    let others = path.sent.len() - asked;
    assert!(others < 10, "{others} of other sizes");
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
    path.busy = false;
    path.run(BUSY_INTERVAL);
    let before = path.sent.len();
    path.run_seconds(1000);
    assert_eq!(path.sent.len(), before);
}

#[test]
fn a_black_hole_is_found_out_before_the_second_retransmission_of_a_transfer() {
    for moment in 0..25 {
        let mut path = Path::new();
        path.round_trip = Duration::from_millis(10);
        path.run(Duration::from_millis(7000 + 10 * moment));
        path.mtu = 1340;
        path.run(Duration::from_millis(350));
        assert!(path.prober.size() <= 1340, "lowered at once");
        path.run_seconds(3);
        assert!((1340 - STEP..=1340).contains(&path.prober.size()));
        assert_eq!(path.prober.source(), Some(Source::Probe));
    }
}

#[test]
fn a_black_hole_far_away_is_found_out_within_a_few_round_trips() {
    let mut path = Path::new();
    path.round_trip = Duration::from_millis(300);
    path.run_seconds(7);
    path.mtu = 1040;
    path.run_seconds(3);
    assert!((1000..=1040).contains(&path.prober.size()));
}

#[test]
fn a_black_hole_from_the_start_is_found_out_too() {
    let mut path = Path::new();
    path.mtu = 1040;
    path.run(Duration::from_millis(500));
    assert!((1000..=1040).contains(&path.prober.size()));
}

#[test]
fn a_round_trip_that_grows_tells_nothing_about_sizes() {
    let mut path = Path::new();
    for milli in [1, 90, 180, 400, 900, 30, 700] {
        path.round_trip = Duration::from_millis(milli);
        path.run_seconds(20);
        assert_eq!(path.prober.source(), None, "{milli} ms");
    }
}

#[test]
fn a_black_hole_is_found_out_while_the_round_trip_grows() {
    let mut path = Path::new();
    path.round_trip = Duration::from_millis(1);
    path.run_seconds(7);
    path.round_trip = Duration::from_millis(170);
    path.mtu = 1340;
    path.run(Duration::from_millis(550));
    assert!(path.prober.size() <= 1340);
}

#[test]
fn a_black_hole_is_found_out_behind_a_gap_that_swallows_all_copies() {
    for moment in 0..25 {
        let mut path = Path::new();
        path.round_trip = Duration::from_millis(10);
        path.run(Duration::from_millis(7000 + 10 * moment));
        path.mtu = 100;
        path.run(Duration::from_millis(150));
        path.mtu = 1340;
        path.run(Duration::from_millis(600));
        assert!(path.prober.size() <= 1340, "{moment}");
    }
}

#[test]
fn a_slow_answer_now_and_then_makes_nobody_wait_longer() {
    let mut path = Path::new();
    for milli in [1, 400, 1] {
        path.round_trip = Duration::from_millis(milli);
        path.run_seconds(1);
    }
    path.mtu = 1340;
    path.run(Duration::from_millis(350));
    assert!(path.prober.size() <= 1340);
}

#[test]
fn chance_losses_tell_nothing_about_sizes() {
    for loss in [2, 3, 5, 10] {
        let mut path = Path::new();
        path.loss = loss;
        path.run_seconds(600);
        assert_eq!(path.prober.size(), LIMITS.top, "one of {loss} lost");
    }
}

#[test]
fn a_path_narrower_than_the_base_is_measured_from_the_floor() {
    let mut path = Path::new();
    path.mtu = 1000;
    path.run_seconds(60);
    assert!((1000 - STEP..=1000).contains(&path.prober.size()));
}

#[test]
fn what_became_wide_again_is_found_after_ten_minutes() {
    let mut path = Path::new();
    path.mtu = 1300;
    path.run_seconds(60);
    path.mtu = LIMITS.top;
    path.run_seconds(400);
    assert!(path.prober.size() <= 1300, "raised carefully");
    path.run_seconds(260);
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
}

#[test]
fn what_stayed_narrow_is_tried_again_and_nothing_is_lost_by_it() {
    let mut path = Path::new();
    path.mtu = 1300;
    path.run_seconds(60);
    let found = path.prober.size();
    path.run_seconds(1300);
    assert_eq!(path.prober.size(), found);
    assert!(path.sent.iter().filter(|size| **size == LIMITS.top).count() > 3);
}

#[test]
fn an_error_lowers_at_once_and_a_true_one_stays() {
    let mut path = Path::new();
    path.run_seconds(3);
    (path.mtu, path.speaks) = (1240, true);
    path.prober.handle_error(Some(1240), path.now);
    assert_eq!(path.prober.size(), 1240);
    path.run_seconds(60);
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (1240, Some(Source::Error))
    );
    path.mtu = 1040;
    path.prober.handle_error(Some(1040), path.now);
    path.run_seconds(60);
    assert_eq!(path.prober.size(), 1040);
}

#[test]
fn a_forged_error_is_found_out_by_one_probe() {
    let mut path = Path::new();
    path.prober.handle_error(Some(100), path.now);
    assert_eq!(path.prober.size(), LIMITS.floor, "never less");
    path.carry();
    path.run(ROUND_TRIP);
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
    assert_eq!(path.sent[0], LIMITS.top);
    // Two ways of one path may differ: an error that comes again is believed.
    path.prober.handle_error(Some(1200), path.now);
    path.run_seconds(60);
    assert_eq!(path.prober.size(), 1200);
}

#[test]
fn a_second_forged_error_does_not_hide_the_first() {
    let mut path = Path::new();
    for size in [1300, 1000, 600] {
        path.prober.handle_error(Some(size), path.now);
        assert_eq!(path.prober.size(), size, "lowered at once");
    }
    path.carry();
    path.run(ROUND_TRIP);
    assert_eq!(path.prober.size(), LIMITS.top);
    // Less than what was refuted is no repetition.
    path.prober.handle_error(Some(500), path.now);
    path.carry();
    path.run(ROUND_TRIP);
    assert_eq!(path.prober.size(), LIMITS.top);
}

#[test]
fn where_nobody_answers_an_error_is_forgotten_after_ten_minutes() {
    let mut path = Path::new();
    path.answers = false;
    path.prober.handle_error(Some(1240), path.now);
    path.run_seconds(590);
    assert_eq!(path.prober.size(), 1240);
    path.run_seconds(30);
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
}

#[test]
fn silence_tells_nothing_about_sizes() {
    let mut path = Path::new();
    path.answers = false;
    path.run_seconds(600);
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
    assert!(path.sent.len() < 300, "asked {} times", path.sent.len());
}

#[test]
fn an_error_without_a_size_makes_the_path_be_measured() {
    let mut path = Path::new();
    path.run_seconds(3);
    path.mtu = 1240;
    path.busy = false;
    path.prober.handle_error(None, path.now);
    path.carry();
    path.run_seconds(30);
    assert!((1240 - STEP..=1240).contains(&path.prober.size()));
}

#[test]
fn other_limits_keep_what_was_learnt_and_a_new_path_forgets_it() {
    let mut path = Path::new();
    path.prober.handle_error(Some(1240), path.now);
    path.prober.set_limits(Limits {
        top: 8941,
        ..LIMITS
    });
    assert_eq!(path.prober.size(), 1240);
    path.prober.set_limits(Limits {
        top: 1000,
        ..LIMITS
    });
    assert_eq!((path.prober.size(), path.prober.source()), (1000, None));
    path.prober.set_limits(LIMITS);
    path.prober.handle_error(Some(900), path.now);
    path.prober.reset();
    assert_eq!(
        (path.prober.size(), path.prober.source()),
        (LIMITS.top, None)
    );
}

proptest! {
    // Each case is an hour of probes.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a path does, once it keeps still its size is found, and none is ever out of bounds.
    #[test]
    fn the_size_of_any_path_is_found(
        past in prop::collection::vec((400..2000u16, any::<bool>(), any::<bool>(), any::<bool>(), 1..700u64), 0..8),
        lies in prop::collection::vec((any::<u16>(), 0..300u64), 0..6),
        mtu in 516..1600u16,
        speaks in any::<bool>(),
    ) {
        let mut path = Path::new();
        for (mtu, speaks, answers, busy, seconds) in past {
            (path.mtu, path.speaks, path.answers, path.busy) = (mtu, speaks, answers, busy);
            path.run_seconds(seconds);
            prop_assert!((LIMITS.floor..=LIMITS.top).contains(&path.prober.size()));
        }
        for (lie, seconds) in lies {
            path.prober.handle_error(Some(lie), path.now);
            path.carry();
            prop_assert!((LIMITS.floor..=LIMITS.top).contains(&path.prober.size()));
            path.run_seconds(seconds);
        }
        (path.mtu, path.speaks, path.answers, path.busy) = (mtu, speaks, true, true);
        path.run_seconds(100);
        prop_assert!(path.prober.size() <= mtu, "{} does not pass", path.prober.size());
        path.run_seconds(2000);
        let most = mtu.min(LIMITS.top);
        prop_assert!((most - STEP.min(most)..=most).contains(&path.prober.size()), "{} of {most}", path.prober.size());
        let before = path.sent.len();
        path.run_seconds(100);
        prop_assert!(path.sent.len() - before <= 800, "{} probes in 100 s", path.sent.len() - before);
    }
}
