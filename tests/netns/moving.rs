//! Addresses that move between four sites while somebody talks to them.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Site, wait_until};

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
/// Answers between two moves.
const STEADY: Duration = Duration::from_millis(500);
/// Pings lost per move at most: 150 ms, on a machine that does much else. `samctl demo` measures the time itself.
const LOST: u32 = 30;

/// ```text
/// observer .10 ─ lan1 ─ onprem (reflector) ═╗             ╔═ azure ─ lan3   ◄ second stop
///                                           ╠═ wan ═══════╣
///          .11 ─ lan2 ─ aws ════════════════╝             ╚═ oci ─── lan4 ─ .13 starts here
///                 ▲ first stop
/// ```
fn moves() {
    journey(|fabric, address, from, to| {
        fabric
            .router(to)
            .samctl(&format!("announce {address}"))
            .success();
        fabric
            .router(from)
            .samctl(&format!("withdraw {address}"))
            .success();
    });
}

/// The same, each move by one order at the owner, which returns when it is done.
fn handed_over() {
    journey(|fabric, address, from, to| {
        let order = format!("handover {address} --to {} --wait", to.name());
        fabric.router(from).samctl(&order).success();
        let view = fabric.router(from).json("handover");
        assert_eq!(view["handovers"].as_array().map(Vec::len), Some(0));
    });
}

fn journey(take: impl Fn(&Fabric, Ipv4Addr, Site, Site)) {
    let fabric = Fabric::running(samctl(), 4);
    let address = Site::OCI.client();
    let observer = fabric.topology.client(Site::ONPREM);
    wait_for_ping(observer, address, AGREEMENT);
    let command = format!("exec ping -n -i 0.005 {address}");
    let mut ping = Daemon::sh(observer, &command, &fabric.path("ping.log"));
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

    ping.signal("INT");
    wait_until("ping ends", AGREEMENT, || ping.exit_code().is_some());
    let log = ping.log();
    assert!(!log.contains("DUP!"), "a ping was answered twice");
    let (sent, received) = summary(&log);
    let moves = 3;
    assert!(
        sent - received < LOST * moves,
        "{} of {sent} pings lost in {moves} moves\n{}",
        sent - received,
        fabric.router(Site::ONPREM).log()
    );
}

/// Reads "N packets transmitted, M received".
pub(crate) fn summary(log: &str) -> (u32, u32) {
    let line = log
        .lines()
        .find(|line| line.contains(" packets transmitted"));
    let line = line.unwrap_or_else(|| panic!("ping says nothing:\n{log}"));
    let number = |part: &str| part.split_whitespace().next()?.parse().ok();
    let mut numbers = line.split(',').map_while(number);
    match (numbers.next(), numbers.next()) {
        (Some(sent), Some(received)) => (sent, received),
        _ => panic!("no numbers in '{line}'"),
    }
}
