//! A network interface as a document: what is ours is written into what the client stored, and taken out of it again.
//!
//! A document replaces the former one as a whole: what it lacks is reset. Fields that nobody here knows are kept.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::resource::{configuration_id, interface_id, machine_id, subnet_id};
use crate::cloud::Cloud;
use crate::nic::{Holding, Nic, Version};
use crate::seal::Seal;
use crate::wire::Problem;

/// Properties that Azure writes, whatever a client sends.
const OWN: [&str; 7] = [
    "provisioningState",
    "resourceGuid",
    "ipConfigurations",
    "enableIPForwarding",
    "macAddress",
    "primary",
    "virtualMachine",
];
/// The same of an ipConfiguration.
const OWN_OF_CONFIGURATION: [&str; 4] =
    ["provisioningState", "privateIPAddress", "primary", "subnet"];

/// Writes the etag of the change of this number.
pub(super) fn etag(seal: &Seal, number: u64) -> String {
    format!("W/\"{}\"", seal.uuid(&format!("etag {number}")))
}

/// Returns the etag that a NIC has at present; an operation under way has one of its own.
pub(super) fn etag_of(cloud: &Cloud, seal: &Seal, nic: &Nic) -> String {
    let under_way = cloud.under_way(&nic.id);
    let latest = nic.latest().etag;
    etag(
        seal,
        under_way.map_or(latest, |operation| operation.number.max(latest)),
    )
}

/// Writes the document of a version.
pub(super) fn document(
    cloud: &Cloud,
    seal: &Seal,
    nic: &Nic,
    version: &Version,
    state: &str,
    etag: &str,
) -> Value {
    let mut document = object(&version.rest);
    let mut properties = object(document.get("properties").unwrap_or(&Value::Null));
    let configurations: Vec<Value> = version
        .addresses
        .iter()
        .map(|held| configuration(cloud, nic, held, state, etag))
        .collect();
    let guid = seal.uuid(&nic.id);
    let mac = nic.mac.to_uppercase().replace(':', "-");
    properties.extend(object(&json!({
        "provisioningState": state,
        "resourceGuid": guid,
        "ipConfigurations": configurations,
        "enableIPForwarding": !version.source_dest_check,
        "macAddress": mac,
        "primary": nic.device_index == 0,
        "virtualMachine": { "id": machine_id(cloud, &nic.instance) },
    })));
    let tags = document.get("tags").cloned();
    document.extend(object(&json!({
        "name": nic.id,
        "id": interface_id(cloud, &nic.id),
        "etag": etag,
        "type": "Microsoft.Network/networkInterfaces",
        "location": cloud.settings.region,
        "tags": tags.unwrap_or_else(|| json!(nic.tags)),
        "properties": properties,
    })));
    Value::Object(document)
}

fn configuration(cloud: &Cloud, nic: &Nic, held: &Holding, state: &str, etag: &str) -> Value {
    let mut document = object(&held.rest);
    let mut properties = object(document.get("properties").unwrap_or(&Value::Null));
    let method = if held.primary { "Dynamic" } else { "Static" };
    let method = json!(method);
    let known = properties.remove("privateIPAllocationMethod");
    properties.extend(object(&json!({
        "provisioningState": state,
        "privateIPAddress": held.address,
        "privateIPAllocationMethod": known.unwrap_or(method),
        "privateIPAddressVersion": "IPv4",
        "primary": held.primary,
        "subnet": { "id": subnet_id(cloud, &nic.subnet) },
    })));
    document.extend(object(&json!({
        "name": held.name,
        "id": configuration_id(cloud, &nic.id, &held.name),
        "etag": etag,
        "type": "Microsoft.Network/networkInterfaces/ipConfigurations",
        "properties": properties,
    })));
    Value::Object(document)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Reads a document that replaces the former one.
pub(super) fn parse(cloud: &Cloud, nic: &Nic, body: &Value) -> Result<Version, Problem> {
    let mut rest = object(body);
    let mut properties = object(body.get("properties").unwrap_or(&Value::Null));
    if rest.get("location").and_then(Value::as_str) != Some(&cloud.settings.region) {
        let message = "The location property is required and must be that of the resource.";
        return Err(Problem::new(400, "InvalidResourceLocation", message));
    }
    let list = properties.get("ipConfigurations").and_then(Value::as_array);
    let list = list.filter(|list| !list.is_empty()).ok_or_else(|| {
        let message = "A network interface must have at least one IP configuration.";
        Problem::new(400, "InvalidIPConfigCount", message)
    })?;
    let mut addresses = Vec::new();
    let mut names = BTreeSet::new();
    for entry in list {
        let held = parse_configuration(cloud, nic, entry, &addresses)?;
        if !names.insert(held.name.clone()) {
            return Err(malformed(&format!(
                "there are two IP configurations {}",
                held.name
            )));
        }
        addresses.push(held);
    }
    let before = nic.latest().primary().map(|held| held.name.as_str());
    let after: Vec<&str> = addresses
        .iter()
        .filter(|held| held.primary)
        .map(|held| held.name.as_str())
        .collect();
    if before.into_iter().collect::<Vec<_>>() != after {
        return Err(Problem::new(
            400,
            "IpConfigDeleteNotSupported",
            "Deletion and renaming of primary IP Configuration is not supported",
        ));
    }
    let forwarding = properties
        .get("enableIPForwarding")
        .and_then(Value::as_bool);
    for name in OWN {
        properties.remove(name);
    }
    for name in ["name", "id", "etag", "type", "location"] {
        rest.remove(name);
    }
    rest.entry("tags").or_insert_with(|| json!({}));
    rest.insert("properties".into(), Value::Object(properties));
    Ok(Version {
        source_dest_check: !forwarding.unwrap_or(false),
        addresses,
        rest: Value::Object(rest),
        ..nic.latest().clone()
    })
}

fn parse_configuration(
    cloud: &Cloud,
    nic: &Nic,
    entry: &Value,
    taken: &[Holding],
) -> Result<Holding, Problem> {
    let name = entry.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| malformed("an IP configuration has no name"))?;
    let mut properties = object(entry.get("properties").unwrap_or(&Value::Null));
    let subnet = properties.get("subnet").and_then(|subnet| subnet.get("id"));
    let same = subnet
        .and_then(Value::as_str)
        .is_some_and(|id| id.eq_ignore_ascii_case(&subnet_id(cloud, &nic.subnet)));
    if !same {
        let message = format!("IP configuration {name} is not in the subnet of the others.");
        return Err(Problem::new(
            400,
            "IpConfigurationsOnSameNicCannotUseDifferentSubnets",
            message,
        ));
    }
    let former = nic.latest().addresses.iter().find(|held| held.name == name);
    let address = match properties.get("privateIPAddress").and_then(Value::as_str) {
        Some(text) => text
            .parse()
            .map_err(|_| malformed(&format!("{text} is no private IP address")))?,
        None => former
            .map(|held| held.address)
            .or_else(|| free(cloud, nic, taken))
            .ok_or_else(|| Problem::new(400, "SubnetIsFull", "The subnet has no free address."))?,
    };
    let primary = properties.get("primary").and_then(Value::as_bool);
    for name in OWN_OF_CONFIGURATION {
        properties.remove(name);
    }
    let mut rest = object(entry);
    for name in ["name", "id", "etag", "type"] {
        rest.remove(name);
    }
    rest.insert("properties".into(), Value::Object(properties));
    Ok(Holding {
        address,
        primary: primary.unwrap_or(false),
        name: name.to_owned(),
        etag: former.map_or(0, |held| held.etag),
        rest: Value::Object(rest),
    })
}

/// What an allocation that is called dynamic gets: the first address that nobody has.
fn free(cloud: &Cloud, nic: &Nic, taken: &[Holding]) -> Option<Ipv4Addr> {
    let network = cloud.network_of(nic);
    let subnet = cloud.subnets.get(&nic.subnet)?;
    subnet
        .prefix
        .hosts()
        .filter(|address| cloud.check_address(&nic.subnet, *address).is_ok())
        .filter(|address| taken.iter().all(|held| held.address != *address))
        .find(|address| cloud.holder(network, *address).is_none())
}

pub(super) fn malformed(message: &str) -> Problem {
    Problem::new(400, "InvalidRequestFormat", message)
}
