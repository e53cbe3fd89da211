//! More offered than carried: control goes on, drops are counted, and afterwards everything is as before.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh, wait_until};

use crate::bulk;
use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "overload::a_flood_of_ten_thousand_flows_starves_neither_bgp_nor_arp_nor_handshakes",
        needs: &[],
        run: flood,
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
    let begin = Instant::now();

    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(|| send_flood(client, Site::AWS.client(), &stop));
        // ARP is answered, and its answer needs the router that is flooded.
        while begin.elapsed() < FLOOD {
            sh(
                client,
                &format!("ip neigh flush to {}", Site::AZURE.client()),
            )
            .success();
            wait_for_ping(client, Site::AZURE.client(), START);
        }
        stop.store(true, Relaxed);
        flood.join().expect("the flood ends")
    });

    assert!(sent > u64::from(FLOWS), "{sent} datagrams are no flood");
    assert_steady(&fabric, begin.elapsed());
    assert_recovered(&fabric);
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
    let begin = Instant::now();
    let far = fabric.topology.client(Site::AWS);
    sh(far, "ip link set eth0 down").success();

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let flood = scope.spawn(|| send_flood(client, Site::AWS.client(), &stop));
        while begin.elapsed() < Duration::from_secs(2) {
            wait_for_ping(client, Site::AZURE.client(), START);
        }
        stop.store(true, Relaxed);
        flood.join().expect("the flood ends");
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
    assert_recovered(&fabric);
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

/// Nothing is lost in queues, and packets flow at full size.
fn assert_recovered(fabric: &Fabric) {
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
}
