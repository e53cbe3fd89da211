//! Tunnels: endpoints by name, preshared keys, routers whose address changes.

use std::fs;
use std::time::Duration;

use sam_testkit::netns::{Fabric, Site, holds_within, sh, wait_until};

use crate::case::{Case, Need, samctl, wait_for_ping};
use crate::doctor::check;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "wireguard::an_endpoint_is_found_by_name_also_when_the_name_moves",
        needs: &[Need::Tool("unshare")],
        run: by_name,
    },
    Case {
        name: "wireguard::a_preshared_key_works_and_a_wrong_one_stops_everything",
        needs: &[],
        run: preshared,
    },
    Case {
        name: "wireguard::a_router_whose_wan_address_changes_is_followed",
        needs: &[],
        run: roaming,
    },
    Case {
        name: "wireguard::a_router_that_roams_to_where_our_own_routes_lead_is_refused",
        needs: &[],
        run: roaming_inside,
    },
];

/// Time to follow a router that moved.
const FOLLOWED: Duration = Duration::from_secs(30);

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                ▲ knows aws as aws.example only      ▲ does not know where onprem is
/// ```
fn by_name() {
    let mut fabric = Fabric::new(samctl(), 2);
    let hosts = fabric.path("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n203.0.113.99 aws.example\n").expect("writable");
    fabric.edit(Site::ONPREM, "203.0.113.12:51820", "aws.example:51820");
    fabric.edit(Site::AWS, "endpoint: \"203.0.113.11:51820\", ", "");
    let bind = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    fabric.start_within(Site::ONPREM, &["unshare", "-m", "sh", "-c", &bind, "sh"]);
    fabric.start(Site::AWS);
    let client = fabric.topology.client(Site::ONPREM);
    let ping = format!("ping -n -c 1 -W 1 {}", Site::AWS.client());
    assert_ne!(sh(client, &ping).code, 0, "nothing is there");

    fs::write(&hosts, "127.0.0.1 localhost\n203.0.113.12 aws.example\n").expect("writable");

    wait_for_ping(client, Site::AWS.client(), FOLLOWED);
    let view = fabric.router(Site::ONPREM).json("tunnels");
    let row = &view["tunnels"][0];
    assert_eq!(row["configured_endpoint"], "aws.example:51820");
    assert_eq!(row["endpoint"], "203.0.113.12:51820");
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan, PSK ══ router aws ── lan2 ── .11
/// ```
fn preshared() {
    let mut fabric = Fabric::new(samctl(), 2);
    let keys = [samctl_key(), samctl_key()];
    for (site, peer) in [(Site::ONPREM, "aws"), (Site::AWS, "onprem")] {
        fabric.write_secret(&format!("{}.psk", site.name()), &keys[0]);
        let line = format!(
            "\n  presharedKeyFiles: {{{peer}: {}.psk}}\n  capture",
            site.name()
        );
        fabric.edit(site, "\n  capture", &line);
    }
    fabric.start_all();
    let client = fabric.topology.client(Site::ONPREM).clone();
    wait_for_ping(&client, Site::AWS.client(), Duration::from_secs(5));
    let view = fabric.router(Site::ONPREM).json("tunnels");
    assert_eq!(view["tunnels"][0]["preshared_key"], true);

    let mut router = fabric.take(Site::AWS);
    router.daemon().stop();
    drop(router);
    fabric.write_secret("aws.psk", &keys[1]);
    fabric.start(Site::AWS);

    let router = fabric.router(Site::AWS);
    let row = "tunnel/handshake-onprem";
    let told = || check(router, row)["status"] == "fail";
    assert!(
        holds_within(Duration::from_secs(10), told),
        "{}",
        router.samctl("doctor").text()
    );
    let remedy = check(router, row)["remedy"].to_string();
    assert!(remedy.contains("key"), "{remedy}");
    assert_ne!(
        sh(
            &client,
            &format!("ping -n -c 3 -i 0.3 -W 1 {}", Site::AWS.client())
        )
        .code,
        0
    );
    assert_eq!(router.owner(Site::ONPREM.client()), None);
}

/// A key as `samctl key gen` makes it.
fn samctl_key() -> String {
    let output = std::process::Command::new(samctl())
        .args(["key", "gen"])
        .output();
    String::from_utf8(output.expect("samctl starts").stdout).expect("text")
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws 203.0.113.12 → 203.0.113.212 ── lan2 ── .11
/// ```
fn roaming() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), Duration::from_secs(5));
    let narrow = "ip route add 203.0.113.212/32 dev wan0 mtu 1400";
    sh(fabric.topology.router(Site::ONPREM), narrow).success();
    let change = "ip addr add 203.0.113.212/24 dev wan0; ip addr del 203.0.113.12/24 dev wan0; \
                  ip addr add 203.0.113.212/24 dev wan0 2> /dev/null; ip -o -4 addr show wan0";
    let after = sh(fabric.topology.router(Site::AWS), change).success();
    assert!(
        after.contains("203.0.113.212") && !after.contains("203.0.113.12/"),
        "{after}"
    );

    let took = wait_for_ping(client, Site::AWS.client(), FOLLOWED);

    let row = fabric.router(Site::ONPREM).json("tunnels")["tunnels"][0].clone();
    assert_eq!(row["endpoint"], "203.0.113.212:51820", "after {took:?}");
    assert!(row["roams"].as_u64() >= Some(1), "{row}");
    wait_until("the tunnel has the MTU of the new way", FOLLOWED, || {
        let row = &fabric.router(Site::ONPREM).json("tunnels")["tunnels"][0];
        (&row["underlay_mtu"], &row["mtu"]) == (&1400.into(), &1340.into())
    });
    assert_eq!(
        fabric.owner(Site::ONPREM, Site::AWS.client()).as_deref(),
        Some("aws")
    );
}

/// The far router sends from an address of the pool for a while, to which the host's route leads by the TUN device.
fn roaming_inside() {
    let fabric = Fabric::running(samctl(), 2);
    let (here, there) = (Site::ONPREM, Site::AWS);
    let client = fabric.topology.client(here);
    wait_for_ping(client, there.client(), FOLLOWED);
    let inside = "10.77.60.99";
    sh(
        fabric.topology.router(here),
        &format!("ip route add {inside}/32 dev sam0"),
    )
    .success();
    let sends_from_inside = |verb: &str| {
        let source = format!(
            "ip address {verb} {inside}/32 dev wan0; ip route {verb} {}/32 dev wan0 src {inside}",
            here.underlay()
        );
        sh(fabric.topology.router(there), &source);
    };
    let row = || fabric.router(here).json("tunnels")["tunnels"][0].clone();

    sends_from_inside("add");
    wait_until("the tunnel is refused", FOLLOWED, || {
        let row = row();
        row["fault"] == "routed-into-itself" && row["endpoint"] == format!("{inside}:51820")
    });
    let doctor = fabric.router(here).samctl("doctor tunnel").text();
    assert!(
        doctor.contains(&format!("`ip route get {inside}`")),
        "{doctor}"
    );

    sends_from_inside("delete");
    wait_for_ping(client, there.client(), FOLLOWED);
    let row = row();
    assert_eq!(
        (&row["endpoint"], row["fault"].is_null()),
        (&format!("{}:51820", there.underlay()).into(), true)
    );
}
