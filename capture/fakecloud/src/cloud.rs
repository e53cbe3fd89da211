//! The model of one provider: what exists, and the one way to change it.
//!
//! All changes go through [`Cloud::commit`], which refuses whatever no provider would allow, an address on two NICs
//! above all. What a wire allows beyond that, and how it says no, is the wire's business.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::fabric::Traffic;
use crate::ledger::{Log, Record};
use crate::nic::{Holding, Nic, Version};
use crate::oci;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::settings::Settings;
use crate::throttle::Throttle;
use crate::{Provider, Time};

/// A region of a provider, as one tenant sees it.
#[derive(Debug, Clone)]
pub struct Cloud {
    pub(crate) provider: Provider,
    pub(crate) settings: Settings,
    pub(crate) subnets: BTreeMap<String, Subnet>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) nics: BTreeMap<String, Nic>,
    pub(crate) roles: BTreeMap<String, Policy>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) throttle: Throttle,
    pub(crate) ledger: Log<Record>,
    pub(crate) traffic: Traffic,
    /// Number of the latest change.
    pub(crate) sequence: u64,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// Name at the provider.
    pub id: String,
    /// The network that it is in.
    pub network: String,
    /// Its addresses.
    pub prefix: Ipv4Net,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Name at the provider.
    pub id: String,
    /// Machine type.
    pub kind: String,
    /// Whether it runs.
    pub running: bool,
    /// The role that its credentials carry.
    pub role: Option<String>,
    /// Whether the metadata service wants a token.
    pub tokens_required: bool,
    /// Hops that an answer with a token survives.
    pub hop_limit: u8,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// On whose behalf a change is made.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) principal: String,
    pub(crate) operation: String,
    pub(crate) request: String,
    pub(crate) now: Time,
}

/// Why a change is impossible, at any provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such NIC.
    NoSuchNic(String),
    /// The subnet does not have the address.
    OutsideSubnet(Ipv4Addr),
    /// The provider keeps the address for itself.
    Reserved(Ipv4Addr),
    /// Another NIC has the address.
    Held {
        /// The address.
        address: Ipv4Addr,
        /// That NIC.
        nic: String,
        /// Name of the address there.
        name: String,
        /// Whether it is that NIC's own.
        primary: bool,
    },
    /// The NIC may not have so many addresses.
    LimitExceeded {
        /// Which NIC.
        nic: String,
        /// How many it may have.
        limit: usize,
    },
    /// The NIC's own address would change.
    PrimaryChanged(String),
}

/// New versions of NICs, by id: all happen or none.
pub(crate) type Edits = BTreeMap<String, Version>;

impl Cloud {
    /// Returns whose it is.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// Returns the ids of the instances.
    pub fn instances(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(String::as_str)
    }

    /// Returns the NICs.
    pub fn nics(&self) -> impl Iterator<Item = &Nic> {
        self.nics.values()
    }

    /// Returns all changes.
    #[must_use]
    pub const fn ledger(&self) -> &Log<Record> {
        &self.ledger
    }

    /// Returns a NIC.
    pub(crate) fn nic(&self, id: &str) -> Result<&Nic, Refusal> {
        self.nics
            .get(id)
            .ok_or_else(|| Refusal::NoSuchNic(id.to_owned()))
    }

    /// Returns who has an address of a network, and how.
    pub(crate) fn holder(&self, network: &str, address: Ipv4Addr) -> Option<(&Nic, &Holding)> {
        let nics = self.nics.values();
        nics.filter(|nic| self.network_of(nic) == network)
            .find_map(|nic| Some((nic, nic.latest().holding(address)?)))
    }

    /// Returns what an address is called on a NIC where nobody gave it a name.
    pub(crate) fn address_name(&self, nic: &str, address: Ipv4Addr) -> String {
        match self.provider {
            Provider::Aws => String::new(),
            Provider::Azure => format!("ipconfig-{}", address.to_string().replace('.', "-")),
            Provider::Oci => {
                let unique = format!("{}x{:08x}", nic.replace('.', ""), u32::from(address));
                oci::ocid("privateip", &self.settings.region, &unique)
            }
        }
    }

    /// Returns the network that a NIC is in.
    pub(crate) fn network_of(&self, nic: &Nic) -> &str {
        let subnet = self.subnets.get(&nic.subnet);
        subnet.map_or("", |subnet| subnet.network.as_str())
    }

    /// Returns the NICs of an instance, in the order of its devices.
    pub(crate) fn nics_of(&self, instance: &str) -> Vec<&Nic> {
        let nics = self.nics.values();
        let mut nics: Vec<&Nic> = nics.filter(|nic| nic.instance == instance).collect();
        nics.sort_by_key(|nic| nic.device_index);
        nics
    }

    /// Returns the latest versions of NICs, to be edited.
    pub(crate) fn draft<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Edits {
        let nics = ids.into_iter().filter_map(|id| self.nics.get(id));
        nics.map(|nic| (nic.id.clone(), nic.latest().clone()))
            .collect()
    }

    /// Makes new versions of NICs the latest ones, all or none.
    ///
    /// 1. Each NIC must exist and keep its primary address.
    /// 2. Each new address must be in its subnet and not reserved.
    /// 3. No NIC may have more addresses than its limit.
    /// 4. No address may be on two NICs of a network.
    /// 5. What differs gets the number of this change, and a record in the ledger.
    pub(crate) fn commit(&mut self, cause: &Cause, edits: Edits) -> Result<(), Refusal> {
        for (id, version) in &edits {
            self.check(id, version)?;
        }
        self.check_holders(&edits)?;
        let number = self.sequence + 1;
        for (id, mut version) in edits {
            let Some(nic) = self.nics.get_mut(&id) else {
                continue;
            };
            if nic.latest().same(&version) {
                continue;
            }
            self.sequence = number;
            number_new(&mut version, nic.latest(), number);
            version.since = cause.now;
            self.ledger.push(Record {
                at: cause.now,
                provider: self.provider,
                principal: cause.principal.clone(),
                operation: cause.operation.clone(),
                request: cause.request.clone(),
                nic: id,
                before: nic.latest().snapshot(),
                after: version.snapshot(),
            });
            nic.push(version);
        }
        Ok(())
    }

    fn check(&self, id: &str, version: &Version) -> Result<(), Refusal> {
        let nic = self.nic(id)?;
        let own = |version: &Version| {
            let primaries = version.addresses.iter().filter(|held| held.primary);
            primaries.map(|held| held.address).collect::<Vec<_>>()
        };
        if own(version) != own(nic.latest()) {
            return Err(Refusal::PrimaryChanged(id.to_owned()));
        }
        for held in &version.addresses {
            if nic.latest().holding(held.address).is_none() {
                self.check_address(&nic.subnet, held.address)?;
            }
        }
        if version.addresses.len() > nic.limit {
            return Err(Refusal::LimitExceeded {
                nic: id.to_owned(),
                limit: nic.limit,
            });
        }
        Ok(())
    }

    /// Tells whether a subnet may give out an address.
    pub(crate) fn check_address(&self, subnet: &str, address: Ipv4Addr) -> Result<(), Refusal> {
        let prefix = self.subnets.get(subnet).map(|subnet| subnet.prefix);
        let Some(prefix) = prefix.filter(|prefix| prefix.contains(&address)) else {
            return Err(Refusal::OutsideSubnet(address));
        };
        let place = u32::from(address) - u32::from(prefix.network());
        if place < self.provider.reserved() || address == prefix.broadcast() {
            return Err(Refusal::Reserved(address));
        }
        Ok(())
    }

    /// Invariant: in a network, an address is on one NIC at most, and there once.
    fn check_holders(&self, edits: &Edits) -> Result<(), Refusal> {
        let mut holders: BTreeMap<(&str, Ipv4Addr), (&Nic, &Holding)> = BTreeMap::new();
        let edited = self
            .nics
            .values()
            .filter(|nic| !edits.contains_key(&nic.id));
        let unedited = edited.map(|nic| (nic, nic.latest()));
        let drafts = edits
            .iter()
            .filter_map(|(id, version)| Some((self.nics.get(id)?, version)));
        for (nic, version) in unedited.chain(drafts) {
            for held in &version.addresses {
                let key = (self.network_of(nic), held.address);
                if let Some((other, theirs)) = holders.insert(key, (nic, held)) {
                    return Err(Refusal::Held {
                        address: held.address,
                        nic: other.id.clone(),
                        name: theirs.name.clone(),
                        primary: theirs.primary,
                    });
                }
            }
        }
        Ok(())
    }

    /// Tells whether the whole model obeys its invariants; for tests and for a scenario at its start.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check_all(&self) -> Result<(), Refusal> {
        self.check_holders(&Edits::new())?;
        for nic in self.nics.values() {
            for held in &nic.latest().addresses {
                self.check_address(&nic.subnet, held.address)?;
            }
            self.check(&nic.id, nic.latest())?;
        }
        Ok(())
    }
}

/// Gives the number of a change to what it changed.
fn number_new(version: &mut Version, before: &Version, number: u64) {
    version.etag = number;
    for held in &mut version.addresses {
        if before.holding(held.address) != Some(held) {
            held.etag = number;
        }
    }
}
