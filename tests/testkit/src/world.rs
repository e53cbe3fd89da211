//! A whole fabric inside one value: routers, LANs with hosts, underlay, clock.
//!
//! ```text
//!  hosts ── LAN 0 ── [Forwarder|Router] 0 ─┐            ┌─ [Forwarder|Router] 2 ── LAN 2 ── hosts
//!                                          ├─ underlay ─┤      delay, jitter, loss,
//!  hosts ── LAN 1 ── [Forwarder|Router] 1 ─┘            └─ …   duplicates, partition
//! ```
//! [`World::step`] takes the earliest event, lets it happen, carries out all outputs and checks the invariants. What
//! tests do to a world is in `operations`, how packets get from one place to the next in `traffic`.
//!
//! `SIM_TRACE=1` prints what the routers tell operators, with virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::invariants::{
    Watch, check_forwarding, check_homes, check_rib, check_role, is_accusation,
};
use crate::link::Faults;
use crate::rng::Rng;
use crate::site::Site;
use crate::topology::{Topology, home, node_id};
use crate::traffic::{Arrival, SentPacket};

/// Steps without end are a fault of the system under test.
const STEP_LIMIT: usize = 2_000_000;
/// An address of the pool that nobody ever owns.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 200);

/// A probe that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The probe's number.
    pub id: u32,
    /// Site where it arrived.
    pub site: usize,
    /// Routers on its way.
    pub hops: u8,
    /// When, since the start.
    pub at: Duration,
}

/// The fabric.
#[derive(Debug)]
pub struct World {
    /// The clock.
    pub now: Instant,
    /// All sites.
    pub sites: Vec<Site>,
    /// What the underlay does.
    pub faults: Faults,
    /// Probes that arrived, by number; replies are in `answered`.
    pub delivered: BTreeMap<u32, Delivered>,
    /// Numbers of the probes whose reply came back.
    pub answered: BTreeSet<u32>,
    /// LANs whose islands are cut off from the rest.
    pub partitioned: BTreeSet<usize>,
    /// Routers may accuse each other: somebody lies, or configurations differ for a while.
    pub discord: bool,
    /// Changes with every step: equal for equal runs.
    pub fingerprint: u64,
    pub(crate) start: Instant,
    pub(crate) rng: Rng,
    pub(crate) queue: BTreeMap<(Instant, u64), (usize, Arrival)>,
    pub(crate) order: u64,
    pub(crate) sent: Vec<SentPacket>,
    pub(crate) replies: BTreeMap<u32, SentPacket>,
    pub(crate) watch: Watch,
    /// Addresses that were ever owned, and one that never was.
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
    /// Whether all routers agreed with the truth after the last step.
    pub(crate) agreed: bool,
    trace: bool,
}

impl World {
    /// Builds `count` sites with site 0 as route reflector; site `i` owns and hosts 10.77.60.(10 + i). Routers know
    /// their host, but nothing of each other yet.
    #[must_use]
    pub fn new(count: usize, seed: u64) -> Self {
        Self::with_reflectors(count, &[0], seed)
    }

    /// Builds `count` sites with these route reflectors; none means a full mesh.
    #[must_use]
    pub fn with_reflectors(count: usize, reflectors: &[usize], seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let topology = Topology::new(count, reflectors, &mut rng);
        Self::of(&topology, rng)
    }

    /// Builds `count` routers in a full mesh of which 0 and 1 stand on one LAN, that of site 0.
    #[must_use]
    pub fn with_pair(count: usize, seed: u64) -> Self {
        Self::with_pair_of(count, &[], seed)
    }

    /// The same with route reflectors in place of the mesh.
    #[must_use]
    pub fn with_pair_of(count: usize, reflectors: &[usize], seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let topology = Topology::new(count, reflectors, &mut rng).with_pair();
        Self::of(&topology, rng)
    }

    fn of(topology: &Topology, mut rng: Rng) -> Self {
        let (now, count) = (Instant::now(), topology.count());
        let sites = (0..count)
            .map(|index| Site::new(index, topology, &mut rng, now))
            .collect();
        let mut world = Self {
            now,
            start: now,
            sites,
            faults: Faults::default(),
            delivered: BTreeMap::new(),
            answered: BTreeSet::new(),
            partitioned: BTreeSet::new(),
            discord: false,
            fingerprint: 0,
            rng,
            queue: BTreeMap::new(),
            order: 0,
            sent: Vec::new(),
            replies: BTreeMap::new(),
            watch: Watch::default(),
            addresses: (0..count)
                .map(|index| home(topology.lan_of(index)))
                .chain([NOBODY])
                .collect(),
            agreed: false,
            trace: std::env::var_os("SIM_TRACE").is_some(),
        };
        for index in 0..count {
            world.introduce(index);
        }
        world
    }

    /// Lets time pass, event by event.
    ///
    /// # Panics
    /// When an invariant breaks, or something spins.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..STEP_LIMIT {
            if !self.step(end) {
                self.now = end;
                return;
            }
        }
        panic!("{STEP_LIMIT} steps in {duration:?}: something spins");
    }

    /// Lets time pass until `condition` holds; returns how long that took, or `None` after `limit`.
    ///
    /// # Panics
    /// When an invariant breaks, or something spins.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        for _ in 0..STEP_LIMIT {
            if condition(self) {
                return Some(self.now - start);
            }
            if !self.step(end) {
                self.now = end;
                return condition(self).then(|| self.now - start);
            }
        }
        panic!("{STEP_LIMIT} steps: something spins");
    }

    /// Lets the earliest event not after `end` happen. Returns `false` when there is none.
    ///
    /// # Panics
    /// When an invariant breaks.
    pub fn step(&mut self, end: Instant) -> bool {
        let timers = self.sites.iter().enumerate();
        let timer = timers
            .filter_map(|(index, site)| Some((site.deadline()?, index)))
            .min();
        let arrival = self.queue.first_key_value().map(|(key, _)| key.0);
        match (arrival, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                self.look_at_lans();
                let (_, (site, arrival)) = self.queue.pop_first().expect("not empty");
                self.note(site, arrival.len());
                self.arrive(site, arrival);
            }
            (_, Some((due, site))) if due <= end => {
                self.now = self.now.max(due);
                self.look_at_lans();
                self.note(site, 0);
                self.sites[site].timeout(self.now);
                self.settle(site);
            }
            _ => return false,
        }
        true
    }

    /// Returns how long the world exists.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Tells whether every router that runs names the right owner of every address.
    #[must_use]
    pub fn converged(&self) -> bool {
        self.agreed
    }

    /// Returns the site that must own an address: the only one that claims it; of several, the one with the lowest
    /// router id (decision step 8).
    #[must_use]
    pub fn expected_owner(&self, address: Ipv4Addr) -> Option<usize> {
        let claims = |site: &&Site| {
            !site.is_frozen(self.now) && site.claims().any(|claimed| claimed == address)
        };
        self.sites.iter().find(claims).map(|site| site.index)
    }

    /// Returns the site that the router of `site` takes for the owner of an address.
    #[must_use]
    pub fn owner_at(&self, site: usize, address: Ipv4Addr) -> Option<usize> {
        let owner = self.sites[site].router.owner_of(address)?;
        (0..self.sites.len()).find(|index| node_id(*index) == owner)
    }

    /// Tells whether no router that runs knows an owner of `address`.
    #[must_use]
    pub fn is_unknown(&self, address: Ipv4Addr) -> bool {
        let mut sites = self.sites.iter().filter(|site| site.up);
        sites.all(|site| site.router.owner_of(address).is_none())
    }

    /// Returns the sequence of the claim that `site` believes in.
    #[must_use]
    pub fn sequence(&self, site: usize, address: Ipv4Addr) -> Option<u32> {
        let view = self.sites[site].router.owners(self.now);
        view.owners
            .iter()
            .find(|row| row.address == address)?
            .sequence
    }

    /// Asserts that nothing is lost and nothing went wrong unnoticed, once all tunnels are up.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_clean(&self) {
        self.sites
            .iter()
            .filter(|site| site.up)
            .for_each(Site::assert_clean);
    }

    /// Carries out everything that follows at this instant at a site, and looks at the result.
    pub(crate) fn settle(&mut self, index: usize) {
        self.look(index);
        while let Some(emissions) = self.sites[index].drive(self.now) {
            // They left before the router was told what it knows now.
            for emission in emissions {
                self.emit(index, emission);
            }
            self.look(index);
        }
        check_role(&self.sites[index], &self.addresses);
        if self.sites[index].stopping && self.sites[index].election.is_leaving() {
            self.kill(index);
        }
        self.look_at_lans();
    }

    /// Looks at the routers again after the truth changed.
    pub(crate) fn truth_changed(&mut self) {
        self.agreed = self.agrees();
    }

    fn agrees(&self) -> bool {
        let mut actors = BTreeSet::new();
        let acts = |site: &&Site| site.up && site.gate_open();
        if !self
            .sites
            .iter()
            .filter(acts)
            .all(|site| actors.insert(site.lan))
        {
            return false;
        }
        self.addresses.iter().all(|&address| {
            let expected = self.expected_owner(address).map(node_id);
            let mut sites = self
                .sites
                .iter()
                .filter(|site| site.up && !site.stopping && !site.is_frozen(self.now));
            sites.all(|site| site.router.owner_of(address) == expected)
        })
    }

    /// Checks the invariants of a router that did something.
    fn look(&mut self, index: usize) {
        if !std::mem::take(&mut self.sites[index].touched) {
            return;
        }
        self.agreed = self.agrees();
        let site = &self.sites[index];
        check_rib(site);
        check_homes(site, self.now);
        for &address in &self.addresses {
            check_forwarding(site, address, self.now);
        }
        self.watch.on_snapshot(index, &site.snapshot);
        self.look_at_events(index);
    }

    /// Counts who would answer on each LAN (I1).
    fn look_at_lans(&mut self) {
        for lan in 0..self.sites.len() {
            let split = self.partitioned.contains(&lan);
            let answers = |site: &&Site| {
                let runs = site.up && site.lan_up && !site.is_frozen(self.now);
                site.lan == lan && runs && site.gate_open()
            };
            let (mut answerers, mut stay) = ([0; 2], [false; 2]);
            for site in self.sites.iter().filter(answers) {
                let part = usize::from(split && site.island);
                answerers[part] += 1;
                stay[part] |= !site.election.is_leaving();
            }
            // Two that stop at the same time after a partition do not hear each other; each goes on for a second at most.
            let overlap = (0..2).any(|part| answerers[part] > 1 && stay[part]);
            self.watch.on_answerers(lan, overlap, self.now);
        }
    }

    fn look_at_events(&mut self, index: usize) {
        let elapsed = self.elapsed();
        let site = &mut self.sites[index];
        let seen = std::mem::replace(&mut site.seen_events, site.events.len());
        for event in &site.events[seen..] {
            if self.trace {
                trace(elapsed, index, event);
            }
            assert!(
                self.discord || !is_accusation(event),
                "site {index} accuses an honest fabric: {event:?}"
            );
        }
    }

    fn note(&mut self, site: usize, len: usize) {
        let nanos = u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for word in [nanos, site as u64, len as u64] {
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

#[expect(clippy::print_stderr, reason = "asked for by SIM_TRACE")]
fn trace(at: Duration, site: usize, event: &sam_router::Event) {
    eprintln!("{:>10.6} site {site}: {event:?}", at.as_secs_f64());
}
