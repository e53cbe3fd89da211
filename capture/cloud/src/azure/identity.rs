//! Who we are: the virtual machine, and the one NIC of it that captures.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_capture::provider::{ErrorClass, NicId, ProviderError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::{Arm, Environment};
use super::interface::Interface;
use super::resource::ResourceId;
use super::{COMPUTE_API, NETWORK_API};
use crate::MacAddress;
use crate::http::{Method, error, shortened};
use crate::metadata::{Metadata, unreadable};

/// The virtual machine and its capture NIC, in Azure's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Subscription.
    pub subscription: String,
    /// Resource group of the machine.
    pub group: String,
    /// Region.
    pub location: String,
    /// Id of the machine.
    pub machine: String,
    /// Id of the NIC that captures.
    pub nic: NicId,
    /// Id of its subnet.
    pub subnet: String,
    /// Id of the network of that subnet.
    pub network: String,
    /// Addresses of the subnet.
    pub prefix: Ipv4Net,
}

impl Identity {
    /// Returns the id of the machine's resource group.
    pub(super) fn group_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}",
            self.subscription, self.group
        )
    }
}

#[derive(Deserialize)]
struct Facts {
    compute: Compute,
    network: Network,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compute {
    #[serde(default)]
    az_environment: String,
    location: String,
    resource_group_name: String,
    resource_id: String,
    subscription_id: String,
}

#[derive(Deserialize)]
struct Network {
    #[serde(default)]
    interface: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    mac_address: String,
    ipv4: LinkAddresses,
}

#[derive(Deserialize)]
struct LinkAddresses {
    #[serde(default)]
    subnet: Vec<LinkSubnet>,
}

#[derive(Deserialize)]
struct LinkSubnet {
    address: Ipv4Addr,
    prefix: String,
}

/// Asks the metadata service who we are, and Resource Manager which of the machine's NICs has the hardware address.
///
/// # Errors
/// Also when that is not exactly one NIC: never the first one instead.
pub(super) fn identify(arm: &mut Arm, mac: MacAddress) -> Result<Identity, ProviderError> {
    let facts = facts(&mut arm.metadata)?;
    let environment = Environment::named(&facts.compute.az_environment).ok_or_else(|| {
        let name = shortened(&facts.compute.az_environment, 50);
        let message = format!("Resource Manager of {name} is not known: give its endpoint");
        error(ErrorClass::Permanent, "UnknownEnvironment", &message)
    });
    match environment {
        Ok(environment) => arm.set_environment(environment),
        Err(_) if arm.has_endpoint() => {}
        Err(failed) => return Err(failed),
    }
    let prefix = prefix(&facts.network, mac)?;
    let machine = ResourceId::parse(&facts.compute.resource_id)?;
    let nic = find_nic(arm, &machine, mac)?;
    let subnet = nic
        .subnet()
        .ok_or_else(|| unreadable("subnet of the NIC"))?;
    let subnet = ResourceId::parse(subnet)?;
    Ok(Identity {
        subscription: facts.compute.subscription_id,
        group: facts.compute.resource_group_name,
        location: facts.compute.location,
        machine: machine.as_str().to_owned(),
        nic: NicId(nic.id().to_owned()),
        network: subnet.parent("virtualNetworks").to_owned(),
        subnet: subnet.as_str().to_owned(),
        prefix,
    })
}

fn facts(metadata: &mut Metadata) -> Result<Facts, ProviderError> {
    let call = metadata.call(Method::Get, "/metadata/instance?api-version=2021-02-01");
    let answer = metadata.send(&call.with("metadata", "true"))?;
    let text = metadata.text("instance", answer)?;
    serde_json::from_str(&text).map_err(|_| unreadable("instance"))
}

/// Finds the addresses of the subnet of the one NIC with a hardware address.
fn prefix(network: &Network, mac: MacAddress) -> Result<Ipv4Net, ProviderError> {
    let links = network.interface.iter();
    let fitting: Vec<&Link> = links
        .filter(|link| link.mac_address.parse() == Ok(mac))
        .collect();
    let [link] = fitting[..] else {
        return Err(no_such_nic(fitting.len(), mac));
    };
    let subnet = link.ipv4.subnet.first();
    let subnet = subnet.ok_or_else(|| unreadable("subnet of the NIC"))?;
    let length = subnet.prefix.parse().ok();
    let prefix = length.and_then(|length| Ipv4Net::new(subnet.address, length).ok());
    prefix
        .map(|prefix| prefix.trunc())
        .ok_or_else(|| unreadable("subnet of the NIC"))
}

fn no_such_nic(number: usize, mac: MacAddress) -> ProviderError {
    let message =
        format!("{number} NICs of the machine have the hardware address {mac}, must be one");
    error(ErrorClass::Permanent, "NoSuchNic", &message)
}

fn find_nic(
    arm: &mut Arm,
    machine: &ResourceId,
    mac: MacAddress,
) -> Result<Interface, ProviderError> {
    let path = format!("{}?api-version={COMPUTE_API}", machine.as_str());
    let document = arm.get(&path)?;
    let listed = &document["properties"]["networkProfile"]["networkInterfaces"];
    let listed = listed.as_array().map_or(&[][..], Vec::as_slice);
    let mut fitting = Vec::new();
    for entry in listed.iter().take(MAX_NICS) {
        let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = ResourceId::of_interface(&NicId(id.to_owned()))?;
        let path = format!("{}?api-version={NETWORK_API}", id.as_str());
        let nic = Interface::new(arm.get(&path)?)?;
        if nic.mac() == Some(mac) {
            fitting.push(nic);
        }
    }
    let number = fitting.len();
    match (fitting.pop(), number) {
        (Some(nic), 1) => Ok(nic),
        _ => Err(no_such_nic(number, mac)),
    }
}

/// NICs of a machine at most; the biggest has 8.
const MAX_NICS: usize = 16;
