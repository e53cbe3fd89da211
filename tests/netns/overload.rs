//! More offered than carried: control goes on, drops are counted, and afterwards everything is as before.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, RouterProcess, Site, Usage, sh, wait_until};

use crate::bulk;
use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "overload::a_flood_of_ten_thousand_flows_starves_neither_bgp_nor_arp_nor_handshakes",
        needs: &[],
        run: flood,
    },
    Case {
        name: "overload::what_a_slow_lan_does_not_take_is_dropped_under_a_name",
        needs: &[Need::Tool("tc"), Need::Qdisc("htb")],
        run: slow,
    },
    Case {
        name: "overload::a_blocked_egress_holds_up_no_other_and_recovers",
        needs: &[],
        run: blocked,
    },
];

const START: Duration = Duration::from_secs(10);
/// Longer than the hold time of these fabrics.
const FLOOD: Duration = Duration::from_secs(6);
const FLOWS: u16 = 10_000;
/// Buffers that an idle worker keeps in its sockets.
const KEPT: u64 = 120;
/// What a router may have in memory, however much is offered.
const RESIDENT_KIB: u64 = 64 << 10;
/// What a second flood may add: everything that grows with flows and buffers has grown in the first.
const GROWTH_KIB: u64 = 4 << 10;
/// A transfer that shows how fast a path is.
const TRANSFER: usize = 16 << 20;

/// ```text
/// .10 flood ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                                    ╚═ wan ══ router azure ── lan3 ── .12
/// ```
fn flood() {
    let mut fabric = Fabric::new(samctl(), 3);
    fabric.edit_all("timers: fast", "timers: {hold: 3s}");
    fabric.start_all();
    let client = fabric.topology.client(Site::ONPREM);
    for to in [Site::AWS, Site::AZURE] {
        wait_for_ping(client, to.client(), START);
    }
    let quiet = speed_of(&fabric);
    let begin = Instant::now();

    let sent = flooded(&fabric, || {
        // ARP is answered, and its answer needs the router that is flooded.
        while begin.elapsed() < FLOOD {
            let forget = format!("ip neigh flush to {}", Site::AZURE.client());
            sh(fabric.topology.client(Site::ONPREM), &forget).success();
            wait_for_ping(
                fabric.topology.client(Site::ONPREM),
                Site::AZURE.client(),
                START,
            );
        }
    });

    assert!(sent > u64::from(FLOWS), "{sent} datagrams are no flood");
    assert_steady(&fabric, begin.elapsed());
    let [near, far] = resident(&fabric);
    assert!(near.max(far) <= RESIDENT_KIB, "{near}, {far} KiB");
    let dropped = dropped(fabric.router(Site::AWS));
    assert_eq!(dropped["wg-replay"], 0, "{dropped:?}");
    let lost: u64 = dropped.values().sum();
    assert!(
        lost > 0 && lost <= sent,
        "{dropped:?} of {sent}: more must be offered than is carried"
    );
    // Who comes anew meanwhile gets its handshake and its session.
    fabric.stop(Site::AZURE);
    let mut newcomer = fabric.spawn(Site::AZURE, &[]);
    flooded(&fabric, || {
        newcomer.wait_until_running();
        wait_for_ping(
            fabric.topology.client(Site::ONPREM),
            Site::AZURE.client(),
            START,
        );
    });
    let again = resident(&fabric);
    assert!(again[0] <= near + GROWTH_KIB, "{near}, {again:?} KiB");
    assert!(again[1] <= far + GROWTH_KIB, "{far}, {again:?} KiB");
    drop(newcomer);
    fabric.start(Site::AZURE);
    assert_recovered(&fabric, quiet);
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 at 1 Mbit/s ── .11
///                                    ╚═ wan ══ router azure ── lan3 ── .12
/// ```
fn slow() {
    let fabric = Fabric::running(samctl(), 3);
    let client = fabric.topology.client(Site::ONPREM);
    for to in [Site::AWS, Site::AZURE] {
        wait_for_ping(client, to.client(), START);
    }
    let quiet = speed_of(&fabric);
    let begin = Instant::now();
    let aws = fabric.topology.router(Site::AWS);
    let narrow = "tc qdisc add dev lan0 root handle 1: htb default 1 && \
                  tc class add dev lan0 parent 1: classid 1:1 htb rate 1mbit";
    sh(aws, narrow).success();

    flooded(&fabric, || {
        wait_until("what is too much is dropped", START, || {
            let dropped = dropped(fabric.router(Site::AWS));
            // What waited long in a full socket is late, not a replay.
            assert_eq!(dropped["wg-replay"], 0, "{dropped:?}");
            let refused = ["send-busy", "send-failed"].map(|name| dropped.get(name).copied());
            refused.into_iter().flatten().sum::<u64>() > u64::from(FLOWS)
        });
        wait_for_ping(client, Site::AZURE.client(), START);
        wait_for_ping(aws, Site::AZURE.overlay(), START);
    });

    assert_steady(&fabric, begin.elapsed());
    sh(aws, "tc qdisc del dev lan0 root").success();
    assert_recovered(&fabric, quiet);
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ──╳ .11 (link down)
///                                    ╚═ wan ══ router azure ── lan3 ── .12
/// ```
fn blocked() {
    let fabric = Fabric::running(samctl(), 3);
    let client = fabric.topology.client(Site::ONPREM);
    for to in [Site::AWS, Site::AZURE] {
        wait_for_ping(client, to.client(), START);
    }
    let quiet = speed_of(&fabric);
    let begin = Instant::now();
    let far = fabric.topology.client(Site::AWS);
    sh(far, "ip link set eth0 down").success();

    flooded(&fabric, || {
        while begin.elapsed() < Duration::from_secs(2) {
            wait_for_ping(client, Site::AZURE.client(), START);
        }
    });

    sh(
        far,
        "ip link set eth0 up; ip route replace default via 10.77.60.1",
    )
    .success();
    wait_until("the address is owned again", START, || {
        fabric.owner(Site::ONPREM, Site::AWS.client()).as_deref() == Some("aws")
    });
    wait_for_ping(client, Site::AWS.client(), START);
    assert_steady(&fabric, begin.elapsed());
    assert_recovered(&fabric, quiet);
}

/// Floods the client of AWS from that on-prem for as long as `meanwhile` takes; returns how many packets that were.
fn flooded(fabric: &Fabric, meanwhile: impl FnOnce()) -> u64 {
    let client = fabric.topology.client(Site::ONPREM);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| send_flood(client, Site::AWS.client(), &stop));
        let ends = Ends(&stop);
        meanwhile();
        drop(ends);
        flood.join().expect("the flood ends")
    })
}

/// Ends a flood, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How long a transfer takes that is not disturbed: the fastest of some.
fn speed_of(fabric: &Fabric) -> Duration {
    let times = (0..3).map(|_| transfer(fabric));
    times.min().expect("some")
}

fn transfer(fabric: &Fabric) -> Duration {
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    let begin = Instant::now();
    bulk::tcp(near, far, Site::AWS.client(), 1, TRANSFER);
    begin.elapsed()
}

/// What the two routers on the way of a flood have in memory, in KiB.
fn resident(fabric: &Fabric) -> [u64; 2] {
    [Site::ONPREM, Site::AWS].map(|site| Usage::of(fabric.router(site).id()).resident_kib)
}

/// How many packets a router dropped, by reason.
fn dropped(router: &RouterProcess) -> BTreeMap<String, u64> {
    let view = router.json("counters");
    let rows = view["drops"].as_array().cloned().unwrap_or_default();
    let rows = rows.into_iter().filter_map(|row| {
        let name = row["reason"].as_str()?.to_owned();
        Some((name, row["total"].as_u64()?))
    });
    rows.collect()
}

/// Sends 64-byte packets to as many ports as there are flows, until told to stop; returns how many.
fn send_flood(from: &Namespace, to: Ipv4Addr, stop: &AtomicBool) -> u64 {
    let socket = from.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port"));
    let socket = socket.expect("the client's namespace");
    let mut sent = 0;
    for port in (1..=FLOWS).cycle() {
        if stop.load(Relaxed) {
            return sent;
        }
        // The far client's refusals and a full queue are part of a flood.
        let target = SocketAddr::from((to, 10_000 + port));
        sent += u64::from(socket.send_to(&[7; 36], target).is_ok());
    }
    sent
}

/// No path, no BGP session and no tunnel went down within `span`.
fn assert_steady(fabric: &Fabric, span: Duration) {
    for site in fabric.topology.sites() {
        let router = fabric.router(site);
        assert!(!router.log().contains("bfd-down"), "{}", router.log());
        let neighbors = router.json("bgp neighbors");
        for row in neighbors["neighbors"].as_array().expect("a list") {
            let since = row["since_s"].as_f64().expect("a number");
            assert_eq!(row["state"], "established", "{row}");
            assert!(since >= span.as_secs_f64(), "{row}");
        }
        let tunnels = router.json("status")["tunnels"].clone();
        assert_eq!(tunnels["up"], tunnels["configured"], "{tunnels}");
    }
}

/// Nothing is lost in queues, packets flow at full size, and a transfer is as fast as before the flood: a machine that is
/// busy otherwise may take twice the time.
fn assert_recovered(fabric: &Fabric, quiet: Duration) {
    for site in fabric.topology.sites() {
        wait_until("buffers are back", START, || {
            let counters = fabric.router(site).json("counters");
            let workers = counters["workers"].as_array().expect("a list");
            workers.iter().all(|worker| {
                let number = |name: &str| worker[name].as_u64().expect("a number");
                number("buffers_free") + KEPT >= number("buffers")
            })
        });
        assert_eq!(fabric.router(site).log().matches("panicked").count(), 0);
    }
    let (near, far) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    bulk::tcp(near, far, Site::AWS.client(), 2, 4 << 20);
    bulk::tcp(far, near, Site::ONPREM.client(), 2, 4 << 20);
    wait_until("a transfer is fast again", START, || {
        transfer(fabric) <= 2 * quiet
    });
}
