//! What happens to the router that serves a LAN, and what its clients lose.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND};
use sam_testkit::netns::{
    Answerers, Fabric, Pings, RouterProcess, Seen, Site, Stream, sh, wait_until,
};
use samctl::client::Client;
use serde_json::json;

use crate::watch::{Outcome, Watch};
use crate::{captured, newcomer, partition};

/// Time for anything here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A second host on the LAN of the two routers.
const NEIGHBOR: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 20);
/// What runs on after an event, so that late losses count.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(2);

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGKILL.
    Kill,
    /// SIGKILL, where advertisements and BFD are quicker than by default.
    QuickKill,
    /// SIGSTOP: alive for its kernel, dead for everybody else; and two seconds after the next one acts, it wakes up.
    Freeze,
    /// Its cable is pulled.
    Unplug,
    /// SIGTERM.
    Stop,
    /// `samctl drain on --wait`
    Drain,
    /// `samctl handover` of the far client's address and back, its cable moved with it.
    Handover,
    /// The switch between the two routers fails, and works again.
    Partition,
    /// A client that nobody configured says its first word.
    Newcomer,
    /// The master of a LAN with a thousand captured addresses is killed.
    Captured,
}

impl Event {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Kill,
        Self::QuickKill,
        Self::Freeze,
        Self::Unplug,
        Self::Stop,
        Self::Drain,
        Self::Handover,
        Self::Partition,
        Self::Newcomer,
        Self::Captured,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill => "master killed",
            Self::QuickKill => "master killed, advertised every 100 ms",
            Self::Freeze => "master frozen",
            Self::Unplug => "master's cable pulled",
            Self::Stop => "orderly stop",
            Self::Drain => "drain",
            Self::Handover => "address handed over",
            Self::Partition => "LAN parted and joined",
            Self::Newcomer => "new client",
            Self::Captured => "master of 1000 captured addresses killed",
        }
    }

    /// Lets it happen once, and returns what came of it.
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Handover => handover(),
            Self::Partition => partition::run(),
            Self::Newcomer => newcomer::run().into(),
            Self::Captured => captured::run().into(),
            Self::Kill
            | Self::QuickKill
            | Self::Freeze
            | Self::Unplug
            | Self::Stop
            | Self::Drain => self.change_master(),
        }
    }

    fn change_master(self) -> Outcome {
        let mut pair = Pair::configured(program(), |fabric| {
            if self == Self::QuickKill {
                hurry(fabric);
            }
        });
        let neighbor = pair.fabric.topology.add_host(FIRST, "n20", NEIGHBOR);
        for site in [FIRST, SECOND] {
            let router = pair.fabric.router(site);
            router.samctl(&format!("announce {NEIGHBOR}")).success();
        }
        let far = pair.fabric.topology.client(FAR).clone();
        let pings = [
            (pair.client(), FAR.client(), "LAN to elsewhere"),
            (&neighbor, FAR.client(), "its neighbor to elsewhere"),
            (&far, FIRST.client(), "elsewhere to LAN"),
        ];
        let pings = pings.map(|(from, to, name)| (name, Pings::start(from, to)));
        let stream = Stream::start(pair.client(), &far, FAR.client());
        let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
        let mut watch = Watch::start(pings.into(), stream);
        watch.begin();
        let began = Instant::now();
        // Who is stopped or frozen is there until the end.
        let mut taken = self.befall(&mut pair);
        wait_until("the other router is master", PATIENCE, || {
            pair.state(SECOND) == "master"
        });
        let elected = began.elapsed();
        watch.mark("the other router is master");
        rest();
        if self == Self::Freeze {
            let router = taken.as_mut().expect("it is there");
            router.daemon().signal("CONT");
            watch.mark("it wakes up");
            rest();
        }
        let mut outcome = watch.stop();
        let figures = &mut outcome.figures;
        figures.insert("next master after, ms".to_owned(), milliseconds(elected));
        figures.extend(answers(&[asker.stop()]));
        drop(taken);
        outcome
    }

    /// Does it to the master.
    fn befall(self, pair: &mut Pair) -> Option<RouterProcess> {
        if self == Self::Unplug {
            let topology = &pair.fabric.topology;
            let port = topology.router_port(FIRST);
            sh(topology.wires(), &format!("ip link set {port} down")).success();
            return None;
        }
        if self == Self::Drain {
            let router = pair.fabric.router(FIRST);
            router.samctl("drain on --wait").success();
            return None;
        }
        let mut router = pair.fabric.take(FIRST);
        if matches!(self, Self::Kill | Self::QuickKill) {
            router.daemon().kill();
        } else {
            let signal = if self == Self::Freeze { "STOP" } else { "TERM" };
            router.daemon().signal(signal);
        }
        Some(router)
    }
}

/// The election and BFD notice within 0.4 s: three intervals, and a share of one more.
fn hurry(fabric: &Fabric) {
    for site in [FIRST, SECOND] {
        fabric.edit(site, "vrid: 60,", "vrid: 60, interval: 100ms,");
    }
    let bfd = "  bfd: {interval: 100ms, multiplier: 3}\n  nodes:";
    fabric.edit_all("  nodes:", bfd);
}

/// A host is plugged into another site's LAN, and its address is handed over.
fn handover() -> Outcome {
    let (from, to, observer) = (Site::AZURE, Site::AWS, Site::ONPREM);
    let fabric = Fabric::running(program(), 3);
    let address = from.client();
    let (near, host) = (
        fabric.topology.client(observer),
        fabric.topology.client(from),
    );
    let pings = [
        (near, address, "elsewhere to host"),
        (host, observer.client(), "host to elsewhere"),
    ];
    let pings = pings.map(|(from, to, name)| (name, Pings::start(from, to)));
    let mut watch = Watch::start(pings.into(), Stream::start(near, host, address));
    watch.begin();
    let began = Instant::now();
    fabric.topology.replug(from, to);
    let plugged = Instant::now();
    // As `samctl handover` does it, without the time that a program takes to start: the cable has moved already.
    let client = Client::new(fabric.router(from).socket());
    let order = json!({ "address": address, "to": to.name() });
    let taken = client.order("/v1/handover", &order);
    taken.expect("the order is taken");
    wait_until("nothing is on offer", PATIENCE, || {
        let view = fabric.router(from).json("handover");
        view["handovers"].as_array().map(Vec::len) == Some(0)
    });
    let handed = plugged.elapsed();
    watch.mark("handed over");
    rest();
    let mut outcome = watch.stop();
    let figures = &mut outcome.figures;
    figures.insert("cable, ms".to_owned(), milliseconds(plugged - began));
    figures.insert("order until done, ms".to_owned(), milliseconds(handed));
    outcome
}

/// Lets some time go by.
pub(crate) fn rest() {
    let until = Instant::now() + AFTERMATH;
    wait_until("some time went by", PATIENCE, || Instant::now() >= until);
}

/// Who answered on a LAN, as seen by each of its clients.
pub(crate) fn answers(seen: &[Seen]) -> [(String, f64); 2] {
    let worst = |longest: fn(&Seen) -> Duration| {
        let longest = seen.iter().map(|seen| milliseconds(longest(seen)));
        longest.fold(0.0, f64::max)
    };
    [
        (
            "two routers answered for, ms".to_owned(),
            worst(Seen::longest_overlap),
        ),
        (
            "no router answered for, ms".to_owned(),
            worst(Seen::longest_silence),
        ),
    ]
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_samctl"))
}
