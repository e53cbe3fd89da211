//! A network interface and what it was before: whoever observes late reads an earlier version.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use serde::Serialize;
use serde_json::Value;

use crate::Time;

/// A network interface.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Name at the provider: ENI id, name in the resource group, OCID.
    pub id: String,
    /// Hardware address, as Linux writes it.
    pub mac: String,
    /// The instance that it belongs to.
    pub instance: String,
    /// The subnet that it is in.
    pub subnet: String,
    /// Its place among the NICs of the instance.
    pub device_index: u32,
    /// Addresses that it may have, the primary among them.
    pub limit: usize,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The interface where its wire ends, if it has one.
    pub wire: Option<String>,
    versions: VecDeque<Version>,
}

/// What of a NIC changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// From when on.
    pub since: Time,
    /// Number of the change that made it.
    pub etag: u64,
    /// Whether packets that are not its own are dropped.
    pub source_dest_check: bool,
    /// Addresses, the primary first.
    pub addresses: Vec<Holding>,
    /// What else the provider stores with it and hands back.
    pub rest: Value,
}

/// An address on a NIC.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it is the NIC's own, which nobody may take.
    pub primary: bool,
    /// Name at the provider: that of an ipConfiguration, the OCID of a private IP.
    pub name: String,
    /// Number of the change that put it here.
    pub etag: u64,
    /// What else the provider stores with it and hands back.
    pub rest: Value,
}

/// What a ledger keeps of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Number of the change that made it.
    pub etag: u64,
    /// Whether packets that are not its own are dropped.
    pub source_dest_check: bool,
    /// Addresses, the primary first.
    pub addresses: Vec<Ipv4Addr>,
}

impl Nic {
    /// Makes a NIC with its first version.
    #[must_use]
    pub fn new(id: String, first: Version) -> Self {
        Self {
            id,
            mac: String::new(),
            instance: String::new(),
            subnet: String::new(),
            device_index: 0,
            limit: usize::MAX,
            tags: BTreeMap::new(),
            wire: None,
            versions: VecDeque::from([first]),
        }
    }

    /// Returns what holds.
    #[must_use]
    pub fn latest(&self) -> &Version {
        self.versions.back().expect("a NIC has a first version")
    }

    /// Returns what held at a time; the oldest that is known when that is too long ago.
    #[must_use]
    pub fn at(&self, time: Time) -> &Version {
        let mut versions = self.versions.iter().rev();
        let found = versions.find(|version| version.since <= time);
        found.unwrap_or(&self.versions[0])
    }

    pub(crate) fn push(&mut self, version: Version) {
        if self.versions.len() == MAX_VERSIONS {
            self.versions.pop_front();
        }
        self.versions.push_back(version);
    }
}

/// Versions kept of each NIC.
const MAX_VERSIONS: usize = 256;

impl Version {
    /// Returns the address that is the NIC's own.
    #[must_use]
    pub fn primary(&self) -> Option<&Holding> {
        self.addresses.iter().find(|held| held.primary)
    }

    /// Returns how an address is held, if it is.
    #[must_use]
    pub fn holding(&self, address: Ipv4Addr) -> Option<&Holding> {
        self.addresses.iter().find(|held| held.address == address)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            etag: self.etag,
            source_dest_check: self.source_dest_check,
            addresses: self.addresses.iter().map(|held| held.address).collect(),
        }
    }

    /// Tells whether nothing but the bookkeeping differs.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.source_dest_check == other.source_dest_check
            && self.addresses == other.addresses
            && self.rest == other.rest
    }
}

impl Holding {
    /// Makes a secondary address.
    #[must_use]
    pub fn secondary(address: Ipv4Addr, name: impl Into<String>) -> Self {
        Self {
            address,
            primary: false,
            name: name.into(),
            etag: 0,
            rest: Value::Null,
        }
    }
}
