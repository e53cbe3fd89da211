//! Another transport for a running router: the tunnels concerned are exchanged, all others go on.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use sam_testkit::netns::{Fabric, Loss, Pings, Site, wait_until};
use samctl::client::Client;
use serde_json::{Value, json};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "transport_change::the_tunnel_of_a_pair_is_exchanged_and_others_lose_nothing",
        needs: &[],
        run: exchange,
    },
    Case {
        name: "transport_change::a_port_in_use_changes_nothing",
        needs: &[],
        run: port_in_use,
    },
    Case {
        name: "transport_change::wireguard_moves_to_another_port",
        needs: &[],
        run: listen_port,
    },
    Case {
        name: "transport_change::a_router_that_is_told_late_is_reached_again",
        needs: &[],
        run: late,
    },
];

const HERE: Site = Site::ONPREM;
const CHANGING: Site = Site::AWS;
const STEADY: Site = Site::AZURE;
/// Time for a tunnel to carry packets.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest silence in the changed tunnel, beyond the time in which the two routers differ.
const BACK: Duration = Duration::from_secs(1);
/// What a busy machine can hold up until the tunnel is back: both workers, a handshake, its answer, a packet.
const HOLD_UPS: u32 = 5;
/// As other than the profile; each may follow each other, and the last is the first.
const TRANSPORTS: [&str; 8] = [
    "encap: gre, trustedUnderlay: true",
    "encap: ipip, trustedUnderlay: true",
    "encap: wireguard",
    "encap: gue, port: 6090, trustedUnderlay: true",
    "encap: fou, port: 6090, trustedUnderlay: true",
    "encap: gue, over: wireguard",
    "encap: vxlan, vni: 77, trustedUnderlay: true",
    PROFILE,
];
const PROFILE: &str = "encap: gue, trustedUnderlay: true";

/// ```text
///   .10 ── onprem ══ gue, gre, ipip, wireguard … ══ aws ── .11
///             ╚═════════════ gue ═════════════ azure ── .12
/// ```
/// BFD is slow: a machine that holds up the second reload for longer than BFD waits is not asked about here.
fn exchange() {
    let fabric = running("{interval: 1s, multiplier: 20}");
    let client = fabric.topology.client(HERE);
    let pings = |to: Site| Pings::start(client, to.client());
    let steady = pings(STEADY);
    let mut exchanged: Vec<(&str, Duration, Loss)> = Vec::new();
    let mut former = PROFILE;
    for transport in TRANSPORTS {
        let changing = pings(CHANGING);
        let start = Instant::now();
        for site in [HERE, CHANGING] {
            fabric.edit(site, &way(former), &way(transport));
            reload(&fabric, site);
        }
        let differ = start.elapsed();
        let loss = changing.stop();
        exchanged.push((transport, differ, loss));
        former = transport;
        for (at, to) in [(HERE, CHANGING), (CHANGING, HERE)] {
            let encap = transport.split([' ', ',']).nth(1);
            let shown = tunnel(&fabric, at, to)["encap"].to_string();
            assert!(shown.contains(encap.unwrap_or("nothing")), "{shown}");
        }
    }

    let unchanged = steady.stop();
    assert_eq!((unchanged.lost, unchanged.twice), (0, 0), "{unchanged:?}");
    for (transport, differ, loss) in exchanged {
        assert!(
            loss.gap <= differ + BACK + HOLD_UPS * unchanged.gap,
            "{transport}: {loss:?}; the routers differed for {differ:?}, the machine was silent for {:?}",
            unchanged.gap
        );
    }
}

/// Another program has the port: the order is refused with a reason, and taken once the port is free.
fn port_in_use() {
    let fabric = running("{profile: default}");
    let (router, client) = (fabric.topology.router(HERE), fabric.topology.client(HERE));
    let rival = router
        .enter(|| UdpSocket::bind(("0.0.0.0", 6090)))
        .expect("the namespace can be entered")
        .expect("the port is free");
    let elsewhere = "encap: gue, port: 6090, trustedUnderlay: true";
    for site in [HERE, CHANGING] {
        fabric.edit(site, &way(PROFILE), &way(elsewhere));
    }

    let refused = fabric.router(HERE).samctl("reload");
    assert_eq!(refused.code, 1, "{}", refused.text());
    for word in ["fabric.transport", "0.0.0.0:6090", "in use"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    wait_for_ping(client, CHANGING.client(), PATIENCE);
    assert_eq!(port_of(&fabric), Some(6080));

    drop(rival);
    // A program that another test starts at this moment has the socket too until it is itself.
    let client_of_here = Client::new(fabric.router(HERE).socket());
    wait_until("the port is free", PATIENCE, || {
        client_of_here.order("/v1/reload", &json!({})).is_ok()
    });
    reload(&fabric, CHANGING);
    wait_for_ping(client, CHANGING.client(), PATIENCE);
    assert_eq!(port_of(&fabric), Some(6090));
    for site in [HERE, CHANGING] {
        fabric.edit(site, &way(elsewhere), &way(PROFILE));
        reload(&fabric, site);
    }
    // What was given up is free.
    let freed = router.enter(|| UdpSocket::bind(("0.0.0.0", 6090)));
    freed.expect("the namespace can be entered").expect("free");
}

/// The session goes on from another port, and the far end follows it there.
///
/// ```text
///   .10 ── onprem :51820, then :51821 ══ wireguard ══ aws ── .11
/// ```
fn listen_port() {
    let fabric = Fabric::running(samctl(), 2);
    let client = fabric.topology.client(HERE);
    wait_for_ping(client, CHANGING.client(), PATIENCE);
    let shakes = || tunnel(&fabric, CHANGING, HERE)["handshakes"].clone();
    let before = shakes();
    let pings = Pings::start(client, CHANGING.client());
    fabric.edit(HERE, "self:\n", "self:\n  listenPort: 51821\n");

    reload(&fabric, HERE);
    wait_until("the far end follows", PATIENCE, || {
        let endpoint = tunnel(&fabric, CHANGING, HERE)["endpoint"].clone();
        endpoint == format!("{}:51821", HERE.underlay())
    });

    let loss = pings.stop();
    assert!(loss.gap < BACK, "{loss:?}");
    assert_eq!(shakes(), before, "the same session");
    let router = fabric.topology.router(HERE);
    let freed = router.enter(|| UdpSocket::bind(("0.0.0.0", 51820)));
    freed.expect("the namespace can be entered").expect("free");
}

/// BFD and BGP have given the pair up before the second router is told.
fn late() {
    let fabric = running("{profile: default}");
    let client = fabric.topology.client(HERE);
    wait_for_ping(client, CHANGING.client(), PATIENCE);
    // Who never was up is not given up.
    both_watch(&fabric, 2);
    let gre = "encap: gre, trustedUnderlay: true";
    for site in [HERE, CHANGING] {
        fabric.edit(site, &way(PROFILE), &way(gre));
    }
    reload(&fabric, HERE);
    both_watch(&fabric, 1);

    reload(&fabric, CHANGING);
    for (at, to) in [(HERE, CHANGING), (CHANGING, HERE)] {
        wait_for_ping(fabric.topology.client(at), to.client(), PATIENCE);
    }
}

/// Waits until each router of the pair has so many BFD sessions that are up.
fn both_watch(fabric: &Fabric, up: usize) {
    for site in [HERE, CHANGING] {
        wait_until(&format!("{up} of BFD are up"), PATIENCE, || {
            fabric.router(site).json("status")["bfd"]["up"] == up
        });
    }
}

/// Three routers, all in each other's reach, with the pair as in [`PROFILE`].
fn running(bfd: &str) -> Fabric {
    let mut fabric = Fabric::new(samctl(), 3);
    let settings = format!(
        "  transport: {{{PROFILE}}}\n  pairs:\n    - {}\n  bfd: {bfd}\n  bgp:",
        way(PROFILE)
    );
    fabric.edit_all("  bgp:", &settings);
    fabric.start_all();
    for to in [CHANGING, STEADY] {
        wait_for_ping(fabric.topology.client(HERE), to.client(), PATIENCE);
    }
    fabric
}

/// The pair in a configuration.
fn way(transport: &str) -> String {
    let nodes = format!("{}, {}", HERE.name(), CHANGING.name());
    format!("{{nodes: [{nodes}], transport: {{{transport}}}}}")
}

/// As `samctl reload`, but at once: on a busy machine the start of a program takes longer than all that routers do.
fn reload(fabric: &Fabric, at: Site) {
    let client = Client::new(fabric.router(at).socket());
    client
        .order("/v1/reload", &json!({}))
        .expect("the configuration is taken up");
}

/// The far port of the pair's tunnel.
fn port_of(fabric: &Fabric) -> Option<u16> {
    let row = tunnel(fabric, HERE, CHANGING);
    let (_, port) = row["endpoint"].as_str()?.rsplit_once(':')?;
    port.parse().ok()
}

fn tunnel(fabric: &Fabric, at: Site, to: Site) -> Value {
    let view = fabric.router(at).json("tunnels");
    let rows = view["tunnels"].as_array().cloned().unwrap_or_default();
    let mut rows = rows.into_iter();
    rows.find(|row| row["node"]["name"] == to.name())
        .unwrap_or_default()
}
