//! Two routers on one LAN, of which one answers at a time: killed, stopped, frozen, unplugged.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_testkit::netns::{Daemon, Fabric, Site, ask_who_has, sh, wait_until};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "vrrp::one_router_answers_for_the_lan_and_the_backup_is_silent",
        needs: &[],
        run: one_answers,
    },
    Case {
        name: "vrrp::a_killed_master_is_followed_and_does_not_take_the_role_back",
        needs: &[],
        run: killed,
    },
    Case {
        name: "vrrp::an_orderly_stop_loses_nothing_but_packets_in_flight",
        needs: &[],
        run: stopped,
    },
    Case {
        name: "vrrp::a_drained_master_makes_way_without_a_lost_packet",
        needs: &[],
        run: drained,
    },
    Case {
        name: "vrrp::a_master_that_was_frozen_steps_back_when_it_wakes",
        needs: &[],
        run: frozen,
    },
    Case {
        name: "vrrp::a_master_whose_cable_is_pulled_is_followed",
        needs: &[Need::Tool("ip")],
        run: unplugged,
    },
];

/// The router with the better priority.
const FIRST: Site = Site::ONPREM;
/// The other one on its LAN.
const SECOND: Site = Site::AZURE;
/// The router elsewhere.
const FAR: Site = Site::AWS;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
/// Three intervals of 300 ms, a skew, and what BFD and a busy machine take.
const TAKEOVER: Duration = Duration::from_millis(2_500);
const ELECTION: Duration = Duration::from_secs(15);
const ARP_WINDOW: Duration = Duration::from_millis(40);

/// ```text
///            ┌── router onprem, priority 150 ══╗
/// .10 ── lan1┤                                 ╠══ router aws ── lan2 ── .11
///            └── router azure,  priority 100 ══╝
/// ```
fn one_answers() {
    let pair = Pair::running();
    let mac = pair.mac(FIRST);
    for target in [FAR.client(), VIP] {
        let answers = pair.who_has(target, Duration::from_millis(500));
        let macs: Vec<&str> = answers.iter().map(|answer| answer.1.as_str()).collect();
        assert_eq!(macs, [mac.as_str()], "{target}");
    }
    assert_eq!(
        pair.fabric.owner(FAR, FIRST.client()).as_deref(),
        Some("onprem")
    );

    let backup = pair.fabric.router(SECOND);
    let view = backup.json("vrrp");
    assert_eq!(view["gate_open"], false, "{view}");
    assert_eq!(view["election"]["heard"]["address"], "10.77.60.1", "{view}");
    let why = backup.json(&format!("bgp why {}/32", FIRST.client()));
    let best = &why["best"]["node"]["name"];
    assert_eq!(
        (best, why["comparisons"].as_array().map(Vec::len)),
        (&"onprem".into(), Some(0))
    );
    let sent = backup.json("counters").to_string();
    assert!(
        counter(&sent, "arp-announcements-sent") == Some(0),
        "{sent}"
    );
    let explained = backup
        .json(&format!("explain {}", FAR.client()))
        .to_string();
    assert!(explained.contains("VRRP backup"), "{explained}");
    for site in [FIRST, SECOND] {
        let doctor = pair.fabric.router(site).samctl("doctor");
        assert_eq!(doctor.code, 0, "{}", doctor.text());
    }
}

fn killed() {
    let mut pair = Pair::running();
    let pings = Pings::start(&pair);

    let mut router = pair.fabric.take(FIRST);
    router.daemon().kill();
    let seen = pair.answerers_until_master(SECOND);
    assert!(seen.iter().all(|macs| macs.len() <= 1), "{seen:?}");
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    let loss = pings.stop();
    assert!(loss.gap <= TAKEOVER, "{loss:?}");
    assert_eq!(
        pair.fabric.owner(FAR, FIRST.client()).as_deref(),
        Some("azure")
    );

    drop(router);
    let pings = Pings::start(&pair);
    pair.fabric.start(FIRST);
    pair.wait_for(FIRST, "backup");
    // The first election that it could disturb.
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("three seconds went by", ELECTION, || {
        Instant::now() >= until
    });
    assert_eq!(
        (pair.state(FIRST), pair.state(SECOND)),
        ("backup".into(), "master".into())
    );
    let loss = pings.stop();
    assert!(loss.lost <= 3, "the return is not noticed: {loss:?}");
}

fn stopped() {
    let mut pair = Pair::running();
    let pings = Pings::start(&pair);
    let mut router = pair.fabric.take(FIRST);

    router.daemon().terminate();
    let seen = pair.answerers_until_master(SECOND);
    assert!(seen.iter().all(|macs| macs.len() <= 1), "{seen:?}");
    wait_until("it ended", ELECTION, || {
        router.daemon().exit_code() == Some(0)
    });

    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let loss = pings.stop();
    assert!(loss.lost <= 3, "{loss:?}");
    let cause = pair.fabric.router(SECOND).json("vrrp")["election"]["cause"].clone();
    assert_eq!(cause, "relieved");
}

/// Both ways of a ping change their router; then everything again with the roles exchanged.
fn drained() {
    let pair = Pair::running();
    let pings = Pings::start(&pair);
    for (leaves, takes_over) in [(FIRST, SECOND), (SECOND, FIRST)] {
        let router = pair.fabric.router(leaves);
        router.samctl("drain on --wait").success();

        assert_eq!(pair.state(takes_over), "master");
        let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
        assert_eq!(answers, [(FAR.client(), pair.mac(takes_over))]);
        assert_eq!(
            pair.fabric.owner(FAR, FIRST.client()).as_deref(),
            Some(takes_over.name())
        );
        let view = router.json("drain");
        assert_eq!(
            (&view["empty"], &view["left"]),
            (&true.into(), &serde_json::json!([]))
        );
        let text = router.samctl("doctor owners").text();
        assert!(text.contains("this router is drained"), "{text}");

        router.samctl("drain off").success();
        let doctor = router.samctl("doctor");
        assert_eq!(doctor.code, 0, "{}", doctor.text());
        assert_eq!(pair.state(takes_over), "master", "nothing is taken back");
    }
    let loss = pings.stop();
    assert!(loss.lost <= 3, "{loss:?}");
}

fn frozen() {
    let mut pair = Pair::running();
    let mut router = pair.fabric.take(FIRST);
    router.daemon().signal("STOP");
    wait_until("the other router is master", TAKEOVER, || {
        pair.state(SECOND) == "master"
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    let pings = Pings::start(&pair);
    router.daemon().signal("CONT");
    let cause = || router.json("vrrp")["election"]["cause"] == "overslept";
    wait_until("it steps back", ELECTION, cause);
    let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
    assert_eq!(answers, [(FAR.client(), pair.mac(SECOND))]);
    assert_eq!(pair.state(SECOND), "master");

    let loss = pings.stop();
    assert!(loss.gap < Duration::from_secs(1), "{loss:?}");
}

fn unplugged() {
    let pair = Pair::running();
    let pings = Pings::start(&pair);
    let port = pair.fabric.topology.router_port(FIRST);
    let wires = pair.fabric.topology.wires();

    sh(wires, &format!("ip link set {port} down")).success();
    wait_until("the other router is master", TAKEOVER, || {
        pair.state(SECOND) == "master"
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let loss = pings.stop();
    assert!(loss.gap <= TAKEOVER, "{loss:?}");
    wait_until("it knows", ELECTION, || {
        let view = pair.fabric.router(FIRST).json("vrrp");
        view["gate_reason"] == "interface is down"
    });

    let pings = Pings::start(&pair);
    sh(wires, &format!("ip link set {port} up")).success();
    pair.wait_for(FIRST, "backup");
    let loss = pings.stop();
    assert!(loss.lost <= 3, "the return is not noticed: {loss:?}");
}

/// Two routers on one LAN.
struct Pair {
    fabric: Fabric,
}

impl Pair {
    /// Starts all routers and waits until the first one is master and packets pass.
    fn running() -> Self {
        let fabric = Fabric::new(samctl(), 3);
        let topology = &fabric.topology;
        // Its cable goes to the first one's LAN, its address is another one.
        let cable = format!("ip link set {} master lan1", topology.router_port(SECOND));
        sh(topology.wires(), &cable).success();
        let address = "ip address flush dev lan0 && ip address add 10.77.60.2/24 dev lan0";
        sh(topology.router(SECOND), address).success();
        fabric.edit_all(
            "name: azure, site: azure, role: azure",
            "name: azure, site: onprem, role: onprem",
        );
        fabric.edit_all("routeReflectors: [onprem]", "routeReflectors: []");
        fabric.edit_all(
            "exclude: [10.77.60.1]",
            "exclude: [10.77.60.1, 10.77.60.2, 10.77.60.254]",
        );
        fabric.edit(SECOND, "owned: [10.77.60.12]", "owned: [10.77.60.10]");
        for (site, priority) in [(FIRST, 150), (SECOND, 100)] {
            let gate =
                format!("activeWhen: {{vrrp: {{vrid: 60, address: {VIP}, priority: {priority}}}}}");
            fabric.edit(site, "activeWhen: single-router", &gate);
        }
        // Without preemption the first to come keeps the role.
        let mut pair = Self { fabric };
        pair.fabric.start(FIRST);
        pair.wait_for(FIRST, "master");
        pair.fabric.start(SECOND);
        pair.fabric.start(FAR);
        pair.wait_for(SECOND, "backup");
        wait_for_ping(pair.client(), FAR.client(), ELECTION);
        pair
    }

    fn client(&self) -> &sam_net::Namespace {
        self.fabric.topology.client(FIRST)
    }

    fn state(&self, site: Site) -> String {
        let view = self.fabric.router(site).json("vrrp");
        view["election"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn wait_for(&self, site: Site, state: &str) {
        let what = format!("{} is {state}", site.name());
        wait_until(&what, ELECTION, || self.state(site) == state);
    }

    fn mac(&self, site: Site) -> String {
        let view = self.fabric.router(site).json("arp");
        view["mac"].as_str().unwrap_or_default().to_owned()
    }

    fn who_has(&self, target: Ipv4Addr, window: Duration) -> Vec<(Ipv4Addr, String)> {
        let answers = ask_who_has(self.client(), FIRST.client(), target, window);
        answers
            .into_iter()
            .map(|answer| (answer.address, answer.mac))
            .collect()
    }

    /// Asks again and again who has the far client's address, until a router is master; returns who answered each time.
    fn answerers_until_master(&self, site: Site) -> Vec<BTreeSet<String>> {
        let mut seen = Vec::new();
        wait_until("the other router is master", TAKEOVER, || {
            let answers = self.who_has(FAR.client(), ARP_WINDOW);
            seen.push(answers.into_iter().map(|(_, mac)| mac).collect());
            self.state(site) == "master"
        });
        seen
    }
}

/// A ping every ten milliseconds.
struct Pings {
    daemon: Daemon,
}

/// What became of it.
#[derive(Debug)]
struct Loss {
    lost: usize,
    gap: Duration,
}

impl Pings {
    fn start(pair: &Pair) -> Self {
        let log = pair.fabric.path("ping.log");
        let command = format!("exec ping -n -D -i 0.01 {}", FAR.client());
        let pings = Self {
            daemon: Daemon::sh(pair.client(), &command, &log),
        };
        wait_until("pings are answered", ELECTION, || {
            pings.daemon.log().lines().count() > 20
        });
        pings
    }

    fn stop(mut self) -> Loss {
        // Answers that are under way count.
        let seen = self.daemon.log().lines().count();
        wait_until("more pings are answered", ELECTION, || {
            self.daemon.log().lines().count() > seen + 20
        });
        self.daemon.signal("INT");
        wait_until("ping ends", ELECTION, || self.daemon.exit_code().is_some());
        let log = self.daemon.log();
        let times: Vec<f64> = log
            .lines()
            .filter(|line| line.contains("icmp_seq="))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let number = |word: &str| {
            let before = log.split_once(word).map_or("", |(before, _)| before);
            let number = before.trim_end().rsplit([' ', '\n']).next();
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let (sent, received): (usize, usize) = (number("packets transmitted"), number("received"));
        Loss {
            lost: sent - received,
            gap: Duration::from_secs_f64(gaps.fold(0.0, f64::max)),
        }
    }
}

/// The value of a counter in the JSON of `samctl counters`.
fn counter(json: &str, name: &str) -> Option<u64> {
    let view: serde_json::Value = serde_json::from_str(json).ok()?;
    let rows = view["counters"].as_array()?;
    let row = rows.iter().find(|row| row["name"] == name)?;
    row["value"].as_u64()
}
