//! What is there: our VNIC, who has an address, all addresses of the subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_capture::provider::{ErrorClass, Holder, Observation, ProviderError, Version};

use super::Oci;
use super::identity::Identity;
use super::shapes::PrivateIp;
use crate::http::error;

/// Private IPs as they were read one by one, with their versions: a list shows no version, and asking for each of them
/// each time would be a call per address. An old version costs a lost comparison and nothing else.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, (PrivateIp, Version)>);

/// Private IPs remembered.
const MAX_KNOWN: usize = 1024;

impl Known {
    /// Returns the version of a private IP, if it looks as it did when it was read.
    fn version_of(&self, ip: &PrivateIp) -> Option<Version> {
        let (known, version) = self.0.get(&ip.id)?;
        (known == ip).then(|| version.clone())
    }

    /// Returns how a private IP looked in this version.
    pub(super) fn at(&self, id: &str, version: &Version) -> Option<&PrivateIp> {
        let (ip, known) = self.0.get(id)?;
        (known == version).then_some(ip)
    }

    fn learn(&mut self, ip: PrivateIp, version: Version) {
        if self.0.len() >= MAX_KNOWN {
            self.0.clear();
        }
        self.0.insert(ip.id.clone(), (ip, version));
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }
}

impl Oci {
    pub(super) fn observe(&mut self, identity: &Identity) -> Result<Observation, ProviderError> {
        let (vnic, version) = self.api.vnic(identity, &identity.nic)?;
        let filter = format!("vnicId={}", identity.nic);
        let listed = self.api.private_ips(identity, &filter)?;
        check_own(identity, &listed)?;
        let listed = listed.into_iter().filter(|ip| ip.is_on(&identity.nic));
        let listed: Vec<PrivateIp> = listed.collect();
        self.learn_versions(identity, &listed)?;
        let entry = |ip: &PrivateIp| {
            let version = self.known.version_of(ip);
            // What changed between list and reading is not shown: it is another one by now.
            let shown = ip.is_primary() || version.is_some();
            shown.then(|| (ip.ip_address, ip.entry(version)))
        };
        let entries = listed.iter().filter_map(entry).collect();
        Ok(Observation {
            nic: identity.nic.clone(),
            subnet: identity.prefix,
            version: Some(version),
            forwarding: vnic.skip_source_dest_check == Some(true),
            entries,
            // Texts say 31 and 64; a full VNIC says so itself.
            limit: None,
        })
    }

    /// Reads what is listed and not known as it is; the primary is never changed, so that its version does not matter.
    fn learn_versions(
        &mut self,
        identity: &Identity,
        listed: &[PrivateIp],
    ) -> Result<(), ProviderError> {
        let unknown = |ip: &&PrivateIp| !ip.is_primary() && self.known.version_of(ip).is_none();
        let unknown: Vec<&str> = { listed.iter() }
            .filter(unknown)
            .map(|ip| ip.id.as_str())
            .collect();
        for (ip, version) in self.api.private_ips_of(identity, &unknown)? {
            self.known.learn(ip, version);
        }
        Ok(())
    }

    pub(super) fn find_holders(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let subnet = self.subnet(identity)?;
        let addresses = addresses.iter().copied();
        let found = self
            .api
            .private_ips_with(identity, &subnet, addresses.clone())?;
        let ids: Vec<&str> = found.iter().map(|ip| ip.id.as_str()).collect();
        let mut holders = BTreeMap::new();
        // The version is that of the answer that names the VNIC: both are read at once.
        for (ip, version) in self.api.private_ips_of(identity, &ids)? {
            if addresses.clone().any(|address| address == ip.ip_address) {
                holders.insert(ip.ip_address, holder(&ip, Some(version.clone())));
            }
            self.known.learn(ip, version);
        }
        Ok(holders)
    }

    /// Finds the private IP with an address of our subnet.
    pub(super) fn find(
        &mut self,
        identity: &Identity,
        address: Ipv4Addr,
    ) -> Result<Option<PrivateIp>, ProviderError> {
        let subnet = self.subnet(identity)?;
        let mut found = self.api.private_ips_with(identity, &subnet, [address])?;
        Ok(found.pop())
    }

    pub(super) fn inventory(
        &mut self,
        identity: &Identity,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let subnet = self.subnet(identity)?;
        let filter = format!("subnetId={subnet}");
        let listed = self.api.private_ips(identity, &filter)?;
        check_own(identity, &listed)?;
        let vnics = listed.iter().filter_map(|ip| ip.vnic_id.as_deref());
        self.follow_machines(identity, &vnics.collect())?;
        let all = listed.iter().map(|ip| {
            let vnic = ip.vnic_id.as_deref();
            let holder = Holder {
                running: vnic.and_then(|vnic| self.runs(vnic)),
                ..holder(ip, None)
            };
            (ip.ip_address, holder)
        });
        Ok(all.collect())
    }

    /// Returns the subnet of our VNIC, which stays in it.
    fn subnet(&mut self, identity: &Identity) -> Result<String, ProviderError> {
        if let Some(subnet) = &self.subnet {
            return Ok(subnet.clone());
        }
        let (vnic, _) = self.api.vnic(identity, &identity.nic)?;
        Ok(self.subnet.insert(vnic.subnet_id).clone())
    }
}

fn holder(ip: &PrivateIp, version: Option<Version>) -> Holder {
    Holder {
        nic: ip.nic(),
        nic_version: None,
        entry: ip.entry(version),
        running: None,
    }
}

/// A list without our own address is no list of what is there.
fn check_own(identity: &Identity, listed: &[PrivateIp]) -> Result<(), ProviderError> {
    let mut ips = listed.iter();
    if ips.any(|ip| ip.is_primary() && ip.is_on(&identity.nic)) {
        return Ok(());
    }
    let message = format!(
        "the own address of {} is not among what OCI lists",
        identity.nic
    );
    Err(error(ErrorClass::Unavailable, "OwnNicMissing", &message))
}

#[cfg(test)]
mod tests {
    use sam_capture::provider::NicId;

    use super::*;

    fn ip(id: &str, vnic: &str, primary: bool) -> PrivateIp {
        PrivateIp {
            id: id.to_owned(),
            ip_address: Ipv4Addr::new(10, 0, 0, 1),
            is_primary: Some(primary),
            vnic_id: Some(vnic.to_owned()),
            freeform_tags: None,
        }
    }

    #[test]
    fn a_list_without_our_own_address_is_none() {
        let identity = Identity {
            region: String::new(),
            realm: String::new(),
            compartment: String::new(),
            instance: String::new(),
            shape: String::new(),
            nic: NicId("ours".into()),
            prefix: "10.0.0.0/24".parse().expect("a prefix"),
        };
        let listed = [ip("x", "other", true), ip("y", "ours", false)];
        let failed = check_own(&identity, &listed).expect_err("no list of what is there");
        assert_eq!(failed.class, ErrorClass::Unavailable);
        assert!(check_own(&identity, &[ip("z", "ours", true)]).is_ok());
    }

    #[test]
    fn a_version_is_known_of_what_looks_the_same() {
        let mut known = Known::default();
        let version = Version("1".into());
        known.learn(ip("x", "ours", false), version.clone());
        assert_eq!(
            known.version_of(&ip("x", "ours", false)),
            Some(version.clone())
        );
        assert_eq!(known.version_of(&ip("x", "other", false)), None);
        assert!(known.at("x", &Version("2".into())).is_none());
        known.forget("x");
        assert!(known.at("x", &version).is_none());
        for number in 0..=MAX_KNOWN {
            known.learn(ip(&number.to_string(), "ours", false), version.clone());
        }
        assert!(known.0.len() <= MAX_KNOWN);
    }
}
