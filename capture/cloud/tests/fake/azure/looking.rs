//! Looking: who we are, who holds what, what we may do.

use std::collections::BTreeSet;
use std::time::Duration;

use sam_capture::Provider;
use sam_capture::provider::{ErrorClass, NicId, Operation, Outcome};
use sam_cloud::azure::policy::{RoleScope, role};
use sam_cloud::azure::{Azure, HIDDEN};
use sam_cloud::http::{Call, Method};
use serde_json::{Value, json};

use super::*;
use crate::lab::{Asking, Lab, address, addresses};

#[test]
fn we_are_the_machine_and_the_nic_with_our_hardware_address() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let identity = a.identify().expect("an identity");
    assert_eq!(identity.nic, nic("nic-a"));
    assert!(
        identity.network.ends_with("/virtualNetworks/vnet-lab"),
        "{identity:?}"
    );
    assert!(
        identity.subnet.ends_with("/vnet-lab/subnets/subnet-a"),
        "{identity:?}"
    );
    let observation = a.observed();
    assert_eq!(observation.subnet.to_string(), "10.77.60.0/24");
    assert_eq!(
        (observation.limit, observation.forwarding),
        (Some(256), false)
    );
    assert!(observation.version.is_some());
    let own = &observation.entries[&address(10)];
    assert_eq!((own.primary, own.ours), (true, Some(false)));
    let standing = a.standing();
    assert!(
        standing
            .credentials
            .is_some_and(|left| left > Duration::from_secs(60))
    );
    assert!(standing.clock_ahead.is_some_and(|ahead| ahead.abs() <= 2));

    let settings = lab.settings("vm-a", "02:00:00:00:0a:0b");
    let mut stranger = Azure::new(&settings, BTreeSet::new(), None).expect("a client");
    let refused = failed(stranger.ask(&Operation::Observe));
    assert_eq!(refused, (ErrorClass::Permanent, "NoSuchNic".into()));
}

#[test]
fn what_the_subscription_has_left_is_told_for_reads_and_for_writes() {
    let mut limited = scenario();
    limited["azure"]["throttle"] = json!({
        "read": {"burst": 100, "perSecond": 0}, "write": {"burst": 50, "perSecond": 0},
    });
    let lab = Lab::serve(limited);
    let mut a = router(&lab, 'a');
    a.observed();
    let reads = a.standing().reads_left.expect("it was told");
    assert!(reads < 100, "{reads}");
    assert_eq!(a.standing().writes_left, None, "nothing was changed yet");
    a.observed();
    assert!(a.standing().reads_left < Some(reads));
    a.assign(&[30]).expect("an address");
    assert_eq!(a.standing().writes_left, Some(49));
}

#[test]
fn an_address_whose_holder_is_not_shown_is_not_free() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    assert_eq!(a.holder(20).expect("by the list").nic, nic("nic-c"));
    assert_eq!(a.holder(99), None);
    lab.disturb(&json!({"operation": LIST, "effect": {"refuse": {"status": 403, "code": "AuthorizationFailed"}}}));
    assert_eq!(a.holder(20).expect("somebody").nic, NicId(HIDDEN.into()));
    assert_eq!(a.holder(99), None);
    assert_eq!(a.holder(11).expect("the other router").nic, nic("nic-b"));
    // A refusal names the holder, and is remembered.
    assert_eq!(failed(a.assign(&[20])).0, ErrorClass::LocalOwner);
    assert_eq!(a.holder(20).expect("by the refusal").nic, nic("nic-c"));
    assert_eq!(failed(a.ask(&Operation::Inventory)).0, ErrorClass::Denied);
    lab.disturb(&json!({"operation": "CheckIPAddressAvailability", "effect": "revoke"}));
    let unknown = a.ask(&Operation::FindHolders(addresses(&[99])));
    assert_eq!(
        failed(unknown).0,
        ErrorClass::Denied,
        "nobody says that it is free"
    );
}

#[test]
fn what_is_not_shown_is_never_absent() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    for (status, class) in [
        (404, ErrorClass::PreconditionLost),
        (403, ErrorClass::Denied),
    ] {
        lab.disturb(
            &json!({"operation": GET, "effect": {"refuse": {"status": status, "code": "x"}}}),
        );
        assert_eq!(failed(a.ask(&Operation::Observe)).0, class);
        let holders = a.ask(&Operation::FindHolders(addresses(&[99])));
        assert_eq!(failed(holders).0, class);
        lab.calm();
    }
    // Of another router it says nothing: the network is asked.
    a.observed();
    lab.disturb(
        &json!({"operation": GET, "skip": 1, "effect": {"refuse": {"status": 404, "code": "x"}}}),
    );
    lab.disturb(&json!({"operation": LIST, "effect": "revoke"}));
    assert_eq!(a.holder(11).expect("somebody").nic, NicId(HIDDEN.into()));
}

#[test]
fn permissions_are_told_or_found_out_without_using_them() {
    let mut readers = scenario();
    readers["azure"]["instances"][1]["role"] = json!("reader");
    let lab = Lab::serve(readers);
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    for secretive in [false, true] {
        if secretive {
            lab.disturb(&json!({"operation": "ListPermissions", "effect": "revoke"}));
        }
        assert_eq!(a.granted(WRITING), Some(true), "{secretive}");
        assert_eq!(b.granted(WRITING), Some(false), "{secretive}");
        let joining = "Microsoft.Network/virtualNetworks/subnets/join/action";
        let told = if secretive { None } else { Some(true) };
        assert_eq!(a.granted(joining), told);
        assert_eq!(b.granted(MOVING), Some(false));
        assert_eq!(a.granted("Microsoft.Compute/virtualMachines/read"), told);
    }
    assert_eq!(lab.changes(), 0);
    assert_eq!(
        failed(b.assign(&[30])),
        (ErrorClass::Denied, "AuthorizationFailed".into())
    );
}

#[test]
fn a_token_that_is_refused_is_renewed_once() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    let expired = |times| {
        let refuse = json!({"refuse": {"status": 401, "code": "ExpiredAuthenticationToken"}});
        json!({"operation": PUT, "times": times, "effect": refuse})
    };
    lab.disturb(&expired(1));
    a.assign(&[30]).expect("with a new token");
    assert_eq!(lab.calls(PUT), 2);
    lab.disturb(&expired(5));
    assert_eq!(failed(a.assign(&[31])).0, ErrorClass::Denied);
    assert_eq!(lab.calls(PUT), 4);
    lab.calm();
    lab.disturb(&expired(1));
    lab.disturb(&json!({"operation": "Metadata", "effect": "hang"}));
    let refused = failed(a.assign(&[31]));
    assert_eq!(refused.0, ErrorClass::Unavailable, "there is no new one");
}

#[test]
fn without_the_metadata_service_a_known_token_serves() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    lab.disturb(&json!({"operation": "Metadata", "effect": "hang"}));
    a.assign(&[30]).expect("what is known is enough");
}

#[test]
fn a_machine_without_identity_is_told_so() {
    let mut bare = scenario();
    bare["azure"]["instances"][0]
        .as_object_mut()
        .expect("an instance")
        .remove("role");
    let lab = Lab::serve(bare);
    let refused = failed(router(&lab, 'a').ask(&Operation::Observe));
    assert_eq!(refused, (ErrorClass::Denied, "NoIdentity".into()));
}

#[test]
fn all_pages_are_read() {
    let mut paged = scenario();
    paged["azure"]["pageSize"] = json!(1);
    let lab = Lab::serve(paged);
    let mut a = router(&lab, 'a');
    let Ok(Outcome::Inventory(inventory)) = a.ask(&Operation::Inventory) else {
        panic!("no inventory");
    };
    let found: Vec<_> = inventory.keys().copied().collect();
    assert_eq!(found, [address(10), address(11), address(20)]);
    assert_eq!(lab.calls(LIST), 3);
}

/// Whether the third machine runs, as the list of the subnet says.
fn third_runs(a: &mut Azure) -> Result<Option<bool>, ErrorClass> {
    match a.ask(&Operation::Inventory) {
        Ok(Outcome::Inventory(all)) => Ok(all[&address(20)].running),
        Ok(other) => panic!("{other:?}"),
        Err(failed) => Err(failed.class),
    }
}

#[test]
fn a_machine_that_is_stopped_is_listed_as_such() {
    let mut paged = scenario();
    paged["azure"]["pageSize"] = json!(2);
    let lab = Lab::serve(paged);
    let mut a = router(&lab, 'a');
    assert_eq!(third_runs(&mut a), Ok(Some(true)));
    assert_eq!(lab.calls(MACHINES), 2, "pages");
    lab.run("vm-c", false);
    assert_eq!(third_runs(&mut a), Ok(Some(false)));
    lab.run("vm-c", true);
    assert_eq!(third_runs(&mut a), Ok(Some(true)));
}

#[test]
fn a_machine_that_is_stopped_stays_so_while_nobody_says_otherwise() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    lab.run("vm-c", false);
    let down = json!({"operation": MACHINES, "effect": {"refuse": {"status": 500, "code": "InternalServerError"}}});
    lab.disturb(&down);
    let unknown = third_runs(&mut a);
    assert_eq!(unknown, Err(ErrorClass::Unavailable), "nobody has said yet");
    lab.calm();
    assert_eq!(third_runs(&mut a), Ok(Some(false)));
    // Whom the role does not let read machines is shown none.
    for effect in [down["effect"].clone(), json!("loseAnswer"), json!("revoke")] {
        lab.disturb(&json!({"operation": MACHINES, "effect": effect}));
        assert_eq!(third_runs(&mut a), Ok(Some(false)), "{effect}");
        lab.calm();
    }
}

#[test]
fn who_may_not_read_machines_lists_them_all_the_same() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    lab.run("vm-c", false);
    lab.disturb(&json!({"operation": MACHINES, "effect": "revoke"}));
    assert_eq!(third_runs(&mut a), Ok(None));
}

#[test]
fn the_holders_of_a_hundred_addresses_are_found_in_a_handful_of_calls() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    let before = lab.all_calls();
    let many: Vec<u8> = (100..200).collect();
    assert_eq!(a.holders(&many), [].into());
    assert_eq!(lab.all_calls() - before, 3, "two NICs and the list");
}

#[test]
fn a_hidden_holder_among_many_is_found_by_its_refusal() {
    let lab = lab();
    let mut a = router(&lab, 'a');
    a.observed();
    lab.disturb(&json!({"operation": LIST, "effect": "revoke"}));
    let many: Vec<u8> = (20..40).collect();
    assert_eq!(a.holders(&many), [].into(), "nobody was asked");
    // The refusal names a NIC that we may not read either: the one after those of the routers.
    let hide = |skip| {
        let denied = json!({"refuse": {"status": 403, "code": "AuthorizationFailed"}});
        lab.disturb(&json!({"operation": GET, "skip": skip, "times": 1, "effect": denied}));
    };
    hide(1);
    assert_eq!(failed(a.assign(&many)).0, ErrorClass::Held);
    for asked in [many.len(), 1] {
        hide(2);
        let before = lab.calls("CheckIPAddressAvailability");
        let found: Vec<_> = a.holders(&many).into_keys().collect();
        assert_eq!(found, [address(20)]);
        assert_eq!(lab.calls("CheckIPAddressAvailability") - before, asked);
    }
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let lab = lab();
    let path = "metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/";
    let url = format!("{}/instances/vm-a/{path}", lab.url);
    let token = Call::new(Method::Get, url, Duration::from_secs(1));
    let token = lab.call(&token.with("metadata", "true"));
    let token: Value = serde_json::from_slice(&token.body).expect("a token");
    let token = token["access_token"].as_str().expect("a token");
    // Tokens differ in their times; their beginnings do not.
    let start = &token[..token.len() / 2];

    let mut a = router(&lab, 'a');
    a.observed();
    let mut shown = format!("{a:?}");
    for effect in [
        json!("loseAnswer"),
        json!({"refuse": {"status": 401, "code": "InvalidAuthenticationToken"}}),
        json!({"refuse": {"status": 500, "code": "InternalServerError"}}),
    ] {
        lab.calm();
        lab.disturb(&json!({"operation": PUT, "effect": effect}));
        let failed = a.assign(&[31]).expect_err("refused");
        shown.push_str(&format!("{failed} {failed:?} {a:?}"));
        lab.calm();
        a.unassign(&[31])
            .unwrap_or(Outcome::Done { request_id: None });
    }
    assert!(
        start.len() > 20 && !shown.contains(start) && !shown.contains("Bearer"),
        "{shown}"
    );
}

/// Lets a router with a role do everything there is, and tells whether nothing was missing.
fn everything_goes(allowed: &[&str]) -> bool {
    let mut with = scenario();
    with["azure"]["roles"]["router"]["allow"] = json!(allowed);
    with["azure"]["latency"] = json!({"operationMs": 100});
    let lab = Lab::serve(with);
    let (mut a, mut b) = (router(&lab, 'a'), router(&lab, 'b'));
    let forwarding = Operation::SetForwarding {
        enabled: true,
        version: None,
    };
    let Ok(Outcome::Permissions(permissions)) = b.ask(&Operation::Preflight) else {
        return false;
    };
    let mut granted = permissions.iter();
    granted.all(|known| known.granted == Some(true))
        && a.assign(&[30]).is_ok()
        && a.ask(&Operation::FindHolders(addresses(&[99]))).is_ok()
        && b.seize(&[30]).is_ok()
        && b.unassign(&[30]).is_ok()
        && a.ask(&forwarding).is_ok()
        && a.ask(&Operation::Inventory).is_ok()
}

#[test]
fn the_role_is_enough_and_has_nothing_that_is_not_needed() {
    let role = role(&RoleScope {
        subscription: "s".into(),
        group: "rg".into(),
        public_addresses: false,
        application_groups: false,
    });
    let allowed = role["Actions"].as_array().expect("actions").iter();
    let allowed: Vec<&str> = allowed.filter_map(Value::as_str).collect();
    assert!(everything_goes(&allowed));
    for removed in &allowed {
        // Operations can be followed at the interface; the fake has no security groups.
        let spared = ["/locations/operations/", "/networkSecurityGroups/"];
        if spared.iter().any(|part| removed.contains(part)) {
            continue;
        }
        let rest: Vec<&str> = allowed
            .iter()
            .copied()
            .filter(|kept| kept != removed)
            .collect();
        assert!(!everything_goes(&rest), "{removed} is not needed");
    }
}
