//! Looking: our own ENI, who holds an address, everything in the subnet. An answer without our own ENI is none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{Entry, ErrorClass, Holder, NicId, Observation, ProviderError};

use super::Aws;
use super::ec2::Form;
use super::identity::Identity;
use super::shapes::{InstanceTypes, Interface, Interfaces, PrivateAddress, Reservations};
use crate::http::error;

/// How many addresses our ENI may have, as far as that could be found out.
#[derive(Debug, Default)]
pub(super) struct Limit {
    known: Option<usize>,
    asked: Option<DateTime<Utc>>,
}

/// How long it takes until it is asked for again when it was not told.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(10);

impl Aws {
    pub(super) fn observe(&mut self, identity: &Identity) -> Result<Observation, ProviderError> {
        let form = Form::new("DescribeNetworkInterfaces");
        let form = form.with("NetworkInterfaceId.1", &identity.nic);
        let found = self.interfaces(identity, &form)?;
        let own = found.into_iter().find(|nic| is(nic, &identity.nic));
        let own = own.ok_or_else(|| {
            let message = format!("{} is not among what EC2 describes", identity.nic);
            error(ErrorClass::Unavailable, "OwnNicMissing", &message)
        })?;
        let held = own.private_ip_addresses_set.item.iter();
        Ok(Observation {
            nic: identity.nic.clone(),
            subnet: identity.prefix,
            version: None,
            forwarding: !own.source_dest_check,
            entries: held
                .map(|held| (held.private_ip_address, entry(held)))
                .collect(),
            limit: self.limit(identity),
        })
    }

    pub(super) fn find_holders(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let form = Form::new("DescribeNetworkInterfaces")
            .with_filter(1, "subnet-id", [&identity.subnet])
            .with_filter(2, "addresses.private-ip-address", addresses);
        let found = self.interfaces(identity, &form)?;
        let mut holders = holders(&found, |_| None);
        holders.retain(|address, _| addresses.contains(address));
        Ok(holders)
    }

    pub(super) fn inventory(
        &mut self,
        identity: &Identity,
    ) -> Result<BTreeMap<Ipv4Addr, Holder>, ProviderError> {
        let form = Form::new("DescribeNetworkInterfaces")
            .with_filter(1, "subnet-id", [&identity.subnet])
            .with("MaxResults", PAGE);
        let found = self.interfaces(identity, &form)?;
        if found.iter().any(|nic| is(nic, &identity.nic)) {
            let told = self.ask_running(identity, &found);
            self.machines.follow(told, self.metadata.now())?;
            return Ok(holders(&found, |machine| self.machines.runs(machine)));
        }
        let message = format!(
            "{} is not among what EC2 describes of its subnet",
            identity.nic
        );
        Err(error(ErrorClass::Unavailable, "OwnNicMissing", &message))
    }

    fn interfaces(
        &mut self,
        identity: &Identity,
        form: &Form,
    ) -> Result<Vec<Interface>, ProviderError> {
        let region = &identity.region;
        let found = self
            .ec2
            .describe::<Interfaces>(&mut self.metadata, region, form)?;
        let ours = |nic: &Interface| nic.subnet_id == identity.subnet || is(nic, &identity.nic);
        Ok(found.into_iter().filter(ours).collect())
    }

    /// Asks of the instances that have the interfaces whether they run.
    fn ask_running(
        &mut self,
        identity: &Identity,
        nics: &[Interface],
    ) -> Result<BTreeMap<String, bool>, ProviderError> {
        let machines: BTreeSet<&str> = nics.iter().filter_map(machine).collect();
        let machines: Vec<&str> = machines.into_iter().collect();
        let region = &identity.region;
        let mut running = BTreeMap::new();
        for some in machines.chunks(MAX_FILTER_VALUES) {
            let form = Form::new("DescribeInstances").with_filter(1, "instance-id", some);
            let found = self
                .ec2
                .describe::<Reservations>(&mut self.metadata, region, &form)?;
            running.extend(found.into_iter().map(|machine| {
                let runs = machine.instance_state.name == "running";
                (machine.instance_id, runs)
            }));
        }
        Ok(running)
    }

    /// Asks once for the limit of our instance type; a refusal leaves it unknown for a while.
    fn limit(&mut self, identity: &Identity) -> Option<usize> {
        let now = self.metadata.now();
        let waits = self
            .limit
            .asked
            .is_some_and(|asked| now - asked < ASK_AGAIN);
        if self.limit.known.is_none() && !waits {
            let form = Form::new("DescribeInstanceTypes");
            let form = form.with("InstanceType.1", &identity.instance_type);
            let region = &identity.region;
            let found = self
                .ec2
                .describe::<InstanceTypes>(&mut self.metadata, region, &form);
            let found = found.unwrap_or_default();
            let first = found.first();
            self.limit.known = first.map(|kind| kind.network_info.ipv4_addresses_per_interface);
            self.limit.asked = Some(now);
        }
        self.limit.known
    }
}

/// Interfaces of a page at most, as EC2 has it.
const PAGE: usize = 1000;

/// Values of a filter at most, as EC2 has it.
const MAX_FILTER_VALUES: usize = 200;

/// Lists the addresses of interfaces, with whether their machines run.
fn holders(nics: &[Interface], runs: impl Fn(&str) -> Option<bool>) -> BTreeMap<Ipv4Addr, Holder> {
    let mut holders = BTreeMap::new();
    for nic in nics {
        let running = machine(nic).and_then(&runs);
        for held in &nic.private_ip_addresses_set.item {
            let holder = Holder {
                nic: NicId(nic.network_interface_id.clone()),
                nic_version: None,
                entry: entry(held),
                running,
            };
            holders.insert(held.private_ip_address, holder);
        }
    }
    holders
}

fn is(nic: &Interface, id: &NicId) -> bool {
    nic.network_interface_id == id.0
}

fn machine(nic: &Interface) -> Option<&str> {
    nic.attachment.as_ref()?.instance_id.as_deref()
}

const fn entry(held: &PrivateAddress) -> Entry {
    Entry {
        primary: held.primary,
        ours: None,
        id: None,
        version: None,
    }
}
