//! Resource ids: what a path names, and how our things are named in full.

use crate::cloud::Cloud;
use crate::http::Request;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// A network interface.
    Interface(String),
    /// All of them.
    Interfaces,
    /// A virtual machine.
    Machine(String),
    /// An operation.
    Operation(String),
    /// Whether an address of a virtual network is free.
    Availability(String),
    /// Moving configurations within a virtual network.
    Move(String),
    /// What the caller may do.
    Permissions,
    /// Resource Graph.
    Graph,
    /// Anything else.
    Unknown,
}

impl Resource {
    /// Reads the path; case does not count in its fixed parts.
    pub(super) fn of(request: &Request) -> Self {
        let segments = request.segments();
        let lower: Vec<String> = segments.iter().map(|part| part.to_lowercase()).collect();
        let Some(at) = lower.iter().rposition(|part| part == "providers") else {
            return Self::Unknown;
        };
        let rest: Vec<&str> = lower[at + 1..].iter().map(String::as_str).collect();
        let name = |index: usize| segments[at + 1 + index].clone();
        match rest.as_slice() {
            ["microsoft.network", "networkinterfaces"] => Self::Interfaces,
            ["microsoft.network", "networkinterfaces", _] => Self::Interface(name(2)),
            ["microsoft.network", "locations", _, "operations", _] => Self::Operation(name(4)),
            [
                "microsoft.network",
                "virtualnetworks",
                _,
                "checkipaddressavailability",
            ] => Self::Availability(name(2)),
            [
                "microsoft.network",
                "virtualnetworks",
                _,
                "moveipconfigurations",
            ] => Self::Move(name(2)),
            ["microsoft.compute", "virtualmachines", _] => Self::Machine(name(2)),
            ["microsoft.authorization", "permissions"] => Self::Permissions,
            ["microsoft.resourcegraph", "resources"] => Self::Graph,
            _ => Self::Unknown,
        }
    }

    /// Names the operation, for faults and the list of calls.
    pub(super) fn operation(&self, method: &str) -> &'static str {
        match (method, self) {
            ("GET", Self::Interface(_)) => "GetNetworkInterface",
            ("PUT", Self::Interface(_)) => "PutNetworkInterface",
            ("GET", Self::Interfaces) => "ListNetworkInterfaces",
            ("GET", Self::Machine(_)) => "GetVirtualMachine",
            ("GET", Self::Operation(_)) => "GetOperation",
            ("GET", Self::Availability(_)) => "CheckIPAddressAvailability",
            ("GET", Self::Permissions) => "ListPermissions",
            ("POST", Self::Graph) => "ListResources",
            ("POST", Self::Move(_)) => "MoveIpConfigurations",
            _ => "Unknown",
        }
    }
}

fn group(cloud: &Cloud) -> String {
    let settings = &cloud.settings;
    format!(
        "/subscriptions/{}/resourceGroups/{}",
        settings.account, settings.group
    )
}

pub(super) fn interface_id(cloud: &Cloud, nic: &str) -> String {
    let group = group(cloud);
    format!("{group}/providers/Microsoft.Network/networkInterfaces/{nic}")
}

pub(super) fn configuration_id(cloud: &Cloud, nic: &str, name: &str) -> String {
    format!("{}/ipConfigurations/{name}", interface_id(cloud, nic))
}

pub(super) fn machine_id(cloud: &Cloud, name: &str) -> String {
    let group = group(cloud);
    format!("{group}/providers/Microsoft.Compute/virtualMachines/{name}")
}

pub(super) fn subnet_id(cloud: &Cloud, subnet: &str) -> String {
    let network = cloud.subnets.get(subnet);
    let network = network.map_or("", |subnet| subnet.network.as_str());
    let group = group(cloud);
    format!("{group}/providers/Microsoft.Network/virtualNetworks/{network}/subnets/{subnet}")
}

/// Where an operation can be asked for, as a path with its query.
pub(super) fn operation_path(cloud: &Cloud, id: &str) -> String {
    let settings = &cloud.settings;
    format!(
        "/subscriptions/{}/providers/Microsoft.Network/locations/{}/operations/{id}?api-version=2025-09-01",
        settings.account, settings.region
    )
}

/// Reads NIC and name out of the id of an ipConfiguration.
pub(super) fn parse_configuration_id(id: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = id.split('/').filter(|part| !part.is_empty()).collect();
    let at = parts
        .iter()
        .position(|part| part.eq_ignore_ascii_case("networkInterfaces"))?;
    let kind = parts.get(at + 2)?;
    if !kind.eq_ignore_ascii_case("ipConfigurations") {
        return None;
    }
    Some((
        (*parts.get(at + 1)?).to_owned(),
        (*parts.get(at + 3)?).to_owned(),
    ))
}
