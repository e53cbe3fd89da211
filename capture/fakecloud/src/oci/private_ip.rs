//! A private IP as a document, and where it is.

use serde_json::{Map, Value, json};

use super::{hidden, invalid};
use crate::cloud::Cloud;
use crate::nic::{Holding, Nic};
use crate::seal::Seal;
use crate::wire::{Call, Problem};

/// Fields that a client writes, and gets back as they were.
const KEPT: [&str; 4] = [
    "displayName",
    "freeformTags",
    "definedTags",
    "hostnameLabel",
];

/// Where a private IP keeps the time of its creation.
pub(super) const CREATED: &str = "timeCreated";

/// Writes the etag of a private IP.
pub(super) fn etag(seal: &Seal, held: &Holding) -> String {
    seal.uuid(&format!("private IP {}", held.etag))
}

/// Writes the document of a private IP.
pub(super) fn document(cloud: &Cloud, nic: &Nic, held: &Holding) -> Value {
    let settings = &cloud.settings;
    let created = held.rest.get(CREATED).and_then(Value::as_str);
    let mut document = json!({
        "availabilityDomain": settings.zone,
        "compartmentId": settings.group,
        "definedTags": {},
        "displayName": format!("privateip{}", held.address),
        "freeformTags": {},
        "id": held.name,
        "ipAddress": held.address,
        "ipState": "ASSIGNED",
        "isPrimary": held.primary,
        "lifetime": "EPHEMERAL",
        "subnetId": nic.subnet,
        "timeCreated": created.unwrap_or("2020-01-01T00:00:00.000Z"),
        "vnicId": nic.id,
    });
    keep(&held.rest, &mut document);
    document
}

/// Writes what a client may write over the rest.
pub(super) fn keep(from: &Value, to: &mut Value) {
    for name in KEPT {
        if let Some(value) = from.get(name).filter(|value| !value.is_null()) {
            to[name] = value.clone();
        }
    }
}

/// Finds a private IP that is there now.
pub(super) fn find<'a>(cloud: &'a Cloud, id: &str) -> Result<(&'a Nic, &'a Holding), Problem> {
    let mut nics = cloud.nics.values();
    let found = nics.find_map(|nic| {
        let mut held = nic.latest().addresses.iter();
        Some((nic, held.find(|held| held.name == id)?))
    });
    found.ok_or_else(hidden)
}

/// Reads the body of a call: an object whose fields are of the types they should be.
pub(super) fn body(call: &Call<'_>) -> Result<Map<String, Value>, Problem> {
    let body: Value = serde_json::from_slice(&call.request.body)
        .map_err(|error| invalid(format!("The body cannot be read: {error}")))?;
    let Value::Object(body) = body else {
        return Err(invalid("The body is no object."));
    };
    for name in ["vnicId", "ipAddress", "displayName", "hostnameLabel"] {
        if body.get(name).is_some_and(|value| !value.is_string()) {
            return Err(invalid(format!("{name} is no text.")));
        }
    }
    let texts = |value: &Value| {
        let tags = value.as_object();
        tags.is_some_and(|tags| tags.values().all(Value::is_string))
    };
    if body.get("freeformTags").is_some_and(|value| !texts(value)) {
        return Err(invalid("freeformTags are no texts."));
    }
    if body
        .get("lifetime")
        .is_some_and(|value| value != "EPHEMERAL")
    {
        return Err(invalid("Only EPHEMERAL private IPs are known here."));
    }
    Ok(body)
}
