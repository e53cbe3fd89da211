//! Azure: a lab with three machines, its documents, and somebody who edits by hand.

mod changing;
mod links;
mod looking;
mod watching;

use std::collections::BTreeSet;
use std::time::Duration;

use sam_capture::provider::{ErrorClass, NicId, Outcome, ProviderError};
use sam_cloud::azure::Azure;
use sam_cloud::http::{Call, Method};
use serde_json::{Value, json};

use crate::lab::{Lab, address, instance};

pub(super) const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-lab";
pub(super) const PUT: &str = "PutNetworkInterface";
pub(super) const GET: &str = "GetNetworkInterface";
pub(super) const LIST: &str = "ListNetworkInterfaces";
pub(super) const MOVE: &str = "MoveIpConfigurations";
pub(super) const MACHINES: &str = "ListResources";
pub(super) const MOVING: &str = "Microsoft.Network/virtualNetworks/moveIpConfigurations/action";
pub(super) const WRITING: &str = "Microsoft.Network/networkInterfaces/write";

pub(super) fn scenario() -> Value {
    let mut scenario = json!({"seed": 7, "azure": {
        "region": "westeurope", "account": "00000000-0000-0000-0000-000000000001", "group": "rg-lab",
        "atomicMove": true,
        "subnets": [{"id": "subnet-a", "network": "vnet-lab", "prefix": "10.77.60.0/24"}],
        "roles": {
            "router": {"allow": ["Microsoft.Network/*", "Microsoft.Compute/virtualMachines/read",
                "Microsoft.Authorization/permissions/read"]},
            "reader": {"allow": ["*/read"]},
        },
        "keys": [{"id": "laptop", "secret": "azure-token", "role": "router"}],
        "instances": [
            instance("vm-a", "Standard_B2s", "nic-a", 10),
            instance("vm-b", "Standard_B2s", "nic-b", 11),
            instance("vm-c", "Standard_B2s", "nic-c", 20),
        ],
    }});
    scenario["azure"]["instances"][0]["nics"][0]["document"] = json!({"properties": {
        "enableAcceleratedNetworking": true, "ofTheFuture": {"kept": [1, 2.5, null]},
    }});
    scenario
}

pub(super) fn lab() -> Lab {
    Lab::serve(scenario())
}

/// A lab whose operations take as long.
pub(super) fn slow_lab(milliseconds: u32) -> Lab {
    let mut slow = scenario();
    slow["azure"]["latency"] = json!({"operationMs": milliseconds});
    Lab::serve(slow)
}

pub(super) fn nic(name: &str) -> NicId {
    NicId(format!(
        "{GROUP}/providers/Microsoft.Network/networkInterfaces/{name}"
    ))
}

/// The router on a machine of [`scenario`]; the other router is its only member.
pub(super) fn router(lab: &Lab, name: char) -> Azure {
    router_within(lab, name, Duration::from_secs(20))
}

pub(super) fn router_within(lab: &Lab, name: char, operation: Duration) -> Azure {
    let (mac, other) = if name == 'a' {
        ("02:00:00:00:0a:0a", "nic-b")
    } else {
        ("02:00:00:00:0a:0b", "nic-a")
    };
    let mut settings = lab.settings(&format!("vm-{name}"), mac);
    settings.timeouts.operation = operation;
    Azure::new(&settings, BTreeSet::from([nic(other)]), None).expect("a client")
}

pub(super) fn by_hand(lab: &Lab, method: Method, name: &str, body: Option<&Value>) -> Value {
    let url = format!("{}{}?api-version=2024-07-01", lab.url, nic(name));
    let mut call = Call::new(method, url, Duration::from_secs(5));
    call = call.with("authorization", "Bearer azure-token");
    if let Some(body) = body {
        call.body = body.to_string().into_bytes();
    }
    let answer = lab.call(&call);
    assert!(answer.is_success(), "{name}: {}", answer.status);
    serde_json::from_slice(&answer.body).expect("a document")
}

pub(super) fn document(lab: &Lab, name: &str) -> Value {
    by_hand(lab, Method::Get, name, None)
}

/// Somebody tags a NIC.
pub(super) fn tag(lab: &Lab, name: &str) {
    let mut body = document(lab, name);
    body["tags"]["by"] = json!("hand");
    by_hand(lab, Method::Put, name, Some(&body));
}

/// Somebody configures an address of a NIC.
pub(super) fn configure(lab: &Lab, name: &str, octet: u8) {
    let mut body = document(lab, name);
    let list = body["properties"]["ipConfigurations"]
        .as_array_mut()
        .expect("a list");
    let mut entry = json!({"name": "by-hand", "properties": {"privateIPAddress": address(octet)}});
    entry["properties"]["subnet"] = list[0]["properties"]["subnet"].clone();
    list.push(entry);
    by_hand(lab, Method::Put, name, Some(&body));
}

/// What of a document is not ours to change.
pub(super) fn rest(mut document: Value) -> Value {
    document["etag"].take();
    document["properties"]["ipConfigurations"].take();
    document
}

pub(super) fn failed(outcome: Result<Outcome, ProviderError>) -> (ErrorClass, String) {
    let failed = outcome.expect_err("refused");
    (failed.class, failed.code)
}
