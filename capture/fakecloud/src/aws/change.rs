//! EC2 calls that change: a batch of addresses on one interface, all or nothing, and the source/dest check.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::parameters::{Parameters, invalid, missing};
use super::shapes::{Assigned, AssignedAddress, Done, answer};
use super::{permit, refused};
use crate::cloud::Cloud;
use crate::http::Response;
use crate::nic::Holding;
use crate::wire::{Call, Problem};

/// AssignPrivateIpAddresses.
///
/// 1. An address that the interface has already stays: that is success.
/// 2. One that another has is taken from it if that is allowed and it is not that one's primary address.
/// 3. One bad address fails them all.
pub(super) fn assign(
    cloud: &mut Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    let id = parameters.required("NetworkInterfaceId")?;
    let nic = cloud.nic(id).map_err(|refusal| refused(&refusal))?;
    permit(cloud, call, parameters, Some(nic))?;
    let addresses = wanted(cloud, call, id, parameters)?;
    let moves = parameters.flag("AllowReassignment")?;
    let (addresses, cut) = call.portion(addresses);
    let network = cloud.network_of(nic);
    let holders = addresses.iter();
    let holders = holders.filter_map(|address| cloud.holder(network, *address));
    let sources = holders.filter(|(holder, held)| moves && !held.primary && holder.id != id);
    let ids: BTreeSet<&str> = sources.map(|(holder, _)| holder.id.as_str()).collect();
    let mut edits = cloud.draft(ids.into_iter().chain([id]));
    for (edited, version) in &mut edits {
        if edited == id {
            for address in &addresses {
                if version.holding(*address).is_none() {
                    version.addresses.push(Holding::secondary(*address, ""));
                }
            }
        } else {
            version
                .addresses
                .retain(|held| held.primary || !addresses.contains(&held.address));
        }
    }
    cloud
        .commit(&call.cause(), edits)
        .map_err(|refusal| refused(&refusal))?;
    whole(cut)?;
    let assigned = addresses
        .into_iter()
        .map(|private_ip_address| AssignedAddress { private_ip_address });
    let body = Assigned {
        network_interface_id: id.to_owned(),
        assigned_private_ip_addresses_set: assigned.collect(),
        done: true,
    };
    Ok(answer(call.operation, call.id, &body))
}

/// The addresses that are named, or as many free ones as are asked for.
fn wanted(
    cloud: &Cloud,
    call: &Call<'_>,
    nic: &str,
    parameters: &Parameters,
) -> Result<Vec<Ipv4Addr>, Problem> {
    let named = parameters.addresses("PrivateIpAddress")?;
    let count = parameters.number("SecondaryPrivateIpAddressCount")?;
    match (named.is_empty(), count) {
        (false, None) => Ok(named),
        (true, Some(count)) => free(cloud, nic, count.min(MAX_COUNT)),
        (true, None) => Err(missing("privateIpAddressSet")),
        (false, Some(_)) => {
            let message = format!(
                "{} takes either addresses or their number, not both",
                call.operation
            );
            Err(Problem::new(400, "InvalidParameterCombination", message))
        }
    }
}

/// More than any interface may have.
const MAX_COUNT: usize = 256;

/// Finds addresses of the interface's subnet that nobody has.
fn free(cloud: &Cloud, nic: &str, count: usize) -> Result<Vec<Ipv4Addr>, Problem> {
    let nic = cloud.nic(nic).map_err(|refusal| refused(&refusal))?;
    let subnet = cloud.subnets.get(&nic.subnet);
    let hosts = subnet.into_iter().flat_map(|subnet| subnet.prefix.hosts());
    let network = cloud.network_of(nic);
    let found: Vec<Ipv4Addr> = hosts
        .filter(|address| cloud.check_address(&nic.subnet, *address).is_ok())
        .filter(|address| cloud.holder(network, *address).is_none())
        .take(count)
        .collect();
    if found.len() < count {
        let message =
            "The specified subnet does not have enough free addresses to satisfy the request.";
        return Err(Problem::new(
            400,
            "InsufficientFreeAddressesInSubnet",
            message,
        ));
    }
    Ok(found)
}

/// UnassignPrivateIpAddresses: of this interface only, whoever asks.
pub(super) fn unassign(
    cloud: &mut Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    let id = parameters.required("NetworkInterfaceId")?;
    let nic = cloud.nic(id).map_err(|refusal| refused(&refusal))?;
    permit(cloud, call, parameters, Some(nic))?;
    let addresses = parameters.addresses("PrivateIpAddress")?;
    if addresses.is_empty() {
        return Err(missing("privateIpAddressSet"));
    }
    for address in &addresses {
        match nic.latest().holding(*address) {
            Some(held) if held.primary => {
                return Err(invalid("privateIpAddress", &address.to_string()));
            }
            Some(_) => {}
            None => {
                let message =
                    format!("Some of the specified addresses are not assigned to interface {id}");
                return Err(Problem::new(400, "InvalidParameterValue", message));
            }
        }
    }
    let (addresses, cut) = call.portion(addresses);
    let mut edits = cloud.draft([id]);
    for version in edits.values_mut() {
        version
            .addresses
            .retain(|held| !addresses.contains(&held.address));
    }
    cloud
        .commit(&call.cause(), edits)
        .map_err(|refusal| refused(&refusal))?;
    whole(cut)?;
    Ok(answer(call.operation, call.id, &Done { done: true }))
}

/// ModifyNetworkInterfaceAttribute, of the source/dest check.
pub(super) fn modify(
    cloud: &mut Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
) -> Result<Response, Problem> {
    let id = parameters.required("NetworkInterfaceId")?;
    let nic = cloud.nic(id).map_err(|refusal| refused(&refusal))?;
    permit(cloud, call, parameters, Some(nic))?;
    parameters.required("SourceDestCheck.Value")?;
    let check = parameters.flag("SourceDestCheck.Value")?;
    let mut edits = cloud.draft([id]);
    for version in edits.values_mut() {
        version.source_dest_check = check;
    }
    cloud
        .commit(&call.cause(), edits)
        .map_err(|refusal| refused(&refusal))?;
    Ok(answer(call.operation, call.id, &Done { done: true }))
}

/// A batch that a fault cut short ends as a server error.
fn whole(cut: bool) -> Result<(), Problem> {
    if cut {
        let message = "An internal error has occurred";
        return Err(Problem::new(500, "InternalError", message));
    }
    Ok(())
}
