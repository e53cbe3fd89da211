//! Graceful restart (RFC 4724): what the death of the only reflector costs the others, and what it does not.

use std::time::{Duration, Instant};

use sam_testkit::netns::{Fabric, Pings, Site, wait_until};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "graceful::a_killed_reflector_costs_no_ping_between_other_sites",
        needs: &[],
        run: killed_reflector,
    },
    Case {
        name: "graceful::an_owner_that_dies_after_its_reflector_is_withheld",
        needs: &[],
        run: killed_owner,
    },
];

/// Hold time of the profile `fast`, and what a busy machine adds.
const SILENCE: Duration = Duration::from_secs(14);
/// Time for a restarted reflector to be trusted again.
const RETURN: Duration = Duration::from_secs(40);
/// Time for three unanswered probes.
const DEATH: Duration = Duration::from_secs(8);

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11 ── ping every 10 ms
///                 ▲ kill -9, twice           ╚══ router azure ── lan3 ── .12 ◄┘
/// ```
fn killed_reflector() {
    let mut fabric = Fabric::running(samctl(), 3);
    let (from, to) = (
        fabric.topology.client(Site::AWS).clone(),
        Site::AZURE.client(),
    );
    wait_for_ping(&from, to, RETURN);
    let pings = Pings::start(&from, to);

    // Longer than the hold time: its clients notice, and keep what they know.
    let mut reflector = fabric.take(Site::ONPREM);
    reflector.daemon().kill();
    drop(reflector);
    for site in [Site::AWS, Site::AZURE] {
        wait_until(&format!("{} keeps routes", site.name()), SILENCE, || {
            stale(&fabric, site) > 0
        });
    }
    let router = fabric.router(Site::AWS);
    assert_eq!(router.owner(to).as_deref(), Some("azure"));
    let rib = router.samctl("bgp rib").success();
    let line = rib.lines().find(|line| line.contains("10.77.60.12/32"));
    assert!(line.is_some_and(|line| line.starts_with(">s")), "{rib}");
    let explained = router.samctl(&format!("explain {to}")).success();
    assert!(explained.contains("stale"), "{explained}");
    assert_eq!(router.owner(Site::ONPREM.client()), None, "it died itself");
    fabric.start(Site::ONPREM);
    wait_for_trust(&fabric);

    // Shorter than the hold time: the new session comes while the old one counts as alive.
    let mut reflector = fabric.take(Site::ONPREM);
    reflector.daemon().kill();
    drop(reflector);
    fabric.start(Site::ONPREM);
    wait_for_trust(&fabric);

    let loss = pings.stop();
    let log = fabric.router(Site::AWS).log();
    assert_eq!(loss.lost, 0, "{loss:?}\n{log}");
}

/// The same with the far owner dying meanwhile: nobody tells, its silence does.
fn killed_owner() {
    let mut fabric = Fabric::running(samctl(), 3);
    let address = Site::AZURE.client();
    let mut reflector = fabric.take(Site::ONPREM);
    reflector.daemon().kill();
    wait_until("aws keeps routes", SILENCE, || {
        stale(&fabric, Site::AWS) > 0
    });
    assert_eq!(fabric.owner(Site::AWS, address).as_deref(), Some("azure"));

    let mut owner = fabric.take(Site::AZURE);
    let begin = Instant::now();
    owner.daemon().kill();

    wait_until("aws withholds .12", DEATH, || {
        fabric.owner(Site::AWS, address).is_none()
    });
    assert!(
        begin.elapsed() > Duration::from_millis(500),
        "no single loss decides"
    );
    drop(owner);
    fabric.start(Site::AZURE);
    wait_until("aws believes in .12 again", RETURN, || {
        fabric.owner(Site::AWS, address).as_deref() == Some("azure")
    });
}

/// Waits until the clients have heard everything from the reflector again.
fn wait_for_trust(fabric: &Fabric) {
    for site in [Site::AWS, Site::AZURE] {
        let what = format!("{} has End-of-RIB", site.name());
        wait_until(&what, RETURN, || {
            let view = fabric.router(site).json("bgp neighbor onprem");
            view["end_of_rib"] == true && stale(fabric, site) == 0
        });
    }
    fabric.wait_for_agreement();
}

fn stale(fabric: &Fabric, site: Site) -> u64 {
    let view = fabric.router(site).json("bgp neighbor onprem");
    view["stale"].as_u64().expect("a count")
}
