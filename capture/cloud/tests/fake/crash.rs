//! A router that dies at any request which changes something, and starts again with its journal: the real reconciler and
//! the real clients, once for each request of the whole course.
//!
//! ```text
//!  capture one address of a router that is gone, and two that nobody has ─► give one back ─► give all back by order
//! ```
//! Dying before a request is dying after the one before it was carried out and never heard of: so each place in the
//! provider's ledger is a place to die.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sam_capture::desired::Absence;
use sam_capture::executor::{Rhythm, Settings};
use sam_capture::provider::{Fence, NicId, Operation};
use sam_capture::{Authority, Executor, Mode, NodeId, PathSignature, Pool, Prior, Provider, Want};
use serde_json::{Value, json};

use crate::lab::{Ended, Holds, Lab, address, addresses};

/// A cloud with two routers of one site, of which the second one is gone.
pub(crate) struct Site {
    pub(crate) scenario: fn() -> Value,
    pub(crate) client: fn(&Lab, char) -> Box<dyn Provider>,
    /// Names of the interfaces in the lab, and at the provider.
    pub(crate) own: (&'static str, NicId),
    pub(crate) other: (&'static str, NicId),
}

/// What the router gets and gives back.
const TAKEN: u8 = 30;
const FREE: [u8; 2] = [31, 32];
/// What somebody put on its interface by hand.
const BY_HAND: u8 = 50;
/// No course needs so many requests.
const MANY: usize = 60;

/// Tries the whole course, with a death at each request.
pub(crate) fn dies_anywhere(site: &Site) {
    for at in 1..MANY {
        if !dies_at(site, at) {
            assert!(at > 6, "the course has too few requests: {at}");
            return;
        }
    }
    panic!("the course does not end");
}

/// Tells whether it came to the death.
fn dies_at(site: &Site, at: usize) -> bool {
    let lab = Lab::serve((site.scenario)());
    let taken = Operation::Assign {
        addresses: addresses(&[TAKEN]),
        version: None,
    };
    let mut other = (site.client)(&lab, 'b');
    other.perform(&taken, &Holds).expect("free");
    lab.by_hand(site.own.0, &json!({"add": [address(BY_HAND)]}));
    let others = lab.addresses(site.own.0);
    let before = lab.changes();

    let mut world = World {
        lab: &lab,
        site,
        journal: Prior::default(),
        life: Life {
            asked: Cell::new(0),
            dies_at: at,
        },
        died: false,
        now: Instant::now(),
    };
    let all = [TAKEN, FREE[0], FREE[1]];
    world.live_until(&capture(&all), &all);
    assert!(!lab.addresses(site.other.0).contains(&text(TAKEN)));
    let mut wants = capture(&all);
    wants.insert(address(FREE[0]), Want::Absent(Absence::OwnedHere));
    world.live_until(&wants, &[TAKEN, FREE[1]]);
    let mut wants = absent(&all, Absence::Ordered);
    // Nobody ever gives back what was put there by hand.
    wants.extend(absent(&[BY_HAND], Absence::Ordered));
    world.live_until(&wants, &[]);

    assert_eq!(lab.addresses(site.own.0), others, "death {at}");
    let died = world.died;
    check_ledger(&lab, site, before, at);
    died
}

/// No interface but these two is touched, no address but these three, and nothing happens over and over.
fn check_ledger(lab: &Lab, site: &Site, before: usize, at: usize) {
    let ours: BTreeSet<String> = [TAKEN, FREE[0], FREE[1]].map(text).into();
    let records = lab.ledger();
    for record in records.iter().skip(before) {
        let held = |when: &str| -> BTreeSet<String> {
            serde_json::from_value(record[when]["addresses"].clone()).expect("addresses")
        };
        let (was, is) = (held("before"), held("after"));
        let changed: BTreeSet<String> = was.symmetric_difference(&is).cloned().collect();
        assert!(changed.is_subset(&ours), "death {at}: {record}");
        if record["nic"] == site.other.0 {
            assert_eq!(changed, [text(TAKEN)].into(), "death {at}: {record}");
            assert!(is.is_subset(&was), "death {at}: {record}");
        } else {
            assert_eq!(record["nic"], site.own.0, "death {at}: {record}");
        }
    }
    let changes = records.len() - before;
    assert!(changes < 16, "death {at}: {changes} changes");
}

struct World<'a> {
    lab: &'a Lab,
    site: &'a Site,
    /// All that is left after a death.
    journal: Prior,
    life: Life,
    died: bool,
    now: Instant,
}

impl World<'_> {
    /// Runs the router until all is as wanted, through a death if it comes.
    fn live_until(&mut self, wants: &BTreeMap<std::net::Ipv4Addr, Want>, held: &[u8]) {
        while !self.live(wants, held) {
            assert!(!self.died, "it dies once");
            self.died = true;
            self.life.dies_at = usize::MAX;
        }
    }

    /// Runs the router; tells whether it lived until all was as wanted.
    fn live(&mut self, wants: &BTreeMap<std::net::Ipv4Addr, Want>, held: &[u8]) -> bool {
        let restores = held.is_empty();
        let authority = Authority {
            generation: 1,
            wants: wants.clone(),
            gone: [NodeId(2)].into(),
            restores,
        };
        let mut client = (self.site.client)(self.lab, 'a');
        let (capabilities, prior) = (client.capabilities(), self.journal.clone());
        let settings = settings(self.site);
        let mut executor = Executor::new(settings, capabilities, prior, 1, self.now);
        executor.set_authority(authority.clone(), self.now);
        for _ in 0..500 {
            let order = executor.poll(self.now);
            while let Some(record) = executor.poll_record() {
                self.journal.apply(&record);
            }
            let Some(order) = order else {
                if self.is_done(&executor, held, restores) {
                    return true;
                }
                self.now = executor.poll_timeout(self.now).expect("a look is due");
                continue;
            };
            if let Some(ticket) = &order.ticket {
                assert_eq!(authority.check(ticket, self.now), Ok(()));
            }
            let answer = if order.operation.is_change() {
                client.perform(&order.operation, &self.life)
            } else {
                client.perform(&order.operation, &Ended)
            };
            if self.life.is_over() {
                return false;
            }
            executor.handle_answer(order.id, answer, self.now);
            while executor.poll_news().is_some() {}
        }
        panic!("still not as wanted: {:?}", executor.actions());
    }

    fn is_done(&self, executor: &Executor, held: &[u8], restores: bool) -> bool {
        let there = self.lab.addresses(self.site.own.0);
        let ours = [TAKEN, FREE[0], FREE[1]];
        let mut ours = ours.iter();
        let right = ours.all(|last| there.contains(&text(*last)) == held.contains(last));
        let forwards = !self.lab.checks_sources(self.site.own.0);
        right && forwards != restores && executor.actions().is_empty()
    }
}

/// The life of the router, as the client asks before each request that changes something.
struct Life {
    asked: Cell<usize>,
    dies_at: usize,
}

impl Life {
    fn is_over(&self) -> bool {
        self.asked.get() >= self.dies_at
    }
}

impl Fence for Life {
    fn is_current(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        !self.is_over()
    }
}

pub(crate) fn settings(site: &Site) -> Settings {
    Settings {
        mode: Mode::Auto,
        pools: vec![Pool {
            id: 1,
            name: "lan60".into(),
            prefix: "10.77.60.0/24".parse().expect("a prefix"),
            exclude: BTreeSet::new(),
        }],
        nic: Some(site.own.1.clone()),
        members: [(site.other.1.clone(), NodeId(2))].into(),
        max_captures: None,
        budget: 600,
        patience: Duration::from_secs(600),
        poll: Rhythm::steady(Duration::from_secs(60)),
        inventory: None,
    }
}

pub(crate) fn capture(lasts: &[u8]) -> BTreeMap<std::net::Ipv4Addr, Want> {
    let want = |last: &u8| {
        let signature = PathSignature {
            address: address(*last),
            owner: NodeId(9),
            site: "hq".into(),
            next_hop: [10, 99, 0, 9].into(),
            sequence: 1,
        };
        (address(*last), Want::Capture(signature))
    };
    lasts.iter().map(want).collect()
}

fn absent(lasts: &[u8], why: Absence) -> BTreeMap<std::net::Ipv4Addr, Want> {
    let lasts = lasts.iter();
    lasts
        .map(|last| (address(*last), Want::Absent(why)))
        .collect()
}

fn text(last: u8) -> String {
    address(last).to_string()
}
