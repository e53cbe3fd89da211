//! OCI's instance metadata service, version 2: facts as one tree, and the certificate that tokens are made from.

use serde_json::{Value, json};

use super::{certificate, key};
use crate::cloud::{Cloud, Instance};
use crate::http::Response;
use crate::wire::Question;

/// Answers `/opc/v2/...`; only to who says `Authorization: Bearer Oracle` and comes through no proxy.
pub(super) fn answer(cloud: &Cloud, question: &Question<'_>) -> Response {
    let Some(instance) = cloud.instances.get(question.instance) else {
        return Response::empty(404);
    };
    let Some(path) = question.path.strip_prefix("/opc/v2/") else {
        return Response::empty(404);
    };
    let request = question.request;
    if request.header("authorization") != Some("Bearer Oracle")
        || request.header("x-forwarded-for").is_some()
        || request.header("forwarded").is_some()
    {
        return Response::empty(403);
    }
    if request.method != "GET" {
        return Response::empty(405);
    }
    if let Some(file) = path.strip_prefix("identity/") {
        return identity(cloud, instance, file);
    }
    let tree = tree(cloud, instance, question);
    let mut node = Some(&tree);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        node = node.and_then(|node| match part.parse::<usize>() {
            Ok(index) => node.get(index),
            Err(_) => node.get(part),
        });
    }
    match node {
        None => Response::empty(404),
        Some(Value::String(text)) => Response::text(200, text.as_str()),
        Some(value) => Response::json(200, value),
    }
}

fn identity(cloud: &Cloud, instance: &Instance, file: &str) -> Response {
    let text = match file {
        "cert.pem" => {
            certificate::of_instance(cloud, &instance.id).map(|der| certificate::pem(&der))
        }
        "intermediate.pem" => certificate::of_issuer().map(|der| certificate::pem(&der)),
        "key.pem" => Some(key::lab_key_pem().to_owned()),
        _ => None,
    };
    text.map_or_else(|| Response::empty(404), |text| Response::text(200, text))
}

fn tree(cloud: &Cloud, instance: &Instance, question: &Question<'_>) -> Value {
    let settings = &cloud.settings;
    let vnics: Vec<Value> = cloud
        .nics_of(&instance.id)
        .iter()
        .map(|nic| {
            let subnet = cloud.subnets.get(&nic.subnet).map(|subnet| subnet.prefix);
            let router = subnet.and_then(|prefix| prefix.hosts().next());
            json!({
                "vnicId": nic.id,
                "privateIp": nic.at(question.as_of).primary().map(|held| held.address),
                "vlanTag": 0,
                "macAddr": nic.mac.to_uppercase(),
                "virtualRouterIp": router,
                "subnetCidrBlock": subnet,
            })
        })
        .collect();
    json!({
        "instance": {
            "id": instance.id,
            "displayName": instance.id,
            "compartmentId": settings.group,
            "tenantId": settings.account,
            "region": settings.region,
            "canonicalRegionName": settings.region,
            "availabilityDomain": settings.zone,
            "shape": instance.kind,
            "state": "Running",
            "freeformTags": instance.tags,
            "regionInfo": {
                "realmKey": "oc1",
                "realmDomainComponent": "oraclecloud.com",
                "regionIdentifier": settings.region,
            },
        },
        "vnics": vnics,
    })
}
