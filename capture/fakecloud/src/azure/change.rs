//! Calls that change: a whole network interface under its etag, and configurations that move at once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::interface::{document, etag, etag_of, malformed, parse};
use super::resource::{configuration_id, interface_id, operation_path, parse_configuration_id};
use super::{answer, not_found, permit, refused};
use crate::cloud::{Cloud, Edits, Refusal};
use crate::http::Response;
use crate::nic::Holding;
use crate::operation::State;
use crate::wire::{Call, Problem};

/// Seconds that Azure wants to be left alone for, at most.
const MAX_RETRY_AFTER: u32 = 10;

/// PUT of a network interface.
///
/// 1. The caller may write it, and If-Match is its etag.
/// 2. The document makes a possible interface.
/// 3. An operation under way for it ends as canceled; this one begins.
pub(super) fn put(cloud: &mut Cloud, call: &Call<'_>, name: &str) -> Result<Response, Problem> {
    let id = interface_id(cloud, name);
    let nic = cloud.nics.get(name);
    permit(
        cloud,
        call,
        "Microsoft.Network/networkInterfaces/write",
        &id,
        nic,
    )?;
    let nic = nic.ok_or_else(|| not_found(&id))?;
    let current = etag_of(cloud, call.seal, nic);
    if let Some(wanted) = call.request.header("if-match")
        && wanted != "*"
        && wanted != current
    {
        return Err(stale(&id, wanted, &current));
    }
    let body: Value = serde_json::from_slice(&call.request.body)
        .map_err(|error| malformed(&format!("Could not parse the body: {error}")))?;
    let mut version = parse(cloud, nic, &body)?;
    if call.partial.is_some() {
        let known = nic.latest().clone();
        let added = |held: &Holding| known.holding(held.address).is_none();
        let (new, old): (Vec<_>, Vec<_>) = version.addresses.into_iter().partition(added);
        version.addresses = old;
        version.addresses.extend(call.portion(new).0);
    }
    let edits = Edits::from([(name.to_owned(), version)]);
    begin(cloud, call, edits, 200, Some(name))
}

fn stale(id: &str, wanted: &str, current: &str) -> Problem {
    let message = format!(
        "Etag provided in if-match header {wanted} does not match etag {current} of resource {id} in NRP data store."
    );
    let mut problem = Problem::new(412, "PreconditionFailed", "Precondition failed.");
    problem.detail = Some(("PreconditionFailedEtagMismatch".to_owned(), message));
    problem
}

/// POST moveIpConfigurations: secondary addresses go from one interface to another without being free in between.
///
/// 1. The scenario has this call.
/// 2. The caller may do it, and write all interfaces concerned.
/// 3. Each source is there and no primary; no target is there.
pub(super) fn move_configurations(
    cloud: &mut Cloud,
    call: &Call<'_>,
    network: &str,
) -> Result<Response, Problem> {
    if !cloud.settings.atomic_move {
        let message = "Subscription is not registered with feature Microsoft.Network/AllowMoveIpConfigurations.";
        return Err(Problem::new(
            400,
            "SubscriptionNotRegisteredForFeature",
            message,
        ));
    }
    let action = "Microsoft.Network/virtualNetworks/moveIpConfigurations/action";
    permit(cloud, call, action, &call.request.path, None)?;
    let items = items(&call.request.body)?;
    let (items, _) = call.portion(items);
    let nics: BTreeSet<&str> = items
        .iter()
        .flat_map(|(source, target)| [source.0.as_str(), target.0.as_str()])
        .collect();
    for nic in &nics {
        let id = interface_id(cloud, nic);
        let found = cloud.nics.get(*nic);
        permit(
            cloud,
            call,
            "Microsoft.Network/networkInterfaces/write",
            &id,
            found,
        )?;
        let inside = found.is_some_and(|nic| cloud.network_of(nic) == network);
        if !inside {
            return Err(not_found(&id));
        }
    }
    let mut edits = cloud.draft(nics);
    for (source, target) in &items {
        move_one(cloud, &mut edits, source, target)?;
    }
    begin(cloud, call, edits, 202, None)
}

type Name = (String, String);

fn items(body: &[u8]) -> Result<Vec<(Name, Name)>, Problem> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| malformed(&format!("Could not parse the body: {error}")))?;
    let list = body
        .get("moveIpConfigurationItems")
        .and_then(Value::as_array);
    let list = list.filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| malformed("moveIpConfigurationItems is empty"))?;
    let name = |item: &Value, key: &str| {
        let id = item.get(key).and_then(|part| part.get("id"));
        id.and_then(Value::as_str)
            .and_then(parse_configuration_id)
            .ok_or_else(|| malformed(&format!("{key} is no IP configuration")))
    };
    list.iter()
        .map(|item| {
            Ok((
                name(item, "sourceIpConfiguration")?,
                name(item, "targetIpConfiguration")?,
            ))
        })
        .collect()
}

fn move_one(cloud: &Cloud, edits: &mut Edits, source: &Name, target: &Name) -> Result<(), Problem> {
    let source_id = configuration_id(cloud, &source.0, &source.1);
    let from = edits
        .get_mut(&source.0)
        .ok_or_else(|| not_found(&source_id))?;
    let found = from.addresses.iter();
    let at = found
        .clone()
        .position(|held| held.name == source.1)
        .ok_or_else(|| not_found(&source_id))?;
    if from.addresses[at].primary {
        let refusal = Refusal::PrimaryChanged(source.0.clone());
        return Err(refused(cloud, &refusal, &source_id));
    }
    let mut held = from.addresses.remove(at);
    held.name.clone_from(&target.1);
    let to = edits
        .get_mut(&target.0)
        .ok_or_else(|| not_found(&target.0))?;
    if to.addresses.iter().any(|known| known.name == target.1) {
        let id = configuration_id(cloud, &target.0, &target.1);
        let message = format!("IP configuration {id} exists already.");
        return Err(Problem::new(409, "IpConfigurationAlreadyExists", message));
    }
    to.addresses.push(held);
    Ok(())
}

/// Begins an operation, and answers with where to ask for it; of an interface also with what it becomes.
fn begin(
    cloud: &mut Cloud,
    call: &Call<'_>,
    edits: Edits,
    status: u16,
    nic: Option<&str>,
) -> Result<Response, Problem> {
    let names: Vec<(String, Vec<Holding>)> = edits
        .iter()
        .map(|(nic, version)| (nic.clone(), version.addresses.clone()))
        .collect();
    let drafts = edits.clone();
    let started = cloud.start(&call.cause(), call.id.to_owned(), edits, call.trouble);
    let (number, done) = match started {
        Ok(operation) => (operation.number, operation.state == State::Succeeded),
        Err(refusal) => {
            let wanted = wanted(cloud, &refusal, &names);
            return Err(refused(cloud, &refusal, &wanted));
        }
    };
    let state = if done { "Succeeded" } else { "Updating" };
    let shown = nic.and_then(|name| Some((cloud.nics.get(name)?, drafts.get(name)?)));
    let response = match shown {
        Some((nic, _)) if done => {
            let etag = etag_of(cloud, call.seal, nic);
            let body = document(cloud, call.seal, nic, nic.latest(), state, &etag);
            answer(call, status, &body)
        }
        Some((nic, draft)) => {
            let etag = etag(call.seal, number);
            answer(
                call,
                status,
                &document(cloud, call.seal, nic, draft, state, &etag),
            )
        }
        None => Response::empty(status).with("x-ms-request-id", call.id),
    };
    if done && status == 200 {
        return Ok(response);
    }
    let host = call.request.header("host").unwrap_or_default();
    let url = format!("http://{host}{}", operation_path(cloud, call.id));
    let takes = cloud.settings.latency.operation_ms.div_ceil(1000);
    let retry_after = takes.clamp(1, MAX_RETRY_AFTER);
    let response = if status == 202 {
        response.with("location", url.clone())
    } else {
        response
    };
    Ok(response
        .with("azure-asyncoperation", url)
        .with("retry-after", retry_after.to_string()))
}

/// Names the configuration that wanted the address that is refused.
fn wanted(cloud: &Cloud, refusal: &Refusal, names: &[(String, Vec<Holding>)]) -> String {
    let Refusal::Held { address, nic, .. } = refusal else {
        return String::new();
    };
    let others = names.iter().filter(|(name, _)| name != nic);
    others
        .flat_map(|(name, held)| held.iter().map(move |held| (name, held)))
        .find(|(_, held)| held.address == *address)
        .map(|(name, held)| configuration_id(cloud, name, &held.name))
        .unwrap_or_default()
}
