//! A small cloud: NICs with addresses, versions, looks that may be old, and a check of whatever changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::provider::{
    Capabilities, Entry, ErrorClass, Holder, NicId, Observation, Operation, Outcome, Version,
};

/// How a provider differs from others, and what its routers are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) capabilities: Capabilities,
    pub(crate) limit: Option<usize>,
    /// Whether the routers share captures.
    pub(crate) shares: bool,
    /// Most addresses that each may capture.
    pub(crate) max_captures: Option<usize>,
}

impl Style {
    /// Most captured addresses that a NIC may have beside its primary one.
    pub(crate) fn capacity(self) -> Option<usize> {
        let limit = self.limit.map(|limit| limit - 1);
        limit.into_iter().chain(self.max_captures).min()
    }
}

/// Who put an address on a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Router,
    Hand,
    /// Nobody can tell.
    Either,
}

#[derive(Debug, Clone)]
pub(crate) struct Nic {
    pub(crate) primary: Ipv4Addr,
    pub(crate) entries: BTreeMap<Ipv4Addr, By>,
    pub(crate) forwarding: bool,
    version: u64,
}

/// The whole.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) style: Style,
    pub(crate) nics: BTreeMap<NicId, Nic>,
    /// Own addresses of machines here, which nobody may capture.
    pub(crate) natives: BTreeSet<Ipv4Addr>,
    /// How NICs were lately, for looks that are old.
    past: VecDeque<(Instant, BTreeMap<NicId, Nic>)>,
    pub(crate) changes: usize,
}

/// Looks are never older than this.
const LAG: Duration = Duration::from_secs(10);

impl Cloud {
    pub(crate) fn new(style: Style, nics: u8) -> Self {
        let nic = |number: u8| {
            let nic = Nic {
                primary: address(200 + number),
                entries: BTreeMap::new(),
                forwarding: number.is_multiple_of(2),
                version: 0,
            };
            (nic_id(number), nic)
        };
        Self {
            style,
            nics: (1..=nics).chain([STRANGER]).map(nic).collect(),
            natives: BTreeSet::new(),
            past: VecDeque::new(),
            changes: 0,
        }
    }

    pub(crate) fn holder_of(&self, address: Ipv4Addr) -> Option<(&NicId, By)> {
        self.nics
            .iter()
            .find_map(|(nic, state)| Some((nic, *state.entries.get(&address)?)))
    }

    /// A person changes something.
    pub(crate) fn edit(&mut self, now: Instant, change: impl FnOnce(&mut BTreeMap<NicId, Nic>)) {
        self.remember(now);
        change(&mut self.nics);
        self.nics.values_mut().for_each(|nic| nic.version += 1);
        self.check();
    }

    /// Carries out what a router asks; an old look may be up to ten seconds old.
    pub(crate) fn perform(
        &mut self,
        own: &NicId,
        operation: &Operation,
        old: bool,
        now: Instant,
    ) -> Result<Outcome, ErrorClass> {
        let result = self.carry_out(own, operation, old, now);
        self.check();
        result
    }

    fn carry_out(
        &mut self,
        own: &NicId,
        operation: &Operation,
        old: bool,
        now: Instant,
    ) -> Result<Outcome, ErrorClass> {
        if operation.is_change() {
            self.changes += 1;
            self.remember(now);
        }
        let style = self.style;
        let done = Ok(Outcome::Done { request_id: None });
        match operation {
            Operation::Observe => {
                let nic = &self.shown(old, now)[own];
                Ok(Outcome::Observed(observation(own, nic, style)))
            }
            Operation::FindHolders(addresses) => {
                // A provider without compare-and-swap must not be asked for old news: nobody could take anything safely.
                let nics = self.shown(old && !style.capabilities.moves, now);
                let holders = addresses.iter().filter_map(|address| {
                    if self.natives.contains(address) {
                        return Some((*address, native(style)));
                    }
                    let holder = |(id, nic): (&NicId, &Nic)| holder(id, nic, *address, style);
                    nics.iter()
                        .find_map(holder)
                        .map(|holder| (*address, holder))
                });
                Ok(Outcome::Holders(holders.collect()))
            }
            Operation::Inventory => Ok(Outcome::Inventory(BTreeMap::new())),
            Operation::Preflight => Ok(Outcome::Permissions(Vec::new())),
            Operation::Assign { addresses, version } => {
                self.check_touched(addresses.iter(), style);
                self.precondition(own, version.as_ref())?;
                if addresses.iter().any(|at| self.natives.contains(at)) {
                    return Err(ErrorClass::LocalOwner);
                }
                let held = |at: &Ipv4Addr| self.holder_of(*at).filter(|(nic, _)| *nic != own);
                if addresses.iter().any(|at| held(at).is_some()) {
                    return Err(ErrorClass::Held);
                }
                self.add(own, addresses)?;
                done
            }
            Operation::Seize { addresses } => self.seize(own, addresses),
            Operation::Strip {
                nic,
                addresses,
                version,
            } => {
                assert_ne!(nic, own, "our own NIC is not stripped");
                self.strip(nic, addresses, version.as_ref())
            }
            Operation::Unassign { addresses, version } => {
                self.unassign(own, addresses, version.as_ref())
            }
            Operation::SetForwarding { enabled, version } => {
                self.precondition(own, version.as_ref())?;
                let nic = self.nics.get_mut(own).expect("ours");
                nic.forwarding = *enabled;
                nic.version += 1;
                done
            }
        }
    }

    fn seize(
        &mut self,
        own: &NicId,
        addresses: &BTreeMap<Ipv4Addr, Holder>,
    ) -> Result<Outcome, ErrorClass> {
        let style = self.style;
        assert!(style.capabilities.moves);
        let all: BTreeSet<Ipv4Addr> = addresses.keys().copied().collect();
        self.check_touched(all.iter(), style);
        let moved = |(at, holder): (&Ipv4Addr, &Holder)| {
            self.holder_of(*at).map(|(nic, _)| nic) != Some(&holder.nic)
        };
        if addresses.iter().any(moved) {
            return Err(ErrorClass::Held);
        }
        for (address, holder) in addresses {
            assert_ne!(holder.nic, nic_id(STRANGER), "taken from a stranger");
            self.take(&holder.nic, *address, style);
        }
        self.add(own, &all)?;
        Ok(Outcome::Done { request_id: None })
    }

    fn strip(
        &mut self,
        nic: &NicId,
        addresses: &BTreeSet<Ipv4Addr>,
        version: Option<&Version>,
    ) -> Result<Outcome, ErrorClass> {
        let style = self.style;
        assert_ne!(*nic, nic_id(STRANGER), "a stranger was stripped");
        self.check_touched(addresses.iter(), style);
        self.precondition(nic, version)?;
        for address in addresses {
            if !self.nics[nic].entries.contains_key(address) {
                return Err(ErrorClass::AlreadyGone);
            }
        }
        addresses.iter().for_each(|at| self.take(nic, *at, style));
        Ok(Outcome::Done { request_id: None })
    }

    fn unassign(
        &mut self,
        own: &NicId,
        addresses: &BTreeMap<Ipv4Addr, Entry>,
        version: Option<&Version>,
    ) -> Result<Outcome, ErrorClass> {
        let style = self.style;
        let all: BTreeSet<Ipv4Addr> = addresses.keys().copied().collect();
        self.check_touched(all.iter(), style);
        self.precondition(own, version)?;
        for address in &all {
            match self.nics[own].entries.get(address) {
                Some(by) => assert_ne!(*by, By::Hand, "{address} was put there by hand"),
                None => return Err(ErrorClass::AlreadyGone),
            }
        }
        let nic = self.nics.get_mut(own).expect("ours");
        nic.entries.retain(|address, _| !all.contains(address));
        nic.version += 1;
        Ok(Outcome::Done { request_id: None })
    }

    /// No primary address and none outside of the pool is ever in a change.
    fn check_touched<'a>(&self, addresses: impl Iterator<Item = &'a Ipv4Addr>, style: Style) {
        let mut count = 0;
        for address in addresses {
            let last = address.octets()[3];
            assert!((10..100).contains(&last), "{address} is no mobile address");
            count += 1;
        }
        assert!(
            (1..=style.capabilities.batch).contains(&count),
            "{count} in one change"
        );
    }

    fn precondition(&self, nic: &NicId, version: Option<&Version>) -> Result<(), ErrorClass> {
        let current = Version(self.nics[nic].version.to_string());
        // Versions are where the marks are: in the clouds whose entries are objects.
        match version {
            Some(version) if *version != current => Err(ErrorClass::PreconditionLost),
            Some(_) | None => Ok(()),
        }
    }

    fn add(&mut self, own: &NicId, addresses: &BTreeSet<Ipv4Addr>) -> Result<(), ErrorClass> {
        let limit = self.style.limit.unwrap_or(usize::MAX);
        let nic = self.nics.get_mut(own).expect("ours");
        let new = addresses.iter().filter(|at| !nic.entries.contains_key(at));
        if nic.entries.len() + 1 + new.count() > limit {
            return Err(ErrorClass::Capacity);
        }
        for address in addresses {
            nic.entries.entry(*address).or_insert(By::Router);
        }
        nic.version += 1;
        Ok(())
    }

    fn take(&mut self, nic: &NicId, address: Ipv4Addr, style: Style) {
        let nic = self.nics.get_mut(nic).expect("known");
        let by = nic.entries.remove(&address).expect("there");
        if style.capabilities.marks {
            assert_eq!(by, By::Router, "{address} was put there by hand");
        }
        nic.version += 1;
    }

    /// An address is on one NIC at most.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for nic in self.nics.values() {
            for address in nic.entries.keys() {
                assert!(seen.insert(*address), "{address} is on two NICs");
            }
        }
    }

    fn remember(&mut self, now: Instant) {
        self.past.push_back((now, self.nics.clone()));
        while self.past.front().is_some_and(|(at, _)| now > *at + LAG) {
            self.past.pop_front();
        }
    }

    fn shown(&self, old: bool, now: Instant) -> &BTreeMap<NicId, Nic> {
        let mut past = self.past.iter();
        let past = past.find(|(at, _)| old && now < *at + LAG);
        past.map_or(&self.nics, |(_, nics)| nics)
    }
}

fn entry(by: By, style: Style) -> Entry {
    Entry {
        primary: false,
        ours: style.capabilities.marks.then_some(by == By::Router),
        id: None,
        version: None,
    }
}

fn primary() -> Entry {
    Entry {
        primary: true,
        ours: None,
        id: None,
        version: None,
    }
}

/// A machine that has the address as its own.
fn native(style: Style) -> Holder {
    Holder {
        nic: NicId("machine".into()),
        nic_version: style.capabilities.marks.then(|| Version("1".into())),
        entry: primary(),
        running: Some(true),
    }
}

fn version(nic: &Nic, style: Style) -> Option<Version> {
    let versions = style.capabilities.marks;
    versions.then(|| Version(nic.version.to_string()))
}

fn observation(id: &NicId, nic: &Nic, style: Style) -> Observation {
    let entries = nic.entries.iter();
    let entries = entries.map(|(address, by)| (*address, entry(*by, style)));
    Observation {
        nic: id.clone(),
        subnet: "10.77.60.0/24".parse().expect("a prefix"),
        version: version(nic, style),
        forwarding: nic.forwarding,
        entries: entries.chain([(nic.primary, primary())]).collect(),
        limit: style.limit,
    }
}

fn holder(id: &NicId, nic: &Nic, address: Ipv4Addr, style: Style) -> Option<Holder> {
    let entry = match nic.entries.get(&address) {
        Some(by) => entry(*by, style),
        None if nic.primary == address => primary(),
        None => return None,
    };
    Some(Holder {
        nic: id.clone(),
        nic_version: version(nic, style),
        entry,
        running: None,
    })
}

/// Number of the NIC that is no router's.
pub(crate) const STRANGER: u8 = 9;

pub(crate) fn nic_id(number: u8) -> NicId {
    NicId(format!("nic-{number}"))
}

pub(crate) fn address(last: u8) -> Ipv4Addr {
    [10, 77, 60, last].into()
}
