//! A VNIC: its document, its etag, which only its own changes move, and its source/destination check.

use serde_json::{Value, json};

use super::private_ip::{body, keep};
use super::{answer, hidden, idle, invalid, permit, refused, unchanged};
use crate::cloud::Cloud;
use crate::http::Response;
use crate::nic::{Nic, Version};
use crate::seal::Seal;
use crate::wire::{Call, Problem};

/// Where a version keeps the number of the latest change of the VNIC itself.
const REVISION: &str = "revision";

fn etag(seal: &Seal, nic: &Nic, version: &Version) -> String {
    let revision = version.rest.get(REVISION).and_then(Value::as_u64);
    seal.uuid(&format!("{} {}", nic.id, revision.unwrap_or(1)))
}

fn document(cloud: &Cloud, nic: &Nic, version: &Version) -> Value {
    let settings = &cloud.settings;
    let mut document = json!({
        "availabilityDomain": settings.zone,
        "compartmentId": settings.group,
        "definedTags": {},
        "displayName": nic.instance,
        "freeformTags": nic.tags,
        "id": nic.id,
        "isPrimary": nic.device_index == 0,
        "lifecycleState": "AVAILABLE",
        "macAddress": nic.mac.to_uppercase(),
        "nsgIds": [],
        "privateIp": version.primary().map(|held| held.address),
        "skipSourceDestCheck": !version.source_dest_check,
        "subnetId": nic.subnet,
        "timeCreated": "2020-01-01T00:00:00.000Z",
    });
    keep(&version.rest, &mut document);
    document
}

/// GetVnic.
pub(super) fn get(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    permit(cloud, call, &["VNIC_READ"], None)?;
    let nic = cloud.nics.get(id).ok_or_else(hidden)?;
    let version = nic.at(call.as_of);
    let body = document(cloud, nic, version);
    Ok(answer(call, 200, &body).with("etag", etag(call.seal, nic, version)))
}

/// UpdateVnic.
pub(super) fn update(cloud: &mut Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let nic = cloud.nics.get(id).ok_or_else(hidden)?;
    permit(cloud, call, &["VNIC_UPDATE"], Some(nic))?;
    idle(cloud, id)?;
    unchanged(call, &etag(call.seal, nic, nic.latest()))?;
    let body = body(call)?;
    let skip = match body.get("skipSourceDestCheck") {
        None => None,
        Some(Value::Bool(skip)) => Some(*skip),
        Some(_) => return Err(invalid("skipSourceDestCheck is neither true nor false.")),
    };
    let number = cloud.sequence + 1;
    let mut edits = cloud.draft([id]);
    for version in edits.values_mut() {
        let before = version.clone();
        version.source_dest_check = skip.map_or(before.source_dest_check, |skip| !skip);
        if version.rest.is_null() {
            version.rest = json!({});
        }
        keep(&Value::Object(body.clone()), &mut version.rest);
        if !version.same(&before) {
            version.rest[REVISION] = json!(number);
        }
    }
    cloud
        .commit(&call.cause(), edits)
        .map_err(|refusal| refused(&refusal))?;
    get_latest(cloud, call, id)
}

fn get_latest(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let nic = cloud.nics.get(id).ok_or_else(hidden)?;
    let version = nic.latest();
    let body = document(cloud, nic, version);
    Ok(answer(call, 200, &body).with("etag", etag(call.seal, nic, version)))
}
