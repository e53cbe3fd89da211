//! Two routers on one LAN that do not hear each other: whom ARP still joins are never two for long, and who are cut off
//! from each other are one again when the LAN is one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND};
use sam_testkit::netns::{Pings, ask_who_has, wait_until};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "split_brain::where_advertisements_are_lost_arp_carries_the_election",
        needs: &[Need::Tool("ip")],
        run: lost,
    },
    Case {
        name: "split_brain::two_masters_that_only_arp_joins_are_one_at_once_and_stay_so",
        needs: &[Need::Tool("ip")],
        run: arp_only,
    },
    Case {
        name: "split_brain::the_halves_of_a_lan_have_a_router_each_and_one_when_they_are_joined",
        needs: &[Need::Tool("ip")],
        run: halves,
    },
];

const ELECTION: Duration = Duration::from_secs(15);
/// An interval of 300 ms, and what a busy machine takes.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How long nothing may change afterwards: three down intervals and more.
const CALM: Duration = Duration::from_secs(4);
const WINDOW: Duration = Duration::from_millis(40);

fn lost() {
    let pair = Pair::running(samctl());
    let pings = Pings::start(pair.client(), FAR.client());

    pair.lose_multicast(true);
    wait_until("only ARP brings advertisements", ELECTION, || {
        let view = pair.vrrp(SECOND);
        view["election"]["heard"]["by_arp_only"] == true
    });
    stays_alone(&pair);

    let loss = pings.stop();
    assert!(loss.gap < Duration::from_secs(1), "{loss:?}");
    let doctor = pair.fabric.router(SECOND).samctl("doctor lan").text();
    assert!(doctor.contains("only ARP brings them"), "{doctor}");
    pair.lose_multicast(false);
    wait_until("advertisements arrive", ELECTION, || {
        let view = pair.vrrp(SECOND);
        view["election"]["heard"]["by_arp_only"] == false
    });
}

fn arp_only() {
    let pair = Pair::running(samctl());
    pair.lose_multicast(true);
    pair.split(true);
    // Who was master for a second or more did not just take over.
    wait_until("the second router is master for a while", ELECTION, || {
        let election = pair.vrrp(SECOND)["election"].clone();
        election["state"] == "master" && election["since_s"].as_f64() > Some(1.5)
    });
    assert_eq!(pair.state(FIRST), "master");

    pair.split(false);
    let took = until_one_answers(&pair);
    assert!(took <= AT_ONCE, "{took:?}");
    stays_alone(&pair);
    wait_for_ping(pair.client(), FAR.client(), AT_ONCE);
    // The loser knows why it is silent; the winner may have heard of the other one only that it leaves.
    let loser = pair.fabric.router(SECOND);
    let rule = "this router is silent, 10.77.60.1 keeps the role: priority 100 against 150";
    let doctor = loser.samctl("doctor lan");
    assert_eq!(doctor.code, 5, "{}", doctor.text());
    let explain = loser.samctl(&format!("explain {}", FAR.client()));
    let events = loser.samctl("events");
    for told in [doctor, explain, events] {
        assert!(told.text().contains(rule), "{}", told.text());
    }
}

fn halves() {
    let pair = Pair::running(samctl());
    // A second host, which is told to both as a host of their LAN.
    pair.split(false);
    for site in [FIRST, SECOND] {
        let announce = format!("announce {}", SECOND.client());
        pair.fabric.router(site).samctl(&announce).success();
    }
    wait_for_ping(pair.other_client(), FAR.client(), ELECTION);

    pair.split(true);
    pair.wait_for(SECOND, "master");
    assert_eq!(pair.state(FIRST), "master");
    wait_until("each half has its router", ELECTION, || {
        let halves = [(pair.client(), FIRST), (pair.other_client(), SECOND)];
        halves.into_iter().all(|(client, site)| {
            let answers = ask_who_has(client, site.client(), FAR.client(), WINDOW);
            let macs: Vec<String> = answers.into_iter().map(|answer| answer.mac).collect();
            macs == [pair.mac(site)]
        })
    });
    // Both claim both hosts; other sites send to the router that hears them.
    let far = pair.fabric.topology.client(FAR);
    for host in [FIRST.client(), SECOND.client()] {
        wait_for_ping(far, host, ELECTION);
    }
    let doctor = pair.fabric.router(FIRST).samctl("doctor lan").text();
    assert!(doctor.contains("the LAN is cut in two"), "{doctor}");

    pair.split(false);
    let took = until_one_answers(&pair);
    assert!(took <= AT_ONCE, "{took:?}");
    stays_alone(&pair);
    wait_for_ping(pair.client(), FAR.client(), AT_ONCE);
    // This one learned the MAC of the router that is silent by now.
    wait_for_ping(pair.other_client(), FAR.client(), AT_ONCE);
}

/// Waits until one router, the first, answers; returns how long it took.
fn until_one_answers(pair: &Pair) -> Duration {
    let (since, first) = (Instant::now(), BTreeSet::from([pair.mac(FIRST)]));
    wait_until("one router answers", ELECTION, || answerers(pair) == first);
    since.elapsed()
}

/// Asserts that the first router alone answers, again and again, and that nobody changes its part.
fn stays_alone(pair: &Pair) {
    let promotions = |site| pair.vrrp(site)["election"]["promotions"].clone();
    let before = [promotions(FIRST), promotions(SECOND)];
    let (until, first) = (Instant::now() + CALM, BTreeSet::from([pair.mac(FIRST)]));
    let mut answered = 0;
    while Instant::now() < until {
        // An answer may come too late to be seen, on a machine that does much else.
        let seen = answerers(pair);
        assert!(seen.is_subset(&first), "{seen:?}");
        answered += seen.len();
    }
    assert!(answered > 0, "nobody answers");
    assert_eq!([promotions(FIRST), promotions(SECOND)], before);
    assert_eq!(
        [pair.state(FIRST), pair.state(SECOND)],
        ["master", "backup"]
    );
}

/// The MACs that answer for the far client.
fn answerers(pair: &Pair) -> BTreeSet<String> {
    let answers = pair.who_has(FAR.client(), WINDOW);
    answers.into_iter().map(|(_, mac)| mac).collect()
}
