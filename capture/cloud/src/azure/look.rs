//! Looking: our own NIC, who holds an address, everything in the subnet.
//!
//! The own NIC and those of the other routers are read one by one, as a narrow role allows; the list of the resource
//! group where the role allows that too. Whether an address is in use at all is the network's to say, so that one whose
//! holder cannot be seen is never taken for free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_capture::provider::{
    Entry, ErrorClass, Holder, NicId, Observation, ProviderError, Version,
};

use super::identity::Identity;
use super::interface::Interface;
use super::operation::interface;
use super::resource::ResourceId;
use super::{Azure, HIDDEN, LIMIT, NETWORK_API};
use crate::http::error;

/// Of so many addresses the network is asked one by one whether they are free.
const FEW: usize = 8;

impl Azure {
    pub(super) fn observe(&mut self, identity: &Identity) -> Result<Observation, ProviderError> {
        let id = ResourceId::of_interface(&identity.nic)?;
        let nic = interface(&mut self.arm, &id)?;
        if nic.is_busy() {
            let message = format!("{} is in state {}", identity.nic, nic.state());
            return Err(error(ErrorClass::Busy, "OperationUnderWay", &message));
        }
        let entries = nic.configurations();
        let observation = Observation {
            nic: identity.nic.clone(),
            subnet: identity.prefix,
            version: Some(Version(nic.etag().to_owned())),
            forwarding: nic.forwarding(),
            entries: entries
                .map(|known| (known.address, known.entry()))
                .collect(),
            limit: Some(LIMIT),
        };
        self.read.insert(identity.nic.clone(), nic);
        Ok(observation)
    }

    /// Finds holders:
    ///
    /// 1. on our own NIC, on those of the other routers, and where a refusal said so;
    /// 2. in the resource group, if it may be listed;
    /// 3. what is left is free if the network says so; else its holder is hidden from us. Of many it is not asked, for each
    ///    is a call: an address that was hidden is refused when it is put on our NIC, and then asked for.
    pub(super) fn find_holders(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let mut holders = BTreeMap::new();
        let hints = addresses
            .iter()
            .filter_map(|address| self.hints.get(address));
        let mut nics: BTreeSet<NicId> = hints.cloned().collect();
        nics.extend(self.members.iter().cloned());
        nics.insert(identity.nic.clone());
        for id in nics {
            let nic = interface(&mut self.arm, &ResourceId::of_interface(&id)?);
            match nic {
                Ok(nic) => {
                    add(&mut holders, identity, &id, &nic, None);
                    if self.members.contains(&id) || id == identity.nic {
                        self.read.insert(id, nic);
                    }
                }
                // Its addresses are asked for below; nothing follows from a NIC that is not shown.
                Err(failed) if is_about_one(&failed) && id != identity.nic => {}
                Err(failed) => return Err(failed),
            }
        }
        holders.retain(|address, _| addresses.contains(address));
        if holders.len() < addresses.len() {
            self.add_listed(identity, addresses, &mut holders)?;
        }
        let unknown = addresses.iter().filter(|at| !holders.contains_key(at));
        let unknown: Vec<Ipv4Addr> = unknown.copied().collect();
        for &address in &unknown {
            let doubtful = unknown.len() <= FEW || self.hints.contains_key(&address);
            if !doubtful {
                continue;
            }
            if self.is_free(identity, address)? {
                self.hints.remove(&address);
            } else {
                holders.insert(address, hidden());
            }
        }
        Ok(holders)
    }

    fn add_listed(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
        holders: &mut BTreeMap<Ipv4Addr, Holder>,
    ) -> Result<(), ProviderError> {
        match self.listed(identity) {
            Ok(nics) => {
                let mut listed = BTreeMap::new();
                for (id, nic) in &nics {
                    add(&mut listed, identity, id, nic, None);
                }
                listed.retain(|address, _| addresses.contains(address));
                listed.append(holders);
                *holders = listed;
                Ok(())
            }
            Err(failed) if is_about_one(&failed) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// Lists the addresses of the NICs in our subnet, with whether their machines run.
    pub(super) fn inventory(
        &mut self,
        identity: &Identity,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let listed = self.listed(identity)?;
        self.follow_machines(identity)?;
        let mut holders = BTreeMap::new();
        for (id, nic) in &listed {
            let running = nic.machine().and_then(|machine| self.runs(machine));
            add(&mut holders, identity, id, nic, running);
        }
        Ok(holders)
    }

    /// Lists the NICs of the resource group, by the ids by which they are known here.
    fn listed(&mut self, identity: &Identity) -> Result<Vec<(NicId, Interface)>, ProviderError> {
        let group = ResourceId::parse(&identity.group_id())?;
        let path = format!(
            "{}/providers/Microsoft.Network/networkInterfaces?api-version={NETWORK_API}",
            group.as_str()
        );
        let mut nics = Vec::new();
        for document in self.arm.list(&path)? {
            let nic = Interface::new(document)?;
            nics.push((self.known_as(identity, nic.id()), nic));
        }
        if nics.iter().any(|(id, _)| *id == identity.nic) {
            return Ok(nics);
        }
        let message = format!("{} is not in the list of its resource group", identity.nic);
        Err(error(ErrorClass::Unavailable, "OwnNicMissing", &message))
    }

    /// Returns the id by which a NIC is known here; case does not count, but others compare.
    fn known_as(&self, identity: &Identity, id: &str) -> NicId {
        let mut known = self.members.iter().chain([&identity.nic]);
        let known = known.find(|known| known.0.eq_ignore_ascii_case(id));
        known.cloned().unwrap_or_else(|| NicId(id.to_owned()))
    }

    fn is_free(&mut self, identity: &Identity, address: Ipv4Addr) -> Result<bool, ProviderError> {
        let path = format!(
            "{}/CheckIPAddressAvailability?ipAddress={address}&api-version={NETWORK_API}",
            identity.network
        );
        let answer = self.arm.get(&path)?;
        answer["available"].as_bool().ok_or_else(|| {
            let message = format!("Azure does not say whether {address} is available");
            error(ErrorClass::Unavailable, "Illegible", &message)
        })
    }
}

/// Tells whether a refusal is about the one thing that was asked for.
fn is_about_one(failed: &ProviderError) -> bool {
    matches!(
        failed.class,
        ErrorClass::Denied | ErrorClass::PreconditionLost
    )
}

fn add(
    holders: &mut BTreeMap<Ipv4Addr, Holder>,
    identity: &Identity,
    id: &NicId,
    nic: &Interface,
    running: Option<bool>,
) {
    let same = nic.subnet();
    if !same.is_some_and(|subnet| subnet.eq_ignore_ascii_case(&identity.subnet)) {
        return;
    }
    for known in nic.configurations() {
        let holder = Holder {
            nic: id.clone(),
            nic_version: Some(Version(nic.etag().to_owned())),
            entry: known.entry(),
            running,
        };
        holders.insert(known.address, holder);
    }
}

fn hidden() -> Holder {
    Holder {
        nic: NicId(HIDDEN.to_owned()),
        nic_version: None,
        entry: Entry {
            primary: false,
            ours: Some(false),
            id: None,
            version: None,
        },
        running: None,
    }
}
