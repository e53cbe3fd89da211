//! The live move: a virtual machine leaves the LAN for a cloud while somebody talks to it.

use anyhow::{Context, Result};
use serde_json::json;

use super::Running;
use super::probes::Probes;
use super::report::Move;
use super::server::Session;
use super::sites::{GUEST, Site};

/// Moves the guest from the LAN to AWS, as operators would.
///
/// 1. The guest goes on in AWS, and the provider gives its address to its interface there. The router that had it for the
///    former site leaves it alone: that interface is no router's.
/// 2. Both routers of the new site announce the address, those of the former one withdraw it.
///
/// # Errors
/// When the lab or a router refuses.
pub(super) fn run(running: &mut Running) -> Result<Move> {
    let (from, to) = (Site::Onprem, Site::Aws);
    let (lab, routers, cloud) = (&running.lab, &running.routers, &running.cloud);
    let observer = lab.client(Site::Azure);
    let mut session = Session::open(observer, GUEST)?;
    session.echo("before")?;
    let probes = Probes::start(observer, GUEST)?;

    lab.migrate_guest()?;
    cloud.admit_guest().context("AWS")?;
    let body = json!({ "address": GUEST.to_string() });
    for router in to.routers() {
        routers.order(router, "/v1/announce", &body)?;
    }
    for router in from.routers() {
        routers.order(router, "/v1/withdraw", &body)?;
    }
    let agreed = |running: &Running| running.routers.agree(GUEST, to);
    running.wait("all routers see the new owner", agreed)?;
    let survived = session.echo("after").is_ok();
    let loss = probes.stop()?;
    Ok(Move {
        address: GUEST.to_string(),
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        lost_ms: loss.gap_ms,
        probes_sent: loss.sent,
        probes_answered: loss.answered,
        tcp_survived: survived,
    })
}
