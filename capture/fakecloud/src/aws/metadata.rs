//! The instance metadata service, version 2: a token first, then facts about the instance and its credentials.

use chrono::{DurationRound, SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sigv4::Session;
use crate::Time;
use crate::cloud::{Cloud, Instance};
use crate::http::Response;
use crate::nic::Nic;
use crate::wire::Question;

/// What a token of the metadata service says.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    instance: String,
    expires: Time,
}

/// Lifetimes of a token, in seconds.
const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 1..=21_600;

/// Answers `/latest/...`.
pub(super) fn answer(cloud: &Cloud, question: &Question<'_>) -> Response {
    let Some(instance) = cloud.instances.get(question.instance) else {
        return Response::empty(404);
    };
    let path = question.path.trim_start_matches('/');
    let Some(path) = path.strip_prefix("latest/") else {
        return Response::empty(404);
    };
    match (question.request.method.as_str(), path) {
        ("PUT", "api/token") => token(question),
        ("GET", _) => fact(cloud, instance, path, question),
        _ => Response::empty(405),
    }
}

/// Gives a token, but never through a proxy.
fn token(question: &Question<'_>) -> Response {
    if question.request.header("x-forwarded-for").is_some() {
        return Response::empty(403);
    }
    let seconds = question
        .request
        .header("x-aws-ec2-metadata-token-ttl-seconds")
        .and_then(|text| text.parse().ok())
        .filter(|seconds| TOKEN_SECONDS.contains(seconds));
    let Some(seconds) = seconds else {
        return Response::empty(400);
    };
    let token = Token {
        instance: question.instance.to_owned(),
        expires: question.now + TimeDelta::seconds(seconds),
    };
    Response::text(200, question.seal.close("metadata", &token))
        .with("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_string())
}

fn fact(cloud: &Cloud, instance: &Instance, path: &str, question: &Question<'_>) -> Response {
    let valid = |text: &str| {
        let token: Option<Token> = question.seal.open("metadata", text);
        token.is_some_and(|token| {
            token.instance == question.instance && token.expires >= question.now
        })
    };
    match question.request.header("x-aws-ec2-metadata-token") {
        Some(text) if valid(text) => {}
        None if !instance.tokens_required => {}
        Some(_) | None => return Response::empty(401),
    }
    let tree = tree(cloud, instance, question);
    match look_up(&tree, path) {
        Some(text) => Response::text(200, text),
        None => Response::empty(404),
    }
}

/// Finds a leaf, or lists what is below a path, folders with a slash.
fn look_up(tree: &[(String, String)], path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    if let Some((_, text)) = tree.iter().find(|(known, _)| known == path) {
        return Some(text.clone());
    }
    let folder = format!("{path}/");
    let mut names: Vec<String> = tree
        .iter()
        .filter_map(|(known, _)| known.strip_prefix(&folder))
        .map(|rest| match rest.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => rest.to_owned(),
        })
        .collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| names.join("\n"))
}

/// Everything there is, by path.
fn tree(cloud: &Cloud, instance: &Instance, question: &Question<'_>) -> Vec<(String, String)> {
    let settings = &cloud.settings;
    let mut tree = vec![
        (
            "dynamic/instance-identity/document".to_owned(),
            identity(cloud, instance, question),
        ),
        ("meta-data/instance-id".to_owned(), instance.id.clone()),
        ("meta-data/instance-type".to_owned(), instance.kind.clone()),
        (
            "meta-data/placement/availability-zone".to_owned(),
            settings.zone.clone(),
        ),
        (
            "meta-data/placement/region".to_owned(),
            settings.region.clone(),
        ),
    ];
    let nics = cloud.nics_of(&instance.id);
    if let Some(first) = nics.first() {
        let own = first.at(question.as_of).primary();
        let own = own.map(|held| held.address.to_string());
        tree.push(("meta-data/mac".to_owned(), first.mac.clone()));
        tree.push(("meta-data/local-ipv4".to_owned(), own.unwrap_or_default()));
    }
    for nic in nics {
        tree.extend(interface(cloud, nic, question));
    }
    if let Some(role) = &instance.role {
        let path = format!("meta-data/iam/security-credentials/{role}");
        tree.push((path, credentials(instance, role, question)));
    }
    tree
}

fn interface(cloud: &Cloud, nic: &Nic, question: &Question<'_>) -> Vec<(String, String)> {
    let held = nic.at(question.as_of).addresses.iter();
    let addresses: Vec<String> = held.map(|held| held.address.to_string()).collect();
    let subnet = cloud.subnets.get(&nic.subnet);
    let facts = [
        ("device-number", nic.device_index.to_string()),
        ("interface-id", nic.id.clone()),
        ("local-ipv4s", addresses.join("\n")),
        ("mac", nic.mac.clone()),
        ("owner-id", cloud.settings.account.clone()),
        ("subnet-id", nic.subnet.clone()),
        (
            "subnet-ipv4-cidr-block",
            subnet
                .map(|subnet| subnet.prefix.to_string())
                .unwrap_or_default(),
        ),
        ("vpc-id", cloud.network_of(nic).to_owned()),
    ];
    let path = |name| format!("meta-data/network/interfaces/macs/{}/{name}", nic.mac);
    facts
        .into_iter()
        .map(|(name, text)| (path(name), text))
        .collect()
}

fn identity(cloud: &Cloud, instance: &Instance, question: &Question<'_>) -> String {
    let nics = cloud.nics_of(&instance.id);
    let first = nics
        .first()
        .and_then(|nic| nic.at(question.as_of).primary());
    json!({
        "accountId": cloud.settings.account,
        "availabilityZone": cloud.settings.zone,
        "instanceId": instance.id,
        "instanceType": instance.kind,
        "privateIp": first.map(|held| held.address),
        "region": cloud.settings.region,
        "version": "2017-09-30",
    })
    .to_string()
}

/// How long credentials are good; new ones come with each hour.
const CREDENTIAL_HOURS: i64 = 6;

/// Makes the credentials of this hour.
fn credentials(instance: &Instance, role: &str, question: &Question<'_>) -> String {
    let hour = question.now.duration_trunc(TimeDelta::hours(1));
    let hour = hour.unwrap_or(question.now);
    let expires = hour + TimeDelta::hours(CREDENTIAL_HOURS);
    let name = format!("{}/{role}/{expires}", instance.id);
    let key = format!("ASIA{}", question.seal.code(&name, 16));
    let session = Session {
        key: key.clone(),
        instance: instance.id.clone(),
        role: role.to_owned(),
        expires,
    };
    let time = |time: Time| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    json!({
        "Code": "Success",
        "LastUpdated": time(hour),
        "Type": "AWS-HMAC",
        "AccessKeyId": key,
        "SecretAccessKey": question.seal.secret(&key),
        "Token": question.seal.close("session", &session),
        "Expiration": time(expires),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_and_a_leaf_is_read() {
        let leaf = |path: &str| (path.to_owned(), path.to_uppercase());
        let tree = [leaf("a/mac"), leaf("a/macs/1/x"), leaf("a/macs/2/x")];
        assert_eq!(look_up(&tree, "a/mac").as_deref(), Some("A/MAC"));
        assert_eq!(look_up(&tree, "a/").as_deref(), Some("mac\nmacs/"));
        assert_eq!(look_up(&tree, "a/macs").as_deref(), Some("1/\n2/"));
        assert_eq!(look_up(&tree, "a/m"), None);
    }
}
