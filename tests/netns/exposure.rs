//! What neighbors of a router can reach of it: BGP and tests are for those behind the tunnels.

use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Fabric, Site, holds_within, sh};

use crate::case::{Case, Need, samctl};

pub(crate) const CASES: &[Case] = &[Case {
    name: "exposure::bgp_and_tests_are_reached_through_tunnels_only",
    needs: &[Need::Tool("bash")],
    run: through_tunnels_only,
}];

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///  └─ route to the overlay of onprem ─► SYN to ports 179 and 5179
/// ```
fn through_tunnels_only() {
    let fabric = Fabric::running(samctl(), 2);
    let topology = &fabric.topology;
    let (host, far) = (topology.client(Site::ONPREM), topology.router(Site::AWS));
    let overlay = Site::ONPREM.overlay();
    sh(host, &format!("ip route add {overlay} via 10.77.60.1")).success();
    let ping = sh(host, &format!("ping -n -c 1 -W 2 {overlay}"));
    assert_eq!(ping.code, 0, "the weak host model: {}", ping.text());

    for port in [179, 5179] {
        assert!(
            holds_within(Duration::from_secs(5), || connects(far, Site::ONPREM, port)),
            "the far router reaches port {port} through the tunnel"
        );
        assert!(
            !connects(host, Site::ONPREM, port),
            "a host of the LAN does not reach port {port}"
        );
    }
}

/// Tells whether a TCP connection to a port of a router comes up.
fn connects(from: &Namespace, to: Site, port: u16) -> bool {
    let open = format!("timeout 2 bash -c '</dev/tcp/{}/{port}'", to.overlay());
    sh(from, &open).code == 0
}
