//! D1: a host that nobody wrote down.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;

use super::{Site, Stage};
use crate::demo::arp;
use crate::demo::server::Session;

/// The host.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 20);
/// How long everybody may take to know it.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let host = stage.running.lab.add_host(HOST)?;
    stage.running.serve(&host)?;
    stage.say(format!("{HOST} asks on the LAN who has the gateway"));
    arp::ask(
        &host,
        HOST,
        Site::Onprem.gateway(),
        Duration::from_millis(5),
    )?;
    let known = stage.wait("all routers know the new host", |running| {
        running.routers.agree(HOST, Site::Onprem)
    })?;
    stage.claim(
        "location_auto_reflection",
        known < LIMIT,
        format!(
            "8 of 8 routers send packets for it to the LAN after {} ms",
            known.as_millis()
        ),
    );
    stage.running.homes.insert(HOST, Site::Onprem);
    let captured = stage.wait("the clouds lead to the new host", |running| {
        running.captured()
    });
    stage.try_during();
    let reached = Site::CLOUDS.into_iter().filter(|site| {
        let session = Session::open(stage.running.lab.client(*site), HOST);
        session.is_ok_and(|session| session.seen == site.client().to_string())
    });
    let reached = reached.count();
    // Whoever is master next has to hear of it first.
    stage.running.homes.remove(&HOST);
    let captured = captured?;
    stage.claim(
        "capture_realized",
        true,
        format!(
            "on an interface in 3 of 3 clouds {} ms later",
            captured.as_millis()
        ),
    );
    stage.claim(
        "reflected_address_reachable",
        reached == Site::CLOUDS.len(),
        format!("{reached} of 3 clients in clouds connect to it, with their own source addresses"),
    );
    Ok(())
}
