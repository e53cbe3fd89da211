//! Hosts that nobody configured: heard on their LAN, and reached from another site.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{
    Fabric, GATEWAY, Pings, Site, ask_who_has, holds_within, sh, wait_until, wall_time,
};
use serde_json::Value;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "discovery::a_new_client_is_reached_from_another_site_a_moment_after_its_first_frame",
        needs: &[],
        run: appears,
    },
    Case {
        name: "discovery::a_silent_client_is_found_when_another_site_asks_for_it",
        needs: &[],
        run: wanted,
    },
    Case {
        name: "discovery::a_client_that_moves_is_followed",
        needs: &[],
        run: moves,
    },
    Case {
        name: "discovery::two_clients_with_one_address_are_an_alarm",
        needs: &[],
        run: duplicate,
    },
];

/// The client that nobody configured.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);
/// From the first frame to the first answer across the fabric.
const ROUTABLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11 pings .50 all the time
/// .50 ───┘ appears
/// ```
fn appears() {
    let fabric = discovering("sweep: off");
    let far = fabric.topology.client(Site::AWS);
    let pings = Pings::unheard(Duration::from_millis(10), far, NEW);
    wait_until("the far client finds nobody", PATIENCE, || {
        pings.unreachable() > 0
    });
    assert_eq!(owner(&fabric, Site::AWS), None);
    let client = fabric.topology.add_host(Site::ONPREM, "c1n", NEW);

    let spoke = wall_time();
    sh(
        &client,
        &format!("ping -n -c 1 -W 1 {}", Site::AWS.client()),
    );
    wait_until("the far client gets answers", PATIENCE, || {
        pings.first_answer().is_some()
    });

    let took = pings.first_answer().expect("just seen") - spoke;
    report("first ARP to routable from another site", took);
    assert!(
        took < ROUTABLE.as_secs_f64(),
        "{took} s\n{}",
        fabric.router(Site::ONPREM).log()
    );
    for site in [Site::ONPREM, Site::AWS] {
        assert_eq!(owner(&fabric, site).as_deref(), Some("onprem"));
        let doctor = fabric.router(site).samctl("doctor");
        assert_eq!(doctor.code, 0, "{}", doctor.text());
    }
    let view = fabric.router(Site::ONPREM).json("discovery");
    let home = &view["homes"][0];
    assert_eq!(
        (&home["address"], &home["state"]),
        (&NEW.to_string().into(), &"present".into())
    );
    assert_eq!(home["mac"], mac(&client).as_str(), "{view}");
    assert_eq!(view["homes"].as_array().map(Vec::len), Some(1), "{view}");
    // The routers themselves are nobody's clients, whatever they say on the LANs.
    let learned = fabric.router(Site::AWS).json("discovery");
    assert_eq!(
        learned["homes"].as_array().map(Vec::len),
        Some(0),
        "{learned}"
    );
    wait_for_ping(&client, Site::AWS.client(), PATIENCE);
}

/// A client that says nothing by itself: the other site's router asks this one's, and that asks its LAN.
fn wanted() {
    let fabric = discovering("sweep: off");
    let client = fabric.topology.add_host(Site::ONPREM, "c1n", NEW);
    assert_eq!(owner(&fabric, Site::AWS), None);
    assert_eq!(mac(&client).len(), 17, "it is there");

    let far = fabric.topology.client(Site::AWS);
    let start = std::time::Instant::now();
    let answered = || sh(far, &format!("ping -n -c 1 -W 1 {NEW}")).code == 0;
    let found = holds_within(PATIENCE, answered);
    let took = start.elapsed();
    let says = |site| {
        let router = fabric.router(site);
        let (view, counters) = (router.samctl("discovery"), router.samctl("counters"));
        format!("{}{}{}", router.log(), view.stdout, counters.stdout)
    };
    assert!(found, "{}{}", says(Site::ONPREM), says(Site::AWS));

    report(
        "first question at another site to the answer of a silent client",
        took.as_secs_f64(),
    );
    assert!(took < 2 * ROUTABLE, "{took:?}");
    assert_eq!(owner(&fabric, Site::AWS).as_deref(), Some("onprem"));
    let counters = fabric.router(Site::ONPREM).json("counters").to_string();
    assert!(counters.contains("fabric-questions-received"), "{counters}");
}

/// A client that nobody configured is plugged into another LAN, and speaks there.
fn moves() {
    let fabric = discovering("sweep: off");
    let client = fabric.topology.add_host(Site::ONPREM, "c1n", NEW);
    let far = Site::AWS.client();
    wait_for_ping(&client, far, PATIENCE);
    assert_eq!(owner(&fabric, Site::AWS).as_deref(), Some("onprem"));

    fabric.topology.replug_port("c1n", Site::AWS);
    sh(&client, "ip neigh flush all").success();
    let took = wait_until("aws owns it", PATIENCE, || {
        drop(ask_who_has(
            &client,
            NEW,
            GATEWAY,
            Duration::from_millis(20),
        ));
        owner(&fabric, Site::ONPREM).as_deref() == Some("aws")
    });
    report(
        "first ARP at the new site to ownership there",
        took.as_secs_f64(),
    );

    wait_for_ping(&client, Site::ONPREM.client(), PATIENCE);
    wait_for_ping(fabric.topology.client(Site::ONPREM), NEW, PATIENCE);
    let events = fabric.router(Site::ONPREM).samctl("events").stdout;
    assert!(
        events.contains("home-expired") && events.contains("reason=moved"),
        "{events}"
    );
}

/// Two clients of one LAN with one address.
fn duplicate() {
    let fabric = discovering("sweep: off");
    let first = fabric.topology.add_host(Site::ONPREM, "c1n", NEW);
    wait_for_ping(&first, Site::AWS.client(), PATIENCE);
    let second = fabric.topology.add_host(Site::ONPREM, "c1d", NEW);

    let router = fabric.router(Site::ONPREM);
    wait_until("the alarm is raised", PATIENCE, || {
        drop(ask_who_has(
            &second,
            NEW,
            GATEWAY,
            Duration::from_millis(20),
        ));
        let events = router.samctl("events").stdout;
        events.contains("mac-changed") && events.contains("kept=true")
    });

    let view = router.json("discovery");
    let macs = (&view["homes"][0]["mac"], &view["disputes"][0]["mac"]);
    assert_eq!(macs, (&mac(&first).into(), &mac(&second).into()), "{view}");
    let doctor = router.json("doctor");
    let checks = doctor["checks"].as_array().cloned().unwrap_or_default();
    let check = checks
        .iter()
        .find(|check| check["name"] == "duplicate-host");
    assert_eq!(
        check.map(|check| &check["status"]),
        Some(&Value::from("warn")),
        "{doctor}"
    );
}

/// Two sites that listen to their LANs.
fn discovering(options: &str) -> Fabric {
    let mut fabric = Fabric::new(samctl(), 2);
    let gate = "activeWhen: single-router";
    let discovery = format!("{gate}, discovery: {{type: arp, {options}}}");
    fabric.edit_all(gate, &discovery);
    fabric.start_all();
    fabric
}

/// Who owns the new client, as a router sees it.
fn owner(fabric: &Fabric, at: Site) -> Option<String> {
    fabric.owner(at, NEW)
}

fn mac(client: &Namespace) -> String {
    let text = sh(client, "ip -o link show eth0 | sed 's/.*ether //; s/ .*//'").stdout;
    text.trim().to_owned()
}

/// Says how long something took, in the output of the test.
#[expect(clippy::print_stderr, reason = "a figure for people")]
fn report(what: &str, seconds: f64) {
    eprintln!("{what}: {:.0} ms", seconds * 1e3);
}
