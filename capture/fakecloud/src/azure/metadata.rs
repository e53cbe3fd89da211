//! Azure's instance metadata service: facts about the instance, and tokens of its identity.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Bearer;
use super::resource::machine_id;
use crate::cloud::{Cloud, Instance};
use crate::http::Response;
use crate::wire::Question;

/// How long a token is good.
const TOKEN_HOURS: i64 = 24;

/// Answers `/metadata/...`; only to who says `Metadata: true` and comes through no proxy.
pub(super) fn answer(cloud: &Cloud, question: &Question<'_>) -> Response {
    let Some(instance) = cloud.instances.get(question.instance) else {
        return Response::empty(404);
    };
    let request = question.request;
    let said = request.header("metadata");
    if !said.is_some_and(|text| text.eq_ignore_ascii_case("true"))
        || request.header("x-forwarded-for").is_some()
    {
        return bad_request("Required metadata header not specified or the request was forwarded.");
    }
    if request.query_value("api-version").is_none() {
        return bad_request("Required query variable 'api-version' not specified.");
    }
    match (request.method.as_str(), question.path.trim_end_matches('/')) {
        ("GET", "/metadata/instance") => Response::json(200, &facts(cloud, instance, question)),
        ("GET", "/metadata/identity/oauth2/token") => token(instance, question),
        _ => Response::json(404, &json!({ "error": "Not found" })),
    }
}

fn bad_request(message: &str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": message });
    Response::json(400, &body)
}

fn facts(cloud: &Cloud, instance: &Instance, question: &Question<'_>) -> Value {
    let settings = &cloud.settings;
    let nics = cloud.nics_of(&instance.id);
    let interfaces: Vec<Value> = nics
        .iter()
        .map(|nic| {
            let held = nic.at(question.as_of).addresses.iter();
            let addresses: Vec<Value> = held
                .map(|held| json!({ "privateIpAddress": held.address, "publicIpAddress": "" }))
                .collect();
            let subnet = cloud.subnets.get(&nic.subnet).map(|subnet| subnet.prefix);
            let subnet = subnet.map(|prefix| {
                json!({ "address": prefix.network(), "prefix": prefix.prefix_len().to_string() })
            });
            json!({
                "ipv4": { "ipAddress": addresses, "subnet": [subnet] },
                "ipv6": { "ipAddress": [] },
                "macAddress": nic.mac.to_uppercase().replace(':', ""),
            })
        })
        .collect();
    json!({
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "location": settings.region,
            "name": instance.id,
            "resourceGroupName": settings.group,
            "resourceId": machine_id(cloud, &instance.id),
            "subscriptionId": settings.account,
            "vmId": question.seal.uuid(&instance.id),
            "vmSize": instance.kind,
            "zone": settings.zone,
        },
        "network": { "interface": interfaces },
    })
}

fn token(instance: &Instance, question: &Question<'_>) -> Response {
    let Some(audience) = question.request.query_value("resource") else {
        return bad_request("Required audience parameter not specified");
    };
    let Some(role) = &instance.role else {
        return bad_request("Identity not found");
    };
    let expires = question.now + TimeDelta::hours(TOKEN_HOURS);
    let seconds = TimeDelta::hours(TOKEN_HOURS).num_seconds().to_string();
    let bearer = Bearer {
        instance: instance.id.clone(),
        role: role.clone(),
        audience: audience.clone(),
        expires,
    };
    let body = json!({
        "access_token": question.seal.close("bearer", &bearer),
        "client_id": question.seal.uuid(&format!("client {}", instance.id)),
        "expires_in": seconds,
        "expires_on": expires.timestamp().to_string(),
        "ext_expires_in": seconds,
        "not_before": question.now.timestamp().to_string(),
        "resource": audience,
        "token_type": "Bearer",
    });
    Response::json(200, &body)
}
