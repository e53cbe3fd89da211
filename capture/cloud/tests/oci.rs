//! OCI's client against the fake cloud, over HTTP and with its whole way to a token.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sam_capture::Provider;
use sam_capture::provider::{
    Entry, ErrorClass, Fence, Holder, NicId, Observation, Operation, Outcome, ProviderError,
    Version,
};
use sam_cloud::http::{Call, Client, Method};
use sam_cloud::oci::Oci;
use sam_cloud::{MacAddress, Settings};
use sam_fakecloud::{Scenario, World, server};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A fake cloud that is served until it is dropped.
struct Lab {
    url: String,
    end: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

/// Two routers, a guest that may only read, and a machine of somebody else, all in one subnet.
fn scenario() -> Value {
    let vnic = |name: &str, mac: u8, last: u8, secondary: &[&str]| {
        json!({
            "id": format!("vnic-{name}"), "subnet": "subnet-lab", "mac": format!("02:00:17:00:00:{mac:02x}"),
            "address": format!("10.77.60.{last}"), "secondary": secondary,
        })
    };
    let instance = |name: &str, role: &str, nics: &[Value]| json!({"id": name, "role": role, "type": "lab", "nics": nics});
    json!({"oci": {
        "region": "eu-frankfurt-1", "account": "ocid1.tenancy.oc1..lab",
        "subnets": [{"id": "subnet-lab", "network": "vcn-lab", "prefix": "10.77.60.0/24"}],
        "addressLimits": {"lab": 4},
        "roles": {
            "router": {"allow": ["PRIVATE_IP_*", "VNIC_*", "SUBNET_*"]},
            "guest": {"allow": ["*_READ"]},
            "nobody": {"allow": []},
        },
        "instances": [
            instance("a", "router", &[vnic("a0", 0xa0, 14, &[]), vnic("a1", 0xa1, 4, &["10.77.60.10"])]),
            instance("b", "router", &[vnic("b", 0xb0, 5, &[])]),
            instance("guest", "guest", &[vnic("guest", 0xc0, 6, &[])]),
            instance("nobody", "nobody", &[vnic("nobody", 0xd0, 7, &[])]),
        ],
    }})
}

impl Lab {
    fn start(scenario: Value) -> Self {
        let scenario: Scenario = serde_json::from_value(scenario).expect("a scenario");
        let world = World::new(&scenario, [0; 32], server::now()).expect("a world");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (end, ended) = oneshot::channel();
        let served = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = server::serve(listener, world) => served.expect("served"),
                    _ = ended => {}
                }
            });
        });
        Self {
            url,
            end: Some(end),
            served: Some(served),
        }
    }

    fn settings(&self, instance: &str, mac: u8) -> Settings {
        let mut settings = Settings::new(MacAddress([2, 0, 0x17, 0, 0, mac]));
        settings.endpoints.api = Some(self.url.clone());
        settings.endpoints.federation = Some(self.url.clone());
        settings.endpoints.metadata = Some(format!("{}/instances/{instance}", self.url));
        settings
    }

    fn client(&self, instance: &str, mac: u8) -> Oci {
        Oci::new(&self.settings(instance, mac)).expect("a client")
    }

    fn a(&self) -> Oci {
        self.client("a", 0xa1)
    }

    fn b(&self) -> Oci {
        self.client("b", 0xb0)
    }

    fn ask(&self, method: Method, path: &str, body: &Value) -> Value {
        let settings = self.settings("a", 0xa1);
        let mut client = Client::new(&settings).expect("a client");
        let url = format!("{}/fakecloud/{path}", self.url);
        let mut call = Call::new(method, url, Duration::from_secs(5));
        call.body = body.to_string().into_bytes();
        let answer = client.send(&call).expect("an answer");
        assert!(answer.is_success(), "{answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn fault(&self, operation: &str, effect: &Value) {
        let fault = json!({"operation": operation, "times": 1, "effect": effect});
        self.ask(Method::Post, "faults", &fault);
    }

    /// Returns the addresses of a VNIC.
    fn addresses(&self, nic: &str) -> Vec<String> {
        let state = self.ask(Method::Get, "state", &Value::Null);
        let nics = state["oci"]["nics"].as_array().expect("a list").iter();
        let mut nics = nics.filter(|known| known["nic"] == nic);
        let held = nics.next().expect("the VNIC")["addresses"].as_array();
        let held = held.expect("a list").iter();
        held.map(|held| held.as_str().expect("text").to_owned())
            .collect()
    }

    /// Counts the calls of an operation.
    fn calls(&self, operation: &str) -> usize {
        let calls = self.ask(Method::Get, "calls", &Value::Null);
        let calls = calls["entries"].as_array().expect("a list").iter();
        calls.filter(|call| call["operation"] == operation).count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The sender's end is heard.
        self.end = None;
        drop(self.served.take().map(JoinHandle::join));
    }
}

/// A fence that holds for so many questions.
struct Holds(Cell<u32>);

impl Fence for Holds {
    fn is_current(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

fn perform(client: &mut Oci, operation: &Operation) -> Result<Outcome, ProviderError> {
    client.perform(operation, &Holds(Cell::new(u32::MAX)))
}

fn refused(client: &mut Oci, operation: &Operation) -> ProviderError {
    perform(client, operation).expect_err("refused")
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, last)
}

fn observe(client: &mut Oci) -> Observation {
    match perform(client, &Operation::Observe) {
        Ok(Outcome::Observed(observation)) => observation,
        other => panic!("{other:?}"),
    }
}

fn assign(lasts: &[u8]) -> Operation {
    Operation::Assign {
        addresses: lasts.iter().map(|last| address(*last)).collect(),
        version: None,
    }
}

fn holders(client: &mut Oci, lasts: &[u8]) -> BTreeMap<Ipv4Addr, Holder> {
    let wanted: BTreeSet<Ipv4Addr> = lasts.iter().map(|last| address(*last)).collect();
    match perform(client, &Operation::FindHolders(wanted)) {
        Ok(Outcome::Holders(holders)) => holders,
        other => panic!("{other:?}"),
    }
}

fn unassign(address: Ipv4Addr, entry: &Entry) -> Operation {
    Operation::Unassign {
        addresses: BTreeMap::from([(address, entry.clone())]),
        version: None,
    }
}

fn is_done(outcome: &Result<Outcome, ProviderError>) -> bool {
    matches!(
        outcome,
        Ok(Outcome::Done {
            request_id: Some(_)
        })
    )
}

#[test]
fn our_vnic_is_that_of_the_hardware_address() {
    let lab = Lab::start(scenario());
    let mut a = lab.a();
    let identity = a.identify().expect("identified");
    assert_eq!(identity.nic, NicId("vnic-a1".into()), "not the first one");
    assert_eq!(identity.region, "eu-frankfurt-1");
    assert_eq!(identity.realm, "oraclecloud.com");
    assert_eq!(identity.instance, "a");
    assert_eq!(identity.prefix.to_string(), "10.77.60.0/24");
    let stranger = lab.client("a", 0xff).identify().expect_err("no such VNIC");
    assert_eq!(stranger.class, ErrorClass::Permanent);
}

#[test]
fn what_is_there_is_observed_with_versions() {
    let lab = Lab::start(scenario());
    let mut a = lab.a();
    let seen = observe(&mut a);
    assert_eq!(seen.nic, NicId("vnic-a1".into()));
    assert!(!seen.forwarding && seen.version.is_some() && seen.limit.is_none());
    let [(own, primary), (_, other)] = &seen.entries.iter().collect::<Vec<_>>()[..] else {
        panic!("{seen:?}");
    };
    assert!(**own == address(4) && primary.primary && primary.version.is_none());
    assert!(!other.primary && other.ours == Some(false) && other.version.is_some());
    let before = lab.calls("GetPrivateIp");
    assert_eq!(observe(&mut a), seen);
    assert_eq!(lab.calls("GetPrivateIp"), before, "versions are remembered");
}

#[test]
fn an_address_is_assigned_marked_and_given_back() {
    let lab = Lab::start(scenario());
    let mut a = lab.a();
    assert!(is_done(&perform(&mut a, &assign(&[11, 12]))));
    assert_eq!(
        lab.addresses("vnic-a1")[2..],
        ["10.77.60.11", "10.77.60.12"]
    );
    let seen = observe(&mut a);
    let entry = &seen.entries[&address(11)];
    assert_eq!(entry.ours, Some(true));
    assert!(
        is_done(&perform(&mut a, &assign(&[11]))),
        "it is there already"
    );
    assert!(is_done(&perform(&mut a, &unassign(address(11), entry))));
    assert_eq!(
        lab.addresses("vnic-a1")[1..],
        ["10.77.60.10", "10.77.60.12"]
    );
}

#[test]
fn an_address_of_others_is_not_assigned() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    assert_eq!(refused(&mut b, &assign(&[10])).class, ErrorClass::Held);
    let native = refused(&mut b, &assign(&[6]));
    assert_eq!(native.class, ErrorClass::LocalOwner);
    assert_eq!(native.code, "Conflict");
    let outside = Operation::Assign {
        addresses: BTreeSet::from([Ipv4Addr::new(10, 77, 61, 9)]),
        version: None,
    };
    assert_eq!(refused(&mut b, &outside).class, ErrorClass::Permanent);
    assert_eq!(lab.addresses("vnic-b"), ["10.77.60.5"]);
}

#[test]
fn of_two_that_seize_what_they_saw_the_second_loses() {
    let lab = Lab::start(scenario());
    let (mut a, mut b) = (lab.a(), lab.b());
    let seen = holders(&mut b, &[10, 99]);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [address(10)]);
    let holder = &seen[&address(10)];
    assert_eq!(holder.nic, NicId("vnic-a1".into()));
    assert_eq!(holder.entry.ours, Some(false));
    let seize = Operation::Seize { addresses: seen };
    assert!(is_done(&perform(&mut b, &seize)));
    assert_eq!(lab.addresses("vnic-b"), ["10.77.60.5", "10.77.60.10"]);
    assert_eq!(
        observe(&mut b).entries[&address(10)].ours,
        Some(true),
        "it is marked now"
    );
    // What was seen has changed since.
    let late = refused(&mut a, &seize);
    assert_eq!(
        (late.class, late.code.as_str()),
        (ErrorClass::PreconditionLost, "NoEtagMatch")
    );
    assert_eq!(lab.addresses("vnic-a1"), ["10.77.60.4"]);
    // And now it is gone.
    let seen = holders(&mut a, &[10]);
    let own = observe(&mut b).entries[&address(10)].clone();
    assert!(is_done(&perform(&mut b, &unassign(address(10), &own))));
    let late = refused(&mut a, &Operation::Seize { addresses: seen });
    assert_eq!(late.class, ErrorClass::PreconditionLost);
}

#[test]
fn a_seizure_without_a_version_is_none() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    let mut seen = holders(&mut b, &[10]);
    for holder in seen.values_mut() {
        holder.entry.version = None;
    }
    let failed = refused(&mut b, &Operation::Seize { addresses: seen });
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Permanent, "NotObserved")
    );
    assert_eq!(lab.calls("UpdatePrivateIp"), 0);
}

#[test]
fn nothing_is_taken_off_another_vnic_and_a_404_is_no_absence() {
    let lab = Lab::start(scenario());
    let (mut a, mut b) = (lab.a(), lab.b());
    let of_a = observe(&mut a).entries[&address(10)].clone();
    let failed = refused(&mut b, &unassign(address(10), &of_a));
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::PreconditionLost, "NotOurs")
    );
    assert_eq!(lab.calls("DeletePrivateIp"), 0);
    let old = Entry {
        version: Some(Version("old".into())),
        ..of_a.clone()
    };
    let failed = refused(&mut a, &unassign(address(10), &old));
    assert_eq!(failed.class, ErrorClass::PreconditionLost);
    assert!(is_done(&perform(&mut a, &unassign(address(10), &of_a))));
    let failed = refused(&mut a, &unassign(address(10), &of_a));
    assert_eq!(failed.class, ErrorClass::Denied, "never 'already gone'");
}

#[test]
fn what_is_full_says_so_and_a_part_is_not_knowing() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    assert!(is_done(&perform(&mut b, &assign(&[20, 21]))));
    let failed = refused(&mut b, &assign(&[22, 23]));
    assert_eq!(
        (failed.class.clone(), failed.code.as_str()),
        (ErrorClass::Unknown, "LimitExceeded")
    );
    assert!(failed.message.starts_with("1 of 2"), "{failed}");
    assert_eq!(refused(&mut b, &assign(&[23])).class, ErrorClass::Capacity);
    assert_eq!(lab.addresses("vnic-b").len(), 4);
}

#[test]
fn who_asks_too_often_hears_until_when_to_wait() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    let effect = json!({"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 3}});
    lab.fault("CreatePrivateIp", &effect);
    let wait = Some(Duration::from_secs(3));
    assert_eq!(
        refused(&mut b, &assign(&[20])).class,
        ErrorClass::Throttled(wait)
    );
    lab.fault(
        "CreatePrivateIp",
        &json!({"refuse": {"status": 409, "code": "IncorrectState"}}),
    );
    assert_eq!(refused(&mut b, &assign(&[20])).class, ErrorClass::Busy);
    lab.fault(
        "GetVnic",
        &json!({"refuse": {"status": 500, "code": "InternalServerError"}}),
    );
    let failed = refused(&mut b, &Operation::Observe);
    assert_eq!(failed.class, ErrorClass::Unavailable);
    assert_eq!(lab.calls("CreatePrivateIp"), 2, "nothing is repeated");
}

#[test]
fn who_may_not_is_denied_and_sees_no_absence() {
    let lab = Lab::start(scenario());
    let mut guest = lab.client("guest", 0xc0);
    assert_eq!(observe(&mut guest).entries.len(), 1);
    assert_eq!(
        refused(&mut guest, &assign(&[20])).class,
        ErrorClass::Denied
    );
    let seize = Operation::Seize {
        addresses: holders(&mut guest, &[10]),
    };
    assert_eq!(refused(&mut guest, &seize).class, ErrorClass::Denied);
    let mut nobody = lab.client("nobody", 0xd0);
    for operation in [
        Operation::Observe,
        Operation::Inventory,
        Operation::FindHolders(BTreeSet::from([address(10)])),
    ] {
        let failed = refused(&mut nobody, &operation);
        assert_eq!(failed.class, ErrorClass::Denied, "{operation:?}");
        assert!(failed.request_id.is_some());
    }
    assert_eq!(lab.addresses("vnic-a1"), ["10.77.60.4", "10.77.60.10"]);
}

#[test]
fn a_token_that_is_not_taken_any_more_is_replaced_once() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    observe(&mut b);
    assert!(b.credentials_expire().is_some());
    assert_eq!(lab.calls("GetSecurityToken"), 1);
    let expired = json!({"refuse": {"status": 401, "code": "NotAuthenticated"}});
    lab.fault("CreatePrivateIp", &expired);
    assert!(is_done(&perform(&mut b, &assign(&[20]))));
    assert_eq!(lab.calls("GetSecurityToken"), 2);
    assert_eq!(lab.calls("CreatePrivateIp"), 2);
    lab.fault("GetVnic", &expired);
    lab.fault("GetVnic", &expired);
    observe(&mut b);
    for _ in 0..2 {
        let fault = json!({"operation": "GetVnic", "times": 2, "effect": expired});
        lab.ask(Method::Post, "faults", &fault);
    }
    assert_eq!(
        refused(&mut b, &Operation::Observe).class,
        ErrorClass::Denied
    );
}

#[test]
fn a_clock_that_is_off_by_ten_minutes_is_corrected() {
    let lab = Lab::start(scenario());
    let mut settings = lab.settings("b", 0xb0);
    settings.clock = || SystemTime::now() + Duration::from_secs(600);
    let mut b = Oci::new(&settings).expect("a client");
    observe(&mut b);
    let offset = b.clock_offset().expect("known").num_seconds();
    assert!((-602..=-597).contains(&offset), "{offset}");
}

#[test]
fn a_lost_answer_of_a_change_is_not_knowing() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    lab.fault("CreatePrivateIp", &json!("loseAnswer"));
    let failed = refused(&mut b, &assign(&[20]));
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Unknown, "AnswerLost")
    );
    assert_eq!(observe(&mut b).entries[&address(20)].ours, Some(true));
    assert_eq!(lab.calls("CreatePrivateIp"), 1, "nothing is repeated");
    lab.fault("ListPrivateIps", &json!("loseAnswer"));
    let failed = refused(&mut b, &Operation::Observe);
    assert_eq!(failed.class, ErrorClass::Unavailable);
}

#[test]
fn pages_of_one_entry_are_read_to_their_end() {
    let mut paged = scenario();
    paged["oci"]["pageSize"] = json!(1);
    let lab = Lab::start(paged);
    let mut a = lab.a();
    assert_eq!(observe(&mut a).entries.len(), 2);
    let all = match perform(&mut a, &Operation::Inventory) {
        Ok(Outcome::Inventory(all)) => all,
        other => panic!("{other:?}"),
    };
    let lasts: Vec<u8> = all.keys().map(|address| address.octets()[3]).collect();
    assert_eq!(lasts, [4, 5, 6, 7, 10, 14]);
    assert!(all[&address(6)].entry.primary && !all[&address(10)].entry.primary);
}

#[test]
fn a_fence_that_ends_in_the_middle_stops_the_rest() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    let once = Holds(Cell::new(1));
    let failed = b.perform(&assign(&[20, 21]), &once).expect_err("fenced");
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Unknown, "Fenced")
    );
    assert_eq!(lab.addresses("vnic-b"), ["10.77.60.5", "10.77.60.20"]);
    assert_eq!(lab.calls("CreatePrivateIp"), 1);
    let never = Holds(Cell::new(0));
    let own = observe(&mut b);
    let entry = &own.entries[&address(20)];
    let forward = Operation::SetForwarding {
        enabled: true,
        version: own.version.clone(),
    };
    let seize = Operation::Seize {
        addresses: holders(&mut b, &[10]),
    };
    for operation in [assign(&[21]), unassign(address(20), entry), forward, seize] {
        let failed = b.perform(&operation, &never).expect_err("fenced");
        assert_eq!(failed.class, ErrorClass::Fenced, "{operation:?}");
    }
    for change in ["DeletePrivateIp", "UpdateVnic", "UpdatePrivateIp"] {
        assert_eq!(lab.calls(change), 0, "{change}");
    }
}

#[test]
fn forwarding_is_changed_in_the_version_that_was_seen() {
    let lab = Lab::start(scenario());
    let mut b = lab.b();
    let version = observe(&mut b).version;
    let set = |enabled, version| Operation::SetForwarding { enabled, version };
    assert!(
        is_done(&perform(&mut b, &assign(&[20]))),
        "which leaves the VNIC as it is"
    );
    assert!(is_done(&perform(&mut b, &set(true, version.clone()))));
    assert!(observe(&mut b).forwarding);
    let late = refused(&mut b, &set(false, version));
    assert_eq!(late.class, ErrorClass::PreconditionLost);
    assert_eq!(
        refused(&mut b, &set(false, None)).class,
        ErrorClass::Permanent
    );
}

#[test]
fn permissions_are_found_out_without_a_change() {
    let lab = Lab::start(scenario());
    let granted = |mut client: Oci| match perform(&mut client, &Operation::Preflight) {
        Ok(Outcome::Permissions(list)) => list
            .into_iter()
            .map(|permission| (permission.action, permission.granted))
            .collect::<BTreeMap<String, Option<bool>>>(),
        other => panic!("{other:?}"),
    };
    let router = granted(lab.a());
    assert_eq!(router.len(), 6);
    assert!(
        router.values().all(|granted| *granted == Some(true)),
        "{router:?}"
    );
    let guest = granted(lab.client("guest", 0xc0));
    let denied = guest.iter().filter(|(_, granted)| **granted == Some(false));
    let denied: Vec<&str> = denied.map(|(action, _)| action.as_str()).collect();
    let changes = [
        "CreatePrivateIp",
        "DeletePrivateIp",
        "UpdatePrivateIp",
        "UpdateVnic",
    ];
    assert_eq!(denied, changes);
    let ledger = lab.ask(Method::Get, "ledger", &Value::Null);
    assert_eq!(ledger["entries"], json!([]));
}

#[test]
fn no_secret_is_shown() {
    let lab = Lab::start(scenario());
    let mut a = lab.a();
    observe(&mut a);
    let mut shown = format!("{a:?}");
    lab.fault("CreatePrivateIp", &json!("loseAnswer"));
    shown += &format!("{:?}", refused(&mut a, &assign(&[20])));
    lab.fault(
        "*",
        &json!({"refuse": {"status": 401, "code": "NotAuthenticated"}}),
    );
    lab.fault(
        "*",
        &json!({"refuse": {"status": 401, "code": "NotAuthenticated"}}),
    );
    shown += &format!("{:?}", perform(&mut a, &Operation::Observe));
    for secret in ["ST$", "eyJ", "PRIVATE KEY", "Signature ", "fed-x509"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
