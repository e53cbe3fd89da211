//! The fake's own API below `/fakecloud/`: look at the state, the ledger and the calls; order faults.

use serde_json::{Value, json};

use crate::Time;
use crate::cloud::Cloud;
use crate::console;
use crate::fault::Fault;
use crate::http::{Request, Response};
use crate::ledger::Record;
use crate::world::World;

/// Answers `/fakecloud/...`; `path` is what follows.
pub(crate) fn answer(world: &mut World, request: &Request, path: &[String], now: Time) -> Response {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["state"]) => Response::json(200, &state(world)),
        ("GET", ["ledger"]) => Response::json(200, &ledger(world)),
        ("GET", ["fabric"]) => Response::json(200, &fabric(world)),
        ("GET", ["calls"]) => Response::json(200, &json!(world.calls)),
        ("GET", ["faults"]) => Response::json(200, &faults(world)),
        ("POST", ["faults"]) => add_fault(world, &request.body),
        ("DELETE", ["faults"]) => {
            world.faults.clear();
            Response::empty(204)
        }
        ("DELETE", ["faults", number]) => remove_fault(world, number),
        ("POST", ["nics", id]) => console::edit(world, id, &request.body, now),
        ("POST", ["instances", id, action @ ("start" | "stop")]) => {
            run(world, id, *action == "start")
        }
        _ => refused(
            404,
            "no such resource",
            "GET state, ledger, calls, fabric or faults; POST faults; DELETE faults or faults/NUMBER; \
             POST nics/ID; POST instances/ID/start or stop",
        ),
    }
}

pub(crate) fn refused(status: u16, error: &str, remedy: &str) -> Response {
    Response::json(status, &json!({ "error": error, "remedy": remedy }))
}

fn state(world: &World) -> Value {
    let clouds = world.clouds.values();
    let clouds: serde_json::Map<String, Value> = clouds
        .map(|cloud| (cloud.provider.name().to_owned(), describe(cloud)))
        .collect();
    Value::Object(clouds)
}

fn describe(cloud: &Cloud) -> Value {
    let nics: Vec<Value> = cloud
        .nics
        .values()
        .map(|nic| {
            let version = nic.latest().snapshot();
            let running = cloud
                .instances
                .get(&nic.instance)
                .is_some_and(|instance| instance.running);
            json!({
                "nic": nic.id, "instance": nic.instance, "running": running, "subnet": nic.subnet,
                "mac": nic.mac, "etag": version.etag, "sourceDestCheck": version.source_dest_check,
                "addresses": version.addresses,
            })
        })
        .collect();
    json!({ "nics": nics })
}

/// The changes of all clouds in the order of time.
fn ledger(world: &World) -> Value {
    let ledgers = world.clouds.values().map(|cloud| &cloud.ledger);
    let mut records: Vec<&Record> = ledgers.clone().flat_map(|log| &log.entries).collect();
    records.sort_by_key(|record| record.at);
    let forgotten: u64 = ledgers.map(|log| log.forgotten).sum();
    json!({ "entries": records, "forgotten": forgotten })
}

/// What each provider's fabric did with frames.
fn fabric(world: &World) -> Value {
    let clouds = world.clouds.values().map(|cloud| {
        let traffic = &cloud.traffic;
        let dropped = traffic.dropped.iter();
        let dropped: serde_json::Map<String, Value> = dropped
            .map(|(reason, count)| (reason.name().to_owned(), json!(count)))
            .collect();
        let counts = json!({
            "delivered": traffic.delivered, "answered": traffic.answered, "dropped": dropped,
        });
        (cloud.provider.name().to_owned(), counts)
    });
    Value::Object(clouds.collect())
}

fn faults(world: &World) -> Value {
    let faults = world.faults.iter();
    let faults: Vec<Value> = faults
        .map(|(number, fault)| json!({ "number": number, "fault": fault }))
        .collect();
    Value::Array(faults)
}

fn add_fault(world: &mut World, body: &[u8]) -> Response {
    let fault: Fault = match serde_json::from_slice(body) {
        Ok(fault) => fault,
        Err(error) => {
            let remedy =
                r#"send JSON such as {"operation": "Assign*", "times": 1, "effect": "loseAnswer"}"#;
            return refused(400, &error.to_string(), remedy);
        }
    };
    match world.add_fault(fault) {
        Some(number) => Response::json(201, &json!({ "number": number })),
        None => refused(409, "too many faults stand", "DELETE faults"),
    }
}

fn remove_fault(world: &mut World, number: &str) -> Response {
    let found = number
        .parse()
        .is_ok_and(|number| world.faults.remove(number));
    if found {
        Response::empty(204)
    } else {
        refused(404, "no such fault", "GET faults lists them")
    }
}

fn run(world: &mut World, id: &str, running: bool) -> Response {
    if world.set_running(id, running) {
        Response::empty(204)
    } else {
        refused(404, "no such instance", "GET state lists them")
    }
}
