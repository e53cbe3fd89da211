//! Calls that read.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::interface::{document, etag, etag_of, malformed};
use super::resource::{interface_id, machine_id};
use super::{answer, not_found, permit, refused};
use crate::cloud::Cloud;
use crate::http::Response;
use crate::nic::Nic;
use crate::operation::State;
use crate::wire::{Call, Problem};

const READ: &str = "Microsoft.Network/networkInterfaces/read";

pub(super) fn interface(cloud: &Cloud, call: &Call<'_>, name: &str) -> Result<Response, Problem> {
    let id = interface_id(cloud, name);
    permit(cloud, call, READ, &id, None)?;
    let nic = cloud.nics.get(name).ok_or_else(|| not_found(&id))?;
    let body = current(cloud, call, nic);
    let etag = body["etag"].as_str().unwrap_or_default().to_owned();
    Ok(answer(call, 200, &body).with("etag", etag))
}

/// The document as it is read at the call's time; an operation under way shows as such.
fn current(cloud: &Cloud, call: &Call<'_>, nic: &Nic) -> Value {
    let version = nic.at(call.as_of);
    if version != nic.latest() {
        let old = etag(call.seal, version.etag);
        return document(cloud, call.seal, nic, version, "Succeeded", &old);
    }
    let under_way = cloud.under_way(&nic.id).is_some();
    let state = if under_way { "Updating" } else { "Succeeded" };
    let etag = etag_of(cloud, call.seal, nic);
    document(cloud, call.seal, nic, version, state, &etag)
}

/// All interfaces, a page at a time.
pub(super) fn interfaces(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    permit(cloud, call, READ, &call.request.path, None)?;
    let start = match call.request.query_value("$skiptoken") {
        None => 0,
        Some(token) => call
            .seal
            .open("page", &token)
            .ok_or_else(|| malformed("the $skiptoken is not ours"))?,
    };
    let size = cloud.settings.page_size;
    let shown = cloud.nics.values().skip(start).take(size);
    let documents: Vec<Value> = shown.map(|nic| current(cloud, call, nic)).collect();
    let mut body = json!({ "value": documents });
    let end = start.saturating_add(size);
    if end < cloud.nics.len() {
        let host = call.request.header("host").unwrap_or_default();
        let version = call.request.query_value("api-version").unwrap_or_default();
        let token = call.seal.close("page", &end);
        let path = &call.request.path;
        let link = format!("http://{host}{path}?api-version={version}&$skiptoken={token}");
        body["nextLink"] = Value::String(link);
    }
    Ok(answer(call, 200, &body))
}

pub(super) fn machine(cloud: &Cloud, call: &Call<'_>, name: &str) -> Result<Response, Problem> {
    let id = machine_id(cloud, name);
    let action = "Microsoft.Compute/virtualMachines/read";
    permit(cloud, call, action, &id, None)?;
    let instance = cloud.instances.get(name).ok_or_else(|| not_found(&id))?;
    let nics: Vec<Value> = cloud
        .nics_of(name)
        .iter()
        .map(|nic| {
            let primary = nic.device_index == 0;
            json!({ "id": interface_id(cloud, &nic.id), "properties": { "primary": primary } })
        })
        .collect();
    let body = json!({
        "name": name,
        "id": id,
        "type": "Microsoft.Compute/virtualMachines",
        "location": cloud.settings.region,
        "tags": instance.tags,
        "properties": {
            "vmId": call.seal.uuid(name),
            "hardwareProfile": { "vmSize": instance.kind },
            "provisioningState": "Succeeded",
            "networkProfile": { "networkInterfaces": nics },
        },
    });
    Ok(answer(call, 200, &body))
}

/// The state of an operation; a failed one is a success to have asked for.
pub(super) fn operation(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    let action = "Microsoft.Network/locations/operations/read";
    permit(cloud, call, action, &call.request.path, None)?;
    let mut operations = cloud.operations.iter();
    let operation = operations
        .find(|operation| operation.id == id)
        .ok_or_else(|| not_found(&call.request.path))?;
    let body = match &operation.state {
        State::InProgress => json!({ "status": "InProgress" }),
        State::Succeeded => json!({ "status": "Succeeded" }),
        State::Canceled => json!({
            "status": "Canceled",
            "error": {
                "code": "CanceledAndSupersededDueToAnotherOperation",
                "message": "The operation was superseded by another one.",
            },
        }),
        State::Failed(refusal) => {
            let problem = refusal.as_ref().map_or_else(
                || Problem::new(500, "InternalServerError", "failed on order of a fault"),
                |refusal| refused(cloud, refusal, ""),
            );
            let error = json!({ "code": problem.code, "message": problem.message });
            json!({ "status": "Failed", "error": error })
        }
    };
    let response = answer(call, 200, &body);
    Ok(if operation.state == State::InProgress {
        response.with("retry-after", "1")
    } else {
        response
    })
}

pub(super) fn availability(
    cloud: &Cloud,
    call: &Call<'_>,
    network: &str,
) -> Result<Response, Problem> {
    let action = "Microsoft.Network/virtualNetworks/read";
    permit(cloud, call, action, &call.request.path, None)?;
    let text = call.request.query_value("ipAddress").unwrap_or_default();
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| malformed(&format!("{text} is no IP address")))?;
    let subnets = cloud.subnets.values();
    let mut subnets = subnets.filter(|subnet| subnet.network == network);
    let inside = subnets.any(|subnet| cloud.check_address(&subnet.id, address).is_ok());
    let free = inside && cloud.holder(network, address).is_none();
    let body =
        json!({ "available": free, "availableIPAddresses": [], "isPlatformReserved": !inside });
    Ok(answer(call, 200, &body))
}

pub(super) fn permissions(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let action = "Microsoft.Authorization/permissions/read";
    permit(cloud, call, action, &call.request.path, None)?;
    let policy = cloud.roles.get(&call.principal.role);
    let actions = policy
        .map(|policy| policy.allow.clone())
        .unwrap_or_default();
    let body = json!({ "value": [{ "actions": actions, "notActions": [] }] });
    Ok(answer(call, 200, &body))
}
