//! Every verb of `samctl` against live routers, in every form of output.

use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Site, sh, wait_until};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "verbs::every_view_exists_as_table_json_and_yaml",
        needs: &[],
        run: views,
    },
    Case {
        name: "verbs::explain_and_why_say_where_an_address_lives",
        needs: &[],
        run: explain,
    },
    Case {
        name: "verbs::events_show_an_announcement_as_it_happens",
        needs: &[],
        run: events,
    },
    Case {
        name: "verbs::trace_foretells_what_becomes_of_real_packets",
        needs: &[],
        run: trace,
    },
    Case {
        name: "verbs::drops_are_counted_by_reason",
        needs: &[],
        run: drops,
    },
];

const PATIENCE: Duration = Duration::from_secs(5);

const VIEWS: &[&str] = &[
    "status",
    "owners",
    "routes",
    "bgp neighbors",
    "bgp neighbor aws",
    "bgp neighbor 10.99.0.2",
    "bgp neighbor aws received",
    "bgp neighbor aws accepted",
    "bgp neighbor aws rejected",
    "bgp neighbor aws advertised",
    "bgp rib",
    "bgp rib 10.77.60.11",
    "bgp rib 10.77.60.0/24",
    "bgp why 10.77.60.11",
    "bgp why 10.77.60.10/32",
    "tunnels",
    "arp",
    "explain 10.77.60.10",
    "explain 10.77.60.11",
    "explain 10.77.60.77",
    "explain 192.0.2.1",
    "trace 10.77.60.10 10.77.60.11",
    "trace 10.77.60.10 10.77.60.11 tcp 22 --size 1440 --df",
    "trace 10.77.60.11 10.77.60.10 udp 53",
    "doctor",
    "doctor host",
    "doctor lan",
    "doctor tunnel",
    "doctor bgp",
    "doctor routes",
    "doctor owners",
    "doctor identity",
    "doctor drops",
    "counters",
    "events",
    "version",
    "reload",
    "announce 10.77.60.70",
    "withdraw 10.77.60.70",
];

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn views() {
    let fabric = Fabric::running(samctl(), 2);
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        PATIENCE,
    );
    let router = fabric.router(Site::ONPREM);
    let mut wrong = Vec::new();
    for format in ["table", "json", "yaml"] {
        for view in VIEWS {
            let outcome = router.samctl(&format!("-o {format} {view}"));
            let parses = || serde_json::from_str::<serde_json::Value>(&outcome.stdout).is_ok();
            let empty = outcome.stdout.trim().len() < 3;
            if outcome.code != 0 || empty || (format == "json" && !parses()) {
                wrong.push(format!(
                    "{view} as {format}: {} {}",
                    outcome.code,
                    outcome.text()
                ));
            }
            if format == "table" && outcome.stdout.contains("null") {
                wrong.push(format!("{view} prints null:\n{}", outcome.stdout));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (unknown, code) in [
        ("bgp neighbor nobody", 1),
        ("doctor nonsense", 1),
        ("bgp why 10.0.0.1/8", 2),
        ("trace 10.77.60.10 10.77.60.11 icmp 80", 2),
        ("trace 10.77.60.10 10.77.60.11 tcp --size 39", 2),
    ] {
        let outcome = router.samctl(unknown);
        assert!(
            outcome.code == code || outcome.code == 2,
            "{unknown}: {}",
            outcome.text()
        );
        assert!(!outcome.stderr.is_empty(), "{unknown}");
    }
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn explain() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);
    for (address, words) in [
        ("10.77.60.10", &["lives here", "lan0"][..]),
        (
            "10.77.60.11",
            &["lives at aws", "1440", "this router answers"],
        ),
        ("10.77.60.77", &["nobody owns", "stays silent"]),
        ("10.77.60.1", &["10.77.60.1"]),
        ("192.0.2.1", &["192.0.2.1", "no pool"]),
    ] {
        let text = router.samctl(&format!("explain {address}")).success();
        for word in words {
            assert!(text.contains(word), "no '{word}' for {address} in\n{text}");
        }
        let view = router.json(&format!("explain {address}"));
        assert_eq!(
            view["questions"].as_array().map(Vec::len),
            Some(7),
            "{view}"
        );
    }
    let why = router.samctl("bgp why 10.77.60.11").success();
    assert!(why.contains("aws") || why.contains("10.99.0.2"), "{why}");
    let own = router.samctl("bgp why 10.77.60.10").success();
    assert!(own.contains("local") || own.contains("onprem"), "{own}");
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                                        ▲ samctl events -f
/// ```
fn events() {
    let fabric = Fabric::running(samctl(), 2);
    for (format, address) in [("table", "10.77.60.70"), ("json", "10.77.60.71")] {
        let command = fabric
            .router(Site::AWS)
            .command(&format!("-o {format} events -f"));
        let follower = Daemon::start(command, &fabric.path(&format!("{format}.log")));
        wait_until("kept events are shown", PATIENCE, || {
            follower.log().contains("session-up")
        });
        assert!(!follower.log().contains(address));

        let order = format!("announce {address}");
        fabric.router(Site::ONPREM).samctl(&order).success();

        wait_until("the announcement is shown", PATIENCE, || {
            let log = follower.log();
            let mut lines = log.lines();
            lines.any(|line| line.contains("owner-changed") && line.contains(address))
        });
        for line in follower.log().lines().filter(|_| format == "json") {
            let event: serde_json::Value = serde_json::from_str(line).expect("one JSON per line");
            assert!(event["time"].is_number(), "{line}");
        }
    }
}

/// Each row is a real ping and the same packet on paper: both arrive, or both end for one reason.
///
/// ```text
/// .10 ping ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                     ▲ samctl trace
/// ```
fn trace() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    let target = Site::AWS.client();
    wait_for_ping(client, target, PATIENCE);
    // Nobody owns .77; its holder may send nevertheless, to whom it will.
    sh(client, "ip address add 10.77.60.77/32 dev eth0").success();
    let router = fabric.router(Site::ONPREM);
    let mac = router.json("arp")["mac"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let neighbors = format!(
        "ip neigh replace {target} lladdr {mac} dev eth0; ip neigh replace 10.77.60.78 lladdr {mac} dev eth0"
    );
    sh(client, &neighbors).success();
    // Towards addresses beyond the pools, the client uses the router's host as its gateway.
    sh(client, "ip route replace 192.0.2.0/24 via 10.77.60.1").success();
    let forwarded = ("forwarded", None);
    for (ping, query, (outcome, reason)) in [
        (
            "-I 10.77.60.10 10.77.60.11",
            "10.77.60.10 10.77.60.11",
            forwarded,
        ),
        (
            "-M do -s 1412 10.77.60.11",
            "10.77.60.10 10.77.60.11 --size 1440 --df",
            forwarded,
        ),
        (
            "-M do -s 1413 10.77.60.11",
            "10.77.60.10 10.77.60.11 --size 1441 --df",
            ("dropped", Some("too-big")),
        ),
        (
            "-M dont -s 1413 10.77.60.11",
            "10.77.60.10 10.77.60.11 --size 1441",
            forwarded,
        ),
        (
            "-I 10.77.60.77 10.77.60.11",
            "10.77.60.77 10.77.60.11",
            ("dropped", Some("source-not-allowed")),
        ),
        (
            "-I 10.77.60.10 10.77.60.78",
            "10.77.60.10 10.77.60.78",
            ("dropped", Some("pool-withheld")),
        ),
        (
            "-I 10.77.60.10 10.77.60.1",
            "10.77.60.10 10.77.60.1",
            ("delivered", None),
        ),
        (
            "-I 10.77.60.10 192.0.2.1",
            "10.77.60.10 192.0.2.1",
            ("left-to-kernel", None),
        ),
    ] {
        // A learned path MTU would keep the host from sending.
        sh(client, "ip route flush cache").success();
        let arrives = matches!(outcome, "forwarded" | "delivered");
        let view = router.samctl(&format!("-o json trace {query}"));
        let foretold: serde_json::Value = serde_json::from_str(&view.stdout).expect("JSON");
        let verdict = &foretold["verdict"];
        assert_eq!(view.code, i32::from(!arrives), "{}", view.text());
        assert_eq!(verdict["outcome"], outcome, "{foretold}");
        assert_eq!(verdict["reason"].as_str(), reason, "{foretold}");

        let before = reason.map(|reason| router.dropped(reason));
        let unseen = router.dropped("no-route");
        let answered = sh(client, &format!("ping -n -c 1 -W 2 {ping}")).code == 0;
        assert_eq!(answered, arrives, "ping {ping}");
        assert_eq!(router.dropped("no-route"), unseen, "{outcome}");
        if let (Some(reason), Some(before)) = (reason, before) {
            wait_until(&format!("{reason} is counted"), PATIENCE, || {
                router.dropped(reason) > before
            });
        }
    }
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn drops() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), PATIENCE);
    let router = fabric.router(Site::ONPREM);
    let total = |reason: &str| {
        let view = router.json("counters");
        let rows = view["drops"].as_array().cloned().unwrap_or_default();
        let row = rows.into_iter().find(|row| row["reason"] == reason);
        row.unwrap_or_else(|| panic!("no drop reason {reason} in {view}"))["total"].as_u64()
    };
    let before = ["ttl-exceeded", "too-big", "pool-withheld"].map(&total);

    let target = Site::AWS.client();
    sh(client, &format!("ping -n -c 1 -W 1 -t 1 {target}"));
    sh(client, &format!("ping -n -c 1 -W 1 -M do -s 1450 {target}"));
    // Nobody owns .77: a host that sends nevertheless, to the router's MAC, is told so by a counter.
    let mac = router.json("arp")["mac"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let unowned = format!(
        "ip neigh replace 10.77.60.77 lladdr {mac} dev eth0; ping -n -c 1 -W 1 10.77.60.77"
    );
    sh(client, &unowned);

    thread::sleep(Duration::from_millis(100));
    let after = ["ttl-exceeded", "too-big", "pool-withheld"].map(&total);
    for (after, before) in after.iter().zip(&before) {
        assert!(after > before, "{before:?} to {after:?}");
    }
    let table = router.samctl("counters").success();
    for word in ["ttl-exceeded", "too-big", "pool-withheld"] {
        assert!(table.contains(word), "{table}");
    }
}
