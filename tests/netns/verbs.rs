//! Every verb of `samctl` against live routers, in every form of output.

use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Packets, Site, sh, wait_until};

use crate::case::{Case, Need, samctl, wait_for_ping};

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
        name: "verbs::a_capture_shows_a_ping_inside_and_outside_of_the_tunnel",
        needs: &[Need::Tool("tshark")],
        run: pcap,
    },
    Case {
        name: "verbs::trace_foretells_what_becomes_of_real_packets",
        needs: &[],
        run: trace,
    },
    Case {
        name: "verbs::a_live_trace_shows_what_becomes_of_packets_as_they_come",
        needs: &[],
        run: live_trace,
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

/// ```text
/// .10 ping ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                     ▲ samctl pcap
/// ```
fn pcap() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), PATIENCE);
    let file = fabric.path("own.pcapng");
    let command = fabric
        .router(Site::ONPREM)
        .command(&format!("pcap -w {}", file.display()));
    let mut capture = Daemon::start(command, &fabric.path("pcap.log"));
    wait_until("the capture begins", PATIENCE, || {
        file.metadata().is_ok_and(|file| file.len() > 0)
    });

    let ping = format!("ping -n -c 3 -i 0.2 -W 2 {}", Site::AWS.client());
    sh(client, &ping).success();
    // Nobody owns .78; who sends to it nevertheless learns nothing, but the capture tells.
    let mac = fabric.router(Site::ONPREM).json("arp")["mac"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let unowned = format!(
        "ip neigh replace 10.77.60.78 lladdr {mac} dev eth0; ping -n -c 1 -W 1 10.77.60.78"
    );
    assert_ne!(sh(client, &unowned).code, 0);
    // What was seen is written within a turn of the worker.
    wait_until("all packets are written", PATIENCE, || {
        let packets = Packets::of(&file);
        packets.count("icmp.type == 0") >= 6 && packets.count("ip.dst == 10.77.60.78") >= 1
    });
    capture.signal("INT");
    wait_until("the capture ends", PATIENCE, || {
        capture.exit_code().is_some()
    });

    let packets = Packets::of(&file);
    let inner = packets.fields("icmp", &["frame.interface_name", "ip.src", "ip.dst"]);
    let comments = |filter: &str| {
        let rows = packets.fields(filter, &["frame.comment"]);
        let rows: std::collections::BTreeSet<String> = rows.into_iter().flatten().collect();
        rows.into_iter().collect::<Vec<_>>()
    };
    for (filter, expected) in [
        (
            "icmp.type == 8 && frame.interface_name == \"lan0\" && ip.dst == 10.77.60.11",
            &["forwarded to aws"][..],
        ),
        (
            "icmp.type == 8 && frame.interface_name == \"inner:aws\"",
            &["sent to aws"],
        ),
        (
            "icmp.type == 0 && frame.interface_name == \"inner:aws\"",
            &["from aws: forwarded to lan0"],
        ),
        (
            "icmp.type == 0 && frame.interface_name == \"lan0\"",
            &["sent"],
        ),
        (
            "wg.type == 4 && ip.src == 203.0.113.12 && udp.length > 100",
            &["from aws: opened"],
        ),
        ("wg.type == 4 && ip.dst == 203.0.113.12", &["sent to aws"]),
        (
            "icmp.type == 8 && ip.dst == 10.77.60.78",
            &["dropped: pool-withheld (The address is inside the pool, but no site owns it)"],
        ),
    ] {
        assert_eq!(comments(filter), expected, "{filter}");
    }
    let outer = packets.fields(
        "wg.type == 4",
        &["frame.interface_name", "ip.src", "ip.dst", "udp.dstport"],
    );
    let interfaces: std::collections::BTreeSet<&String> = inner.iter().map(|row| &row[0]).collect();
    assert!(interfaces.len() >= 2, "LAN and tunnel: {interfaces:?}");
    assert!(
        inner.len() >= 12,
        "3 requests and 3 answers, each seen twice: {inner:?}"
    );
    assert!(outer.len() >= 6, "{outer:?}");
    let addresses = [
        Site::ONPREM.underlay().to_string(),
        Site::AWS.underlay().to_string(),
    ];
    for row in &outer {
        assert!(
            addresses.contains(&row[1]) && addresses.contains(&row[2]),
            "{row:?}"
        );
        assert_eq!(row[3], "51820", "{row:?}");
    }
    assert_eq!(packets.count("_ws.malformed"), 0);
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

        let before = reason.map(|reason| dropped(&fabric, reason));
        let unseen = dropped(&fabric, "no-route");
        let answered = sh(client, &format!("ping -n -c 1 -W 2 {ping}")).code == 0;
        assert_eq!(answered, arrives, "ping {ping}");
        assert_eq!(dropped(&fabric, "no-route"), unseen, "{outcome}");
        if let (Some(reason), Some(before)) = (reason, before) {
            wait_until(&format!("{reason} is counted"), PATIENCE, || {
                dropped(&fabric, reason) > before
            });
        }
    }
}

/// ```text
/// .10 ping ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11, and nobody at .70
///                     ▲ trace --live          ▲ trace --live
/// ```
fn live_trace() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), PATIENCE);
    fabric
        .router(Site::AWS)
        .samctl("announce 10.77.60.70")
        .success();
    wait_until("aws owns .70", PATIENCE, || {
        fabric.owner(Site::ONPREM, SILENT).as_deref() == Some("aws")
    });
    let router = fabric.router(Site::ONPREM);
    let mac = router.json("arp")["mac"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    sh(
        client,
        &format!("ip neigh replace 10.77.60.78 lladdr {mac} dev eth0"),
    )
    .success();

    let forwarded = traced(
        &fabric,
        Site::ONPREM,
        "host 10.77.60.11 and proto icmp -c 2",
        "10.77.60.11",
    );
    let [request, answer] = &forwarded[..] else {
        panic!("two packets: {forwarded:?}");
    };
    assert_eq!(
        (&request["from"], &request["what"]),
        (&"10.77.60.10".into(), &"icmp type 8".into())
    );
    assert_eq!(
        (&answer["from"], &answer["what"]),
        (&"10.77.60.11".into(), &"icmp type 0".into())
    );
    for packet in [request, answer] {
        assert_eq!(packet["verdict"]["outcome"], "forwarded", "{packet}");
        assert!(
            packet["time"].as_f64().is_some_and(|time| time > 1.7e9),
            "{packet}"
        );
    }
    // A packet on paper passes the same stages, after those that precede the engine.
    let paper = stages(&router.json("trace 10.77.60.10 10.77.60.11"));
    let beyond = |name: &String| !matches!(name.as_str(), "arp" | "filter");
    assert_eq!(
        stages(request),
        paper.into_iter().filter(beyond).collect::<Vec<_>>()
    );

    let withheld = traced(&fabric, Site::ONPREM, "dst 10.77.60.78 -c 1", "10.77.60.78");
    assert_eq!(
        withheld[0]["verdict"]["reason"], "pool-withheld",
        "{withheld:?}"
    );
    assert_eq!(
        withheld[0]["stages"]
            .as_array()
            .and_then(|stages| stages.last())
            .map(|stage| &stage["name"]),
        Some(&"route".into())
    );

    // Whom the router asks for in vain is dropped later, and shown once more.
    let silent = traced(&fabric, Site::AWS, "dst 10.77.60.70 -c 40", "10.77.60.70");
    let verdicts: Vec<_> = silent.iter().map(|packet| &packet["verdict"]).collect();
    for (key, value) in [
        ("outcome", "forwarded"),
        ("outcome", "dropped"),
        ("reason", "neighbor-failed"),
    ] {
        assert!(
            verdicts.iter().any(|verdict| verdict[key] == value),
            "{value}: {verdicts:?}"
        );
    }

    let late = router.samctl("trace --live port 9 -c 1 --timeout 1");
    assert_eq!(
        (late.code, late.stdout.as_str()),
        (6, ""),
        "{}",
        late.text()
    );
    let refused = router.samctl("trace --live port ssh");
    assert_eq!(refused.code, 2, "{}", refused.text());
    assert!(
        refused.stderr.contains("'ssh' after 'port'"),
        "{}",
        refused.text()
    );
}

/// Nobody answers for it, though aws owns it.
const SILENT: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 77, 60, 70);

/// The packets that a live trace shows while the first client sends echo requests, until it ends by itself.
fn traced(fabric: &Fabric, at: Site, filter: &str, to: &str) -> Vec<serde_json::Value> {
    let command = fabric
        .router(at)
        .command(&format!("-o json trace --live {filter}"));
    let mut trace = Daemon::start(command, &fabric.path("trace.log"));
    let client = fabric.topology.client(Site::ONPREM);
    wait_until(
        &format!("enough packets for {filter}"),
        PATIENCE * 4,
        || {
            sh(client, &format!("ping -n -c 3 -i 0.2 -W 1 {to}"));
            trace.exit_code().is_some()
        },
    );
    assert_eq!(trace.exit_code(), Some(0), "{}", trace.log());
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    trace.log().lines().map(parse).collect()
}

/// Names of the stages of a trace.
fn stages(view: &serde_json::Value) -> Vec<String> {
    let stages = view["stages"].as_array().into_iter().flatten();
    let names = stages.filter_map(|stage| stage["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Packets that the first router dropped for a reason.
fn dropped(fabric: &Fabric, reason: &str) -> u64 {
    let view = fabric.router(Site::ONPREM).json("counters");
    let mut rows = view["drops"].as_array().into_iter().flatten();
    let row = rows.find(|row| row["reason"] == reason);
    row.and_then(|row| row["total"].as_u64())
        .unwrap_or_else(|| panic!("no drop reason {reason} in {view}"))
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
