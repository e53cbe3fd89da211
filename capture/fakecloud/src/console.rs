//! Changes by hand, as somebody makes them at a provider's console while a router runs.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::json;

use crate::Time;
use crate::cloud::{Cause, Cloud, Refusal};
use crate::control::refused;
use crate::http::Response;
use crate::nic::{Holding, Version};
use crate::world::World;

/// A change of a NIC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Change {
    /// Addresses to put on it.
    add: BTreeSet<Ipv4Addr>,
    /// Addresses to take off it.
    remove: BTreeSet<Ipv4Addr>,
    /// Whether packets that are not its own are dropped.
    source_dest_check: Option<bool>,
}

/// Carries out `POST /fakecloud/nics/ID`.
pub(crate) fn edit(world: &mut World, id: &str, body: &[u8], now: Time) -> Response {
    let change: Change = match serde_json::from_slice(body) {
        Ok(change) => change,
        Err(error) => {
            let remedy = r#"send JSON such as {"add": ["10.77.60.10"], "remove": [], "sourceDestCheck": false}"#;
            return refused(400, &error.to_string(), remedy);
        }
    };
    let mut clouds = world.clouds.values_mut();
    let Some(cloud) = clouds.find(|cloud| cloud.nics.contains_key(id)) else {
        return refused(404, "no such NIC", "GET state lists them");
    };
    match apply(cloud, id, &change, now) {
        Ok(()) => Response::json(200, &json!({ "done": true })),
        Err(refusal) => {
            let remedy = "GET state shows who holds what";
            refused(409, &format!("the provider refuses: {refusal:?}"), remedy)
        }
    }
}

fn apply(cloud: &mut Cloud, id: &str, change: &Change, now: Time) -> Result<(), Refusal> {
    let mut edits = cloud.draft([id]);
    let version: &mut Version = edits
        .get_mut(id)
        .ok_or_else(|| Refusal::NoSuchNic(id.to_owned()))?;
    version
        .addresses
        .retain(|held| !change.remove.contains(&held.address));
    for &address in &change.add {
        let name = cloud.address_name(id, address);
        version.addresses.push(Holding::secondary(address, name));
    }
    if let Some(check) = change.source_dest_check {
        version.source_dest_check = check;
    }
    let cause = Cause {
        principal: "console".to_owned(),
        operation: "by hand".to_owned(),
        request: String::new(),
        now,
    };
    cloud.commit(&cause, edits)
}
