//! The master of a LAN that answers for a thousand addresses of another site is killed: how long until the next one has
//! announced all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND};
use sam_testkit::netns::{Capture, wait_until, wall_time};

use crate::event::{PATIENCE, program};

/// Addresses at the far site, beside its client's.
const CAPTURED: u32 = 1000;
/// The first of them.
const START: Ipv4Addr = Ipv4Addr::new(10, 77, 56, 1);
/// The pool that has room for them and for the hosts of the other events.
const POOL: &str = "10.77.56.0/21";

pub(crate) fn run() -> BTreeMap<String, f64> {
    let mut pair = Pair::configured(program(), |fabric| {
        fabric.edit_all("10.77.60.0/24", POOL);
        let owned: Vec<String> = captured().map(|address| address.to_string()).collect();
        let (from, to) = (FAR.client(), owned.join(", "));
        fabric.edit(
            FAR,
            &format!("owned: [{from}]"),
            &format!("owned: [{from}, {to}]"),
        );
    });
    let known = |view: &serde_json::Value| view["owners"].as_array().map_or(0, Vec::len);
    wait_until("both routers know all owners", PATIENCE, || {
        let routers = [FIRST, SECOND].map(|site| pair.fabric.router(site));
        let wanted = CAPTURED as usize + 2;
        routers
            .iter()
            .all(|router| known(&router.json("owners")) >= wanted)
    });
    let mac = pair.mac(SECOND);
    let file = pair.fabric.path("announced.pcap");
    let capture = Capture::start(
        pair.client(),
        "eth0",
        &format!("arp and ether src {mac}"),
        &file,
    );

    let mut router = pair.fabric.take(FIRST);
    let killed = wall_time();
    router.daemon().kill();
    pair.wait_for(SECOND, "master");
    let mut announced = (0.0, 0.0);
    wait_until("all are announced", PATIENCE, || {
        match announcements(capture.so_far().file()) {
            Some(times) => {
                announced = times;
                true
            }
            None => false,
        }
    });
    drop(capture.stop());
    let (first, last) = announced;
    BTreeMap::from([
        (
            "first until last of 1000 announced, ms".to_owned(),
            (last - first) * 1e3,
        ),
        (
            "killed until last announced, ms".to_owned(),
            (last - killed) * 1e3,
        ),
    ])
}

fn captured() -> impl Iterator<Item = Ipv4Addr> {
    let start = u32::from(START);
    (start..start + CAPTURED).map(Ipv4Addr::from)
}

/// When the first address was announced, and when the last of all of them was for the first time; in seconds.
fn announcements(file: &Path) -> Option<(f64, f64)> {
    let packets = sam_testkit::netns::Packets::of(file);
    let rows = packets.fields("arp", &["frame.time_epoch", "arp.src.proto_ipv4"]);
    let mut missing: BTreeSet<Ipv4Addr> = captured().collect();
    let mut first = None;
    for row in rows {
        let [time, address] = row.as_slice() else {
            continue;
        };
        let (Ok(time), Ok(address)) = (time.parse::<f64>(), address.parse()) else {
            continue;
        };
        if missing.remove(&address) {
            first.get_or_insert(time);
        }
        if missing.is_empty() {
            return first.map(|first| (first, time));
        }
    }
    None
}
