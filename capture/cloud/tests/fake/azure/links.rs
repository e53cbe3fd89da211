//! Where answers lead: operations that are told by a location only, and links to elsewhere.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use sam_capture::provider::{ErrorClass, Operation};
use sam_cloud::Settings;
use sam_cloud::azure::Azure;
use serde_json::{Value, json};

use super::{failed, nic};
use crate::lab::{Asking, address, addresses};
use crate::stub::{Stub, respond};

/// The machine that a stub speaks of.
fn machine() -> (Value, Value) {
    let id = nic("nic-a")
        .0
        .replace("Microsoft.Network/networkInterfaces/nic-a", "");
    let machine = format!("{id}Microsoft.Compute/virtualMachines/vm-a");
    let facts = json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud", "location": "westeurope", "resourceGroupName": "rg-lab",
            "subscriptionId": "00000000-0000-0000-0000-000000000001", "resourceId": machine,
        },
        "network": {"interface": [{
            "macAddress": "02000000000A", "ipv4": {"subnet": [{"address": "10.77.60.0", "prefix": "24"}]},
        }]},
    });
    let interfaces = json!([{"id": nic("nic-a").0}]);
    let machine = json!({"properties": {"networkProfile": {"networkInterfaces": interfaces}}});
    (facts, machine)
}

/// Its NIC, with further addresses.
fn document(octets: &[u8]) -> Value {
    let subnet = nic("x")
        .0
        .replace("networkInterfaces/x", "virtualNetworks/v/subnets/s");
    let entry = |octet: &u8| {
        json!({"name": format!("c{octet}"), "id": format!("{}/ipConfigurations/c{octet}", nic("nic-a")), "properties": {
            "primary": *octet == 10, "privateIPAddress": address(*octet), "subnet": {"id": subnet},
        }})
    };
    let list: Vec<Value> = std::iter::once(&10).chain(octets).map(entry).collect();
    json!({"id": nic("nic-a").0, "etag": "W/\"1\"", "properties": {
        "macAddress": "02-00-00-00-00-0A", "provisioningState": "Succeeded", "ipConfigurations": list,
    }})
}

/// Serves metadata and the machine; the rest is up to `other`, which is told what was asked for.
fn serve(other: impl Fn(&str, TcpStream) + Send + 'static) -> (Stub, Azure) {
    let (facts, machine) = machine();
    let stub = Stub::serve(move |head, stream| {
        let line = head.lines().next().unwrap_or_default();
        let token = r#"{"access_token": "hunter2", "expires_in": "3600"}"#;
        if line.contains("/metadata/instance") {
            respond(stream, "200 OK", &facts.to_string());
        } else if line.contains("/metadata/identity") {
            respond(stream, "200 OK", token);
        } else if line.contains("/virtualMachines/") {
            respond(stream, "200 OK", &machine.to_string());
        } else {
            other(line, stream);
        }
    });
    let mut settings = Settings::new("02:00:00:00:00:0a".parse().expect("an address"));
    settings.endpoints.api = Some(stub.url());
    settings.endpoints.metadata = Some(stub.url());
    let azure = Azure::new(&settings, BTreeSet::new(), None).expect("a client");
    (stub, azure)
}

fn send(mut stream: TcpStream, status: &str, header: &str) {
    let text = format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: 2\r\n\r\n{{}}");
    stream.write_all(text.as_bytes()).expect("a reader");
}

#[test]
fn an_operation_that_is_told_by_its_location_is_followed() {
    let polls = AtomicUsize::new(0);
    let (stub, mut azure) = serve(move |line, stream| {
        let done = polls.load(Ordering::Relaxed) >= 2;
        if line.starts_with("PUT") {
            let url = format!(
                "location: http://{}/operation",
                stream.local_addr().expect("an address")
            );
            send(stream, "201 Created", &url);
        } else if line.starts_with("GET /operation") {
            polls.fetch_add(1, Ordering::Relaxed);
            send(
                stream,
                if done { "200 OK" } else { "202 Accepted" },
                "retry-after: 0",
            );
        } else {
            let held: &[u8] = if done { &[30] } else { &[] };
            respond(stream, "200 OK", &document(held).to_string());
        }
    });
    azure.assign(&[30]).expect("in the end");
    let polled = stub
        .requests
        .try_iter()
        .filter(|(_, head)| head.contains("GET /operation"));
    assert_eq!(polled.count(), 3);
}

#[test]
fn a_link_to_elsewhere_is_not_followed_with_a_token() {
    let elsewhere = Stub::serve(|_, stream| respond(stream, "200 OK", r#"{"value": []}"#));
    let url = elsewhere.url();
    let (_stub, mut azure) = serve(move |line, stream| {
        if line.starts_with("PUT") {
            send(
                stream,
                "200 OK",
                &format!("azure-asyncoperation: {url}/operation"),
            );
        } else if line.contains("/networkInterfaces?") {
            let list = json!({"value": [document(&[])], "nextLink": format!("{url}/more")});
            respond(stream, "200 OK", &list.to_string());
        } else {
            respond(stream, "200 OK", &document(&[]).to_string());
        }
    });
    let refused = failed(azure.ask(&Operation::Inventory));
    assert_eq!(refused, (ErrorClass::Permanent, "ForeignLink".into()));
    // The change was sent; where it is told what became of it is not asked, the interface is.
    let open = failed(azure.ask(&Operation::Assign {
        addresses: addresses(&[30]),
        version: None,
    }));
    assert_eq!(open, (ErrorClass::Unknown, "NotShown".into()));
    assert!(elsewhere.requests.try_recv().is_err());
}

#[test]
fn a_list_without_end_is_no_answer() {
    let (_stub, mut azure) = serve(|line, stream| {
        if line.contains("/networkInterfaces?") {
            let link = format!(
                "http://{}/networkInterfaces?again",
                stream.local_addr().expect("an address")
            );
            let list = json!({"value": [document(&[])], "nextLink": link});
            respond(stream, "200 OK", &list.to_string());
        } else {
            respond(stream, "200 OK", &document(&[]).to_string());
        }
    });
    let refused = failed(azure.ask(&Operation::Inventory));
    assert_eq!(refused, (ErrorClass::Unavailable, "TooMuch".into()));
}
