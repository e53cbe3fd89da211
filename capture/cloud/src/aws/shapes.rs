//! EC2's XML, as far as it is read. What is not named here is passed over.

use std::net::Ipv4Addr;

use serde::Deserialize;

/// A list: each entry is an element `item`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Items<T> {
    #[serde(default = "Vec::new")]
    pub(super) item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// An answer that comes in pages.
pub(super) trait Page: for<'de> Deserialize<'de> {
    /// What it has many of.
    type Entry;

    /// Returns the entries, and where to go on.
    fn into_parts(self) -> (Vec<Self::Entry>, Option<String>);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interfaces {
    #[serde(default)]
    network_interface_set: Items<Interface>,
    next_token: Option<String>,
}

impl Page for Interfaces {
    type Entry = Interface;

    fn into_parts(self) -> (Vec<Interface>, Option<String>) {
        (self.network_interface_set.item, self.next_token)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    pub(super) network_interface_id: String,
    #[serde(default)]
    pub(super) subnet_id: String,
    pub(super) source_dest_check: bool,
    pub(super) attachment: Option<Attachment>,
    #[serde(default)]
    pub(super) private_ip_addresses_set: Items<PrivateAddress>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) instance_id: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrivateAddress {
    pub(super) private_ip_address: Ipv4Addr,
    pub(super) primary: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservations {
    #[serde(default)]
    reservation_set: Items<Reservation>,
    next_token: Option<String>,
}

impl Page for Reservations {
    type Entry = Machine;

    fn into_parts(self) -> (Vec<Machine>, Option<String>) {
        let reservations = self.reservation_set.item.into_iter();
        let machines = reservations.flat_map(|reservation| reservation.instances_set.item);
        (machines.collect(), self.next_token)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Machine>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) instance_id: String,
    pub(super) instance_state: MachineState,
}

#[derive(Debug, Deserialize)]
pub(super) struct MachineState {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceTypes {
    #[serde(default)]
    instance_type_set: Items<InstanceType>,
    next_token: Option<String>,
}

impl Page for InstanceTypes {
    type Entry = InstanceType;

    fn into_parts(self) -> (Vec<InstanceType>, Option<String>) {
        (self.instance_type_set.item, self.next_token)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceType {
    pub(super) network_info: NetworkInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkInfo {
    pub(super) ipv4_addresses_per_interface: usize,
}

/// What every answer to a change has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    pub(super) request_id: Option<String>,
    #[serde(rename = "return")]
    pub(super) done: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_unknown_elements_and_empty_lists_is_read() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
              <requestId>r</requestId>
              <networkInterfaceSet>
                <item><networkInterfaceId>eni-1</networkInterfaceId><future><item>x</item></future>
                  <sourceDestCheck>true</sourceDestCheck><groupSet/>
                  <privateIpAddressesSet>
                    <item><privateIpAddress>10.0.0.4</privateIpAddress><primary>true</primary>
                      <association><publicIp>192.0.2.1</publicIp></association></item>
                    <item><primary>false</primary><privateIpAddress>10.0.0.9</privateIpAddress></item>
                  </privateIpAddressesSet></item>
                <item><networkInterfaceId>eni-2</networkInterfaceId>
                  <sourceDestCheck>false</sourceDestCheck><privateIpAddressesSet/></item>
              </networkInterfaceSet>
              <nextToken>more</nextToken>
            </DescribeNetworkInterfacesResponse>"#;
        let page: Interfaces = quick_xml::de::from_str(text).expect("an answer");
        let (interfaces, next) = page.into_parts();
        assert_eq!(next.as_deref(), Some("more"));
        let addresses = interfaces.iter().map(|nic| {
            let held = nic.private_ip_addresses_set.item.iter();
            held.map(|held| (held.private_ip_address.to_string(), held.primary))
                .collect::<Vec<_>>()
        });
        let first = vec![
            ("10.0.0.4".to_owned(), true),
            ("10.0.0.9".to_owned(), false),
        ];
        assert_eq!(addresses.collect::<Vec<_>>(), [first, Vec::new()]);

        let empty = "<DescribeNetworkInterfacesResponse><networkInterfaceSet/></DescribeNetworkInterfacesResponse>";
        let page: Interfaces = quick_xml::de::from_str(empty).expect("an answer");
        assert!(page.into_parts().0.is_empty());
    }
}
