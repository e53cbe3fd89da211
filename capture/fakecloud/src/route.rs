//! Where a request goes: to a provider's API, to the metadata service of an instance, or to the control of the fake.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::Provider;
use crate::cloud::Cloud;
use crate::http::Request;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Below `/fakecloud/`: not of a provider.
    Control(Vec<String>),
    /// What an instance sees at 169.254.169.254.
    Metadata(Metadata),
    /// A provider's API.
    Api(Provider),
    /// Nowhere.
    Nowhere,
}

/// A question to a metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) provider: Provider,
    pub(crate) instance: String,
    /// Routers between the asking program and the service, plus one.
    pub(crate) hops: u8,
    /// Path as the program sees it.
    pub(crate) path: String,
}

/// Finds where a request goes.
///
/// 1. `/fakecloud/...` is the control.
/// 2. `/instances/ID/...` is the metadata service of that instance, `/instances/ID/via/HOPS/...` from further away.
/// 3. A path of a metadata service from the address of an instance is that instance's.
/// 4. The rest is told apart by the shape of paths.
pub(crate) fn route(clouds: &BTreeMap<Provider, Cloud>, request: &Request) -> Route {
    let segments = request.segments();
    let first = segments.first().map(String::as_str);
    match first {
        Some("fakecloud") => return Route::Control(segments[1..].to_vec()),
        Some("instances") => return by_id(clouds, &request.path),
        Some("latest" | "metadata" | "opc") => return by_address(clouds, request),
        Some(_) | None => {}
    }
    let provider = match first {
        None => Provider::Aws,
        Some("subscriptions" | "providers") => Provider::Azure,
        Some("20160918" | "v1") => Provider::Oci,
        Some(_) => return Route::Nowhere,
    };
    if clouds.contains_key(&provider) {
        Route::Api(provider)
    } else {
        Route::Nowhere
    }
}

fn by_id(clouds: &BTreeMap<Provider, Cloud>, path: &str) -> Route {
    let Some((instance, mut rest)) = path
        .trim_start_matches('/')
        .strip_prefix("instances/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return Route::Nowhere;
    };
    let mut hops = 1;
    if let Some((count, further)) = rest
        .strip_prefix("via/")
        .and_then(|rest| rest.split_once('/'))
    {
        let Ok(count) = count.parse() else {
            return Route::Nowhere;
        };
        hops = count;
        rest = further;
    }
    let owner = clouds
        .values()
        .find(|cloud| cloud.instances.contains_key(instance));
    owner.map_or(Route::Nowhere, |cloud| {
        Route::Metadata(Metadata {
            provider: cloud.provider,
            instance: instance.to_owned(),
            hops,
            path: format!("/{rest}"),
        })
    })
}

fn by_address(clouds: &BTreeMap<Provider, Cloud>, request: &Request) -> Route {
    let Some(IpAddr::V4(peer)) = request.peer else {
        return Route::Nowhere;
    };
    let found = clouds.values().find_map(|cloud| instance(cloud, peer));
    found.map_or(Route::Nowhere, |(provider, instance)| {
        Route::Metadata(Metadata {
            provider,
            instance,
            hops: 1,
            path: request.path.clone(),
        })
    })
}

/// Finds whose own address it is.
fn instance(cloud: &Cloud, address: Ipv4Addr) -> Option<(Provider, String)> {
    let mut nics = cloud.nics.values();
    let found = nics.find(|nic| {
        let held = nic.latest().holding(address);
        held.is_some_and(|held| held.primary)
    })?;
    Some((cloud.provider, found.instance.clone()))
}
