//! OCI: each operation, the whole way to a token, and what is known after a part, a refusal or a lost answer.

mod together;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use sam_capture::Provider;
use sam_capture::provider::{Entry, ErrorClass, NicId, Operation, Outcome, ProviderError, Version};
use sam_cloud::oci::Oci;
use sam_cloud::oci::policy::PERMISSIONS;
use sam_cloud::{MacAddress, Settings};
use serde_json::{Value, json};

use crate::crash;
use crate::lab::{Asking, Ended, HoldsFor, Lab, address, addresses};
use crate::steady;

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
            "router": {"allow": ["PRIVATE_IP_*", "VNIC_*", "SUBNET_*", "INSTANCE_*"]},
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

fn lab() -> Lab {
    Lab::serve(scenario())
}

fn settings(lab: &Lab, instance: &str, mac: u8) -> Settings {
    let mac = MacAddress([2, 0, 0x17, 0, 0, mac]);
    let mut settings = lab.settings(instance, &mac.to_string());
    settings.endpoints.federation = Some(lab.url.clone());
    settings
}

fn client(lab: &Lab, instance: &str, mac: u8) -> Oci {
    Oci::new(&settings(lab, instance, mac)).expect("a client")
}

fn router_a(lab: &Lab) -> Oci {
    client(lab, "a", 0xa1)
}

fn router_b(lab: &Lab) -> Oci {
    client(lab, "b", 0xb0)
}

/// Lets the next call of an operation go wrong.
fn disturb(lab: &Lab, operation: &str, effect: &Value) {
    lab.disturb(&json!({"operation": operation, "times": 1, "effect": effect}));
}

fn refused(client: &mut Oci, operation: &Operation) -> ProviderError {
    client.ask(operation).expect_err("refused")
}

fn assignment(octets: &[u8]) -> Operation {
    Operation::Assign {
        addresses: addresses(octets),
        version: None,
    }
}

/// What a router sees of an address before it seizes it.
fn seizure(client: &mut Oci, octet: u8) -> Operation {
    let holder = client.holder(octet).expect("a holder");
    Operation::Seize {
        addresses: BTreeMap::from([(address(octet), holder)]),
    }
}

fn release(octet: u8, entry: &Entry) -> Operation {
    Operation::Unassign {
        addresses: BTreeMap::from([(address(octet), entry.clone())]),
        version: None,
    }
}

/// The last octets of the addresses on a VNIC, as they really are.
fn octets(lab: &Lab, nic: &str) -> Vec<u8> {
    let held = lab.addresses(nic);
    let held = held
        .iter()
        .map(|text| text.parse::<Ipv4Addr>().expect("an address"));
    let held: BTreeSet<Ipv4Addr> = held.collect();
    held.iter().map(|address| address.octets()[3]).collect()
}

fn is_done(outcome: &Result<Outcome, ProviderError>) -> bool {
    matches!(
        outcome,
        Ok(Outcome::Done {
            request_id: Some(_)
        })
    )
}

fn site() -> crash::Site {
    crash::Site {
        scenario: || {
            let mut scenario = scenario();
            scenario["oci"]["addressLimits"]["lab"] = json!(16);
            scenario
        },
        client: |lab, name| match name {
            'a' => Box::new(router_a(lab)),
            _ => Box::new(router_b(lab)),
        },
        own: ("vnic-a1", NicId("vnic-a1".into())),
        other: ("vnic-b", NicId("vnic-b".into())),
    }
}

#[test]
fn a_router_that_dies_at_any_request_goes_on_where_it_was() {
    crash::dies_anywhere(&site());
}

#[test]
fn a_router_calls_seldom_while_nothing_happens() {
    steady::calls_seldom(&site());
}

#[test]
fn our_vnic_is_that_of_the_hardware_address() {
    let lab = lab();
    let mut a = router_a(&lab);
    let identity = a.identify().expect("identified");
    assert_eq!(identity.nic, NicId("vnic-a1".into()), "not the first one");
    assert_eq!(identity.region, "eu-frankfurt-1");
    assert_eq!(identity.realm, "oraclecloud.com");
    assert_eq!(identity.instance, "a");
    assert_eq!(identity.prefix.to_string(), "10.77.60.0/24");
    let stranger = client(&lab, "a", 0xff)
        .identify()
        .expect_err("no such VNIC");
    assert_eq!(stranger.class, ErrorClass::Permanent);
}

#[test]
fn what_is_there_is_observed_with_versions() {
    let lab = lab();
    let mut a = router_a(&lab);
    let seen = a.observed();
    assert_eq!(seen.nic, NicId("vnic-a1".into()));
    assert!(!seen.forwarding && seen.version.is_some() && seen.limit.is_none());
    let [(own, primary), (_, other)] = &seen.entries.iter().collect::<Vec<_>>()[..] else {
        panic!("{seen:?}");
    };
    assert!(**own == address(4) && primary.primary && primary.version.is_none());
    assert!(!other.primary && other.ours == Some(false) && other.version.is_some());
    let before = lab.calls("GetPrivateIp");
    assert_eq!(a.observed(), seen);
    assert_eq!(lab.calls("GetPrivateIp"), before, "versions are remembered");
}

#[test]
fn an_address_is_assigned_marked_and_given_back() {
    let lab = lab();
    let mut a = router_a(&lab);
    assert!(is_done(&a.ask(&assignment(&[11, 12]))));
    assert_eq!(octets(&lab, "vnic-a1")[2..], [11, 12]);
    let seen = a.observed();
    let entry = &seen.entries[&address(11)];
    assert_eq!(entry.ours, Some(true));
    assert!(is_done(&a.ask(&assignment(&[11]))), "it is there already");
    assert!(is_done(&a.ask(&release(11, entry))));
    assert_eq!(octets(&lab, "vnic-a1")[1..], [10, 12]);
}

#[test]
fn an_address_of_others_is_not_assigned() {
    let lab = lab();
    let mut b = router_b(&lab);
    assert_eq!(refused(&mut b, &assignment(&[10])).class, ErrorClass::Held);
    let native = refused(&mut b, &assignment(&[6]));
    assert_eq!(native.class, ErrorClass::LocalOwner);
    assert_eq!(native.code, "Conflict");
    let outside = Operation::Assign {
        addresses: BTreeSet::from([Ipv4Addr::new(10, 77, 61, 9)]),
        version: None,
    };
    assert_eq!(refused(&mut b, &outside).class, ErrorClass::Permanent);
    assert_eq!(octets(&lab, "vnic-b"), [5]);
}

#[test]
fn of_two_that_seize_what_they_saw_the_second_loses() {
    let lab = lab();
    let (mut a, mut b) = (router_a(&lab), router_b(&lab));
    assert_eq!(b.holder(99), None);
    let holder = b.holder(10).expect("a holder");
    assert_eq!(holder.nic, NicId("vnic-a1".into()));
    assert_eq!(holder.entry.ours, Some(false));
    let seize = seizure(&mut b, 10);
    assert!(is_done(&b.ask(&seize)));
    assert_eq!(octets(&lab, "vnic-b"), [5, 10]);
    assert_eq!(
        b.observed().entries[&address(10)].ours,
        Some(true),
        "it is marked now"
    );
    // What was seen has changed since.
    let late = refused(&mut a, &seize);
    assert_eq!(
        (late.class, late.code.as_str()),
        (ErrorClass::PreconditionLost, "NoEtagMatch")
    );
    assert_eq!(octets(&lab, "vnic-a1"), [4]);
    // And now it is gone.
    let seize = seizure(&mut a, 10);
    let own = b.observed().entries[&address(10)].clone();
    assert!(is_done(&b.ask(&release(10, &own))));
    let late = refused(&mut a, &seize);
    assert_eq!(late.class, ErrorClass::PreconditionLost);
}

#[test]
fn a_seizure_without_a_version_is_none() {
    let lab = lab();
    let mut b = router_b(&lab);
    let mut holder = b.holder(10).expect("a holder");
    holder.entry.version = None;
    let addresses = BTreeMap::from([(address(10), holder)]);
    let failed = refused(&mut b, &Operation::Seize { addresses });
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Permanent, "NotObserved")
    );
    assert_eq!(lab.calls("UpdatePrivateIp"), 0);
}

#[test]
fn nothing_is_taken_off_another_vnic_and_a_404_is_no_absence() {
    let lab = lab();
    let (mut a, mut b) = (router_a(&lab), router_b(&lab));
    let of_a = a.observed().entries[&address(10)].clone();
    let failed = refused(&mut b, &release(10, &of_a));
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::PreconditionLost, "NotOurs")
    );
    assert_eq!(lab.calls("DeletePrivateIp"), 0);
    let old = Entry {
        version: Some(Version("old".into())),
        ..of_a.clone()
    };
    let failed = refused(&mut a, &release(10, &old));
    assert_eq!(failed.class, ErrorClass::PreconditionLost);
    assert!(is_done(&a.ask(&release(10, &of_a))));
    let failed = refused(&mut a, &release(10, &of_a));
    assert_eq!(failed.class, ErrorClass::Denied, "never 'already gone'");
}

#[test]
fn what_is_full_says_so_and_a_part_is_not_knowing() {
    let lab = lab();
    let mut b = router_b(&lab);
    assert!(is_done(&b.ask(&assignment(&[20, 21]))));
    let failed = refused(&mut b, &assignment(&[22, 23]));
    assert_eq!(
        (failed.class.clone(), failed.code.as_str()),
        (ErrorClass::Unknown, "LimitExceeded")
    );
    assert!(failed.message.starts_with("1 of 2"), "{failed}");
    assert_eq!(
        refused(&mut b, &assignment(&[24])).class,
        ErrorClass::Capacity
    );
    assert_eq!(octets(&lab, "vnic-b").len(), 4);
}

#[test]
fn who_asks_too_often_hears_until_when_to_wait() {
    let lab = lab();
    let mut b = router_b(&lab);
    let effect = json!({"refuse": {"status": 429, "code": "TooManyRequests", "retryAfter": 3}});
    disturb(&lab, "CreatePrivateIp", &effect);
    let wait = Some(Duration::from_secs(3));
    assert_eq!(
        refused(&mut b, &assignment(&[20])).class,
        ErrorClass::Throttled(wait)
    );
    disturb(
        &lab,
        "CreatePrivateIp",
        &json!({"refuse": {"status": 409, "code": "IncorrectState"}}),
    );
    assert_eq!(refused(&mut b, &assignment(&[20])).class, ErrorClass::Busy);
    disturb(
        &lab,
        "GetVnic",
        &json!({"refuse": {"status": 500, "code": "InternalServerError"}}),
    );
    let failed = refused(&mut b, &Operation::Observe);
    assert_eq!(failed.class, ErrorClass::Unavailable);
    assert_eq!(lab.calls("CreatePrivateIp"), 2, "nothing is repeated");
}

#[test]
fn who_may_not_is_denied_and_sees_no_absence() {
    let lab = lab();
    let mut guest = client(&lab, "guest", 0xc0);
    assert_eq!(guest.observed().entries.len(), 1);
    assert_eq!(
        refused(&mut guest, &assignment(&[20])).class,
        ErrorClass::Denied
    );
    let seize = seizure(&mut guest, 10);
    assert_eq!(refused(&mut guest, &seize).class, ErrorClass::Denied);
    let mut nobody = client(&lab, "nobody", 0xd0);
    for operation in [
        Operation::Observe,
        Operation::Inventory,
        Operation::FindHolders(BTreeSet::from([address(10)])),
    ] {
        let failed = refused(&mut nobody, &operation);
        assert_eq!(failed.class, ErrorClass::Denied, "{operation:?}");
        assert!(failed.request_id.is_some());
    }
    assert_eq!(octets(&lab, "vnic-a1"), [4, 10]);
}

#[test]
fn a_token_that_is_not_taken_any_more_is_replaced_once() {
    let lab = lab();
    let mut b = router_b(&lab);
    b.observed();
    assert!(b.credentials_expire().is_some());
    assert_eq!(lab.calls("GetSecurityToken"), 1);
    let expired = json!({"refuse": {"status": 401, "code": "NotAuthenticated"}});
    disturb(&lab, "CreatePrivateIp", &expired);
    assert!(is_done(&b.ask(&assignment(&[20]))));
    assert_eq!(lab.calls("GetSecurityToken"), 2);
    assert_eq!(lab.calls("CreatePrivateIp"), 2);
    lab.disturb(&json!({"operation": "GetVnic", "times": 2, "effect": expired}));
    assert_eq!(
        refused(&mut b, &Operation::Observe).class,
        ErrorClass::Denied
    );
}

/// By how many seconds the clock of [`a_token_is_renewed_after_half_its_time`] is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);

#[test]
fn a_token_is_renewed_after_half_its_time() {
    let lab = lab();
    let mut settings = settings(&lab, "b", 0xb0);
    settings.clock = || SystemTime::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed));
    let mut b = Oci::new(&settings).expect("a client");
    b.observed();
    // The clock jumps, so that the half is over. The token service is down, and the token good for a while.
    AHEAD.store(11 * 60, Ordering::Relaxed);
    let down = json!({"refuse": {"status": 500, "code": "InternalServerError"}});
    disturb(&lab, "GetSecurityToken", &down);
    b.observed();
    assert_eq!(lab.calls("GetSecurityToken"), 2, "it was asked for");
}

#[test]
fn a_clock_that_is_off_by_ten_minutes_is_corrected() {
    let lab = lab();
    let mut settings = settings(&lab, "b", 0xb0);
    settings.clock = || SystemTime::now() + Duration::from_secs(600);
    let mut b = Oci::new(&settings).expect("a client");
    b.observed();
    let offset = b.standing().clock_ahead.expect("known");
    assert!((-602..=-597).contains(&offset), "{offset}");
}

#[test]
fn a_lost_answer_of_a_change_is_not_knowing() {
    let lab = lab();
    let mut b = router_b(&lab);
    disturb(&lab, "CreatePrivateIp", &json!("loseAnswer"));
    let failed = refused(&mut b, &assignment(&[20]));
    assert_eq!(
        (failed.class, failed.code.as_str()),
        (ErrorClass::Unknown, "AnswerLost")
    );
    assert_eq!(b.observed().entries[&address(20)].ours, Some(true));
    assert_eq!(lab.calls("CreatePrivateIp"), 1, "nothing is repeated");
    disturb(&lab, "ListPrivateIps", &json!("loseAnswer"));
    let failed = refused(&mut b, &Operation::Observe);
    assert_eq!(failed.class, ErrorClass::Unavailable);
}

#[test]
fn pages_of_one_entry_are_read_to_their_end() {
    let mut paged = scenario();
    paged["oci"]["pageSize"] = json!(1);
    let lab = Lab::serve(paged);
    let mut a = router_a(&lab);
    assert_eq!(a.observed().entries.len(), 2);
    let all = match a.ask(&Operation::Inventory) {
        Ok(Outcome::Inventory(all)) => all,
        other => panic!("{other:?}"),
    };
    let lasts: Vec<u8> = all.keys().map(|address| address.octets()[3]).collect();
    assert_eq!(lasts, [4, 5, 6, 7, 10, 14]);
    assert!(all[&address(6)].entry.primary && !all[&address(10)].entry.primary);
}

/// Whether machines run, by the last octet of their addresses, and how many calls it took to know.
fn running(lab: &Lab, client: &mut Oci) -> (BTreeMap<u8, Option<bool>>, usize) {
    let calls =
        || ["ListPrivateIps", "ListVnicAttachments", "ListInstances"].map(|name| lab.calls(name));
    let before: usize = calls().iter().sum();
    let all = match client.ask(&Operation::Inventory) {
        Ok(Outcome::Inventory(all)) => all,
        other => panic!("{other:?}"),
    };
    let took = calls().iter().sum::<usize>() - before;
    let all = all.iter();
    let all = all.map(|(address, holder)| (address.octets()[3], holder.running));
    (all.collect(), took)
}

#[test]
fn a_machine_that_is_stopped_is_listed_as_such() {
    let lab = lab();
    let mut a = router_a(&lab);
    a.observed();
    // It is asked once for the subnet, and once whose the VNICs are.
    a.holder(99);
    let (all, calls) = running(&lab, &mut a);
    assert!(all.values().all(|runs| *runs == Some(true)), "{all:?}");
    assert_eq!((all.len(), calls), (6, 3));
    lab.run("guest", false);
    let (all, calls) = running(&lab, &mut a);
    assert_eq!((all[&6], all[&7], calls), (Some(false), Some(true), 2));
    lab.run("guest", true);
    assert_eq!(running(&lab, &mut a).0[&6], Some(true));
}

#[test]
fn a_machine_that_is_stopped_stays_so_while_nobody_says_otherwise() {
    let lab = lab();
    let mut a = router_a(&lab);
    lab.run("guest", false);
    let down = json!({"refuse": {"status": 500, "code": "InternalServerError"}});
    disturb(&lab, "ListInstances", &down);
    let failed = refused(&mut a, &Operation::Inventory);
    assert_eq!(failed.class, ErrorClass::Unavailable, "nobody has said yet");
    lab.calm();
    assert_eq!(running(&lab, &mut a).0[&6], Some(false));
    for effect in [down, json!("loseAnswer"), json!("revoke")] {
        disturb(&lab, "ListInstances", &effect);
        assert_eq!(running(&lab, &mut a).0[&6], Some(false), "{effect}");
        lab.calm();
    }
}

#[test]
fn who_may_not_ask_for_machines_lists_them_all_the_same() {
    let mut with = scenario();
    with["oci"]["roles"]["router"]["allow"] = json!(["PRIVATE_IP_*", "VNIC_READ"]);
    let lab = Lab::serve(with);
    lab.run("guest", false);
    let (all, _) = running(&lab, &mut router_a(&lab));
    assert_eq!(all.len(), 6);
    assert!(all.values().all(Option::is_none), "{all:?}");
}

#[test]
fn forwarding_is_changed_in_the_version_that_was_seen() {
    let lab = lab();
    let mut b = router_b(&lab);
    let version = b.observed().version;
    let set = |enabled, version| Operation::SetForwarding { enabled, version };
    assert!(
        is_done(&b.ask(&assignment(&[20]))),
        "which leaves the VNIC as it is"
    );
    assert!(is_done(&b.ask(&set(true, version.clone()))));
    assert!(b.observed().forwarding);
    let late = refused(&mut b, &set(false, version));
    assert_eq!(late.class, ErrorClass::PreconditionLost);
    assert_eq!(
        refused(&mut b, &set(false, None)).class,
        ErrorClass::Permanent
    );
}

#[test]
fn permissions_are_found_out_without_a_change() {
    let lab = lab();
    let granted = |mut client: Oci| match client.ask(&Operation::Preflight) {
        Ok(Outcome::Permissions(list)) => list
            .into_iter()
            .map(|permission| (permission.action, permission.granted))
            .collect::<BTreeMap<String, Option<bool>>>(),
        other => panic!("{other:?}"),
    };
    let router = granted(router_a(&lab));
    assert_eq!(router.len(), 8);
    assert!(
        router.values().all(|granted| *granted == Some(true)),
        "{router:?}"
    );
    let guest = granted(client(&lab, "guest", 0xc0));
    let denied = guest.iter().filter(|(_, granted)| **granted == Some(false));
    let denied: Vec<&str> = denied.map(|(action, _)| action.as_str()).collect();
    let changes = [
        "CreatePrivateIp",
        "DeletePrivateIp",
        "ListVnicAttachments",
        "UpdatePrivateIp",
        "UpdateVnic",
    ];
    assert_eq!(denied, changes);
    assert_eq!(lab.changes(), 0);
}

#[test]
fn no_secret_is_shown() {
    let lab = lab();
    let mut a = router_a(&lab);
    a.observed();
    let mut shown = format!("{a:?}");
    disturb(&lab, "CreatePrivateIp", &json!("loseAnswer"));
    shown += &format!("{:?}", refused(&mut a, &assignment(&[20])));
    let refusal = json!({"refuse": {"status": 401, "code": "NotAuthenticated"}});
    lab.disturb(&json!({"operation": "*", "times": 2, "effect": refusal}));
    shown += &format!("{:?}", a.ask(&Operation::Observe));
    for secret in ["ST$", "eyJ", "PRIVATE KEY", "Signature ", "fed-x509"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

/// Lets routers with a role do everything there is, and tells whether nothing was missing.
fn everything_goes(allowed: &[&str]) -> bool {
    let mut with = scenario();
    with["oci"]["roles"]["router"]["allow"] = json!(allowed);
    let lab = Lab::serve(with);
    let (mut a, mut b) = (router_a(&lab), router_b(&lab));
    let Ok(Outcome::Observed(own)) = a.ask(&Operation::Observe) else {
        return false;
    };
    let forwarding = Operation::SetForwarding {
        enabled: true,
        version: own.version,
    };
    let states = running(&lab, &mut a).0;
    states.values().all(Option::is_some)
        && a.assign(&[30]).is_ok()
        && b.seize(&[30]).is_ok()
        && b.unassign(&[30]).is_ok()
        && a.ask(&forwarding).is_ok()
}

#[test]
fn the_policy_is_enough_and_has_nothing_that_is_not_needed() {
    let kinds = PERMISSIONS.iter();
    let allowed: Vec<&str> = kinds.flat_map(|(_, names)| *names).copied().collect();
    assert!(everything_goes(&allowed));
    for removed in &allowed {
        let kept = allowed.iter().filter(|kept| *kept != removed);
        let rest: Vec<&str> = kept.copied().collect();
        assert!(!everything_goes(&rest), "{removed} is not needed");
    }
}
