//! EC2 calls as values: what no SDK can be made to send, and how the answer depends on time.

use std::net::Ipv4Addr;

use chrono::TimeDelta;

use super::sigv4;
use crate::{Delivery, Provider, Request, Response, Scenario, Time, World};

const SECRET: &str = "lab-secret";

/// Two routers in one subnet; reads are a second late.
fn world() -> World {
    let nic = |id: &str, last: u8| {
        serde_json::json!({
            "id": id, "subnet": "subnet-0a", "mac": format!("02:00:00:00:00:{last:02x}"),
            "address": format!("10.77.60.{last}"),
        })
    };
    let scenario: Scenario = serde_json::from_value(serde_json::json!({"aws": {
        "region": "eu-central-1", "account": "123456789012", "lag": {"describeMs": 1000},
        "latency": {"writeMs": 700},
        "subnets": [{"id": "subnet-0a", "network": "vpc-0a", "prefix": "10.77.60.0/24"}],
        "roles": {"router": {"allow": ["ec2:*"]}},
        "throttle": {"write": {"burst": 3, "perSecond": 1}},
        "keys": [{"id": "AKIALAB", "secret": SECRET, "role": "router"}],
        "instances": [
            {"id": "i-0a", "nics": [nic("eni-0a", 4)]},
            {"id": "i-0b", "nics": [nic("eni-0b", 5)], "hopLimit": 1},
        ],
    }}))
    .expect("a scenario");
    World::new(&scenario, [1; 32], start()).expect("a world")
}

fn start() -> Time {
    Time::UNIX_EPOCH + TimeDelta::days(20_000)
}

/// Sends a call that was signed at `signed` and has its effect at `now`.
fn send(world: &mut World, form: &str, signed: Time, now: Time) -> Response {
    let request = sigv4::sign(form, "AKIALAB", SECRET, "eu-central-1", signed);
    send_as_it_is(world, &request, now)
}

fn send_as_it_is(world: &mut World, request: &Request, now: Time) -> Response {
    let admission = world.admit(request, now);
    match world.answer(request, &admission, now).delivery {
        Delivery::Answer(response) => response,
        Delivery::Cut(_) | Delivery::Closed | Delivery::Silence => panic!("no answer"),
    }
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

fn assign(nic: &str, address: &str, more: &str) -> String {
    format!(
        "Action=AssignPrivateIpAddresses&NetworkInterfaceId={nic}&PrivateIpAddress.1={address}{more}"
    )
}

#[test]
fn a_signature_of_another_time_is_refused() {
    let mut world = world();
    let late = start() + TimeDelta::minutes(6);
    let response = send(&mut world, "Action=DescribeSubnets", start(), late);
    assert_eq!(response.status, 400);
    assert!(text(&response).contains("RequestExpired"));
    let response = send(&mut world, "Action=DescribeSubnets", late, start());
    assert!(text(&response).contains("RequestExpired"));
    let response = send(&mut world, "Action=DescribeSubnets", late, late);
    assert_eq!(response.status, 200);
}

#[test]
fn what_is_not_as_it_was_signed_is_refused() {
    let mut world = world();
    let signed = sigv4::sign(
        "Action=DescribeSubnets",
        "AKIALAB",
        SECRET,
        "eu-central-1",
        start(),
    );
    for change in ["body", "path", "query", "method", "host", "day"] {
        let mut request = signed.clone();
        match change {
            "body" => request.body = b"Action=DescribeInstances".to_vec(),
            "path" => request.path = "//".into(),
            "query" => request.query = "x=1".into(),
            "method" => request.method = "PUT".into(),
            "host" => request.headers[0].1 = "elsewhere".into(),
            _ => {
                let header = &mut request.headers[1].1;
                *header = header.replace("T000000Z", "T000001Z");
            }
        }
        let response = send_as_it_is(&mut world, &request, start());
        assert_eq!(response.status, 401, "{change}: {}", text(&response));
    }
    let unsigned = Request {
        headers: Vec::new(),
        ..signed
    };
    let response = send_as_it_is(&mut world, &unsigned, start());
    assert!(text(&response).contains("MissingAuthenticationToken"));
}

#[test]
fn a_change_takes_time_and_is_seen_later_still() {
    let mut world = world();
    let form = assign("eni-0a", "10.77.60.10", "");
    let request = sigv4::sign(&form, "AKIALAB", SECRET, "eu-central-1", start());
    let admission = world.admit(&request, start());
    assert_eq!(admission.wait, TimeDelta::milliseconds(700));
    let effect = start() + admission.wait;
    world.answer(&request, &admission, effect);

    let describe = "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-0a";
    let early = effect + TimeDelta::milliseconds(900);
    let response = send(&mut world, describe, early, early);
    assert!(!text(&response).contains("10.77.60.10"), "not seen yet");
    let later = effect + TimeDelta::milliseconds(1000);
    let response = send(&mut world, describe, later, later);
    assert!(text(&response).contains("10.77.60.10"));
}

#[test]
fn of_two_that_seize_at_once_the_later_one_has_it_and_nobody_both() {
    let mut world = world();
    let more = "&AllowReassignment=true";
    for nic in ["eni-0a", "eni-0b", "eni-0a"] {
        let form = assign(nic, "10.77.60.10", more);
        assert_eq!(send(&mut world, &form, start(), start()).status, 200);
        let cloud = world.cloud(Provider::Aws).expect("aws");
        let address = Ipv4Addr::new(10, 77, 60, 10);
        let holders: Vec<&str> = cloud
            .nics()
            .filter(|nic| nic.latest().holding(address).is_some())
            .map(|nic| nic.id.as_str())
            .collect();
        assert_eq!(holders, [nic]);
    }
    // The first had nobody to take it from; each of the others changed two interfaces.
    let ledger = world.cloud(Provider::Aws).expect("aws").ledger();
    assert_eq!(ledger.entries.len(), 5);
    let form = assign("eni-0b", "10.77.60.10", more);
    let response = send(&mut world, &form, start(), start());
    assert!(
        text(&response).contains("RequestLimitExceeded"),
        "the bucket held three"
    );
}

#[test]
fn a_token_does_not_come_from_further_than_the_hop_limit() {
    let mut world = world();
    let ask = |path: &str| Request {
        method: "PUT".into(),
        path: format!("/instances/i-0b{path}/latest/api/token"),
        headers: vec![("x-aws-ec2-metadata-token-ttl-seconds".into(), "60".into())],
        ..Request::default()
    };
    let near = ask("");
    let token = send_as_it_is(&mut world, &near, start());
    assert_eq!(token.status, 200);
    let far = ask("/via/2");
    let admission = world.admit(&far, start());
    let reply = world.answer(&far, &admission, start());
    assert_eq!(reply.delivery, Delivery::Silence);

    let read = Request {
        method: "GET".into(),
        path: "/instances/i-0b/latest/meta-data/mac".into(),
        headers: vec![("x-aws-ec2-metadata-token".into(), text(&token))],
        ..Request::default()
    };
    assert_eq!(send_as_it_is(&mut world, &read, start()).status, 200);
    let expired = start() + TimeDelta::seconds(61);
    assert_eq!(send_as_it_is(&mut world, &read, expired).status, 401);
}
