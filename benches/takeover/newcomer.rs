//! A client that nobody configured says its first word; clients of two other sites try to reach it all the time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sam_testkit::netns::{Daemon, Fabric, Site, first_answer, sh, wait_until, wall_time};

use crate::event::{PATIENCE, program};

/// The client.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);

pub(crate) fn run() -> BTreeMap<String, f64> {
    let mut fabric = Fabric::new(program(), 3);
    let gate = "activeWhen: single-router";
    let discovery = format!("{gate}, discovery: {{type: arp, sweep: off}}");
    fabric.edit_all(gate, &discovery);
    fabric.start_all();
    let pings = [Site::AWS, Site::AZURE].map(|site| {
        let log = fabric.path(&format!("{}.pings", site.name()));
        let command = format!("exec ping -D -n -i 0.01 -W 1 {NEW}");
        Daemon::sh(fabric.topology.client(site), &command, &log)
    });
    wait_until("they find nobody", PATIENCE, || {
        let nobody = |ping: &Daemon| ping.log().contains("Destination Host Unreachable");
        pings.iter().all(nobody)
    });
    let client = fabric.topology.add_host(Site::ONPREM, "n50", NEW);

    let spoke = wall_time();
    let word = format!("ping -n -c 1 -W 1 {}", Site::AWS.client());
    sh(&client, &word);
    wait_until("both get answers", PATIENCE, || {
        pings.iter().all(|ping| first_answer(&ping.log()).is_some())
    });
    let answered = pings.iter().filter_map(|ping| first_answer(&ping.log()));
    let routable = answered.fold(0.0, f64::max) - spoke;
    BTreeMap::from([(
        "first ARP until answers at all other sites, ms".to_owned(),
        routable * 1e3,
    )])
}
