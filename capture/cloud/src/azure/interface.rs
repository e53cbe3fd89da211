//! A network interface as Resource Manager stores it: a document that is replaced as a whole.
//!
//! What a client leaves out is reset, so that only `properties.ipConfigurations` and, on demand, the forwarding flag are
//! edited here; everything else goes back as it came, whether anybody here knows it or not.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sam_capture::provider::{Entry, ErrorClass, ProviderError};
use serde_json::{Value, json};

use super::resource::starts_with;
use crate::MacAddress;
use crate::http::error;

/// How the names of our configurations begin: the mark by which we know them.
const MARK: &str = "samctl-";

/// A network interface.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    document: Value,
}

/// One of its configurations, of an IPv4 address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Configuration<'a> {
    pub(super) address: Ipv4Addr,
    pub(super) name: &'a str,
    pub(super) id: &'a str,
    pub(super) primary: bool,
}

impl Configuration<'_> {
    pub(super) fn ours(&self) -> bool {
        is_ours(self.name)
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            primary: self.primary,
            ours: Some(self.ours()),
            id: Some(self.id.to_owned()),
            version: None,
        }
    }
}

/// Tells whether a configuration of this name is ours.
pub(super) fn is_ours(name: &str) -> bool {
    starts_with(name, MARK)
}

/// Names our configuration of an address.
pub(super) fn name_of(address: Ipv4Addr) -> String {
    format!("{MARK}{}", address.to_string().replace('.', "-"))
}

impl Interface {
    /// Takes a document as interface.
    pub(super) fn new(document: Value) -> Result<Self, ProviderError> {
        let nic = Self { document };
        if nic.text("id").is_some() && nic.text("etag").is_some() && nic.primary().is_some() {
            return Ok(nic);
        }
        let message = "what was answered is no network interface with a primary configuration";
        Err(error(ErrorClass::Unavailable, "Illegible", message))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.document.get(name).and_then(Value::as_str)
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.document.get("properties")?.get(name)
    }

    fn list(&self) -> &[Value] {
        let list = self.property("ipConfigurations").and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    fn primary(&self) -> Option<&Value> {
        self.list().iter().find(|entry| is_primary(entry))
    }

    pub(super) fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    pub(super) fn etag(&self) -> &str {
        self.text("etag").unwrap_or_default()
    }

    pub(super) fn state(&self) -> &str {
        let state = self.property("provisioningState").and_then(Value::as_str);
        state.unwrap_or_default()
    }

    /// Tells whether a change is under way. Another one would cancel it.
    pub(super) fn is_busy(&self) -> bool {
        ["Updating", "Creating", "Deleting"].contains(&self.state())
    }

    pub(super) fn forwarding(&self) -> bool {
        let flag = self.property("enableIPForwarding").and_then(Value::as_bool);
        flag.unwrap_or(false)
    }

    pub(super) fn mac(&self) -> Option<MacAddress> {
        self.property("macAddress")?.as_str()?.parse().ok()
    }

    /// Returns the id of the machine that has it.
    pub(super) fn machine(&self) -> Option<&str> {
        self.property("virtualMachine")?.get("id")?.as_str()
    }

    /// Returns the id of the subnet, which all configurations share.
    pub(super) fn subnet(&self) -> Option<&str> {
        let subnet = self.primary()?.get("properties")?.get("subnet")?;
        subnet.get("id")?.as_str()
    }

    pub(super) fn configurations(&self) -> impl Iterator<Item = Configuration<'_>> {
        self.list().iter().filter_map(|entry| {
            Some(Configuration {
                address: address(entry)?,
                name: entry.get("name")?.as_str()?,
                id: entry.get("id")?.as_str()?,
                primary: is_primary(entry),
            })
        })
    }

    pub(super) fn configuration(&self, wanted: Ipv4Addr) -> Option<Configuration<'_>> {
        self.configurations().find(|known| known.address == wanted)
    }

    pub(super) fn holds(&self, wanted: Ipv4Addr) -> bool {
        self.configuration(wanted).is_some()
    }

    /// Returns the document with further addresses, in the subnet and the security groups of the primary.
    pub(super) fn with(&self, addresses: &BTreeSet<Ipv4Addr>) -> Value {
        let primary = self.primary().and_then(|entry| entry.get("properties"));
        let like_primary = |name: &str| primary.and_then(|known| known.get(name)).cloned();
        let mut list = self.list().to_vec();
        for address in addresses {
            let mut properties = json!({
                "primary": false,
                "privateIPAddress": address,
                "privateIPAddressVersion": "IPv4",
                "privateIPAllocationMethod": "Static",
                "subnet": { "id": self.subnet() },
            });
            if let Some(groups) = like_primary("applicationSecurityGroups") {
                properties["applicationSecurityGroups"] = groups;
            }
            list.push(json!({ "name": name_of(*address), "properties": properties }));
        }
        self.edited("ipConfigurations", Value::Array(list))
    }

    /// Returns the document without addresses, as far as their configurations are ours.
    pub(super) fn without(&self, addresses: &BTreeSet<Ipv4Addr>) -> Value {
        let leaves = |entry: &Value| {
            let named = entry.get("name").and_then(Value::as_str);
            address(entry).is_some_and(|address| addresses.contains(&address))
                && named.is_some_and(is_ours)
                && !is_primary(entry)
        };
        let mut list = self.list().to_vec();
        list.retain(|entry| !leaves(entry));
        self.edited("ipConfigurations", Value::Array(list))
    }

    /// Returns the document with another forwarding flag.
    pub(super) fn with_forwarding(&self, enabled: bool) -> Value {
        self.edited("enableIPForwarding", Value::Bool(enabled))
    }

    fn edited(&self, name: &str, value: Value) -> Value {
        let mut document = self.document.clone();
        document["properties"][name] = value;
        document
    }
}

fn is_primary(entry: &Value) -> bool {
    let flag = entry
        .get("properties")
        .and_then(|known| known.get("primary"));
    flag.and_then(Value::as_bool).unwrap_or(false)
}

fn address(entry: &Value) -> Option<Ipv4Addr> {
    let text = entry.get("properties")?.get("privateIPAddress")?.as_str()?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let configuration = |name: &str, address: &str, primary: bool| {
            json!({
                "name": name, "id": format!("/subscriptions/s/x/{name}"), "etag": "W/\"1\"",
                "properties": {
                    "privateIPAddress": address, "primary": primary, "subnet": {"id": "/subscriptions/s/subnet"},
                    "applicationSecurityGroups": [{"id": "group"}], "ofTheFuture": [1, 2.5],
                },
            })
        };
        json!({
            "id": "/subscriptions/s/nic", "etag": "W/\"1\"", "location": "westeurope", "zones": ["1"],
            "properties": {
                "enableAcceleratedNetworking": true, "ofTheFuture": {"kept": null}, "enableIPForwarding": false,
                "provisioningState": "Succeeded", "macAddress": "00-0D-3A-00-00-0A",
                "ipConfigurations": [
                    configuration("primary", "10.0.0.4", true),
                    configuration("by-hand", "10.0.0.8", false),
                    configuration("samctl-10-0-0-9", "10.0.0.9", false),
                    configuration("six", "2001:db8::1", false),
                ],
            },
        })
    }

    fn rest(mut document: Value) -> Value {
        document["properties"]["ipConfigurations"].take();
        document
    }

    #[test]
    fn an_edit_changes_configurations_and_nothing_else() {
        let nic = Interface::new(document()).expect("an interface");
        let added = nic.with(&BTreeSet::from([Ipv4Addr::new(10, 0, 0, 10)]));
        assert_eq!(rest(added.clone()), rest(document()));
        let list = added["properties"]["ipConfigurations"]
            .as_array()
            .expect("a list");
        assert_eq!(
            list[..4],
            *document()["properties"]["ipConfigurations"]
                .as_array()
                .expect("a list")
        );
        assert_eq!(list[4]["name"], "samctl-10-0-0-10");
        assert_eq!(
            list[4]["properties"]["applicationSecurityGroups"],
            json!([{"id": "group"}])
        );

        let every: BTreeSet<Ipv4Addr> = nic.configurations().map(|known| known.address).collect();
        let removed = nic.without(&every);
        assert_eq!(rest(removed.clone()), rest(document()));
        let names = removed["properties"]["ipConfigurations"]
            .as_array()
            .expect("a list");
        let names: Vec<&Value> = names.iter().map(|entry| &entry["name"]).collect();
        assert_eq!(
            names,
            ["primary", "by-hand", "six"],
            "only what is ours goes"
        );
    }

    #[test]
    fn the_interface_is_read() {
        let nic = Interface::new(document()).expect("an interface");
        assert_eq!(nic.mac(), "00:0d:3a:00:00:0a".parse().ok());
        assert!(nic.holds(Ipv4Addr::new(10, 0, 0, 9)) && !nic.holds(Ipv4Addr::new(10, 0, 0, 90)));
        let ours: Vec<bool> = nic.configurations().map(|known| known.ours()).collect();
        assert_eq!(ours, [false, false, true]);
        assert!(!nic.is_busy() && !nic.forwarding());
        assert_eq!(
            nic.with_forwarding(true)["properties"]["enableIPForwarding"],
            true
        );
        assert!(Interface::new(json!({"id": "x"})).is_err());
    }
}
