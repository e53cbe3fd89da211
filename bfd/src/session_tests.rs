//! The machine on a virtual clock: two sessions and the wire between them, or one session and packets made by hand.

use super::*;

const TIMING: Timing = Timing {
    interval: Duration::from_millis(300),
    multiplier: 3,
};
const INTERVAL: u32 = 300_000;

#[test]
fn two_sessions_come_up_and_agree_on_the_fast_interval() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(3_000);
    for end in &pair.ends {
        let status = end.status();
        assert_eq!(status.state, State::Up);
        assert_eq!(status.transmit_interval, Some(TIMING.interval));
        assert_eq!(status.detection_time, Some(TIMING.interval * 3));
        assert!(!status.polling, "the poll sequence ended");
        assert_eq!((status.ups, status.failures), (1, 0));
    }
    assert_eq!(pair.ends[0].events, [Event::Up]);
}

#[test]
fn the_slower_of_what_one_sends_and_the_other_takes_is_used() {
    let slow = Timing {
        interval: Duration::from_millis(1_000),
        multiplier: 4,
    };
    let mut pair = Pair::new(TIMING, slow);
    pair.run(8_000);
    let [fast, slow] = [pair.ends[0].status(), pair.ends[1].status()];
    let second = Duration::from_secs(1);
    assert_eq!(fast.transmit_interval, Some(second));
    assert_eq!(slow.transmit_interval, Some(second));
    assert_eq!(
        fast.detection_time,
        Some(second * 4),
        "the far multiplier counts"
    );
    assert_eq!(slow.detection_time, Some(second * 3));
}

#[test]
fn silence_is_noticed_after_the_detection_time_and_not_before() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(5_000);
    pair.connected = false;
    let heard = pair.ends[0].session.remote.expect("heard").heard_at;
    while pair.ends[0].session.state() == State::Up {
        pair.run(1);
    }
    let waited = pair.now - heard;
    assert!(waited >= TIMING.interval * 3, "{waited:?}");
    assert!(
        waited <= TIMING.interval * 3 + Duration::from_millis(1),
        "{waited:?}"
    );
    let status = pair.ends[0].status();
    assert_eq!(status.diagnostic, Diagnostic::DETECTION_EXPIRED);
    assert_eq!(status.failures, 1);
    assert_eq!(status.remote_discriminator, 0, "forgotten");
    assert_eq!(
        pair.ends[0].events.last(),
        Some(&Event::Down(DownCause::Expired))
    );
}

#[test]
fn after_a_cut_both_come_up_again() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(5_000);
    pair.connected = false;
    pair.run(5_000);
    pair.connected = true;
    pair.run(4_000);
    assert_eq!(pair.states(), [State::Up, State::Up]);
    assert_eq!(pair.ends[0].status().ups, 2);
}

#[test]
fn who_is_not_up_sends_once_a_second_at_most() {
    let mut alone = Alone::new(TIMING);
    let sent = alone.run(60_000);
    let gaps = sent.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let (least, most) = (Duration::from_millis(750), Duration::from_millis(1_000));
    for gap in gaps {
        assert!((least..=most).contains(&gap), "{gap:?}");
    }
    assert!(sent.iter().all(|(_, packet)| packet.desired_min_tx == SLOW));
}

#[test]
fn who_is_up_sends_after_75_to_100_percent_of_the_interval() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(5_000);
    pair.ends[0].sent.clear();
    pair.run(60_000);
    let sent = &pair.ends[0].sent;
    for gap in sent.windows(2).map(|pair| pair[1].0 - pair[0].0) {
        assert!(
            gap >= Duration::from_millis(225) && gap <= Duration::from_millis(301),
            "{gap:?}"
        );
    }
    assert!((200..=268).contains(&sent.len()), "{}", sent.len());
}

#[test]
fn what_is_received_never_moves_the_next_transmission() {
    let mut alone = Alone::up();
    alone.run(1_000);
    let due = alone.session.transmit_due();
    for _ in 0..100 {
        alone.now += Duration::from_micros(10);
        let packet = alone.peer(State::Up);
        alone.session.handle_packet(&packet, alone.now);
        assert_eq!(alone.session.transmit_due(), due);
    }
}

#[test]
fn a_poll_is_answered_at_once_and_the_answer_moves_no_timer() {
    let mut alone = Alone::up();
    alone.run(1_000);
    let due = alone.session.transmit_due();
    let poll = Packet {
        poll: true,
        ..alone.peer(State::Up)
    };
    alone.session.handle_packet(&poll, alone.now);
    let answer = alone.session.poll_transmit(alone.now).expect("an answer");
    assert!(answer.is_final && !answer.poll);
    assert_eq!(alone.session.transmit_due(), due);
    assert_eq!(alone.session.poll_transmit(alone.now), None);
}

#[test]
fn a_peer_that_asks_for_less_waits_no_longer_than_the_new_interval() {
    let mut alone = Alone::up();
    let slow = Packet {
        required_min_rx: 5_000_000,
        ..alone.peer(State::Up)
    };
    alone.session.handle_packet(&slow, alone.now);
    alone.run(1);
    let sent = alone.session.sent_at.expect("sent");
    assert!(alone.session.transmit_due() >= Some(sent + Duration::from_millis(3_750)));

    let packet = alone.peer(State::Up);
    alone.session.handle_packet(&packet, alone.now);
    assert!(alone.session.transmit_due() <= Some(sent + TIMING.interval));
}

#[test]
fn a_slower_interval_is_used_only_when_the_peer_confirmed_it() {
    let mut alone = Alone::up();
    let second = Timing {
        interval: Duration::from_secs(1),
        multiplier: 3,
    };
    alone.session.set_timing(second);
    let told = alone
        .session
        .poll_transmit(alone.now)
        .expect("told at once");
    assert!(told.poll);
    assert_eq!((told.desired_min_tx, told.required_min_rx), (SLOW, SLOW));
    assert_eq!(alone.session.interval(), Some(TIMING.interval), "not yet");
    assert_eq!(
        alone.detection(),
        Duration::from_secs(3),
        "patience at once"
    );

    alone.finish_poll();
    assert_eq!(alone.session.interval(), Some(second.interval));
    assert_eq!(alone.session.poll, Poll::Idle);
}

#[test]
fn less_patience_begins_only_when_the_peer_confirmed_it() {
    let mut alone = Alone::up();
    let fast = Packet {
        desired_min_tx: 10_000,
        ..alone.peer(State::Up)
    };
    alone.session.handle_packet(&fast, alone.now);
    alone.session.set_timing(Timing {
        interval: Duration::from_millis(50),
        multiplier: 3,
    });
    assert_eq!(alone.detection(), TIMING.interval * 3, "the former");
    let confirmed = Packet {
        is_final: true,
        ..fast
    };
    alone.session.handle_packet(&confirmed, alone.now);
    assert_eq!(alone.detection(), Duration::from_millis(150));
}

#[test]
fn a_change_during_a_poll_sequence_needs_a_confirmation_of_its_own() {
    let mut alone = Alone::up();
    let timing = |millis| Timing {
        interval: Duration::from_millis(millis),
        multiplier: 3,
    };
    alone.session.set_timing(timing(500));
    alone.session.set_timing(timing(700));
    alone.finish_poll();
    assert_eq!(
        alone.session.interval(),
        Some(TIMING.interval),
        "that was for 500 ms"
    );
    alone.finish_poll();
    assert_eq!(alone.session.interval(), Some(Duration::from_millis(700)));
}

#[test]
fn a_final_that_nobody_asked_for_changes_nothing() {
    let mut alone = Alone::up();
    alone.finish_poll();
    assert_eq!(
        (alone.session.state(), alone.session.poll),
        (State::Up, Poll::Idle)
    );
}

#[test]
fn a_session_that_flaps_keeps_its_parameters_for_a_detection_time() {
    let mut alone = Alone::up();
    let down = alone.peer(State::Down);
    alone.session.handle_packet(&down, alone.now);
    assert_eq!(alone.session.state(), State::Down);
    assert_eq!(alone.session.diagnostic, Diagnostic::NEIGHBOR_DOWN);
    let kept = alone.session.status(Ipv4Addr::LOCALHOST);
    assert_eq!(kept.remote_discriminator, PEER);
    alone.run(890);
    assert!(alone.session.remote.is_some());
    alone.run(20);
    assert!(alone.session.remote.is_none());
}

#[test]
fn a_peer_that_its_operator_holds_down_did_not_fail() {
    let mut alone = Alone::up();
    let packet = alone.peer(State::AdminDown);
    alone.session.handle_packet(&packet, alone.now);
    assert_eq!(alone.session.state(), State::Down);
    let event = alone.session.poll_event();
    assert_eq!(event, Some(Event::Down(DownCause::NeighborAdmin)));
    assert_eq!(alone.session.failures, 0);
}

#[test]
fn our_operator_holds_the_session_down_and_the_peer_hears_it() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(5_000);
    let now = pair.now;
    pair.ends[0].session.set_admin_down(now);
    pair.run(5_000);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    let far = pair.ends[1].events.last();
    assert_eq!(far, Some(&Event::Down(DownCause::NeighborAdmin)));
}

#[test]
fn a_peer_that_wants_no_packets_gets_none_but_news() {
    let mut alone = Alone::up();
    let silent = Packet {
        required_min_rx: 0,
        ..alone.peer(State::Up)
    };
    alone.session.handle_packet(&silent, alone.now);
    assert_eq!(alone.session.transmit_due(), None);
    assert_eq!(alone.run(800), []);
    let news = alone.run(200);
    assert_eq!(
        news.first().map(|(_, packet)| packet.state),
        Some(State::Down)
    );
}

#[test]
fn a_peer_in_demand_mode_gets_packets_only_while_we_poll() {
    let mut alone = Alone::up();
    let demand = Packet {
        demand: true,
        ..alone.peer(State::Up)
    };
    alone.session.handle_packet(&demand, alone.now);
    assert_eq!(alone.session.transmit_due(), None);
    alone.session.set_timing(Timing {
        interval: Duration::from_millis(400),
        multiplier: 3,
    });
    assert!(alone.session.transmit_due().is_some());
}

#[test]
fn a_peer_that_restarts_brings_the_session_down_and_up_again() {
    let mut pair = Pair::new(TIMING, TIMING);
    pair.run(5_000);
    let reborn = Session::new(TIMING, 99, pair.now);
    pair.ends[1].session = reborn;
    pair.run(1);
    let noticed = [Event::Up, Event::Down(DownCause::Neighbor), Event::Up];
    assert_eq!(pair.ends[0].events, noticed, "within a millisecond");
    pair.run(3_000);
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

#[test]
fn a_late_thread_sends_one_packet_and_does_not_catch_up() {
    let mut alone = Alone::up();
    alone.now += Duration::from_millis(800);
    assert!(alone.session.poll_transmit(alone.now).is_some());
    assert_eq!(alone.session.poll_transmit(alone.now), None);
}

/// Discriminator of the peer that is made by hand.
const PEER: u32 = 77;

/// One session and the time.
struct Alone {
    session: Session,
    now: Instant,
}

impl Alone {
    fn new(timing: Timing) -> Self {
        let now = start();
        let session = Session::new(timing, 5, now);
        Self { session, now }
    }

    /// A session that is Up and whose peer knows its parameters.
    fn up() -> Self {
        let mut alone = Self::new(TIMING);
        for state in [State::Down, State::Init] {
            let packet = alone.peer(state);
            alone.session.handle_packet(&packet, alone.now);
        }
        alone.finish_poll();
        while alone.session.poll_event().is_some() {}
        while alone.session.poll_transmit(alone.now).is_some() {}
        assert_eq!(alone.session.state(), State::Up);
        alone
    }

    /// What the peer says in a state.
    fn peer(&self, state: State) -> Packet {
        Packet {
            diagnostic: Diagnostic::NONE,
            state,
            poll: false,
            is_final: false,
            control_independent: false,
            demand: false,
            multiplier: 3,
            my_discriminator: PEER,
            your_discriminator: self.session.discriminator(),
            desired_min_tx: INTERVAL,
            required_min_rx: INTERVAL,
            required_min_echo_rx: 0,
        }
    }

    fn finish_poll(&mut self) {
        let packet = Packet {
            is_final: true,
            ..self.peer(State::Up)
        };
        self.session.handle_packet(&packet, self.now);
    }

    fn detection(&self) -> Duration {
        let status = self.session.status(Ipv4Addr::LOCALHOST);
        status.detection_time.expect("heard")
    }

    /// Lets time pass; nothing is received. Returns what was sent and when.
    fn run(&mut self, millis: u32) -> Vec<(Instant, Packet)> {
        let mut sent = Vec::new();
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            self.session.handle_timeout(self.now);
            while let Some(packet) = self.session.poll_transmit(self.now) {
                sent.push((self.now, packet));
            }
        }
        sent
    }
}

/// One end of a wire.
struct End {
    session: Session,
    events: Vec<Event>,
    sent: Vec<(Instant, Packet)>,
}

impl End {
    fn status(&self) -> SessionStatus {
        self.session.status(Ipv4Addr::LOCALHOST)
    }
}

/// Two sessions and the wire between them.
struct Pair {
    ends: [End; 2],
    now: Instant,
    connected: bool,
}

impl Pair {
    fn new(one: Timing, other: Timing) -> Self {
        let now = start();
        let end = |timing, seed| End {
            session: Session::new(timing, seed, now),
            events: Vec::new(),
            sent: Vec::new(),
        };
        Self {
            ends: [end(one, 1), end(other, 2)],
            now,
            connected: true,
        }
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|end: usize| self.ends[end].session.state())
    }

    fn run(&mut self, millis: u32) {
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            for end in &mut self.ends {
                end.session.handle_timeout(self.now);
            }
            self.exchange();
        }
    }

    /// Carries packets until nobody has more to say at this moment.
    fn exchange(&mut self) {
        while let Some((from, packet)) = self.next() {
            self.ends[from].sent.push((self.now, packet));
            // A packet for a former session is discarded before it gets there.
            let to = &mut self.ends[1 - from];
            let named = packet.your_discriminator;
            if self.connected && (named == 0 || named == to.session.discriminator()) {
                to.session.handle_packet(&packet, self.now);
            }
        }
        for end in &mut self.ends {
            end.events
                .extend(std::iter::from_fn(|| end.session.poll_event()));
        }
    }

    fn next(&mut self) -> Option<(usize, Packet)> {
        let now = self.now;
        let mut ends = self.ends.iter_mut().enumerate();
        ends.find_map(|(index, end)| Some((index, end.session.poll_transmit(now)?)))
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
fn start() -> Instant {
    Instant::now()
}
