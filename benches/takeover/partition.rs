//! The switch between the two routers of a LAN fails, and works again.
//!
//! ```text
//!   client .10 ── lan1  ──┬── router onprem (priority 150) ══╗
//!                     cable j1                                ╠══ router aws ── client
//!   client .20 ── lan1b ──┴── router azure  (priority 100) ══╝
//! ```
//! While they are apart, each router acts on its side; at no instant a client must hear both, and afterwards not for longer
//! than an advertisement takes.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND};
use sam_testkit::netns::{Answerers, Pings, Stream, sh, wait_until};

use crate::event::{PATIENCE, answers, milliseconds, program, rest};
use crate::watch::{Outcome, Watch};

/// The client on the other side.
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 20);

pub(crate) fn run() -> Outcome {
    let pair = Pair::running(program());
    let topology = &pair.fabric.topology;
    let neighbor = topology.add_host(FIRST, "n20", NEIGHBOR);
    for site in [FIRST, SECOND] {
        let router = pair.fabric.router(site);
        router.samctl(&format!("announce {NEIGHBOR}")).success();
    }
    let second_switch = format!(
        "set -e
         ip link add lan1b type bridge
         ip link set lan1b up
         ip link add j1 type veth peer name j2
         ip link set j1 master lan1 up
         ip link set j2 master lan1b up
         ip link set {} master lan1b
         ip link set n20 master lan1b",
        topology.router_port(SECOND)
    );
    sh(topology.wires(), &second_switch).success();
    wait_until("the backup hears its master", PATIENCE, || {
        pair.state(FIRST) == "master" && pair.state(SECOND) == "backup"
    });
    let far = topology.client(FAR).clone();
    let name = "LAN to elsewhere";
    let pings = Pings::start(pair.client(), FAR.client());
    let stream = Stream::start(pair.client(), &far, FAR.client());
    let mut watch = Watch::start(vec![(name, pings)], stream);
    let askers = [
        Answerers::start(pair.client(), FIRST.client(), FAR.client()),
        Answerers::start(&neighbor, NEIGHBOR, FAR.client()),
    ];

    watch.begin();
    sh(topology.wires(), "ip link set j1 down").success();
    wait_until("both act", PATIENCE, || pair.state(SECOND) == "master");
    watch.mark("both act");
    rest();
    sh(topology.wires(), "ip link set j1 up").success();
    watch.mark("joined");
    let joined = Instant::now();
    wait_until("one gives way", PATIENCE, || pair.state(SECOND) == "backup");
    let decided = joined.elapsed();
    watch.mark("one gives way");
    rest();

    let mut outcome = watch.stop();
    let figures = &mut outcome.figures;
    figures.extend(answers(&askers.map(Answerers::stop)));
    figures.insert(
        "joined until one gave way, ms".to_owned(),
        milliseconds(decided),
    );
    outcome
}
