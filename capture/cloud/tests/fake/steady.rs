//! How often a router calls its provider while nothing happens, and what it takes to take over from one that is gone: the
//! real reconciler and the real clients, on a clock that skips what they wait for.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::desired::KeepReason;
use sam_capture::executor::{Rhythm, Settings};
use sam_capture::{Authority, Executor, NodeId, Prior, Provider, Want};

use crate::crash::{self, Site, capture};
use crate::lab::{Holds, Lab, addresses};

/// What is captured while nothing happens.
const CAPTURED: [u8; 2] = [30, 31];
/// Calls of a router in an hour at most.
const PER_HOUR: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);
/// So long is counted: permissions are looked at once in that time.
const HOURS: u32 = 4;

/// A router in front of a lab.
pub(crate) struct Router {
    executor: Executor,
    client: Box<dyn Provider>,
    now: Instant,
}

impl Router {
    /// Starts the first router of a site; its sibling is there.
    pub(crate) fn start(site: &Site, lab: &Lab, settings: Settings) -> Self {
        let now = Instant::now();
        let client = (site.client)(lab, 'a');
        let capabilities = client.capabilities();
        let executor = Executor::new(settings, capabilities, Prior::default(), 1, now);
        Self {
            executor,
            client,
            now,
        }
    }

    pub(crate) fn want(&mut self, wants: BTreeMap<Ipv4Addr, Want>, gone: bool) {
        let authority = Authority {
            generation: 1,
            wants,
            gone: gone.then_some(NodeId(2)).into_iter().collect(),
            restores: false,
        };
        self.executor.set_authority(authority, self.now);
    }

    /// Lets it work for a while; what a provider takes does not count.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let Some(order) = self.executor.poll(self.now) else {
                let due = self.executor.poll_timeout(self.now);
                self.now = due.expect("a look is due");
                continue;
            };
            let answer = self.client.perform(&order.operation, &Holds);
            let capabilities = self.client.capabilities();
            self.executor.set_capabilities(capabilities, self.now);
            self.executor.handle_answer(order.id, answer, self.now);
            while self.executor.poll_record().is_some() {}
            while self.executor.poll_news().is_some() {}
        }
    }
}

/// What another router of the site takes.
pub(crate) fn kept(lasts: &[u8]) -> BTreeMap<Ipv4Addr, Want> {
    let keep = Want::Keep(KeepReason::Sibling(NodeId(2)));
    addresses(lasts)
        .into_iter()
        .map(|address| (address, keep.clone()))
        .collect()
}

/// Counts the calls of some hours: of a router that captures and of one that stands by, with lists of the subnet and without.
pub(crate) fn calls_seldom(site: &Site) {
    let hours = usize::try_from(HOURS).expect("few");
    for (captures, lists) in [(true, true), (true, false), (false, true), (false, false)] {
        let lab = Lab::serve((site.scenario)());
        let interval = Duration::from_secs(20);
        let settings = Settings {
            poll: match lists {
                true => Rhythm::LOOKS_BESIDE_LISTS,
                false => Rhythm::LOOKS,
            },
            inventory: lists.then(|| Rhythm::lists(interval, captures)),
            ..crash::settings(site)
        };
        let mut router = Router::start(site, &lab, settings);
        let wants = if captures {
            capture(&CAPTURED)
        } else {
            kept(&CAPTURED)
        };
        router.want(wants, false);
        router.run(HOUR / 4);
        let before = lab.all_calls();

        router.run(HOUR * HOURS);

        let calls = lab.all_calls() - before;
        assert!(
            (5 * hours..=PER_HOUR * hours).contains(&calls),
            "captures: {captures}, lists: {lists}: {calls} calls in {HOURS} hours"
        );
    }
}
