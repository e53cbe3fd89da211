//! OCI calls as values: what no SDK can be made to send, and how the answer depends on time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{certificate, key, signature};
use crate::{Delivery, Provider, Request, Response, Scenario, Time, World};

pub(super) const USER: &str = "ocid1.user.oc1..lab/20:3b";
pub(super) const KEY_ID: &str = "ocid1.tenancy.oc1..lab/ocid1.user.oc1..lab/20:3b";

/// Two routers in one subnet; reads are a second late.
fn world() -> World {
    let public = STANDARD.encode(key::lab_public_key_der().expect("the lab's key"));
    let instance = |name: &str, last: u8| {
        json!({"id": format!("instance-{name}"), "role": "router", "nics": [{
            "id": format!("vnic-{name}"), "subnet": "subnet", "address": format!("10.77.60.{last}"),
            "mac": format!("02:00:17:00:00:{last:02x}"),
        }]})
    };
    let scenario: Scenario = serde_json::from_value(json!({"oci": {
        "region": "eu-frankfurt-1", "account": "ocid1.tenancy.oc1..lab",
        "lag": {"describeMs": 1000}, "latency": {"writeMs": 700, "operationMs": 5000},
        "subnets": [{"id": "subnet", "network": "vcn", "prefix": "10.77.60.0/24"}],
        "roles": {"router": {"allow": ["*"]}},
        "throttle": {"write": {"burst": 4, "perSecond": 1}},
        "keys": [{"id": USER, "secret": public, "role": "router"}],
        "instances": [instance("a", 4), instance("b", 5)],
    }}))
    .expect("a scenario");
    World::new(&scenario, [1; 32], start()).expect("a world")
}

fn start() -> Time {
    Time::UNIX_EPOCH + TimeDelta::days(20_000)
}

pub(super) fn request(method: &str, path: &str, body: &Value) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        body: if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        },
        ..Request::default()
    }
}

/// Sends a call of the user.
fn send(world: &mut World, method: &str, path: &str, body: &Value, now: Time) -> Response {
    let path = format!("/20160918/{path}");
    let mut request = request(method, &path, body);
    signature::sign(&mut request, KEY_ID, now);
    send_as_it_is(world, &request, now)
}

pub(super) fn send_as_it_is(world: &mut World, request: &Request, now: Time) -> Response {
    let admission = world.admit(request, now);
    match world.answer(request, &admission, now).delivery {
        Delivery::Answer(response) => response,
        Delivery::Cut(_) | Delivery::Closed | Delivery::Silence => panic!("no answer"),
    }
}

pub(super) fn read(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

fn create(world: &mut World, vnic: &str, address: &str, now: Time) -> Value {
    let body = json!({"vnicId": vnic, "ipAddress": address});
    let response = send(world, "POST", "privateIps", &body, now);
    assert_eq!(response.status, 200, "{}", read(&response));
    read(&response)
}

#[test]
fn a_signature_of_another_time_is_refused() {
    let mut world = world();
    let late = start() + TimeDelta::minutes(6);
    let mut signed = request("GET", "/20160918/vnics/vnic-a", &Value::Null);
    signature::sign(&mut signed, KEY_ID, start());
    assert_eq!(send_as_it_is(&mut world, &signed, late).status, 401);
    let early = start() - TimeDelta::minutes(6);
    assert_eq!(send_as_it_is(&mut world, &signed, early).status, 401);
    let edge = start() + TimeDelta::minutes(5);
    assert_eq!(send_as_it_is(&mut world, &signed, edge).status, 200);
}

#[test]
fn what_is_not_as_it_was_signed_is_refused() {
    let mut world = world();
    let body = json!({"vnicId": "vnic-a", "ipAddress": "10.77.60.10"});
    let mut signed = request("POST", "/20160918/privateIps", &body);
    signature::sign(&mut signed, KEY_ID, start());
    let header = |request: &mut Request, name: &str, edit: &dyn Fn(&str) -> String| {
        let found = request.headers.iter_mut().find(|(known, _)| known == name);
        let (_, value) = found.expect("it is there");
        *value = edit(value);
    };
    for change in [
        "body", "path", "query", "method", "host", "date", "hash", "signed", "version", "key",
    ] {
        let mut request = signed.clone();
        match change {
            "body" => request.body[0] = b' ',
            "path" => request.path.push('/'),
            "query" => request.query = "x=1".into(),
            "method" => request.method = "PUT".into(),
            "host" => header(&mut request, "host", &|_| "elsewhere".into()),
            "date" => header(&mut request, "date", &|text| {
                text.replace(":00 GMT", ":01 GMT")
            }),
            "hash" => header(&mut request, "x-content-sha256", &|_| "x".into()),
            "signed" => header(&mut request, "authorization", &|text| {
                text.replace(" x-content-sha256", "")
            }),
            "version" => header(&mut request, "authorization", &|text| {
                text.replace("version=\"1\"", "version=\"2\"")
            }),
            _ => header(&mut request, "authorization", &|text| {
                text.replace("20:3b", "20:3c")
            }),
        }
        let response = send_as_it_is(&mut world, &request, start());
        assert_eq!(response.status, 401, "{change}: {}", read(&response));
        assert_eq!(read(&response)["code"], "NotAuthenticated", "{change}");
    }
    let ledger = world.cloud(Provider::Oci).expect("oci").ledger();
    assert!(ledger.entries.is_empty(), "nothing of that had an effect");
    assert_eq!(send_as_it_is(&mut world, &signed, start()).status, 200);
}

#[test]
fn of_two_that_seize_with_one_etag_the_second_loses() {
    let mut world = world();
    let made = create(&mut world, "vnic-a", "10.77.60.10", start());
    let path = format!(
        "/20160918/privateIps/{}",
        made["id"].as_str().expect("an id")
    );
    let now = start() + TimeDelta::seconds(2);
    let seen = send(
        &mut world,
        "GET",
        &path["/20160918/".len()..],
        &Value::Null,
        now,
    );
    let etag = seen.header("etag").expect("an etag").to_owned();
    let mut seize = request("PUT", &path, &json!({"vnicId": "vnic-b"}));
    seize.headers.push(("if-match".into(), etag));
    signature::sign(&mut seize, KEY_ID, now);
    assert_eq!(send_as_it_is(&mut world, &seize, now).status, 200);
    let response = send_as_it_is(&mut world, &seize, now);
    assert_eq!(response.status, 412);
    assert_eq!(read(&response)["code"], "NoEtagMatch");
    // A change of the one and a change of both.
    let ledger = world.cloud(Provider::Oci).expect("oci").ledger();
    assert_eq!(ledger.entries.len(), 3);
}

#[test]
fn a_change_takes_time_and_is_seen_later_still() {
    let mut world = world();
    let body = json!({"vnicId": "vnic-a", "ipAddress": "10.77.60.10"});
    let mut call = request("POST", "/20160918/privateIps", &body);
    signature::sign(&mut call, KEY_ID, start());
    let admission = world.admit(&call, start());
    assert_eq!(admission.wait, TimeDelta::milliseconds(700));
    let effect = start() + admission.wait;
    world.answer(&call, &admission, effect);
    let list = "privateIps?subnetId=subnet&ipAddress=10.77.60.10";
    let early = effect + TimeDelta::milliseconds(900);
    let response = send(&mut world, "GET", list, &Value::Null, early);
    assert_eq!(read(&response), json!([]), "not seen yet");
    let later = effect + TimeDelta::seconds(1);
    let response = send(&mut world, "GET", list, &Value::Null, later);
    assert_eq!(read(&response)[0]["vnicId"], "vnic-a");
}

#[test]
fn who_writes_too_often_is_throttled() {
    let mut world = world();
    for last in 10..14 {
        create(&mut world, "vnic-a", &format!("10.77.60.{last}"), start());
    }
    let body = json!({"vnicId": "vnic-a"});
    let response = send(&mut world, "POST", "privateIps", &body, start());
    assert_eq!(response.status, 429);
    assert_eq!(read(&response)["code"], "TooManyRequests");
    let later = start() + TimeDelta::seconds(1);
    let response = send(&mut world, "POST", "privateIps", &body, later);
    assert_eq!(response.status, 200);
}

#[test]
fn a_work_request_holds_its_vnics_until_it_ends() {
    let mut world = world();
    let made = create(&mut world, "vnic-a", "10.77.60.10", start());
    let items = json!([{"privateIpId": made["id"], "displayName": "moved"}]);
    let body = json!({"vnicId": "vnic-b", "bulkUpdatePrivateIpItem": items});
    let path = "privateIps/actions/bulkUpdatePrivateIps";
    let accepted = send(&mut world, "POST", path, &body, start());
    assert_eq!(accepted.status, 202);
    let id = accepted.header("opc-work-request-id").expect("an id");
    let path = format!("workRequests/{id}");
    let id = made["id"].as_str().expect("an id");
    let response = send(
        &mut world,
        "DELETE",
        &format!("privateIps/{id}"),
        &Value::Null,
        start(),
    );
    assert_eq!(
        (response.status, &read(&response)["code"]),
        (409, &json!("IncorrectState"))
    );
    let response = send(&mut world, "GET", &path, &Value::Null, start());
    assert_eq!(read(&response)["status"], "IN_PROGRESS");
    let end = start() + TimeDelta::seconds(7);
    let response = send(&mut world, "GET", &path, &Value::Null, end);
    assert_eq!(read(&response)["status"], "SUCCEEDED");
    let response = send(
        &mut world,
        "GET",
        &format!("privateIps/{id}"),
        &Value::Null,
        end,
    );
    let moved = read(&response);
    assert_eq!(
        (&moved["vnicId"], &moved["displayName"]),
        (&json!("vnic-b"), &json!("moved"))
    );
}

/// Asks the token service, signed by the certificate of an instance.
fn federate(world: &mut World, instance: &str, certificate_of: &str, now: Time) -> Response {
    let cloud = world.cloud(Provider::Oci).expect("oci");
    let of = |name: &str| certificate::of_instance(cloud, name).expect("a certificate");
    let fingerprint = certificate::fingerprint(&of(instance));
    let issuer = certificate::of_issuer().expect("a certificate");
    let body = json!({
        "certificate": STANDARD.encode(of(certificate_of)),
        "publicKey": STANDARD.encode(key::lab_public_key_der().expect("the lab's key")),
        "intermediateCertificates": [STANDARD.encode(issuer)],
    });
    let mut request = request("POST", "/v1/x509", &body);
    let key_id = format!("ocid1.tenancy.oc1..lab/fed-x509/{fingerprint}");
    signature::sign(&mut request, &key_id, now);
    send_as_it_is(world, &request, now)
}

#[test]
fn a_token_is_good_for_its_time_only() {
    let mut world = world();
    let token = read(&federate(&mut world, "instance-a", "instance-a", start()));
    let key_id = format!("ST${}", token["token"].as_str().expect("a token"));
    let mut ask = |minutes: i64| {
        let now = start() + TimeDelta::minutes(minutes);
        let mut request = request("GET", "/20160918/vnics/vnic-a", &Value::Null);
        signature::sign(&mut request, &key_id, now);
        send_as_it_is(&mut world, &request, now).status
    };
    assert_eq!((ask(0), ask(20), ask(21)), (200, 200, 401));
}

#[test]
fn a_certificate_is_no_key_for_calls_and_a_users_key_none_for_tokens() {
    let mut world = world();
    assert_eq!(
        federate(&mut world, "instance-a", "instance-b", start()).status,
        401
    );
    let mut request = request("POST", "/v1/x509", &json!({}));
    signature::sign(&mut request, KEY_ID, start());
    assert_eq!(send_as_it_is(&mut world, &request, start()).status, 401);
    let cloud = world.cloud(Provider::Oci).expect("oci");
    let own = certificate::of_instance(cloud, "instance-a").expect("a certificate");
    let key_id = format!(
        "ocid1.tenancy.oc1..lab/fed-x509/{}",
        certificate::fingerprint(&own)
    );
    let mut request = self::request("GET", "/20160918/vnics/vnic-a", &Value::Null);
    signature::sign(&mut request, &key_id, start());
    assert_eq!(send_as_it_is(&mut world, &request, start()).status, 401);
}
