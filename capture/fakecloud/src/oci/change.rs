//! Calls that change one private IP.

use std::net::Ipv4Addr;

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::private_ip::{CREATED, body, document, etag, find, keep};
use super::resource::ocid_of;
use super::{answer, hidden, idle, invalid, missing, permit, refused, unchanged};
use crate::cloud::{Cloud, Edits};
use crate::http::Response;
use crate::nic::{Holding, Nic};
use crate::wire::{Call, Problem};

/// What moving a private IP needs, also on both VNICs.
pub(super) const MOVE: [&str; 3] = ["PRIVATE_IP_UPDATE", "VNIC_ASSIGN", "VNIC_UNASSIGN"];

/// CreatePrivateIp, on a VNIC.
pub(super) fn create(cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let body = body(call)?;
    let vnic = text(&body, "vnicId").ok_or_else(|| missing("vnicId"))?;
    let nic = cloud.nics.get(vnic).ok_or_else(hidden)?;
    let needed = [
        "PRIVATE_IP_CREATE",
        "PRIVATE_IP_ASSIGN",
        "VNIC_ASSIGN",
        "SUBNET_ATTACH",
    ];
    permit(cloud, call, &needed, Some(nic))?;
    idle(cloud, vnic)?;
    let address = match text(&body, "ipAddress") {
        Some(text) => text
            .parse()
            .map_err(|_| invalid(format!("{text} is no IPv4 address.")))?,
        None => free(cloud, nic)
            .ok_or_else(|| Problem::new(400, "LimitExceeded", "The subnet is full."))?,
    };
    let id = ocid_of(cloud, "privateip", call.id);
    let created = call.now.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut rest = json!({ CREATED: created });
    keep(&Value::Object(body.clone()), &mut rest);
    let mut edits = cloud.draft([vnic]);
    for version in edits.values_mut() {
        let mut held = Holding::secondary(address, id.clone());
        held.rest = rest.clone();
        version.addresses.push(held);
    }
    commit(cloud, call, edits)?;
    shown(cloud, call, &id)
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}

/// The first address that nobody has.
fn free(cloud: &Cloud, nic: &Nic) -> Option<Ipv4Addr> {
    let network = cloud.network_of(nic);
    let subnet = cloud.subnets.get(&nic.subnet)?;
    subnet
        .prefix
        .hosts()
        .filter(|address| cloud.check_address(&nic.subnet, *address).is_ok())
        .find(|address| cloud.holder(network, *address).is_none())
}

fn commit(cloud: &mut Cloud, call: &Call<'_>, edits: Edits) -> Result<(), Problem> {
    cloud
        .commit(&call.cause(), edits)
        .map_err(|refusal| refused(&refusal))
}

fn shown(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let (nic, held) = find(cloud, id)?;
    let body = document(cloud, nic, held);
    Ok(answer(call, 200, &body).with("etag", etag(call.seal, held)))
}

/// UpdatePrivateIp: onto another VNIC of the subnet, under another name, or both.
///
/// 1. The caller may do it, on both VNICs.
/// 2. Nothing else happens to them, and If-Match is the private IP's etag.
/// 3. It is no primary one, and the other VNIC is in its subnet.
pub(super) fn update(cloud: &mut Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let (nic, held) = find(cloud, id)?;
    permit(cloud, call, &["PRIVATE_IP_UPDATE"], Some(nic))?;
    let body = body(call)?;
    let target = text(&body, "vnicId").unwrap_or(&nic.id);
    let target = cloud.nics.get(target).ok_or_else(hidden)?;
    if target.id != nic.id {
        permit(cloud, call, &MOVE, Some(nic))?;
        permit(cloud, call, &MOVE, Some(target))?;
    }
    idle(cloud, &nic.id)?;
    idle(cloud, &target.id)?;
    unchanged(call, &etag(call.seal, held))?;
    if held.primary {
        return Err(invalid("A primary private IP cannot be updated."));
    }
    let mut edits = cloud.draft([nic.id.as_str(), &target.id]);
    move_one(&mut edits, id, &nic.id, target, nic)?;
    for version in edits.values_mut() {
        for held in version.addresses.iter_mut().filter(|held| held.name == id) {
            if held.rest.is_null() {
                held.rest = json!({});
            }
            keep(&Value::Object(body.clone()), &mut held.rest);
        }
    }
    commit(cloud, call, edits)?;
    shown(cloud, call, id)
}

/// Takes a private IP from one VNIC and puts it on another.
pub(super) fn move_one(
    edits: &mut Edits,
    id: &str,
    from: &str,
    target: &Nic,
    source: &Nic,
) -> Result<(), Problem> {
    if target.id == from {
        return Ok(());
    }
    if target.subnet != source.subnet {
        return Err(invalid("The VNIC is not in the subnet of the private IP."));
    }
    let version = edits.get_mut(from).ok_or_else(hidden)?;
    let mut held = version.addresses.iter();
    let at = held.position(|held| held.name == id).ok_or_else(hidden)?;
    let held = version.addresses.remove(at);
    let version = edits.get_mut(&target.id).ok_or_else(hidden)?;
    version.addresses.push(held);
    Ok(())
}

/// DeletePrivateIp, wherever it is.
pub(super) fn delete(cloud: &mut Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let (nic, held) = find(cloud, id)?;
    let needed = [
        "PRIVATE_IP_DELETE",
        "PRIVATE_IP_UNASSIGN",
        "VNIC_UNASSIGN",
        "SUBNET_DETACH",
    ];
    permit(cloud, call, &needed, Some(nic))?;
    idle(cloud, &nic.id)?;
    unchanged(call, &etag(call.seal, held))?;
    if held.primary {
        return Err(invalid("A primary private IP cannot be deleted."));
    }
    let mut edits = cloud.draft([nic.id.as_str()]);
    for version in edits.values_mut() {
        version.addresses.retain(|held| held.name != id);
    }
    commit(cloud, call, edits)?;
    Ok(Response::empty(204).with("opc-request-id", call.id))
}
