//! Calls that read private IPs.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::private_ip::{document, etag};
use super::{answer, hidden, invalid, missing, permit};
use crate::cloud::Cloud;
use crate::http::Response;
use crate::nic::{Holding, Nic};
use crate::wire::{Call, Problem};

/// What `limit` may be.
const LIMITS: std::ops::RangeInclusive<usize> = 1..=1000;

/// ListPrivateIps, of a subnet or a VNIC, and of those perhaps one address; a page at a time.
pub(super) fn list(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    permit(cloud, call, &["PRIVATE_IP_READ"], None)?;
    let subnet = call.request.query_value("subnetId");
    let vnic = call.request.query_value("vnicId");
    match (&subnet, &vnic) {
        (None, None) => return Err(missing("subnetId, vnicId")),
        (Some(id), _) if !cloud.subnets.contains_key(id) => return Err(hidden()),
        (_, Some(id)) if !cloud.nics.contains_key(id) => return Err(hidden()),
        _ => {}
    }
    let address = call.request.query_value("ipAddress");
    let address: Option<Ipv4Addr> = match address.as_deref().map(str::parse) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => return Err(invalid("ipAddress is no IP address.")),
    };
    let nics = cloud.nics.values();
    let all: Vec<Value> = nics
        .filter(|nic| subnet.as_ref().is_none_or(|id| *id == nic.subnet))
        .filter(|nic| vnic.as_ref().is_none_or(|id| *id == nic.id))
        .flat_map(|nic| seen(nic, call))
        .filter(|(_, held)| address.is_none_or(|address| address == held.address))
        .map(|(nic, held)| document(cloud, nic, held))
        .collect();
    page(cloud, call, all)
}

/// What a VNIC has, as it is seen at the call's time.
fn seen<'a>(nic: &'a Nic, call: &Call<'_>) -> impl Iterator<Item = (&'a Nic, &'a Holding)> {
    let held = nic.at(call.as_of).addresses.iter();
    held.map(move |held| (nic, held))
}

pub(super) fn page(cloud: &Cloud, call: &Call<'_>, all: Vec<Value>) -> Result<Response, Problem> {
    let limit = match call.request.query_value("limit").map(|text| text.parse()) {
        None => cloud.settings.page_size,
        Some(Ok(limit)) if LIMITS.contains(&limit) => limit.min(cloud.settings.page_size),
        Some(_) => return Err(invalid("limit is not from 1 to 1000.")),
    };
    let start: usize = match call.request.query_value("page") {
        None => 0,
        Some(token) => {
            let start = call.seal.open("page", &token);
            start.ok_or_else(|| invalid("page is not of a former answer."))?
        }
    };
    let end = start.saturating_add(limit);
    let more = end < all.len();
    let shown: Vec<Value> = all.into_iter().skip(start).take(limit).collect();
    let response = answer(call, 200, &Value::Array(shown));
    Ok(if more {
        response.with("opc-next-page", call.seal.close("page", &end))
    } else {
        response
    })
}

/// GetPrivateIp.
pub(super) fn private_ip(cloud: &Cloud, call: &Call<'_>, id: &str) -> Result<Response, Problem> {
    permit(cloud, call, &["PRIVATE_IP_READ"], None)?;
    let mut all = cloud.nics.values().flat_map(|nic| seen(nic, call));
    let (nic, held) = all.find(|(_, held)| held.name == id).ok_or_else(hidden)?;
    let body = document(cloud, nic, held);
    Ok(answer(call, 200, &body).with("etag", etag(call.seal, held)))
}
