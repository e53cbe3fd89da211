//! Instances and what VNICs they have, as the Compute part of the API lists them.

use serde_json::{Value, json};

use super::read::page;
use super::resource::ocid;
use super::{hidden, missing, permit};
use crate::cloud::{Cloud, Instance};
use crate::http::Response;
use crate::nic::Nic;
use crate::wire::{Call, Problem};

/// ListInstances, of a compartment.
pub(super) fn list(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    permit(cloud, call, &["INSTANCE_READ"], None)?;
    check_compartment(cloud, call)?;
    let instances = cloud.instances.values();
    let all = instances.map(|instance| document(cloud, instance));
    page(cloud, call, all.collect())
}

fn document(cloud: &Cloud, instance: &Instance) -> Value {
    let settings = &cloud.settings;
    json!({
        "availabilityDomain": settings.zone,
        "compartmentId": settings.group,
        "definedTags": {},
        "displayName": instance.id,
        "freeformTags": instance.tags,
        "id": instance.id,
        "lifecycleState": if instance.running { "RUNNING" } else { "STOPPED" },
        "region": settings.region,
        "shape": instance.kind,
        "timeCreated": "2020-01-01T00:00:00.000Z",
    })
}

/// ListVnicAttachments, of a compartment, and of that perhaps one instance or VNIC.
pub(super) fn attachments(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let needed = ["VNIC_ATTACHMENT_READ", "INSTANCE_INSPECT"];
    permit(cloud, call, &needed, None)?;
    check_compartment(cloud, call)?;
    let instance = call.request.query_value("instanceId");
    let vnic = call.request.query_value("vnicId");
    let nics = cloud.nics.values();
    let all = nics
        .filter(|nic| instance.as_ref().is_none_or(|id| *id == nic.instance))
        .filter(|nic| vnic.as_ref().is_none_or(|id| *id == nic.id))
        .map(|nic| attachment(cloud, nic));
    page(cloud, call, all.collect())
}

fn attachment(cloud: &Cloud, nic: &Nic) -> Value {
    let settings = &cloud.settings;
    json!({
        "availabilityDomain": settings.zone,
        "compartmentId": settings.group,
        "id": ocid("vnicattachment", &settings.region, &nic.id),
        "instanceId": nic.instance,
        "lifecycleState": "ATTACHED",
        "nicIndex": 0,
        "subnetId": nic.subnet,
        "timeCreated": "2020-01-01T00:00:00.000Z",
        "vnicId": nic.id,
    })
}

fn check_compartment(cloud: &Cloud, call: &Call<'_>) -> Result<(), Problem> {
    match call.request.query_value("compartmentId") {
        None => Err(missing("compartmentId")),
        Some(id) if id == cloud.settings.group => Ok(()),
        Some(_) => Err(hidden()),
    }
}
