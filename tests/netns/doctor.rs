//! Faults injected one by one, and whether `samctl doctor` finds each, names it, and forgets it afterwards.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::netns::{Fabric, RouterProcess, Site, holds_within, sh};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "doctor::a_healthy_net_is_clean",
        needs: &[],
        run: healthy,
    },
    Case {
        name: "doctor::every_fault_of_the_host_is_found_and_forgotten",
        needs: &[],
        run: host_faults,
    },
    Case {
        name: "doctor::a_dead_peer_is_found",
        needs: &[],
        run: dead_peer,
    },
    Case {
        name: "doctor::a_second_answerer_on_the_lan_is_found",
        needs: &[],
        run: second_answerer,
    },
];

/// Time for a fault to be noticed or forgotten: the host is looked at once a second.
const NOTICE: Duration = Duration::from_secs(4);

/// Fault, row, expected status, command that breaks, command that mends; both in the router's namespace.
type Fault = (&'static str, &'static str, &'static str, &'static str);

const HOST_FAULTS: &[Fault] = &[
    (
        "host/ip-forward",
        "warn",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
    ),
    (
        "lan/proxy-arp",
        "fail",
        "echo 1 > /proc/sys/net/ipv4/conf/lan0/proxy_arp",
        "echo 0 > /proc/sys/net/ipv4/conf/lan0/proxy_arp",
    ),
    (
        "lan/proxy-arp",
        "fail",
        "echo 1 > /proc/sys/net/ipv4/conf/all/proxy_arp",
        "echo 0 > /proc/sys/net/ipv4/conf/all/proxy_arp",
    ),
    (
        "lan/captured-address",
        "fail",
        "ip addr add 10.77.60.11/32 dev lo",
        "ip addr del 10.77.60.11/32 dev lo",
    ),
    (
        "lan/interface",
        "fail",
        "ip link set lan0 down",
        "ip link set lan0 up",
    ),
    (
        "lan/gate",
        "warn",
        "ip link set lan0 down",
        "ip link set lan0 up",
    ),
    (
        "host/tun",
        "warn",
        "ip link set sam0 mtu 1000",
        "ip link set sam0 mtu 1440",
    ),
    (
        "host/tun",
        "fail",
        "ip link set sam0 down",
        "ip link set sam0 up",
    ),
    (
        "host/tun",
        "fail",
        "ip addr del 10.99.0.1/32 dev sam0",
        "ip addr add 10.99.0.1/32 dev sam0",
    ),
];

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn healthy() {
    let fabric = Fabric::running(samctl(), 2);
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        NOTICE,
    );
    for site in fabric.topology.sites() {
        let router = fabric.router(site);
        let clean = || router.json("doctor")["overall"] == "pass";
        assert!(
            holds_within(NOTICE, clean),
            "{}",
            router.samctl("doctor").text()
        );
        let outcome = router.samctl("doctor");
        assert_eq!(outcome.code, 0, "{}", outcome.text());
        let status = router.json("status");
        assert_eq!(status["health"], "pass", "{status}");
        assert_eq!(status["problems"].as_array().map(Vec::len), Some(0));
    }
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ broken and mended
/// ```
fn host_faults() {
    let fabric = Fabric::running(samctl(), 2);
    let namespace = fabric.topology.router(Site::ONPREM);
    let router = fabric.router(Site::ONPREM);
    let mut missed = Vec::new();
    for (row, status, damage, mend) in HOST_FAULTS {
        // One fact may be mended in two rows, of which one is a moment later.
        let is_sound = || check(router, row)["status"] == "pass";
        assert!(holds_within(NOTICE, is_sound), "before {damage}");

        sh(namespace, damage).success();

        if !holds_within(NOTICE, || check(router, row)["status"] == *status) {
            missed.push(format!("{damage}: {row} says {}", check(router, row)));
        } else {
            let found = check(router, row);
            assert!(found["remedy"].is_string(), "{found}");
            let code = router.samctl("doctor").code;
            assert!(*status != "fail" || code == 5, "{damage}: exit {code}");
        }
        sh(namespace, mend).success();
        if !holds_within(NOTICE, || check(router, row)["status"] == "pass") {
            missed.push(format!("after {mend}: {row} says {}", check(router, row)));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        NOTICE,
    );
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                                        ▲ kill -9
/// ```
fn dead_peer() {
    let mut fabric = Fabric::running(samctl(), 2);
    fabric.take(Site::AWS).daemon().kill();
    let router = fabric.router(Site::ONPREM);
    let hold = Duration::from_secs(10);
    let found = |row: &'static str| holds_within(hold, || check(router, row)["status"] == "fail");
    assert!(
        found("bgp/session-aws"),
        "{}",
        router.samctl("doctor").text()
    );
    assert_eq!(router.samctl("doctor bgp").code, 5);
    assert_eq!(router.samctl("doctor host").code, 0);
    let view = router.json("explain 10.77.60.11");
    let verdict = view["verdict"].as_str().unwrap_or_default();
    assert!(
        verdict.contains("aws, which cannot be reached: packets are dropped"),
        "{verdict}"
    );
}

/// ```text
/// .10 ─┬─ lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// .11 ─┘  ▲ a host with an address that lives at aws
/// ```
fn second_answerer() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);
    let address = Site::AWS.client();
    assert_eq!(check(router, "lan/duplicate-answer")["status"], "pass");

    // Any ARP of that host gives it away; it need not answer us.
    let twin = fabric.topology.add_host(Site::ONPREM, "c1b", address);
    sh(
        &twin,
        &format!("ping -n -c 1 -W 1 {}", Site::ONPREM.client()),
    );

    let found = || check(router, "lan/duplicate-answer")["status"] == "fail";
    assert!(
        holds_within(NOTICE, found),
        "{}",
        router.samctl("doctor lan").text()
    );
    let detail = check(router, "lan/duplicate-answer").to_string();
    assert!(detail.contains(&address.to_string()), "{detail}");
    let view = router.json("arp");
    assert_eq!(view["foreign_answers"][0]["address"], address.to_string());
    // Two answers would be worse than one: the router holds its own back while the host lives.
    let answers = sam_testkit::netns::ask_who_has(
        fabric.topology.client(Site::ONPREM),
        Site::ONPREM.client(),
        address,
        Duration::from_millis(700),
    );
    assert_eq!(answers.len(), 1, "{answers:?}");
    // A probe (RFC 5227) for an address that lives elsewhere is a row of its own.
    let free = Ipv4Addr::new(10, 77, 60, 11);
    sam_testkit::netns::probe_for(
        fabric.topology.client(Site::ONPREM),
        free,
        Duration::from_millis(100),
    );
    let probed = || check(router, "lan/probed-address")["status"] == "warn";
    assert!(
        holds_within(NOTICE, probed),
        "{}",
        router.samctl("doctor lan").text()
    );
}

/// The row `area/name` of the doctor's table.
pub(crate) fn check(router: &RouterProcess, row: &str) -> serde_json::Value {
    let view = router.json("doctor");
    let checks = view["checks"].as_array().cloned().unwrap_or_default();
    let name = |check: &serde_json::Value| {
        let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", word("area"), word("name"))
    };
    let mut checks = checks.into_iter();
    checks
        .find(|check| name(check) == row)
        .unwrap_or_else(|| panic!("no row {row} in {view}"))
}
