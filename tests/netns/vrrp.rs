//! Two routers on one LAN, of which one answers at a time: killed, stopped, frozen, unplugged.

use std::time::{Duration, Instant};

use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND, VIP};
use sam_testkit::netns::{Answerers, Daemon, GATEWAY, Pings, Site, Stream, sh, wait_until};

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
        name: "vrrp::a_master_whose_cable_is_moved_or_pulled_is_followed",
        needs: &[Need::Tool("ip")],
        run: unplugged,
    },
    Case {
        name: "vrrp::a_master_that_is_cut_off_from_the_other_sites_gives_way",
        needs: &[Need::Tool("ip")],
        run: cut_off,
    },
    Case {
        name: "vrrp::a_master_whose_control_stands_still_gives_way_and_is_silent",
        needs: &[],
        run: stalled,
    },
    Case {
        name: "vrrp::a_master_that_is_superseded_while_its_control_stands_still_is_silent_at_once",
        needs: &[],
        run: superseded,
    },
    Case {
        name: "vrrp::a_master_whose_election_stands_still_is_silent_and_says_why",
        needs: &[Need::Tool("perl")],
        run: unelected,
    },
    Case {
        name: "vrrp::the_virtual_address_answers_pings_whoever_is_master",
        needs: &[],
        run: pinged,
    },
    Case {
        name: "vrrp::a_lan_interface_that_is_made_anew_is_taken_up_without_a_restart",
        needs: &[Need::Tool("ip")],
        run: renewed,
    },
];

/// Three intervals of 300 ms, a skew, and what BFD and a busy machine take. `cargo bench --bench takeover` measures it.
const TAKEOVER: Duration = Duration::from_millis(4_000);
/// The same after what has to be noticed first: by BFD, or because control has shown nothing for ten seconds.
const GIVES_WAY: Duration = Duration::from_millis(15_000);
/// Pings lost at most where nothing should be, on a machine that does much else; a killed master costs over sixty.
const LOST: usize = 20;
const ELECTION: Duration = Duration::from_secs(15);
/// Of advertisements.
const INTERVAL: Duration = Duration::from_millis(300);

fn one_answers() {
    let pair = Pair::running(samctl());
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
    let view = pair.vrrp(SECOND);
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

/// Both routers of the LAN are the reflectors; and there is an offer that nobody takes.
fn killed() {
    let mut pair = Pair::configured(samctl(), |fabric| {
        fabric.edit_all("routeReflectors: []", "routeReflectors: [onprem, azure]");
        let far = "name: aws, site: aws, role: aws,";
        fabric.edit(FAR, far, &format!("{far} may: [{}/32],", FAR.client()));
    });
    let offer = format!("handover {} --to aws", FIRST.client());
    pair.fabric.router(FIRST).samctl(&offer).success();
    wait_for_offers(&pair, &[FIRST, SECOND], 1);
    let pings = start_pings(&pair);
    let far = pair.fabric.topology.client(FAR);
    let stream = Stream::start(pair.client(), far, FAR.client());

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
    let pings = start_pings(&pair);
    pair.fabric.start(FIRST);
    pair.wait_for(FIRST, "backup");
    // It offers on what it offered, until the one that acts takes that back.
    wait_for_offers(&pair, &[FIRST, SECOND], 1);
    let cancel = format!("handover {} --cancel", FIRST.client());
    pair.fabric.router(SECOND).samctl(&cancel).success();
    wait_for_offers(&pair, &[FIRST, SECOND], 0);
    for site in [FIRST, SECOND] {
        assert_eq!(
            pair.fabric.owner(site, FAR.client()).as_deref(),
            Some("aws")
        );
    }
    // The first election that it could disturb.
    let until = Instant::now() + Duration::from_secs(3);
    wait_until("three seconds went by", ELECTION, || {
        Instant::now() >= until
    });
    pair.wait_for(FIRST, "backup");
    pair.wait_for(SECOND, "master");
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "the return is not noticed: {loss:?}");
    stream.stop().expect("the stream survives");
}

fn stopped() {
    let mut pair = Pair::running(samctl());
    let pings = start_pings(&pair);
    let mut router = pair.fabric.take(FIRST);

    router.daemon().terminate();
    let seen = pair.answerers_until_master(SECOND);
    assert!(seen.iter().all(|macs| macs.len() <= 1), "{seen:?}");
    wait_until("it ended", ELECTION, || {
        router.daemon().exit_code() == Some(0)
    });

    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "{loss:?}");
    let cause = pair.vrrp(SECOND)["election"]["cause"].clone();
    assert_eq!(cause, "relieved");
}

/// Both ways of a ping change their router; then everything again with the roles exchanged. The order outlives its router.
fn drained() {
    let mut pair = Pair::running(samctl());
    let pings = start_pings(&pair);
    let stream = Stream::start(
        pair.client(),
        pair.fabric.topology.client(FAR),
        FAR.client(),
    );
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

        pair.fabric.take(leaves).daemon().kill();
        pair.fabric.start(leaves);
        pair.wait_for(leaves, "backup");
        let router = pair.fabric.router(leaves);
        assert_eq!(router.json("drain")["drained"], true);
        let knows = || pair.fabric.owner(leaves, FAR.client()).as_deref() == Some("aws");
        wait_until("it knows the far client", ELECTION, knows);
        assert_eq!(router.json("drain")["empty"], true);

        router.samctl("undrain").success();
        // Nothing is taken back: an election would be over by then.
        let until = Instant::now() + Duration::from_secs(3);
        wait_until("the roles stay", ELECTION, || {
            assert_eq!(pair.state(takes_over), "master");
            Instant::now() >= until
        });
        let content = || router.samctl("doctor").code == 0;
        wait_until("doctor is content", ELECTION, content);
    }
    stream.stop().expect("the stream survives");
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "{loss:?}");
}

fn frozen() {
    let mut pair = Pair::running(samctl());
    let mut router = pair.fabric.take(FIRST);
    router.daemon().signal("STOP");
    wait_until("the other router is master", TAKEOVER, || {
        pair.state(SECOND) == "master"
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    let pings = start_pings(&pair);
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    router.daemon().signal("CONT");
    let cause = || router.json("vrrp")["election"]["cause"] == "overslept";
    wait_until("it steps back", ELECTION, cause);
    let seen = asker.stop();
    let allowed = INTERVAL + 2 * seen.longest_delay();
    assert!(seen.longest_overlap() <= allowed, "{seen:?}");
    // What it said before it knew may be doubted for a moment.
    wait_until("the master alone answers", TAKEOVER, || {
        let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
        answers == [(FAR.client(), pair.mac(SECOND))]
    });
    assert_eq!(pair.state(SECOND), "master");

    let loss = pings.stop();
    assert!(loss.gap < Duration::from_secs(1), "{loss:?}");
}

/// Moved first: to a segment without hosts of its LAN, where it is the master of nobody. Its claim would win by its router id.
fn unplugged() {
    let pair = Pair::running(samctl());
    let port = pair.fabric.topology.router_port(FIRST);
    let wires = pair.fabric.topology.wires();
    let far = pair.fabric.topology.client(FAR);
    pair.fabric.topology.replug_port(&port, SECOND);
    wait_until("the other router is master", TAKEOVER, || {
        pair.state(SECOND) == "master"
    });
    wait_until(
        "others send to the router that hears the host",
        ELECTION,
        || pair.fabric.owner(FAR, FIRST.client()).as_deref() == Some(SECOND.name()),
    );
    wait_for_ping(far, FIRST.client(), TAKEOVER);
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    assert_eq!(pair.state(FIRST), "master", "on its segment");
    let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
    assert_eq!(answers, [(FAR.client(), pair.mac(SECOND))]);
    pair.fabric.topology.replug_port(&port, FIRST);
    pair.wait_for(SECOND, "backup");
    wait_until("others send to the first router again", ELECTION, || {
        pair.fabric.owner(FAR, FIRST.client()).as_deref() == Some(FIRST.name())
    });
    wait_for_ping(far, FIRST.client(), ELECTION);
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    let pings = start_pings(&pair);

    sh(wires, &format!("ip link set {port} down")).success();
    wait_until("the other router is master", TAKEOVER, || {
        pair.state(SECOND) == "master"
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let loss = pings.stop();
    assert!(loss.gap <= TAKEOVER, "{loss:?}");
    wait_until("it knows", ELECTION, || {
        let view = pair.vrrp(FIRST);
        view["gate_reason"] == "interface is down"
    });

    let pings = start_pings(&pair);
    sh(wires, &format!("ip link set {port} up")).success();
    pair.wait_for(FIRST, "backup");
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "the return is not noticed: {loss:?}");
}

/// The first router reaches no other site, its LAN works.
fn cut_off() {
    let pair = Pair::running(samctl());
    let pings = start_pings(&pair);
    let first = pair.fabric.topology.router(FIRST);

    sh(first, "ip link set wan0 down").success();
    wait_until("the other router is master", GIVES_WAY, || {
        pair.state(SECOND) == "master"
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let loss = pings.stop();
    assert!(loss.gap <= GIVES_WAY, "{loss:?}");
    let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
    assert_eq!(answers, [(FAR.client(), pair.mac(SECOND))]);
    let doctor = pair.fabric.router(FIRST).samctl("doctor lan").text();
    assert!(doctor.contains("tunnels: priority less 254"), "{doctor}");

    let pings = start_pings(&pair);
    sh(first, "ip link set wan0 up").success();
    let whole = || pair.vrrp(FIRST)["election"]["priority"] == 150;
    wait_until("it has its priority again", ELECTION, whole);
    assert_eq!(pair.state(SECOND), "master");
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "the return is not noticed: {loss:?}");
}

/// Control waits for whoever reads its state file, which nobody does; every other thread runs on.
fn stalled() {
    let pair = Pair::running(samctl());
    let pings = start_pings(&pair);
    let (router, mac) = (pair.fabric.router(FIRST), pair.mac(FIRST));
    let pipe = pair.fabric.path("onprem.state.new");
    let pipe = pipe.display();
    let here = pair.client();
    sh(here, &format!("mkfifo {pipe}")).success();
    let mut order = router.command(&format!("announce {}", SECOND.client()));
    let mut order = order.spawn().expect("samctl can be started");

    wait_until("the other router is master", GIVES_WAY, || {
        pair.state(SECOND) == "master"
    });
    wait_until("one router answers", TAKEOVER, || {
        let answers = pair.who_has(FAR.client(), Duration::from_millis(200));
        answers == [(FAR.client(), pair.mac(SECOND))]
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    // Whoever wakes learns first that it is not the master any more.
    sh(here, &format!("timeout 5 cat {pipe}")).success();
    wait_until("it runs", ELECTION, || pair.state(FIRST) == "backup");
    for _ in 0..5 {
        let answers = pair.who_has(FAR.client(), Duration::from_millis(200));
        assert!(answers.iter().all(|answer| answer.1 != mac), "{answers:?}");
    }
    assert_eq!(pair.state(SECOND), "master");
    let loss = pings.stop();
    assert!(loss.gap <= GIVES_WAY, "{loss:?}");
    let log = router.log();
    assert!(log.contains("control stands still"), "{log}");
    order.wait().expect("it was answered, or gave up");
}

/// Control stands still as before, but for less time than it takes to be missed; another router takes the role meanwhile.
fn superseded() {
    let pair = Pair::configured(samctl(), |fabric| {
        fabric.edit(SECOND, "priority: 100", "priority: 100, preempt: true");
    });
    wait_until("no fence is left", ELECTION, || {
        pair.vrrp(SECOND)["fenced"] == false
    });
    let router = pair.fabric.router(FIRST);
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let pipe = pair.fabric.path("onprem.state.new");
    let pipe = pipe.display();
    sh(pair.client(), &format!("mkfifo {pipe}")).success();
    let mut order = router.command(&format!("announce {}", SECOND.client()));
    let mut order = order.spawn().expect("samctl can be started");
    let ordered = Instant::now();
    wait_until("half a second went by", ELECTION, || {
        ordered.elapsed() >= Duration::from_millis(500)
    });

    pair.fabric.edit(SECOND, "priority: 100", "priority: 200");
    pair.fabric.router(SECOND).samctl("reload").success();
    pair.wait_for(SECOND, "master");
    let taken = Instant::now();
    wait_until("questions were answered for two seconds", ELECTION, || {
        taken.elapsed() >= Duration::from_secs(2)
    });
    let seen = asker.stop();
    let allowed = INTERVAL + 4 * seen.longest_delay();
    assert!(seen.longest_overlap() <= allowed, "{seen:?}");
    wait_until("one router answers", TAKEOVER, || {
        let answers = pair.who_has(FAR.client(), Duration::from_millis(200));
        answers == [(FAR.client(), pair.mac(SECOND))]
    });
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);

    let state = sh(pair.client(), &format!("timeout 5 cat {pipe}")).success();
    assert!(!state.is_empty(), "control waited all the time");
    pair.wait_for(FIRST, "backup");
    order.wait().expect("it was answered, or gave up");
}

/// The thread of the election is held as a debugger holds it; every other thread runs on.
fn unelected() {
    let pair = Pair::running(samctl());
    let router = pair.fabric.router(FIRST);
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let thread = thread_named(router.id(), "vrrp");
    let log = pair.fabric.path("held.log");
    let mut holder = Daemon::sh(pair.client(), &hold_command(thread), &log);

    pair.wait_for(SECOND, "master");
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    let doctor = router.samctl("doctor lan");
    assert_ne!(doctor.code, 0);
    let doctor = doctor.text();
    assert!(
        doctor.contains("the thread of the election stands still"),
        "{doctor}"
    );
    let view = router.json("vrrp");
    assert_eq!(
        (&view["gate_open"], &view["silent"]),
        (&false.into(), &true.into()),
        "{view}"
    );
    let seen = asker.stop();
    let allowed = INTERVAL + 4 * seen.longest_delay();
    assert!(seen.longest_overlap() <= allowed, "{seen:?}");
    let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
    assert_eq!(answers, [(FAR.client(), pair.mac(SECOND))]);

    assert_eq!(holder.exit_code(), None, "{}", holder.log());
    holder.kill();
    pair.wait_for(FIRST, "backup");
    assert_eq!(pair.state(SECOND), "master");
    let view = router.json("vrrp");
    assert_eq!(view["silent"], false, "{view}");
}

/// The number of a thread of a process.
fn thread_named(process: u32, name: &str) -> u32 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let mut threads = threads.flatten().map(|thread| thread.path());
    let is_called = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let path = threads.find(is_called).expect("it has such a thread");
    let number = path.file_name().and_then(|name| name.to_str());
    number
        .and_then(|name| name.parse().ok())
        .expect("threads are numbered")
}

/// Seizes a thread and interrupts it (ptrace(2)), which stops it alone, until the command ends.
fn hold_command(thread: u32) -> String {
    let ptrace = if cfg!(target_arch = "x86_64") {
        101
    } else {
        117
    };
    let call = |request| format!("syscall({ptrace}, {request}, {thread}, 0, 0) == 0 or die $!;");
    format!(
        "exec perl -e '{} {} sleep 600'",
        call("0x4206"),
        call("0x4207")
    )
}

fn pinged() {
    let mut pair = Pair::running(samctl());
    let answers = |pair: &Pair, site| {
        let counters = pair.fabric.router(site).json("counters").to_string();
        counter(&counters, "virtual-echoes-answered")
    };
    wait_for_ping(pair.client(), VIP, TAKEOVER);
    assert!(answers(&pair, FIRST) > Some(0));
    assert_eq!(answers(&pair, SECOND), Some(0), "the backup is silent");

    let mut router = pair.fabric.take(FIRST);
    router.daemon().kill();
    pair.wait_for(SECOND, "master");
    wait_for_ping(pair.client(), VIP, TAKEOVER);
    assert!(answers(&pair, SECOND) > Some(0));
}

/// The master's interface is another one before it has looked: its sockets on the former one are deaf.
fn renewed() {
    let pair = Pair::running(samctl());
    pair.fabric.topology.renew_lan_interface(FIRST, GATEWAY);

    pair.wait_for(SECOND, "master");
    pair.wait_for(FIRST, "backup");
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    // It hears the new master, and follows it when that one leaves: the other half of the proof is that it is heard.
    let pings = start_pings(&pair);
    pair.fabric
        .router(SECOND)
        .samctl("drain on --wait")
        .success();
    pair.wait_for(FIRST, "master");
    let answers = pair.who_has(FAR.client(), Duration::from_millis(500));
    assert_eq!(answers, [(FAR.client(), pair.mac(FIRST))]);
    let loss = pings.stop();
    assert!(loss.lost <= LOST, "{loss:?}");
}

/// Waits until routers offer so many addresses to another node.
fn wait_for_offers(pair: &Pair, sites: &[Site], count: usize) {
    for site in sites {
        let what = format!("{} offers {count}", site.name());
        wait_until(&what, ELECTION, || {
            let view = pair.fabric.router(*site).json("handover");
            view["handovers"].as_array().map(Vec::len) == Some(count)
        });
    }
}

/// Pings from the LAN to the far client.
fn start_pings(pair: &Pair) -> Pings {
    Pings::start(pair.client(), FAR.client())
}

/// The value of a counter in the JSON of `samctl counters`.
fn counter(json: &str, name: &str) -> Option<u64> {
    let view: serde_json::Value = serde_json::from_str(json).ok()?;
    let rows = view["counters"].as_array()?;
    let row = rows.iter().find(|row| row["name"] == name)?;
    row["value"].as_u64()
}
