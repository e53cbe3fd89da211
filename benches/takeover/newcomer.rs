//! A client that nobody configured says its first word; clients of two other sites try to reach it all the time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_testkit::netns::{Fabric, Pings, Site, sh, wait_until, wall_time};

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
        let client = fabric.topology.client(site);
        Pings::unheard(Duration::from_millis(10), client, NEW)
    });
    wait_until("they find nobody", PATIENCE, || {
        pings.iter().all(|pings| pings.unreachable() > 0)
    });
    let client = fabric.topology.add_host(Site::ONPREM, "n50", NEW);

    let spoke = wall_time();
    let word = format!("ping -n -c 1 -W 1 {}", Site::AWS.client());
    sh(&client, &word);
    wait_until("both get answers", PATIENCE, || {
        pings.iter().all(|pings| pings.first_answer().is_some())
    });
    let answered = pings.iter().filter_map(Pings::first_answer);
    let routable = answered.fold(0.0, f64::max) - spoke;
    BTreeMap::from([(
        "first ARP until answers at all other sites, ms".to_owned(),
        routable * 1e3,
    )])
}
