//! A fabric at rest says nothing.

use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Fabric, Site, sh};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[Case {
    name: "steady::a_fabric_at_rest_logs_nothing_for_half_a_minute",
    needs: &[],
    run: silent,
}];

const REST: Duration = Duration::from_secs(30);

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn silent() {
    let fabric = Fabric::running(samctl(), 3);
    let sites = fabric.topology.sites();
    for from in &sites {
        for to in sites.iter().filter(|to| *to != from) {
            wait_for_ping(
                fabric.topology.client(*from),
                to.client(),
                Duration::from_secs(5),
            );
        }
    }
    thread::sleep(Duration::from_secs(1));
    let logs = || {
        sites
            .iter()
            .map(|site| fabric.router(*site).log())
            .collect::<Vec<_>>()
    };
    let generation = |site: &Site| fabric.router(*site).json("status")["generation"].clone();
    let generations = || sites.iter().map(generation).collect::<Vec<_>>();
    let (before, snapshots) = (logs(), generations());

    // Traffic is no news.
    let ping = format!(
        "ping -n -q -i 0.2 -w {} {}",
        REST.as_secs(),
        Site::AWS.client()
    );
    sh(fabric.topology.client(Site::AZURE), &ping).success();

    assert_eq!(logs(), before);
    assert_eq!(generations(), snapshots, "no snapshot without a reason");
}
