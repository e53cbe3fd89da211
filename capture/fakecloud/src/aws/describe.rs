//! EC2 calls that read: as things were some time ago, for EC2 is consistent eventually.

use super::parameters::{Filter, Parameters, invalid};
use super::shapes::{
    Attachment, InstanceType, InstanceTypes, Interface, InterfaceAttribute, Interfaces, Items,
    Machine, MachineState, MetadataOptions, NetworkInfo, Placement, PrivateAddress, Reservation,
    Reservations, SubnetItem, Subnets, Value, answer, tags,
};
use super::{paging::page, permit, refused};
use crate::cloud::{Cloud, Instance, Subnet};
use crate::http::Response;
use crate::nic::Nic;
use crate::wire::{Call, Problem};

pub(super) fn interfaces(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    permit(cloud, call, parameters, None)?;
    let ids = parameters.list("NetworkInterfaceId");
    for id in &ids {
        cloud.nic(id).map_err(|refusal| refused(&refusal))?;
    }
    let filters = parameters.filters();
    let mut found = Vec::new();
    for nic in cloud.nics.values() {
        let wanted = ids.is_empty() || ids.contains(&nic.id.as_str());
        if wanted && admitted(&filters, |filter| fits_nic(cloud, nic, call, filter))? {
            found.push(interface(cloud, nic, call, true));
        }
    }
    let (shown, next_token) = page(cloud, call, parameters, found)?;
    let body = Interfaces {
        network_interface_set: shown.into_iter().collect(),
        next_token,
    };
    Ok(answer(call.operation, call.id, &body))
}

pub(super) fn instances(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    permit(cloud, call, parameters, None)?;
    let ids = parameters.list("InstanceId");
    if let Some(id) = ids.iter().find(|id| !cloud.instances.contains_key(**id)) {
        let message = format!("The instance ID '{id}' does not exist");
        return Err(Problem::new(400, "InvalidInstanceID.NotFound", message));
    }
    let filters = parameters.filters();
    let mut found = Vec::new();
    for instance in cloud.instances.values() {
        let wanted = ids.is_empty() || ids.contains(&instance.id.as_str());
        let fits = |filter: &Filter| fits_instance(cloud, instance, call, filter);
        if wanted && admitted(&filters, fits)? {
            found.push(Reservation {
                reservation_id: instance.id.replacen("i-", "r-", 1),
                owner_id: cloud.settings.account.clone(),
                instances_set: Items::from_iter([machine(cloud, instance, call)]),
            });
        }
    }
    let (shown, next_token) = page(cloud, call, parameters, found)?;
    let body = Reservations {
        reservation_set: shown.into_iter().collect(),
        next_token,
    };
    Ok(answer(call.operation, call.id, &body))
}

pub(super) fn subnets(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    permit(cloud, call, parameters, None)?;
    let ids = parameters.list("SubnetId");
    if let Some(id) = ids.iter().find(|id| !cloud.subnets.contains_key(**id)) {
        let message = format!("The subnet ID '{id}' does not exist");
        return Err(Problem::new(400, "InvalidSubnetID.NotFound", message));
    }
    let filters = parameters.filters();
    let mut found = Vec::new();
    for subnet in cloud.subnets.values() {
        let wanted = ids.is_empty() || ids.contains(&subnet.id.as_str());
        if wanted && admitted(&filters, |filter| fits_subnet(cloud, subnet, filter))? {
            found.push(subnet_item(cloud, subnet));
        }
    }
    let (shown, next_token) = page(cloud, call, parameters, found)?;
    let body = Subnets {
        subnet_set: shown.into_iter().collect(),
        next_token,
    };
    Ok(answer(call.operation, call.id, &body))
}

/// The limits of addresses by machine type, for those that the scenario names.
pub(super) fn instance_types(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    permit(cloud, call, parameters, None)?;
    let wanted = parameters.list("InstanceType");
    let limits = &cloud.settings.address_limits;
    if let Some(kind) = wanted.iter().find(|kind| !limits.contains_key(**kind)) {
        let message = format!("The following supplied instance types do not exist: [{kind}]");
        return Err(Problem::new(400, "InvalidInstanceType", message));
    }
    let known = limits.iter();
    let found = known
        .filter(|(kind, _)| wanted.is_empty() || wanted.contains(&kind.as_str()))
        .map(|(kind, limit)| InstanceType {
            instance_type: kind.clone(),
            network_info: NetworkInfo {
                ipv4_addresses_per_interface: *limit,
            },
        })
        .collect();
    let (shown, next_token) = page(cloud, call, parameters, found)?;
    let body = InstanceTypes {
        instance_type_set: shown.into_iter().collect(),
        next_token,
    };
    Ok(answer(call.operation, call.id, &body))
}

pub(super) fn attribute(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    permit(cloud, call, parameters, None)?;
    let id = parameters.required("NetworkInterfaceId")?;
    let nic = cloud.nic(id).map_err(|refusal| refused(&refusal))?;
    let mut body = InterfaceAttribute {
        network_interface_id: id.to_owned(),
        source_dest_check: None,
        description: None,
    };
    match parameters.required("Attribute")? {
        "sourceDestCheck" => {
            let value = nic.at(call.as_of).source_dest_check;
            body.source_dest_check = Some(Value { value });
        }
        "description" => {
            let value = description(nic);
            body.description = Some(Value { value });
        }
        other => return Err(invalid("attribute", other)),
    }
    Ok(answer(call.operation, call.id, &body))
}

/// Tells whether all filters admit; one that is not known is an error.
fn admitted(filters: &[Filter], fits: impl Fn(&Filter) -> Option<bool>) -> Result<bool, Problem> {
    let mut all = true;
    for filter in filters {
        let Some(fits) = fits(filter) else {
            let message = format!("The filter '{}' is invalid", filter.name);
            return Err(Problem::new(400, "InvalidParameterValue", message));
        };
        all &= fits;
    }
    Ok(all)
}

fn fits_nic(cloud: &Cloud, nic: &Nic, call: &Call<'_>, filter: &Filter) -> Option<bool> {
    let version = nic.at(call.as_of);
    let addresses = |primary: bool| {
        let held = version.addresses.iter();
        held.filter(move |held| !primary || held.primary)
            .map(|held| held.address.to_string())
    };
    Some(match filter.name.as_str() {
        "network-interface-id" => filter.admits([&nic.id]),
        "subnet-id" => filter.admits([&nic.subnet]),
        "vpc-id" => filter.admits([cloud.network_of(nic)]),
        "availability-zone" => filter.admits([&cloud.settings.zone]),
        "owner-id" => filter.admits([&cloud.settings.account]),
        "mac-address" => filter.admits([&nic.mac]),
        "status" => filter.admits(["in-use"]),
        "source-dest-check" => filter.admits([version.source_dest_check.to_string()]),
        "attachment.instance-id" => filter.admits([&nic.instance]),
        "attachment.device-index" => filter.admits([nic.device_index.to_string()]),
        "private-ip-address" => filter.admits(addresses(true)),
        "addresses.private-ip-address" => filter.admits(addresses(false)),
        name => return fits_tags(&nic.tags, name, filter),
    })
}

fn fits_instance(
    cloud: &Cloud,
    instance: &Instance,
    call: &Call<'_>,
    filter: &Filter,
) -> Option<bool> {
    let nics = cloud.nics_of(&instance.id);
    if let Some(rest) = filter.name.strip_prefix("network-interface.") {
        let inner = filter.renamed(rest);
        let mut fits = nics.iter().map(|nic| fits_nic(cloud, nic, call, &inner));
        return fits.try_fold(false, |any, fits| Some(any | fits?));
    }
    Some(match filter.name.as_str() {
        "instance-id" => filter.admits([&instance.id]),
        "instance-type" => filter.admits([&instance.kind]),
        "instance-state-name" => filter.admits([state(instance).name]),
        "subnet-id" | "vpc-id" | "private-ip-address" => nics
            .first()
            .is_some_and(|nic| fits_nic(cloud, nic, call, filter) == Some(true)),
        name => return fits_tags(&instance.tags, name, filter),
    })
}

fn fits_subnet(cloud: &Cloud, subnet: &Subnet, filter: &Filter) -> Option<bool> {
    Some(match filter.name.as_str() {
        "subnet-id" => filter.admits([&subnet.id]),
        "vpc-id" => filter.admits([&subnet.network]),
        "cidr-block" => filter.admits([subnet.prefix.to_string()]),
        "availability-zone" => filter.admits([&cloud.settings.zone]),
        "state" => filter.admits(["available"]),
        _ => return None,
    })
}

fn fits_tags(
    tags: &std::collections::BTreeMap<String, String>,
    name: &str,
    filter: &Filter,
) -> Option<bool> {
    if name == "tag-key" {
        return Some(filter.admits(tags.keys()));
    }
    let key = name.strip_prefix("tag:")?;
    Some(filter.admits(tags.get(key)))
}

fn description(nic: &Nic) -> String {
    format!("interface {} of {}", nic.device_index, nic.instance)
}

/// `tagSet` is called so at interfaces only; within an instance it is absent.
fn interface(cloud: &Cloud, nic: &Nic, call: &Call<'_>, with_tags: bool) -> Interface {
    let version = nic.at(call.as_of);
    let own = version.primary().map(|held| held.address);
    let account = cloud.settings.account.clone();
    Interface {
        network_interface_id: nic.id.clone(),
        subnet_id: nic.subnet.clone(),
        vpc_id: cloud.network_of(nic).to_owned(),
        availability_zone: cloud.settings.zone.clone(),
        description: description(nic),
        owner_id: account.clone(),
        status: "in-use",
        mac_address: nic.mac.clone(),
        private_ip_address: own.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        source_dest_check: version.source_dest_check,
        attachment: Attachment {
            attachment_id: nic.id.replacen("eni-", "eni-attach-", 1),
            instance_id: nic.instance.clone(),
            instance_owner_id: account,
            device_index: nic.device_index,
            status: "attached",
        },
        tag_set: with_tags.then(|| tags(&nic.tags)),
        private_ip_addresses_set: version
            .addresses
            .iter()
            .map(|held| PrivateAddress {
                private_ip_address: held.address,
                primary: held.primary,
            })
            .collect(),
        interface_type: "interface",
    }
}

fn machine(cloud: &Cloud, instance: &Instance, call: &Call<'_>) -> Machine {
    let nics = cloud.nics_of(&instance.id);
    let first = nics.first();
    let version = first.map(|nic| nic.at(call.as_of));
    Machine {
        instance_id: instance.id.clone(),
        instance_state: state(instance),
        instance_type: instance.kind.clone(),
        placement: Placement {
            availability_zone: cloud.settings.zone.clone(),
        },
        subnet_id: first.map(|nic| nic.subnet.clone()).unwrap_or_default(),
        vpc_id: first.map_or("", |nic| cloud.network_of(nic)).to_owned(),
        private_ip_address: version
            .and_then(|version| version.primary())
            .map(|held| held.address),
        source_dest_check: version.is_some_and(|version| version.source_dest_check),
        tag_set: tags(&instance.tags),
        network_interface_set: nics
            .iter()
            .map(|nic| interface(cloud, nic, call, false))
            .collect(),
        metadata_options: MetadataOptions {
            state: "applied",
            http_tokens: if instance.tokens_required {
                "required"
            } else {
                "optional"
            },
            http_put_response_hop_limit: instance.hop_limit,
            http_endpoint: "enabled",
        },
    }
}

const fn state(instance: &Instance) -> MachineState {
    if instance.running {
        MachineState {
            code: 16,
            name: "running",
        }
    } else {
        MachineState {
            code: 80,
            name: "stopped",
        }
    }
}

fn subnet_item(cloud: &Cloud, subnet: &Subnet) -> SubnetItem {
    let nics = cloud.nics.values().filter(|nic| nic.subnet == subnet.id);
    let used: usize = nics.map(|nic| nic.latest().addresses.len()).sum();
    let size = 2u32.saturating_pow(32 - u32::from(subnet.prefix.prefix_len()));
    // The first addresses and the last one are the provider's.
    let given = size.saturating_sub(cloud.provider.reserved() + 1);
    SubnetItem {
        subnet_id: subnet.id.clone(),
        vpc_id: subnet.network.clone(),
        state: "available",
        cidr_block: subnet.prefix.to_string(),
        available_ip_address_count: given.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)),
        availability_zone: cloud.settings.zone.clone(),
        owner_id: cloud.settings.account.clone(),
    }
}
