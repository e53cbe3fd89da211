//! Addresses that move between four sites while somebody talks to them.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Fabric, Pings, Site, wait_until};
use samctl::client::Client;
use serde_json::{Value, json};

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "moving::an_address_moves_between_four_sites_under_a_ping_every_5_ms",
        needs: &[],
        run: moves,
    },
    Case {
        name: "moving::an_address_is_handed_over_from_site_to_site_under_a_ping_every_5_ms",
        needs: &[],
        run: handed_over,
    },
];

/// Time for all routers to see a new owner.
const AGREEMENT: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(5);
/// Answers between two moves.
const STEADY: Duration = Duration::from_millis(500);
/// Pings lost per move at most: 150 ms, on a machine that does much else. `samctl demo` measures the time itself.
const LOST: usize = 30;

/// ```text
/// observer .10 ─ lan1 ─ onprem (reflector) ═╗             ╔═ azure ─ lan3   ◄ second stop
///                                           ╠═ wan ═══════╣
///          .11 ─ lan2 ─ aws ════════════════╝             ╚═ oci ─── lan4 ─ .13 starts here
///                 ▲ first stop
/// ```
fn moves() {
    journey(|fabric, address, from, to| {
        let body = json!({ "address": address });
        order(fabric, to, "/v1/announce", &body);
        order(fabric, from, "/v1/withdraw", &body);
    });
}

/// The same, each move by one order at the owner.
fn handed_over() {
    journey(|fabric, address, from, to| {
        let body = json!({ "address": address, "to": to.name() });
        order(fabric, from, "/v1/handover", &body);
        wait_until("nothing is on offer", AGREEMENT, || {
            let view = fabric.router(from).json("handover");
            view["handovers"].as_array().map(Vec::len) == Some(0)
        });
    });
}

/// Gives an order as `samctl` does, but at once: the cable is pulled already, and on a busy machine the start of a program
/// takes longer than all that the routers do.
fn order(fabric: &Fabric, at: Site, path: &str, body: &Value) {
    let client = Client::new(fabric.router(at).socket());
    client.order(path, body).expect("the order is taken");
}

fn journey(take: impl Fn(&Fabric, Ipv4Addr, Site, Site)) {
    let fabric = Fabric::running(samctl(), 4);
    let address = Site::OCI.client();
    let observer = fabric.topology.client(Site::ONPREM);
    wait_for_ping(observer, address, AGREEMENT);
    let pings = Pings::every(INTERVAL, observer, address);
    thread::sleep(STEADY);

    let stops = [Site::OCI, Site::AWS, Site::AZURE, Site::OCI];
    for pair in stops.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        fabric.topology.replug(Site::OCI, to);
        take(&fabric, address, from, to);
        for at in fabric.topology.sites() {
            let what = format!("{} sees {address} at {}", at.name(), to.name());
            wait_until(&what, AGREEMENT, || {
                fabric.owner(at, address).as_deref() == Some(to.name())
            });
        }
        thread::sleep(STEADY);
    }

    let loss = pings.stop();
    assert_eq!(loss.twice, 0, "a ping was answered twice");
    let moves = 3;
    assert!(
        loss.lost < LOST * moves,
        "{loss:?} in {moves} moves\n{}",
        fabric.router(Site::ONPREM).log()
    );
}
