//! Routers that die or are told to stop, and what is left of them.

use std::fs;
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, sh, wait_until};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "failure::a_killed_router_is_withdrawn_within_the_hold_time_and_comes_back",
        needs: &[],
        run: killed,
    },
    Case {
        name: "failure::a_standby_follows_a_killed_router_without_a_gap",
        needs: &[],
        run: followed,
    },
    Case {
        name: "failure::a_stopped_router_is_withdrawn_at_once_and_leaves_nothing",
        needs: &[],
        run: stopped,
    },
];

/// Hold time of the profile `fast`.
const HOLD: Duration = Duration::from_secs(9);
/// Time for a restarted router to be heard of again.
const RETURN: Duration = Duration::from_secs(15);

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11      ◄ kill -9
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn killed() {
    let mut fabric = Fabric::running(samctl(), 3);
    let address = Site::AWS.client();
    let extra = "10.77.60.61".parse().expect("an address");
    fabric
        .router(Site::AWS)
        .samctl(&format!("announce {extra}"))
        .success();
    wait_until("azure knows .61", HOLD, || {
        fabric.owner(Site::AZURE, extra).as_deref() == Some("aws")
    });
    let sequence = |fabric: &Fabric| {
        let row = fabric.router(Site::AZURE).owner_row(address);
        row["sequence"]
            .as_u64()
            .expect("an owned address has a sequence")
    };
    let before = sequence(&fabric);

    let mut router = fabric.take(Site::AWS);
    router.daemon().kill();

    let patience = HOLD + Duration::from_secs(1);
    wait_until("azure forgets .11", patience, || {
        fabric.owner(Site::AZURE, address).is_none()
    });
    // Each notices by itself.
    wait_until("onprem forgets .11", patience, || {
        fabric.owner(Site::ONPREM, address).is_none()
    });
    let tuns = sh(
        fabric.topology.router(Site::AWS),
        "ip -o link show type tun",
    );
    assert_eq!(tuns.stdout, "", "the TUN goes with the process");

    // The socket of the dead process is in the way, its state file is read.
    drop(router);
    fabric.start(Site::AWS);
    wait_until("azure knows .11 again", RETURN, || {
        fabric.owner(Site::AZURE, address).as_deref() == Some("aws")
            && fabric.owner(Site::AZURE, extra).as_deref() == Some("aws")
    });
    assert!(sequence(&fabric) >= before, "sequences never go back");
    wait_for_ping(fabric.topology.client(Site::AZURE), address, RETURN);
}

/// ```text
///                router onprem (reflector) ══╦══ router aws: active for .61     ◄ kill -9
///                                            ╠══ router azure: standby for .61
///                                            ╚══ router oci, which looks on
/// ```
fn followed() {
    let mut fabric = Fabric::running(samctl(), 4);
    let shared = "10.77.60.61".parse().expect("an address");
    for site in [Site::AWS, Site::AZURE] {
        fabric
            .router(site)
            .samctl(&format!("announce {shared}"))
            .success();
    }
    let claimants = |fabric: &Fabric| -> Vec<String> {
        let why = fabric
            .router(Site::OCI)
            .json(&format!("bgp why {shared}/32"));
        let losers = why["comparisons"].as_array().cloned().unwrap_or_default();
        let rows = std::iter::once(&why["best"]).chain(losers.iter().map(|row| &row["loser"]));
        let names = rows.filter_map(|row| row["node"]["name"].as_str());
        names.map(str::to_owned).collect()
    };
    wait_until("oci knows both paths", HOLD, || {
        claimants(&fabric) == ["aws", "azure"]
    });
    let neighbor = fabric.router(Site::OCI).json("bgp neighbor onprem");
    assert_eq!(neighbor["add_path"], "both", "{neighbor}");

    let mut router = fabric.take(Site::AWS);
    router.daemon().kill();

    let patience = HOLD + Duration::from_secs(1);
    wait_until("oci turns to azure", patience, || {
        fabric.owner(Site::OCI, shared).as_deref() == Some("azure")
    });
    wait_until("azure is active", HOLD, || {
        fabric.router(Site::OCI).owner_row(shared)["state"] == "active"
    });
    let events = fabric.router(Site::OCI).json("events");
    let owners: Vec<_> = events
        .as_array()
        .expect("a list")
        .iter()
        .filter(|event| event["event"] == "owner-changed" && event["address"] == "10.77.60.61")
        .map(|event| event["to"].clone())
        .collect();
    let first = owners.iter().position(|to| !to.is_null());
    let owned = &owners[first.expect("it was owned")..];
    assert!(owned.iter().all(|to| !to.is_null()), "a gap: {owners:?}");
}

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11      ◄ SIGTERM
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn stopped() {
    let mut fabric = Fabric::new(samctl(), 3);
    let namespace = fabric.topology.router(Site::AWS).clone();
    wait_until("IPv6 addresses are settled", RETURN, || {
        !residue(&namespace).contains("tentative")
    });
    let before = residue(&namespace);
    fabric.start_all();
    wait_for_ping(
        fabric.topology.client(Site::AZURE),
        Site::AWS.client(),
        RETURN,
    );
    assert_ne!(residue(&namespace), before, "a running router has a TUN");

    let mut router = fabric.take(Site::AWS);
    let begin = Instant::now();
    router.daemon().terminate();
    wait_until("azure forgets .11", Duration::from_secs(1), || {
        fabric.owner(Site::AZURE, Site::AWS.client()).is_none()
    });
    wait_until("the process ends", Duration::from_secs(2), || {
        router.daemon().exit_code().is_some()
    });

    assert_eq!(router.daemon().exit_code(), Some(0), "{}", router.log());
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(residue(&namespace), before);
    let left: Vec<String> = fs::read_dir(fabric.path(""))
        .expect("readable")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("aws."))
        .filter(|name| {
            !["aws.key", "aws.yaml", "aws.log", "aws.state.json"].contains(&name.as_str())
        })
        .collect();
    assert_eq!(left, Vec::<String>::new());
    let reason = fabric.router(Site::ONPREM).json("bgp neighbor aws");
    let text = reason.to_string();
    assert!(text.contains("ease") || text.contains("hutdown"), "{text}");
}

/// Everything that a router could have changed in its namespace.
fn residue(namespace: &Namespace) -> String {
    let links = "ip -o link | sed 's/ qdisc.*//'; ip -o addr | sed 's/ valid_lft.*//'";
    let routes = "ip route show table all; ip rule; ip neigh show proxy";
    let settings = "grep -H . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/forwarding \
                    /proc/sys/net/ipv4/conf/*/proxy_arp /proc/sys/net/ipv4/conf/*/rp_filter";
    sh(namespace, &format!("{links}; {routes}; {settings}")).success()
}
