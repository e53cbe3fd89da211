//! Work requests: what bulkUpdatePrivateIps begins. Until one has ended nothing else changes its VNICs.

use std::collections::BTreeSet;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::change::{MOVE, move_one};
use super::private_ip::{body, find, keep};
use super::resource::ocid_of;
use super::{answer, hidden, idle, invalid, missing, permit, refused};
use crate::cloud::Cloud;
use crate::http::Response;
use crate::operation::{Operation, State};
use crate::wire::{Call, Problem};

/// BulkUpdatePrivateIps: many private IPs onto one VNIC. It looks at no etag.
pub(super) fn bulk_update(cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let body = body(call)?;
    let vnic = body.get("vnicId").and_then(Value::as_str);
    let vnic = vnic.ok_or_else(|| missing("vnicId"))?;
    let target = cloud.nics.get(vnic).ok_or_else(hidden)?;
    permit(cloud, call, &MOVE, Some(target))?;
    let items = body
        .get("bulkUpdatePrivateIpItem")
        .and_then(Value::as_array);
    let items = items.filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| missing("bulkUpdatePrivateIpItem"))?;
    let (items, cut) = call.portion(items.clone());
    let mut moves = Vec::new();
    for item in items {
        let id = item.get("privateIpId").and_then(Value::as_str);
        let id = id.ok_or_else(|| missing("privateIpId"))?.to_owned();
        let (nic, held) = find(cloud, &id)?;
        permit(cloud, call, &MOVE, Some(nic))?;
        if held.primary {
            return Err(invalid("A primary private IP cannot be updated."));
        }
        moves.push((id, nic, item));
    }
    let sources = moves.iter().map(|(_, nic, _)| nic.id.as_str());
    let nics: BTreeSet<&str> = sources.chain([vnic]).collect();
    for nic in &nics {
        idle(cloud, nic)?;
    }
    let mut edits = cloud.draft(nics);
    for (id, nic, item) in &moves {
        move_one(&mut edits, id, &nic.id, target, nic)?;
        let addresses = edits
            .values_mut()
            .flat_map(|version| &mut version.addresses);
        for held in addresses.filter(|held| held.name == *id) {
            if held.rest.is_null() {
                held.rest = json!({});
            }
            keep(item, &mut held.rest);
        }
    }
    let id = ocid_of(cloud, "coreservicesworkrequest", call.id);
    cloud
        .start(&call.cause(), id.clone(), edits, call.trouble)
        .map_err(|refusal| refused(&refusal))?;
    if cut {
        let message = "An internal error has occurred.";
        return Err(Problem::new(500, "InternalServerError", message));
    }
    let response = Response::empty(202).with("opc-request-id", call.id);
    Ok(response.with("opc-work-request-id", id))
}

fn request<'a>(cloud: &'a Cloud, id: &str) -> Result<&'a Operation, Problem> {
    let mut operations = cloud.operations.iter();
    let found = operations.find(|operation| operation.id == id);
    found.ok_or_else(hidden)
}

/// GetWorkRequest.
pub(super) fn get(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let operation = request(cloud, id)?;
    let (status, percent) = match operation.state {
        State::InProgress => ("IN_PROGRESS", 0.0),
        State::Succeeded => ("SUCCEEDED", 100.0),
        State::Failed(_) => ("FAILED", 100.0),
        State::Canceled => ("CANCELED", 100.0),
    };
    let accepted = operation.cause.now;
    let body = json!({
        "compartmentId": cloud.settings.group,
        "id": id,
        "operationType": "BULK_UPDATE_PRIVATE_IPS",
        "percentComplete": percent,
        "resources": [],
        "status": status,
        "timeAccepted": accepted.to_rfc3339_opts(SecondsFormat::Millis, true),
    });
    Ok(answer(call, 200, &body).with("retry-after", "1"))
}

/// ListWorkRequestErrors.
pub(super) fn errors(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let operation = request(cloud, id)?;
    let errors = match &operation.state {
        State::Failed(refusal) => {
            let problem = refusal.as_ref().map_or_else(
                || Problem::new(500, "InternalServerError", "failed on order of a fault"),
                refused,
            );
            let at = operation.ready.unwrap_or(operation.cause.now);
            let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
            vec![json!({ "code": problem.code, "message": problem.message, "timestamp": at })]
        }
        State::InProgress | State::Succeeded | State::Canceled => Vec::new(),
    };
    Ok(answer(call, 200, &Value::Array(errors)))
}
