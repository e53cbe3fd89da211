//! The machine alone, on virtual time: hosts answer, lie, leave and fall silent.

use super::*;

const EXPIRY: Duration = Duration::from_secs(300);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 51);
const HOST: Mac = [2, 0, 0, 0, 0, 50];
const RIVAL: Mac = [2, 0, 0, 0, 0, 66];

#[test]
fn a_host_is_asked_when_it_is_heard_and_known_when_it_answers() {
    let mut lan = Lan::new();

    lan.frame(ADDRESS, HOST);
    assert_eq!(lan.homes(), []);
    assert_eq!(lan.asked(), [(ADDRESS, Some(HOST))], "it alone is asked");
    lan.answer(ADDRESS, RIVAL);
    assert_eq!(lan.homes(), [], "it was not asked before it was heard");
    lan.answer(ADDRESS, HOST);

    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
    assert_eq!(lan.news(), [News::Learned(ADDRESS, HOST)]);
}

#[test]
fn frames_without_an_answer_make_no_home_however_many_they_are() {
    let mut lan = Lan::new();
    for _ in 0..100 {
        for heard in [Heard::Overheard, Heard::Addressed] {
            lan.hear(ADDRESS, HOST, heard);
        }
        lan.run(Duration::from_millis(300));
    }

    assert_eq!(lan.homes(), []);
}

#[test]
fn who_sends_a_packet_in_a_storm_of_arp_is_asked_at_once() {
    let mut lan = Lan::new();
    let forged = |index: u32| {
        let [_, _, a, b] = index.to_be_bytes();
        (Ipv4Addr::from(0x0a4d_0000 + index), [2, 0, 0, 9, a, b])
    };
    for turn in 0..20 {
        for index in 0..1_000 {
            let (address, mac) = forged(turn * 1_000 + index);
            lan.frame(address, mac);
        }
        lan.run(Duration::from_millis(100));
    }
    lan.asked();
    lan.frame(ADDRESS, HOST);
    lan.hear(ADDRESS, HOST, Heard::Addressed);

    let asked = lan.asked_by(Duration::from_millis(100));
    assert!(asked.contains(&(ADDRESS, Some(HOST))), "{asked:?}");
    lan.answer(ADDRESS, HOST);
    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
}

#[test]
fn a_host_that_is_heard_once_only_is_asked_a_few_times_and_forgotten() {
    let mut lan = Lan::new();
    lan.frame(ADDRESS, HOST);
    lan.run(Duration::from_secs(60));

    let asked = lan.asked().len();
    assert!((2..=6).contains(&asked), "{asked}");
    lan.frame(ADDRESS, HOST);
    assert_eq!(lan.homes(), [], "the first frame was too long ago");
}

#[test]
fn a_silent_host_is_asked_by_unicast_and_given_up_while_another_is_heard() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.asked();
    lan.run(EXPIRY * 4 / 5 + Duration::from_secs(1));
    assert_eq!(lan.asked(), [(ADDRESS, Some(HOST))]);

    lan.learn(OTHER, RIVAL);
    lan.news();
    lan.run(Duration::from_secs(62));

    assert_eq!(lan.homes(), [(OTHER, RIVAL)]);
    assert_eq!(lan.news(), [News::Lost(ADDRESS, HOST, "silent")]);
    let questions = lan
        .asked()
        .iter()
        .filter(|asked| asked.1 == Some(HOST))
        .count();
    assert_eq!(questions, usize::from(home::TRIES) - 1);
}

#[test]
fn a_host_that_answers_stays() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.learn(OTHER, RIVAL);
    for _ in 0..20 {
        lan.run(EXPIRY * 4 / 5 + Duration::from_secs(1));
        lan.frame(ADDRESS, HOST);
        lan.frame(OTHER, RIVAL);
    }

    assert_eq!(lan.homes().len(), 2);
}

#[test]
fn the_silence_of_everybody_withdraws_nobody() {
    let mut lan = Lan::new();
    for last in 0..20 {
        lan.learn(Ipv4Addr::new(10, 77, 60, 100 + last), [2, 0, 0, 0, 1, last]);
    }

    lan.run(EXPIRY * 20);

    assert_eq!(lan.homes().len(), 20);
    assert!(
        lan.discovery
            .homes()
            .values()
            .all(|home| home.state() == "silent")
    );
    // One of them is heard again: now the others are missed.
    lan.frame(Ipv4Addr::new(10, 77, 60, 100), [2, 0, 0, 0, 1, 0]);
    lan.run(EXPIRY / 2);
    assert_eq!(lan.homes().len(), 1);
}

#[test]
fn another_mac_gets_the_address_only_when_the_known_one_is_silent() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    lan.asked();
    lan.frame(ADDRESS, RIVAL);
    assert_eq!(
        lan.asked_by(Duration::ZERO),
        [(ADDRESS, Some(RIVAL)), (ADDRESS, Some(HOST))]
    );
    lan.answer(ADDRESS, RIVAL);
    assert_eq!(lan.homes(), [(ADDRESS, HOST)], "not yet");

    lan.run(Duration::from_secs(2));

    assert_eq!(lan.homes(), [(ADDRESS, RIVAL)]);
    let changed = |kept| News::OtherMac {
        address: ADDRESS,
        from: HOST,
        to: RIVAL,
        kept,
    };
    assert_eq!(lan.news(), [changed(false)]);
}

#[test]
fn two_hosts_with_one_address_are_an_alarm_and_the_first_keeps_it() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    lan.frame(ADDRESS, RIVAL);
    lan.frame(ADDRESS, RIVAL);
    lan.frame(ADDRESS, HOST);
    lan.run(Duration::from_secs(5));

    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
    let kept = News::OtherMac {
        address: ADDRESS,
        from: HOST,
        to: RIVAL,
        kept: true,
    };
    assert_eq!(lan.news(), [kept]);
    assert_eq!(lan.discovery.disputes().newest_first().len(), 1);
}

#[test]
fn a_host_that_moves_after_another_mac_had_its_address_is_followed() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.frame(ADDRESS, RIVAL);
    lan.frame(ADDRESS, HOST);
    lan.news();

    // Both leave, and another node claims the address from now on.
    let left = lan.now;
    while lan.now < left + PATIENCE {
        lan.discovery.challenge(ADDRESS, lan.now);
        lan.run(Duration::from_millis(100));
    }

    assert_eq!(lan.news(), [News::Lost(ADDRESS, HOST, "moved")]);
}

#[test]
fn forged_frames_change_no_mac() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    for _ in 0..10 {
        lan.frame(ADDRESS, RIVAL);
    }
    lan.run(Duration::from_secs(5));

    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
    assert_eq!(lan.news(), []);
}

#[test]
fn a_claim_elsewhere_has_the_host_asked_and_silence_gives_way() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    lan.asked();

    lan.discovery.challenge(ADDRESS, lan.now);
    lan.run(Duration::from_secs(2));

    let to_all = (ADDRESS, None);
    let asked = lan.asked();
    assert_eq!(asked[..3], [(ADDRESS, Some(HOST)); 3]);
    assert_eq!(asked[3..], [to_all], "for whoever heard it before");
    assert_eq!(lan.news(), [News::Lost(ADDRESS, HOST, "moved")]);
}

#[test]
fn a_host_that_answers_a_challenge_stays_and_is_left_alone_for_a_while() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.asked();
    lan.discovery.challenge(ADDRESS, lan.now);
    lan.run(Duration::from_millis(10));
    lan.frame(ADDRESS, HOST);
    for _ in 0..19 {
        lan.discovery.challenge(ADDRESS, lan.now);
        lan.run(Duration::from_millis(100));
    }

    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
    assert_eq!(lan.asked().len(), 1);
}

#[test]
fn a_host_that_moves_after_it_answered_a_challenge_is_followed_before_its_new_home_is_given_up() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    lan.discovery.challenge(ADDRESS, lan.now);
    lan.run(Duration::from_millis(10));
    lan.frame(ADDRESS, HOST);

    // It leaves, and another node claims it from now on.
    let left = lan.now;
    while lan.now < left + PATIENCE {
        lan.discovery.challenge(ADDRESS, lan.now);
        lan.run(Duration::from_millis(100));
    }

    assert_eq!(lan.news(), [News::Lost(ADDRESS, HOST, "moved")]);
}

#[test]
fn a_claim_that_does_not_win_is_given_up_and_not_made_again_at_once() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.news();
    lan.discovery.on_claim(ADDRESS, false, lan.now);
    lan.run(PATIENCE + Duration::from_millis(1));
    assert_eq!(lan.news(), [News::Lost(ADDRESS, HOST, "owned-elsewhere")]);

    lan.learn(ADDRESS, HOST);
    assert_eq!(lan.homes(), []);
    lan.run(DECLINED);
    lan.learn(ADDRESS, HOST);
    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
}

#[test]
fn a_claim_that_wins_after_a_while_has_its_host_asked_anew() {
    for (waited, asked) in [(4_000, 3), (500, 0)] {
        let mut lan = Lan::new();
        lan.learn(ADDRESS, HOST);
        lan.learn(OTHER, RIVAL);
        lan.discovery.on_claim(ADDRESS, false, lan.now);
        lan.run(Duration::from_millis(waited));
        lan.asked();
        lan.news();

        lan.discovery.on_claim(ADDRESS, true, lan.now);
        let questions = lan.asked_by(Duration::from_millis(2_500));
        assert_eq!(questions, vec![(ADDRESS, Some(HOST)); asked]);
        lan.frame(OTHER, RIVAL);
        lan.run(Duration::from_secs(2));

        // It has left, while another one is there.
        let gone = News::Lost(ADDRESS, HOST, "silent");
        assert_eq!(lan.news().contains(&gone), asked > 0, "after {waited} ms");
    }
}

#[test]
fn one_mac_has_so_many_addresses_and_no_more() {
    let mut lan = Lan::new();
    for last in 0..100 {
        lan.learn(Ipv4Addr::new(10, 77, 60, last), HOST);
        lan.run(Duration::from_millis(100));
    }

    assert_eq!(lan.homes().len(), ArpDiscovery::default().per_mac);
    let refused = lan.news().into_iter();
    let refused =
        refused.filter(|news| matches!(news, News::Refused(_, HOST, Refusal::TooManyOfMac)));
    assert!(refused.count() >= 84);
}

#[test]
fn a_storm_of_forged_hosts_is_bounded() {
    let mut lan = Lan::new();
    for index in 0..1_000_u32 {
        let [_, _, a, b] = index.to_be_bytes();
        lan.frame(Ipv4Addr::from(0x0a4d_0000 + index), [2, 0, 0, 9, a, b]);
    }
    lan.run(Duration::from_secs(1));

    assert_eq!(lan.homes(), []);
    let active = lan.discovery.active.as_ref().expect("it acts");
    assert!(active.overheard.len() <= newcomers::NEWCOMERS);
    let asked = lan.asked().len();
    assert!(asked <= 2 * QUESTIONS as usize, "{asked}");
    // Even who answers for all of them is slow.
    for index in 0..1_000_u32 {
        let [_, _, a, b] = index.to_be_bytes();
        lan.learn(Ipv4Addr::from(0x0a4d_0000 + index), [2, 0, 0, 9, a, b]);
    }
    assert!(lan.homes().len() <= LEARNED as usize);
}

#[test]
fn a_closed_gate_keeps_homes_for_as_long_as_silence_would() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    lan.asked();
    lan.discovery.set_gate(false, lan.now);
    lan.frame(OTHER, RIVAL);
    lan.run(EXPIRY);
    lan.discovery.set_gate(true, lan.now);
    assert_eq!(lan.homes(), [(ADDRESS, HOST)]);
    assert_eq!(
        lan.asked_by(Duration::from_millis(1)),
        [(ADDRESS, Some(HOST))]
    );

    lan.discovery.set_gate(false, lan.now);
    lan.run(EXPIRY + Duration::from_secs(1));
    lan.discovery.set_gate(true, lan.now);
    assert_eq!(lan.homes(), []);
    assert_eq!(
        lan.asked_by(Duration::from_millis(1)),
        [(ADDRESS, None)],
        "asked for anew"
    );
}

#[test]
fn who_speaks_for_a_router_is_no_host_for_a_while() {
    let mut lan = Lan::new();
    let now = lan.now;
    assert!(!lan.discovery.is_router(HOST, now));
    lan.discovery
        .on_refused(OTHER, HOST, Refusal::Excluded, now);
    assert!(lan.discovery.is_router(HOST, now));
    assert!(!lan.discovery.is_router(HOST, now + ROUTER_MEMORY));
}

#[test]
fn the_sweep_asks_for_everybody_in_turn_and_wanted_addresses_come_first() {
    let mut lan = Lan::sweeping();
    assert!(lan.discovery.want(OTHER, lan.now));
    lan.run(Duration::from_secs(1));

    let asked = lan.asked();
    assert_eq!(asked[0], (OTHER, None));
    assert!((9..=11).contains(&(asked.len() - 1)), "{asked:?}");
    assert_eq!(asked[1].0, Ipv4Addr::new(10, 77, 60, 2));
}

#[test]
fn a_new_binding_ends_the_home_of_another_mac() {
    let mut lan = Lan::new();
    lan.learn(ADDRESS, HOST);
    let settings = ArpDiscovery {
        bindings: BTreeMap::from([(ADDRESS, RIVAL)]),
        ..ArpDiscovery::default()
    };
    lan.discovery.configure(Some(settings), lan.now);
    assert_eq!(lan.homes(), []);
    lan.learn(OTHER, RIVAL);
    lan.discovery.configure(None, lan.now);
    assert_eq!((lan.homes(), lan.discovery.is_active()), (vec![], None));
}

/// A LAN whose gate is open.
struct Lan {
    discovery: Discovery,
    now: Instant,
}

impl Lan {
    fn new() -> Self {
        Self::with(0)
    }

    fn sweeping() -> Self {
        Self::with(10)
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn with(sweep: u16) -> Self {
        let now = Instant::now();
        let mut discovery = Discovery::default();
        let settings = ArpDiscovery {
            sweep,
            ..ArpDiscovery::default()
        };
        discovery.configure(Some(settings), now);
        discovery.set_gate(true, now);
        Self { discovery, now }
    }

    fn frame(&mut self, address: Ipv4Addr, mac: Mac) {
        self.hear(address, mac, Heard::Overheard);
    }

    fn answer(&mut self, address: Ipv4Addr, mac: Mac) {
        self.hear(address, mac, Heard::Answered);
    }

    fn hear(&mut self, address: Ipv4Addr, mac: Mac, heard: Heard) {
        self.discovery.on_frame(address, mac, heard, self.now);
    }

    fn learn(&mut self, address: Ipv4Addr, mac: Mac) {
        self.frame(address, mac);
        self.answer(address, mac);
    }

    /// Lets time pass by the machine's own deadlines.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            let Some(due) = self.discovery.poll_timeout().filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            let next = |last: Option<Ipv4Addr>| {
                let next = last.map_or(2, |last| last.octets()[3] + 1);
                (next < 250).then(|| Ipv4Addr::new(10, 77, 60, next))
            };
            self.discovery.handle_timeout(self.now, next);
        }
        panic!("it spins");
    }

    fn asked(&mut self) -> Vec<(Ipv4Addr, Option<Mac>)> {
        let questions = std::iter::from_fn(|| self.discovery.poll_question());
        questions.map(|asked| (asked.address, asked.to)).collect()
    }

    fn asked_by(&mut self, span: Duration) -> Vec<(Ipv4Addr, Option<Mac>)> {
        self.run(span);
        self.asked()
    }

    fn homes(&self) -> Vec<(Ipv4Addr, Mac)> {
        let homes = self.discovery.homes().iter();
        homes.map(|(address, home)| (*address, home.mac)).collect()
    }

    fn news(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.discovery.poll_news()).collect()
    }
}
