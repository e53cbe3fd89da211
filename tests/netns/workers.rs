//! One and many packet workers, and every offload switched off in turn: the same bytes arrive.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use sam_testkit::netns::{Fabric, Site, wait_until};

use crate::bulk;
use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "workers::one_and_four_carry_the_same_bytes",
        needs: &[],
        run: one_and_four,
    },
    Case {
        name: "workers::flows_are_spread_and_each_worker_forwards",
        needs: &[],
        run: spread,
    },
    Case {
        name: "workers::with_each_offload_off_in_turn_the_bytes_arrive",
        needs: &[],
        run: without_offloads,
    },
    Case {
        name: "workers::icmp_errors_of_all_workers_together_keep_to_the_rate_of_one_router",
        needs: &[],
        run: icmp_rate,
    },
];

const SWITCHES: [&str; 6] = [
    "tunTcp",
    "tunUdp",
    "lanTcp",
    "lanUdp",
    "udpSegment",
    "udpGro",
];
/// Datagrams of at most one inner packet, and such as their senders have to fragment.
const SIZES: [usize; 5] = [1, 500, 1412, 4000, 60_000];
const START: Duration = Duration::from_secs(10);

/// Two sites whose routers have these settings.
///
/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn fabric(settings: &str) -> Fabric {
    let mut fabric = Fabric::new(samctl(), 2);
    fabric.edit_all("  control:", &format!("  {settings}\n  control:"));
    fabric.start_all();
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), START);
    fabric
}

/// Sends both ways, by TCP and UDP.
fn exchange(fabric: &Fabric, streams: u8) {
    for (from, to) in [(Site::ONPREM, Site::AWS), (Site::AWS, Site::ONPREM)] {
        let (near, far) = (fabric.topology.client(from), fabric.topology.client(to));
        bulk::tcp(near, far, to.client(), streams, 8 << 20);
        bulk::udp(near, far, to.client(), &SIZES);
    }
}

fn one_and_four() {
    for workers in [1, 4] {
        let fabric = fabric(&format!("workers: {workers}"));
        exchange(&fabric, 4);
        let status = fabric.router(Site::AWS).json("status");
        assert_eq!(status["workers"], workers, "{status}");
        assert_eq!(status["offloads_off"].as_array().map(Vec::len), Some(0));
    }
}

fn spread() {
    let fabric = fabric("workers: 3");
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    // Many small flows: with three workers, none of forty stays without one but by a chance of 3 in 10^7.
    for _ in 0..4 {
        bulk::tcp(near, far, Site::AWS.client(), 10, 20_000);
    }
    let workers = fabric.router(Site::ONPREM).json("counters")["workers"].clone();
    let received: Vec<_> = workers
        .as_array()
        .expect("a list")
        .iter()
        .map(|worker| worker["lan_rx_units"].as_u64().expect("a number"))
        .collect();
    assert_eq!(received.len(), 3, "{workers}");
    assert!(received.iter().all(|units| *units > 0), "{received:?}");
}

fn without_offloads() {
    let all_off = SWITCHES.map(|name| format!("{name}: false")).join(", ");
    let each = SWITCHES.map(|name| format!("{name}: false"));
    for off in each.into_iter().chain([all_off]) {
        let fabric = fabric(&format!("offloads: {{{off}}}"));
        let before = fabric.router(Site::ONPREM).drops();
        exchange(&fabric, 2);
        let status = fabric.router(Site::ONPREM).json("status");
        let shown = status["offloads_off"].to_string();
        for name in SWITCHES.iter().filter(|name| off.contains(*name)) {
            assert!(shown.contains(name), "{name} of {off} is not in {shown}");
        }
        assert_eq!(
            fabric.router(Site::ONPREM).drops(),
            before,
            "{off}: packets were dropped"
        );
    }
}

/// Forty flows, so that each of four workers has some.
fn icmp_rate() {
    let fabric = fabric("workers: 4");
    let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let near = fabric.topology.client(Site::ONPREM);
    let flows = near.enter(|| (0..40).map(|_| bind()).collect::<Vec<_>>());
    let flows = flows.expect("the client's namespace");
    let counter = |name: &str| {
        let counters = fabric.router(Site::ONPREM).json("counters");
        let mut rows = counters["counters"].as_array().expect("a list").iter();
        let row = rows.find(|row| row["name"] == name).expect("a counter");
        row["value"].as_u64().expect("a number")
    };
    let (before, start) = (counter("icmp-errors-sent"), Instant::now());

    for flow in flows.iter().cycle().take(400) {
        flow.set_ttl(1).expect("valid");
        flow.send_to(b"x", (Site::AWS.client(), 9)).expect("sent");
    }

    let refused = || {
        fabric
            .router(Site::ONPREM)
            .drops()
            .into_iter()
            .find(|(reason, _)| reason == "ttl-exceeded")
    };
    wait_until("all have expired", START, || {
        refused().is_some_and(|(_, total)| total == 400)
    });
    let sent = counter("icmp-errors-sent") - before;
    // Twenty at once, then ten per second.
    let most = 21 + start.elapsed().as_millis() / 100;
    assert!((20..=most).contains(&u128::from(sent)), "{sent} errors");
}
