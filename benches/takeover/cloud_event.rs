//! What happens to the router that holds the addresses of other sites in a cloud, and what its neighbors there lose.
//!
//! The cloud is the fake one. Its calls take as long as the targets assume: 1 s per change at AWS and OCI; at Azure an
//! operation goes on for 4 s after its answer, and an address moves in two, or in one where the subscription has that.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_router::config::CloudKind;
use sam_testkit::netns::cloud::{CLOUD, CloudLab, ELSEWHERE};
use sam_testkit::netns::{Fabric, Pings, Stream, wait_until};
use serde_json::{Value, json};

use crate::event::{AFTERMATH, milliseconds, program};
use crate::watch::{Outcome, Watch};

/// Time for anything here.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a router without changes is watched for.
const WATCHED: Duration = Duration::from_secs(120);
/// How long a router goes on to look after its last change.
const CONFIRMED: Duration = Duration::from_secs(20);

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloudEvent {
    cloud: CloudKind,
    /// Azure only: an address moves in one change.
    moves: bool,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The router that captures is killed.
    Kill,
    /// It is drained.
    Drain,
    /// It is drained while it holds many addresses.
    Many,
    /// The provider refuses every call for a while.
    Outage,
    /// Nothing happens.
    Rest,
}

impl CloudEvent {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let whats = [
            What::Kill,
            What::Drain,
            What::Many,
            What::Outage,
            What::Rest,
        ];
        let clouds = CloudKind::ALL.map(|cloud| (cloud, false)).into_iter();
        let clouds = clouds.chain([(CloudKind::Azure, true)]);
        clouds.flat_map(move |(cloud, moves)| whats.map(|what| Self { cloud, moves, what }))
    }

    /// Its name.
    pub(crate) fn name(self) -> String {
        let cloud = match self.moves {
            true => "azure that moves",
            false => self.cloud.name(),
        };
        let what = match self.what {
            What::Kill => "active killed",
            What::Drain => "drain",
            What::Many => return format!("{cloud}: {} addresses move", self.many()),
            What::Outage => "provider down for 10 s",
            What::Rest => "at rest",
        };
        format!("{cloud}: {what}")
    }

    /// Lets it happen once, and returns what came of it.
    pub(crate) fn run(self) -> Outcome {
        let (mut fabric, lab) = CloudLab::pair(program(), self.cloud, &self.settings());
        lab.bring_up(&mut fabric);
        match self.what {
            What::Kill | What::Drain | What::Outage => self.watched(&mut fabric, &lab),
            What::Many => many(&fabric, &lab, self.many()).into(),
            What::Rest => at_rest(&lab).into(),
        }
    }

    /// Addresses that move at once. OCI has a call for each (decision 0045), and room for fewer.
    fn many(self) -> u8 {
        match self.cloud {
            CloudKind::Aws | CloudKind::Azure => 100,
            CloudKind::Oci => 16,
        }
    }

    fn settings(self) -> Value {
        let latency = match self.cloud {
            CloudKind::Aws | CloudKind::Oci => json!({"readMs": 100, "writeMs": 1000}),
            CloudKind::Azure => json!({"readMs": 200, "writeMs": 200, "operationMs": 4000}),
        };
        json!({ "latency": latency, "atomicMove": self.moves })
    }

    /// Under pings in both directions and a stream of TCP.
    fn watched(self, fabric: &mut Fabric, lab: &CloudLab) -> Outcome {
        let machine = fabric.topology.client(CLOUD).clone();
        let host = fabric.topology.client(ELSEWHERE).clone();
        let pings = [
            (&machine, ELSEWHERE.client(), "cloud to elsewhere"),
            (&host, CLOUD.client(), "elsewhere to cloud"),
        ];
        let pings = pings.map(|(from, to, name)| (name, Pings::start(from, to)));
        let stream = Stream::start(&machine, &host, ELSEWHERE.client());
        let mut watch = Watch::start(pings.into(), stream);
        let before = lab.calls().len();
        watch.begin();
        let began = Instant::now();
        // Who is killed is there until the end.
        let mut taken = None;
        match self.what {
            What::Kill => taken.insert(fabric.take(CLOUD)).daemon().kill(),
            What::Drain => {
                let router = fabric.router(CLOUD);
                router.samctl("drain on").success();
            }
            What::Outage => {
                let down = json!({"operation": "*", "effect": {"refuse": {"status": 503, "code": "InternalError"}}});
                lab.disturb(&down);
                pass(Duration::from_secs(10));
                lab.calm();
                watch.mark("the provider is back");
            }
            What::Many | What::Rest => {}
        }
        let mut seen = BTreeMap::new();
        if self.what != What::Outage {
            wait_for_holder(lab, ELSEWHERE.client(), "nic-azure");
            watch.mark("on the other interface");
            seen.insert("moved after, ms".to_owned(), milliseconds(began.elapsed()));
            let changes = changes(&lab.calls()[before..]);
            seen.insert("changes of the cloud".to_owned(), changes);
        }
        if self.what == What::Drain {
            let router = fabric.router(CLOUD);
            router.samctl("drain on --wait").success();
            watch.mark("drained");
            seen.insert(
                "drained after, ms".to_owned(),
                milliseconds(began.elapsed()),
            );
        }
        pass(AFTERMATH);
        let mut outcome = watch.stop();
        outcome.figures.extend(seen);
        drop(taken);
        outcome
    }
}

/// So many addresses move from one router to the other.
fn many(fabric: &Fabric, lab: &CloudLab, count: u8) -> BTreeMap<String, f64> {
    // The client's own is one of them.
    let addresses: Vec<Ipv4Addr> = (1..count)
        .map(|number| Ipv4Addr::new(10, 77, 60, 100 + number))
        .collect();
    let far = fabric.router(ELSEWHERE);
    for address in &addresses {
        far.samctl(&format!("announce {address}")).success();
    }
    for address in &addresses {
        wait_for_holder(lab, *address, "nic-aws");
    }
    let before = lab.calls().len();
    let began = Instant::now();
    let order = "drain on --wait --timeout 600";
    fabric.router(CLOUD).samctl(order).success();
    for address in &addresses {
        wait_for_holder(lab, *address, "nic-azure");
    }
    BTreeMap::from([
        (
            "all moved after, ms".to_owned(),
            milliseconds(began.elapsed()),
        ),
        (
            "changes of the cloud".to_owned(),
            changes(&lab.calls()[before..]),
        ),
    ])
}

/// How often two routers call without a reason.
fn at_rest(lab: &CloudLab) -> BTreeMap<String, f64> {
    pass(CONFIRMED);
    let before = lab.calls().len();
    pass(WATCHED);
    let calls = (lab.calls().len() - before) as f64;
    let per_hour = calls / 2.0 * 3600.0 / WATCHED.as_secs_f64();
    BTreeMap::from([("calls per hour and router".to_owned(), per_hour)])
}

/// Counts the calls that change something.
fn changes(calls: &[String]) -> f64 {
    const READS: [&str; 5] = ["Check", "Describe", "Get", "List", "Metadata"];
    let changing = |call: &&String| !READS.iter().any(|read| call.starts_with(read));
    calls.iter().filter(changing).count() as f64
}

fn wait_for_holder(lab: &CloudLab, address: Ipv4Addr, nic: &str) {
    wait_until(&format!("{nic} holds {address}"), PATIENCE, || {
        lab.holder(address).as_deref() == Some(nic)
    });
}

/// Lets time pass.
fn pass(time: Duration) {
    let until = Instant::now() + time;
    wait_until("some time went by", PATIENCE * 2, || {
        Instant::now() >= until
    });
}
