//! A BGP neighbor that does not read: the others never wait for it, and it costs nothing but its session.
//!
//! ```text
//!   source 203.0.113.101 ──┐
//!   quick  203.0.113.102 ──┼── wan ── 203.0.113.11 router onprem
//!   slow   203.0.113.103 ──┘
//! ```
//! The source changes all of its routes again and again. Each round is more than may wait for a neighbor (4 MiB) together
//! with what the kernels hold.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::PathAttributes;
use sam_bgp::wire::{AsPathSegment, Message, Update};
use sam_testkit::netns::{Fabric, Site, Usage, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, samctl};
use crate::speaker::{Identity, Speaker};

pub(crate) const CASES: &[Case] = &[Case {
    name: "congestion::a_neighbor_that_does_not_read_delays_nobody_and_is_given_up_after_the_send_hold_time",
    needs: &[],
    run: full_window,
}];

/// More than a debug build takes for a round on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// RFC 9687 section 6: twice the hold time of 9 s, at least 30 s; and as much again on a busy machine.
const SEND_HOLD: Duration = Duration::from_secs(60);
const ROUTES: u32 = 20_000;
/// So that each route takes an UPDATE of some 300 bytes.
const COMMUNITIES: u32 = 60;
/// What rounds after the second one may add to the memory; held in a queue they would add 6 MB each.
const GROWTH_KIB: u64 = 8 * 1024;

fn full_window() {
    let mut fabric = Fabric::new(samctl(), 1);
    let terms = ["source", "quick", "slow"].map(neighbor).concat();
    fabric.edit(
        Site::ONPREM,
        "  owned: ",
        &format!("{POLICIES}{terms}  owned: "),
    );
    let wires = fabric.topology.wires();
    for name in ["source", "quick", "slow"] {
        let add = format!("ip address add {}/24 dev wan", identity(name).address);
        sh(wires, &add).success();
    }
    // Otherwise the kernel would hold as much as a round for a neighbor that does not read.
    let small = "echo 4096 16384 65536 >/proc/sys/net/ipv4/tcp_wmem";
    sh(fabric.topology.router(Site::ONPREM), small).success();
    fabric.start(Site::ONPREM);
    let router = fabric.router(Site::ONPREM);
    let view = |name: &str| router.json(&format!("bgp neighbor {name}"));
    let wires = fabric.topology.wires();
    let call = |name| {
        let speaker = Speaker::call(wires, identity(name), Site::ONPREM.underlay());
        wait_until("the session is up", PATIENCE, || {
            view(name)["state"] == "established"
        });
        speaker
    };
    let (source, quick) = (call("source"), call("quick"));
    let alone = round(&source, &quick, 0);

    let slow = call("slow");
    let mut beside = Vec::new();
    let began = Instant::now();
    while view("slow")["state"] == "established" {
        assert!(began.elapsed() < SEND_HOLD, "it is not given up");
        let number = u32::try_from(beside.len()).expect("few rounds") + 1;
        let time = round(&source, &quick, number);
        beside.push((time, Usage::of(router.id()).resident_kib));
        if number == 1 {
            let withheld = router.json("bgp neighbor slow withheld");
            let rows = withheld["routes"].as_array().expect("rows").iter();
            let waiting = rows.filter(|row| row["withheld"] == "pending").count();
            assert!(waiting > 0, "nothing waits for the slow one");
        }
    }

    let mut out = std::io::stdout();
    writeln!(out, "{alone:?} alone, then with KiB: {beside:?}").ok();
    // The first round fills tables and pools; the answer above is large, and gone.
    let sizes: Vec<u64> = beside.iter().skip(1).map(|(_, kib)| *kib).collect();
    if let (Some(last), Some(least)) = (sizes.last(), sizes.iter().min()) {
        let grown = last - least;
        assert!(grown < GROWTH_KIB, "{grown} KiB: {beside:?}");
    }
    // Half of the machine is the test's; a router that waited would wait for the send hold time.
    let bound = alone * 4 + Duration::from_secs(5);
    let slowest = beside.iter().map(|(time, _)| *time).max();
    assert!(
        slowest.is_some_and(|it| it < bound),
        "{beside:?} after {alone:?}"
    );
    let reason = view("slow")["last_down"].to_string();
    assert!(reason.contains("does not read"), "{reason}");
    assert_eq!(counter(&router.json("counters"), "bgp-stalled"), Some(1));
    round(&source, &quick, u32::MAX);
    for name in ["source", "quick"] {
        assert_eq!(view(name)["established_count"], 1, "{name}");
    }
    drop(slow);
}

/// Has the source change all of its routes, and returns how long it takes until the quick neighbor has them.
fn round(source: &Speaker, quick: &Speaker, number: u32) -> Duration {
    let began = Instant::now();
    for route in 0..ROUTES {
        let prefix = Ipv4Net::from(Ipv4Addr::from(0xc612_0000 + route));
        let attributes = PathAttributes {
            as_path: vec![AsPathSegment(vec![identity("source").asn.into()])],
            communities: communities(route, number),
            ..PathAttributes::local(identity("source").address)
        };
        source.say(&Message::Update(Update {
            announced: vec![prefix.into()],
            attributes: Some(attributes),
            ..Update::default()
        }));
    }
    wait_until("the quick neighbor has all routes", PATIENCE, || {
        let heard = quick.heard();
        let latest = heard.values().filter(|it| it.communities.contains(&number));
        latest.count() == usize::try_from(ROUTES).expect("not many")
    });
    began.elapsed()
}

/// The round, the route, and so many more.
fn communities(route: u32, round: u32) -> Vec<u32> {
    let more = (0..COMMUNITIES).map(|it| 0xfde9_0000 + it);
    [round, 0x0001_0000 + route]
        .into_iter()
        .chain(more)
        .collect()
}

fn counter(view: &Value, name: &str) -> Option<u64> {
    let mut rows = view["counters"].as_array()?.iter();
    rows.find(|row| row["name"] == name)?["value"].as_u64()
}

fn identity(name: &str) -> Identity {
    let number = match name {
        "source" => 1,
        "quick" => 2,
        _ => 3,
    };
    Identity {
        address: Ipv4Addr::new(203, 0, 113, 100 + number),
        asn: 65_000 + u16::from(number),
        reads: name != "slow",
    }
}

fn neighbor(name: &str) -> String {
    let Identity { address, asn, .. } = identity(name);
    format!(
        "      - name: {name}\n        address: {address}\n        asn: {asn}\n        passive: true\n        \
         localAddress: {}\n        timers: fast\n        maxPrefixes: 100000\n        import: all\n        export: all\n",
        Site::ONPREM.underlay()
    )
}

const POLICIES: &str = "  bgp:
    policies:
      - name: all
        rules:
          - match: {prefixes: [\"198.18.0.0/15 le 32\"]}
            then: accept
    neighbors:
";
