//! Packets watched by the router itself: `samctl pcap` and `samctl trace --live`, with what becomes of each.
//!
//! ```text
//! .10 ping ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11, and nobody at .70
//!                     ▲ pcap, trace --live    ▲ trace --live
//! ```

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Packets, Site, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "watching::a_capture_shows_a_ping_inside_and_outside_of_the_tunnel",
        needs: &[Need::Tool("tshark")],
        run: capture,
    },
    Case {
        name: "watching::a_capture_of_gre_reads_like_the_wire",
        needs: &[Need::Tool("tshark")],
        run: capture_gre,
    },
    Case {
        name: "watching::a_live_trace_shows_the_stages_of_a_packet_on_paper",
        needs: &[],
        run: live_like_paper,
    },
    Case {
        name: "watching::a_live_trace_shows_why_packets_are_dropped_at_once_or_later",
        needs: &[],
        run: live_drops,
    },
    Case {
        name: "watching::a_live_trace_ends_in_time_and_refuses_what_it_does_not_understand",
        needs: &[],
        run: live_ends,
    },
    Case {
        name: "watching::a_flood_is_traced_as_far_as_it_goes_and_the_rest_is_counted",
        needs: &[],
        run: flood,
    },
];

const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody owns it.
const UNOWNED: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 78);
/// Nobody answers for it.
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 70);

fn capture() {
    let fabric = Fabric::running(samctl(), 2);
    let packets = captured(&fabric);

    let inner = packets.fields("icmp", &["frame.interface_name", "ip.src", "ip.dst"]);
    let outer = packets.fields(
        "wg.type == 4",
        &["frame.interface_name", "ip.src", "ip.dst", "udp.dstport"],
    );
    let interfaces: BTreeSet<&String> = inner.iter().map(|row| &row[0]).collect();
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
    let near = "ip.src == 203.0.113.11 && wg.type == 4";
    let far = "ip.src == 203.0.113.12 && wg.type == 4 && udp.length > 100";
    let verdicts = [(near, "sent to aws"), (far, "from aws: opened")];
    check_comments(&packets, &verdicts);
}

fn capture_gre() {
    let mut fabric = Fabric::new(samctl(), 2);
    let transport =
        "  transport: {encap: gre, key: 42, checksum: true, trustedUnderlay: true}\n  bgp:";
    fabric.edit_all("  bgp:", transport);
    fabric.start_all();
    let packets = captured(&fabric);

    let outer = "frame.interface_name == \"outer\" && icmp";
    let seen = format!("{outer} && gre.key == 42 && gre.checksum.status == \"Good\"");
    let rows = packets.fields(&seen, &["ip.src"]);
    assert!(rows.len() >= 6, "{rows:?}");
    assert_eq!(packets.count("_ws.malformed"), 0);
    let sent = format!("{outer} && ip.src == 203.0.113.11");
    let opened = format!("{outer} && ip.src == 203.0.113.12");
    check_comments(
        &packets,
        &[(&sent, "sent to aws"), (&opened, "from aws: opened")],
    );
}

/// Captures three pings that are answered, and one for an address that nobody owns.
fn captured(fabric: &Fabric) -> Packets {
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
    knows_the_router_as(fabric, UNOWNED);
    assert_ne!(sh(client, &format!("ping -n -c 1 -W 1 {UNOWNED}")).code, 0);
    // What was seen is written within a turn of the worker.
    wait_until("all packets are written", PATIENCE, || {
        let packets = Packets::of(&file);
        let unowned = format!("ip.dst == {UNOWNED}");
        answers(&packets) >= 6 && packets.count(&unowned) >= 1
    });
    capture.signal("TERM");
    wait_until("the capture ends", PATIENCE, || {
        capture.exit_code().is_some()
    });
    check_inner_comments(&file)
}

fn answers(packets: &Packets) -> usize {
    packets.count("icmp.type == 0 && frame.interface_name != \"outer\"")
}

/// What the engine says about packets inside of tunnels does not depend on the transport.
fn check_inner_comments(file: &Path) -> Packets {
    let packets = Packets::of(file);
    let filter = |kind: u8, interface: &str| {
        format!(
            "icmp.type == {kind} && frame.interface_name == \"{interface}\" && ip.addr == {}",
            Site::AWS.client()
        )
    };
    let unowned = format!("ip.dst == {UNOWNED}");
    let withheld = "dropped: pool-withheld (The address is inside the pool, but no site owns it)";
    check_comments(
        &packets,
        &[
            (&filter(8, "lan0"), "forwarded to aws"),
            (&filter(8, "inner:aws"), "sent to aws"),
            (&filter(0, "inner:aws"), "from aws: forwarded to lan0"),
            (&filter(0, "lan0"), "sent"),
            (&unowned, withheld),
        ],
    );
    packets
}

/// Each packet that matches has the same comment.
fn check_comments(packets: &Packets, expected: &[(&str, &str)]) {
    for (filter, comment) in expected {
        let rows = packets.fields(filter, &["frame.comment"]);
        let seen: BTreeSet<String> = rows.into_iter().flatten().collect();
        assert_eq!(seen, BTreeSet::from([(*comment).to_owned()]), "{filter}");
    }
}

fn live_like_paper() {
    let fabric = Fabric::running(samctl(), 2);
    let (near, far) = (Site::ONPREM.client(), Site::AWS.client());
    wait_for_ping(fabric.topology.client(Site::ONPREM), far, PATIENCE);

    // The workers begin one after the other, so an answer may be shown before any request.
    let filter = format!("host {far} and proto icmp -c 4");
    let packets = traced(&fabric, Site::ONPREM, &filter, far);

    let first = |what: &str| {
        let packet = packets.iter().find(|packet| packet["what"] == what);
        packet.unwrap_or_else(|| panic!("no {what}: {packets:?}"))
    };
    let (request, answer) = (first("icmp type 8"), first("icmp type 0"));
    for (packet, from, what) in [(request, near, "icmp type 8"), (answer, far, "icmp type 0")] {
        assert_eq!(packet["from"], from.to_string(), "{packet}");
        assert_eq!(packet["what"], what, "{packet}");
        assert_eq!(packet["verdict"]["outcome"], "forwarded", "{packet}");
        assert!(
            packet["time"].as_f64().is_some_and(|time| time > 1.7e9),
            "{packet}"
        );
    }
    // After those that precede the engine.
    let paper = fabric
        .router(Site::ONPREM)
        .json(&format!("trace {near} {far}"));
    let beyond = |name: &String| !matches!(name.as_str(), "arp" | "filter");
    let expected: Vec<String> = stages(&paper).into_iter().filter(beyond).collect();
    assert_eq!(stages(request), expected);
}

fn live_drops() {
    let fabric = Fabric::running(samctl(), 2);
    let order = format!("announce {SILENT}");
    fabric.router(Site::AWS).samctl(&order).success();
    wait_until("aws owns .70", PATIENCE, || {
        fabric.owner(Site::ONPREM, SILENT).as_deref() == Some("aws")
    });
    knows_the_router_as(&fabric, UNOWNED);

    let filter = format!("dst {UNOWNED} -c 1");
    let withheld = traced(&fabric, Site::ONPREM, &filter, UNOWNED);
    assert_eq!(withheld[0]["verdict"]["reason"], "pool-withheld");
    assert_eq!(
        stages(&withheld[0]).last().map(String::as_str),
        Some("route")
    );

    // Whom the router asks for in vain is dropped later, and shown once more.
    let filter = format!("dst {SILENT} -c 40");
    let silent = traced(&fabric, Site::AWS, &filter, SILENT);
    let verdicts: Vec<_> = silent.iter().map(|packet| &packet["verdict"]).collect();
    for (key, value) in [
        ("outcome", "forwarded"),
        ("outcome", "dropped"),
        ("reason", "neighbor-failed"),
    ] {
        let found = verdicts.iter().any(|verdict| verdict[key] == value);
        assert!(found, "{value}: {verdicts:?}");
    }
}

fn live_ends() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);

    let late = router.samctl("trace --live port 9 -c 1 --timeout 1");
    assert_eq!(
        (late.code, late.stdout.as_str()),
        (6, ""),
        "{}",
        late.text()
    );
    let enough = router.samctl("trace --live port 9 --timeout 1");
    assert_eq!(enough.code, 0, "{}", enough.text());
    let refused = router.samctl("trace --live port ssh");
    assert_eq!(refused.code, 2, "{}", refused.text());
    assert!(
        refused.stderr.contains("'ssh' after 'port'"),
        "{}",
        refused.text()
    );

    let endless = running(&fabric, "trace --live proto icmp");
    let second = router.samctl("trace --live port 9 -c 1 --timeout 1");
    assert_eq!(second.code, 1, "{}", second.text());
    let words = "another capture or live trace runs";
    assert!(second.stderr.contains(words), "{}", second.text());
    drop(endless);
    wait_until("the next one gets its turn", PATIENCE, || {
        router.samctl("trace --live port 9 --timeout 1").code == 0
    });
}

/// Starts a live trace, and sends echo requests until it shows one.
fn running(fabric: &Fabric, command: &str) -> Daemon {
    let command = fabric.router(Site::ONPREM).command(command);
    let trace = Daemon::start(command, &fabric.path("trace.log"));
    let client = fabric.topology.client(Site::ONPREM);
    wait_until("the trace runs", PATIENCE, || {
        sh(client, &format!("ping -n -c 1 -W 1 {}", Site::AWS.client()));
        !trace.log().is_empty()
    });
    trace
}

/// A reader that stopped reading misses packets and is told so; forwarding does not suffer.
fn flood() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    let mut trace = running(&fabric, "trace --live proto icmp --timeout 10");
    trace.signal("STOP");

    let flood = format!("ping -n -q -f -c {FLOOD} {}", Site::AWS.client());
    let outcome = sh(client, &flood);
    let received = outcome.stdout.split(" received").next();
    let received = received.and_then(|text| text.rsplit(' ').next()?.parse().ok());
    assert!(received >= Some(FLOOD * 99 / 100), "{}", outcome.text());
    trace.signal("CONT");

    wait_until("the trace ends in time", Duration::from_secs(20), || {
        trace.exit_code().is_some()
    });
    let log = trace.log();
    assert!(log.contains("packets came too fast to be shown"), "{log}");
}

/// More echo requests than all queues and the reader's socket take, for each is seen there and back.
const FLOOD: usize = 5000;

/// Makes the first client send to the router what is for an address.
fn knows_the_router_as(fabric: &Fabric, address: Ipv4Addr) {
    let arp = fabric.router(Site::ONPREM).json("arp");
    let mac = arp["mac"].as_str().unwrap_or_default();
    let entry = format!("ip neigh replace {address} lladdr {mac} dev eth0");
    sh(fabric.topology.client(Site::ONPREM), &entry).success();
}

/// The packets that a live trace shows while the first client sends echo requests, until it ends by itself.
fn traced(fabric: &Fabric, at: Site, filter: &str, to: Ipv4Addr) -> Vec<Value> {
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
fn stages(view: &Value) -> Vec<String> {
    let stages = view["stages"].as_array().into_iter().flatten();
    let names = stages.filter_map(|stage| stage["name"].as_str());
    names.map(str::to_owned).collect()
}
